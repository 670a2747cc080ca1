/* ragged.cuh - which text a row of a flat token array belongs to.
 *
 * offset i32 (B + 1) begins with 0, does not descend, ends with the live count. No loop over texts: a warp that asks for
 * neighbouring rows mostly takes one path. */
#ifndef HONE_KERNELS_CUDA_RAGGED_CUH
#define HONE_KERNELS_CUDA_RAGGED_CUH

#include "hone_device.h"

/* The last text that begins at or before row t < offset[B]. Empty texts that begin there come before it. */
__device__ static inline int64_t text_of_row(const int32_t *offset, int64_t B, int64_t t)
{
    int64_t low = 0, high = B - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (offset[middle] <= t) low = middle;
        else high = middle - 1;
    }
    return low;
}

#endif
