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

enum { MAX_TAPS = 255 }; /* `at` is a byte, so max has no more; an average takes a larger window in several lists */

/* The places that one output (or, backwards, one input) meets: element offsets and places in the window.
 * `next`: the place where the following list begins; 0 before the first and after the last. */
typedef struct taps {
    int count, next;
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
    const float *gate; /* maxpool_act_dx: y of the pooling, else NULL */
    hone_act act;
    float slope;
    void *work; /* maxpool_act_dx of overlapping windows: the gated dy */
} pool_job;

/* False where the list is full: it goes on from this place in the next one. */
SIMD_INLINE int add_tap(taps *t, int64_t offset, int place)
{
    if (t->count == MAX_TAPS) {
        t->next = place;
        return 0;
    }
    t->offset[t->count] = offset;
    t->place[t->count++] = (uint8_t)place;
    return 1;
}

/* Forward: the inputs under output (oh, ow). */
static void inputs_of(const pool_job *job, int64_t oh, int64_t ow, taps *t)
{
    const hone_window *v = job->v;
    int64_t top = oh * v->stride[0] - v->pad[0], left = ow * v->stride[1] - v->pad[1];
    int first = t->next;
    t->count = t->next = 0;
    for (int r = first / v->kernel[1]; r < v->kernel[0]; r++) {
        int64_t h = top + r * v->dilation[0];
        if (h < 0 || h >= job->from_h) continue;
        for (int s = r * v->kernel[1] < first ? first % v->kernel[1] : 0; s < v->kernel[1]; s++) {
            int64_t w = left + s * v->dilation[1];
            if (w < 0 || w >= job->from_w) continue;
            if (!add_tap(t, (h * job->from_w + w) * job->C, r * v->kernel[1] + s)) return;
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
    int first = t->next;
    t->count = t->next = 0;
    for (int r = first / v->kernel[1]; r < v->kernel[0]; r++) {
        int64_t oh = output_at(v, 0, h, r, job->from_h);
        for (int s = r * v->kernel[1] < first ? first % v->kernel[1] : 0; oh >= 0 && s < v->kernel[1]; s++) {
            int64_t ow = output_at(v, 1, w, s, job->from_w);
            if (ow < 0) continue;
            if (!add_tap(t, (oh * job->from_w + ow) * job->C, r * v->kernel[1] + s)) return;
        }
    }
}

/* --- one place, all channels: vectors, and the rest one by one --------------------------------------- */
/* y, chosen (C) of one output. The scalar rest repeats the vectors' comparisons, so C % LANES changes no bit. */
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

/* All ones in the lanes whose byte of `at` is `place`. */
SIMD_INLINE vint chose(const uint8_t *at, int32_t place)
{
    vbyte bytes;
    memcpy(&bytes, at, LANES);
    return __builtin_convertvector(bytes, vint) == place;
}

/* y = scale * sum of the taps; with `at`, only of those that chose this place. `more`: added to what is there. */
static void sum_place(const pool_job *job, const float *x, const uint8_t *at, const taps *t, int more, float *y)
{
    int64_t c = 0, C = job->C;
    for (; c + LANES <= C; c += LANES) {
        vfloat sum = {0};
        for (int k = 0; k < t->count; k++) {
            vfloat value = v_load(x + t->offset[k] + c);
            /* a choice: 0 where not chosen, whatever dy is */
            if (at) value = (vfloat)((vint)value & chose(at + t->offset[k] + c, t->place[k]));
            sum += value;
        }
        sum *= job->scale;
        v_store(y + c, more ? v_load(y + c) + sum : sum);
    }
    for (; c < C; c++) {
        float sum = 0;
        for (int k = 0; k < t->count; k++)
            if (!at || at[t->offset[k] + c] == t->place[k]) sum += x[t->offset[k] + c];
        sum *= job->scale;
        y[c] = more ? y[c] + sum : sum;
    }
}

/* --- rows of outputs: item = n * to_h + row ------------------------------------------------------------ */
/* Offsets are within one image, so the list of a column serves all channels at once. */
static void max_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t = {.count = 0, .next = 0};
    for (int64_t item = begin; item < end; item++) {
        const float *x = job->x + item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            int64_t k = (item * job->to_w + w) * job->C;
            inputs_of(job, item % job->to_h, w, &t);
            max_place(job, x, &t, job->y + k, job->chosen ? job->chosen + k : NULL);
        }
    }
}

/* `scale` is 1 / window: padding counts, as count_include_pad=True of torch.nn.AvgPool2d. */
static void average_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t = {.count = 0, .next = 0};
    for (int64_t item = begin; item < end; item++) {
        const float *x = job->x + item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            float *y = job->y + (item * job->to_w + w) * job->C;
            int more = 0;
            do {
                inputs_of(job, item % job->to_h, w, &t);
                sum_place(job, x, NULL, &t, more++, y);
            } while (t.next);
        }
    }
}

/* Here `to` is x and `from` is y: each input looks up the outputs that it reached. */
static void gradient_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    taps t = {.count = 0, .next = 0};
    for (int64_t item = begin; item < end; item++) {
        int64_t image = item / job->to_h * job->from_h * job->from_w * job->C;
        for (int64_t w = 0; w < job->to_w; w++) {
            float *dx = job->y + (item * job->to_w + w) * job->C;
            int more = 0;
            do {
                outputs_of(job, item % job->to_h, w, &t);
                sum_place(job, job->x + image, job->at ? job->at + image : NULL, &t, more++, dx);
            } while (t.next);
        }
    }
}

/* One call for four kernels; what differs is the body, `at` and `chosen`. */
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
    hone_cpu_ranges(b, hone_cpu_team(b, cost), to[0] * to[1], 1, body, &job);
}

/* --- max gradients with an activation below, and of windows that tile the image ------------------------- */
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

/* The same, LANES at a time; masks instead of branches, so that 0 * inf can't make a NaN. */
SIMD_INLINE vfloat below_lanes(hone_act act, float slope, vfloat y, vfloat dy)
{
    switch (act) {
    case HONE_ACT_RELU: return (vfloat)((vint)dy & (y > 0));
    case HONE_ACT_RELU6: return (vfloat)((vint)dy & (y > 0) & (y < 6));
    case HONE_ACT_LEAKY_RELU: return v_select(y > 0, dy, dy * slope);
    case HONE_ACT_TANH: return dy * (1 - y * y);
    case HONE_ACT_SIGMOID: return dy * (y * (1 - y));
    default: return dy;
    }
}

/* Windows that neither overlap nor leave gaps: every input has one output at most. */
static int tiles(const hone_window *v)
{
    for (int axis = 0; axis < 2; axis++)
        if (v->stride[axis] != v->kernel[axis] || v->pad[axis] != 0 || v->dilation[axis] != 1) return 0;
    return 1;
}

/* One place of every window of a row of outputs: dx at columns q, q + kw, .. of one input row. */
SIMD_INLINE void tile_place(const pool_job *job, int64_t k, int32_t place, int32_t q, hone_act act, float *dx)
{
    int64_t C = job->C;
    const float *gate = act == HONE_ACT_NONE ? job->x : job->gate;
    float slope = job->slope;
    for (int64_t ow = 0; ow < job->from_w; ow++, k += C) {
        const float *dy = job->x + k, *y = gate + k;
        const uint8_t *at = job->at + k;
        float *to = dx + (ow * job->v->kernel[1] + q) * C;
        int64_t c = 0;
        for (; c + LANES <= C; c += LANES) {
            vfloat g = below_lanes(act, slope, v_load(y + c), v_load(dy + c));
            v_store(to + c, (vfloat)((vint)g & chose(at + c, place)));
        }
        for (; c < C; c++) {
            float g = below(act, slope, y[c], dy[c]);
            to[c] = at[c] == place ? g : 0.0f;
        }
    }
}

/* Rows of outputs; item = n * from_h + row. The last row also clears what no window covers. */
SIMD_INLINE void tile_rows(const pool_job *job, int64_t begin, int64_t end, hone_act act)
{
    const int32_t *kernel = job->v->kernel;
    int64_t row = job->to_w * job->C, covered = job->from_w * kernel[1] * job->C;
    for (int64_t item = begin; item < end; item++) {
        int64_t oh = item % job->from_h, image = item / job->from_h * job->to_h * row;
        for (int32_t t = 0; t < kernel[0] * kernel[1]; t++) {
            float *dx = job->y + image + (oh * kernel[0] + t / kernel[1]) * row;
            tile_place(job, item * job->from_w * job->C, t, t % kernel[1], act, dx);
            if (t % kernel[1] == 0) memset(dx + covered, 0, (size_t)(row - covered) * sizeof *dx);
        }
        int64_t done = job->from_h * kernel[0];
        if (oh + 1 == job->from_h)
            memset(job->y + image + done * row, 0, (size_t)((job->to_h - done) * row) * sizeof *job->y);
    }
}

/* The common activations as constants: the switch leaves the inner loop. */
static void tile_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    switch (job->gate ? job->act : HONE_ACT_NONE) {
    case HONE_ACT_NONE: tile_rows(job, begin, end, HONE_ACT_NONE); break;
    case HONE_ACT_RELU: tile_rows(job, begin, end, HONE_ACT_RELU); break;
    default: tile_rows(job, begin, end, job->act); break;
    }
}

static void gate_range(const void *arg, int64_t begin, int64_t end)
{
    const pool_job *job = arg;
    const float *y = job->gate, *dy = job->x;
    float *gated = job->work, slope = job->slope;
    hone_act act = job->act;
#pragma omp simd
    for (int64_t k = begin; k < end; k++) gated[k] = below(act, slope, y[k], dy[k]);
}

static void max_gradient(hone_backend *b, const hone_launch *l, const float *dy, const uint8_t *at, const float *gate)
{
    const hone_tensor *dyd = l->in_desc[0], *dxd = l->out_desc[0];
    const int64_t *from = dyd->dim, *to = dxd->dim;
    pool_job job = {.x = dy, .at = at, .y = l->out[0], .v = &l->node->attr.window, .scale = 1, .gate = gate};
    job.from_h = from[1], job.from_w = from[2];
    job.to_h = to[1], job.to_w = to[2];
    job.C = to[3];
    job.act = l->node->attr.act;
    job.slope = l->node->attr.leaky.slope;
    job.work = l->work;
    int64_t count = hone_tensor_count(dyd), team = hone_cpu_team(b, count + hone_tensor_count(dxd));
    if (tiles(job.v)) {
        hone_cpu_ranges(b, (int)team, from[0] * from[1], 1, tile_range, &job);
        return;
    }
    if (gate) {
        hone_cpu_ranges(b, (int)team, count, 64, gate_range, &job);
        job.x = l->work;
    }
    hone_cpu_ranges(b, (int)team, to[0] * to[1], 1, gradient_range, &job);
}

static float tap_share(const hone_launch *l)
{
    const int32_t *kernel = l->node->attr.window.kernel;
    return (float)(1.0 / ((double)kernel[0] * kernel[1]));
}

void SIMD(cpu_maxpool)(hone_backend *b, const hone_launch *l) { run(b, l, NULL, l->out[1], 1, max_range); }
void SIMD(cpu_maxpool_dx)(hone_backend *b, const hone_launch *l) { max_gradient(b, l, l->in[0], l->in[1], NULL); }
void SIMD(cpu_maxpool_act_dx)(hone_backend *b, const hone_launch *l)
{
    max_gradient(b, l, l->in[2], l->in[1], l->in[0]);
}
void SIMD(cpu_avgpool)(hone_backend *b, const hone_launch *l) { run(b, l, NULL, NULL, tap_share(l), average_range); }
void SIMD(cpu_avgpool_dx)(hone_backend *b, const hone_launch *l)
{
    run(b, l, NULL, NULL, tap_share(l), gradient_range);
}
