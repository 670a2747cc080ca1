/* winograd.h - transforms of Winograd's F(4x4, 3x3) and its gradient F(3x3, 4x4), one table per
 * instruction set.
 *
 * Y = A^T [(G g G^T) . (B^T d B)] A over tiles of 6x6 inputs, points 0, 1, -1, 2, -2 and infinity (Lavin &
 * Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): 36 products for 16 outputs of 9 taps.
 * A transformed array has 36 slices `slice` floats apart; a slice is a matrix (tiles, channels), stored by
 * rows or in panels of `width` channels. */
#ifndef HONE_KERNELS_CPU_WINOGRAD_H
#define HONE_KERNELS_CPU_WINOGRAD_H

#include "cpu/gemm.h"

/* Images (N, H, W, C) seen as TH x TW tiles; tile row i starts at image row 4 i - pad. */
typedef struct hone_cpu_tiles {
    int64_t H, W, C, TH, TW, pad;
} hone_cpu_tiles;

/* Where element (row, channel) of slice s lies: at[s * slice + channel / width * panel + row * step + channel % width] */
typedef struct hone_cpu_slices {
    float *at;
    int64_t slice, width, panel, step;
} hone_cpu_slices;

typedef struct hone_cpu_winograd {
    /* B^T d B of tiles [t0, t1) of images x to rows 0.. of v; channels padded with zeros to whole vectors */
    void (*input)(const hone_cpu_tiles *g, const float *x, int64_t t0, int64_t t1, hone_cpu_slices v);
    /* A^T m A of rows 0.., channels 0..o1-o0, to channels [o0, o1) of tiles [t0, t1) of images y; epilogue by e */
    void (*output)(const hone_cpu_tiles *g, hone_cpu_slices m, int64_t t0, int64_t t1, int64_t o0, int64_t o1,
                   const hone_cpu_epilogue *e, float *y);
    /* G g G^T of w (O, 3, 3, C) as operand b (k = C, n = O), panels [first, last), to u; panel j at j - first */
    void (*weights)(int64_t O, int64_t C, const float *w, int64_t first, int64_t last, hone_cpu_slices u);
    /* the same for dx: taps turned by 180 degrees, k = O, n = C */
    void (*weights_turned)(int64_t O, int64_t C, const float *w, int64_t first, int64_t last, hone_cpu_slices u);
    /* F(3x3, 4x4): the 4x4 outputs' gradient as the filter; rows as in input */
    void (*gradient)(const hone_cpu_tiles *g, const float *dy, int64_t t0, int64_t t1, hone_cpu_slices v);
    /* and back: row r is output o0 + r; channels [c0, c1) of dw (O, 3, 3, C) = or += */
    void (*dweights)(int64_t C, hone_cpu_slices m, int64_t o0, int64_t o1, int64_t c0, int64_t c1, float *dw, int add);
} hone_cpu_winograd;

extern const hone_cpu_winograd hone_cpu_winograd_base, hone_cpu_winograd_avx2, hone_cpu_winograd_avx512;

#endif
