/* embedding_bag.cu - rows of a table by token, alone (embedding) or as bags: forward, dense and sparse gradient, plain
 * SGD on touched rows.
 *
 * w, dw (V, C) fp32; y, dy (B, C) as stored; token i32 (T); offset i32 (P = B + 1). Definitions:
 * kernels/ref/embedding_bag.c. No atomics: the tokens of a batch are sorted by id (segment.cuh), threads add the
 * occurrences in chunks of sorted keys, and what reaches from chunk to chunk is added by a block, all in an order that the
 * sorted keys alone decide. */
#include "lanes.cuh"
#include "ragged.cuh"
#include "segment.cuh"
#include "square_sums.cuh"

static const int BAG_THREADS = 128, BAG_BATCH = 8, /* keys whose gradients a thread waits for at the same time */
    CROSS_SHARES = 16, CROSS_CHUNKS = 8;
static_assert(HONE_SEGMENT_CHUNK % BAG_BATCH == 0, "a chunk is whole batches");

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

/* y (B, C): a block a text, `across` threads (a power of two) along the columns, the others share its tokens; their sums
 * are added in order. */
template <typename S> HONE_KERNEL(BAG_THREADS) bag_sum_k(bag_args<S> a, const float *w, S *y, int across)
{
    HONE_SHARED(float, part, BAG_THREADS);
    const int i = (int)threadIdx.x, down = i / across, shares = BAG_THREADS / across;
    for (int64_t n = blockIdx.x; n < a.B; n += gridDim.x) {
        const int32_t end = a.offset[n + 1];
        for (int64_t first = 0; first < a.C; first += across) {
            const int64_t c = first + i % across;
            float sum = 0;
            if (c < a.C)
#pragma unroll 4
                for (int32_t t = a.offset[n] + down; t < end; t += shares) sum += w[(int64_t)a.token[t] * a.C + c];
            part[i] = sum;
            __syncthreads();
            if (down == 0 && c < a.C) {
                for (int k = 1; k < shares; k++) sum += part[k * across + i];
                y[n * a.C + c] = from_float<S>(sum / divisor(a, n));
            }
            __syncthreads(); /* before `part` is written again */
        }
    }
}

/* y (T, C) = w[token], zero behind the live ones; W neighbours a thread, W divides C. */
template <typename S, int W> HONE_KERNEL(MAP_THREADS) embedding_k(bag_args<S> a, const float *w, S *y)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, packs = a.C / W;
    const int32_t live = a.offset[a.B];
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.T * packs; i += step) {
        const int64_t t = i / packs;
        float v[W] = {};
        if (t < live) read_lanes<float, W>(w + (int64_t)a.token[t] * a.C + i % packs * W, v);
        write_lanes<S, W>(y + i * W, v);
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

/* What becomes of column c of segment u, the gradient g of row `id`; each element is put once. `before` is what old()
 * read there, for many segments at a time. */
struct put_dw {
    float *dw; /* (V, C) */
    int accumulate;
    __device__ float old(int64_t id, int64_t c, int64_t C) const { return accumulate ? dw[id * C + c] : 0; }
    __device__ void operator()(int32_t, int64_t id, int64_t c, int64_t C, float before, float g) const
    {
        dw[id * C + c] = accumulate ? before + g : g;
    }
};
struct put_row {
    int32_t *row; /* (T)    */
    float *drow;  /* (T, C) */
    __device__ float old(int64_t, int64_t, int64_t) const { return 0; }
    __device__ void operator()(int32_t u, int64_t id, int64_t c, int64_t C, float, float g) const
    {
        if (c == 0) row[u] = (int32_t)id;
        drow[u * C + c] = g;
    }
};
struct put_sgd {
    float *p; /* (V, C) */
    const hone_step *step;
    __device__ float old(int64_t id, int64_t c, int64_t C) const { return p[id * C + c]; }
    __device__ void operator()(int32_t, int64_t id, int64_t c, int64_t C, float before, float g) const
    {
        if (step->finite) p[id * C + c] = before - step->lr * g;
    }
};

/* A thread adds one column of a chunk of sorted keys, so that an id with many tokens is shared by many threads. What
 * begins and ends in the chunk is put at once; what comes in or goes on waits in s.sum for bag_cross_k. u: the first
 * segment that begins here, 0 where nobody counts. Loads of BAG_BATCH keys are under way at the same time. */
template <typename S, typename P>
__device__ static inline void bag_chunk(const bag_args<S> &a, const segments &s, int64_t chunk, int64_t c, int32_t u,
                                        P put)
{
    const int64_t first = chunk * HONE_SEGMENT_CHUNK;
    float g = 0, *sum = s.sum + chunk * 2 * s.C + c;
    bool came = first > 0 && segment_id(s.key[first - 1]) == segment_id(s.key[first]);
    int32_t leaves = -1;
    for (int64_t base = first; base < first + HONE_SEGMENT_CHUNK; base += BAG_BATCH) {
        uint64_t key[BAG_BATCH + 1];
        float v[BAG_BATCH], old[BAG_BATCH];
#pragma unroll
        for (int j = 0; j <= BAG_BATCH; j++) key[j] = base + j < s.T ? s.key[base + j] : SEGMENT_NONE;
#pragma unroll
        for (int j = 0; j < BAG_BATCH; j++) {
            const bool live = key[j] != SEGMENT_NONE;
            const int64_t n = segment_owner(key[j]);
            v[j] = live ? to_float(a.dy[n * s.C + c]) / divisor(a, n) : 0;
            old[j] = live && segment_id(key[j]) != segment_id(key[j + 1]) ? put.old(segment_id(key[j]), c, s.C) : 0;
        }
#pragma unroll
        for (int j = 0; j < BAG_BATCH; j++) {
            if (key[j] == SEGMENT_NONE) continue;
            g += v[j];
            const bool ends = segment_id(key[j]) != segment_id(key[j + 1]);
            if (!ends && base + j + 1 < first + HONE_SEGMENT_CHUNK) continue;
            if (came) sum[0] = g;
            else if (ends) put(u, segment_id(key[j]), c, s.C, old[j], g);
            else sum[s.C] = g, leaves = u;
            if (!came) u++;
            came = false;
            g = 0;
        }
    }
    if (c == 0) s.leaves[chunk] = leaves;
}

/* A thread a chunk and a column: neighbours read neighbours. */
template <typename S, typename P> HONE_KERNEL(MAP_THREADS) bag_chunk_k(bag_args<S> a, segments s, P put)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, n = s.chunks * s.C;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        bag_chunk(a, s, i / s.C, i % s.C, 0, put);
}

/* The same where segments are counted. row (T) becomes -1 and drow (T, C) zero behind the count. */
template <typename S> HONE_KERNEL(MAP_THREADS) bag_chunk_rows_k(bag_args<S> a, segments s, put_row put, int32_t *count)
{
    HONE_SHARED(int, scratch, 32);
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const int in_tile = HONE_SEGMENT_TILE / HONE_SEGMENT_CHUNK;
    int all = 0;
    for (int64_t k = threadIdx.x; k < s.tiles; k += blockDim.x) all += s.heads[k];
    all = block_reduce<sum_op>(all, scratch);
    if (blockIdx.x == 0 && threadIdx.x == 0) *count = all;
    for (int64_t base = (int64_t)blockIdx.x * blockDim.x; base < s.chunks * s.C; base += step) {
        const int64_t i = base + threadIdx.x, chunk = i / s.C, c = i % s.C, tile = base / s.C / in_tile;
        int before = 0; /* the tiles before the first chunk of this block; few lie between that and the thread's own */
        for (int64_t k = threadIdx.x; k < tile; k += blockDim.x) before += s.heads[k];
        before = block_reduce<sum_op>(before, scratch);
        if (chunk >= s.chunks) continue;
        for (int64_t k = tile; k < chunk / in_tile; k++) before += s.heads[k];
        bag_chunk(a, s, chunk, c, before + s.begun[chunk], put);
        const int64_t end = (chunk + 1) * HONE_SEGMENT_CHUNK < s.T ? (chunk + 1) * HONE_SEGMENT_CHUNK : s.T;
        for (int64_t t = chunk * HONE_SEGMENT_CHUNK; t < end; t++) {
            if (t < all) continue;
            put.drow[t * s.C + c] = 0;
            if (c == 0) put.row[t] = -1;
        }
    }
}

/* Chunks behind `chunk` that begin with the segment which leaves it. */
__device__ static inline int64_t chunks_reached(const segments &s, int64_t chunk)
{
    const int32_t id = segment_id(s.key[(chunk + 1) * HONE_SEGMENT_CHUNK]);
    int64_t low = chunk + 1, high = s.chunks - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (segment_id(s.key[middle * HONE_SEGMENT_CHUNK]) == id) low = middle;
        else high = middle - 1;
    }
    return low - chunk;
}

/* grid (groups of CROSS_CHUNKS chunks, ceil(C / 32)), block (32, CROSS_SHARES): what leaves a chunk, with all that the
 * chunks behind it have of the same id. Shares take these in turn, then their sums are added in order. */
template <typename P> HONE_KERNEL(32 * CROSS_SHARES) bag_cross_k(segments s, P put)
{
    HONE_SHARED(float, part, 32 * CROSS_SHARES);
    const int lane = (int)threadIdx.x, share = (int)threadIdx.y;
    const int64_t c = (int64_t)blockIdx.y * 32 + lane;
    for (int64_t base = (int64_t)blockIdx.x * CROSS_CHUNKS; base < s.chunks;
         base += (int64_t)gridDim.x * CROSS_CHUNKS) {
        int32_t leaves[CROSS_CHUNKS];
#pragma unroll
        for (int k = 0; k < CROSS_CHUNKS; k++) leaves[k] = base + k < s.chunks ? s.leaves[base + k] : -1;
#pragma unroll
        for (int k = 0; k < CROSS_CHUNKS; k++) {
            if (leaves[k] < 0) continue; /* the same for the whole block */
            const int64_t chunk = base + k, reached = chunks_reached(s, chunk);
            const float *sum = s.sum + chunk * 2 * s.C + c;
            float g = share == 0 && c < s.C ? sum[s.C] : 0;
            if (c < s.C)
#pragma unroll 4
                for (int64_t r = 1 + share; r <= reached; r += CROSS_SHARES) g += sum[r * 2 * s.C];
            part[share * 32 + lane] = g;
            __syncthreads();
            if (share == 0 && c < s.C) {
                for (int w = 1; w < CROSS_SHARES; w++) g += part[w * 32 + lane];
                const int64_t id = segment_id(s.key[(chunk + 1) * HONE_SEGMENT_CHUNK]);
                put(leaves[k], id, c, s.C, put.old(id, c, s.C), g);
            }
            __syncthreads(); /* before `part` is written again */
        }
    }
}

/* x (n) = 0 */
HONE_KERNEL(MAP_THREADS) bag_clear_k(float *x, int64_t n)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (int64_t q = first; q < n / 4; q += step) ((float4 *)x)[q] = make_float4(0, 0, 0, 0);
    for (int64_t i = n / 4 * 4 + first; i < n; i += step) x[i] = 0;
}

/* part (SQUARES_BLOCKS): sums over equal runs of dy of |dy|^2 * length / divisor^2. */
template <typename S> HONE_KERNEL(SQUARES_THREADS) bag_norm_k(bag_args<S> a, double *part)
{
    HONE_SHARED(double, scratch, 32);
    const int64_t n = a.B * a.C, end = n * (blockIdx.x + 1) / gridDim.x;
    double sum = 0;
    for (int64_t i = n * blockIdx.x / gridDim.x + threadIdx.x; i < end; i += blockDim.x) {
        const int64_t text = i / a.C;
        const double g = (double)to_float(a.dy[i]), d = (double)divisor(a, text);
        const int32_t length = a.offset[text + 1] - a.offset[text];
        if (length > 0) sum += g * g * (double)length / (d * d);
    }
    sum = block_reduce<sum_op>(sum, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
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

/* Sorts, then sums each id's occurrences into `put`. Operands by their places; C > 0. count (1): only of a put_row. */
template <typename P>
static void launch_bag(hone_backend *b, const hone_launch *l, int token, int offset, int dy, P put, int32_t *count)
{
    with_dtype(l->in_desc[dy]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        constexpr bool ROWS = std::is_same<P, put_row>::value;
        bag_args<S> a = args_of<S>(l, token, offset, dy);
        segments s = launch_segments(b, bag_key<S>{a}, a.T, a.C, l->work, ROWS);
        if constexpr (ROWS)
            HONE_LAUNCH(b, bag_chunk_rows_k<S>, map_blocks(s.chunks * a.C), MAP_THREADS, 0, a, s, put, count);
        else HONE_LAUNCH(b, (bag_chunk_k<S, P>), map_blocks(s.chunks * a.C), MAP_THREADS, 0, a, s, put);
        const dim3 grid(bag_blocks((s.chunks + CROSS_CHUNKS - 1) / CROSS_CHUNKS), (unsigned)((a.C + 31) / 32));
        if (s.chunks > 1) HONE_LAUNCH(b, bag_cross_k<P>, grid, dim3(32, CROSS_SHARES), 0, s, put);
    });
}

extern "C" {
/* By the tokens' capacity, the first operand of the rows, the second of the others, and the columns of dy, the last but
 * for the step of an update. */
hone_status cuda_embedding_bag_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const int token = n->op == HONE_OP_embedding_bag_rows || n->op == HONE_OP_embedding_rows ? 0 : 1;
    const hone_tensor *dy = &g->tensor[n->in[token + 2]];
    n->work_bytes = hone_segment_bytes(g->tensor[n->in[token]].dim[0], dy->dim[1]);
    return HONE_OK;
}

void cuda_embedding_bag(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, -1);
        int across = 1;
        while (across < a.C && across < BAG_THREADS) across *= 2;
        HONE_LAUNCH(b, bag_sum_k<S>, bag_blocks(a.B), BAG_THREADS, 0, a, (const float *)l->in[0], (S *)l->out[0],
                    across);
    });
}

void cuda_embedding_bag_dw(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    if (!l->node->accumulate) HONE_LAUNCH(b, bag_clear_k, map_blocks(n / 4 + 1), MAP_THREADS, 0, (float *)l->out[0], n);
    launch_bag(b, l, 1, 2, 3, put_dw{(float *)l->out[0], l->node->accumulate}, nullptr);
}

void cuda_embedding_bag_rows(hone_backend *b, const hone_launch *l)
{
    launch_bag(b, l, 0, 1, 2, put_row{(int32_t *)l->out[0], (float *)l->out[1]}, (int32_t *)l->out[2]);
}

void cuda_embedding(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        bag_args<S> a = args_of<S>(l, 1, 2, -1);
        with_width<S>(a.C, [&](auto width) {
            constexpr int W = decltype(width)::value;
            HONE_LAUNCH(b, (embedding_k<S, W>), map_blocks(a.T * a.C / W), MAP_THREADS, 0, a, (const float *)l->in[0],
                        (S *)l->out[0]);
        });
    });
}

/* The same kernels: args_of sees that each token is a row of its own. */
void cuda_embedding_dw(hone_backend *b, const hone_launch *l) { cuda_embedding_bag_dw(b, l); }
void cuda_embedding_rows(hone_backend *b, const hone_launch *l) { cuda_embedding_bag_rows(b, l); }

void cuda_embedding_bag_norm(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[1]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, bag_norm_k<S>, SQUARES_BLOCKS, SQUARES_THREADS, 0, args_of<S>(l, 0, 0, 1), (double *)l->work);
    });
    launch_norm_join(b, (const double *)l->work, (hone_step *)l->in[2]);
}

void cuda_embedding_bag_sgd(hone_backend *b, const hone_launch *l)
{
    launch_bag(b, l, 1, 2, 3, put_sgd{(float *)l->in[0], (const hone_step *)l->in[4]}, nullptr);
}
}
