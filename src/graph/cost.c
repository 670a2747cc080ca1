/* cost.c - work of a node by formula: floating-point operations and the least bytes that must move.
 *
 * A multiply-add counts 2. Elementwise figures are small counts per element, good enough for a share
 * of the roof; an algorithm that needs fewer operations (Winograd) shows as more than the peak.
 * Must not look at which kernel was chosen.
 *
 * Used by `hone plan` (what a net costs) and by `hone bench` (the share of the roof each node reaches),
 * so the figures must not depend on the backend: fused rows count the work of the rows they replace,
 * less the traffic of the value that is no longer stored. */
#include "hone/graph.h"

/* Elements of input or output k; 0 where absent. */
static double elements(const hone_graph *g, hone_tid t)
{
    return t == HONE_NONE ? 0 : (double)hone_tensor_count(&g->tensor[t]);
}

/* Shorthands for the formulas below. */
static double in_elements(const hone_graph *g, const hone_node *n, int k) { return elements(g, n->in[k]); }
static double out_elements(const hone_graph *g, const hone_node *n, int k) { return elements(g, n->out[k]); }

/* Multiply-adds of a convolution whose output has `outputs` elements: one per weight of a filter. */
static double conv_flop(double outputs, const hone_tensor *w)
{
    return 2 * outputs * (double)(w->dim[1] * w->dim[2] * w->dim[3]);
}

/* Output elements of the convolution inside conv_act_maxpool, which are never stored. */
static double inner_conv_outputs(const hone_graph *g, const hone_node *n)
{
    const hone_tensor *x = &g->tensor[n->in[0]], *y = &g->tensor[n->out[0]];
    const hone_window *w = &n->attr.window;
    double size[2];
    bool backward = n->op == HONE_OP_conv_act_maxpool_dw;
    int64_t channels = backward ? g->tensor[n->in[1]].dim[3] : y->dim[3];
    for (int a = 0; a < 2; a++) {
        int64_t room = x->dim[1 + a] + 2 * (int64_t)w->pad[a] - (int64_t)w->dilation[a] * (w->kernel[a] - 1) - 1;
        int64_t places = room / w->stride[a] + 1; /* floor, as the shape rule has it */
        size[a] = (double)places;
    }
    return (double)x->dim[0] * size[0] * size[1] * (double)channels;
}

/* Values that one output of a pool looks at. */
static double window_places(const hone_window *w) { return (double)w->kernel[0] * w->kernel[1]; }

/* Scores and weighted sum are 2 matrix products of T x T x C/heads per head; backward has 5 of them. */
static double attention_flop(const hone_graph *g, const hone_node *n, double products)
{
    const hone_tensor *qkv = &g->tensor[n->in[0]];
    int64_t channels = qkv->dim[2] / 3; /* q, k and v lie side by side */
    return products * 2 * (double)qkv->dim[0] * (double)qkv->dim[1] * (double)qkv->dim[1] * (double)channels;
}

/* Texts as long as the mean: what shapes tell. */
static double ragged_flop(const hone_graph *g, const hone_node *n, int offset, double products)
{
    const hone_tensor *qkv = &g->tensor[n->in[0]];
    double tokens = (double)qkv->dim[0], texts = (double)(g->tensor[n->in[offset]].dim[0] - 1);
    int64_t channels = qkv->dim[1] / 3; /* q, k and v lie side by side */
    return products * 2 * tokens * (tokens / texts) * (double)channels;
}

/* Rows that are matrix products, where nearly all work is; 0 for all others. */
static double matrix_flop(const hone_graph *g, const hone_node *n)
{
    const hone_tensor *t = g->tensor;
    switch (n->op) {
    case HONE_OP_linear:
    case HONE_OP_linear_act: return 2 * out_elements(g, n, 0) * (double)t[n->in[1]].dim[1];
    case HONE_OP_linear_dx:
    case HONE_OP_linear_dx_act: return 2 * in_elements(g, n, 0) * (double)t[n->in[1]].dim[1];
    case HONE_OP_linear_dw: return 2 * in_elements(g, n, 1) * (double)t[n->out[0]].dim[1];
    case HONE_OP_conv:
    case HONE_OP_conv_act: return conv_flop(out_elements(g, n, 0), &t[n->in[1]]);
    case HONE_OP_conv_dx: return conv_flop(in_elements(g, n, 0), &t[n->in[1]]);
    case HONE_OP_conv_dw: return conv_flop(in_elements(g, n, 1), &t[n->out[0]]);
    case HONE_OP_conv_act_maxpool: return conv_flop(inner_conv_outputs(g, n), &t[n->in[1]]);
    case HONE_OP_conv_act_maxpool_dw: return conv_flop(inner_conv_outputs(g, n), &t[n->out[0]]);
    case HONE_OP_conv1d: return 2 * in_elements(g, n, 1) * (double)t[n->in[0]].dim[0];
    case HONE_OP_conv1d_dx: return 2 * in_elements(g, n, 1) * (double)t[n->in[0]].dim[0];
    case HONE_OP_conv1d_dw: return 2 * out_elements(g, n, 0) * (double)t[n->in[0]].dim[0];
    case HONE_OP_gru: return 2 * in_elements(g, n, 1) * (double)t[n->in[0]].dim[0];
    case HONE_OP_gru_dx: return 4 * in_elements(g, n, 0) * (double)t[n->in[2]].dim[0]; /* the state's, w's */
    case HONE_OP_attention: return attention_flop(g, n, 2);
    case HONE_OP_attention_dx: return attention_flop(g, n, 5);
    case HONE_OP_ragged_attention: return ragged_flop(g, n, 1, 2);
    case HONE_OP_ragged_attention_dx: return ragged_flop(g, n, 4, 5);
    default: return 0;
    }
}

/* Operations per element of input 0 for the rows that are no matrix products. */
static double per_element(const hone_node *n)
{
    switch (n->op) {
    /* only moves */
    case HONE_OP_reshape:
    case HONE_OP_concat:
    case HONE_OP_concat_dx:
    case HONE_OP_prepend_token:
    case HONE_OP_prepend_token_dx:
    case HONE_OP_first_token:
    case HONE_OP_first_token_dx:
    case HONE_OP_embedding:
    case HONE_OP_ragged_first:
    case HONE_OP_ragged_first_dx: return 0;
    /* erf or tanh by a polynomial; Adam's two moments, square root and division */
    case HONE_OP_gelu:
    case HONE_OP_gelu_dx:
    case HONE_OP_gelu_tanh:
    case HONE_OP_gelu_tanh_dx:
    case HONE_OP_adamw: return 12;
    /* one exponential */
    case HONE_OP_silu:
    case HONE_OP_silu_dx:
    case HONE_OP_tanh:
    case HONE_OP_sigmoid:
    case HONE_OP_sgd:
    case HONE_OP_softmax:
    case HONE_OP_softmax_xent:
    case HONE_OP_softmax_xent_dx:
    case HONE_OP_softmax_xent_both: return 6;
    case HONE_OP_batchnorm:
    case HONE_OP_batchnorm_relu:
    case HONE_OP_batchnorm_relu6:
    case HONE_OP_batchnorm_add_relu:
    case HONE_OP_layernorm:
    case HONE_OP_add_layernorm: return 7; /* two passes for the moments, one to normalise */
    case HONE_OP_batchnorm_dx:
    case HONE_OP_batchnorm_relu_dx:
    case HONE_OP_batchnorm_relu6_dx:
    case HONE_OP_batchnorm_add_relu_dx:
    case HONE_OP_layernorm_dx:
    case HONE_OP_layernorm_add_dx: return 10;
    case HONE_OP_grad_norm:
    case HONE_OP_batchnorm_infer:
    case HONE_OP_batchnorm_infer_relu:
    case HONE_OP_batchnorm_infer_relu6:
    case HONE_OP_batchnorm_infer_add_relu: return 2;
    case HONE_OP_average: return 3;
    default: return 1;
    }
}

/* Elements of the rows that the tokens of input `token` stand for; `row`: an operand whose last size is theirs. */
static double token_elements(const hone_graph *g, const hone_node *n, int token, int row)
{
    return in_elements(g, n, token) * (double)g->tensor[n->in[row]].dim[1];
}

/* Rows bound by memory: their figure only has to be of the right order. */
static double other_flop(const hone_graph *g, const hone_node *n)
{
    switch (n->op) {
    case HONE_OP_image_batch: return 2 * out_elements(g, n, 0);
    case HONE_OP_image_view: return 8 * out_elements(g, n, 0); /* four products and their sums */
    case HONE_OP_image_adjust: return 4 * out_elements(g, n, 0);
    case HONE_OP_image_mix: return 3 * out_elements(g, n, 0);
    case HONE_OP_embedding_bag: return token_elements(g, n, 1, 0);
    case HONE_OP_embedding_bag_dw: return token_elements(g, n, 1, 3);
    case HONE_OP_embedding_bag_rows:
    case HONE_OP_embedding_rows: return token_elements(g, n, 0, 2);
    case HONE_OP_embedding_dw: return in_elements(g, n, 3);
    case HONE_OP_ragged_mean_dx: return out_elements(g, n, 0);
    case HONE_OP_ragged_add_dp: return in_elements(g, n, 1);
    case HONE_OP_sgd_rows: return 2 * in_elements(g, n, 2);
    case HONE_OP_adamw_rows: return 12 * in_elements(g, n, 2);
    case HONE_OP_embedding_bag_norm: return 2 * in_elements(g, n, 1);
    case HONE_OP_embedding_bag_sgd: return 2 * token_elements(g, n, 1, 3);
    case HONE_OP_maxpool:
    case HONE_OP_avgpool: return out_elements(g, n, 0) * window_places(&n->attr.window);
    case HONE_OP_avgpool_dx: return in_elements(g, n, 0) * window_places(&n->attr.window);
    default: return in_elements(g, n, 0) * per_element(n);
    }
}

/* The rows written in place ("!" in ops.def) move twice: read and written. */
static bool written_in_place(const hone_node *n, int k)
{
    if (n->op == HONE_OP_average) return k == 0;
    if (n->op == HONE_OP_sgd || n->op == HONE_OP_adamw) return k == 0 || k >= 4 || (k == 1 && n->attr.update.zero_grad);
    if (n->op == HONE_OP_sgd_rows || n->op == HONE_OP_adamw_rows) return k == 0 || k >= 5;
    return n->op == HONE_OP_embedding_bag_sgd && k == 0;
}

/* Operands of which a step touches one row a token: tables, and the slots of their optimizer. */
static bool by_rows(const hone_node *n, int k)
{
    switch (n->op) {
    case HONE_OP_embedding_bag:
    case HONE_OP_embedding_bag_dw:
    case HONE_OP_embedding:
    case HONE_OP_embedding_dw:
    case HONE_OP_embedding_bag_sgd: return k == 0;
    case HONE_OP_sgd_rows:
    case HONE_OP_adamw_rows: return k == 0 || k >= 5;
    default: return false;
    }
}

/* Each operand once: what a kernel with an infinite cache would move. Aliases move nothing. */
static double moved_bytes(const hone_graph *g, const hone_node *n)
{
    double bytes = 0;
    if (n->op == HONE_OP_reshape) return 0;
    for (int k = 0; k < n->in_count; k++) {
        if (n->in[k] == HONE_NONE) continue;
        const hone_tensor *t = &g->tensor[n->in[k]];
        double size = (double)hone_tensor_bytes(t);
        if (t->role == HONE_ROLE_POOL) /* only the rows of this batch */
            size = size / (double)t->dim[0] * (double)g->tensor[n->out[0]].dim[0];
        if (by_rows(n, k)) /* input 1 is the tokens, or the touched rows */
            size = size / (double)t->dim[0] * in_elements(g, n, 1);
        bytes += written_in_place(n, k) ? 2 * size : size;
    }
    for (int k = 0; k < n->out_count; k++)
        if (n->out[k] != HONE_NONE) bytes += (double)hone_tensor_bytes(&g->tensor[n->out[k]]);
    return bytes;
}

/* Both figures are properties of the maths; the ratio to measured time is the share of the roof. */
void hone_node_cost(const hone_graph *g, const hone_node *n, double *flop, double *bytes)
{
    *flop = matrix_flop(g, n);
    if (*flop == 0) *flop = other_flop(g, n);
    *bytes = moved_bytes(g, n);
}
