/* profile.c - seconds of each node, for `hone bench`: real steps, run node by node with a clock.
 *
 * Medians, because one descheduling would spoil a mean. The sync after each node is part of what is
 * measured, so sums are a little above a step's time on a device. */
#include <stdlib.h>

#include "compile/pass.h"
#include "core/thread.h"

/* For qsort; times are never NaN. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* sample[i * repeat + r]: seconds of launch i in step r. */
static hone_status time_steps(hone_program *p, int repeat, double *sample)
{
    HONE_TRY(hone_shadow_refresh(p));
    hone_shadow_note(p, false);
    for (int r = 0; r < repeat; r++)
        for (int32_t i = 0; i < p->launch_count; i++) {
            double start = hone_now_seconds();
            HONE_TRY(hone_launch_run(p, &p->launch[i]));
            HONE_TRY(p->backend->sync(p->backend));
            sample[(size_t)i * (size_t)repeat + (size_t)r] = hone_now_seconds() - start;
        }
    return HONE_OK;
}

/* Runs `repeat` real steps: parameters move, as in training. */
hone_status hone_program_profile(hone_program *p, int repeat, double *seconds)
{
    if (!p->launch || repeat < 1)
        return hone_fail(HONE_ERR_USAGE, "profile a compiled program at least once", "profile: nothing to run");
    double *sample = malloc((size_t)p->launch_count * (size_t)repeat * sizeof *sample + 1);
    if (!sample) return hone_fail(HONE_ERR_MEMORY, NULL, "profile: no host memory");
    hone_status status = time_steps(p, repeat, sample);
    for (hone_nid i = 0; i < p->graph->node_count; i++) seconds[i] = 0; /* reshapes take none */
    for (int32_t i = 0; status == HONE_OK && i < p->launch_count; i++) {
        double *s = sample + (size_t)i * (size_t)repeat;
        qsort(s, (size_t)repeat, sizeof *s, by_value);
        seconds[p->launch[i].node - p->graph->node] =
            repeat % 2 ? s[repeat / 2] : (s[repeat / 2 - 1] + s[repeat / 2]) / 2;
    }
    free(sample);
    return status;
}
