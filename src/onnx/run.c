/* run.c - the walk itself, its values, and launches of single kernels (run.h). */
#include "onnx/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/names.h"

enum { ELEMENTS_MOST = 1 << 30 }; /* of one value: a graph of few bytes can ask for more than there is */

struct hone_onnx_run {
    const hone_onnx *m;     /* the graph, not owned                         */
    hone_backend *backend;  /* whose kernels compute; not owned             */
    hone_onnx_names names;  /* of all values: inputs, constants, results    */
    hone_onnx_array *value; /* (names)                                      */
    int *last;              /* (names): the node that reads it last         */
    bool keep;              /* results stay                                 */
};

void *hone_onnx_aligned(size_t bytes) { return aligned_alloc(64, (bytes + 64) / 64 * 64); }

/* --- values --------------------------------------------------------------------------------------------------- */

/* A value that is the caller's is forgotten, not freed. */
static void drop(hone_onnx_array *a)
{
    if (a->owned) free(a->data);
    *a = (hone_onnx_array){0};
}

/* The number of elements, or -1 where a shape has none that fits. */
static int64_t count_of(int rank, const int64_t *dim)
{
    int64_t count = 1;
    if (rank > HONE_ONNX_RANK) return -1;
    for (int k = 0; k < rank; k++)
        if (dim[k] < 0 || __builtin_mul_overflow(count, dim[k], &count) || count > ELEMENTS_MOST) return -1;
    return count;
}

static int find(hone_onnx_run *r, const char *name) { return hone_onnx_names_find(&r->names, name, false); }

/* Names of all values, and who reads them last; the graph was checked when it was read or made. */
static hone_status name_all(hone_onnx_run *r)
{
    const hone_onnx *m = r->m;
    int64_t most = (int64_t)m->init_count + m->input_count + 1;
    for (int k = 0; k < m->node_count; k++) most += m->node[k].out_count;
    HONE_TRY(hone_onnx_names_open(&r->names, (int)most));
    r->value = calloc((size_t)most, sizeof *r->value);
    r->last = calloc((size_t)most, sizeof *r->last);
    if (!r->value || !r->last) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the values of an ONNX graph");
    for (int k = 0; k < m->input_count; k++) hone_onnx_names_find(&r->names, m->input[k].name, true);
    for (int k = 0; k < m->init_count; k++) hone_onnx_names_find(&r->names, m->init[k].name, true);
    for (int k = 0; k < m->node_count; k++) {
        const hone_onnx_node *n = &m->node[k];
        for (int i = 0; i < n->in_count; i++)
            if (*n->in[i]) r->last[find(r, n->in[i])] = k;
        for (int i = 0; i < n->out_count; i++)
            if (*n->out[i]) r->last[hone_onnx_names_find(&r->names, n->out[i], true)] = k;
    }
    /* what is given out, constants and inputs outlive the walk */
    for (int k = 0; k < m->output_count; k++) r->last[find(r, m->output[k].name)] = m->node_count;
    for (int k = 0; k < m->input_count + m->init_count; k++) r->last[k] = m->node_count;
    return HONE_OK;
}

/* Constants, aligned: in a file they lie at any address. */
static hone_status copy_inits(hone_onnx_run *r)
{
    for (int k = 0; k < r->m->init_count; k++) {
        const hone_onnx_tensor *t = &r->m->init[k];
        hone_onnx_array a = {.type = t->type, .rank = t->rank, .count = count_of(t->rank, t->dim), .owned = true};
        memcpy(a.dim, t->dim, sizeof a.dim);
        if (a.count < 0) return hone_fail(HONE_ERR_DATA, NULL, "%s: too many elements", t->name);
        a.data = hone_onnx_aligned(t->bytes);
        if (!a.data) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %s", t->name);
        if (t->bytes) memcpy(a.data, t->data, t->bytes);
        r->value[find(r, t->name)] = a;
    }
    return HONE_OK;
}

/* Everything but the inputs: a run can walk many batches, of any sizes. */
hone_status hone_onnx_run_open(const hone_onnx *m, hone_backend *b, hone_onnx_run **out)
{
    hone_onnx_run *r = calloc(1, sizeof *r);
    if (!r) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    r->m = m;
    r->backend = b;
    hone_status status = name_all(r);
    if (status == HONE_OK) status = copy_inits(r);
    if (status == HONE_OK) {
        *out = r;
        return HONE_OK;
    }
    hone_onnx_run_close(r);
    return status;
}

/* Also unwinds a half-opened one. */
void hone_onnx_run_close(hone_onnx_run *r)
{
    if (!r) return;
    for (int k = 0; r->value && k < r->names.count; k++) drop(&r->value[k]);
    free(r->value);
    free(r->last);
    hone_onnx_names_close(&r->names);
    free(r);
}

/* Inputs have the first numbers of the table, initializers the next: what is no input can't be replaced. */
hone_status hone_onnx_run_input(hone_onnx_run *r, const char *name, int64_t type, int rank, const int64_t *dim,
                                const void *data)
{
    int k = find(r, name);
    int64_t count = count_of(rank, dim);
    if (k < 0 || k >= r->m->input_count || count < 0)
        return hone_fail(HONE_ERR_USAGE, NULL, "the ONNX graph has no input %s of such a shape", name);
    hone_onnx_array a = {.type = type, .rank = rank, .count = count};
    memcpy(a.dim, dim, (size_t)rank * sizeof *dim);
    if (r->keep) { /* values are asked for after the walk, when the caller's memory may be gone */
        size_t bytes = (size_t)count * hone_onnx_type_bytes(type);
        a.data = hone_onnx_aligned(bytes);
        a.owned = true;
        if (!a.data) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for an input of %zu bytes", bytes);
        memcpy(a.data, data, bytes);
    } else {
        memcpy(&a.data, &data, sizeof a.data); /* read only: kernels write to their own outputs */
    }
    drop(&r->value[k]);
    r->value[k] = a;
    return HONE_OK;
}

/* NULL too for a value that was dropped after its last reader. */
const hone_onnx_array *hone_onnx_run_value(hone_onnx_run *r, const char *name)
{
    int k = find(r, name);
    return k < 0 || r->value[k].type == 0 ? NULL : &r->value[k];
}

const hone_onnx *hone_onnx_run_model(const hone_onnx_run *r) { return r->m; }

void hone_onnx_run_keep(hone_onnx_run *r) { r->keep = true; }

/* --- calls ------------------------------------------------------------------------------------------------------ */

/* DATA, as of a file that is wrong; verify.c makes it a failed check where the file is hone's own. */
hone_status hone_onnx_call_fail(const hone_onnx_call *c, const char *what)
{
    return hone_fail(HONE_ERR_DATA, NULL, "ONNX %.40s '%.60s': %s", c->node->op, c->node->name, what);
}

/* Uninitialised: every operator writes all of it. */
hone_status hone_onnx_call_out(hone_onnx_call *c, int64_t type, int rank, const int64_t *dim)
{
    hone_onnx_array a = {.type = type, .rank = rank, .count = count_of(rank, dim), .owned = true};
    if (a.count < 0) return hone_onnx_call_fail(c, "a result of an impossible size");
    memcpy(a.dim, dim, (size_t)rank * sizeof *dim);
    a.data = hone_onnx_aligned((size_t)a.count * hone_onnx_type_bytes(type));
    if (!a.data) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for a value of an ONNX graph");
    c->out = a;
    return HONE_OK;
}

/* ONNX allows many types for most operators; hone writes few, and the others are refused and not guessed. */
hone_status hone_onnx_call_want(const hone_onnx_call *c, int k, int64_t type)
{
    return c->in[k]->type == type ? HONE_OK : hone_onnx_call_fail(c, "an operand of another type");
}

/* Lists moved from attributes to operands between opsets: whoever asks need not know which it is. */
hone_status hone_onnx_call_list(const hone_onnx_call *c, const char *attr, int k, int *count,
                                int64_t list[HONE_ONNX_RANK])
{
    const hone_onnx_attr *a = attr ? hone_onnx_find_attr(c->node, attr) : NULL;
    const hone_onnx_array *in = k >= 0 ? c->in[k] : NULL;
    const int64_t *from = a ? a->ints : in ? in->data : NULL;
    *count = -1;
    if (!from) return HONE_OK;
    int64_t n = a ? a->count : in->count;
    if (n > HONE_ONNX_RANK || (a && a->kind != HONE_ONNX_ATTR_INTS) || (!a && in->type != HONE_ONNX_INT64))
        return hone_onnx_call_fail(c, "a list that is too long or of another type");
    memcpy(list, from, (size_t)n * sizeof *list);
    *count = (int)n;
    return HONE_OK;
}

/* Negative axes count from the end. */
bool hone_onnx_axis(int64_t *axis, int rank)
{
    if (*axis < 0) *axis += rank;
    return *axis >= 0 && *axis < rank;
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

/* By name, each time: comparing some sixty names costs nothing beside a convolution. */
static const hone_onnx_op *find_op(const char *name)
{
    const hone_onnx_op *const table[] = {hone_onnx_math_ops, hone_onnx_move_ops, hone_onnx_net_ops,
                                         hone_onnx_sequence_ops};
    for (int t = 0; t < 4; t++)
        for (const hone_onnx_op *o = table[t]; o->name; o++)
            if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

/* Operands that were left out are NULL; one that is named but has no value is an error, as is one of the first
 * `least`. Values are freed with their last reader, so that a deep net needs the memory of a few layers. */
static hone_status walk_node(hone_onnx_run *r, int at)
{
    hone_onnx_call c = {.m = r->m, .node = &r->m->node[at], .backend = r->backend};
    const hone_onnx_op *op = find_op(c.node->op);
    if (!op) return hone_onnx_call_fail(&c, "an operator that hone does not know");
    if (c.node->in_count > op->most || c.node->in_count < op->least || c.node->out_count != 1)
        return hone_onnx_call_fail(&c, "a wrong number of operands");
    for (int k = 0; k < c.node->in_count; k++) {
        c.in[k] = *c.node->in[k] ? hone_onnx_run_value(r, c.node->in[k]) : NULL;
        if (!c.in[k] && (k < op->least || *c.node->in[k])) return hone_onnx_call_fail(&c, "a missing operand");
    }
    hone_status status = op->fn(&c);
    if (status != HONE_OK) {
        drop(&c.out);
        return status;
    }
    r->value[find(r, c.node->out[0])] = c.out;
    for (int k = 0; !r->keep && k < c.node->in_count; k++) {
        int v = *c.node->in[k] ? find(r, c.node->in[k]) : -1;
        if (v >= 0 && r->last[v] == at) drop(&r->value[v]);
    }
    return HONE_OK;
}

/* Results of the walk before are dropped first; inputs stay until they are replaced. */
hone_status hone_onnx_run_go(hone_onnx_run *r)
{
    for (int k = 0; k < r->m->node_count; k++) drop(&r->value[find(r, r->m->node[k].out[0])]);
    for (int k = 0; k < r->m->input_count; k++)
        if (r->value[k].type == 0)
            return hone_fail(HONE_ERR_USAGE, NULL, "the ONNX graph's input %s was not given", r->m->input[k].name);
    for (int k = 0; k < r->m->node_count; k++) HONE_TRY(walk_node(r, k));
    return HONE_OK;
}

/* --- one kernel ----------------------------------------------------------------------------------------------------- */

/* Operands become tensors of a graph of one node, so that shape rules and prepare see what they always see. */
static hone_status one_node(hone_graph *g, hone_op op, const hone_attrs *attr, const hone_onnx_dense *in)
{
    hone_tid id[HONE_MAX_IN], out[HONE_MAX_OUT];
    for (int k = 0; k < hone_op_inputs(op); k++) {
        char name[8];
        snprintf(name, sizeof name, "in%d", k);
        id[k] = HONE_NONE;
        if (in[k].data) HONE_TRY(hone_graph_tensor(g, name, HONE_F32, HONE_ROLE_ACT, in[k].rank, in[k].dim, &id[k]));
    }
    return hone_graph_add(g, op, id, attr, 1u, out);
}

/* The graph lives as long as the call: its shape rule checks what the operator asked for, prepare may pick an
 * algorithm, and only then the kernel runs on the caller's memory. */
hone_status hone_onnx_launch(hone_backend *b, hone_op op, const hone_attrs *attr, const hone_onnx_dense *in, float *out,
                             int64_t out_count)
{
    hone_graph *g = hone_graph_new();
    const hone_kernel *kernel = &b->kernel[op];
    hone_launch l = {.out = {out}};
    if (!g) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = one_node(g, op, attr, in);
    hone_node *n = status == HONE_OK ? &g->node[0] : NULL;
    if (n && hone_tensor_count(&g->tensor[n->out[0]]) != out_count)
        status = hone_fail(HONE_ERR_DATA, NULL, "ONNX: %s gives another size than its operator", hone_op_name(op));
    bool prepared = false; /* release only what prepare made */
    if (n && status == HONE_OK && kernel->prepare) {
        status = kernel->prepare(b, g, n);
        prepared = status == HONE_OK;
    }
    if (n && status == HONE_OK && n->work_bytes && !(l.work = hone_onnx_aligned(n->work_bytes)))
        status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for a kernel's scratch");
    if (n && status == HONE_OK) {
        l.node = n;
        for (int k = 0; k < n->in_count; k++) {
            if (n->in[k] == HONE_NONE) continue;
            l.in_desc[k] = &g->tensor[n->in[k]];
            memcpy(&l.in[k], &in[k].data, sizeof l.in[k]);
        }
        l.out_desc[0] = &g->tensor[n->out[0]];
        kernel->launch(b, &l);
    }
    if (prepared && kernel->release) kernel->release(b, n);
    free(l.work);
    hone_graph_free(g);
    return status;
}
