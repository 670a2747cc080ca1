/* pixels.h - the loops in which resizing spends its time.
 *
 * resize_avx2.c has them for CPUs with AVX2, pixels.c plain ones for all. All of it is integer arithmetic, so the sets
 * differ in speed and never in a bit. HONE_CPU_ISA=base in the environment keeps to the plain ones, as for the kernels. */
#ifndef HONE_DATA_PIXELS_H
#define HONE_DATA_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_RESIZE_BITS = 32 - 8 - 2 }; /* fraction of a weight: 8 bits of pixel and 2 of head-room are left of 32 */

/* Weights of one axis: output i sums weight[i * taps + k] * in[first[i] + k] for k < used[i]. */
typedef struct hone_resize_axis {
    int out, taps;
    int *first, *used; /* (out) */
    int32_t *weight;   /* (out, taps); 0 from used[i] on                                              */
    int32_t *spread;   /* (out, (taps + 1) / 2, 2): two weights' upper parts, and lower 11 bits, as words; or NULL */
} hone_resize_axis;

typedef struct hone_resize_loops {
    /* in (h, w, 3) -> out (h, a->out, 3); `line` (2, 3 w + 16) is scratch, zeros */
    void (*rgb)(const uint8_t *in, int h, int w, uint8_t *out, const hone_resize_axis *a, uint8_t *line);
    /* in (h, w) -> out (h, a->out) */
    void (*grey)(const uint8_t *in, int h, int w, uint8_t *out, const hone_resize_axis *a);
    /* in (rows, n) -> out (a->out, n) */
    void (*down)(const uint8_t *in, int n, uint8_t *out, const hone_resize_axis *a);
} hone_resize_loops;

const hone_resize_loops *hone_resize_loops_pick(void); /* the quickest that the running CPU has        */
extern const hone_resize_loops hone_resize_loops_avx2;

#endif
