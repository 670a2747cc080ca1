/* find_lr.c - see find_lr.h: the steps are those of training, only the rate is the sweep's. */
#include "train/find_lr.h"

#include <math.h>
#include <stdlib.h>

#include "train/setup.h"

/* Single batches are noisy: a mean over about twenty of them shows the trend, and lags by less than a tenth of a sweep
 * of hundreds. Four times the least is past coming back. */
static const double SMOOTHING = 0.95, DIVERGED = 4.0;

/* One optimizer step at `lr`; *loss is the mean over its samples, not finite where it overflowed. */
static hone_status one_step(hone_trainer *t, double lr, double *loss)
{
    hone_program *updated = NULL;
    hone_step sums;
    while (!updated) HONE_TRY(hone_trainer_micro_batch(t, lr, &updated));
    /* a wait a step on a device, which a sweep of hundreds can afford */
    HONE_TRY(hone_trainer_drain(t, &sums));
    *loss = sums.samples ? sums.loss_sum / (double)sums.samples : NAN;
    return HONE_OK;
}

/* The smoothed loss of the points so far; true where the last one ends the sweep. */
static bool add_point(hone_lr_sweep *s, double lr, double loss, double *mean, double *least)
{
    hone_lr_point *p = &s->point[s->count++];
    *mean = SMOOTHING * *mean + (1 - SMOOTHING) * loss;
    *p = (hone_lr_point){lr, loss, *mean / (1 - pow(SMOOTHING, s->count))}; /* as Adam corrects its means */
    if (p->smooth < *least) *least = p->smooth;
    /* the first few are too noisy to compare with */
    return !isfinite(loss) || (s->count > 5 && p->smooth > DIVERGED * *least);
}

/* The first tenth is left out: means over a handful of batches swing more than they fall. */
void hone_lr_sweep_judge(hone_lr_sweep *s)
{
    int first = s->count / 10, least = first, steep = -1;
    double fall = 0;
    s->steepest = s->minimum = s->suggestion = 0;
    for (int k = first; k < s->count; k++)
        if (isfinite(s->point[k].smooth) && s->point[k].smooth < s->point[least].smooth) least = k;
    /* noise falls by a few per cent, too; a suggestion from it would be a guess in a figure's clothes */
    if (s->count < 10 || !(s->point[least].smooth < 0.95 * s->point[first].smooth)) return;
    /* over five points, by the logarithm of the rate: equal steps of the sweep */
    for (int k = first; k + 4 <= least; k++) {
        double d = s->point[k].smooth - s->point[k + 4].smooth;
        if (d > fall) {
            fall = d;
            steep = k + 2;
        }
    }
    s->minimum = s->point[least].lr;
    s->steepest = steep >= 0 ? s->point[steep].lr : s->minimum;
    s->suggestion = s->minimum / 10 > s->steepest ? s->minimum / 10 : s->steepest;
    if (s->suggestion > s->minimum / 2)
        s->suggestion = s->minimum / 2; /* the steepest stretch may end at the minimum */
}

/* What training does before its first step, then a step a rate. */
static hone_status sweep(hone_trainer *t, const hone_lr_opts *o, hone_lr_sweep *out)
{
    double mean = 0, least = INFINITY, loss;
    HONE_TRY(hone_setup_open(t));
    HONE_TRY(hone_setup_initial_weights(t));
    for (int k = 0; k < o->steps && !out->diverged; k++) {
        /* equal factors: rates matter by their order of magnitude */
        double lr = o->low * pow(o->high / o->low, (double)k / (o->steps - 1));
        if (hone_trainer_stopped(t)) return hone_fail(HONE_INTERRUPTED, NULL, "stopped; a sweep leaves nothing behind");
        HONE_TRY(one_step(t, lr, &loss));
        out->diverged = add_point(out, lr, loss, &mean, &least);
    }
    hone_lr_sweep_judge(out);
    return HONE_OK;
}

/* The config is copied by value: the caller's stays as it was read. */
hone_status hone_find_lr(const hone_config *c, const hone_train_opts *o, const hone_lr_opts *opts, hone_lr_sweep *out)
{
    hone_config own = *c; /* what validation needs is left out: it is no part of a step */
    own.data.val_fraction = 0;
    own.train.early_stop.patience = 0;
    if (own.train.schedule.name == HONE_SCHEDULE_PLATEAU) own.train.schedule.name = HONE_SCHEDULE_CONSTANT;
    hone_trainer t = {.config = &own, .opts = o};
    *out = (hone_lr_sweep){.point = calloc((size_t)opts->steps, sizeof *out->point)};
    hone_status s =
        out->point ? sweep(&t, opts, out) : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d points", opts->steps);
    hone_trainer_close(&t);
    if (s != HONE_OK) hone_lr_sweep_free(out);
    return s;
}

/* Fine on a zeroed one. */
void hone_lr_sweep_free(hone_lr_sweep *s)
{
    free(s->point);
    *s = (hone_lr_sweep){0};
}
