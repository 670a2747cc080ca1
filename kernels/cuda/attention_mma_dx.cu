/* attention_mma_dx.cu - attention backward on tensor cores, 16-bit storage, without atomics.
 *
 * P is made again from lse, and dS = P (mask dP - delta), dP = dy v^T, delta = sum of dy y. The first kernel has 64 queries a
 * block, keys pass by: dq = dS k / sqrt(D). The second has 64 keys a block, queries pass by, and all is transposed, rows are
 * keys: so P^T and dS^T are left operands as they lie in registers, dv = drop(P)^T dy, dk = dS^T q / sqrt(D). Seven products
 * where one kernel that adds with atomics needs five; in return two runs give the same bits.
 *
 *   dq kernel, each 16 keys:      S = q k^T, dP = dy v^T, dS from both in registers, dq += dS k
 *   dk, dv kernel, 16 queries:    S^T = k q^T, dP^T = v dy^T, dv += P^T dy, dk += dS^T q
 *
 * No maximum is needed, so 16 columns at a time are enough and scores take 16 registers, not 64; sums are what registers are
 * for: 64 for dk and dv at D = 64, 128 at D = 128, where the block's own rows are read from shared memory again for each
 * product. delta is summed once, by the first kernel, in fp32 from what is stored of y, and left in the node's scratch. */
#include "attention_mma.cuh"

/* Rows of a block, one at a time for two threads: sum of dy y over the head, to shared and global memory. */
template <typename T>
__device__ static inline void row_deltas(const attention_args<T> &a, const attention_place &p, float *delta)
{
    const int r = (int)threadIdx.x / 2, t = p.begin + r;
    const int64_t at = (p.first + t) * a.channels + (int64_t)p.h * a.head;
    float sum = 0;
    /* from global memory, 16 bytes at once: y is needed nowhere else, dy will be in a tile, but is not yet */
    for (int c = (int)threadIdx.x % 2 * 8; c < a.head && t < p.count; c += 16) {
        const pack<T> dy = *(const pack<T> *)(a.dy + at + c), y = *(const pack<T> *)(a.y + at + c);
#pragma unroll
        for (int i = 0; i < 8; i++) sum += to_float(dy.v[i]) * to_float(y.v[i]);
    }
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    if (threadIdx.x % 2) return;
    delta[r] = sum;
    if (t < p.count) a.delta[p.lse + t] = sum;
}

/* Bits of `kept` to 0 or scale. */
__device__ static inline float kept_scale(unsigned kept, int i, float scale) { return kept >> i & 1 ? scale : 0; }

/* dq (.., first third of dqkv) of one block's queries, and their delta. Shared: 6 tiles, 55,296 bytes at D = 64. */
template <typename T, int D>
HONE_KERNEL_BLOCKS(MMA_THREADS, mma_tile<D>::BLOCKS_DQ)
attention_mma_dq_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(T, qs); /* a tile; of dy: one; keys: two; values: two */
    HONE_SHARED(float, delta, ATTENTION_ROWS);
    T *const dys = qs + mma_tile<D>::COUNT, *const ks = dys + mma_tile<D>::COUNT,
             *const vs = ks + 2 * mma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    if (p.dead) clear_rows(a.out + p.first * pitch + own_head, pitch, p.dead, a.head);
    if (p.begin >= p.count) return;
    const T *const q = a.qkv + p.first * pitch + own_head, *const k = q + a.channels;
    const passing_tiles<T, D> others = {{ks, vs}, {k, k + a.channels}, {pitch, pitch}, p.count, a.head};
    const lane_place l = this_lane();
    const int first = (int)threadIdx.x / 32 * MMA_WARP_ROWS, row = p.begin + first;
    const keep_rule keep = keep_rule_of(a);
    const float scale2 = a.scale * LOG2E;
    async_copies copies;
    load_tile<T, D>(copies, qs, q + p.begin * pitch, pitch, p.count - p.begin, a.head);
    load_tile<T, D>(copies, dys, a.dy + (p.first + p.begin) * a.channels + own_head, a.channels, p.count - p.begin,
                    a.head);
    copies.commit();
    others.load(copies, 0, 0);
    copies.commit();
    row_deltas(a, p, delta); /* while the copies are under way; read behind the barrier below */
    copies.wait<1>();
    __syncthreads();
    own_rows<T, D, (D <= 64)> queries, dy;
    queries.open(qs, first);
    dy.open(dys, first);
    float dq[D / 8][4] = {}, lse2[2], own[2];
#pragma unroll
    for (int half = 0; half < 2; half++) { /* rows behind the text: P = exp(-inf) = 0 */
        const int t = row + l.group + 8 * half;
        lse2[half] = t < p.count ? a.lse[p.lse + t] * LOG2E : INFINITY;
        own[half] = delta[first + l.group + 8 * half];
    }
    for (int key = 0, at = 0; key < p.count; key += ATTENTION_ROWS, at ^= mma_tile<D>::COUNT) {
        const int keys = rows_of(p.count, key);
        others.arrive(copies, key, at);
        for (int n = 0; n < keys && row < p.count; n += 16) {
            float s[2][4], dp[2][4];
            times_rows(s[0], s[1], queries, ks + at, n);
            times_rows(dp[0], dp[1], dy, vs + at, n);
#pragma unroll
            for (int m = 0; m < 2; m++) {
                const int column = n + 8 * m + l.pair;
                /* keys behind the sample: zeros, but P = exp(-lse) may overflow, and inf 0 is no zero */
                if (n + 16 > keys) {
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        if (column + i % 2 >= keys) s[m][i] = -INFINITY;
                }
                if (keep.on) {
                    const uint64_t index = p.keep + (uint64_t)(row + l.group) * p.stride + (uint64_t)(key + column);
                    const unsigned bits = kept_keys(keep, index, p.stride);
#pragma unroll
                    for (int i = 0; i < 4; i++) dp[m][i] *= kept_scale(bits, i, keep.scale);
                }
#pragma unroll
                for (int i = 0; i < 4; i++)
                    s[m][i] = exp2_approx(s[m][i] * scale2 - lse2[i / 2]) * (dp[m][i] - own[i / 2]);
            }
            uint32_t ds[4]; /* scores lie as a left operand needs them: mma.cuh */
            as_operand<T>(ds, s[0], s[1]);
            add_product<T, D>(dq, ds, ks + at, n);
        }
        __syncthreads(); /* the tile has been used: the next but one may come */
    }
    if (row >= p.count) return;
    const float factor[2] = {a.scale, a.scale}; /* of d score / d (q k), once for the whole sum */
    store_rows<T, D>(qs + first * mma_tile<D>::PITCH, dq, factor, a.out + (p.first + row) * pitch + own_head, pitch,
                     p.count - row, a.head);
}

/* Which of p^T, (16, 8), are kept, a bit an element of this lane; keys down, queries across: `at` is the counter of the
 * fragment's first key, a multiple of 8, and of this lane's first query. Four lanes that share quads of keys draw one each,
 * quad r for element r, and tell each other. */
__device__ static inline unsigned kept_queries(const keep_rule &k, uint64_t at, uint64_t stride)
{
    const lane_place l = this_lane();
    const int r = l.group & 3;
    unsigned bits = 0;
    if (!k.whole) return kept_four(k, at + (uint64_t)l.group, stride, 8);
    const uint64_t counter = at + (uint64_t)(l.group - r + r / 2 * 8) + (uint64_t)(r % 2) * stride;
    /* 4 bits of quad r, at 4 r; the four lanes, 4 and 8 apart, gather all 16 */
    unsigned quads = kept_quad(k, counter >> 2) << (4 * r);
    quads |= __shfl_xor_sync(0xffffffffu, quads, 4);
    quads |= __shfl_xor_sync(0xffffffffu, quads, 8);
#pragma unroll
    for (int i = 0; i < 4; i++) bits |= (quads >> (4 * i + r) & 1) << i;
    return bits;
}

/* lse and delta of ATTENTION_ROWS queries; behind the text lse = inf, so that P = 0. Half of the threads, one row each. */
template <typename T>
__device__ static inline void load_rows(const attention_args<T> &a, const attention_place &p, int first, float *lse2,
                                        float *delta)
{
    const int r = (int)threadIdx.x;
    if (r >= ATTENTION_ROWS) return;
    const bool live = first + r < p.count;
    lse2[r] = live ? a.lse[p.lse + first + r] * LOG2E : INFINITY;
    delta[r] = live ? a.delta[p.lse + first + r] : 0;
}

/* dk and dv (second and last third of dqkv) of one block's keys. Shared: 6 tiles and twice 64 lse and delta, which travel with
 * the queries that they belong to; written by plain stores, they are seen behind the same barrier as the copies. */
template <typename T, int D>
HONE_KERNEL_BLOCKS(MMA_THREADS, mma_tile<D>::BLOCKS_DKV)
attention_mma_dkv_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(T, ks); /* a tile; values: one; queries: two; dy: two */
    HONE_SHARED(float, lse2, 2 * ATTENTION_ROWS);
    HONE_SHARED(float, delta, 2 * ATTENTION_ROWS);
    T *const vs = ks + mma_tile<D>::COUNT, *const qs = vs + mma_tile<D>::COUNT,
             *const dys = qs + 2 * mma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    for (int part = 1; part < 3 && p.dead; part++) /* k's third and v's */
        clear_rows(a.out + p.first * pitch + part * a.channels + own_head, pitch, p.dead, a.head);
    if (p.begin >= p.count) return;
    const T *const q = a.qkv + p.first * pitch + own_head, *const k = q + a.channels, *const v = k + a.channels;
    const passing_tiles<T, D> others = {
        {qs, dys}, {q, a.dy + p.first * a.channels + own_head}, {pitch, a.channels}, p.count, a.head};
    const lane_place l = this_lane();
    const int first = (int)threadIdx.x / 32 * MMA_WARP_ROWS, row = p.begin + first; /* keys here */
    const keep_rule keep = keep_rule_of(a);
    const float scale2 = a.scale * LOG2E;
    async_copies copies;
    load_tile<T, D>(copies, ks, k + p.begin * pitch, pitch, p.count - p.begin, a.head);
    load_tile<T, D>(copies, vs, v + p.begin * pitch, pitch, p.count - p.begin, a.head);
    copies.commit();
    others.load(copies, 0, 0);
    copies.commit();
    load_rows(a, p, 0, lse2, delta);
    copies.wait<1>();
    __syncthreads();
    own_rows<T, D, (D <= 64)> keys, values;
    keys.open(ks, first);
    values.open(vs, first);
    /* both sums of 16 keys by D channels, all the while */
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};
    for (int query = 0, at = 0; query < p.count; query += ATTENTION_ROWS, at ^= 1) {
        const int next = query + ATTENTION_ROWS, queries = rows_of(p.count, query);
        if (next < p.count) load_rows(a, p, next, lse2 + (at ^ 1) * ATTENTION_ROWS, delta + (at ^ 1) * ATTENTION_ROWS);
        others.arrive(copies, query, at * mma_tile<D>::COUNT);
        /* rows of q and dy serve twice: as columns of q^T and dy^T, and as they lie */
        const T *const q_tile = qs + at * mma_tile<D>::COUNT, *const dy_tile = dys + at * mma_tile<D>::COUNT;
        for (int n = 0; n < queries && row < p.count; n += 16) {
            float s[2][4], dp[2][4];
            times_rows(s[0], s[1], keys, q_tile, n);
            times_rows(dp[0], dp[1], values, dy_tile, n);
#pragma unroll
            for (int m = 0; m < 2; m++) {
                const int column = n + 8 * m + l.pair;
                const float *own = delta + at * ATTENTION_ROWS + column, *shift = lse2 + at * ATTENTION_ROWS + column;
                unsigned bits = 15;
                if (keep.on) {
                    bits = kept_queries(keep, p.keep + (uint64_t)(query + column) * p.stride + (uint64_t)row, p.stride);
#pragma unroll
                    for (int i = 0; i < 4; i++) dp[m][i] *= kept_scale(bits, i, keep.scale);
                }
                /* queries behind the sample: q, dy, delta 0 and P = 0 add nothing; keys behind it are not stored */
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    s[m][i] = exp2_approx(s[m][i] * scale2 - shift[i % 2]);
                    dp[m][i] = s[m][i] * (dp[m][i] - own[i % 2]);
                }
                if (keep.on) {
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        if (!(bits >> i & 1)) s[m][i] = 0;
                }
            }
            uint32_t operand[4];
            as_operand<T>(operand, s[0], s[1]);
            add_product<T, D>(dv, operand, dy_tile, n); /* dropout's scale comes with the store */
            as_operand<T>(operand, dp[0], dp[1]);
            add_product<T, D>(dk, operand, q_tile, n);
        }
        __syncthreads(); /* the tile has been used: the next but one may come */
    }
    if (row >= p.count) return;
    T *const to = a.out + (p.first + row) * pitch + a.channels + own_head;
    const float factor_k[2] = {a.scale, a.scale}, factor_v[2] = {keep.scale, keep.scale};
    store_rows<T, D>(ks + first * mma_tile<D>::PITCH, dk, factor_k, to, pitch, p.count - row, a.head);
    store_rows<T, D>(vs + first * mma_tile<D>::PITCH, dv, factor_v, to + a.channels, pitch, p.count - row, a.head);
}

/* dq leaves delta for the second launch; they write disjoint thirds of dqkv. */
template <typename T> void attention_mma_backward(hone_backend *b, const attention_args<T> &a)
{
    with_tile(a.head, [&](auto size) {
        constexpr int D = decltype(size)::value;
        HONE_LAUNCH_LARGE(b, (attention_mma_dq_k<T, D>), attention_blocks(a), MMA_THREADS,
                          6 * mma_tile<D>::COUNT * sizeof(T), a);
        HONE_LAUNCH_LARGE(b, (attention_mma_dkv_k<T, D>), attention_blocks(a), MMA_THREADS,
                          6 * mma_tile<D>::COUNT * sizeof(T), a);
    });
}
template void attention_mma_backward<bf16>(hone_backend *b, const attention_args<bf16> &a);
template void attention_mma_backward<fp16>(hone_backend *b, const attention_args<fp16> &a);
