/* maxpool.cu - max-pooling and its backward, alone and behind an activation (rows maxpool, maxpool_dx, maxpool_act_dx).
 *
 * x, dx (N, H, W, C), y, dy (N, OH, OW, C), at u8 (N, OH, OW, C): place of the maximum in its window. A NaN wins a
 * maximum. A thread has 16 bytes of channels where they divide the channels, else one. Windows of 2 and 3 with stride 2
 * are unrolled, and their backward takes a block of 2 x 2 inputs a thread, so that a pooled place is read once, or four
 * times for windows of 3, instead of once an input. Backward gathers: one writer an element, a fixed order, no atomics. */
#include "act.cuh"
#include "divide.cuh"
#include "lanes.cuh"
#include "launch.cuh"

/* Passed by value: launch arguments live in constant memory, where all threads read them for free. */
struct maxpool_shape {
    hone_window v;
    hone_act act;
    float slope;
    int h, w, oh, ow, channels;
    unsigned items;                           /* threads' pieces of work in this launch, of `lanes` channels each */
    divider by_channels, by_width, by_height; /* of the side that is walked                                       */
    divider by_stride[2];
};

/* Places of V channels side by side. */
template <int V> struct alignas(V) places {
    uint8_t v[V];
};

/* Where a thread works: sample, row and column of the walked side, first channel. */
struct spot {
    int64_t n;
    int h, w, c;
};
template <int V> __device__ static inline spot spot_of(const maxpool_shape &s, unsigned i)
{
    const int c = s.by_channels.split(i) * V, w = s.by_width.split(i), h = s.by_height.split(i);
    return {(int64_t)i, h, w, c};
}

/* The first tap of a window that lies inside the image, or `kernel` or more. */
__device__ static inline int first_inside(int begin, int dilation)
{
    return begin >= 0 ? 0 : dilation == 1 ? -begin : (-begin + dilation - 1) / dilation;
}

/* Comparisons as kernels/ref/pool.c has them: the first maximum wins, a NaN beats all numbers but no NaN. The first
 * place inside stands from the start: it holds where all are -inf. Without one (possible with dilation) y is -inf, as
 * in PyTorch. K, S: window and stride, 0: as the node says. */
template <typename T, int V, int K, int S>
HONE_KERNEL(MAP_THREADS)
maxpool_k(const T *__restrict__ x, T *__restrict__ y, uint8_t *__restrict__ at, maxpool_shape s)
{
    const int kh = K ? K : s.v.kernel[0], kw = K ? K : s.v.kernel[1], dh = K ? 1 : s.v.dilation[0],
              dw = K ? 1 : s.v.dilation[1];
    const unsigned step = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < s.items; i += step) {
        const spot p = spot_of<V>(s, i);
        const int h0 = p.h * (S ? S : s.v.stride[0]) - s.v.pad[0], w0 = p.w * (S ? S : s.v.stride[1]) - s.v.pad[1];
        const int r0 = first_inside(h0, dh), q0 = first_inside(w0, dw);
        const bool any = r0 < kh && h0 + r0 * dh < s.h && q0 < kw && w0 + q0 * dw < s.w;
        const T *image = x + p.n * s.h * s.w * s.channels + p.c;
        float best[V];
        int place[V];
#pragma unroll
        for (int k = 0; k < V; k++) best[k] = -INFINITY, place[k] = any ? r0 * kw + q0 : 0;
#pragma unroll(K ? K : 1)
        for (int r = 0; r < kh; r++)
#pragma unroll(K ? K : 1)
            for (int q = 0; q < kw; q++) {
                const int h = h0 + r * dh, w = w0 + q * dw;
                if ((unsigned)h >= (unsigned)s.h || (unsigned)w >= (unsigned)s.w) continue;
                const lanes<T, V> u = *(const lanes<T, V> *)(image + ((int64_t)h * s.w + w) * s.channels);
#pragma unroll
                for (int k = 0; k < V; k++) {
                    const float v = to_float(u.v[k]);
                    const bool wins = !(v <= best[k]) && best[k] == best[k]; /* greater, or a NaN over a number */
                    best[k] = wins ? v : best[k];
                    place[k] = wins ? r * kw + q : place[k];
                }
            }
        lanes<T, V> top;
        places<V> where;
#pragma unroll
        for (int k = 0; k < V; k++) top.v[k] = from_float<T>(best[k]), where.v[k] = (uint8_t)place[k];
        ((lanes<T, V> *)y)[i] = top;
        if (at) ((places<V> *)at)[i] = where;
    }
}

/* What backward knows of the activation at compile time; the others are told apart by the node. */
enum { ACT_NONE, ACT_RELU, ACT_ANY };

/* Gradient before the activation at V channels of a pooled place; y is not read without an activation. */
template <typename T, int V, int ACT>
__device__ static inline void pooled_gradient(const maxpool_shape &s, const T *y, const T *dy, int64_t at, float *g)
{
    const lanes<T, V> d = *(const lanes<T, V> *)(dy + at);
    lanes<T, V> u = d;
    if (ACT != ACT_NONE) u = *(const lanes<T, V> *)(y + at);
#pragma unroll
    for (int k = 0; k < V; k++) {
        const float v = to_float(d.v[k]);
        if (ACT == ACT_NONE) g[k] = v;
        else if (ACT == ACT_RELU) g[k] = act_backward(HONE_ACT_RELU, 0, to_float(u.v[k]), v);
        else g[k] = act_backward(s.act, s.slope, to_float(u.v[k]), v);
    }
}

/* An input place a thread, any window: from the last pooled row and column that reach it downwards, which is in the
 * order of the taps. A choice, not a product with 0: what is not chosen contributes nothing, were dy infinite. */
template <typename T, int V, int ACT>
HONE_KERNEL(MAP_THREADS)
maxpool_dx_k(const T *__restrict__ y, const uint8_t *__restrict__ at, const T *__restrict__ dy, T *__restrict__ dx,
             maxpool_shape s)
{
    const unsigned step = gridDim.x * blockDim.x;
    const int dh = s.v.dilation[0], dw = s.v.dilation[1], reach_h = (s.v.kernel[0] - 1) * dh,
              reach_w = (s.v.kernel[1] - 1) * dw;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < s.items; i += step) {
        const spot p = spot_of<V>(s, i);
        const int a = p.h + s.v.pad[0], b = p.w + s.v.pad[1];
        int last_h = (int)s.by_stride[0].quotient((unsigned)a), last_w = (int)s.by_stride[1].quotient((unsigned)b);
        last_h = last_h < s.oh ? last_h : s.oh - 1, last_w = last_w < s.ow ? last_w : s.ow - 1;
        float sum[V] = {};
        for (int oh = last_h; oh >= 0 && a - oh * s.v.stride[0] <= reach_h; oh--) {
            const int th = a - oh * s.v.stride[0], r = dh == 1 ? th : th / dh;
            if (r * dh != th) continue;
            for (int ow = last_w; ow >= 0 && b - ow * s.v.stride[1] <= reach_w; ow--) {
                const int tw = b - ow * s.v.stride[1], q = dw == 1 ? tw : tw / dw;
                if (q * dw != tw) continue;
                const int64_t from = ((p.n * s.oh + oh) * s.ow + ow) * s.channels + p.c;
                const places<V> won = *(const places<V> *)(at + from);
                float g[V];
                pooled_gradient<T, V, ACT>(s, y, dy, from, g);
#pragma unroll
                for (int k = 0; k < V; k++) sum[k] += won.v[k] == r * s.v.kernel[1] + q ? g[k] : 0;
            }
        }
        lanes<T, V> out;
#pragma unroll
        for (int k = 0; k < V; k++) out.v[k] = from_float<T>(sum[k]);
        ((lanes<T, V> *)dx)[i] = out;
    }
}

/* A block of S x S inputs a thread, windows of K x K with stride S: in the padded image it begins at a multiple of S, so
 * that each of its places knows its taps at compile time, and the pooled places that reach it are the same for all.
 * The walked side is the blocks'. */
template <typename T, int V, int K, int S, int ACT>
HONE_KERNEL(MAP_THREADS)
maxpool_dx_block_k(const T *__restrict__ y, const uint8_t *__restrict__ at, const T *__restrict__ dy,
                   T *__restrict__ dx, maxpool_shape s)
{
    const int REACH = (K + S - 1) / S; /* pooled rows that hold a row of the block */
    const unsigned step = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < s.items; i += step) {
        const spot p = spot_of<V>(s, i);
        float sum[S][S][V] = {};
#pragma unroll
        for (int a = 0; a < REACH; a++)
#pragma unroll
            for (int b = 0; b < REACH; b++) {
                const int oh = p.h - a, ow = p.w - b;
                if ((unsigned)oh >= (unsigned)s.oh || (unsigned)ow >= (unsigned)s.ow) continue;
                const int64_t from = ((p.n * s.oh + oh) * s.ow + ow) * s.channels + p.c;
                const places<V> won = *(const places<V> *)(at + from);
                float g[V];
                pooled_gradient<T, V, ACT>(s, y, dy, from, g);
#pragma unroll
                for (int j = 0; j < S * S; j++) {
                    const int r = j / S + a * S, q = j % S + b * S; /* the tap under which it sees this place */
                    if (r >= K || q >= K) continue;
#pragma unroll
                    for (int k = 0; k < V; k++) sum[j / S][j % S][k] += won.v[k] == r * K + q ? g[k] : 0;
                }
            }
#pragma unroll
        for (int j = 0; j < S * S; j++) {
            const int h = p.h * S + j / S - s.v.pad[0], w = p.w * S + j % S - s.v.pad[1];
            if ((unsigned)h >= (unsigned)s.h || (unsigned)w >= (unsigned)s.w) continue;
            lanes<T, V> out;
#pragma unroll
            for (int k = 0; k < V; k++) out.v[k] = from_float<T>(sum[j / S][j % S][k]);
            *(lanes<T, V> *)(dx + ((p.n * s.h + h) * s.w + w) * s.channels + p.c) = out;
        }
    }
}

/* `image`: the pooled side, `pooled`: the result's side. */
static maxpool_shape shape_of(const hone_launch *l, const hone_tensor *image, const hone_tensor *pooled)
{
    const hone_attrs &a = l->node->attr;
    maxpool_shape s = {};
    s.v = a.window, s.act = a.act, s.slope = a.leaky.slope;
    s.h = (int)image->dim[1], s.w = (int)image->dim[2], s.channels = (int)image->dim[3];
    s.oh = (int)pooled->dim[1], s.ow = (int)pooled->dim[2];
    for (int k = 0; k < 2; k++) s.by_stride[k] = divider_by(a.window.stride[k]);
    return s;
}

/* Whether a window is k x k with stride 2 and nothing between its places. */
static bool halves(const hone_window &v, int k)
{
    return v.kernel[0] == k && v.kernel[1] == k && v.stride[0] == 2 && v.stride[1] == 2 && v.dilation[0] == 1 &&
           v.dilation[1] == 1;
}

/* Calls launch(s, first sample) with the side (height, width) to walk by `lanes` channels at a time: once, or with as
 * many samples at a time as the dividers can count. */
template <typename F>
static void each_part(maxpool_shape s, int64_t samples, int64_t height, int64_t width, int lanes_wide, F launch)
{
    const int64_t packs = s.channels / lanes_wide, a_sample = height * width * packs;
    const int64_t most = DIVIDEND_MOST / (a_sample > 0 ? a_sample : 1), at_once = most < samples ? most : samples;
    s.by_channels = divider_by(packs), s.by_width = divider_by(width), s.by_height = divider_by(height);
    for (int64_t n = 0; n < samples; n += at_once) {
        s.items = (unsigned)((samples - n < at_once ? samples - n : at_once) * a_sample);
        launch(s, n);
    }
}

template <typename T, int V> static void forward(hone_backend *b, const hone_launch *l, const maxpool_shape &shape)
{
    each_part(shape, l->in_desc[0]->dim[0], shape.oh, shape.ow, V, [&](const maxpool_shape &s, int64_t n) {
        auto kernel = halves(s.v, 2)   ? maxpool_k<T, V, 2, 2>
                      : halves(s.v, 3) ? maxpool_k<T, V, 3, 2>
                                       : maxpool_k<T, V, 0, 0>;
        const int64_t pooled = n * s.oh * s.ow * s.channels;
        uint8_t *at = (uint8_t *)l->out[1]; /* absent in evaluation, which keeps no places */
        HONE_LAUNCH(b, kernel, map_blocks(s.items), MAP_THREADS, 0, (const T *)l->in[0] + n * s.h * s.w * s.channels,
                    (T *)l->out[0] + pooled, at ? at + pooled : nullptr, s);
    });
}

/* y null: without an activation. */
template <typename T, int V, int ACT>
static void backward(hone_backend *b, const hone_launch *l, const maxpool_shape &shape, const void *y, const void *at,
                     const void *dy)
{
    const int k = ACT == ACT_ANY ? 0 : halves(shape.v, 2) ? 2 : halves(shape.v, 3) ? 3 : 0;
    /* Blocks of 2 x 2, counted in the padded image: those that lie in the padding alone on the left are none. */
    const int64_t height = k ? (shape.h + shape.v.pad[0] + 1) / 2 : shape.h,
                  width = k ? (shape.w + shape.v.pad[1] + 1) / 2 : shape.w;
    each_part(shape, l->out_desc[0]->dim[0], height, width, V, [&](const maxpool_shape &s, int64_t n) {
        auto kernel = maxpool_dx_k<T, V, ACT>;
        if constexpr (ACT != ACT_ANY) { /* that one is not even compiled: four times eight formulas of eight branches */
            if (k == 2) kernel = maxpool_dx_block_k<T, V, 2, 2, ACT>;
            if (k == 3) kernel = maxpool_dx_block_k<T, V, 3, 2, ACT>;
        }
        const int64_t pooled = n * s.oh * s.ow * s.channels;
        HONE_LAUNCH(b, kernel, map_blocks(s.items), MAP_THREADS, 0, y ? (const T *)y + pooled : nullptr,
                    (const uint8_t *)at + pooled, (const T *)dy + pooled, (T *)l->out[0] + n * s.h * s.w * s.channels,
                    s);
    });
}

template <int ACT>
static void backward_any(hone_backend *b, const hone_launch *l, const void *y, const void *at, const void *dy)
{
    const maxpool_shape s = shape_of(l, l->out_desc[0], l->in_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (s.channels % pack<T>::size == 0) backward<T, pack<T>::size, ACT>(b, l, s, y, at, dy);
        else backward<T, 1, ACT>(b, l, s, y, at, dy);
    });
}

extern "C" {
/* Nothing is chosen here: a sample that the index arithmetic can't hold is refused before anything runs. */
hone_status cuda_maxpool_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    const hone_tensor *x = &g->tensor[n->op == HONE_OP_maxpool ? n->in[0] : n->out[0]];
    const int64_t a_sample =
        (x->dim[1] + 2 * n->attr.window.pad[0]) * (x->dim[2] + 2 * n->attr.window.pad[1]) * x->dim[3];
    if (a_sample <= DIVIDEND_MOST) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, NULL, "%s: max-pooling of %lld x %lld x %lld: a sample has 2^31 elements or more",
                     b->name, (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[3]);
}

void cuda_maxpool(hone_backend *b, const hone_launch *l)
{
    const maxpool_shape s = shape_of(l, l->in_desc[0], l->out_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (s.channels % pack<T>::size == 0) forward<T, pack<T>::size>(b, l, s);
        else forward<T, 1>(b, l, s);
    });
}

void cuda_maxpool_dx(hone_backend *b, const hone_launch *l)
{
    backward_any<ACT_NONE>(b, l, nullptr, l->in[1], l->in[0]);
}

/* y is the pooled output: the activation's slope is read from it. */
void cuda_maxpool_act_dx(hone_backend *b, const hone_launch *l)
{
    if (l->node->attr.act == HONE_ACT_RELU) backward_any<ACT_RELU>(b, l, l->in[0], l->in[1], l->in[2]);
    else backward_any<ACT_ANY>(b, l, l->in[0], l->in[1], l->in[2]);
}
}
