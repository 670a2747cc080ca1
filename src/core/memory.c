/* memory.c - see memory.h. The kernels' arenas have the same in registry.c, which knows nothing of src/. */
#define _DEFAULT_SOURCE /* madvise */
#include "core/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20, BIG_BYTES = 8 << 20 };

/* A kernel that has no huge pages says no, and the block is as good without them. */
void *hone_big_alloc(size_t bytes)
{
    void *block;
    if (bytes < BIG_BYTES || bytes > SIZE_MAX - HUGE_PAGE_BYTES) return malloc(bytes);
    size_t rounded = (bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if (posix_memalign(&block, HUGE_PAGE_BYTES, rounded) != 0) return NULL;
    (void)madvise(block, rounded, MADV_HUGEPAGE);
    return block;
}
