/* nonfinite.c - finds the node at which a step stops being finite, for the message of the NaN guard.
 *
 * Slow, and rarely run: forward and backward once more, node by node, each output looked at. All that
 * a step writes and keeps (step block, running statistics, gradients) is saved before and put back.
 *
 * The update is not run, so parameters and optimizer slots are never touched. Order of the search:
 * what the step was given, each node's outputs in execution order, the norm of the gradients. The answer
 * is text for a human: phase, op, layer and tensor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

/* Labels, places and bytes are always finite. */
static bool is_real(hone_dtype d) { return d == HONE_F32 || d == HONE_F64 || d == HONE_BF16 || d == HONE_F16; }

/* *bad: `t` at `address` holds a value that is not finite. */
static hone_status look_at(hone_program *p, const hone_tensor *t, const void *address, bool *bad)
{
    *bad = false;
    if (!is_real(t->dtype) || !address) return HONE_OK;
    size_t bytes = hone_tensor_bytes(t);
    int64_t count = hone_tensor_count(t);
    void *host = malloc(bytes);
    float *wide = malloc((size_t)count * sizeof *wide);
    hone_status status = HONE_OK;
    if (!host || !wide) status = hone_fail(HONE_ERR_MEMORY, NULL, "no host memory to look at tensor '%s'", t->name);
    if (status == HONE_OK) status = p->backend->download(p->backend, host, address, bytes);
    if (status == HONE_OK && t->dtype != HONE_F64) hone_reals_to_f32(t->dtype, host, wide, count);
    for (int64_t i = 0; status == HONE_OK && !*bad && i < count; i++)
        *bad = !isfinite(t->dtype == HONE_F64 ? ((double *)host)[i] : (double)wide[i]);
    free(host);
    free(wide);
    return status;
}

/* Inputs, parameters and statistics first: if one of them is spoilt, no node is to blame. */
static hone_status look_at_givens(hone_program *p, bool *found, char *text, size_t text_bytes)
{
    for (hone_tid t = 0; t < p->graph->tensor_count && !*found; t++) {
        const hone_tensor *x = &p->graph->tensor[t];
        bool given = x->role == HONE_ROLE_INPUT || x->role == HONE_ROLE_CONST || x->role == HONE_ROLE_PARAM ||
                     x->role == HONE_ROLE_STATE;
        if (!given || (x->flags & HONE_TENSOR_FLAT)) continue;
        HONE_TRY(look_at(p, x, p->address[t], found));
        if (*found)
            snprintf(text, text_bytes, "%s '%s' is not finite before the step",
                     x->role == HONE_ROLE_PARAM   ? "parameter"
                     : x->role == HONE_ROLE_STATE ? "state"
                                                  : "input",
                     x->name);
    }
    return HONE_OK;
}

/* Scratch outputs that nobody asked for may hold anything. */
static bool is_read(const hone_program *p, hone_tid t)
{
    if (p->graph->tensor[t].flags & HONE_TENSOR_KEEP || p->graph->tensor[t].role != HONE_ROLE_ACT) return true;
    for (hone_nid i = 0; i < p->graph->node_count; i++)
        for (int k = 0; k < p->graph->node[i].in_count; k++)
            if (p->graph->node[i].in[k] == t) return true;
    return t == p->opts.loss;
}

/* The first bad output in execution order is the cause; all later ones are its echo. */
static hone_status run_and_look(hone_program *p, const hone_launch *l, bool *found, char *text, size_t text_bytes)
{
    char node[256];
    HONE_TRY(hone_launch_run(p, l));
    HONE_TRY(p->backend->sync(p->backend));
    for (int k = 0; k < l->node->out_count && !*found; k++) {
        hone_tid t = l->node->out[k];
        if (t == HONE_NONE || !is_read(p, t)) continue;
        HONE_TRY(look_at(p, l->out_desc[k], l->out[k], found));
        if (*found)
            snprintf(text, text_bytes, "%s writes '%s', which is not finite",
                     hone_node_text(p, l->node, node, sizeof node), p->graph->tensor[t].name);
    }
    return HONE_OK;
}

/* Finite gradients whose norm is not: it overflows. Tells by the step block that grad_norm wrote. */
static hone_status look_at_norm(hone_program *p, bool *found, char *text, size_t text_bytes)
{
    hone_step step;
    if (p->update.begin == p->update.end) return HONE_OK;
    HONE_TRY(hone_launch_run(p, &p->launch[p->update.begin]));
    HONE_TRY(hone_program_get_step(p, &step));
    *found = !step.finite;
    if (*found) snprintf(text, text_bytes, "update grad_norm: the norm of the gradients overflows");
    return HONE_OK;
}

/* A host copy of one arena, this program's or the owner's. */
typedef struct saved {
    void *device, *host;
    size_t bytes;
} saved;

/* An empty record where neither this program nor its owner has the arena. */
static hone_status save(hone_program *p, hone_role role, saved *s)
{
    const hone_program *o = p->arena[role] ? p : p->owner;
    memset(s, 0, sizeof *s);
    if (!o || !o->arena[role]) return HONE_OK;
    s->bytes = o->arena_bytes[role];
    s->host = malloc(s->bytes);
    if (!s->host) return hone_fail(HONE_ERR_MEMORY, NULL, "no host memory to save an arena");
    HONE_TRY(p->backend->download(p->backend, s->host, o->arena[role], s->bytes));
    s->device = o->arena[role]; /* from here on there is something to put back */
    return HONE_OK;
}

/* Safe on an empty record; frees the host copy either way. */
static hone_status restore(hone_program *p, saved *s)
{
    hone_status status = HONE_OK;
    if (s->device) status = p->backend->upload(p->backend, s->device, s->host, s->bytes);
    if (status == HONE_OK) status = p->backend->sync(p->backend); /* the copy may still read s->host */
    free(s->host);
    memset(s, 0, sizeof *s);
    return status;
}

/* Gradients of earlier micro-batches would hide where this one goes wrong. */
static hone_status zero_grad(hone_program *p, const saved *grad)
{
    if (!grad->device || p->opts.accumulate <= 1) return HONE_OK; /* written, not added to */
    void *zeros = calloc(1, grad->bytes);
    if (!zeros) return hone_fail(HONE_ERR_MEMORY, NULL, "no host memory to clear gradients");
    hone_status status = p->backend->upload(p->backend, grad->device, zeros, grad->bytes);
    if (status == HONE_OK) status = p->backend->sync(p->backend);
    free(zeros);
    return status;
}

/* Givens, then nodes, then the norm over finite gradients. */
static hone_status search(hone_program *p, bool *found, char *text, size_t text_bytes)
{
    HONE_TRY(hone_shadow_refresh(p));
    HONE_TRY(look_at_givens(p, found, text, text_bytes));
    for (int32_t i = p->forward_backward.begin; i < p->forward_backward.end && !*found; i++)
        HONE_TRY(run_and_look(p, &p->launch[i], found, text, text_bytes));
    return *found ? HONE_OK : look_at_norm(p, found, text, text_bytes);
}

/* What was saved is put back even if the search itself fails. */
hone_status hone_program_find_nonfinite(hone_program *p, bool *found, char *text, size_t text_bytes)
{
    static const hone_role kept[] = {HONE_ROLE_GRAD, HONE_ROLE_STATE, HONE_ROLE_SCALAR};
    enum { KEPT = sizeof kept / sizeof *kept };
    saved s[KEPT] = {{0}};
    hone_status status = HONE_OK;
    *found = false;
    if (text_bytes) text[0] = '\0';
    if (!p->launch)
        return hone_fail(HONE_ERR_USAGE, "compile it with hone_compile", "a planned program has no memory to run in");
    for (int k = 0; k < KEPT && status == HONE_OK; k++) status = save(p, kept[k], &s[k]);
    if (status == HONE_OK) status = zero_grad(p, &s[0]);
    if (status == HONE_OK) status = search(p, found, text, text_bytes);
    for (int k = 0; k < KEPT; k++) {
        hone_status restored = restore(p, &s[k]);
        if (status == HONE_OK) status = restored;
    }
    return status;
}
