/* update.c - the flat layout of parameters and running statistics, and the nodes that clip, update, average.
 *
 * PARAM is laid out as [trainable, decayed | trainable, not decayed | sparse | frozen], every tensor on a
 * 64-byte line. GRAD and each optimizer slot (then the moving average) repeat the trainable part at
 * equal offsets, so clip and update are one launch each over K elements; the padding between tensors
 * is zero everywhere and stays zero. Sharers take the owner's layout by parameter name. STATE is flat as
 * well, so that its moving average (behind the parameters' in OPT) is one more launch.
 *
 * Why flat: one launch over K elements replaces one a parameter (161 in a ResNet-50), the global norm is
 * one reduction, and a later all-reduce is one message. What differs between parameters (decay, learning
 * rate scale) is a table of segments: two, and two a block under layer-wise rates. Slot k begins at k * K elements of OPT. */
#include <stdio.h>
#include <string.h>

#include "compile/pass.h"

/* FLAT tensors are views of the arena, not parameters. */
static bool is_param(const hone_tensor *t) { return t->role == HONE_ROLE_PARAM && !(t->flags & HONE_TENSOR_FLAT); }
static bool is_state(const hone_tensor *t) { return t->role == HONE_ROLE_STATE && !(t->flags & HONE_TENSOR_FLAT); }
/* Of PARAM, STATE, GRAD and OPT. */
static hone_dtype real_of(const hone_program *p) { return p->backend->real == HONE_F64 ? HONE_F64 : HONE_F32; }

/* 0: trainable and decayed, 1: trainable, 2: trainable by rows, 3: frozen. */
static int layout_class(const hone_tensor *t)
{
    if (!(t->flags & HONE_TENSOR_TRAINABLE)) return 3;
    if (hone_is_sparse(t)) return 2;
    return t->flags & HONE_TENSOR_DECAY ? 0 : 1;
}

/* Master weights are f32 (f64 on ref64): offsets in elements must mean the same in every arena. */
static hone_status check_dtype(const hone_program *p, const hone_tensor *t)
{
    if (t->dtype == real_of(p)) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "keep parameters and running statistics in f32", "%s '%s' is %s",
                     is_param(t) ? "parameter" : "state", t->name, hone_dtype_name(t->dtype));
}

/* Running statistics one behind the other, for an owner. They too are averaged as one array. */
static hone_status place_state(hone_program *p)
{
    int64_t at = 0; /* bytes */
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        hone_tensor *x = &p->graph->tensor[t];
        if (!is_state(x)) continue;
        HONE_TRY(check_dtype(p, x));
        x->offset = at;
        at = hone_align_up(at + (int64_t)hone_tensor_bytes(x));
    }
    p->state_count = at / (int64_t)hone_dtype_bytes(real_of(p));
    return HONE_OK;
}

/* Of the step's learning rate. */
static float rate_of(const hone_tensor *t) { return t->lr_scale != 0 ? t->lr_scale : 1.0f; }

/* Bytes [begin, end) of PARAM with one rule; joins the segment before where that has the same. Both parts are walked
 * in the order of the layers, so a block's tensors stand together. */
static hone_status add_segment(hone_program *p, int64_t begin, int64_t end, bool decay, float rate)
{
    int64_t size = (int64_t)hone_dtype_bytes(real_of(p));
    /* NULL for the first one */
    hone_segment *last = p->segment_count ? &p->segment[p->segment_count - 1] : NULL;
    if (last && last->decay == decay && last->lr_scale == rate && last->begin + last->count == begin / size) {
        last->count += (end - begin) / size;
        return HONE_OK;
    }
    if (p->segment_count == HONE_SEGMENTS_MAX)
        return hone_fail(HONE_ERR_USAGE, "set train.layer_decay: 1", "compile: more than %d groups of parameters",
                         HONE_SEGMENTS_MAX);
    p->segment[p->segment_count++] = (hone_segment){begin / size, (end - begin) / size, decay, rate};
    return HONE_OK;
}

/* What the parameter at `begin` needs of the table; rows of sparse tables are updated apart, by the step's rate. */
static hone_status give_rule(hone_program *p, const hone_tensor *x, int part, int64_t end)
{
    if (part < 2) return add_segment(p, x->offset, end, part == 0, rate_of(x));
    if (part == 3 || rate_of(x) == 1.0f) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "set sparse: false on the embedding, or train.layer_decay: 1",
                     "compile: the rows of sparse parameter '%s' have no learning rate of their own", x->name);
}

/* One parameter at byte *at of the arena, which moves behind it. */
static hone_status place_param(hone_program *p, hone_tid t, int part, int64_t *at)
{
    hone_tensor *x = &p->graph->tensor[t];
    HONE_TRY(check_dtype(p, x));
    x->offset = *at;
    *at = hone_align_up(*at + (int64_t)hone_tensor_bytes(x));
    return give_rule(p, x, part, *at);
}

/* Offsets in bytes for an owner. The parts of a whole (join.c) are of one class and follow its first. */
static hone_status place_params(hone_program *p)
{
    int64_t at = 0, begin[4] = {0, 0, 0, 0}; /* bytes; begin[2] ends the flat part, begin[3] the sparse one */
    for (int part = 0; part < 4; part++) {
        begin[part] = at;
        for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
            const hone_tensor *x = &p->graph->tensor[t];
            if (!is_param(x) || layout_class(x) != part || hone_join_follows(p, t)) continue;
            const hone_join *j = hone_join_at(p, t);
            HONE_TRY(place_param(p, t, part, &at));
            for (int k = 1; j && k < j->parts; k++) HONE_TRY(place_param(p, j->part[k], part, &at));
        }
    }
    int64_t size = (int64_t)hone_dtype_bytes(real_of(p));
    p->flat_count = begin[2] / size;
    p->sparse_begin = begin[2];
    p->sparse_bytes = begin[3] - begin[2];
    return HONE_OK;
}

/* The owner's offset of a parameter or state, found by name; shape and training must agree. */
static hone_status adopt_one(hone_program *p, hone_tensor *t)
{
    const char *kind = is_param(t) ? "parameter" : "state";
    const hone_graph *og = p->owner->graph;
    hone_tid o = hone_graph_find(og, t->name);
    if (o == HONE_NONE || og->tensor[o].role != t->role)
        return hone_fail(HONE_ERR_USAGE, "share only programs of one model",
                         "compile: the sharing program has a %s '%s' that the owner lacks", kind, t->name);
    const hone_tensor *x = &og->tensor[o];
    char a[96], b[96];
    if (x->dtype != t->dtype || x->rank != t->rank || memcmp(x->dim, t->dim, (size_t)t->rank * sizeof *t->dim) != 0)
        return hone_fail(HONE_ERR_USAGE, "share only programs of one model",
                         "compile: %s '%s' is %s here and %s in the program it shares", kind, t->name,
                         hone_tensor_shape_text(t, a, sizeof a), hone_tensor_shape_text(x, b, sizeof b));
    /* A forward program may leave the flags out; one that trains writes GRAD at the owner's offsets. */
    const uint32_t training = HONE_TENSOR_TRAINABLE | HONE_TENSOR_DECAY | HONE_TENSOR_SPARSE;
    if (p->opts.loss != HONE_NONE && ((x->flags ^ t->flags) & training))
        return hone_fail(HONE_ERR_USAGE, "freeze the same parameters in both programs",
                         "compile: parameter '%s' is trained differently in the program it shares", t->name);
    t->offset = x->offset;
    return HONE_OK;
}

/* Also the counts and the segments: a sharer's update must walk the owner's arenas, not its own idea of them. */
static hone_status adopt_layout(hone_program *p)
{
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        hone_tensor *x = &p->graph->tensor[t];
        if (is_param(x) || is_state(x)) HONE_TRY(adopt_one(p, x));
    }
    p->flat_count = p->owner->flat_count;
    p->state_count = p->owner->state_count;
    p->sparse_begin = p->owner->sparse_begin;
    p->sparse_bytes = p->owner->sparse_bytes;
    p->segment_count = p->owner->segment_count;
    memcpy(p->segment, p->owner->segment, sizeof p->segment);
    return HONE_OK;
}

/* Every program has the layout, also one without gradients: sharers rely on it. */
hone_status hone_layout_flat(hone_program *p)
{
    p->segment_count = 0;
    if (p->owner) HONE_TRY(adopt_layout(p));
    else {
        HONE_TRY(place_params(p));
        HONE_TRY(place_state(p));
    }
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        const hone_tensor *x = &p->graph->tensor[t];
        if (is_param(x) && x->grad != HONE_NONE) p->graph->tensor[x->grad].offset = x->offset;
    }
    return hone_join_views(p);
}

/* `count` elements of an arena as one array; they begin `slot` times K elements into it. */
static hone_status flat_view(hone_program *p, const char *name, hone_role role, int slot, int64_t count, hone_tid *out)
{
    hone_dtype real = real_of(p);
    HONE_TRY(hone_graph_tensor(p->graph, name, real, role, 1, &count, out));
    p->graph->tensor[*out].flags = HONE_TENSOR_FLAT;
    p->graph->tensor[*out].offset = (int64_t)slot * p->flat_count * (int64_t)hone_dtype_bytes(real);
    return HONE_OK;
}

/* The trainable part of an arena (K); `slot` counts K-element blocks of that arena. */
static hone_status flat_tensor(hone_program *p, const char *name, hone_role role, int slot, hone_tid *out)
{
    return flat_view(p, name, role, slot, p->flat_count, out);
}

/* Plain SGD keeps nothing between steps. */
static int slots_of(const hone_compile_opts *o)
{
    if (o->optimizer == HONE_OPT_ADAMW) return 2;
    return o->optimizer == HONE_OPT_SGD && o->update.momentum > 0 ? 1 : 0;
}

/* Slots of sharers are the owner's memory: both must mean the same. */
static hone_status check_owner_update(const hone_program *p)
{
    const hone_program *o = p->owner;
    bool both = o && o->opts.optimizer != HONE_OPT_NONE && p->opts.optimizer != HONE_OPT_NONE;
    if (both && (o->opts.optimizer != p->opts.optimizer || o->slot_count != slots_of(&p->opts) ||
                 o->ema != (p->opts.update.ema_decay > 0)))
        return hone_fail(HONE_ERR_USAGE, "compile both with the same optimizer",
                         "compile: the optimizer differs from that of the program it shares");
    if (o && o->opts.loss != HONE_NONE && p->opts.loss != HONE_NONE &&
        (o->opts.accumulate > 1) != (p->opts.accumulate > 1))
        return hone_fail(HONE_ERR_USAGE, "compile both with accumulation or neither",
                         "compile: gradients are accumulated in one of two programs that share them");
    return HONE_OK;
}

/* A table on the device, as launch arguments freeze in a recorded step. bind.c fills it. */
static hone_status segment_tensor(hone_program *p, hone_tid *out)
{
    const int64_t bytes = (int64_t)sizeof(hone_segment) * p->segment_count;
    HONE_TRY(hone_graph_tensor(p->graph, "update.segments", HONE_U8, HONE_ROLE_CONST, 1, &bytes, out));
    p->segment_tensor = *out;
    return HONE_OK;
}

/* Averaged weights over statistics of the raw ones make a net that was never trained: torch's
 * AveragedModel(use_buffers=True) and timm's ModelEma average both. Before the update, as that counts the step. */
static hone_status add_state_average(hone_program *p)
{
    hone_attrs attr = {.update = p->opts.update};
    hone_tid in[3] = {HONE_NONE, HONE_NONE, p->step}, out[HONE_MAX_OUT];
    if (!p->ema || p->state_count == 0) return HONE_OK;
    HONE_TRY(flat_view(p, "opt.state_ema", HONE_ROLE_OPT, p->slot_count + 1, p->state_count, &in[0]));
    HONE_TRY(flat_view(p, "state.flat", HONE_ROLE_STATE, 0, p->state_count, &in[1]));
    return hone_graph_append(p->graph, HONE_OP_average, HONE_PHASE_UPDATE, in, &attr, 0, NULL, out);
}

/* Inputs in the order of ops.def: p, grad, segment, step, slot0?, slot1?, ema?. */
static hone_status add_update(hone_program *p)
{
    hone_attrs attr = {.update = p->opts.update};
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];
    attr.update.zero_grad = p->opts.accumulate > 1; /* else kernels write gradients, and zeroing is wasted */
    for (int k = 0; k < HONE_MAX_IN; k++) in[k] = HONE_NONE;
    HONE_TRY(flat_tensor(p, "param.flat", HONE_ROLE_PARAM, 0, &in[0]));
    HONE_TRY(flat_tensor(p, "grad.flat", HONE_ROLE_GRAD, 0, &in[1]));
    HONE_TRY(segment_tensor(p, &in[2]));
    in[3] = p->step;
    if (p->slot_count > 0) HONE_TRY(flat_tensor(p, "opt.slot0", HONE_ROLE_OPT, 0, &in[4]));
    if (p->slot_count > 1) HONE_TRY(flat_tensor(p, "opt.slot1", HONE_ROLE_OPT, 1, &in[5]));
    if (p->ema) HONE_TRY(flat_tensor(p, "opt.ema", HONE_ROLE_OPT, p->slot_count, &in[6]));
    hone_tid norm_in[2] = {in[1], p->step};
    HONE_TRY(hone_graph_append(p->graph, HONE_OP_grad_norm, HONE_PHASE_UPDATE, norm_in, &attr, 0, NULL, out));
    HONE_TRY(hone_sparse_norm(p));
    HONE_TRY(add_state_average(p));
    HONE_TRY(hone_sparse_update(p)); /* before the dense update, which counts the step */
    hone_op op = p->opts.optimizer == HONE_OPT_ADAMW ? HONE_OP_adamw : HONE_OP_sgd;
    return hone_graph_append(p->graph, op, HONE_PHASE_UPDATE, in, &attr, 0, NULL, out);
}

/* Layout always; nodes only where there is an optimizer. */
hone_status hone_pass_update(hone_program *p)
{
    HONE_TRY(hone_layout_flat(p));
    HONE_TRY(check_owner_update(p));
    if (p->opts.optimizer == HONE_OPT_NONE) return HONE_OK;
    if (p->opts.loss == HONE_NONE)
        return hone_fail(HONE_ERR_USAGE, "pass the loss to differentiate", "compile: an optimizer without a loss");
    if (p->flat_count == 0)
        return hone_fail(HONE_ERR_USAGE, "leave some parameter trainable", "compile: every parameter is frozen");
    p->slot_count = slots_of(&p->opts);
    p->ema = p->opts.update.ema_decay > 0;
    return add_update(p);
}
