/* conv_plan.c - conv, conv_act, conv_dx, conv_dw: each by a library's plan, else by our own kernel.
 *
 * Contract: prepare asks, chooses and says its choice in node->choice; what the library has no plan for, and
 * depthwise convolutions (a library wants hundreds of MiB for their filter gradient), goes to conv.cu. Launch allocates
 * nothing after its first time and can't fail: a library's refusal is kept for the next sync. Scratch of conv_dw:
 * the gradient in the activations' type, where that is not fp32 or is to be added, then the plan's workspace; the bias
 * gradient's sums use it all once these are done. */
#include "conv_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "column_sum.h"
#include "conv_small.h"
#include "cuda.h"
#include "dnn.h"
#include "libraries.h"

enum { ALIGN = 256 }; /* of the workspace: libraries promise less for less; node->work is only 64-aligned */

/* Of one node. Our own kernel runs where plan is NULL. */
typedef struct conv_state {
    hone_dnn_plan *plan;
    hone_dnn_problem problem;
    size_t gradient_bytes; /* dw in the activations' type at the start of the scratch; 0: straight to dw */
    char choice[320];
} conv_state;

/* Up to the next border: for sizes and, as integers, for addresses. */
static size_t rounded(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

/* In the order of the op's tensors: x is the larger image, y the output's side. */
static hone_dnn_problem problem_of(const hone_graph *g, const hone_node *n)
{
    const bool dx = n->op == HONE_OP_conv_dx, dw = n->op == HONE_OP_conv_dw;
    const hone_tensor *x = &g->tensor[dx ? n->out[0] : n->in[0]], *y = &g->tensor[dx   ? n->in[0]
                                                                                  : dw ? n->in[1]
                                                                                       : n->out[0]];
    hone_dnn_problem p = {.kind = dx   ? HONE_DNN_CONV_DX
                                  : dw ? HONE_DNN_CONV_DW
                                       : HONE_DNN_CONV,
                          .dtype = g->tensor[n->in[0]].dtype,
                          .window = n->attr.window};
    p.n = x->dim[0], p.h = x->dim[1], p.w = x->dim[2], p.in = x->dim[3];
    p.oh = y->dim[1], p.ow = y->dim[2], p.out = y->dim[3];
    if (p.kind != HONE_DNN_CONV) return p;
    p.bias = n->in[2] != HONE_NONE;
    p.relu = n->op == HONE_OP_conv_act && n->attr.act == HONE_ACT_RELU;
    return p;
}

/* With bias and ReLU in the plan, else without them: then our epilogue adds what is missing. */
static hone_status find_plan(hone_backend *b, const hone_graph *g, conv_state *s, char *why, size_t why_bytes)
{
    const bool tensor_float = g->precision == HONE_PRECISION_TF32;
    HONE_TRY(hone_dnn_plan_for(b, &s->problem, tensor_float, &s->plan, why, why_bytes));
    if (s->plan || !(s->problem.bias || s->problem.relu)) return HONE_OK;
    hone_dnn_problem plain = s->problem;
    plain.bias = plain.relu = false;
    HONE_TRY(hone_dnn_plan_for(b, &plain, tensor_float, &s->plan, why, why_bytes));
    if (s->plan) s->problem = plain;
    return HONE_OK;
}

static hone_small_conv small_of(const hone_dnn_problem *p)
{
    return (hone_small_conv){p->window, p->n, p->h, p->w, p->in, p->oh, p->ow, p->out};
}

/* Whether conv_small.cu takes the gradient: launches of some 3 us, where a library's, for its conversions and its two
 * launches behind it, took 40 to 80 (LeNet on an H200). */
static bool small_gradient(const hone_dnn_problem *p)
{
    const hone_small_conv c = small_of(p);
    return p->kind == HONE_DNN_CONV_DX   ? hone_small_conv_dx_fits(&c)
           : p->kind == HONE_DNN_CONV_DW ? hone_small_conv_dw_fits(&c)
                                         : false;
}

/* NULL, or why a library is not even asked. */
static const char *own_rule(const hone_node *n, const hone_dnn_problem *p)
{
    if (n->out[0] == HONE_NONE) return "only a bias gradient"; /* conv_dw of a frozen weight: a sum of columns */
    if (p->window.groups > 1 && p->window.groups == p->in && hone_cuda_libraries_use() != HONE_CUDA_USE_ALL)
        return "depthwise";
    if (small_gradient(p) && hone_cuda_libraries_use() != HONE_CUDA_USE_ALL) return "small";
    return NULL;
}

/* Scratch of our own conv_dw, beside that of the bias gradient alone. */
static size_t own_bytes(const hone_node *n, const hone_dnn_problem *p)
{
    const hone_small_conv c = small_of(p);
    return n->op == HONE_OP_conv_dw && n->out[0] != HONE_NONE && hone_small_conv_dw_fits(&c)
               ? hone_small_conv_dw_bytes(&c)
               : 0;
}

/* Scratch and words of a plan. */
static void take_plan(const hone_graph *g, hone_node *n, conv_state *s)
{
    char plan[160];
    int64_t plan_bytes = hone_dnn_plan_work_bytes(s->plan);
    if (s->problem.kind == HONE_DNN_CONV_DW && (s->problem.dtype != HONE_F32 || n->accumulate))
        s->gradient_bytes =
            rounded((size_t)hone_tensor_count(&g->tensor[n->out[0]]) * hone_dtype_bytes(s->problem.dtype));
    n->work_bytes = s->gradient_bytes + (size_t)plan_bytes + ALIGN;
    hone_dnn_choice_text(hone_dnn_name(), hone_dnn_plan_candidate(s->plan), plan_bytes, plan, sizeof plan);
    const bool own_tail = s->problem.kind == HONE_DNN_CONV && (n->in[2] != HONE_NONE) > s->problem.bias;
    snprintf(s->choice, sizeof s->choice, "%s%s", plan, own_tail ? ", own bias" : "");
}

hone_status cuda_conv_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    char why[200] = "";
    conv_state *s = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for a convolution", b->name);
    n->state = s; /* release frees it, whatever happens below */
    n->choice = s->choice;
    s->problem = problem_of(g, n);
    /* From here on every way out leaves a choice that says what will run, and why not something better. */
    const hone_dnn_problem *p = &s->problem;
    const char *rule = own_rule(n, p);
    if (!rule) HONE_TRY(find_plan(b, g, s, why, sizeof why));
    if (s->plan) take_plan(g, n, s);
    else {
        n->work_bytes = own_bytes(n, p);
        snprintf(s->choice, sizeof s->choice, "own kernel: %s%s%s", rule ? rule : hone_dnn_name(), rule ? "" : ": ",
                 rule ? "" : why);
    }
    const bool db = n->op == HONE_OP_conv_dw && n->out[1] != HONE_NONE;
    const size_t sums = db ? hone_column_sum_bytes(p->n * p->oh * p->ow, p->out) : 0;
    if (sums > n->work_bytes) n->work_bytes = sums; /* db comes last and may have all of it */
    return HONE_OK;
}

/* After the last launch: the plan holds the library's descriptors, the state the text of the choice. */
void cuda_conv_release(hone_backend *b, hone_node *n)
{
    (void)b;
    conv_state *s = n->state;
    if (s) hone_dnn_plan_free(s->plan);
    free(s);
    n->state = NULL;
    n->choice = NULL; /* its text was in the state */
}

/* Bias and activation that the plan leaves out. */
static void epilogue(hone_backend *b, const hone_launch *l, const conv_state *s)
{
    const bool bias = l->in[2] && !s->problem.bias;
    hone_act act = l->node->op == HONE_OP_conv_act ? l->node->attr.act : HONE_ACT_NONE;
    if (s->problem.relu) act = HONE_ACT_NONE;
    if (bias || act != HONE_ACT_NONE)
        hone_cuda_bias_act(b, s->problem.dtype, l->out[0], bias ? l->in[2] : NULL, s->problem.out,
                           hone_tensor_count(l->out_desc[0]), act, l->node->attr.leaky.slope);
}

/* What is left of conv_dw: the sum into dw, and db by our own kernel, which leaves dw alone when it has none. */
static void finish_dw(hone_backend *b, const hone_launch *l, const conv_state *s, const void *gradient)
{
    if (s->gradient_bytes)
        hone_cuda_put_gradient(b, s->problem.dtype, gradient, l->out[0], hone_tensor_count(l->out_desc[0]),
                               l->node->accumulate);
    hone_launch only_db = *l;
    only_db.out[0] = NULL;
    if (l->out[1]) cuda_conv_dw(b, &only_db);
}

/* Operands by what they are, whichever side is written: x the image, y the output, w the filters. */
static void launch_plan(hone_backend *b, const hone_launch *l, conv_state *s)
{
    char *work = (char *)rounded((size_t)l->work);
    void *pointer[HONE_DNN_UID_COUNT] = {0};
    switch (s->problem.kind) {
    case HONE_DNN_CONV_DX:
        pointer[HONE_DNN_Y] = l->in[0], pointer[HONE_DNN_W] = l->in[1], pointer[HONE_DNN_X] = l->out[0];
        break;
    case HONE_DNN_CONV_DW:
        pointer[HONE_DNN_X] = l->in[0], pointer[HONE_DNN_Y] = l->in[1];
        pointer[HONE_DNN_W] = s->gradient_bytes ? (void *)work : l->out[0];
        break;
    default:
        pointer[HONE_DNN_X] = l->in[0], pointer[HONE_DNN_W] = l->in[1], pointer[HONE_DNN_BIAS] = l->in[2];
        pointer[HONE_DNN_Y] = l->out[0];
    }
    hone_dnn *dnn = hone_cuda_libraries_of(b)->dnn;
    b->launched++; /* counted like a kernel */
    /* The tail is queued in any case: a step has no way to stop, and the sync that follows reports the failure. */
    if (hone_dnn_execute(dnn, s->plan, pointer, work + s->gradient_bytes) != HONE_OK)
        hone_cuda_library_failed(b, hone_error_message());
    if (s->problem.kind == HONE_DNN_CONV) epilogue(b, l, s);
    if (s->problem.kind == HONE_DNN_CONV_DW) finish_dw(b, l, s, work);
}

/* One branch a launch; everything else was decided in prepare. */
void cuda_conv_launch(hone_backend *b, const hone_launch *l)
{
    conv_state *s = l->node->state;
    if (s && s->plan) launch_plan(b, l, s);
    else if (l->node->op == HONE_OP_conv_dx) cuda_conv_dx(b, l);
    else if (l->node->op == HONE_OP_conv_dw) cuda_conv_dw(b, l);
    else if (l->node->op == HONE_OP_conv_act) cuda_conv_act(b, l);
    else cuda_conv(b, l);
}
