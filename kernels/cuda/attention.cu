/* attention.cu - multi-head softmax attention over dense tokens or rows of texts, with dropout on the probabilities: the rows,
 * and the kernel of heads that are too long for the tiles of attention_mma.cu, attention_mma_dx.cu and attention_tile.cu.
 *
 * Scores are never stored: here a warp owns one query (or, backward, one key), lanes share the D channels, and keys pass by
 * in order with a running maximum and sum (Milakov & Gimelshein, 2018; Dao et al., 2022). Backward makes P again from lse:
 * one kernel walks keys for dq, another walks queries for dk and dv, so no sum is atomic. */
#include "attention.cuh"
#include "reduce.cuh"

static const int HEAD_CHUNKS = 8; /* D up to 32 * HEAD_CHUNKS = 256 channels a head */

/* A row of B heads T: the first token of its sample or text, how many there are, head, token. */
struct row_place {
    int64_t first;
    int count, h, t;
};
template <typename T> __device__ static inline row_place place_of(const attention_args<T> &a, int64_t row)
{
    const int64_t sample = row / a.tokens / a.heads;
    const int h = (int)(row / a.tokens % a.heads), t = (int)(row % a.tokens);
    if (!a.offset) return {sample * a.tokens, a.tokens, h, t};
    if (t >= a.offset[a.texts]) return {t, 0, h, 0}; /* dead: it has no keys */
    const int64_t n = text_of_row(a.offset, a.texts, t);
    return {a.offset[n], a.offset[n + 1] - a.offset[n], h, t - a.offset[n]};
}

/* Offset of part 0 = q, 1 = k, 2 = v of one token and head in qkv; and of the head in y. */
template <typename T>
__device__ static inline int64_t part_at(const attention_args<T> &a, row_place p, int t, int which)
{
    return (p.first + t) * 3 * a.channels + (int64_t)which * a.channels + p.h * a.head;
}
template <typename T> __device__ static inline int64_t head_at(const attention_args<T> &a, row_place p, int t)
{
    return (p.first + t) * a.channels + p.h * a.head;
}

/* This lane's share of D channels: element k * 32 + lane. */
struct share {
    float v[HEAD_CHUNKS];
};
template <typename T> __device__ static inline share load_share(const T *x, int head)
{
    share s;
#pragma unroll
    for (int k = 0; k < HEAD_CHUNKS; k++) {
        int d = k * 32 + (int)(threadIdx.x & 31);
        s.v[k] = d < head ? to_float(x[d]) : 0;
    }
    return s;
}
template <typename T> __device__ static inline void store_share(T *x, const share &s, int head, float scale)
{
#pragma unroll
    for (int k = 0; k < HEAD_CHUNKS; k++) {
        int d = k * 32 + (int)(threadIdx.x & 31);
        if (d < head) x[d] = from_float<T>(s.v[k] * scale);
    }
}
/* a . b over the warp; all lanes get it. */
__device__ static inline float dot(const share &a, const share &b)
{
    float sum = 0;
#pragma unroll
    for (int k = 0; k < HEAD_CHUNKS; k++) sum += a.v[k] * b.v[k];
    return warp_reduce<sum_op>(sum);
}
/* a += s b, each lane its own channels. */
__device__ static inline void add_scaled(share &a, const share &b, float s)
{
#pragma unroll
    for (int k = 0; k < HEAD_CHUNKS; k++) a.v[k] += b.v[k] * s;
}

/* 0, or the scale of what dropout kept, of probability (row, s); 1 without dropout. */
template <typename T> __device__ static inline float mask(const attention_args<T> &a, int64_t row, int s)
{
    if (!a.step || !(a.p > 0)) return 1;
    uint64_t index = (uint64_t)(row * a.tokens + s); /* as kernels/ref/attention.c has them */
    if (a.offset) index = ((uint64_t)(row % a.tokens * a.heads + row / a.tokens) << HONE_KEEP_KEYS) + (uint64_t)s;
    int keep = hone_dropout_keep(a.step->seed, a.stream, hone_step_draw(a.step), index, a.p);
    return keep && a.p < 1 ? 1 / (1 - a.p) : 0;
}

/* The online softmax: what was summed under an older maximum is shrunk by exp(old - new). Dropout scales
 * the numerator only: the normaliser is that of the undropped probabilities, as in PyTorch. */
template <typename T> HONE_KERNEL(MAP_THREADS) attention_k(attention_args<T> a)
{
    const int warps = (int)(blockDim.x / 32);
    for (int64_t row = (int64_t)blockIdx.x * warps + threadIdx.x / 32; row < a.rows;
         row += (int64_t)gridDim.x * warps) {
        const row_place p = place_of(a, row);
        const share q = load_share(a.qkv + part_at(a, p, p.t, 0), a.head);
        share sum = {};
        float top = -INFINITY, total = 0;
        for (int s = 0; s < p.count; s++) {
            float score = dot(q, load_share(a.qkv + part_at(a, p, s, 1), a.head)) * a.scale;
            float higher = score > top ? score : top, shrink = expf(top - higher), e = expf(score - higher);
            total = total * shrink + e;
#pragma unroll
            for (int k = 0; k < HEAD_CHUNKS; k++) sum.v[k] *= shrink;
            add_scaled(sum, load_share(a.qkv + part_at(a, p, s, 2), a.head), e * mask(a, row, s));
            top = higher;
        }
        store_share(a.out + head_at(a, p, p.t), sum, a.head, p.count ? 1 / total : 0);
        if (a.lse_out && (threadIdx.x & 31) == 0) a.lse_out[row] = p.count ? top + logf(total) : 0;
    }
}

/* dq of one query: sum over keys of dS k / sqrt(D), dS = P (mask dy.v - dy.y). */
template <typename T> HONE_KERNEL(MAP_THREADS) attention_dq_k(attention_args<T> a)
{
    const int warps = (int)(blockDim.x / 32);
    for (int64_t row = (int64_t)blockIdx.x * warps + threadIdx.x / 32; row < a.rows;
         row += (int64_t)gridDim.x * warps) {
        const row_place p = place_of(a, row);
        const share q = load_share(a.qkv + part_at(a, p, p.t, 0), a.head),
                    dy = load_share(a.dy + head_at(a, p, p.t), a.head);
        const float lse = a.lse[row], own = dot(dy, load_share(a.y + head_at(a, p, p.t), a.head));
        share dq = {};
        for (int s = 0; s < p.count; s++) {
            const share k = load_share(a.qkv + part_at(a, p, s, 1), a.head);
            float prob = expf(dot(q, k) * a.scale - lse);
            float dp = dot(dy, load_share(a.qkv + part_at(a, p, s, 2), a.head)) * mask(a, row, s);
            add_scaled(dq, k, prob * (dp - own));
        }
        store_share(a.out + part_at(a, p, p.t, 0), dq, a.head, a.scale);
    }
}

/* dk and dv of one key: sums over queries t of dS q / sqrt(D) and of drop(P) dy. */
template <typename T> HONE_KERNEL(MAP_THREADS) attention_dkv_k(attention_args<T> a)
{
    const int warps = (int)(blockDim.x / 32);
    for (int64_t row = (int64_t)blockIdx.x * warps + threadIdx.x / 32; row < a.rows;
         row += (int64_t)gridDim.x * warps) {
        const row_place p = place_of(a, row); /* p.t is the key here */
        const share k = load_share(a.qkv + part_at(a, p, p.t, 1), a.head),
                    v = load_share(a.qkv + part_at(a, p, p.t, 2), a.head);
        share dk = {}, dv = {};
        for (int t = 0; t < p.count; t++) {
            const int64_t query = row - p.t + t;
            const share q = load_share(a.qkv + part_at(a, p, t, 0), a.head),
                        dy = load_share(a.dy + head_at(a, p, t), a.head);
            const float own = dot(dy, load_share(a.y + head_at(a, p, t), a.head)), keep = mask(a, query, p.t);
            float prob = expf(dot(q, k) * a.scale - a.lse[query]);
            add_scaled(dv, dy, prob * keep);
            add_scaled(dk, q, prob * (dot(dy, v) * keep - own));
        }
        store_share(a.out + part_at(a, p, p.t, 1), dk, a.head, a.scale);
        store_share(a.out + part_at(a, p, p.t, 2), dv, a.head, 1);
    }
}

/* What forward and backward share; the rest is filled in by each. `offset` (texts + 1): null where dense. */
template <typename T> static attention_args<T> args_of(const hone_launch *l, const void *offset, int64_t texts)
{
    const hone_tensor *qkv = l->in_desc[0];
    attention_args<T> a = {};
    a.qkv = (const T *)l->in[0];
    a.offset = (const int32_t *)offset;
    a.texts = texts;
    a.tokens = (int)qkv->dim[qkv->rank - 2];
    a.channels = (int)qkv->dim[qkv->rank - 1] / 3;
    a.heads = l->node->attr.attention.heads;
    a.head = a.channels / a.heads;
    a.rows = (qkv->rank == 3 ? qkv->dim[0] : 1) * a.heads * a.tokens;
    a.scale = 1 / sqrtf((float)a.head);
    a.p = l->node->attr.attention.p;
    a.stream = l->node->attr.attention.stream;
    a.out = (T *)l->out[0];
    return a;
}

/* The fastest kernel that takes the head; false: none in tiles does, the kernels above remain.
 *
 *   16 bits, D a multiple of 16 up to 128    tensor cores
 *   D up to 128                              multiply-adds in fp32: fp32 storage, strict or TF32, and odd heads
 *
 * TF32 is a way to multiply that only the libraries' products take (include/hone/graph.h); attention in fp32 storage has
 * few products beside them, and rounds none. */
template <typename T> static bool forward_in_tiles(hone_backend *b, const attention_args<T> &a)
{
    if (a.head > ATTENTION_TILE_HEAD) return false;
    if constexpr (!std::is_same<T, float>::value)
        if (a.head % 16 == 0) return attention_mma_forward(b, a), true;
    return attention_tile_forward(b, a), true;
}
template <typename T> static bool backward_in_tiles(hone_backend *b, const attention_args<T> &a)
{
    if (a.head > ATTENTION_TILE_HEAD) return false;
    if constexpr (!std::is_same<T, float>::value)
        if (a.head % 16 == 0) return attention_mma_backward(b, a), true;
    return attention_tile_backward(b, a), true;
}

/* Whatever the kernel, one launch forward and two backward: steps of a recorded program are the same for all types.
 * step may be absent (evaluation): then nothing is dropped. lse is kept for the gradient only. */
static void forward(hone_backend *b, const hone_launch *l, const void *offset, int64_t texts, const void *step)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        attention_args<T> a = args_of<T>(l, offset, texts);
        a.step = (const hone_step *)step;
        a.lse_out = (float *)l->out[1];
        if (forward_in_tiles(b, a)) return;
        HONE_LAUNCH(b, attention_k<T>, map_blocks(a.rows * 32), MAP_THREADS, 0, a);
    });
}

/* dq and dk, dv are disjoint thirds of dqkv, so the two launches write nothing in common. */
static void backward(hone_backend *b, const hone_launch *l, const void *offset, int64_t texts, const void *step)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        attention_args<T> a = args_of<T>(l, offset, texts);
        a.y = (const T *)l->in[1];
        a.lse = (const float *)l->in[2];
        a.dy = (const T *)l->in[3];
        a.step = (const hone_step *)step;
        a.delta = (float *)l->work;
        if (backward_in_tiles(b, a)) return;
        HONE_LAUNCH(b, attention_dq_k<T>, map_blocks(a.rows * 32), MAP_THREADS, 0, a);
        HONE_LAUNCH(b, attention_dkv_k<T>, map_blocks(a.rows * 32), MAP_THREADS, 0, a);
    });
}

extern "C" {
/* More channels a head than the registers hold are refused here, before the first step. Scratch: delta, as lse is. */
hone_status cuda_attention_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    const hone_tensor *qkv = &g->tensor[n->in[0]];
    const bool backward = n->op == HONE_OP_attention_dx || n->op == HONE_OP_ragged_attention_dx;
    int64_t head = qkv->dim[qkv->rank - 1] / 3 / n->attr.attention.heads;
    if (backward && head <= ATTENTION_TILE_HEAD)
        n->work_bytes = (size_t)(hone_tensor_count(qkv) / (3 * head)) * sizeof(float);
    if (head <= 32 * HEAD_CHUNKS) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "use more heads", "%s: attention with %lld channels a head, at most %d", b->name,
                     (long long)head, 32 * HEAD_CHUNKS);
}

void cuda_attention(hone_backend *b, const hone_launch *l) { forward(b, l, NULL, 0, l->in[1]); }
void cuda_attention_dx(hone_backend *b, const hone_launch *l) { backward(b, l, NULL, 0, l->in[4]); }

void cuda_ragged_attention(hone_backend *b, const hone_launch *l)
{
    forward(b, l, l->in[1], l->in_desc[1]->dim[0] - 1, l->in[2]);
}

void cuda_ragged_attention_dx(hone_backend *b, const hone_launch *l)
{
    backward(b, l, l->in[4], l->in_desc[4]->dim[0] - 1, l->in[5]);
}
}
