/* engine.h - one lane of a predictor: programs, scratch and compute threads of one call at a time (predictor.c). */
#ifndef HONE_TRAIN_ENGINE_H
#define HONE_TRAIN_ENGINE_H

#include "train/predictor.h"

typedef struct hone_engine hone_engine;

/* `first` NULL: it owns the parameters and uploads those of `saved`. Else it reads those of `first`, which must outlive
 * it and for which hone_engine_can_lend holds. `saved` outlives both. */
hone_status hone_engine_open(hone_saved *saved, const hone_predictor_opts *o, const hone_engine *first,
                             hone_engine **out) HONE_MUST_USE;
/* Whether others can compute with its parameters at the same time: fp32 in host memory. */
bool hone_engine_can_lend(const hone_engine *e);
/* As hone_predictor_run and hone_predictor_texts; the kind of input must be the model's. */
hone_status hone_engine_images(hone_engine *e, const uint8_t *pixels, int count, float *probability) HONE_MUST_USE;
hone_status hone_engine_texts(hone_engine *e, const hone_text_inputs *in, float *probability) HONE_MUST_USE;
void hone_engine_close(hone_engine *e); /* NULL is fine */

#endif
