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
    uint64_t draw;
    int32_t sample;
} ticket;

/* By draw; equal draws (one in 2^64) by sample, so that the order is one only. */
static bool before(ticket a, ticket b) { return a.draw != b.draw ? a.draw < b.draw : a.sample < b.sample; }

/* Puts the `take` smallest of t[0, n) first, in any order (Hoare's FIND, 1961): a sort would cost more
 * than reading the data. Draws are random, so the middle is as good a pivot as any. */
static void select_first(ticket *t, int64_t n, int64_t take)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        ticket pivot = t[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (before(t[i], pivot)) i++;
            while (before(pivot, t[j])) j--;
            if (i > j) break;
            ticket other = t[i];
            t[i++] = t[j];
            t[j--] = other;
        }
        if (take - 1 <= j) high = j;
        else if (take - 1 >= i) low = i;
        else return;
    }
}

/* Tickets grouped by class: start[k] is the first of class k (classes + 1). */
static void deal_tickets(const int32_t *label, int64_t count, int classes, uint64_t seed, int64_t *start, ticket *t)
{
    for (int64_t i = 0; i < count; i++) start[label[i] + 1]++;
    for (int k = 0; k < classes; k++) start[k + 1] += start[k];
    for (int64_t i = 0; i < count; i++) {
        hone_philox4 r = hone_philox(seed, HONE_STREAM_SPLIT, (uint64_t)i, 0);
        t[start[label[i]]++] = (ticket){(uint64_t)r.v[0] << 32 | r.v[1], (int32_t)i};
    }
    for (int k = classes; k > 0; k--) start[k] = start[k - 1]; /* each was moved to the end of its class */
    start[0] = 0;
}

/* The samples with the smallest draws of their class validate. Linear in the samples. */
hone_status hone_split_stratified(const int32_t *label, int64_t count, int classes, double fraction, uint64_t seed,
                                  bool *in_val, int64_t *val_count)
{
    ticket *t = malloc((size_t)count * sizeof *t);
    int64_t *start = calloc((size_t)classes + 1, sizeof *start);
    *val_count = 0;
    if (!t || !start) {
        free(t);
        free(start);
        return hone_no_memory("the validation split", (size_t)count * sizeof *t);
    }
    deal_tickets(label, count, classes, seed, start, t);
    for (int64_t i = 0; i < count; i++) in_val[i] = false;
    for (int k = 0; k < classes; k++) {
        /* halves round up, so one sample of ten is taken at 0.05 and above */
        int64_t n = start[k + 1] - start[k], take = (int64_t)floor((double)n * fraction + 0.5);
        if (take >= n) take = n > 0 ? n - 1 : 0; /* a class must stay learnable */
        if (take > 0) select_first(t + start[k], n, take);
        for (int64_t i = 0; i < take; i++) in_val[t[start[k] + i].sample] = true;
        *val_count += take;
    }
    free(t);
    free(start);
    return HONE_OK;
}
