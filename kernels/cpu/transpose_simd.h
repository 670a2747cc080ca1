/* transpose_simd.h - a (LANES, LANES) matrix in registers becomes its transpose, in log2(LANES) stages of
 * two-operand shuffles. Only for files that are compiled once per instruction set. */
#ifndef HONE_KERNELS_CPU_TRANSPOSE_SIMD_H
#define HONE_KERNELS_CPU_TRANSPOSE_SIMD_H

#include "cpu/simd.h"

/* Element e of the two masks of a butterfly of distance d in a transposition: lanes with bit d clear keep
 * their side; the others come from the partner (second operands count from LANES). */
#define LOW(e, d)      (((e) & (d)) ? LANES + (e) - (d) : (e))
#define HIGH(e, d)     (((e) & (d)) ? LANES + (e) : (e) + (d))
#define MASK4(F, e, d) F(e, d), F(e + 1, d), F(e + 2, d), F(e + 3, d)
#define MASK_4(F, d)                                                                                                   \
    {                                                                                                                  \
        MASK4(F, 0, d)                                                                                                 \
    }
#define MASK_8(F, d)                                                                                                   \
    {                                                                                                                  \
        MASK4(F, 0, d), MASK4(F, 4, d)                                                                                 \
    }
#define MASK_16(F, d)                                                                                                  \
    {                                                                                                                  \
        MASK4(F, 0, d), MASK4(F, 4, d), MASK4(F, 8, d), MASK4(F, 12, d)                                                \
    }
#define MASK__(n)   MASK_##n
#define MASK_FOR(n) MASK__(n)
#define MASK(F, d)  MASK_FOR(LANES)(F, d)

SIMD_INLINE void v_butterfly(vfloat x[LANES], const int d, vint low, vint high)
{
#pragma GCC unroll 16
    /* rows i and i + d exchange their off-diagonal blocks of side d */
    for (int i = 0; i < LANES; i++)
        if (!(i & d)) {
            vfloat a = x[i], b = x[i + d];
            x[i] = __builtin_shuffle(a, b, low);
            x[i + d] = __builtin_shuffle(a, b, high);
        }
}

/* x as a (LANES, LANES) matrix becomes its transpose. */
SIMD_INLINE void v_transpose(vfloat x[LANES])
{
    if (LANES > 8) v_butterfly(x, LANES > 8 ? 8 : 1, (vint)MASK(LOW, 8), (vint)MASK(HIGH, 8));
    if (LANES > 4) v_butterfly(x, LANES > 4 ? 4 : 1, (vint)MASK(LOW, 4), (vint)MASK(HIGH, 4));
    v_butterfly(x, 2, (vint)MASK(LOW, 2), (vint)MASK(HIGH, 2));
    v_butterfly(x, 1, (vint)MASK(LOW, 1), (vint)MASK(HIGH, 1));
}

#endif
