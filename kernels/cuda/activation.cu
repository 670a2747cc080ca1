/* activation.cu - pointwise nonlinearities and their derivatives (rows relu .. sigmoid_dx of ops.def).
 *
 * Functors, so that one vector loop serves all of them; arithmetic in float, NaN passes through. erff
 * and tanhf are the accurate ones: the loops are bound by memory. */
#include "act.cuh"
#include "launch.cuh"

/* Functors of f(x), and of f(y, dy) or f(x, dy) for the derivative: by y where y suffices, as x then need
 * not be kept. Comparisons are written so that a NaN falls through to the value itself. */
struct relu_f {
    __device__ float operator()(float x) const { return x < 0 ? 0 : x; }
};
/* 0 at y = 0, as in PyTorch; a choice, so an infinite dy of a unit that is off does no harm. */
struct relu_dx_f {
    __device__ float operator()(float y, float dy) const { return y > 0 ? dy : 0; }
};
struct relu6_f {
    __device__ float operator()(float x) const { return x < 0 ? 0 : x > 6 ? 6 : x; }
};
/* Both corners have derivative 0 (torch.nn.functional.relu6). */
struct relu6_dx_f {
    __device__ float operator()(float y, float dy) const { return y > 0 && y < 6 ? dy : 0; }
};
struct leaky_f {
    float slope;
    __device__ float operator()(float x) const { return x < 0 ? slope * x : x; }
};
/* By y: its sign is that of x for slopes above 0. */
struct leaky_dx_f {
    float slope;
    __device__ float operator()(float y, float dy) const { return y > 0 ? dy : slope * dy; }
};
struct gelu_f {
    __device__ float operator()(float x) const { return gelu(x); }
};
struct gelu_dx_f {
    __device__ float operator()(float x, float dy) const { return dy * gelu_slope(x); }
};
struct gelu_tanh_f {
    __device__ float operator()(float x) const { return gelu_tanh(x); }
};
struct gelu_tanh_dx_f {
    __device__ float operator()(float x, float dy) const { return dy * gelu_tanh_slope(x); }
};
struct sigmoid_f {
    __device__ float operator()(float x) const { return sigmoid(x); }
};
struct sigmoid_dx_f {
    __device__ float operator()(float y, float dy) const { return dy * y * (1 - y); }
};
struct silu_f {
    __device__ float operator()(float x) const { return silu(x); }
};
struct silu_dx_f {
    __device__ float operator()(float x, float dy) const { return dy * silu_slope(x); }
};
struct tanh_f {
    __device__ float operator()(float x) const { return tanhf(x); }
};
struct tanh_dx_f {
    __device__ float operator()(float y, float dy) const { return dy * (1 - y * y); }
};

extern "C" {
void cuda_relu(hone_backend *b, const hone_launch *l) { launch_map(b, l, relu_f{}); }
void cuda_relu_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, relu_dx_f{}); }
void cuda_relu6(hone_backend *b, const hone_launch *l) { launch_map(b, l, relu6_f{}); }
void cuda_relu6_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, relu6_dx_f{}); }
void cuda_leaky_relu(hone_backend *b, const hone_launch *l) { launch_map(b, l, leaky_f{l->node->attr.leaky.slope}); }
void cuda_leaky_relu_dx(hone_backend *b, const hone_launch *l)
{
    launch_zip(b, l, leaky_dx_f{l->node->attr.leaky.slope});
}
void cuda_gelu(hone_backend *b, const hone_launch *l) { launch_map(b, l, gelu_f{}); }
void cuda_gelu_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, gelu_dx_f{}); }
void cuda_gelu_tanh(hone_backend *b, const hone_launch *l) { launch_map(b, l, gelu_tanh_f{}); }
void cuda_gelu_tanh_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, gelu_tanh_dx_f{}); }
void cuda_silu(hone_backend *b, const hone_launch *l) { launch_map(b, l, silu_f{}); }
void cuda_silu_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, silu_dx_f{}); }
void cuda_tanh(hone_backend *b, const hone_launch *l) { launch_map(b, l, tanh_f{}); }
void cuda_tanh_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, tanh_dx_f{}); }
void cuda_sigmoid(hone_backend *b, const hone_launch *l) { launch_map(b, l, sigmoid_f{}); }
void cuda_sigmoid_dx(hone_backend *b, const hone_launch *l) { launch_zip(b, l, sigmoid_dx_f{}); }
}
