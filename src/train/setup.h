/* setup.h - what trainer.c needs before the first step: data, model, programs, starting weights. */
#ifndef HONE_TRAIN_SETUP_H
#define HONE_TRAIN_SETUP_H

#include "train/trainer.h"

/* Backend, data, model, programs; the model holds its own initial values. Polls the stop flag. */
hone_status hone_setup_open(hone_trainer *t) HONE_MUST_USE;
/* train.init into the model, all weights to the programs, the average started from them. */
hone_status hone_setup_initial_weights(hone_trainer *t) HONE_MUST_USE;

/* init.c: the weights of train.init into t->model, said line by line. `path`: a file, a run, a folder of weights. */
hone_status hone_init_load(hone_trainer *t, const char *path) HONE_MUST_USE;
/* DATA where config.json of the folder states another net than the page's; and the error of a folder without weights. */
hone_status hone_init_check_net(hone_trainer *t, const char *folder) HONE_MUST_USE;
hone_status hone_init_no_weights(const char *folder) HONE_MUST_USE;

/* Algorithms that the device chose by timing, into the run directory (tuning.txt), where a resume reads them first.
 * Nothing where the device makes no such choice or there is no run directory; a failure is only said. */
void hone_setup_save_tuning(hone_trainer *t);

/* The two pieces of it that `hone plan` uses, which opens no data and allocates nothing: t->model from
 * t->config and the sizes and classes in t->data; what the training pass is built and compiled with. */
hone_status hone_setup_model(hone_trainer *t) HONE_MUST_USE;
hone_pass_opts hone_setup_train_opts(const hone_trainer *t);
/* The same up to the net: pictures of training as it sees them, in fp32 (HONE_MODE_VIEW). */
hone_pass_opts hone_setup_view_opts(const hone_trainer *t);

#endif
