/* emit.h - stage two of a model: layer records become graph nodes for one batch size and mode.
 *
 * One function a kind of layer (hone_emit_conv, ...), reached through the table of layers.h. An
 * emitter reads the shape of the value that flows in, declares its parameters, adds nodes, and leaves
 * the new value. It checks shapes first, so that a mistake names the layer's path and its shapes in
 * the words of the page; what the graph refuses besides is passed on with the same prefix. */
#ifndef HONE_MODEL_EMIT_H
#define HONE_MODEL_EMIT_H

#include "hone/graph.h"
#include "hone/model.h"
#include "hone/philox.h"
#include "model/layers.h"

/* What flows between layers: a tensor, and how its last axis was flattened. */
typedef struct hone_value {
    hone_tid t;
    bool ragged;    /* rows of texts, (T, C) or ids (T,): where texts begin is hone_emit.offset */
    int32_t hwc[3]; /* H, W, C of the image that was flattened into the last axis; H = 0: none was.
                       PyTorch flattens (C,H,W), hone (H,W,C): a linear stores its weight accordingly */
} hone_value;

/* How a parameter gets its first values (init.c). */
typedef enum hone_fill_kind { HONE_FILL_CONST, HONE_FILL_UNIFORM, HONE_FILL_NORMAL, HONE_FILL_SINCOS } hone_fill_kind;
typedef struct hone_fill {
    hone_fill_kind kind;
    double a; /* CONST: value; UNIFORM: bound; NORMAL: standard deviation                          */
} hone_fill;

/* Where the first emission of a model collects its parameters; later ones only look flags up. */
typedef struct hone_param_set {
    hone_param *item;
    hone_fill *fill;
    int32_t *layer; /* id of the layer that owns it */
    int count, capacity;
} hone_param_set;

typedef struct hone_emit {
    hone_graph *g;
    hone_mode mode;
    hone_tid step;    /* the step block, read by dropout */
    uint32_t streams; /* dropout streams given out       */
    hone_param_set *params;
    bool collect;    /* first emission: append to params */
    hone_tid offset; /* text: where texts begin (N + 1)  */
    int64_t longest; /* text: tokens, what is longer was cut; 0: no limit */
    int64_t vocab;   /* text: ids are below it           */
    hone_tid type;   /* text: segments (T), once a layer reads them */
} hone_emit;

/* Emits a list of layers in order. */
hone_status hone_emit_list(hone_emit *e, const hone_layer_list *list, hone_value *v) HONE_MUST_USE;

/* --- what emitters are made of (emit.c) -------------------------------------------------------- */

const hone_tensor *hone_emit_tensor(const hone_emit *e, const hone_value *v);
/* "(N, 28, 28, 1)" of the value for messages: the batch is not the page's affair; "(T, 256)" of rows of texts. */
const char *hone_emit_shape(const hone_emit *e, const hone_value *v, char text[96]);
/* A mistake in the page: "FILE:LINE:COL: PATH: what". Returns HONE_ERR_USAGE. */
hone_status hone_emit_fail(const hone_layer *l, const char *hint, const char *fmt, ...) HONE_PRINTF(3, 4);
/* Refuses a value whose rank is not in the bit set (1 << rank). `what` says what is expected. */
hone_status hone_emit_rank(const hone_emit *e, const hone_layer *l, const hone_value *v, unsigned ranks,
                           const char *what, const char *hint) HONE_MUST_USE;
/* Refuses a value that is neither tokens (N, T, C) nor rows of texts (T, C). */
hone_status hone_emit_tokens(const hone_emit *e, const hone_layer *l, const hone_value *v) HONE_MUST_USE;
/* Refuses rows of texts: `what` says why the layer has no meaning on them. */
hone_status hone_emit_no_text(const hone_layer *l, const hone_value *v, const char *what) HONE_MUST_USE;
/* Adds a node and moves its output 0 into v; v->hwc is kept (elementwise ops) unless `keep` is false. */
hone_status hone_emit_node(hone_emit *e, const hone_layer *l, hone_op op, const hone_tid *in, const hone_attrs *attr,
                           uint32_t want, bool keep, hone_value *v) HONE_MUST_USE;
/* The same for one input, one output. */
hone_status hone_emit_unary(hone_emit *e, const hone_layer *l, hone_op op, const hone_attrs *attr, bool keep,
                            hone_value *v) HONE_MUST_USE;
hone_status hone_emit_reshape(hone_emit *e, const hone_layer *l, int32_t rank, const int64_t *dim,
                              hone_value *v) HONE_MUST_USE;

/* A parameter "PATH.suffix" ("PATH" where suffix is empty). `rank`, `dim` are of memory; `file_lead`
 * puts that many 1s before the shape in files, as PyTorch's broadcast parameters have them. */
typedef struct hone_param_spec {
    const char *suffix;
    hone_role role;
    int32_t rank;
    int64_t dim[HONE_MAX_RANK];
    hone_layout layout;
    int32_t hwc[3];
    int file_lead;
    bool decay, sparse;
    hone_fill fill;
} hone_param_spec;
hone_status hone_emit_param(hone_emit *e, const hone_layer *l, const hone_param_spec *s, hone_tid *out) HONE_MUST_USE;

/* y = x @ w^T + b over the last axis, parameters PATH.PREFIXweight and PATH.PREFIXbias. */
typedef struct hone_linear_spec {
    const char *prefix; /* "" or "qkv." */
    int64_t out;
    bool bias;
    bool torch_mha; /* DEFAULT init is that of nn.MultiheadAttention: xavier, bias 0 */
    bool zero_bias;
} hone_linear_spec;
hone_status hone_emit_dense(hone_emit *e, const hone_layer *l, const hone_linear_spec *s, hone_value *v) HONE_MUST_USE;
int64_t hone_emit_width(const hone_emit *e, const hone_value *v); /* of the last axis */
hone_status hone_emit_scale_shift(hone_emit *e, const hone_layer *l, const char *prefix, double eps,
                                  hone_value *v) HONE_MUST_USE; /* layernorm */
/* Dropout (or drop_path) with the next stream; nothing in EVAL or where p is 0. */
hone_status hone_emit_drop(hone_emit *e, const hone_layer *l, hone_op op, double p, hone_value *v) HONE_MUST_USE;
/* qkv, attention, proj: parameters PATH.PREFIXqkv.*, PATH.PREFIXproj.* (names 0), or three products apart and the words of
 * BERT (1) or DistilBERT (2). */
hone_status hone_emit_heads(hone_emit *e, const hone_layer *l, const char *prefix, int names,
                            hone_value *v) HONE_MUST_USE;

/* --- the emitters, by layer ----------------------------------------------------------------------- */
#define HONE_EMITTER(name) hone_status hone_emit_##name(hone_emit *e, const hone_layer *l, hone_value *v)
HONE_EMITTER(conv);
HONE_EMITTER(linear);
HONE_EMITTER(batchnorm);
HONE_EMITTER(layernorm);
HONE_EMITTER(relu);
HONE_EMITTER(relu6);
HONE_EMITTER(leaky_relu);
HONE_EMITTER(gelu);
HONE_EMITTER(silu);
HONE_EMITTER(tanh);
HONE_EMITTER(sigmoid);
HONE_EMITTER(maxpool);
HONE_EMITTER(avgpool);
HONE_EMITTER(global_avgpool);
HONE_EMITTER(global_maxpool);
HONE_EMITTER(flatten);
HONE_EMITTER(dropout);
HONE_EMITTER(residual);
HONE_EMITTER(group);
HONE_EMITTER(patch_embed);
HONE_EMITTER(class_token);
HONE_EMITTER(position);
HONE_EMITTER(attention);
HONE_EMITTER(encoder);
HONE_EMITTER(pool);
HONE_EMITTER(embedding);
HONE_EMITTER(embedding_bag);
HONE_EMITTER(token_type);
HONE_EMITTER(conv1d);
HONE_EMITTER(gru);
HONE_EMITTER(bigru);

/* --- init.c ------------------------------------------------------------------------------------------ */

/* How `init:` fills a weight with these fans; DEFAULT is U(+-1/sqrt(fan_in)), what PyTorch's
 * kaiming_uniform_(a=sqrt(5)) of nn.Linear and nn.Conv2d comes to. */
hone_fill hone_fill_weight(const hone_layer *l, int64_t fan_in, int64_t fan_out);
hone_fill hone_fill_bias(const hone_layer *l, int64_t fan_in); /* 0 where init: is given, else as the weight */
/* Writes the values of a parameter (file layout): a function of (seed, name) alone. */
hone_status hone_fill_values(const hone_param *p, const hone_fill *f, uint64_t seed) HONE_MUST_USE;
/* Appends a parameter of this shape with its values allocated; checks the total. */
hone_status hone_param_set_add(hone_param_set *s, const hone_param *p, const hone_fill *f, int32_t layer) HONE_MUST_USE;
int hone_param_set_find(const hone_param_set *s, const char *name); /* -1 if there is none */
void hone_param_set_free(hone_param_set *s);

#endif
