/* resize.c - antialiased bilinear resize of 8-bit images that equals Pillow's to the bit.
 *
 * Two passes, one along each axis, each rounded to 8 bits. The triangle filter widens with the
 * shrink factor (so every source pixel counts), its weights are normalised in double and then held
 * as integers of 22 fractional bits: 8 bits of pixel and 2 of head-room are left of 32. The model
 * saw such pixels in training, so nothing here may be made "nearly the same" for speed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"

enum { FRACTION_BITS = 32 - 8 - 2 };

/* Weights of one axis: output i sums weight[i * taps + k] * in[first[i] + k] for k < used[i]. */
typedef struct axis {
    int taps;
    int *first, *used; /* (out) */
    int32_t *weight;   /* (out, taps) */
} axis;

/* The bilinear kernel: 1 at 0, 0 from 1 on. */
static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Weights of output `i`; `scale` = in / out, `widen` = max(scale, 1). */
static void axis_fill(axis *a, double *w, int i, int in, double scale, double widen)
{
    double center = (i + 0.5) * scale, sum = 0.0;
    int first = (int)(center - widen + 0.5), end = (int)(center + widen + 0.5);
    if (first < 0) first = 0;
    if (end > in) end = in;
    int used = end - first;
    for (int k = 0; k < used; k++) sum += w[k] = triangle((k + first - center + 0.5) * (1.0 / widen));
    for (int k = 0; k < used; k++) {
        double v = sum != 0.0 ? w[k] / sum : w[k];
        a->weight[(size_t)i * (size_t)a->taps + (size_t)k] = (int32_t)(0.5 + v * (1 << FRACTION_BITS)); /* v >= 0 */
    }
    a->first[i] = first;
    a->used[i] = used;
}

/* Also of a half-made axis. */
static void axis_free(axis *a)
{
    free(a->first);
    free(a->used);
    free(a->weight);
    *a = (axis){0};
}

/* taps bounds the pixels that a kernel of half-width `widen` can touch. The weights of one axis serve all
 * rows (or columns), so making them in double costs nothing. */
static hone_status axis_make(int in, int out, axis *a)
{
    double scale = (double)in / out, widen = scale < 1.0 ? 1.0 : scale;
    a->taps = (int)ceil(widen) * 2 + 1;
    a->first = malloc((size_t)out * sizeof *a->first);
    a->used = malloc((size_t)out * sizeof *a->used);
    a->weight = calloc((size_t)out * (size_t)a->taps, sizeof *a->weight);
    double *w = malloc((size_t)a->taps * sizeof *w);
    bool ok = a->first && a->used && a->weight && w;
    for (int i = 0; ok && i < out; i++) axis_fill(a, w, i, in, scale, widen);
    free(w);
    if (ok) return HONE_OK;
    axis_free(a);
    return hone_no_memory("resize weights", (size_t)out * (size_t)a->taps * sizeof *a->weight);
}

/* Arithmetic shift; weights are >= 0 here, so only rounding can pass 255. */
static inline uint8_t clip(int32_t sum)
{
    int32_t v = sum >> FRACTION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* in (h, w, c) -> out (h, ow, c); `c` is a constant at each call, so the inner loop unrolls. */
static inline void pass_horizontal(const uint8_t *in, int h, int w, int c, uint8_t *out, int ow, const axis *a)
{
    for (int y = 0; y < h; y++, in += (size_t)w * c)
        for (int x = 0; x < ow; x++, out += c) {
            const int32_t *k = a->weight + (size_t)x * a->taps;
            const uint8_t *p = in + (size_t)a->first[x] * c;
            int32_t sum[4] = {1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1)};
            for (int t = 0; t < a->used[x]; t++, p += c)
                for (int i = 0; i < c; i++) sum[i] += p[i] * k[t];
            for (int i = 0; i < c; i++) out[i] = clip(sum[i]);
        }
}

/* in (h, n) -> out (oh, n), n = width * channels; `sum` (n) keeps whole rows in flight. */
static void pass_vertical(const uint8_t *in, int n, uint8_t *out, int oh, const axis *a, int32_t *restrict sum)
{
    for (int y = 0; y < oh; y++, out += n) {
        for (int i = 0; i < n; i++) sum[i] = 1 << (FRACTION_BITS - 1);
        for (int t = 0; t < a->used[y]; t++) {
            const uint8_t *restrict p = in + (size_t)(a->first[y] + t) * n;
            int32_t k = a->weight[(size_t)y * a->taps + t];
            for (int i = 0; i < n; i++) sum[i] += p[i] * k;
        }
        for (int i = 0; i < n; i++) out[i] = clip(sum[i]);
    }
}

/* in (h, w, c) -> out (h, ow, c) */
static hone_status resize_width(const uint8_t *in, int h, int w, int c, uint8_t *out, int ow)
{
    axis a = {0};
    HONE_TRY(axis_make(w, ow, &a));
    if (c == 1) pass_horizontal(in, h, w, 1, out, ow, &a);
    else pass_horizontal(in, h, w, 3, out, ow, &a);
    axis_free(&a);
    return HONE_OK;
}

/* in (h, n) -> out (oh, n): columns and channels are alike to this pass. */
static hone_status resize_height(const uint8_t *in, int h, int n, uint8_t *out, int oh)
{
    axis a = {0};
    HONE_TRY(axis_make(h, oh, &a));
    int32_t *sum = malloc((size_t)n * sizeof *sum);
    if (sum) pass_vertical(in, n, out, oh, &a, sum);
    axis_free(&a);
    if (!sum) return hone_no_memory("a resize row", (size_t)n * sizeof *sum);
    free(sum);
    return HONE_OK;
}

/* The order of the passes shows in the last bit. Pillow 13 begins with the rows when they shrink by more
 * than twice as many lines as the columns do; up to version 12 it always began with the columns, so
 * that for tall images those versions differ from this by one unit in places. */
static bool vertical_first(int h, int w, int oh, int ow) { return oh < h && 2 * ((int64_t)w - ow) < (int64_t)h - oh; }

hone_status hone_resize_bilinear(const uint8_t *in, int h, int w, int channels, uint8_t *out, int oh, int ow)
{
    size_t out_bytes = (size_t)oh * (size_t)ow * (size_t)channels;
    if (h == oh && w == ow) { /* a pass that keeps its length is left out, it would be the identity */
        memcpy(out, in, out_bytes);
        return HONE_OK;
    }
    if (h == oh) return resize_width(in, h, w, channels, out, ow);
    if (w == ow) return resize_height(in, h, w * channels, out, oh);
    bool rows_first = vertical_first(h, w, oh, ow);
    size_t between_bytes = (size_t)(rows_first ? oh : h) * (size_t)(rows_first ? w : ow) * (size_t)channels;
    uint8_t *between = malloc(between_bytes);
    if (!between) return hone_no_memory("a resized image", between_bytes);
    hone_status s =
        rows_first ? resize_height(in, h, w * channels, between, oh) : resize_width(in, h, w, channels, between, ow);
    if (s == HONE_OK)
        s = rows_first ? resize_width(between, oh, w, channels, out, ow)
                       : resize_height(between, h, ow * channels, out, oh);
    free(between);
    return s;
}
