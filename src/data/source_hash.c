/* source_hash.c - see source_hash.h. */
#define XXH_INLINE_ALL
#include "data/source_hash.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/thread.h"

/* Content enters the fingerprint up to this many bytes in all; larger sets by names and sizes. */
enum { HASH_CONTENT_BYTES_MAX = 256 << 20 };

hone_status hone_source_hash_begin(hone_source_hash *h)
{
    XXH3_state_t *state = XXH3_createState(); /* aligned, which malloc does not promise */
    *h = (hone_source_hash){.state = state};
    if (!state) return hone_no_memory("a hash", sizeof *state);
    XXH3_64bits_reset(state);
    return HONE_OK;
}

void hone_source_hash_add(hone_source_hash *h, const void *data, size_t bytes)
{
    XXH3_64bits_update(h->state, data, bytes);
}

/* The NUL goes in, so that names can't run into each other. */
void hone_source_hash_file(hone_source_hash *h, const char *name, int64_t bytes)
{
    XXH3_64bits_update(h->state, name, strlen(name) + 1);
    XXH3_64bits_update(h->state, &bytes, sizeof bytes);
    h->total_bytes += bytes;
}

typedef struct hash_work {
    const hone_source *source;
    uint64_t *hash; /* (count) */
} hash_work;

/* Files are hashed in parallel into places of their own; the order of the list makes the digest. */
static hone_status hash_file(void *arg, int64_t i)
{
    const hash_work *w = arg;
    uint8_t *data = NULL;
    size_t bytes = 0;
    /* unreadable files are the decoder's to report, under data.on_error */
    w->hash[i] = hone_source_read(w->source, i, &data, &bytes) == HONE_OK ? XXH3_64bits(data, bytes) : 0;
    free(data);
    return HONE_OK;
}

/* Reading hundreds of gigabytes before the first step is no option; a change of a large set shows in sizes. */
hone_status hone_source_hash_end(hone_source_hash *h, hone_source *s, int threads)
{
    hone_status status = HONE_OK;
    if (h->total_bytes <= HASH_CONTENT_BYTES_MAX) {
        hash_work w = {s, malloc((size_t)s->count * sizeof *w.hash + 1)};
        status = w.hash ? hone_parallel_for(threads, s->count, hash_file, &w)
                        : hone_no_memory("hashes", (size_t)s->count * sizeof *w.hash);
        if (status == HONE_OK) XXH3_64bits_update(h->state, w.hash, (size_t)s->count * sizeof *w.hash);
        free(w.hash);
    }
    s->hash = XXH3_64bits_digest(h->state);
    hone_source_hash_free(h);
    return status;
}

void hone_source_hash_free(hone_source_hash *h)
{
    XXH3_freeState(h->state); /* NULL is fine */
    *h = (hone_source_hash){0};
}
