/* conv.c - convolution rows: which algorithm carries out a node, decided once, by rule.
 *
 * The rule reads shape and instruction set only (two runs must choose alike) and is written to
 * node->choice; tests/bench shows that it is right. Must not compute anything itself. */
#include "cpu/conv.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/dense.h"
#include "cpu/depthwise.h"

/* HONE_CPU_CONV names a method for tests and the bench; it is obeyed where the method can do the shape. */
static bool forced(const char *method)
{
    const char *wanted = getenv("HONE_CPU_CONV");
    return wanted && strcmp(wanted, method) == 0;
}

/* Measured 5 % and more above gathering up to 128 channels; parts own whole images. */
static bool direct_pays(const hone_cpu_conv *c) { return c->I <= 128 && c->N >= c->parts && c->window.kernel[1] > 1; }

/* What F(4x4, 3x3) covers: 3x3, stride 1, no dilation; dx needs pad <= 2 to be a padded forward again. */
static bool winograd_can(const hone_cpu_conv *c)
{
    const hone_window *v = &c->window;
    for (int i = 0; i < 2; i++)
        if (v->kernel[i] != 3 || v->stride[i] != 1 || v->dilation[i] != 1 || v->pad[i] > 2) return false;
    return v->groups == 1 && v->pad[0] == v->pad[1];
}

/* Transforms cost per channel, products per pair of channels. */
static bool winograd_pays(const hone_cpu_conv *c) { return c->I >= 16 && c->O >= 16; }

/* One input and one output channel a group; the tap list of a pixel has a fixed size. */
static bool depthwise_can(const hone_cpu_conv *c)
{
    return c->window.groups > 1 && c->window.groups == c->I && c->I == c->O && c->K <= HONE_CPU_DEPTHWISE_TAPS;
}

/* Needs the taps of a kernel row to be neighbours in memory; other directions gain nothing by it. */
static bool direct_can(const hone_cpu_conv *c)
{
    return c->direction == HONE_CPU_FORWARD && c->window.dilation[1] == 1 && c->window.groups == 1;
}

/* The rule. Order matters: each line takes shapes that it is best at from those below. */
static const hone_cpu_conv_method *choose(const hone_cpu_conv *c)
{
    const hone_window *v = &c->window;
    bool point = v->kernel[0] == 1 && v->kernel[1] == 1 && !v->pad[0] && !v->pad[1];
    bool dense = v->stride[0] == 1 && v->stride[1] == 1 && v->groups == 1;
    if (!forced("implicit") && depthwise_can(c)) return &hone_cpu_conv_depthwise;
    if (point && dense) return &hone_cpu_conv_product;
    if (!forced("implicit") && winograd_can(c) && (forced("winograd") || winograd_pays(c)))
        return &hone_cpu_conv_winograd;
    if (!forced("implicit") && direct_can(c) && (forced("direct") || direct_pays(c))) return &hone_cpu_conv_direct;
    return &hone_cpu_conv_implicit;
}

/* Reads sizes from the node's tensors; x, w and y stand in different places in the three directions. */
static void describe(hone_cpu_conv *c, const hone_graph *g, const hone_node *n)
{
    bool dx = n->op == HONE_OP_conv_dx, dw = n->op == HONE_OP_conv_dw;
    const hone_tensor *x = &g->tensor[dx ? n->out[0] : n->in[0]], *w = &g->tensor[dw ? n->out[0] : n->in[1]];
    const hone_tensor *y = &g->tensor[dx ? n->in[0] : dw ? n->in[1] : n->out[0]];
    c->direction = dx ? HONE_CPU_DX : dw ? HONE_CPU_DW : HONE_CPU_FORWARD;
    c->window = n->attr.window;
    if (c->window.groups < 1) c->window.groups = 1;
    c->N = x->dim[0], c->H = x->dim[1], c->W = x->dim[2], c->I = x->dim[3];
    c->OH = y->dim[1], c->OW = y->dim[2], c->O = y->dim[3];
    c->Ig = w->dim[3];
    c->Og = c->O / c->window.groups;
    c->K = w->dim[1] * w->dim[2] * w->dim[3];
}

/* Makes the plan; the only step that can fail, by memory. */
hone_status hone_cpu_conv_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    hone_cpu_conv *c = calloc(1, sizeof *c);
    if (!c) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for the plan of a node", hone_op_name(n->op));
    describe(c, g, n);
    c->gemm = hone_cpu_gemm_pick();
    c->isa = hone_cpu_isa_pick();
    const hone_cpu_conv_rows *const rows[] = HONE_CPU_EACH(&hone_cpu_conv_rows);
    c->rows = rows[c->isa];
    /* threads by the work of the plain algorithm, whatever method will do it */
    c->parts = hone_cpu_parts(b, 2.0 * (double)(c->N * c->OH * c->OW) * (double)c->O * (double)c->K);
    c->method = choose(c);
    c->method->plan(c);
    /* shared scratch first, then one piece a part */
    n->work_bytes = c->shared_bytes + (size_t)c->parts * c->part_bytes;
    n->state = c;
    n->choice = c->method->choice;
    return HONE_OK;
}

void hone_cpu_conv_release(hone_backend *b, hone_node *n)
{
    (void)b;
    free(n->state);
    n->state = NULL;
}

/* Every launch ends here: the plan says who does the work. */
static void run(hone_backend *b, const hone_launch *l, hone_cpu_conv_io *io)
{
    io->plan = l->node->state;
    io->backend = b;
    io->work = l->work;
    io->plan->method->run[io->plan->direction](io);
}

/* Rows of y (N*OH*OW, O) through the activation alone */
static void curve_part(void *arg, int part, int parts)
{
    const hone_cpu_conv_io *io = arg;
    const hone_cpu_conv *c = io->plan;
    int64_t p0, p1;
    hone_cpu_share(c->N * c->OH * c->OW, part, parts, &p0, &p1);
    c->gemm->finish(&io->epilogue, p1 - p0, c->O, io->y + p0 * c->O, c->O);
}

/* conv and conv_act: in x (N, H, W, I), w (O, kh, kw, I/g), bias? (O); out y (N, OH, OW, O). Methods fuse bias
 * and what a comparison can do; curves cost so much that a pass of their own does not matter. */
void hone_cpu_conv_forward(hone_backend *b, const hone_launch *l)
{
    const hone_attrs *attr = &l->node->attr;
    hone_act act = l->node->op == HONE_OP_conv_act ? attr->act : HONE_ACT_NONE;
    bool curved = act > HONE_ACT_LEAKY_RELU; /* those before it are comparisons */
    hone_cpu_conv_io io = {.x = l->in[0], .w = l->in[1], .y = l->out[0]};
    io.epilogue =
        (hone_cpu_epilogue){.bias = l->in[2], .act = curved ? HONE_ACT_NONE : act, .slope = attr->leaky.slope};
    run(b, l, &io);
    if (!curved) return;
    io.epilogue = (hone_cpu_epilogue){.act = act};
    hone_cpu_parallel(io.backend, io.plan->parts, curve_part, &io);
}

/* in dy (N, OH, OW, O), w; out dx (N, H, W, I) */
void hone_cpu_conv_dx(hone_backend *b, const hone_launch *l)
{
    hone_cpu_conv_io io = {.dy = l->in[0], .w = l->in[1], .dx = l->out[0]};
    run(b, l, &io);
}

/* in x, dy; out dw (O, kh, kw, I/g), db? (O); added to where the node accumulates */
void hone_cpu_conv_dw(hone_backend *b, const hone_launch *l)
{
    hone_cpu_conv_io io = {.x = l->in[0], .dy = l->in[1], .dw = l->out[0], .db = l->out[1], .add = l->node->accumulate};
    run(b, l, &io);
}

/* --- 1x1 with stride 1: the image is the matrix (N*H*W, I) -------------------------------------------- */
/* The shape of the product; columns are what the result has as channels. */
static hone_cpu_product product_of(const hone_cpu_conv *c)
{
    int64_t pixels = c->N * c->H * c->W;
    switch (c->direction) {
    case HONE_CPU_FORWARD:
        return (hone_cpu_product){.gemm = c->gemm, .m = pixels, .n = c->O, .k = c->I, .b_turned = true};
    case HONE_CPU_DX: return (hone_cpu_product){.gemm = c->gemm, .m = pixels, .n = c->I, .k = c->O};
    default: return (hone_cpu_product){.gemm = c->gemm, .m = c->O, .n = c->I, .k = pixels, .a_turned = true};
    }
}

/* The product runs on as many parts as conv_prepare found: its work is that of the plain algorithm. */
static void product_plan(hone_cpu_conv *c)
{
    hone_cpu_product p = product_of(c);
    hone_cpu_product_plan(&p, c->parts);
    c->shared_bytes = hone_cpu_product_bytes(&p);
}

/* y = x w^T, dx = dy w, dw = dy^T x with pixels as rows: no copy of any image. */
static void product_run(const hone_cpu_conv_io *io)
{
    const hone_cpu_conv *c = io->plan;
    hone_cpu_product p = product_of(c);
    p.work = (float *)io->work;
    p.epilogue = io->epilogue;
    switch (c->direction) {
    case HONE_CPU_FORWARD: p.a = io->x, p.b = io->w, p.c = io->y; break;
    case HONE_CPU_DX: p.a = io->dy, p.b = io->w, p.c = io->dx; break;
    default: p.a = io->dy, p.b = io->x, p.c = io->dw, p.column_sum = io->db, p.add = io->add; break;
    }
    hone_cpu_product_plan(&p, c->parts);
    hone_cpu_product_run(io->backend, &p);
}

const hone_cpu_conv_method hone_cpu_conv_product = {"gemm", product_plan, {product_run, product_run, product_run}};
