/* attention_tile.cu - attention by fused multiply-adds in fp32, for what the tensor cores may not or cannot take: fp32 storage
 * (TF32 would round the products) and heads that are no multiple of 16 channels.
 *
 * A block of 256 threads has 64 queries (or keys) of one head in shared memory, tiles of 64 of the others pass by. A thread
 * has 4 x 4 of the 64 x 64 scores and, of the sums, 4 rows of D / 16 channels: rows 4 ty.., columns tx, tx + 16.., channels in
 * groups of W. Rows lie D + 4 floats apart, so that what 8 neighbours read at once lies in different banks.
 *
 *   dots          64 x 64 scores: rows times rows, four channels at once: 8 loads of 16 bytes for 64 multiply-adds a thread
 *   share_scores  to shared memory, because the sums need whole rows of them
 *   add_weighted  64 x D sums: scores times a tile as it lies, four of its rows at once, the same ratio
 *
 * Forward is one such pair a tile of keys, dq has two dots and one sum, dk and dv two and two; the loops are those of
 * attention_mma.cu and attention_mma_dx.cu, where what they compute is written out. Each sum is one chain in the order of
 * keys, or queries: no atomics, the same bits twice. Products are loads from shared memory and multiply-adds in about the same
 * number of cycles, so the best that it can do is about half of the chip's fp32 rate. */
#include "attention.cuh"

static const int FMA_THREADS = 256, SCORE_PITCH = ATTENTION_ROWS + 4;

template <int D> struct fma_tile {
    static const int PITCH = D + 4, COUNT = ATTENTION_ROWS * PITCH; /* floats */
    static const int W = D < 64 ? 2 : 4, GROUPS = D / 16 / W;       /* a thread's channels lie 16 W apart, W at once */
};

/* A thread's scores: 4 rows, and columns 16 apart. */
struct score_block {
    float v[4][4];
};
/* A thread's sums: the same 4 rows, D / 16 channels. */
template <int D> struct row_sums {
    float v[4][fma_tile<D>::GROUPS][fma_tile<D>::W];
};

__device__ static inline int thread_row() { return (int)threadIdx.x / 16 * 4; }
__device__ static inline int thread_column() { return (int)threadIdx.x % 16; }

/* ATTENTION_ROWS rows of a head as floats; zeros from row `rows` and channel `head` on. An element at a time: an odd head begins
 * anywhere, and neighbours still read neighbours. */
template <typename T, int D>
__device__ static inline void fetch_tile(float *tile, const T *from, int64_t pitch, int rows, int head)
{
    for (int i = (int)threadIdx.x; i < ATTENTION_ROWS * D; i += FMA_THREADS) {
        const int r = i / D, c = i % D;
        tile[r * fma_tile<D>::PITCH + c] = r < rows && c < head ? to_float(from[r * pitch + c]) : 0;
    }
}

/* s = rows times columns, both tiles, over the channels; four channels at once. */
template <int D> __device__ static inline void dots(score_block &s, const float *rows, const float *columns)
{
    /* two rows of a a warp, each read by 16 threads at once; of b 16 rows, in two goes */
    const float *a = rows + thread_row() * fma_tile<D>::PITCH, *b = columns + thread_column() * fma_tile<D>::PITCH;
    s = {};
#pragma unroll 4
    for (int d = 0; d < D; d += 4) {
        pack<float> x[4], y[4];
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = *(const pack<float> *)(a + i * fma_tile<D>::PITCH + d);
#pragma unroll
        for (int j = 0; j < 4; j++) y[j] = *(const pack<float> *)(b + j * 16 * fma_tile<D>::PITCH + d);
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) s.v[i][j] += x[i].v[k] * y[j].v[k];
    }
}

/* To shared memory (64, SCORE_PITCH), for the product below. */
__device__ static inline void share_scores(float *scores, const score_block &s)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) scores[(thread_row() + i) * SCORE_PITCH + thread_column() + 16 * j] = s.v[i][j];
}

/* sum += scores (64, 64) times a tile (64, D). Scores of rows behind a tail meet zeros. */
template <int D> __device__ static inline void add_weighted(row_sums<D> &sum, const float *scores, const float *tile)
{
    const int W = fma_tile<D>::W;
    struct alignas(4 * W) channels {
        float v[W];
    };
    /* scores: two rows a warp at once; of the tile one row, side by side */
    const float *a = scores + thread_row() * SCORE_PITCH, *b = tile + thread_column() * W;
#pragma unroll 2
    for (int k = 0; k < ATTENTION_ROWS; k += 4) {
        pack<float> x[4];
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = *(const pack<float> *)(a + i * SCORE_PITCH + k);
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int g = 0; g < fma_tile<D>::GROUPS; g++) {
                const channels y = *(const channels *)(b + (k + m) * fma_tile<D>::PITCH + g * 16 * W);
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int w = 0; w < W; w++) sum.v[i][g][w] += x[i].v[m] * y.v[w];
            }
    }
}

/* sum times a factor a row, to `rows` rows of a head. */
template <typename T, int D>
__device__ static inline void store_sums(const row_sums<D> &sum, const float (&factor)[4], T *to, int64_t pitch,
                                         int rows, int head)
{
    const int W = fma_tile<D>::W;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int g = 0; g < fma_tile<D>::GROUPS; g++)
#pragma unroll
            for (int w = 0; w < W; w++) {
                const int r = thread_row() + i, c = (g * 16 + thread_column()) * W + w;
                if (r < rows && c < head) to[r * pitch + c] = from_float<T>(sum.v[i][g][w] * factor[i]);
            }
}

/* Over the 16 threads that share rows: half a warp, so that no shuffle leaves it. */
__device__ static inline float across_maximum(float v)
{
#pragma unroll
    for (int d = 1; d < 16; d *= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d)); /* a NaN shows in the exponential */
    return v;
}
__device__ static inline float across_sum(float v)
{
#pragma unroll
    for (int d = 1; d < 16; d *= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

/* Bit 4 i + j: whether s[i][j] is kept, queries down from t, keys across from `key` on. Four neighbours share quads of keys:
 * each draws those of its own j. */
__device__ static inline unsigned kept_across(const keep_rule &k, const attention_place &p, int t, int key)
{
    /* r: this thread's place in its quad of keys, and the j whose quads it draws */
    const int r = thread_column() & 3, lane = (int)threadIdx.x & 31;
    const uint64_t index = p.keep + (uint64_t)(t + thread_row()) * p.stride + (uint64_t)(key + thread_column() - r);
    unsigned mine = 0, bits = 0;
    if (!k.whole) {
#pragma unroll 1
        for (int j = 0; j < 4; j++)
#pragma unroll 1
            for (int i = 0; i < 4; i++) {
                const uint64_t at = index + (uint64_t)i * p.stride + (uint64_t)(16 * j + r);
                bits |= (kept_quad(k, at >> 2) >> (at & 3) & 1) << (4 * i + j);
            }
        return bits;
    }
#pragma unroll 1
    for (int i = 0; i < 4; i++)
        mine |= kept_quad(k, (index + (uint64_t)i * p.stride + (uint64_t)(16 * r)) >> 2) << (4 * i);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        /* quads of columns 16 j were drawn by the lane whose r is j; this one's key is the r-th of each */
        const unsigned drawn = __shfl_sync(0xffffffffu, mine, (lane & 28) | j);
#pragma unroll
        for (int i = 0; i < 4; i++) bits |= (drawn >> (4 * i + r) & 1) << (4 * i + j);
    }
    return bits;
}

/* The same bits where keys go down from `key` and queries across from t: a thread's four rows are a quad. */
__device__ static inline unsigned kept_down(const keep_rule &k, const attention_place &p, int t, int key)
{
    unsigned bits = 0;
#pragma unroll 1
    for (int j = 0; j < 4; j++) {
        const uint64_t at =
            p.keep + (uint64_t)(t + thread_column() + 16 * j) * p.stride + (uint64_t)(key + thread_row());
        unsigned four = 0;
        if (k.whole) four = kept_quad(k, at >> 2);
        else four = kept_four(k, at, 1, 2);
#pragma unroll
        for (int i = 0; i < 4; i++) bits |= (four >> i & 1) << (4 * i + j);
    }
    return bits;
}

/* Forward: y (.., C) and lse of 64 queries. Three barriers a tile: keys and values have come, probabilities are whole, all
 * have been used. */
template <typename T, int D> HONE_KERNEL(FMA_THREADS) attention_tile_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(float, qs); /* a tile; keys; values; probabilities (64, SCORE_PITCH) */
    float *const ks = qs + fma_tile<D>::COUNT, *const vs = ks + fma_tile<D>::COUNT, *const ps = vs + fma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    if (p.dead) {
        clear_rows(a.out + p.first * a.channels + own_head, a.channels, p.dead, a.head);
        if (a.lse_out) clear_rows(a.lse_out + p.lse + p.first, 1, p.dead, 1);
    }
    if (p.begin >= p.count) return;
    const T *const q = a.qkv + p.first * pitch + own_head;
    const keep_rule keep = keep_rule_of(a);
    fetch_tile<T, D>(qs, q + p.begin * pitch, pitch, p.count - p.begin, a.head);
    row_sums<D> sum = {};
    float top[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, total[4] = {};
    for (int key = 0; key < p.count; key += ATTENTION_ROWS) {
        fetch_tile<T, D>(ks, q + a.channels + key * pitch, pitch, p.count - key, a.head);
        fetch_tile<T, D>(vs, q + 2 * a.channels + key * pitch, pitch, p.count - key, a.head);
        __syncthreads(); /* the first time for the queries, too */
        score_block s;
        dots<D>(s, qs, ks);
        const unsigned bits = keep.on ? kept_across(keep, p, p.begin, key) : 0xffffu;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float higher = top[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s.v[i][j] = key + thread_column() + 16 * j < p.count ? s.v[i][j] * a.scale : -INFINITY;
                higher = fmaxf(higher, s.v[i][j]);
            }
            higher = across_maximum(higher);            /* 16 threads have the row: two rows' a warp */
            const float shrink = expf(top[i] - higher); /* the first time exp(-inf) = 0 */
            total[i] *= shrink;
            top[i] = higher;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float e = expf(s.v[i][j] - higher);
                total[i] += e;
                /* dropped behind the sum: the normaliser is that of all probabilities */
                s.v[i][j] = bits >> (4 * i + j) & 1 ? e : 0;
            }
#pragma unroll
            for (int g = 0; g < fma_tile<D>::GROUPS; g++)
#pragma unroll
                for (int w = 0; w < fma_tile<D>::W; w++) sum.v[i][g][w] *= shrink;
        }
        share_scores(ps, s);
        __syncthreads();
        add_weighted<D>(sum, ps, vs);
        __syncthreads(); /* keys, values and probabilities have been used */
    }
    float factor[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        total[i] = across_sum(total[i]);
        factor[i] = keep.scale / total[i];
        const int t = p.begin + thread_row() + i;
        if (a.lse_out && thread_column() == 0 && t < p.count) a.lse_out[p.lse + t] = top[i] + logf(total[i]);
    }
    store_sums<T, D>(sum, factor, a.out + (p.first + p.begin) * a.channels + own_head, a.channels, p.count - p.begin,
                     a.head);
}

/* Sums of dy y of 64 rows, four threads a row, to shared and global memory. */
template <typename T>
__device__ static inline void row_deltas(const attention_args<T> &a, const attention_place &p, float *delta)
{
    const int r = (int)threadIdx.x / 4, t = p.begin + r;
    const int64_t at = (p.first + t) * a.channels + (int64_t)p.h * a.head;
    float sum = 0;
    for (int c = (int)threadIdx.x % 4; c < a.head && t < p.count; c += 4)
        sum += to_float(a.dy[at + c]) * to_float(a.y[at + c]);
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (threadIdx.x % 4) return;
    delta[r] = sum;
    if (t < p.count) a.delta[p.lse + t] = sum;
}

/* dq (.., first third of dqkv) and delta of 64 queries: sum over keys of dS k / sqrt(D), dS = P (mask dy.v - delta). */
template <typename T, int D> HONE_KERNEL(FMA_THREADS) attention_tile_dq_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(float, qs); /* a tile; dy; keys; values; dS */
    HONE_SHARED(float, delta, ATTENTION_ROWS);
    float *const dys = qs + fma_tile<D>::COUNT, *const ks = dys + fma_tile<D>::COUNT,
                 *const vs = ks + fma_tile<D>::COUNT, *const dss = vs + fma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    if (p.dead) clear_rows(a.out + p.first * pitch + own_head, pitch, p.dead, a.head);
    if (p.begin >= p.count) return;
    const T *const q = a.qkv + p.first * pitch + own_head, *const dy = a.dy + p.first * a.channels + own_head;
    const keep_rule keep = keep_rule_of(a);
    fetch_tile<T, D>(qs, q + p.begin * pitch, pitch, p.count - p.begin, a.head);
    fetch_tile<T, D>(dys, dy + (int64_t)p.begin * a.channels, a.channels, p.count - p.begin, a.head);
    row_deltas(a, p, delta);
    row_sums<D> dq = {};
    float lse[4];
#pragma unroll
    for (int i = 0; i < 4; i++) { /* behind the text: P = 0 */
        const int t = p.begin + thread_row() + i;
        lse[i] = t < p.count ? a.lse[p.lse + t] : INFINITY;
    }
    for (int key = 0; key < p.count; key += ATTENTION_ROWS) {
        fetch_tile<T, D>(ks, q + a.channels + key * pitch, pitch, p.count - key, a.head);
        fetch_tile<T, D>(vs, q + 2 * a.channels + key * pitch, pitch, p.count - key, a.head);
        __syncthreads();
        score_block s, dp;
        dots<D>(s, qs, ks);
        dots<D>(dp, dys, vs);
        const unsigned bits = keep.on ? kept_across(keep, p, p.begin, key) : 0xffffu;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                /* keys behind the sample are zeros, but P = exp(-lse) may overflow, and inf 0 is no zero */
                const bool live = key + thread_column() + 16 * j < p.count;
                const float prob = live ? expf(s.v[i][j] * a.scale - lse[i]) : 0;
                const float kept = bits >> (4 * i + j) & 1 ? keep.scale : 0;
                s.v[i][j] = prob * (dp.v[i][j] * kept - delta[thread_row() + i]);
            }
        share_scores(dss, s);
        __syncthreads();
        add_weighted<D>(dq, dss, ks);
        __syncthreads(); /* keys, values and dS have been used */
    }
    const float factor[4] = {a.scale, a.scale, a.scale, a.scale};
    store_sums<T, D>(dq, factor, a.out + (p.first + p.begin) * pitch + own_head, pitch, p.count - p.begin, a.head);
}

/* dk and dv (.., second and last third of dqkv) of 64 keys: sums over queries of dS q / sqrt(D) and of drop(P) dy; rows are keys here. */
template <typename T, int D> HONE_KERNEL(FMA_THREADS) attention_tile_dkv_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(float, ks); /* a tile; values; queries; dy; P, then dS */
    float *const vs = ks + fma_tile<D>::COUNT, *const qs = vs + fma_tile<D>::COUNT,
                 *const dys = qs + fma_tile<D>::COUNT, *const ps = dys + fma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    for (int part = 1; part < 3 && p.dead; part++)
        clear_rows(a.out + p.first * pitch + part * a.channels + own_head, pitch, p.dead, a.head);
    if (p.begin >= p.count) return;
    const T *const q = a.qkv + p.first * pitch + own_head, *const k = q + a.channels + p.begin * pitch;
    const T *const dy = a.dy + p.first * a.channels + own_head;
    const keep_rule keep = keep_rule_of(a);
    fetch_tile<T, D>(ks, k, pitch, p.count - p.begin, a.head);
    fetch_tile<T, D>(vs, k + a.channels, pitch, p.count - p.begin, a.head);
    row_sums<D> dk = {}, dv = {};
    for (int query = 0; query < p.count; query += ATTENTION_ROWS) {
        fetch_tile<T, D>(qs, q + query * pitch, pitch, p.count - query, a.head);
        fetch_tile<T, D>(dys, dy + (int64_t)query * a.channels, a.channels, p.count - query, a.head);
        __syncthreads();
        score_block s, dp;
        dots<D>(s, ks, qs);
        dots<D>(dp, vs, dys);
        const unsigned bits = keep.on ? kept_down(keep, p, query, p.begin) : 0xffffu;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int t = query + thread_column() + 16 * j;
            /* queries behind the sample: P = exp(-inf) = 0 */
            const float lse = t < p.count ? a.lse[p.lse + t] : INFINITY, own = t < p.count ? a.delta[p.lse + t] : 0;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float prob = expf(s.v[i][j] * a.scale - lse);
                const bool kept = bits >> (4 * i + j) & 1;
                s.v[i][j] = kept ? prob : 0;
                dp.v[i][j] = prob * ((kept ? dp.v[i][j] * keep.scale : 0) - own);
            }
        }
        share_scores(ps, s);
        __syncthreads();
        add_weighted<D>(dv, ps, dys);
        __syncthreads(); /* P has been used */
        share_scores(ps, dp);
        __syncthreads();
        add_weighted<D>(dk, ps, qs);
        __syncthreads(); /* queries, dy and dS have been used */
    }
    T *const to = a.out + (p.first + p.begin) * pitch + a.channels + own_head;
    const float factor_k[4] = {a.scale, a.scale, a.scale, a.scale},
                factor_v[4] = {keep.scale, keep.scale, keep.scale, keep.scale};
    store_sums<T, D>(dk, factor_k, to, pitch, p.count - p.begin, a.head);
    store_sums<T, D>(dv, factor_v, to + a.channels, pitch, p.count - p.begin, a.head);
}

/* Bytes of `tiles` tiles and one of scores: 87,040 for four at D = 64, 152,576 at D = 128, less than sm_80's 163 KiB. */
template <int D> static size_t shared_bytes(int tiles)
{
    return (size_t)(tiles * fma_tile<D>::COUNT + ATTENTION_ROWS * SCORE_PITCH) * sizeof(float);
}

/* One launch forward, two backward: dq leaves delta for the second. */
template <typename T> void attention_tile_forward(hone_backend *b, const attention_args<T> &a)
{
    with_tile(a.head, [&](auto size) {
        constexpr int D = decltype(size)::value;
        HONE_LAUNCH_LARGE(b, (attention_tile_k<T, D>), attention_blocks(a), FMA_THREADS, shared_bytes<D>(3), a);
    });
}
template <typename T> void attention_tile_backward(hone_backend *b, const attention_args<T> &a)
{
    with_tile(a.head, [&](auto size) {
        constexpr int D = decltype(size)::value;
        HONE_LAUNCH_LARGE(b, (attention_tile_dq_k<T, D>), attention_blocks(a), FMA_THREADS, shared_bytes<D>(4), a);
        HONE_LAUNCH_LARGE(b, (attention_tile_dkv_k<T, D>), attention_blocks(a), FMA_THREADS, shared_bytes<D>(4), a);
    });
}
template void attention_tile_forward<float>(hone_backend *b, const attention_args<float> &a);
template void attention_tile_forward<bf16>(hone_backend *b, const attention_args<bf16> &a);
template void attention_tile_forward<fp16>(hone_backend *b, const attention_args<fp16> &a);
template void attention_tile_backward<float>(hone_backend *b, const attention_args<float> &a);
template void attention_tile_backward<bf16>(hone_backend *b, const attention_args<bf16> &a);
template void attention_tile_backward<fp16>(hone_backend *b, const attention_args<fp16> &a);
