/* tile.cuh - one tiled product for every linear and convolution that the libraries refuse.
 *
 * c (m, n) = sum_k a(m, k) b(n, k), operands fetched by functors, so that im2col is an address and never
 * a buffer. 64 x 64 results a block of 256 threads, 4 x 4 a thread, k in steps of 16 through shared
 * memory. Each result is one chain of multiply-adds over k in order: the same bits twice, exact on small
 * integers. Tensor cores are the libraries' business; this is the path that always works. */
#ifndef HONE_KERNELS_CUDA_TILE_CUH
#define HONE_KERNELS_CUDA_TILE_CUH

#include "act.cuh"
#include "launch.cuh"

static const int TILE = 64, TILE_K = 16, TILE_THREADS = 256,
                 TILE_PITCH = TILE + 4; /* pitch: no bank conflict on the way in */

struct tile_size {
    int64_t m, n, k;
};

/* a(m, k), b(n, k): float at a place inside the size; put(m, n, v) stores a result. blockIdx.z is the group. */
template <typename A, typename B, typename P> HONE_KERNEL(TILE_THREADS) tile_k(tile_size size, A a, B b, P put)
{
    HONE_SHARED(float, as, TILE_K *TILE_PITCH);
    HONE_SHARED(float, bs, TILE_K *TILE_PITCH);
    const int t = (int)threadIdx.x, tm = t / 16 * 4, tn = t % 16 * 4, group = (int)blockIdx.z;
    const int64_t m0 = (int64_t)blockIdx.x * TILE, n0 = (int64_t)blockIdx.y * TILE;
    float sum[4][4] = {};
    for (int64_t k0 = 0; k0 < size.k; k0 += TILE_K) {
        for (int i = t; i < TILE * TILE_K; i += TILE_THREADS) {
            int row = i / TILE_K, kk = i % TILE_K; /* neighbours along k: where a and b are row-major, whole lines */
            int64_t k = k0 + kk;
            as[kk * TILE_PITCH + row] = k < size.k && m0 + row < size.m ? a(group, m0 + row, k) : 0;
            bs[kk * TILE_PITCH + row] = k < size.k && n0 + row < size.n ? b(group, n0 + row, k) : 0;
        }
        __syncthreads();
        for (int kk = 0; kk < TILE_K; kk++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += as[kk * TILE_PITCH + tm + i] * bs[kk * TILE_PITCH + tn + j];
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (m0 + tm + i < size.m && n0 + tn + j < size.n) put(group, m0 + tm + i, n0 + tn + j, sum[i][j]);
}

template <typename A, typename B, typename P>
static inline void launch_tile(hone_backend *b, tile_size size, int groups, A fetch_a, B fetch_b, P put)
{
    dim3 grid((unsigned)((size.m + TILE - 1) / TILE), (unsigned)((size.n + TILE - 1) / TILE), (unsigned)groups);
    HONE_LAUNCH(b, (tile_k<A, B, P>), grid, TILE_THREADS, 0, size, fetch_a, fetch_b, put);
}

#endif
