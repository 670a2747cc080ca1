/* gru.h - scratch of the recurrence on a CPU, and how texts are shared among threads.
 *
 * Texts go longest first; thread p of P takes those of rank p, p + P, ... and walks them side by side, so the living
 * ones are always the first rows of its state: one product a step, no barrier between threads. A row's sums are one
 * chain each whatever stands beside it, so bits depend neither on threads nor on the batch. */
#ifndef HONE_KERNELS_CPU_GRU_H
#define HONE_KERNELS_CPU_GRU_H

#include "cpu/windows.h"

/* Offsets in floats: packed weights at 0, then what follows. */
typedef struct hone_cpu_gru_work {
    int64_t rows;            /* texts of a part, at most                                     */
    int64_t own, own_floats; /* of each part: state (rows, H), sums of the gates (rows, 3H), one row more of both */
    int64_t da;              /* backward: (T, 3H)                                             */
    int64_t windows;         /* backward: scratch of hone_cpu_windows_dw                      */
    int64_t order;           /* (2, B) int32                                                  */
    int64_t floats;          /* of all                                                        */
} hone_cpu_gru_work;

int hone_cpu_gru_parts(const hone_backend *b, int64_t T, int64_t B, int64_t H);
hone_cpu_gru_work hone_cpu_gru_layout(const hone_cpu_gemm *g, int parts, int64_t T, int64_t B, int64_t H,
                                      bool backward);
/* Texts by length, longest first, equal ones in order; work (2, B). */
const int32_t *hone_cpu_longest_first(const int32_t *offset, int64_t B, int32_t *work);

#endif
