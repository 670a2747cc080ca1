/* schedule.c - learning rate as a function of the step (train.h): no state, so resume needs none.
 *
 * Formulas of torch.optim.lr_scheduler with one "epoch" of theirs = one step of ours. A warm-up of W
 * steps rises as lr * (s + 1) / W (never 0) and the rest of the schedule runs over what remains.
 * `final` is a share of lr, as end_factor
 * of LinearLR is; lr * final takes the place of eta_min of CosineAnnealingLR. */
#include <math.h>

#include "hone/train.h"

static const double PI = 3.14159265358979323846;

/* From `a` to `b` along half a cosine, t in 0..1. */
static double half_cosine(double a, double b, double t) { return b + (a - b) * 0.5 * (1.0 + cos(PI * t)); }

/* A share of the way, whatever step is asked for. */
static double clamp01(double t) { return t < 0 ? 0 : t > 1 ? 1 : t; }

/* OneCycleLR with its defaults: div_factor 25, final_div_factor 1e4, pct_start 0.3 unless a warm-up is
 * given, cosine both ways. `final` > 0 replaces the end value. Smith & Topin 2018. */
static double one_cycle(double lr, double final, double step, double warm, double total)
{
    double start = lr / 25.0, end = final > 0 ? final : start / 1e4;
    double top = (warm > 0 ? warm : 0.3 * total) - 1.0; /* the step at which lr is reached */
    if (top > 0 && step <= top) return half_cosine(start, lr, step / top);
    return half_cosine(lr, end, total - 1.0 > top ? clamp01((step - top) / (total - 1.0 - top)) : 1.0);
}

/* A pure function of the step: a resumed run has the rate of one that was never stopped. `step` counts from 0,
 * warm-up ends at the full rate, and the plateau's scale comes from the state. */
double hone_schedule_lr(const hone_config *c, int64_t step, int64_t steps_per_epoch, int64_t steps_total,
                        double plateau_scale)
{
    double lr = c->train.optimizer.lr, final = lr * c->train.schedule.final;
    double s = (double)step, total = (double)steps_total;
    double share = c->train.schedule.warmup_fraction; /* of all steps, else epochs */
    double warm = floor((share > 0 ? share * total : c->train.schedule.warmup * (double)steps_per_epoch) + 0.5);
    if (warm > total) warm = total;
    if (c->train.schedule.name == HONE_SCHEDULE_ONECYCLE) return one_cycle(lr, final, s, warm, total);
    if (s < warm) return lr * plateau_scale * (s + 1.0) / warm;
    double t = total > warm ? clamp01((s - warm) / (total - warm)) : 1.0; /* 0 .. 1 over what remains */
    switch (c->train.schedule.name) {
    case HONE_SCHEDULE_STEP: {
        /* StepLR; epochs are counted from the start of the run, warm-up included */
        double every = c->train.schedule.step_every * (double)steps_per_epoch;
        return every > 0 ? lr * pow(c->train.schedule.gamma, floor(s / every)) : lr;
    }
    case HONE_SCHEDULE_COSINE: return half_cosine(lr, final, t);
    case HONE_SCHEDULE_LINEAR: return lr + (final - lr) * t;
    case HONE_SCHEDULE_PLATEAU: return lr * plateau_scale;
    case HONE_SCHEDULE_CONSTANT:
    case HONE_SCHEDULE_ONECYCLE: break;
    }
    return lr;
}
