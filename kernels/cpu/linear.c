/* linear.c - linear layers and their gradients as matrix products, activation and bias fused.
 *
 * Weights stay (O, I) and are packed anew at each launch: they change every step, and packing costs
 * a few per cent of the product. Exact on small integers like ref. */
#include <stdlib.h>

#include "cpu/gemm.h"
#include "cpu/dense.h"

enum { KEPT_ROWS = 256 }; /* beyond, packing is a fortieth of the product, and a second copy of w is not worth it */

/* (rows, columns) of a tensor with all leading axes folded */
static int64_t width(const hone_tensor *t) { return t->dim[t->rank - 1]; }
/* all axes but the last, folded */
static int64_t height(const hone_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i < t->rank - 1; i++) rows *= t->dim[i];
    return rows;
}

/* Halves of a forward product mix the rounding of two rows, which are samples: not in a program that predicts,
 * where the answer for a sample must depend on it alone. */
static bool trains(const hone_graph *g)
{
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i].phase == HONE_PHASE_BACKWARD) return true;
    return false;
}

/* Shapes by the first two inputs; operand b is w turned forward, w for dx, x for dw. */
static hone_cpu_product product_of(const hone_node *n, const hone_tensor *first, const hone_tensor *second)
{
    hone_cpu_product p = {.gemm = hone_cpu_gemm_pick(), .m = height(first), .k = width(first)};
    switch (n->op) {
    case HONE_OP_linear_dw: /* x (M, I), dy (M, O) */
        p.m = width(second), p.n = width(first), p.k = height(first);
        p.a_turned = true, p.add = n->accumulate, p.may_halve = true;
        break;
    case HONE_OP_linear_dx: /* dy (M, O), w (O, I) */
    case HONE_OP_linear_dx_act: p.n = width(second), p.may_halve = true; break;
    default: p.n = height(second), p.b_turned = true; break; /* x (M, I), w (O, I) */
    }
    return p;
}

/* The planned product, without its pointers, is what a launch starts from. */
typedef struct linear {
    hone_cpu_product product;
    hone_frozen *kept; /* NULL: w is packed by each launch */
    void *room;
} linear;

/* For few rows packing w costs as much as the product itself: where w stays as it is, it is packed once. */
static hone_status keep_weight(const hone_graph *g, const hone_node *n, linear *l)
{
    const hone_tensor *w = &g->tensor[n->in[1]];
    if (!g->frozen || !l->product.b_turned || l->product.m > KEPT_ROWS || w->role != HONE_ROLE_PARAM) return HONE_OK;
    size_t bytes = (size_t)hone_cpu_product_packed_floats(&l->product) * sizeof(float);
    l->room = g->frozen->room(g->frozen, w->name, bytes);
    if (!l->room) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory to pack it (%zu bytes)", w->name, bytes);
    l->kept = g->frozen;
    return HONE_OK;
}

hone_status hone_cpu_linear_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    linear *l = calloc(1, sizeof *l);
    if (!l) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for the plan of a node", hone_op_name(n->op));
    hone_cpu_product *p = &l->product;
    n->state = l;
    *p = product_of(n, &g->tensor[n->in[0]], &g->tensor[n->in[1]]);
    p->may_halve = p->may_halve || trains(g);
    hone_cpu_product_plan(p, hone_cpu_parts(b, 2.0 * (double)p->m * (double)p->n * (double)p->k));
    n->work_bytes = hone_cpu_product_bytes(p);
    n->choice = p->halved ? "strassen" : "gemm";
    return keep_weight(g, n, l);
}

void hone_cpu_linear_release(hone_backend *b, hone_node *n)
{
    (void)b;
    free(n->state);
    n->state = NULL;
}

static void pack(const void *product, void *panels) { hone_cpu_product_pack(product, panels); }

/* y (M, O) = act(h), h = x (M, I) w^T + b, which is kept where it is asked for */
void hone_cpu_linear(hone_backend *b, const hone_launch *l)
{
    bool act = l->node->op == HONE_OP_linear_act;
    const linear *s = l->node->state;
    hone_cpu_product p = s->product;
    p.a = l->in[0];  /* x (M, I) */
    p.b = l->in[1];  /* w (O, I) */
    p.c = l->out[0]; /* y (M, O) */
    p.work = l->work;
    if (s->kept) p.packed = s->kept->fill(s->kept, s->room, pack, &p);
    p.epilogue = (hone_cpu_epilogue){.bias = l->in[2],
                                     .act = act ? l->node->attr.act : HONE_ACT_NONE,
                                     .slope = l->node->attr.leaky.slope,
                                     .before = act ? l->out[1] : NULL};
    hone_cpu_product_run(b, &p);
}

/* dx (M, I) = act'(y below, or what the activation read) * (dy (M, O) w) */
void hone_cpu_linear_dx(hone_backend *b, const hone_launch *l)
{
    bool act = l->node->op == HONE_OP_linear_dx_act;
    hone_cpu_product p = ((const linear *)l->node->state)->product;
    p.a = l->in[0];  /* dy (M, O) */
    p.b = l->in[1];  /* w (O, I)  */
    p.c = l->out[0]; /* dx (M, I) */
    p.work = l->work;
    p.epilogue = (hone_cpu_epilogue){.act = act ? l->node->attr.act : HONE_ACT_NONE,
                                     .slope = l->node->attr.leaky.slope,
                                     .below = act ? l->in[2] : NULL};
    hone_cpu_product_run(b, &p);
}

/* dw (O, I) = dy^T x and db (O) = column sums of dy */
void hone_cpu_linear_dw(hone_backend *b, const hone_launch *l)
{
    hone_cpu_product p = ((const linear *)l->node->state)->product;
    p.a = l->in[1];  /* dy (M, O) */
    p.b = l->in[0];  /* x (M, I)  */
    p.c = l->out[0]; /* dw (O, I) */
    p.column_sum = l->out[1];
    p.work = l->work;
    hone_cpu_product_run(b, &p);
}
