/* attention.c - multi-head softmax attention over dense tokens and over the rows of texts, with dropout.
 *
 * Dense: qkv (B, T, 3C) = [q|k|v], y, dy (B, T, C), lse (B, heads, T). Ragged: qkv (T, 3C), y, dy (T, C), lse (heads, T),
 * T a capacity, and offset i32 (P): each text attends to itself alone. Head h owns channels [hD, (h+1)D) of each part,
 * D = C/heads. With S = q k^T / sqrt(D) and P = softmax(S):  y = drop(P) v (Vaswani et al., 2017).
 * lse, the log of each row's sum, lets the backward row make P again without storing it. */
#include "hone/philox.h"
#include "ref.h"

/* One head of one sample or text; rows of q, k, v lie 3C apart, those of y and dy C. */
typedef struct head {
    int64_t T, C, D;       /* tokens of the sample or text, channels, channels of a head */
    int64_t row, channel;  /* of the first token in (.., C); h D */
    int64_t lse;           /* of the first token in lse */
    uint64_t keep, stride; /* dropout's counters: of query 0 and key 0, from query to query */
} head;

/* What all heads share. */
typedef struct job {
    const hone_launch *l;
    const real *qkv;
    const int32_t *offset; /* (P), NULL: dense */
    const hone_step *step; /* NULL without dropout */
    int64_t B, T, C, heads;
} job;

static job job_of(const hone_launch *l, const int32_t *offset, int64_t texts, const hone_step *step)
{
    const hone_tensor *qkv = l->in_desc[0];
    job j = {.l = l, .qkv = l->in[0], .offset = offset, .step = step, .heads = attrs(l)->attention.heads};
    j.B = offset ? texts : qkv->dim[0];
    j.T = qkv->dim[offset ? 0 : 1];
    j.C = last_dim(qkv) / 3;
    return j;
}

/* Counters of a text's probabilities leave room for 2^20 keys: they depend on nothing but the place in the batch. */
static head head_of(const job *j, int64_t n, int64_t h)
{
    int64_t D = j->C / j->heads, first = j->offset ? j->offset[n] : n * j->T;
    head o = {.T = j->T, .C = j->C, .D = D, .row = first, .channel = h * D};
    o.lse = (n * j->heads + h) * j->T;
    o.keep = (uint64_t)(o.lse * j->T);
    o.stride = (uint64_t)j->T;
    if (!j->offset) return o;
    o.T = j->offset[n + 1] - first;
    o.lse = h * j->T + first;
    o.keep = (uint64_t)(first * j->heads + h) << HONE_KEEP_KEYS;
    o.stride = (uint64_t)j->heads << HONE_KEEP_KEYS;
    return o;
}

/* Part 0 = q, 1 = k, 2 = v of a token: (D). */
static int64_t part(const head *o, int64_t t, int which) { return (o->row + t) * 3 * o->C + which * o->C + o->channel; }
static int64_t own(const head *o, int64_t t) { return (o->row + t) * o->C + o->channel; }

static double dot(const real *a, const real *b, int64_t D)
{
    double sum = 0;
    for (int64_t d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

/* S[t,s] = q_t . k_s / sqrt(D). */
static double score(const job *j, const head *o, int64_t t, int64_t s)
{
    return dot(j->qkv + part(o, t, 0), j->qkv + part(o, s, 1), o->D) / sqrt((double)o->D);
}

/* 0, or the scale of what dropout kept, of probability (t, s); 1 without dropout. */
static double mask(const job *j, const head *o, int64_t t, int64_t s)
{
    const hone_attrs *a = attrs(j->l);
    float p = a->attention.p;
    if (!j->step || !(p > 0)) return 1;
    uint64_t index = o->keep + (uint64_t)t * o->stride + (uint64_t)s;
    int keep = hone_dropout_keep(j->step->seed, a->attention.stream, hone_step_draw(j->step), index, p);
    return keep && p < 1 ? 1 / (1 - (double)p) : 0;
}

/* log sum_s exp S[t,s], shifted by the maximum. */
static double row_log_sum(const job *j, const head *o, int64_t t)
{
    double top = score(j, o, t, 0), sum = 0;
    for (int64_t s = 1; s < o->T; s++) top = fmax(top, score(j, o, t, s));
    for (int64_t s = 0; s < o->T; s++) sum += exp(score(j, o, t, s) - top);
    return top + log(sum);
}

/* One row of probabilities at a time: y_t = sum_s drop(P)[t,s] v_s. */
static void head_forward(const job *j, const head *o)
{
    real *y = j->l->out[0];       /* (.., C) */
    real *lse_out = j->l->out[1]; /* see above, or NULL */
    double *p = j->l->work;       /* (T): the row of probabilities at hand */
    for (int64_t t = 0; t < o->T; t++) {
        double lse = row_log_sum(j, o, t);
        for (int64_t s = 0; s < o->T; s++) p[s] = exp(score(j, o, t, s) - lse) * mask(j, o, t, s);
        for (int64_t d = 0; d < o->D; d++) {
            double sum = 0;
            for (int64_t s = 0; s < o->T; s++) sum += p[s] * (double)j->qkv[part(o, s, 2) + d];
            y[own(o, t) + d] = (real)sum;
        }
        if (lse_out) lse_out[o->lse + t] = (real)lse;
    }
}

/* dP = mask (dy v^T), dS = P (dP - sum_s P dP), and sum_s P dP = dy . y of the row; then dq = dS k / sqrt(D),
 * dk = dS^T q / sqrt(D), dv = drop(P)^T dy, added up in double. */
static void head_backward(const job *j, const head *o)
{
    const real *y = j->l->in[1], *lse = j->l->in[2], *dy = j->l->in[3]; /* (.., C), as above, (.., C) */
    real *dqkv = j->l->out[0];                                          /* (.., 3C) */
    double *sum = j->l->work, scale = 1 / sqrt((double)o->D);           /* (T, 3, D) */
    memset(sum, 0, (size_t)(o->T * 3 * o->D) * sizeof *sum);
    for (int64_t t = 0; t < o->T; t++) {
        double all = dot(dy + own(o, t), y + own(o, t), o->D);
        for (int64_t s = 0; s < o->T; s++) {
            double p = exp(score(j, o, t, s) - (double)lse[o->lse + t]), keep = mask(j, o, t, s);
            double ds = p * (dot(dy + own(o, t), j->qkv + part(o, s, 2), o->D) * keep - all) * scale;
            for (int64_t d = 0; d < o->D; d++) {
                sum[t * 3 * o->D + d] += ds * (double)j->qkv[part(o, s, 1) + d];
                sum[(s * 3 + 1) * o->D + d] += ds * (double)j->qkv[part(o, t, 0) + d];
                sum[(s * 3 + 2) * o->D + d] += p * keep * (double)dy[own(o, t) + d];
            }
        }
    }
    for (int64_t i = 0; i < o->T * 3 * o->D; i++)
        dqkv[part(o, i / o->D / 3, (int)(i / o->D % 3)) + i % o->D] = (real)sum[i];
}

static void each_head(const job *j, void (*work)(const job *, const head *))
{
    for (int64_t n = 0; n < j->B; n++)
        for (int64_t h = 0; h < j->heads; h++) {
            head o = head_of(j, n, h);
            work(j, &o);
        }
}

void REF(attention)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    job j = job_of(l, NULL, 0, l->in[1]);
    each_head(&j, head_forward);
}

void REF(attention_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    job j = job_of(l, NULL, 0, l->in[4]);
    each_head(&j, head_backward);
}

/* Zero behind the live rows, (T, width). */
static void clear_dead(const job *j, real *x, int64_t width)
{
    int64_t live = j->offset[j->B];
    memset(x + live * width, 0, (size_t)((j->T - live) * width) * sizeof *x);
}

void REF(ragged_attention)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    job j = job_of(l, l->in[1], l->in_desc[1]->dim[0] - 1, l->in[2]);
    real *lse = l->out[1]; /* (heads, T) or NULL */
    each_head(&j, head_forward);
    clear_dead(&j, l->out[0], j.C);
    for (int64_t h = 0; lse && h < j.heads; h++) clear_dead(&j, lse + h * j.T, 1);
}

void REF(ragged_attention_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    job j = job_of(l, l->in[4], l->in_desc[4]->dim[0] - 1, l->in[5]);
    each_head(&j, head_backward);
    clear_dead(&j, l->out[0], 3 * j.C);
}

/* A text may be as long as the capacity. */
static int64_t longest(const hone_graph *g, const hone_node *n)
{
    const hone_tensor *qkv = &g->tensor[n->in[0]];
    return qkv->dim[qkv->rank - 2];
}

hone_status REF(attention_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)longest(g, n) * sizeof(double);
    return HONE_OK;
}

hone_status REF(attention_dx_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    int64_t three_d = last_dim(&g->tensor[n->in[0]]) / n->attr.attention.heads;
    n->work_bytes = (size_t)(longest(g, n) * three_d) * sizeof(double);
    return HONE_OK;
}
