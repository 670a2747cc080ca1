/* depthwise.c - depthwise convolution and its gradients over threads.
 *
 * Rows of images are shared out; dw has one partial sum a part, added in order. The weights, (C, kh, kw)
 * in memory, are turned to (kh*kw, C) at each launch: they are small. Exact on small integers. */
#include "cpu/depthwise.h"

#include <string.h>

#include "cpu/conv.h"

/* The row functions of the instruction set that prepare chose. */
static const hone_cpu_depthwise_rows *row_functions(const hone_cpu_conv *c)
{
    const hone_cpu_depthwise_rows *const table[] = HONE_CPU_EACH(&hone_cpu_depthwise_rows);
    return table[c->isa];
}

/* Sizes of one image. */
static hone_cpu_depthwise shape(const hone_cpu_conv *c)
{
    return (hone_cpu_depthwise){c->window, c->H, c->W, c->OH, c->OW, c->O};
}

/* floats from one tap to the next in a partial dw, and in one partial with its db */
static int64_t tap_stride(const hone_cpu_conv *c) { return (c->O + HONE_CPU_DEPTHWISE_SLACK + 15) / 16 * 16; }
static int64_t partial_floats(const hone_cpu_conv *c) { return (c->K + 1) * tap_stride(c); }

/* dw: a partial sum a part, taps then db. Else: the turned weights and their slack. */
static void plan(hone_cpu_conv *c)
{
    size_t floats = c->direction == HONE_CPU_DW ? (size_t)(c->parts * partial_floats(c))
                                                : (size_t)(c->K * c->O + HONE_CPU_DEPTHWISE_SLACK);
    c->shared_bytes = (floats * sizeof(float) + 63) / 64 * 64;
}

/* (C, taps) to (taps, C), so that a tap is a vector of channels. */
static void turn_weights(const hone_cpu_conv_io *io)
{
    const hone_cpu_conv *c = io->plan;
    float *to = (float *)io->work;
    for (int64_t o = 0; o < c->O; o++)
        for (int64_t tap = 0; tap < c->K; tap++) to[tap * c->O + o] = io->w[o * c->K + tap];
    memset(to + c->K * c->O, 0, HONE_CPU_DEPTHWISE_SLACK * sizeof *to);
}

/* Rows of all images are shared out: they do not depend on one another. */
static void forward_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    hone_cpu_depthwise d = shape(c);
    int64_t row, end;
    hone_cpu_share(c->N * c->OH, part, parts, &row, &end);
    for (; row < end; row++) {
        int64_t n = row / c->OH;
        row_functions(c)->forward(&d, io->x + n * c->H * c->W * c->I, (const float *)io->work, row % c->OH,
                                  &io->epilogue, io->y + n * c->OH * c->OW * c->O);
    }
}

/* The same by rows of dx, each a sum over the outputs that read it: no scatter, no races. */
static void dx_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    hone_cpu_depthwise d = shape(c);
    int64_t row, end;
    hone_cpu_share(c->N * c->H, part, parts, &row, &end);
    for (; row < end; row++) {
        int64_t n = row / c->H;
        row_functions(c)->backward(&d, io->dy + n * c->OH * c->OW * c->O, (const float *)io->work, row % c->H,
                                   io->dx + n * c->H * c->W * c->I);
    }
}

static void forward(const hone_cpu_conv_io *io)
{
    turn_weights(io);
    hone_cpu_parallel(io->backend, io->plan->parts, forward_part, (void *)(uintptr_t)io);
}

static void dx(const hone_cpu_conv_io *io)
{
    turn_weights(io);
    hone_cpu_parallel(io->backend, io->plan->parts, dx_part, (void *)(uintptr_t)io);
}

/* The part's rows of dy against the inputs they read, into its own sum; db beside it. */
static void dw_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    hone_cpu_depthwise d = shape(c);
    float *dw = (float *)io->work + part * partial_floats(c);
    memset(dw, 0, (size_t)partial_floats(c) * sizeof *dw);
    int64_t row, end;
    hone_cpu_share(c->N * c->OH, part, parts, &row, &end);
    for (; row < end; row++) {
        int64_t n = row / c->OH;
        /* one row of dy: its products with x go to dw, its column sums to db */
        const float *dy = io->dy + n * c->OH * c->OW * c->O;
        row_functions(c)->weights(&d, io->x + n * c->H * c->W * c->I, dy, row % c->OH, dw, tap_stride(c));
        if (io->db) c->gemm->add_columns(c->OW, c->O, dy + row % c->OH * c->OW * c->O, c->O, dw + c->K * tap_stride(c));
    }
}

/* Sums of the parts in order, turned back to (C, taps) on the way out. */
static void dw(const hone_cpu_conv_io *io)
{
    const hone_cpu_conv *c = io->plan;
    /* the first partial becomes the total */
    float *sum = (float *)io->work;
    hone_cpu_parallel(io->backend, c->parts, dw_part, (void *)(uintptr_t)io);
    for (int part = 1; part < c->parts; part++) /* in order, into the first */
        for (int64_t i = 0; i < partial_floats(c); i++) sum[i] += sum[part * partial_floats(c) + i];
    for (int64_t o = 0; o < c->O; o++)
        for (int64_t tap = 0; tap < c->K; tap++) {
            float *to = io->dw + o * c->K + tap, from = sum[tap * tap_stride(c) + o];
            *to = io->add ? *to + from : from;
        }
    for (int64_t o = 0; io->db && o < c->O; o++)
        io->db[o] = (io->add ? io->db[o] : 0.0f) + sum[c->K * tap_stride(c) + o];
}

const hone_cpu_conv_method hone_cpu_conv_depthwise = {"depthwise", plan, {forward, dx, dw}};
