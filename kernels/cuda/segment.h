/* segment.h - how much scratch segment.cuh wants: for the prepare of rows that group tokens by their id.
 *
 * Functions of the capacity alone, as everything a recorded step launches must be. */
#ifndef HONE_KERNELS_CUDA_SEGMENT_H
#define HONE_KERNELS_CUDA_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

enum {
    HONE_SEGMENT_TILE = 1024, /* keys that one block sorts in shared memory */
    HONE_SEGMENT_WAYS = 4,    /* sorted runs that a launch merges into one */
    HONE_SEGMENT_CHUNK = 16   /* sorted keys whose gradients a thread adds one after the other; divides a warp */
};

/* Blocks of the sort and of the counts; chunks of all keys. */
static inline int64_t hone_segment_tiles(int64_t T) { return (T + HONE_SEGMENT_TILE - 1) / HONE_SEGMENT_TILE; }
static inline int64_t hone_segment_chunks(int64_t T) { return (T + HONE_SEGMENT_CHUNK - 1) / HONE_SEGMENT_CHUNK; }

/* Two arrays of keys that the merges go back and forth between, for sums of C columns the two partial sums of each chunk, and
 * three numbers: heads of a tile, heads before a chunk within its tile, the segment that leaves the chunk. */
static inline size_t hone_segment_bytes(int64_t T, int64_t C)
{
    const int64_t chunks = hone_segment_chunks(T);
    return (size_t)T * 2 * sizeof(uint64_t) + (size_t)(chunks * 2 * C) * sizeof(float) +
           (size_t)(2 * chunks + hone_segment_tiles(T)) * sizeof(int32_t);
}

#endif
