/* linear.cu - our own linear rows, all directions, and what follows a product of cuBLASLt (linear_plan.c decides).
 *
 * x (R, I), w (O, I), b (O), y, dy (R, O). Addresses over tile.cuh; bias, activation and its derivative in
 * the store. Weight gradients are fp32, whatever the activations are stored in. */
#include "column_sum.cuh"
#include "linear.h"
#include "tile.cuh"

/* a(row, k) of a row-major matrix, and of its transpose. */
template <typename T> struct rows_of {
    const T *x;
    int64_t ld;
    __device__ float operator()(int, int64_t row, int64_t k) const { return to_float(x[row * ld + k]); }
};
template <typename T> struct columns_of {
    const T *x;
    int64_t ld;
    __device__ float operator()(int, int64_t row, int64_t k) const { return to_float(x[k * ld + row]); }
};

/* y (R, O): bias and activation while the sum is in a register, so y is written once; h (R, O) or null: what the
 * activation reads. */
template <typename T> struct put_forward {
    T *y, *h;
    const T *bias;
    int64_t ld;
    hone_act act;
    float slope;
    __device__ void operator()(int, int64_t m, int64_t n, float v) const
    {
        if (bias) v += to_float(bias[n]);
        if (h) h[m * ld + n] = from_float<T>(v);
        y[m * ld + n] = from_float<T>(act_forward(act, slope, v));
    }
};

/* below: output of the activation under this layer (its input where that tells, act.cuh), or null */
template <typename T> struct put_dx {
    T *dx;
    const T *below;
    int64_t ld;
    hone_act act;
    float slope;
    __device__ void operator()(int, int64_t m, int64_t n, float v) const
    {
        dx[m * ld + n] = from_float<T>(below ? act_backward(act, slope, to_float(below[m * ld + n]), v) : v);
    }
};

/* dw (O, I), always fp32: micro-batches would lose small sums in 16 bits. */
struct put_dw {
    float *dw;
    int64_t ld;
    int accumulate;
    __device__ void operator()(int, int64_t m, int64_t n, float v) const
    {
        dw[m * ld + n] = accumulate ? dw[m * ld + n] + v : v;
    }
};

/* All axes but the last are rows: tokens and samples alike. */
static void forward(hone_backend *b, const hone_launch *l, hone_act act)
{
    const hone_tensor *w = l->in_desc[1];
    int64_t outputs = w->dim[0], inputs = w->dim[1], rows = hone_tensor_count(l->in_desc[0]) / inputs;
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_tile(b, tile_size{rows, outputs, inputs}, 1, rows_of<T>{(const T *)l->in[0], inputs},
                    rows_of<T>{(const T *)l->in[1], inputs},
                    put_forward<T>{(T *)l->out[0], (T *)(act == HONE_ACT_NONE ? nullptr : l->out[1]),
                                   (const T *)l->in[2], outputs, act, l->node->attr.leaky.slope});
    });
}

/* dx = dy w: the columns of w are its rows transposed, by address and without a copy. */
static void backward_x(hone_backend *b, const hone_launch *l, const void *below)
{
    const hone_tensor *w = l->in_desc[1];
    int64_t outputs = w->dim[0], inputs = w->dim[1], rows = hone_tensor_count(l->in_desc[0]) / outputs;
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_tile(b, tile_size{rows, inputs, outputs}, 1, rows_of<T>{(const T *)l->in[0], outputs},
                    columns_of<T>{(const T *)l->in[1], inputs},
                    put_dx<T>{(T *)l->out[0], (const T *)below, inputs, l->node->attr.act, l->node->attr.leaky.slope});
    });
}

/* h = x + bias, y = act(h), (R, O): what an epilogue of the library does not do. x may be h or y; h may be null; bias
 * may be null, and of another type than y. */
template <typename T, typename B>
HONE_KERNEL(MAP_THREADS)
linear_finish_k(const T *x, T *h, T *y, const B *bias, int64_t n, int64_t outputs, hone_act act, float slope)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, packs = n / pack<T>::size;
    const int64_t first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (int64_t p = first; p < packs; p += step) {
        pack<T> v = ((const pack<T> *)x)[p], u;
#pragma unroll
        for (int k = 0; k < pack<T>::size; k++) {
            const float s = to_float(v.v[k]) + (bias ? to_float(bias[(p * pack<T>::size + k) % outputs]) : 0);
            u.v[k] = from_float<T>(s);
            v.v[k] = from_float<T>(act_forward(act, slope, s));
        }
        if (h) ((pack<T> *)h)[p] = u;
        ((pack<T> *)y)[p] = v;
    }
    for (int64_t i = packs * pack<T>::size + first; i < n; i += step) {
        const float s = to_float(x[i]) + (bias ? to_float(bias[i % outputs]) : 0);
        if (h) h[i] = from_float<T>(s);
        y[i] = from_float<T>(act_forward(act, slope, s));
    }
}

/* dx gated by the output (or input) of the activation below, as a functor of launch.cuh's vector loop. */
struct gate_f {
    hone_act act;
    float slope;
    __device__ float operator()(float u, float dx) const { return act_backward(act, slope, u, dx); }
};

extern "C" {
void cuda_own_linear(hone_backend *b, const hone_launch *l) { forward(b, l, HONE_ACT_NONE); }
void cuda_own_linear_act(hone_backend *b, const hone_launch *l) { forward(b, l, l->node->attr.act); }
void cuda_own_linear_dx(hone_backend *b, const hone_launch *l) { backward_x(b, l, nullptr); }
void cuda_own_linear_dx_act(hone_backend *b, const hone_launch *l) { backward_x(b, l, l->in[2]); }

/* dw = dy^T x; in[0] is x here, in[1] dy. */
void cuda_own_linear_dw(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0], *dy = l->in_desc[1];
    int64_t inputs = x->dim[x->rank - 1], outputs = dy->dim[dy->rank - 1], rows = hone_tensor_count(x) / inputs;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_tile(b, tile_size{outputs, inputs, rows}, 1, columns_of<T>{(const T *)l->in[1], outputs},
                    columns_of<T>{(const T *)l->in[0], inputs},
                    put_dw{(float *)l->out[0], inputs, l->node->accumulate});
    });
}

/* db = column sums of dy. */
void cuda_own_linear_db(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dy = l->in_desc[1];
    int64_t outputs = dy->dim[dy->rank - 1], rows = hone_tensor_count(dy) / outputs;
    with_dtype(dy->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_column_sum<T>(b, (const T *)l->in[1], (float *)l->out[1], rows, outputs, outputs, l->node->accumulate,
                             l->work, l->node->work_bytes);
    });
}

/* After a product of the library without epilogue, which lies in h where that is asked for, else in y (R, O): bias (may
 * be absent) and activation. h is written again only where the bias is added to it. */
void cuda_linear_finish(hone_backend *b, const hone_launch *l, int with_bias)
{
    const hone_tensor *y = l->out_desc[0];
    int64_t n = hone_tensor_count(y), outputs = y->dim[y->rank - 1];
    const hone_attrs *a = &l->node->attr;
    const bool fused = l->node->op == HONE_OP_linear_act;
    const void *bias = with_bias ? l->in[2] : nullptr;
    void *h = fused ? l->out[1] : nullptr;
    with_dtype(y->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        with_dtype(bias ? l->in_desc[2]->dtype : HONE_F32, [&](auto *bias_type) {
            using B = std::remove_pointer_t<decltype(bias_type)>;
            HONE_LAUNCH(b, (linear_finish_k<T, B>), map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0,
                        (const T *)(h ? h : l->out[0]), bias ? (T *)h : nullptr, (T *)l->out[0], (const B *)bias, n,
                        outputs, fused ? a->act : HONE_ACT_NONE, a->leaky.slope);
        });
    });
}

/* After dx (R, I) of the library: dx = act_dx(below, dx) in place. */
void cuda_linear_gate(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    gate_f f = {l->node->attr.act, l->node->attr.leaky.slope};
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, (zip_k<T, gate_f>), map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0, (const T *)l->in[2],
                    (const T *)l->out[0], (T *)l->out[0], n, f);
    });
}
}
