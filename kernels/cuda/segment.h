/* segment.h - how much scratch segment.cuh wants: for the prepare of rows that group tokens by their id.
 *
 * A function of the capacity alone, as everything a recorded step launches must be. */
#ifndef HONE_KERNELS_CUDA_SEGMENT_H
#define HONE_KERNELS_CUDA_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

enum { HONE_SEGMENT_TILE = 1024 }; /* keys that one block sorts in shared memory */

/* Blocks of the sort, of the counts and of the starts. */
static inline int64_t hone_segment_tiles(int64_t T) { return (T + HONE_SEGMENT_TILE - 1) / HONE_SEGMENT_TILE; }

/* Two arrays of keys that the merges go back and forth between; starts and their end; heads of a tile; their count. */
static inline size_t hone_segment_bytes(int64_t T)
{
    return (size_t)T * 2 * sizeof(uint64_t) + (size_t)(T + 1 + hone_segment_tiles(T) + 1) * sizeof(int32_t);
}

#endif
