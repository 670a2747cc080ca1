/* token.cu - the class token: prepended to the patches, read off at the end (rows prepend_token ..
 * first_token_dx of ops.def). x (N, T, C), token (C); copies, so every dialect gives the same bits. */
#include "column_sum.cuh"

/* y (N, T + 1, C) = [t | x] */
template <typename T>
HONE_KERNEL(MAP_THREADS)
prepend_token_k(const T *x, const T *t, T *y, int64_t n, int64_t tokens, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int64_t c = i % channels, at = i / channels % (tokens + 1), sample = i / channels / (tokens + 1);
        y[i] = at == 0 ? t[c] : x[(sample * tokens + at - 1) * channels + c];
    }
}

/* dx (N, T, C): dy (N, T + 1, C) without its first token */
template <typename T>
HONE_KERNEL(MAP_THREADS)
prepend_token_dx_k(const T *dy, T *dx, int64_t n, int64_t tokens, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, block = tokens * channels;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        dx[i] = dy[i / block * (block + channels) + channels + i % block];
}

/* y (N, C) = x (N, T, C) at token 0; forward: n = N C. */
template <typename T>
HONE_KERNEL(MAP_THREADS)
first_token_k(const T *x, T *y, int64_t n, int64_t stride, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        y[i] = x[i / channels * stride + i % channels];
}

template <typename T>
HONE_KERNEL(MAP_THREADS)
first_token_dx_k(const T *dy, T *dx, int64_t n, int64_t stride, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        dx[i] = i % stride < channels ? dy[i / stride * channels + i % stride] : from_float<T>(0);
}

extern "C" {
/* x (N, T, C), token (C) -> y (N, T + 1, C). */
void cuda_prepend_token(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, prepend_token_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (const T *)l->in[1],
                    (T *)l->out[0], n, x->dim[1], x->dim[2]);
    });
}

/* dy has one token more than dx: its first one is the class token's, and belongs to dt. */
void cuda_prepend_token_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dx = l->out_desc[0];
    int64_t n = hone_tensor_count(dx);
    with_dtype(dx->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, prepend_token_dx_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0], n,
                    dx->dim[1], dx->dim[2]);
    });
}

hone_status cuda_prepend_token_dt_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *dy = &g->tensor[n->in[0]];
    n->work_bytes = hone_column_sum_bytes(dy->dim[0], dy->dim[2]);
    return HONE_OK;
}

/* dt (C) = or += the sum over N of the first tokens of dy (N, T + 1, C) */
void cuda_prepend_token_dt(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dy = l->in_desc[0];
    with_dtype(dy->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        launch_column_sum<T>(b, (const T *)l->in[0], (float *)l->out[0], dy->dim[0], dy->dim[2],
                             dy->dim[1] * dy->dim[2], l->node->accumulate, l->work, l->node->work_bytes);
    });
}

/* A copy: what follows reads (N, C) without gaps. */
void cuda_first_token(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, first_token_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0], n,
                    x->dim[1] * x->dim[2], x->dim[2]);
    });
}

void cuda_first_token_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dx = l->out_desc[0];
    int64_t n = hone_tensor_count(dx);
    with_dtype(dx->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, first_token_dx_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0], n,
                    dx->dim[1] * dx->dim[2], dx->dim[2]);
    });
}
}
