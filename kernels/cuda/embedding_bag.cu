/* embedding_bag.cu - rows of a table by token, alone (embedding) or as bags: forward, dense and sparse gradient, plain
 * SGD on touched rows.
 *
 * w, dw (V, C) fp32; y, dy (B, C) as stored; token i32 (T); offset i32 (P = B + 1). Definitions: kernels/ref/embedding_bag.c. No atomics on
 * floats: a row of the result belongs to the first occurrence of its id, whose block adds the others in the order of
 * the tokens. Occurrences are found by comparing ids, so the work grows with the square of the live tokens: simple,
 * deterministic, right for batches of some thousands of tokens. */
#include "reduce.cuh"
#include "launch.cuh"
#include "ragged.cuh"

static const int BAG_THREADS = 128;

template <typename S> struct bag_args {
    const int32_t *token, *offset; /* (T), (P) */
    const S *dy;                   /* (B, C)   */
    int64_t B, C, T;
    int mean;
    bool each; /* an embedding: dy (T, C), a row a token */
};

/* What dy[n] is divided by for each of the text's tokens. */
template <typename S> __device__ static inline float divisor(const bag_args<S> &a, int64_t n)
{
    if (a.each) return 1;
    int32_t length = a.offset[n + 1] - a.offset[n];
    return a.mean && length > 1 ? (float)length : 1.0f;
}

/* The row of dy that token t gets its gradient from. */
template <typename S> __device__ static inline int64_t text_of(const bag_args<S> &a, int64_t t)
{
    return a.each ? t : text_of_row(a.offset, a.B, t);
}

/* A block a text, a thread a column: neighbours read neighbours. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_sum_k(bag_args<S> a, const float *w, S *y)
{
    for (int64_t n = blockIdx.x; n < a.B; n += gridDim.x)
        for (int64_t c = threadIdx.x; c < a.C; c += blockDim.x) {
            float sum = 0;
            for (int64_t t = a.offset[n]; t < a.offset[n + 1]; t++) sum += w[(int64_t)a.token[t] * a.C + c];
            y[n * a.C + c] = from_float<S>(sum / divisor(a, n));
        }
}

/* y (T, C) = w[token], zero behind the live ones. */
template <typename S> HONE_KERNEL(MAP_THREADS) embedding_k(bag_args<S> a, const float *w, S *y)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const int32_t live = a.offset[a.B];
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * a.C; i += step) {
        const int64_t t = i / a.C;
        y[i] = from_float<S>(t < live ? w[(int64_t)a.token[t] * a.C + i % a.C] : 0);
    }
}

/* Is there no occurrence of token t's id before it? All threads of the block get the answer. */
template <typename S> __device__ static inline bool is_first(const bag_args<S> &a, int64_t t, int *scratch)
{
    int before = 0;
    for (int64_t s = threadIdx.x; s < t; s += blockDim.x) before += a.token[s] == a.token[t];
    return block_reduce<sum_op>(before, scratch) == 0;
}

/* to += dy / length (or, with lr, to -= lr * dy / length) for every occurrence of token t's id, in order. */
template <bool SGD, typename S>
__device__ static inline void add_occurrences(const bag_args<S> &a, int64_t t, float *to, float lr)
{
    const int32_t live = a.offset[a.B];
    for (int64_t c = threadIdx.x; c < a.C; c += blockDim.x) {
        float x = to[c];
        for (int64_t s = t; s < live; s++) {
            if (a.token[s] != a.token[t]) continue;
            int64_t n = text_of(a, s);
            float g = to_float(a.dy[n * a.C + c]) / divisor(a, n);
            x = SGD ? x - lr * g : x + g;
        }
        to[c] = x;
    }
}

/* dw (V, C) += ; a block a token, those that are first of their id do the work. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_dw_k(bag_args<S> a, float *dw)
{
    HONE_SHARED(int, scratch, 32);
    const int32_t live = a.offset[a.B];
    for (int64_t t = blockIdx.x; t < live; t += gridDim.x)
        if (is_first(a, t, scratch)) add_occurrences<false>(a, t, dw + (int64_t)a.token[t] * a.C, 0);
}

/* p (V, C) -= lr * dy / length, occurrence by occurrence. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_sgd_k(bag_args<S> a, float *p, const hone_step *step)
{
    HONE_SHARED(int, scratch, 32);
    const int32_t live = step->finite ? a.offset[a.B] : 0;
    for (int64_t t = blockIdx.x; t < live; t += gridDim.x)
        if (is_first(a, t, scratch)) add_occurrences<true>(a, t, p + (int64_t)a.token[t] * a.C, step->lr);
}

/* first i32 (T): 1 where a token is the first of its id; 0 behind the live ones. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_first_k(bag_args<S> a, int32_t *first)
{
    HONE_SHARED(int, scratch, 32);
    const int32_t live = a.offset[a.B];
    for (int64_t t = blockIdx.x; t < a.T; t += gridDim.x) {
        bool is = t < live && is_first(a, t, scratch); /* t is the block's: no thread skips the reduction alone */
        if (threadIdx.x == 0) first[t] = is ? 1 : 0;
    }
}

/* The place of a first token is the number of first tokens with smaller ids. drow (T, C) is zero before. */
template <typename S>
HONE_KERNEL(BAG_THREADS)
bag_rows_k(bag_args<S> a, const int32_t *first, int32_t *row, float *drow)
{
    HONE_SHARED(int, scratch, 32);
    const int32_t live = a.offset[a.B];
    for (int64_t t = blockIdx.x; t < live; t += gridDim.x) {
        if (!first[t]) continue;
        int smaller = 0;
        for (int64_t s = threadIdx.x; s < live; s += blockDim.x) smaller += first[s] && a.token[s] < a.token[t];
        const int64_t place = block_reduce<sum_op>(smaller, scratch);
        if (threadIdx.x == 0) row[place] = a.token[t];
        add_occurrences<false>(a, t, drow + place * a.C, 0);
    }
}

/* One block. count (1): how many are first; row is -1 behind them. */
HONE_KERNEL(BAG_THREADS) bag_count_k(const int32_t *first, int64_t T, int32_t *count, int32_t *row)
{
    HONE_SHARED(int, scratch, 32);
    int sum = 0;
    for (int64_t t = threadIdx.x; t < T; t += blockDim.x) sum += first[t];
    sum = block_reduce<sum_op>(sum, scratch);
    if (threadIdx.x == 0) *count = sum;
    for (int64_t u = sum + threadIdx.x; u < T; u += blockDim.x) row[u] = -1;
}

/* x (n) = 0 */
HONE_KERNEL(MAP_THREADS) bag_clear_k(float *x, int64_t n)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) x[i] = 0;
}

/* One block: sum over texts of |dy|^2 * length / divisor^2 joins the norm. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_norm_k(bag_args<S> a, hone_step *step)
{
    HONE_SHARED(double, scratch, 32);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < a.B * a.C; i += blockDim.x) {
        const int64_t n = i / a.C;
        const double g = (double)to_float(a.dy[i]), d = (double)divisor(a, n);
        const int32_t length = a.offset[n + 1] - a.offset[n];
        if (length > 0) sum += g * g * (double)length / (d * d);
    }
    sum = block_reduce<sum_op>(sum, scratch);
    if (threadIdx.x != 0) return;
    sum += step->grad_norm * step->grad_norm;
    step->grad_norm = sqrt(sum);
    if (!(sum <= 1.7e308)) step->finite = 0; /* infinity and NaN */
}

/* Operands of a launch by their places; dy < 0: forward. */
template <typename S> static bag_args<S> args_of(const hone_launch *l, int token, int offset, int dy)
{
    bag_args<S> a = {
        (const int32_t *)l->in[token], (const int32_t *)l->in[offset], NULL, 0, 0, 0, l->node->attr.bag.mean, false};
    a.each = l->node->op == HONE_OP_embedding_dw || l->node->op == HONE_OP_embedding_rows;
    a.B = l->in_desc[offset]->dim[0] - 1;
    a.T = l->in_desc[token]->dim[0];
    a.C = l->in_desc[dy < 0 ? 0 : dy]->dim[1];
    a.dy = dy < 0 ? NULL : (const S *)l->in[dy];
    return a;
}

/* A block an item, as many as fill the chip. */
static unsigned bag_blocks(int64_t items)
{
    return (unsigned)(items < 1 ? 1 : items > MAP_BLOCKS_MOST ? MAP_BLOCKS_MOST : items);
}

extern "C" {
/* first (T). */
hone_status cuda_embedding_bag_rows_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)g->tensor[n->in[0]].dim[0] * sizeof(int32_t);
    return HONE_OK;
}

void cuda_embedding_bag(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, -1);
        HONE_LAUNCH(b, bag_sum_k<S>, bag_blocks(a.B), BAG_THREADS, 0, a, (const float *)l->in[0], (S *)l->out[0]);
    });
}

void cuda_embedding_bag_dw(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    if (!l->node->accumulate) HONE_LAUNCH(b, bag_clear_k, map_blocks(n), MAP_THREADS, 0, (float *)l->out[0], n);
    with_dtype(l->in_desc[3]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, 3);
        HONE_LAUNCH(b, bag_dw_k<S>, bag_blocks(a.T), BAG_THREADS, 0, a, (float *)l->out[0]);
    });
}

void cuda_embedding_bag_rows(hone_backend *b, const hone_launch *l)
{
    int32_t *first = (int32_t *)l->work, *row = (int32_t *)l->out[0];
    float *drow = (float *)l->out[1];
    int64_t n = hone_tensor_count(l->out_desc[1]);
    HONE_LAUNCH(b, bag_clear_k, map_blocks(n), MAP_THREADS, 0, drow, n);
    with_dtype(l->in_desc[2]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 0, 1, 2);
        HONE_LAUNCH(b, bag_first_k<S>, bag_blocks(a.T), BAG_THREADS, 0, a, first);
        HONE_LAUNCH(b, bag_rows_k<S>, bag_blocks(a.T), BAG_THREADS, 0, a, (const int32_t *)first, row, drow);
        HONE_LAUNCH(b, bag_count_k, 1, BAG_THREADS, 0, (const int32_t *)first, a.T, (int32_t *)l->out[2], row);
    });
}

void cuda_embedding(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, -1);
        HONE_LAUNCH(b, embedding_k<S>, map_blocks(a.T * a.C), MAP_THREADS, 0, a, (const float *)l->in[0],
                    (S *)l->out[0]);
    });
}

/* The same kernels: args_of sees that each token is a row of its own. */
void cuda_embedding_dw(hone_backend *b, const hone_launch *l) { cuda_embedding_bag_dw(b, l); }
void cuda_embedding_rows(hone_backend *b, const hone_launch *l) { cuda_embedding_bag_rows(b, l); }

void cuda_embedding_bag_norm(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[1]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, bag_norm_k<S>, 1, BAG_THREADS, 0, args_of<S>(l, 0, 0, 1), (hone_step *)l->in[2]);
    });
}

void cuda_embedding_bag_sgd(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[3]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, 3);
        HONE_LAUNCH(b, bag_sgd_k<S>, bag_blocks(a.T), BAG_THREADS, 0, a, (float *)l->in[0],
                    (const hone_step *)l->in[4]);
    });
}
}
