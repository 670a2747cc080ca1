/* attention_simd.c - multi-head softmax attention over dense tokens or rows of texts, and its gradient, by packed products.
 *
 * Definitions of kernels/ref/attention.c; dropout's mask is ref's to the bit. A thread takes whole heads:
 * for a block of queries the scores, their softmax and the product with the values never leave the cache.
 * The gradient makes the probabilities again from `lse` and adds up dk and dv block by block, in order. */
#include <math.h>
#include <string.h>

#include "cpu/attention.h"
#include "cpu/philox_simd.h"
#include "cpu/math_simd.h"

/* What all heads share. `drops` is 0 at p = 0, so that evaluation draws no random numbers. */
typedef struct attention_job {
    const hone_launch *l;
    attention_shape s;
    const int32_t *offset;           /* (texts + 1) of ragged rows, NULL: dense */
    int64_t texts, squares;          /* samples or texts; sum of their squared lengths */
    const float *qkv, *y, *dy, *lse; /* y, dy, lse: backward */
    float *out, *lse_out;            /* y or dqkv; forward, may be NULL */
    const hone_cpu_gemm *gemm;
    int64_t part_floats;
    int parts, drops;
    keep_rule rule;
    float keep_scale;
} attention_job;

/* One head of one sample or text and the scratch of the thread that has it. */
typedef struct head {
    int64_t T, row, channel; /* tokens; the first one's row in (.., C), the head's first channel */
    int64_t lse;             /* of the first token in lse */
    int64_t keep, stride;    /* dropout's counters: of query 0 and key 0, from query to query */
    const float *q, *k, *v;  /* (T, D), row stride 3C */
    attention_scratch z;
    float *work;
} head;

/* The packed layout rounds up to whole panels; the padding holds zeros. */
static int64_t panel_count(const attention_job *job, int64_t n) { return (n + job->gemm->cols - 1) / job->gemm->cols; }

/* c (m, n) = or += a b with b packed (k, n); `turned`: a lies as (k, m). */
static void product(const attention_job *job, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, int turned,
                    const float *panels, float *c, int64_t ldc, int add)
{
    const hone_cpu_gemm *g = job->gemm;
    if (turned) g->cols_by_panels(m, n, k, a, lda, panels, g->cols, k * g->cols, c, ldc, add);
    else g->rows_by_panels(m, n, k, a, lda, panels, g->cols, k * g->cols, c, ldc, add);
}

/* Factors of dropout, 0 or 1/(1-p), for the probabilities of query t over all keys; ones without dropout. */
static const float *keep_row(const attention_job *job, const head *o, int64_t t)
{
    float *factor = o->work + o->z.keep;
    if (!job->drops) return NULL;
    int64_t first = o->keep + t * o->stride, from = first / 4 * 4;
    for (int64_t i = from; i < first + o->T; i += KEEP_BLOCK) {
        uint32_t keep[KEEP_BLOCK];
        keep_block(&job->rule, (uint64_t)i / 4, keep);
        for (int k = 0; k < KEEP_BLOCK; k++) factor[i - from + k] = keep[k] ? job->keep_scale : 0.0f;
    }
    return factor + (first - from);
}

/* --- forward -------------------------------------------------------------------------------------------- */
/* Scores s (T) to probabilities, dropped and scaled; returns log(sum(exp(scale * s))). */
static double softmax_row(float *s, int64_t T, float scale, const float *keep)
{
    float top = s[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < T; c++) top = s[c] > top ? s[c] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < T; c++) {
        float e = math_exp((s[c] - top) * scale);
        s[c] = e;
        sum += e;
    }
    float inverse = 1 / sum;
    if (keep) {
#pragma omp simd
        for (int64_t c = 0; c < T; c++) s[c] *= inverse * keep[c];
    } else {
#pragma omp simd
        for (int64_t c = 0; c < T; c++) s[c] *= inverse;
    }
    return (double)top * (double)scale + log((double)sum);
}

/* y (.., C) gets columns h D .. h D + D - 1; lse only where the gradient will need it. */
static void head_forward(const attention_job *job, const head *o)
{
    const hone_cpu_gemm *g = job->gemm;
    int64_t T = o->T, C = job->s.C, D = job->s.D, ld = 3 * C;
    float *keys = o->work + o->z.keys_turned, *values = o->work + o->z.values, *p = o->work + o->z.scores;
    float *y = job->out + o->row * C + o->channel;
    g->pack_turned(0, panel_count(job, T), T, D, o->k, ld, keys);
    g->pack(0, panel_count(job, D), D, T, o->v, ld, values);
    for (int64_t t = 0; t < T; t += QUERIES) {
        int64_t rows = T - t < QUERIES ? T - t : QUERIES;
        product(job, rows, T, D, o->q + t * ld, ld, 0, keys, p, T, 0);
        for (int64_t r = 0; r < rows; r++) {
            double sum = softmax_row(p + r * T, T, (float)job->s.scale, keep_row(job, o, t + r));
            if (job->lse_out) job->lse_out[o->lse + t + r] = (float)sum;
        }
        product(job, rows, D, T, p, T, 0, values, y + t * C, C, 0);
    }
}

/* --- backward ------------------------------------------------------------------------------------------- */
/* s: scores of a query to dropped probabilities; dp: their gradients to scale * dS = p (dp keep - dot) scale. */
static void gradient_row(float *s, float *dp, int64_t T, float scale, float lse, float dot, const float *keep)
{
    if (keep) {
#pragma omp simd
        for (int64_t c = 0; c < T; c++) {
            float p = math_exp(s[c] * scale - lse);
            dp[c] = p * (dp[c] * keep[c] - dot) * scale;
            s[c] = p * keep[c];
        }
    } else {
#pragma omp simd
        for (int64_t c = 0; c < T; c++) {
            float p = math_exp(s[c] * scale - lse);
            dp[c] = p * (dp[c] - dot) * scale;
            s[c] = p;
        }
    }
}

/* dy . y of a query, which equals sum_s P dP (Dao et al. 2022, appendix B.2): no row of P is needed for it. */
static float row_dot(const float *a, const float *b, int64_t D)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < D; d++) sum += a[d] * b[d];
    return sum;
}

/* Scores and their gradients of queries t .. t + rows - 1, into scratch. */
static void block_gradients(const attention_job *job, const head *o, int64_t t, int64_t rows)
{
    int64_t T = o->T, C = job->s.C, D = job->s.D, own = (o->row + t) * C + o->channel;
    float *p = o->work + o->z.scores, *ds = o->work + o->z.gradients;
    const float *y = job->y + own, *dy = job->dy + own, *lse = job->lse + o->lse + t;
    product(job, rows, T, D, o->q + t * 3 * C, 3 * C, 0, o->work + o->z.keys_turned, p, T, 0);
    product(job, rows, T, D, dy, C, 0, o->work + o->z.values_turned, ds, T, 0);
    for (int64_t r = 0; r < rows; r++) {
        float dot = row_dot(dy + r * C, y + r * C, D);
        gradient_row(p + r * T, ds + r * T, T, (float)job->s.scale, lse[r], dot, keep_row(job, o, t + r));
    }
}

static void head_backward(const attention_job *job, const head *o)
{
    const hone_cpu_gemm *g = job->gemm;
    int64_t T = o->T, C = job->s.C, D = job->s.D, ld = 3 * C;
    float *w = o->work, *p = w + o->z.scores, *ds = w + o->z.gradients;
    float *dq = job->out + o->row * ld + o->channel, *dk = dq + C, *dv = dk + C;
    int64_t wide = panel_count(job, T), narrow = panel_count(job, D);
    g->pack_turned(0, wide, T, D, o->k, ld, w + o->z.keys_turned);
    g->pack_turned(0, wide, T, D, o->v, ld, w + o->z.values_turned);
    g->pack(0, narrow, D, T, o->k, ld, w + o->z.keys);
    for (int64_t t = 0; t < T; t += QUERIES) {
        int64_t rows = T - t < QUERIES ? T - t : QUERIES;
        const float *dy = job->dy + (o->row + t) * C + o->channel;
        block_gradients(job, o, t, rows);
        g->pack(0, narrow, D, rows, o->q + t * ld, ld, w + o->z.block_a);
        g->pack(0, narrow, D, rows, dy, C, w + o->z.block_b);
        product(job, rows, D, T, ds, T, 0, w + o->z.keys, dq + t * ld, ld, 0);
        product(job, T, D, rows, ds, T, 1, w + o->z.block_a, dk, ld, t > 0);
        product(job, T, D, rows, p, T, 1, w + o->z.block_b, dv, ld, t > 0);
    }
}

/* --- heads over threads ----------------------------------------------------------------------------------- */
SIMD_INLINE int64_t text_begin(const attention_job *job, int64_t n)
{
    return job->offset ? job->offset[n] : n * job->s.T;
}

/* Counters as kernels/ref/attention.c has them. The layout of scratch follows the text's own length: small texts stay
 * in the first caches, whatever the capacity. */
SIMD_INLINE head head_of(const attention_job *job, int64_t n, int64_t h)
{
    const attention_shape *s = &job->s;
    attention_shape own = *s;
    head o = {.row = text_begin(job, n), .channel = h * s->D, .T = s->T, .lse = (n * s->heads + h) * s->T};
    o.keep = o.lse * s->T;
    o.stride = s->T;
    if (job->offset) {
        own.T = o.T = job->offset[n + 1] - o.row;
        o.lse = h * s->T + o.row;
        o.keep = (o.row * s->heads + h) << HONE_KEEP_KEYS;
        o.stride = s->heads << HONE_KEEP_KEYS;
    }
    o.z = hone_cpu_attention_scratch(&own, job->gemm->cols);
    o.q = job->qkv + o.row * 3 * s->C + o.channel;
    o.k = o.q + s->C;
    o.v = o.k + s->C;
    return o;
}

/* An item is a head of a text. Texts differ, so what is cut evenly is the sum of their squared lengths: the item goes to
 * the part in which it begins. */
SIMD_INLINE void heads_of(const attention_job *job, int part, void (*work)(const attention_job *, const head *))
{
    int64_t heads = job->s.heads, before = 0, all = job->squares * heads + 1;
    for (int64_t n = 0; n < job->texts; n++) {
        int64_t length = text_begin(job, n + 1) - text_begin(job, n);
        for (int64_t h = 0; h < heads; h++, before += length * length) {
            if (length == 0 || before * job->parts / all != part) continue;
            head o = head_of(job, n, h);
            o.work = (float *)job->l->work + part * job->part_floats;
            work(job, &o);
        }
    }
}

static void forward_part(const void *arg, int part) { heads_of(arg, part, head_forward); }
static void backward_part(const void *arg, int part) { heads_of(arg, part, head_backward); }

/* `step` is absent without dropout. */
static attention_job describe(hone_backend *b, const hone_launch *l, const int32_t *offset, int64_t texts,
                              const hone_step *step)
{
    attention_job job = {.l = l, .gemm = &SIMD(hone_cpu_gemm), .offset = offset, .qkv = l->in[0], .out = l->out[0]};
    float p = l->node->attr.attention.p;
    job.s = hone_cpu_attention_shape(&l->node->attr, l->in_desc[0]);
    job.texts = offset ? texts : job.s.B;
    for (int64_t n = 0; n < job.texts; n++) {
        int64_t length = text_begin(&job, n + 1) - text_begin(&job, n);
        job.squares += length * length;
    }
    job.part_floats = hone_cpu_attention_scratch(&job.s, job.gemm->cols).part_floats;
    job.parts = hone_cpu_team(b, job.s.heads * job.squares);
    job.drops = step && p > 0;
    if (!job.drops) return job;
    job.rule = keep_for(step->seed, l->node->attr.attention.stream, hone_step_draw(step), p);
    job.keep_scale = p < 1 ? (float)(1 / (1 - (double)p)) : 0;
    return job;
}

void SIMD(cpu_attention)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, NULL, 0, l->in[1]);
    job.lse_out = l->out[1];
    hone_cpu_each_part(b, job.parts, forward_part, &job);
}

/* y, lse, dy stand where both ops have them. */
static void backward(hone_backend *b, attention_job *job)
{
    job->y = job->l->in[1];
    job->lse = job->l->in[2];
    job->dy = job->l->in[3];
    hone_cpu_each_part(b, job->parts, backward_part, job);
}

void SIMD(cpu_attention_dx)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, NULL, 0, l->in[4]);
    backward(b, &job);
}

/* Zero behind the live rows, (T, width). */
static void clear_dead(const attention_job *job, float *x, int64_t width)
{
    int64_t live = job->offset[job->texts];
    memset(x + live * width, 0, (size_t)((job->s.T - live) * width) * sizeof *x);
}

void SIMD(cpu_ragged_attention)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, l->in[1], l->in_desc[1]->dim[0] - 1, l->in[2]);
    job.lse_out = l->out[1];
    hone_cpu_each_part(b, job.parts, forward_part, &job);
    clear_dead(&job, job.out, job.s.C);
    for (int64_t h = 0; job.lse_out && h < job.s.heads; h++) clear_dead(&job, job.lse_out + h * job.s.T, 1);
}

void SIMD(cpu_ragged_attention_dx)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, l->in[4], l->in_desc[4]->dim[0] - 1, l->in[5]);
    backward(b, &job);
    clear_dead(&job, job.out, 3 * job.s.C);
}
