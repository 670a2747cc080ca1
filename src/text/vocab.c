/* vocab.c - see vocab.h. */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Room for ids below `need`. New ones have no token. */
static hone_status grow_ids(hone_vocab *v, int64_t need)
{
    if (need <= v->capacity) return HONE_OK;
    int64_t capacity = v->capacity ? v->capacity : 1024;
    while (capacity < need) capacity *= 2; /* doubling: n additions cost O(n) */
    size_t *at = realloc(v->at, (size_t)capacity * sizeof *at);
    if (at) v->at = at;
    uint32_t *length = realloc(v->length, (size_t)capacity * sizeof *length);
    if (length) v->length = length;
    if (!at || !length || capacity > INT32_MAX)
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a vocabulary of %lld tokens", (long long)need);
    for (int64_t k = v->capacity; k < capacity; k++) v->at[k] = SIZE_MAX;
    v->capacity = (int32_t)capacity;
    return HONE_OK;
}

/* The slot of a token, or the free one where it belongs. */
static uint32_t find_slot(const hone_vocab *v, const char *text, size_t bytes)
{
    uint32_t at = (uint32_t)XXH3_64bits(text, bytes) & v->mask;
    for (; v->slot[at] >= 0; at = (at + 1) & v->mask) {
        int32_t id = v->slot[at];
        if (v->length[id] == bytes && memcmp(v->text + v->at[id], text, bytes) == 0) break;
    }
    return at;
}

/* Twice the slots, so that at most half are taken and searches stay short. */
static hone_status grow_slots(hone_vocab *v)
{
    uint32_t mask = v->mask ? v->mask * 2 + 1 : 2047;
    int32_t *slot = malloc(((size_t)mask + 1) * sizeof *slot);
    if (!slot) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a vocabulary of %u tokens", v->used);
    memset(slot, 0xFF, ((size_t)mask + 1) * sizeof *slot);
    int32_t *old = v->slot;
    uint32_t old_count = old ? v->mask + 1 : 0;
    v->slot = slot;
    v->mask = mask;
    for (uint32_t k = 0; k < old_count; k++)
        if (old[k] >= 0) slot[find_slot(v, v->text + v->at[old[k]], v->length[old[k]])] = old[k];
    free(old);
    return HONE_OK;
}

/* Copies the bytes behind those that are there. */
static hone_status store_text(hone_vocab *v, const char *text, size_t bytes)
{
    if (v->text_bytes + bytes + 1 > v->text_capacity) {
        size_t capacity = (v->text_bytes + bytes + 1) * 2;
        char *grown = realloc(v->text, capacity);
        if (!grown) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a vocabulary of %zu bytes", capacity);
        v->text = grown;
        v->text_capacity = capacity;
    }
    if (bytes) memcpy(v->text + v->text_bytes, text, bytes);
    v->text_bytes += bytes;
    return HONE_OK;
}

/* The text of a token that moves to another id stays in the block, unused: such files are rare. */
hone_status hone_vocab_add(hone_vocab *v, const char *text, size_t bytes, int32_t id)
{
    HONE_TRY(grow_ids(v, (int64_t)id + 1));
    if (v->at[id] != SIZE_MAX) {
        int had = v->length[id] < 40 ? (int)v->length[id] : 40, has = bytes < 40 ? (int)bytes : 40;
        return hone_fail(HONE_ERR_DATA, "each token needs an id of its own", "id %d has two tokens, %.*s and %.*s", id,
                         had, v->text + v->at[id], has, text);
    }
    if (!v->slot || v->used * 2 > v->mask) HONE_TRY(grow_slots(v));
    uint32_t at = find_slot(v, text, bytes);
    if (v->slot[at] < 0) v->used++;
    else v->at[v->slot[at]] = SIZE_MAX; /* the later one counts */
    size_t start = v->text_bytes;       /* by offset, because the block moves when it grows */
    HONE_TRY(store_text(v, text, bytes));
    v->at[id] = start;
    v->length[id] = (uint32_t)bytes;
    v->slot[at] = id;
    if (id >= v->size) v->size = id + 1;
    return HONE_OK;
}

/* An empty vocabulary has no slots yet. */
int32_t hone_vocab_find(const hone_vocab *v, const char *text, size_t bytes)
{
    return v->slot ? v->slot[find_slot(v, text, bytes)] : -1;
}

/* Points into the block; valid until the next token is added. */
const char *hone_vocab_text(const hone_vocab *v, int32_t id, size_t *bytes)
{
    if (id < 0 || id >= v->size || v->at[id] == SIZE_MAX) return NULL;
    *bytes = v->length[id];
    return v->text + v->at[id];
}

/* Leaves an empty vocabulary. */
void hone_vocab_free(hone_vocab *v)
{
    free(v->text);
    free(v->at);
    free(v->length);
    free(v->slot);
    *v = (hone_vocab){0};
}
