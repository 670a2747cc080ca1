/* conv_pool_simd.c - maxpool(act(conv(x, w, b))) image by image: the convolution lives in cache only.
 *
 * One block of 8 or 16 output channels is a vector; up to 14 neighbouring columns are accumulators, each
 * tap one broadcast and one multiply-add a column. The image is copied channel by channel with its zero
 * border first, so that no tap is tested and neighbouring columns lie side by side. Any shape works; it is
 * written for few input channels. The first maximum wins and a NaN beats every number, as in ref. */
#include <math.h>
#include <string.h>

#include "cpu/conv_pool.h"
#include "cpu/simd.h"
#include "cpu/math_simd.h"

/* A block of 8 or 16 channels is one vector where the registers are as wide, else as many as it takes: a vector type
 * wider than the registers would live in memory (measured on AVX2: a third of the speed). */
typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v4_mask __attribute__((vector_size(16)));
typedef int32_t v8_mask __attribute__((vector_size(32)));
typedef int32_t v16_mask __attribute__((vector_size(64)));
typedef float v4_unaligned __attribute__((vector_size(16), may_alias, aligned(4)));
typedef float v8_unaligned __attribute__((vector_size(32), may_alias, aligned(4)));
typedef float v16_unaligned __attribute__((vector_size(64), may_alias, aligned(4)));
#define WIDTH8_base    4
#define WIDTH8_avx2    8
#define WIDTH8_avx512  8
#define WIDTH16_base   4
#define WIDTH16_avx2   8
#define WIDTH16_avx512 16
#define WIDTH8         SIMD_CAT(WIDTH8, HONE_ISA)
#define WIDTH16        SIMD_CAT(WIDTH16, HONE_ISA)

/* Columns at once: the accumulators and two operands must fit the register file. */
#define COLUMNS8_base    6
#define COLUMNS8_avx2    12
#define COLUMNS8_avx512  14
#define COLUMNS16_base   3
#define COLUMNS16_avx2   6
#define COLUMNS16_avx512 14
#define COLUMNS8         SIMD_CAT(COLUMNS8, HONE_ISA)
#define COLUMNS16        SIMD_CAT(COLUMNS16, HONE_ISA)

enum { MOST_COLUMNS = 14 };

/* What the parts share: nothing in it changes once they run. */
typedef struct conv_pool_job {
    const hone_launch *l;
    const hone_attrs *a;
    conv_pool_shape s;
    conv_pool_scratch z;
    int parts;
} conv_pool_job;

static float *scratch(const conv_pool_job *job, int64_t floats) { return (float *)job->l->work + floats; }

/* --- packing, once a launch ------------------------------------------------------------------------- */
/* (groups, blocks, taps, lanes): tap order kh, kw, i; lanes past the last output hold zeros. */
static void pack_weights(const conv_pool_job *job)
{
    const conv_pool_shape *s = &job->s;
    const float *w = job->l->in[1], *b = job->l->in[2];
    float *packed = scratch(job, job->z.weights), *bias = scratch(job, job->z.bias);
    for (int64_t k = 0; k < s->groups * s->blocks; k++)
        for (int64_t lane = 0; lane < s->lanes; lane++) {
            int64_t o = k % s->blocks * s->lanes + lane, channel = k / s->blocks * s->Og + o;
            int live = o < s->Og;
            bias[k * s->lanes + lane] = live && b ? b[channel] : 0;
            float *to = packed + k * s->taps * s->lanes + lane;
            for (int64_t t = 0; t < s->taps; t++) to[t * s->lanes] = live ? w[channel * s->taps + t] : 0;
        }
}

/* Where tap (r, q, i) lies in the planar image (padded_h, I, padded_w), from the output's corner. */
static void list_offsets(const conv_pool_job *job)
{
    const hone_window *v = &job->a->window;
    int32_t *offset = (int32_t *)(void *)scratch(job, job->z.offsets);
    for (int32_t r = 0; r < v->kernel[0]; r++)
        for (int32_t q = 0; q < v->kernel[1]; q++)
            for (int64_t i = 0; i < job->s.Ig; i++)
                *offset++ =
                    (int32_t)((r * v->dilation[0] * job->s.I + i) * job->s.padded_w + (int64_t)q * v->dilation[1]);
}

/* x (H, W, I) to planar (padded_h, I, padded_w); the border was zeroed when the part began. */
static void copy_image(const conv_pool_job *job, const float *x, float *image)
{
    const conv_pool_shape *s = &job->s;
    const int32_t *pad = job->a->window.pad;
    for (int64_t h = 0; h < s->H; h++)
        for (int64_t i = 0; i < s->I; i++) {
            float *to = image + ((h + pad[0]) * s->I + i) * s->padded_w + pad[1];
            const float *from = x + h * s->W * s->I + i;
            if (s->I == 1) memcpy(to, from, (size_t)s->W * sizeof *to);
            else
                for (int64_t w = 0; w < s->W; w++) to[w] = from[w * s->I];
        }
}

/* --- convolution: `columns` neighbours of one output row, one block of channels ---------------------- */
typedef struct tile {
    const float *x;        /* planar image at the first column's corner */
    const float *w, *bias; /* (taps, lanes), (lanes)                    */
    const int32_t *offset; /* (taps)                                    */
    int64_t taps, step;    /* step: from column to column               */
    float floor;           /* 0 for ReLU, else -infinity                */
    float *out;            /* (columns, lanes)                          */
} tile;

#define TILE(lanes, width)                                                                                             \
    SIMD_INLINE void tile##lanes(tile t, const int columns, int64_t step)                                              \
    {                                                                                                                  \
        v##width sum[MOST_COLUMNS][lanes / width];                                                                     \
        EACH_VECTOR(columns, lanes / width)                                                                            \
        sum[p][v] = *(const v##width##_unaligned *)(t.bias + v * width);                                               \
        for (int64_t k = 0; k < t.taps; k++) {                                                                         \
            const float *x = t.x + t.offset[k], *w = t.w + k * lanes;                                                  \
            EACH_VECTOR(columns, lanes / width)                                                                        \
            sum[p][v] += *(const v##width##_unaligned *)(w + v * width) * x[p * step];                                 \
        }                                                                                                              \
        EACH_VECTOR(columns, lanes / width)                                                                            \
        {                                                                                                              \
            v##width##_mask low = sum[p][v] < t.floor; /* NaN passes */                                                \
            *(v##width##_unaligned *)(t.out + p * lanes + v * width) = (v##width)((v##width##_mask)sum[p][v] & ~low);  \
        }                                                                                                              \
    }
#define EACH_VECTOR(columns, vectors)                                                                                  \
    _Pragma("GCC unroll 14") for (int p = 0; p < (columns); p++)                                                       \
        _Pragma("GCC unroll 4") for (int v = 0; v < (vectors); v++)
#define TILE_OF(lanes, width) TILE(lanes, width)
TILE_OF(8, WIDTH8)
TILE_OF(16, WIDTH16)

/* Constant widths keep the sums in registers. Strided convolutions are rare here: four columns do. */
#define CASE(lanes, n)                                                                                                 \
    case n:                                                                                                            \
        tile##lanes(t, n, 1);                                                                                          \
        break;
#define RUN_TILE(lanes)                                                                                                \
    static void run_tile##lanes(tile t, int64_t columns)                                                               \
    {                                                                                                                  \
        for (; t.step != 1 && columns > 0; columns--, t.x += t.step, t.out += lanes) tile##lanes(t, 1, t.step);        \
        switch (columns) {                                                                                             \
            CASE(lanes, 1)                                                                                             \
            CASE(lanes, 2)                                                                                             \
            CASE(lanes, 3)                                                                                             \
            CASE(lanes, 4)                                                                                             \
            CASE(lanes, 5)                                                                                             \
            CASE(lanes, 6)                                                                                             \
            CASE(lanes, 7)                                                                                             \
            CASE(lanes, 8)                                                                                             \
            CASE(lanes, 9)                                                                                             \
            CASE(lanes, 10)                                                                                            \
            CASE(lanes, 11)                                                                                            \
            CASE(lanes, 12)                                                                                            \
            CASE(lanes, 13)                                                                                            \
            CASE(lanes, 14)                                                                                            \
        default: break; /* strided: done above */                                                                      \
        }                                                                                                              \
    }
RUN_TILE(8)
RUN_TILE(16)

/* The whole convolution of one block of channels: out (OH, OW, lanes). */
static void convolve(const conv_pool_job *job, const float *image, int64_t group, int64_t block, float *out)
{
    const conv_pool_shape *s = &job->s;
    const hone_window *v = &job->a->window;
    int64_t most = s->lanes == 8 ? COLUMNS8 : COLUMNS16, tiles = (s->OW + most - 1) / most;
    int64_t width = (s->OW + tiles - 1) / tiles, index = group * s->blocks + block;
    tile t = {.w = scratch(job, job->z.weights) + index * s->taps * s->lanes,
              .bias = scratch(job, job->z.bias) + index * s->lanes,
              .offset = (const int32_t *)(const void *)scratch(job, job->z.offsets),
              .taps = s->taps,
              .step = v->stride[1],
              .floor = job->a->act == HONE_ACT_RELU ? 0 : -INFINITY};
    for (int64_t oh = 0; oh < s->OH; oh++)
        for (int64_t k = 0; k < tiles; k++) {
            int64_t ow = k + 1 < tiles ? k * width : s->OW - width; /* the last one may overlap: same bits */
            t.x = image + (oh * v->stride[0] * s->I + group * s->Ig) * s->padded_w + ow * v->stride[1];
            t.out = out + (oh * s->OW + ow) * s->lanes;
            s->lanes == 8 ? run_tile8(t, width) : run_tile16(t, width);
        }
}

/* --- activation over the block ----------------------------------------------------------------------- */
#define ACTIVATE(expression)                                                                                           \
    _Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                                            \
    {                                                                                                                  \
        float x = z[i];                                                                                                \
        z[i] = expression;                                                                                             \
    }                                                                                                                  \
    break

/* z (OH * OW, lanes) in place, while it is in cache. No default: the compiler names an activation left out. */
static void activate(const hone_attrs *a, float *z, int64_t count)
{
    float slope = a->leaky.slope;
    switch (a->act) {
    case HONE_ACT_NONE:
    case HONE_ACT_RELU: break; /* the tile did it */
    case HONE_ACT_RELU6: ACTIVATE(x < 0 ? 0.0f : x > 6 ? 6.0f : x);
    case HONE_ACT_LEAKY_RELU: ACTIVATE(x < 0 ? slope * x : x);
    case HONE_ACT_TANH: ACTIVATE(math_tanh(x));
    case HONE_ACT_SIGMOID: ACTIVATE(math_sigmoid(x));
    case HONE_ACT_SILU: ACTIVATE(x * math_sigmoid(x));
    case HONE_ACT_GELU: ACTIVATE(math_gelu(x));
    case HONE_ACT_GELU_TANH: ACTIVATE(math_gelu_tanh(x));
    }
}

/* --- pooling ------------------------------------------------------------------------------------------ */
/* One pooled place over all lanes, any window. */
SIMD_INLINE void pool_place(const conv_pool_job *job, const float *z, int64_t ph, int64_t pw, int64_t lanes,
                            float *best, int32_t *place)
{
    const hone_window *v = &job->a->pool;
    int64_t top = ph * v->stride[0] - v->pad[0], left = pw * v->stride[1] - v->pad[1];
    int first = 1;
    for (int64_t l = 0; l < lanes; l++) best[l] = -INFINITY, place[l] = 0;
    for (int32_t r = 0; r < v->kernel[0]; r++)
        for (int32_t q = 0; q < v->kernel[1]; q++) {
            int64_t h = top + (int64_t)r * v->dilation[0], w = left + (int64_t)q * v->dilation[1];
            if (h < 0 || h >= job->s.OH || w < 0 || w >= job->s.OW) continue;
            const float *value = z + (h * job->s.OW + w) * lanes;
            int32_t t = r * v->kernel[1] + q;
#pragma omp simd
            for (int64_t l = 0; l < lanes; l++) {
                int beats = first || value[l] > best[l] || (value[l] != value[l] && best[l] == best[l]);
                best[l] = beats ? value[l] : best[l];
                place[l] = beats ? t : place[l];
            }
            first = 0;
        }
}

/* The common window, 2 x 2 by 2 without border: a tournament of four that is right where no NaN plays;
 * `sum` is NaN where one does. */
SIMD_INLINE void pool_square(const float *a, const float *c, int64_t lanes, float *best, int32_t *place, float *sum)
{
    const float *b = a + lanes, *d = c + lanes; /* a b above c d */
#pragma omp simd
    for (int64_t l = 0; l < lanes; l++) {
        float upper = b[l] > a[l] ? b[l] : a[l], lower = d[l] > c[l] ? d[l] : c[l];
        int32_t at_upper = b[l] > a[l] ? 1 : 0, at_lower = d[l] > c[l] ? 3 : 2;
        best[l] = lower > upper ? lower : upper;
        place[l] = lower > upper ? at_lower : at_upper;
        sum[l] += (a[l] + b[l]) + (c[l] + d[l]);
    }
}

/* 2 x 2 without overlap, the pooling of nearly every net: it has a loop of its own. */
static int is_square(const hone_window *v)
{
    return v->kernel[0] == 2 && v->kernel[1] == 2 && v->stride[0] == 2 && v->stride[1] == 2 && v->pad[0] == 0 &&
           v->pad[1] == 0 && v->dilation[0] == 1 && v->dilation[1] == 1;
}

/* z (OH, OW, lanes) to `live` channels of y and at (PH, PW, O). Returns whether a NaN (or infinities that
 * cancel) may have been among the values; then, unless `careful`, the block must be pooled again. */
SIMD_INLINE int pool_block(const conv_pool_job *job, const float *z, int64_t lanes, int64_t live, float *y, uint8_t *at,
                           int careful)
{
    const conv_pool_shape *s = &job->s;
    int square = is_square(&job->a->pool) && !careful, doubtful = 0;
    float best[16], sum[16] = {0};
    int32_t place[16];
    for (int64_t ph = 0; ph < s->PH; ph++)
        for (int64_t pw = 0; pw < s->PW; pw++) {
            const float *corner = z + (2 * ph * s->OW + 2 * pw) * lanes;
            if (square) pool_square(corner, corner + s->OW * lanes, lanes, best, place, sum);
            else pool_place(job, z, ph, pw, lanes, best, place);
            int64_t k = (ph * s->PW + pw) * s->O;
            for (int64_t l = 0; l < live; l++) y[k + l] = best[l];
            for (int64_t l = 0; at && l < live; l++) at[k + l] = (uint8_t)place[l];
        }
    for (int64_t l = 0; l < lanes; l++) doubtful |= sum[l] != sum[l];
    return doubtful;
}

/* `lanes` becomes a constant in both calls: vectors of 16 or 8 channels. */
static int pool_once(const conv_pool_job *job, const float *z, int64_t live, float *y, uint8_t *at, int careful)
{
    if (job->s.lanes == 16) return pool_block(job, z, 16, live, y, at, careful);
    return pool_block(job, z, 8, live, y, at, careful);
}

/* The usual widths as constants: 16 and 8 lanes full, and the six of LeNet's first layer. */
static void pool(const conv_pool_job *job, const float *z, int64_t live, float *y, uint8_t *at)
{
    int64_t lanes = job->s.lanes;
    int doubtful = lanes == 16 && live == 16 ? pool_block(job, z, 16, 16, y, at, 0)
                   : lanes == 8 && live == 8 ? pool_block(job, z, 8, 8, y, at, 0)
                   : lanes == 8 && live == 6 ? pool_block(job, z, 8, 6, y, at, 0)
                                             : pool_once(job, z, live, y, at, 0);
    if (doubtful) pool_once(job, z, live, y, at, 1);
}

/* An image at a time: its convolution, at most some 100 KB, never reaches memory. */
static void forward_part(const void *arg, int part)
{
    const conv_pool_job *job = arg;
    const conv_pool_shape *s = &job->s;
    const float *x = job->l->in[0];
    float *y = job->l->out[0], *image = scratch(job, job->z.part + part * job->z.part_floats + job->z.image);
    float *z = scratch(job, job->z.part + part * job->z.part_floats + job->z.conv);
    uint8_t *at = job->l->out[1];
    int64_t begin, end, pixels = s->OH * s->OW * s->lanes;
    hone_cpu_cut(s->N, 1, part, job->parts, &begin, &end);
    memset(image, 0, (size_t)(s->padded_h * s->padded_w * s->I) * sizeof *image);
    for (int64_t n = begin; n < end; n++) {
        copy_image(job, x + n * s->H * s->W * s->I, image);
        for (int64_t k = 0; k < s->groups * s->blocks; k++) {
            int64_t o = k % s->blocks * s->lanes, live = s->Og - o < s->lanes ? s->Og - o : s->lanes;
            int64_t channel = n * s->PH * s->PW * s->O + k / s->blocks * s->Og + o;
            convolve(job, image, k / s->blocks, k % s->blocks, z);
            activate(job->a, z, pixels);
            pool(job, z, live, y + channel, at ? at + channel : NULL);
        }
    }
}

/* x (N, H, W, I), w (O, kh, kw, I/g), bias (O) -> y, at (N, PH, PW, O). Packing is done once for all parts. */
void SIMD(cpu_conv_act_maxpool)(hone_backend *b, const hone_launch *l)
{
    conv_pool_job job = {.l = l, .a = &l->node->attr};
    job.s = hone_cpu_conv_pool_shape(job.a, l->in_desc[0], l->out_desc[0]);
    job.parts = hone_cpu_team(b, job.s.N * job.s.OH * job.s.OW * job.s.taps * job.s.O / 16);
    job.z = hone_cpu_conv_pool_forward_scratch(&job.s, job.parts);
    pack_weights(&job);
    list_offsets(&job);
    hone_cpu_each_part(b, job.parts, forward_part, &job);
}
