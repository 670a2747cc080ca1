/* predictor.h - the text side of a predictor (predict_text.c), for predictor.c alone. */
#ifndef HONE_TRAIN_PREDICTOR_H
#define HONE_TRAIN_PREDICTOR_H

#include "hone/train.h"
#include "train/saved.h"

typedef struct hone_text_predictor hone_text_predictor;

/* `saved` and `b` are the predictor's and outlive it. Errors: DATA where the tokenizer is missing or does not fit. */
hone_status hone_text_predictor_open(hone_saved *saved, hone_backend *b, hone_text_predictor **out) HONE_MUST_USE;
/* As hone_predictor_texts. */
hone_status hone_text_predictor_run(hone_text_predictor *t, const char *const *text, const size_t *bytes, int count,
                                    float *probability) HONE_MUST_USE;
void hone_text_predictor_close(hone_text_predictor *t); /* NULL is fine */

#endif
