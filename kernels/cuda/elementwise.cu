/* elementwise.cu - sums, products, row broadcasts, concatenation (rows add .. concat_dx of ops.def).
 *
 * Loops over the output, 16 bytes a thread where rows allow it. add_rows_dp sums over samples in order,
 * so that two runs give the same bits. Must not use atomics. */
#include "launch.cuh"

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

/* dp (R) = or += the sum over N of dy (N, R); one thread a column, samples in order */
template <typename T>
HONE_KERNEL(MAP_THREADS)
add_rows_dp_k(const T *dy, float *dp, int64_t samples, int64_t rows, int accumulate)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t r = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; r < rows; r += step) {
        float sum = 0;
        for (int64_t n = 0; n < samples; n++) sum += to_float(dy[n * rows + r]);
        dp[r] = accumulate ? dp[r] + sum : sum;
    }
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

extern "C" {
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

/* One thread a column is slow for few columns; it is an embedding's gradient, small beside the rest. */
void cuda_add_rows_dp(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dy = l->in_desc[0];
    int64_t rows = row_elements(dy);
    with_dtype(dy->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, add_rows_dp_k<T>, map_blocks(rows), MAP_THREADS, 0, (const T *)l->in[0], (float *)l->out[0],
                    dy->dim[0], rows, l->node->accumulate);
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
