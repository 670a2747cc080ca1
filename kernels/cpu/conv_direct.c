/* conv_direct.c - forward convolution of few input channels straight from the image.
 *
 * For neighbouring output pixels the windows are rows of a matrix whose row stride is stride * I: the image
 * itself is that matrix, in kh pieces. So nothing is gathered; each image is copied once into a frame of
 * zeros that saves every edge test. Exact on small integers. */
#include "cpu/conv.h"

#include <string.h>

/* The framed image: rows and columns that some window reads. */
typedef struct frame {
    int64_t h, w, floats;
} frame;

/* Pads both sides alike; windows never reach past it, since OH and OW were rounded down. */
static frame frame_of(const hone_cpu_conv *c)
{
    frame f = {c->H + 2 * c->window.pad[0], c->W + 2 * c->window.pad[1], 0};
    f.floats = f.h * f.w * c->I;
    return f;
}

/* Panels of the packed weights. */
static int64_t panel_count(const hone_cpu_conv *c) { return (c->O + c->gemm->cols - 1) / c->gemm->cols; }

/* Packed weights for all, one frame a part. */
static void plan(hone_cpu_conv *c)
{
    c->shared_bytes = (size_t)(panel_count(c) * c->gemm->cols * c->K) * sizeof(float);
    c->part_bytes = ((size_t)frame_of(c).floats * sizeof(float) + 63) / 64 * 64;
}

/* w (O, K) turned into panels of output channels. */
static void pack_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    int64_t first, last;
    hone_cpu_share(panel_count(io->plan), part, parts, &first, &last);
    io->plan->gemm->pack_turned(first, last, io->plan->O, io->plan->K, io->w, io->plan->K, (float *)io->work);
}

/* x (H, W, I) of one image into the middle of zeros. */
static void fill_frame(const hone_cpu_conv *c, const float *x, float *to)
{
    frame f = frame_of(c);
    const int64_t row = c->W * c->I, edge = c->window.pad[1] * c->I;
    memset(to, 0, (size_t)(c->window.pad[0] * f.w * c->I + edge) * sizeof *to);
    /* from here on: a row of x, then the right edge and the left one of the next row together */
    to += c->window.pad[0] * f.w * c->I + edge;
    for (int64_t h = 0; h < c->H; h++, x += row, to += row + 2 * edge) { /* right edge and the next left one */
        memcpy(to, x, (size_t)row * sizeof *to);
        memset(to + row, 0, (size_t)(h + 1 < c->H ? 2 * edge : edge) * sizeof *to);
    }
    memset(to - edge, 0, (size_t)(c->window.pad[0] * f.w * c->I) * sizeof *to);
}

/* Parts own images; a row of output pixels is one product with the frame as its left operand. */
static void forward_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    const hone_window *v = &c->window;
    const int64_t line = frame_of(c).w * c->I;
    float *framed = hone_cpu_conv_scratch(io, part);
    int64_t n, end;
    hone_cpu_share(c->N, part, parts, &n, &end);
    for (; n < end; n++) {
        fill_frame(c, io->x + n * c->H * c->W * c->I, framed);
        for (int64_t oh = 0; oh < c->OH; oh++) {
            /* row oh of image n: (OW, O) */
            float *y = io->y + (n * c->OH + oh) * c->OW * c->O;
            c->gemm->windows_by_panels(c->OW, c->O, v->kernel[0], v->kernel[1] * c->I,
                                       framed + oh * v->stride[0] * line, v->dilation[0] * line, v->stride[1] * c->I,
                                       (const float *)io->work, y, c->O);
            c->gemm->finish(&io->epilogue, c->OW, c->O, y, c->O);
        }
    }
}

/* Weights first: every part reads all of them. */
static void forward(const hone_cpu_conv_io *io)
{
    hone_cpu_parallel(io->backend, io->plan->parts, pack_part, (void *)(uintptr_t)io);
    hone_cpu_parallel(io->backend, io->plan->parts, forward_part, (void *)(uintptr_t)io);
}

const hone_cpu_conv_method hone_cpu_conv_direct = {"direct", plan, {forward, NULL, NULL}};
