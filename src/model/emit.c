/* emit.c - what every emitter is made of: nodes, parameters, dropout streams, messages. See emit.h. */
#include "model/emit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The pointer dies with the next node or tensor: the graph's arrays may move. */
const hone_tensor *hone_emit_tensor(const hone_emit *e, const hone_value *v) { return &e->g->tensor[v->t]; }

/* For messages: the batch size is not the user's mistake, hence "N". */
const char *hone_emit_shape(const hone_emit *e, const hone_value *v, char text[96])
{
    const hone_tensor *t = hone_emit_tensor(e, v);
    int used = snprintf(text, 96, v->ragged ? "(T" : "(N");
    for (int k = 1; k < t->rank; k++) used += snprintf(text + used, 96 - (size_t)used, ", %lld", (long long)t->dim[k]);
    snprintf(text + used, 96 - (size_t)used,
             ")"); /* 3 sizes of at most 19 digits: fits for sizes that pass the rules */
    return text;
}

/* --- messages --------------------------------------------------------------------------------------- */

/* A layer without a name of its own is called by its kind. */
static const char *layer_title(const hone_layer *l) { return l->path[0] ? l->path : l->type->name; }

/* "FILE:LINE:COL", or "FILE" for what came from the command line. */
static const char *place(const hone_layer *l, char text[256])
{
    if (l->line > 0) snprintf(text, 256, "%s:%d:%d", l->file, l->line, l->column);
    else snprintf(text, 256, "%s", l->file);
    return text;
}

/* "file:line: layer: text": the place first, so that editors can jump there. */
hone_status hone_emit_fail(const hone_layer *l, const char *hint, const char *fmt, ...)
{
    char text[512], where[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hone_fail(HONE_ERR_USAGE, hint, "%s: %s: %s", place(l, where), layer_title(l), text);
}

/* What the graph refused, told in terms of the page. */
static hone_status with_place(const hone_layer *l, hone_status status)
{
    char where[256];
    if (status != HONE_OK) hone_error_context("%s: %s", place(l, where), layer_title(l));
    return status;
}

/* Kinds of values are told apart by rank: rows 2, tokens 3, images 4; rows of texts besides by a flag. */
hone_status hone_emit_rank(const hone_emit *e, const hone_layer *l, const hone_value *v, unsigned ranks,
                           const char *what, const char *hint)
{
    char shape[96];
    if (ranks >> hone_emit_tensor(e, v)->rank & 1u) return HONE_OK;
    return hone_emit_fail(l, hint, "%s needs %s, but its input is %s", l->type->name, what,
                          hone_emit_shape(e, v, shape));
}

hone_status hone_emit_tokens(const hone_emit *e, const hone_layer *l, const hone_value *v)
{
    char shape[96];
    int rank = hone_emit_tensor(e, v)->rank;
    if (rank == 3 || (rank == 2 && v->ragged)) return HONE_OK;
    return hone_emit_fail(
        l, v->ragged ? "put embedding before it" : "put patch_embed, or embedding for text, before it",
        "%s needs tokens (N, T, C) or (T, C), but its input is %s", l->type->name, hone_emit_shape(e, v, shape));
}

hone_status hone_emit_no_text(const hone_layer *l, const hone_value *v, const char *what)
{
    if (!v->ragged) return HONE_OK;
    return hone_emit_fail(l, "put pool before it, or leave it out", "%s: %s", l->type->name, what);
}

/* --- nodes ------------------------------------------------------------------------------------------ */

/* Nodes carry the layer's id, by which tables and messages find their way back to the page. */
hone_status hone_emit_node(hone_emit *e, const hone_layer *l, hone_op op, const hone_tid *in, const hone_attrs *attr,
                           uint32_t want, bool keep, hone_value *v)
{
    hone_tid out[HONE_MAX_OUT];
    e->g->layer = l->id;
    HONE_TRY(with_place(l, hone_graph_add(e->g, op, in, attr, want, out)));
    v->t = out[0];
    if (!keep) memset(v->hwc, 0, sizeof v->hwc);
    return HONE_OK;
}

/* Layers of one input and one output of the same kind; `keep` as in hone_emit_node. */
hone_status hone_emit_unary(hone_emit *e, const hone_layer *l, hone_op op, const hone_attrs *attr, bool keep,
                            hone_value *v)
{
    return hone_emit_node(e, l, op, &v->t, attr, 1u, keep, v);
}

/* An alias, no work; the caller says whether an order was flattened. */
hone_status hone_emit_reshape(hone_emit *e, const hone_layer *l, int32_t rank, const int64_t *dim, hone_value *v)
{
    e->g->layer = l->id;
    return with_place(l, hone_graph_reshape(e->g, v->t, rank, dim, &v->t));
}

/* Streams are numbered as layers are emitted, so a mask depends on the model alone, not on the batch. */
hone_status hone_emit_drop(hone_emit *e, const hone_layer *l, hone_op op, double p, hone_value *v)
{
    if (e->mode == HONE_MODE_EVAL || p == 0) return HONE_OK;
    hone_attrs attr = {.drop = {.p = (float)p, .stream = HONE_STREAM_DROPOUT + e->streams++}};
    return hone_emit_node(e, l, op, (hone_tid[]){v->t, e->step}, &attr, 1u, true, v);
}

/* --- parameters ------------------------------------------------------------------------------------- */

/* The record of a parameter in the shape of files. */
static hone_param describe(const hone_tensor *t, const hone_param_spec *s)
{
    hone_param p = {.role = t->role, .decay = s->decay, .sparse = s->sparse, .lr_scale = 1};
    p.trainable = t->role == HONE_ROLE_PARAM;
    int64_t dim[HONE_MAX_RANK];
    int32_t rank;
    snprintf(p.name, sizeof p.name, "%s", t->name);
    hone_layout_file_shape(t, &rank, dim);
    p.rank = rank + s->file_lead;
    for (int k = 0; k < p.rank; k++) p.dim[k] = k < s->file_lead ? 1 : dim[k - s->file_lead];
    p.count = hone_tensor_count(t);
    return p;
}

hone_status hone_emit_param(hone_emit *e, const hone_layer *l, const hone_param_spec *s, hone_tid *out)
{
    /* the suffix is short and the path was bounded by the expansion: nothing is cut */
    char name[HONE_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s%s", l->path, l->path[0] && s->suffix[0] ? "." : "", s->suffix);
    HONE_TRY(with_place(l, hone_graph_tensor(e->g, name, HONE_F32, s->role, s->rank, s->dim, out)));
    hone_tensor *t = &e->g->tensor[*out];
    t->layout = s->layout;
    memcpy(t->hwc, s->hwc, sizeof t->hwc);
    /* the first emission is what defines the parameters of the model; later ones find them */
    if (e->collect) {
        hone_param p = describe(t, s);
        HONE_TRY(with_place(l, hone_param_set_add(e->params, &p, &s->fill, l->id)));
    }
    /* freezing and decay are decided on the model after it was made, so flags come from there */
    int k = hone_param_set_find(e->params, name);
    const hone_param *p = k < 0 ? NULL : &e->params->item[k];
    if (p && p->role == HONE_ROLE_PARAM)
        t->flags |= (p->trainable ? HONE_TENSOR_TRAINABLE : 0) | (p->decay ? HONE_TENSOR_DECAY : 0) |
                    (p->sparse ? HONE_TENSOR_SPARSE : 0);
    if (p && p->role == HONE_ROLE_PARAM) t->lr_scale = p->lr_scale;
    return HONE_OK;
}

/* The order of a flattened image goes into the weight's layout, so that files hold PyTorch's order. */
static void set_flatten(const hone_value *v, hone_param_spec *s)
{
    if (v->hwc[0] == 0) return;
    s->layout = HONE_LAYOUT_FLATTEN;
    memcpy(s->hwc, v->hwc, sizeof s->hwc);
}

/* PyTorch's MultiheadAttention draws in_proj by xavier_uniform_ and sets its biases to 0; the
 * projection behind it keeps nn.Linear's weights. */
static hone_fill dense_fill(const hone_layer *l, const hone_linear_spec *s, int64_t in)
{
    /* a copy with another init: the fill functions take their choice from a layer */
    hone_layer xavier = *l;
    xavier.args.init.kind = HONE_INIT_XAVIER;
    bool mha = s->torch_mha && l->args.init.kind == HONE_INIT_DEFAULT;
    return hone_fill_weight(mha ? &xavier : l, in, s->out);
}

int64_t hone_emit_width(const hone_emit *e, const hone_value *v)
{
    const hone_tensor *x = hone_emit_tensor(e, v);
    return x->dim[x->rank - 1];
}

/* x (.., I), w (O, I), b (O) -> (.., O). Weight decay is for the weight alone. */
hone_status hone_emit_dense(hone_emit *e, const hone_layer *l, const hone_linear_spec *s, hone_value *v)
{
    char suffix[64];
    int64_t in = hone_emit_width(e, v);
    hone_tid w = HONE_NONE, b = HONE_NONE;
    snprintf(suffix, sizeof suffix, "%sweight", s->prefix);
    hone_param_spec weight = {.suffix = suffix, .role = HONE_ROLE_PARAM, .rank = 2, .dim = {s->out, in}, .decay = true};
    weight.fill = dense_fill(l, s, in);
    set_flatten(v, &weight);
    HONE_TRY(hone_emit_param(e, l, &weight, &w));
    if (s->bias) {
        snprintf(suffix, sizeof suffix, "%sbias", s->prefix);
        hone_param_spec bias = {.suffix = suffix, .role = HONE_ROLE_PARAM, .rank = 1, .dim = {s->out}};
        bias.fill = s->zero_bias ? (hone_fill){HONE_FILL_CONST, 0} : hone_fill_bias(l, in);
        HONE_TRY(hone_emit_param(e, l, &bias, &b));
    }
    return hone_emit_node(e, l, HONE_OP_linear, (hone_tid[]){v->t, w, b}, NULL, 1u, false, v);
}

/* layernorm over the last axis: gamma (C) = 1, beta (C) = 0; mean and rstd are for the backward pass. */
hone_status hone_emit_scale_shift(hone_emit *e, const hone_layer *l, const char *prefix, double eps, hone_value *v)
{
    char suffix[64];
    int64_t c = hone_emit_width(e, v);
    hone_tid gamma, beta;
    snprintf(suffix, sizeof suffix, "%sweight", prefix);
    hone_param_spec s = {
        .suffix = suffix, .role = HONE_ROLE_PARAM, .rank = 1, .dim = {c}, .fill = {HONE_FILL_CONST, 1}};
    HONE_TRY(hone_emit_param(e, l, &s, &gamma));
    snprintf(suffix, sizeof suffix, "%sbias", prefix);
    s.fill.a = 0;
    HONE_TRY(hone_emit_param(e, l, &s, &beta));
    hone_attrs attr = {.norm = {.eps = (float)eps}};
    return hone_emit_node(e, l, HONE_OP_layernorm, (hone_tid[]){v->t, gamma, beta}, &attr, ~0u, false, v);
}

/* --- lists ------------------------------------------------------------------------------------------ */

/* Depth of the recursion is bounded by the expansion (HONE_DEPTH_MAX). */
hone_status hone_emit_list(hone_emit *e, const hone_layer_list *list, hone_value *v)
{
    for (int k = 0; k < list->count; k++) HONE_TRY(list->item[k]->type->emit(e, list->item[k], v));
    return HONE_OK;
}
