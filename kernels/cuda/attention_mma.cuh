/* attention_mma.cuh - tiles of attention on tensor cores: 64 rows of a head in shared memory, 16 rows a warp in registers.
 *
 * Rows lie D + 8 elements apart: eight rows of 16 bytes, which ldmatrix reads at once, then touch all banks once, whatever
 * multiple of 16 D is. Channels between the head's and D are zeros, so that three sizes of D serve all heads.
 *
 * Rows of the block are left operands, what passes by is the right one, twice: transposed for scores (rows of k are columns of
 * k^T: plain ldmatrix) and as it lies for sums (ldmatrix.trans). A right operand is loaded once for two products of a warp: 512
 * bytes of shared memory, four cycles, for 8192 operations. */
#ifndef HONE_KERNELS_CUDA_ATTENTION_MMA_CUH
#define HONE_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "attention.cuh"
#include "mma.cuh"

static const int MMA_THREADS = 128, MMA_WARP_ROWS = ATTENTION_ROWS / (MMA_THREADS / 32);
static_assert(MMA_WARP_ROWS == 16, "a warp has the 16 rows of one product");

template <int D> struct mma_tile {
    static const int PITCH = D + 8, COUNT = ATTENTION_ROWS * PITCH; /* elements */
    /* On a multiprocessor, which is a limit on registers: 128 a thread for 4, 168 for 3. Shared memory has room for as many
     * on sm_90, for one less on sm_80. */
    static const int BLOCKS = D <= 64 ? 4 : 2, BLOCKS_DQ = D <= 64 ? 4 : 1, BLOCKS_DKV = D <= 64 ? 3 : 1;
};

/* Where this lane's share of a fragment lies: mma.cuh */
struct lane_place {
    int lane, group, pair;
};
__device__ static inline lane_place this_lane()
{
    const int lane = (int)(threadIdx.x & 31);
    return {lane, lane / 4, lane % 4 * 2};
}

/* ATTENTION_ROWS rows of one head, `pitch` elements apart, on their way to a tile; zeros from row `rows` on. */
template <typename T, int D>
__device__ static inline void load_tile(async_copies &copies, T *tile, const T *from, int64_t pitch, int rows, int head)
{
    /* a thread stays in its column of 8 channels: one address that steps down, not eight in registers */
    const int c = (int)threadIdx.x % (D / 8) * 8, first = (int)threadIdx.x / (D / 8);
    constexpr int STEP = MMA_THREADS / (D / 8);
    const int live = c < head ? rows : 0;
    const T *at = from + first * pitch + c;
    T *const to = tile + first * mma_tile<D>::PITCH + c;
#pragma unroll
    for (int r = 0; r < ATTENTION_ROWS; r += STEP, at += STEP * pitch)
        copies.copy16(to + r * mma_tile<D>::PITCH, at, first + r < live);
}

/* Two tensors whose tiles pass by a block side by side: keys with values, or queries with dy. Each has two places in shared
 * memory that take turns, so that the next tile is on its way while one is used. */
template <typename T, int D> struct passing_tiles {
    T *tile[2]; /* the first place; the second lies mma_tile<D>::COUNT behind it, and places are told by that */
    const T *from[2];
    int64_t pitch[2];
    int count, head;

    __device__ void load(async_copies &copies, int first, int place) const
    {
#pragma unroll
        for (int k = 0; k < 2; k++)
            load_tile<T, D>(copies, tile[k] + place, from[k] + first * pitch[k], pitch[k], count - first, head);
    }
    /* Behind it the tile from row `first` on is in `place`, which all threads see, and the next one has been asked for. */
    __device__ void arrive(async_copies &copies, int first, int place) const
    {
        const int next = first + ATTENTION_ROWS;
        if (next < count) load(copies, next, place ^ mma_tile<D>::COUNT);
        copies.commit();
        copies.wait<1>();
        __syncthreads();
    }
};

/* The warp's own 16 rows of a tile as left operands, D / 16 of them: kept in registers, or read again for each product. */
template <typename T, int D, bool KEPT> struct own_rows {
    uint32_t v[KEPT ? D / 16 : 1][4];
    const T *row; /* that this lane names to ldmatrix */

    /* Behind a barrier: the tile must be there. All lanes. */
    __device__ void open(const T *tile, int first)
    {
        const int lane = this_lane().lane;
        row = tile + (first + (lane & 15)) * mma_tile<D>::PITCH + lane / 16 * 8;
#pragma unroll
        for (int k = 0; KEPT && k < D / 16; k++) ldmatrix(v[k], row + k * 16);
    }
    __device__ void get(int k, uint32_t (&a)[4]) const
    {
        if (!KEPT) ldmatrix(a, row + k * 16);
        else
#pragma unroll
            for (int i = 0; i < 4; i++) a[i] = v[k][i];
    }
};

/* low (16, 8), high (16, 8) = own rows (16, D) times 16 rows of a tile from `first` on, transposed. */
template <typename T, int D, bool KEPT>
__device__ static inline void times_rows(float (&low)[4], float (&high)[4], const own_rows<T, D, KEPT> &own,
                                         const T *tile, int first)
{
    const int lane = this_lane().lane;
    const T *row = tile + (first + (lane & 7) + lane / 16 * 8) * mma_tile<D>::PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int i = 0; i < 4; i++) low[i] = high[i] = 0;
#pragma unroll(KEPT ? D / 16 : 2) /* rows that are read again: not all at once, their registers are the sums' */
    for (int k = 0; k < D / 16; k++) {
        uint32_t a[4], b[4];
        own.get(k, a);
        ldmatrix(b, row + k * 16);
        mma_16816(low, a, b[0], b[1], T());
        mma_16816(high, a, b[2], b[3], T());
    }
}

/* s (16, 16 G) = own rows (16, D) times 16 G rows of a tile from `first` on, transposed: times_rows with all G groups under
 * way at once, so that no product waits for the one before. */
template <typename T, int D, int G>
__device__ static inline void times_groups(float (&s)[2 * G][4], const own_rows<T, D, true> &own, const T *tile,
                                           int first)
{
    const int lane = this_lane().lane;
    const T *row = tile + (first + (lane & 7) + lane / 16 * 8) * mma_tile<D>::PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < 2 * G; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = 0;
#pragma unroll
    for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int n = 0; n < G; n++) {
            uint32_t b[4];
            ldmatrix(b, row + n * 16 * mma_tile<D>::PITCH + k * 16);
            mma_16816(s[2 * n], own.v[k], b[0], b[1], T());
            mma_16816(s[2 * n + 1], own.v[k], b[2], b[3], T());
        }
}

/* sum (16, D) += a (16, 16) times 16 rows of a tile from `first` on. */
template <typename T, int D>
__device__ static inline void add_product(float (&sum)[D / 8][4], const uint32_t (&a)[4], const T *tile, int first)
{
    const int lane = this_lane().lane;
    const T *row = tile + (first + (lane & 15)) * mma_tile<D>::PITCH + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
        uint32_t b[4];
        ldmatrix_transposed(b, row + n * 16);
        mma_16816(sum[2 * n], a, b[0], b[1], T());
        mma_16816(sum[2 * n + 1], a, b[2], b[3], T());
    }
}

/* Two results side by side, rounded, as a left operand (16, 16). */
template <typename T>
__device__ static inline void as_operand(uint32_t (&a)[4], const float (&low)[4], const float (&high)[4])
{
    a[0] = pack_pair(low[0], low[1], T());
    a[1] = pack_pair(low[2], low[3], T());
    a[2] = pack_pair(high[0], high[1], T());
    a[3] = pack_pair(high[2], high[3], T());
}

/* sum (16, D) times a factor a row, to `rows` rows of a head in global memory; through the warp's own rows of a tile, which
 * nobody reads any more, so that each lane writes 16 bytes. */
template <typename T, int D>
__device__ static inline void store_rows(T *own, const float (&sum)[D / 8][4], const float (&factor)[2], T *to,
                                         int64_t pitch, int rows, int head)
{
    struct alignas(4) two { /* what a lane holds of a row side by side */
        T v[2];
    };
    const lane_place l = this_lane();
    __syncwarp(); /* the rows have been read as operands */
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(two *)(own + (l.group + 8 * half) * mma_tile<D>::PITCH + n * 8 + l.pair) = {
                {from_float<T>(sum[n][2 * half] * factor[half]), from_float<T>(sum[n][2 * half + 1] * factor[half])}};
    __syncwarp();
    for (int i = l.lane; i < 16 * D / 8; i += 32) {
        const int r = i / (D / 8), c = i % (D / 8) * 8;
        if (r < rows && c < head)
            *(pack<T> *)(to + r * pitch + c) = *(const pack<T> *)(own + r * mma_tile<D>::PITCH + c);
    }
}

/* Rows of the tile from `first` on that take part. */
__device__ static inline int rows_of(int count, int first)
{
    return count - first < ATTENTION_ROWS ? count - first : ATTENTION_ROWS;
}

/* Which of p, (16, 8), are kept, a bit an element of this lane; queries down from counter `at`, that of the lane's first row
 * and key, keys across. Two lanes that share a quad of keys draw for one row each and tell each other. */
__device__ static inline unsigned kept_keys(const keep_rule &k, uint64_t at, uint64_t stride)
{
    if (!k.whole) return kept_four(k, at, 1, 8 * stride); /* `whole` is the same for all threads */
    const uint64_t below = at + 8 * stride;
    const bool odd = this_lane().lane & 1;
    const unsigned mine = kept_quad(k, (odd ? below : at) >> 2), other = __shfl_xor_sync(0xffffffffu, mine, 1);
    const unsigned upper = odd ? other : mine, lower = odd ? mine : other; /* quads of row group, group + 8 */
    return odd ? upper >> 2 | lower >> 2 << 2 : (upper & 3) | (lower & 3) << 2;
}

#endif
