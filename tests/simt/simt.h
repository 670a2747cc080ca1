/* simt.h - CUDA's kernel language on a CPU, for tests: every CUDA thread is a fiber.
 *
 * kernels/cuda/hone_device.h includes this instead of the CUDA headers when a .cu file is compiled as
 * C++. All threads of a block live on one OS thread and take turns only at barriers, warp operations
 * and atomics, in an order that the schedule decides (HONE_SIMT=order | reverse | random:SEED |
 * greedy:SEED), so that a missing barrier shows. What CUDA leaves undefined is an error here: divergent
 * or exited-thread barriers, lanes outside a mask, misaligned vector access (UBSan), shared memory that
 * is read before it is written (it holds NaNs), and any byte outside an array (red zones, ASan).
 * HONE_SIMT=dry checks and counts launches and runs none, for steps of any size.
 * Tensor cores are computed by the documented layout of their operands (mma.cc), an asynchronous copy happens at once or
 * when it is waited for (kernels/cuda/mma.cuh). Not modelled: weak memory ordering, bank conflicts, occupancy, approximate intrinsics, clusters. */
#ifndef HONE_SIMT_H
#define HONE_SIMT_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

/* The whole file is read by column, as a table of CUDA's words beside what each turns into. */
/* clang-format off */
struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
/* CUDA's vector types with CUDA's alignment: a misaligned access is caught by UBSan. */
struct alignas(8)  float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8)  uint2  { unsigned x, y; };
struct alignas(16) uint4  { unsigned x, y, z, w; };
struct alignas(8)  int2   { int x, y; };
struct alignas(16) int4   { int x, y, z, w; };
struct alignas(4)  uchar4 { unsigned char x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4  make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace simt {

/* Where a collective operation stands in the source; threads that meet must meet at one place. */
struct site { const char *file; int line; };

struct position { uint3 thread, block; dim3 block_dim, grid_dim; };
const position &self();

/* --- what the kernel's words turn into --------------------------------------------------------- */
enum class warp_op { sync, shuffle, shuffle_up, shuffle_down, shuffle_xor, ballot, all, any, reduce_add, reduce_max, together };
int      barrier(site at, int kind, int value);  /* kind 0 sync, 1 count, 2 and, 3 or; returns the reduction */
uint64_t warp(site at, warp_op op, unsigned mask, uint64_t value, int argument, int width);
/* All 32 lanes meet, and whoever comes last does `work` for them: each lane gives `mine`, work gets the lanes' in order. */
void     together(site at, void (*work)(void *const *lane), void *mine);
void    *shared(const void *key, const char *name, size_t bytes, size_t align);
void    *dynamic_shared();
bool     in_shared(const void *at, size_t bytes); /* whether they lie in the block's own shared memory */
void     grid_sync(site at);
void     fence(); /* behind it a thread sees what others had written before theirs; only a race detector cares */
void     yield(); /* atomics give others a turn, so that a spinning thread can't hang the block */
/* Says what is wrong; fault() also abandons the launch it stands in. */
void report(site at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void fault(site at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Tensor cores, with the lanes' shares of the matrices as the PTX ISA has them: mma.cc */
/* mma.sync.m16n8k16.row.col: c (16, 8) += a (16, 16) b (16, 8), sums in fp32; 16-bit pairs, low half first. */
void mma_bf16(site at, float *c, const uint32_t *a, const uint32_t *b);
void mma_fp16(site at, float *c, const uint32_t *a, const uint32_t *b);
/* ldmatrix.x4: lane i gives row i % 8 of matrix i / 8; rows[i] is what lane i gave. Faults on an address that is not a
 * multiple of 16 bytes in shared memory. The lanes read the elements themselves, so that races show. */
void matrix_rows(site at, const void *row, const void **rows);
static inline void ldmatrix(site at, uint32_t *r, const void *row, bool transposed)
{
    const void *rows[32];
    matrix_rows(at, row, rows);
    const unsigned lane = self().thread.x & 31, major = lane / 4, minor = lane % 4 * 2; /* blocks of warps in x */
    for (unsigned m = 0; m < 4; m++) {
        uint16_t pair[2];
        for (unsigned k = 0; k < 2; k++) {
            const unsigned i = transposed ? minor + k : major, j = transposed ? major : minor + k;
            memcpy(&pair[k], (const char *)rows[8 * m + i] + 2 * j, 2);
        }
        r[m] = (uint32_t)pair[0] | (uint32_t)pair[1] << 16;
    }
}

template <typename T> T warp_value(site at, warp_op op, unsigned mask, T value, int argument, int width)
{
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = warp(at, op, mask, bits, argument, width);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* --- launching ----------------------------------------------------------------------------------- */
struct launch_shape { dim3 grid, block; size_t dynamic_bytes; bool cooperative; int max_threads; const char *name; };
/* Queues the launch on the one stream; it runs at the next synchronisation (HONE_SIMT_EAGER=1: at once),
 * so a missing one shows as stale data. Returns 0, or 1 where CUDA would refuse the configuration. */
int launch(const launch_shape &shape, std::function<void()> body);

/* Arguments are converted to the parameters' types and stored once, at launch, as CUDA does. */
template <typename... P, typename... A>
int launch_kernel(launch_shape shape, void (*kernel)(P...), A &&...argument)
{
    auto stored = std::make_shared<std::tuple<std::decay_t<P>...>>(std::forward<A>(argument)...);
    return launch(shape, [kernel, stored] { std::apply(kernel, *stored); });
}

/* --- device memory: filled with 0xFF, between guards, and out of reach of host code under ASan ------- */
void *device_alloc(size_t bytes);  /* 256-byte aligned; nullptr when refused (injected failure)            */
void  device_free(void *ptr);
int   copy(void *to, const void *from, size_t bytes, bool to_device); /* ordered after the queued launches  */
int   copy_later(void *to, const void *from, size_t bytes); /* to the device; `from` is read when its turn comes (pinned) */
int   fill(void *to, int byte, size_t bytes);
int   synchronize();
/* What is queued between begin and end is kept instead of run; replay queues it again (a CUDA graph). */
void  record_begin();
void *record_end();
void  record_replay(void *recorded);
void  record_free(void *recorded);

/* --- for tests ------------------------------------------------------------------------------------ */
void     set_schedule(const char *text);  /* as HONE_SIMT; nullptr = read the environment again        */
uint64_t launches();                      /* since the program began                                   */
/* With a handler, a fault unwinds to the launch and calls it instead of ending the program. */
void     on_fault(void (*handler)(const char *message));
int      faults();

} // namespace simt

#define SIMT_SITE (simt::site{__FILE__, __LINE__})
#define threadIdx (simt::self().thread)
#define blockIdx  (simt::self().block)
#define blockDim  (simt::self().block_dim)
#define gridDim   (simt::self().grid_dim)
#define warpSize  32

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __constant__ static const

#define __syncthreads()          ((void)simt::barrier(SIMT_SITE, 0, 0))
#define __syncthreads_count(p)   simt::barrier(SIMT_SITE, 1, (p) != 0)
#define __syncthreads_and(p)     simt::barrier(SIMT_SITE, 2, (p) != 0)
#define __syncthreads_or(p)      simt::barrier(SIMT_SITE, 3, (p) != 0)
#define __syncwarp(...)          ((void)simt::warp(SIMT_SITE, simt::warp_op::sync, simt::mask_or_all(__VA_ARGS__), 0, 0, 32))
#define __shfl_sync(mask, v, lane, ...)      simt::warp_value(SIMT_SITE, simt::warp_op::shuffle, mask, v, lane, simt::width_or_32(__VA_ARGS__))
#define __shfl_up_sync(mask, v, delta, ...)  simt::warp_value(SIMT_SITE, simt::warp_op::shuffle_up, mask, v, (int)(delta), simt::width_or_32(__VA_ARGS__))
#define __shfl_down_sync(mask, v, delta, ...) simt::warp_value(SIMT_SITE, simt::warp_op::shuffle_down, mask, v, (int)(delta), simt::width_or_32(__VA_ARGS__))
#define __shfl_xor_sync(mask, v, bits, ...)  simt::warp_value(SIMT_SITE, simt::warp_op::shuffle_xor, mask, v, bits, simt::width_or_32(__VA_ARGS__))
#define __ballot_sync(mask, p)   ((unsigned)simt::warp(SIMT_SITE, simt::warp_op::ballot, mask, (p) != 0, 0, 32))
#define __all_sync(mask, p)      ((int)simt::warp(SIMT_SITE, simt::warp_op::all, mask, (p) != 0, 0, 32))
#define __any_sync(mask, p)      ((int)simt::warp(SIMT_SITE, simt::warp_op::any, mask, (p) != 0, 0, 32))
#define __reduce_add_sync(mask, v) ((unsigned)simt::warp(SIMT_SITE, simt::warp_op::reduce_add, mask, (unsigned)(v), 0, 32))
#define __reduce_max_sync(mask, v) ((unsigned)simt::warp(SIMT_SITE, simt::warp_op::reduce_max, mask, (unsigned)(v), 0, 32))
#define __threadfence()       simt::fence()
#define __threadfence_block() ((void)0)

namespace simt {
static inline unsigned mask_or_all(unsigned mask = 0xffffffffu) { return mask; }
static inline int      width_or_32(int width = 32) { return width; }
} // namespace simt

/* Integer atomics; float ones are not offered, because their result would depend on the order. One thread runs at a
 * time, so load and store need no loop; they are atomic for ThreadSanitizer, which would call plain ones a race. */
namespace simt {
template <typename T, typename F> static inline T atomically(T *at, F next)
{
    static_assert(std::is_integral<T>::value, "no float atomics: two runs must give the same bits");
    yield();
    T before = __atomic_load_n(at, __ATOMIC_RELAXED);
    __atomic_store_n(at, (T)next(before), __ATOMIC_RELAXED);
    return before;
}
} // namespace simt
template <typename T> static inline T atomicAdd(T *at, T value) { return simt::atomically(at, [&](T v) { return v + value; }); }
template <typename T> static inline T atomicMax(T *at, T value) { return simt::atomically(at, [&](T v) { return value > v ? value : v; }); }
template <typename T> static inline T atomicMin(T *at, T value) { return simt::atomically(at, [&](T v) { return value < v ? value : v; }); }
template <typename T> static inline T atomicOr(T *at, T value) { return simt::atomically(at, [&](T v) { return v | value; }); }
template <typename T> static inline T atomicExch(T *at, T value) { return simt::atomically(at, [&](T) { return value; }); }
template <typename T> static inline T atomicCAS(T *at, T expected, T value) { return simt::atomically(at, [&](T v) { return v == expected ? value : v; }); }

template <typename T> static inline T __ldg(const T *p) { return *p; }
template <typename T> static inline T __ldcs(const T *p) { return *p; }
template <typename T> static inline void __stcs(T *p, T v) { *p = v; }
static inline int   __popc(unsigned v) { return __builtin_popcount(v); }
static inline int   __ffs(int v) { return __builtin_ffs(v); }
static inline int   __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline float __int_as_float(int v) { float f; memcpy(&f, &v, 4); return f; }
static inline int   __float_as_int(float v) { int i; memcpy(&i, &v, 4); return i; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
static inline float __fdividef(float a, float b) { return a / b; }
#define __expf(v) expf(v) /* glibc declares these names, so macros */
#define __logf(v) logf(v)

#endif
