/* graph.c - the arrays of a graph, the builder, and the table of operations.
 *
 * Shapes are inferred as nodes are added (shape.c), so a graph that exists is well formed: inputs
 * come before their readers, every tensor has one shape. No memory of tensors here, no kernels.
 *
 * Memory: both arrays grow by doubling, so ids are stable and pointers are not; functions that append
 * copy what they need before. Names of activations are made from op and node ("batchnorm#3.mean") and
 * serve messages only; names of parameters are the model's and are unique, as checkpoints and sharing
 * programs find them by name. */
#include "hone/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph_build.h"
#include "graph/signature.h"

/* From ops.def: counts include optional inputs and outputs; in_place is the input that output 0 may lie over. */
static const struct {
    const char *name;
    int inputs, outputs, in_place;
} op_table[HONE_OP_COUNT] = {
#define HONE_OP(name, inputs, outputs, in_place) [HONE_OP_##name] = {#name, inputs, outputs, in_place},
#include "hone/ops.def"
#undef HONE_OP
};

/* "?" for a value out of range: it is asked for in messages about exactly that. */
const char *hone_op_name(hone_op op) { return (unsigned)op < HONE_OP_COUNT ? op_table[op].name : "?"; }
int hone_op_inputs(hone_op op) { return op_table[op].inputs; }
int hone_op_outputs(hone_op op) { return op_table[op].outputs; }
int hone_op_in_place(hone_op op) { return op_table[op].in_place; }

/* Parsed anew each time: asked while building only, never in a step. */
bool hone_op_output_optional(hone_op op, int k)
{
    hone_signature sig;
    return hone_signature_parse(hone_shape_signature(op), &sig) && sig.out[k].optional;
}

bool hone_op_input_optional(hone_op op, int k)
{
    hone_signature sig;
    return hone_signature_parse(hone_shape_signature(op), &sig) && sig.in[k].optional;
}

/* The name in the signature of ops.def, "mean" or "at". Returns `text`. */
const char *hone_op_output_name(hone_op op, int k, char *text, size_t text_bytes)
{
    hone_signature sig;
    bool ok = hone_signature_parse(hone_shape_signature(op), &sig) && k < sig.out_count;
    snprintf(text, text_bytes, "%s", ok ? sig.out[k].name : "?");
    return text;
}

/* --- the arrays ----------------------------------------------------------------------------------- */

/* The builder's only failure that is not the caller's fault. */
static hone_status no_memory(const char *what)
{
    return hone_fail(HONE_ERR_MEMORY, "free host memory", "graph: no memory for %s", what);
}

/* layer -1: nodes added before the model names a layer belong to none. */
hone_graph *hone_graph_new(void)
{
    hone_graph *g = calloc(1, sizeof *g);
    if (g) g->layer = -1;
    return g;
}

/* `state` of nodes belongs to programs, which release it; a builder's graph has none. */
void hone_graph_free(hone_graph *g)
{
    if (!g) return;
    free(g->tensor);
    free(g->node);
    free(g);
}

/* Identity is an index, so a copy is two memcpys. */
hone_graph *hone_graph_copy(const hone_graph *g)
{
    hone_graph *c = hone_graph_new();
    if (!c) return NULL;
    *c = *g;
    c->tensor = malloc((size_t)(g->tensor_capacity ? g->tensor_capacity : 1) * sizeof *c->tensor);
    c->node = malloc((size_t)(g->node_capacity ? g->node_capacity : 1) * sizeof *c->node);
    if (!c->tensor || !c->node) { /* one of them may be there: free takes NULL */
        hone_graph_free(c);
        return NULL;
    }
    if (g->tensor_count) memcpy(c->tensor, g->tensor, (size_t)g->tensor_count * sizeof *c->tensor);
    if (g->node_count) memcpy(c->node, g->node, (size_t)g->node_count * sizeof *c->node);
    return c;
}

/* Room for one more element of `size` bytes; NULL when memory is exhausted. */
static void *grown(void *array, int32_t count, int32_t *capacity, size_t size)
{
    if (count < *capacity) return array;
    int32_t wanted = *capacity ? *capacity * 2 : 64;
    void *bigger = realloc(array, (size_t)wanted * size);
    if (bigger) *capacity = wanted;
    return bigger;
}

/* May move g->tensor: no pointer into it survives this call. */
static hone_status push_tensor(hone_graph *g, const hone_tensor *t, hone_tid *out)
{
    void *array = grown(g->tensor, g->tensor_count, &g->tensor_capacity, sizeof *g->tensor);
    if (!array) return no_memory("one more tensor");
    g->tensor = array;
    g->tensor[g->tensor_count] = *t;
    *out = g->tensor_count++;
    return HONE_OK;
}

/* May move g->node likewise. */
static hone_status push_node(hone_graph *g, const hone_node *n)
{
    void *array = grown(g->node, g->node_count, &g->node_capacity, sizeof *g->node);
    if (!array) return no_memory("one more node");
    g->node = array;
    g->node[g->node_count++] = *n;
    return HONE_OK;
}

/* --- tensors ------------------------------------------------------------------------------------------ */

/* Linear: graphs have some thousands of tensors, and names are looked up while building only. */
hone_tid hone_graph_find(const hone_graph *g, const char *name)
{
    for (hone_tid t = 0; t < g->tensor_count; t++)
        if (strcmp(g->tensor[t].name, name) == 0) return t;
    return HONE_NONE;
}

/* Sizes are at least 1 and the bytes stay below 2^62, so later sums of int64 offsets can't overflow. */
static hone_status check_shape(const char *name, hone_dtype dtype, int32_t rank, const int64_t *dim)
{
    int64_t count = 1;
    if (rank < 0 || rank > HONE_MAX_RANK)
        return hone_fail(HONE_ERR_USAGE, "tensors have 0 to 4 dimensions", "tensor '%s': rank %d", name, rank);
    for (int32_t k = 0; k < rank; k++) {
        if (dim[k] < 1 || dim[k] > (INT64_C(1) << 62) / (int64_t)hone_dtype_bytes(dtype) / count)
            return hone_fail(HONE_ERR_USAGE, "every size is at least 1 and the bytes fit in 62 bits",
                             "tensor '%s': dimension %d is %lld", name, k, (long long)dim[k]);
        count *= dim[k];
    }
    return HONE_OK;
}

/* All ids absent, no offset: what the plan and the backward pass fill in later. */
static void blank_tensor(hone_tensor *t, const char *name)
{
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name ? name : "");
    t->producer = t->alias = t->grad = HONE_NONE;
    t->offset = -1;
}

/* Errors: USAGE for a shape, a name that is too long, a parameter's name that is missing or taken; MEMORY. */
hone_status hone_graph_tensor(hone_graph *g, const char *name, hone_dtype dtype, hone_role role, int32_t rank,
                              const int64_t *dim, hone_tid *out)
{
    hone_tensor t;
    const char *shown = name ? name : "";
    HONE_TRY(check_shape(shown, dtype, rank, dim));
    if (strlen(shown) >= HONE_NAME_BYTES)
        return hone_fail(HONE_ERR_USAGE, "shorten the names of blocks and layers", "tensor name of %zu bytes: %s",
                         strlen(shown), shown);
    /* Only these are looked up by name, in files and by sharing programs. */
    bool named = role == HONE_ROLE_PARAM || role == HONE_ROLE_STATE;
    if (named && (!shown[0] || hone_graph_find(g, shown) != HONE_NONE))
        return hone_fail(HONE_ERR_USAGE, "give every parameter a name of its own", "parameter '%s' %s", shown,
                         shown[0] ? "exists already" : "needs a name");
    blank_tensor(&t, shown);
    t.dtype = dtype;
    t.role = role;
    t.rank = rank;
    if (rank) memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    return push_tensor(g, &t, out);
}

/* Gradients repeat their parameter's shape; their names are not checked, as passes make them unique. */
hone_status hone_graph_like(hone_graph *g, const char *name, hone_tid like, hone_role role, hone_tid *out)
{
    hone_tensor t;
    blank_tensor(&t, name);
    t.dtype = g->tensor[like].dtype;
    t.role = role;
    t.rank = g->tensor[like].rank;
    memcpy(t.dim, g->tensor[like].dim, sizeof t.dim);
    return push_tensor(g, &t, out);
}

/* One block for all nodes that draw random numbers or count: it is one arena on the device. */
hone_status hone_graph_step(hone_graph *g, hone_tid *out)
{
    for (*out = 0; *out < g->tensor_count; (*out)++)
        if (g->tensor[*out].role == HONE_ROLE_SCALAR) return HONE_OK;
    const int64_t bytes = sizeof(hone_step);
    return hone_graph_tensor(g, "step", HONE_U8, HONE_ROLE_SCALAR, 1, &bytes, out);
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

/* Before anything dereferences an id; whether an input may be absent is the signature's affair. */
static hone_status check_inputs(const hone_graph *g, hone_op op, const hone_tid *in)
{
    if ((unsigned)op >= HONE_OP_COUNT)
        return hone_fail(HONE_ERR_USAGE, "use a value of hone_op", "graph: there is no operation %d", (int)op);
    for (int k = 0; k < hone_op_inputs(op); k++)
        if (in[k] < HONE_NONE || in[k] >= g->tensor_count)
            return hone_fail(HONE_ERR_USAGE, "pass ids that this graph gave, or HONE_NONE",
                             "%s: input %d is %d, but the graph has %d tensors", hone_op_name(op), k, in[k],
                             g->tensor_count);
    return HONE_OK;
}

/* c->in points into g->tensor, so it is valid until a tensor is added. */
static hone_status infer(const hone_graph *g, hone_op op, const hone_tid *in, const hone_attrs *attr,
                         hone_shape_call *c)
{
    c->op = op;
    c->attr = attr;
    for (int k = 0; k < hone_op_inputs(op); k++) c->in[k] = in[k] == HONE_NONE ? NULL : &g->tensor[in[k]];
    return hone_shape_infer(c);
}

/* Output k of node `id`: a new activation named "conv#12" or "batchnorm#3.mean". */
static hone_status new_output(hone_graph *g, hone_nid id, const hone_shape_call *c, int k, hone_tid *out)
{
    hone_tensor t;
    char name[HONE_NAME_BYTES];
    snprintf(name, sizeof name, "%s#%d%s%s", hone_op_name(c->op), id, k ? "." : "", k ? c->sig.out[k].name : "");
    HONE_TRY(check_shape(name, c->out[k].dtype, c->out[k].rank, c->out[k].dim));
    blank_tensor(&t, name);
    t.dtype = c->out[k].dtype;
    t.role = HONE_ROLE_ACT;
    t.rank = c->out[k].rank;
    t.producer = id;
    memcpy(t.dim, c->out[k].dim, sizeof t.dim);
    return push_tensor(g, &t, out);
}

/* A given output must be what the rule says. It keeps its role; its producer is its last writer. */
static hone_status given_output(hone_graph *g, hone_nid id, const hone_shape_call *c, int k, hone_tid given)
{
    hone_tensor *t = &g->tensor[given];
    const hone_tensor *want = &c->out[k];
    char a[96], b[96];
    if (t->dtype != want->dtype || t->rank != want->rank ||
        memcmp(t->dim, want->dim, (size_t)t->rank * sizeof *t->dim) != 0)
        return hone_shape_fail(c, "output %s is %s, but tensor '%s' is %s", c->sig.out[k].name,
                               hone_tensor_shape_text(want, a, sizeof a), t->name,
                               hone_tensor_shape_text(t, b, sizeof b));
    t->producer = id;
    return HONE_OK;
}

/* Outputs first, then the node, so that a refused node leaves the node array as it was. */
static hone_status add_node(hone_graph *g, hone_phase phase, const hone_shape_call *c, const hone_tid *in,
                            uint32_t want_mask, const hone_tid *given, hone_tid *out)
{
    hone_node n = {.op = c->op, .phase = phase, .attr = *c->attr, .layer = g->layer};
    hone_nid id = g->node_count;
    n.in_count = hone_op_inputs(c->op); /* optional ones included: positions have meaning */
    n.out_count = hone_op_outputs(c->op);
    for (int k = 0; k < HONE_MAX_IN; k++) n.in[k] = k < n.in_count ? in[k] : HONE_NONE;
    for (int k = 0; k < HONE_MAX_OUT; k++) {
        n.out[k] = given && k < n.out_count ? given[k] : HONE_NONE;
        if (n.out[k] != HONE_NONE) HONE_TRY(given_output(g, id, c, k, n.out[k]));
    }
    for (int k = 0; k < n.out_count; k++) { /* new tensors last: they may move the array that c->in points into */
        bool wanted = !c->sig.out[k].optional || (want_mask >> k & 1u);
        if (n.out[k] == HONE_NONE && wanted) HONE_TRY(new_output(g, id, c, k, &n.out[k]));
    }
    memcpy(out, n.out, sizeof n.out);
    return push_node(g, &n);
}

/* On an error the node is not there; tensors that were made for it may be, and are never referenced. */
hone_status hone_graph_append(hone_graph *g, hone_op op, hone_phase phase, const hone_tid *in, const hone_attrs *attr,
                              uint32_t want_mask, const hone_tid *given, hone_tid out[HONE_MAX_OUT])
{
    static const hone_attrs none;
    hone_shape_call c = {0};
    HONE_TRY(check_inputs(g, op, in));
    HONE_TRY(infer(g, op, in, attr ? attr : &none, &c));
    return add_node(g, phase, &c, in, want_mask, given, out);
}

/* Models are forward; the passes of src/compile add the other phases by hone_graph_append. */
hone_status hone_graph_add(hone_graph *g, hone_op op, const hone_tid *in, const hone_attrs *attr, uint32_t want_mask,
                           hone_tid out[HONE_MAX_OUT])
{
    return hone_graph_append(g, op, HONE_PHASE_FORWARD, in, attr, want_mask, NULL, out);
}

/* Optional outputs are not made: they would cost memory that nobody reads. */
hone_status hone_graph_add1(hone_graph *g, hone_op op, const hone_tid *in, const hone_attrs *attr, hone_tid *out)
{
    hone_tid all[HONE_MAX_OUT];
    HONE_TRY(hone_graph_add(g, op, in, attr, 1u, all));
    *out = all[0];
    return HONE_OK;
}

/* A model that was built for inference needs no `at` of its pools; differentiating it does. */
hone_status hone_graph_want(hone_graph *g, hone_nid node, int output, hone_tid *out)
{
    hone_shape_call c = {0};
    HONE_TRY(infer(g, g->node[node].op, g->node[node].in, &g->node[node].attr, &c));
    HONE_TRY(new_output(g, node, &c, output, out));
    g->node[node].out[output] = *out;
    return HONE_OK;
}

/* The one op whose output shape is no function of its inputs. Its node stays in the list, so that
 * gradients can turn back there, and is never launched. */
hone_status hone_graph_reshape(hone_graph *g, hone_tid x, int32_t rank, const int64_t *dim, hone_tid *out)
{
    static const hone_attrs none;
    hone_tid all[HONE_MAX_OUT];
    hone_shape_call c = {0};
    HONE_TRY(check_inputs(g, HONE_OP_reshape, &x));
    HONE_TRY(check_shape("reshape", HONE_F32, rank, dim));
    c.out[0].rank = rank;
    if (rank) memcpy(c.out[0].dim, dim, (size_t)rank * sizeof *dim);
    HONE_TRY(infer(g, HONE_OP_reshape, &x, &none, &c));
    HONE_TRY(add_node(g, HONE_PHASE_FORWARD, &c, &x, 1u, NULL, all));
    g->tensor[all[0]].alias = x;
    *out = all[0];
    return HONE_OK;
}
