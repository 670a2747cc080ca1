/* linear.c - linear layers and their gradients as matrix products, activation and bias fused.
 *
 * Weights stay (O, I) and are packed anew at each launch: they change every step, and packing costs
 * a few per cent of the product. Exact on small integers like ref. */
#include "cpu/gemm.h"
#include "cpu/dense.h"

/* (rows, columns) of a tensor with all leading axes folded */
static int64_t width(const hone_tensor *t) { return t->dim[t->rank - 1]; }
/* all axes but the last, folded */
static int64_t height(const hone_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i < t->rank - 1; i++) rows *= t->dim[i];
    return rows;
}

/* The inner dimension k and the columns n of each product, for its work memory. */
hone_status hone_cpu_linear_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_cpu_gemm *gemm = hone_cpu_gemm_pick();
    const hone_tensor *second = &g->tensor[n->in[1]];
    const hone_tensor *first = &g->tensor[n->in[0]];
    /* operand b is (k, n): w turned forward, w for dx, x for dw */
    switch (n->op) {
    case HONE_OP_linear_dw: n->work_bytes = hone_cpu_product_bytes(gemm, width(first), height(first)); break;
    case HONE_OP_linear_dx:
    case HONE_OP_linear_dx_act: n->work_bytes = hone_cpu_product_bytes(gemm, width(second), height(second)); break;
    default: n->work_bytes = hone_cpu_product_bytes(gemm, height(second), width(second)); break;
    }
    n->state = (void *)(uintptr_t)gemm; /* a constant table: nothing to release */
    n->choice = "gemm";
    return HONE_OK;
}

/* y (M, O) = act(x (M, I) w^T + b) */
void hone_cpu_linear(hone_backend *b, const hone_launch *l)
{
    bool act = l->node->op == HONE_OP_linear_act;
    hone_cpu_product p = {
        .gemm = l->node->state,
        .m = height(l->in_desc[0]),
        .n = height(l->in_desc[1]),
        .k = width(l->in_desc[0]),
        .a = l->in[0], /* x (M, I) */
        .b = l->in[1], /* w (O, I) */
        .b_turned = true,
        .c = l->out[0], /* y (M, O) */
        .panels = l->work,
        .epilogue = {.bias = l->in[2],
                     .act = act ? l->node->attr.act : HONE_ACT_NONE,
                     .slope = l->node->attr.leaky.slope},
    };
    hone_cpu_product_run(b, &p);
}

/* dx (M, I) = act'(y below) * (dy (M, O) w) */
void hone_cpu_linear_dx(hone_backend *b, const hone_launch *l)
{
    bool act = l->node->op == HONE_OP_linear_dx_act;
    hone_cpu_product p = {
        .gemm = l->node->state,
        .m = height(l->in_desc[0]),
        .n = width(l->in_desc[1]),
        .k = width(l->in_desc[0]),
        .a = l->in[0],  /* dy (M, O) */
        .b = l->in[1],  /* w (O, I)  */
        .c = l->out[0], /* dx (M, I) */
        .panels = l->work,
        .epilogue = {.act = act ? l->node->attr.act : HONE_ACT_NONE,
                     .slope = l->node->attr.leaky.slope,
                     .below = act ? l->in[2] : NULL},
    };
    hone_cpu_product_run(b, &p);
}

/* dw (O, I) = dy^T x and db (O) = column sums of dy, in one walk over dy */
void hone_cpu_linear_dw(hone_backend *b, const hone_launch *l)
{
    hone_cpu_product p = {
        .gemm = l->node->state,
        .m = width(l->in_desc[1]),
        .n = width(l->in_desc[0]),
        .k = height(l->in_desc[0]),
        .a = l->in[1], /* dy (M, O) */
        .a_turned = true,
        .b = l->in[0],  /* x (M, I)  */
        .c = l->out[0], /* dw (O, I) */
        .column_sum = l->out[1],
        .add = l->node->accumulate,
        .panels = l->work,
    };
    hone_cpu_product_run(b, &p);
}
