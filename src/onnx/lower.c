/* lower.c - walks the EVAL graph in its order, op by op (lower.h). */
#include "onnx/lower.h"

#include <stdlib.h>
#include <string.h>

/* Sizes that no layer has: a tensor whose first axis is TOKENS is ragged, and BATCH is the free axis. */
enum { BATCH = 3, TOKENS = 1000003 };

/* Ops of an EVAL graph; what is not here is refused by name. */
static const struct {
    hone_op op;
    hone_lower_fn fn;
} table[] = {
    {HONE_OP_image_batch, hone_lower_image},          /* the graph's input, or what prepares it */
    {HONE_OP_conv, hone_lower_conv},                  /* Conv, a norm behind it taken in */
    {HONE_OP_linear, hone_lower_linear},              /* Gemm of rows, MatMul and Add of tokens */
    {HONE_OP_batchnorm_infer, hone_lower_batchnorm},  /* BatchNormalization; Mul and Add of tokens */
    {HONE_OP_layernorm, hone_lower_layernorm},        /* LayerNormalization; below 17 its formula */
    {HONE_OP_maxpool, hone_lower_pool},               /* MaxPool */
    {HONE_OP_avgpool, hone_lower_pool},               /* AveragePool with its padding counted */
    {HONE_OP_global_avgpool, hone_lower_global_pool}, /* GlobalAveragePool and Flatten; ReduceMean of tokens */
    {HONE_OP_global_maxpool, hone_lower_global_pool}, /* GlobalMaxPool and Flatten; ReduceMax of tokens */
    {HONE_OP_reshape, hone_lower_reshape},            /* Flatten; Reshape and Transpose to tokens */
    {HONE_OP_relu, hone_lower_act},                   /* Relu */
    {HONE_OP_relu6, hone_lower_act},                  /* Clip */
    {HONE_OP_leaky_relu, hone_lower_act},             /* LeakyRelu */
    {HONE_OP_gelu, hone_lower_act},                   /* Gelu; below 20 by Erf */
    {HONE_OP_gelu_tanh, hone_lower_act},              /* Gelu; below 20 by Tanh */
    {HONE_OP_silu, hone_lower_act},                   /* Sigmoid and Mul */
    {HONE_OP_tanh, hone_lower_act},                   /* Tanh */
    {HONE_OP_sigmoid, hone_lower_act},                /* Sigmoid */
    {HONE_OP_add, hone_lower_join},                   /* Add */
    {HONE_OP_mul, hone_lower_join},                   /* Mul */
    {HONE_OP_add_rows, hone_lower_join},              /* Add, broadcast over the batch */
    {HONE_OP_concat, hone_lower_join},                /* Concat along the channels */
    {HONE_OP_prepend_token, hone_lower_prepend},      /* Expand and Concat */
    {HONE_OP_first_token, hone_lower_first},          /* Gather */
    {HONE_OP_attention, hone_lower_attention},        /* MatMul, Softmax, MatMul by heads */
    {HONE_OP_embedding_bag, hone_lower_bag},          /* Gather, and MatMul with who is whose */
    {HONE_OP_embedding, hone_lower_embedding},        /* Gather */
    {HONE_OP_ragged_add, hone_lower_places},          /* Gather by place, and Add */
    {HONE_OP_ragged_attention, hone_lower_attention}, /* as attention, padding masked */
    {HONE_OP_ragged_mean, hone_lower_ragged_mean},    /* ReduceSum and Div */
    {HONE_OP_ragged_max, hone_lower_ragged_max},      /* Where and ReduceMax */
    {HONE_OP_ragged_first, hone_lower_ragged_first},  /* Gather */
    {HONE_OP_conv1d, hone_lower_conv1d},              /* Conv between two Transposes */
    {HONE_OP_gru, hone_lower_lone_gru},               /* GRU, with the linear node before it */
};

/* --- helpers -------------------------------------------------------------------------------------------------- */

bool hone_lower_is_ragged(const hone_lower *l, hone_tid t) { return l->g->tensor[t].dim[0] == l->tokens; }

int hone_lower_rank(const hone_lower *l, hone_tid t) { return l->g->tensor[t].rank + hone_lower_is_ragged(l, t); }

/* By name: tensors of a graph have no values, parameters of a model have no ids. */
const hone_param *hone_lower_find(hone_lower *l, hone_tid t)
{
    return hone_model_find_param(l->model, l->g->tensor[t].name);
}

/* Two nodes that share a parameter share the initializer. */
const char *hone_lower_param(hone_lower *l, hone_tid t)
{
    const hone_param *p = hone_lower_find(l, t);
    if (hone_onnx_find_init(l->out, p->name)) return p->name; /* shared by two nodes */
    return hone_onnx_const(l->out, p->name, HONE_ONNX_FLOAT, p->rank, p->dim, p->value);
}

/* NULL where the arena had no memory: the sticky failure is told later. */
const char *hone_lower_values(hone_lower *l, const char *name, int rank, const int64_t *dim, const float *values)
{
    return values ? hone_onnx_const(l->out, name, HONE_ONNX_FLOAT, rank, dim, values) : "";
}

/* A value that two nodes read may not be folded away: one of them needs it as it is. */
const hone_node *hone_lower_follower(const hone_lower *l, const hone_node *n, hone_op op)
{
    if (l->uses[n->out[0]] != 1) return NULL;
    for (const hone_node *k = n + 1; k < l->g->node + l->g->node_count; k++)
        for (int i = 0; i < k->in_count; i++)
            if (k->in[i] == n->out[0]) return k->op == op && i == 0 ? k : NULL;
    return NULL;
}

/* Told by the op, not by the layer: pages that get here have passed every check but this one. */
hone_status hone_lower_refuse(const hone_lower *l, const hone_node *n, const char *what)
{
    return hone_fail(HONE_ERR_USAGE, NULL, "ONNX opset %d has no place for %s: %s", l->opts->opset, hone_op_name(n->op),
                     what);
}

/* --- the walk -------------------------------------------------------------------------------------------------- */

/* The table is short and walked once a node: no index is kept. */
static hone_status lower_node(hone_lower *l, const hone_node *n)
{
    for (size_t k = 0; k < sizeof table / sizeof table[0]; k++)
        if (table[k].op == n->op) return table[k].fn(l, n);
    return hone_lower_refuse(l, n, "the exporter does not know this op");
}

/* A bag takes flat ids and makes its inputs itself; whatever else reads a text takes tokens and a mask. */
static bool reads_tokens(const hone_lower *l)
{
    for (int k = 0; k < l->g->node_count; k++)
        if (l->g->node[k].op == HONE_OP_embedding) return true;
    return false;
}

/* Up to the logits: loss and metrics are of no use to a server. */
static hone_status lower_nodes(hone_lower *l)
{
    const hone_graph *g = l->g;
    /* the loss reads the logits too, and is not exported */
    for (int k = 0; k < g->node_count; k++)
        for (int i = 0; i < g->node[k].in_count; i++)
            if (g->node[k].in[i] != HONE_NONE && g->node[k].op != HONE_OP_softmax_xent) l->uses[g->node[k].in[i]]++;
    if (reads_tokens(l)) HONE_TRY(hone_lower_tokens(l));
    for (l->at = 0; l->at < g->node_count && !l->name[l->io.logits]; l->at++)
        if (!l->done[l->at]) HONE_TRY(lower_node(l, &g->node[l->at]));
    return hone_onnx_status(l->out);
}

/* The node added last, and its value, get the name that users see: float (N, classes). */
static void give_out(hone_lower *l, const char *name)
{
    hone_onnx_value v = {.name = name, .type = HONE_ONNX_FLOAT, .rank = 2, .param = {"N"}};
    v.dim[1] = hone_model_classes(l->model);
    if (l->out->node_count) l->out->node[l->out->node_count - 1].out[0] = name;
    *hone_onnx_push_value(l->out, true) = v;
}

/* Logits, and their softmax. */
static void lower_outputs(hone_lower *l)
{
    give_out(l, "logits");
    hone_onnx_unary(l->out, "Softmax", "logits");
    hone_onnx_attr_int(l->out, "axis", -1);
    give_out(l, "probabilities");
}

/* One entry a tensor or node of the graph, all of them empty at first. */
static hone_status open_arrays(hone_lower *l)
{
    l->name = calloc((size_t)l->g->tensor_count + 1, sizeof *l->name);
    l->uses = calloc((size_t)l->g->tensor_count + 1, sizeof *l->uses);
    l->done = calloc((size_t)l->g->node_count + 1, sizeof *l->done);
    return l->name && l->uses && l->done ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
}

/* The graph is built as for an evaluation, not compiled: fused rows would have to be taken apart again. A batch and
 * a capacity that no layer has as a size tell the free axes from the others. */
hone_status hone_onnx_lower(hone_model *m, const hone_onnx_lower_opts *o, hone_onnx *out)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts build = {.batch = BATCH,
                             .pool_rows = BATCH,
                             .pool_h = pre->height,
                             .pool_w = pre->width,
                             .mode = HONE_MODE_EVAL,
                             .accumulate = 1,
                             .tokens = TOKENS};
    hone_lower l = {.model = m, .opts = o, .out = out, .tokens = TOKENS};
    hone_graph *g = NULL;
    *out = (hone_onnx){0};
    if (o->preprocess && pre->vocab > 0)
        return hone_fail(HONE_ERR_USAGE, "leave it out: the graph takes ids, and tokenizer.json lies beside it",
                         "pixels are prepared in the graph (--with-preprocess), texts are not");
    HONE_TRY(hone_model_build(m, &build, &g, &l.io));
    l.g = g;
    hone_onnx_init(out, o->opset);
    hone_status status = open_arrays(&l);
    if (status == HONE_OK) status = lower_nodes(&l);
    if (status == HONE_OK) lower_outputs(&l);
    if (status == HONE_OK) status = hone_onnx_status(out);
    free(l.name);
    free(l.uses);
    free(l.done);
    hone_graph_free(g);
    if (status != HONE_OK) hone_onnx_free(out);
    return status;
}
