/* resize_avx2.c - the two passes of the resize (resize.c says by which weights), each rounded to 8 bits, with AVX2.
 *
 * Products and sums are those of Pillow in 32-bit integers, whose order cannot change a bit. The build compiles this file with
 * -march=x86-64-v3 and leaves it out where that means nothing. */
#include <string.h>

#include "data/lanes.h"
#include "data/pixels.h"

/* Weights are >= 0, so only rounding can pass 255. */
static inline uint8_t clip(int32_t sum)
{
    int32_t v = sum >> HONE_RESIZE_BITS;
    return (uint8_t)(v > 255 ? 255 : v);
}

/* Three bytes of a pixel, from the lowest of a vector; the fourth is nobody's. */
static inline void store_pixel(uint8_t *out, __m128i v)
{
    int32_t four = _mm_cvtsi128_si32(v);
    memcpy(out, &four, 3);
}

/* Row y of in (h, w, 3), or a copy of it in `line` where eight bytes from its last pixel would pass the end of the picture. */
static inline const uint8_t *row_of(const uint8_t *in, int h, int w, int y, uint8_t *line)
{
    size_t row = 3 * (size_t)w;
    const uint8_t *p = in + (size_t)y * row;
    return (size_t)(h - y) * row < row + 8 ? memcpy(line, p, row) : p;
}

/* Two rows at once, one in each half of a vector, and two taps: words r r g g b b 0 0 times two weights make sums of 32 bits.
 * A weight of 23 bits is taken as 12 and 11, whose sums are joined at the end: exactly what 32-bit products give. */
static void resize_rgb(const uint8_t *in, int h, int w, uint8_t *restrict out, const hone_resize_axis *a, uint8_t *line)
{
    const __m256i twos = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, /* and again */
                                          0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m256i half = _mm256_set1_epi32(1 << (HONE_RESIZE_BITS - 1));
    size_t pairs = ((size_t)a->taps + 1) / 2, row = 3 * (size_t)a->out;
    for (int y = 0; y < h; y += 2) {
        int second = y + 1 < h ? y + 1 : y; /* the last of an odd number twice */
        const uint8_t *top = row_of(in, h, w, y, line), *low = row_of(in, h, w, second, line + 3 * (size_t)w + 16);
        uint8_t *to = out + (size_t)y * row, *to_low = out + (size_t)second * row;
        for (int x = 0; x < a->out; x++, to += 3, to_low += 3) {
            const int32_t *k = a->spread + (size_t)x * pairs * 2;
            size_t at = 3 * (size_t)a->first[x];
            __m256i upper = _mm256_setzero_si256(), lower = half;
            for (int t = 0, n = (a->used[x] + 1) / 2; t < n; t++, at += 6, k += 2) {
                __m256i v = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(top + at)));
                v = _mm256_inserti128_si256(v, _mm_loadl_epi64((const __m128i *)(low + at)), 1);
                v = _mm256_shuffle_epi8(v, twos);
                upper = _mm256_add_epi32(upper, _mm256_madd_epi16(v, _mm256_set1_epi32(k[0])));
                lower = _mm256_add_epi32(lower, _mm256_madd_epi16(v, _mm256_set1_epi32(k[1])));
            }
            __m256i sum = _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(upper, 11), lower), HONE_RESIZE_BITS);
            sum = _mm256_packs_epi32(sum, sum);
            sum = _mm256_packus_epi16(sum, sum);
            store_pixel(to, _mm256_castsi256_si128(sum));
            store_pixel(to_low, _mm256_extracti128_si256(sum, 1));
        }
    }
}

static void resize_grey(const uint8_t *in, int h, int w, uint8_t *restrict out, const hone_resize_axis *a)
{
    for (int y = 0; y < h; y++, in += w)
        for (int x = 0; x < a->out; x++) {
            const int32_t *k = a->weight + (size_t)x * (size_t)a->taps;
            const uint8_t *p = in + a->first[x];
            int32_t sum = 1 << (HONE_RESIZE_BITS - 1);
            for (int t = 0; t < a->used[x]; t++) sum += p[t] * k[t];
            *out++ = clip(sum);
        }
}

/* Columns and channels are alike: 32 bytes of a row are summed over all taps in registers. */
static void resize_down(const uint8_t *in, int n, uint8_t *restrict out, const hone_resize_axis *a)
{
    for (int y = 0; y < a->out; y++, out += n) {
        const int32_t *k = a->weight + (size_t)y * (size_t)a->taps;
        const uint8_t *top = in + (size_t)a->first[y] * (size_t)n;
        int i = 0, used = a->used[y];
        for (; i + 32 <= n; i += 32) {
            v8i sum[4];
            for (int j = 0; j < 4; j++) sum[j] = (v8i){0} + (1 << (HONE_RESIZE_BITS - 1));
            for (int t = 0; t < used; t++)
                for (int j = 0; j < 4; j++) sum[j] += load_bytes(top + (size_t)t * (size_t)n + i + 8 * j) * k[t];
            for (int j = 0; j < 4; j++) store_bytes(out + i + 8 * j, sum[j] >> HONE_RESIZE_BITS);
        }
        for (; i < n; i++) {
            int32_t sum = 1 << (HONE_RESIZE_BITS - 1);
            for (int t = 0; t < used; t++) sum += top[(size_t)t * (size_t)n + i] * k[t];
            out[i] = clip(sum);
        }
    }
}

const hone_resize_loops hone_resize_loops_avx2 = {resize_rgb, resize_grey, resize_down};
