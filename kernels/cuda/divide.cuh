/* divide.cuh - division by a number that the host knows: a multiplication and a shift in place of some twenty
 * instructions, or of a hundred for 64 bits. For kernels that turn a flat index into a place.
 *
 * Granlund & Montgomery, 1994, figure 4.1, with one bit less: dividends are below 2^31, so that nothing overflows. */
#ifndef HONE_KERNELS_CUDA_DIVIDE_CUH
#define HONE_KERNELS_CUDA_DIVIDE_CUH

#include "hone_device.h"

static const int64_t DIVIDEND_MOST = 0x7fffffff;

struct divider {
    unsigned divisor, factor, shift;
    __device__ unsigned quotient(unsigned n) const { return (__umulhi(n, factor) + n) >> shift; }
    /* Moves n on to the quotient and gives what is left: the last coordinate of a flat index. */
    __device__ int split(unsigned &n) const
    {
        const unsigned q = quotient(n), rest = n - q * divisor;
        n = q;
        return (int)rest;
    }
};

/* 1 <= divisor < 2^31 */
static inline divider divider_by(int64_t divisor)
{
    unsigned shift = 0;
    while ((int64_t)1 << shift < divisor) shift++;
    return {(unsigned)divisor, (unsigned)(((((uint64_t)1 << shift) - (uint64_t)divisor) << 32) / (uint64_t)divisor + 1),
            shift};
}

#endif
