/* attention.cuh - what the attention kernels share: their arguments, which rows a block has, dropout's counters.
 *
 * qkv (B, T, 3C) = [q|k|v], y, dy (B, T, C), lse (B, heads, T), D = C / heads; ragged: (T, 3C), (T, C), (heads, T), a
 * text for itself, and zeros behind the live rows. */
#ifndef HONE_KERNELS_CUDA_ATTENTION_CUH
#define HONE_KERNELS_CUDA_ATTENTION_CUH

#include "launch.cuh"
#include "ragged.cuh"

static const int ATTENTION_ROWS = 64;       /* queries or keys of a block, and of what passes by it */
static const int ATTENTION_TILE_HEAD = 128; /* channels of a head that tiles have room for, at most */
static const float LOG2E = 1.44269504f;

template <typename T> struct attention_args {
    const T *qkv, *y, *dy;
    const float *lse;
    const int32_t *offset; /* (texts + 1); null: dense */
    int64_t texts;
    const hone_step *step;
    T *out; /* y forward, dqkv backward */
    float *lse_out;
    float *delta; /* as lse: sums of dy y over a head, left by the dq kernel for the one behind it */
    int64_t rows; /* B heads T; ragged: heads T */
    int tokens, channels, heads, head; /* T, C, heads, D */
    float scale, p;
    uint32_t stream;
};

/* The part of a head that a block has: ATTENTION_ROWS tokens from `begin` on, of a sample or text of `count`. */
struct attention_place {
    int64_t first;         /* token 0 of the sample or text; where `dead`: the first row to clear                    */
    int64_t lse;           /* of token 0 in lse                                                                      */
    uint64_t keep, stride; /* dropout's counters: of query 0 and key 0, from query to query (kernels/ref/attention.c) */
    int count, begin, h;
    int dead; /* rows behind the live ones that this block clears instead                               */
};

/* Blocks that one head of one sample, or of all texts, needs. Lengths of texts are known on the device alone: text n gets
 * the places from offset[n] / ATTENTION_ROWS + n on, which leaves each at least as many as it has tiles. */
template <typename T> static inline int64_t attention_tiles(const attention_args<T> &a)
{
    return (a.tokens + ATTENTION_ROWS - 1) / ATTENTION_ROWS + (a.offset ? a.texts : 0);
}
template <typename T> static inline unsigned attention_blocks(const attention_args<T> &a)
{
    return (unsigned)(a.rows / a.tokens * attention_tiles(a));
}

/* The last text whose places begin at or before `place`; as text_of_row. */
__device__ static inline int text_of_place(const int32_t *offset, int texts, int place)
{
    int low = 0, high = texts - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (offset[middle] / ATTENTION_ROWS + middle <= place) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* Of block `block` of attention_blocks, the same for all its threads. begin >= count: nothing to do. */
template <typename T>
__device__ static inline attention_place attention_place_of(const attention_args<T> &a, unsigned block)
{
    /* in 32 bits: a division of 64 takes longer than some blocks' products */
    const int texts = a.offset ? (int)a.texts : 0;
    const unsigned tiles = (unsigned)((a.tokens + ATTENTION_ROWS - 1) / ATTENTION_ROWS + texts), head = block / tiles;
    const int tile = (int)(block % tiles);
    attention_place p = {};
    p.h = (int)(head % (unsigned)a.heads);
    p.lse = (int64_t)head * a.tokens;
    if (!a.offset) {
        p.first = (int64_t)(head / (unsigned)a.heads) * a.tokens;
        p.keep = (uint64_t)(p.lse * a.tokens);
        p.stride = (uint64_t)a.tokens;
        p.count = a.tokens;
        p.begin = tile * ATTENTION_ROWS;
        return p;
    }
    const int live = a.offset[texts];
    if (tile >= live / ATTENTION_ROWS + texts) { /* all texts have their places */
        const int low = (tile - texts) * ATTENTION_ROWS, high = low + ATTENTION_ROWS;
        p.first = low > live ? low : live;
        p.dead = (int)((high < a.tokens ? high : a.tokens) - p.first);
        return p;
    }
    const int n = text_of_place(a.offset, texts, tile);
    p.first = a.offset[n];
    p.lse += p.first;
    p.keep = (uint64_t)(p.first * a.heads + p.h) << HONE_KEEP_KEYS;
    p.stride = (uint64_t)a.heads << HONE_KEEP_KEYS;
    p.count = (int)(a.offset[n + 1] - p.first);
    p.begin = (int)(tile - p.first / ATTENTION_ROWS - n) * ATTENTION_ROWS;
    return p;
}

/* Zeros in `rows` rows of a head, `pitch` elements apart; the whole block. */
template <typename T> __device__ static inline void clear_rows(T *x, int64_t pitch, int rows, int head)
{
    for (int i = (int)threadIdx.x; i < rows * head; i += (int)blockDim.x)
        x[i / head * pitch + i % head] = from_float<T>(0);
}

/* Dropout as it stands in the step: which probabilities are kept, and by what the kept ones are scaled. */
struct keep_rule {
    uint64_t seed, draw;
    uint32_t stream;
    float p, scale; /* scale: 1 without dropout */
    bool on;
    bool whole; /* four neighbouring keys, from a multiple of 4 on, share one draw of Philox */
};
template <typename T> __device__ static inline keep_rule keep_rule_of(const attention_args<T> &a)
{
    keep_rule k = {0, 0, a.stream, a.p, 1, a.step && a.p > 0, a.offset || a.tokens % 4 == 0};
    if (!k.on) return k;
    k.seed = a.step->seed;
    k.draw = hone_step_draw(a.step);
    k.scale = a.p < 1 ? 1 / (1 - a.p) : 0;
    return k;
}
/* Bit i: whether probability 4 quad + i is kept. */
__device__ static inline unsigned kept_quad(const keep_rule &k, uint64_t quad)
{
    const hone_philox4 r = hone_philox(k.seed, k.stream, quad, k.draw);
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) bits |= (unsigned)(hone_uniform(r.v[i]) >= k.p) << i;
    return bits;
}

/* Bit i: whether probability `index` + i % 2 across + i / 2 down is kept, wherever quads begin. A loop, not four copies of
 * Philox: it is for the rare lengths that are no multiple of 4. */
__device__ static inline unsigned kept_four(const keep_rule &k, uint64_t index, uint64_t across, uint64_t down)
{
    unsigned bits = 0;
#pragma unroll 1
    for (int i = 0; i < 4; i++) {
        const uint64_t at = index + (i & 1 ? across : 0) + (i & 2 ? down : 0);
        bits |= (kept_quad(k, at >> 2) >> (at & 3) & 1) << i;
    }
    return bits;
}

/* f(std::integral_constant<int, D>()) with the D that a head is stored in. */
template <typename F> static inline void with_tile(int head, F f)
{
    if (head <= 32) f(std::integral_constant<int, 32>());
    else if (head <= 64) f(std::integral_constant<int, 64>());
    else f(std::integral_constant<int, 128>());
}

/* attention_mma.cu, attention_mma_dx.cu: bf16 and fp16, D a multiple of 16 up to 128 */
template <typename T> void attention_mma_forward(hone_backend *b, const attention_args<T> &a);
template <typename T> void attention_mma_backward(hone_backend *b, const attention_args<T> &a);
/* attention_tile.cu: every type, D up to 128 */
template <typename T> void attention_tile_forward(hone_backend *b, const attention_args<T> &a);
template <typename T> void attention_tile_backward(hone_backend *b, const attention_args<T> &a);

#endif
