/* linear_plan.c - the rows linear, linear_act, linear_dx, linear_dx_act, linear_dw: the library or our own kernel.
 *
 * The rule (auto): our tile kernel where the whole product is at most OWN_MULTIPLY_ADDS, because there it is one launch
 * with bias, activation or gate in its store, and the library's set-up costs as much as the work; else cuBLASLt.
 * Epilogues: bias and ReLU in the product, GELU only in its tanh form (the library's), which also leaves what GELU read
 * and takes GELU's slope into dx where rows are of whole eights; other activations and the gate of dx are one pass of ours
 * after it; db comes with dw (BGRADB) unless the node adds to it. What the library refuses is asked for again without
 * epilogue, then goes to our kernel; node->choice says which and why. OWN_MULTIPLY_ADDS is estimated:
 * HONE_CUDA_LIBRARIES=own and =all measure it. Must not call CUDA. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "column_sum.h"
#include "cuda.h"
#include "libraries.h"
#include "linear.h"

enum { OWN_MULTIPLY_ADDS = 1 << 16, OWN_ROWS = 256 };

typedef struct linear_state {
    hone_blas_plan *plan;        /* NULL: our own kernel                                              */
    hone_blas_epilogue epilogue; /* what of bias and activation, or whether db, the plan holds */
    char choice[224];            /* node->choice points here                                          */
} linear_state;

typedef struct shape { /* of one node */
    int64_t rows, inputs, outputs;
} shape;

static const hone_tensor *in_of(const hone_graph *g, const hone_node *n, int k)
{
    return n->in[k] == HONE_NONE ? NULL : &g->tensor[n->in[k]];
}

static int64_t last_dim(const hone_tensor *t) { return t->dim[t->rank - 1]; }

/* x (.., I) and w (O, I), or dy (.., O) and w, or x and dy: all axes but the last are rows. */
static shape shape_of(const hone_graph *g, const hone_node *n, hone_blas_direction direction)
{
    const hone_tensor *first = in_of(g, n, 0), *second = in_of(g, n, 1);
    shape s = {.rows = last_dim(first) > 0 ? hone_tensor_count(first) / last_dim(first) : 0};
    s.inputs = direction == HONE_BLAS_DX ? second->dim[1] : last_dim(first);
    s.outputs = direction == HONE_BLAS_DW   ? last_dim(second)
                : direction == HONE_BLAS_DX ? last_dim(first)
                                            : second->dim[0];
    return s;
}

/* Says why our own kernel is taken: node->choice. */
static void take_own(hone_node *n, linear_state *s, const char *why)
{
    s->plan = NULL;
    s->epilogue = HONE_BLAS_PLAIN;
    snprintf(s->choice, sizeof s->choice, "own tile: %s", why);
    n->work_bytes = 0;
}

/* Plain sizes of our own kernel: the library's set-up would cost as much as the work. Our tiles add rows one behind the
 * other, so a gradient of few weights over many rows is the library's: 1,024 rows took 60 us on an H200. */
static bool is_small(const shape *s, hone_blas_direction direction)
{
    if (direction == HONE_BLAS_DW && s->rows > OWN_ROWS) return false;
    return s->rows * s->inputs < OWN_MULTIPLY_ADDS && s->rows * s->inputs * s->outputs <= OWN_MULTIPLY_ADDS;
}

/* One that does more than add a bias. */
static bool has_act(hone_blas_epilogue e) { return e != HONE_BLAS_PLAIN && e != HONE_BLAS_BIAS; }

/* Kernels of the library index rows and columns with int. */
static bool fits(int64_t dim) { return dim >= 1 && dim <= INT32_MAX; }

/* Makes the plan with that epilogue. What the library has no algorithm for is no error: then s->plan stays NULL and
 * `why` says it. A problem that our own check refuses is a bug of ours and must not end in a slower kernel. */
static hone_status try_plan(hone_backend *b, hone_blas_problem p, hone_blas_epilogue epilogue, linear_state *s,
                            char *why, size_t why_bytes)
{
    p.epilogue = s->epilogue = epilogue;
    hone_status status = hone_blas_plan_new(b, &p, &s->plan);
    if (status != HONE_ERR_RUNTIME) return status;
    snprintf(why, why_bytes, "%.160s", hone_error_message());
    hone_error_clear();
    return HONE_OK;
}

/* `epilogue`: what the row would like in the product. */
static hone_status plan_row(hone_backend *b, const hone_graph *g, hone_node *n, hone_blas_direction direction,
                            hone_blas_epilogue epilogue, linear_state *s)
{
    const shape size = shape_of(g, n, direction);
    const hone_tensor *x = in_of(g, n, 0), *out = &g->tensor[n->out[0]];
    hone_cuda_use use = hone_cuda_libraries_use();
    char why[192] = "";
    if (use == HONE_CUDA_USE_OWN) return take_own(n, s, "HONE_CUDA_LIBRARIES=own"), HONE_OK;
    if (use == HONE_CUDA_USE_AUTO && is_small(&size, direction)) return take_own(n, s, "a small product"), HONE_OK;
    if (!fits(size.rows) || !fits(size.inputs) || !fits(size.outputs))
        return take_own(n, s, "a dimension that is 0 or no int"), HONE_OK;
    hone_blas_problem p = hone_blas_linear(direction, size.rows, size.inputs, size.outputs, x->dtype, out->dtype);
    p.add = direction == HONE_BLAS_DW && n->accumulate;
    p.tf32 = g->precision == HONE_PRECISION_TF32 && x->dtype == HONE_F32;
    p.any_order = b->any_order;
    p.work_bytes_most = hone_cuda_libraries_of(b)->work_bytes_most;
    HONE_TRY(try_plan(b, p, epilogue, s, why, sizeof why));
    if (!s->plan && hone_blas_has_bias(epilogue) && epilogue != HONE_BLAS_BIAS)
        HONE_TRY(try_plan(b, p, HONE_BLAS_BIAS, s, why, sizeof why));
    bool rounds_first = hone_blas_has_bias(epilogue) && p.result != HONE_F32; /* 16 bits of y before its bias: never */
    if (!s->plan && epilogue != HONE_BLAS_PLAIN && !rounds_first)
        HONE_TRY(try_plan(b, p, HONE_BLAS_PLAIN, s, why, sizeof why));
    if (!s->plan) return take_own(n, s, why), HONE_OK;
    n->work_bytes = hone_blas_plan_work_bytes(s->plan);
    snprintf(s->choice, sizeof s->choice, "%s%s%s", hone_blas_plan_text(s->plan), why[0] ? "; epilogue refused: " : "",
             why);
    return HONE_OK;
}

static hone_status prepare(hone_backend *b, const hone_graph *g, hone_node *n, hone_blas_direction direction,
                           hone_blas_epilogue epilogue)
{
    linear_state *s = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ERR_MEMORY, NULL, "linear: out of memory");
    n->state = s; /* released by the caller if what follows fails */
    n->choice = s->choice;
    return plan_row(b, g, n, direction, epilogue, s);
}

/* The library's matrix beside D: CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD. */
static bool fits_aux(int64_t row) { return row % 8 == 0; }

/* As much of bias and activation as the library has; cuda_linear_finish does the rest. */
static hone_blas_epilogue forward_epilogue(const hone_graph *g, const hone_node *n)
{
    const hone_tensor *bias = in_of(g, n, 2), *w = in_of(g, n, 1);
    hone_act act = n->op == HONE_OP_linear_act ? n->attr.act : HONE_ACT_NONE;
    const bool keeps = act != HONE_ACT_NONE && n->out[1] != HONE_NONE;
    if (act == HONE_ACT_RELU && !keeps) return bias ? HONE_BLAS_RELU_BIAS : HONE_BLAS_RELU;
    if (act == HONE_ACT_GELU_TANH && !keeps) return bias ? HONE_BLAS_GELU_BIAS : HONE_BLAS_GELU;
    if (act == HONE_ACT_GELU_TANH && fits_aux(w->dim[0])) return bias ? HONE_BLAS_GELU_AUX_BIAS : HONE_BLAS_GELU_AUX;
    return bias ? HONE_BLAS_BIAS : HONE_BLAS_PLAIN;
}

hone_status cuda_linear_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    return prepare(b, g, n, HONE_BLAS_FORWARD, forward_epilogue(g, n));
}

/* Of gates the library has GELU's slope alone: ReLU's wants a bit mask of its own layout. */
hone_status cuda_linear_dx_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    bool gelu = n->op == HONE_OP_linear_dx_act && n->attr.act == HONE_ACT_GELU_TANH;
    bool takes = gelu && fits_aux(in_of(g, n, 1)->dim[1]);
    return prepare(b, g, n, HONE_BLAS_DX, takes ? HONE_BLAS_DGELU : HONE_BLAS_PLAIN);
}

/* A node that adds gets db by our column sums: the library would write it. */
hone_status cuda_linear_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    bool bias = n->out[1] != HONE_NONE;
    const shape size = shape_of(g, n, HONE_BLAS_DW);
    if (n->out[0] == HONE_NONE) n->choice = "own column sums"; /* a frozen weight with a bias that learns */
    else HONE_TRY(prepare(b, g, n, HONE_BLAS_DW, bias && !n->accumulate ? HONE_BLAS_BGRADB : HONE_BLAS_PLAIN));
    const linear_state *s = n->state;
    size_t sums = bias && !(s && s->epilogue == HONE_BLAS_BGRADB) ? hone_column_sum_bytes(size.rows, size.outputs) : 0;
    if (sums > n->work_bytes) n->work_bytes = sums; /* one after the other: they share it */
    return HONE_OK;
}

void cuda_linear_release(hone_backend *b, hone_node *n)
{
    (void)b;
    linear_state *s = n->state;
    if (s) hone_blas_plan_free(s->plan);
    free(s);
    n->state = NULL;
    n->choice = NULL;
}

/* --- launches ---------------------------------------------------------------------------------- */

/* A is w, B is x. Where an activation follows behind, the product lies in what it reads, if that is kept. */
static void forward(hone_backend *b, const hone_launch *l, void (*own)(hone_backend *, const hone_launch *))
{
    const linear_state *s = l->node->state;
    if (!s->plan) {
        own(b, l);
        return;
    }
    bool bias = hone_blas_has_bias(s->epilogue), act = l->node->op == HONE_OP_linear_act && !has_act(s->epilogue);
    void *aux = hone_blas_has_aux(s->epilogue) ? l->out[1] : NULL, *d = act && l->out[1] ? l->out[1] : l->out[0];
    hone_blas_run(b, s->plan, l->in[1], l->in[0], bias ? l->in[2] : NULL, aux, d, l->work);
    if (act || (l->in[2] && !bias)) cuda_linear_finish(b, l, !bias);
}

/* A is w, B is dy. */
static void backward_x(hone_backend *b, const hone_launch *l, void (*own)(hone_backend *, const hone_launch *))
{
    const linear_state *s = l->node->state;
    if (!s->plan) {
        own(b, l);
        return;
    }
    bool gated = s->epilogue == HONE_BLAS_DGELU;
    hone_blas_run(b, s->plan, l->in[1], l->in[0], NULL, gated ? l->in[2] : NULL, l->out[0], l->work);
    if (l->node->op == HONE_OP_linear_dx_act && !gated) cuda_linear_gate(b, l);
}

void cuda_linear(hone_backend *b, const hone_launch *l) { forward(b, l, cuda_own_linear); }
void cuda_linear_act(hone_backend *b, const hone_launch *l) { forward(b, l, cuda_own_linear_act); }
void cuda_linear_dx(hone_backend *b, const hone_launch *l) { backward_x(b, l, cuda_own_linear_dx); }
void cuda_linear_dx_act(hone_backend *b, const hone_launch *l) { backward_x(b, l, cuda_own_linear_dx_act); }

/* A is x, B is dy; in[0] is x here, in[1] dy. */
void cuda_linear_dw(hone_backend *b, const hone_launch *l)
{
    const linear_state *s = l->node->state;
    bool with_db = s && s->epilogue == HONE_BLAS_BGRADB;
    if (s && s->plan)
        hone_blas_run(b, s->plan, l->in[0], l->in[1], with_db ? l->out[1] : NULL, NULL, l->out[0], l->work);
    else if (l->out[0]) cuda_own_linear_dw(b, l);
    if (l->out[1] && !with_db) cuda_own_linear_db(b, l);
}
