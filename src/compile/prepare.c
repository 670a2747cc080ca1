/* prepare.c - lets the backend choose algorithms and state scratch sizes, node by node.
 *
 * The last place where an operation can be refused: a missing kernel is named with op, tensor and
 * backend. Nothing falls back here; what a dialect inherits it has put in its table itself.
 *
 * Prepare is where kernels may be slow: they choose algorithms by rules over shapes, create descriptors,
 * and say in work_bytes what scratch a launch needs. Launches never fail, so all refusals come from here. */
#include <stdio.h>

#include "compile/pass.h"

/* The update has no outputs; there the first input names the node. */
const char *hone_node_text(const hone_program *p, const hone_node *n, char *text, size_t text_bytes)
{
    static const char *const phase[] = {"forward", "backward", "update"};
    char layer[32] = "";
    hone_tid t = n->out_count > 0 && n->out[0] != HONE_NONE ? n->out[0] : n->in[0];
    if (n->layer >= 0) snprintf(layer, sizeof layer, " of layer %d", n->layer);
    snprintf(text, text_bytes, "%s %s%s (tensor '%s')", phase[n->phase], hone_op_name(n->op), layer,
             p->graph->tensor[t].name);
    return text;
}

/* A fused row never fails here: fuse.c has looked at the same table. */
static hone_status prepare_node(hone_program *p, hone_node *n)
{
    char text[256];
    const hone_kernel *k = &p->backend->kernel[n->op];
    if (!k->launch)
        return hone_fail(HONE_ERR_USAGE, "use another device, or add the kernel to the backend's table",
                         "compile: %s on %s: the backend has no kernel for this op",
                         hone_node_text(p, n, text, sizeof text), p->backend->name);
    if (!k->prepare) return HONE_OK;
    hone_status status = k->prepare(p->backend, p->graph, n);
    if (status != HONE_OK)
        hone_error_context("compile: %s on %s", hone_node_text(p, n, text, sizeof text), p->backend->name);
    return status;
}

/* `prepared` runs ahead of the calls, so that a failure releases the node that failed as well. */
hone_status hone_pass_prepare(hone_program *p)
{
    for (hone_nid i = 0; i < p->graph->node_count; i++) {
        hone_node *n = &p->graph->node[i];
        p->prepared = i + 1;
        n->work_bytes = 0;
        n->state = NULL;
        n->choice = NULL;
        if (n->op == HONE_OP_reshape) continue;
        HONE_TRY(prepare_node(p, n));
    }
    return HONE_OK;
}

/* A node whose prepare failed may hold half its state: release copes with that or leaves state NULL. */
void hone_prepare_release(hone_program *p)
{
    for (hone_nid i = 0; p->graph && i < p->prepared; i++) {
        hone_node *n = &p->graph->node[i];
        if (n->state && p->backend->kernel[n->op].release) p->backend->kernel[n->op].release(p->backend, n);
        n->state = NULL;
    }
    p->prepared = 0;
}
