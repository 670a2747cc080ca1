/* attention.c - multi-head softmax attention over dense tokens, with dropout on the probabilities.
 *
 * qkv (B, T, 3C) = [q|k|v], y, dy (B, T, C), lse (B, heads, T); head h owns channels [hD, (h+1)D) of each
 * part, D = C/heads. With S = q k^T / sqrt(D) and P = softmax(S):  y = drop(P) v (Vaswani et al., 2017).
 * lse, the log of each row's sum, lets the backward row make P again without storing it. */
#include "hone/philox.h"
#include "ref.h"

typedef struct shape {
    int64_t B, T, C, D; /* batch, tokens, channels, channels of a head */
    double scale;       /* 1 / sqrt(D) */
    int64_t heads;
} shape;

/* B, T, C, D and heads from qkv and the attributes. */
static shape shape_of(const hone_launch *l)
{
    const int64_t *d = l->in_desc[0]->dim;
    int64_t heads = attrs(l)->attention.heads, D = d[2] / 3 / heads;
    return (shape){.B = d[0], .T = d[1], .C = d[2] / 3, .D = D, .scale = 1 / sqrt((double)D), .heads = heads};
}

/* Part 0 = q, 1 = k, 2 = v of one token and head: (D). */
static int64_t part(const shape *z, int64_t n, int64_t t, int which, int64_t h)
{
    return (n * z->T + t) * 3 * z->C + which * z->C + h * z->D;
}

/* S[t,s] = q_t . k_s / sqrt(D). */
static double score(const shape *z, const real *qkv, int64_t n, int64_t h, int64_t t, int64_t s)
{
    const real *q = qkv + part(z, n, t, 0, h), *k = qkv + part(z, n, s, 1, h);
    double sum = 0;
    for (int64_t d = 0; d < z->D; d++) sum += (double)q[d] * (double)k[d];
    return sum * z->scale;
}

/* 0, or the scale of what dropout kept, of probability (n, h, t, s); 1 without dropout. */
static double mask(const hone_launch *l, const hone_step *step, const shape *z, int64_t n, int64_t h, int64_t t,
                   int64_t s)
{
    float p = attrs(l)->attention.p;
    if (!step || !(p > 0)) return 1;
    uint64_t index = (uint64_t)(((n * z->heads + h) * z->T + t) * z->T + s);
    int keep = hone_dropout_keep(step->seed, attrs(l)->attention.stream, hone_step_draw(step), index, p);
    return keep && p < 1 ? 1 / (1 - (double)p) : 0;
}

/* log sum_s exp S[t,s], shifted by the maximum. */
static double row_log_sum(const shape *z, const real *qkv, int64_t n, int64_t h, int64_t t)
{
    double top = score(z, qkv, n, h, t, 0), sum = 0;
    for (int64_t s = 1; s < z->T; s++) top = fmax(top, score(z, qkv, n, h, t, s));
    for (int64_t s = 0; s < z->T; s++) sum += exp(score(z, qkv, n, h, t, s) - top);
    return top + log(sum);
}

/* One row of probabilities at a time: y_t = sum_s drop(P)[t,s] v_s. */
void REF(attention)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *qkv = l->in[0];       /* (B, T, 3C) */
    const hone_step *step = l->in[1]; /* the step block, NULL without dropout */
    real *y = l->out[0];              /* (B, T, C) */
    real *lse_out = l->out[1];        /* (B, heads, T) or NULL */
    double *p = l->work;              /* (T): the row of probabilities at hand */
    shape z = shape_of(l);
    for (int64_t row = 0; row < z.B * z.heads * z.T; row++) {
        int64_t t = row % z.T, h = row / z.T % z.heads, n = row / z.T / z.heads;
        double lse = row_log_sum(&z, qkv, n, h, t);
        for (int64_t s = 0; s < z.T; s++) p[s] = exp(score(&z, qkv, n, h, t, s) - lse) * mask(l, step, &z, n, h, t, s);
        for (int64_t d = 0; d < z.D; d++) {
            double sum = 0;
            for (int64_t s = 0; s < z.T; s++) sum += p[s] * (double)qkv[part(&z, n, s, 2, h) + d];
            y[(n * z.T + t) * z.C + h * z.D + d] = (real)sum;
        }
        if (lse_out) lse_out[row] = (real)lse;
    }
}

/* For one head of one sample fills P' = drop(P) and dS (both (T, T)):
 * dP = mask (dy v^T), dS = P (dP - sum_s P dP), and sum_s P dP = dy . y of the row. */
static void head_scores(const hone_launch *l, const shape *z, int64_t n, int64_t h, double *dropped, double *ds)
{
    const real *qkv = l->in[0];       /* (B, T, 3C) */
    const real *y = l->in[1];         /* (B, T, C) */
    const real *lse = l->in[2];       /* (B, heads, T) */
    const real *dy = l->in[3];        /* (B, T, C) */
    const hone_step *step = l->in[4]; /* the step block, NULL without dropout */
    for (int64_t t = 0; t < z->T; t++) {
        int64_t own = (n * z->T + t) * z->C + h * z->D;
        double dot = 0;
        for (int64_t d = 0; d < z->D; d++) dot += (double)dy[own + d] * (double)y[own + d];
        for (int64_t s = 0; s < z->T; s++) {
            double p = exp(score(z, qkv, n, h, t, s) - (double)lse[(n * z->heads + h) * z->T + t]), dp = 0;
            double keep = mask(l, step, z, n, h, t, s);
            for (int64_t d = 0; d < z->D; d++) dp += (double)dy[own + d] * (double)qkv[part(z, n, s, 2, h) + d];
            dropped[t * z->T + s] = p * keep;
            ds[t * z->T + s] = p * (dp * keep - dot);
        }
    }
}

/* dq = dS k / sqrt(D), dk = dS^T q / sqrt(D), dv = drop(P)^T dy of one head. */
static void head_dqkv(const hone_launch *l, const shape *z, int64_t n, int64_t h, const double *dropped,
                      const double *ds)
{
    const real *qkv = l->in[0]; /* (B, T, 3C) */
    const real *dy = l->in[3];  /* (B, T, C) */
    real *dqkv = l->out[0];     /* (B, T, 3C) */
    for (int64_t t = 0; t < z->T; t++)
        for (int64_t d = 0; d < z->D; d++) {
            double dq = 0, dk = 0, dv = 0;
            for (int64_t s = 0; s < z->T; s++) { /* t is the query of dq, and the key of dk and dv */
                dq += ds[t * z->T + s] * (double)qkv[part(z, n, s, 1, h) + d];
                dk += ds[s * z->T + t] * (double)qkv[part(z, n, s, 0, h) + d];
                dv += dropped[s * z->T + t] * (double)dy[(n * z->T + s) * z->C + h * z->D + d];
            }
            dqkv[part(z, n, t, 0, h) + d] = (real)(dq * z->scale);
            dqkv[part(z, n, t, 1, h) + d] = (real)(dk * z->scale);
            dqkv[part(z, n, t, 2, h) + d] = (real)dv;
        }
}

/* Head by head, with both (T, T) matrices in the scratch. */
void REF(attention_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    shape z = shape_of(l);
    double *dropped = l->work, *ds = dropped + z.T * z.T;
    for (int64_t n = 0; n < z.B; n++)
        for (int64_t h = 0; h < z.heads; h++) {
            head_scores(l, &z, n, h, dropped, ds);
            head_dqkv(l, &z, n, h, dropped, ds);
        }
}

static size_t token_count(const hone_graph *g, const hone_node *n) { return (size_t)g->tensor[n->in[0]].dim[1]; }

hone_status REF(attention_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = token_count(g, n) * sizeof(double);
    return HONE_OK;
}

hone_status REF(attention_dx_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = 2 * token_count(g, n) * token_count(g, n) * sizeof(double);
    return HONE_OK;
}
