/* global_pool_simd.c - the whole image as one window: x (N, S, C) with S = H*W or T, y (N, C).
 *
 * Definitions of kernels/ref/pool.c; sums over S in double, as there. */
#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* A name for either direction's sides; S is the number of places. */
typedef struct global_job {
    const float *x; /* (N, S, C); backward: dy (N, C) */
    float *y;       /* (N, C); backward: dx (N, S, C) */
    int64_t S, C;
} global_job;

enum { COLUMNS = 64 }; /* channels summed at once: eight vectors of doubles */

/* COLUMNS sums at once live in registers while the places stream by. */
static void average_range(const void *arg, int64_t begin, int64_t end)
{
    const global_job *job = arg;
    for (int64_t n = begin; n < end; n++)
        for (int64_t c = 0; c < job->C; c += COLUMNS) {
            int64_t width = job->C - c < COLUMNS ? job->C - c : COLUMNS;
            double sum[COLUMNS] = {0};
            for (int64_t s = 0; s < job->S; s++) {
                const float *x = job->x + (n * job->S + s) * job->C + c;
#pragma omp simd
                for (int64_t k = 0; k < width; k++) sum[k] += (double)x[k];
            }
            for (int64_t k = 0; k < width; k++) job->y[n * job->C + c + k] = (float)(sum[k] / (double)job->S);
        }
}

/* The same value for all places of an image: dx = dy / S. */
static void spread_range(const void *arg, int64_t begin, int64_t end)
{
    const global_job *job = arg;
    double S = (double)job->S;
    for (int64_t item = begin; item < end; item++) { /* (n, s) */
        const float *dy = job->x + item / job->S * job->C;
        float *dx = job->y + item * job->C;
#pragma omp simd
        for (int64_t c = 0; c < job->C; c++) dx[c] = (float)((double)dy[c] / S);
    }
}

/* Samples are shared out: with one of them (inference) one thread does it all. */
void SIMD(cpu_global_avgpool)(hone_backend *b, const hone_launch *l)
{
    int64_t N = l->out_desc[0]->dim[0], count = hone_tensor_count(l->in_desc[0]);
    global_job job = {l->in[0], l->out[0], hone_cpu_rows(l->in_desc[0]) / N, l->out_desc[0]->dim[1]};
    hone_cpu_ranges(b, hone_cpu_team(b, count), N, 1, average_range, &job);
}

/* Items are places of all images, so a single image is shared out too. */
void SIMD(cpu_global_avgpool_dx)(hone_backend *b, const hone_launch *l)
{
    int64_t rows = hone_cpu_rows(l->out_desc[0]), count = hone_tensor_count(l->out_desc[0]);
    global_job job = {l->in[0], l->out[0], rows / l->in_desc[0]->dim[0], l->in_desc[0]->dim[1]};
    hone_cpu_ranges(b, hone_cpu_team(b, count), rows, 1, spread_range, &job);
}
