/* graph_build.h - what passes need beyond the public builder: nodes of other phases, and nodes that
 * write tensors which exist already (gradients of parameters). Nothing here allocates tensor memory. */
#ifndef HONE_GRAPH_BUILD_H
#define HONE_GRAPH_BUILD_H

#include "hone/graph.h"

/* As hone_graph_add, in `phase`; `given` may be NULL, else given[k] != HONE_NONE is the tensor that
 * output k writes, whose shape and dtype must be what the rule says. out[] as in hone_graph_add. */
hone_status hone_graph_append(hone_graph *g, hone_op op, hone_phase phase, const hone_tid *in, const hone_attrs *attr,
                              uint32_t want_mask, const hone_tid *given, hone_tid out[HONE_MAX_OUT]) HONE_MUST_USE;
/* A tensor without the checks for parameter names; `like` gives dtype, rank and dims. */
hone_status hone_graph_like(hone_graph *g, const char *name, hone_tid like, hone_role role,
                            hone_tid *out) HONE_MUST_USE;
/* Adds an optional output to a node that was built without it (maxpool's `at` for a backward pass). */
hone_status hone_graph_want(hone_graph *g, hone_nid node, int output, hone_tid *out) HONE_MUST_USE;
/* Is output k / input k of the op optional? */
bool hone_op_output_optional(hone_op op, int k);
bool hone_op_input_optional(hone_op op, int k);
/* Name of an operand as in ops.def, "dgamma"; a static buffer is not used: text is filled and returned. */
const char *hone_op_output_name(hone_op op, int k, char *text, size_t text_bytes);

#endif
