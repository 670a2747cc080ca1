/* resize.c - antialiased bilinear resize of 8-bit images that equals Pillow's to the bit.
 *
 * Two passes, one along each axis, each rounded to 8 bits. The triangle filter widens with the
 * shrink factor (so every source pixel counts), its weights are normalised in double and then held
 * as integers of 22 fractional bits: 8 bits of pixel and 2 of head-room are left of 32. The model
 * saw such pixels in training, so nothing here may be made "nearly the same" for speed. The two passes
 * themselves are in pixels.c and resize_avx2.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "data/pixels.h"

/* The bilinear kernel: 1 at 0, 0 from 1 on. */
static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Weights of output `i`; `scale` = in / out, `widen` = max(scale, 1). */
static void axis_fill(hone_resize_axis *a, double *w, int i, int in, double scale, double widen)
{
    double center = (i + 0.5) * scale, sum = 0.0;
    int first = (int)(center - widen + 0.5), end = (int)(center + widen + 0.5);
    if (first < 0) first = 0;
    if (end > in) end = in;
    int used = end - first;
    for (int k = 0; k < used; k++) sum += w[k] = triangle((k + first - center + 0.5) * (1.0 / widen));
    for (int k = 0; k < used; k++) {
        double v = sum != 0.0 ? w[k] / sum : w[k];
        a->weight[(size_t)i * (size_t)a->taps + (size_t)k] = (int32_t)(0.5 + v * (1 << HONE_RESIZE_BITS)); /* v >= 0 */
    }
    a->first[i] = first;
    a->used[i] = used;
}

/* Also of a half-made axis. */
static void axis_free(hone_resize_axis *a)
{
    free(a->first);
    free(a->used);
    free(a->weight);
    free(a->spread);
    *a = (hone_resize_axis){0};
}

/* taps bounds the pixels that a kernel of half-width `widen` can touch. The weights of one axis serve all
 * rows (or columns), so making them in double costs nothing. */
static hone_status axis_make(int in, int out, hone_resize_axis *a)
{
    double scale = (double)in / out, widen = scale < 1.0 ? 1.0 : scale;
    a->out = out;
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

/* Weights two by two, in parts that fit 16 bits: resize_avx2.c has the products for them. */
static hone_status axis_spread(hone_resize_axis *a)
{
    size_t pairs = ((size_t)a->taps + 1) / 2, taps = (size_t)a->taps, count = (size_t)a->out * pairs * 2;
    a->spread = malloc(count * sizeof *a->spread);
    if (!a->spread) return hone_no_memory("resize weights", count * sizeof *a->spread);
    for (size_t i = 0; i < (size_t)a->out; i++)
        for (size_t t = 0; t < pairs; t++) {
            int32_t k = a->weight[i * taps + 2 * t], l = 2 * t + 1 < taps ? a->weight[i * taps + 2 * t + 1] : 0;
            a->spread[(i * pairs + t) * 2] = k >> 11 | l >> 11 << 16;
            a->spread[(i * pairs + t) * 2 + 1] = (k & 2047) | (l & 2047) << 16;
        }
    return HONE_OK;
}

/* in (h, w, c) -> out (h, ow, c) */
static hone_status resize_width(const uint8_t *in, int h, int w, int c, uint8_t *out, int ow)
{
    hone_resize_axis a = {0};
    const hone_resize_loops *loops = hone_resize_loops_pick();
    uint8_t *line = NULL;
    HONE_TRY(axis_make(w, ow, &a));
    hone_status s = HONE_OK;
    if (c == 3) {
        s = axis_spread(&a);
        if (s == HONE_OK && !(line = calloc(3 * (size_t)w + 16, 2))) s = hone_no_memory("two rows", 6 * (size_t)w);
        if (s == HONE_OK) loops->rgb(in, h, w, out, &a, line);
    } else {
        loops->grey(in, h, w, out, &a);
    }
    free(line);
    axis_free(&a);
    return s;
}

/* in (h, n) -> out (oh, n): columns and channels are alike to this pass. */
static hone_status resize_height(const uint8_t *in, int h, int n, uint8_t *out, int oh)
{
    hone_resize_axis a = {0};
    HONE_TRY(axis_make(h, oh, &a));
    hone_resize_loops_pick()->down(in, n, out, &a);
    axis_free(&a);
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
