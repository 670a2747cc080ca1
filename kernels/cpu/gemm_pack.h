/* gemm_pack.h - packing functions of one instruction set, for the table in gemm_simd.c alone; the contracts are
 * those of the table's members of the same names. */
#ifndef HONE_KERNELS_CPU_GEMM_PACK_H
#define HONE_KERNELS_CPU_GEMM_PACK_H

#include "cpu/gemm.h"
#include "cpu/simd.h"

void SIMD(hone_cpu_pack)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels);
void SIMD(hone_cpu_pack_turned)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld,
                                float *panels);
void SIMD(hone_cpu_pack_sum)(bool turned, int64_t k, const hone_cpu_sum *b, float *panel);
void SIMD(hone_cpu_half_sums)(int64_t m, int64_t n, const float *a, int64_t down, int64_t right, int64_t ld, float *out,
                              int64_t apart);

#endif
