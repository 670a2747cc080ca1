/* encode.c - a text to ids: repair, added tokens, normalizers, words through a cache, cut, template.
 *
 * All memory belongs to the caller's hone_ids; the tokenizer is only read. The cache of words holds results, never
 * decides them: with or without it the ids are the same. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "text/tokenizer_private.h"

/* Symbols of a word are numbered by int32. */
enum { TEXT_LIMIT = 1 << 29 };

/* --- memory -------------------------------------------------------------------------------------------- */

/* Grows by half beyond the need: a buffer that lives as long as a run ends up large enough and stays there. */
hone_status hone_buffer_reserve(hone_buffer *b, size_t more)
{
    if (b->capacity - b->count >= more) return HONE_OK;
    size_t capacity = (b->count + more) + (b->count + more) / 2 + 256;
    char *data = realloc(b->data, capacity);
    if (!data) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a text of %zu bytes", capacity);
    b->data = data;
    b->capacity = capacity;
    return HONE_OK;
}

/* The same for ids. Never shrinks: the caller's next text is likely to be as long. */
hone_status hone_ids_reserve(hone_ids *ids, size_t more)
{
    if ((size_t)(ids->capacity - ids->count) >= more) return HONE_OK;
    size_t need = (size_t)ids->count + more, capacity = need + need / 2 + 64;
    int32_t *id = realloc(ids->id, capacity * sizeof *id);
    if (!id) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %zu token ids", capacity);
    ids->id = id;
    ids->capacity = (int64_t)capacity;
    return HONE_OK;
}

/* A cache of another tokenizer's words would give its ids, so it is emptied when the owner changes. */
hone_status hone_work_get(const hone_tokenizer *t, hone_ids *ids, hone_work **out)
{
    hone_work *w = ids->work;
    if (!w) {
        w = ids->work = calloc(1, sizeof *w);
        if (!w) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for an encoder");
    } else if (w->owner != t && w->cache) {
        memset(w->cache, 0, HONE_CACHE_SLOTS * sizeof *w->cache);
    }
    w->owner = t;
    *out = w;
    return HONE_OK;
}

/* Fine on a zeroed buffer, and twice. */
void hone_ids_free(hone_ids *ids)
{
    hone_work *w = ids->work;
    if (w) {
        free(w->repaired.data);
        free(w->normal[0].data);
        free(w->normal[1].data);
        free(w->piece.data);
        free(w->code);
        free(w->cache);
        free(w->symbol);
        free(w->heap);
        free(w->hash);
        free(w);
    }
    free(ids->id);
    *ids = (hone_ids){0};
}

/* --- words --------------------------------------------------------------------------------------------- */

/* A part on its way to ids. */
typedef struct part {
    const hone_tokenizer *t;
    hone_work *w;
    hone_ids *ids;
} part;

/* The model itself, without the cache. */
static inline hone_status model_word(const part *p, const char *word, size_t bytes)
{
    HONE_TRY(hone_ids_reserve(p->ids, bytes + 1));
    if (p->t->opts.kind == HONE_TOKENIZER_BPE) return hone_bpe_word(p->t, p->w, word, bytes, p->ids);
    hone_wordpiece_word(p->t, word, bytes, p->ids);
    return HONE_OK;
}

/* The cache is made for the first word: bags and short-lived encoders do without. */
static hone_status make_cache(hone_work *w)
{
    w->cache = calloc(HONE_CACHE_SLOTS, sizeof *w->cache);
    return w->cache ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for an encoder");
}

/* Texts repeat their words: most are found in the cache and cost a hash and a copy. */
static hone_status add_word(void *arg, const char *word, size_t bytes)
{
    part *p = arg;
    if (bytes > HONE_CACHE_BYTES) return model_word(p, word, bytes);
    if (!p->w->cache) HONE_TRY(make_cache(p->w));
    uint64_t hash = XXH3_64bits(word, bytes) | 1;
    /* one place a word: a newer word takes it, and frequent ones come back at once */
    hone_cached_word *c = &p->w->cache[(hash >> 32) & (HONE_CACHE_SLOTS - 1)];
    if (c->hash == hash && c->bytes == bytes && memcmp(c->word, word, bytes) == 0) {
        HONE_TRY(hone_ids_reserve(p->ids, HONE_CACHE_IDS));
        memcpy(p->ids->id + p->ids->count, c->id, sizeof c->id); /* all eight: cheaper than counting */
        p->ids->count += c->count;
        return HONE_OK;
    }
    int64_t before = p->ids->count;
    HONE_TRY(model_word(p, word, bytes));
    int64_t count = p->ids->count - before;
    if (count > HONE_CACHE_IDS) return HONE_OK; /* too many to keep; rare among short words */
    *c = (hone_cached_word){.hash = hash, .bytes = (uint8_t)bytes, .count = (uint8_t)count};
    memcpy(c->word, word, bytes);
    memcpy(c->id, p->ids->id + before, (size_t)count * sizeof *c->id);
    return HONE_OK;
}

/* An added token itself, as hone_added_split hands it over. */
static hone_status add_token(const part *p, size_t id)
{
    HONE_TRY(hone_ids_reserve(p->ids, 1));
    p->ids->id[p->ids->count++] = (int32_t)id;
    return HONE_OK;
}

/* A stretch of normalized text between added tokens. */
static hone_status normal_piece(void *arg, const char *text, size_t bytes)
{
    part *p = arg;
    return text ? hone_split(p->t, p->w, text, bytes, add_word, p) : add_token(p, bytes);
}

/* A stretch of raw text between added tokens. */
static hone_status raw_piece(void *arg, const char *text, size_t bytes)
{
    part *p = arg;
    if (!text) return add_token(p, bytes);
    HONE_TRY(hone_normalize(p->t, p->w, &text, &bytes));
    return hone_added_split(&p->t->normal_added, p->t->unicode, text, bytes, normal_piece, p);
}

/* Good stretches are copied whole; nearly every text is one stretch and is not copied at all. */
hone_status hone_text_repair(hone_work *w, const char **text, size_t *bytes)
{
    const uint8_t *s = (const uint8_t *)*text, *end = s + *bytes;
    size_t good = hone_utf8_valid(*text, *bytes);
    if (good == *bytes) return HONE_OK;
    hone_buffer *b = &w->repaired;
    b->count = 0;
    HONE_TRY(hone_buffer_reserve(b, 3 * *bytes + 4));
    while (s < end) {
        memcpy(b->data + b->count, s, good);
        b->count += good;
        s += good;
        if (s == end) break;
        memcpy(b->data + b->count, "\xEF\xBF\xBD", 3);
        b->count += 3;
        s -= hone_utf8_whole(s, (size_t)(end - s));
        good = hone_utf8_valid((const char *)s, (size_t)(end - s));
    }
    *text = b->data;
    *bytes = b->count;
    return HONE_OK;
}

/* The ids of one text without special ones around them. */
static hone_status encode_part(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, int64_t max_words,
                               hone_ids *ids, int64_t *cut)
{
    if (bytes > TEXT_LIMIT)
        return hone_fail(HONE_ERR_DATA, "split the text", "a text of %zu bytes is longer than %d", bytes, TEXT_LIMIT);
    if (bytes == 0) return HONE_OK; /* not even a prefix space: an empty text has no tokens of its own */
    if (t->opts.kind == HONE_TOKENIZER_NGRAM) return hone_ngram_encode(t, w, text, bytes, max_words, ids, cut);
    if (t->opts.kind == HONE_TOKENIZER_CHAR) return hone_char_encode(t, text, bytes, ids);
    part p = {t, w, ids};
    HONE_TRY(hone_text_repair(w, &text, &bytes));
    return hone_added_split(&t->raw_added, t->unicode, text, bytes, raw_piece, &p);
}

/* --- training ------------------------------------------------------------------------------------------ */

/* The same steps as encoding, without added tokens: a [MASK] in a training text is text. */
hone_status hone_words(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                       void *arg)
{
    if (t->opts.kind == HONE_TOKENIZER_NGRAM) return hone_ngram_words(t, w, text, bytes, fn, arg);
    if (t->opts.kind == HONE_TOKENIZER_CHAR) return hone_char_words(t, text, bytes, fn, arg);
    HONE_TRY(hone_text_repair(w, &text, &bytes));
    HONE_TRY(hone_normalize(t, w, &text, &bytes));
    return hone_split(t, w, text, bytes, fn, arg);
}

/* --- cutting and the template -------------------------------------------------------------------------- */

/* How many ids of each part stay when `room` are allowed in all: "longest first" of the `tokenizers` package, which
 * takes from the longer part and halves what is left when both are longer. */
static void cut_pair(int64_t room, int64_t n[2])
{
    int64_t low = n[0] < n[1] ? n[0] : n[1], high;
    high = low > room ? low : (low > room - low ? low : room - low);
    if (low + high > room) {
        low = room / 2;
        high = low + room % 2;
    }
    bool swapped = n[0] > n[1]; /* low is the shorter one's share */
    int64_t keep[2] = {swapped ? high : low, swapped ? low : high};
    for (int k = 0; k < 2; k++)
        if (keep[k] < n[k]) n[k] = keep[k];
}

/* Puts the template around the parts, which lie behind `base`: n[0] ids of `had` in the first, then the second. */
static hone_status compose(const hone_template *m, hone_ids *ids, int64_t base, int64_t had, const int64_t n[2],
                           hone_encoded *what)
{
    HONE_TRY(hone_ids_reserve(ids, (size_t)(n[0] + n[1] + m->count)));
    int32_t *out = ids->id + ids->count, *from = out;
    what->second = -1;
    for (int k = 0; k < m->count; k++) {
        const hone_template_piece *piece = &m->piece[k];
        if (piece->type == 1 && what->second < 0) what->second = out - from;
        if (piece->id >= 0) {
            *out++ = piece->id;
            continue;
        }
        memcpy(out, ids->id + base + (piece->text ? had : 0), (size_t)n[piece->text] * sizeof *out);
        out += n[piece->text];
    }
    what->count = out - from;
    if (what->second < 0) what->second = what->count;
    /* put together behind the parts, then moved over them */
    memmove(ids->id + base, from, (size_t)what->count * sizeof *out);
    ids->count = base + what->count;
    return HONE_OK;
}

/* Without a template: the first part and behind it the second. */
static void join(hone_ids *ids, int64_t base, int64_t had, const int64_t n[2], hone_encoded *what)
{
    memmove(ids->id + base + n[0], ids->id + base + had, (size_t)n[1] * sizeof *ids->id);
    ids->count = base + n[0] + n[1];
    what->count = n[0] + n[1];
    what->second = n[0];
}

/* Ids of a template that are special ones. */
static int64_t special_count(const hone_template *m)
{
    int64_t n = 0;
    for (int k = 0; k < m->count; k++) n += m->piece[k].id >= 0;
    return n;
}

/* Both parts first, then the cut, then the template: how much of a part stays depends on the other's length. */
hone_status hone_tokenizer_encode(const hone_tokenizer *t, const char *text, size_t bytes, const char *pair,
                                  size_t pair_bytes, int64_t max_length, hone_ids *ids, hone_encoded *what)
{
    hone_work *w = NULL;
    hone_encoded unused;
    if (!what) what = &unused;
    *what = (hone_encoded){0};
    HONE_TRY(hone_work_get(t, ids, &w));
    bool bag = t->opts.kind == HONE_TOKENIZER_NGRAM;
    const hone_template *m = &t->template[pair != NULL];
    int64_t base = ids->count, n[2] = {0, 0};
    hone_status status = encode_part(t, w, text, bytes, max_length, ids, &what->cut);
    n[0] = ids->count - base;
    if (status == HONE_OK && pair) status = encode_part(t, w, pair, pair_bytes, max_length, ids, &what->cut);
    if (status != HONE_OK) { /* the caller's buffer is as it was */
        ids->count = base;
        return status;
    }
    n[1] = ids->count - base - n[0];
    int64_t had = n[0], all = n[0] + n[1];
    if (max_length > 0 && !bag) {
        /* special tokens are never cut: with a tiny limit they are all that is left */
        int64_t room = max_length - special_count(m);
        if (room < 0) room = 0;
        if (pair && all > room) cut_pair(room, n);
        else if (n[0] > room) n[0] = room;
        what->cut = all - n[0] - n[1];
    }
    if (m->count) return compose(m, ids, base, had, n, what);
    if (all) join(ids, base, had, n, what);
    return HONE_OK;
}
