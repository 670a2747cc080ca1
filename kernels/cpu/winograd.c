/* winograd.c - 3x3 convolutions of stride 1 by F(4x4, 3x3): a quarter of the products.
 *
 * A block of tiles is transformed, multiplied slice by slice (36 small matrix products) and transformed
 * back while it lies in L2, so nothing but x, w and y meets memory. Two orders: by tiles (weights are
 * transformed once, each part owns tiles) and by outputs (tiles are transformed once, each part owns
 * output channels and transforms their weights as it goes: for small images with many channels, whose
 * 36 C O weights would not fit the cache). dw has the same two. Inexact: some 1e-6 of the norm. */
#include "cpu/winograd.h"

#include <string.h>

#include "cpu/conv.h"

enum {
    SLICES = 36,
    PAD_FLOATS = 16,          /* keeps slices and rows off equal cache sets                                  */
    WHOLE_TILES_MOST = 112,   /* by outputs only up to so many tiles                         */
    BLOCK_BYTES = 384 * 1024, /* transformed tiles of a block, half of L2 at the least       */
    OUTPUT_CHANNELS = 64,     /* of a block, by tiles                                        */
    DW_CHANNELS = 128,        /* inputs of a block of dw, by outputs                         */
    DW_STRIPS = 2,            /* strips of rows of outputs in such a block                   */
    DW_DEPTH = 56,            /* tiles of a block of dw, by tiles: inner dimension           */
    BY_TILES = 0,
    BY_OUTPUTS = 1
};
enum { ORDER, TILES, OUTPUTS }; /* names of plan->block[] */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t round_up(int64_t a, int64_t unit) { return (a + unit - 1) / unit * unit; }

/* The transforms of the instruction set that prepare chose. */
static const hone_cpu_winograd *transforms(const hone_cpu_conv *c)
{
    const hone_cpu_winograd *const table[] = HONE_CPU_EACH(&hone_cpu_winograd);
    return table[c->isa];
}

/* A convolution as this file sees it: forward, or dx as the forward of dy with turned weights. */
typedef struct shape {
    hone_cpu_tiles from, to; /* image read, image written; equal TH, TW                        */
    int64_t tiles;           /* of the whole batch                                              */
    int64_t K, O, panels;    /* channels read, channels written, panels of the latter           */
    int64_t row, out_row;    /* row strides of transformed tiles and of products                */
} shape;

/* dx reads dy with pad 2 - pad: the full correlation with the turned kernel. */
static shape look(const hone_cpu_conv *c)
{
    bool dx = c->direction == HONE_CPU_DX;
    int64_t H = dx ? c->H : c->OH, W = dx ? c->W : c->OW, TH = (H + 3) / 4, TW = (W + 3) / 4;
    shape s = {.tiles = c->N * TH * TW, .K = dx ? c->O : c->I, .O = dx ? c->I : c->O};
    s.from = (hone_cpu_tiles){dx ? c->OH : c->H, dx ? c->OW : c->W, s.K, TH, TW, c->window.pad[0]};
    if (dx) s.from.pad = 2 - c->window.pad[0];
    s.to = (hone_cpu_tiles){H, W, s.O, TH, TW, 0};
    s.panels = (s.O + c->gemm->cols - 1) / c->gemm->cols;
    s.row = round_up(s.K, 16) + PAD_FLOATS;
    s.out_row = c->block[OUTPUTS] + PAD_FLOATS;
    return s;
}

/* (tiles, channels) matrices by rows of `row` floats, 36 of them */
static hone_cpu_slices by_rows(float *at, int64_t tiles, int64_t row)
{
    return (hone_cpu_slices){at, tiles * row + PAD_FLOATS, INT64_MAX, 0, row};
}

/* the same in panels of `cols` channels, each (tiles, cols) */
static hone_cpu_slices by_panels(float *at, int64_t tiles, int64_t panels, int64_t cols)
{
    return (hone_cpu_slices){at, panels * tiles * cols + PAD_FLOATS, cols, tiles * cols, cols};
}

/* All 36 slices. */
static size_t floats(hone_cpu_slices s) { return (size_t)(SLICES * s.slice); }

/* --- forward and dx ------------------------------------------------------------------------------------- */
/* `panels` panels of transformed weights (K, cols), 36 slices of them */
static hone_cpu_slices weight_slices(const hone_cpu_conv *c, const shape *s, int64_t panels, float *at)
{
    return by_panels(at, s->K, panels, c->gemm->cols);
}

/* Order and block sizes, then the bytes of u (weights), v (tiles) and m (products). */
static void plan_correlation(hone_cpu_conv *c)
{
    shape s = look(c);
    int64_t cols = c->gemm->cols, rows = c->gemm->rows;
    /* few tiles and many weights: weights are used once a tile anyway, so they are made where used */
    bool whole = s.tiles <= WHOLE_TILES_MOST && s.panels >= c->parts && s.O * s.K >= 128 * 128;
    c->block[ORDER] = whole ? BY_OUTPUTS : BY_TILES;
    /* whole strips of the register tile, up to four, as L2 has room */
    int64_t strips = BLOCK_BYTES / (SLICES * rows * s.row * (int64_t)sizeof(float));
    c->block[TILES] = whole ? s.tiles : min64(s.tiles, rows * max64(1, min64(strips, 4)));
    c->block[OUTPUTS] = whole ? cols : round_up(min64(s.O, OUTPUT_CHANNELS), cols);
    s = look(c);
    size_t u = floats(weight_slices(c, &s, whole ? c->block[OUTPUTS] / cols : s.panels, NULL));
    size_t v = floats(by_rows(NULL, c->block[TILES], s.row)), m = floats(by_rows(NULL, c->block[TILES], s.out_row));
    c->shared_bytes = (whole ? v : u) * sizeof(float);
    c->part_bytes = ((whole ? u : v) + m) * sizeof(float);
}

/* Panels [first, last) of the weights to u; for dx with taps turned and roles swapped. */
static void transform_weights(const hone_cpu_conv_io *io, const shape *s, int64_t first, int64_t last,
                              hone_cpu_slices u)
{
    const hone_cpu_winograd *t = transforms(io->plan);
    if (io->plan->direction == HONE_CPU_DX) t->weights_turned(s->K, s->O, io->w, first, last, u);
    else t->weights(s->O, s->K, io->w, first, last, u);
}

/* Tiles [t0, t1), transformed in v, by outputs of panels [first, last), transformed in u: products in m, then out */
static void multiply(const hone_cpu_conv_io *io, const shape *s, int64_t t0, int64_t t1, int64_t first, int64_t last,
                     hone_cpu_slices v, hone_cpu_slices u, hone_cpu_slices m)
{
    const hone_cpu_conv *c = io->plan;
    int64_t cols = c->gemm->cols, o0 = first * cols, o1 = min64(last * cols, s->O);
    /* 36 products (tiles, K) (K, outputs), each a few panels wide */
    for (int i = 0; i < SLICES; i++)
        c->gemm->rows_by_panels(t1 - t0, o1 - o0, s->K, v.at + i * v.slice, v.step, u.at + i * u.slice, cols, u.panel,
                                m.at + i * m.slice, m.step, 0);
    transforms(c)->output(&s->to, m, t0, t1, o0, o1, &io->epilogue, c->direction == HONE_CPU_DX ? io->dx : io->y);
}

/* The image that tiles are read from. */
static const float *source(const hone_cpu_conv_io *io) { return io->plan->direction == HONE_CPU_DX ? io->dy : io->x; }

/* By tiles, first loop: the part's share of all transformed weights. */
static void weights_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    shape s = look(io->plan);
    hone_cpu_slices u = weight_slices(io->plan, &s, s.panels, (float *)io->work);
    int64_t first, last;
    hone_cpu_share(s.panels, part, parts, &first, &last);
    u.at += first * u.panel;
    transform_weights(io, &s, first, last, u);
}

/* By tiles, second loop: the part's tiles, block by block, through all output channels. */
static void tiles_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    shape s = look(c);
    int64_t t, end, block = c->block[TILES], step = c->block[OUTPUTS] / c->gemm->cols;
    hone_cpu_slices u = weight_slices(c, &s, s.panels, (float *)io->work);
    hone_cpu_slices v = by_rows(hone_cpu_conv_scratch(io, part), block, s.row);
    hone_cpu_slices m = by_rows(v.at + floats(v), block, s.out_row);
    hone_cpu_share(s.tiles, part, parts, &t, &end);
    for (; t < end; t += block) {
        int64_t t1 = min64(t + block, end);
        transforms(c)->input(&s.from, source(io), t, t1, v);
        for (int64_t j = 0; j < s.panels; j += step) {
            /* the same slices, from panel j on */
            hone_cpu_slices uj = u;
            uj.at += j * u.panel;
            multiply(io, &s, t, t1, j, min64(j + step, s.panels), v, uj, m);
        }
    }
}

/* By outputs, first loop: the part's share of all transformed tiles. */
static void input_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    shape s = look(io->plan);
    hone_cpu_slices v = by_rows((float *)io->work, s.tiles, s.row);
    int64_t t0, t1;
    /* rows of the shared array that this part fills */
    hone_cpu_share(s.tiles, part, parts, &t0, &t1);
    v.at += t0 * v.step;
    transforms(io->plan)->input(&s.from, source(io), t0, t1, v);
}

/* By outputs, second loop: the part's panels of weights are transformed and used at once. */
static void outputs_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    shape s = look(c);
    int64_t j, end;
    hone_cpu_slices v = by_rows((float *)io->work, s.tiles, s.row);
    hone_cpu_slices u = weight_slices(c, &s, 1, hone_cpu_conv_scratch(io, part));
    hone_cpu_slices m = by_rows(u.at + floats(u), s.tiles, s.out_row);
    hone_cpu_share(s.panels, part, parts, &j, &end);
    for (; j < end; j++) {
        transform_weights(io, &s, j, j + 1, u);
        multiply(io, &s, 0, s.tiles, j, j + 1, v, u, m);
    }
}

/* Forward and dx: two loops, the first shared by all readers of the second. */
static void correlate(const hone_cpu_conv_io *io)
{
    bool whole = io->plan->block[ORDER] == BY_OUTPUTS;
    hone_cpu_parallel(io->backend, io->plan->parts, whole ? input_part : weights_part, (void *)(uintptr_t)io);
    hone_cpu_parallel(io->backend, io->plan->parts, whole ? outputs_part : tiles_part, (void *)(uintptr_t)io);
}

/* --- dw ---------------------------------------------------------------------------------------------------- */
typedef struct dw_shape {
    hone_cpu_tiles from, dy; /* x seen as 6x6 tiles, dy as 4x4 tiles */
    int64_t tiles, panels, dy_row, partial;
} dw_shape;

/* Both images in tiles of the same grid. */
static dw_shape look_dw(const hone_cpu_conv *c)
{
    int64_t TH = (c->OH + 3) / 4, TW = (c->OW + 3) / 4;
    dw_shape s = {.tiles = c->N * TH * TW};
    s.from = (hone_cpu_tiles){c->H, c->W, c->I, TH, TW, c->window.pad[0]};
    s.dy = (hone_cpu_tiles){c->OH, c->OW, c->O, TH, TW, 0};
    s.panels = (c->I + c->gemm->cols - 1) / c->gemm->cols;
    s.dy_row = round_up(c->O, 16) + PAD_FLOATS;
    s.partial = round_up(c->O * (c->block[ORDER] == BY_TILES ? c->K + 1 : 1), 16);
    return s;
}

/* transformed x and dy of `tiles` tiles, one after the other */
static void dw_slices(const hone_cpu_conv *c, const dw_shape *s, int64_t tiles, float *at, hone_cpu_slices *x,
                      hone_cpu_slices *dy)
{
    *x = by_panels(at, tiles, s->panels, c->gemm->cols);
    *dy = by_rows(at ? at + floats(*x) : NULL, tiles, s->dy_row);
}

/* Sums over tiles: all of (O, I) by tiles, a block of it by outputs. */
static hone_cpu_slices dw_products(const hone_cpu_conv *c, float *at)
{
    bool whole = c->block[ORDER] == BY_OUTPUTS;
    int64_t channels = round_up(c->I, 16);
    return whole ? by_rows(at, DW_STRIPS * c->gemm->rows, min64(channels, DW_CHANNELS) + PAD_FLOATS)
                 : by_rows(at, c->O, channels + PAD_FLOATS);
}

/* Order by what must be kept, then the bytes. */
static void plan_dw(hone_cpu_conv *c)
{
    dw_shape s = look_dw(c);
    /* what each order must keep: a product array a part, or all transformed tiles */
    bool whole = 2 * c->parts * c->O * c->I >= s.tiles * (c->O + c->I);
    c->block[ORDER] = whole ? BY_OUTPUTS : BY_TILES;
    c->block[TILES] = whole ? s.tiles : min64(s.tiles, DW_DEPTH);
    s = look_dw(c);
    hone_cpu_slices x, dy;
    dw_slices(c, &s, c->block[TILES], NULL, &x, &dy);
    size_t tiles = floats(x) + floats(dy), sums = (size_t)(c->parts * s.partial);
    c->shared_bytes = (sums + (whole ? tiles : 0)) * sizeof(float);
    c->part_bytes = (floats(dw_products(c, NULL)) + (whole ? 0 : tiles)) * sizeof(float);
}

/* db of the part's share of pixels */
static void bias_part(const hone_cpu_conv_io *io, int part, int parts, float *db)
{
    const hone_cpu_conv *c = io->plan;
    int64_t p0, p1;
    if (!io->db) return;
    hone_cpu_share(c->N * c->OH * c->OW, part, parts, &p0, &p1);
    memset(db, 0, (size_t)c->O * sizeof *db);
    c->gemm->add_columns(p1 - p0, c->O, io->dy + p0 * c->O, c->O, db);
}

/* By tiles: the part's tiles into its own product array, which becomes its partial dw. */
static void dw_tiles_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    const hone_cpu_winograd *w = transforms(c);
    dw_shape s = look_dw(c);
    float *partial = (float *)io->work + part * s.partial;
    hone_cpu_slices x, dy, m = dw_products(c, hone_cpu_conv_scratch(io, part));
    dw_slices(c, &s, c->block[TILES], m.at + floats(m), &x, &dy);
    int64_t t0, t, end;
    hone_cpu_share(s.tiles, part, parts, &t0, &end);
    for (t = t0; t < end; t += c->block[TILES]) {
        int64_t t1 = min64(t + c->block[TILES], end);
        w->input(&s.from, io->x, t, t1, x);
        w->gradient(&s.dy, io->dy, t, t1, dy);
        for (int i = 0; i < SLICES; i++)
            c->gemm->cols_by_panels(c->O, c->I, t1 - t, dy.at + i * dy.slice, dy.step, x.at + i * x.slice, x.step,
                                    x.panel, m.at + i * m.slice, m.step, t > t0);
    }
    if (t0 < end) w->dweights(c->I, m, 0, c->O, 0, c->I, partial, 0);
    else memset(partial, 0, (size_t)(c->O * c->K) * sizeof *partial);
    bias_part(io, part, parts, partial + c->O * c->K);
}

/* By outputs, first loop: all tiles of x and dy, and partial db. */
static void dw_transform_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    dw_shape s = look_dw(c);
    float *sums = (float *)io->work;
    hone_cpu_slices x, dy;
    dw_slices(c, &s, s.tiles, sums + c->parts * s.partial, &x, &dy);
    int64_t t0, t1;
    hone_cpu_share(s.tiles, part, parts, &t0, &t1);
    x.at += t0 * x.step;
    dy.at += t0 * dy.step;
    transforms(c)->input(&s.from, io->x, t0, t1, x);
    transforms(c)->gradient(&s.dy, io->dy, t0, t1, dy);
    bias_part(io, part, parts, sums + part * s.partial);
}

/* By outputs, second loop: blocks of (outputs, inputs), each summed over all tiles at once. */
static void dw_outputs_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    dw_shape s = look_dw(c);
    hone_cpu_slices x, dy, m = dw_products(c, hone_cpu_conv_scratch(io, part));
    dw_slices(c, &s, s.tiles, (float *)io->work + c->parts * s.partial, &x, &dy);
    int64_t o, end, strip = DW_STRIPS * c->gemm->rows;
    hone_cpu_share(c->O, part, parts, &o, &end);
    for (; o < end; o += strip)
        for (int64_t i0 = 0; i0 < c->I; i0 += DW_CHANNELS) {
            int64_t o1 = min64(o + strip, end), i1 = min64(i0 + DW_CHANNELS, c->I);
            /* dy turned (tiles, outputs) against x in panels (tiles, inputs): sums over tiles */
            for (int i = 0; i < SLICES; i++)
                c->gemm->cols_by_panels(o1 - o, i1 - i0, s.tiles, dy.at + i * dy.slice + o, dy.step,
                                        x.at + i * x.slice + i0 / x.width * x.panel, x.step, x.panel,
                                        m.at + i * m.slice, m.step, 0);
            transforms(c)->dweights(c->I, m, o, o1, i0, i1, io->dw, io->add);
        }
}

/* Both orders, then the sums over parts. */
static void dw(const hone_cpu_conv_io *io)
{
    const hone_cpu_conv *c = io->plan;
    dw_shape s = look_dw(c);
    const float *sums = (const float *)io->work;
    if (c->block[ORDER] == BY_OUTPUTS) {
        hone_cpu_parallel(io->backend, c->parts, dw_transform_part, (void *)(uintptr_t)io);
        hone_cpu_parallel(io->backend, c->parts, dw_outputs_part, (void *)(uintptr_t)io);
        if (io->db) hone_cpu_reduce(io, sums, s.partial, c->parts, io->db, c->O);
        return;
    }
    hone_cpu_parallel(io->backend, c->parts, dw_tiles_part, (void *)(uintptr_t)io);
    hone_cpu_reduce(io, sums, s.partial, c->parts, io->dw, c->O * c->K);
    if (io->db) hone_cpu_reduce(io, sums + c->O * c->K, s.partial, c->parts, io->db, c->O);
}

/* Whole cache lines, so that parts share none. */
static void plan(hone_cpu_conv *c)
{
    if (c->direction == HONE_CPU_DW) plan_dw(c);
    else plan_correlation(c);
    c->shared_bytes = (size_t)round_up((int64_t)c->shared_bytes, 64);
    c->part_bytes = (size_t)round_up((int64_t)c->part_bytes, 64);
}

const hone_cpu_conv_method hone_cpu_conv_winograd = {"winograd 4x4", plan, {correlate, correlate, dw}};
