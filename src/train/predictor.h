/* predictor.h - the text side of a lane of a predictor (predict_text.c), for engine.c alone. */
#ifndef HONE_TRAIN_PREDICTOR_H
#define HONE_TRAIN_PREDICTOR_H

#include "hone/predictor.h"
#include "train/saved.h"

typedef struct hone_text_predictor hone_text_predictor;

/* The texts of a call, or a part of them. */
typedef struct hone_text_inputs {
    const char *const *text;    /* (count) UTF-8                                                           */
    const size_t *bytes;        /* (count)                                                                 */
    const char *const *second;  /* (count) of pairs; NULL: there are none, or a tab in `text` parts the two */
    const size_t *second_bytes; /* (count); NULL as `second`                                               */
    int count;
} hone_text_inputs;

/* `saved` and `b` are the lane's and outlive it. `first` (may be NULL) lends parameters and tokenizer, and outlives it,
 * too. Errors: DATA where the tokenizer is missing or does not fit. */
hone_status hone_text_predictor_open(hone_saved *saved, hone_backend *b, const hone_text_predictor *first,
                                     hone_text_predictor **out) HONE_MUST_USE;
/* The program whose parameters it uses: its own, or that of `first`. */
hone_program *hone_text_predictor_owner(const hone_text_predictor *t);
/* As hone_predictor_texts and hone_predictor_pairs. */
hone_status hone_text_predictor_run(hone_text_predictor *t, const hone_text_inputs *in,
                                    float *probability) HONE_MUST_USE;
void hone_text_predictor_close(hone_text_predictor *t); /* NULL is fine */

#endif
