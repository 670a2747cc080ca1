/* lower.h - a trained model as an ONNX graph: one small function for each op of hone's EVAL graph.
 *
 * hone computes images as (N,H,W,C), ONNX as (N,C,H,W): a tensor of rank 4 has the one order here and the other there,
 * and weights go out as hone's files hold them, which is PyTorch's order and ONNX's. All other tensors are alike in
 * both. Ragged text (T,C) becomes (N,L,C) with a mask: lower_ragged.c. */
#ifndef HONE_ONNX_LOWER_H
#define HONE_ONNX_LOWER_H

#include "hone/model.h"
#include "onnx/onnx.h"

/* Mistakes that an exporter could make, planted by tests: the self-check must find each. */
typedef enum hone_onnx_fault {
    HONE_ONNX_FAULT_NONE,
    HONE_ONNX_FAULT_PADS,      /* all padding of a window at its end                  */
    HONE_ONNX_FAULT_EPSILON,   /* of a norm, a thousand times too large               */
    HONE_ONNX_FAULT_TRANSPOSE, /* a linear layer's weight in the other order          */
    HONE_ONNX_FAULT_HEADS,     /* attention's scores without their scale              */
    HONE_ONNX_FAULT_FLATTEN,   /* an image flattened in the order of memory           */
    HONE_ONNX_FAULT_MEAN,      /* normalisation or a bag's mean left out; padding counted in a mean */
    HONE_ONNX_FAULT_MASK,      /* padding taken for tokens                            */
    HONE_ONNX_FAULT_PLACES,    /* positions counted from 1                            */
    HONE_ONNX_FAULT_TYPES,     /* all tokens of the first segment                     */
    HONE_ONNX_FAULT_GATES,     /* a recurrent unit's gates in PyTorch's order         */
    HONE_ONNX_FAULT_RESET,     /* its reset gate before the product                   */
    HONE_ONNX_FAULT_REVERSE,   /* the backward direction read forward                 */
    HONE_ONNX_FAULT_COUNT
} hone_onnx_fault;

typedef struct hone_onnx_lower_opts {
    int opset;       /* 13 to 21                                                     */
    bool keep_norms; /* batchnorms stay nodes of their own                           */
    bool preprocess; /* images: uint8 (N,h,w,C) of any size go in                    */
    hone_onnx_fault fault;
} hone_onnx_lower_opts;

/* Weights that are not changed point into `m`, which must outlive `out` and keep its values. Errors: USAGE for a layer
 * that the opset can't hold, MEMORY; `out` is then empty. */
hone_status hone_onnx_lower(hone_model *m, const hone_onnx_lower_opts *o, hone_onnx *out) HONE_MUST_USE;

/* --- for the files of lowering ---------------------------------------------------------------------------- */

/* One lowering under way. */
typedef struct hone_lower {
    hone_model *model;
    const hone_onnx_lower_opts *opts;
    hone_onnx *out;
    const hone_graph *g;
    hone_model_io io;
    const char **name; /* (tensors): the ONNX value of each; NULL: not there yet                     */
    int *uses;         /* (tensors): nodes that read it                                              */
    bool *done;        /* (nodes): lowered with an earlier one                                       */
    int at;            /* the node at hand                                                           */
    int64_t tokens;    /* capacity of ragged tensors: dim[0] of those, and of no other               */
    /* texts of tokens (lower_ragged.c); tokens stand in front, padding behind them */
    const char *lengths;  /* int64 (N,1)                                                               */
    const char *places;   /* int64 (L): 0, 1, 2...                                                     */
    const char *live;     /* bool (N,L): a token                                                       */
    const char *mask;     /* float (N,L,1) of it                                                       */
    const char *nonempty; /* bool (N,1): the text has a token                                          */
    const char *bias;     /* float (N,1,1,L) for attention; NULL until one asks                        */
} hone_lower;

typedef hone_status (*hone_lower_fn)(hone_lower *l, const hone_node *n);

/* Operand k: its ONNX value, its description. */
static inline const char *hone_lower_in(const hone_lower *l, const hone_node *n, int k) { return l->name[n->in[k]]; }
static inline const hone_tensor *hone_lower_desc(const hone_lower *l, const hone_node *n, int k)
{
    return &l->g->tensor[n->in[k]];
}
/* Axes of a tensor's ONNX value: ragged ones have one more. */
int hone_lower_rank(const hone_lower *l, hone_tid t);
bool hone_lower_is_ragged(const hone_lower *l, hone_tid t);
/* The value of output 0. */
static inline hone_status hone_lower_out(hone_lower *l, const hone_node *n, const char *name)
{
    l->name[n->out[0]] = name;
    return HONE_OK;
}
/* A parameter as an initializer of its own name, in the shape of files. */
const char *hone_lower_param(hone_lower *l, hone_tid t);
const hone_param *hone_lower_find(hone_lower *l, hone_tid t);
/* Values that the model does not hold, as an initializer: `values` is memory of the arena. */
const char *hone_lower_values(hone_lower *l, const char *name, int rank, const int64_t *dim, const float *values);
/* The node that alone reads output 0 of `n`, if its op is `op`; else NULL. */
const hone_node *hone_lower_follower(const hone_lower *l, const hone_node *n, hone_op op);
hone_status hone_lower_refuse(const hone_lower *l, const hone_node *n, const char *what) HONE_MUST_USE;

/* The table's rows, by file. */
hone_status hone_lower_conv(hone_lower *l, const hone_node *n);
hone_status hone_lower_pool(hone_lower *l, const hone_node *n);
hone_status hone_lower_global_pool(hone_lower *l, const hone_node *n);
hone_status hone_lower_batchnorm(hone_lower *l, const hone_node *n);
hone_status hone_lower_image(hone_lower *l, const hone_node *n);
hone_status hone_lower_reshape(hone_lower *l, const hone_node *n);
hone_status hone_lower_linear(hone_lower *l, const hone_node *n);
hone_status hone_lower_layernorm(hone_lower *l, const hone_node *n);
hone_status hone_lower_act(hone_lower *l, const hone_node *n);
hone_status hone_lower_join(hone_lower *l, const hone_node *n);
hone_status hone_lower_prepend(hone_lower *l, const hone_node *n);
hone_status hone_lower_first(hone_lower *l, const hone_node *n);
hone_status hone_lower_attention(hone_lower *l, const hone_node *n);
hone_status hone_lower_bag(hone_lower *l, const hone_node *n);
hone_status hone_lower_embedding(hone_lower *l, const hone_node *n);
hone_status hone_lower_places(hone_lower *l, const hone_node *n);
hone_status hone_lower_ragged_mean(hone_lower *l, const hone_node *n);
hone_status hone_lower_ragged_max(hone_lower *l, const hone_node *n);
hone_status hone_lower_ragged_first(hone_lower *l, const hone_node *n);
hone_status hone_lower_conv1d(hone_lower *l, const hone_node *n);
hone_status hone_lower_lone_gru(hone_lower *l, const hone_node *n);
/* `n` with the linear node that makes its inputs; both are done then. */
hone_status hone_lower_gru(hone_lower *l, const hone_node *linear, const hone_node *n);

/* The inputs of a graph that reads tokens one by one, and the values of `l` about them. */
hone_status hone_lower_tokens(hone_lower *l);
/* x (N,L,C) with zeros for padding. */
const char *hone_lower_masked(hone_lower *l, const char *x);
const char *hone_lower_attention_bias(hone_lower *l);

/* softmax(q k^T / sqrt(D) + bias) v of values (N,heads,T,D); bias NULL or broadcast to (N,heads,T,T). */
const char *hone_lower_heads(hone_lower *l, const char *const qkv[3], int64_t head_dim, const char *bias);
/* x (N,T,C) in parts of heads: (N,heads,T,D), and back. */
const char *hone_lower_split_heads(hone_lower *l, const char *x, int64_t heads, int64_t head_dim);
const char *hone_lower_join_heads(hone_lower *l, const char *x, int64_t width);

/* What stands before the net when pixels come raw: the value of the normalised image. */
const char *hone_lower_preprocess(hone_lower *l, const hone_preprocess *pre);

#endif
