/* ragged.cu - a text's rows to one (mean, maximum, first), positions added to them, and their gradients.
 *
 * x, dx (T, C); y, dy (B, C); offset i32 (P = B + 1), offset[B] rows live; definitions: kernels/ref/ragged.c. Sums
 * and maxima: a thread owns one channel of one text and walks its rows in order, neighbours read neighbours. Gradients
 * gather, row by row, so nothing is atomic, and rows behind the live ones are written as zeros; a thread has W neighbours of
 * a row, 16 bytes where the channels allow, as finding its text costs it more than they do. */
#include "column_sum.cuh"
#include "lanes.cuh"
#include "ragged.cuh"

static const int TEXTS_AHEAD = 8;

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
template <typename S, ragged_kind KIND, int W> HONE_KERNEL(MAP_THREADS) ragged_spread_k(ragged_args<S> a)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, packs = a.C / W;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * packs; i += step) {
        const int64_t t = i / packs, c = i % packs * W;
        float g[W] = {};
        if (t < a.offset[a.B]) {
            const int64_t n = text_of_row(a.offset, a.B, t);
            const int32_t first = a.offset[n];
            if (KIND == RAGGED_MEAN || t == first) read_lanes<S, W>(a.x + n * a.C + c, g);
#pragma unroll
            for (int k = 0; k < W && KIND == RAGGED_MEAN; k++) g[k] /= (float)(a.offset[n + 1] - first);
        }
        write_lanes<S, W>(a.y + i * W, g);
    }
}

template <typename S, int W> HONE_KERNEL(MAP_THREADS) ragged_clear_k(S *x, int64_t packs)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const float none[W] = {};
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += step)
        write_lanes<S, W>(x + i * W, none);
}

/* dx at the place that was kept; texts share no row. */
template <typename S> HONE_KERNEL(MAP_THREADS) ragged_scatter_k(ragged_args<S> a, const int32_t *at)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.B * a.C; i += step)
        if (at[i] >= 0) a.y[at[i] * a.C + i % a.C] = a.x[i];
}

/* y (T, C) = x + p[place in the text], p (L, C) fp32; x alone from place L on and behind the live rows. */
template <typename S, int W> HONE_KERNEL(MAP_THREADS) ragged_add_k(ragged_args<S> a, const float *p, int64_t L)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, packs = a.C / W;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * packs; i += step) {
        const int64_t t = i / packs, c = i % packs * W;
        float v[W], u[W];
        read_lanes<S, W>(a.x + i * W, v);
        const int64_t place = t < a.offset[a.B] ? t - a.offset[text_of_row(a.offset, a.B, t)] : L;
        if (place < L) {
            read_lanes<float, W>(p + place * a.C + c, u);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] += u[k];
        }
        write_lanes<S, W>(a.y + i * W, v);
    }
}

/* to (slices, L, C): a thread an element of one slice of the texts, which it meets in order, TEXTS_AHEAD of them on their
 * way. `accumulate`: adds to what is there, with one slice. */
template <typename S>
HONE_KERNEL(MAP_THREADS)
ragged_add_dp_k(ragged_args<S> a, float *to, int64_t L, int slices, int accumulate)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, elements = L * a.C;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < elements * slices; i += step) {
        const int64_t slice = i / elements, e = i % elements, place = e / a.C, end = a.B * (slice + 1) / slices;
        float sum = accumulate ? to[i] : 0;
        for (int64_t first = a.B * slice / slices; first < end; first += TEXTS_AHEAD) {
            float v[TEXTS_AHEAD];
#pragma unroll
            for (int k = 0; k < TEXTS_AHEAD; k++) {
                const int64_t n = first + k < end ? first + k : end - 1;
                const bool has = first + k < end && place < a.offset[n + 1] - a.offset[n];
                v[k] = has ? to_float(a.x[a.offset[n] * a.C + e]) : 0;
            }
#pragma unroll
            for (int k = 0; k < TEXTS_AHEAD; k++) sum += v[k];
        }
        to[i] = sum;
    }
}

/* A function of the shape alone, not of the capacity: 16 texts a slice at least, and no more slices than fill the largest
 * chip with threads. */
static int ragged_slices(int64_t texts, int64_t elements)
{
    const int64_t most = (texts + 15) / 16, wanted = (132 * 2048 + elements - 1) / elements;
    const int64_t slices = most < wanted ? most : wanted;
    return (int)(slices < 1 ? 1 : slices);
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
        with_width<S>(a.C, [&](auto width) {
            constexpr int W = decltype(width)::value;
            HONE_LAUNCH(b, (ragged_spread_k<S, KIND, W>), map_blocks(a.T * a.C / W), MAP_THREADS, 0, a);
        });
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
        with_width<S>(a.C, [&](auto width) {
            constexpr int W = decltype(width)::value;
            HONE_LAUNCH(b, (ragged_add_k<S, W>), map_blocks(a.T * a.C / W), MAP_THREADS, 0, a, (const float *)l->in[1],
                        l->in_desc[1]->dim[0]);
        });
    });
}

hone_status cuda_ragged_add_dp_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const int64_t elements = hone_tensor_count(&g->tensor[n->in[0]]);
    const int slices = ragged_slices(g->tensor[n->in[2]].dim[0] - 1, elements);
    n->work_bytes = slices > 1 ? (size_t)(slices * elements) * sizeof(float) : 0;
    return HONE_OK;
}

void cuda_ragged_add_dp(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[1]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        ragged_args<S> a = {(const S *)l->in[1], NULL, (const int32_t *)l->in[2], NULL, 0, 0, 0};
        const int64_t L = l->in_desc[0]->dim[0];
        a.B = l->in_desc[2]->dim[0] - 1;
        a.C = l->in_desc[1]->dim[1];
        const int64_t elements = L * a.C;
        const int slices = ragged_slices(a.B, elements);
        float *dp = (float *)l->out[0], *part = (float *)l->work;
        HONE_LAUNCH(b, ragged_add_dp_k<S>, map_blocks(elements * slices), MAP_THREADS, 0, a, slices > 1 ? part : dp, L,
                    slices, slices == 1 && l->node->accumulate);
        if (slices > 1)
            launch_column_sum<float>(b, part, dp, slices, elements, elements, l->node->accumulate, nullptr, 0);
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
        with_width<S>(a.C, [&](auto width) {
            constexpr int W = decltype(width)::value;
            HONE_LAUNCH(b, (ragged_clear_k<S, W>), map_blocks(a.T * a.C / W), MAP_THREADS, 0, a.y, a.T * a.C / W);
        });
        HONE_LAUNCH(b, ragged_scatter_k<S>, map_blocks(a.B * a.C), MAP_THREADS, 0, a, (const int32_t *)l->in[1]);
    });
}
}
