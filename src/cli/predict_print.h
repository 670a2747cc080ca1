/* predict_print.h - how `hone predict` shows what a model says of one input. */
#ifndef HONE_CLI_PREDICT_PRINT_H
#define HONE_CLI_PREDICT_PRINT_H

#include "cli/cli.h"
#include "core/text.h"
#include "hone/model.h"

/* In the order of the names that --format takes. */
typedef enum hone_print_format { HONE_PRINT_TABLE, HONE_PRINT_CSV, HONE_PRINT_JSONL } hone_print_format;

typedef struct hone_printing {
    const hone_model *model;
    int classes, top;
    int64_t most; /* --top as given                           */
    int *order;   /* (classes): scratch for the best K; owned */
    hone_print_format format;
} hone_printing;

/* --top and --format. Errors: USAGE. */
hone_status hone_printing_flags(const hone_cli *cli, hone_printing *out) HONE_MUST_USE;
/* Fills the rest for a model. */
hone_status hone_printing_open(const hone_model *m, hone_printing *out) HONE_MUST_USE;
void hone_printing_header(const hone_printing *d); /* only CSV has one */
/* Appends what there is to say of `input`: p (classes). */
void hone_printing_add(hone_text *t, const hone_printing *d, const char *input, const float *p);
/* Writes and frees the buffer. Errors: MEMORY if it is cut, RUNTIME where stdout takes no more. */
hone_status hone_printing_flush(hone_text *t) HONE_MUST_USE;

#endif
