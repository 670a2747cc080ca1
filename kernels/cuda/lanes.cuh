/* lanes.cuh - W neighbours of a row in one access, as floats in registers.
 *
 * `at` is a multiple of W elements from the beginning of a tensor (64-byte borders, the planner's promise): a row of C
 * channels wherever W divides C. Of fp32 two accesses of 16 bytes make up for one of 16-bit storage. */
#ifndef HONE_KERNELS_CUDA_LANES_CUH
#define HONE_KERNELS_CUDA_LANES_CUH

#include <type_traits>

#include "hone_device.h"

/* N neighbours: one access, of 16 bytes at most. */
template <typename T, int N> struct alignas(sizeof(T) * N) lanes {
    T v[N];
};

template <typename T, int W> __device__ static inline void read_lanes(const T *at, float (&v)[W])
{
    constexpr int N = W < pack<T>::size ? W : pack<T>::size;
#pragma unroll
    for (int k = 0; k < W; k += N) {
        const lanes<T, N> p = *(const lanes<T, N> *)(at + k);
#pragma unroll
        for (int j = 0; j < N; j++) v[k + j] = to_float(p.v[j]);
    }
}

template <typename T, int W> __device__ static inline void write_lanes(T *at, const float (&v)[W])
{
    constexpr int N = W < pack<T>::size ? W : pack<T>::size;
#pragma unroll
    for (int k = 0; k < W; k += N) {
        lanes<T, N> p;
#pragma unroll
        for (int j = 0; j < N; j++) p.v[j] = from_float<T>(v[k + j]);
        *(lanes<T, N> *)(at + k) = p;
    }
}

/* Calls f with the widest W whose packs fill rows of `channels`, as a constant: of 16 bytes, or 1. */
template <typename T, typename F> static inline void with_width(int64_t channels, F f)
{
    if (channels % pack<T>::size == 0) f(std::integral_constant<int, pack<T>::size>());
    else f(std::integral_constant<int, 1>());
}

#endif
