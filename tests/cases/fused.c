/* fused.c - fused rows against the plain rows they stand for, node by node on the same dialect.
 *
 * The composition is built beside the fused node with hone_graph_add from the same inputs; so it says in
 * C what ops.def says in words. On ref64 both must agree to rounding (1e-12 normwise). */
#include "cases/cases.h"

#include <stdio.h>
#include <string.h>

typedef struct chain { /* plain nodes being built */
    hone_graph *g;
    const hone_attrs *attr;
    bool failed;
} chain;

/* Adds op(a, b, c, d, e); missing inputs are HONE_NONE. All outputs go to out (or only the first is returned). */
static hone_tid add_op(chain *c, hone_op op, const hone_tid *in, hone_tid *out)
{
    hone_tid scratch[HONE_MAX_OUT];
    hone_tid *o = out ? out : scratch;
    if (hone_graph_add(c->g, op, in, c->attr, ~0u, o) != HONE_OK) {
        c->failed = true;
        o[0] = 0;
    }
    return o[0];
}

/* A node of one input. */
static hone_tid one(chain *c, hone_op op, hone_tid a) { return add_op(c, op, (hone_tid[HONE_MAX_IN]){a}, NULL); }
/* A node of two inputs. */
static hone_tid two(chain *c, hone_op op, hone_tid a, hone_tid b)
{
    return add_op(c, op, (hone_tid[HONE_MAX_IN]){a, b}, NULL);
}

static const struct {
    hone_op forward, backward;
} act_ops[] = {
    [HONE_ACT_RELU] = {HONE_OP_relu, HONE_OP_relu_dx},
    [HONE_ACT_RELU6] = {HONE_OP_relu6, HONE_OP_relu6_dx},
    [HONE_ACT_LEAKY_RELU] = {HONE_OP_leaky_relu, HONE_OP_leaky_relu_dx},
    [HONE_ACT_GELU] = {HONE_OP_gelu, HONE_OP_gelu_dx},
    [HONE_ACT_GELU_TANH] = {HONE_OP_gelu_tanh, HONE_OP_gelu_tanh_dx},
    [HONE_ACT_SILU] = {HONE_OP_silu, HONE_OP_silu_dx},
    [HONE_ACT_TANH] = {HONE_OP_tanh, HONE_OP_tanh_dx},
    [HONE_ACT_SIGMOID] = {HONE_OP_sigmoid, HONE_OP_sigmoid_dx},
};

/* batchnorm, then add where there is a residual, then the activation. */
static void chain_batchnorm(chain *c, hone_op act, const hone_tid *in, bool residual, hone_tid *out)
{
    add_op(c, HONE_OP_batchnorm, in, out);
    out[0] = one(c, act, residual ? two(c, HONE_OP_add, out[0], in[5]) : out[0]);
}

/* The sum of dy and dy2 where both are given; act_dx of it at y, which is that of the node that made the mean, however
 * the row is told of it; then batchnorm_dx. What act_dx gave is dr. */
static void chain_batchnorm_dx(chain *c, hone_op op, const hone_tid *in, hone_tid *out)
{
    hone_op act_dx = op == HONE_OP_batchnorm_relu6_dx ? HONE_OP_relu6_dx : HONE_OP_relu_dx;
    hone_tid y = c->g->node[c->g->tensor[in[2]].producer].out[0], dy = in[5];
    if (hone_op_inputs(op) > 6 && in[6] != HONE_NONE) dy = two(c, HONE_OP_add, dy, in[6]);
    hone_tid g = two(c, act_dx, y, dy);
    add_op(c, HONE_OP_batchnorm_dx, (hone_tid[HONE_MAX_IN]){in[0], in[1], in[2], in[3], g}, out);
    if (op == HONE_OP_batchnorm_add_relu_dx) out[3] = g;
}

/* Pooling attributes live in `pool`; a plain maxpool reads `window`. */
static void chain_conv_act_maxpool(chain *c, const hone_tid *in, hone_tid *out)
{
    const hone_attrs *both = c->attr;
    hone_attrs pool = *both;
    pool.window = both->pool;
    hone_tid y = one(c, act_ops[both->act].forward, add_op(c, HONE_OP_conv, in, NULL));
    c->attr = &pool;
    add_op(c, HONE_OP_maxpool, &y, out);
    c->attr = both;
}

/* act_dx at the pooled size, maxpool_dx to the size of the convolution's output, conv_dw. */
static void chain_conv_act_maxpool_dw(chain *c, const hone_tid *in, hone_tid *out)
{
    const hone_attrs *both = c->attr;
    hone_attrs pool = *both;
    const int64_t *x = c->g->tensor[in[0]].dim;
    const hone_window *w = &both->window;
    pool.window = both->pool;
    pool.window.in_h = (int32_t)((x[1] + 2 * w->pad[0] - w->dilation[0] * (w->kernel[0] - 1) - 1) / w->stride[0] + 1);
    pool.window.in_w = (int32_t)((x[2] + 2 * w->pad[1] - w->dilation[1] * (w->kernel[1] - 1) - 1) / w->stride[1] + 1);
    hone_tid g = two(c, act_ops[both->act].backward, in[1], in[3]);
    c->attr = &pool;
    g = two(c, HONE_OP_maxpool_dx, g, in[2]);
    c->attr = both;
    add_op(c, HONE_OP_conv_dw, (hone_tid[HONE_MAX_IN]){in[0], g}, out);
}

/* The sum, which is the last output, and its norm. */
static void chain_add_layernorm(chain *c, const hone_tid *in, hone_tid *out)
{
    hone_tid sum = two(c, HONE_OP_add, in[0], in[1]);
    add_op(c, HONE_OP_layernorm, (hone_tid[HONE_MAX_IN]){sum, in[2], in[3]}, out);
    out[3] = sum;
}

/* The loss, then its gradient. */
static void chain_xent_both(chain *c, const hone_tid *in, hone_tid *out)
{
    add_op(c, HONE_OP_softmax_xent, in, out);
    out[2] = add_op(c, HONE_OP_softmax_xent_dx, in, NULL);
}

/* Builds the plain rows of `op`; false where `op` is plain. */
static bool compose(chain *c, hone_op op, const hone_tid *in, hone_tid *out)
{
    hone_act act = c->attr->act;
    hone_tid y;
    switch (op) {
    case HONE_OP_linear_act:
        out[1] = add_op(c, HONE_OP_linear, in, NULL);
        out[0] = one(c, act_ops[act].forward, out[1]);
        return true;
    case HONE_OP_conv_act: out[0] = one(c, act_ops[act].forward, add_op(c, HONE_OP_conv, in, NULL)); return true;
    case HONE_OP_linear_dx_act:
        out[0] = two(c, act_ops[act].backward, in[2], two(c, HONE_OP_linear_dx, in[0], in[1]));
        return true;
    case HONE_OP_maxpool_act_dx:
        out[0] = two(c, HONE_OP_maxpool_dx, two(c, act_ops[act].backward, in[0], in[2]), in[1]);
        return true;
    case HONE_OP_conv_act_maxpool: chain_conv_act_maxpool(c, in, out); return true;
    case HONE_OP_conv_act_maxpool_dw: chain_conv_act_maxpool_dw(c, in, out); return true;
    case HONE_OP_batchnorm_relu: chain_batchnorm(c, HONE_OP_relu, in, false, out); return true;
    case HONE_OP_batchnorm_add_relu: chain_batchnorm(c, HONE_OP_relu, in, true, out); return true;
    case HONE_OP_batchnorm_relu_dx:
    case HONE_OP_batchnorm_relu6_dx:
    case HONE_OP_batchnorm_add_relu_dx: chain_batchnorm_dx(c, op, in, out); return true;
    case HONE_OP_batchnorm_relu6: chain_batchnorm(c, HONE_OP_relu6, in, false, out); return true;
    case HONE_OP_batchnorm_infer_relu6:
        out[0] = one(c, HONE_OP_relu6, add_op(c, HONE_OP_batchnorm_infer, in, NULL));
        return true;
    case HONE_OP_batchnorm_infer_relu:
        out[0] = one(c, HONE_OP_relu, add_op(c, HONE_OP_batchnorm_infer, in, NULL));
        return true;
    case HONE_OP_batchnorm_infer_add_relu:
        y = add_op(c, HONE_OP_batchnorm_infer, in, NULL);
        out[0] = one(c, HONE_OP_relu, two(c, HONE_OP_add, y, in[5]));
        return true;
    case HONE_OP_add_layernorm: chain_add_layernorm(c, in, out); return true;
    case HONE_OP_layernorm_add_dx:
        add_op(c, HONE_OP_layernorm_dx, in, out);
        out[0] = two(c, HONE_OP_add, out[0], in[5]);
        return true;
    case HONE_OP_add_relu: out[0] = one(c, HONE_OP_relu, two(c, HONE_OP_add, in[0], in[1])); return true;
    case HONE_OP_softmax_xent_both: chain_xent_both(c, in, out); return true;
    default: return false;
    }
}

/* Runs nodes [first, count) of the scene in order; "" or the fault. */
static void run_chain(hone_backend *b, scene *s, int first, char *fault, size_t fault_bytes)
{
    fault[0] = '\0';
    for (int id = first; id < s->g->node_count && !fault[0]; id++)
        run_store(b, s, id, b->real == HONE_F32, fault, fault_bytes);
}

/* The fused node against the results of the chain, which are values of the scene. */
static bool agree(hone_backend *b, scene *s, hone_nid id, const hone_tid *plain, complaint *why)
{
    run r;
    complaint detail;
    double relative = b->real == HONE_F64 ? 1e-12 : 1e-5;
    bool ok = true;
    run_node(b, s, id, (run_how){0}, &r);
    for (int k = 0; ok && k < HONE_MAX_OUT; k++) {
        if (!r.out[k] || plain[k] == HONE_NONE) continue; /* no plain row packs bits */
        int64_t n = (int64_t)(r.out_bytes[k] / hone_dtype_bytes(r.out_dtype[k]));
        ok = compare_values(r.out_dtype[k], r.out[k], HONE_F64, s->value[plain[k]], n, false, relative, &detail);
        if (!ok)
            snprintf(why->text, sizeof why->text,
                     "%s on %s, case \"%s\": output %d is not that of the plain rows: %.300s",
                     hone_op_name(s->g->node[id].op), b->name, s->row->shapes, k, detail.text);
    }
    if (r.fault[0]) snprintf(why->text, sizeof why->text, "%s: %s", hone_op_name(s->g->node[id].op), r.fault);
    ok = ok && !r.fault[0];
    run_free(&r);
    return ok;
}

/* Builds, runs and compares the chain of one node, if it is a fused one. */
static bool check_one(hone_backend *b, scene *s, hone_nid id, complaint *why)
{
    char fault[256];
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT] = {HONE_NONE, HONE_NONE, HONE_NONE, HONE_NONE};
    hone_attrs attr = s->g->node[id].attr;
    chain c = {.g = s->g, .attr = &attr};
    int first = s->g->node_count, tensors = s->g->tensor_count;
    memcpy(in, s->g->node[id].in, sizeof in);
    if (!compose(&c, s->g->node[id].op, in, out)) return true;
    if (c.failed) {
        snprintf(why->text, sizeof why->text, "%s: %.400s", hone_op_name(s->g->node[id].op), hone_error_message());
        return false;
    }
    scene_grow(s, tensors);
    run_chain(b, s, first, fault, sizeof fault);
    if (fault[0]) snprintf(why->text, sizeof why->text, "plain rows of %s: %s", hone_op_name(s->g->node[id].op), fault);
    return !fault[0] && agree(b, s, id, out, why);
}

bool check_fused(hone_backend *b, const case_row *row, complaint *why)
{
    scene s;
    char fault[256];
    scene_open(&s, row);
    scene_fill(&s, VALUES_REAL);
    bool ok = check_one(b, &s, s.forward, why);
    if (ok && s.back_count) {
        run_store(b, &s, s.forward, b->real == HONE_F32, fault, sizeof fault);
        for (int k = 0; ok && k < s.back_count; k++)
            if (s.back[k].node != HONE_NONE) ok = check_one(b, &s, s.back[k].node, why);
    }
    scene_close(&s);
    return ok;
}
