/* copy.cu - a few words from one place of device memory to another (hone_backend.copy); no op of ops.def.
 *
 * A kernel and not cudaMemcpyAsync: between kernels of a recorded graph a copy node may go through the copy engine, which
 * takes longer than the launch of one block. */
#include "cuda.h"
#include "launch.cuh"

/* to (n) = from (n) */
HONE_KERNEL(32) copy_words_k(const uint32_t *from, uint32_t *to, int n)
{
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) to[i] = from[i];
}

/* One block: a step block is eight words. */
extern "C" void hone_cuda_copy(hone_backend *b, void *to, const void *from, size_t bytes)
{
    HONE_LAUNCH(b, copy_words_k, 1, 32, 0, (const uint32_t *)from, (uint32_t *)to, (int)(bytes / 4));
}
