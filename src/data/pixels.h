/* pixels.h - the loops in which decoding and resizing spend their time.
 *
 * jpeg_avx2.c and resize_avx2.c have them for CPUs with AVX2, pixels.c has a plain resize for all; a JPEG is left to the
 * library where there is no quicker way. All of it is integer arithmetic, so the sets differ in speed and never in a bit.
 * HONE_CPU_ISA=base in the environment keeps to the plain ones, as it does for the kernels. */
#ifndef HONE_DATA_PIXELS_H
#define HONE_DATA_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- baseline JPEG ------------------------------------------------------------------------------------------------ */
enum {
    HONE_JPEG_LOOK = 10,            /* bits of the stream that one look-up answers                               */
    HONE_JPEG_PLACES = 64 + 65 + 1, /* of coefficients and of what a symbol may skip beyond them        */
    HONE_JPEG_SPARE = 2048          /* zeros behind the stream: more than the blocks of an MCU can take            */
};

/* What the next bits hold: `skip` coefficients of zero, then `value`; 64 ends the block. bits = 0: a longer way. */
typedef struct hone_jpeg_symbol {
    int16_t value;
    uint8_t skip, bits;
} hone_jpeg_symbol;

/* One Huffman table. */
typedef struct hone_jpeg_huffman {
    bool given;
    hone_jpeg_symbol quick[1 << HONE_JPEG_LOOK]; /* AC only: a code together with its value                       */
    uint16_t code[1 << HONE_JPEG_LOOK];          /* length << 8 | symbol; 0: the code is longer                   */
    int32_t limit[18];                           /* [length]: first 16-bit prefix above the codes of that length  */
    int32_t base[17];                            /* [length]: index of its first symbol minus its first code      */
    uint8_t symbol[256];
} hone_jpeg_huffman;

/* One component: its sampling, its tables, its plane (blocks of whole MCUs). */
typedef struct hone_jpeg_component {
    int id, h, v, quant, dc, ac;
    int width, height; /* samples that count                                                          */
    uint8_t *plane;    /* (rows, stride)                                                              */
    ptrdiff_t stride;
} hone_jpeg_component;

typedef struct hone_jpeg_frame {
    int height, width, components, mcus_wide, mcus_high;
    int restart;               /* MCUs between restart markers; 0: none                              */
    const uint8_t *data, *end; /* entropy-coded data up to the end of the file                       */
    uint8_t *clean;            /* room for them, and HONE_JPEG_SPARE bytes more                        */
    hone_jpeg_component component[3];
    bool quant_given[4];
    int32_t quant[4][HONE_JPEG_PLACES]; /* in zigzag order, zeros behind                                 */
    hone_jpeg_huffman dc[2], ac[2];
} hone_jpeg_frame;

typedef struct hone_jpeg_loops {
    /* All blocks of the scan into the planes. False: something is not as a plain, whole file has it. */
    bool (*blocks)(hone_jpeg_frame *f);
    /* n samples of a row to 2 n; `sum` (n) is scratch, `far` the row next nearest (libjpeg's "fancy upsampling"). */
    void (*widen)(const uint8_t *in, int n, uint8_t *out);
    void (*widen_both)(const uint8_t *near, const uint8_t *far, int n, uint16_t *sum, uint8_t *out);
    /* n pixels to rgb (n, 3) */
    void (*colour)(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int n, uint8_t *rgb);
} hone_jpeg_loops;

const hone_jpeg_loops *hone_jpeg_loops_pick(void); /* NULL: none that is quicker than a library        */
extern const hone_jpeg_loops hone_jpeg_loops_avx2;

/* --- resize -------------------------------------------------------------------------------------------------------- */
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

/* Position in a block (8, 8) of coefficient k of the stream; 64 behind them. */
extern const uint8_t hone_jpeg_natural[HONE_JPEG_PLACES];

#endif
