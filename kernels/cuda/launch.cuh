/* launch.cuh - what launchers share: grid sizes, the one switch on dtype, vector loops.
 *
 * Elementwise kernels read and write 16 bytes a thread and stride over the grid, so that any count
 * works, past 2^31 too; tensors start on 64-byte borders (the planner's promise), so only the tail
 * needs single elements. */
#ifndef HONE_KERNELS_CUDA_LAUNCH_CUH
#define HONE_KERNELS_CUDA_LAUNCH_CUH

#include "hone_device.h"

/* Enough blocks to fill the largest chip; a grid-stride loop does the rest. */
static const int MAP_THREADS = 256, MAP_BLOCKS_MOST = HONE_FILL_BLOCKS;

static inline unsigned map_blocks(int64_t items)
{
    int64_t blocks = (items + MAP_THREADS - 1) / MAP_THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks > MAP_BLOCKS_MOST ? MAP_BLOCKS_MOST : blocks);
}

/* Calls f with a null pointer of the storage type: f((float *)0), f((bf16 *)0) or f((fp16 *)0). */
template <typename F> static inline void with_dtype(hone_dtype dtype, F f)
{
    if (dtype == HONE_BF16) f((bf16 *)nullptr);
    else if (dtype == HONE_F16) f((fp16 *)nullptr);
    else f((float *)nullptr);
}

/* y[i] = f(x[i]) and z[i] = f(x[i], y[i]), f in float. (n) elements each; in place is fine. */
template <typename T, typename F> HONE_KERNEL(MAP_THREADS) map_k(const T *x, T *y, int64_t n, F f)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t packs = n / pack<T>::size;
    for (int64_t p = first; p < packs; p += step) {
        pack<T> v = ((const pack<T> *)x)[p];
#pragma unroll
        for (int k = 0; k < pack<T>::size; k++) v.v[k] = from_float<T>(f(to_float(v.v[k])));
        ((pack<T> *)y)[p] = v;
    }
    for (int64_t i = packs * pack<T>::size + first; i < n; i += step) y[i] = from_float<T>(f(to_float(x[i])));
}

template <typename T, typename F> HONE_KERNEL(MAP_THREADS) zip_k(const T *x, const T *y, T *z, int64_t n, F f)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t packs = n / pack<T>::size;
    for (int64_t p = first; p < packs; p += step) {
        pack<T> v = ((const pack<T> *)x)[p], u = ((const pack<T> *)y)[p];
#pragma unroll
        for (int k = 0; k < pack<T>::size; k++) v.v[k] = from_float<T>(f(to_float(v.v[k]), to_float(u.v[k])));
        ((pack<T> *)z)[p] = v;
    }
    for (int64_t i = packs * pack<T>::size + first; i < n; i += step)
        z[i] = from_float<T>(f(to_float(x[i]), to_float(y[i])));
}

template <typename F> static inline void launch_map(hone_backend *b, const hone_launch *l, F f)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, (map_k<T, F>), map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0, (const T *)l->in[0],
                    (T *)l->out[0], n, f);
    });
}

template <typename F> static inline void launch_zip(hone_backend *b, const hone_launch *l, F f)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, (zip_k<T, F>), map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0, (const T *)l->in[0],
                    (const T *)l->in[1], (T *)l->out[0], n, f);
    });
}

#endif
