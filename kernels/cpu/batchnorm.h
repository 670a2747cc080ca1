/* batchnorm.h - scratch and constants that the passes of batch normalisation share.
 *
 * Tensors are (R, C): R = all axes but the last. Each part (thread) owns a run of rows and sums of its
 * own; parts are joined in order, so the bits depend on the thread count alone. */
#ifndef HONE_KERNELS_CPU_BATCHNORM_H
#define HONE_KERNELS_CPU_BATCHNORM_H

#include "cpu/pointwise.h"

typedef enum norm_tail { NORM_PLAIN, NORM_RELU, NORM_RELU6, NORM_ADD_RELU } norm_tail; /* what follows in a fused row */

enum { NORM_BLOCK = 128 }; /* rows summed in float before the sums go to double */

/* Scratch of one part, (C) each; and the constants of the second pass, (C) each. */
typedef struct norm_sums {
    double *first, *second; /* forward: mean, sum of squared deviations; backward: sum dy, sum dy (x - mean) */
    float *s, *q, *shift;   /* of the block at hand */
} norm_sums;

typedef struct norm_affine {
    float *a, *b, *c; /* forward: y = (x - a) b + c; backward: dx = a dy + (b (x - mean) + c) */
    float *slope;     /* backward: gamma rstd, with which the norm, and by it the gate, is made again */
} norm_affine;

norm_sums hone_cpu_norm_sums(void *work, int64_t C, int part);
norm_affine hone_cpu_norm_affine(void *work, int64_t C, int parts);
/* Threads for R * C elements; never more than the scratch was made for. */
int hone_cpu_norm_team(const hone_backend *b, int64_t R, int64_t C);

#endif
