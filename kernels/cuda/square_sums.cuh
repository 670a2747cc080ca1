/* square_sums.cuh - sums of squares for the norm of the gradients: the dense ones', and what a sparse table gets, which
 * joins it in the step block.
 *
 * SQUARES_BLOCKS blocks leave a sum of squares each in scratch, in double; one block adds these and takes them to the
 * norm. The number of blocks is fixed, so the order of addition is that of the elements alone. */
#ifndef HONE_KERNELS_CUDA_SQUARE_SUMS_CUH
#define HONE_KERNELS_CUDA_SQUARE_SUMS_CUH

#include "reduce.cuh"

static const int SQUARES_BLOCKS = 256, SQUARES_THREADS = 256;

/* What a thread adds of the squares of its block's run of x (n): runs are equal, 16 bytes a thread, and the last n % 4
 * elements are the first block's. x on a 16-byte border. */
__device__ static inline double squares_of_run(const float *x, int64_t n)
{
    const int64_t quads = n / 4, begin = quads * blockIdx.x / gridDim.x, end = quads * (blockIdx.x + 1) / gridDim.x;
    double sum = 0;
#pragma unroll 4
    for (int64_t q = begin + threadIdx.x; q < end; q += blockDim.x) {
        const pack<float> g = ((const pack<float> *)x)[q];
#pragma unroll
        for (int k = 0; k < 4; k++) sum += (double)g.v[k] * (double)g.v[k];
    }
    const int64_t last = 4 * quads + threadIdx.x;
    if (blockIdx.x == 0 && last < n) sum += (double)x[last] * (double)x[last];
    return sum;
}

/* Bytes of node->work. */
static inline size_t square_sums_bytes(void) { return SQUARES_BLOCKS * sizeof(double); }

/* One block, a thread a sum. */
template <typename D> HONE_KERNEL(SQUARES_BLOCKS) norm_join_k(const D *part, hone_step *step)
{
    HONE_SHARED(double, scratch, 32);
    double sum = block_reduce<sum_op>(part[threadIdx.x], scratch);
    if (threadIdx.x != 0) return;
    sum += step->grad_norm * step->grad_norm;
    step->grad_norm = sqrt(sum);
    if (!(sum <= 1.7e308)) step->finite = 0; /* infinity and NaN */
}

static inline void launch_norm_join(hone_backend *b, const double *part, hone_step *step)
{
    HONE_LAUNCH(b, norm_join_k<double>, 1, SQUARES_BLOCKS, 0, part, step);
}

#endif
