/* ngram.c - bags: words of the vocabulary, subwords and n-grams of words hashed into rows behind it.
 *
 * A definition of our own with fastText's scheme as the model (Joulin et al. 2016; Bojanowski et al. 2017): the ids of
 * a text are, word by word, the word (where the vocabulary has it) and its subwords, then all n-grams of words by
 * where they begin. A word ends at white space (Unicode's, and NUL), is lower-cased by code point, and is known by
 * its XXH3. Everything that decides a row is a 64-bit integer, so rows are the same on every machine. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "text/tokenizer_private.h"

/* What a byte does to the word under way. */
enum { IN_WORD, ENDS_WORD, IS_MARK, NOT_ASCII };

/* Odd constants that keep the three kinds of rows apart (from the fractional digits of the golden ratio and pi). */
#define WORD_SEED 0x9E3779B97F4A7C15u
#define PAIR_SEED 0x243F6A8885A308D3u
#define SUB_SEED  0x13198A2E03707345u

/* One text on its way. The word under way lies in word[0 .. bytes), with a byte to spare on either side. */
typedef struct bag {
    const hone_tokenizer *t;
    hone_work *w;
    hone_ids *ids;
    int64_t words, max_words;
    bool later; /* words are looked up when all of the text are known */
} bag;

/* All bits of h decide the row, the high ones most: a product keeps the order of `buckets` equal ranges. */
static inline int32_t row(const hone_tokenizer *t, uint64_t h)
{
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u; /* an odd constant with bits all over */
    return t->vocab.size + (int32_t)((h >> 32) * (uint64_t)t->opts.buckets >> 32);
}

/* Id of a known word by its hash, -1 otherwise. */
static inline int32_t known(const hone_tokenizer *t, uint64_t hash)
{
    for (uint64_t at = hash & t->word_mask;; at = (at + 1) & t->word_mask) {
        if (t->word[at].hash == hash) return t->word[at].id;
        if (t->word[at].hash == 0) return -1;
    }
}

/* 0 marks a free slot, so no word has it. */
static inline uint64_t hash_word(const char *word, size_t bytes)
{
    uint64_t hash = XXH3_64bits(word, bytes);
    return hash ? hash : 1;
}

/* Also called before there is a vocabulary: splitting texts for training needs the table of bytes. */
hone_status hone_ngram_prepare(hone_tokenizer *t)
{
    uint64_t slots = 16;
    size_t bytes;
    while (slots < 2 * (uint64_t)t->vocab.size) slots *= 2;
    t->word = calloc(slots, sizeof *t->word);
    if (!t->word) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %d words", t->vocab.size);
    t->word_mask = slots - 1;
    for (int32_t id = 0; id < t->vocab.size; id++) {
        const char *text = hone_vocab_text(&t->vocab, id, &bytes);
        if (!text) continue;
        /* two words of one 64-bit hash would share a row, as any two do in the buckets */
        uint64_t hash = hash_word(text, bytes), at = hash & t->word_mask;
        while (t->word[at].hash) at = (at + 1) & t->word_mask;
        t->word[at] = (hone_word_slot){hash, id};
    }
    for (uint32_t b = 0; b < 256; b++) {
        uint8_t classes = b < 0x80 ? hone_unicode_class(t->unicode, b) : 0;
        bool mark = (classes & HONE_UNICODE_PUNCT) && t->opts.punctuation != HONE_PUNCTUATION_KEEP;
        bool space = (classes & HONE_UNICODE_SPACE) || b == 0;
        t->byte_kind[b] = b >= 0x80 ? NOT_ASCII : space ? ENDS_WORD : mark ? IS_MARK : IN_WORD;
        t->byte_lower[b] = (uint8_t)(t->opts.lowercase && b >= 'A' && b <= 'Z' ? b + 32 : b);
    }
    return HONE_OK;
}

/* --- words --------------------------------------------------------------------------------------------- */

/* A character past ASCII, or a malformed one, at s: appended to the word that ends at `out` (whose new end is
 * returned), or the kind of end it makes. */
static char *wide_char(const hone_tokenizer *t, const uint8_t **s, const uint8_t *end, char *out, int *kind)
{
    int n = hone_utf8_whole(*s, (size_t)(end - *s));
    uint32_t low[2] = {0xFFFD, 0};
    int count = 1;
    *kind = IN_WORD;
    if (n < 0) { /* U+FFFD stands for what can't be read, as everywhere */
        *s -= n;
    } else {
        uint32_t c = hone_utf8_next(s);
        uint8_t classes = hone_unicode_class(t->unicode, c);
        if (classes & HONE_UNICODE_SPACE) *kind = ENDS_WORD;
        else if ((classes & HONE_UNICODE_PUNCT) && t->opts.punctuation != HONE_PUNCTUATION_KEEP) *kind = IS_MARK;
        low[0] = c;
        if (t->opts.lowercase) count = hone_unicode_lower(c, low);
    }
    for (int k = 0; k < count; k++) out = hone_utf8_put(out, low[k]);
    return out;
}

/* Calls fn for each word. Inlined, so that the encoder's loop has no call a word. */
static inline hone_status each_word(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes,
                                    hone_word_fn fn, void *arg)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + bytes;
    w->normal[0].count = 0;
    /* a malformed byte becomes three, and U+0130 grows from two to three */
    HONE_TRY(hone_buffer_reserve(&w->normal[0], 3 * bytes + 16));
    char *word = w->normal[0].data + 1, *out = word;
    while (s < end) {
        int kind = t->byte_kind[*s];
        if (kind == IN_WORD) { /* the loop's usual turn: one table look-up and one store a byte */
            *out++ = (char)t->byte_lower[*s++];
            continue;
        }
        char *mark = out; /* a mark of its own lies behind the word, for a moment */
        if (kind == NOT_ASCII) {
            out = wide_char(t, &s, end, out, &kind);
            if (kind == IN_WORD) continue;
        } else {
            *out++ = (char)*s++;
        }
        char first[8];
        size_t mark_bytes = (size_t)(out - mark);
        memcpy(first, mark, sizeof first); /* fn may write on either side of the word */
        if (mark > word) HONE_TRY(fn(arg, word, (size_t)(mark - word)));
        if (kind == IS_MARK && t->opts.punctuation == HONE_PUNCTUATION_SPLIT) {
            memcpy(word, first, sizeof first);
            HONE_TRY(fn(arg, word, mark_bytes));
        }
        out = word;
    }
    return out > word ? fn(arg, word, (size_t)(out - word)) : HONE_OK;
}

/* For training: the same words as in encoding, since it is the same function. */
hone_status hone_ngram_words(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                             void *arg)
{
    return each_word(t, w, text, bytes, fn, arg);
}

/* --- ids ----------------------------------------------------------------------------------------------- */

/* Subwords of "<word>": all runs of chars[0] .. chars[1] characters but a lone border. FNV-1a over their bytes, one
 * pass for all that begin at a character. */
static hone_status subwords(bag *b, char *word, size_t bytes)
{
    const hone_tokenizer *t = b->t;
    const uint8_t *s = (const uint8_t *)word - 1, *end = s + bytes + 2;
    int from = t->opts.chars[0], to = t->opts.chars[1];
    HONE_TRY(hone_ids_reserve(b->ids, (bytes + 2) * (size_t)(to - from + 1)));
    /* borders tell a word's beginning and end from its middle */
    word[-1] = '<';
    word[bytes] = '>';
    for (const uint8_t *start = s; start < end;) {
        uint64_t h = SUB_SEED;
        const uint8_t *at = start;
        for (int n = 1; n <= to && at < end; n++) {
            do h = (h ^ *at++) * 0x100000001B3u;
            while (at < end && (*at & 0xC0) == 0x80);
            bool border = n == 1 && (start == s || at == end);
            if (n >= from && !border) b->ids->id[b->ids->count++] = row(t, h ^ h >> 29);
        }
        do start++;
        while (start < end && (*start & 0xC0) == 0x80);
    }
    return HONE_OK;
}

/* Notes the hash of one more word. */
static hone_status keep_hash(bag *b, uint64_t hash)
{
    hone_work *w = b->w;
    if ((size_t)b->words == w->hash_capacity) {
        size_t capacity = w->hash_capacity ? w->hash_capacity * 2 : 1024;
        uint64_t *grown = realloc(w->hash, capacity * sizeof *grown);
        if (!grown) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a text of %zu words", capacity);
        w->hash = grown;
        w->hash_capacity = capacity;
    }
    w->hash[b->words] = hash;
    return HONE_OK;
}

/* The id of a word, where single words have one. There is room. */
static inline void add_id(bag *b, uint64_t hash)
{
    const hone_tokenizer *t = b->t;
    int32_t id = t->opts.words[0] > 1 ? -1 : t->opts.min_count == 0 ? row(t, hash ^ WORD_SEED) : known(t, hash);
    if (id >= 0) b->ids->id[b->ids->count++] = id;
}

/* One word: its id and those of its subwords; the hash waits for the n-grams. */
static inline hone_status add_word(void *arg, const char *word, size_t bytes)
{
    bag *b = arg;
    const hone_tokenizer *t = b->t;
    if (b->words < b->max_words) {
        uint64_t hash = hash_word(word, bytes);
        HONE_TRY(keep_hash(b, hash));
        HONE_TRY(hone_ids_reserve(b->ids, 1));
        if (b->later) __builtin_prefetch(&t->word[hash & t->word_mask]);
        else add_id(b, hash);
        if (t->opts.chars[1] > 0) HONE_TRY(subwords(b, (char *)(uintptr_t)word, bytes));
    }
    b->words++;
    return HONE_OK;
}

/* Ids of the words whose look-up waited. A table of words is larger than a cache: asked word by word, each waits for
 * memory (three quarters of the encoder's time); fetched ahead, they wait together. */
static hone_status look_up(bag *b, int64_t words)
{
    HONE_TRY(hone_ids_reserve(b->ids, (size_t)words));
    for (int64_t k = 0; k < words; k++) add_id(b, b->w->hash[k]);
    return HONE_OK;
}

/* N-grams of two and more words: the hash of n words is that of n - 1 and the last one. */
static hone_status word_ngrams(bag *b, int64_t words)
{
    const hone_tokenizer *t = b->t;
    const uint64_t *hash = b->w->hash; /* (words) */
    int from = t->opts.words[0], to = t->opts.words[1];
    if (to < 2 || words < 2) return HONE_OK;
    HONE_TRY(hone_ids_reserve(b->ids, (size_t)words * (size_t)(to - 1)));
    int32_t *out = b->ids->id + b->ids->count;
    for (int64_t k = 0; k < words; k++) { /* all that begin at word k, shortest first */
        uint64_t h = hash[k] ^ PAIR_SEED;
        int64_t stop = k + to < words ? k + to : words;
        for (int64_t j = k + 1; j < stop; j++) {
            h = (h ^ h >> 31) * 0x9FB21C651E98DF25u + hash[j]; /* order matters: a b is not b a */
            if (j - k + 1 >= from) *out++ = row(t, h);
        }
    }
    b->ids->count = out - b->ids->id;
    return HONE_OK;
}

/* Words beyond the limit are counted and leave nothing behind, neither ids nor n-grams. */
hone_status hone_ngram_encode(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, int64_t max_words,
                              hone_ids *ids, int64_t *cut)
{
    bag b = {.t = t, .w = w, .ids = ids, .max_words = max_words ? max_words : INT64_MAX};
    int64_t base = ids->count;
    /* subwords stand behind their word, so there each is looked up at once */
    b.later = t->opts.words[0] <= 1 && t->opts.min_count > 0 && t->opts.chars[1] == 0;
    HONE_TRY(each_word(t, w, text, bytes, add_word, &b));
    int64_t words = b.words < b.max_words ? b.words : b.max_words;
    *cut += b.words - words;
    if (b.later) HONE_TRY(look_up(&b, words));
    HONE_TRY(word_ngrams(&b, words));
    if (t->kept.bits) hone_kept_map(t, ids, base);
    return HONE_OK;
}
