/* square_sums.cuh - the norm of what a sparse table gets, which joins that of the dense gradients in the step block.
 *
 * SQUARES_BLOCKS blocks leave a sum of squares each in scratch, in double; one block adds these and takes them to the
 * norm. The number of blocks is fixed, so the order of addition is that of the elements alone. */
#ifndef HONE_KERNELS_CUDA_SQUARE_SUMS_CUH
#define HONE_KERNELS_CUDA_SQUARE_SUMS_CUH

#include "reduce.cuh"

static const int SQUARES_BLOCKS = 256, SQUARES_THREADS = 256;

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
