/* conv_pool_dw_simd.c - dw and db of maxpool(act(conv(x, w, b))) straight from the pooled gradient.
 *
 * Each pooled output sends its gradient g to one place of the convolution, so a 2 x 2 pooling leaves a
 * quarter of the products of a dense dw, and an output that the ReLU closed leaves none: per image and
 * output channel the places with g != 0 are listed, then for each of them the inputs under the kernel,
 * contiguous along (kw, I), are added to sums that stay in registers. g = 0 adds nothing even where x is
 * not finite, unlike ref, where 0 * inf is NaN; a NaN or infinite g is passed on. Parts join in order. */
#include <string.h>

#include "cpu/conv_pool.h"
#include "cpu/simd.h"

typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));
typedef float v8_unaligned __attribute__((vector_size(32), may_alias, aligned(4)));
typedef float v16_unaligned __attribute__((vector_size(64), may_alias, aligned(4)));

/* One launch: what all parts read, and where their scratch lies. */
typedef struct dw_job {
    const hone_launch *l;
    const hone_attrs *a;
    conv_pool_shape s;
    conv_pool_scratch z;
    int parts;
} dw_job;

/* Scratch of one part. */
typedef struct dw_part {
    float *image;    /* (padded_h, padded_w, I)                       */
    float *sums;     /* (O, segments, stride_floats)                  */
    double *bias;    /* (O)                                           */
    int32_t *corner; /* (PH * PW, O): of the pooling windows                                */
    int32_t *all_at; /* (PH * PW, O): corners under the kernel, as float offsets into image */
    float *all_g;    /* (PH * PW, O): gradients of the convolution's outputs                */
    int32_t *at;     /* (PH * PW): those of one channel with g != 0                         */
    float *g;        /* (PH * PW)                                                           */
} dw_part;

static dw_part part_scratch(const dw_job *job, int part)
{
    float *p = (float *)job->l->work + job->z.part + part * job->z.part_floats;
    return (dw_part){.image = p + job->z.image,
                     .sums = p + job->z.sums,
                     .bias = (double *)(void *)(p + job->z.bias_sums),
                     .corner = (int32_t *)(void *)(p + job->z.corner),
                     .all_at = (int32_t *)(void *)(p + job->z.all_at),
                     .all_g = p + job->z.all_g,
                     .at = (int32_t *)(void *)(p + job->z.list_at),
                     .g = p + job->z.list_g};
}

/* The gradient below the activation, gated by its output; 0 where the unit is off, whatever dy is. */
SIMD_INLINE float below(hone_act act, float slope, float y, float dy)
{
    switch (act) {
    case HONE_ACT_RELU: return y > 0 ? dy : 0.0f;
    case HONE_ACT_RELU6: return y > 0 && y < 6 ? dy : 0.0f;
    case HONE_ACT_LEAKY_RELU: return y > 0 ? dy : dy * slope;
    case HONE_ACT_TANH: return dy * (1 - y * y);
    case HONE_ACT_SIGMOID: return dy * (y * (1 - y));
    default: return dy; /* the other activations can't be told by y: fuse.c never writes them here */
    }
}

/* Where the pooling window of every output begins, as an offset into the padded image: equal for all images. */
static void list_corners(const dw_job *job, int32_t *corner)
{
    const conv_pool_shape *s = &job->s;
    const hone_window *v = &job->a->window, *pool = &job->a->pool;
    for (int64_t k = 0; k < s->PH * s->PW; k++) {
        int64_t h = (k / s->PW * pool->stride[0] - pool->pad[0]) * v->stride[0];
        int64_t w = (k % s->PW * pool->stride[1] - pool->pad[1]) * v->stride[1];
        for (int64_t o = 0; o < s->O; o++) corner[k * s->O + o] = (int32_t)((h * s->padded_w + w) * s->I);
    }
}

/* Gradient and place of every pooled output of image n. `act` is a constant where this is inlined. */
SIMD_INLINE void meet_image(const dw_job *job, const dw_part *p, int64_t n, hone_act act)
{
    const conv_pool_shape *s = &job->s;
    const hone_window *v = &job->a->window, *pool = &job->a->pool;
    int64_t count = s->PH * s->PW * s->O;
    int32_t width = pool->kernel[1], share = (65535 + width) / width;
    int32_t right = (int32_t)s->I * v->stride[1] * pool->dilation[1];
    int32_t down = (int32_t)(s->padded_w * s->I) * v->stride[0] * pool->dilation[0] - width * right;
    const float *y = (const float *)job->l->in[1] + n * count, *dy = (const float *)job->l->in[3] + n * count;
    const uint8_t *at = (const uint8_t *)job->l->in[2] + n * count;
    const int32_t *corner = p->corner;
    float slope = job->a->leaky.slope, *g = p->all_g;
    int32_t *to = p->all_at;
#pragma omp simd
    for (int64_t k = 0; k < count; k++) {
        int32_t place = at[k], r = (place * share) >> 16; /* place / width, exact for a byte */
        g[k] = below(act, slope, y[k], dy[k]);
        to[k] = corner[k] + place * right + r * down;
    }
}

/* The list of one channel. Written always and kept only where it counts: no branch to mispredict. */
static int64_t list_channel(const dw_job *job, const dw_part *p, int64_t o)
{
    int64_t O = job->s.O, places = job->s.PH * job->s.PW, count = 0;
    const int32_t *from = p->all_at + o;
    const float *g = p->all_g + o;
    for (int64_t k = 0; k < places; k++) {
        uint32_t bits;
        memcpy(&bits, g + k * O, sizeof bits);
        p->at[count] = from[k * O];
        p->g[count] = g[k * O];
        count += bits << 1 != 0;
    }
    return count;
}

/* --- sums of `rows` segments of `vectors` vectors over a list; all three are constants here ------------- */
typedef struct segment_list {
    const float *x; /* image at the first segment */
    int64_t pitch;  /* from segment to segment    */
    const int32_t *at;
    const float *g;
    int64_t count;
    float *sum; /* (rows, stride): added to */
    int64_t stride;
} segment_list;

#define SEGMENTS(lanes)                                                                                                \
    SIMD_INLINE void segments##lanes(segment_list t, int rows, int vectors)                                            \
    {                                                                                                                  \
        v##lanes sum[12] = {{0}};                                                                                      \
        for (int64_t k = 0; k < t.count; k++) {                                                                        \
            const float *x = t.x + t.at[k];                                                                            \
            float g = t.g[k];                                                                                          \
            for (int r = 0; r < rows; r++)                                                                             \
                for (int q = 0; q < vectors; q++)                                                                      \
                    sum[r * vectors + q] += g * *(const v##lanes##_unaligned *)(x + r * t.pitch + q * lanes);          \
        }                                                                                                              \
        for (int r = 0; r < rows; r++)                                                                                 \
            for (int q = 0; q < vectors; q++)                                                                          \
                *(v##lanes##_unaligned *)(t.sum + r * t.stride + q * lanes) += sum[r * vectors + q];                   \
    }
SEGMENTS(8)
SEGMENTS(16)

/* Kernel rows side by side where that fits the registers, else one by one; wide segments four vectors a time. */
static void run_segments(segment_list t, int64_t rows, int64_t floats, int joined)
{
    if (joined && rows == 5 && floats == 8) segments8(t, 5, 1);
    else if (joined && rows == 3 && floats == 8) segments8(t, 3, 1);
    else if (joined && rows == 5 && floats == 16) segments16(t, 5, 1);
    else if (joined && rows == 5 && floats == 32) segments16(t, 5, 2);
    else if (joined && rows == 3 && floats == 16) segments16(t, 3, 1);
    else if (joined && rows == 3 && floats == 32) segments16(t, 3, 2);
    else if (joined && rows == 3 && floats == 48) segments16(t, 3, 3);
    else if (joined && rows == 3 && floats == 64) segments16(t, 3, 4);
    else
        for (int64_t r = 0; r < rows; r++, t.x += t.pitch, t.sum += t.stride) {
            segment_list part = t;
            int64_t left = floats;
            for (; left >= 64; left -= 64, part.x += 64, part.sum += 64) segments16(part, 1, 4);
            for (; left >= 16; left -= 16, part.x += 16, part.sum += 16) segments16(part, 1, 1);
            if (left) segments8(part, 1, 1);
        }
}

/* bias in double: one sum over all places of all images of the part. */
static void add_channel(const dw_job *job, const dw_part *p, int64_t o)
{
    const conv_pool_shape *s = &job->s;
    const hone_window *v = &job->a->window;
    segment_list t = {.at = p->at,
                      .g = p->g,
                      .count = list_channel(job, p, o),
                      .sum = p->sums + o * s->segments * s->stride_floats,
                      .stride = s->stride_floats};
    int joined = s->segments == v->kernel[0];
    double total = 0;
    for (int64_t k = 0; k < t.count; k++) total += (double)t.g[k];
    p->bias[o] += total;
    if (!job->l->out[0]) return;
    const float *x = p->image + o / s->Og * s->Ig;
    t.pitch = joined ? s->padded_w * s->I * v->dilation[0] : v->dilation[1] * s->I;
    if (joined) t.x = x, run_segments(t, s->segments, s->stride_floats, 1);
    for (int64_t r = 0; !joined && r < v->kernel[0]; r++) {
        t.x = x + r * s->padded_w * s->I * v->dilation[0];
        run_segments(t, v->kernel[1], s->stride_floats, 0);
        t.sum += v->kernel[1] * s->stride_floats;
    }
}

/* Into the middle of the zeroed border: places outside the image then need no test. */
static void copy_image(const dw_job *job, int64_t n, float *image)
{
    const conv_pool_shape *s = &job->s;
    const int32_t *pad = job->a->window.pad;
    const float *x = (const float *)job->l->in[0] + n * s->H * s->W * s->I;
    for (int64_t h = 0; h < s->H; h++)
        memcpy(image + ((h + pad[0]) * s->padded_w + pad[1]) * s->I, x + h * s->W * s->I,
               (size_t)(s->W * s->I) * sizeof *x);
}

/* The two usual activations as constants, the rest through one general copy. */
static void meet_by_act(const dw_job *job, const dw_part *p, int64_t n)
{
    switch (job->a->act) {
    case HONE_ACT_RELU: meet_image(job, p, n, HONE_ACT_RELU); break;
    case HONE_ACT_NONE: meet_image(job, p, n, HONE_ACT_NONE); break;
    default: meet_image(job, p, n, job->a->act); break;
    }
}

/* One part: images begin..end into its own sums, so parts never meet before the join. */
static void dw_images(const void *arg, int part)
{
    const dw_job *job = arg;
    const conv_pool_shape *s = &job->s;
    dw_part p = part_scratch(job, part);
    int64_t begin, end;
    hone_cpu_cut(s->N, 1, part, job->parts, &begin, &end);
    memset(p.image, 0, (size_t)(job->z.sums - job->z.image) * sizeof *p.image); /* border and slack */
    memset(p.sums, 0, (size_t)(s->O * s->segments * s->stride_floats) * sizeof *p.sums);
    memset(p.bias, 0, (size_t)s->O * sizeof *p.bias);
    list_corners(job, p.corner);
    for (int64_t n = begin; n < end; n++) {
        copy_image(job, n, p.image);
        meet_by_act(job, &p, n);
        for (int64_t o = 0; o < s->O; o++) add_channel(job, &p, o);
    }
}

/* Micro-batches add up where the node says so; the sum is rounded once. */
static void put_gradient(const hone_launch *l, float *dw, double value)
{
    *dw = (float)(l->node->accumulate ? (double)*dw + value : value);
}

/* Joins the parts; segments lose their padding. */
static void join(const dw_job *job)
{
    const conv_pool_shape *s = &job->s;
    float *dw = job->l->out[0], *db = job->l->out[1];
    for (int64_t k = 0; dw && k < s->O * s->segments; k++)
        for (int64_t q = 0; q < s->segment; q++) {
            double sum = 0;
            for (int part = 0; part < job->parts; part++)
                sum += (double)part_scratch(job, part).sums[k * s->stride_floats + q];
            put_gradient(job->l, dw + k * s->segment + q, sum);
        }
    for (int64_t o = 0; db && o < s->O; o++) {
        double sum = 0;
        for (int part = 0; part < job->parts; part++) sum += part_scratch(job, part).bias[o];
        put_gradient(job->l, db + o, sum);
    }
}

/* x (N, H, W, I), y and dy (N, PH, PW, O), at u8 of y's shape -> dw (O, kh, kw, I/g), db (O).
 * 16: of the convolution's work about this share is left after pooling and gating, to size the team. */
void SIMD(cpu_conv_act_maxpool_dw)(hone_backend *b, const hone_launch *l)
{
    dw_job job = {.l = l, .a = &l->node->attr};
    job.s = hone_cpu_conv_pool_shape(job.a, l->in_desc[0], l->in_desc[1]);
    job.parts = hone_cpu_team(b, job.s.N * job.s.PH * job.s.PW * job.s.taps * job.s.O / 16);
    job.z = hone_cpu_conv_pool_dw_scratch(&job.s, job.parts);
    hone_cpu_each_part(b, job.parts, dw_images, &job);
    join(&job);
}
