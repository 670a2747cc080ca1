/* setup.h - what trainer.c needs before the first step: data, model, programs, starting weights. */
#ifndef HONE_TRAIN_SETUP_H
#define HONE_TRAIN_SETUP_H

#include "train/trainer.h"

/* Settings that can't work together, before anything is opened. USAGE naming the key. */
hone_status hone_setup_check(const hone_config *c) HONE_MUST_USE;
/* Backend, data, model, programs; the model holds its own initial values. Polls the stop flag. */
hone_status hone_setup_open(hone_trainer *t) HONE_MUST_USE;
/* train.init into the model, all weights to the programs, the average started from them. */
hone_status hone_setup_initial_weights(hone_trainer *t) HONE_MUST_USE;

#endif
