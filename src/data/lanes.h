/* lanes.h - eight integers side by side for the files *_avx2.c, which alone may include it. */
#ifndef HONE_DATA_LANES_H
#define HONE_DATA_LANES_H

#include <immintrin.h>
#include <stdint.h>

typedef int32_t v8i __attribute__((vector_size(32)));
typedef uint32_t v8u __attribute__((vector_size(32)));
typedef v8i v8i_unaligned __attribute__((may_alias, aligned(4)));

/* Eight bytes as integers. In intrinsics, as compilers take such a conversion apart byte by byte. */
static inline v8i load_bytes(const uint8_t *p)
{
    return (v8i)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

/* Eight integers as bytes, cut to what a byte holds by both steps: to 16 bits with their sign, to 8 without. */
static inline void store_bytes(uint8_t *p, v8i v)
{
    __m128i low = _mm256_castsi256_si128((__m256i)v), high = _mm256_extracti128_si256((__m256i)v, 1);
    __m128i words = _mm_packs_epi32(low, high);
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}

#endif
