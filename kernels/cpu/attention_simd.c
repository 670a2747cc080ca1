/* attention_simd.c - multi-head softmax attention over dense tokens and its gradient, by packed products.
 *
 * Definitions of kernels/ref/attention.c; dropout's mask is ref's to the bit. A thread takes whole heads:
 * for a block of queries the scores, their softmax and the product with the values never leave the cache.
 * The gradient makes the probabilities again from `lse` and adds up dk and dv block by block, in order. */
#include <math.h>

#include "cpu/attention.h"
#include "cpu/philox_simd.h"
#include "cpu/math_simd.h"

/* What all heads share. `drops` is 0 at p = 0, so that evaluation draws no random numbers. */
typedef struct attention_job {
    const hone_launch *l;
    attention_shape s;
    attention_scratch z;
    const hone_cpu_gemm *gemm;
    int parts, drops;
    keep_rule rule;
    float keep_scale;
} attention_job;

/* One head of one sample and the scratch of the thread that has it. */
typedef struct head {
    int64_t n, h;
    const float *q, *k, *v; /* (T, D), row stride 3C */
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
    float *factor = o->work + job->z.keep;
    if (!job->drops) return NULL;
    int64_t T = job->s.T, first = ((o->n * job->s.heads + o->h) * T + t) * T, from = first / 4 * 4;
    for (int64_t i = from; i < first + T; i += KEEP_BLOCK) {
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

/* y (B, T, C) gets columns h D .. h D + D - 1; lse (B, heads, T) only where the gradient will need it. */
static void head_forward(const attention_job *job, const head *o)
{
    const attention_shape *s = &job->s;
    const hone_cpu_gemm *g = job->gemm;
    float *keys = o->work + job->z.keys_turned, *values = o->work + job->z.values, *p = o->work + job->z.scores;
    float *y = (float *)job->l->out[0] + o->n * s->T * s->C + o->h * s->D;
    float *lse = job->l->out[1] ? (float *)job->l->out[1] + (o->n * s->heads + o->h) * s->T : NULL;
    g->pack_turned(0, panel_count(job, s->T), s->T, s->D, o->k, 3 * s->C, keys);
    g->pack(0, panel_count(job, s->D), s->D, s->T, o->v, 3 * s->C, values);
    for (int64_t t = 0; t < s->T; t += QUERIES) {
        int64_t rows = s->T - t < QUERIES ? s->T - t : QUERIES;
        product(job, rows, s->T, s->D, o->q + t * 3 * s->C, 3 * s->C, 0, keys, p, s->T, 0);
        for (int64_t r = 0; r < rows; r++) {
            double sum = softmax_row(p + r * s->T, s->T, (float)s->scale, keep_row(job, o, t + r));
            if (lse) lse[t + r] = (float)sum;
        }
        product(job, rows, s->D, s->T, p, s->T, 0, values, y + t * s->C, s->C, 0);
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
    const attention_shape *s = &job->s;
    float *p = o->work + job->z.scores, *ds = o->work + job->z.gradients;
    int64_t own = (o->n * s->T + t) * s->C + o->h * s->D;
    const float *y = (const float *)job->l->in[1] + own, *dy = (const float *)job->l->in[3] + own;
    const float *lse = (const float *)job->l->in[2] + (o->n * s->heads + o->h) * s->T + t;
    product(job, rows, s->T, s->D, o->q + t * 3 * s->C, 3 * s->C, 0, o->work + job->z.keys_turned, p, s->T, 0);
    product(job, rows, s->T, s->D, dy, s->C, 0, o->work + job->z.values_turned, ds, s->T, 0);
    for (int64_t r = 0; r < rows; r++) {
        float dot = row_dot(dy + r * s->C, y + r * s->C, s->D);
        gradient_row(p + r * s->T, ds + r * s->T, s->T, (float)s->scale, lse[r], dot, keep_row(job, o, t + r));
    }
}

static void head_backward(const attention_job *job, const head *o)
{
    const attention_shape *s = &job->s;
    const hone_cpu_gemm *g = job->gemm;
    float *w = o->work, *p = w + job->z.scores, *ds = w + job->z.gradients;
    float *dq = (float *)job->l->out[0] + o->n * s->T * 3 * s->C + o->h * s->D, *dk = dq + s->C, *dv = dk + s->C;
    int64_t wide = panel_count(job, s->T), narrow = panel_count(job, s->D), ld = 3 * s->C;
    g->pack_turned(0, wide, s->T, s->D, o->k, ld, w + job->z.keys_turned);
    g->pack_turned(0, wide, s->T, s->D, o->v, ld, w + job->z.values_turned);
    g->pack(0, narrow, s->D, s->T, o->k, ld, w + job->z.keys);
    for (int64_t t = 0; t < s->T; t += QUERIES) {
        int64_t rows = s->T - t < QUERIES ? s->T - t : QUERIES;
        const float *dy = (const float *)job->l->in[3] + (o->n * s->T + t) * s->C + o->h * s->D;
        block_gradients(job, o, t, rows);
        g->pack(0, narrow, s->D, rows, o->q + t * ld, ld, w + job->z.block_a);
        g->pack(0, narrow, s->D, rows, dy, s->C, w + job->z.block_b);
        product(job, rows, s->D, s->T, ds, s->T, 0, w + job->z.keys, dq + t * ld, ld, 0);
        product(job, s->T, s->D, rows, ds, s->T, 1, w + job->z.block_a, dk, ld, t > 0);
        product(job, s->T, s->D, rows, p, s->T, 1, w + job->z.block_b, dv, ld, t > 0);
    }
}

/* --- heads over threads ----------------------------------------------------------------------------------- */
SIMD_INLINE void heads_of(const attention_job *job, int part, void (*work)(const attention_job *, const head *))
{
    const attention_shape *s = &job->s;
    int64_t begin, end;
    hone_cpu_cut(s->B * s->heads, 1, part, job->parts, &begin, &end);
    for (int64_t item = begin; item < end; item++) {
        head o = {.n = item / s->heads, .h = item % s->heads};
        o.q = (const float *)job->l->in[0] + o.n * s->T * 3 * s->C + o.h * s->D;
        o.k = o.q + s->C;
        o.v = o.k + s->C;
        o.work = (float *)job->l->work + part * job->z.part_floats;
        work(job, &o);
    }
}

static void forward_part(const void *arg, int part) { heads_of(arg, part, head_forward); }
static void backward_part(const void *arg, int part) { heads_of(arg, part, head_backward); }

/* `step` is absent without dropout. */
static attention_job describe(hone_backend *b, const hone_launch *l, const hone_step *step)
{
    attention_job job = {.l = l, .gemm = &SIMD(hone_cpu_gemm)};
    float p = l->node->attr.attention.p;
    job.s = hone_cpu_attention_shape(&l->node->attr, l->in_desc[0]);
    job.z = hone_cpu_attention_scratch(&job.s, job.gemm->cols);
    job.parts = hone_cpu_team(b, job.s.B * job.s.heads * job.s.T * job.s.T);
    job.drops = step && p > 0;
    if (!job.drops) return job;
    job.rule = keep_for(step->seed, l->node->attr.attention.stream, hone_step_draw(step), p);
    job.keep_scale = p < 1 ? (float)(1 / (1 - (double)p)) : 0;
    return job;
}

void SIMD(cpu_attention)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, l->in[1]);
    hone_cpu_each_part(b, job.parts, forward_part, &job);
}

void SIMD(cpu_attention_dx)(hone_backend *b, const hone_launch *l)
{
    attention_job job = describe(b, l, l->in[4]);
    hone_cpu_each_part(b, job.parts, backward_part, &job);
}
