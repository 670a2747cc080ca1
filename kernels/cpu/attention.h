/* attention.h - shapes and scratch of attention, one head of one sample or text at a time.
 *
 * qkv (B, T, 3C) or (T, 3C) = [q|k|v], each (T, D) of a head with row stride 3C. Scores of a block of queries
 * (rows, T) stay in the second cache; keys and values are packed once a head for the packed products. */
#ifndef HONE_KERNELS_CPU_ATTENTION_H
#define HONE_KERNELS_CPU_ATTENTION_H

#include "cpu/gemm.h"
#include "cpu/pointwise.h"

enum { QUERIES = 64 }; /* queries at once */

typedef struct attention_shape {
    int64_t B, T, C, D, heads; /* B samples, T tokens each; ragged: B = 1, T the capacity */
    double scale;              /* 1 / sqrt(D) */
} attention_shape;

/* Scratch of one thread: offsets in floats. Panels by what they are read as: (k, n). */
typedef struct attention_scratch {
    int64_t keys_turned, values_turned; /* (D, T) panels                                  */
    int64_t keys, values;               /* (T, D) panels                                  */
    int64_t block_a, block_b;           /* (QUERIES, D) panels of the block at hand       */
    int64_t scores, gradients;          /* (QUERIES, T)                                   */
    int64_t keep;                       /* (T + one block): dropout's factors             */
    int64_t part_floats;
} attention_scratch;

attention_shape hone_cpu_attention_shape(const hone_attrs *a, const hone_tensor *qkv);
attention_scratch hone_cpu_attention_scratch(const attention_shape *s, int64_t cols);

#endif
