/* random.cu - random numbers for timing library calls (libraries.h); no op of ops.def.
 *
 * Philox, so the same seed gives the same numbers on every device and the choice of an algorithm can be repeated. */
#include "launch.cuh"
#include "libraries.h"

/* y (n), four neighbours a draw */
template <typename T> HONE_KERNEL(MAP_THREADS) fill_random_k(T *y, int64_t n, uint32_t seed)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, quads = (n + 3) / 4;
    for (int64_t q = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; q < quads; q += step) {
        hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)q, 0);
        for (int k = 0; k < 4 && 4 * q + k < n; k++) y[4 * q + k] = from_float<T>(2 * hone_uniform(r.v[k]) - 1);
    }
}

extern "C" void hone_cuda_fill_random(hone_backend *b, hone_dtype dtype, void *data, int64_t count, uint32_t seed)
{
    with_dtype(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, fill_random_k<T>, map_blocks((count + 3) / 4), MAP_THREADS, 0, (T *)data, count, seed);
    });
}
