/* batchnorm_dx_simd.c - gradients of batch normalisation: a pass of sums, then a pass that writes dx.
 *
 * With d = x - mean and g = dy gated by the ReLU's output y (a choice, not a product: 0 where it is off):
 *   dbeta = sum g, dgamma = rstd sum g d,  dx = gamma rstd (g - dbeta/R - d rstd dgamma/R).
 * The row with a residual writes g as dr in the first pass and reads that one tensor instead of two in the
 * second. Sums are floats within a block of rows and doubles above; parts join in order. */
#include <string.h>

#include "cpu/batchnorm.h"
#include "cpu/simd.h"

/* y is the output of the fused ReLU: its sign tells what passed, so no mask is stored. */
typedef struct backward_job {
    const float *x, *y, *dy; /* (R, C); y NULL where no ReLU follows */
    float *dx, *dr;          /* (R, C); each may be NULL */
    const float *mean;       /* (C) */
    int64_t R, C;
    void *work;
    int parts;
    norm_affine affine;
} backward_job;

enum { FEW = 4 }; /* rows met at once, so that s and q are loaded and stored less often */

/* s += g, q += g (x - mean) over `rows` rows from i; writes g where it is stored. Flags are constants. */
SIMD_INLINE void sum_few(const backward_job *job, int64_t i, int rows, norm_sums z, int gated, int store)
{
    int64_t C = job->C;
    const float *x = job->x + i * C, *dy = job->dy + i * C, *y = gated ? job->y + i * C : x, *mean = job->mean;
    float *dr = store ? job->dr + i * C : z.s, *s = z.s, *q = z.q;
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        float m = mean[c], sum = 0, product = 0;
        for (int k = 0; k < rows; k++) {
            float g = dy[k * C + c];
            if (gated) g = y[k * C + c] > 0 ? g : 0.0f;
            if (store) dr[k * C + c] = g;
            sum += g;
            product += g * (x[k * C + c] - m);
        }
        s[c] += sum;
        q[c] += product;
    }
}

/* FEW rows at a time; the rest one by one. */
SIMD_INLINE void sum_rows(const backward_job *job, int64_t begin, int64_t end, norm_sums z, int gated, int store)
{
    int64_t i = begin;
    for (; i + FEW <= end; i += FEW) sum_few(job, i, FEW, z, gated, store);
    for (; i < end; i++) sum_few(job, i, 1, z, gated, store);
}

/* Floats within NORM_BLOCK rows, doubles above: the error does not grow with the number of rows. */
static void sums_part(const void *arg, int part)
{
    const backward_job *job = arg;
    int64_t C = job->C, begin, end;
    norm_sums z = hone_cpu_norm_sums(job->work, C, part);
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    memset(z.first, 0, (size_t)C * sizeof *z.first);
    memset(z.second, 0, (size_t)C * sizeof *z.second);
    for (int64_t i = begin; i < end; i += NORM_BLOCK) {
        int64_t to = i + NORM_BLOCK < end ? i + NORM_BLOCK : end;
        memset(z.s, 0, (size_t)C * sizeof *z.s);
        memset(z.q, 0, (size_t)C * sizeof *z.q);
        if (!job->y) sum_rows(job, i, to, z, 0, 0);
        else if (!job->dr) sum_rows(job, i, to, z, 1, 0);
        else sum_rows(job, i, to, z, 1, 1);
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            z.first[c] += (double)z.s[c];
            z.second[c] += (double)z.q[c];
        }
    }
}

/* dw NULL: the parameter is frozen. */
static void put_gradient(const hone_launch *l, float *dw, int64_t c, double value)
{
    if (dw) dw[c] = (float)(l->node->accumulate ? (double)dw[c] + value : value);
}

/* Joins the parts, writes the parameters' gradients and the constants of pass two. */
static void finish_sums(const hone_launch *l, const backward_job *job)
{
    const float *gamma = l->in[1], *rstd = l->in[3]; /* (C) */
    for (int64_t c = 0; c < job->C; c++) {
        double sum = 0, product = 0, s = (double)rstd[c], scale = (double)gamma[c] * s, R = (double)job->R;
        for (int part = 0; part < job->parts; part++) {
            norm_sums z = hone_cpu_norm_sums(job->work, job->C, part);
            sum += z.first[c];
            product += z.second[c];
        }
        put_gradient(l, l->out[1], c, product * s);
        put_gradient(l, l->out[2], c, sum);
        job->affine.a[c] = (float)scale;
        job->affine.b[c] = (float)(-scale * s * s * product / R);
        job->affine.c[c] = (float)(-scale * sum / R);
    }
}

/* dx = a g + (b (x - mean) + c), one fused map a channel; `gated` is a constant where this is inlined. */
SIMD_INLINE void write_rows(const backward_job *job, const float *dy, int64_t begin, int64_t end, int gated)
{
    int64_t C = job->C;
    const float *a = job->affine.a, *b = job->affine.b, *shift = job->affine.c, *mean = job->mean;
    for (int64_t i = begin; i < end; i++) {
        const float *x = job->x + i * C, *g = dy + i * C, *y = gated ? job->y + i * C : x;
        float *dx = job->dx + i * C;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            float u = g[c];
            if (gated) u = y[c] > 0 ? u : 0.0f;
            dx[c] = a[c] * u + (b[c] * (x[c] - mean[c]) + shift[c]);
        }
    }
}

/* Where dr was stored it is g already: one tensor is read instead of two. */
static void write_part(const void *arg, int part)
{
    const backward_job *job = arg;
    int64_t begin, end;
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    /* backwards by blocks: the rows that the first pass read last are still in cache */
    for (int64_t i = end; i > begin;) {
        int64_t from = i - NORM_BLOCK > begin ? i - NORM_BLOCK : begin;
        if (job->y && job->dr) write_rows(job, job->dr, from, i, 0);
        else if (job->y) write_rows(job, job->dy, from, i, 1);
        else write_rows(job, job->dy, from, i, 0);
        i = from;
    }
}

/* dx NULL: the input needs no gradient, and the second pass is left out. */
static void backward(hone_backend *b, const hone_launch *l, const float *y, const float *dy, float *dr)
{
    backward_job job = {.x = l->in[0], .mean = l->in[2], .dx = l->out[0], .y = y, .dy = dy, .dr = dr, .work = l->work};
    job.R = hone_cpu_rows(l->in_desc[0]);
    job.C = hone_cpu_last(l->in_desc[0]);
    job.parts = hone_cpu_norm_team(b, job.R, job.C);
    job.affine = hone_cpu_norm_affine(l->work, job.C, job.parts);
    hone_cpu_each_part(b, job.parts, sums_part, &job);
    finish_sums(l, &job);
    if (job.dx) hone_cpu_each_part(b, job.parts, write_part, &job);
}

void SIMD(cpu_batchnorm_dx)(hone_backend *b, const hone_launch *l) { backward(b, l, NULL, l->in[4], NULL); }
void SIMD(cpu_batchnorm_relu_dx)(hone_backend *b, const hone_launch *l) { backward(b, l, l->in[4], l->in[5], NULL); }
void SIMD(cpu_batchnorm_add_relu_dx)(hone_backend *b, const hone_launch *l)
{
    backward(b, l, l->in[4], l->in[5], l->out[3]);
}
