/* windows.cuh - what kernels over rows of ragged texts share: in which text a row lies.
 *
 * offset i32 (P = B + 1) begins with 0 and does not descend; rows from offset[B] on are not live. One small kernel
 * writes each row's text as two numbers, so that tiles look them up instead of searching. */
#ifndef HONE_KERNELS_CUDA_WINDOWS_CUH
#define HONE_KERNELS_CUDA_WINDOWS_CUH

#include "launch.cuh"

/* edge (T, 2): first row of t's text and the one behind its last; 0, 0 where t is not live. */
template <typename I> HONE_KERNEL(MAP_THREADS) text_edges_k(const I *offset, int64_t B, int64_t T, I *edge)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; t < T; t += step) {
        const bool live = t < offset[B];
        int64_t low = 0, high = B - 1; /* the last text that begins at or before t: empty ones begin there, too */
        while (low < high) {
            int64_t middle = (low + high + 1) / 2;
            if (offset[middle] <= t) low = middle;
            else high = middle - 1;
        }
        edge[2 * t] = live ? offset[low] : 0;
        edge[2 * t + 1] = live ? offset[low + 1] : 0;
    }
}

static inline void launch_text_edges(hone_backend *b, const int32_t *offset, int64_t B, int64_t T, int32_t *edge)
{
    HONE_LAUNCH(b, text_edges_k<int32_t>, map_blocks(T), MAP_THREADS, 0, offset, B, T, edge);
}

/* Element (t, k * C + c) of the windows of x (T, C): row t - before + k of t's text, or 0. */
template <typename S> struct windows_of {
    const S *x;
    const int32_t *edge; /* (T, 2) */
    int64_t C, before;
    __device__ float at(int64_t t, int64_t q) const
    {
        const int64_t s = t - before + q / C;
        return s >= edge[2 * t] && s < edge[2 * t + 1] ? to_float(x[s * C + q % C]) : 0;
    }
};
/* As operand a or b of a tile: rows are tokens, or (transposed, for sums over tokens) columns are. */
template <typename S> struct window_rows {
    windows_of<S> w;
    __device__ float operator()(int, int64_t row, int64_t k) const { return w.at(row, k); }
};
template <typename S> struct window_columns {
    windows_of<S> w;
    __device__ float operator()(int, int64_t row, int64_t k) const { return w.at(k, row); }
};

/* d (T, N) turned, as operand a of a sum over tokens: rows that are not live count as 0, whatever they hold. */
template <typename S> struct live_columns {
    const S *d;
    const int32_t *edge; /* (T, 2) */
    int64_t N;
    __device__ float operator()(int, int64_t row, int64_t k) const
    {
        return edge[2 * k + 1] > 0 ? to_float(d[k * N + row]) : 0;
    }
};

/* Rows of x (T, C) that are not live become 0; x may be null. */
template <typename S>
HONE_KERNEL(MAP_THREADS)
clear_dead_k(S *x, const int32_t *offset, int64_t B, int64_t T, int64_t C)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, n = T * C;
    for (int64_t i = offset[B] * C + (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        x[i] = from_float<S>(0);
}
template <typename S>
static inline void launch_clear_dead(hone_backend *b, S *x, const int32_t *offset, int64_t B, int64_t T, int64_t C)
{
    if (x) HONE_LAUNCH(b, clear_dead_k<S>, map_blocks(T * C), MAP_THREADS, 0, x, offset, B, T, C);
}

static const int SUM_LANES = 32, SUM_WARPS = 16;

/* sum (N) = or += column sums of the live rows of d (T, N): warps lie along the rows in steps that do not depend on the
 * capacity. grid ceil(N / 32), block (32, SUM_WARPS). */
template <typename S>
HONE_KERNEL(SUM_LANES *SUM_WARPS)
live_sum_k(const S *d, const int32_t *offset, int64_t B, int64_t N, float *sum, int accumulate)
{
    HONE_SHARED(float, part, SUM_LANES *SUM_WARPS);
    const int lane = (int)threadIdx.x, w = (int)threadIdx.y;
    const int64_t c = (int64_t)blockIdx.x * SUM_LANES + lane, live = offset[B];
    float v = 0;
    if (c < N)
#pragma unroll 4
        for (int64_t t = w; t < live; t += SUM_WARPS) v += to_float(d[t * N + c]);
    part[w * SUM_LANES + lane] = v;
    __syncthreads();
    if (w != 0 || c >= N) return;
    for (int k = 1; k < SUM_WARPS; k++) v += part[k * SUM_LANES + lane];
    sum[c] = accumulate ? sum[c] + v : v;
}

/* sum may be null: nobody asked. */
template <typename S>
static inline void launch_live_sum(hone_backend *b, const S *d, const int32_t *offset, int64_t B, int64_t N, float *sum,
                                   int accumulate)
{
    if (!sum) return;
    HONE_LAUNCH(b, live_sum_k<S>, (unsigned)((N + SUM_LANES - 1) / SUM_LANES), dim3(SUM_LANES, SUM_WARPS), 0, d, offset,
                B, N, sum, accumulate);
}

#endif
