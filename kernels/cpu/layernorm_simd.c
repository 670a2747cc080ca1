/* layernorm_simd.c - normalisation of each row over its last axis, and its gradients.
 *
 * A row is met three times but read from memory once: it stays in the first cache. The mean comes first,
 * then the squared deviations from it, so nothing cancels. dgamma and dbeta are summed in floats over a
 * block of rows, in doubles above, and over the threads in order. x, y, dy, dx (R, C). */
#include <math.h>
#include <string.h>

#include "cpu/batchnorm.h"
#include "cpu/simd.h"

/* Forward and backward in one struct; what a direction does not use is NULL. */
typedef struct layer_job {
    const float *x, *gamma, *beta, *dy; /* (R, C), (C), (C), (R, C) */
    const float *mean_in, *rstd_in;     /* (R) of the forward pass  */
    const float *r;                     /* (R, C) what joins x (forward) or dx (backward), or NULL */
    float *y, *mean, *rstd, *dx, *sum;  /* (R, C), (R), (R), (R, C), (R, C); mean, rstd, dx, sum may be NULL */
    int64_t R, C;
    double eps;
    void *work;
    int parts, sums; /* sums: dgamma or dbeta is wanted */
} layer_job;

/* Lanes in parallel: the order differs from ref's, and the later correction makes up for it. */
static float row_sum(const float *x, int64_t C)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) sum += x[c];
    return sum;
}

/* Around a mean that is nearly right, so squares are small and nothing cancels. */
static float square_sum(const float *x, int64_t C, float mean)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) sum += (x[c] - mean) * (x[c] - mean);
    return sum;
}

/* What rounding the mean lost: it would be 0 in exact arithmetic. */
static float deviation_sum(const float *x, int64_t C, float mean)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) sum += x[c] - mean;
    return sum;
}

/* x + r of one row into `sum`, and into y, where it is then normalised while it is in cache. */
static void join_row(const float *x, const float *r, int64_t C, float *y, float *sum)
{
#pragma omp simd
    for (int64_t c = 0; c < C; c++) y[c] = x[c] + r[c];
    if (sum) memcpy(sum, y, (size_t)C * sizeof *y);
}

/* mean = near + rest and var = E(d^2) - rest^2 are exact identities, so float sums suffice. */
static void forward_range(const void *arg, int64_t begin, int64_t end)
{
    const layer_job *job = arg;
    const float *gamma = job->gamma, *beta = job->beta;
    int64_t C = job->C;
    for (int64_t r = begin; r < end; r++) {
        const float *x = job->x + r * C;
        float *y = job->y + r * C;
        if (job->r) {
            join_row(x, job->r + r * C, C, y, job->sum ? job->sum + r * C : NULL);
            x = y;
        }
        /* near: the mean up to the rounding of a float sum; rest: what that missed */
        float near = row_sum(x, C) / (float)C;
        double rest = (double)deviation_sum(x, C, near) / (double)C;
        double var = (double)square_sum(x, C, near) / (double)C - rest * rest;
        double inverse = 1 / sqrt((var < 0 ? 0 : var) + job->eps);
        float scale = (float)inverse, shift = (float)(-rest * inverse);
#pragma omp simd
        for (int64_t c = 0; c < C; c++) y[c] = ((x[c] - near) * scale + shift) * gamma[c] + beta[c];
        if (job->mean) job->mean[r] = (float)((double)near + rest);
        if (job->rstd) job->rstd[r] = (float)inverse;
    }
}

/* Rows are shared out whole: no sum crosses a thread. `job` holds the inputs. */
static void forward(hone_backend *b, const hone_launch *l, layer_job job)
{
    job.y = l->out[0];
    job.mean = l->out[1];
    job.rstd = l->out[2];
    job.R = hone_cpu_rows(l->in_desc[0]);
    job.C = hone_cpu_last(l->in_desc[0]);
    job.eps = (double)l->node->attr.norm.eps;
    hone_cpu_ranges(b, hone_cpu_team(b, 2 * job.R * job.C), job.R, 1, forward_range, &job);
}

void SIMD(cpu_layernorm)(hone_backend *b, const hone_launch *l)
{
    forward(b, l, (layer_job){.x = l->in[0], .gamma = l->in[1], .beta = l->in[2]});
}

/* The sum of a residual join is made, stored and normalised in one pass. */
void SIMD(cpu_add_layernorm)(hone_backend *b, const hone_launch *l)
{
    layer_job job = {.x = l->in[0], .r = l->in[1], .gamma = l->in[2], .beta = l->in[3], .sum = l->out[3]};
    forward(b, l, job);
}

/* With xhat = (x - mean) rstd and g = dy gamma:  dx = rstd (g - avg(g) - xhat avg(g xhat)), plus what went round the
 * branch where `joined`, a constant where this is inlined. */
SIMD_INLINE void row_dx(const layer_job *job, int64_t r, int joined)
{
    int64_t C = job->C;
    const float *x = job->x + r * C, *dy = job->dy + r * C, *gamma = job->gamma;
    const float *skip = joined ? job->r + r * C : dy;
    float *dx = job->dx + r * C, mean = job->mean_in[r], rstd = job->rstd_in[r], sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t c = 0; c < C; c++) {
        float g = dy[c] * gamma[c];
        sum += g;
        product += g * ((x[c] - mean) * rstd);
    }
    float average = sum / (float)C, slope = product / (float)C;
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        float own = rstd * (dy[c] * gamma[c] - average - (x[c] - mean) * rstd * slope);
        dx[c] = joined ? own + skip[c] : own;
    }
}

/* s (C) += dy, q (C) += dy xhat of one row. */
static void row_sums(const layer_job *job, int64_t r, float *s, float *q)
{
    int64_t C = job->C;
    const float *x = job->x + r * C, *dy = job->dy + r * C;
    float mean = job->mean_in[r], rstd = job->rstd_in[r];
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        s[c] += dy[c];
        q[c] += dy[c] * ((x[c] - mean) * rstd);
    }
}

/* dx does not wait for the sums of the parameters: both are made while the row is in cache. */
static void backward_part(const void *arg, int part)
{
    const layer_job *job = arg;
    int64_t C = job->C, begin, end;
    norm_sums z = hone_cpu_norm_sums(job->work, C, part);
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    memset(z.first, 0, (size_t)C * sizeof *z.first);
    memset(z.second, 0, (size_t)C * sizeof *z.second);
    for (int64_t i = begin; i < end; i += NORM_BLOCK) {
        memset(z.s, 0, (size_t)C * sizeof *z.s);
        memset(z.q, 0, (size_t)C * sizeof *z.q);
        for (int64_t r = i; r < end && r < i + NORM_BLOCK; r++) {
            if (job->sums) row_sums(job, r, z.s, z.q);
            if (job->dx && job->r) row_dx(job, r, 1);
            else if (job->dx) row_dx(job, r, 0);
        }
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            z.first[c] += (double)z.s[c];
            z.second[c] += (double)z.q[c];
        }
    }
}

/* dw NULL: the parameter is frozen. Rounded once, also when it adds to micro-batches before it. */
static void put_gradient(const hone_launch *l, float *dw, int64_t c, double value)
{
    if (dw) dw[c] = (float)(l->node->accumulate ? (double)dw[c] + value : value);
}

/* dx (R, C), dgamma (C), dbeta (C): each may be absent; r (R, C) joins dx, or NULL. Parts join in order, on one thread. */
static void backward(hone_backend *b, const hone_launch *l, const float *r)
{
    layer_job job = {.x = l->in[0], .gamma = l->in[1], .mean_in = l->in[2], .rstd_in = l->in[3], .dy = l->in[4]};
    job.r = r;
    job.dx = l->out[0];
    job.sums = l->out[1] || l->out[2];
    job.work = l->work;
    job.R = hone_cpu_rows(l->in_desc[0]);
    job.C = hone_cpu_last(l->in_desc[0]);
    job.parts = hone_cpu_norm_team(b, job.R, 2 * job.C);
    hone_cpu_each_part(b, job.parts, backward_part, &job);
    for (int64_t c = 0; job.sums && c < job.C; c++) {
        double sum = 0, product = 0;
        for (int part = 0; part < job.parts; part++) {
            norm_sums z = hone_cpu_norm_sums(l->work, job.C, part);
            sum += z.first[c];
            product += z.second[c];
        }
        put_gradient(l, l->out[1], c, product);
        put_gradient(l, l->out[2], c, sum);
    }
}

void SIMD(cpu_layernorm_dx)(hone_backend *b, const hone_launch *l) { backward(b, l, NULL); }
void SIMD(cpu_layernorm_add_dx)(hone_backend *b, const hone_launch *l) { backward(b, l, l->in[5]); }
