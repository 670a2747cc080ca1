/* mma.cuh - tensor cores in the kernel's words: a product of 16 x 8 x 16, the loads that feed it, copies that run ahead.
 *
 * The one file with PTX. On the emulator the same words are computed by the documented layout of the fragments
 * (tests/simt/mma.cc, tests/simt/test_mma.cc). Lane l of a warp, group = l / 4, pair = l % 4 * 2, holds of
 *   a (16, 16)  a[0] = (group, pair..), a[1] = (group + 8, pair..), a[2] = (group, pair + 8..), a[3] = (group + 8, pair + 8..)
 *   b (16, 8)   b0 = (pair.., group), b1 = (pair + 8.., group)                two elements of 16 bits each, low half first
 *   c (16, 8)   c[0], c[1] = (group, pair..), c[2], c[3] = (group + 8, pair..)
 * so that two c side by side, rounded, are an a. All 32 lanes must come. */
#ifndef HONE_KERNELS_CUDA_MMA_CUH
#define HONE_KERNELS_CUDA_MMA_CUH

#include "hone_device.h"

#ifdef __CUDACC__

/* c += a b, sums in fp32; the last argument names the type. Pure: the compiler may move it as any arithmetic. */
__device__ static inline void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, bf16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ static inline void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, fp16)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* PTX addresses shared memory by 32 bits of its own. */
__device__ static inline uint32_t shared_address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }

/* Four 8 x 8 matrices: this lane names row l % 8 of matrix l / 8 (16 bytes of shared memory) and gets, in r[m], elements
 * (group, pair), (group, pair + 1) of matrix m; of its transpose by ldmatrix_transposed. Volatile and with memory, so that it
 * stays between the barriers that it stands between. */
__device__ static inline void ldmatrix(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ static inline void ldmatrix_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* 2^v by the one instruction that there is: 2 units in the last place, results under 2^-126 are 0. exp2f would wrap it in three
 * more that keep those. */
__device__ static inline float exp2_approx(float v)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
    return y;
}

/* A thread's copies of 16 bytes from global to shared memory. They may be read behind wait<n>(), which leaves the last n
 * committed groups under way, and by other threads behind a barrier after that. Where not `live`: zeros. */
struct async_copies {
    /* Both on multiples of 16 bytes; past L1, which nobody else would read it from. Where not live nothing is read: `from` may
     * point past the end. */
    __device__ void copy16(void *to, const void *from, bool live)
    {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                     "r"(live ? 16 : 0)
                     : "memory");
    }
    /* What was begun since the last commit is a group, an empty one too. */
    __device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
    template <int n> __device__ void wait() { asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory"); }
};

#else

/* Where the caller stands, so that lanes at two products are told apart. */
#define MMA_SITE simt::site at = {__builtin_FILE(), __builtin_LINE()}

static inline void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, bf16, MMA_SITE)
{
    const uint32_t b[2] = {b0, b1};
    simt::mma_bf16(at, c, a, b);
}
static inline void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, fp16, MMA_SITE)
{
    const uint32_t b[2] = {b0, b1};
    simt::mma_fp16(at, c, a, b);
}
static inline void ldmatrix(uint32_t (&r)[4], const void *row, MMA_SITE) { simt::ldmatrix(at, r, row, false); }
static inline void ldmatrix_transposed(uint32_t (&r)[4], const void *row, MMA_SITE)
{
    simt::ldmatrix(at, r, row, true);
}

static inline float exp2_approx(float v)
{
    const float y = exp2f(v);
    return y < 0x1p-126f ? 0 : y; /* a NaN stays one */
}

/* A copy may happen at any time until the wait that covers it: every other one is done at once, so that what is overwritten
 * too early shows, the others at the wait, so that one that is missing, or that covers less, shows as stale bytes. */
struct async_copies {
    enum { MOST = 128 };
    struct copy {
        void *to;
        const void *from;
        bool live;
        int group;
    } pending[MOST];
    int begin = 0, end = 0, group = 0; /* pending[begin..end) modulo MOST; the group that is being filled */
    unsigned started = 0;              /* with the thread's number it decides when a copy is done */

    static void perform(const copy &c)
    {
        static const unsigned char zeros[16] = {0};
        memcpy(c.to, c.live ? c.from : zeros, 16);
    }

    void copy16(void *to, const void *from, bool live, MMA_SITE)
    {
        if ((uintptr_t)to % 16 || (live && (uintptr_t)from % 16))
            simt::fault(at, "cp.async: not a multiple of 16 bytes");
        if (!simt::in_shared(to, 16)) simt::fault(at, "cp.async: not to shared memory");
        if (end - begin == MOST) simt::fault(at, "cp.async: more than %d copies under way, none waited for", MOST);
        if ((started++ + threadIdx.x) % 2) perform({to, from, live, group});
        else pending[end++ % MOST] = {to, from, live, group};
    }
    void commit() { group++; }
    template <int n> void wait()
    {
        for (; begin < end && pending[begin % MOST].group < group - n; begin++) perform(pending[begin % MOST]);
    }
};

#endif

#endif
