/* philox_simd.h - dropout's mask for a run of elements, sixteen Philox counters at a time.
 *
 * The mask is the one of hone_dropout_keep (philox.h) to the bit, whatever the vector width. */
#ifndef HONE_KERNELS_CPU_PHILOX_SIMD_H
#define HONE_KERNELS_CPU_PHILOX_SIMD_H

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

/* keep[i] (KEEP_BLOCK) = 1 or 0 for elements 4*first .. 4*first + KEEP_BLOCK - 1. */
SIMD_INLINE void keep_block(const keep_rule *rule, uint64_t first, uint32_t keep[KEEP_BLOCK])
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

#endif
