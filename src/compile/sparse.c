/* sparse.c - tables whose gradient is rows: what their backward and update append, and where they lie.
 *
 * A parameter flagged HONE_TENSOR_SPARSE has no GRAD. Its only reader is one embedding or embedding_bag, whose backward emits
 * (ids, rows), and the update touches those rows alone: sgd_rows or adamw_rows, between grad_norm (which rows_norm
 * joins) and the dense update (which counts the step). Plain SGD without momentum, clip and decay needs no rows in
 * between: embedding_bag_sgd subtracts each occurrence where it lies.
 *
 * PARAM holds sparse tables behind the dense trainable part; OPT holds their slots behind the dense ones, as many as
 * the optimizer has (plain SGD: none). Not offered, and refused by name: accumulation, a moving average. */
#include <stdio.h>
#include <string.h>

#include "compile/pass.h"

bool hone_is_sparse(const hone_tensor *t)
{
    const uint32_t both = HONE_TENSOR_TRAINABLE | HONE_TENSOR_SPARSE;
    return t->role == HONE_ROLE_PARAM && (t->flags & both) == both;
}

/* What a sparse table can't have is said before anything is built on it. */
static hone_status check_sparse(const hone_program *p, const hone_node *n, hone_tid table)
{
    const char *name = p->graph->tensor[table].name;
    for (int k = 0; k < p->sparse_count; k++)
        if (p->sparse[k].table == table)
            return hone_fail(HONE_ERR_USAGE, "set sparse: false on the embedding",
                             "backward: sparse parameter '%s' is read by two nodes", name);
    if (p->sparse_count == HONE_SPARSE_MAX)
        return hone_fail(HONE_ERR_USAGE, "set sparse: false on the smaller embeddings",
                         "backward: more than %d sparse parameters", HONE_SPARSE_MAX);
    if (n->op != HONE_OP_embedding_bag && n->op != HONE_OP_embedding)
        return hone_fail(HONE_ERR_USAGE, "set sparse: false on the embedding",
                         "backward: %s makes no sparse gradient for parameter '%s'", hone_op_name(n->op), name);
    if (p->opts.accumulate > 1)
        return hone_fail(HONE_ERR_USAGE,
                         "set train.accumulate: 1 and a larger batch, or sparse: false on the embedding",
                         "backward: the rows of sparse parameter '%s' can't be accumulated over batches", name);
    if (p->opts.update.ema_decay > 0)
        return hone_fail(HONE_ERR_USAGE, "set train.ema: 0, or sparse: false on the embedding",
                         "update: sparse parameter '%s' has no moving average: it would touch every row", name);
    return HONE_OK;
}

/* No rule of this optimizer looks at a row as a whole, so occurrences may be subtracted one by one. */
static bool is_direct(const hone_program *p, bool bag, hone_tid table)
{
    const hone_update_attr *a = &p->opts.update;
    bool decays = a->weight_decay > 0 && p->graph->tensor[table].flags & HONE_TENSOR_DECAY;
    return bag && p->opts.optimizer == HONE_OPT_SGD && a->momentum <= 0 && a->clip_norm <= 0 && !decays &&
           !p->opts.no_fuse;
}

/* The rows as tensors that the update, or a test, reads. */
static hone_status append_rows(hone_program *p, hone_op op, hone_sparse *s)
{
    hone_tid in[3] = {s->token, s->offset, s->dy}, out[HONE_MAX_OUT];
    HONE_TRY(hone_graph_append(p->graph, op, HONE_PHASE_BACKWARD, in, &s->attr, ~0u, NULL, out));
    s->row = out[0];
    s->drow = out[1];
    s->count = out[2];
    for (int k = 0; k < 3 && p->opts.optimizer == HONE_OPT_NONE; k++)
        p->graph->tensor[out[k]].flags |= HONE_TENSOR_KEEP;
    return HONE_OK;
}

hone_status hone_sparse_backward(hone_program *p, hone_nid node, hone_tid dy)
{
    const hone_node n = p->graph->node[node]; /* a copy: appending moves the array */
    hone_sparse s = {.table = n.in[0], .token = n.in[1], .offset = n.in[2], .dy = dy, .attr = n.attr};
    HONE_TRY(check_sparse(p, &n, s.table));
    s.row = s.drow = s.count = HONE_NONE;
    bool bag = n.op == HONE_OP_embedding_bag; /* the direct kernel is a bag's */
    s.direct = is_direct(p, bag, s.table);
    if (!s.direct) HONE_TRY(append_rows(p, bag ? HONE_OP_embedding_bag_rows : HONE_OP_embedding_rows, &s));
    p->sparse[p->sparse_count++] = s;
    return HONE_OK;
}

hone_status hone_sparse_norm(hone_program *p)
{
    hone_tid out[HONE_MAX_OUT];
    for (int k = 0; k < p->sparse_count; k++) {
        const hone_sparse *s = &p->sparse[k];
        hone_tid direct[3] = {s->offset, s->dy, p->step}, rows[3] = {s->drow, s->count, p->step};
        HONE_TRY(hone_graph_append(p->graph, s->direct ? HONE_OP_embedding_bag_norm : HONE_OP_rows_norm,
                                   HONE_PHASE_UPDATE, s->direct ? direct : rows, &s->attr, 0, NULL, out));
    }
    return HONE_OK;
}

int64_t hone_sparse_slot_offset(const hone_program *owner, const hone_tensor *table, int slot)
{
    int64_t dense = owner->flat_count * (int64_t)hone_dtype_bytes(table->dtype) * owner->slot_count;
    return dense + slot * owner->sparse_bytes + table->offset - owner->sparse_begin;
}

/* Slot `slot` of a table, of its shape. */
static hone_status slot_tensor(hone_program *p, const hone_sparse *s, int slot, hone_tid *out)
{
    char name[HONE_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.slot%d", p->graph->tensor[s->table].name, slot);
    HONE_TRY(hone_graph_like(p->graph, name, s->table, HONE_ROLE_OPT, out));
    p->graph->tensor[*out].offset = hone_sparse_slot_offset(p, &p->graph->tensor[s->table], slot);
    return HONE_OK;
}

/* sgd_rows or adamw_rows over the rows that backward has made. */
static hone_status append_update(hone_program *p, const hone_sparse *s)
{
    hone_attrs attr = {.update = p->opts.update};
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];
    bool adamw = p->opts.optimizer == HONE_OPT_ADAMW;
    hone_tid rows[5] = {s->table, s->row, s->drow, s->count, p->step};
    for (int k = 0; k < HONE_MAX_IN; k++) in[k] = k < 5 ? rows[k] : HONE_NONE;
    for (int k = 0; k < p->slot_count; k++) HONE_TRY(slot_tensor(p, s, k, &in[5 + k]));
    if (!(p->graph->tensor[s->table].flags & HONE_TENSOR_DECAY)) attr.update.weight_decay = 0;
    return hone_graph_append(p->graph, adamw ? HONE_OP_adamw_rows : HONE_OP_sgd_rows, HONE_PHASE_UPDATE, in, &attr, 0,
                             NULL, out);
}

hone_status hone_sparse_update(hone_program *p)
{
    hone_tid out[HONE_MAX_OUT];
    for (int k = 0; k < p->sparse_count; k++) {
        const hone_sparse *s = &p->sparse[k];
        hone_tid in[5] = {s->table, s->token, s->offset, s->dy, p->step};
        if (!s->direct) HONE_TRY(append_update(p, s));
        else
            HONE_TRY(
                hone_graph_append(p->graph, HONE_OP_embedding_bag_sgd, HONE_PHASE_UPDATE, in, &s->attr, 0, NULL, out));
    }
    return HONE_OK;
}
