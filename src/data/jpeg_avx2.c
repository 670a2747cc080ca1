/* jpeg_avx2.c - Huffman codes, inverse DCT, upsampling and colours of a baseline JPEG: libjpeg-turbo's pixels to the bit.
 *
 * Sources: ITU-T T.81 (annex F: decoding); C. Loeffler, A. Ligtenberg, G. Moschytz, "Practical fast 1-D DCT algorithms with
 * 11 multiplications" (1989), in the 13-bit fixed point of libjpeg's jidctint.c ("islow"), with 16 bits between the passes
 * and 16-bit sums as its SIMD versions have; libjpeg's "fancy" triangle upsampling; JFIF's YCbCr in 16 bits. Sums that
 * hostile coefficients could overflow are unsigned, where wrapping is defined, and what no encoder makes of 8-bit samples is
 * left to the library. The build compiles this file with -march=x86-64-v3 and leaves it out where that means nothing. */
#include <immintrin.h>
#include <string.h>

#include "data/lanes.h"
#include "data/pixels.h"

/* --- bits ----------------------------------------------------------------------------------------------------------- */
/* The stream, first bit on top of `buffer`. Bits below the first `count` are those that follow. */
typedef struct bit_reader {
    uint64_t buffer;
    int count;
    const uint8_t *at; /* the next byte that is not in the buffer                                         */
} bit_reader;

/* Eight bytes, the first one on top. */
static inline uint64_t load_big(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return __builtin_bswap64(w);
}

/* At least 56 bits, without a branch: all whole bytes that fit are taken; those that do not leave their first bits in the
 * buffer, where the same bits are put again later (F. Giesen, "Reading bits in far too many ways", 2018). */
static inline void refill(bit_reader *r)
{
    r->buffer |= load_big(r->at) >> r->count;
    r->at += (63 - r->count) >> 3;
    r->count |= 56;
}

static inline void drop_bits(bit_reader *r, int n)
{
    r->buffer <<= n;
    r->count -= n;
}

/* s bits as a number: the lower half of their range stands for negative ones (T.81, F.2.2.1). */
static inline int32_t take_value(bit_reader *r, int s)
{
    int32_t v = (int32_t)(r->buffer >> 1 >> (63 - s));
    drop_bits(r, s);
    return v < 1 << (s - 1) ? v - (1 << s) + 1 : v;
}

/* The next code; -1: none of the table. */
static inline int take_code(bit_reader *r, const hone_jpeg_huffman *t)
{
    unsigned known = t->code[r->buffer >> (64 - HONE_JPEG_LOOK)];
    if (known) {
        drop_bits(r, (int)(known >> 8));
        return (int)(known & 255);
    }
    int32_t prefix = (int32_t)(r->buffer >> 48);
    for (int length = HONE_JPEG_LOOK + 1; length <= 16; length++)
        if (prefix < t->limit[length]) {
            drop_bits(r, length);
            return t->symbol[(t->base[length] + (prefix >> (16 - length))) & 255];
        }
    return -1;
}

/* --- blocks --------------------------------------------------------------------------------------------------------- */
/* One AC symbol at coefficient k; returns the place behind it. *skip: what it skipped, 64 at the end of a block, 65 where no
 * code fits. Takes 26 bits at the most. Symbols that skip too much land where the tables have room for them. */
static inline int read_symbol(bit_reader *r, const hone_jpeg_huffman *ac, const int32_t *quant, int32_t *block, int k,
                              int *skip)
{
    hone_jpeg_symbol q = ac->quick[r->buffer >> (64 - HONE_JPEG_LOOK)];
    int32_t value = q.value;
    *skip = q.skip;
    if (q.bits) drop_bits(r, q.bits);
    else { /* a long code, or a large value behind it */ int symbol = take_code(r, ac), s = symbol & 15;
        *skip = symbol < 0 || s > 10 ? 65 : s ? symbol >> 4 : symbol == 0xF0 ? 15 : symbol ? 65 : 64;
        /* 0xF0 is sixteen zeros; other sizes of 0 are of progressive files */
        value = s && *skip < 64 ? take_value(r, s) : 0;
    }
    k += *skip;
    block[hone_jpeg_natural[k]] = value * quant[k];
    return k + 1;
}

/* One block: dequantised coefficients in their places of `block` (which is zero before; one more is a dump). *flat: only the
 * first is there. False: it is not whole. */
static inline bool read_coefficients(bit_reader *r, const hone_jpeg_huffman *dc, const hone_jpeg_huffman *ac,
                                     const int32_t *quant, int32_t *last_dc, int32_t *block, bool *flat)
{
    refill(r);
    int s = take_code(r, dc), k = 1, skip = 0;
    if (s < 0 || s > 11) return false;
    if (s) *last_dc += take_value(r, s);
    if (*last_dc > 32767 || *last_dc < -32768) return false;
    block[0] = *last_dc * quant[0];
    while (k < 64) { /* 56 bits are enough for two */
        refill(r);
        k = read_symbol(r, ac, quant, block, k, &skip);
        if (k > 63) break;
        k = read_symbol(r, ac, quant, block, k, &skip);
    }
    *flat = k == 1 + 64 + 1; /* the end came first */
    return k == 64 || skip == 64;
}

/* With the reader in registers. */
static inline bool read_block(bit_reader *r, const hone_jpeg_huffman *dc, const hone_jpeg_huffman *ac,
                              const int32_t *quant, int32_t *last_dc, int32_t *block, bool *flat)
{
    bit_reader own = *r;
    bool fine = read_coefficients(&own, dc, ac, quant, last_dc, block, flat);
    *r = own;
    return fine;
}

enum { BEYOND = 1 << 14 };

/* --- inverse DCT ---------------------------------------------------------------------------------------------------- */
/* To 16 bits and a sign, as a sum of such numbers wraps there. */
static inline v8u wrap(v8u x) { return (v8u)((v8i)(x << 16) >> 16); }

/* One pass over eight columns at once: row k of the result is x[k], without its last `shift` bits, rounded. */
static inline void dct_pass(v8u x[8], int shift)
{
    const v8u half = (v8u){0} + (1u << (shift - 1));
    /* even part */
    v8u z1 = (x[2] + x[6]) * 4433u, t2 = z1 - x[6] * 15137u, t3 = z1 + x[2] * 6270u;
    v8u t0 = wrap(x[0] + x[4]) << 13, t1 = wrap(x[0] - x[4]) << 13;
    v8u e0 = t0 + t3 + half, e3 = t0 - t3 + half, e1 = t1 + t2 + half, e2 = t1 - t2 + half;
    /* odd part */
    v8u z3 = wrap(x[7] + x[3]), z4 = wrap(x[5] + x[1]), z5 = (z3 + z4) * 9633u;
    z1 = (x[7] + x[1]) * 7373u;
    v8u z2 = (x[5] + x[3]) * 20995u;
    z3 = z5 - z3 * 16069u;
    z4 = z5 - z4 * 3196u;
    t0 = x[7] * 2446u - z1 + z3;
    t1 = x[5] * 16819u - z2 + z4;
    t2 = x[3] * 25172u - z2 + z3;
    t3 = x[1] * 12299u - z1 + z4;
    x[0] = (v8u)((v8i)(e0 + t3) >> shift);
    x[7] = (v8u)((v8i)(e0 - t3) >> shift);
    x[1] = (v8u)((v8i)(e1 + t2) >> shift);
    x[6] = (v8u)((v8i)(e1 - t2) >> shift);
    x[2] = (v8u)((v8i)(e2 + t1) >> shift);
    x[5] = (v8u)((v8i)(e2 - t1) >> shift);
    x[3] = (v8u)((v8i)(e3 + t0) >> shift);
    x[4] = (v8u)((v8i)(e3 - t0) >> shift);
}

/* Lane by lane to what 16 bits hold. */
static inline v8u limit(v8u x)
{
    return (v8u)_mm256_max_epi32(_mm256_min_epi32((__m256i)x, _mm256_set1_epi32(32767)), _mm256_set1_epi32(-32768));
}

/* Rows and columns change places: pairs of rows 4, 1 and 2 apart exchange their off-diagonal parts, in the order in which the
 * instruction set has it. */
static inline void transpose(v8u x[8])
{
    __m256i t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i a = (__m256i)x[i], b = (__m256i)x[i + 4];
        t[i] = _mm256_permute2x128_si256(a, b, 0x20);
        t[i + 4] = _mm256_permute2x128_si256(a, b, 0x31);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        __m256i a = _mm256_unpacklo_epi32(t[i], t[i + 1]), b = _mm256_unpackhi_epi32(t[i], t[i + 1]);
        __m256i c = _mm256_unpacklo_epi32(t[i + 2], t[i + 3]), d = _mm256_unpackhi_epi32(t[i + 2], t[i + 3]);
        x[i] = (v8u)_mm256_unpacklo_epi64(a, c);
        x[i + 1] = (v8u)_mm256_unpackhi_epi64(a, c);
        x[i + 2] = (v8u)_mm256_unpacklo_epi64(b, d);
        x[i + 3] = (v8u)_mm256_unpackhi_epi64(b, d);
    }
}

/* block (8, 8) -> samples; two bits of fraction between the passes. *beyond: 14 bits and more where a coefficient has more
 * than 13 and a sign, which no encoder makes of 8-bit samples. */
static inline void inverse_dct(const int32_t *block, uint8_t *out, ptrdiff_t stride, v8u *beyond)
{
    v8u x[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        x[k] = (v8u) * (const v8i_unaligned *)(block + 8 * k);
        *beyond |= x[k] + BEYOND / 2;
    }
    dct_pass(x, 13 - 2);
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) x[k] = limit(x[k]);
    transpose(x);
    dct_pass(x, 13 + 2 + 3);
    transpose(x);
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) store_bytes(out + k * stride, (v8i)(x[k] + 128));
}

/* A block of one value: what the two passes come to. */
static inline void flat_block(int32_t dc, uint8_t *out, ptrdiff_t stride, v8u *beyond)
{
    *beyond |= (v8u){(uint32_t)dc + BEYOND / 2};
    int32_t v = ((dc + 4) >> 3) + 128;
    for (int k = 0; k < 8; k++) memset(out + k * stride, v < 0 ? 0 : v > 255 ? 255 : v, 8);
}

/* --- the scan --------------------------------------------------------------------------------------------------------- */
/* All blocks of one MCU. */
static inline bool read_mcu(hone_jpeg_frame *f, bit_reader *r, int32_t last_dc[3], int row, int column)
{
    v8u beyond = {0};
    for (int c = 0; c < f->components; c++) {
        const hone_jpeg_component *k = &f->component[c];
        for (int y = 0; y < k->v; y++)
            for (int x = 0; x < k->h; x++) {
                int32_t block[72] __attribute__((aligned(32)));
                bool flat;
                uint8_t *out =
                    k->plane + (ptrdiff_t)(row * k->v + y) * 8 * k->stride + (ptrdiff_t)(column * k->h + x) * 8;
                for (int i = 0; i < 64; i += 8) _mm256_store_si256((__m256i *)(block + i), _mm256_setzero_si256());
                if (!read_block(r, &f->dc[k->dc], &f->ac[k->ac], f->quant[k->quant], &last_dc[c], block, &flat))
                    return false;
                if (flat) flat_block(block[0], out, k->stride, &beyond);
                else inverse_dct(block, out, k->stride, &beyond);
            }
    }
    return _mm256_testz_si256((__m256i)beyond, _mm256_set1_epi32(-BEYOND));
}

/* The entropy-coded data from `from` up to the next marker, without the zeros that are stuffed behind each 0xFF, to f->clean,
 * zeros behind. *bytes: how many. Returns where the marker stands, or NULL. */
static const uint8_t *unstuff(hone_jpeg_frame *f, const uint8_t *from, size_t *bytes)
{
    uint8_t *to = f->clean;
    for (;;) {
        const uint8_t *ff = memchr(from, 0xFF, (size_t)(f->end - from));
        if (!ff || f->end - ff < 2) return NULL;
        bool stuffed = ff[1] == 0;
        size_t n = (size_t)(ff - from) + stuffed;
        memcpy(to, from, n);
        to += n;
        from = ff + 2;
        if (stuffed) continue;
        memset(to, 0, HONE_JPEG_SPARE);
        *bytes = (size_t)(to - f->clean);
        return ff;
    }
}

/* The MCUs from number `first` on, up to a restart or the end of the picture, from f->clean: all bits are used but a byte's. */
static bool read_stretch(hone_jpeg_frame *f, int first, int count, size_t bytes)
{
    bit_reader r = {.at = f->clean};
    int32_t last_dc[3] = {0};
    const uint8_t *last = f->clean + bytes + 8; /* a reader may be ahead by a buffer */
    for (int i = first; i < first + count; i++)
        if (!read_mcu(f, &r, last_dc, i / f->mcus_wide, i % f->mcus_wide) || r.at > last) return false;
    int64_t used = 8 * (int64_t)(r.at - f->clean) - r.count, all = 8 * (int64_t)bytes;
    return used <= all && used > all - 8;
}

/* The whole scan, up to the end-of-image marker right behind it; RST0 to RST7 in turn between its stretches. */
static bool jpeg_blocks(hone_jpeg_frame *f)
{
    int count = f->mcus_wide * f->mcus_high, stretch = f->restart ? f->restart : count;
    const uint8_t *from = f->data;
    for (int first = 0, k = 0; first < count; first += stretch, k++) {
        size_t bytes = 0;
        int n = count - first < stretch ? count - first : stretch;
        const uint8_t *marker = unstuff(f, from, &bytes);
        if (!marker || !read_stretch(f, first, n, bytes)) return false;
        if (marker[1] != (first + n == count ? 0xD9 : 0xD0 + k % 8)) return false;
        from = marker + 2;
    }
    return true;
}

/* --- upsampling and colours ----------------------------------------------------------------------------------------- */
/* Each new sample is three quarters of the nearer and one of the other neighbour, rounded up and down in turn. */
static void jpeg_double(const uint8_t *in, int n, uint8_t *restrict out)
{
    out[0] = in[0];
    for (int i = 0; i < n - 1; i++) {
        out[2 * i + 1] = (uint8_t)((3 * in[i] + in[i + 1] + 2) >> 2);
        out[2 * i + 2] = (uint8_t)((3 * in[i + 1] + in[i] + 1) >> 2);
    }
    out[2 * n - 1] = in[n - 1];
}

/* The same along both axes: columns first, without rounding. */
static void jpeg_double_both(const uint8_t *near, const uint8_t *far, int n, uint16_t *restrict sum,
                             uint8_t *restrict out)
{
    for (int i = 0; i < n; i++) sum[i] = (uint16_t)(3 * near[i] + far[i]);
    out[0] = (uint8_t)((4 * sum[0] + 8) >> 4);
    for (int i = 0; i < n - 1; i++) {
        out[2 * i + 1] = (uint8_t)((3 * sum[i] + sum[i + 1] + 7) >> 4);
        out[2 * i + 2] = (uint8_t)((3 * sum[i + 1] + sum[i] + 8) >> 4);
    }
    out[2 * n - 1] = (uint8_t)((4 * sum[n - 1] + 7) >> 4);
}

static inline uint8_t to_byte(int32_t v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

/* 16 bytes of each plane, one after the other, as 48 of pixels: byte i of the result is plane i % 3's byte i / 3. */
static inline void store_pixels(uint8_t *rgb, __m128i red, __m128i green, __m128i blue)
{
    for (int part = 0; part < 3; part++) {
        /* a mask asks for byte (16 part + i) / 3 where i is its plane's turn, and for 0 (the top bit) elsewhere */
        uint8_t mask[3][16];
        for (int i = 0; i < 16; i++)
            for (int plane = 0; plane < 3; plane++)
                mask[plane][i] = (16 * part + i) % 3 == plane ? (uint8_t)((16 * part + i) / 3) : 0x80;
        __m128i r = _mm_shuffle_epi8(red, _mm_loadu_si128((const __m128i *)mask[0]));
        __m128i g = _mm_shuffle_epi8(green, _mm_loadu_si128((const __m128i *)mask[1]));
        __m128i b = _mm_shuffle_epi8(blue, _mm_loadu_si128((const __m128i *)mask[2]));
        _mm_storeu_si128((__m128i *)(rgb + 16 * part), _mm_or_si128(_mm_or_si128(r, g), b));
    }
}

/* Sixteen words as bytes, cut to what a byte holds. */
static inline __m128i to_bytes(__m256i v)
{
    return _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* (factor c + 2^15) / 2^16, floored, of words: the high half of twice the product, plus one, halved. */
static inline __m256i scaled(__m256i c, int factor)
{
    __m256i high = _mm256_mulhi_epi16(_mm256_add_epi16(c, c), _mm256_set1_epi16((int16_t)factor));
    return _mm256_srai_epi16(_mm256_add_epi16(high, _mm256_set1_epi16(1)), 1);
}

/* 1.402, 0.34414, 0.71414 and 1.772 times 2^16: as 1 + 0.402, -0.34414 and 0.28586 - 1, and 2 - 0.228 in words. */
static void jpeg_colour(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *restrict rgb)
{
    const __m256i middle = _mm256_set1_epi16(128), half = _mm256_set1_epi32(32768);
    const __m256i green = _mm256_set1_epi32((int)(18734u << 16 | (uint16_t)-22554));
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i l = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(y + i)));
        __m256i b = _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(cb + i))), middle);
        __m256i r = _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(cr + i))), middle);
        __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(b, r), green);
        __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(b, r), green);
        low = _mm256_srai_epi32(_mm256_add_epi32(low, half), 16);
        high = _mm256_srai_epi32(_mm256_add_epi32(high, half), 16);
        __m256i g = _mm256_sub_epi16(_mm256_packs_epi32(low, high), r);
        r = _mm256_add_epi16(r, scaled(r, 26345));
        b = _mm256_add_epi16(_mm256_add_epi16(b, b), scaled(b, -14942));
        store_pixels(rgb + 3 * i, to_bytes(_mm256_add_epi16(l, r)), to_bytes(_mm256_add_epi16(l, g)),
                     to_bytes(_mm256_add_epi16(l, b)));
    }
    for (; i < n; i++) {
        int32_t b = cb[i] - 128, r = cr[i] - 128;
        rgb[3 * i] = to_byte(y[i] + ((91881 * r + 32768) >> 16));
        rgb[3 * i + 1] = to_byte(y[i] + ((-22554 * b - 46802 * r + 32768) >> 16));
        rgb[3 * i + 2] = to_byte(y[i] + ((116130 * b + 32768) >> 16));
    }
}

const hone_jpeg_loops hone_jpeg_loops_avx2 = {jpeg_blocks, jpeg_double, jpeg_double_both, jpeg_colour};
