/* hone_device.h - the one header of every .cu file: CUDA's language, or the emulator's.
 *
 * A .cu file holds kernels and thin extern "C" launchers and is compiled twice: by nvcc for the GPU,
 * and as C++ over tests/simt for machines without one. So it uses these words in place of what only
 * nvcc knows: HONE_KERNEL and HONE_KERNEL_BLOCKS (bounds on threads), HONE_SHARED, HONE_DYNAMIC_SHARED, HONE_LAUNCH, HONE_LAUNCH_LARGE. No
 * <<<>>>, no runtime calls, no PTX. Storage is float, bf16 or fp16; arithmetic is float. */
#ifndef HONE_KERNELS_CUDA_DEVICE_H
#define HONE_KERNELS_CUDA_DEVICE_H

#include "hone/backend.h"
#include "hone/philox.h"

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

typedef __nv_bfloat16 bf16;
typedef __half fp16;

/* The compute stream of a backend (cuda_backend.c). */
extern "C" cudaStream_t hone_cuda_stream(hone_backend *b);
/* Remembers the first failed launch; the next sync reports it. Launches themselves can't fail. */
extern "C" void hone_cuda_launched(hone_backend *b, const char *kernel, cudaError_t error);

/* "1" block a multiprocessor at least: else ptxas spills a few bytes to fit more blocks than we asked for. */
#define HONE_FILL_BLOCKS         (132 * 8) /* eight on each multiprocessor of the largest chip */
#define HONE_KERNEL(max_threads) __global__ void __launch_bounds__(max_threads, 1)
/* The same where `blocks` are launched on each multiprocessor at once, and their registers must have room there. */
#define HONE_KERNEL_BLOCKS(max_threads, blocks) __global__ void __launch_bounds__(max_threads, blocks)
#define HONE_SHARED(type, name, count)          __shared__ type name[count]
#define HONE_DYNAMIC_SHARED(type, name)                                                                                \
    extern __shared__ __align__(128) unsigned char name##_bytes[];                                                     \
    type *name = (type *)name##_bytes
#define HONE_LAUNCH(b, kernel, grid, block, shared_bytes, ...)                                                         \
    do {                                                                                                               \
        kernel<<<grid, block, shared_bytes, hone_cuda_stream(b)>>>(__VA_ARGS__);                                       \
        hone_cuda_launched(b, #kernel, cudaPeekAtLastError());                                                         \
    } while (0)
/* The same with more dynamic shared memory than the 48 KiB that a kernel has without asking. */
#define HONE_LAUNCH_LARGE(b, kernel, grid, block, shared_bytes, ...)                                                   \
    do {                                                                                                               \
        cudaError_t asked_ =                                                                                           \
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(shared_bytes));            \
        if (asked_ != cudaSuccess) hone_cuda_launched(b, #kernel, asked_);                                             \
        HONE_LAUNCH(b, kernel, grid, block, shared_bytes, __VA_ARGS__);                                                \
    } while (0)

__device__ static inline float to_float(float v) { return v; }
__device__ static inline float to_float(bf16 v) { return __bfloat162float(v); }
__device__ static inline float to_float(fp16 v) { return __half2float(v); }
template <typename T> __device__ static inline T from_float(float v);
template <> __device__ inline float from_float<float>(float v) { return v; }
template <> __device__ inline bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }
template <> __device__ inline fp16 from_float<fp16>(float v) { return __float2half_rn(v); }

/* Two floats rounded to nearest, low half first. */
__device__ static inline uint32_t pack_pair(float low, float high, bf16)
{
    const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&v;
}
__device__ static inline uint32_t pack_pair(float low, float high, fp16)
{
    const __half2 v = __floats2half2_rn(low, high);
    return *(const uint32_t *)&v;
}

/* One of such a pair, exactly: the low one, or the high one. */
__device__ static inline float pair_half(uint32_t pair, bool high, bf16)
{
    return __uint_as_float(high ? pair & 0xffff0000u : pair << 16);
}
__device__ static inline float pair_half(uint32_t pair, bool high, fp16)
{
    return __half2float(__ushort_as_half((unsigned short)(high ? pair >> 16 : pair)));
}

/* Sixteen bytes that nobody reads again soon: they leave L2 first, and what will be read again stays. */
template <typename P> __device__ static inline P load_once(const P *p)
{
    static_assert(sizeof(P) == 16, "one access");
    const uint4 raw = __ldcs((const uint4 *)p);
    P v;
    memcpy(&v, &raw, sizeof v);
    return v;
}

#else

#include "simt.h"

/* 16-bit floats as the GPU rounds them: to nearest, ties to even. */
struct bf16 {
    uint16_t bits;
};
struct fp16 {
    _Float16 value;
};

extern "C" void hone_cuda_launched(hone_backend *b, const char *kernel, int error);

#define HONE_FILL_BLOCKS                        6 /* few, so that loops over the grid go round more than once */
#define HONE_KERNEL(max_threads)                [[maybe_unused]] static void
#define HONE_KERNEL_BLOCKS(max_threads, blocks) HONE_KERNEL(max_threads)
#define HONE_SHARED(type, name, count)                                                                                 \
    static const char name##_key = 0;                                                                                  \
    type *name = (type *)simt::shared(&name##_key, #name, sizeof(type) * (count), alignof(type))
#define HONE_DYNAMIC_SHARED(type, name) type *name = (type *)simt::dynamic_shared()
#define HONE_LAUNCH(b, kernel, grid, block, shared_bytes, ...)                                                         \
    hone_cuda_launched(b, #kernel,                                                                                     \
                       simt::launch_kernel({dim3(grid), dim3(block), (size_t)(shared_bytes), false, 1024, #kernel},    \
                                           kernel, __VA_ARGS__))
#define HONE_LAUNCH_LARGE HONE_LAUNCH /* the emulator's blocks have 227 KiB, as sm_90's */

static inline float to_float(float v) { return v; }
static inline float to_float(fp16 v) { return (float)v.value; }
static inline float to_float(bf16 v)
{
    uint32_t bits = (uint32_t)v.bits << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
template <typename T> static inline T from_float(float v);
template <> inline float from_float<float>(float v) { return v; }
template <> inline fp16 from_float<fp16>(float v) { return {(_Float16)v}; }
template <> inline bf16 from_float<bf16>(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v != v) return {(uint16_t)(bits >> 16 | 0x40)}; /* a NaN stays one */
    return {(uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

template <typename T> static inline uint32_t pack_pair(float low, float high, T)
{
    const T pair[2] = {from_float<T>(low), from_float<T>(high)};
    uint32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return bits;
}

template <typename T> static inline float pair_half(uint32_t pair, bool high, T)
{
    T v[2];
    memcpy(v, &pair, sizeof pair);
    return to_float(v[high]);
}

template <typename P> static inline P load_once(const P *p) { return *p; }

#endif

/* Sixteen bytes of T: the widest access of a thread. */
template <typename T> struct alignas(16) pack {
    enum { size = 16 / sizeof(T) };
    T v[size];
};

#endif
