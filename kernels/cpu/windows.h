/* windows.h - products over windows of the rows of ragged texts: what conv1d and the gradient of a recurrence share.
 *
 * Row t of a text has a window of K rows, t - before .. t - before + K - 1, as one row of K * C floats; what lies
 * outside the text is 0 there. A block of such rows is gathered and multiplied at once. Sums go over rows and taps in
 * order and only over live rows, so bits depend neither on threads nor on the capacity. */
#ifndef HONE_KERNELS_CPU_WINDOWS_H
#define HONE_KERNELS_CPU_WINDOWS_H

#include "cpu/gemm.h"

typedef struct hone_cpu_windows {
    const hone_cpu_gemm *gemm;
    const int32_t *offset; /* (B + 1) */
    int64_t B, T, live, K, C, N, before;
    const float *x; /* (T, C) whose windows are read */
    /* y (T, N) = windows (T, K C) @ panels + bias, rows past the live ones 0 */
    const float *panels; /* of a (K C, N) matrix */
    const float *bias;   /* (N) or NULL */
    float *y;            /* (T, N) */
    /* dw (N, K C), db (N): from dy (T, N); either may be NULL */
    const float *dy;
    float *dw, *db;
    int accumulate;
    int parts;
    float *work; /* hone_cpu_windows_floats of each part */
} hone_cpu_windows;

/* Scratch of one part, in floats, for either direction. */
int64_t hone_cpu_windows_floats(const hone_cpu_gemm *g, int64_t K, int64_t C);
/* Floats of the panels of a (k, n) matrix */
int64_t hone_cpu_panel_floats(const hone_cpu_gemm *g, int64_t k, int64_t n);
void hone_cpu_windows_forward(const hone_backend *b, const hone_cpu_windows *w);
void hone_cpu_windows_dw(const hone_backend *b, const hone_cpu_windows *w);

#endif
