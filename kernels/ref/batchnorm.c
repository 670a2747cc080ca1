/* batchnorm.c - batch normalisation over all axes but the last, its inference form, and the rows that
 * add a residual and a ReLU to it.
 *
 * x, y, r, dx, dy, dr (R, C); gamma, beta, mean, rstd, running_* (C). Ioffe & Szegedy, 2015, as PyTorch
 * does it: y uses the biased variance, running_var the unbiased one. A channel whose statistics are
 * not finite leaves its running values alone: one bad batch must not poison evaluation for good. */
#include "ref.h"

typedef enum tail { PLAIN, RELU, RELU6, ADD_RELU } tail; /* what follows the normalisation in a fused row */

/* The same rounding as the plain rows in sequence would make: y is stored before the ReLU reads it. */
static real finish(tail t, double y, const real *r, int64_t i)
{
    real stored = (real)y;
    if (t == PLAIN) return stored;
    if (t == ADD_RELU) stored = (real)((double)stored + (double)r[i]);
    return stored < 0 ? 0 : t == RELU6 && stored > 6 ? 6 : stored;
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

/* Bit c % 8 of byte c / 8 of a row of C channels: is element i open? */
static int is_open(const uint8_t *open, int64_t i, int64_t C)
{
    return open[i / C * ((C + 7) / 8) + i % C / 8] >> (i % C % 8) & 1;
}

/* y (R, C), open (R, G): which elements are above 0. */
static void put_bits(const real *y, uint8_t *open, int64_t R, int64_t C)
{
    memset(open, 0, (size_t)(R * ((C + 7) / 8)));
    for (int64_t i = 0; i < R * C; i++)
        if (y[i] > 0) open[i / C * ((C + 7) / 8) + i % C / 8] |= (uint8_t)(1u << (i % C % 8));
}

/* What a gradient comes through, in the order of its row's operands. */
typedef struct incoming {
    tail t;
    const real *x, *y;                      /* (R, C); y: the output, ADD_RELU alone, or instead          */
    const uint8_t *open;                    /* (R, G): the bits that batchnorm_add_relu left of it        */
    const real *gamma, *beta, *mean, *rstd; /* (C); beta: RELU and RELU6, whose gate is made from x    */
    const real *dy, *dy2;                   /* (R, C); dy2 or NULL joins dy, rounded as `add` would    */
} incoming;

/* The rows differ in what stands behind rstd: dy alone, or what gates it and then dy. */
static incoming operands(const hone_launch *l, tail t)
{
    incoming in = {.t = t, .x = l->in[0], .gamma = l->in[1], .mean = l->in[2], .rstd = l->in[3]};
    in.beta = t == RELU || t == RELU6 ? l->in[4] : NULL;
    in.y = t == ADD_RELU ? l->in[4] : NULL;
    in.open = t == ADD_RELU ? l->in[7] : NULL;
    in.dy = l->in[t == PLAIN ? 4 : 5];
    in.dy2 = t == RELU || t == ADD_RELU ? l->in[6] : NULL;
    return in;
}

/* The gradient at element i of C channels, in front of the norm: 0 where the activation is flat, whatever dy is. */
static double arriving(const incoming *in, int64_t i, int64_t C)
{
    int64_t c = i % C;
    double g = (double)in->dy[i], at = 1;
    if (in->dy2) g = (double)(real)(g + (double)in->dy2[i]);
    if (in->y) at = (double)in->y[i];
    if (in->open) at = is_open(in->open, i, C);
    if (in->beta)
        at =
            ((double)in->x[i] - (double)in->mean[c]) * (double)in->rstd[c] * (double)in->gamma[c] + (double)in->beta[c];
    return at > 0 && (in->t != RELU6 || at < 6) ? g : 0;
}

/* With xhat = (x - mean) rstd:  dbeta = sum g, dgamma = sum g xhat,
 * dx = gamma rstd (g - dbeta/R - xhat dgamma/R), and g itself is dr. dx may lie over dy. */
static void backward(const hone_launch *l, tail t, real *dr)
{
    const incoming in = operands(l, t);
    real *dx = l->out[0];     /* (R, C) or NULL */
    real *dgamma = l->out[1]; /* (C) or NULL */
    real *dbeta = l->out[2];  /* (C) or NULL */
    int64_t R = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0, sum_xhat = 0, m = (double)in.mean[c], s = (double)in.rstd[c];
        for (int64_t i = c; i < R * C; i += C) {
            double g = arriving(&in, i, C);
            sum += g;
            sum_xhat += g * ((double)in.x[i] - m) * s;
        }
        if (dgamma) put_param_grad(l, &dgamma[c], sum_xhat);
        if (dbeta) put_param_grad(l, &dbeta[c], sum);
        for (int64_t i = c; i < R * C; i += C) {
            double g = arriving(&in, i, C), xhat = ((double)in.x[i] - m) * s;
            if (dr) dr[i] = (real)g;
            if (dx) dx[i] = (real)((double)in.gamma[c] * s * (g - sum / (double)R - xhat * sum_xhat / (double)R));
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

/* relu(batchnorm(x) + r), and which elements of it are above 0 where that is asked for. */
void REF(batchnorm_add_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, ADD_RELU, l->in[5]);
    if (l->out[3]) put_bits(l->out[0], l->out[3], row_count(l->in_desc[0]), last_dim(l->in_desc[0]));
}

/* dx, dgamma, dbeta from dy. */
void REF(batchnorm_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, PLAIN, NULL);
}

/* As batchnorm_dx, with dy gated where the norm is above 0. */
void REF(batchnorm_relu_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, RELU, NULL);
}

/* As batchnorm_relu_dx, but gated by y > 0; dr, the gradient of the residual, is the gated dy. */
void REF(batchnorm_add_relu_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, ADD_RELU, l->out[3]);
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

/* relu6(batchnorm(x)), its gradient, and its inference form. */
void REF(batchnorm_relu6)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, RELU6, NULL);
}

void REF(batchnorm_relu6_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    backward(l, RELU6, NULL);
}

void REF(batchnorm_infer_relu6)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    infer(l, RELU6, NULL);
}
