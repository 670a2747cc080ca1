/* grad.h - the gradient rule of every operation: data that says which nodes to append.
 *
 * A rule is one or two backward nodes whose inputs are named by where they come from (inputs, outputs
 * and output gradient of the forward node) and whose outputs are gradients of its inputs. Rules append
 * nodes in backward phase; adding up several contributions is the caller's (src/compile/backward.c). */
#ifndef HONE_GRAPH_GRAD_H
#define HONE_GRAPH_GRAD_H

#include "graph/graph_build.h"

typedef enum hone_grad_kind {
    HONE_GRAD_UNSET, /* no row: a bug that test_graph names                          */
    HONE_GRAD_NONE,  /* no gradient, and it is an error to ask for one               */
    HONE_GRAD_NODES, /* the backward nodes of the row                                */
    HONE_GRAD_PASS,  /* inputs of pass_mask get the output's gradient itself, uncopied */
    HONE_GRAD_RESHAPE,
    HONE_GRAD_LOSS /* as NODES, but the output's gradient is 1 and has no tensor   */
} hone_grad_kind;

typedef struct hone_grad_call {
    hone_graph *g;
    hone_nid node;               /* the forward node                                          */
    hone_tid dy;                 /* gradient of its output 0; HONE_NONE at the loss           */
    uint32_t need;               /* bit k: the gradient of input k is wanted                  */
    hone_tid given[HONE_MAX_IN]; /* tensor that must receive it, or HONE_NONE for a new one   */
    hone_tid dx[HONE_MAX_IN];    /* answer: gradients of the inputs, HONE_NONE where not asked */
} hone_grad_call;

hone_grad_kind hone_grad_kind_of(hone_op op);
/* Bit k: input k can have a gradient. */
uint32_t hone_grad_inputs(hone_op op);
/* Bit k: output k is a parameter gradient, which kernels add to where node->accumulate is set. */
uint32_t hone_grad_param_outputs(hone_op op);
/* May the gradient of input k be written straight into a tensor that exists? */
bool hone_grad_can_write(hone_op op, int k, bool accumulate);
/* Appends the nodes of one rule. Errors: USAGE for an op without gradient, MEMORY. */
hone_status hone_grad_apply(hone_grad_call *c) HONE_MUST_USE;

#endif
