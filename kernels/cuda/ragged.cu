/* ragged.cu - a text's rows to one (mean, maximum, first), positions added to them, and their gradients.
 *
 * x, dx (T, C); y, dy (B, C); offset i32 (P = B + 1), offset[B] rows live; definitions: kernels/ref/ragged.c. A thread
 * owns one channel of one text and walks its rows in order, neighbours read neighbours; gradients gather, row by row,
 * so nothing is atomic, and rows behind the live ones are written as zeros. */
#include "launch.cuh"
#include "ragged.cuh"

enum ragged_kind { RAGGED_MEAN, RAGGED_MAX, RAGGED_FIRST };

template <typename S> struct ragged_args {
    const S *x; /* (T, C); backward dy (B, C) */
    S *y;       /* (B, C); backward dx (T, C) */
    const int32_t *offset;
    int32_t *at; /* (B, C) or null */
    int64_t B, C, T;
};

/* y (B, C) and at. The first maximum wins, a NaN beats all numbers but no NaN. */
template <typename S, ragged_kind KIND> HONE_KERNEL(MAP_THREADS) ragged_pool_k(ragged_args<S> a)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.B * a.C; i += step) {
        const int64_t n = i / a.C, c = i % a.C;
        const int32_t first = a.offset[n], last = a.offset[n + 1];
        float v = first < last ? to_float(a.x[first * a.C + c]) : 0;
        int32_t place = first < last ? first : -1;
        for (int32_t t = first + 1; KIND != RAGGED_FIRST && t < last; t++) {
            const float u = to_float(a.x[t * a.C + c]);
            if (KIND == RAGGED_MEAN) v += u;
            else if (u > v || (u != u && v == v)) {
                v = u;
                place = t;
            }
        }
        if (KIND == RAGGED_MEAN && last > first) v /= (float)(last - first);
        a.y[i] = from_float<S>(v);
        if (KIND == RAGGED_MAX && a.at) a.at[i] = place;
    }
}

/* dx (T, C): the text of a row by bisection. */
template <typename S, ragged_kind KIND> HONE_KERNEL(MAP_THREADS) ragged_spread_k(ragged_args<S> a)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * a.C; i += step) {
        const int64_t t = i / a.C, c = i % a.C;
        float g = 0;
        if (t < a.offset[a.B]) {
            const int64_t n = text_of_row(a.offset, a.B, t);
            const int32_t first = a.offset[n];
            if (KIND == RAGGED_MEAN) g = to_float(a.x[n * a.C + c]) / (float)(a.offset[n + 1] - first);
            else if (t == first) g = to_float(a.x[n * a.C + c]);
        }
        a.y[i] = from_float<S>(g);
    }
}

template <typename S> HONE_KERNEL(MAP_THREADS) ragged_clear_k(S *x, int64_t n)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) x[i] = from_float<S>(0);
}

/* dx at the place that was kept; texts share no row. */
template <typename S> HONE_KERNEL(MAP_THREADS) ragged_scatter_k(ragged_args<S> a, const int32_t *at)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.B * a.C; i += step)
        if (at[i] >= 0) a.y[at[i] * a.C + i % a.C] = a.x[i];
}

/* y (T, C) = x + p[place in the text], p (L, C) fp32; x alone from place L on and behind the live rows. */
template <typename S> HONE_KERNEL(MAP_THREADS) ragged_add_k(ragged_args<S> a, const float *p, int64_t L)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * a.C; i += step) {
        const int64_t t = i / a.C;
        float v = to_float(a.x[i]);
        if (t < a.offset[a.B]) {
            const int64_t place = t - a.offset[text_of_row(a.offset, a.B, t)];
            if (place < L) v += p[place * a.C + i % a.C];
        }
        a.y[i] = from_float<S>(v);
    }
}

/* dp (L, C): a thread an element, which meets the texts in order. */
template <typename S> HONE_KERNEL(MAP_THREADS) ragged_add_dp_k(ragged_args<S> a, float *dp, int64_t L, int accumulate)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < L * a.C; i += step) {
        float sum = accumulate ? dp[i] : 0;
        for (int64_t n = 0; n < a.B; n++)
            if (i / a.C < a.offset[n + 1] - a.offset[n]) sum += to_float(a.x[a.offset[n] * a.C + i]);
        dp[i] = sum;
    }
}

template <typename S> static ragged_args<S> args_of(const hone_launch *l)
{
    ragged_args<S> a = {(const S *)l->in[0], (S *)l->out[0], (const int32_t *)l->in[1], NULL, 0, 0, 0};
    a.B = l->in_desc[1]->dim[0] - 1;
    a.C = l->in_desc[0]->dim[1];
    a.T = l->out_desc[0]->dim[0];
    return a;
}

template <ragged_kind KIND> static void ragged_pool(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = args_of<S>(l);
        if (KIND == RAGGED_MAX) a.at = (int32_t *)l->out[1];
        HONE_LAUNCH(b, (ragged_pool_k<S, KIND>), map_blocks(a.B * a.C), MAP_THREADS, 0, a);
    });
}

template <ragged_kind KIND> static void ragged_spread(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = args_of<S>(l);
        HONE_LAUNCH(b, (ragged_spread_k<S, KIND>), map_blocks(a.T * a.C), MAP_THREADS, 0, a);
    });
}

extern "C" {
void cuda_ragged_add(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = {(const S *)l->in[0], (S *)l->out[0], (const int32_t *)l->in[2], NULL, 0, 0, 0};
        a.B = l->in_desc[2]->dim[0] - 1;
        a.T = l->in_desc[0]->dim[0];
        a.C = l->in_desc[0]->dim[1];
        HONE_LAUNCH(b, ragged_add_k<S>, map_blocks(a.T * a.C), MAP_THREADS, 0, a, (const float *)l->in[1],
                    l->in_desc[1]->dim[0]);
    });
}

void cuda_ragged_add_dp(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[1]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = {(const S *)l->in[1], NULL, (const int32_t *)l->in[2], NULL, 0, 0, 0};
        const int64_t L = l->in_desc[0]->dim[0];
        a.B = l->in_desc[2]->dim[0] - 1;
        a.C = l->in_desc[1]->dim[1];
        HONE_LAUNCH(b, ragged_add_dp_k<S>, map_blocks(L * a.C), MAP_THREADS, 0, a, (float *)l->out[0], L,
                    l->node->accumulate);
    });
}

void cuda_ragged_mean(hone_backend *b, const hone_launch *l) { ragged_pool<RAGGED_MEAN>(b, l); }
void cuda_ragged_max(hone_backend *b, const hone_launch *l) { ragged_pool<RAGGED_MAX>(b, l); }
void cuda_ragged_first(hone_backend *b, const hone_launch *l) { ragged_pool<RAGGED_FIRST>(b, l); }
void cuda_ragged_mean_dx(hone_backend *b, const hone_launch *l) { ragged_spread<RAGGED_MEAN>(b, l); }
void cuda_ragged_first_dx(hone_backend *b, const hone_launch *l) { ragged_spread<RAGGED_FIRST>(b, l); }

/* (dy, at): no offsets here, B is dy's. */
void cuda_ragged_max_dx(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = args_of<S>(l);
        a.B = l->in_desc[0]->dim[0];
        HONE_LAUNCH(b, ragged_clear_k<S>, map_blocks(a.T * a.C), MAP_THREADS, 0, a.y, a.T * a.C);
        HONE_LAUNCH(b, ragged_scatter_k<S>, map_blocks(a.B * a.C), MAP_THREADS, 0, a, (const int32_t *)l->in[1]);
    });
}
}
