/* precision.c - which precision a program computes in, and the pass that stores it in 16 bits.
 *
 * What the device lacks is refused here, by name and with what it has; only AUTO chooses. In bf16 and fp16 every
 * floating-point operand that a signature (graph/shape.c) does not call wide is stored in 16 bits: activations, their
 * gradients, float inputs. Parameters among them are read from their shadow, a 16-bit copy of the whole PARAM arena
 * at equal element offsets, which the update writes in the same pass as the master (shadow.c keeps it true otherwise).
 *
 * Nodes that read or write GRAD, OPT or STATE are wide whole: they add up what must stay fp32. A tensor that one
 * node stores in 16 bits and another takes as fp32 is refused by name; nothing is converted behind anyone's back.
 * Runs after fusion: the fused rows have signatures of their own. */
#include <stdio.h>
#include <stdlib.h>

#include "compile/pass.h"
#include "core/text.h"
#include "graph/signature.h"

/* fp32 is there on every device: the bit need not be set. */
static bool has_precision(const hone_backend *b, hone_precision precision)
{
    return precision == HONE_PRECISION_FP32 || (b->precisions >> precision & 1u);
}

hone_status hone_precision_choose(const hone_backend *b, hone_precision asked, hone_precision *out)
{
    *out = asked != HONE_PRECISION_AUTO ? asked : b->best != HONE_PRECISION_AUTO ? b->best : HONE_PRECISION_FP32;
    if (has_precision(b, *out)) return HONE_OK;
    hone_text have = {0};
    for (int k = HONE_PRECISION_FP32; k < HONE_PRECISION_COUNT; k++)
        if (has_precision(b, (hone_precision)k)) hone_text_add(&have, ", %s", hone_precision_name((hone_precision)k));
    hone_status status = hone_fail(HONE_ERR_USAGE, "set train.precision: auto, or use a device that has it",
                                   "train.precision: %s has no %s (it has auto%s)", b->name, hone_precision_name(*out),
                                   have.data ? have.data : "");
    hone_text_free(&have);
    return status;
}

/* --- the pass --------------------------------------------------------------------------------------------- */

typedef struct retype {
    hone_program *p;
    hone_graph *g;
    hone_dtype storage;
    hone_nid *stored, *wide; /* (tensors), of roots: a node that takes it so, HONE_NONE       */
    hone_tid *shadow;        /* (tensors), of PARAM: its 16-bit copy, HONE_NONE               */
    int32_t tensors;         /* before the pass                                               */
} retype;

/* Operand k of a node: inputs, then outputs. */
static hone_tid operand(const hone_node *n, int k) { return k < n->in_count ? n->in[k] : n->out[k - n->in_count]; }

/* What each operand is, 'f' stored, 'w' wide: the signature's word, but for nodes that add to what is fp32 by role. */
static hone_status types_of(const hone_graph *g, const hone_node *n, char type[HONE_MAX_IN + HONE_MAX_OUT])
{
    char in[HONE_MAX_IN], out[HONE_MAX_OUT];
    bool wide = false;
    if (!hone_signature_types(n->op, in, out))
        return hone_fail(HONE_ERR_USAGE, "add a row to src/graph/shape.c", "%s has no signature", hone_op_name(n->op));
    for (int k = 0; k < n->in_count + n->out_count; k++) {
        hone_tid t = operand(n, k);
        type[k] = k < n->in_count ? in[k] : out[k - n->in_count];
        hone_role role = t == HONE_NONE ? HONE_ROLE_ACT : g->tensor[t].role;
        if (type[k] == 'f' && (role == HONE_ROLE_GRAD || role == HONE_ROLE_OPT || role == HONE_ROLE_STATE)) wide = true;
    }
    for (int k = 0; wide && k < n->in_count + n->out_count; k++)
        if (type[k] == 'f') type[k] = 'w';
    return HONE_OK;
}

/* A reshape has no opinion: its value is typed by those who compute with it. */
static hone_status note_uses(retype *r)
{
    char type[HONE_MAX_IN + HONE_MAX_OUT];
    for (hone_tid t = 0; t < r->tensors; t++) r->stored[t] = r->wide[t] = r->shadow[t] = HONE_NONE;
    for (hone_nid i = 0; i < r->g->node_count; i++) {
        const hone_node *n = &r->g->node[i];
        if (n->op == HONE_OP_reshape) continue;
        HONE_TRY(types_of(r->g, n, type));
        for (int k = 0; k < n->in_count + n->out_count; k++) {
            hone_tid root = operand(n, k) == HONE_NONE ? HONE_NONE : hone_alias_root(r->g, operand(n, k));
            if (root != HONE_NONE && type[k] == 'f') r->stored[root] = i;
            if (root != HONE_NONE && type[k] == 'w') r->wide[root] = i;
        }
    }
    return HONE_OK;
}

/* Two nodes that do not agree about a tensor: both are named. */
static hone_status refuse(const retype *r, hone_tid t)
{
    char a[256], b[256];
    return hone_fail(HONE_ERR_USAGE, "train it in fp32, or put a cast between them",
                     "compile: tensor '%s' is stored in %s by %s and must be fp32 for %s", r->g->tensor[t].name,
                     hone_dtype_name(r->storage), hone_node_text(r->p, &r->g->node[r->stored[t]], a, sizeof a),
                     hone_node_text(r->p, &r->g->node[r->wide[t]], b, sizeof b));
}

/* The copy has the master's shape, and half its offset in bytes. */
static hone_status make_shadow(retype *r, hone_tid param)
{
    char name[HONE_NAME_BYTES + 16];
    hone_tid t;
    snprintf(name, sizeof name, "%s.%s", r->g->tensor[param].name, hone_dtype_name(r->storage));
    HONE_TRY(hone_graph_like(r->g, name, param, HONE_ROLE_SHADOW, &t));
    r->g->tensor[t].dtype = r->storage;
    r->g->tensor[t].offset =
        r->g->tensor[param].offset / (int64_t)sizeof(float) * (int64_t)hone_dtype_bytes(r->storage);
    r->shadow[param] = t;
    return HONE_OK;
}

/* Values in 16 bits, masters as they are and with a copy. */
static hone_status retype_tensors(retype *r)
{
    for (hone_tid t = 0; t < r->tensors; t++) {
        hone_tensor *x = &r->g->tensor[t];
        if (x->dtype != HONE_F32 || hone_alias_root(r->g, t) != t || r->stored[t] == HONE_NONE) continue;
        if (x->role == HONE_ROLE_PARAM) HONE_TRY(make_shadow(r, t)); /* may be read both ways */
        else if (r->wide[t] != HONE_NONE) return refuse(r, t);
        else x->dtype = r->storage;
    }
    for (hone_tid t = 0; t < r->tensors; t++) { /* reshapes: of a shadow where of a parameter */
        hone_tid root = hone_alias_root(r->g, t);
        if (root == t) continue;
        if (r->shadow[root] == HONE_NONE) r->g->tensor[t].dtype = r->g->tensor[root].dtype;
        else r->g->tensor[t].dtype = r->storage;
        if (r->g->tensor[t].alias == root && r->shadow[root] != HONE_NONE) r->g->tensor[t].alias = r->shadow[root];
    }
    return HONE_OK;
}

/* Nodes that store read the copy. A reshaped parameter is taken for stored: nothing reshapes a wide one. */
static hone_status rewire(retype *r)
{
    char type[HONE_MAX_IN + HONE_MAX_OUT] = {0};
    for (hone_nid i = 0; i < r->g->node_count; i++) {
        hone_node *n = &r->g->node[i];
        HONE_TRY(types_of(r->g, n, type));
        for (int k = 0; k < n->in_count; k++)
            if (type[k] == 'f' && n->in[k] != HONE_NONE && n->in[k] < r->tensors && r->shadow[n->in[k]] != HONE_NONE)
                n->in[k] = r->shadow[n->in[k]];
    }
    return HONE_OK;
}

/* The update's last input: it writes masters and copies in one pass. */
static hone_status give_update_the_shadow(retype *r)
{
    for (hone_nid i = 0; i < r->g->node_count; i++) {
        hone_op op = r->g->node[i].op;
        hone_tid t;
        if (op != HONE_OP_sgd && op != HONE_OP_adamw) continue;
        HONE_TRY(hone_graph_tensor(r->g, "shadow.flat", r->storage, HONE_ROLE_SHADOW, 1, &r->p->flat_count, &t));
        r->g->tensor[t].flags = HONE_TENSOR_FLAT;
        r->g->tensor[t].offset = 0;
        r->g->node[i].in[r->g->node[i].in_count - 1] = t;
        if (r->storage != HONE_F16) continue;
        hone_update_attr *u = &r->g->node[i].attr.update;
        if (u->scale_interval == 0) u->scale_interval = HONE_LOSS_SCALE_INTERVAL;
    }
    return HONE_OK;
}

/* Sparse updates know no loss scale yet; refused rather than trained with gradients that are too large. */
static hone_status check_scale(const retype *r)
{
    for (hone_nid i = 0; r->storage == HONE_F16 && i < r->g->node_count; i++) {
        const hone_node *n = &r->g->node[i];
        if (n->phase == HONE_PHASE_UPDATE && n->op != HONE_OP_grad_norm && n->op != HONE_OP_sgd &&
            n->op != HONE_OP_adamw && n->op != HONE_OP_average)
            return hone_fail(HONE_ERR_USAGE, "set train.precision: bf16",
                             "train.precision: %s has no loss scale for fp16", hone_op_name(n->op));
    }
    return HONE_OK;
}

/* Owner and sharers read one shadow, so they must store alike. */
hone_status hone_pass_precision(hone_program *p)
{
    retype r = {.p = p, .g = p->graph, .storage = hone_precision_storage(p->graph->precision)};
    if (p->owner && hone_precision_storage(p->owner->graph->precision) != r.storage)
        return hone_fail(HONE_ERR_USAGE, "compile both in one precision",
                         "compile: the shared program is in %s, not %s",
                         hone_precision_name(p->owner->graph->precision), hone_precision_name(p->graph->precision));
    if (r.storage == HONE_F32) return HONE_OK;
    r.tensors = p->graph->tensor_count;
    size_t bytes = (size_t)(r.tensors + 1) * sizeof(int32_t);
    r.stored = malloc(bytes);
    r.wide = malloc(bytes);
    r.shadow = malloc(bytes);
    hone_status status =
        r.stored && r.wide && r.shadow ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "precision: no memory");
    if (status == HONE_OK) status = check_scale(&r);
    if (status == HONE_OK) status = note_uses(&r);
    if (status == HONE_OK) status = retype_tensors(&r);
    if (status == HONE_OK) status = rewire(&r);
    if (status == HONE_OK) status = give_update_the_shadow(&r);
    free(r.stored);
    free(r.wide);
    free(r.shadow);
    return status;
}
