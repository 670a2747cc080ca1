/* conv_pool.h - shapes and scratch of the rows that join a convolution, an activation and a max-pooling.
 *
 * They are for first layers: few channels, large images, where a general convolution wastes its lanes and
 * memory traffic rules. x (N, H, W, I), w (O, kh, kw, I/g), convolution (N, OH, OW, O) that is never
 * stored, y and at (N, PH, PW, O). Everything here is a function of the shapes, computed in prepare's terms. */
#ifndef HONE_KERNELS_CPU_CONV_POOL_H
#define HONE_KERNELS_CPU_CONV_POOL_H

#include "cpu/pointwise.h"

typedef struct conv_pool_shape {
    int64_t N, H, W, I, O, OH, OW, PH, PW;
    int64_t Ig, Og, groups;     /* channels of one group                                            */
    int64_t padded_h, padded_w; /* image with its zero border                                    */
    int64_t taps;               /* kh * kw * Ig                                                      */
    int64_t lanes;              /* outputs in one block: 8 or 16                                     */
    int64_t blocks;             /* blocks of outputs in one group                                    */
    int64_t segment;            /* dw: contiguous inputs that meet one output: kw * I, or Ig         */
    int64_t segments;           /* dw: of them to one output: kh, or kh * kw                         */
    int64_t stride_floats;      /* dw: a segment with its padding in the sums                        */
} conv_pool_shape;

/* From the forward row's tensors: x (N,H,W,I), pooled y (N,PH,PW,O). */
conv_pool_shape hone_cpu_conv_pool_shape(const hone_attrs *a, const hone_tensor *x, const hone_tensor *y);

/* Scratch, in floats from the start of work; each piece starts on a cache line. */
typedef struct conv_pool_scratch {
    int64_t weights, bias, offsets;                 /* forward: packed once a launch                              */
    int64_t part, part_floats;                      /* first part, and the distance to the next                   */
    int64_t image, conv;                            /* within a part: padded image; convolution of one block      */
    int64_t sums, bias_sums;                        /* dw, within a part: (O, segments, stride); (O)              */
    int64_t corner, all_at, all_g, list_at, list_g; /* dw: (PH*PW, O) three times, (PH*PW) twice */
    int64_t total;                                  /* for `parts` parts                                          */
} conv_pool_scratch;
conv_pool_scratch hone_cpu_conv_pool_forward_scratch(const conv_pool_shape *s, int parts);
conv_pool_scratch hone_cpu_conv_pool_dw_scratch(const conv_pool_shape *s, int parts);

#endif
