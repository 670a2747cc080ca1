/* conv.cu - our own convolution rows, all directions, any window and groups: for what cuDNN refuses and
 * for the emulator. Gradients of small ones go to conv_small.cu.
 *
 * x (N, H, W, I), w (O, kh, kw, I/g), y, dy (N, OH, OW, O), NHWC. Implicit products over tile.cuh: k runs
 * over (kh, kw, channels of the group), so neighbours in k are neighbours in memory; the group is
 * blockIdx.z. */
#include "column_sum.cuh"
#include "conv_small.h"
#include "tile.cuh"

/* One convolution as a product of matrices: M output places, K taps times input channels, N output channels. */
struct conv_shape {
    hone_window v;
    int h, w, oh, ow; /* image and output                         */
    int in, out;      /* channels of one group                    */
    int64_t samples;
    __device__ int64_t x_at(int64_t n, int hh, int ww, int c) const
    {
        return ((n * h + hh) * w + ww) * ((int64_t)in * v.groups) + c;
    }
    __device__ int64_t y_at(int64_t n, int hh, int ww, int c) const
    {
        return ((n * oh + hh) * ow + ww) * ((int64_t)out * v.groups) + c;
    }
};

/* x is the side of the image, y that of the output, whichever of the two is written. */
static conv_shape shape_of(const hone_launch *l, const hone_tensor *x, const hone_tensor *y)
{
    const hone_window &v = l->node->attr.window;
    return {v,
            (int)x->dim[1],
            (int)x->dim[2],
            (int)y->dim[1],
            (int)y->dim[2],
            (int)x->dim[3] / v.groups,
            (int)y->dim[3] / v.groups,
            x->dim[0]};
}

/* For conv_small.cu; channels of all groups. */
static hone_small_conv small_of(const conv_shape &s)
{
    return {s.v, s.samples, s.h, s.w, (int64_t)s.in * s.v.groups, s.oh, s.ow, (int64_t)s.out * s.v.groups};
}

/* a(m, k) of forward: m is an output place, k a tap and input channel; 0 outside the image. */
template <typename T> struct windows_of {
    const T *x;
    conv_shape s;
    __device__ float operator()(int g, int64_t m, int64_t k) const
    {
        int ow = (int)(m % s.ow), oh = (int)(m / s.ow % s.oh), c = (int)(k % s.in), q = (int)(k / s.in % s.v.kernel[1]),
            r = (int)(k / s.in / s.v.kernel[1]);
        int h = oh * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
            w = ow * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
        if (h < 0 || h >= s.h || w < 0 || w >= s.w) return 0;
        return to_float(x[s.x_at(m / s.ow / s.oh, h, w, g * s.in + c)]);
    }
};

/* a(m, k) of backward data: m is an image place, k a tap and output channel. */
template <typename T> struct outputs_of {
    const T *dy;
    conv_shape s;
    __device__ float operator()(int g, int64_t m, int64_t k) const
    {
        int w = (int)(m % s.w), h = (int)(m / s.w % s.h), o = (int)(k % s.out), q = (int)(k / s.out % s.v.kernel[1]),
            r = (int)(k / s.out / s.v.kernel[1]);
        int a = h + s.v.pad[0] - r * s.v.dilation[0], b = w + s.v.pad[1] - q * s.v.dilation[1];
        if (a < 0 || a % s.v.stride[0] || b < 0 || b % s.v.stride[1]) return 0;
        int oh = a / s.v.stride[0], ow = b / s.v.stride[1];
        if (oh >= s.oh || ow >= s.ow) return 0;
        return to_float(dy[s.y_at(m / s.w / s.h, oh, ow, g * s.out + o)]);
    }
};

/* b(n, k) of forward: filter n of the group, its taps and channels in a row. */
template <typename T> struct filters_of {
    const T *w;
    conv_shape s;
    __device__ float operator()(int g, int64_t n, int64_t k) const
    {
        return to_float(w[((int64_t)g * s.out + n) * s.v.kernel[0] * s.v.kernel[1] * s.in + k]);
    }
};

/* b(n, k) of backward data: input channel n, k a tap and output channel. */
template <typename T> struct filters_turned {
    const T *w;
    conv_shape s;
    __device__ float operator()(int g, int64_t n, int64_t k) const
    {
        int64_t o = k % s.out, tap = k / s.out;
        return to_float(w[(((int64_t)g * s.out + o) * s.v.kernel[0] * s.v.kernel[1] + tap) * s.in + n]);
    }
};

/* Backward filter: k is an output place; a = dy there, b = x under tap and channel n. */
template <typename T> struct places_of_dy {
    const T *dy;
    conv_shape s;
    __device__ float operator()(int g, int64_t m, int64_t k) const
    {
        return to_float(dy[k * ((int64_t)s.out * s.v.groups) + (int64_t)g * s.out + m]);
    }
};
template <typename T> struct places_of_x {
    windows_of<T> windows;
    __device__ float operator()(int g, int64_t n, int64_t k) const { return windows(g, k, n); }
};

template <typename T> struct put_y {
    T *y;
    const T *bias;
    int64_t out, channels;
    hone_act act;
    float slope;
    __device__ void operator()(int g, int64_t m, int64_t n, float v) const
    {
        if (bias) v += to_float(bias[g * out + n]);
        y[m * channels + g * out + n] = from_float<T>(act_forward(act, slope, v));
    }
};
template <typename T> struct put_x {
    T *dx;
    int64_t in, channels;
    __device__ void operator()(int g, int64_t m, int64_t n, float v) const
    {
        dx[m * channels + g * in + n] = from_float<T>(v);
    }
};
/* dw (O, kh, kw, I/g), fp32. */
struct put_w {
    float *dw;
    int64_t out, row;
    int accumulate;
    __device__ void operator()(int g, int64_t m, int64_t n, float v) const
    {
        float *at = dw + (g * out + m) * row + n;
        *at = accumulate ? *at + v : v;
    }
};

/* Groups are products side by side, one grid layer each. */
static void forward(hone_backend *b, const hone_launch *l, hone_act act)
{
    conv_shape s = shape_of(l, l->in_desc[0], l->out_desc[0]);
    int64_t taps = (int64_t)s.v.kernel[0] * s.v.kernel[1];
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_tile(b, tile_size{s.samples * s.oh * s.ow, s.out, taps * s.in}, s.v.groups,
                    windows_of<T>{(const T *)l->in[0], s}, filters_of<T>{(const T *)l->in[1], s},
                    put_y<T>{(T *)l->out[0], (const T *)l->in[2], s.out, (int64_t)s.out * s.v.groups, act,
                             l->node->attr.leaky.slope});
    });
}

extern "C" {
void cuda_conv(hone_backend *b, const hone_launch *l) { forward(b, l, HONE_ACT_NONE); }
void cuda_conv_act(hone_backend *b, const hone_launch *l) { forward(b, l, l->node->attr.act); }

/* dx as a product over taps and output channels, gathered: every element has one writer, so no atomics. */
void cuda_conv_dx(hone_backend *b, const hone_launch *l)
{
    conv_shape s = shape_of(l, l->out_desc[0], l->in_desc[0]);
    int64_t taps = (int64_t)s.v.kernel[0] * s.v.kernel[1];
    const hone_small_conv small = small_of(s);
    if (hone_small_conv_dx_fits(&small)) {
        hone_small_conv_dx(b, &small, l->in_desc[0]->dtype, l->in[0], l->in[1], l->out[0]);
        return;
    }
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_tile(b, tile_size{s.samples * s.h * s.w, s.in, taps * s.out}, s.v.groups,
                    outputs_of<T>{(const T *)l->in[0], s}, filters_turned<T>{(const T *)l->in[1], s},
                    put_x<T>{(T *)l->out[0], s.in, (int64_t)s.in * s.v.groups});
    });
}

/* The sum runs over all output places of the batch; db is a sum of columns of dy, last: it may have all the scratch. */
void cuda_conv_dw(hone_backend *b, const hone_launch *l)
{
    conv_shape s = shape_of(l, l->in_desc[0], l->in_desc[1]);
    int64_t taps = (int64_t)s.v.kernel[0] * s.v.kernel[1], places = s.samples * s.oh * s.ow;
    const hone_small_conv small = small_of(s);
    if (l->out[0] && hone_small_conv_dw_fits(&small)) {
        hone_small_conv_dw(b, &small, l->in_desc[0]->dtype, l->in[0], l->in[1], (float *)l->out[0], (float *)l->out[1],
                           l->node->accumulate, l->work);
        return;
    }
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (l->out[0])
            launch_tile(b, tile_size{s.out, taps * s.in, places}, s.v.groups, places_of_dy<T>{(const T *)l->in[1], s},
                        places_of_x<T>{windows_of<T>{(const T *)l->in[0], s}},
                        put_w{(float *)l->out[0], s.out, taps * s.in, l->node->accumulate});
        const int64_t channels = (int64_t)s.out * s.v.groups;
        launch_column_sum<T>(b, (const T *)l->in[1], (float *)l->out[1], places, channels, channels,
                             l->node->accumulate, l->work, l->node->work_bytes);
    });
}
}
