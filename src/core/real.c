/* real.c - fp32 to and from the other floating-point storage types, on the host (tensor.h).
 *
 * Rounds to nearest, ties to even, as devices do, so that what the host writes has the bits a kernel would
 * have made. By the bits, without a compiler's half type: IEEE 754-2019 binary16; bf16 is the upper half of
 * binary32. NaN stays NaN; what is too large becomes infinity. Conversions only, no arithmetic. */
#include <string.h>

#include "hone/tensor.h"

/* The bits of a float, and back: what memcpy is for. */
static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Adding just under half of the last place kept, and its parity, rounds to even; a carry into the exponent is
 * right, infinity included. */
static uint16_t bf16_of(float v)
{
    uint32_t bits = bits_of(v);
    if (v != v) return (uint16_t)(bits >> 16 | 0x40); /* a signalling NaN must not become infinity */
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* 1 sign, 5 exponent, 10 mantissa bits. Below 2^-14 the place of the last bit is fixed at 2^-24. */
static uint16_t f16_of(float v)
{
    uint32_t bits = bits_of(v), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00);  /* NaN */
    if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* 65520 and more round to infinity */
    if (size < 0x38800000) { /* subnormal: adding 0.5 puts 2^-24 at the last bit of a float, and rounds */
        float shifted = float_of(size) + 0.5f;
        return (uint16_t)(sign | (bits_of(shifted) - bits_of(0.5f)));
    }
    return (uint16_t)(sign | ((size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13));
}

/* Exact: every half is a float. */
static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, size = h & 0x7FFF;
    if (size >= 0x7C00) return float_of(sign | 0x7F800000 | (size & 0x3FF) << 13);
    if (size >= 0x400) return float_of(sign | ((size << 13) + 0x38000000));
    float tiny = float_of(0x3F000000 + size) - 0.5f; /* subnormal: size * 2^-24 */
    return float_of(sign | bits_of(tiny));
}

bool hone_reals_to_f32(hone_dtype dtype, const void *from, float *to, int64_t count)
{
    switch (dtype) {
    case HONE_F32: memcpy(to, from, (size_t)count * sizeof *to); return true;
    case HONE_F64:
        for (int64_t i = 0; i < count; i++) to[i] = (float)((const double *)from)[i];
        return true;
    case HONE_BF16:
        for (int64_t i = 0; i < count; i++) to[i] = float_of((uint32_t)((const uint16_t *)from)[i] << 16);
        return true;
    case HONE_F16:
        for (int64_t i = 0; i < count; i++) to[i] = from_f16(((const uint16_t *)from)[i]);
        return true;
    default: return false;
    }
}

bool hone_reals_from_f32(hone_dtype dtype, const float *from, void *to, int64_t count)
{
    switch (dtype) {
    case HONE_F32: memcpy(to, from, (size_t)count * sizeof *from); return true;
    case HONE_F64:
        for (int64_t i = 0; i < count; i++) ((double *)to)[i] = (double)from[i];
        return true;
    case HONE_BF16:
        for (int64_t i = 0; i < count; i++) ((uint16_t *)to)[i] = bf16_of(from[i]);
        return true;
    case HONE_F16:
        for (int64_t i = 0; i < count; i++) ((uint16_t *)to)[i] = f16_of(from[i]);
        return true;
    default: return false;
    }
}
