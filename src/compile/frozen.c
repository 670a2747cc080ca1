/* frozen.c - what kernels make of parameters once and keep (hone_frozen of backend.h): packed weights.
 *
 * One owner's worth for all who share its parameters, in whatever thread they run: rooms are found by the parameter's
 * name, filled by the launch that first needs them, and emptied when the host writes parameters. A room is memory of
 * which nothing is touched before it is filled, so that a program which never runs costs addresses alone. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"
#include "core/memory.h"

enum { BIG_BYTES = 8 << 20, ALIGN = 64 };

/* Of one parameter. */
typedef struct room {
    struct room *next;
    char name[HONE_NAME_BYTES];
    size_t bytes;
    void *data;
    atomic_bool full;
} room;

struct hone_frozen_rooms {
    hone_frozen kept; /* first: what kernels see */
    pthread_mutex_t lock;
    room *first;
};

/* Large ones by huge pages; small ones where a cache line begins. */
static void *memory(size_t bytes)
{
    return bytes >= BIG_BYTES ? hone_big_alloc(bytes) : aligned_alloc(ALIGN, (bytes + ALIGN) / ALIGN * ALIGN);
}

/* Under the lock. */
static room *make_room(hone_frozen_rooms *k, const char *name, size_t bytes)
{
    room *r = calloc(1, sizeof *r);
    if (r) r->data = memory(bytes);
    if (!r || !r->data) {
        free(r);
        return NULL;
    }
    memcpy(r->name, name, strnlen(name, sizeof r->name - 1));
    r->bytes = bytes;
    r->next = k->first;
    k->first = r;
    return r;
}

/* Two kernels that want different sizes of one parameter get a room each. */
static void *find_room(hone_frozen *kept, const char *name, size_t bytes)
{
    hone_frozen_rooms *k = (hone_frozen_rooms *)kept;
    pthread_mutex_lock(&k->lock);
    room *r = k->first;
    while (r && (r->bytes != bytes || strcmp(r->name, name) != 0)) r = r->next;
    if (!r) r = make_room(k, name, bytes);
    pthread_mutex_unlock(&k->lock);
    return r;
}

/* The lock is taken by the first launch alone; whoever comes meanwhile waits, as it needs the content. */
static const void *fill(hone_frozen *kept, void *which, void (*make)(const void *arg, void *data), const void *arg)
{
    hone_frozen_rooms *k = (hone_frozen_rooms *)kept;
    room *r = which;
    if (atomic_load_explicit(&r->full, memory_order_acquire)) return r->data;
    pthread_mutex_lock(&k->lock);
    if (!atomic_load_explicit(&r->full, memory_order_relaxed)) {
        make(arg, r->data);
        atomic_store_explicit(&r->full, true, memory_order_release);
    }
    pthread_mutex_unlock(&k->lock);
    return r->data;
}

/* What does not run in host memory has its own ways; an owner that is not frozen has nothing to lend. */
hone_status hone_pass_frozen(hone_program *p)
{
    if (p->owner && p->owner->opts.frozen && p->opts.loss != HONE_NONE)
        return hone_fail(HONE_ERR_USAGE, "compile the owner without `frozen`",
                         "compile: a program that trains can't share parameters that are said to stay");
    if (!p->opts.frozen) return HONE_OK;
    if (p->opts.loss != HONE_NONE || (p->owner && !p->owner->opts.frozen))
        return hone_fail(HONE_ERR_USAGE,
                         "only programs that predict, and all who share their parameters, can be frozen",
                         "compile: these parameters do not stay as they are");
    if (!p->owner && !(p->rooms = calloc(1, sizeof *p->rooms)))
        return hone_fail(HONE_ERR_MEMORY, NULL, "compile: no host memory");
    if (!p->owner) {
        pthread_mutex_init(&p->rooms->lock, NULL);
        p->rooms->kept = (hone_frozen){find_room, fill};
    }
    hone_frozen_rooms *k = p->owner ? p->owner->rooms : p->rooms;
    p->graph->frozen = k ? &k->kept : NULL;
    return HONE_OK;
}

/* Steps do not overlap with the host's writing: nobody reads what is emptied. */
void hone_frozen_empty(hone_frozen_rooms *k)
{
    for (room *r = k ? k->first : NULL; r; r = r->next) atomic_store(&r->full, false);
}

void hone_frozen_free(hone_frozen_rooms *k)
{
    if (!k) return;
    for (room *r = k->first, *next; r; r = next) {
        next = r->next;
        free(r->data);
        free(r);
    }
    pthread_mutex_destroy(&k->lock);
    free(k);
}
