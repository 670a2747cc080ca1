/* twins.c - see twins.h. Three passes: hashes of bytes, hashes of folded text, MinHash over shingles.
 *
 * Memory is 96 bytes a text and one text's buffers a thread; the texts themselves are read where they lie.
 * Equal hashes of 128 bits count as equal text (one mistake in 10^20 for a billion rows). */
#define XXH_INLINE_ALL
#include "data/twins.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

#include "core/thread.h"
#include "data/files.h"
#include "data/utf8.h"

/* A pair of similarity s shares a band with probability 1 - (1 - s^4)^16: 0.9998 at 0.8, 0.64 at 0.5, 0.03 at 0.2. */
enum { BANDS = 16, LANES = 4, HASHES = BANDS * LANES, NEIGHBOURS = 16, CHUNK = 256 };

/* Buffers for one text at a time; each thread has its own. */
typedef struct scratch {
    char *text; /* folded                                                                         */
    size_t bytes, capacity;
    uint32_t *shingle; /* sorted, each once                                                       */
    size_t shingles, shingle_capacity;
} scratch;

/* Lower case may be longer than the original in bytes (by half at most: two bytes become three). */
static bool reserve(scratch *s, size_t bytes)
{
    size_t need = 2 * bytes + 8; /* twice is more than any script grows by */
    if (need > s->capacity) {
        char *grown = realloc(s->text, need);
        if (!grown) return false;
        s->text = grown;
        s->capacity = need;
    }
    return true;
}

/* Adds `text` in lower case; runs of white space (or, with `letters`, of all that is no letter or digit)
 * become one space, and none at the start. */
static void fold_into(scratch *s, const char *text, size_t bytes, bool letters)
{
    for (size_t k = 0; k < bytes;) {
        uint32_t code;
        k += (size_t)hone_utf8_next(text + k, &code);
        /* U+2000 to U+206F are spaces and punctuation, U+3000 is the wide space */
        bool gap = code <= ' ' || code == 0xA0 || (code >= 0x2000 && code <= 0x206F) || code == 0x3000;
        if (letters && code < 0x80)
            gap = !((code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z'));
        if (gap) {
            if (s->bytes && s->text[s->bytes - 1] != ' ') s->text[s->bytes++] = ' ';
        } else if (code < 0x80) {
            s->text[s->bytes++] = (char)(code >= 'A' && code <= 'Z' ? code + 32 : code);
        } else {
            s->bytes += (size_t)hone_utf8_put((uint32_t)utf8proc_tolower((utf8proc_int32_t)code), s->text + s->bytes);
        }
    }
}

/* Whole characters within the first `limit` bytes. */
static size_t cut(const char *text, size_t bytes, size_t limit)
{
    if (bytes <= limit) return bytes;
    while (limit && ((unsigned char)text[limit] & 0xC0) == 0x80) limit--;
    return limit;
}

/* The folded form of a row, a 1 between the texts of a pair. */
static bool fold(scratch *s, const hone_text_row *row, bool letters, size_t limit)
{
    size_t a = cut(row->text, row->bytes, limit), b = row->second ? cut(row->second, row->second_bytes, limit) : 0;
    s->bytes = 0; /* the buffer is used again for the next text */
    if (!reserve(s, a + b)) return false;
    fold_into(s, row->text, a, letters);
    if (s->bytes && s->text[s->bytes - 1] == ' ') s->bytes--;
    if (row->second) {
        s->text[s->bytes++] = '\1';
        fold_into(s, row->second, b, letters);
        if (s->text[s->bytes - 1] == ' ') s->bytes--;
    }
    return true;
}

/* Ascending. */
static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorted, each once: the form that sets are compared in. */
static void make_set(scratch *s)
{
    size_t n = 0;
    qsort(s->shingle, s->shingles, sizeof *s->shingle, compare_u32);
    for (size_t k = 0; k < s->shingles; k++)
        if (k == 0 || s->shingle[k] != s->shingle[n - 1]) s->shingle[n++] = s->shingle[k];
    s->shingles = n;
}

/* Hashes of all stretches of five characters; a shorter text is one stretch, an empty one none. Not
 * sorted: signatures need no set. */
static bool find_shingles(scratch *s, const hone_text_row *row)
{
    s->shingles = 0;
    if (!fold(s, row, true, HONE_NEAR_BYTES_MAX)) return false;
    if (s->bytes + 1 > s->shingle_capacity) {
        uint32_t *grown = realloc(s->shingle, (s->bytes + 1) * sizeof *grown);
        if (!grown) return false;
        s->shingle = grown;
        s->shingle_capacity = s->bytes + 1;
    }
    /* a window of five characters: `first` and `last` move by whole characters */
    size_t first = 0, last = 0;
    int characters = 0; /* whole ones so far, up to `last` */
    for (; last < s->bytes; characters++) {
        if (characters >= HONE_SHINGLE_CHARACTERS) {
            s->shingle[s->shingles++] = (uint32_t)XXH3_64bits(s->text + first, last - first);
            for (first++; ((unsigned char)s->text[first] & 0xC0) == 0x80;) first++;
        }
        for (last++; last < s->bytes && ((unsigned char)s->text[last] & 0xC0) == 0x80;) last++;
    }
    /* the last window, which is also the only one of a short text */
    if (last > first) s->shingle[s->shingles++] = (uint32_t)XXH3_64bits(s->text + first, last - first);
    return true;
}

/* |A and B| / |A or B| of two sorted sets. */
static double jaccard(const scratch *a, const scratch *b)
{
    size_t i = 0, j = 0, both = 0;
    while (i < a->shingles && j < b->shingles) {
        if (a->shingle[i] == b->shingle[j]) both++, i++, j++;
        else if (a->shingle[i] < b->shingle[j]) i++;
        else j++;
    }
    /* two empty texts have nothing in common: they are a finding of their own */
    size_t any = a->shingles + b->shingles - both;
    return any ? (double)both / (double)any : 0.0;
}

/* Fine on one that was never used. */
static void scratch_free(scratch *s)
{
    free(s->text);
    free(s->shingle);
}

/* The definition itself, for tests and for single pairs. */
double hone_text_similarity(const hone_text_row *a, const hone_text_row *b)
{
    scratch x = {0}, y = {0};
    double similarity = -1;
    if (find_shingles(&x, a) && find_shingles(&y, b)) {
        make_set(&x);
        make_set(&y);
        similarity = jaccard(&x, &y);
    }
    scratch_free(&x);
    scratch_free(&y);
    return similarity;
}

/* What the parallel pass leaves for each text. */
typedef struct work {
    const hone_text_row *const *row;
    int64_t count;
    XXH128_hash_t *exact, *folded; /* (count)                                                      */
    uint32_t *band;                /* (count, BANDS); all 0 for a text without shingles             */
    uint32_t *length;              /* (count) shingles: very different ones can't be near            */
} work;

/* Minima of 64 hash functions over the shingles, four of them hashed to a band's key. The functions are
 * multiplications by odd constants after a xor, as shingles are hashes already. The inner loop is one
 * that compilers vectorise. */
static void make_bands(const scratch *s, uint32_t *band)
{
    /* made anew for each text: 64 multiplications, against thousands of shingles times 64 below */
    uint32_t least[HASHES], mask[HASHES], factor[HASHES];
    for (uint32_t k = 0; k < HASHES; k++) {
        least[k] = UINT32_MAX;
        mask[k] = (k + 1) * 0x9E3779B9u;
        factor[k] = ((k + 1) * 0x85EBCA6Bu) | 1;
    }
    for (size_t i = 0; i < s->shingles; i++)
        for (int k = 0; k < HASHES; k++) {
            uint32_t h = (s->shingle[i] ^ mask[k]) * factor[k];
            /* the minimum looks at the high bits, which the multiplication mixes best; this helps the low ones */
            h ^= h >> 15;
            least[k] = h < least[k] ? h : least[k];
        }
    /* | 1: the key 0 stands for no shingles */
    for (int k = 0; k < BANDS; k++) band[k] = (uint32_t)XXH3_64bits(least + k * LANES, LANES * sizeof *least) | 1;
}

/* One chunk of texts: hashes and bands into places of their own. */
static hone_status look_at(void *arg, int64_t chunk)
{
    work *w = arg;
    scratch s = {0}; /* one for the chunk: buffers grow to the longest text and stay */
    bool ok = true;
    int64_t end = (chunk + 1) * CHUNK < w->count ? (chunk + 1) * CHUNK : w->count;
    for (int64_t i = chunk * CHUNK; ok && i < end; i++) {
        const hone_text_row *r = w->row[i];
        /* a pair is equal when both texts are; the seed ties the second to its first */
        w->exact[i] = XXH3_128bits(r->text, r->bytes);
        if (r->second) {
            XXH128_hash_t second = XXH3_128bits_withSeed(r->second, r->second_bytes, w->exact[i].low64);
            w->exact[i].low64 ^= second.low64;
            w->exact[i].high64 ^= second.high64;
        }
        ok = fold(&s, r, false, SIZE_MAX);
        if (ok) w->folded[i] = XXH3_128bits(s.text, s.bytes);
        ok = ok && find_shingles(&s, r);
        if (!ok) break;
        w->length[i] = (uint32_t)s.shingles; /* with repeats, as no set is made here */
        memset(w->band + i * BANDS, 0, BANDS * sizeof *w->band);
        if (s.shingles) make_bands(&s, w->band + i * BANDS);
    }
    scratch_free(&s);
    return ok ? HONE_OK : hone_no_memory("a text's shingles", 0);
}

/* first[i]: the first text with the same hash. Linear probing in a table that is at most half full. */
static hone_status group(const XXH128_hash_t *hash, int64_t count, int64_t *first)
{
    size_t slots = 16; /* a power of two, at most half full */
    while (slots < 2 * (size_t)count) slots *= 2;
    int64_t *slot = calloc(slots, sizeof *slot); /* index + 1 */
    if (!slot) return hone_no_memory("the search for copies", slots * sizeof *slot);
    for (int64_t i = 0; i < count; i++) {
        size_t k = hash[i].low64 & (slots - 1);
        while (slot[k] && !XXH128_isEqual(hash[slot[k] - 1], hash[i])) k = (k + 1) & (slots - 1);
        if (!slot[k]) slot[k] = i + 1;
        first[i] = slot[k] - 1;
    }
    free(slot);
    return HONE_OK;
}

/* Root of a cluster, halving the path on the way (union-find); the smallest index is the root. */
static int64_t find_root(int64_t *near, int64_t i)
{
    while (near[i] != i) i = near[i] = near[near[i]];
    return i;
}

/* Joins the clusters of i and j where the texts are near. x and y hold their sets afterwards. */
static bool compare_pair(const work *w, int64_t *near, int64_t i, int64_t j, bool *have_x, scratch *x, scratch *y)
{
    int64_t a = find_root(near, i), b = find_root(near, j);
    double longer = w->length[i] > w->length[j] ? w->length[i] : w->length[j];
    double shorter = w->length[i] > w->length[j] ? w->length[j] : w->length[i];
    /* lengths count repeated shingles too, so half is a safe bound for sets of 0.8 in real text */
    if (a == b || shorter < 0.5 * longer) return true;
    if (!*have_x) {
        if (!find_shingles(x, w->row[i])) return false;
        make_set(x);
        *have_x = true;
    }
    if (!find_shingles(y, w->row[j])) return false;
    make_set(y);
    if (jaccard(x, y) < HONE_NEAR_SIMILARITY) return true; /* the band was chance */
    /* the smaller index becomes the root, so a cluster is named by its first text */
    near[a > b ? a : b] = a > b ? b : a;
    return true;
}

/* Texts that share the key of one band, each compared with the 16 before it. */
static hone_status scan_band(const work *w, const int64_t *folded, int band, int64_t *near, int64_t *slot, size_t slots,
                             int64_t *before)
{
    scratch x = {0}, y = {0};
    bool ok = true;
    memset(slot, 0, slots * sizeof *slot);
    for (int64_t i = 0; ok && i < w->count; i++) {
        uint32_t key = w->band[i * BANDS + band];
        if (!key || folded[i] != i) continue; /* one text of each group of copies stands for all */
        /* Fibonacci hashing (Knuth, TAOCP 3, section 6.4): keys share their low bit */
        size_t k = (key * (size_t)0x9E3779B97F4A7C15u >> 20) & (slots - 1);
        while (slot[k] && w->band[(slot[k] - 1) * BANDS + band] != key) k = (k + 1) & (slots - 1);
        before[i] = slot[k] - 1; /* the text before this one in the band, -1: none */
        slot[k] = i + 1;
        bool have_x = false;
        int64_t j = before[i];
        for (int n = 0; ok && j >= 0 && n < NEIGHBOURS; n++, j = before[j])
            ok = compare_pair(w, near, i, j, &have_x, &x, &y);
    }
    scratch_free(&x);
    scratch_free(&y);
    return ok ? HONE_OK : hone_no_memory("a text's shingles", 0);
}

/* All bands, one after the other, in one table. */
static hone_status find_near(const work *w, const int64_t *folded, int64_t *near)
{
    size_t slots = 16, n = (size_t)w->count;
    while (slots < 2 * n) slots *= 2;
    int64_t *slot = malloc(slots * sizeof *slot), *before = malloc(n * sizeof *before + 1);
    hone_status s = slot && before ? HONE_OK : hone_no_memory("the search for near copies", slots * sizeof *slot);
    /* copies start in the cluster of the text they are copies of */
    for (int64_t i = 0; i < w->count; i++) near[i] = folded[i];
    for (int band = 0; s == HONE_OK && band < BANDS; band++) s = scan_band(w, folded, band, near, slot, slots, before);
    for (int64_t i = 0; s == HONE_OK && i < w->count; i++) near[i] = find_root(near, i);
    free(slot);
    free(before);
    return s;
}

/* The first pass is parallel and writes to places of its own; what follows is one thread's, in order. */
hone_status hone_twins_find(const hone_text_row *const *row, int64_t count, int threads, hone_twins *out)
{
    size_t n = (size_t)count;
    work w = {.row = row, .count = count};
    *out = (hone_twins){.count = count};
    w.exact = malloc(n * sizeof *w.exact + 1);
    w.folded = malloc(n * sizeof *w.folded + 1);
    w.band = malloc(n * BANDS * sizeof *w.band + 1);
    w.length = malloc(n * sizeof *w.length + 1);
    out->exact = malloc(n * sizeof *out->exact + 1);
    out->folded = malloc(n * sizeof *out->folded + 1);
    out->near = malloc(n * sizeof *out->near + 1);
    bool ok = w.exact && w.folded && w.band && w.length && out->exact && out->folded && out->near;
    hone_status s = ok ? HONE_OK : hone_no_memory("the search for copies", n * BANDS * sizeof *w.band);
    if (s == HONE_OK) s = hone_parallel_for(threads, (count + CHUNK - 1) / CHUNK, look_at, &w);
    if (s == HONE_OK) s = group(w.exact, count, out->exact);
    if (s == HONE_OK) s = group(w.folded, count, out->folded);
    if (s == HONE_OK) s = find_near(&w, out->folded, out->near);
    free(w.exact);
    free(w.folded);
    free(w.band);
    free(w.length);
    if (s != HONE_OK) hone_twins_free(out);
    return s;
}

/* Fine on one that was only half made. */
void hone_twins_free(hone_twins *t)
{
    free(t->exact);
    free(t->folded);
    free(t->near);
    *t = (hone_twins){0};
}
