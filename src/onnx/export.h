/* export.h - a trained model as an ONNX file that was read back and tried before it got its name. */
#ifndef HONE_ONNX_EXPORT_H
#define HONE_ONNX_EXPORT_H

#include "onnx/lower.h"
#include "onnx/samples.h"

typedef struct hone_onnx_export_opts {
    hone_onnx_lower_opts lower;
    bool fp16;              /* weights stored in 16 bits, computed in 32                         */
    bool int8;              /* products and convolutions in 8 bits, calibrated on val            */
    int threads;            /* 0: all cores                                                      */
    int samples;            /* that the file is tried on; 0: 16                                  */
    uint64_t external_over; /* bytes of weights beyond which they get a file of their own; 0: what protobuf holds */
} hone_onnx_export_opts;

typedef struct hone_onnx_report {
    uint64_t bytes; /* of the file and its data                            */
    int nodes;
    double difference;                      /* largest of probabilities between file and predictor */
    double raw_difference;                  /* the same of raw images of other sizes, with preprocessing inside */
    bool by_definition;                     /* compared with the ref dialect's answers: cpu's differ by rounding  */
    char source[256];                       /* what it was tried on                                */
    int64_t judged;                         /* int8: samples behind the accuracies, 0: no labels   */
    double accuracy_before, accuracy_after; /* int8                                              */
} hone_onnx_report;

/* MODEL -> `path` (its folder exists). The file is written beside it under another name, read back, walked with the ref
 * dialect's kernels on samples of the validation split and compared with hone's predictor; only then it is renamed.
 * Errors: VERIFY where an answer differs (nothing is left behind), USAGE, RUNTIME, MEMORY. */
hone_status hone_onnx_export(const char *model_path, const char *path, const hone_onnx_export_opts *o,
                             hone_onnx_report *report) HONE_MUST_USE;

/* Labels, preprocessing, task, fingerprint and figures of the run into the file's metadata. */
hone_status hone_onnx_describe(const hone_saved *s, const hone_onnx_export_opts *o, hone_onnx *m) HONE_MUST_USE;

/* Reads `path` and walks it on all samples with the cpu dialect: the share whose likeliest class is the label. */
hone_status hone_onnx_accuracy(const char *path, const hone_onnx_samples *s, int threads,
                               double *accuracy) HONE_MUST_USE;
/* The share of samples whose likeliest class, by the predictor, is the label. */
double hone_onnx_expected_accuracy(const hone_onnx_samples *s);

/* Reads `path` and compares its probabilities with those of `s`; VERIFY beyond `tolerance`. */
hone_status hone_onnx_verify(const char *path, const hone_onnx_samples *s, double tolerance, int threads,
                             hone_onnx_report *report) HONE_MUST_USE;

#endif
