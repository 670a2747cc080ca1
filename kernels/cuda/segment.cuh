/* segment.cuh - tokens grouped by their id, in the order of the ids: for sums over the occurrences of each.
 *
 * T tokens (capacity), each with a key of 64 bits, the id above and what it belongs to (its text) below; what is behind
 * the live ones has the key SEGMENT_NONE. Blocks sort tiles of HONE_SEGMENT_TILE keys, then merges double the runs: each
 * key finds its place by a binary search in the neighbouring run, so a pass is one launch without shared memory. Equal
 * keys are one value, so their order says nothing and the result is the same however threads run. The work is
 * T log T; launches depend on T alone, as a recorded step needs it. All kernels are templates, so that any .cu may
 * include this. */
#ifndef HONE_KERNELS_CUDA_SEGMENT_CUH
#define HONE_KERNELS_CUDA_SEGMENT_CUH

#include "launch.cuh"
#include "reduce.cuh"
#include "segment.h"

static const int SEGMENT_THREADS = 256;
static const uint64_t SEGMENT_NONE = ~(uint64_t)0;

/* What launch_segments leaves in scratch. Segment u has the keys [start[u], start[u+1]), one id, u < *count. */
struct segments {
    const uint64_t *key;          /* (T) ascending      */
    const int32_t *start, *count; /* (count + 1), (1)   */
};

__device__ static inline int32_t segment_id(uint64_t key) { return (int32_t)(key >> 32); }
__device__ static inline int32_t segment_owner(uint64_t key) { return (int32_t)(uint32_t)key; }

/* to (T): tiles of `tile` keys, a power of two, each sorted (bitonic: Batcher, 1968). key(t) makes the key of token t. */
template <typename K> HONE_KERNEL(SEGMENT_THREADS) segment_sort_k(K key, uint64_t *to, int64_t T, int tile)
{
    HONE_SHARED(uint64_t, s, HONE_SEGMENT_TILE);
    for (int64_t base = (int64_t)blockIdx.x * tile; base < T; base += (int64_t)gridDim.x * tile) {
        for (int i = (int)threadIdx.x; i < tile; i += SEGMENT_THREADS)
            s[i] = base + i < T ? key(base + i) : SEGMENT_NONE;
        __syncthreads();
        for (int size = 2; size <= tile; size *= 2)
            for (int half = size / 2; half > 0; half /= 2) {
                for (int i = (int)threadIdx.x; i < tile / 2; i += SEGMENT_THREADS) {
                    const int low = 2 * i - (i & (half - 1)), high = low + half;
                    const uint64_t a = s[low], b = s[high];
                    if ((a > b) != ((low & size) == 0)) continue; /* runs ascend and descend in turn */
                    s[low] = b;
                    s[high] = a;
                }
                __syncthreads();
            }
        for (int i = (int)threadIdx.x; i < tile; i += SEGMENT_THREADS)
            if (base + i < T) to[base + i] = s[i];
        __syncthreads(); /* before the next tile is read into the same place */
    }
}

/* Pairs of sorted runs of `run` keys into runs of twice that. Of equal keys those of the left run come first. */
template <typename U> HONE_KERNEL(SEGMENT_THREADS) segment_merge_k(const U *from, U *to, int64_t T, int64_t run)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < T; i += step) {
        const int64_t left = i / (2 * run) * (2 * run), middle = left + run < T ? left + run : T;
        const int64_t right = middle + run < T ? middle + run : T;
        const bool in_left = i < middle;
        const int64_t others = in_left ? middle : left;
        int64_t low = others, high = in_left ? right : middle;
        const U k = from[i];
        while (low < high) {
            const int64_t at = (low + high) / 2;
            if (in_left ? from[at] < k : from[at] <= k) low = at + 1;
            else high = at;
        }
        to[left + (i - (in_left ? left : middle)) + (low - others)] = k;
    }
}

/* Does a segment begin at key i? */
__device__ static inline bool segment_begins(const uint64_t *key, int64_t i, int64_t T)
{
    return i < T && key[i] != SEGMENT_NONE && (i == 0 || segment_id(key[i]) != segment_id(key[i - 1]));
}

/* heads (tiles): how many segments begin in each tile. */
template <typename I>
HONE_KERNEL(SEGMENT_THREADS)
segment_count_k(const uint64_t *key, int64_t T, int64_t tiles, I *heads)
{
    HONE_SHARED(int, scratch, 32);
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int n = 0;
        for (int i = (int)threadIdx.x; i < HONE_SEGMENT_TILE; i += SEGMENT_THREADS)
            n += segment_begins(key, tile * HONE_SEGMENT_TILE + i, T);
        n = block_reduce<sum_op>(n, scratch);
        if (threadIdx.x == 0) heads[tile] = n;
    }
}

/* start (segments + 1) and count (1), from heads: a block a tile counts what begins before each of its keys. */
template <typename I>
HONE_KERNEL(SEGMENT_THREADS)
segment_start_k(const uint64_t *key, const I *heads, int64_t T, int64_t tiles, I *start, I *count)
{
    HONE_SHARED(int, scratch, 32);
    HONE_SHARED(int, warps, SEGMENT_THREADS / 32);
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x / 32;
    if (blockIdx.x == 0 && threadIdx.x == 0 && key[0] == SEGMENT_NONE) start[0] = *count = 0; /* no live token */
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int before = 0;
        for (int64_t k = threadIdx.x; k < tile; k += SEGMENT_THREADS) before += heads[k];
        before = block_reduce<sum_op>(before, scratch);
        for (int part = 0; part < HONE_SEGMENT_TILE; part += SEGMENT_THREADS) {
            const int64_t i = tile * HONE_SEGMENT_TILE + part + threadIdx.x;
            const bool head = segment_begins(key, i, T);
            const unsigned mask = __ballot_sync(0xffffffffu, head);
            if (lane == 0) warps[warp] = __popc(mask);
            __syncthreads();
            int place = before + __popc(mask & ((1u << lane) - 1));
            for (int w = 0; w < SEGMENT_THREADS / 32; w++) {
                if (w < warp) place += warps[w];
                before += warps[w];
            }
            if (head) start[place] = (I)i;
            if (i < T && key[i] != SEGMENT_NONE && (i + 1 == T || key[i + 1] == SEGMENT_NONE)) { /* the last live one */
                *count = place + head;
                start[place + head] = (I)(i + 1);
            }
            __syncthreads(); /* before `warps` is written again */
        }
    }
}

/* Queues it all: 3 launches, and one for each doubling of the tiles. T > 0; work: hone_segment_bytes(T), 8-aligned. */
template <typename K> static inline segments launch_segments(hone_backend *b, K key, int64_t T, void *work)
{
    uint64_t *from = (uint64_t *)work, *to = from + T;
    int32_t *start = (int32_t *)(to + T), *heads = start + T + 1;
    const int64_t tiles = hone_segment_tiles(T);
    int32_t *count = heads + tiles;
    const unsigned blocks = (unsigned)(tiles < MAP_BLOCKS_MOST ? tiles : MAP_BLOCKS_MOST);
    int tile = 2;
    while (tile < T && tile < HONE_SEGMENT_TILE) tile *= 2; /* a short batch needs no whole tile */
    HONE_LAUNCH(b, segment_sort_k<K>, blocks, SEGMENT_THREADS, 0, key, from, T, tile);
    for (int64_t run = tile; run < T; run *= 2) {
        HONE_LAUNCH(b, segment_merge_k<uint64_t>, map_blocks(T), SEGMENT_THREADS, 0, (const uint64_t *)from, to, T,
                    run);
        uint64_t *sorted = to;
        to = from;
        from = sorted;
    }
    HONE_LAUNCH(b, segment_count_k<int32_t>, blocks, SEGMENT_THREADS, 0, (const uint64_t *)from, T, tiles, heads);
    HONE_LAUNCH(b, segment_start_k<int32_t>, blocks, SEGMENT_THREADS, 0, (const uint64_t *)from, (const int32_t *)heads,
                T, tiles, start, count);
    return {from, start, count};
}

#endif
