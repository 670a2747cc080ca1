/* philox_simd.h - dropout's mask for a run of elements, sixteen Philox counters at a time.
 *
 * The mask is the one of hone_dropout_keep (philox.h) to the bit, whatever the vector width. */
#ifndef HONE_KERNELS_CPU_PHILOX_SIMD_H
#define HONE_KERNELS_CPU_PHILOX_SIMD_H

#include <string.h>

#include "hone/philox.h"
#include "cpu/simd.h"

enum { KEEP_COUNTERS = 16, KEEP_BLOCK = 4 * KEEP_COUNTERS }; /* one Philox call serves four neighbours */

typedef struct keep_rule {
    uint64_t seed, step;
    uint32_t stream, threshold; /* draws of 24 bits below the threshold drop */
} keep_rule;

/* m * 2^-24 < p  <=>  m < ceil(p * 2^24): both sides are exact in double. */
SIMD_INLINE keep_rule keep_for(uint64_t seed, uint32_t stream, uint64_t step, float p)
{
    double limit = (double)p * 16777216.0;
    uint32_t whole = limit <= 0 ? 0 : (uint32_t)limit;
    return (keep_rule){seed, step, stream, whole + ((double)whole < limit)};
}

typedef uint32_t vword __attribute__((vector_size(4 * LANES)));
typedef uint64_t vwide __attribute__((vector_size(4 * LANES)));
typedef long long vlong __attribute__((vector_size(4 * LANES)));

/* The 64-bit products of the even lanes of a and b, by the instruction that reads no upper halves: the compiler does not know
 * that they are empty, and takes three products. Only the running set's row is ever used; base has no such name. */
#define PHILOX_EVEN_base(a, b)   ((vwide)(a) * (vwide)(b))
#define PHILOX_EVEN_avx2(a, b)   ((vwide)__builtin_ia32_pmuludq256((vint)(a), (vint)(b)))
#define PHILOX_EVEN_avx512(a, b) ((vwide)__builtin_ia32_pmuludq512_mask((vint)(a), (vint)(b), (vlong){0}, 255))

/* Lower and upper words of a * m, lane by lane (little-endian words of wide lanes, as x86 has them). */
SIMD_INLINE void philox_product(vword a, uint32_t m, vword *low, vword *high)
{
    const vwide upper = (vwide){0} + 0xFFFFFFFF00000000u;
    vword factor = (vword){0} + m;
    vwide even = SIMD_CAT(PHILOX_EVEN, HONE_ISA)(a, factor),
          odd = SIMD_CAT(PHILOX_EVEN, HONE_ISA)((vwide)a >> 32, factor);
    *low = (vword)((even & ~upper) | odd << 32);
    *high = (vword)(even >> 32 | (odd & upper));
}

/* hone_philox of LANES counters from `first` on: word k of counter i is r[k][i]. */
SIMD_INLINE void philox_lanes(const keep_rule *rule, uint64_t first, vword r[4])
{
    vword c[4], low[2], high[2];
    uint32_t k0 = (uint32_t)rule->seed, k1 = (uint32_t)(rule->seed >> 32) ^ rule->stream;
    uint32_t index[2][LANES]; /* lower and upper words of the counters */
    for (int i = 0; i < LANES; i++) {
        index[0][i] = (uint32_t)(first + (uint64_t)i);
        index[1][i] = (uint32_t)((first + (uint64_t)i) >> 32);
    }
    for (int k = 0; k < 2; k++) memcpy(&c[k], index[k], sizeof c[k]);
    c[2] = (vword){0} + (uint32_t)rule->step;
    c[3] = (vword){0} + (uint32_t)(rule->step >> 32);
    for (int round = 0; round < 10; round++) {
        philox_product(c[0], 0xD2511F53u, &low[0], &high[0]);
        philox_product(c[2], 0xCD9E8D57u, &low[1], &high[1]);
        c[0] = high[1] ^ c[1] ^ k0;
        c[2] = high[0] ^ c[3] ^ k1;
        c[1] = low[1];
        c[3] = low[0];
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int k = 0; k < 4; k++) r[k] = c[k];
}

/* A block counter by counter, for the compiler to make vectors of. */
SIMD_INLINE void keep_each(const keep_rule *rule, uint64_t first, uint32_t keep[KEEP_BLOCK])
{
    uint32_t threshold = rule->threshold;
#pragma omp simd
    for (int i = 0; i < KEEP_COUNTERS; i++) {
        hone_philox4 r = hone_philox(rule->seed, rule->stream, first + (uint64_t)i, rule->step);
        keep[4 * i] = r.v[0] >> 8 >= threshold;
        keep[4 * i + 1] = r.v[1] >> 8 >= threshold;
        keep[4 * i + 2] = r.v[2] >> 8 >= threshold;
        keep[4 * i + 3] = r.v[3] >> 8 >= threshold;
    }
}

/* A block by vectors of counters: a third of the instructions that the compiler makes of keep_each for AVX2. */
SIMD_INLINE void keep_lanes(const keep_rule *rule, uint64_t first, uint32_t keep[KEEP_BLOCK])
{
    for (int at = 0; at < KEEP_COUNTERS; at += LANES, keep += 4 * LANES) {
        vword r[4];
        philox_lanes(rule, first + (uint64_t)at, r);
        uint32_t word[4][LANES];
        for (int k = 0; k < 4; k++) {
            r[k] = (vword)(r[k] >> 8 >= rule->threshold) & 1;
            memcpy(word[k], &r[k], sizeof r[k]);
        }
#pragma omp simd
        for (int i = 0; i < LANES; i++) {
            keep[4 * i] = word[0][i];
            keep[4 * i + 1] = word[1][i];
            keep[4 * i + 2] = word[2][i];
            keep[4 * i + 3] = word[3][i];
        }
    }
}

/* keep[i] (KEEP_BLOCK) = 1 or 0 for elements 4*first .. 4*first + KEEP_BLOCK - 1. */
#define KEEP_BY_base   keep_each
#define KEEP_BY_avx2   keep_lanes
#define KEEP_BY_avx512 keep_lanes
#define keep_block     SIMD_CAT(KEEP_BY, HONE_ISA)

#endif
