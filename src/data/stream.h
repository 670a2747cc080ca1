/* stream.h - batches of a set that is not in memory: decoded ahead by threads, in a fixed order. */
#ifndef HONE_DATA_STREAM_H
#define HONE_DATA_STREAM_H

#include "data/dataset.h"

/* Walks through the epochs: which samples the next batch holds. One user at a time. */
typedef struct hone_order {
    int64_t count, batches, epoch, index; /* epoch, index: of the batch that comes next            */
    int batch;                            /* samples of one, at most */
    bool shuffle;
    uint64_t seed;
    int64_t sample_epoch; /* epoch that `sample` holds; -1 before the first        */
    int32_t *sample;      /* (count) permutation of that epoch                     */
    int64_t *first;       /* (batches + 1) under a budget: where batches begin in `sample`, which then stays; or NULL */
    int32_t *turn; /* (batches) under a budget: the batches of that epoch in their order                        */
} hone_order;
hone_status hone_order_init(hone_order *o, int64_t count, int batch, bool shuffle, uint64_t seed) HONE_MUST_USE;
/* From now on a batch holds at most `budget` ids, or one sample that has more: the samples are cut into batches once,
 * as the seed has them, and epochs change the order of batches. offset (count + 1). */
hone_status hone_order_budget(hone_order *o, const int64_t *offset, int64_t budget) HONE_MUST_USE;
void hone_order_free(hone_order *o);
/* The next batch: its samples (valid until the next call) and their number; steps on. */
const int32_t *hone_order_next(hone_order *o, int64_t *epoch, int64_t *index, int *count);

typedef struct hone_stream hone_stream;
/* `order` is used by the stream alone while it lives. `prefetch` batches are decoded ahead of the one
 * that the caller holds, so memory is bounded by prefetch + 1 batches. */
hone_status hone_stream_open(const hone_dataset *d, hone_order *order, int threads, int prefetch,
                             hone_stream **out) HONE_MUST_USE;
/* The next batch; the one before is given back to the threads. Adds the time waited to *wait_seconds.
 * A sample that can't be decoded: DATA, the same one whatever the threads did. */
hone_status hone_stream_next(hone_stream *s, hone_batch *out, double *wait_seconds) HONE_MUST_USE;
void hone_stream_close(hone_stream *s); /* stops and joins the threads; NULL is fine               */

#endif
