/* winograd_simd.c - the transforms of F(4x4, 3x3) and F(3x3, 4x4), a vector of channels at a time.
 *
 * Each 2-D transform is two passes of a 1-D one over a 6x6 array of vectors on the stack. Channels past
 * the last whole vector go through padded copies. Contract: winograd.h; no threads, no memory. */
#include "cpu/simd.h"
#include "cpu/edge_simd.h"
#include "cpu/transpose_simd.h"
#include "cpu/winograd.h"

/* Address of (row, channel) in slice 0. */
SIMD_INLINE float *place(const hone_cpu_slices *s, int64_t row, int64_t channel)
{
    return s->at + channel / s->width * s->panel + row * s->step + channel % s->width;
}

/* --- 1-D transforms: out gets every `gap`-th vector ------------------------------------------------- */
/* B^T d */
/* The 1-D transforms read `in`-th vectors and write `out`-th ones, so that one text serves columns and rows.
 * Equal sums are formed once: 6 outputs take 12 operations instead of the 22 of the plain product. */
SIMD_INLINE void input_1d(const vfloat *d, const int in, vfloat *t, const int out)
{
    vfloat a = d[4 * in] - 4.0f * d[2 * in], b = d[3 * in] - 4.0f * d[in];
    vfloat p = d[4 * in] - d[2 * in], q = 2.0f * (d[3 * in] - d[in]);
    t[0] = 4.0f * d[0] + (d[4 * in] - 5.0f * d[2 * in]);
    t[out] = a + b;
    t[2 * out] = a - b;
    t[3 * out] = p + q;
    t[4 * out] = p - q;
    t[5 * out] = 4.0f * d[in] + (d[5 * in] - 5.0f * d[3 * in]);
}

/* A^T m */
SIMD_INLINE void output_1d(const vfloat *m, const int in, vfloat *y, const int out)
{
    vfloat a = m[in] + m[2 * in], b = m[in] - m[2 * in], c = m[3 * in] + m[4 * in], d = m[3 * in] - m[4 * in];
    y[0] = (m[0] + a) + c;
    y[out] = b + 2.0f * d;
    y[2 * out] = a + 4.0f * c;
    y[3 * out] = (b + 8.0f * d) + m[5 * in];
}

/* G g, three taps */
SIMD_INLINE void weights_1d(const vfloat *g, const int in, vfloat *u, const int out)
{
    /* rows 1..4 of G come in pairs (p, -p): the even part plus and minus the odd part */
    vfloat s = g[0] + g[2 * in], e = g[0] * (1.0f / 24) + g[2 * in] * (1.0f / 6), f = g[in] * (1.0f / 12);
    u[0] = g[0] * 0.25f;
    u[out] = (s + g[in]) * (-1.0f / 6);
    u[2 * out] = (s - g[in]) * (-1.0f / 6);
    u[3 * out] = e + f;
    u[4 * out] = e - f;
    u[5 * out] = g[2 * in];
}

/* G' y: the same points, four taps */
SIMD_INLINE void gradient_1d(const vfloat *y, const int in, vfloat *u, const int out)
{
    /* again even and odd parts; the fourth tap joins the odd one with p^3 */
    vfloat s = y[0] + y[2 * in], t = y[in] + y[3 * in];
    vfloat e = y[0] * (1.0f / 24) + y[2 * in] * (1.0f / 6), f = y[in] * (1.0f / 12) + y[3 * in] * (1.0f / 3);
    u[0] = y[0] * 0.25f;
    u[out] = (s + t) * (-1.0f / 6);
    u[2 * out] = (s - t) * (-1.0f / 6);
    u[3 * out] = e + f;
    u[4 * out] = e - f;
    u[5 * out] = y[3 * in];
}

/* A'^T m: three outputs */
SIMD_INLINE void dweights_1d(const vfloat *m, const int in, vfloat *w, const int out)
{
    vfloat a = m[in] + m[2 * in], b = m[in] - m[2 * in], c = m[3 * in] + m[4 * in], d = m[3 * in] - m[4 * in];
    w[0] = (m[0] + a) + c;
    w[out] = b + 2.0f * d;
    w[2 * out] = (a + 4.0f * c) + m[5 * in];
}

/* --- tiles ------------------------------------------------------------------------------------------- */
/* The pixels of one tile: corner and the part of it [h0, h1) x [w0, w1) that lies in the image. */
typedef struct window {
    const float *corner; /* pixel (0, 0) of the tile, maybe outside the image: offset only */
    int64_t row, pixel;  /* floats to the next row, the next pixel                         */
    int h0, h1, w0, w1;
} window;

/* x, but at least 0 and at most `most` */
static int clip(int64_t x, int most) { return x < 0 ? 0 : x > most ? most : (int)x; }

/* Tile t with `size` rows that start 4 apart at -pad. `x` may be const or not for the caller: offsets count. */
static window find(const hone_cpu_tiles *g, const float *x, int64_t t, int size)
{
    int64_t tw = t % g->TW, th = t / g->TW % g->TH, n = t / g->TW / g->TH;
    int64_t h = th * 4 - g->pad, w = tw * 4 - g->pad;
    window v = {.row = g->W * g->C, .pixel = g->C};
    /* integer arithmetic: a corner outside the image is no valid pointer */
    v.corner = (const float *)((uintptr_t)x + (uintptr_t)(((n * g->H + h) * g->W + w) * g->C) * sizeof *x);
    v.h0 = clip(-h, size), v.h1 = clip(g->H - h, size);
    v.w0 = clip(-w, size), v.w1 = clip(g->W - w, size);
    return v;
}

/* Pixel (i, j) of the tile at channel c; computed as an integer, since corners may lie outside. */
static const float *pixel(const window *v, int i, int j, int64_t c)
{
    return (const float *)((uintptr_t)v->corner + (uintptr_t)(i * v->row + j * v->pixel + c) * sizeof(float));
}

/* Column j of a tile: `size` vectors at channel c. `whole`: the tile lies inside the image and the vector is full.
 * A column at a time, because 36 pixels at once would not fit the registers. */
/* `whole` is a constant where this is inlined: tiles inside the image need no test, and they are most. */
SIMD_INLINE void load_column(const window *v, const int size, const int whole, int j, int64_t c, int64_t channels,
                             vfloat *d)
{
#pragma GCC unroll 6
    for (int i = 0; i < size; i++) {
        if (whole) d[i] = v_load(pixel(v, i, j, c));
        else if (i >= v->h0 && i < v->h1 && j >= v->w0 && j < v->w1)
            d[i] = v_load_some(pixel(v, i, j, c), channels - c);
        else d[i] = (vfloat){0};
    }
}

/* B^T d B for one vector of channels: columns first, then each row straight to its six slices. */
SIMD_INLINE void input_vector(const window *v, const int whole, int64_t c, int64_t channels, float *to, int64_t slice)
{
    /* (6, 6): columns are done, rows are not; it stays in registers and the first cache */
    vfloat t[36];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vfloat d[6];
        load_column(v, 6, whole, j, c, channels, d);
        input_1d(d, 1, t + j, 6);
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        vfloat r[6];
        input_1d(t + 6 * i, 1, r, 1);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) v_store(to + (6 * i + j) * slice, r[j]);
    }
}

/* All channels of a tile before the next tile: the 36 pixels stay in L1. */
static void input(const hone_cpu_tiles *g, const float *x, int64_t t0, int64_t t1, hone_cpu_slices s)
{
    for (int64_t t = t0; t < t1; t++) {
        window v = find(g, x, t, 6);
        /* border tiles, and the channels of a last short vector, take the careful path */
        int inside = v.h0 == 0 && v.h1 == 6 && v.w0 == 0 && v.w1 == 6;
        for (int64_t c = 0; c < g->C; c += LANES) {
            float *to = place(&s, t - t0, c);
            if (inside && c + LANES <= g->C) input_vector(&v, 1, c, g->C, to, s.slice);
            else input_vector(&v, 0, c, g->C, to, s.slice);
        }
    }
}

/* G' y G'^T: 4x4 outputs become 6x6. */
SIMD_INLINE void gradient_vector(const window *v, const int whole, int64_t c, int64_t channels, float *to,
                                 int64_t slice)
{
    vfloat t[24];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vfloat d[4];
        load_column(v, 4, whole, j, c, channels, d);
        gradient_1d(d, 1, t + j, 4);
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        vfloat r[6];
        gradient_1d(t + 4 * i, 1, r, 1);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) v_store(to + (6 * i + j) * slice, r[j]);
    }
}

/* As input, with the 4x4 tiles of dy; places past the image count as zero gradient. */
static void gradient(const hone_cpu_tiles *g, const float *dy, int64_t t0, int64_t t1, hone_cpu_slices s)
{
    for (int64_t t = t0; t < t1; t++) {
        window v = find(g, dy, t, 4);
        /* the tile of dy is 4 x 4: the outputs of one tile */
        int inside = v.h0 == 0 && v.h1 == 4 && v.w0 == 0 && v.w1 == 4;
        for (int64_t c = 0; c < g->C; c += LANES) {
            float *to = place(&s, t - t0, c);
            if (inside && c + LANES <= g->C) gradient_vector(&v, 1, c, g->C, to, s.slice);
            else gradient_vector(&v, 0, c, g->C, to, s.slice);
        }
    }
}

/* --- output -------------------------------------------------------------------------------------------- */
/* Activations that fuse into a conv. */
SIMD_INLINE vfloat finish(hone_act act, vfloat slope, vfloat x)
{
    const vfloat zero = {0};
    if (act == HONE_ACT_RELU) return v_max(x, zero);
    if (act == HONE_ACT_RELU6) return v_min(v_max(x, zero), v_set(6.0f));
    if (act == HONE_ACT_LEAKY_RELU) return v_select(x > zero, x, x * slope);
    return x;
}

/* n channels from `from` to the tile's pixels, which begin at channel c of the image */
SIMD_INLINE void output_vector(const window *v, int64_t c, int64_t n, const float *from, int64_t slice,
                               const hone_cpu_epilogue *e)
{
    vfloat t[24], bias = {0}, slope = v_set(e->slope);
    if (e->bias) bias = v_load_some(e->bias + c, n);
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vfloat m[6];
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) m[i] = v_load(from + (6 * i + j) * slice);
        output_1d(m, 1, t + j, 6);
    }
    /* rows and columns past the image are products of padding: not written */
    for (int i = 0; i < v->h1; i++) {
        vfloat r[4];
        output_1d(t + 6 * i, 1, r, 1);
        for (int j = 0; j < v->w1; j++)
            v_store_some((float *)(uintptr_t)pixel(v, i, j, c), finish(e->act, slope, r[j] + bias), n);
    }
}

/* Whole vectors of products are read, padding included; only real channels are written. */
static void output(const hone_cpu_tiles *g, hone_cpu_slices s, int64_t t0, int64_t t1, int64_t o0, int64_t o1,
                   const hone_cpu_epilogue *e, float *y)
{
    for (int64_t t = t0; t < t1; t++) {
        window v = find(g, y, t, 4);
        for (int64_t o = o0; o < o1; o += LANES) output_vector(&v, o, o1 - o, place(&s, t - t0, o - o0), s.slice, e);
    }
}

/* --- weights --------------------------------------------------------------------------------------------- */
/* 3x3 vectors g, `gap` vectors apart, to the 36 slices */
SIMD_INLINE void weights_vector(const vfloat *g, const int gap, float *to, int64_t slice)
{
    vfloat t[18];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) weights_1d(g + j * gap, 3 * gap, t + j, 3);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        vfloat r[6];
        weights_1d(t + 3 * i, 1, r, 1);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) v_store(to + (6 * i + j) * slice, r[j]);
    }
}

/* LANES outputs o.. (n of them real) by LANES channels c.. : loaded along c, turned, transformed along o. */
static void weights_block(int64_t C, const float *w, int64_t n, int64_t c, float *to, int64_t slice)
{
    vfloat g[9 * LANES]; /* (tap, channel) vectors of outputs */
                         /* one square transposition a tap turns loads along c into vectors along o */
    for (int tap = 0; tap < 9; tap++) {
        vfloat *x = g + tap * LANES;
        for (int i = 0; i < LANES; i++) x[i] = i < n ? v_load_some(w + (i * 9 + tap) * C + c, C - c) : (vfloat){0};
        v_transpose(x);
    }
    for (int i = 0; i < LANES && c + i < C; i++) weights_vector(g + i, LANES, to + i * TILE_COLS, slice);
}

/* Operand b of the forward products: k = input channel, columns = output channels. */
static void weights(int64_t O, int64_t C, const float *w, int64_t first, int64_t last, hone_cpu_slices u)
{
    for (int64_t j = first; j < last; j++)
        for (int64_t half = 0; half < 2; half++)
            for (int64_t c = 0; c < C; c += LANES) {
                int64_t o = j * TILE_COLS + half * LANES;
                float *to = u.at + (j - first) * u.panel + c * TILE_COLS + half * LANES;
                weights_block(C, w + o * 9 * C, O - o, c, to, u.slice);
            }
}

/* Operand b of dx: k = output channel, columns = input channels, which already lie side by side. */
static void weights_turned(int64_t O, int64_t C, const float *w, int64_t first, int64_t last, hone_cpu_slices u)
{
    for (int64_t j = first; j < last; j++)
        for (int64_t half = 0; half < 2; half++) {
            int64_t c = j * TILE_COLS + half * LANES;
            float *to = u.at + (j - first) * u.panel + half * LANES;
            for (int64_t o = 0; o < O; o++) {
                vfloat g[9];
                for (int tap = 0; tap < 9; tap++)
                    g[8 - tap] = c < C ? v_load_some(w + (o * 9 + tap) * C + c, C - c) : (vfloat){0};
                weights_vector(g, 1, to + o * TILE_COLS, u.slice);
            }
        }
}

/* Each (output, vector of inputs): 36 sums to 9 taps. */
static void dweights(int64_t C, hone_cpu_slices s, int64_t o0, int64_t o1, int64_t c0, int64_t c1, float *dw, int add)
{
    for (int64_t o = o0; o < o1; o++)
        for (int64_t c = c0; c < c1; c += LANES) {
            const float *from = place(&s, o - o0, c - c0);
            float *to = dw + o * 9 * C + c;
            vfloat t[18];
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) {
                vfloat m[6];
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) m[i] = v_load(from + (6 * i + j) * s.slice);
                dweights_1d(m, 1, t + j, 6);
            }
            for (int i = 0; i < 3; i++) {
                vfloat r[3];
                dweights_1d(t + 6 * i, 1, r, 1);
                for (int j = 0; j < 3; j++, to += C) {
                    if (add) r[j] += v_load_some(to, c1 - c);
                    v_store_some(to, r[j], c1 - c);
                }
            }
        }
}

const hone_cpu_winograd SIMD(hone_cpu_winograd) = {
    .input = input,
    .output = output,
    .weights = weights,
    .weights_turned = weights_turned,
    .gradient = gradient,
    .dweights = dweights,
};
