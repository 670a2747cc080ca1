/* act.cuh - activations inside fused rows and as rows of their own: formulas stand here once.
 *
 * Arithmetic in float; NaN passes through forward. erff and tanhf are the accurate ones: what calls this is bound by
 * memory. Slopes read the output where that tells them, so that the input need not be stored; gelu, gelu_tanh and silu
 * bend back, and theirs read the input. Hendrycks & Gimpel, 2016 (gelu); Elfwing, Uchibe & Doya, 2018 (silu). */
#ifndef HONE_KERNELS_CUDA_ACT_CUH
#define HONE_KERNELS_CUDA_ACT_CUH

#include "hone_device.h"

#define SQRT_HALF        0.70710678118654752f
#define SQRT_TWO_OVER_PI 0.79788456080286536f
#define INV_SQRT_TWO_PI  0.39894228040143268f

__device__ static inline float gelu(float x) { return 0.5f * x * (1 + erff(x * SQRT_HALF)); }
__device__ static inline float gelu_tanh(float x)
{
    return 0.5f * x * (1 + tanhf(SQRT_TWO_OVER_PI * (x + 0.044715f * x * x * x)));
}
/* exp overflows to infinity for x below -88, and 1 / infinity is the 0 that is wanted. */
__device__ static inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ static inline float silu(float x) { return x / (1 + expf(-x)); }

/* Phi(x) + x phi(x) */
__device__ static inline float gelu_slope(float x)
{
    return 0.5f * (1 + erff(x * SQRT_HALF)) + x * INV_SQRT_TWO_PI * expf(-0.5f * x * x);
}
/* The derivative of the approximation itself, not of the exact function. */
__device__ static inline float gelu_tanh_slope(float x)
{
    const float t = tanhf(SQRT_TWO_OVER_PI * (x + 0.044715f * x * x * x));
    const float inner = SQRT_TWO_OVER_PI * (1 + 3 * 0.044715f * x * x);
    return 0.5f * (1 + t + x * (1 - t * t) * inner);
}
__device__ static inline float silu_slope(float x)
{
    const float s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

__device__ static inline float act_forward(hone_act act, float slope, float x)
{
    switch (act) {
    case HONE_ACT_RELU: return x < 0 ? 0 : x;
    case HONE_ACT_RELU6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case HONE_ACT_LEAKY_RELU: return x < 0 ? slope * x : x;
    case HONE_ACT_GELU: return gelu(x);
    case HONE_ACT_GELU_TANH: return gelu_tanh(x);
    case HONE_ACT_SILU: return silu(x);
    case HONE_ACT_TANH: return tanhf(x);
    case HONE_ACT_SIGMOID: return sigmoid(x);
    default: return x;
    }
}

/* dy times the slope at output u, or at input u of those that bend back; a unit that is off gives 0 whatever dy is. */
__device__ static inline float act_backward(hone_act act, float slope, float u, float dy)
{
    switch (act) {
    case HONE_ACT_RELU: return u > 0 ? dy : 0;
    case HONE_ACT_RELU6: return u > 0 && u < 6 ? dy : 0;
    case HONE_ACT_LEAKY_RELU: return u > 0 ? dy : slope * dy;
    case HONE_ACT_GELU: return dy * gelu_slope(u);
    case HONE_ACT_GELU_TANH: return dy * gelu_tanh_slope(u);
    case HONE_ACT_SILU: return dy * silu_slope(u);
    case HONE_ACT_TANH: return dy * (1 - u * u);
    case HONE_ACT_SIGMOID: return dy * u * (1 - u);
    default: return dy;
    }
}

#endif
