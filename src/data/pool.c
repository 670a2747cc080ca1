/* pool.c - a data set into memory, decoded, and what is measured over all its pixels.
 *
 * Three cases: the source's own pixels are the samples (nothing to do); the set fits the memory limit
 * (decoded once, in parallel); it does not (it stays a stream, see stream.c). Each sample goes to its
 * own place, so the pool has the same bytes for any number of threads; broken ones are left out
 * afterwards, in order. Moments are made from integer counts for the same reason.
 *
 * The limit guards against swapping, not against other processes: it is taken once, at the start. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "data/dataset.h"

enum { CHUNK = 64 }; /* samples handed to a thread at once: keeps the counter cold */

/* Bytes that may still be taken without swapping: MemAvailable, or less under a container's limit. */
int64_t hone_free_memory_bytes(void)
{
    int64_t available = (int64_t)1 << 30; /* where the system does not tell: a careful guess */
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    long long kb;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kb) == 1) available = kb * 1024;
    if (f) fclose(f);
    /* cgroup v2; "max" is no number, so an unlimited group is passed over */
    long long most = 0, used = 0;
    FILE *limit = fopen("/sys/fs/cgroup/memory.max", "r"), *current = fopen("/sys/fs/cgroup/memory.current", "r");
    if (limit && current && fscanf(limit, "%lld", &most) == 1 && fscanf(current, "%lld", &used) == 1 &&
        most - used < available)
        available = most > used ? most - used : 0;
    if (limit) fclose(limit);
    if (current) fclose(current);
    return available;
}

typedef struct load_work {
    hone_dataset *d;
    uint8_t *pixels; /* NULL: only look whether every sample can be decoded */
    const volatile int *stop;
    char **reason; /* (count) of broken samples, NULL of good ones */
} load_work;

/* The decoder's error with what can be done about it here, besides what its own hint says. */
static hone_status with_way_out(hone_status s)
{
    hone_error e;
    char hint[sizeof e.hint + 64];
    hone_error_save(&e, s);
    snprintf(hint, sizeof hint, "%s%sdata.on_error: skip leaves broken samples out", e.hint, *e.hint ? "; or: " : "");
    return hone_fail(s, hint, "%s", e.message);
}

/* Polls `stop` a sample, so that Ctrl-C works while a large set loads. With skip, only broken data is
 * noted; running out of memory still ends the load. */
static hone_status load_sample(load_work *w, int64_t i, uint8_t *scratch)
{
    size_t bytes = hone_dataset_sample_bytes(w->d);
    if (w->stop && *w->stop) return hone_fail(HONE_INTERRUPTED, NULL, "stopped while loading data");
    hone_status s = hone_dataset_decode(w->d, i, w->pixels ? w->pixels + (size_t)i * bytes : scratch);
    if (s == HONE_ERR_DATA && w->d->on_error != HONE_ON_ERROR_SKIP) return with_way_out(s);
    if (s != HONE_ERR_DATA) return s;
    w->reason[i] = strdup(hone_error_message());
    return w->reason[i] ? HONE_OK : hone_no_memory("a list of broken files", 0);
}

/* Samples [64 chunk, 64 chunk + 64). The scratch image is for sets that stay streams. */
static hone_status load_chunk(void *arg, int64_t chunk)
{
    load_work *w = arg;
    int64_t end = (chunk + 1) * CHUNK < w->d->count ? (chunk + 1) * CHUNK : w->d->count;
    uint8_t *scratch = w->pixels ? NULL : malloc(hone_dataset_sample_bytes(w->d));
    if (!w->pixels && !scratch) return hone_no_memory("an image", hone_dataset_sample_bytes(w->d));
    hone_status s = HONE_OK;
    for (int64_t i = chunk * CHUNK; s == HONE_OK && i < end; i++) s = load_sample(w, i, scratch);
    free(scratch);
    return s;
}

/* Takes samples that have a reason out of every array, keeping the order of the others. */
static hone_status drop_broken(load_work *w)
{
    hone_dataset *d = w->d;
    size_t bytes = hone_dataset_sample_bytes(d);
    int64_t kept = 0, count = d->count; /* kept <= i throughout, so copying down is safe */
    for (int64_t i = 0; i < count; i++) {
        if (w->reason[i]) {
            HONE_TRY(hone_names_add(&d->skipped, w->reason[i]));
            continue;
        }
        d->item[kept] = d->item[i];
        d->label[kept] = d->label[i];
        if (d->weight) d->weight[kept] = d->weight[i];
        if (w->pixels && kept != i) memcpy(w->pixels + (size_t)kept * bytes, w->pixels + (size_t)i * bytes, bytes);
        kept++;
    }
    if (kept == 0)
        return hone_fail(HONE_ERR_DATA, "look at the files", "%s: all %lld samples are broken; the first: %s",
                         hone_shown(d->source->name), (long long)count, d->skipped.item[0]);
    d->count = kept;
    return HONE_OK;
}

/* The source's pixels are needed by no one once every view of it has its own copy. */
static void release_raw(hone_source *s)
{
    if (--s->raw_users > 0 || s->map) return; /* a mapping takes no memory of its own */
    free(s->raw);
    s->raw = NULL;
}

/* Reasons are kept by sample, so their list comes out in order whatever the threads did. */
static hone_status run_load(load_work *w, int threads)
{
    hone_dataset *d = w->d;
    w->reason = calloc((size_t)d->count, sizeof *w->reason);
    if (!w->reason) return hone_no_memory("a list of broken files", (size_t)d->count * sizeof *w->reason);
    int64_t count = d->count;
    hone_status s = hone_parallel_for(threads, (count + CHUNK - 1) / CHUNK, load_chunk, w);
    if (s == HONE_OK) s = drop_broken(w);
    for (int64_t i = 0; i < count; i++) free(w->reason[i]);
    free(w->reason);
    return s;
}

/* Calling it again is free. On failure the set is as it was before. */
hone_status hone_dataset_load(hone_dataset *d, int threads, const volatile int *stop)
{
    if (d->loaded) return HONE_OK;
    if (threads < 1) threads = d->threads;
    load_work w = {.d = d, .stop = stop};
    int64_t limit = d->memory_limit_bytes ? d->memory_limit_bytes : hone_free_memory_bytes() / 2;
    size_t bytes = (size_t)d->count * hone_dataset_sample_bytes(d);
    bool resident = bytes <= (uint64_t)limit;
    /* nothing to do, and nothing to copy; a mapping over the limit is read batch by batch like any stream */
    if (hone_dataset_is_raw(d) && d->count == d->source->count && (resident || !d->source->map)) {
        d->pixels = d->source->raw;
        d->loaded = true;
        return HONE_OK;
    }
    /* With `skip` a stream must know its broken files before the first epoch, or batches would change
     * their sizes on the way; with `stop` the first one met ends the run, so looking ahead buys nothing. */
    if (!resident && (d->on_error == HONE_ON_ERROR_STOP || d->source->raw)) {
        d->loaded = true;
        return HONE_OK;
    }
    if (resident && !(w.pixels = malloc(bytes))) return hone_no_memory("decoded images", bytes);
    hone_status s = run_load(&w, threads);
    if (s != HONE_OK) {
        free(w.pixels);
        return s;
    }
    d->pixels = w.pixels;
    d->pixels_owned = w.pixels != NULL;
    d->loaded = true;
    if (resident && d->source->raw) release_raw(d->source);
    return HONE_OK;
}

/* Counts of each value of each channel: integers, so that the order of threads can't change a bit. */
typedef struct moments_work {
    hone_dataset *d;
    uint64_t histogram[4][256];
    pthread_mutex_t lock;
} moments_work;

/* p (pixels, channels). */
static void count_values(const uint8_t *p, size_t pixels, int channels, uint64_t histogram[4][256])
{
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++) histogram[c][*p++]++;
}

/* Counts into a histogram of its own, and adds that to the common one under the lock. */
static hone_status moments_chunk(void *arg, int64_t chunk)
{
    moments_work *w = arg;
    hone_dataset *d = w->d;
    uint64_t histogram[4][256] = {{0}};
    int64_t end = (chunk + 1) * CHUNK < d->count ? (chunk + 1) * CHUNK : d->count;
    size_t bytes = hone_dataset_sample_bytes(d), pixels = (size_t)d->height * (size_t)d->width;
    uint8_t *scratch = d->pixels ? NULL : malloc(bytes);
    hone_status s = d->pixels || scratch ? HONE_OK : hone_no_memory("an image", bytes);
    for (int64_t i = chunk * CHUNK; s == HONE_OK && i < end; i++) {
        if (scratch) s = hone_dataset_decode(d, i, scratch);
        if (s == HONE_OK)
            count_values(scratch ? scratch : d->pixels + (size_t)i * bytes, pixels, d->channels, histogram);
    }
    free(scratch);
    pthread_mutex_lock(&w->lock);
    for (int c = 0; c < d->channels; c++)
        for (int v = 0; v < 256; v++) w->histogram[c][v] += histogram[c][v];
    pthread_mutex_unlock(&w->lock);
    return s;
}

/* Exact up to the last division: 256 counts a channel hold all there is to know of 8-bit pixels.
 * Population formula (divide by n), as everybody quotes it for data sets. */
hone_status hone_dataset_moments(hone_dataset *d, float mean[4], float std[4])
{
    moments_work w = {.d = d, .lock = PTHREAD_MUTEX_INITIALIZER};
    hone_status s = hone_parallel_for(d->threads, (d->count + CHUNK - 1) / CHUNK, moments_chunk, &w);
    pthread_mutex_destroy(&w.lock);
    if (s != HONE_OK) return s;
    double n = (double)d->count * d->height * d->width;
    for (int c = 0; c < 4; c++) {
        mean[c] = 0.0f;
        std[c] = 1.0f;
        if (c >= d->channels) continue;
        double sum = 0, squares = 0;
        for (int v = 0; v < 256; v++) {
            double share = (double)w.histogram[c][v] / n, x = v / 255.0;
            sum += share * x;
            squares += share * x * x;
        }
        double variance = squares - sum * sum;
        mean[c] = (float)sum;
        /* a constant channel would divide by zero: it counts as varying by one step of 8 bits */
        std[c] = (float)(variance > 1.0 / (255.0 * 255.0) ? sqrt(variance) : 1.0 / 255.0);
    }
    return HONE_OK;
}
