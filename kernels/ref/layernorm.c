/* layernorm.c - normalisation of each row over its last axis (Ba, Kiros & Hinton, 2016), and its rows with a
 * residual join.
 *
 * x, y, dx, dy, r (R, C); gamma, beta (C); mean, rstd (R), kept for the gradient. Biased variance. */
#include "ref.h"

/* y = (x - mean) rstd gamma + beta with the statistics of each row. x (R, C) may be y; gamma, beta (C). */
static void forward(const hone_launch *l, const real *x, const real *gamma, const real *beta)
{
    real *y = l->out[0];        /* (R, C) */
    real *mean_out = l->out[1]; /* (R) or NULL */
    real *rstd_out = l->out[2]; /* (R) or NULL */
    int64_t R = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t r = 0; r < R; r++) {
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < C; c++) sum += (double)x[r * C + c];
        double mean = sum / (double)C;
        for (int64_t c = 0; c < C; c++) squares += ((double)x[r * C + c] - mean) * ((double)x[r * C + c] - mean);
        double rstd = 1 / sqrt(squares / (double)C + (double)attrs(l)->norm.eps);
        for (int64_t c = 0; c < C; c++)
            y[r * C + c] = (real)(((double)x[r * C + c] - mean) * rstd * (double)gamma[c] + (double)beta[c]);
        if (mean_out) mean_out[r] = (real)mean;
        if (rstd_out) rstd_out[r] = (real)rstd;
    }
}

void REF(layernorm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, l->in[0], l->in[1], l->in[2]);
}

/* layernorm(a + b); the sum is stored, and rounded, before it is normalised. */
void REF(add_layernorm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *left = l->in[0], *right = l->in[1]; /* (R, C) */
    real *y = l->out[0];                            /* (R, C) */
    real *sum = l->out[3];                          /* (R, C) or NULL */
    int64_t count = hone_tensor_count(l->in_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        y[i] = (real)((double)left[i] + (double)right[i]);
        if (sum) sum[i] = y[i];
    }
    forward(l, y, l->in[2], l->in[3]);
}

/* With xhat = (x - mean) rstd and g = dy gamma:  dx = rstd (g - avg(g) - xhat avg(g xhat)) [+ skip, rounded apart].
 * x, dy, dx, gamma (C); skip (C) or NULL, may be dx. */
static void row_dx(const real *x, const real *gamma, const real *dy, const real *skip, double mean, double rstd,
                   int64_t C, real *dx)
{
    double sum = 0, sum_xhat = 0;
    for (int64_t c = 0; c < C; c++) {
        double g = (double)dy[c] * (double)gamma[c];
        sum += g;
        sum_xhat += g * ((double)x[c] - mean) * rstd;
    }
    for (int64_t c = 0; c < C; c++) {
        double g = (double)dy[c] * (double)gamma[c], xhat = ((double)x[c] - mean) * rstd;
        real own = (real)(rstd * (g - sum / (double)C - xhat * sum_xhat / (double)C));
        dx[c] = skip ? (real)((double)own + (double)skip[c]) : own;
    }
}

/* dgamma, dbeta: sums over the rows; then each row on its own. skip (R, C) or NULL. */
static void backward(const hone_launch *l, const real *skip)
{
    const real *x = l->in[0];     /* (R, C) */
    const real *gamma = l->in[1]; /* (C) */
    const real *mean = l->in[2];  /* (R) */
    const real *rstd = l->in[3];  /* (R) */
    const real *dy = l->in[4];    /* (R, C) */
    real *dx = l->out[0];         /* (R, C) or NULL */
    real *dgamma = l->out[1];     /* (C) or NULL */
    real *dbeta = l->out[2];      /* (C) or NULL */
    int64_t R = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0, sum_xhat = 0;
        for (int64_t r = 0; r < R; r++) {
            sum += (double)dy[r * C + c];
            sum_xhat += (double)dy[r * C + c] * ((double)x[r * C + c] - (double)mean[r]) * (double)rstd[r];
        }
        if (dgamma) put_param_grad(l, &dgamma[c], sum_xhat);
        if (dbeta) put_param_grad(l, &dbeta[c], sum);
    }
    for (int64_t r = 0; dx && r < R; r++)
        row_dx(x + r * C, gamma, dy + r * C, skip ? skip + r * C : NULL, (double)mean[r], (double)rstd[r], C,
               dx + r * C);
}

void REF(layernorm_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, NULL);
}

/* The gradient that went round the branch is added to dx. */
void REF(layernorm_add_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, l->in[5]);
}
