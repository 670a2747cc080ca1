/* edge_simd.h - the first n lanes of a vector from and to memory: the end of a row that is no whole number
 * of vectors. Masked moves where the instruction set has them (chosen by name, so without #if), a padded
 * copy elsewhere. Memory past n is neither read nor written. Only for files compiled per instruction set. */
#ifndef HONE_KERNELS_CPU_EDGE_SIMD_H
#define HONE_KERNELS_CPU_EDGE_SIMD_H

#include <string.h>

#include "cpu/simd.h"

/* lane i: all ones where i < n */
SIMD_INLINE vint v_first(int64_t n)
{
    vint lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < (int32_t)n;
}

/* Through a padded copy on the stack: what any machine can do. */
SIMD_INLINE vfloat edge_load_copy(const float *p, int64_t n)
{
    float x[LANES] = {0};
    memcpy(x, p, (size_t)n * sizeof *p);
    return v_load(x);
}

SIMD_INLINE void edge_store_copy(float *p, vfloat v, int64_t n)
{
    float x[LANES];
    v_store(x, v);
    memcpy(p, x, (size_t)n * sizeof *p);
}

/* One pair a set; only the running set's pair is ever expanded, so the others need not compile. */
#define EDGE_LOAD_base(p, n)       edge_load_copy(p, n)
#define EDGE_STORE_base(p, v, n)   edge_store_copy(p, v, n)
#define EDGE_LOAD_avx2(p, n)       __builtin_ia32_maskloadps256((const vfloat *)(p), v_first(n))
#define EDGE_STORE_avx2(p, v, n)   __builtin_ia32_maskstoreps256((vfloat *)(p), v_first(n), v)
#define EDGE_LOAD_avx512(p, n)     __builtin_ia32_loadups512_mask(p, (vfloat){0}, (unsigned short)((1u << (n)) - 1))
#define EDGE_STORE_avx512(p, v, n) __builtin_ia32_storeups512_mask(p, v, (unsigned short)((1u << (n)) - 1))

/* n (0 and up; LANES or more: all) floats of p, then zeros */
SIMD_INLINE vfloat v_load_some(const float *p, int64_t n)
{
    if (n >= LANES) return v_load(p);
    return SIMD_CAT(EDGE_LOAD, HONE_ISA)(p, n);
}

SIMD_INLINE void v_store_some(float *p, vfloat v, int64_t n)
{
    if (n >= LANES) v_store(p, v);
    else SIMD_CAT(EDGE_STORE, HONE_ISA)(p, v, n);
}

#endif
