/* roof_simd.c - the most that one thread can do: multiply-adds that depend on nothing but themselves.
 *
 * Twelve accumulators hide the latency of a multiply-add (4 cycles on two ports need 8) and fit the 16
 * registers of the smaller sets. Not an op: `hone bench` measures the roof with it. */
#include "cpu/simd.h"
#include "cpu/roof.h"

enum { ACCUMULATORS = 12 };

/* `rounds` multiply-adds in each lane of each accumulator; returns how many operations that were (a
 * multiply-add counts 2). `sink`: any number to start from; the result goes there, so that no work is left out. */
double SIMD(hone_cpu_roof_fma)(int64_t rounds, float *sink)
{
    vfloat a[ACCUMULATORS], scale = v_set(0.999f), step = v_set(1e-3f), sum = v_set(0);
    /* from memory: of a start that it knows, such as the fixed point 1, the compiler leaves the loop out */
    for (int k = 0; k < ACCUMULATORS; k++) a[k] = v_set(*sink + (float)k);
    for (int64_t r = 0; r < rounds; r++)
        for (int k = 0; k < ACCUMULATORS; k++) a[k] = a[k] * scale + step;
    for (int k = 0; k < ACCUMULATORS; k++) sum += a[k];
    *sink = sum[0];
    return 2.0 * ACCUMULATORS * LANES * (double)rounds;
}
