/* elementwise.cu - sums, products, row broadcasts, concatenation (rows add .. concat_dx of ops.def).
 *
 * Loops over the output, 16 bytes a thread where rows allow it. add_rows_dp is a sum of columns
 * in a fixed order, so two runs give the same bits. Must not use atomics. */
#include "column_sum.cuh"

/* Functors, so that one loop (launch.cuh) serves all; arithmetic is float, whatever the storage type. */
struct add_f {
    __device__ float operator()(float a, float b) const { return a + b; }
};
/* NaN passes, as in torch.relu: it is not below 0. */
struct add_relu_f {
    __device__ float operator()(float a, float b) const
    {
        float s = a + b;
        return s < 0 ? 0 : s;
    }
};
struct mul_f {
    __device__ float operator()(float a, float b) const { return a * b; }
};

/* y (N, R) = x (N, R) + p (R) */
template <typename T> HONE_KERNEL(MAP_THREADS) add_rows_k(const T *x, const T *p, T *y, int64_t n, int64_t rows)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        y[i] = from_float<T>(to_float(x[i]) + to_float(p[i % rows]));
}

/* y (M, left + right) = [a (M, left) | b (M, right)] */
template <typename T> HONE_KERNEL(MAP_THREADS) concat_k(const T *a, const T *b, T *y, int64_t n, int left, int right)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const int width = left + right;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int64_t row = i / width;
        int c = (int)(i % width);
        y[i] = c < left ? a[row * left + c] : b[row * right + c - left];
    }
}

/* da, db may be null: a branch that needs no gradient. */
template <typename T> HONE_KERNEL(MAP_THREADS) concat_dx_k(const T *dy, T *da, T *db, int64_t n, int left, int right)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const int width = left + right;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int64_t row = i / width;
        int c = (int)(i % width);
        if (c < left) {
            if (da) da[row * left + c] = dy[i];
        } else if (db) {
            db[row * right + c - left] = dy[i];
        }
    }
}

/* Elements of all axes but the first (of a broadcast row), and the last axis. */
static int64_t row_elements(const hone_tensor *t) { return hone_tensor_count(t) / (t->rank ? t->dim[0] : 1); }
static int last_dim(const hone_tensor *t) { return (int)t->dim[t->rank - 1]; }

/* y[i] = x[i] rounded to T; (n) elements, a pack of y a thread. */
template <typename T> HONE_KERNEL(MAP_THREADS) cast_k(const float *x, T *y, int64_t n)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t packs = n / pack<T>::size;
    for (int64_t p = first; p < packs; p += step) {
        pack<T> v;
#pragma unroll
        for (int q = 0; q < pack<T>::size / pack<float>::size; q++) {
            pack<float> u = ((const pack<float> *)x)[p * (pack<T>::size / pack<float>::size) + q];
#pragma unroll
            for (int k = 0; k < pack<float>::size; k++) v.v[q * pack<float>::size + k] = from_float<T>(u.v[k]);
        }
        ((pack<T> *)y)[p] = v;
    }
    for (int64_t i = packs * pack<T>::size + first; i < n; i += step) y[i] = from_float<T>(x[i]);
}

extern "C" {
/* The flat arena of parameters to its 16-bit shadow. */
void cuda_cast(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, cast_k<T>, map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0, (const float *)l->in[0],
                    (T *)l->out[0], n);
    });
}

void cuda_add(hone_backend *b, const hone_launch *l) { launch_zip(b, l, add_f{}); }
void cuda_add_relu(hone_backend *b, const hone_launch *l) { launch_zip(b, l, add_relu_f{}); }
void cuda_mul(hone_backend *b, const hone_launch *l) { launch_zip(b, l, mul_f{}); }

/* x (N, ...), p (...): a position embedding, the same for all samples. */
void cuda_add_rows(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]), rows = row_elements(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, add_rows_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (const T *)l->in[1],
                    (T *)l->out[0], n, rows);
    });
}

hone_status cuda_add_rows_dp_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *dy = &g->tensor[n->in[0]];
    n->work_bytes = hone_column_sum_bytes(dy->dim[0], row_elements(dy));
    return HONE_OK;
}

/* dp (R) = or += the sum over N of dy (N, R) */
void cuda_add_rows_dp(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dy = l->in_desc[0];
    int64_t columns = row_elements(dy);
    with_dtype(dy->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_column_sum<T>(b, (const T *)l->in[0], (float *)l->out[0], dy->dim[0], columns, columns,
                             l->node->accumulate, l->work, l->node->work_bytes);
    });
}

/* Along the channels; all axes before them are rows. */
void cuda_concat(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, concat_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (const T *)l->in[1],
                    (T *)l->out[0], n, last_dim(l->in_desc[0]), last_dim(l->in_desc[1]));
    });
}

/* `left` is an attribute, as both outputs may be absent. */
void cuda_concat_dx(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->in_desc[0]);
    int left = l->node->attr.concat.left, width = last_dim(l->in_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, concat_dx_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0],
                    (T *)l->out[1], n, left, width - left);
    });
}
}
