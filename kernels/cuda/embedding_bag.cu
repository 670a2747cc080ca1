/* embedding_bag.cu - rows of a table by token, alone (embedding) or as bags: forward, dense and sparse gradient, plain
 * SGD on touched rows.
 *
 * w, dw (V, C) fp32; y, dy (B, C) as stored; token i32 (T); offset i32 (P = B + 1). Definitions:
 * kernels/ref/embedding_bag.c. No atomics: the tokens of a batch are sorted by id (segment.cuh), then a block adds the
 * occurrences of one id, in an order that the shapes alone decide. */
#include "ragged.cuh"
#include "segment.cuh"

static const int BAG_THREADS = 128;

template <typename S> struct bag_args {
    const int32_t *token, *offset; /* (T), (P) */
    const S *dy;                   /* (B, C)   */
    int64_t B, C, T;
    int32_t mode; /* hone_bag_mode */
    bool each;    /* an embedding: dy (T, C), a row a token */
};

/* What dy[n] is divided by for each of the text's tokens. */
template <typename S> __device__ static inline float divisor(const bag_args<S> &a, int64_t n)
{
    if (a.each) return 1;
    int32_t length = a.offset[n + 1] - a.offset[n];
    if (a.mode == HONE_BAG_SUM || length < 2) return 1.0f;
    return a.mode == HONE_BAG_MEAN ? (float)length : sqrtf((float)length);
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

/* The key of token t: its id above, its text below. What each occurrence adds follows from the two. */
template <typename S> struct bag_key {
    bag_args<S> a;
    __device__ uint64_t operator()(int64_t t) const
    {
        if (t >= a.offset[a.B]) return SEGMENT_NONE;
        return (uint64_t)(uint32_t)a.token[t] << 32 | (uint64_t)text_of(a, t);
    }
};

/* What becomes of column c of segment u, the gradient g of row `id`. */
struct put_dw {
    float *dw; /* (V, C) */
    __device__ void operator()(int64_t, int64_t id, int64_t c, int64_t C, float g) const { dw[id * C + c] += g; }
};
struct put_row {
    int32_t *row; /* (T)    */
    float *drow;  /* (T, C) */
    __device__ void operator()(int64_t u, int64_t id, int64_t c, int64_t C, float g) const
    {
        if (c == 0) row[u] = (int32_t)id;
        drow[u * C + c] = g;
    }
};
struct put_sgd {
    float *p; /* (V, C) */
    const hone_step *step;
    __device__ void operator()(int64_t, int64_t id, int64_t c, int64_t C, float g) const
    {
        if (step->finite) p[id * C + c] -= step->lr * g;
    }
};

/* A block a segment: `across` threads along the columns, the others share its occurrences; their sums are added in
 * order. across: a power of two. */
template <typename S, typename P> HONE_KERNEL(BAG_THREADS) bag_segment_k(bag_args<S> a, segments s, int across, P put)
{
    HONE_SHARED(float, part, BAG_THREADS);
    const int t = (int)threadIdx.x, down = t / across, shares = BAG_THREADS / across;
    const int64_t count = *s.count;
    for (int64_t u = blockIdx.x; u < count; u += gridDim.x)
        for (int64_t first = 0; first < a.C; first += across) {
            const int64_t c = first + t % across;
            float g = 0;
            if (c < a.C)
#pragma unroll 4
                for (int64_t i = s.start[u] + down; i < s.start[u + 1]; i += shares) {
                    const int64_t n = segment_owner(s.key[i]);
                    g += to_float(a.dy[n * a.C + c]) / divisor(a, n);
                }
            part[t] = g;
            __syncthreads();
            if (down == 0 && c < a.C) {
                for (int k = 1; k < shares; k++) g += part[k * across + t];
                put(u, segment_id(s.key[s.start[u]]), c, a.C, g);
            }
            __syncthreads(); /* before `part` is written again */
        }
}

/* row (T) is -1 and drow (T, C) zero behind the count. */
HONE_KERNEL(MAP_THREADS)
bag_tail_k(const int32_t *used, int64_t T, int64_t C, int32_t *row, float *drow, int32_t *count)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t n = *used;
    for (int64_t i = n * C + first; i < T * C; i += step) drow[i] = 0;
    for (int64_t u = n + first; u < T; u += step) row[u] = -1;
    if (first == 0) *count = (int32_t)n;
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
        (const int32_t *)l->in[token], (const int32_t *)l->in[offset], NULL, 0, 0, 0, l->node->attr.bag.mode, false};
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

/* Sorts, then sums each id's occurrences into `put`. Operands by their places; C > 0. */
template <typename P>
static segments launch_bag(hone_backend *b, const hone_launch *l, int token, int offset, int dy, P put)
{
    segments s = {nullptr, nullptr, nullptr};
    with_dtype(l->in_desc[dy]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, token, offset, dy);
        int across = 1;
        while (across < a.C && across < BAG_THREADS) across *= 2;
        s = launch_segments(b, bag_key<S>{a}, a.T, l->work);
        HONE_LAUNCH(b, (bag_segment_k<S, P>), bag_blocks(a.T), BAG_THREADS, 0, a, s, across, put);
    });
    return s;
}

extern "C" {
/* By the tokens' capacity: the first operand of the rows, the second of the others. */
hone_status cuda_embedding_bag_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const int token = n->op == HONE_OP_embedding_bag_rows || n->op == HONE_OP_embedding_rows ? 0 : 1;
    n->work_bytes = hone_segment_bytes(g->tensor[n->in[token]].dim[0]);
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
    launch_bag(b, l, 1, 2, 3, put_dw{(float *)l->out[0]});
}

void cuda_embedding_bag_rows(hone_backend *b, const hone_launch *l)
{
    int32_t *row = (int32_t *)l->out[0];
    float *drow = (float *)l->out[1];
    const int64_t T = l->out_desc[1]->dim[0], C = l->out_desc[1]->dim[1];
    segments s = launch_bag(b, l, 0, 1, 2, put_row{row, drow});
    HONE_LAUNCH(b, bag_tail_k, map_blocks(T * C), MAP_THREADS, 0, s.count, T, C, row, drow, (int32_t *)l->out[2]);
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
    launch_bag(b, l, 1, 2, 3, put_sgd{(float *)l->in[0], (const hone_step *)l->in[4]});
}
}
