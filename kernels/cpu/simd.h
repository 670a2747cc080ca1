/* simd.h - what a file *_simd.c needs to be compiled once per instruction set without any #if.
 *
 * The build defines HONE_ISA as base, avx2 or avx512 and gives the matching -march. This header then
 * names the widest vector type of that set (GCC vector extensions, so that base also serves aarch64),
 * and SIMD(f) turns a function name into f_base, f_avx2 or f_avx512. Nothing here may be included
 * by a file that is compiled once; those see the three names through cpu.h. */
#ifndef HONE_KERNELS_CPU_SIMD_H
#define HONE_KERNELS_CPU_SIMD_H

#include <stdint.h>

#define SIMD_CAT_(a, b) a##_##b
#define SIMD_CAT(a, b)  SIMD_CAT_(a, b)
#define SIMD(name)      SIMD_CAT(name, HONE_ISA)

/* floats in a vector, and rows of the GEMM register tile: rows * 2 accumulators + operands must fit
 * the register file (16 registers of SSE and AVX2, 32 of AVX-512) */
#define SIMD_LANES_base   4
#define SIMD_LANES_avx2   8
#define SIMD_LANES_avx512 16
#define SIMD_ROWS_base    6
#define SIMD_ROWS_avx2    6
#define SIMD_ROWS_avx512  14
#define LANES             SIMD_CAT(SIMD_LANES, HONE_ISA)
#define TILE_ROWS         SIMD_CAT(SIMD_ROWS, HONE_ISA)
#define TILE_COLS         (2 * LANES)

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef float vfloat_unaligned __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
typedef int32_t vint_unaligned __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE vfloat v_load(const float *p) { return *(const vfloat_unaligned *)p; }
SIMD_INLINE void v_store(float *p, vfloat v) { *(vfloat_unaligned *)p = v; }
SIMD_INLINE vfloat v_set(float x) { return x - (vfloat){0}; }

/* Lane by lane: where m (all ones or all zeros, as a comparison gives) a, else b. */
SIMD_INLINE vfloat v_select(vint m, vfloat a, vfloat b) { return (vfloat)(((vint)a & m) | ((vint)b & ~m)); }
/* max(a, b) that keeps a NaN in a, as x > 0 ? x : 0 written for relu must. */
SIMD_INLINE vfloat v_max(vfloat a, vfloat b) { return v_select(a < b, b, a); }
SIMD_INLINE vfloat v_min(vfloat a, vfloat b) { return v_select(a > b, b, a); }

#endif
