/* saved.h - a model as it lies on disk: MODEL of the command line is a run directory or a file in it. */
#ifndef HONE_TRAIN_SAVED_H
#define HONE_TRAIN_SAVED_H

#include "hone/io.h"
#include "hone/model.h"

typedef struct hone_saved {
    hone_model *model;      /* with the saved weights                                               */
    hone_config *config;    /* of the run; NULL where there is no resolved.yaml beside the model    */
    char *run_dir;          /* the folder that holds it                                             */
    char *weights;          /* path of the file that the weights came from                          */
    hone_safetensors *file; /* whose memory large parameters are; NULL: none                         */
    char *tokenizer_json;   /* of a small file, which has it inside; NULL: tokenizer.json in run_dir */
} hone_saved;

/* Weights: the named file, else best.safetensors, else the newest good checkpoint. Errors: USAGE where
 * nothing of that is there, DATA where weights and model.json don't fit, naming the parameter. */
hone_status hone_saved_open(const char *path, hone_saved *out) HONE_MUST_USE;
void hone_saved_close(hone_saved *s);
/* What to evaluate it in on `b`: the precision it was trained in where the device has that, else the device's own
 * (a run of a GPU is read on a CPU, too); AUTO for a model file. */
hone_precision hone_saved_precision(const hone_saved *s, const hone_backend *b);

/* A config of defaults, for reading a data set by a model file that has no run around it. */
hone_status hone_saved_plain_config(bool text, hone_config **out) HONE_MUST_USE;

/* What `hone_weights_load` met. Text for people; free(). */
typedef struct hone_weights_report {
    int loaded, params; /* parameters that got a value, and all of the model                     */
    int unused;         /* arrays of the file that the model has no place for, counters aside     */
    char *notes;        /* a line for each parameter and array that did not simply match; "" if none */
} hone_weights_report;

/* File -> model by name. `strict`: every parameter must be there and fit (DATA names the first that
 * does not, and the closest name). Otherwise missing ones keep their values, and a head of another
 * class count (only dim 0 differs, and equals the class count) too; filters for RGB are summed where the model sees
 * grey; any other shape is an error. Names of Hugging Face models are known with and without the prefix of the body
 * ("bert."), and by their old words gamma and beta. */
hone_status hone_weights_load(hone_model *m, const hone_safetensors *file, const char *name, bool strict,
                              hone_weights_report *report) HONE_MUST_USE;
/* Before loading: large fp32 parameters take the file's memory instead of a copy of it. `file` then outlives the model. */
void hone_weights_borrow(hone_model *m, const hone_safetensors *file);
/* The model's parameters as arrays for saving, pointing into the model. free() the result; NULL: memory. */
hone_blob *hone_weights_blobs(hone_model *m, int *count);

#endif
