/* plan.h - what `hone plan` finds out: plan.c plans, plan_report.c shows. */
#ifndef HONE_CLI_PLAN_H
#define HONE_CLI_PLAN_H

#include "cli/cli.h"
#include "hone/model.h"
#include "hone/program.h"
#include "train/setup.h"

typedef struct hone_plan_mode { /* one program: training or inference */
    hone_memory planned, allocated;
    size_t stored[HONE_DTYPE_COUNT]; /* activations before reuse, by type */
    bool was_allocated;              /* --allocate: `allocated` is filled           */
    int together;                    /* steps that one recording may hold           */
} hone_plan_mode;

typedef struct hone_plan_result {
    const char *path, *device, *precision;
    int threads, batch, classes;
    int64_t parameters; /* learned values                          */
    char *layers;       /* the layer table                         */
    char *nodes;        /* --nodes: the table of the training step */
    hone_plan_mode train, infer;
    size_t free_bytes; /* of the machine, or --memory          */
    bool memory_given;
    int64_t largest_batch; /* whose training fits in it; 0: none   */
} hone_plan_result;

/* Compiles one program of `t` as training (or inference) would have it; nothing is allocated. */
hone_status hone_plan_program(const hone_trainer *t, hone_mode mode, int64_t batch, bool allocate,
                              hone_program **out) HONE_MUST_USE;
/* Largest batch whose training program takes at most `limit` bytes; 0 when not even one sample fits. */
hone_status hone_plan_largest_batch(const hone_trainer *t, size_t limit, int64_t *batch) HONE_MUST_USE;

void hone_plan_print(const hone_plan_result *r);
hone_status hone_plan_print_json(const hone_plan_result *r) HONE_MUST_USE;

#endif
