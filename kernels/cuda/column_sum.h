/* column_sum.h - how much scratch a sum of columns wants: for the prepare of rows that use column_sum.cuh.
 *
 * Functions of the shape alone, so that the order of additions is the same on every device and in every run. */
#ifndef HONE_KERNELS_CUDA_COLUMN_SUM_H
#define HONE_KERNELS_CUDA_COLUMN_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Slices of the rows that are summed by themselves: two blocks of 32 columns a multiprocessor of the largest chip
 * (132), but 64 rows a slice at least, so that adding the slices stays small beside reading. */
static inline int hone_column_slices(int64_t rows, int64_t columns)
{
    int64_t tiles = (columns + 31) / 32, wanted = tiles > 0 ? (2 * 132 + tiles - 1) / tiles : 1,
            most = (rows + 63) / 64;
    int64_t slices = wanted < most ? wanted : most;
    return (int)(slices < 1 ? 1 : slices > 128 ? 128 : slices);
}

/* Bytes of node->work; 0 where one launch does it all. */
static inline size_t hone_column_sum_bytes(int64_t rows, int64_t columns)
{
    int slices = hone_column_slices(rows, columns);
    return slices > 1 ? (size_t)slices * (size_t)columns * sizeof(float) : 0;
}

#endif
