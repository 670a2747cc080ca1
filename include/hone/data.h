/* data.h - data sets, splits, the loader.
 *
 * A data set is samples with labels; images come out as uint8 (H, W, C) of one size, decoded, oriented
 * and resized (resample equal to Pillow's). Order and draws are pure functions of (seed, epoch, sample
 * id), so threads, prefetch and resume can't change them. */
#ifndef HONE_DATA_H
#define HONE_DATA_H

#include "hone/config.h"
#include "hone/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_dataset hone_dataset;

/* The splits of one experiment with one class list (that of train; val and test map by name).
 * `val` and `test` are NULL where the data has none; val is cut from train by data.val_fraction
 * (stratified, keyed by the seed) where the data has no validation split of its own. */
typedef struct hone_data {
    hone_dataset *train, *val, *test;
    int           classes;
    char        **class_name;
    int           height, width, channels; /* of the decoded samples                              */
    uint64_t      fingerprint;             /* xxh3 over names, sizes and content (folders of more  */
                                           /* than 256 MiB: names and sizes)                      */
    char        **note;                    /* (note_count) odd but harmless findings, a sentence   */
    int           note_count;              /* each: empty class folders, files left out            */
} hone_data;

/* What the pixels should look like; 0 = take it from the data (the first sample for folders). */
typedef struct hone_image_spec { int height, width, channels; hone_resize resize; } hone_image_spec;

/* Opens what config.data names, finds format and splits from the content, checks labels and headers.
 * Errors (DATA): missing or cut file, label out of range, class that only val has, no samples: each
 * names file, place and fix. */
hone_status hone_data_open(const hone_config *c, const hone_image_spec *spec, hone_data **out) HONE_MUST_USE;
/* One more set for eval/predict: labels map by name to `class_name`; PATH as config.data.path. */
hone_status hone_data_open_eval(const char *path, const char *split, const hone_config *c, const hone_preprocess *pre,
                                int classes, const char *const *class_name, hone_dataset **out) HONE_MUST_USE;
void        hone_data_free(hone_data *d);
void        hone_dataset_free(hone_dataset *d);

int64_t        hone_dataset_count(const hone_dataset *d);
const int32_t *hone_dataset_labels(const hone_dataset *d);      /* (count)                         */
const float   *hone_dataset_weights(const hone_dataset *d);     /* (count) or NULL: all 1          */
/* Where a sample came from: "train-images.idx#17" or "cats/7.jpg"; returns `text`. */
const char    *hone_dataset_source(const hone_dataset *d, int64_t sample, char *text, size_t text_bytes);
/* Decodes all samples into memory with `threads` threads (uint8 (n,H,W,C)); `stop` (may be NULL) is
 * polled. Bad samples follow data.on_error: stop = DATA error that names the file and the reason;
 * skip = left out, counted, listed by hone_dataset_skipped. A set over the memory limit stays a
 * stream: hone_dataset_pixels is then NULL. */
hone_status    hone_dataset_load(hone_dataset *d, int threads, const volatile int *stop) HONE_MUST_USE;
const uint8_t *hone_dataset_pixels(const hone_dataset *d);      /* resident pixels or NULL         */
int            hone_dataset_skipped(const hone_dataset *d, const char *const **reasons); /* "file: reason" */
/* Mean and standard deviation per channel of pixels in 0..1 over the set. */
hone_status    hone_dataset_moments(hone_dataset *d, float mean[4], float std[4]) HONE_MUST_USE;

/* Text sets. Part 0 or 1 (of a pair) of a sample: UTF-8, not NUL-terminated, valid as long as the set. */
bool           hone_dataset_is_text(const hone_dataset *d);
bool           hone_dataset_has_pairs(const hone_dataset *d);
void           hone_dataset_text(const hone_dataset *d, int64_t sample, int part, const char **text, size_t *bytes);
/* Ids of all samples, one after the other, that a loader is to give out; the caller keeps the arrays: token
 * (offset[count]), offset (count + 1), second (count) ids of a sample before its second segment, or NULL. */
void           hone_dataset_set_tokens(hone_dataset *d, const int32_t *token, const int64_t *offset,
                                       const int32_t *second);
const int64_t *hone_dataset_token_offsets(const hone_dataset *d); /* NULL before that, and for images */

/* One image file for predict: decoded and preprocessed into out (H, W, C) of `pre`. */
hone_status    hone_image_file(const char *path, const hone_preprocess *pre, uint8_t *out) HONE_MUST_USE;
hone_status    hone_image_bytes(const char *name, const void *bytes, size_t count, const hone_preprocess *pre, uint8_t *out) HONE_MUST_USE;

/* A batch in loader-owned memory, valid until the next call of hone_loader_next. */
typedef struct hone_batch {
    int            count;     /* samples in it; the last one of an epoch may be short             */
    int64_t        epoch, index; /* index of the batch within its epoch                           */
    const int32_t *row;       /* (count) rows in the pool: sample ids when resident, else 0..count-1 */
    const int32_t *sample;    /* (count) sample ids: the key of random draws                      */
    const int32_t *label;     /* (count)                                                          */
    const float   *weight;    /* (count)                                                          */
    const uint8_t *pixels;    /* NULL when resident; else (count,H,W,C)                           */
    const int32_t *token;     /* text: (tokens) ids of the samples, one after the other           */
    const int32_t *offset;    /* text: (count + 1) where a sample's begin; offset[count] = tokens  */
    const int32_t *type;      /* pairs: (tokens) 0 of the first segment, 1 of the second; else NULL */
    int64_t        tokens;
} hone_batch;

typedef struct hone_loader hone_loader;
typedef struct hone_loader_opts {
    int      batch, threads, prefetch;
    bool     shuffle;         /* a permutation of the epoch = f(seed, epoch); else file order     */
    uint64_t seed;
    int64_t  batch_tokens;    /* text, above 0: a batch ends before it has more ids than this, and `batch` is the
                                 most samples it has; label, weight and offset are filled up to `batch` with
                                 samples of no ids and weight 0. Which samples share a batch is then a function of
                                 the seed, the order of batches one of (seed, epoch): all epochs have as many */
} hone_loader_opts;
hone_status hone_loader_open(hone_dataset *d, const hone_loader_opts *o, hone_loader **out) HONE_MUST_USE;
/* Goes to a batch of an epoch (resume); the next call of hone_loader_next returns it. */
hone_status hone_loader_seek(hone_loader *l, int64_t epoch, int64_t index) HONE_MUST_USE;
/* The next batch; after the last of an epoch comes the first of the next one. */
hone_status hone_loader_next(hone_loader *l, hone_batch *out) HONE_MUST_USE;
int64_t     hone_loader_batches(const hone_loader *l);          /* per epoch                       */
double      hone_loader_wait_seconds(const hone_loader *l);     /* spent waiting for data so far    */
void        hone_loader_close(hone_loader *l);

#ifdef __cplusplus
}
#endif
#endif
