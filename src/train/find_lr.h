/* find_lr.h - the learning-rate range test: a few steps at exponentially rising rates (Smith, "Cyclical learning rates
 * for training neural networks", 2017, section 3.3). Trains a net of its own and leaves nothing behind. */
#ifndef HONE_TRAIN_FIND_LR_H
#define HONE_TRAIN_FIND_LR_H

#include "hone/train.h"

typedef struct hone_lr_point {
    double lr, loss; /* mean over the batch of this step, before its update                          */
    double smooth;   /* exponential mean, corrected for its start                                    */
} hone_lr_point;

typedef struct hone_lr_opts {
    double low, high; /* 0 < low < high                                                              */
    int steps;        /* at least 10                                                                 */
} hone_lr_opts;

typedef struct hone_lr_sweep {
    hone_lr_point *point; /* (count)                                                                 */
    int count;
    bool diverged;     /* the last point is not finite, or above four times the least                 */
    double steepest;   /* rate where the smoothed loss falls quickest                                 */
    double minimum;    /* rate where it is least                                                      */
    double suggestion; /* a tenth of `minimum`, not below `steepest`; 0: the loss never fell by a twentieth */
} hone_lr_sweep;

/* Opens data and model as hone_train does, from train.init too, without validation and without a run directory. One
 * optimizer step a point. Errors: those of opening; HONE_INTERRUPTED by o->stop. */
hone_status hone_find_lr(const hone_config *c, const hone_train_opts *o, const hone_lr_opts *sweep,
                         hone_lr_sweep *out) HONE_MUST_USE;
void hone_lr_sweep_free(hone_lr_sweep *s);
/* Fills the figures from the losses of the points: the rule itself, for tests. */
void hone_lr_sweep_judge(hone_lr_sweep *s);

#endif
