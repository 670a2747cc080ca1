/* loader.c - batches of a data set: index lists where it is in memory, decoded pixels where not.
 *
 * The order is a function of (seed, epoch) alone, and a position is two integers, so seeking needs
 * no history and resume no saved state. Over resident pixels a batch costs no copy: `row` points into
 * the permutation, and the first node of the step gathers. Every sample comes once an epoch, in the
 * last short batch too. It must not draw augmentation: that is keyed by (seed, epoch, sample) in the
 * kernels. */
#include <stdlib.h>
#include <string.h>

#include "data/stream.h"

/* Resident data need no thread: a batch is a list of rows, and the pixels stay where they are. */
struct hone_loader {
    hone_dataset *d;
    hone_order order;
    int threads, prefetch;
    int32_t *label;  /* (batch) resident: gathered for the batch at hand */
    float *weight;   /* (batch) those of the data, else ones             */
    int32_t *token;  /* text: (token_room) ids gathered for the batch    */
    int32_t *type;   /* pairs: (token_room) their segments               */
    int32_t *offset; /* text: (batch + 1)                                */
    int64_t token_room;
    hone_stream *stream; /* NULL when resident, or before the first batch    */
    double wait_seconds;
};

/* A batch larger than the set is the whole set. Nothing is started here: see hone_loader_next. */
hone_status hone_loader_open(hone_dataset *d, const hone_loader_opts *o, hone_loader **out)
{
    *out = NULL;
    if (o->batch < 1) return hone_fail(HONE_ERR_USAGE, "give a batch of at least 1", "train.batch: %d", o->batch);
    if (d->count < 1)
        return hone_fail(HONE_ERR_DATA, "look at the data", "%s: no samples",
                         d->source ? hone_shown(d->source->name) : "text");
    if (d->texts && !d->token) return hone_fail(HONE_ERR_RUNTIME, NULL, "a text set is loaded before it has tokens");
    int batch = o->batch < d->count ? o->batch : (int)d->count;
    hone_loader *l = calloc(1, sizeof *l);
    if (!l) return hone_no_memory("the loader", sizeof *l);
    l->d = d;
    l->threads = o->threads;
    l->prefetch = o->prefetch;
    hone_status s = hone_order_init(&l->order, d->count, batch, o->shuffle, o->seed);
    l->label = malloc((size_t)batch * sizeof *l->label);
    l->weight = malloc((size_t)batch * sizeof *l->weight);
    if (d->texts) l->offset = malloc(((size_t)batch + 1) * sizeof *l->offset);
    if (s == HONE_OK && d->texts && o->batch_tokens > 0) s = hone_order_budget(&l->order, d->offset, o->batch_tokens);
    if (s == HONE_OK && (!l->label || !l->weight || (d->texts && !l->offset)))
        s = hone_no_memory("a batch", (size_t)batch * sizeof *l->label);
    if (s != HONE_OK) {
        hone_loader_close(l);
        return s;
    }
    for (int i = 0; i < batch; i++) l->weight[i] = 1.0f;
    *out = l;
    return HONE_OK;
}

/* O(1): the order of an epoch is a function of seed and epoch, so nothing is read to get there. */
hone_status hone_loader_seek(hone_loader *l, int64_t epoch, int64_t index)
{
    if (epoch < 0 || index < 0 || index >= l->order.batches)
        return hone_fail(HONE_ERR_USAGE, "the data or the batch size may have changed",
                         "no batch %lld in epoch %lld (an epoch has %lld)", (long long)index, (long long)epoch,
                         (long long)l->order.batches);
    hone_stream_close(l->stream); /* what it decoded ahead belongs to the old place */
    l->stream = NULL;
    l->order.epoch = epoch;
    l->order.index = index;
    return HONE_OK;
}

/* Grows by need: the longest batch of an epoch is not known before it has come. */
static hone_status room_for_tokens(hone_loader *l, int64_t tokens)
{
    if (l->token && tokens <= l->token_room) return HONE_OK;
    int64_t room = tokens + tokens / 2 + 64;
    int32_t *more = realloc(l->token, (size_t)room * sizeof *more);
    if (!more) return hone_no_memory("a batch of tokens", (size_t)room * sizeof *more);
    l->token = more;
    if (l->d->second) {
        if (!(more = realloc(l->type, (size_t)room * sizeof *more)))
            return hone_no_memory("a batch of tokens", (size_t)room * sizeof *more);
        l->type = more;
    }
    l->token_room = room;
    return HONE_OK;
}

/* The ids of the batch's samples side by side, in the order of the batch. */
static hone_status gather_tokens(hone_loader *l, hone_batch *b)
{
    const hone_dataset *d = l->d;
    int64_t tokens = 0;
    for (int i = 0; i < b->count; i++) {
        const int64_t *o = d->offset + b->sample[i];
        tokens += o[1] - o[0];
        /* shuffled texts lie anywhere: all are on their way before the first is copied */
        __builtin_prefetch(d->token + o[0]);
        __builtin_prefetch(d->token + o[1]);
    }
    if (tokens > INT32_MAX)
        return hone_fail(HONE_ERR_USAGE, "set train.batch or text.max_length lower",
                         "a batch of %d texts has %lld tokens, more than 2^31", b->count, (long long)tokens);
    HONE_TRY(room_for_tokens(l, tokens));
    int32_t at = 0;
    for (int i = 0; i < b->count; i++) {
        const int64_t *o = d->offset + b->sample[i];
        l->offset[i] = at;
        memcpy(l->token + at, d->token + o[0], (size_t)(o[1] - o[0]) * sizeof *l->token);
        for (int32_t k = 0; d->second && k < (int32_t)(o[1] - o[0]); k++)
            l->type[at + k] = k >= d->second[b->sample[i]];
        at += (int32_t)(o[1] - o[0]);
    }
    l->offset[b->count] = at;
    b->token = l->token;
    b->type = d->second ? l->type : NULL;
    b->offset = l->offset;
    b->tokens = at;
    return HONE_OK;
}

/* Under a budget a batch has any number of samples, a program one: the rest are empty and weigh nothing. */
static void fill_up(hone_loader *l, const hone_batch *b)
{
    for (int i = 0; i < l->order.batch; i++) {
        /* no ids from here on: ragged kernels see rows of length 0 */
        bool there = i < b->count;
        if (!there) l->label[i] = 0;
        if (!there) l->offset[i + 1] = l->offset[b->count];
        /* the data's weights are gathered anew each time; the ones of others must come back */
        if (!there || !l->d->weight) l->weight[i] = there ? 1.0f : 0.0f;
    }
}

/* Resident: row = sample, and pixels stay in the pool. Streaming: the stream's slot, row 0..count-1. */
hone_status hone_loader_next(hone_loader *l, hone_batch *out)
{
    /* which of the two it is never changes: the set was loaded before */
    if (!l->d->pixels && !l->d->texts) { /* threads start with the first batch, so that a seek before it is free */
        if (!l->stream) HONE_TRY(hone_stream_open(l->d, &l->order, l->threads, l->prefetch, &l->stream));
        return hone_stream_next(l->stream, out, &l->wait_seconds);
    }
    *out = (hone_batch){.label = l->label, .weight = l->weight};
    out->sample = out->row = hone_order_next(&l->order, &out->epoch, &out->index, &out->count);
    for (int i = 0; i < out->count; i++) l->label[i] = l->d->label[out->sample[i]];
    for (int i = 0; l->d->weight && i < out->count; i++) l->weight[i] = l->d->weight[out->sample[i]];
    if (l->d->texts) HONE_TRY(gather_tokens(l, out));
    if (l->order.first) fill_up(l, out);
    return HONE_OK;
}

int64_t hone_loader_batches(const hone_loader *l) { return l->order.batches; }
double hone_loader_wait_seconds(const hone_loader *l) { return l->wait_seconds; }

/* The stream goes first: its threads read the order. */
void hone_loader_close(hone_loader *l)
{
    if (!l) return;
    hone_stream_close(l->stream);
    hone_order_free(&l->order);
    free(l->label);
    free(l->weight);
    free(l->token);
    free(l->type);
    free(l->offset);
    free(l);
}
