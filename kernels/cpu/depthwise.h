/* depthwise.h - convolution with as many groups as channels (one output a group), per instruction set.
 * x (H, W, C), y (OH, OW, C) of one image; weights w (kh*kw, C), followed by a vector of slack. */
#ifndef HONE_KERNELS_CPU_DEPTHWISE_H
#define HONE_KERNELS_CPU_DEPTHWISE_H

#include "cpu/gemm.h"

enum { HONE_CPU_DEPTHWISE_TAPS = 64, HONE_CPU_DEPTHWISE_SLACK = 16 };

typedef struct hone_cpu_depthwise {
    hone_window window;
    int64_t H, W, OH, OW, C;
} hone_cpu_depthwise;

typedef struct hone_cpu_depthwise_rows {
    /* row oh of y = act(conv + bias) */
    void (*forward)(const hone_cpu_depthwise *d, const float *x, const float *w, int64_t oh, const hone_cpu_epilogue *e,
                    float *y);
    /* row h of dx */
    void (*backward)(const hone_cpu_depthwise *d, const float *dy, const float *w, int64_t h, float *dx);
    /* adds row oh to dw (kh*kw, ldw), ldw >= C + slack */
    void (*weights)(const hone_cpu_depthwise *d, const float *x, const float *dy, int64_t oh, float *dw, int64_t ldw);
} hone_cpu_depthwise_rows;

extern const hone_cpu_depthwise_rows hone_cpu_depthwise_rows_base, hone_cpu_depthwise_rows_avx2,
    hone_cpu_depthwise_rows_avx512;

#endif
