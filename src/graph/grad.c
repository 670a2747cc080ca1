/* grad.c - the gradient rule of every row of ops.def, as a table.
 *
 * Rules read outputs where the derivative allows it (relu from y), so that pre-activations die early
 * and can be fused away. Weight gradients stand before input gradients: x of the layer may then die
 * before dx is made. Only what `need` asks for is appended: the first layer gets no conv_dx.
 *
 * Reading a row: RULE(linear, {linear_dw, {X(0), D}, {TO(1), TO(2)}}, ...) says that linear_dw of input 0
 * and of the output's gradient makes the gradients of inputs 1 and 2. PASS rows append nothing for the
 * inputs of their mask: a residual join hands one gradient tensor to both sides. The arithmetic of the
 * rules is in the kernels' comments; that they are right is shown by central differences in double. */
#include "graph/grad.h"

#include <string.h>

/* Where an input of a backward node comes from, and whose gradient an output is; 0 = absent. */
#define X(k)  (1 + (k))               /* input k of the forward node  */
#define Y(k)  (1 + HONE_MAX_IN + (k)) /* output k of the forward node */
#define D     Y(HONE_MAX_OUT)         /* gradient of its output 0     */
#define TO(k) (1 + (k))               /* gradient of its input k      */

typedef struct grad_node {
    hone_op op;
    int8_t from[HONE_MAX_IN], to[3];
} grad_node;

static const struct {
    hone_grad_kind kind;
    uint32_t pass_mask;
    grad_node node[2];
} grad_table[HONE_OP_COUNT] = {
#define NONE(name)      [HONE_OP_##name] = {.kind = HONE_GRAD_NONE},
#define RULE(name, ...) [HONE_OP_##name] = {.kind = HONE_GRAD_NODES, .node = {__VA_ARGS__}},
#define BY_Y(name)      RULE(name, {HONE_OP_##name##_dx, {Y(0), D}, {TO(0)}}) /* derivative from the output */
#define BY_X(name)      RULE(name, {HONE_OP_##name##_dx, {X(0), D}, {TO(0)}}) /* derivative from the input  */
    /* clang-format off */
    NONE(image_batch) NONE(image_view) NONE(image_adjust) NONE(image_erase) NONE(image_mix) /* data */
    RULE(linear, {HONE_OP_linear_dw, {X(0), D}, {TO(1), TO(2)}}, {HONE_OP_linear_dx, {D, X(1)}, {TO(0)}})
    RULE(conv,   {HONE_OP_conv_dw,   {X(0), D}, {TO(1), TO(2)}}, {HONE_OP_conv_dx,   {D, X(1)}, {TO(0)}})
    BY_Y(relu) BY_Y(relu6) BY_Y(leaky_relu) BY_Y(tanh) BY_Y(sigmoid)
    BY_X(gelu) BY_X(gelu_tanh) BY_X(silu)
    RULE(maxpool,        {HONE_OP_maxpool_dx,        {D, Y(1)}, {TO(0)}})
    RULE(avgpool,        {HONE_OP_avgpool_dx,        {D},       {TO(0)}})
    RULE(global_avgpool, {HONE_OP_global_avgpool_dx, {D},       {TO(0)}})
    RULE(global_maxpool, {HONE_OP_global_maxpool_dx, {D, Y(1)}, {TO(0)}})
    RULE(batchnorm, {HONE_OP_batchnorm_dx, {X(0), X(1), Y(1), Y(2), D}, {TO(0), TO(1), TO(2)}})
    RULE(layernorm, {HONE_OP_layernorm_dx, {X(0), X(1), Y(1), Y(2), D}, {TO(0), TO(1), TO(2)}})
    RULE(dropout,   {HONE_OP_dropout_dx,   {D, X(1)}, {TO(0)}})
    RULE(drop_path, {HONE_OP_drop_path_dx, {D, X(1)}, {TO(0)}})
    [HONE_OP_add]      = {.kind = HONE_GRAD_PASS, .pass_mask = 3u},
    [HONE_OP_add_rows] = {.kind = HONE_GRAD_PASS, .pass_mask = 1u, .node = {{HONE_OP_add_rows_dp, {D}, {TO(1)}}}},
    RULE(mul, {HONE_OP_mul, {D, X(1)}, {TO(0)}}, {HONE_OP_mul, {D, X(0)}, {TO(1)}})
    RULE(concat, {HONE_OP_concat_dx, {D}, {TO(0), TO(1)}})
    RULE(prepend_token, {HONE_OP_prepend_token_dt, {D}, {TO(1)}}, {HONE_OP_prepend_token_dx, {D}, {TO(0)}})
    RULE(first_token, {HONE_OP_first_token_dx, {D}, {TO(0)}})
    RULE(embedding_bag, {HONE_OP_embedding_bag_dw, {X(0), X(1), X(2), D}, {TO(0)}}) /* sparse tables: backward.c */
    RULE(embedding, {HONE_OP_embedding_dw, {X(0), X(1), X(2), D}, {TO(0)}})
    RULE(ragged_mean,  {HONE_OP_ragged_mean_dx,  {D, X(1)}, {TO(0)}})
    RULE(ragged_max,   {HONE_OP_ragged_max_dx,   {D, Y(1)}, {TO(0)}})
    RULE(ragged_first, {HONE_OP_ragged_first_dx, {D, X(1)}, {TO(0)}})
    [HONE_OP_ragged_add] = {.kind = HONE_GRAD_PASS, .pass_mask = 1u, .node = {{HONE_OP_ragged_add_dp, {X(1), D, X(2)}, {TO(1)}}}},
    RULE(ragged_attention, {HONE_OP_ragged_attention_dx, {X(0), Y(0), Y(1), D, X(1), X(2)}, {TO(0)}})
    RULE(conv1d, {HONE_OP_conv1d_dw, {X(0), D, X(3)}, {TO(1), TO(2)}}, {HONE_OP_conv1d_dx, {D, X(1), X(3)}, {TO(0)}})
    RULE(gru, {HONE_OP_gru_dx, {X(1), X(3), Y(0), Y(1), D}, {TO(0), TO(1), TO(2)}})
    RULE(attention, {HONE_OP_attention_dx, {X(0), Y(0), Y(1), D, X(1)}, {TO(0)}})
    [HONE_OP_reshape]      = {.kind = HONE_GRAD_RESHAPE, .pass_mask = 1u},
    [HONE_OP_softmax_xent] = {.kind = HONE_GRAD_LOSS,
                              .node = {{HONE_OP_softmax_xent_dx, {X(0), X(1), X(2), X(3), X(4), X(5), X(6)}, {TO(0)}}}},
    /* a forward program's ops: trained nets use batch statistics and softmax_xent */
    NONE(batchnorm_infer) NONE(softmax) NONE(cast)
    /* backward and update rows: no second derivatives */
    NONE(linear_dx) NONE(linear_dw) NONE(conv_dx) NONE(conv_dw)
    NONE(relu_dx) NONE(relu6_dx) NONE(leaky_relu_dx) NONE(gelu_dx) NONE(gelu_tanh_dx) NONE(silu_dx) NONE(tanh_dx)
    NONE(sigmoid_dx) NONE(maxpool_dx) NONE(avgpool_dx) NONE(global_avgpool_dx) NONE(global_maxpool_dx)
    NONE(batchnorm_dx) NONE(layernorm_dx) NONE(dropout_dx) NONE(drop_path_dx) NONE(add_rows_dp) NONE(concat_dx)
    NONE(prepend_token_dx) NONE(prepend_token_dt) NONE(first_token_dx) NONE(attention_dx) NONE(softmax_xent_dx)
    NONE(grad_norm) NONE(sgd) NONE(adamw) NONE(average)
    /* fused rows: written after the backward pass */
    NONE(linear_act) NONE(conv_act) NONE(linear_dx_act) NONE(conv_act_maxpool) NONE(conv_act_maxpool_dw)
    NONE(maxpool_act_dx) NONE(batchnorm_relu) NONE(batchnorm_relu_dx) NONE(batchnorm_add_relu)
    NONE(batchnorm_add_relu_dx) NONE(batchnorm_infer_relu) NONE(batchnorm_infer_add_relu) NONE(add_relu)
    NONE(add_layernorm) NONE(layernorm_add_dx) NONE(batchnorm_relu6) NONE(batchnorm_relu6_dx) NONE(batchnorm_infer_relu6)
    NONE(softmax_xent_both)
    NONE(embedding_bag_dw) NONE(embedding_bag_rows) NONE(rows_norm) NONE(sgd_rows) NONE(adamw_rows)
    NONE(embedding_bag_norm) NONE(embedding_bag_sgd) NONE(embedding_dw) NONE(embedding_rows)
    NONE(ragged_mean_dx) NONE(ragged_max_dx) NONE(ragged_first_dx) NONE(ragged_add_dp) NONE(ragged_attention_dx)
    NONE(conv1d_dx) NONE(conv1d_dw) NONE(gru_dx)
/* clang-format on */
#undef NONE
#undef RULE
#undef BY_Y
#undef BY_X
};

/* For the backward pass: UNSET is a bug that test_backward names. */
hone_grad_kind hone_grad_kind_of(hone_op op) { return grad_table[op].kind; }

/* Labels, masks, statistics and the step block are in no row, hence have no gradient. */
uint32_t hone_grad_inputs(hone_op op)
{
    uint32_t mask = grad_table[op].pass_mask;
    for (int j = 0; j < 2; j++)
        for (int k = 0; k < 3; k++)
            if (grad_table[op].node[j].to[k]) mask |= 1u << (grad_table[op].node[j].to[k] - TO(0));
    return mask;
}

/* Must list exactly what the kernels of these rows add to when node->accumulate is set. */
uint32_t hone_grad_param_outputs(hone_op op)
{
    switch (op) {
    case HONE_OP_linear_dw:
    case HONE_OP_conv_dw:
    case HONE_OP_conv1d_dw:
    case HONE_OP_conv_act_maxpool_dw: return 3u; /* dw, db */
    case HONE_OP_batchnorm_dx:
    case HONE_OP_batchnorm_relu_dx:
    case HONE_OP_batchnorm_relu6_dx:
    case HONE_OP_batchnorm_add_relu_dx:
    case HONE_OP_gru_dx: /* dw, db         */
    case HONE_OP_layernorm_dx:
    case HONE_OP_layernorm_add_dx: return 6u; /* dgamma, dbeta */
    case HONE_OP_add_rows_dp:
    case HONE_OP_embedding_bag_dw:
    case HONE_OP_embedding_dw:
    case HONE_OP_ragged_add_dp:
    case HONE_OP_prepend_token_dt: return 1u;
    default: return 0;
    }
}

/* The backward node and its output that make the gradient of input k; NULL where it is passed on. */
static const grad_node *maker(hone_op op, int k, int *output)
{
    for (int j = 0; j < 2; j++)
        for (*output = 0; *output < 3; (*output)++)
            if (grad_table[op].node[j].to[*output] == TO(k)) return &grad_table[op].node[j];
    return NULL;
}

/* Under accumulation only an output that its kernel adds to may be the arena's own tensor. */
bool hone_grad_can_write(hone_op op, int k, bool accumulate)
{
    int output;
    const grad_node *n = maker(op, k, &output);
    return n && (!accumulate || (hone_grad_param_outputs(n->op) >> output & 1u));
}

/* The backward rows of windows and joins can't see the forward input's shape, so attributes carry it. */
static hone_attrs backward_attrs(const hone_graph *g, const hone_node *n)
{
    hone_attrs a = n->attr;
    const hone_tensor *x = &g->tensor[n->in[0]];
    if (x->rank >= 3) a.window.in_h = (int32_t)x->dim[1];
    if (x->rank >= 3) a.window.in_w = x->rank == 4 ? (int32_t)x->dim[2] : 0;
    if (x->rank == 2) a.ragged.tokens = (int32_t)x->dim[0];
    if (x->rank >= 1) a.concat.left = (int32_t)x->dim[x->rank - 1];
    return a;
}

/* Tensor that `code` means; an optional output that the model did not ask for is added to the node. */
static hone_status operand(hone_grad_call *c, int code, hone_tid *out)
{
    const hone_node *n = &c->g->node[c->node];
    *out = HONE_NONE;
    if (code == 0) return HONE_OK;
    if (code == D) {
        *out = c->dy;
        return HONE_OK;
    }
    if (code < Y(0)) {
        *out = n->in[code - X(0)]; /* may be absent: a step block without dropout, no class weights */
        return HONE_OK;
    }
    *out = n->out[code - Y(0)];
    return *out != HONE_NONE ? HONE_OK : hone_graph_want(c->g, c->node, code - Y(0), out);
}

/* One backward node of the rule, with only those outputs that somebody needs. */
static hone_status emit(hone_grad_call *c, const grad_node *rule)
{
    uint32_t want = 0;
    hone_tid in[HONE_MAX_IN], given[HONE_MAX_OUT], out[HONE_MAX_OUT];
    hone_attrs attr = backward_attrs(c->g, &c->g->node[c->node]);
    for (int k = 0; k < HONE_MAX_OUT; k++) {
        int to = k < 3 && rule->to[k] ? rule->to[k] - TO(0) : -1;
        bool needed = to >= 0 && (c->need >> to & 1u);
        given[k] = needed ? c->given[to] : HONE_NONE;
        if (needed) want |= 1u << k;
    }
    if (!want) return HONE_OK;
    for (int k = 0; k < hone_op_inputs(rule->op); k++) HONE_TRY(operand(c, rule->from[k], &in[k]));
    HONE_TRY(hone_graph_append(c->g, rule->op, HONE_PHASE_BACKWARD, in, &attr, want, given, out));
    for (int k = 0; k < 3; k++)
        if (want >> k & 1u) c->dx[rule->to[k] - TO(0)] = out[k];
    return HONE_OK;
}

/* The gradient of an alias is an alias of the gradient: no copy, no launch. */
static hone_status emit_reshape(hone_grad_call *c)
{
    hone_tensor x = c->g->tensor[c->g->node[c->node].in[0]];
    HONE_TRY(hone_graph_reshape(c->g, c->dy, x.rank, x.dim, &c->dx[0]));
    c->g->node[c->g->node_count - 1].phase = HONE_PHASE_BACKWARD;
    return HONE_OK;
}

/* Passing on comes first, as it appends nothing; then the nodes in the order of the row. */
hone_status hone_grad_apply(hone_grad_call *c)
{
    hone_op op = c->g->node[c->node].op;
    for (int k = 0; k < HONE_MAX_IN; k++) c->dx[k] = HONE_NONE;
    switch (grad_table[op].kind) {
    case HONE_GRAD_RESHAPE: return emit_reshape(c);
    case HONE_GRAD_PASS:
    case HONE_GRAD_NODES:
    case HONE_GRAD_LOSS: break;
    default:
        return hone_fail(HONE_ERR_USAGE, "freeze the parameters below it, or use an op that has a gradient",
                         "backward: %s (tensor '%s') has no gradient, and parameters below it are trainable",
                         hone_op_name(op), c->g->tensor[c->g->node[c->node].out[0]].name);
    }
    for (int k = 0; k < HONE_MAX_IN; k++)
        if (c->need >> k & grad_table[op].pass_mask >> k & 1u) c->dx[k] = c->dy;
    for (int j = 0; j < 2; j++) HONE_TRY(emit(c, &grad_table[op].node[j]));
    return HONE_OK;
}
