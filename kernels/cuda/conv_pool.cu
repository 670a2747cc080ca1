/* conv_pool.cu - convolution, activation and max-pooling in one pass, and their backward: the LeNet
 * pattern, where the convolution's output is four times what is kept and never leaves the registers.
 *
 * x (N, H, W, I), w (O, kh, kw, I/g), y, dy (N, PH, PW, O), at u8 (N, PH, PW, O). One thread a pooled
 * element; overlapping windows compute a place again. Only the places that won have a gradient, so dw
 * visits one place a pooled element: in slices of work, added in order. */
#include "tile.cuh"

/* Of all pooled places: enough blocks for few channels, and a fixed number, so that sums keep their order. */
static const int SLICES = 32;

/* Two windows on top of each other: `v` of the convolution, `pool` over its outputs. */
struct conv_pool {
    hone_window v, pool;
    hone_act act;
    float slope;
    int64_t samples;
    int h, w, in, ch, cw, ph, pw, out; /* image, its channels; convolution (never stored); pooled, its channels */
};

/* The convolution's own size is nowhere in the graph any more: it follows from the image and the window
 * (formula of torch.nn.Conv2d). */
static conv_pool shape_of(const hone_launch *l, const hone_tensor *x, const hone_tensor *y)
{
    const hone_attrs &a = l->node->attr;
    conv_pool s = {a.window,       a.pool, a.act, a.leaky.slope,  x->dim[0],      (int)x->dim[1], (int)x->dim[2],
                   (int)x->dim[3], 0,      0,     (int)y->dim[1], (int)y->dim[2], (int)y->dim[3]};
    s.ch = (s.h + 2 * s.v.pad[0] - s.v.dilation[0] * (s.v.kernel[0] - 1) - 1) / s.v.stride[0] + 1;
    s.cw = (s.w + 2 * s.v.pad[1] - s.v.dilation[1] * (s.v.kernel[1] - 1) - 1) / s.v.stride[1] + 1;
    return s;
}

/* The convolution at one place, bias included. */
template <typename T>
__device__ static float conv_at(const conv_pool &s, const T *x, const T *w, const T *bias, int64_t n, int oh, int ow,
                                int o)
{
    const int per_group = s.in / s.v.groups, first = o / (s.out / s.v.groups) * per_group;
    float sum = 0;
    for (int r = 0; r < s.v.kernel[0]; r++)
        for (int q = 0; q < s.v.kernel[1]; q++) {
            int h = oh * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
                ww = ow * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
            if (h < 0 || h >= s.h || ww < 0 || ww >= s.w) continue;
            const T *pixel = x + ((n * s.h + h) * s.w + ww) * s.in + first;
            const T *filter = w + (((int64_t)o * s.v.kernel[0] + r) * s.v.kernel[1] + q) * per_group;
            for (int c = 0; c < per_group; c++) sum += to_float(pixel[c]) * to_float(filter[c]);
        }
    return bias ? sum + to_float(bias[o]) : sum;
}

template <typename T>
HONE_KERNEL(MAP_THREADS)
conv_act_maxpool_k(conv_pool s, const T *x, const T *w, const T *bias, T *y, uint8_t *at, int64_t count)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int o = (int)(i % s.out), pw = (int)(i / s.out % s.pw), ph = (int)(i / s.out / s.pw % s.ph);
        const int64_t n = i / s.out / s.pw / s.ph;
        float best = -INFINITY;
        int place = -1;
        for (int t = 0; t < s.pool.kernel[0] * s.pool.kernel[1]; t++) {
            int oh = ph * s.pool.stride[0] - s.pool.pad[0] + t / s.pool.kernel[1] * s.pool.dilation[0];
            int ow = pw * s.pool.stride[1] - s.pool.pad[1] + t % s.pool.kernel[1] * s.pool.dilation[1];
            if (oh < 0 || oh >= s.ch || ow < 0 || ow >= s.cw) continue;
            float v = act_forward(s.act, s.slope, conv_at(s, x, w, bias, n, oh, ow, o));
            if (place >= 0 && !(v > best || (v != v && best == best))) continue;
            best = v;
            place = t;
        }
        y[i] = from_float<T>(best);
        if (at) at[i] = (uint8_t)(place < 0 ? 0 : place);
    }
}

/* part (SLICES, O, row): row = taps * I/g sums, then the bias. Block (o, slice), a thread an element of the row. */
template <typename T>
HONE_KERNEL(MAP_THREADS)
conv_act_maxpool_dw_k(conv_pool s, const T *x, const T *y, const uint8_t *at, const T *dy, float *part)
{
    const int o = (int)blockIdx.x, per_group = s.in / s.v.groups, taps = s.v.kernel[0] * s.v.kernel[1],
              row = taps * per_group + 1;
    const int first = o / (s.out / s.v.groups) * per_group;
    const int64_t places = s.samples * s.ph * s.pw, begin = places * blockIdx.y / SLICES,
                  end = places * (blockIdx.y + 1) / SLICES;
    for (int e = (int)threadIdx.x; e < row; e += (int)blockDim.x) {
        const int c = e % per_group, q = e / per_group % s.v.kernel[1], r = e / per_group / s.v.kernel[1];
        float sum = 0;
        for (int64_t p = begin; p < end; p++) {
            const int64_t k = p * s.out + o, n = p / s.pw / s.ph;
            const int pw = (int)(p % s.pw), ph = (int)(p / s.pw % s.ph);
            const float g = act_backward(s.act, s.slope, to_float(y[k]), to_float(dy[k]));
            if (e == row - 1) {
                sum += g;
                continue;
            }
            int oh = ph * s.pool.stride[0] - s.pool.pad[0] + at[k] / s.pool.kernel[1] * s.pool.dilation[0];
            int ow = pw * s.pool.stride[1] - s.pool.pad[1] + at[k] % s.pool.kernel[1] * s.pool.dilation[1];
            int h = oh * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
                w = ow * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
            if (h >= 0 && h < s.h && w >= 0 && w < s.w)
                sum += g * to_float(x[((n * s.h + h) * s.w + w) * s.in + first + c]);
        }
        part[((int64_t)blockIdx.y * s.out + o) * row + e] = sum;
    }
}

HONE_KERNEL(MAP_THREADS)
conv_act_maxpool_dw_add_k(const float *part, float *dw, float *db, int out, int row, int accumulate)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, count = (int64_t)out * row;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        float sum = 0;
        for (int k = 0; k < SLICES; k++) sum += part[k * count + i];
        float *to =
            i % row == row - 1 ? (db ? db + i / row : nullptr) : (dw ? dw + i / row * (row - 1) + i % row : nullptr);
        if (to) *to = accumulate ? *to + sum : sum;
    }
}

/* Weights of one output channel and, behind them, its bias. */
static int dw_row(const conv_pool &s) { return s.v.kernel[0] * s.v.kernel[1] * (s.in / s.v.groups) + 1; }

extern "C" {
/* Between the three ops nothing is written: a place's convolution lives in a register. */
void cuda_conv_act_maxpool(hone_backend *b, const hone_launch *l)
{
    conv_pool s = shape_of(l, l->in_desc[0], l->out_desc[0]);
    int64_t count = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, conv_act_maxpool_k<T>, map_blocks(count), MAP_THREADS, 0, s, (const T *)l->in[0],
                    (const T *)l->in[1], (const T *)l->in[2], (T *)l->out[0], (uint8_t *)l->out[1], count);
    });
}

/* part (SLICES, O, row); must agree with dw_row. */
hone_status cuda_conv_act_maxpool_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_window &v = n->attr.window;
    int64_t row = (int64_t)v.kernel[0] * v.kernel[1] * (g->tensor[n->in[0]].dim[3] / v.groups) + 1;
    n->work_bytes = (size_t)(SLICES * g->tensor[n->in[1]].dim[3] * row) * sizeof(float);
    return HONE_OK;
}

/* dw or db may be absent: a frozen one is summed but not stored. */
void cuda_conv_act_maxpool_dw(hone_backend *b, const hone_launch *l)
{
    conv_pool s = shape_of(l, l->in_desc[0], l->in_desc[1]);
    float *part = (float *)l->work;
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, conv_act_maxpool_dw_k<T>, dim3((unsigned)s.out, SLICES), MAP_THREADS, 0, s, (const T *)l->in[0],
                    (const T *)l->in[1], (const uint8_t *)l->in[2], (const T *)l->in[3], part);
    });
    HONE_LAUNCH(b, conv_act_maxpool_dw_add_k, map_blocks((int64_t)s.out * dw_row(s)), MAP_THREADS, 0,
                (const float *)part, (float *)l->out[0], (float *)l->out[1], s.out, dw_row(s), l->node->accumulate);
}
}
