/* backward.c - appends the gradient nodes of a loss, in reverse order of the forward nodes.
 *
 * Contributions to one tensor are summed by `add` nodes; a tensor that passes its gradient on
 * (residual add) shares it without a copy. What no trainable parameter needs is never appended: not
 * the first layer's input gradient, nothing below the lowest trainable layer. Rules: graph/grad.c.
 *
 * Two kinds of tensors receive contributions. Activations: the first contribution is the gradient, each
 * further one appends an `add`. Parameters: the first is written by its kernel straight into GRAD, each
 * further one is made as an activation and added there in place. Under accumulation (micro-batches) the
 * first is added as well, by its kernel, to a GRAD that the update leaves zeroed. */
#include <stdio.h>
#include <stdlib.h>

#include "compile/pass.h"
#include "graph/grad.h"

typedef struct backward {
    hone_program *p;
    hone_graph *g;
    bool *needs;    /* (forward tensors) a trainable parameter lies below    */
    hone_tid *grad; /* (forward tensors) gradient so far, HONE_NONE: none    */
} backward;

/* Frozen parameters are constants to this pass. */
static bool trainable(const hone_tensor *t) { return t->role == HONE_ROLE_PARAM && (t->flags & HONE_TENSOR_TRAINABLE); }

/* An op without a rule still passes the need on, so that a gradient that reaches it is refused by name
 * instead of ending there silently. */
static void find_needs(backward *b, int32_t tensors)
{
    for (hone_tid t = 0; t < tensors; t++) b->needs[t] = trainable(&b->g->tensor[t]);
    for (hone_nid i = 0; i < b->g->node_count; i++) {
        const hone_node *n = &b->g->node[i];
        uint32_t mask = hone_grad_kind_of(n->op) == HONE_GRAD_NONE ? ~0u : hone_grad_inputs(n->op);
        bool any = false;
        for (int k = 0; k < n->in_count; k++)
            if (n->in[k] != HONE_NONE && (mask >> k & 1u) && b->needs[n->in[k]]) any = true;
        for (int k = 0; any && k < n->out_count; k++)
            if (n->out[k] != HONE_NONE) b->needs[n->out[k]] = true;
    }
}

/* Its offset is the parameter's own (update.c), so the optimizer sees both as flat arrays. */
static hone_status grad_tensor(backward *b, hone_tid param, hone_tid *out)
{
    char name[HONE_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.grad", b->g->tensor[param].name);
    HONE_TRY(hone_graph_like(b->g, name, param, HONE_ROLE_GRAD, out));
    b->g->tensor[param].grad = *out;
    return HONE_OK;
}

/* The first contribution to a parameter is written where the optimizer reads it, if its kernel can. */
static hone_status choose_targets(backward *b, hone_grad_call *c)
{
    const hone_node n = b->g->node[c->node];
    bool accumulate = b->p->opts.accumulate > 1;
    for (int k = 0; k < HONE_MAX_IN; k++) {
        c->given[k] = HONE_NONE;
        if (!(c->need >> k & 1u) || !trainable(&b->g->tensor[n.in[k]])) continue;
        bool first = b->g->tensor[n.in[k]].grad == HONE_NONE;
        for (int j = 0; j < k; j++)
            if (n.in[j] == n.in[k]) first = false; /* mul(w, w): the second one is added */
        if (first && hone_grad_can_write(n.op, k, accumulate)) HONE_TRY(grad_tensor(b, n.in[k], &c->given[k]));
    }
    return HONE_OK;
}

/* x + y, into `given` where the sum has a place already. */
static hone_status add_nodes(backward *b, hone_tid x, hone_tid y, hone_tid given, hone_tid *sum)
{
    hone_tid in[2] = {x, y}, out[HONE_MAX_OUT];
    HONE_TRY(hone_graph_append(b->g, HONE_OP_add, HONE_PHASE_BACKWARD, in, NULL, 1u, &given, out));
    *sum = out[0];
    return HONE_OK;
}

/* One more contribution `dx` to the gradient of parameter `param`, in a tensor of its own: added in
 * place. Under accumulation GRAD starts a step as zeros, so that holds for the first one as well. */
static hone_status contribute_param(backward *b, hone_nid node, hone_tid param, hone_tid dx)
{
    hone_tid grad = b->g->tensor[param].grad, sum;
    if (grad == HONE_NONE && b->p->opts.accumulate <= 1)
        return hone_fail(HONE_ERR_USAGE, "use an op whose backward makes it, such as add_rows",
                         "backward: %s would copy its gradient to parameter '%s'", hone_op_name(b->g->node[node].op),
                         b->g->tensor[param].name);
    if (grad == HONE_NONE) HONE_TRY(grad_tensor(b, param, &grad));
    HONE_TRY(add_nodes(b, grad, dx, grad, &sum));
    return HONE_OK;
}

/* What the rule made for input k joins what other readers of that tensor have sent. */
static hone_status contribute(backward *b, const hone_grad_call *c, int k)
{
    hone_tid t = b->g->node[c->node].in[k], sum;
    if (c->dx[k] == HONE_NONE || c->dx[k] == c->given[k]) return HONE_OK;
    if (trainable(&b->g->tensor[t])) return contribute_param(b, c->node, t, c->dx[k]);
    if (b->grad[t] == HONE_NONE) {
        b->grad[t] = c->dx[k];
        return HONE_OK;
    }
    HONE_TRY(add_nodes(b, b->grad[t], c->dx[k], HONE_NONE, &sum));
    b->grad[t] = sum;
    return HONE_OK;
}

/* One forward node. Copies it first: appending nodes moves the array. */
static hone_status differentiate(backward *b, hone_nid i)
{
    const hone_node n = b->g->node[i];
    hone_grad_call c = {.g = b->g, .node = i, .dy = HONE_NONE};
    bool loss = n.out[0] == b->p->opts.loss;
    if (!loss) c.dy = n.out[0] == HONE_NONE ? HONE_NONE : b->grad[n.out[0]];
    if (!loss && c.dy == HONE_NONE) return HONE_OK; /* does not lead to the loss */
    uint32_t mask = hone_grad_inputs(n.op);
    for (int k = 0; k < n.in_count; k++)
        if (n.in[k] != HONE_NONE && (mask >> k & 1u) && b->needs[n.in[k]]) c.need |= 1u << k;
    if (!c.need && hone_grad_kind_of(n.op) != HONE_GRAD_NONE) return HONE_OK;
    b->g->layer = n.layer;
    for (int k = 0; k < n.in_count; k++) /* rows instead of a gradient; ids and offsets have none */
        if (c.need >> k & 1u && hone_is_sparse(&b->g->tensor[n.in[k]])) return hone_sparse_backward(b->p, i, c.dy);
    HONE_TRY(choose_targets(b, &c));
    HONE_TRY(hone_grad_apply(&c));
    for (int k = 0; k < n.in_count; k++) HONE_TRY(contribute(b, &c, k));
    return HONE_OK;
}

/* Only a loss op starts a backward pass: its rule needs no gradient from above. */
static hone_status check_loss(const hone_graph *g, hone_tid loss)
{
    if (loss < 0 || loss >= g->tensor_count)
        return hone_fail(HONE_ERR_USAGE, "pass the id of the loss tensor", "backward: there is no tensor %d", loss);
    hone_nid producer = g->tensor[loss].producer;
    if (producer != HONE_NONE && hone_grad_kind_of(g->node[producer].op) == HONE_GRAD_LOSS &&
        g->node[producer].out[0] == loss)
        return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "differentiate output 0 of softmax_xent", "backward: tensor '%s' is not a loss",
                     g->tensor[loss].name);
}

/* Parameter gradients of several micro-batches add up in GRAD. */
static void mark_accumulating(hone_graph *g, hone_nid from)
{
    for (hone_nid i = from; i < g->node_count; i++) {
        uint32_t mask = hone_grad_param_outputs(g->node[i].op);
        for (int k = 0; k < g->node[i].out_count; k++)
            if ((mask >> k & 1u) && g->node[i].out[k] != HONE_NONE &&
                g->tensor[g->node[i].out[k]].role == HONE_ROLE_GRAD)
                g->node[i].accumulate = 1;
    }
}

/* Reverse order guarantees that a tensor's gradient is complete before its producer is reached. */
hone_status hone_pass_backward(hone_program *p)
{
    hone_graph *g = p->graph;
    if (p->opts.loss == HONE_NONE) return HONE_OK;
    HONE_TRY(check_loss(g, p->opts.loss));
    int32_t tensors = g->tensor_count;
    hone_nid nodes = g->node_count;
    backward b = {.p = p, .g = g};
    b.needs = calloc((size_t)tensors, sizeof *b.needs);
    b.grad = malloc((size_t)tensors * sizeof *b.grad);
    if (!b.needs || !b.grad) {
        free(b.needs);
        free(b.grad);
        return hone_fail(HONE_ERR_MEMORY, NULL, "backward: no host memory");
    }
    hone_status status = HONE_OK;
    for (hone_tid t = 0; t < tensors; t++) b.grad[t] = HONE_NONE;
    find_needs(&b, tensors);
    for (hone_nid i = nodes - 1; status == HONE_OK && i >= 0; i--) status = differentiate(&b, i);
    if (status == HONE_OK && p->opts.accumulate > 1) mark_accumulating(g, nodes);
    g->layer = -1;
    free(b.needs);
    free(b.grad);
    return status;
}
