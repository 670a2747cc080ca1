/* math_simd.h - exp, tanh, the normal distribution in float, written so that a loop over them vectorises.
 *
 * No table, no branch, no conversion that is undefined for NaN: selects and polynomials only. Coefficients
 * were fitted to the functions (least squares reweighted towards the minimax). Errors in units of the last
 * place, held by tests/test_cpu_pointwise.c: tanh and sigmoid <= 4 (a sigmoid below 2^-126 may be 0), gelu
 * and gelu_tanh <= 16 of max(|y|, 1e-3) and gelu_dx <= 8 of 1, because the rounding of x^2/2 is magnified in
 * the tail. NaN comes out as NaN, infinities give the limits. Not for double. */
#ifndef HONE_KERNELS_CPU_MATH_SIMD_H
#define HONE_KERNELS_CPU_MATH_SIMD_H

#include <stdint.h>
#include <string.h>

#define MATH_INLINE static inline __attribute__((always_inline))

MATH_INLINE float math_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

MATH_INLINE uint32_t math_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* exp(x) = 2^n * exp(r), |r| <= ln2/2. Adding 1.5*2^23 rounds x/ln2 to an integer and leaves it in the
 * low bits. 2^n goes in as two factors so that results in the subnormal range are right. */
MATH_INLINE float math_exp(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23, bits 0x4B400000 */
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.5f ? -104.5f : x;
    float t = x * 1.44269504088896341f + round;
    float n = t - round;
    float r = (x - n * 0.693145751953125f) - n * 1.42860682030941723e-6f; /* ln2 in two pieces */
    float p = 0.0013951717410236597f;
    p = p * r + 0.008369598537683487f;
    p = p * r + 0.0416661873459816f;
    p = p * r + 0.16666512191295624f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    int32_t k = (int32_t)(math_bits(t) - 0x4B400000u);
    int32_t half = k >> 1;
    float low = math_from_bits((uint32_t)(half + 127) << 23), high = math_from_bits((uint32_t)(k - half + 127) << 23);
    return p * low * high;
}

/* Near 0 an odd polynomial, because 1 - 2/(exp(2x)+1) would cancel there. */
MATH_INLINE float math_tanh(float x)
{
    float z = x * x;
    float p = -0.005660780239850283f;
    p = p * z + 0.020601999014616013f;
    p = p * z + -0.05372922867536545f;
    p = p * z + 0.13331328332424164f;
    p = p * z + -0.33333277702331543f;
    float near = x + x * z * p;
    float a = x < 0 ? -x : x;
    float far = 1.0f - 2.0f / (math_exp(2.0f * a) + 1.0f);
    far = x < 0 ? -far : far;
    return a < 0.625f ? near : far;
}

MATH_INLINE float math_sigmoid(float x) { return 1.0f / (1.0f + math_exp(-x)); }

/* The standard normal distribution function and, through *density, its density. For a = |x|,
 * 1 - Phi(a) = exp(-a^2/2) g(1/(1+0.3a)) with g a polynomial of degree 8: the tail keeps its digits. */
MATH_INLINE float math_phi(float x, float *density)
{
    float a = x < 0 ? -x : x;
    float e = math_exp(-0.5f * x * x);
    float s = 1.0f / (1.0f + 0.3f * a);
    float g = 0.03837840259075165f;
    g = g * s + -0.16916663944721222f;
    g = g * s + 0.22866109013557434f;
    g = g * s + -0.0765075534582138f;
    g = g * s + 0.1425362080335617f;
    g = g * s + 0.09468325972557068f;
    g = g * s + 0.1219203993678093f;
    g = g * s + 0.11948768049478531f;
    g = g * s + 7.1692534220346715e-06f;
    float tail = e * g;
    *density = 0.398942280401432678f * e;
    return x < 0 ? tail : 1.0f - tail;
}

MATH_INLINE float math_gelu(float x)
{
    float density;
    return x * math_phi(x, &density);
}

/* x times 0.5 (1 + tanh(z)) = sigmoid(2z), which keeps the digits of the negative tail. */
MATH_INLINE float math_gelu_tanh_gate(float x)
{
    return math_sigmoid(1.59576912160573071f * (x + 0.044715f * x * x * x)); /* 2 sqrt(2 / pi) */
}

MATH_INLINE float math_gelu_tanh(float x) { return x * math_gelu_tanh_gate(x); }

MATH_INLINE float math_silu(float x) { return x * math_sigmoid(x); }

/* Derivatives by x. d(x Phi(x)) = Phi(x) + x phi(x) */
MATH_INLINE float math_gelu_slope(float x)
{
    float density, phi = math_phi(x, &density);
    return phi + x * density;
}

MATH_INLINE float math_gelu_tanh_slope(float x)
{
    float s = math_gelu_tanh_gate(x); /* 1 - tanh^2 = 4 s (1 - s) */
    return s + 1.59576912160573071f * x * s * (1.0f - s) * (1.0f + 3.0f * 0.044715f * x * x);
}

MATH_INLINE float math_silu_slope(float x)
{
    float s = math_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

#endif
