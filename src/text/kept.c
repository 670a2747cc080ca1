/* kept.c - a bag's tokenizer without most of its rows: ids whose row was pruned vanish, the others are numbered anew.
 *
 * The words that stay are the vocabulary of the new tokenizer, in their order; the buckets keep their hashes, and a bit
 * for each says whether its row is there. The number of a bucket's row is the count of bits before it: one look-up in
 * a cache, because two million bits are a quarter of a megabyte (rank of a bit vector: Jacobson 1989). */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

static bool has_buckets(const hone_tokenizer *t) { return t->size > t->vocab.size; }

/* Bits are set one by one by whoever makes or reads the tokenizer; then the ranks follow from them. */
hone_status hone_kept_new(hone_kept *k, int64_t buckets)
{
    k->groups = (buckets + 63) / 64;
    k->bits = calloc((size_t)k->groups + 1, sizeof *k->bits);
    k->rank = calloc((size_t)k->groups + 1, sizeof *k->rank);
    if (k->bits && k->rank) return HONE_OK;
    return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %lld buckets", (long long)buckets);
}

void hone_kept_finish(hone_kept *k)
{
    int32_t sum = 0;
    for (int64_t g = 0; g < k->groups; g++) {
        k->rank[g] = sum;
        sum += __builtin_popcountll(k->bits[g]);
    }
    k->count = sum;
}

/* Fine on a zeroed one. */
void hone_kept_free(hone_kept *k)
{
    free(k->bits);
    free(k->rank);
    *k = (hone_kept){0};
}

/* Ids from `base` on, in place: words as they are, buckets by rank, pruned ones left out. */
void hone_kept_map(const hone_tokenizer *t, hone_ids *ids, int64_t base)
{
    int32_t words = t->vocab.size;
    int64_t at = base;
    for (int64_t i = base; i < ids->count; i++) {
        int32_t id = ids->id[i];
        if (id >= words) {
            uint64_t bucket = (uint64_t)(id - words), bits = t->kept.bits[bucket >> 6], bit = 1ull << (bucket & 63);
            if (!(bits & bit)) continue;
            id = words + t->kept.rank[bucket >> 6] + __builtin_popcountll(bits & (bit - 1));
        }
        ids->id[at++] = id;
    }
    ids->count = at;
}

/* The words of `t` whose flag is set, in their order. */
static hone_status keep_words(const hone_tokenizer *t, const uint8_t *keep, hone_vocab *out)
{
    for (int32_t id = 0; id < t->vocab.size; id++) {
        size_t bytes;
        const char *word = hone_vocab_text(&t->vocab, id, &bytes);
        if (keep[id] && word) HONE_TRY(hone_vocab_add(out, word, bytes, out->size));
    }
    return HONE_OK;
}

hone_status hone_tokenizer_keep(const hone_tokenizer *t, const uint8_t *keep, hone_tokenizer **out)
{
    hone_tokenizer *n = NULL;
    *out = NULL;
    if (t->opts.kind != HONE_TOKENIZER_NGRAM || t->kept.bits)
        return hone_fail(HONE_ERR_USAGE, "give a bag of n-grams with all its rows", "this tokenizer can't be pruned");
    HONE_TRY(hone_tokenizer_new(&t->opts, &n));
    hone_status status = keep_words(t, keep, &n->vocab);
    if (status == HONE_OK && has_buckets(t)) status = hone_kept_new(&n->kept, t->opts.buckets);
    if (status == HONE_OK && has_buckets(t)) {
        for (int64_t b = 0; b < t->opts.buckets; b++)
            n->kept.bits[b >> 6] |= (uint64_t)(keep[t->vocab.size + b] != 0) << (b & 63);
        hone_kept_finish(&n->kept);
    }
    if (status == HONE_OK) status = hone_tokenizer_finish(n);
    if (status == HONE_OK) *out = n;
    else hone_tokenizer_free(n);
    return status;
}
