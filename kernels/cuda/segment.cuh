/* segment.cuh - tokens grouped by their id, in the order of the ids: for sums over the occurrences of each.
 *
 * T tokens (capacity), each with a key of 64 bits, the id above and what it belongs to (its text) below; what is behind
 * the live ones has the key SEGMENT_NONE. Blocks sort tiles of HONE_SEGMENT_TILE keys, a thread a key, then merges make
 * one run of four: each key finds its place by binary searches in the three neighbouring runs, which wait for memory at
 * the same time, so a pass is one launch without shared memory. Equal keys are one value, so their order says nothing
 * and the result is the same however threads run. The work is T log T; launches depend on T alone, as a recorded step
 * needs it. A segment is what one id has of the sorted keys. All kernels are templates, so that any .cu may include
 * this. */
#ifndef HONE_KERNELS_CUDA_SEGMENT_CUH
#define HONE_KERNELS_CUDA_SEGMENT_CUH

#include "launch.cuh"
#include "reduce.cuh"
#include "segment.h"

static const int SEGMENT_THREADS = 256;
static const uint64_t SEGMENT_NONE = ~(uint64_t)0;

/* What launch_segments leaves in scratch, and room for those who add. */
struct segments {
    const uint64_t *key;    /* (T) ascending */
    float *sum;             /* (chunks, 2, C): of the segment that comes into a chunk, and of the one that leaves it */
    int32_t *heads, *begun; /* (tiles): segments that begin in it; (chunks): those that begin before it in its tile */
    int32_t *leaves;        /* (chunks): the segment that begins in the chunk and goes on behind it, or -1 */
    int64_t T, C, tiles, chunks;
};

__device__ static inline int32_t segment_id(uint64_t key) { return (int32_t)(key >> 32); }
__device__ static inline int32_t segment_owner(uint64_t key) { return (int32_t)(uint32_t)key; }

/* to (T): tiles of as many keys as a block has threads, a power of two from 32 on, each sorted (bitonic: Batcher, 1968).
 * key(t) makes the key of token t. Partners within a warp exchange by shuffles, others through shared memory, in two
 * halves in turn, so that one barrier a step is enough. */
template <typename K> HONE_KERNEL(HONE_SEGMENT_TILE) segment_sort_k(K key, uint64_t *to, int64_t T)
{
    HONE_SHARED(uint64_t, s, 2 * HONE_SEGMENT_TILE);
    const int i = (int)threadIdx.x, tile = (int)blockDim.x;
    int side = 0;
    for (int64_t base = (int64_t)blockIdx.x * tile; base < T; base += (int64_t)gridDim.x * tile) {
        uint64_t k = base + i < T ? key(base + i) : SEGMENT_NONE;
        for (int size = 2; size <= tile; size *= 2)
            for (int half = size / 2; half > 0; half /= 2) {
                uint64_t other;
                if (half < 32) other = __shfl_xor_sync(0xffffffffu, k, half);
                else {
                    s[side + i] = k;
                    __syncthreads();
                    other = s[side + (i ^ half)];
                    side = HONE_SEGMENT_TILE - side;
                }
                const bool least = ((i & size) == 0) == ((i & half) == 0); /* runs ascend and descend in turn */
                if ((other < k) == least) k = other;
            }
        if (base + i < T) to[base + i] = k;
    }
}

/* Groups of four sorted runs of `run` keys, a power of two, into one. Of equal keys those of the left run come first. */
template <typename U> HONE_KERNEL(SEGMENT_THREADS) segment_merge_k(const U *from, U *to, int64_t T, int64_t run)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < T; i += step) {
        const int64_t group = i / (HONE_SEGMENT_WAYS * run) * (HONE_SEGMENT_WAYS * run);
        const int own = (int)((i - group) / run);
        const U k = from[i];
        int64_t place = i - own * run, low[HONE_SEGMENT_WAYS] = {}; /* low: keys of a run that come before this one */
        for (int64_t half = run; half > 0; half /= 2) {
            U met[HONE_SEGMENT_WAYS]; /* all are asked for before the first is compared */
            bool within[HONE_SEGMENT_WAYS];
#pragma unroll
            for (int w = 0; w < HONE_SEGMENT_WAYS; w++) {
                const int64_t begin = group + w * run, end = begin + run < T ? begin + run : T;
                const int64_t at = begin + low[w] + half - 1;
                within[w] = w != own && at < end;
                met[w] = from[within[w] ? at : i];
            }
#pragma unroll
            for (int w = 0; w < HONE_SEGMENT_WAYS; w++)
                if (within[w] && (w > own ? met[w] < k : met[w] <= k)) low[w] += half;
        }
#pragma unroll
        for (int w = 0; w < HONE_SEGMENT_WAYS; w++) place += low[w];
        to[place] = k;
    }
}

/* Does a segment begin at key i? */
__device__ static inline bool segment_begins(const uint64_t *key, int64_t i, int64_t T)
{
    return i < T && key[i] != SEGMENT_NONE && (i == 0 || segment_id(key[i]) != segment_id(key[i - 1]));
}

/* Fills heads and begun: a block a tile, a thread a key, two chunks a warp. */
template <typename I>
HONE_KERNEL(HONE_SEGMENT_TILE)
segment_count_k(const uint64_t *key, int64_t T, int64_t tiles, I *heads, I *begun)
{
    HONE_SHARED(int, warps, HONE_SEGMENT_TILE / 32);
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x / 32;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int64_t i = tile * HONE_SEGMENT_TILE + threadIdx.x;
        const unsigned mask = __ballot_sync(0xffffffffu, segment_begins(key, i, T));
        if (lane == 0) warps[warp] = __popc(mask);
        __syncthreads();
        int before = lane < warp ? warps[lane] : 0; /* as many lanes as warps */
        before = warp_reduce<sum_op>(before);
        if (lane % HONE_SEGMENT_CHUNK == 0 && i < T)
            begun[i / HONE_SEGMENT_CHUNK] = (I)(before + __popc(mask & ((1u << lane) - 1)));
        if (threadIdx.x == HONE_SEGMENT_TILE - 32) heads[tile] = (I)(before + __popc(mask));
        __syncthreads(); /* before `warps` is written again */
    }
}

/* Queues the sort, a launch and one for each fourfold of the tiles, and the counts where `counted`. T > 0; C: columns of
 * the sums; work: hone_segment_bytes(T, C), 8-aligned. */
template <typename K>
static inline segments launch_segments(hone_backend *b, K key, int64_t T, int64_t C, void *work, bool counted)
{
    uint64_t *from = (uint64_t *)work, *to = from + T;
    const int64_t tiles = hone_segment_tiles(T), chunks = hone_segment_chunks(T);
    segments s = {nullptr, (float *)(to + T), nullptr, nullptr, nullptr, T, C, tiles, chunks};
    s.begun = (int32_t *)(s.sum + chunks * 2 * C);
    s.leaves = s.begun + chunks;
    s.heads = s.leaves + chunks;
    const unsigned blocks = (unsigned)(tiles < MAP_BLOCKS_MOST ? tiles : MAP_BLOCKS_MOST);
    int tile = 32;
    while (tile < T && tile < HONE_SEGMENT_TILE) tile *= 2; /* a short batch needs no whole tile */
    HONE_LAUNCH(b, segment_sort_k<K>, blocks, tile, 0, key, from, T);
    for (int64_t run = tile; run < T; run *= HONE_SEGMENT_WAYS) {
        HONE_LAUNCH(b, segment_merge_k<uint64_t>, map_blocks(T), SEGMENT_THREADS, 0, (const uint64_t *)from, to, T,
                    run);
        uint64_t *sorted = to;
        to = from;
        from = sorted;
    }
    s.key = from;
    if (counted)
        HONE_LAUNCH(b, segment_count_k<int32_t>, blocks, HONE_SEGMENT_TILE, 0, (const uint64_t *)from, T, tiles,
                    s.heads, s.begun);
    return s;
}

#endif
