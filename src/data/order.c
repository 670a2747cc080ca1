/* order.c - which samples the next batch holds, for whoever makes batches (loader.c, stream.c).
 *
 * Samples in the order of an epoch, cut into batches of one size; or, under a budget of ids, cut into batches once,
 * which then change their order. Either way a function of (seed, epoch): a position is two integers, and a resumed
 * run needs no more than them. It knows nothing of what a sample is but the number of its ids. */
#include "data/order.h"

#include <stdlib.h>

#include "data/stream.h"

/* The last batch may be short; it is trained too, so batches = ceil(count / batch). */
hone_status hone_order_init(hone_order *o, int64_t count, int batch, bool shuffle, uint64_t seed)
{
    *o = (hone_order){.count = count, .batch = batch, .shuffle = shuffle, .seed = seed, .sample_epoch = -1};
    o->batches = (count + batch - 1) / batch;
    o->sample = malloc((size_t)count * sizeof *o->sample);
    return o->sample ? HONE_OK : hone_no_memory("the order of an epoch", (size_t)count * sizeof *o->sample);
}

/* Cut in the order in which samples stand: a batch is full when it has `batch` samples or the next would not fit. */
static int64_t cut(const hone_order *o, const int64_t *offset, int64_t budget, int64_t *first)
{
    int64_t batches = 0, tokens = 0, begin = 0;
    for (int64_t i = 0; i < o->count; i++) {
        int64_t length = offset[o->sample[i] + 1] - offset[o->sample[i]];
        if (i > begin && (i - begin == o->batch || tokens + length > budget)) {
            if (first) first[batches] = begin;
            batches++;
            begin = i;
            tokens = 0;
        }
        tokens += length;
    }
    if (first) first[batches] = begin;
    if (first) first[batches + 1] = o->count;
    return batches + 1;
}

/* One cut for all epochs keeps the steps of an epoch one number: schedules, progress and resume go by it. */
hone_status hone_order_budget(hone_order *o, const int64_t *offset, int64_t budget)
{
    if (o->shuffle) hone_shuffle(o->seed, -1, o->count, o->sample); /* -1: the order of no epoch */
    else
        for (int64_t i = 0; i < o->count; i++) o->sample[i] = (int32_t)i;
    /* counted first, then cut: the number of batches is known only by cutting */
    o->batches = cut(o, offset, budget, NULL);
    o->first = malloc(((size_t)o->batches + 1) * sizeof *o->first);
    o->turn = malloc((size_t)o->batches * sizeof *o->turn);
    if (!o->first || !o->turn) return hone_no_memory("the batches of an epoch", (size_t)o->batches * sizeof *o->first);
    cut(o, offset, budget, o->first);
    return HONE_OK;
}

void hone_order_free(hone_order *o)
{
    free(o->sample);
    free(o->first);
    free(o->turn);
}

/* File order is the same in every epoch and is written once. */
static void fill_epoch(hone_order *o)
{
    int32_t *list = o->first ? o->turn : o->sample;
    int64_t count = o->first ? o->batches : o->count;
    if (o->shuffle) hone_shuffle(o->seed, o->epoch, count, list);
    else if (o->sample_epoch < 0)
        for (int64_t i = 0; i < count; i++) list[i] = (int32_t)i;
    o->sample_epoch = o->epoch;
}

/* The permutation is made when its first batch is asked for: a seek into an epoch costs one shuffle. */
const int32_t *hone_order_next(hone_order *o, int64_t *epoch, int64_t *index, int *count)
{
    if (o->sample_epoch != o->epoch) fill_epoch(o);
    int64_t first = o->first ? o->first[o->turn[o->index]] : o->index * o->batch;
    int64_t left = o->first ? o->first[o->turn[o->index] + 1] - first : o->count - first;
    *epoch = o->epoch;
    *index = o->index;
    *count = (int)(left < o->batch ? left : o->batch);
    if (++o->index == o->batches) {
        o->index = 0;
        o->epoch++;
    }
    return o->sample + first;
}
