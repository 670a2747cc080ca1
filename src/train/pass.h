/* pass.h - a data set going through a model: the programs for its full and its last, short batch, its
 * loader, and the memory its pixels are read from. Training has one, each evaluation has one.
 *
 * Texts differ in length, programs don't: a full batch has programs for several numbers of tokens (capacity.h), and
 * takes the smallest that holds it. They share all but their inputs, and give the same bits. */
#ifndef HONE_TRAIN_PASS_H
#define HONE_TRAIN_PASS_H

#include "hone/data.h"
#include "hone/model.h"
#include "train/capacity.h"

typedef struct hone_pass_opts {
    hone_backend *backend;
    const hone_model *model;
    hone_dataset *data;
    hone_mode mode;
    int batch;                 /* of a full one; cut to the size of the set                       */
    hone_loader_opts loader;   /* threads, prefetch, shuffle, seed, batch_tokens; batch is filled in */
    hone_model_opts build;     /* loss and augmentation; batch, pool and mode are filled in       */
    hone_compile_opts compile; /* optimizer; `share` = the owner of the parameters, or NULL       */
    const float *class_weight; /* (C) or NULL                                                */
    double mix_alpha[2];       /* of mixup and cutmix where build.augment has them           */
    const volatile int *stop;  /* polled while programs are compiled; may be NULL                 */
} hone_pass_opts;

typedef struct hone_pass_program {
    hone_program *program;
    hone_model_io io;
    int batch;
    int64_t tokens; /* text: room for them                                               */
    bool loss;      /* compiled with a loss: step, not only forward                           */
} hone_pass_program;

typedef struct hone_pass {
    hone_backend *backend;
    const hone_model *model;
    hone_dataset *data;
    hone_loader *loader;
    hone_pass_program full, tail;               /* tail.program is NULL where the set divides evenly             */
    hone_pass_program smaller[HONE_CAPACITIES]; /* text: full batches again, with less room for tokens; descending */
    int smaller_count;
    bool budget; /* batches have any number of samples, filled up to that of `full` */
    void *pool;  /* device memory of ours, NULL where host memory is bound directly */
    size_t pool_bytes;
    hone_lane *lane[2]; /* streamed pixels on their way to a device: one is filled while the other is read */
    int turn;
    int64_t batches; /* an epoch                                                      */
} hone_pass;

/* `data` must be loaded (hone_dataset_load). Errors: those of build, compile, loader; MEMORY;
 * HONE_INTERRUPTED when *stop. */
hone_status hone_pass_open(const hone_pass_opts *o, hone_pass *out) HONE_MUST_USE;
void hone_pass_close(hone_pass *p); /* fine on a zeroed one */
/* Next batch of the loader into the inputs of the program that fits it. *b is valid until the next call. */
hone_status hone_pass_feed(hone_pass *p, hone_batch *b, hone_pass_program **which) HONE_MUST_USE;

/* Program k of a pass, for whoever must reach all of them; NULL past the last. */
hone_program *hone_pass_each(const hone_pass *p, int k);

/* Bytes of one sample's pixels. */
size_t hone_pass_sample_bytes(const hone_preprocess *pre);

#endif
