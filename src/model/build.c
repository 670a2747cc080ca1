/* build.c - the graph of one step: image_batch, the layers, the loss (and probabilities in EVAL).
 *
 * Modes are compilations: nothing in the graph asks whether it trains. EVAL's loss is the plain mean
 * of -log p, without smoothing and weights, so that figures of runs can be compared. */
#include <stdio.h>
#include <string.h>

#include "model/model_private.h"

/* A vector that the host writes, (count); the names are what `hone plan` and messages show. */
static hone_status input(hone_graph *g, const char *name, hone_dtype dtype, hone_role role, int64_t count,
                         hone_tid *out)
{
    return hone_graph_tensor(g, name, dtype, role, 1, &count, out);
}

/* token i32 (tokens), offset i32 (N + 1): ragged, with room for `tokens` of all texts together. */
static hone_status add_text(hone_graph *g, const hone_model_opts *o, hone_model_io *io)
{
    HONE_TRY(input(g, "token", HONE_I32, HONE_ROLE_INPUT, o->tokens, &io->token));
    HONE_TRY(input(g, "offset", HONE_I32, HONE_ROLE_INPUT, o->batch + 1, &io->offset));
    return input(g, "step", HONE_U8, HONE_ROLE_SCALAR, sizeof(hone_step), &io->step);
}

/* TRAIN weighs rows (the data's weights, 1 where it has none) and, if asked, classes. */
static hone_status add_loss(hone_graph *g, int classes, const hone_model_opts *o, hone_model_io *io)
{
    bool train = o->mode == HONE_MODE_TRAIN;
    hone_attrs attr = {.loss = {.smoothing = train ? o->label_smoothing : 0,
                                .grad_scale = 1.0f / (float)(o->accumulate > 1 ? o->accumulate : 1)}};
    if (io->label == HONE_NONE) /* mixing has made it */
        HONE_TRY(input(g, "label", HONE_I32, HONE_ROLE_INPUT, o->batch, &io->label));
    if (train) HONE_TRY(input(g, "row_weight", HONE_F32, HONE_ROLE_INPUT, o->batch, &io->row_weight));
    if (train && o->class_weights)
        HONE_TRY(input(g, "class_weight", HONE_F32, HONE_ROLE_CONST, classes, &io->class_weight));
    /* TRAIN needs no losses by row: without that output the fused kernel may drop the probabilities */
    hone_tid out[HONE_MAX_OUT],
        in[7] = {io->logits, io->label, io->row_weight, io->class_weight, io->step, io->other, io->share};
    HONE_TRY(hone_graph_add(g, HONE_OP_softmax_xent, in, &attr, train ? 1u : 3u, out));
    io->loss = out[0];
    io->row_loss = out[1];
    g->tensor[io->loss].flags |= HONE_TENSOR_KEEP;
    if (train) return HONE_OK;
    HONE_TRY(hone_graph_add1(g, HONE_OP_softmax, &io->logits, NULL, &io->probability));
    for (int k = 0; k < 3; k++) /* the host reads these after the step, so the plan must not reuse their memory */
        g->tensor[(hone_tid[]){io->row_loss, io->logits, io->probability}[k]].flags |= HONE_TENSOR_KEEP;
    return HONE_OK;
}

/* The last layer must give one number a class, in no flattened order: (N, classes). */
static hone_status check_logits(const hone_model *m, const hone_emit *e, const hone_value *v)
{
    const hone_layer *last = m->tree.top.item[m->tree.top.count - 1];
    const hone_tensor *t = hone_emit_tensor(e, v);
    char shape[96];
    HONE_TRY(hone_emit_no_text(last, v, "the model must end with one row a text"));
    if (t->rank == 2 && t->dim[1] == m->classes && v->hwc[0] == 0) return HONE_OK;
    return hone_emit_fail(last, "end the model with `linear: classes`",
                          "the model ends with %s, but the data has %d class%s: (N, %d) is needed",
                          hone_emit_shape(e, v, shape), m->classes, m->classes == 1 ? "" : "es", m->classes);
}

/* Nodes of the loss belong to no layer: -1 keeps them out of the layer table's rows. */
static hone_status emit_step(const hone_model *m, hone_emit *e, const hone_model_opts *o, hone_model_io *io)
{
    bool text = m->pre.vocab > 0;
    HONE_TRY(text ? add_text(e->g, o, io) : hone_model_add_image(e->g, &m->pre, o, io));
    if (o->mode == HONE_MODE_VIEW && !text) { /* the pictures are the answer */
        for (int k = 0; k < 3; k++) {
            hone_tid t = (hone_tid[]){io->image, io->other, io->share}[k];
            if (t != HONE_NONE) e->g->tensor[t].flags |= HONE_TENSOR_KEEP;
        }
        return HONE_OK;
    }
    hone_value v = {.t = text ? io->token : io->image, .ragged = text};
    e->step = io->step;
    e->offset = io->offset;
    e->type = HONE_NONE;
    e->vocab = m->pre.vocab;
    e->longest = m->pre.max_length;
    HONE_TRY(hone_emit_list(e, &m->tree.top, &v));
    e->g->layer = -1;
    HONE_TRY(check_logits(m, e, &v));
    io->logits = v.t;
    io->type = e->type;
    return add_loss(e->g, m->classes, o, io);
}

/* On an error the graph is freed here; *graph is then NULL. */
hone_status hone_model_emit(const hone_model *m, hone_param_set *params, bool collect, const hone_model_opts *o,
                            hone_graph **graph, hone_model_io *io)
{
    hone_emit e = {.g = hone_graph_new(), .mode = o->mode, .params = params, .collect = collect};
    /* hone_model_io is ids alone; all start as "this mode has none" */
    hone_tid *id = (hone_tid *)io;
    for (size_t k = 0; k < sizeof *io / sizeof *id; k++) id[k] = HONE_NONE;
    *graph = NULL;
    if (!e.g) return hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted");
    hone_status status = emit_step(m, &e, o, io);
    if (status != HONE_OK) hone_graph_free(e.g);
    else *graph = e.g;
    return status;
}

hone_status hone_model_build(const hone_model *m, const hone_model_opts *o, hone_graph **graph, hone_model_io *io)
{
    hone_param_set view = m->params; /* looked up, not changed */
    *graph = NULL;
    if (o->batch < 1)
        return hone_fail(HONE_ERR_USAGE, "set train.batch to 1 or more", "model: a batch of %lld", (long long)o->batch);
    if (m->pre.vocab > 0 && o->tokens < 1)
        return hone_fail(HONE_ERR_USAGE, "give room for one token or more", "model: a batch of %lld tokens",
                         (long long)o->tokens);
    return hone_model_emit(m, &view, false, o, graph, io);
}
