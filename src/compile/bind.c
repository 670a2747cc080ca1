/* bind.c - one allocation an arena, an address for every tensor, a launch record for every node.
 *
 * What the plan borrowed comes from the owner's arenas. After this pass a step only walks the launch
 * records. Guards of no_reuse programs are filled here and can be checked at any time.
 *
 * Sharing: a tensor that the plan marked borrowed has its offset in the owner's arena; ACT and WORK are
 * borrowed whole, since nothing in them outlives a step. Kept activations of a sharer are therefore
 * valid only until the next step of any program of the family. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"
#include "graph/graph_print.h"

/* One call an arena; the backend gives zeros, on which the padding of the flat arenas relies. */
static hone_status allocate(hone_program *p, hone_role role)
{
    size_t bytes = p->role_bytes[role];
    if (bytes == 0) return HONE_OK;
    hone_status status = p->backend->alloc(p->backend, bytes, &p->arena[role]);
    if (status != HONE_OK) {
        p->arena[role] = NULL;
        hone_error_context("compile: arena '%s' of %zu bytes", hone_role_name(role), bytes);
        return status;
    }
    p->arena_bytes[role] = bytes;
    return HONE_OK;
}

/* --- guards ------------------------------------------------------------------------------------------- */

/* A pattern that is neither zero nor a plausible float. */
static hone_status fill_guards(hone_program *p)
{
    uint8_t pattern[HONE_GUARD_BYTES + HONE_ALIGN_BYTES];
    memset(pattern, HONE_GUARD_FILL, sizeof pattern);
    for (int32_t k = 0; k < p->guard_count; k++)
        HONE_TRY(p->backend->upload(p->backend, (uint8_t *)p->arena[HONE_ROLE_ACT] + p->guard[k].offset, pattern,
                                    (size_t)p->guard[k].bytes));
    return HONE_OK;
}

/* The activation whose range ends where the guard begins. */
static const char *guarded_tensor(const hone_program *p, const hone_guard *guard)
{
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        const hone_tensor *x = &p->graph->tensor[t];
        if (x->role == HONE_ROLE_ACT && x->alias == HONE_NONE && x->offset >= 0 &&
            x->offset + (int64_t)hone_tensor_bytes(x) == guard->offset)
            return x->name;
    }
    return "?";
}

/* Downloads all guards: for tests and HONE_CHECK=1, never in a normal step. */
hone_status hone_guards_check(hone_program *p)
{
    uint8_t bytes[HONE_GUARD_BYTES + HONE_ALIGN_BYTES];
    for (int32_t k = 0; k < p->guard_count; k++) {
        const uint8_t *at = (const uint8_t *)p->arena[HONE_ROLE_ACT] + p->guard[k].offset;
        HONE_TRY(p->backend->download(p->backend, bytes, at, (size_t)p->guard[k].bytes));
        for (int64_t i = 0; i < p->guard[k].bytes; i++)
            if (bytes[i] != HONE_GUARD_FILL)
                return hone_fail(HONE_ERR_VERIFY, "a kernel writes past its output",
                                 "the guard behind tensor '%s' was overwritten at byte %lld",
                                 guarded_tensor(p, &p->guard[k]), (long long)i);
    }
    return HONE_OK;
}

/* --- addresses ------------------------------------------------------------------------------------------ */

/* Base of the arena that holds `root`, this program's or the owner's; NULL for a pool not bound yet. */
static void *arena_of(const hone_program *p, hone_tid root)
{
    hone_role role = p->graph->tensor[root].role;
    if (role == HONE_ROLE_POOL) return NULL;
    bool owners = role == HONE_ROLE_ACT ? p->borrows[role] : p->borrowed[root];
    return owners ? p->owner->arena[role] : p->arena[role];
}

/* Where a parameter was lent from, of this program or its owner; NULL: it lies in its arena. */
static void *lent_from(const hone_program *p, hone_tid root)
{
    const hone_program *o = p->owner ? p->owner : p;
    const hone_tensor *x = &p->graph->tensor[root];
    for (int k = 0; k < o->lent_count && x->role == HONE_ROLE_PARAM; k++)
        if (o->lent[k].offset == x->offset) return o->lent[k].data;
    return NULL;
}

/* Tensors that fusion removed keep offset -1 and have no address. */
static void resolve_addresses(hone_program *p)
{
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        hone_tid root = hone_alias_root(p->graph, t);
        if (p->graph->tensor[root].role == HONE_ROLE_POOL) continue; /* bound by whoever has the data */
        uint8_t *base = arena_of(p, root), *lent = lent_from(p, root);
        int64_t offset = p->graph->tensor[root].offset;
        p->address[t] = lent ? lent : base && offset >= 0 ? base + offset : NULL;
    }
}

/* Pointers in the order of ops.def; absent operands stay NULL from calloc. */
static void fill_launch(const hone_program *p, const hone_node *n, hone_launch *l)
{
    l->node = n;
    for (int k = 0; k < n->in_count; k++) {
        if (n->in[k] == HONE_NONE) continue;
        l->in_desc[k] = &p->graph->tensor[n->in[k]];
        l->in[k] = p->address[n->in[k]];
    }
    for (int k = 0; k < n->out_count; k++) {
        if (n->out[k] == HONE_NONE) continue;
        l->out_desc[k] = &p->graph->tensor[n->out[k]];
        l->out[k] = p->address[n->out[k]];
    }
    if (n->work_bytes > 0) l->work = (p->borrows[HONE_ROLE_WORK] ? p->owner : p)->arena[HONE_ROLE_WORK];
}

/* Update nodes are the last ones, so each range is one interval. */
static void fill_launches(hone_program *p)
{
    int32_t update = -1;
    for (hone_nid i = 0; i < p->graph->node_count; i++) {
        const hone_node *n = &p->graph->node[i];
        if (n->op == HONE_OP_reshape) continue; /* an alias: the memory is there already */
        if (n->phase == HONE_PHASE_UPDATE && update < 0) update = p->launch_count;
        fill_launch(p, n, &p->launch[p->launch_count++]);
    }
    if (update < 0) update = p->launch_count;
    p->whole = (hone_range){.begin = 0, .end = p->launch_count};
    p->forward_backward = (hone_range){.begin = 0, .end = update};
    p->update = (hone_range){.begin = update, .end = p->launch_count};
}

/* fp16 begins with a scale; a resume puts its own step block over this one. */
static hone_status start_loss_scale(hone_program *p)
{
    hone_step step = {.loss_scale = p->opts.loss_scale > 0 ? p->opts.loss_scale : HONE_LOSS_SCALE_INIT};
    bool trains = p->opts.loss != HONE_NONE && p->graph->precision == HONE_PRECISION_FP16;
    if (!trains || p->borrowed[p->step]) return HONE_OK;
    return hone_program_put_step(p, &step);
}

void hone_bind_addresses(hone_program *p)
{
    resolve_addresses(p);
    for (int32_t i = 0; i < p->launch_count; i++) fill_launch(p, p->launch[i].node, &p->launch[i]);
}

/* Sharing is by address: the owner must have memory by now, and must outlive this program. */
hone_status hone_pass_bind(hone_program *p)
{
    if (p->owner && !p->owner->launch)
        return hone_fail(HONE_ERR_USAGE, "share a program of hone_compile",
                         "compile: the shared program is only planned");
    p->address = calloc((size_t)p->graph->tensor_count + 1, sizeof *p->address);
    p->launch = calloc((size_t)p->graph->node_count + 1, sizeof *p->launch);
    if (p->together > 1) p->kept = calloc((size_t)p->together, (size_t)p->slot_bytes);
    if (!p->address || !p->launch || (p->together > 1 && !p->kept))
        return hone_fail(HONE_ERR_MEMORY, NULL, "bind: no host memory");
    for (int role = 0; role < HONE_ROLE_COUNT; role++) HONE_TRY(allocate(p, (hone_role)role));
    resolve_addresses(p);
    fill_launches(p);
    HONE_TRY(fill_guards(p));
    HONE_TRY(start_loss_scale(p));
    /* The owner's table is the same one: K and segments were adopted from it. */
    if (p->segment_tensor == HONE_NONE || p->borrowed[p->segment_tensor]) return HONE_OK;
    return p->backend->upload(p->backend, p->address[p->segment_tensor], p->segment,
                              (size_t)p->segment_count * sizeof *p->segment);
}

/* Arenas of its own only; borrowed ones are the owner's to free. */
void hone_bind_free(hone_program *p)
{
    for (int role = 0; role < HONE_ROLE_COUNT; role++)
        if (p->arena[role]) p->backend->free(p->backend, p->arena[role]);
    free(p->address);
    free(p->launch);
    free(p->kept);
    free(p->borrowed);
    free(p->guard);
}
