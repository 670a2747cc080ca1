/* depthwise_simd.c - convolutions with one channel a group, a vector of channels at a time.
 *
 * Weights come as (kh*kw, C), turned by the caller, so that taps are vectors of channels. Such a layer
 * moves 4 bytes for some 20 operations: loops keep sums in registers over the taps (forward, dx) or over
 * a row of pixels (dw) and touch each image value from L1. */
#include "cpu/simd.h"
#include "cpu/edge_simd.h"
#include "cpu/depthwise.h"

/* Activations that fuse into a conv; others are nodes of their own. */
SIMD_INLINE vfloat finish(hone_act act, float slope, vfloat x)
{
    const vfloat zero = {0};
    if (act == HONE_ACT_RELU) return v_max(x, zero);
    if (act == HONE_ACT_RELU6) return v_min(v_max(x, zero), v_set(6.0f));
    if (act == HONE_ACT_LEAKY_RELU) return v_select(x > zero, x, x * v_set(slope));
    return x;
}

enum { TAPS_MOST = HONE_CPU_DEPTHWISE_TAPS };

/* The taps of one output pixel that meet the image: offsets of their pixel and of their weights. */
typedef struct tap_list {
    int count;
    int64_t pixel[TAPS_MOST], weight[TAPS_MOST];
} tap_list;

/* Forward: output (oh, ow) reads input oh*stride - pad + r*dilation. */
static void list_forward(const hone_cpu_depthwise *d, int64_t oh, int64_t ow, tap_list *l)
{
    const hone_window *v = &d->window;
    l->count = 0;
    for (int r = 0; r < v->kernel[0]; r++)
        for (int s = 0; s < v->kernel[1]; s++) {
            /* the input place of tap (r, s); padding has none */
            int64_t h = oh * v->stride[0] - v->pad[0] + r * v->dilation[0];
            int64_t w = ow * v->stride[1] - v->pad[1] + s * v->dilation[1];
            if (h < 0 || h >= d->H || w < 0 || w >= d->W) continue;
            l->pixel[l->count] = (h * d->W + w) * d->C;
            l->weight[l->count++] = (int64_t)(r * v->kernel[1] + s) * d->C;
        }
}

/* dx: input (h, w) is read by output (h + pad - r*dilation) / stride where that is whole. */
static void list_backward(const hone_cpu_depthwise *d, int64_t h, int64_t w, tap_list *l)
{
    const hone_window *v = &d->window;
    l->count = 0;
    for (int r = 0; r < v->kernel[0]; r++)
        for (int s = 0; s < v->kernel[1]; s++) {
            /* the output whose tap (r, s) reads (h, w), if strides divide */
            int64_t a = h + v->pad[0] - r * v->dilation[0], b = w + v->pad[1] - s * v->dilation[1];
            if (a < 0 || b < 0 || a % v->stride[0] || b % v->stride[1]) continue;
            int64_t oh = a / v->stride[0], ow = b / v->stride[1];
            if (oh >= d->OH || ow >= d->OW) continue;
            l->pixel[l->count] = (oh * d->OW + ow) * d->C;
            l->weight[l->count++] = (int64_t)(r * v->kernel[1] + s) * d->C;
        }
}

/* nv vectors of channels c.. of one pixel: bias + sum over the taps */
SIMD_INLINE void pixel_sum(const tap_list *l, const float *image, const float *w, const hone_cpu_epilogue *e,
                           const int nv, int64_t c, int64_t left, float *to)
{
    vfloat sum[4];
#pragma GCC unroll 4
    for (int k = 0; k < nv; k++) {
        sum[k] = (vfloat){0};
        if (e->bias) sum[k] = v_load_some(e->bias + c + k * LANES, left);
    }
    /* taps in order: the sum of a channel is one chain, whatever the vector */
    for (int t = 0; t < l->count; t++)
#pragma GCC unroll 4
        for (int k = 0; k < nv; k++)
            sum[k] += v_load_some(image + l->pixel[t] + c + k * LANES, left) * v_load(w + l->weight[t] + c + k * LANES);
#pragma GCC unroll 4
    for (int k = 0; k < nv; k++) v_store_some(to + c + k * LANES, finish(e->act, e->slope, sum[k]), left);
}

/* `w` has LANES floats of slack, so that whole vectors of it may be read. */
static void pixel(const tap_list *l, int64_t C, const float *image, const float *w, const hone_cpu_epilogue *e,
                  float *to)
{
    int64_t c = 0;
    /* four vectors at a time share the walk over the list */
    for (; c + 4 * LANES <= C; c += 4 * LANES) pixel_sum(l, image, w, e, 4, c, LANES, to);
    for (; c + LANES <= C; c += LANES) pixel_sum(l, image, w, e, 1, c, LANES, to);
    if (c < C) pixel_sum(l, image, w, e, 1, c, C - c, to);
}

/* x, y: one image; the taps of a pixel are listed once and used for all channels */
static void forward(const hone_cpu_depthwise *d, const float *x, const float *w, int64_t oh, const hone_cpu_epilogue *e,
                    float *y)
{
    tap_list l;
    for (int64_t ow = 0; ow < d->OW; ow++) {
        list_forward(d, oh, ow, &l);
        pixel(&l, d->C, x, w, e, y + (oh * d->OW + ow) * d->C);
    }
}

/* dx of one row of pixels: dy and w at the taps that read each pixel */
static void backward(const hone_cpu_depthwise *d, const float *dy, const float *w, int64_t h, float *dx)
{
    const hone_cpu_epilogue none = {0};
    tap_list l;
    for (int64_t x = 0; x < d->W; x++) {
        list_backward(d, h, x, &l);
        pixel(&l, d->C, dy, w, &none, dx + (h * d->W + x) * d->C);
    }
}

/* Output columns [first, last) whose tap s lies in the image */
static void columns(const hone_cpu_depthwise *d, int s, int64_t *first, int64_t *last)
{
    const hone_window *v = &d->window;
    int64_t at = s * v->dilation[1] - v->pad[1]; /* input column of output column 0 */
    *first = at >= 0 ? 0 : (-at + v->stride[1] - 1) / v->stride[1];
    *last = at >= d->W ? 0 : (d->W - 1 - at) / v->stride[1] + 1;
    if (*last > d->OW) *last = d->OW;
}

/* One tap of one row: sum over pixels of x * dy, added to dw (C) of that tap */
SIMD_INLINE void row_products(const float *x, int64_t x_step, const float *dy, int64_t C, int64_t count, int64_t c,
                              int64_t left, float *dw)
{
    /* two chains hide half of the latency of the multiply-add */
    vfloat even = {0}, odd = {0};
    int64_t i = 0;
    for (; i + 1 < count; i += 2) {
        even += v_load_some(x + i * x_step + c, left) * v_load_some(dy + i * C + c, left);
        odd += v_load_some(x + (i + 1) * x_step + c, left) * v_load_some(dy + (i + 1) * C + c, left);
    }
    if (i < count) even += v_load_some(x + i * x_step + c, left) * v_load_some(dy + i * C + c, left);
    v_store(dw + c, v_load(dw + c) + (even + odd));
}

/* Adds output row oh of one image to dw (kh*kw, C) with LANES floats of slack a tap: ldw floats a tap. */
static void weights(const hone_cpu_depthwise *d, const float *x, const float *dy, int64_t oh, float *dw, int64_t ldw)
{
    const hone_window *v = &d->window;
    for (int r = 0; r < v->kernel[0]; r++) {
        int64_t h = oh * v->stride[0] - v->pad[0] + r * v->dilation[0];
        if (h < 0 || h >= d->H) continue;
        for (int s = 0; s < v->kernel[1]; s++) {
            int64_t first, last;
            columns(d, s, &first, &last);
            if (first >= last) continue;
            /* first pixel of x and of dy that meet under this tap */
            const float *from = x + (h * d->W + first * v->stride[1] - v->pad[1] + s * v->dilation[1]) * d->C;
            const float *g = dy + (oh * d->OW + first) * d->C;
            float *to = dw + (r * v->kernel[1] + s) * ldw;
            int64_t step = v->stride[1] * d->C, c = 0;
            for (; c + LANES <= d->C; c += LANES) row_products(from, step, g, d->C, last - first, c, LANES, to);
            if (c < d->C) row_products(from, step, g, d->C, last - first, c, d->C - c, to);
        }
    }
}

const hone_cpu_depthwise_rows SIMD(hone_cpu_depthwise_rows) = {forward, backward, weights};
