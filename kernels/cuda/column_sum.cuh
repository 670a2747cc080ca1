/* column_sum.cuh - sums over the rows of a matrix, the gradient of whatever was broadcast over them: biases, positions,
 * the class token.
 *
 * x (R, C) with `stride` elements from row to row; sum (C) fp32. A block takes 32 columns and one slice of the rows:
 * lanes lie along the columns, so that a warp reads whole lines, and warps along the rows. Where there are several
 * slices their sums (S, C) go to scratch, and a second launch of the same kernel adds them. Fixed order, no atomics. */
#ifndef HONE_KERNELS_CUDA_COLUMN_SUM_CUH
#define HONE_KERNELS_CUDA_COLUMN_SUM_CUH

#include "column_sum.h"
#include "launch.cuh"

static const int COLUMN_LANES = 32, COLUMN_WARPS = 8;

/* grid (ceil(C / 32), slices), block (32, COLUMN_WARPS); slice s writes row s of sum, += where `accumulate`. */
template <typename T>
HONE_KERNEL(COLUMN_LANES *COLUMN_WARPS)
column_sum_k(const T *x, float *sum, int64_t rows, int64_t columns, int64_t stride, int accumulate)
{
    HONE_SHARED(float, part, COLUMN_LANES *COLUMN_WARPS);
    const int lane = (int)threadIdx.x, w = (int)threadIdx.y;
    const int64_t c = (int64_t)blockIdx.x * COLUMN_LANES + lane, s = blockIdx.y;
    const int64_t end = rows * (s + 1) / gridDim.y;
    float v = 0;
    if (c < columns)
#pragma unroll 4
        for (int64_t r = rows * s / gridDim.y + w; r < end; r += COLUMN_WARPS) v += to_float(x[r * stride + c]);
    part[w * COLUMN_LANES + lane] = v;
    __syncthreads();
    if (w != 0 || c >= columns) return;
    for (int k = 1; k < COLUMN_WARPS; k++) v += part[k * COLUMN_LANES + lane];
    float *to = sum + s * columns + c;
    *to = accumulate ? *to + v : v;
}

/* sum null: nobody asked. With less scratch than hone_column_sum_bytes one slice takes all rows. */
template <typename T>
static inline void launch_column_sum(hone_backend *b, const T *x, float *sum, int64_t rows, int64_t columns,
                                     int64_t stride, int accumulate, void *work, size_t work_bytes)
{
    if (!sum || columns < 1) return;
    const unsigned tiles = (unsigned)((columns + COLUMN_LANES - 1) / COLUMN_LANES);
    const dim3 block(COLUMN_LANES, COLUMN_WARPS);
    const size_t needed = hone_column_sum_bytes(rows, columns);
    if (needed == 0 || needed > work_bytes) {
        HONE_LAUNCH(b, column_sum_k<T>, dim3(tiles), block, 0, x, sum, rows, columns, stride, accumulate);
        return;
    }
    const int slices = hone_column_slices(rows, columns);
    HONE_LAUNCH(b, column_sum_k<T>, dim3(tiles, (unsigned)slices), block, 0, x, (float *)work, rows, columns, stride,
                0);
    HONE_LAUNCH(b, column_sum_k<float>, dim3(tiles), block, 0, (const float *)work, sum, (int64_t)slices, columns,
                columns, accumulate);
}

#endif
