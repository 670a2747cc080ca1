/* predictor.h - a trained model behind one handle: pictures or texts in, probabilities out.
 *
 * Opening does all that is slow or can fail for want of memory; a prediction computes. One predictor may be used from
 * any number of threads at once: calls that overlap run side by side, each in a lane of its own (activations and
 * compute threads; the weights are there once). A lane is made when the first call needs it, up to `lanes`, and is
 * kept; further callers wait for a free one. Lanes, threads and neighbours in a batch never change a result's bits.
 * The whole interface keeps nothing global; errors are told per thread (status.h). */
#ifndef HONE_PREDICTOR_H
#define HONE_PREDICTOR_H

#include "hone/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_predictor hone_predictor;

/* How to open one; zeroed is fine. A server that answers from many threads wants threads = 1. */
typedef struct hone_predictor_opts {
    const char *device;  /* "auto" (NULL too), "cpu", "cuda:0", "ref"                                */
    int         threads; /* compute threads of one call; 0 = all                                     */
    int         lanes;   /* calls that run side by side; 0 = one a core. A GPU has one lane          */
} hone_predictor_opts;

/* `model_path`: a run directory, a folder of `hone export --to safetensors`, or a weights file in one of these.
 * Errors: USAGE where there is no model, DATA where it is damaged, DEVICE, MEMORY. */
hone_status hone_predictor_open(const char *model_path, const char *device, int threads, hone_predictor **out) HONE_MUST_USE;
hone_status hone_predictor_open_with(const char *model_path, const hone_predictor_opts *o, hone_predictor **out) HONE_MUST_USE;
/* No call may be under way. NULL is fine. */
void        hone_predictor_close(hone_predictor *p);

/* What was opened; all of it is the predictor's and constant. */
const hone_model *hone_predictor_model(const hone_predictor *p);
bool              hone_predictor_takes_text(const hone_predictor *p); /* else pictures                 */
bool              hone_predictor_takes_pairs(const hone_predictor *p); /* texts of two parts              */
int               hone_predictor_classes(const hone_predictor *p);
const char       *hone_predictor_label(const hone_predictor *p, int k); /* NULL outside 0..classes-1   */

/* `probability` is (count, classes) for all of these; a count of 0 is fine. On an error its content means nothing.
 * USAGE where the model takes the other kind of input. */

/* Files as they lie on disk or come over the wire (JPEG, PNG, BMP, PNM): decoded, turned upright and resized as in
 * training. data[k] has bytes[k] bytes. DATA names the first that is broken, by its index. */
hone_status hone_predictor_encoded(hone_predictor *p, const void *const *data, const size_t *bytes, int count,
                                   float *probability) HONE_MUST_USE;
/* Raw 8-bit pictures of one size (count, height, width, channels), channels 1 or 3 (RGB), resized as in training. */
hone_status hone_predictor_pixels(hone_predictor *p, const uint8_t *pixels, int height, int width, int channels, int count,
                                  float *probability) HONE_MUST_USE;
/* Raw 8-bit pictures that have the model's own size already (hone_image_file makes such): (count, H, W, C). */
hone_status hone_predictor_run(hone_predictor *p, const uint8_t *pixels, int count, float *probability) HONE_MUST_USE;
/* Texts: text[k] is UTF-8 of bytes[k] bytes. A model that was trained on pairs wants both parts here with a tab between
 * them (the first tab parts them): DATA names a text without one. One short text costs what it holds, not a batch. */
hone_status hone_predictor_texts(hone_predictor *p, const char *const *text, const size_t *bytes, int count,
                                 float *probability) HONE_MUST_USE;
/* Pairs of texts, for models that were trained on such; both parts may hold any bytes. Token types are those of
 * training: 0 in the first part, 1 in the second. USAGE for a model of single texts. */
hone_status hone_predictor_pairs(hone_predictor *p, const char *const *first, const size_t *first_bytes,
                                 const char *const *second, const size_t *second_bytes, int count,
                                 float *probability) HONE_MUST_USE;

/* The `count` likeliest of `classes` into best[], likeliest first; equal ones in class order, NaN last. Returns how
 * many were filled: the lesser of count and classes. */
int hone_predictor_top(const float *probability, int classes, int count, int *best);

#ifdef __cplusplus
}
#endif
#endif
