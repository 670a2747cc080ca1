/* activation_simd.c - pointwise nonlinearities and their derivatives, one pass over memory each.
 *
 * Same definitions as kernels/ref/activation.c: a NaN comes out as it went in, a unit that is off has
 * gradient 0 whatever dy holds. Functions without exp give the bits of ref; the others are within the few
 * units in the last place that math_simd.h states. In place is allowed (y = x, dx = dy). */
#include "cpu/pointwise.h"
#include "cpu/simd.h"
#include "cpu/math_simd.h"

typedef struct map_job {
    const float *u, *v; /* (count) first and second input; v NULL for a forward op */
    float *y;           /* (count)                                                */
    float slope;
} map_job;

/* `weight`: cost of one element against a plain copy, for the choice of threads. */
static void map(hone_backend *b, const hone_launch *l, int64_t weight, hone_cpu_range_fn *body)
{
    map_job job = {l->in[0], l->in[1], l->out[0], l->node->attr.leaky.slope};
    int64_t count = hone_tensor_count(l->out_desc[0]);
    hone_cpu_ranges(b, hone_cpu_team(b, count * weight), count, 64, body, &job);
}

/* FORWARD: y from x. BACKWARD: dx from u (x or y, as ops.def says) and dy. */
#define FORWARD(op, weight, expression)                                                                                \
    static void op##_range(const void *arg, int64_t begin, int64_t end)                                                \
    {                                                                                                                  \
        const map_job *job = arg;                                                                                      \
        const float *xs = job->u, slope = job->slope;                                                                  \
        float *ys = job->y;                                                                                            \
        (void)slope;                                                                                                   \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++)                                                      \
        {                                                                                                              \
            float x = xs[i];                                                                                           \
            ys[i] = expression;                                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    void SIMD(cpu_##op)(hone_backend * b, const hone_launch *l) { map(b, l, weight, op##_range); }

#define BACKWARD(op, weight, expression)                                                                               \
    static void op##_range(const void *arg, int64_t begin, int64_t end)                                                \
    {                                                                                                                  \
        const map_job *job = arg;                                                                                      \
        const float *us = job->u, *dys = job->v, slope = job->slope;                                                   \
        float *dxs = job->y;                                                                                           \
        (void)slope;                                                                                                   \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++)                                                      \
        {                                                                                                              \
            float u = us[i], dy = dys[i];                                                                              \
            dxs[i] = expression;                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    void SIMD(cpu_##op)(hone_backend * b, const hone_launch *l) { map(b, l, weight, op##_range); }

FORWARD(relu, 1, x < 0 ? 0.0f : x)
BACKWARD(relu_dx, 1, u > 0 ? dy : 0.0f)
FORWARD(relu6, 1, x<0 ? 0.0f : x> 6 ? 6.0f : x)
BACKWARD(relu6_dx, 1, (u > 0) & (u < 6) ? dy : 0.0f)
FORWARD(leaky_relu, 1, x < 0 ? slope * x : x)
BACKWARD(leaky_relu_dx, 1, u > 0 ? dy : dy * slope)
FORWARD(gelu, 8, math_gelu(x))
BACKWARD(gelu_dx, 8, dy *math_gelu_slope(u))
FORWARD(gelu_tanh, 8, math_gelu_tanh(x))
BACKWARD(gelu_tanh_dx, 8, dy *math_gelu_tanh_slope(u))
FORWARD(silu, 8, math_silu(x))
BACKWARD(silu_dx, 8, dy *math_silu_slope(u))
FORWARD(tanh, 8, math_tanh(x))
BACKWARD(tanh_dx, 1, dy *(1.0f - u * u))
FORWARD(sigmoid, 8, math_sigmoid(x))
BACKWARD(sigmoid_dx, 1, dy *u *(1.0f - u))
