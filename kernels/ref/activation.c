/* activation.c - pointwise nonlinearities and their derivatives (rows relu .. sigmoid_dx of ops.def).
 *
 * NaN passes through every one of them: a hidden NaN would train on. The derivative reads y where y
 * tells the slope, so that x may die early; gelu and silu need x. x, y, dx, dy: any shape, all equal. */
#include "ref.h"

static const double SQRT_HALF = 0.70710678118654752440;
static const double TWO_OVER_SQRT_PI_HALF = 0.79788456080286535588; /* sqrt(2 / pi) */
static const double INV_SQRT_2PI = 0.39894228040143267794;

typedef double (*unary)(double x, const hone_attrs *a);
typedef double (*binary)(double u, double dy, const hone_attrs *a);

/* y = f(x), element by element. */
static void map(const hone_launch *l, unary f)
{
    const real *x = l->in[0]; /* any shape */
    real *y = l->out[0];      /* as x */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) y[i] = (real)f((double)x[i], attrs(l));
}

/* dx = f(u, dy), element by element. */
static void map_dx(const hone_launch *l, binary f)
{
    const real *u = l->in[0], *dy = l->in[1]; /* u is y or x, as ops.def says */
    real *dx = l->out[0];                     /* as u */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) dx[i] = (real)f((double)u[i], (double)dy[i], attrs(l));
}

/* Comparisons are written so that NaN fails them and is returned as it came. */
static double relu(double x) { return x < 0 ? 0 : x; }
static double relu6(double x) { return x < 0 ? 0 : x > 6 ? 6 : x; }
static double leaky(double x, double slope) { return x < 0 ? slope * x : x; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

double REF(act)(hone_act act, double slope, double x)
{
    switch (act) {
    case HONE_ACT_RELU: return relu(x);
    case HONE_ACT_RELU6: return relu6(x);
    case HONE_ACT_LEAKY_RELU: return leaky(x, slope);
    case HONE_ACT_TANH: return tanh(x);
    case HONE_ACT_SIGMOID: return sigmoid(x);
    case HONE_ACT_GELU: return 0.5 * x * (1 + erf(x * SQRT_HALF));
    case HONE_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(TWO_OVER_SQRT_PI_HALF * (x + 0.044715 * x * x * x)));
    case HONE_ACT_SILU: return x * sigmoid(x);
    case HONE_ACT_NONE: break;
    }
    return x;
}

/* d(x Phi(x)) = Phi(x) + x phi(x), phi the standard normal density. */
static double gelu_slope(double x) { return 0.5 * (1 + erf(x * SQRT_HALF)) + x * INV_SQRT_2PI * exp(-0.5 * x * x); }

static double gelu_tanh_slope(double x)
{
    double t = tanh(TWO_OVER_SQRT_PI_HALF * (x + 0.044715 * x * x * x));
    double inner = TWO_OVER_SQRT_PI_HALF * (1 + 3 * 0.044715 * x * x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner;
}

static double silu_slope(double x)
{
    double s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

double REF(act_slope)(hone_act act, double slope, double u)
{
    switch (act) {
    case HONE_ACT_RELU: return u > 0;
    case HONE_ACT_RELU6: return u > 0 && u < 6;
    case HONE_ACT_LEAKY_RELU: return u > 0 ? 1 : slope; /* slope > 0, so y has the sign of x */
    case HONE_ACT_TANH: return 1 - u * u;
    case HONE_ACT_SIGMOID: return u * (1 - u);
    case HONE_ACT_GELU: return gelu_slope(u);
    case HONE_ACT_GELU_TANH: return gelu_tanh_slope(u);
    case HONE_ACT_SILU: return silu_slope(u);
    case HONE_ACT_NONE: break;
    }
    return 1;
}

static double relu_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_RELU, a->leaky.slope, x); }
static double relu6_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_RELU6, a->leaky.slope, x); }
static double leaky_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_LEAKY_RELU, a->leaky.slope, x); }
static double gelu_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_GELU, a->leaky.slope, x); }
static double gelu_tanh_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_GELU_TANH, a->leaky.slope, x); }
static double silu_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_SILU, a->leaky.slope, x); }
static double tanh_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_TANH, a->leaky.slope, x); }
static double sigmoid_y(double x, const hone_attrs *a) { return REF(act)(HONE_ACT_SIGMOID, a->leaky.slope, x); }

/* Where the unit is off the gradient is 0 even if dy is not finite: a choice, not a product. */
static double relu_g(double y, double dy, const hone_attrs *a) { return (void)a, y > 0 ? dy : 0; }
static double relu6_g(double y, double dy, const hone_attrs *a) { return (void)a, y > 0 && y < 6 ? dy : 0; }
static double leaky_g(double y, double dy, const hone_attrs *a) { return y > 0 ? dy : dy * (double)a->leaky.slope; }
static double tanh_g(double y, double dy, const hone_attrs *a) { return (void)a, dy * (1 - y * y); }
static double sigmoid_g(double y, double dy, const hone_attrs *a) { return (void)a, dy * y * (1 - y); }

static double gelu_g(double x, double dy, const hone_attrs *a) { return (void)a, dy * gelu_slope(x); }
static double gelu_tanh_g(double x, double dy, const hone_attrs *a) { return (void)a, dy * gelu_tanh_slope(x); }
static double silu_g(double x, double dy, const hone_attrs *a) { return (void)a, dy * silu_slope(x); }

#define ACTIVATION(op, forward, backward)                                                                              \
    void REF(op)(hone_backend * b, const hone_launch *l)                                                               \
    {                                                                                                                  \
        (void)b;                                                                                                       \
        map(l, forward);                                                                                               \
    }                                                                                                                  \
    void REF(op##_dx)(hone_backend * b, const hone_launch *l)                                                          \
    {                                                                                                                  \
        (void)b;                                                                                                       \
        map_dx(l, backward);                                                                                           \
    }

ACTIVATION(relu, relu_y, relu_g)
ACTIVATION(relu6, relu6_y, relu6_g)
ACTIVATION(leaky_relu, leaky_y, leaky_g)
ACTIVATION(gelu, gelu_y, gelu_g)
ACTIVATION(gelu_tanh, gelu_tanh_y, gelu_tanh_g)
ACTIVATION(silu, silu_y, silu_g)
ACTIVATION(tanh, tanh_y, tanh_g)
ACTIVATION(sigmoid, sigmoid_y, sigmoid_g)
