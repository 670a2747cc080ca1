/* batchnorm.c - batch normalisation over all axes but the last, its inference form, and the rows that
 * add a residual and a ReLU to it.
 *
 * x, y, r, dx, dy, dr (R, C); gamma, beta, mean, rstd, running_* (C). Ioffe & Szegedy, 2015, as PyTorch
 * does it: y uses the biased variance, running_var the unbiased one. A channel whose statistics are
 * not finite leaves its running values alone: one bad batch must not poison evaluation for good. */
#include "ref.h"

typedef enum tail { PLAIN, RELU, ADD_RELU } tail; /* what follows the normalisation in a fused row */

/* The same rounding as the plain rows in sequence would make: y is stored before the ReLU reads it. */
static real finish(tail t, double y, const real *r, int64_t i)
{
    real stored = (real)y;
    if (t == PLAIN) return stored;
    if (t == ADD_RELU) stored = (real)((double)stored + (double)r[i]);
    return stored < 0 ? 0 : stored;
}

/* Mean and biased variance of channel c; two passes, because E[x^2] - E[x]^2 cancels. */
static void channel_statistics(const real *x, int64_t R, int64_t C, int64_t c, double *mean, double *var)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < R; i++) sum += (double)x[i * C + c];
    *mean = sum / (double)R;
    for (int64_t i = 0; i < R; i++) {
        double d = (double)x[i * C + c] - *mean;
        squares += d * d;
    }
    *var = squares / (double)R;
}

/* running = (1 - momentum) running + momentum batch; the variance unbiased, R/(R-1), where R > 1. */
static void update_running(const hone_launch *l, int64_t R, int64_t c, double mean, double var)
{
    real *running_mean = l->in[3], *running_var = l->in[4]; /* (C), written in place */
    double m = (double)attrs(l)->norm.momentum;
    if (!isfinite(mean) || !isfinite(var)) return;
    double unbiased = R > 1 ? var * (double)R / (double)(R - 1) : var;
    if (running_mean) running_mean[c] = (real)((1 - m) * (double)running_mean[c] + m * mean);
    if (running_var) running_var[c] = (real)((1 - m) * (double)running_var[c] + m * unbiased);
}

/* y = (x - mean) rstd gamma + beta with the statistics of this batch, which it also saves. */
static void forward(const hone_launch *l, tail t, const real *r)
{
    const real *x = l->in[0];     /* (R, C) */
    const real *gamma = l->in[1]; /* (C) */
    const real *beta = l->in[2];  /* (C) */
    real *y = l->out[0];          /* (R, C) */
    real *mean_out = l->out[1];   /* (C) or NULL */
    real *rstd_out = l->out[2];   /* (C) or NULL */
    int64_t R = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t c = 0; c < C; c++) {
        double mean, var;
        channel_statistics(x, R, C, c, &mean, &var);
        double rstd = 1 / sqrt(var + (double)attrs(l)->norm.eps);
        if (mean_out) mean_out[c] = (real)mean;
        if (rstd_out) rstd_out[c] = (real)rstd;
        for (int64_t i = c; i < R * C; i += C)
            y[i] = finish(t, ((double)x[i] - mean) * rstd * (double)gamma[c] + (double)beta[c], r, i);
        update_running(l, R, c, mean, var);
    }
}

/* With xhat = (x - mean) rstd:  dbeta = sum dy, dgamma = sum dy xhat,
 * dx = gamma rstd (dy - dbeta/R - xhat dgamma/R).  `y` (R, C) gates dy where a ReLU follows. */
static void backward(const hone_launch *l, const real *y, const real *dy, real *dr)
{
    const real *x = l->in[0];     /* (R, C) */
    const real *gamma = l->in[1]; /* (C) */
    const real *mean = l->in[2];  /* (C) */
    const real *rstd = l->in[3];  /* (C) */
    real *dx = l->out[0];         /* (R, C) or NULL */
    real *dgamma = l->out[1];     /* (C) or NULL */
    real *dbeta = l->out[2];      /* (C) or NULL */
    int64_t R = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0, sum_xhat = 0, m = (double)mean[c], s = (double)rstd[c];
        for (int64_t i = c; i < R * C; i += C) {
            double g = !y || y[i] > 0 ? (double)dy[i] : 0;
            sum += g;
            sum_xhat += g * ((double)x[i] - m) * s;
        }
        if (dgamma) put_param_grad(l, &dgamma[c], sum_xhat);
        if (dbeta) put_param_grad(l, &dbeta[c], sum);
        for (int64_t i = c; i < R * C; i += C) {
            double g = !y || y[i] > 0 ? (double)dy[i] : 0, xhat = ((double)x[i] - m) * s;
            if (dr) dr[i] = (real)g;
            if (dx) dx[i] = (real)((double)gamma[c] * s * (g - sum / (double)R - xhat * sum_xhat / (double)R));
        }
    }
}

/* y = (x - running_mean) / sqrt(running_var + eps) gamma + beta: no statistics of the batch. */
static void infer(const hone_launch *l, tail t, const real *r)
{
    const real *x = l->in[0];     /* (R, C) */
    const real *gamma = l->in[1]; /* (C) */
    const real *beta = l->in[2];  /* (C) */
    const real *mean = l->in[3];  /* (C) */
    const real *var = l->in[4];   /* (C) */
    real *y = l->out[0];          /* (R, C) */
    int64_t count = hone_tensor_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % C;
        double rstd = 1 / sqrt((double)var[c] + (double)attrs(l)->norm.eps);
        y[i] = finish(t, ((double)x[i] - (double)mean[c]) * rstd * (double)gamma[c] + (double)beta[c], r, i);
    }
}

/* y, mean, rstd of the batch. */
void REF(batchnorm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, PLAIN, NULL);
}

/* relu(batchnorm(x)). */
void REF(batchnorm_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, RELU, NULL);
}

/* relu(batchnorm(x) + r). */
void REF(batchnorm_add_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, ADD_RELU, l->in[5]);
}

/* dx, dgamma, dbeta from dy. */
void REF(batchnorm_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, NULL, l->in[4], NULL);
}

/* As batchnorm_dx, with dy gated by y > 0. */
void REF(batchnorm_relu_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, l->in[4], l->in[5], NULL);
}

/* As batchnorm_relu_dx; dr, the gradient of the residual, is the gated dy. */
void REF(batchnorm_add_relu_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, l->in[4], l->in[5], l->out[3]);
}

/* Evaluation: the running statistics. */
void REF(batchnorm_infer)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    infer(l, PLAIN, NULL);
}

/* relu of the above. */
void REF(batchnorm_infer_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    infer(l, RELU, NULL);
}

/* relu of the above plus r. */
void REF(batchnorm_infer_add_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    infer(l, ADD_RELU, l->in[5]);
}
