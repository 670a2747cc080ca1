/* image_twins.c - see image_twins.h. Prints are made a picture at a time (any thread); so is the search, each picture
 * against all before it in tables that are made before, so its result does not depend on threads.
 *
 * The search is not quadratic: a picture meets those that share 16 bits of its hash, up to one bit; of a bucket
 * at most 4,096 are looked at, and at most 16 candidates, the nearest by hash, are decoded. Sets of many thousand
 * pictures with the same coarse look may so lose a pair, and never gain one. */
#define XXH_INLINE_ALL
#include "core/thread.h"
#include "data/image_align.h"
#include "data/image_twins.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { GRID = 32, LOW = 8, THUMB = HONE_THUMB_SIDE, BANDS = 4, BAND_BITS = 16, BUCKETS = 1 << BAND_BITS };
/* A pair of the definition has thumbnails that agree better than its pixels do, as noise averages out. */
enum { NEAR_BITS = 10, BUCKET_SEEN_MAX = 4096, CANDIDATES = 16, COMPARED_SIDE_MAX = 128 };
#define THUMB_CORRELATION 0.96
/* The same for copies that were cut or turned, of 63 bits; a pair without relation differs in 31, and in 22 once in 90. */
enum { LAID_BITS = 22, LAID_SEEN_MAX = 50000, LAID_MOST = 3 };
/* Pictures that a thread looks for at once; their number from 1 on has 16 bits. */
enum { SEARCH_CHUNK = 1024 };
#define LAID_CORRELATION 0.5
/* Standard deviation, in steps of 8 bits: flatter than this, what is left is noise. */
#define FLAT 2.0

/* RGB whose channels agree becomes grey in place: the same picture saved as colour. */
static bool fold_grey(hone_image *image)
{
    size_t n = (size_t)image->height * (size_t)image->width;
    if (image->channels == 1) return true;
    for (size_t i = 0; i < n; i++)
        if (image->pixels[3 * i] != image->pixels[3 * i + 1] || image->pixels[3 * i] != image->pixels[3 * i + 2])
            return false;
    for (size_t i = 0; i < n; i++) image->pixels[i] = image->pixels[3 * i];
    image->channels = 1;
    return true;
}

/* All pixels of one colour. */
static bool is_constant(const hone_image *image)
{
    size_t n = (size_t)image->height * (size_t)image->width * (size_t)image->channels, c = (size_t)image->channels;
    for (size_t i = c; i < n; i++)
        if (image->pixels[i] != image->pixels[i - c]) return false;
    return true;
}

/* Ascending; sums of products of bytes are finite. */
static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Signs of the 8 x 8 lowest frequencies of the DCT-II of g (32, 32) against their median. The constant one says
 * brightness alone and stays out. */
static uint64_t low_frequencies(const uint8_t *g)
{
    /* made anew for each picture: 256 cosines, against the decoding of a file */
    double basis[LOW][GRID], rows[GRID][LOW], value[LOW * LOW], sorted[LOW * LOW - 1];
    for (int u = 0; u < LOW; u++)
        for (int x = 0; x < GRID; x++) basis[u][x] = cos(3.14159265358979323846 * u * (2 * x + 1) / (2.0 * GRID));
    for (int y = 0; y < GRID; y++)
        for (int u = 0; u < LOW; u++) {
            double sum = 0;
            for (int x = 0; x < GRID; x++) sum += g[y * GRID + x] * basis[u][x];
            rows[y][u] = sum;
        }
    for (int v = 0; v < LOW; v++)
        for (int u = 0; u < LOW; u++) {
            double sum = 0;
            for (int y = 0; y < GRID; y++) sum += rows[y][u] * basis[v][y];
            value[v * LOW + u] = sum;
        }
    memcpy(sorted, value + 1, sizeof sorted); /* without the constant */
    qsort(sorted, LOW * LOW - 1, sizeof *sorted, compare_doubles);
    uint64_t bits = 0;
    for (int k = 1; k < LOW * LOW; k++) bits |= (uint64_t)(value[k] > sorted[(LOW * LOW - 1) / 2]) << k;
    return bits;
}

/* g (32, 32) -> (16, 16) around 0, scaled so that the greatest is 127. */
static void make_thumb(const uint8_t *g, hone_print *out)
{
    /* the means of 2 x 2 pixels of the grid: half of what a resize would cost, and as good here */
    double v[THUMB * THUMB], mean = 0, most = 0, squares = 0;
    for (int y = 0; y < THUMB; y++)
        for (int x = 0; x < THUMB; x++) {
            const uint8_t *p = g + 2 * y * GRID + 2 * x;
            mean += v[y * THUMB + x] = (p[0] + p[1] + p[GRID] + p[GRID + 1]) / 4.0;
        }
    mean /= THUMB * THUMB;
    for (int k = 0; k < THUMB * THUMB; k++) {
        v[k] -= mean;
        if (fabs(v[k]) > most) most = fabs(v[k]);
        squares += v[k] * v[k];
    }
    if (sqrt(squares / (THUMB * THUMB)) < FLAT) return; /* norm stays 0 */
    squares = 0;
    for (int k = 0; k < THUMB * THUMB; k++) {
        out->thumb[k] = (int8_t)lrint(v[k] / most * 127);
        squares += out->thumb[k] * out->thumb[k];
    }
    out->norm = (float)sqrt(squares);
}

/* All that is ever asked of a picture without decoding it again. */
hone_status hone_print_make(const hone_image *image, hone_print *out)
{
    uint8_t grid[GRID * GRID];
    size_t bytes = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    hone_image copy = *image; /* the caller's pixels are not changed */
    if (!(copy.pixels = malloc(bytes))) return hone_no_memory("an image", bytes);
    memcpy(copy.pixels, image->pixels, bytes);
    out->grey = fold_grey(&copy);
    out->constant = is_constant(&copy);
    out->height = copy.height;
    out->width = copy.width;
    /* the shape goes in as the seed: 2 x 8 and 4 x 4 pixels may have the same bytes */
    bytes = (size_t)copy.height * (size_t)copy.width * (size_t)copy.channels;
    XXH128_hash_t h = XXH3_128bits_withSeed(copy.pixels, bytes, (uint64_t)copy.height << 32 | (uint64_t)copy.channels);
    out->pixels[0] = h.low64;
    out->pixels[1] = h.high64;
    /* stretched: a copy in another shape is to meet here, its shape is compared later */
    hone_status s = hone_image_fit(&copy, GRID, GRID, 1, HONE_RESIZE_STRETCH, grid);
    free(copy.pixels);
    if (s != HONE_OK || out->constant) return s;
    out->low = low_frequencies(grid);
    make_thumb(grid, out);
    return HONE_OK;
}

/* Correlation of two sums' worth of values: n, sums, squares, products. */
typedef struct moments {
    double n, x, y, xx, yy, xy;
} moments;

/* `n` values of a and b; with a step, their differences to the values that far on. Rows are short (128 x 3), so whole
 * numbers of 32 bits hold their sums, and the doubles hold all of them exactly. */
static void moments_add(moments *m, const uint8_t *a, const uint8_t *b, int n, size_t step)
{
    int32_t x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        int32_t p = step ? a[(size_t)i + step] - a[i] : a[i], q = step ? b[(size_t)i + step] - b[i] : b[i];
        x += p;
        y += q;
        xx += p * p;
        yy += q * q;
        xy += p * q;
    }
    m->n += n;
    m->x += x;
    m->y += y;
    m->xx += xx;
    m->yy += yy;
    m->xy += xy;
}

/* Pearson's; 0 where one side does not vary. */
static double correlation(const moments *m)
{
    double vx = m->xx - m->x * m->x / m->n, vy = m->yy - m->y * m->y / m->n, c = m->xy - m->x * m->y / m->n;
    return vx > 0 && vy > 0 ? c / sqrt(vx * vy) : 0;
}

/* Two pictures of one size to compare; `inside` (h, w) says where both are, NULL: everywhere. */
typedef struct both {
    const uint8_t *a, *b, *inside; /* a, b (h, w, c) */
    int h, w, c;
} both;

static bool is_inside(const both *p, int y, int x)
{
    return !p->inside || p->inside[(size_t)y * (size_t)p->w + (size_t)x];
}

/* Greatest mean of a block of what the line through all pairs (least squares, both sides scaled to deviation 1) leaves:
 * noise and quantising average out in a block, another pocket or shade does not. */
static double worst_block(const both *p, const moments *m)
{
    int h = p->h, w = p->w, c = p->c, side = (h > w ? h : w) / 16 > 4 ? (h > w ? h : w) / 16 : 4;
    double mean_a = m->x / m->n, mean_b = m->y / m->n, worst = 0, r = correlation(m), n = side * side;
    double dev_a = sqrt(m->xx / m->n - mean_a * mean_a), dev_b = sqrt(m->yy / m->n - mean_b * mean_b);
    for (int top = 0; top + side <= h; top += side)
        for (int left = 0; left + side <= w; left += side) {
            /* what lies within at its corners does so as a whole */
            if (!is_inside(p, top, left) || !is_inside(p, top + side - 1, left) ||
                !is_inside(p, top, left + side - 1) || !is_inside(p, top + side - 1, left + side - 1))
                continue;
            for (int k = 0; k < c; k++) {
                int32_t sum_a = 0, sum_b = 0;
                for (int y = top; y < top + side; y++)
                    for (int x = left; x < left + side; x++) {
                        size_t at = ((size_t)y * (size_t)w + (size_t)x) * (size_t)c + (size_t)k;
                        sum_a += p->a[at];
                        sum_b += p->b[at];
                    }
                double rest = (sum_b - n * mean_b) / dev_b - r * (sum_a - n * mean_a) / dev_a;
                if (fabs(rest) > worst) worst = fabs(rest);
            }
        }
    return worst / n;
}

/* How well two pictures agree where both are. */
typedef struct agreement {
    double pixels, edges, block; /* correlations; the worst block                                      */
} agreement;

/* The next columns from x on that lie within in this row, and `down` rows below: [*from, the result); both w: none. */
static int run_of(const both *p, int y, int down, int x, int *from)
{
    if (!p->inside) {
        *from = x;
        return p->w;
    }
    while (x < p->w && !(is_inside(p, y, x) && is_inside(p, y + down, x))) x++;
    *from = x;
    while (x < p->w && is_inside(p, y, x) && is_inside(p, y + down, x)) x++;
    return x;
}

/* Over all channels; edges are differences to the neighbours on the right and below. */
static agreement measure(const both *p)
{
    moments pixels = {0}, edges = {0};
    size_t c = (size_t)p->c, row = (size_t)p->w * c;
    for (int y = 0; y < p->h; y++)
        for (int down = 0; down < 2 && y + down < p->h; down++)
            for (int from = 0, to = 0; to < p->w;) {
                to = run_of(p, y, down, to, &from);
                if (from == to) break;
                const uint8_t *a = p->a + (size_t)y * row + (size_t)from * c,
                              *b = p->b + (size_t)y * row + (size_t)from * c;
                if (down) {
                    moments_add(&edges, a, b, (to - from) * p->c, row);
                } else {
                    moments_add(&pixels, a, b, (to - from) * p->c, 0);
                    moments_add(&edges, a, b, (to - from - 1) * p->c, c);
                }
            }
    return (agreement){correlation(&pixels), correlation(&edges), worst_block(p, &pixels)};
}

/* As they lie. */
static bool agree(const agreement *g)
{
    return (g->pixels >= 0.99 && g->edges >= 0.97) || (g->pixels >= 0.98 && g->edges >= 0.80 && g->block <= 0.14);
}

/* Laid over one another, which makes any two pictures a little more alike, and blurs one of them. */
static bool agree_laid(const agreement *g)
{
    return (g->pixels >= 0.96 && g->edges >= 0.60 && g->block <= 0.50) ||
           (g->pixels >= 0.98 && g->edges >= 0.80 && g->block <= 0.90);
}

/* In place, by 1 2 1 along both axes; the outermost pixels stay. What resampling blurs in one picture is blurred in both. */
static void soften(uint8_t *v, int h, int w, int c)
{
    for (int axis = 0; axis < 2; axis++) {
        size_t step = axis ? (size_t)w * (size_t)c : (size_t)c;
        for (int k = 0; k < c; k++)
            for (int l = 0; l < (axis ? w : h); l++) {
                uint8_t *p = v + (axis ? (size_t)l * (size_t)c : (size_t)l * (size_t)w * (size_t)c) + k;
                int before = *p, n = axis ? h : w;
                for (int i = 1; i + 1 < n; i++) {
                    int own = p[(size_t)i * step];
                    p[(size_t)i * step] = (uint8_t)((before + 2 * own + p[(size_t)(i + 1) * step] + 2) / 4);
                    before = own;
                }
            }
    }
}

/* x (h, w, c) is a in the size of the comparison; b is laid over it, if a small cut, turn or stretch does that. */
static hone_status compare_laid(const hone_image *a, const hone_image *b, uint8_t *x, uint8_t *y, int h, int w, int c,
                                bool *near)
{
    bool found;
    hone_image_map map;
    HONE_TRY(hone_images_align(a, b, &map, &found));
    if (!found) return HONE_OK;
    uint8_t *inside = malloc((size_t)h * (size_t)w);
    if (!inside) return hone_no_memory("an image", (size_t)h * (size_t)w);
    hone_status s = hone_image_warp(b, &map, h, w, c, y, inside);
    if (s == HONE_OK) {
        soften(x, h, w, c);
        soften(y, h, w, c);
        agreement g = measure(&(both){x, y, inside, h, w, c});
        *near = agree_laid(&g);
    }
    free(inside);
    return s;
}

/* Both in the size of the smaller one, so that a copy of half the size is compared by what it still has. */
hone_status hone_images_near(const hone_image *a, const hone_image *b, bool lay, bool *near)
{
    *near = false;
    /* a square and a strip may look alike when both are made 32 x 32 */
    double shape = (double)a->width * b->height / ((double)a->height * b->width);
    if (shape > 1.25 || shape < 1 / 1.25) return HONE_OK;
    int h = a->height < b->height ? a->height : b->height, w = a->width < b->width ? a->width : b->width;
    /* a grey copy of a colour picture differs from it where it is coloured, and should */
    int c = a->channels > b->channels ? a->channels : b->channels, longest = h > w ? h : w;
    bool laid = lay && h >= HONE_LAID_SIDE_MIN && w >= HONE_LAID_SIDE_MIN;
    if (longest > COMPARED_SIDE_MAX) { /* finer detail than this is what re-encoding changes */
        h = (int)((int64_t)h * COMPARED_SIDE_MAX / longest);
        w = (int)((int64_t)w * COMPARED_SIDE_MAX / longest);
        if (h < 1) h = 1;
        if (w < 1) w = 1;
    }
    size_t bytes = (size_t)h * (size_t)w * (size_t)c;
    uint8_t *x = malloc(bytes), *y = malloc(bytes);
    hone_status s = x && y ? HONE_OK : hone_no_memory("an image", bytes);
    if (s == HONE_OK) s = hone_image_fit(a, h, w, c, HONE_RESIZE_STRETCH, x);
    if (s == HONE_OK) s = hone_image_fit(b, h, w, c, HONE_RESIZE_STRETCH, y);
    if (s == HONE_OK && shape <= 1.15 && shape >= 1 / 1.15) {
        agreement g = measure(&(both){x, y, NULL, h, w, c});
        *near = agree(&g);
    }
    if (s == HONE_OK && !*near && laid) s = compare_laid(a, b, x, y, h, w, c, near);
    free(x);
    free(y);
    return s;
}

/* first[i]: the first picture with the same pixels. Linear probing in a table that is at most half full. */
static hone_status find_exact(const hone_print *print, int64_t count, int64_t *first)
{
    size_t slots = 16;
    while (slots < 2 * (size_t)count) slots *= 2;
    int64_t *slot = calloc(slots, sizeof *slot); /* index + 1 */
    if (!slot) return hone_no_memory("the search for copies", slots * sizeof *slot);
    for (int64_t i = 0; i < count; i++) {
        const hone_print *p = &print[i];
        first[i] = i;
        if (p->height == 0 || p->constant) continue; /* findings of their own */
        /* the hash is uniform already, so its low bits serve as they are */
        size_t k = p->pixels[0] & (slots - 1);
        while (slot[k] && memcmp(print[slot[k] - 1].pixels, p->pixels, sizeof p->pixels) != 0)
            k = (k + 1) & (slots - 1);
        if (!slot[k]) slot[k] = i + 1;
        first[i] = slot[k] - 1;
    }
    free(slot);
    return HONE_OK;
}

typedef struct candidate {
    int64_t picture;
    double likeness; /* of the thumbnails: their correlation */
} candidate;

/* A picture in a list that is walked: its hash stands beside it, so that a walk reads memory from one end. */
typedef struct entry {
    uint64_t low;
    int64_t picture;
} entry;

/* What all threads read. A bucket's entries are entry[band][begin[band][bits] to begin[band][bits + 1]), in the order of the
 * pictures; copies by pixels and those without a thumbnail are in none. */
typedef struct search {
    const hone_print *print;
    int64_t count, chunk, laid_count;
    const int64_t *exact;
    int64_t *begin, *near; /* (4, 65537), (count)                                                  */
    entry *entry, *laid;   /* (4, count), (laid_count) those in which a cut could show             */
    hone_picture_read *read;
    void *arg;
} search;

/* A thread's own, for a chunk of pictures. */
typedef struct walk {
    const search *s;
    uint16_t *seen;             /* (count) the last picture of the chunk that met it, from 1 on                */
    uint16_t now;               /* the one that is looked for                                                  */
    candidate list[CANDIDATES]; /* likest first; of equal ones the earlier picture                             */
    int listed;
} walk;

/* Sixteen of the 64 bits. */
static unsigned band_of(uint64_t low, int band) { return (unsigned)(low >> (band * BAND_BITS)) & (BUCKETS - 1); }

/* Set bits (Warren, "Hacker's Delight", 5-1). */
static int count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (int)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* Keeps the 16 likest. Pictures come in any order, so equal ones go by number. */
static void offer(walk *s, int64_t j, double likeness)
{
    int k = s->listed < CANDIDATES ? s->listed++ : CANDIDATES;
    for (; k > 0 && (s->list[k - 1].likeness < likeness ||
                     (!(s->list[k - 1].likeness > likeness) && s->list[k - 1].picture > j));
         k--)
        if (k < CANDIDATES) s->list[k] = s->list[k - 1];
    if (k < CANDIDATES) s->list[k] = (candidate){j, likeness};
}

/* Both are around 0 already, so the product of the norms is all that Pearson's formula needs. */
static double thumb_correlation(const hone_print *a, const hone_print *b)
{
    int32_t sum = 0;
    for (int k = 0; k < THUMB * THUMB; k++) sum += a->thumb[k] * b->thumb[k];
    return sum / ((double)a->norm * b->norm);
}

/* How many of `list` (count), in the order of pictures, come before picture i. */
static int64_t count_before(const entry *list, int64_t count, int64_t i)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (list[middle].picture < i) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Pictures of one bucket that differ in few enough bits and have a like thumbnail, the latest before i first. */
static void walk_bucket(walk *w, int64_t i, int band, unsigned key)
{
    const search *s = w->s;
    const int64_t *begin = s->begin + (size_t)band * (BUCKETS + 1) + key;
    const entry *list = s->entry + (int64_t)band * s->count + begin[0];
    const hone_print *p = &s->print[i];
    int64_t k = count_before(list, begin[1] - begin[0], i), end = k > BUCKET_SEEN_MAX ? k - BUCKET_SEEN_MAX : 0;
    while (k-- > end) {
        int64_t j = list[k].picture;
        /* most pairs share a band by chance and end here; the others are met in up to four tables */
        if (count_bits(p->low ^ list[k].low) > NEAR_BITS || w->seen[j] == w->now) continue;
        w->seen[j] = w->now;
        double likeness = thumb_correlation(p, &s->print[j]);
        if (likeness >= THUMB_CORRELATION) offer(w, j, likeness);
    }
}

/* Whether a cut or a turn could show in a picture at all. */
static bool can_be_laid(const hone_print *p)
{
    return p->height >= HONE_LAID_SIDE_MIN && p->width >= HONE_LAID_SIDE_MIN;
}

/* A cut or a turn changes more of the hash than the tables forgive, so the pictures right before i are met one by one. */
static void walk_recent(walk *w, int64_t i)
{
    const search *s = w->s;
    const hone_print *p = &s->print[i];
    int64_t end = can_be_laid(p) ? count_before(s->laid, s->laid_count, i) : 0;
    for (int64_t k = count_before(s->laid, end, i - LAID_SEEN_MAX); k < end; k++) {
        if (count_bits(p->low ^ s->laid[k].low) > LAID_BITS) continue;
        int64_t j = s->laid[k].picture;
        w->seen[j] = w->now;
        double likeness = thumb_correlation(p, &s->print[j]);
        if (likeness >= LAID_CORRELATION) offer(w, j, likeness);
    }
}

/* The candidates of picture i, decoded and compared; near[i] becomes the earliest that is near. */
static hone_status compare_candidates(const walk *w, int64_t i, int64_t *near)
{
    const search *s = w->s;
    hone_image mine = {0}, other;
    hone_status status = w->listed ? s->read(s->arg, i, &mine) : HONE_OK;
    for (int k = 0; status == HONE_OK && k < w->listed; k++) {
        bool is_near;
        int64_t j = w->list[k].picture;
        if (near[i] != i && j > near[i]) continue; /* an earlier one is known */
        /* sets of like pictures (icons, frames of a film) would else be laid over one another in full */
        bool lay = k < LAID_MOST;
        if (!lay && w->list[k].likeness < THUMB_CORRELATION) break;
        status = s->read(s->arg, j, &other);
        if (status != HONE_OK) break;
        status = hone_images_near(&mine, &other, lay, &is_near);
        hone_image_drop(&other);
        if (status == HONE_OK && is_near) near[i] = j;
    }
    hone_image_drop(&mine);
    /* a file that went away since its print was made is nobody's copy any more */
    return status == HONE_ERR_DATA ? HONE_OK : status;
}

/* One task of the parallel loop: each of these pictures against all before it. Only the tables and prints are read, so no
 * result depends on threads. */
static hone_status search_chunk(void *arg, int64_t chunk)
{
    const search *s = arg;
    int64_t from = chunk * s->chunk, to = from + s->chunk < s->count ? from + s->chunk : s->count;
    walk w = {.s = s, .seen = calloc((size_t)s->count + 1, sizeof *w.seen)};
    hone_status status = w.seen ? HONE_OK : hone_no_memory("the search for near copies", (size_t)s->count * 2);
    for (int64_t i = from; status == HONE_OK && i < to; i++) {
        const hone_print *p = &s->print[i];
        s->near[i] = i;
        if (s->exact[i] != i || !(p->norm > 0)) continue;
        w.now = (uint16_t)(i - from + 1);
        w.listed = 0;
        /* first: what it has met and left out, the tables would leave out, too */
        walk_recent(&w, i);
        /* 17 of 65,536 buckets a table: with 7 differing bits one of four bands has at most one of them */
        for (int band = 0; band < BANDS; band++) {
            unsigned key = band_of(p->low, band);
            walk_bucket(&w, i, band, key);
            for (int bit = 0; bit < BAND_BITS; bit++) walk_bucket(&w, i, band, key ^ 1u << bit);
        }
        status = compare_candidates(&w, i, s->near);
    }
    free(w.seen);
    return status;
}

/* Sorts the pictures into the buckets of all bands by counting, which keeps their order. */
static void fill_tables(search *s)
{
    memset(s->begin, 0, (size_t)BANDS * (BUCKETS + 1) * sizeof *s->begin);
    for (int band = 0; band < BANDS; band++) {
        int64_t *begin = s->begin + (size_t)band * (BUCKETS + 1);
        for (int pass = 0; pass < 2; pass++) {
            /* the second pass goes backwards and leaves each bucket's end at its begin */
            for (int64_t k = 0; k < s->count; k++) {
                int64_t i = pass ? s->count - 1 - k : k;
                if (s->exact[i] != i || !(s->print[i].norm > 0)) continue;
                int64_t *bucket = &begin[band_of(s->print[i].low, band)];
                if (pass) s->entry[(int64_t)band * s->count + --*bucket] = (entry){s->print[i].low, i};
                else ++*bucket;
            }
            for (size_t k = 1; pass == 0 && k <= BUCKETS; k++) begin[k] += begin[k - 1];
        }
    }
    for (int64_t i = 0; i < s->count; i++)
        if (s->exact[i] == i && s->print[i].norm > 0 && can_be_laid(&s->print[i]))
            s->laid[s->laid_count++] = (entry){s->print[i].low, i};
}

/* 80 bytes a picture beside the prints, 2 a thread, and 2 MiB of buckets. */
hone_status hone_image_twins_find(const hone_print *print, int64_t count, hone_picture_read *read, void *arg,
                                  int threads, int64_t *exact, int64_t *near)
{
    size_t n = (size_t)count, buckets = (size_t)BANDS * (BUCKETS + 1);
    HONE_TRY(find_exact(print, count, exact));
    /* few enough that each thread has some, and that marking what was seen costs nothing beside the looking */
    search s = {.print = print, .count = count, .exact = exact, .near = near, .read = read, .arg = arg};
    s.chunk = count < 16 * SEARCH_CHUNK ? count / 16 + 1 : SEARCH_CHUNK;
    s.begin = malloc(buckets * sizeof *s.begin);
    s.entry = malloc(n * BANDS * sizeof *s.entry + 1);
    s.laid = malloc(n * sizeof *s.laid + 1);
    hone_status status = s.begin && s.entry && s.laid
                             ? HONE_OK
                             : hone_no_memory("the search for near copies", n * (BANDS + 1) * sizeof *s.entry);
    if (status == HONE_OK) fill_tables(&s);
    if (status == HONE_OK) status = hone_parallel_for(threads, (count + s.chunk - 1) / s.chunk, search_chunk, &s);
    /* the first of equal ones is earlier, so it is settled */
    for (int64_t i = 0; status == HONE_OK && i < count; i++)
        if (exact[i] != i) near[i] = near[exact[i]];
    free(s.begin);
    free(s.entry);
    free(s.laid);
    return status;
}
