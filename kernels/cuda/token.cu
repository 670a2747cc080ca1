/* token.cu - the class token: prepended to the patches, read off at the end (rows prepend_token ..
 * first_token_dx of ops.def). x (N, T, C), token (C); copies, so every dialect gives the same bits. */
#include "column_sum.cuh"
#include "lanes.cuh"

/* Below, counts and channels are those of packs of W neighbours: whole accesses, and a division for each. */

/* y (N, T + 1, C) = [t | x] */
template <typename P>
HONE_KERNEL(MAP_THREADS)
prepend_token_k(const P *x, const P *t, P *y, int64_t n, int64_t tokens, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int64_t c = i % channels, at = i / channels % (tokens + 1), sample = i / channels / (tokens + 1);
        y[i] = at == 0 ? t[c] : x[(sample * tokens + at - 1) * channels + c];
    }
}

/* dx (N, T, C): dy (N, T + 1, C) without its first token */
template <typename P>
HONE_KERNEL(MAP_THREADS)
prepend_token_dx_k(const P *dy, P *dx, int64_t n, int64_t tokens, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, block = tokens * channels;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        dx[i] = dy[i / block * (block + channels) + channels + i % block];
}

/* y (N, C) = x (N, T, C) at token 0; forward: n = N C. */
template <typename P>
HONE_KERNEL(MAP_THREADS)
first_token_k(const P *x, P *y, int64_t n, int64_t stride, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        y[i] = x[i / channels * stride + i % channels];
}

template <typename P>
HONE_KERNEL(MAP_THREADS)
first_token_dx_k(const P *dy, P *dx, int64_t n, int64_t stride, int64_t channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        P v = {}; /* zeros of every storage are zero bits */
        if (i % stride < channels) v = dy[i / stride * channels + i % stride];
        dx[i] = v;
    }
}

/* Calls f with a null pointer to packs of the channels of x and with their size. */
template <typename F> static void with_packs(const hone_tensor *x, F f)
{
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        with_width<T>(x->dim[x->rank - 1], [&](auto width) {
            constexpr int W = decltype(width)::value;
            f((lanes<T, W> *)nullptr, (int64_t)W);
        });
    });
}

extern "C" {
/* x (N, T, C), token (C) -> y (N, T + 1, C). */
void cuda_prepend_token(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_packs(x, [&](auto *packs, int64_t size) {
        using P = std::remove_pointer_t<decltype(packs)>;
        HONE_LAUNCH(b, prepend_token_k<P>, map_blocks(n / size), MAP_THREADS, 0, (const P *)l->in[0],
                    (const P *)l->in[1], (P *)l->out[0], n / size, x->dim[1], x->dim[2] / size);
    });
}

/* dy has one token more than dx: its first one is the class token's, and belongs to dt. */
void cuda_prepend_token_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dx = l->out_desc[0];
    int64_t n = hone_tensor_count(dx);
    with_packs(dx, [&](auto *packs, int64_t size) {
        using P = std::remove_pointer_t<decltype(packs)>;
        HONE_LAUNCH(b, prepend_token_dx_k<P>, map_blocks(n / size), MAP_THREADS, 0, (const P *)l->in[0], (P *)l->out[0],
                    n / size, dx->dim[1], dx->dim[2] / size);
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
    with_packs(x, [&](auto *packs, int64_t size) {
        using P = std::remove_pointer_t<decltype(packs)>;
        HONE_LAUNCH(b, first_token_k<P>, map_blocks(n / size), MAP_THREADS, 0, (const P *)l->in[0], (P *)l->out[0],
                    n / size, x->dim[1] * x->dim[2] / size, x->dim[2] / size);
    });
}

void cuda_first_token_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *dx = l->out_desc[0];
    int64_t n = hone_tensor_count(dx);
    with_packs(dx, [&](auto *packs, int64_t size) {
        using P = std::remove_pointer_t<decltype(packs)>;
        HONE_LAUNCH(b, first_token_dx_k<P>, map_blocks(n / size), MAP_THREADS, 0, (const P *)l->in[0], (P *)l->out[0],
                    n / size, dx->dim[1] * dx->dim[2] / size, dx->dim[2] / size);
    });
}
}
