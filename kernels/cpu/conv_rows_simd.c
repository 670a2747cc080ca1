/* conv_rows_simd.c - windows of an image as rows of a matrix, and back.
 *
 * With one channel group and no dilation the taps of a kernel row are one run of memory; runs are copied
 * by whole vectors, whose surplus the next run overwrites. Nothing is read past the image's own memory. */
#include <string.h>

#include "cpu/simd.h"
#include "cpu/edge_simd.h"
#include "cpu/conv.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* n floats, and up to a vector more in `to`; `end`: where the memory of `from` ends */
SIMD_INLINE void copy_run(float *to, const float *from, int64_t n, const float *end)
{
    if (end - from < n + LANES) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i += LANES) v_store(to + i, v_load(from + i));
}

/* n zeros, and up to a vector more */
SIMD_INLINE void zero_run(float *to, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) v_store(to + i, (vfloat){0});
}

/* A kernel row's taps [s0, s1) for the pixel whose window begins at column `left` of `line` (W, I). */
SIMD_INLINE void gather_run(const hone_cpu_conv *c, const float *line, int64_t left, int64_t s0, int64_t s1, float *to,
                            const float *end)
{
    /* taps [a, z) meet the image; left and right of them is padding */
    int64_t a = max64(s0, -left), z = min64(s1, c->W - left), I = c->I;
    if (a >= z) {
        zero_run(to, (s1 - s0) * I);
        return;
    }
    if (a > s0) zero_run(to, (a - s0) * I);
    copy_run(to + (a - s0) * I, line + (left + a) * I, (z - a) * I, end);
    if (z < s1) zero_run(to + (z - s0) * I, (s1 - z) * I);
}

/* The general case: one tap at a time, with dilation and channel groups. */
static void gather_taps(const hone_cpu_conv *c, const float *line, int64_t left, int64_t s0, int64_t s1, int64_t q,
                        float *to, const float *end)
{
    for (int64_t s = s0; s < s1; s++, to += c->Ig) {
        int64_t iw = left + s * c->window.dilation[1];
        if (iw < 0 || iw >= c->W) zero_run(to, c->Ig);
        else copy_run(to, line + iw * c->I + q * c->Ig, c->Ig, end);
    }
}

/* Walks pixels in order and keeps (n, oh, ow) by counting, not by dividing. */
static void gather(const hone_cpu_conv *c, const float *x, int64_t p0, int64_t p1, int64_t t0, int64_t t1, int64_t q,
                   float *rows, int64_t ld)
{
    const hone_window *v = &c->window;
    /* kernel rows that the block of taps touches, whole or in part */
    const int64_t kw = v->kernel[1], r0 = t0 / kw, r1 = (t1 + kw - 1) / kw;
    /* whether the taps of a kernel row are one run of memory */
    const bool runs = v->dilation[1] == 1 && v->groups == 1;
    /* whole-vector reads stop short of this */
    const float *end = x + c->N * c->H * c->W * c->I;
    int64_t ow = p0 % c->OW, oh = p0 / c->OW % c->OH, n = p0 / c->OW / c->OH;
    for (int64_t p = p0; p < p1; p++, rows += ld) {
        float *to = rows;
        int64_t left = ow * v->stride[1] - v->pad[1];
        for (int64_t r = r0; r < r1; r++) {
            int64_t ih = oh * v->stride[0] - v->pad[0] + r * v->dilation[0];
            int64_t s0 = max64(t0 - r * kw, 0), s1 = min64(t1 - r * kw, kw);
            const float *line = x + (n * c->H + ih) * c->W * c->I;
            if (ih < 0 || ih >= c->H) zero_run(to, (s1 - s0) * c->Ig);
            else if (runs) gather_run(c, line, left, s0, s1, to, end);
            else gather_taps(c, line, left, s0, s1, q, to, end);
            to += (s1 - s0) * c->Ig;
        }
        /* next pixel in memory order */
        if (++ow == c->OW) {
            ow = 0;
            if (++oh == c->OH) oh = 0, n++;
        }
    }
}

/* Exactly n floats: what lies beyond belongs to other sums. */
SIMD_INLINE void add_run(float *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(to + i, v_load(to + i) + v_load(from + i));
    if (i < n) v_store_some(to + i, v_load_some(to + i, n - i) + v_load_some(from + i, n - i), n - i);
}

/* Adds one row of window values to the places they were gathered from, edges cut off. */
static void scatter_pixel(const hone_cpu_conv *c, float *image, int64_t oh, int64_t ow, int64_t t0, int64_t t1,
                          int64_t q, const bool runs, const float *row)
{
    const hone_window *v = &c->window;
    const int64_t kw = v->kernel[1], left = ow * v->stride[1] - v->pad[1];
    for (int64_t r = t0 / kw; r * kw < t1; r++) {
        int64_t ih = oh * v->stride[0] - v->pad[0] + r * v->dilation[0];
        int64_t s0 = max64(t0 - r * kw, 0), s1 = min64(t1 - r * kw, kw);
        float *line = image + ih * c->W * c->I + q * c->Ig;
        const float *from = row;
        row += (s1 - s0) * c->Ig;
        if (ih < 0 || ih >= c->H) continue;
        if (runs) {
            /* only the part inside the image has a gradient */
            int64_t a = max64(s0, -left), z = min64(s1, c->W - left);
            if (a < z) add_run(line + (left + a) * c->I, from + (a - s0) * c->I, (z - a) * c->I);
            continue;
        }
        for (int64_t s = s0; s < s1; s++, from += c->Ig) {
            int64_t iw = left + s * v->dilation[1];
            if (iw >= 0 && iw < c->W) add_run(line + iw * c->I, from, c->Ig);
        }
    }
}

/* Pixels of one image in order: sums at a place always come in the same order. */
static void scatter(const hone_cpu_conv *c, float *image, int64_t p0, int64_t p1, int64_t t0, int64_t t1, int64_t q,
                    const float *rows, int64_t ld)
{
    const bool runs = c->window.dilation[1] == 1 && c->window.groups == 1;
    int64_t ow = p0 % c->OW, oh = p0 / c->OW;
    for (int64_t p = p0; p < p1; p++, rows += ld) {
        scatter_pixel(c, image, oh, ow, t0, t1, q, runs, rows);
        if (++ow == c->OW) ow = 0, oh++;
    }
}

const hone_cpu_conv_rows SIMD(hone_cpu_conv_rows) = {.gather = gather, .scatter = scatter};
