/* merges.c - see merges.h. Counts of pairs are kept up to date, so a merge costs only the words it occurs in; a heap
 * holds counts as they were when pushed and corrects an entry when it comes up. */
#include <stdlib.h>
#include <string.h>

#include "text/merges.h"

/* A pair, how often it occurs, and where. */
typedef struct pair_info {
    uint64_t pair;
    int64_t count;
    int32_t *word; /* (words): indices of words that hold it or once did; may repeat */
    int32_t words, capacity;
    int32_t noted; /* the last merge that made some of it */
} pair_info;

/* The heap's entry: count when pushed, index of the pair. */
typedef struct ranked {
    int64_t count;
    int32_t info;
} ranked;

/* All that learning needs beside the words. */
typedef struct learning {
    hone_merges *m;
    pair_info *info; /* (infos) */
    int32_t infos, info_capacity;
    int32_t *slot; /* (mask + 1): index by pair, -1 = free */
    uint64_t mask;
    ranked *heap; /* (heaped) */
    size_t heaped, heap_capacity;
    int32_t *fresh; /* (freshes): pairs that the merge under way made */
    int32_t freshes, fresh_capacity;
    int32_t merge_capacity;
} learning;

/* One sentence for all of them; the texts are what needs the memory. */
static hone_status no_memory(void)
{
    return hone_fail(HONE_ERR_MEMORY, "train on fewer texts", "out of memory while learning merges");
}

/* Room for one more element. */
static hone_status room(void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return HONE_OK;
    size_t grown = *capacity ? *capacity * 2 : 256;
    void *data = realloc(*array, grown * size);
    if (!data) return no_memory();
    *array = data;
    *capacity = grown;
    return HONE_OK;
}

/* --- pairs --------------------------------------------------------------------------------------------- */

/* Twice the slots. Pairs keep their index, which the heap and the list of fresh ones hold. */
static hone_status rehash(learning *l)
{
    uint64_t mask = l->mask ? l->mask * 2 + 1 : 4095;
    int32_t *slot = malloc((mask + 1) * sizeof *slot);
    if (!slot) return no_memory();
    memset(slot, 0xFF, (mask + 1) * sizeof *slot);
    for (int32_t k = 0; k < l->infos; k++) {
        uint64_t at = (l->info[k].pair * 0x9E3779B97F4A7C15u >> 32) & mask;
        while (slot[at] >= 0) at = (at + 1) & mask;
        slot[at] = k;
    }
    free(l->slot);
    l->slot = slot;
    l->mask = mask;
    return HONE_OK;
}

/* Index of a pair, made when it is new. */
static hone_status pair_index(learning *l, int32_t left, int32_t right, int32_t *out)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    if (!l->slot || (uint64_t)l->infos * 2 > l->mask) HONE_TRY(rehash(l));
    uint64_t at = (pair * 0x9E3779B97F4A7C15u >> 32) & l->mask;
    for (; l->slot[at] >= 0; at = (at + 1) & l->mask)
        if (l->info[l->slot[at]].pair == pair) {
            *out = l->slot[at];
            return HONE_OK;
        }
    size_t capacity = (size_t)l->info_capacity;
    HONE_TRY(room((void **)&l->info, (size_t)l->infos, &capacity, sizeof *l->info));
    l->info_capacity = (int32_t)capacity;
    l->info[l->infos] = (pair_info){.pair = pair};
    l->slot[at] = *out = l->infos++;
    return HONE_OK;
}

/* More (or less) of a pair in a word. */
static hone_status change(learning *l, int32_t left, int32_t right, int64_t by, int32_t word, int32_t *index)
{
    HONE_TRY(pair_index(l, left, right, index));
    pair_info *p = &l->info[*index];
    p->count += by;
    /* a word that lost the pair stays listed: it is looked at once more and found without it */
    if (by < 0 || (p->words && p->word[p->words - 1] == word)) return HONE_OK;
    size_t capacity = (size_t)p->capacity;
    if (p->words == p->capacity) {
        int32_t *grown = realloc(p->word, (capacity ? capacity * 2 : 4) * sizeof *grown);
        if (!grown) return no_memory();
        p->word = grown;
        p->capacity = (int32_t)(capacity ? capacity * 2 : 4);
    }
    p->word[p->words++] = word;
    return HONE_OK;
}

/* --- the heap ------------------------------------------------------------------------------------------ */

/* Whether a comes before b: counts first, then the smaller pair. */
static bool before(const learning *l, ranked a, ranked b)
{
    return a.count != b.count ? a.count > b.count : l->info[a.info].pair < l->info[b.info].pair;
}

/* With its count as it is now. An older entry of the same pair stays in the heap and is seen to be stale. */
static hone_status push(learning *l, int32_t info)
{
    HONE_TRY(room((void **)&l->heap, l->heaped, &l->heap_capacity, sizeof *l->heap));
    ranked r = {l->info[info].count, info};
    size_t at = l->heaped++;
    for (; at > 0 && before(l, r, l->heap[(at - 1) / 2]); at = (at - 1) / 2) l->heap[at] = l->heap[(at - 1) / 2];
    l->heap[at] = r;
    return HONE_OK;
}

/* The best one; the caller checks whether its count still holds. */
static ranked pop(learning *l)
{
    ranked best = l->heap[0], last = l->heap[--l->heaped];
    size_t at = 0;
    for (size_t down = 1; down < l->heaped; down = 2 * at + 1) {
        if (down + 1 < l->heaped && before(l, l->heap[down + 1], l->heap[down])) down++;
        if (!before(l, l->heap[down], last)) break;
        l->heap[at] = l->heap[down];
        at = down;
    }
    l->heap[at] = last;
    return best;
}

/* The pair to merge next; -1 when none occurs often enough. */
static hone_status next_pair(learning *l, int64_t min_count, int32_t *out)
{
    *out = -1;
    while (l->heaped) {
        ranked r = pop(l);
        if (r.count != l->info[r.info].count) { /* it lost some since it was pushed */
            if (l->info[r.info].count > 0) HONE_TRY(push(l, r.info));
            continue;
        }
        if (r.count >= min_count) *out = r.info;
        return HONE_OK;
    }
    return HONE_OK;
}

/* --- merging ------------------------------------------------------------------------------------------- */

/* A pair that the merge made is pushed when its final count is known. */
static hone_status note_fresh(learning *l, int32_t info)
{
    if (l->info[info].noted == l->m->merges) return HONE_OK; /* once in the heap is enough */
    l->info[info].noted = l->m->merges;
    size_t capacity = (size_t)l->fresh_capacity;
    HONE_TRY(room((void **)&l->fresh, (size_t)l->freshes, &capacity, sizeof *l->fresh));
    l->fresh_capacity = (int32_t)capacity;
    l->fresh[l->freshes++] = info;
    return HONE_OK;
}

/* Replaces left right by `made` in one word, counting what its neighbours lose and win. */
static hone_status merge_word(learning *l, int32_t word, int32_t left, int32_t right, int32_t made)
{
    struct hone_merges_word *w = &l->m->word[word];
    int32_t *s = l->m->symbol + w->at, out = 0, index; /* s (length) */
    for (int32_t k = 0; k < w->length; k++) {
        if (k + 1 >= w->length || s[k] != left || s[k + 1] != right) {
            s[out++] = s[k];
            continue;
        }
        if (out > 0) {
            /* the left neighbour may be a pair just made: it is read from what was written */
            HONE_TRY(change(l, s[out - 1], left, -w->count, word, &index));
            HONE_TRY(change(l, s[out - 1], made, w->count, word, &index));
            HONE_TRY(note_fresh(l, index));
        }
        if (k + 2 < w->length) {
            HONE_TRY(change(l, right, s[k + 2], -w->count, word, &index));
            HONE_TRY(change(l, made, s[k + 2], w->count, word, &index));
            HONE_TRY(note_fresh(l, index));
        }
        s[out++] = made;
        k++; /* a symbol is merged once: aaa is aa a */
    }
    w->length = out;
    return HONE_OK;
}

/* The token that a pair makes; one that is there already keeps its id. */
static hone_status make_token(hone_merges *m, int32_t left, int32_t right, int32_t *id)
{
    size_t a_bytes = 0, b_bytes = 0, skip = strlen(m->prefix);
    const char *a = hone_vocab_text(m->vocab, left, &a_bytes), *b = hone_vocab_text(m->vocab, right, &b_bytes);
    /* the first piece of a word has no prefix to lose */
    if (b_bytes <= skip || memcmp(b, m->prefix, skip) != 0) skip = 0;
    char *text = malloc(a_bytes + b_bytes + 1);
    if (!text) return no_memory();
    memcpy(text, a, a_bytes);
    memcpy(text + a_bytes, b + skip, b_bytes - skip);
    *id = hone_vocab_find(m->vocab, text, a_bytes + b_bytes - skip);
    hone_status status = HONE_OK;
    if (*id < 0) {
        *id = m->vocab->size;
        status = hone_vocab_add(m->vocab, text, a_bytes + b_bytes - skip, *id);
    }
    free(text);
    return status;
}

/* One merge: a token, a rank, and all words that hold the pair. */
static hone_status merge(learning *l, int32_t info)
{
    hone_merges *m = l->m;
    uint64_t pair = l->info[info].pair;
    int32_t left = (int32_t)(pair >> 32), right = (int32_t)(uint32_t)pair, made = -1;
    HONE_TRY(make_token(m, left, right, &made));
    if (m->merges == l->merge_capacity) {
        int32_t capacity = l->merge_capacity ? l->merge_capacity * 2 : 1024;
        uint64_t *pairs = realloc(m->pair, (size_t)capacity * sizeof *pairs);
        if (pairs) m->pair = pairs;
        int32_t *ids = realloc(m->id, (size_t)capacity * sizeof *ids);
        if (ids) m->id = ids;
        if (!pairs || !ids) return no_memory();
        l->merge_capacity = capacity;
    }
    m->pair[m->merges] = pair;
    m->id[m->merges++] = made;
    int32_t *word = l->info[info].word, words = l->info[info].words;
    l->info[info] = (pair_info){.pair = pair}; /* infos may move while words change; nothing is left of this one */
    hone_status status = HONE_OK;
    l->freshes = 0;
    /* words in the order of their list, which is that of the training: the same everywhere */
    for (int32_t k = 0; k < words && status == HONE_OK; k++) status = merge_word(l, word[k], left, right, made);
    free(word);
    l->info[info].count = 0; /* overlaps (aaa) were taken off it meanwhile */
    for (int32_t k = 0; k < l->freshes && status == HONE_OK; k++)
        if (l->info[l->fresh[k]].count > 0) status = push(l, l->fresh[k]);
    return status;
}

/* Pairs of the words as they are at the start. */
static hone_status first_counts(learning *l)
{
    hone_merges *m = l->m;
    int32_t index;
    for (int64_t k = 0; k < m->words; k++) {
        const int32_t *s = m->symbol + m->word[k].at; /* (length) */
        for (int32_t j = 0; j + 1 < m->word[k].length; j++)
            HONE_TRY(change(l, s[j], s[j + 1], m->word[k].count, (int32_t)k, &index));
    }
    for (int32_t k = 0; k < l->infos; k++) HONE_TRY(push(l, k));
    return HONE_OK;
}

/* Stops at whichever comes first: enough tokens, or pairs too rare to be worth one. */
static hone_status learn(learning *l, int64_t vocab_size, int64_t min_count)
{
    HONE_TRY(first_counts(l));
    while (l->m->vocab->size < vocab_size) {
        int32_t info;
        HONE_TRY(next_pair(l, min_count, &info));
        if (info < 0) break;
        HONE_TRY(merge(l, info));
    }
    return HONE_OK;
}

/* What learning needs beside its result is freed here in any case. */
hone_status hone_merges_learn(hone_merges *m, int64_t vocab_size, int64_t min_count)
{
    learning l = {.m = m};
    hone_status status = learn(&l, vocab_size, min_count < 1 ? 1 : min_count);
    for (int32_t k = 0; k < l.infos; k++) free(l.info[k].word);
    free(l.info);
    free(l.slot);
    free(l.heap);
    free(l.fresh);
    return status;
}
