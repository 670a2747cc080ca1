/* reduce.cuh - sums and maxima over a warp and over a block, in a fixed order.
 *
 * Every thread of the block calls (no early return before it), and every thread gets the result. The
 * order of additions depends on the block size alone, so two runs give the same bits. */
#ifndef HONE_KERNELS_CUDA_REDUCE_CUH
#define HONE_KERNELS_CUDA_REDUCE_CUH

#include "hone_device.h"

struct sum_op {
    template <typename T> __device__ T operator()(T a, T b) const { return a + b; }
    template <typename T> __device__ static T zero() { return T(0); }
};
/* A NaN wins: comparisons with it are false, and then `a + b` keeps it. */
struct max_op {
    __device__ float operator()(float a, float b) const { return a > b ? a : b >= a ? b : a + b; }
    template <typename T> __device__ static T zero() { return -INFINITY; }
};

template <typename Op, typename T> __device__ static inline T warp_reduce(T v)
{
    Op op;
    for (int d = 16; d > 0; d /= 2) v = op(v, __shfl_xor_sync(0xffffffffu, v, d));
    return v;
}

/* `scratch`: shared, one T a warp (32 at most). May be called again at once: it begins with a barrier. */
template <typename Op, typename T> __device__ static inline T block_reduce(T v, T *scratch)
{
    const int lane = (int)(threadIdx.x & 31), warp = (int)(threadIdx.x >> 5), warps = (int)((blockDim.x + 31) >> 5);
    v = warp_reduce<Op>(v);
    __syncthreads(); /* the values of the call before have been read */
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = lane < warps ? scratch[lane] : Op::template zero<T>();
    return warp_reduce<Op>(v);
}

/* True in the block that is the last of the grid to come here: it sees what all others have written before they came,
 * and may do what else were a launch of its own. Every thread calls, once a launch. `arrived` is 0 before and after.
 * Which block is last differs from run to run; what it computes must not. */
__device__ static inline bool is_last_block(uint32_t *arrived)
{
    HONE_SHARED(uint32_t, before, 1);
    __threadfence();
    __syncthreads(); /* all of the block have written */
    if (threadIdx.x == 0) *before = atomicAdd(arrived, 1u);
    __syncthreads();
    if (*before != gridDim.x * gridDim.y * gridDim.z - 1) return false;
    if (threadIdx.x == 0) atomicExch(arrived, 0u); /* as the others changed it: a plain store would race with theirs */
    __threadfence();
    return true;
}

#endif
