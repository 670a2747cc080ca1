/* stream.c - see stream.h: a ring of slots, filled sample by sample by decode threads.
 *
 * Samples are handed out in the order of batches and every sample has its place in its slot, so the
 * batches are the same for any number of threads and any prefetch. The unit of work is one sample, not
 * one batch: all threads work on the batch that is needed next, which keeps the first one short.
 *
 * One mutex guards the ring; it is held for bookkeeping, never while decoding. Slots [released, begun)
 * are in use, the oldest one may be the caller's. The error of a batch is that of its first bad
 * sample. */
#include "data/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"

/* One batch of the ring, from being planned to being given back. */
typedef struct slot {
    int64_t epoch, index;
    int count, taken, done;        /* samples in the batch, handed to threads, decoded                     */
    int bad_at;                    /* lowest position that failed, or -1                                   */
    hone_error error;              /* of bad_at                                                            */
    int32_t *row, *sample, *label; /* (batch)                                                       */
    float *weight;                 /* (batch)                                                              */
    uint8_t *pixels;               /* (batch, H, W, C)                                                     */
} slot;

/* Everything below `slots` that changes is guarded by `lock`; pixels of a sample belong to who decodes it. */
struct hone_stream {
    const hone_dataset *d;
    hone_order *order;
    int slot_count, threads, started;
    slot *slots;
    int64_t begun, released; /* batches started and given back; slots [released, begun) are in use   */
    bool held;               /* the caller has batch `released`                                      */
    bool quit;
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    pthread_t *thread;
};

/* Under the lock: the slot with a sample to hand out, beginning the next batch where one fits. */
static slot *find_work(hone_stream *s)
{
    /* read only where it was begun and is not given back, so the first look at slot -1 + slot_count is safe */
    slot *newest = &s->slots[(s->begun + s->slot_count - 1) % s->slot_count];
    if (s->begun > s->released && newest->taken < newest->count) return newest;
    if (s->begun - s->released >= s->slot_count) return NULL;
    slot *next = &s->slots[s->begun++ % s->slot_count];
    const int32_t *sample = hone_order_next(s->order, &next->epoch, &next->index, &next->count);
    memcpy(next->sample, sample, (size_t)next->count * sizeof *sample);
    for (int i = 0; i < next->count; i++) next->label[i] = s->d->label[sample[i]];
    next->taken = next->done = 0;
    next->bad_at = -1;
    return next;
}

/* Under the lock. The consumer may wait for this batch or an older one, hence the broadcast. */
static void finish_sample(hone_stream *s, slot *batch, int at, hone_status status)
{
    if (status != HONE_OK && (batch->bad_at < 0 || at < batch->bad_at)) {
        batch->bad_at = at;
        hone_error_save(&batch->error, status);
    }
    if (++batch->done == batch->count) pthread_cond_broadcast(&s->ready);
}

/* Takes a sample under the lock, decodes without it. The slot can't be reused meanwhile: it is released
 * only after done == count, which counts this sample. */
static void *decode_thread(void *arg)
{
    hone_stream *s = arg;
    size_t bytes = hone_dataset_sample_bytes(s->d);
    pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        slot *batch = find_work(s);
        if (!batch) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        int at = batch->taken++;
        int32_t sample = batch->sample[at];
        pthread_mutex_unlock(&s->lock);
        hone_status status = hone_dataset_decode(s->d, sample, batch->pixels + (size_t)at * bytes);
        pthread_mutex_lock(&s->lock);
        finish_sample(s, batch, at, status);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Fine on one that was only half made. */
static void slot_free(slot *b)
{
    free(b->row);
    free(b->sample);
    free(b->label);
    free(b->weight);
    free(b->pixels);
}

/* Allocated once; `row` and `weight` never change. */
static hone_status slot_init(slot *b, const hone_dataset *d, int batch)
{
    size_t n = (size_t)batch, bytes = n * hone_dataset_sample_bytes(d);
    b->row = malloc(n * sizeof *b->row);
    b->sample = malloc(n * sizeof *b->sample);
    b->label = malloc(n * sizeof *b->label);
    b->weight = malloc(n * sizeof *b->weight);
    b->pixels = malloc(bytes);
    if (!b->row || !b->sample || !b->label || !b->weight || !b->pixels)
        return hone_no_memory("batches decoded ahead", bytes);
    for (int i = 0; i < batch; i++) {
        b->row[i] = i;
        b->weight[i] = 1.0f;
    }
    return HONE_OK;
}

/* As many threads as can be had; none at all is an error. */
static hone_status start_threads(hone_stream *s)
{
    while (s->started < s->threads && pthread_create(&s->thread[s->started], NULL, decode_thread, s) == 0) s->started++;
    return s->started ? HONE_OK
                      : hone_fail(HONE_ERR_RUNTIME, "raise the limit of threads", "no decode thread could be started");
}

/* One slot more than `prefetch`: the caller holds one while the others fill. */
hone_status hone_stream_open(const hone_dataset *d, hone_order *order, int threads, int prefetch, hone_stream **out)
{
    hone_stream *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return hone_no_memory("the loader", sizeof *s);
    *s = (hone_stream){.d = d,
                       .order = order,
                       .slot_count = (prefetch > 0 ? prefetch : 1) + 1,
                       .threads = threads > 0 ? threads : d->threads};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->ready, NULL);
    s->slots = calloc((size_t)s->slot_count, sizeof *s->slots);
    s->thread = calloc((size_t)s->threads, sizeof *s->thread);
    hone_status status =
        s->slots && s->thread ? HONE_OK : hone_no_memory("the loader", (size_t)s->slot_count * sizeof *s->slots);
    for (int k = 0; status == HONE_OK && k < s->slot_count; k++) status = slot_init(&s->slots[k], d, order->batch);
    if (status == HONE_OK) status = start_threads(s);
    if (status != HONE_OK) {
        hone_stream_close(s);
        return status;
    }
    *out = s;
    return HONE_OK;
}

/* Blocks until the next batch is whole. After an error the batch counts as taken, so a caller that goes
 * on gets the one behind it. */
hone_status hone_stream_next(hone_stream *s, hone_batch *out, double *wait_seconds)
{
    pthread_mutex_lock(&s->lock);
    if (s->held) { /* give the caller's slot back */
        s->released++;
        s->held = false;
        pthread_cond_broadcast(&s->work);
    }
    slot *b = &s->slots[s->released % s->slot_count];
    double start = hone_now_seconds();
    while (s->begun <= s->released || b->done < b->count) pthread_cond_wait(&s->ready, &s->lock);
    *wait_seconds += hone_now_seconds() - start;
    s->held = true;
    pthread_mutex_unlock(&s->lock);
    if (b->bad_at >= 0) return hone_error_restore(&b->error);
    *out = (hone_batch){.count = b->count, .epoch = b->epoch, .index = b->index, .row = b->row, .sample = b->sample};
    out->label = b->label;
    out->weight = b->weight;
    out->pixels = b->pixels;
    return HONE_OK;
}

/* A thread finishes the image that it is at and then sees `quit`. */
void hone_stream_close(hone_stream *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int k = 0; k < s->started; k++) pthread_join(s->thread[k], NULL);
    for (int k = 0; s->slots && k < s->slot_count; k++) slot_free(&s->slots[k]);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s->slots);
    free(s->thread);
    free(s);
}
