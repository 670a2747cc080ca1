/* pool_simd.c - max, average and global pooling and their gradients, channels in vector lanes.
 *
 * Definitions of kernels/ref/pool.c: the first maximum wins and a NaN beats every number; padding is -inf
 * for max and a counted 0 for average; gradients gather, each input summing the windows that chose it in
 * window order, so no two threads meet. x (N, H, W, C), y and at (N, OH, OW, C). */
#include <math.h>
#include <string.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"

typedef uint8_t vbyte __attribute__((vector_size(LANES)));

enum { MAX_TAPS = 255 }; /* `at` is a byte */

/* The places that one output (or, backwards, one input) meets: element offsets and places in the window. */
typedef struct taps {
    int count;
    int64_t offset[MAX_TAPS];
    uint8_t place[MAX_TAPS];
} taps;

typedef struct pool_job {
    const float *x;    /* forward: x; backward: dy                    */
    const uint8_t *at; /* backward of max                             */
    float *y;          /* forward: y; backward: dx                    */
    uint8_t *chosen;   /* forward of max, or NULL                     */
    const hone_window *v;
    int64_t from_h, from_w, to_h, to_w, C; /* sizes of x and of y as named here */
    float scale;
} pool_job;

/* Forward: the inputs under output (oh, ow). */
static void inputs_of(const pool_job *job, int64_t oh, int64_t ow, taps *t)
{
    const hone_window *v = job->v;
    int64_t top = oh * v->stride[0] - v->pad[0], left = ow * v->stride[1] - v->pad[1];
    t->count = 0;
    for (int r = 0; r < v->kernel[0]; r++) {
        int64_t h = top + r * v->dilation[0];
        if (h < 0 || h >= job->from_h) continue;
        for (int s = 0; s < v->kernel[1]; s++) {
            int64_t w = left + s * v->dilation[1];
            if (w < 0 || w >= job->from_w) continue;
            t->offset[t->count] = (h * job->from_w + w) * job->C;
            t->place[t->count++] = (uint8_t)(r * v->kernel[1] + s);
        }
    }
}

/* Output whose window has its place k over input i along `axis`, or -1. */
static int64_t output_at(const hone_window *v, int axis, int64_t i, int k, int64_t outputs)
{
    int64_t d = i + v->pad[axis] - (int64_t)k * v->dilation[axis];
    if (d < 0 || d % v->stride[axis] != 0) return -1;
    return d / v->stride[axis] < outputs ? d / v->stride[axis] : -1;
}

/* Backward: the outputs whose windows hold input (h, w); `place` tells where in the window. */
static void outputs_of(const pool_job *job, int64_t h, int64_t w, taps *t)
{
    const hone_window *v = job->v;
    t->count = 0;
    for (int r = 0; r < v->kernel[0]; r++) {
        int64_t oh = output_at(v, 0, h, r, job->from_h);
        for (int s = 0; oh >= 0 && s < v->kernel[1]; s++) {
            int64_t ow = output_at(v, 1, w, s, job->from_w);
            if (ow < 0) continue;
            t->offset[t->count] = (oh * job->from_w + ow) * job->C;
            t->place[t->count++] = (uint8_t)(r * v->kernel[1] + s);
        }
    }
}

/* --- one place, all channels: vectors, and the rest one by one --------------------------------------- */
static void max_place(const pool_job *job, const float *x, const taps *t, float *y, uint8_t *chosen)
{
    int64_t c = 0, C = job->C;
    for (; c + LANES <= C; c += LANES) {
        vfloat best = t->count ? v_load(x + t->offset[0] + c) : v_set(-INFINITY);
        vint place = (vint){0} + (t->count ? t->place[0] : 0);
        for (int k = 1; k < t->count; k++) {
            vfloat value = v_load(x + t->offset[k] + c);
            vint beats = (value > best) | ((value != value) & (best == best));
            best = v_select(beats, value, best);
            place = (place & ~beats) | (beats & (int32_t)t->place[k]);
        }
        v_store(y + c, best);
        vbyte bytes = __builtin_convertvector(place, vbyte);
        if (chosen) memcpy(chosen + c, &bytes, LANES);
    }
    for (; c < C; c++) {
        float best = t->count ? x[t->offset[0] + c] : -INFINITY;
        uint8_t place = t->count ? t->place[0] : 0;
        for (int k = 1; k < t->count; k++) {
            float value = x[t->offset[k] + c];
            int beats = value > best || (value != value && best == best);
            best = beats ? value : best;
            place = beats ? t->place[k] : place;
        }
        y[c] = best;
        if (chosen) chosen[c] = place;
    }
}

/* y = scale * sum of the taps; with `at`, only of those that chose this place. */
static void sum_place(const pool_job *job, const float *x, const uint8_t *at, const taps *t, float *y)
{
    int64_t c = 0, C = job->C;
    for (; c + LANES <= C; c += LANES) {
        vfloat sum = {0};
        for (int k = 0; k < t->count; k++) {
            vfloat value = v_load(x + t->offset[k] + c);
            if (at) {
                vbyte bytes;
                memcpy(&bytes, at + t->offset[k] + c, LANES);
                vint same = __builtin_convertvector(bytes, vint) == (int32_t)t->place[k];
                value = (vfloat)((vint)value & same); /* a choice: 0 where not chosen, whatever dy is */
            }
            sum += value;
        }
        v_store(y + c, sum * job->scale);
    }
    for (; c < C; c++) {
        float sum = 0;
        for (int k = 0; k < t->count; k++)
            if (!at || at[t->offset[k] + c] == t->place[k]) sum += x[t->offset[k] + c];
        y[c] = sum * job->scale;
    }
}

/* --- rows of outputs: item = n * to_h + row ------------------------------------------------------------ */
static void max_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t;
    for (int64_t item = begin; item < end; item++) {
        const float *x = job->x + item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            int64_t k = (item * job->to_w + w) * job->C;
            inputs_of(job, item % job->to_h, w, &t);
            max_place(job, x, &t, job->y + k, job->chosen ? job->chosen + k : NULL);
        }
    }
}

static void average_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t;
    for (int64_t item = begin; item < end; item++) {
        const float *x = job->x + item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            inputs_of(job, item % job->to_h, w, &t);
            sum_place(job, x, NULL, &t, job->y + (item * job->to_w + w) * job->C);
        }
    }
}

static void gradient_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t;
    for (int64_t item = begin; item < end; item++) {
        int64_t image = item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            outputs_of(job, item % job->to_h, w, &t);
            sum_place(job, job->x + image, job->at ? job->at + image : NULL, &t,
                      job->y + (item * job->to_w + w) * job->C);
        }
    }
}

static void run(hone_backend *b, const hone_launch *l, const uint8_t *at, uint8_t *chosen, float scale,
                hone_cpu_range_fn *body)
{
    const int64_t *from = l->in_desc[0]->dim, *to = l->out_desc[0]->dim;
    pool_job job = {.x = l->in[0], .at = at, .y = l->out[0], .chosen = chosen, .v = &l->node->attr.window};
    job.from_h = from[1], job.from_w = from[2];
    job.to_h = to[1], job.to_w = to[2];
    job.C = to[3];
    job.scale = scale;
    int64_t cost = hone_tensor_count(l->in_desc[0]) + hone_tensor_count(l->out_desc[0]);
    hone_cpu_ranges(hone_cpu_team(b, cost), to[0] * to[1], 1, body, &job);
}

static float tap_share(const hone_launch *l)
{
    const int32_t *kernel = l->node->attr.window.kernel;
    return (float)(1.0 / ((double)kernel[0] * kernel[1]));
}

void SIMD(cpu_maxpool)(hone_backend *b, const hone_launch *l) { run(b, l, NULL, l->out[1], 1, max_range); }
void SIMD(cpu_maxpool_dx)(hone_backend *b, const hone_launch *l) { run(b, l, l->in[1], NULL, 1, gradient_range); }
void SIMD(cpu_avgpool)(hone_backend *b, const hone_launch *l) { run(b, l, NULL, NULL, tap_share(l), average_range); }
void SIMD(cpu_avgpool_dx)(hone_backend *b, const hone_launch *l)
{
    run(b, l, NULL, NULL, tap_share(l), gradient_range);
}
