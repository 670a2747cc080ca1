/* bpe.c - byte-level BPE: a word's bytes, merged pair by pair, the merge of lowest rank first and the leftmost of
 * equal ones, until no pair of neighbours is in the list of merges (Sennrich et al. 2016; GPT-2).
 *
 * Short words, nearly all of them, are scanned for their best pair; long ones use a heap, so a word of a megabyte
 * costs n log n. Both give the same ids. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

enum { SHORT_WORD = 32, NO_RANK = INT32_MAX };

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and on, in order. */
uint32_t hone_bpe_byte_code(uint8_t byte)
{
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        if (b == byte) return printable ? b : next;
        next += !printable;
    }
    return 0;
}

/* A byte's first id is that of its character in the alphabet; a vocabulary may lack some. */
hone_status hone_bpe_prepare(hone_tokenizer *t)
{
    for (int b = 0; b < 256; b++) {
        char text[4];
        size_t bytes = (size_t)(hone_utf8_put(text, hone_bpe_byte_code((uint8_t)b)) - text);
        t->byte_id[b] = hone_vocab_find(&t->vocab, text, bytes);
    }
    return HONE_OK;
}

/* --- the table of merges ------------------------------------------------------------------------------- */

/* At most half of the slots are taken, so that a search ends soon. */
hone_status hone_bpe_merges(hone_tokenizer *t, int32_t count)
{
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    t->merge_mask = slots - 1;
    t->merge = malloc(slots * sizeof *t->merge);
    t->merge_pair = malloc(((size_t)count + 1) * sizeof *t->merge_pair);
    if (!t->merge || !t->merge_pair) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %d merges", count);
    for (uint64_t k = 0; k < slots; k++) t->merge[k] = (hone_merge){.rank = -1};
    t->merge_count = count;
    return HONE_OK;
}

/* The slot of a pair, or the free one where it belongs. */
static inline hone_merge *find_merge(const hone_tokenizer *t, uint64_t pair)
{
    uint64_t at = (pair * 0x9E3779B97F4A7C15u >> 32) & t->merge_mask;
    while (t->merge[at].rank >= 0 && t->merge[at].pair != pair) at = (at + 1) & t->merge_mask;
    return &t->merge[at];
}

/* Ranks are kept in a list as well: the file is written from it, in their order. */
void hone_bpe_merge_add(hone_tokenizer *t, uint64_t pair, int32_t rank, int32_t id)
{
    t->merge_pair[rank] = pair;
    /* a list that names a pair twice is read like a map: the later one counts */
    *find_merge(t, pair) = (hone_merge){pair, rank, id};
}

/* Rank of a pair of neighbours; NO_RANK when they don't merge. */
static inline int32_t rank_of(const hone_tokenizer *t, int32_t left, int32_t right, int32_t *id)
{
    const hone_merge *m = find_merge(t, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    *id = m->id;
    return m->rank < 0 ? NO_RANK : m->rank;
}

/* --- words --------------------------------------------------------------------------------------------- */

/* The bytes of a word as ids behind ids->count; bytes the vocabulary lacks are unknown, or nothing without an unknown
 * token. Returns how many there are. */
static int64_t byte_ids(const hone_tokenizer *t, const uint8_t *word, size_t bytes, const hone_ids *ids)
{
    int32_t *id = ids->id + ids->count;
    int64_t n = 0;
    bool was_unknown = false;
    for (size_t k = 0; k < bytes; k++) {
        int32_t one = t->byte_id[word[k]];
        bool unknown = one < 0; /* a run of unknown bytes is one token where the file fuses them */
        if (unknown) one = was_unknown && t->fuse_unknown ? -1 : t->unknown;
        if (one >= 0) id[n++] = one;
        was_unknown = unknown;
    }
    return n;
}

/* Merges id (n) in place; n <= SHORT_WORD. Returns how many are left. */
static int merge_short(const hone_tokenizer *t, int32_t *id, int n)
{
    int32_t rank[SHORT_WORD], merged[SHORT_WORD]; /* (n - 1) of pair k, k + 1, and what it makes */
    for (int k = 0; k + 1 < n; k++) rank[k] = rank_of(t, id[k], id[k + 1], &merged[k]);
    while (n > 1) {
        int best = 0;
        for (int k = 1; k + 1 < n; k++)
            if (rank[k] < rank[best]) best = k;
        if (rank[best] == NO_RANK) break;
        id[best] = merged[best];
        n--;
        /* the right one goes; pairs it was part of are asked for again below */
        size_t behind = (size_t)(n - best - 1);
        memmove(id + best + 1, id + best + 2, behind * sizeof *id);
        memmove(rank + best + 1, rank + best + 2, (behind ? behind - 1 : 0) * sizeof *rank);
        memmove(merged + best + 1, merged + best + 2, (behind ? behind - 1 : 0) * sizeof *merged);
        if (best + 1 < n) rank[best] = rank_of(t, id[best], id[best + 1], &merged[best]);
        if (best > 0) rank[best - 1] = rank_of(t, id[best - 1], id[best], &merged[best - 1]);
    }
    return n;
}

/* The lower rank first, and of equal ranks the one further left: the order that defines BPE. */
static bool before(const hone_candidate *a, const hone_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Into the heap: up from the end. */
static void heap_push(hone_candidate *heap, size_t *count, hone_candidate c)
{
    size_t at = (*count)++;
    for (; at > 0 && before(&c, &heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = c;
}

/* The best one out: the last takes its place and sinks. */
static hone_candidate heap_pop(hone_candidate *heap, size_t *count)
{
    hone_candidate best = heap[0], last = heap[--*count];
    size_t at = 0;
    for (size_t down = 1; down < *count; down = 2 * at + 1) {
        if (down + 1 < *count && before(&heap[down + 1], &heap[down])) down++;
        if (!before(&heap[down], &last)) break;
        heap[at] = heap[down];
        at = down;
    }
    heap[at] = last;
    return best;
}

/* Puts the pair that begins at symbol `at` among the candidates, if it merges. */
static void consider(const hone_tokenizer *t, hone_work *w, size_t *count, int32_t at)
{
    const hone_symbol *s = w->symbol;
    if (at < 0 || s[at].next < 0) return;
    hone_candidate c = {.at = at, .left = s[at].id, .right = s[s[at].next].id};
    c.rank = rank_of(t, c.left, c.right, &c.id);
    if (c.rank != NO_RANK) heap_push(w->heap, count, c);
}

/* n symbols, and a candidate for each pair at the start and two for each merge. */
static hone_status long_room(hone_work *w, size_t n)
{
    if (n <= w->symbol_capacity) return HONE_OK;
    free(w->symbol);
    free(w->heap);
    w->symbol_capacity = 0;
    w->symbol = malloc(n * 2 * sizeof *w->symbol);
    w->heap = malloc(n * 6 * sizeof *w->heap);
    if (!w->symbol || !w->heap) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a word of %zu bytes", n);
    w->symbol_capacity = n * 2;
    return HONE_OK;
}

/* As merge_short for any n. A merge leaves stale candidates behind; they are known by their ids. */
static hone_status merge_long(const hone_tokenizer *t, hone_work *w, int32_t *id, int64_t *n)
{
    size_t count = 0;
    HONE_TRY(long_room(w, (size_t)*n));
    hone_symbol *s = w->symbol;
    for (int32_t k = 0; k < *n; k++) s[k] = (hone_symbol){id[k], k - 1, k + 1 < *n ? k + 1 : -1};
    /* candidates come in order of place, so building the heap rarely moves one */
    for (int32_t k = 0; k + 1 < *n; k++) consider(t, w, &count, k);
    while (count) {
        hone_candidate c = heap_pop(w->heap, &count);
        int32_t next = s[c.at].next;
        if (s[c.at].id != c.left || next < 0 || s[next].id != c.right) continue;
        s[c.at].id = c.id;
        s[c.at].next = s[next].next;
        s[next].id = -1; /* gone: no candidate matches it */
        if (s[c.at].next >= 0) s[s[c.at].next].previous = c.at;
        consider(t, w, &count, s[c.at].previous);
        consider(t, w, &count, c.at);
    }
    *n = 0; /* symbol 0 is never merged away: a merge keeps its left one */
    for (int32_t k = 0; k >= 0; k = s[k].next) id[(*n)++] = s[k].id;
    return HONE_OK;
}

/* The whole word as one token, where the file says that this comes before merging. -1: it is none. */
static int32_t whole_word(const hone_tokenizer *t, const uint8_t *word, size_t bytes)
{
    char text[1024]; /* a byte is at most two in the alphabet */
    char *at = text;
    if (bytes > sizeof text / 2) return -1; /* no vocabulary has such a token */
    for (size_t k = 0; k < bytes; k++) at = hone_utf8_put(at, hone_bpe_byte_code(word[k]));
    return hone_vocab_find(&t->vocab, text, (size_t)(at - text));
}

/* Ids are merged where they will stay, behind those that are there: nothing is copied. */
hone_status hone_bpe_word(const hone_tokenizer *t, hone_work *w, const char *word, size_t bytes, hone_ids *ids)
{
    int32_t whole = t->ignore_merges ? whole_word(t, (const uint8_t *)word, bytes) : -1;
    if (whole >= 0) {
        ids->id[ids->count++] = whole;
        return HONE_OK;
    }
    int32_t *id = ids->id + ids->count;
    int64_t n = byte_ids(t, (const uint8_t *)word, bytes, ids);
    if (n <= SHORT_WORD) n = merge_short(t, id, (int)n);
    else HONE_TRY(merge_long(t, w, id, &n));
    ids->count += n;
    return HONE_OK;
}
