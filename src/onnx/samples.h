/* samples.h - what a written graph is tried on: samples of the validation split, with hone's own answers. */
#ifndef HONE_ONNX_SAMPLES_H
#define HONE_ONNX_SAMPLES_H

#include "hone/train.h"
#include "onnx/run.h"
#include "train/saved.h"

typedef struct hone_onnx_samples {
    const hone_preprocess *pre; /* the model's                                                    */
    int classes;
    int64_t count;
    uint8_t *pixels;  /* (count, H, W, C): images as the net takes them                           */
    int32_t *id;      /* (offset[count]): ids of texts                                            */
    int64_t *offset;  /* (count + 1)                                                              */
    int32_t *second;  /* (count): ids of a text before its second segment                         */
    char **text;      /* (count): the texts behind the ids, owned; pairs with a tab between them  */
    size_t *bytes;    /* (count)                                                                  */
    size_t *first;    /* (count): bytes of a pair's first text; NULL for single texts             */
    int32_t *label;   /* (count): truth; NULL for made ones                                       */
    float *expected;  /* (count, classes): of hone's predictor                                    */
    char source[256]; /* "16 samples of val", or why they are made ones                           */
} hone_onnx_samples;

/* Up to `most` samples (0: all), evenly spread over val, else test, else train. Where the run's data can't be had they
 * are made up, and `source` says so. Errors: what the predictor reports. */
hone_status hone_onnx_samples_open(const hone_saved *s, const char *model_path, int64_t most, int threads,
                                   hone_onnx_samples *out) HONE_MUST_USE;
/* `expected` anew by another dialect ("ref"). */
hone_status hone_onnx_samples_predict(hone_onnx_samples *s, const char *model_path, const char *device,
                                      int threads) HONE_MUST_USE;
void hone_onnx_samples_close(hone_onnx_samples *s);

/* Feeds samples [from, from + count) to a graph and walks it. */
hone_status hone_onnx_samples_run(const hone_onnx_samples *s, int64_t from, int64_t count,
                                  hone_onnx_run *r) HONE_MUST_USE;
/* The same of one raw image (height, width, C), for graphs that prepare it themselves. */
hone_status hone_onnx_raw_run(const hone_onnx_samples *s, const uint8_t *raw, int height, int width,
                              hone_onnx_run *r) HONE_MUST_USE;

#endif
