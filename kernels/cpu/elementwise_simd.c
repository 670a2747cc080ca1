/* elementwise_simd.c - sums and products of equal shapes, and a parameter added to every sample.
 *
 * Definitions and bits of kernels/ref/elementwise.c (the sum over samples of add_rows_dp is in double too).
 * All of them are bound by memory: one pass, every thread its own range. y may lie over input 0. */
#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* Pointers may be equal (in place), never overlap otherwise. */
typedef struct pair_job {
    const float *u, *v; /* (count) */
    float *y;           /* (count) */
    int64_t row;        /* add_rows: elements of p */
} pair_job;

/* One element each: in-place is safe, because an element is read before it is written. */
static void add_range(const void *arg, int64_t begin, int64_t end)
{
    const pair_job *job = arg;
    const float *u = job->u, *v = job->v;
    float *y = job->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = u[i] + v[i];
}

static void mul_range(const void *arg, int64_t begin, int64_t end)
{
    const pair_job *job = arg;
    const float *u = job->u, *v = job->v;
    float *y = job->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = u[i] * v[i];
}

/* The end of a residual block: one pass instead of two over memory. */
static void add_relu_range(const void *arg, int64_t begin, int64_t end)
{
    const pair_job *job = arg;
    const float *u = job->u, *v = job->v;
    float *y = job->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float sum = u[i] + v[i];
        y[i] = sum < 0 ? 0 : sum; /* NaN passes */
    }
}

/* Rows of x; each gets the whole of p. */
static void add_rows_range(const void *arg, int64_t begin, int64_t end)
{
    const pair_job *job = arg;
    for (int64_t n = begin; n < end; n++) {
        const float *x = job->u + n * job->row, *p = job->v;
        float *y = job->y + n * job->row;
#pragma omp simd
        for (int64_t i = 0; i < job->row; i++) y[i] = x[i] + p[i];
    }
}

/* Ranges begin at multiples of 64 elements, so that no two threads write one cache line. */
static void pairwise(hone_backend *b, const hone_launch *l, hone_cpu_range_fn *body)
{
    pair_job job = {l->in[0], l->in[1], l->out[0], 0};
    int64_t count = hone_tensor_count(l->out_desc[0]);
    hone_cpu_ranges(b, hone_cpu_team(b, count), count, 64, body, &job);
}

void SIMD(cpu_add)(hone_backend *b, const hone_launch *l) { pairwise(b, l, add_range); }
void SIMD(cpu_mul)(hone_backend *b, const hone_launch *l) { pairwise(b, l, mul_range); }
void SIMD(cpu_add_relu)(hone_backend *b, const hone_launch *l) { pairwise(b, l, add_relu_range); }

/* x, y (N, R), p (R): a position embedding. Samples are shared out, so p stays in each core's cache. */
void SIMD(cpu_add_rows)(hone_backend *b, const hone_launch *l)
{
    pair_job job = {l->in[0], l->in[1], l->out[0], hone_tensor_count(l->in_desc[1])};
    int64_t count = hone_tensor_count(l->in_desc[0]);
    hone_cpu_ranges(b, hone_cpu_team(b, count), job.row ? count / job.row : 0, 1, add_rows_range, &job);
}

/* --- add_rows_dp: dp (R) = sum over n of dy (N, R) -------------------------------------------------- */
/* `rows` is N here, `row` the elements of a sample. */
typedef struct sum_job {
    const float *dy; /* (N, row) */
    float *dp;       /* (row)    */
    int64_t rows, row;
    int accumulate;
} sum_job;

enum { SUM_COLUMNS = 64 }; /* columns summed at once: eight vectors of doubles */

/* A thread owns columns and walks all samples in order: the same bits for every number of threads. */
static void sum_range(const void *arg, int64_t begin, int64_t end)
{
    const sum_job *job = arg;
    for (int64_t c = begin; c < end; c += SUM_COLUMNS) {
        int64_t width = end - c < SUM_COLUMNS ? end - c : SUM_COLUMNS;
        double sum[SUM_COLUMNS] = {0};
        for (int64_t n = 0; n < job->rows; n++) {
            const float *dy = job->dy + n * job->row + c;
#pragma omp simd
            for (int64_t k = 0; k < width; k++) sum[k] += (double)dy[k];
        }
        for (int64_t k = 0; k < width; k++)
            job->dp[c + k] = (float)(job->accumulate ? (double)job->dp[c + k] + sum[k] : sum[k]);
    }
}

/* Adds to dp where micro-batches accumulate. */
void SIMD(cpu_add_rows_dp)(hone_backend *b, const hone_launch *l)
{
    int64_t row = hone_tensor_count(l->out_desc[0]), count = hone_tensor_count(l->in_desc[0]);
    sum_job job = {l->in[0], l->out[0], row ? count / row : 0, row, l->node->accumulate};
    hone_cpu_ranges(b, hone_cpu_team(b, count), row, SUM_COLUMNS, sum_range, &job);
}
