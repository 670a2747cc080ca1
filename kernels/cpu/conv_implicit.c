/* conv_implicit.c - convolution of any shape as matrix products over gathered rows.
 *
 * The (pixels, taps * channels) matrix of im2col never exists: a block of it that fits L2 is gathered,
 * multiplied at once and overwritten. Taps go in blocks too, so that long rows do not make blocks low.
 * dx runs the product first and scatters (col2im): no multiplication by the zeros of a strided or padded
 * gradient. dw sums over pixels: each part owns a range of them and a partial dw, added up in order. */
#include "cpu/conv.h"

#include <string.h>

enum {
    BLOCK_FLOATS = 64 * 1024, /* gathered block: 256 KiB of L2                       */
    TAP_FLOATS = 1024,        /* longest row of a block, unless one tap is longer    */
    PIXELS_MOST = 1024,
    PARTIAL_FLOATS = 24 * 1024 * 1024, /* all partial dw together: 96 MiB                     */
};
enum { PIXELS, TAPS, LD, SUM_PARTS }; /* names of plan->block[] */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t round_up(int64_t a, int64_t unit) { return (a + unit - 1) / unit * unit; }
/* Panels that n columns of an operand b take. */
static int64_t panel_count(const hone_cpu_gemm *g, int64_t n) { return (n + g->cols - 1) / g->cols; }
static int64_t tap_count(const hone_cpu_conv *c) { return (int64_t)c->window.kernel[0] * c->window.kernel[1]; }

/* dx packs every block of taps into panels of its own, since a block need not be whole panels wide. */
static int64_t dx_block_panels(const hone_cpu_conv *c) { return panel_count(c->gemm, c->block[TAPS] * c->Ig); }
/* All of them for one group; the last block may leave some unused. */
static int64_t dx_panels(const hone_cpu_conv *c)
{
    return (tap_count(c) + c->block[TAPS] - 1) / c->block[TAPS] * dx_block_panels(c);
}

/* --- plan ----------------------------------------------------------------------------------------------- */
static void plan(hone_cpu_conv *c)
{
    /* taps in equal blocks: a short last one would run at half speed */
    int64_t most = max64(1, TAP_FLOATS / c->Ig), blocks = (tap_count(c) + most - 1) / most, rows = c->gemm->rows;
    int64_t taps = (tap_count(c) + blocks - 1) / blocks;
    /* odd multiples of a cache line: rows of a tile must not share one cache set */
    int64_t ld = (round_up(taps * c->Ig, c->gemm->cols) / 16 | 1) * 16;
    if (ld < taps * c->Ig + 16) ld += 32;
    int64_t pixels = min64(PIXELS_MOST, BLOCK_FLOATS / ld) / rows * rows;
    c->block[TAPS] = taps;
    c->block[LD] = ld;
    c->block[PIXELS] = max64(pixels, rows);
    size_t part = (size_t)(c->block[PIXELS] * ld + 64); /* rows are written by whole vectors */
    /* What all parts read: packed weights forward and for dx, the partial sums of dw. */
    size_t shared = 0, groups = (size_t)c->window.groups, cols = (size_t)c->gemm->cols;
    switch (c->direction) {
    case HONE_CPU_FORWARD: shared = groups * (size_t)(panel_count(c->gemm, c->Og) * c->K) * cols; break;
    case HONE_CPU_DX: shared = groups * (size_t)(dx_panels(c) * c->Og) * cols; break;
    default: /* partial sums, dw then db */
             /* as many partial sums as memory allows, a divisor of parts; the others share by output channels */
        c->block[SUM_PARTS] = min64(c->parts, max64(1, PARTIAL_FLOATS / (c->O * (c->K + 1))));
        while (c->parts % c->block[SUM_PARTS]) c->block[SUM_PARTS]--;
        shared = (size_t)(c->block[SUM_PARTS] * round_up(c->O * (c->K + 1), 16));
        break;
    }
    c->part_bytes = (size_t)round_up((int64_t)(part * sizeof(float)), 64);
    c->shared_bytes = (size_t)round_up((int64_t)(shared * sizeof(float)), 64);
}

/* --- forward --------------------------------------------------------------------------------------------- */
/* w (O, K) is operand b turned: column o of group q is row q Og + o of w. Panels are shared out evenly. */
static void pack_forward(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int64_t each = panel_count(c->gemm, c->Og), first, last;
    hone_cpu_share(each * c->window.groups, part, parts, &first, &last);
    for (int64_t j = first; j < last; j++) { /* panel j % each of group j / each */
        int64_t q = j / each;
        c->gemm->pack_turned(j % each, j % each + 1, c->Og, c->K, io->w + q * c->Og * c->K, c->K,
                             (float *)io->work + q * each * c->gemm->cols * c->K);
    }
}

/* Pixels [p0, p1) of y: per group and block of taps gather, multiply, add; bias and activation at the end,
 * while the rows of y are still in L1 or L2. */
static void forward_block(const hone_cpu_conv_io *io, int64_t p0, int64_t p1, float *rows)
{
    const hone_cpu_conv *c = io->plan;
    int64_t cols = c->gemm->cols, panel = c->K * cols, ld = c->block[LD], taps = tap_count(c);
    float *y = io->y + p0 * c->O;
    for (int64_t q = 0; q < c->window.groups; q++) {
        const float *b = (const float *)io->work + q * panel_count(c->gemm, c->Og) * panel;
        for (int64_t t0 = 0; t0 < taps; t0 += c->block[TAPS]) {
            int64_t t1 = min64(t0 + c->block[TAPS], taps);
            c->rows->gather(c, io->x, p0, p1, t0, t1, q, rows, ld);
            c->gemm->rows_by_panels(p1 - p0, c->Og, (t1 - t0) * c->Ig, rows, ld, b + t0 * c->Ig * cols, cols, panel,
                                    y + q * c->Og, c->O, t0 > 0);
        }
    }
    c->gemm->finish(&io->epilogue, p1 - p0, c->O, y, c->O);
}

/* The part's share of all N*OH*OW pixels. Blocks cross rows and images freely: gather finds its place. */
static void forward_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int64_t p, end;
    hone_cpu_share(c->N * c->OH * c->OW, part, parts, &p, &end);
    for (; p < end; p += c->block[PIXELS])
        forward_block(io, p, min64(p + c->block[PIXELS], end), hone_cpu_conv_scratch(io, part));
}

/* Weights are packed by all threads first: each then reads panels that others packed. */
static void forward(const hone_cpu_conv_io *io)
{
    hone_cpu_parallel(io->backend, io->plan->parts, pack_forward, (void *)(uintptr_t)io);
    hone_cpu_parallel(io->backend, io->plan->parts, forward_part, (void *)(uintptr_t)io);
}

/* --- dx ---------------------------------------------------------------------------------------------------- */
/* w (O, K) is operand b as it lies: rows o, columns (tap, channel). */
static void pack_dx(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int64_t each = dx_panels(c), in_block = dx_block_panels(c), first, last;
    hone_cpu_share(each * c->window.groups, part, parts, &first, &last);
    for (int64_t j = first; j < last; j++) {
        /* group, block of taps, panel within it */
        int64_t q = j / each, block = j % each / in_block, i = j % in_block;
        int64_t from = block * c->block[TAPS] * c->Ig, n = min64(c->block[TAPS] * c->Ig, c->K - from);
        if (i * c->gemm->cols >= n) continue; /* the last block is shorter */
        c->gemm->pack(i, i + 1, n, c->Og, io->w + q * c->Og * c->K + from, c->K,
                      (float *)io->work + (q * each + block * in_block) * c->gemm->cols * c->Og);
    }
}

/* Pixels [p0, p1) of image n: rows = dy w, a block of taps at a time, then scattered. */
static void dx_block(const hone_cpu_conv_io *io, int64_t n, int64_t p0, int64_t p1, float *rows)
{
    const hone_cpu_conv *c = io->plan;
    int64_t panel = c->Og * c->gemm->cols, ld = c->block[LD], taps = tap_count(c);
    float *image = io->dx + n * c->H * c->W * c->I;
    /* operand a as it lies: rows of O channels */
    const float *dy = io->dy + (n * c->OH * c->OW + p0) * c->O, *b = (const float *)io->work;
    for (int64_t q = 0; q < c->window.groups; q++)
        for (int64_t t0 = 0; t0 < taps; t0 += c->block[TAPS], b += dx_block_panels(c) * panel) {
            int64_t t1 = min64(t0 + c->block[TAPS], taps);
            /* whole vectors: the surplus is zero by the panels and has room in the row */
            int64_t columns = round_up((t1 - t0) * c->Ig, c->gemm->lanes);
            c->gemm->rows_by_panels(p1 - p0, columns, c->Og, dy + q * c->Og, c->O, b, c->gemm->cols, panel, rows, ld,
                                    0);
            c->rows->scatter(c, image, p0, p1, t0, t1, q, rows, ld);
        }
}

/* Parts own whole images, since windows overlap: two parts never add to the same place. */
static void dx_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int64_t n, end, pixels = c->OH * c->OW, size = c->H * c->W * c->I;
    hone_cpu_share(c->N, part, parts, &n, &end);
    for (; n < end; n++) {
        memset(io->dx + n * size, 0, (size_t)(size) * sizeof(float));
        for (int64_t p = 0; p < pixels; p += c->block[PIXELS])
            dx_block(io, n, p, min64(p + c->block[PIXELS], pixels), hone_cpu_conv_scratch(io, part));
    }
}

/* The gradient to x is a convolution with the filters turned and input and output channels swapped. */
static void dx(const hone_cpu_conv_io *io)
{
    hone_cpu_parallel(io->backend, io->plan->parts, pack_dx, (void *)(uintptr_t)io);
    hone_cpu_parallel(io->backend, io->plan->parts, dx_part, (void *)(uintptr_t)io);
}

/* --- dw ---------------------------------------------------------------------------------------------------- */
/* Floats from one partial sum to the next: dw (O, K), db (O), rounded to a cache line. */
static int64_t partial_stride(const hone_cpu_conv *c) { return round_up(c->O * (c->K + 1), 16); }

/* Adds pixels [p0, p1) to rows [o0, o1) of every group of a dw. */
static void dw_block(const hone_cpu_conv_io *io, int64_t p0, int64_t p1, int64_t o0, int64_t o1, float *rows, float *dw,
                     int add)
{
    const hone_cpu_conv *c = io->plan;
    int64_t ld = c->block[LD], taps = tap_count(c);
    for (int64_t q = 0; q < c->window.groups; q++)
        for (int64_t t0 = 0; t0 < taps; t0 += c->block[TAPS]) {
            int64_t t1 = min64(t0 + c->block[TAPS], taps), first = q * c->Og + o0;
            c->rows->gather(c, io->x, p0, p1, t0, t1, q, rows, ld);
            c->gemm->cols_by_panels(o1 - o0, (t1 - t0) * c->Ig, p1 - p0, io->dy + p0 * c->O + first, c->O, rows, ld,
                                    c->gemm->cols, dw + first * c->K + t0 * c->Ig, c->K, add);
        }
}

/* Part = (range of pixels, range of output channels). */
static void dw_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int sums = (int)c->block[SUM_PARTS], cut = parts / sums, s = part / cut;
    int64_t p, end, o0, o1;
    hone_cpu_share(c->N * c->OH * c->OW, s, sums, &p, &end);
    hone_cpu_share(c->Og, part % cut, cut, &o0, &o1);
    /* this range of pixels sums here */
    float *dw = (float *)io->work + s * partial_stride(c), *db = dw + c->O * c->K;
    if (part % cut == 0) memset(db, 0, (size_t)(c->O) * sizeof(float));
    /* a part without pixels still contributes: zeros */
    if (p == end)
        for (int64_t q = 0; q < c->window.groups; q++)
            memset(dw + (q * c->Og + o0) * c->K, 0, (size_t)((o1 - o0) * c->K) * sizeof(float));
    for (int add = 0; p < end; p += c->block[PIXELS], add = 1) {
        int64_t p1 = min64(p + c->block[PIXELS], end);
        if (o1 > o0) dw_block(io, p, p1, o0, o1, hone_cpu_conv_scratch(io, part), dw, add);
        if (io->db && part % cut == 0) c->gemm->add_columns(p1 - p, c->O, io->dy + p * c->O, c->O, db);
    }
}

/* One sum of partial arrays, shared among threads by element. */
typedef struct reduction {
    const float *partial;
    float *out;
    int64_t stride, count;
    int parts;
    bool add;
} reduction;

/* Partial sums in the order of the parts, so the result is a function of their number alone. */
static void reduce_part(void *arg, int part, int parts)
{
    const reduction *r = arg;
    int64_t i, end;
    hone_cpu_share(r->count, part, parts, &i, &end);
    for (; i < end; i++) {
        float sum = r->add ? r->out[i] + r->partial[i] : r->partial[i];
        for (int s = 1; s < r->parts; s++) sum += r->partial[s * r->stride + i];
        r->out[i] = sum;
    }
}

/* partial (parts, stride) -> out (count), added in the order of parts. Small sums stay on one thread: starting
 * the crew would cost more. */
void hone_cpu_reduce(const hone_cpu_conv_io *io, const float *partial, int64_t stride, int parts, float *out,
                     int64_t count)
{
    reduction r = {partial, out, stride, count, parts, io->add};
    hone_cpu_parallel(io->backend, count < 32768 ? 1 : io->plan->parts, reduce_part, &r);
}

/* Partial sums first, then their sum; db rides in the same arrays. */
static void dw(const hone_cpu_conv_io *io)
{
    const hone_cpu_conv *c = io->plan;
    const float *partial = (const float *)io->work;
    int sums = (int)c->block[SUM_PARTS];
    hone_cpu_parallel(io->backend, c->parts, dw_part, (void *)(uintptr_t)io);
    hone_cpu_reduce(io, partial, partial_stride(c), sums, io->dw, c->O * c->K);
    if (io->db) hone_cpu_reduce(io, partial + c->O * c->K, partial_stride(c), sums, io->db, c->O);
}

const hone_cpu_conv_method hone_cpu_conv_implicit = {"implicit gemm", plan, {forward, dx, dw}};
