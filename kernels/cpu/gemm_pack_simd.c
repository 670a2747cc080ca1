/* gemm_pack_simd.c - operand b of a product in panels, and signed sums of matrices, once per instruction set.
 *
 * Packing is a copy or, for b turned, a transposition in squares of registers; a sum of up to four matrices is
 * made on the way. Bound by L2: no threads here, no memory but what the caller passes. */
#include <string.h>

#include "cpu/simd.h"
#include "cpu/edge_simd.h"
#include "cpu/transpose_simd.h"
#include "cpu/gemm_pack.h"

/* b (k, n) as it lies: copies of TILE_COLS floats; the last panel is filled up with zeros. */
void SIMD(hone_cpu_pack)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels)
{
    for (int64_t q = first; q < last; q++) {
        const float *src = b + q * TILE_COLS;
        float *dst = panels + q * k * TILE_COLS;
        int64_t nj = n - q * TILE_COLS;
        for (int64_t p = 0; p < k; p++, src += ld, dst += TILE_COLS) {
            if (nj >= TILE_COLS) {
                v_store(dst, v_load(src));
                v_store(dst + LANES, v_load(src + LANES));
            } else {
                memset(dst, 0, TILE_COLS * sizeof *dst);
                memcpy(dst, src, (size_t)nj * sizeof *dst);
            }
        }
    }
}

/* A vector of a sum at `at`, of which n lanes exist; `count` and `whole` (all lanes exist) are constants where this
 * is expanded. A factor of 1 or -1 rounds nothing. */
SIMD_INLINE vfloat load_sum(const hone_cpu_sum *s, const int count, const int whole, int64_t at, int64_t n)
{
    vfloat x = whole ? v_load(s->at[0] + at) : v_load_some(s->at[0] + at, n);
#pragma GCC unroll 4
    for (int t = 1; t < count; t++)
        x += v_set(s->sign[t]) * (whole ? v_load(s->at[t] + at) : v_load_some(s->at[t] + at, n));
    return x;
}

/* A square of LANES columns of a panel from as many rows of b turned, of which the first n columns exist */
SIMD_INLINE void turn_square(const hone_cpu_sum *s, const int count, const int whole, int64_t at, int64_t n, float *dst)
{
    vfloat x[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) x[i] = load_sum(s, count, whole, at + i * s->ld, n);
    v_transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (whole || i < n) v_store(dst + i * TILE_COLS, x[i]);
}

/* LANES columns of a panel */
SIMD_INLINE void turn_half(const hone_cpu_sum *sum, const int count, int64_t k, int64_t at, float *dst)
{
    const hone_cpu_sum s = *sum; /* pointers in registers: dst may alias the struct for all the compiler knows */
    int64_t p = 0;
    for (; p + LANES <= k; p += LANES) turn_square(&s, count, 1, at + p, LANES, dst + p * TILE_COLS);
    if (p < k) turn_square(&s, count, 0, at + p, k - p, dst + p * TILE_COLS);
}

/* The same where b ends after n < LANES rows: the others give zeros. */
static void turn_edge(int64_t n, int64_t k, const float *src, int64_t ld, float *dst)
{
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < LANES; i++) dst[p * TILE_COLS + i] = i < n ? src[i * ld + p] : 0.0f;
}

/* b (n, k): both halves of each panel by square transpositions. */
void SIMD(hone_cpu_pack_turned)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld,
                                float *panels)
{
    hone_cpu_sum s = {.at = {b}, .count = 1, .ld = ld};
    for (int64_t q = first; q < last; q++)
        for (int64_t half = 0; half < 2; half++) {
            int64_t j = q * TILE_COLS + half * LANES;
            float *dst = panels + q * k * TILE_COLS + half * LANES;
            if (n - j >= LANES) turn_half(&s, 1, k, j * ld, dst);
            else turn_edge(n - j, k, b + j * ld, ld, dst);
        }
}

/* One panel: (k, TILE_COLS) copied, or both halves turned */
SIMD_INLINE void pack_sum(bool turned, const int count, int64_t k, const hone_cpu_sum *b, float *restrict panel)
{
    const hone_cpu_sum s = *b;
    if (turned) {
        turn_half(b, count, k, 0, panel);
        turn_half(b, count, k, LANES * s.ld, panel + LANES);
        return;
    }
#pragma GCC unroll 2
    for (int64_t p = 0; p < k; p++, panel += TILE_COLS) {
        v_store(panel, load_sum(&s, count, 1, p * s.ld, LANES));
        v_store(panel + LANES, load_sum(&s, count, 1, p * s.ld + LANES, LANES));
    }
}

/* The number of terms is made a constant here. */
void SIMD(hone_cpu_pack_sum)(bool turned, int64_t k, const hone_cpu_sum *b, float *panel)
{
    switch (b->count) {
    case 1: pack_sum(turned, 1, k, b, panel); break;
    case 2: pack_sum(turned, 2, k, b, panel); break;
    case 3: pack_sum(turned, 3, k, b, panel); break;
    default: pack_sum(turned, 4, k, b, panel); break;
    }
}

/* The four sums at one place of the quarters, n lanes of it */
SIMD_INLINE void four_sums(const float *a, int64_t down, int64_t right, const int whole, int64_t n, float *out,
                           int64_t apart)
{
    vfloat a11 = whole ? v_load(a) : v_load_some(a, n), a12 = whole ? v_load(a + right) : v_load_some(a + right, n);
    const float *below = a + down;
    vfloat a21 = whole ? v_load(below) : v_load_some(below, n);
    vfloat a22 = whole ? v_load(below + right) : v_load_some(below + right, n);
    vfloat s1 = a21 + a22, s2 = s1 - a11;
    const vfloat sum[4] = {s1, s2, a11 - a21, a12 - s2};
#pragma GCC unroll 4
    for (int t = 0; t < 4; t++) {
        if (whole) v_store(out + t * apart, sum[t]);
        else v_store_some(out + t * apart, sum[t], n);
    }
}

/* Row by row, one pass over all quarters; the last vector of a row may be short. */
void SIMD(hone_cpu_half_sums)(int64_t m, int64_t n, const float *a, int64_t down, int64_t right, int64_t ld, float *out,
                              int64_t apart)
{
    for (int64_t i = 0; i < m; i++, a += ld, out += n) {
        int64_t j = 0;
        for (; j + LANES <= n; j += LANES) four_sums(a + j, down, right, 1, LANES, out + j, apart);
        if (j < n) four_sums(a + j, down, right, 0, n - j, out + j, apart);
    }
}
