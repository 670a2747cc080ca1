/* compare.c - when are two results the same: to the bit, or normwise; and the step block by field.
 *
 * NaN equals NaN and nothing else, an infinity only itself: a kernel that hides one is wrong however
 * small the error of the rest. -0 equals 0. */
#include "cases/cases.h"

#include <math.h>
#include <stdio.h>

/* The message for one element. */
static bool differ(complaint *why, int64_t i, double got, double want)
{
    snprintf(why->text, sizeof why->text, "element %lld is %.9g, not %.9g", (long long)i, got, want);
    return false;
}

/* What the type keeps of a value. */
static double rounded_to(hone_dtype dtype, double v)
{
    double kept = v;
    unsigned char raw[sizeof(double)];
    if (dtype != HONE_F32 && dtype != HONE_BF16 && dtype != HONE_F16) return kept;
    value_put(dtype, raw, 0, v);
    return value_at(dtype, raw, 0);
}

/* Bit by bit, but for the sign of 0 and the payload of NaN. */
static bool compare_exact(hone_dtype gd, const void *got, hone_dtype wd, const void *want, int64_t n, complaint *why)
{
    for (int64_t i = 0; i < n; i++) {
        double g = value_at(gd, got, i), w = value_at(wd, want, i);
        w = rounded_to(gd, w);
        if (!(g == w || (isnan(g) && isnan(w)))) return differ(why, i, g, w);
    }
    return true;
}

bool compare_values(hone_dtype gd, const void *got, hone_dtype wd, const void *want, int64_t n, bool exact,
                    double relative, complaint *why)
{
    double error = 0, size = 0, worst = 0, rounding = 0;
    bool half = gd == HONE_BF16 || gd == HONE_F16;
    int64_t at = 0;
    if (exact || gd == HONE_I32 || gd == HONE_U8) return compare_exact(gd, got, wd, want, n, why);
    for (int64_t i = 0; i < n; i++) {
        double g = value_at(gd, got, i), w = value_at(wd, want, i), d = fabs(g - w);
        if (!isfinite(g) || !isfinite(w)) {
            if (g == w || (isnan(g) && isnan(w))) continue;
            return differ(why, i, g, w);
        }
        if (d > worst) {
            worst = d;
            at = i;
        }
        error += d * d;
        size += w * w;
        if (half) rounding += (rounded_to(gd, w) - w) * (rounded_to(gd, w) - w);
    }
    double limit = relative * (sqrt(size) + 0.1 * sqrt((double)n)) + 2 * sqrt(rounding);
    if (sqrt(error) <= limit) return true;
    snprintf(why->text, sizeof why->text, "normwise error %.2e is over %.2e of %.3g; element %lld is %.9g, not %.9g",
             sqrt(error), limit, sqrt(size), (long long)at, value_at(gd, got, at), value_at(wd, want, at));
    return false;
}

/* One number of the step block; relative 0 = equal. No number is near an infinity. */
static bool field(const char *name, double got, double want, double relative, complaint *why)
{
    if (got == want || (isnan(got) && isnan(want))) return true;
    if (isfinite(got) && isfinite(want) && fabs(got - want) <= relative * fabs(want)) return true;
    snprintf(why->text, sizeof why->text, "step->%s is %.12g, not %.12g", name, got, want);
    return false;
}

/* Fields of the host must be untouched, counters equal, sums close. */
bool compare_steps(const hone_step *g, const hone_step *w, complaint *why)
{
    return field("seed", (double)g->seed, (double)w->seed, 0, why) &&
           field("step", (double)g->step, (double)w->step, 0, why) && field("epoch", g->epoch, w->epoch, 0, why) &&
           field("micro", g->micro, w->micro, 0, why) && field("lr", (double)g->lr, (double)w->lr, 0, why) &&
           field("samples", (double)g->samples, (double)w->samples, 0, why) &&
           field("correct", (double)g->correct, (double)w->correct, 0, why) &&
           field("loss_sum", g->loss_sum, w->loss_sum, 1e-5, why) &&
           field("grad_norm", g->grad_norm, w->grad_norm, 1e-5, why) && field("finite", g->finite, w->finite, 0, why) &&
           field("bad_in_row", g->bad_in_row, w->bad_in_row, 0, why) &&
           field("bad_total", (double)g->bad_total, (double)w->bad_total, 0, why) &&
           field("updates", (double)g->updates, (double)w->updates, 0, why) &&
           field("loss_scale", (double)g->loss_scale, (double)w->loss_scale, 0, why) &&
           field("scale_good", g->scale_good, w->scale_good, 0, why) &&
           field("arrived", (double)g->arrived, (double)w->arrived, 0, why);
}
