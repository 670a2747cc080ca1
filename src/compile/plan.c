/* plan.c - gives every tensor an offset in the arena of its role.
 *
 * Activations share memory by liveness: a value lives from its producer to its last reader, the
 * largest are placed first, each into the lowest gap that is free for all its life. Aliases (reshape,
 * and outputs computed in place of a dying input) are one value. With no_reuse every value has its
 * own range and a guard. Parameters were placed by update.c. Nothing is allocated here.
 *
 * Time is the index of a node. A value is alive from its producer to its last reader, both included, so
 * an output never overlaps an input of its own node unless it is computed in place. Kept tensors live to
 * the end; what the host writes lives from the start. On the nets of configs/ the result equals the
 * largest sum of bytes alive at once (mobilenet_v2: 0.01 % above), which no plan can go below. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

typedef struct value { /* one range of the ACT arena: a tensor and its aliases */
    hone_tid root;
    int64_t bytes, offset;
    hone_nid birth, death; /* first writer, last reader; node_count: to the end   */
} value;

/* Lives are in node order, which is the order of execution. */
typedef struct planner {
    hone_program *p;
    hone_graph *g;
    hone_nid *birth, *death; /* (tensor_count), of roots; UNUSED: no node touches it */
    value *value;
    int32_t value_count;
} planner;

enum { UNUSED = -2, BEFORE_ALL = -1 };

/* Who owns the bytes. Chains are short: a fused in-place op adds one link. */
hone_tid hone_alias_root(const hone_graph *g, hone_tid t)
{
    while (g->tensor[t].alias != HONE_NONE) t = g->tensor[t].alias;
    return t;
}

/* --- lives -------------------------------------------------------------------------------------------- */

/* Node i reads or writes t: its value's life reaches to i. */
static void touch(planner *a, hone_tid t, hone_nid i, bool writes)
{
    hone_tid r = hone_alias_root(a->g, t);
    bool kept = (a->g->tensor[t].flags & HONE_TENSOR_KEEP) != 0;
    if (a->birth[r] == UNUSED && !writes) { /* an activation nobody writes: the host does, so it stays */
        a->birth[r] = BEFORE_ALL;
        kept = true;
    }
    if (a->birth[r] == UNUSED) a->birth[r] = i;
    if (a->death[r] < i) a->death[r] = i;
    if (kept) a->death[r] = a->g->node_count;
}

/* Inputs before outputs: a tensor written first and read by the same node is none of ours. */
static void find_lives(planner *a)
{
    for (hone_tid t = 0; t < a->g->tensor_count; t++) a->birth[t] = a->death[t] = UNUSED;
    for (hone_nid i = 0; i < a->g->node_count; i++) {
        const hone_node *n = &a->g->node[i];
        for (int k = 0; k < n->in_count; k++)
            if (n->in[k] != HONE_NONE) touch(a, n->in[k], i, false);
        for (int k = 0; k < n->out_count; k++)
            if (n->out[k] != HONE_NONE) touch(a, n->out[k], i, true);
    }
}

/* Output 0 takes the memory of input k when the op allows it and the input's value dies at this node. */
static void compute_in_place(planner *a)
{
    for (hone_nid i = 0; i < a->g->node_count; i++) {
        const hone_node *n = &a->g->node[i];
        int k = hone_op_in_place(n->op);
        if (k < 0 || n->op == HONE_OP_reshape || n->in[k] == HONE_NONE || n->out[0] == HONE_NONE) continue;
        hone_tid t = n->out[0], r = hone_alias_root(a->g, n->in[k]);
        if (r == t || a->g->tensor[t].alias != HONE_NONE) continue; /* add(grad, more) -> grad is in place already */
        if (a->g->tensor[t].role != HONE_ROLE_ACT || a->g->tensor[r].role != HONE_ROLE_ACT) continue;
        if (a->death[r] != i || hone_tensor_bytes(&a->g->tensor[r]) != hone_tensor_bytes(&a->g->tensor[t])) continue;
        a->g->tensor[t].alias = r;
        a->death[r] = a->death[t];
    }
}

/* --- placement ------------------------------------------------------------------------------------------ */

/* Large values have the fewest places to go, so they choose first. */
static int larger_first(const void *x, const void *y)
{
    const value *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->root < b->root ? -1 : 1; /* ids break ties: the plan is a function of the graph */
}

/* Both ends included: an output must not overwrite an input of the node that makes it. */
static bool alive_together(const value *a, const value *b) { return a->birth <= b->death && b->birth <= a->death; }

/* `placed` is sorted by offset: the first gap between ranges alive at the same time that is wide enough. */
static int64_t lowest_gap(const value *placed, int32_t count, const value *v)
{
    int64_t at = 0;
    for (int32_t k = 0; k < count; k++) {
        if (!alive_together(&placed[k], v)) continue;
        if (placed[k].offset - at >= v->bytes) return at;
        if (placed[k].offset + placed[k].bytes > at) at = placed[k].offset + placed[k].bytes;
    }
    return at;
}

/* O(values^2), a millisecond for a ResNet-50; `placed` stays sorted by offset. */
static hone_status place_by_life(planner *a, int64_t *total)
{
    value *placed = malloc((size_t)(a->value_count + 1) * sizeof *placed);
    if (!placed) return hone_fail(HONE_ERR_MEMORY, NULL, "plan: no host memory");
    qsort(a->value, (size_t)a->value_count, sizeof *a->value, larger_first);
    *total = 0;
    for (int32_t k = 0; k < a->value_count; k++) {
        value v = a->value[k];
        v.offset = lowest_gap(placed, k, &v);
        int32_t at = k;
        while (at > 0 && placed[at - 1].offset > v.offset) at--;
        memmove(placed + at + 1, placed + at, (size_t)(k - at) * sizeof *placed);
        placed[at] = v;
        a->g->tensor[v.root].offset = v.offset;
        if (v.offset + v.bytes > *total) *total = v.offset + v.bytes;
    }
    free(placed);
    return HONE_OK;
}

/* no_reuse: range after range; the guard begins at the last byte's neighbour, so that an overrun by
 * one element is seen even where alignment leaves a gap. */
static hone_status place_apart(planner *a, int64_t *total)
{
    hone_program *p = a->p;
    p->guard = calloc((size_t)a->value_count + 1, sizeof *p->guard);
    if (!p->guard) return hone_fail(HONE_ERR_MEMORY, NULL, "plan: no host memory");
    *total = 0;
    for (int32_t k = 0; k < a->value_count; k++) {
        int64_t end = *total + (int64_t)hone_tensor_bytes(&a->g->tensor[a->value[k].root]);
        a->g->tensor[a->value[k].root].offset = *total;
        *total = hone_align_up(end) + HONE_GUARD_BYTES;
        p->guard[p->guard_count++] = (hone_guard){end, *total - end};
    }
    return HONE_OK;
}

/* act_no_reuse is what the same values would take one behind the other, without guards. */
static hone_status place_activations(planner *a)
{
    int64_t total = 0;
    for (hone_tid t = 0; t < a->g->tensor_count; t++) {
        const hone_tensor *x = &a->g->tensor[t];
        int64_t bytes = hone_align_up((int64_t)hone_tensor_bytes(x));
        if (x->role != HONE_ROLE_ACT || a->birth[t] == UNUSED) continue;
        a->p->act_no_reuse += (size_t)bytes; /* reshapes are not here: only their root has a life */
        if (x->alias == HONE_NONE) a->value[a->value_count++] = (value){t, bytes, 0, a->birth[t], a->death[t]};
    }
    HONE_TRY(a->p->opts.no_reuse ? place_apart(a, &total) : place_by_life(a, &total));
    a->p->role_bytes[HONE_ROLE_ACT] = (size_t)total;
    return HONE_OK;
}

/* --- the other roles -------------------------------------------------------------------------------------- */

/* CONST may be lacking in the owner (class weights of one program only). */
static void borrow(hone_program *p, hone_tid t)
{
    const hone_graph *og = p->owner->graph;
    hone_tensor *x = &p->graph->tensor[t];
    hone_tid o = x->role == HONE_ROLE_SCALAR ? p->owner->step : hone_graph_find(og, x->name);
    bool same = o != HONE_NONE && og->tensor[o].role == x->role && og->tensor[o].offset >= 0 &&
                hone_tensor_bytes(&og->tensor[o]) == hone_tensor_bytes(x);
    if (!same || p->owner->borrowed[o]) return;
    x->offset = og->tensor[o].offset;
    p->borrowed[t] = true;
}

/* An owner compiled without a loss has no GRAD and OPT to lend; the sharer then makes its own. */
static bool owner_has(const hone_program *p, hone_role role) { return p->owner && p->owner->role_bytes[role] > 0; }

/* One tensor that is no activation: borrowed from the owner, or behind what its arena holds already. */
static void place_other(hone_program *p, hone_tid t)
{
    hone_tensor *x = &p->graph->tensor[t];
    switch (x->role) {
    case HONE_ROLE_PARAM:
    case HONE_ROLE_SHADOW:
    case HONE_ROLE_STATE:
    case HONE_ROLE_GRAD:
    case HONE_ROLE_OPT: p->borrowed[t] = owner_has(p, x->role); return; /* placed by update.c */
    case HONE_ROLE_CONST:
    case HONE_ROLE_SCALAR:
        if (p->owner && !p->opts.apart) borrow(p, t);
        if (p->borrowed[t]) return;
        break;
    case HONE_ROLE_INPUT: break;
    default: return;
    }
    x->offset = (int64_t)p->role_bytes[x->role];
    p->role_bytes[x->role] = (size_t)hone_align_up(x->offset + (int64_t)hone_tensor_bytes(x));
}

/* PARAM ends behind the last frozen parameter; GRAD and OPT cover the trainable part alone, and OPT with an
 * average that of STATE. */
static void size_flat_arenas(hone_program *p)
{
    const hone_graph *g = p->graph;
    size_t real = hone_dtype_bytes(p->backend->real == HONE_F64 ? HONE_F64 : HONE_F32);
    size_t flat = (size_t)p->flat_count * real, state = (size_t)p->state_count * real;
    for (hone_tid t = 0; t < g->tensor_count && !p->owner; t++) {
        size_t end = (size_t)hone_align_up(g->tensor[t].offset + (int64_t)hone_tensor_bytes(&g->tensor[t]));
        if (g->tensor[t].role == HONE_ROLE_PARAM && end > p->role_bytes[HONE_ROLE_PARAM])
            p->role_bytes[HONE_ROLE_PARAM] = end;
    }
    if (!p->owner) p->role_bytes[HONE_ROLE_STATE] = state;
    if (!p->owner) p->role_bytes[HONE_ROLE_SHADOW] = hone_shadow_bytes(p);
    if (p->opts.loss != HONE_NONE && !owner_has(p, HONE_ROLE_GRAD)) p->role_bytes[HONE_ROLE_GRAD] = flat;
    if (p->opts.optimizer != HONE_OPT_NONE && !owner_has(p, HONE_ROLE_OPT))
        p->role_bytes[HONE_ROLE_OPT] =
            (flat + (size_t)p->sparse_bytes) * (size_t)p->slot_count + (p->ema ? flat + state : 0);
}

/* ACT and WORK hold nothing between steps, so a sharer runs in the owner's where they are large enough and steps
 * take turns. */
static void borrow_scratch(hone_program *p, hone_role role)
{
    /* A sharer in a guarded arena would overwrite the guards. */
    bool guarded = p->opts.no_reuse || (p->owner && p->owner->opts.no_reuse);
    if (!p->owner || p->opts.apart || guarded || p->owner->role_bytes[role] < p->role_bytes[role]) return;
    p->borrows[role] = true;
    p->role_bytes[role] = 0;
}

/* After all roots are placed, of whatever role: a reshape of an input lies in INPUT. */
static void propagate_aliases(hone_graph *g)
{
    for (hone_tid t = 0; t < g->tensor_count; t++)
        if (g->tensor[t].alias != HONE_NONE) g->tensor[t].offset = g->tensor[hone_alias_root(g, t)].offset;
}

/* Lives, then places, then what may be borrowed: each step needs the one before. */
static hone_status plan(planner *a)
{
    hone_program *p = a->p;
    find_lives(a);
    if (!p->opts.no_reuse) compute_in_place(a);
    HONE_TRY(place_activations(a));
    for (hone_tid t = 0; t < a->g->tensor_count; t++) place_other(p, t);
    size_flat_arenas(p);
    for (hone_nid i = 0; i < a->g->node_count; i++)
        if (a->g->node[i].work_bytes > p->role_bytes[HONE_ROLE_WORK])
            p->role_bytes[HONE_ROLE_WORK] = (size_t)hone_align_up((int64_t)a->g->node[i].work_bytes);
    borrow_scratch(p, HONE_ROLE_ACT);
    borrow_scratch(p, HONE_ROLE_WORK);
    propagate_aliases(a->g);
    return HONE_OK;
}

/* Owns the arrays that only this pass needs. */
hone_status hone_pass_plan(hone_program *p)
{
    size_t count = (size_t)p->graph->tensor_count + 1;
    planner a = {.p = p, .g = p->graph};
    a.birth = malloc(count * sizeof *a.birth);
    a.death = malloc(count * sizeof *a.death);
    a.value = malloc(count * sizeof *a.value);
    p->borrowed = calloc(count, sizeof *p->borrowed);
    hone_status status = a.birth && a.death && a.value && p->borrowed
                             ? plan(&a)
                             : hone_fail(HONE_ERR_MEMORY, NULL, "plan: no host memory");
    free(a.birth);
    free(a.death);
    free(a.value);
    return status;
}
