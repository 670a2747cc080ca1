/* conv.h - the plan of one convolution node and the algorithms that can carry it out.
 *
 * A plan is made in prepare from shape, thread count and instruction set alone, and is constant
 * afterwards. Every algorithm has the same three directions (forward, dx, dw); x (N, H, W, I),
 * w (O, kh, kw, I/g), y (N, OH, OW, O). */
#ifndef HONE_KERNELS_CPU_CONV_H
#define HONE_KERNELS_CPU_CONV_H

#include "cpu/gemm.h"

typedef enum hone_cpu_direction { HONE_CPU_FORWARD, HONE_CPU_DX, HONE_CPU_DW } hone_cpu_direction;

typedef struct hone_cpu_conv {
    const hone_cpu_gemm *gemm;
    const struct hone_cpu_conv_rows *rows;
    const struct hone_cpu_conv_method *method;
    hone_cpu_isa isa;
    hone_cpu_direction direction;
    hone_window window;
    int64_t N, H, W, I, OH, OW, O; /* images, input and output sizes            */
    int64_t Ig, Og;                /* channels of one group                     */
    int64_t K;                     /* kh * kw * I/g: inner dimension            */
    int parts;                     /* threads                                   */
    int64_t block[4];              /* the method's own tiling                   */
    size_t part_bytes;             /* scratch of one part, after shared_bytes   */
    size_t shared_bytes;           /* scratch of all parts: packed weights ...  */
} hone_cpu_conv;

/* Between images and matrices of windows, per instruction set; tap = r*kw + s, q = channel group. */
typedef struct hone_cpu_conv_rows {
    /* The inputs of taps [t0, t1) for pixels [p0, p1) of (N, OH, OW): rows (p1 - p0, (t1 - t0) * I/g), row stride
     * ld; places outside the image give 0. Writes up to a vector past a row's end. */
    void (*gather)(const hone_cpu_conv *c, const float *x, int64_t p0, int64_t p1, int64_t t0, int64_t t1, int64_t q,
                   float *rows, int64_t ld);
    /* The reverse for pixels of one image (OH, OW): adds the rows to image (H, W, I). */
    void (*scatter)(const hone_cpu_conv *c, float *image, int64_t p0, int64_t p1, int64_t t0, int64_t t1, int64_t q,
                    const float *rows, int64_t ld);
} hone_cpu_conv_rows;

extern const hone_cpu_conv_rows hone_cpu_conv_rows_base, hone_cpu_conv_rows_avx2, hone_cpu_conv_rows_avx512;

/* What one launch reads and writes; unused pointers are NULL. */
typedef struct hone_cpu_conv_io {
    const hone_cpu_conv *plan;
    const float *x, *dy; /* (N, H, W, I), (N, OH, OW, O) */
    const float *w;      /* (O, kh, kw, I/g)             */
    float *y, *dx;       /* shaped like dy, x            */
    float *dw, *db;      /* (O, kh, kw, I/g), (O)        */
    bool add;            /* dw, db += rather than =      */
    hone_cpu_epilogue epilogue;
    const hone_backend *backend;
    char *work;
} hone_cpu_conv_io;

typedef struct hone_cpu_conv_method {
    const char *choice;
    void (*plan)(hone_cpu_conv *c);             /* fills block, part_bytes, shared_bytes */
    void (*run[3])(const hone_cpu_conv_io *io); /* by direction                          */
} hone_cpu_conv_method;

extern const hone_cpu_conv_method hone_cpu_conv_product;  /* 1x1, stride 1: one matrix product      */
extern const hone_cpu_conv_method hone_cpu_conv_implicit; /* any shape: rows gathered block by block */

extern const hone_cpu_conv_method hone_cpu_conv_direct;    /* forward of few input channels            */
extern const hone_cpu_conv_method hone_cpu_conv_depthwise; /* one channel a group, up to 64 taps        */
extern const hone_cpu_conv_method hone_cpu_conv_winograd;  /* 3x3, stride 1, pad 0..2 equal both ways */

/* The part's own scratch. */
static inline float *hone_cpu_conv_scratch(const hone_cpu_conv_io *io, int part)
{
    return (float *)(io->work + io->plan->shared_bytes + (size_t)part * io->plan->part_bytes);
}

/* out (count) [+]= sum of `parts` partial arrays, in order, each `stride` floats after the one before. */
void hone_cpu_reduce(const hone_cpu_conv_io *io, const float *partial, int64_t stride, int parts, float *out,
                     int64_t count);

#endif
