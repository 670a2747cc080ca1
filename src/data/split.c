/* split.c - cuts a validation split out of train; see order.h for the rule.
 *
 * Each sample has a draw of its own, so a class keeps its split when other classes change their
 * labels; sample ids are positions in the source. */
#include <math.h>
#include <stdlib.h>

#include "data/files.h"
#include "data/order.h"
#include "hone/philox.h"

typedef struct ticket {
    int32_t label, sample;
    uint64_t draw;
} ticket;

/* By class, then draw; equal draws (one in 2^64) by sample, so that qsort's freedom can't show. */
static int compare_tickets(const void *a, const void *b)
{
    const ticket *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

/* Sorting groups the classes and orders each by its draws: the first `take` of a group are its
 * validation samples. n log n, 6 ms for 60,000. */
hone_status hone_split_stratified(const int32_t *label, int64_t count, int classes, double fraction, uint64_t seed,
                                  bool *in_val, int64_t *val_count)
{
    ticket *t = malloc((size_t)count * sizeof *t);
    *val_count = 0;
    if (!t) return hone_no_memory("the validation split", (size_t)count * sizeof *t);
    for (int64_t i = 0; i < count; i++) {
        hone_philox4 r = hone_philox(seed, HONE_STREAM_SPLIT, (uint64_t)i, 0);
        t[i] = (ticket){label[i], (int32_t)i, (uint64_t)r.v[0] << 32 | r.v[1]};
        in_val[i] = false;
    }
    qsort(t, (size_t)count, sizeof *t, compare_tickets);
    int64_t at = 0;
    for (int k = 0; k < classes; k++) {
        int64_t end = at;
        while (end < count && t[end].label == k) end++;
        /* halves round up, so one sample of ten is taken at 0.05 and above */
        int64_t n = end - at, take = (int64_t)floor((double)n * fraction + 0.5);
        if (take >= n) take = n > 0 ? n - 1 : 0; /* a class must stay learnable */
        for (int64_t i = at; i < at + take; i++) in_val[t[i].sample] = true;
        *val_count += take;
        at = end;
    }
    free(t);
    return HONE_OK;
}
