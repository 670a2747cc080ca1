/* capacity.c - see capacity.h. The worst batch is the sum of the longest texts, and next to no batch is like it. So
 * the batches of one epoch are made as the loader will make them, and capacities are quantiles of their lengths: what
 * a program of capacity T costs beyond a batch of t tokens is T - t rows, which no one reads. */
#include "train/capacity.h"

#include <stdlib.h>

/* LOOKED_AT: batches; GRAIN: a capacity's multiple, whole vectors in every type; LEAST: tokens of one short text */
enum { LOOKED_AT = 2048, GRAIN = 16, LEAST = 8 };

/* For qsort. */
static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Up to the grain; a set of empty texts still needs room for one. */
static int64_t rounded(int64_t tokens) { return tokens < 1 ? GRAIN : (tokens + GRAIN - 1) / GRAIN * GRAIN; }

/* Few sizes serve many batches: each is compiled once. */
int64_t hone_capacity_of(int64_t tokens)
{
    int64_t room = LEAST;
    while (room < tokens) room *= 2;
    return room > LEAST && room / 4 * 3 >= tokens ? room / 4 * 3 : room;
}

/* Tokens of the `batch` longest of `count` texts, of a tail of them, and of the longest; length (count) is sorted. */
static void worst(const int64_t *length, int64_t count, const hone_loader_opts *o, int tail, hone_capacities *out)
{
    int64_t most = 0, last = 0;
    for (int64_t k = 0; k < o->batch && k < count; k++) most += length[count - 1 - k];
    for (int64_t k = 0; k < tail; k++) last += length[count - 1 - k];
    /* a text that is longer than the budget is a batch of its own */
    int64_t budget = o->batch_tokens > length[count - 1] ? o->batch_tokens : length[count - 1];
    if (o->batch_tokens > 0 && budget < most) most = budget;
    out->most = rounded(most);
    out->tail = rounded(last);
}

/* Tokens of full batches of the first epoch into sum (LOOKED_AT); *count says of how many. */
static hone_status measure(hone_dataset *d, const hone_loader_opts *o, int64_t *sum, int *count)
{
    hone_loader *l;
    *count = 0;
    /* a loader of its own: the one that trains has not begun yet, and its place must not move */
    HONE_TRY(hone_loader_open(d, o, &l));
    hone_status status = HONE_OK;
    int64_t batches = hone_loader_batches(l);
    for (int64_t k = 0; k < batches && *count < LOOKED_AT && status == HONE_OK; k++) {
        hone_batch b;
        status = hone_loader_next(l, &b);
        if (status == HONE_OK && (b.count == o->batch || o->batch_tokens > 0)) sum[(*count)++] = b.tokens;
    }
    hone_loader_close(l);
    return status;
}

/* From the largest down; two that are within a sixteenth of each other are not worth two programs. */
static void quantiles(const int64_t *sum, int count, hone_capacities *out)
{
    static const int percent[] = {100, 98, 90, 75, 50, 25, 5};
    int64_t above = out->most;
    for (size_t k = 0; k < sizeof percent / sizeof *percent && count > 0; k++) {
        int64_t tokens = rounded(sum[(int64_t)(count - 1) * percent[k] / 100]);
        if (tokens > above - above / 16) continue;
        out->tokens[out->count++] = above = tokens;
    }
}

/* Lengths first (the worst case is theirs), then batches as they come. */
hone_status hone_capacities_find(hone_dataset *d, const hone_loader_opts *o, hone_capacities *out)
{
    const int64_t *offset = hone_dataset_token_offsets(d);
    int64_t count = hone_dataset_count(d);
    int64_t *length = malloc(((size_t)count + LOOKED_AT) * sizeof *length);
    int looked = 0;
    if (!length) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld lengths", (long long)count);
    int64_t *sum = length + count; /* (LOOKED_AT) of whole batches */
    *out = (hone_capacities){0};
    for (int64_t k = 0; k < count; k++) length[k] = offset[k + 1] - offset[k];
    qsort(length, (size_t)count, sizeof *length, ascending);
    worst(length, count, o, (int)(count % o->batch), out);
    hone_status status = measure(d, o, sum, &looked);
    qsort(sum, (size_t)looked, sizeof *sum, ascending);
    if (status == HONE_OK) quantiles(sum, looked, out);
    free(length);
    return status;
}
