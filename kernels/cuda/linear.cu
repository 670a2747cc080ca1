/* linear.cu - our own linear rows, all directions: for shapes that cuBLASLt refuses, and for the emulator.
 *
 * x (R, I), w (O, I), b (O), y, dy (R, O). Addresses over tile.cuh; bias, activation and its derivative in
 * the store. Weight gradients are fp32, whatever the activations are stored in. */
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

/* y (R, O): bias and activation while the sum is in a register, so y is written once. */
template <typename T> struct put_forward {
    T *y;
    const T *bias;
    int64_t ld;
    hone_act act;
    float slope;
    __device__ void operator()(int, int64_t m, int64_t n, float v) const
    {
        if (bias) v += to_float(bias[n]);
        y[m * ld + n] = from_float<T>(act_forward(act, slope, v));
    }
};

/* below: output of the activation under this layer, or null */
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
                    put_forward<T>{(T *)l->out[0], (const T *)l->in[2], outputs, act, l->node->attr.leaky.slope});
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

extern "C" {
void cuda_linear(hone_backend *b, const hone_launch *l) { forward(b, l, HONE_ACT_NONE); }
void cuda_linear_act(hone_backend *b, const hone_launch *l) { forward(b, l, l->node->attr.act); }
void cuda_linear_dx(hone_backend *b, const hone_launch *l) { backward_x(b, l, nullptr); }
void cuda_linear_dx_act(hone_backend *b, const hone_launch *l) { backward_x(b, l, l->in[2]); }

/* dw = dy^T x, db = column sums of dy; in[0] is x here, in[1] dy. */
void cuda_linear_dw(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0], *dy = l->in_desc[1];
    int64_t inputs = x->dim[x->rank - 1], outputs = dy->dim[dy->rank - 1], rows = hone_tensor_count(x) / inputs;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (l->out[0])
            launch_tile(b, tile_size{outputs, inputs, rows}, 1, columns_of<T>{(const T *)l->in[1], outputs},
                        columns_of<T>{(const T *)l->in[0], inputs},
                        put_dw{(float *)l->out[0], inputs, l->node->accumulate});
        launch_column_sum<T>(b, (const T *)l->in[1], (float *)l->out[1], rows, outputs, l->node->accumulate);
    });
}
}
