/* attention_mma.cu - attention forward on tensor cores, 16-bit storage: FlashAttention-2's loop (Dao, 2023).
 *
 * A block has 64 queries of one head, a warp 16 of them; keys and values pass by in tiles of 64, the next one on its way
 * while this one is used. Scores, their maximum and sum, and y stay in registers, in fp32; probabilities are rounded to the
 * storage type as operands of the second product, as every 16-bit attention does.
 *
 *   for 64 keys, or 16 at a time of a last tile that is not full:
 *                               S = q k^T                 (16, 64) a warp, from registers q and shared k
 *                               m' = max(m, rows of S)    over four lanes by shuffles, no shared memory
 *                               P = exp(S - m')           exp2 of S log2(e) / sqrt(D): one multiply-add, one instruction
 *                               l = l exp(m - m') + sum P, y = y exp(m - m') + drop(P) v
 *   y / l, lse = m + log l
 *
 * Dropout scales the numerator only: the normaliser is that of the undropped probabilities, as in PyTorch; the scale of what
 * is kept goes into the last division. Nobody waits for anybody but at the two barriers of a tile: warps have rows of their
 * own. What bounds it where texts are short is memory and latency, not products: four blocks a multiprocessor. */
#include "attention_mma.cuh"

/* What was summed of a lane's two rows, group and group + 8 of the warp's 16. The maximum is one of scores as the product gives
 * them, before 1 / sqrt(D): a positive factor changes no order. */
struct running {
    float top[2], total[2]; /* the maximum of the scores, this lane's share of the sum */
};

/* The maximum of rows over the four lanes that share them; fmaxf passes a NaN over, which the exponential then shows. */
__device__ static inline float row_maximum(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
__device__ static inline float row_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/* s (16, 8 N): scores become exp(score - maximum so far); what was summed under an older maximum is shrunk by `shrink`. MASKED:
 * keys from `keys` on are behind the sample: their rows are zeros, their scores would be 0 and count. */
template <bool MASKED, int N>
__device__ static inline void softmax_keys(float (&s)[N][4], running &r, float (&shrink)[2], float scale2, int keys)
{
    const lane_place l = this_lane();
    float higher[2] = {r.top[0], r.top[1]};
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (MASKED && n * 8 + l.pair + i % 2 >= keys) s[n][i] = -INFINITY;
            higher[i / 2] = fmaxf(higher[i / 2], s[n][i]);
        }
#pragma unroll
    for (int half = 0; half < 2; half++) { /* the first keys: exp2(-inf) = 0, and there is nothing to shrink */
        higher[half] = row_maximum(higher[half]);
        shrink[half] = exp2_approx((r.top[half] - higher[half]) * scale2);
        r.total[half] *= shrink[half];
        r.top[half] = higher[half];
        higher[half] *= scale2;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            /* each lane adds up its own columns; the four lanes of a row add theirs once, at the end */
            s[n][i] = exp2_approx(s[n][i] * scale2 - higher[i / 2]);
            r.total[i / 2] += s[n][i];
        }
}

/* Drops from s (16, 8 N), whose first row and key of this lane have counter `index`. First all bits, in a loop that is Philox
 * and little else: copies of it would take the registers of the sums. */
template <int N>
__device__ static inline void drop_keys(float (&s)[N][4], const keep_rule &k, uint64_t index, uint64_t stride)
{
    unsigned bits = 0;
#pragma unroll 1
    for (int n = 0; n < N; n++) bits |= kept_keys(k, index + (uint64_t)n * 8, stride) << (4 * n);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (!(bits >> (4 * n + i) & 1)) s[n][i] = 0;
}

/* What a warp has while keys pass by. */
template <typename T, int D> struct warp_queries {
    own_rows<T, D, true> q;
    float sum[D / 8][4]; /* y (16, D), not yet divided */
    running r;
    float scale2;

    /* 16 G keys of the tiles from `first` on, `keys` of them in the sample. G = 1 masks those that are not. `index`: dropout's
     * counter of this lane's first row and of the first key's lane. */
    template <int G>
    __device__ void take(const attention_args<T> &a, const T *ks, const T *vs, int first, int keys, uint64_t index,
                         uint64_t stride)
    {
        float s[2 * G][4], shrink[2];
        times_groups<T, D, G>(s, q, ks, first);
        softmax_keys<G == 1>(s, r, shrink, scale2, keys);
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[n][i] *= shrink[i / 2];
        if (a.step && a.p > 0) drop_keys(s, keep_rule_of(a), index, stride);
#pragma unroll
        for (int n = 0; n < G; n++) {
            uint32_t probabilities[4];
            as_operand<T>(probabilities, s[2 * n], s[2 * n + 1]);
            add_product<T, D>(sum, probabilities, vs, first + n * 16);
        }
    }
};

/* y (.., C) and lse of one block's queries. Shared: 5 tiles, 46,080 bytes at D = 64. */
template <typename T, int D> HONE_KERNEL_BLOCKS(MMA_THREADS, mma_tile<D>::BLOCKS) attention_mma_k(attention_args<T> a)
{
    HONE_DYNAMIC_SHARED(T, qs); /* one tile; keys: two; values: two */
    T *const ks = qs + mma_tile<D>::COUNT, *const vs = ks + 2 * mma_tile<D>::COUNT;
    const attention_place p = attention_place_of(a, blockIdx.x);
    const int64_t pitch = 3 * (int64_t)a.channels, own_head = (int64_t)p.h * a.head;
    if (p.dead) {
        clear_rows(a.out + p.first * a.channels + own_head, a.channels, p.dead, a.head);
        if (a.lse_out) clear_rows(a.lse_out + p.lse + p.first, 1, p.dead, 1);
    }
    if (p.begin >= p.count) return; /* all threads alike: a place that no text needs, or dead rows */
    const T *const q = a.qkv + p.first * pitch + own_head, *const k = q + a.channels;
    const passing_tiles<T, D> others = {{ks, vs}, {k, k + a.channels}, {pitch, pitch}, p.count, a.head};
    const lane_place l = this_lane();
    const int first = (int)threadIdx.x / 32 * MMA_WARP_ROWS,
              row = p.begin + first; /* of the warp: in the tile, of all */
    async_copies copies;
    load_tile<T, D>(copies, qs, q + p.begin * pitch, pitch, p.count - p.begin, a.head);
    copies.commit();
    others.load(copies, 0, 0);
    copies.commit();
    copies.wait<1>(); /* queries are there, keys and values may still be coming */
    __syncthreads();
    warp_queries<T, D> w = {};
    w.q.open(qs, first);
    w.r = {{-INFINITY, -INFINITY}, {0, 0}};
    w.scale2 = a.scale * LOG2E;
    for (int key = 0, at = 0; key < p.count; key += ATTENTION_ROWS, at ^= mma_tile<D>::COUNT) {
        const int keys = rows_of(p.count, key);
        others.arrive(copies, key, at);
        if (row < p.count) { /* a warp whose rows lie behind the sample only helps to load */
            const uint64_t index = p.keep + (uint64_t)(row + l.group) * p.stride + (uint64_t)(key + l.pair);
            if (keys == ATTENTION_ROWS)
                w.template take<ATTENTION_ROWS / 16>(a, ks + at, vs + at, 0, keys, index, p.stride);
            else /* T = 197 has 5 keys in its last tile: no more than are there, and a mask for the last 16 */
#pragma unroll 1
                for (int n = 0; n < keys; n += 16)
                    w.template take<1>(a, ks + at, vs + at, n, keys - n, index + (uint64_t)n, p.stride);
        }
        __syncthreads(); /* the tile has been used: the next but one may come */
    }
    if (row >= p.count) return;
    const float scale = keep_rule_of(a).scale; /* not kept in registers while keys pass by */
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float total = row_sum(w.r.total[half]); /* never 0: the maximum itself counts 1 */
        const int t = row + l.group + 8 * half;
        factor[half] = scale / total;
        if (a.lse_out && l.pair == 0 && t < p.count) a.lse_out[p.lse + t] = w.r.top[half] * a.scale + logf(total);
    }
    store_rows<T, D>(qs + first * mma_tile<D>::PITCH, w.sum, factor, a.out + (p.first + row) * a.channels + own_head,
                     a.channels, p.count - row, a.head);
}

/* One launch; its grid is for the longest that could be (attention.cuh). */
template <typename T> void attention_mma_forward(hone_backend *b, const attention_args<T> &a)
{
    with_tile(a.head, [&](auto size) {
        constexpr int D = decltype(size)::value;
        HONE_LAUNCH_LARGE(b, (attention_mma_k<T, D>), attention_blocks(a), MMA_THREADS,
                          5 * mma_tile<D>::COUNT * sizeof(T), a);
    });
}
template void attention_mma_forward<bf16>(hone_backend *b, const attention_args<bf16> &a);
template void attention_mma_forward<fp16>(hone_backend *b, const attention_args<fp16> &a);
