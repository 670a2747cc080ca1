/* layer_table.c - the vocabulary: every layer with its arguments, types and defaults, once.
 *
 * What a page may say is this table; the reader of arguments, the messages, model.json and the
 * emitters all go by it. `name` and (where an argument list has it) `init` are accepted in any map. */
#include <string.h>

#include "model/emit.h"

#define COUNT(a)           ((int)(sizeof(a) / sizeof(a)[0]))
#define AT(field)          offsetof(hone_layer_args, field)
#define LIST(field)        offsetof(hone_layer, field)
#define LEAF(name, short_) #name, HONE_SHAPE_LEAF, short_
#define WITH(args, emit)   args, COUNT(args), emit
#define INIT_ARG                                                                                                       \
    {                                                                                                                  \
        "init", HONE_ARG_INIT, AT(init), "default", NULL                                                               \
    }

/* Every table: name, type, where it goes, default as a user would write it, words. */
static const hone_arg conv_args[] = {
    {"out", HONE_ARG_CLASSES, AT(out), NULL, NULL},       {"kernel", HONE_ARG_PAIR, AT(kernel), "3", NULL},
    {"stride", HONE_ARG_PAIR, AT(stride), "1", NULL},     {"pad", HONE_ARG_PAD, AT(pad), "same", NULL},
    {"dilation", HONE_ARG_PAIR, AT(dilation), "1", NULL}, {"groups", HONE_ARG_GROUPS, AT(groups), "1", NULL},
    {"bias", HONE_ARG_BOOL, AT(bias), "true", NULL},      INIT_ARG,
};
/* PyTorch's argument order is kept where there is one. */
static const hone_arg linear_args[] = {
    {"out", HONE_ARG_CLASSES, AT(out), NULL, NULL},
    {"bias", HONE_ARG_BOOL, AT(bias), "true", NULL},
    INIT_ARG,
};
/* momentum as nn.BatchNorm's: the share of the new batch. */
static const hone_arg batchnorm_args[] = {
    {"eps", HONE_ARG_POSITIVE, AT(eps), "1e-5", NULL},
    {"momentum", HONE_ARG_NUMBER, AT(momentum), "0.1", NULL},
};
static const hone_arg layernorm_args[] = {{"eps", HONE_ARG_POSITIVE, AT(eps), "1e-5", NULL}};
static const hone_arg leaky_relu_args[] = {{"slope", HONE_ARG_POSITIVE, AT(slope), "0.01", NULL}};
static const hone_arg gelu_args[] = {{"form", HONE_ARG_WORD, AT(form), "exact", "exact|tanh"}};
/* Unlike conv: no padding unless asked for, and windows side by side. */
static const hone_arg pooling_args[] = {
    {"kernel", HONE_ARG_PAIR, AT(kernel), "2", NULL},
    {"stride", HONE_ARG_STRIDE, AT(stride), "kernel", NULL},
    {"pad", HONE_ARG_PAD, AT(pad), "0", NULL},
};
/* nn.Dropout's default; 1 is refused, since 1 / (1 - p) scales what is kept. */
static const hone_arg dropout_args[] = {{"probability", HONE_ARG_CHANCE, AT(p), "0.5", NULL}};
/* Lists name the slot of the record they fill. */
static const hone_arg residual_args[] = {
    {"layers", HONE_ARG_LAYERS, LIST(body), NULL, NULL},
    {"shortcut", HONE_ARG_SHORTCUT, LIST(shortcut), "identity", NULL},
    {"repeat", HONE_ARG_COUNT_, AT(repeat), "1", NULL},
    {"drop_path", HONE_ARG_CHANCE, AT(p), "0", NULL},
    {"after", HONE_ARG_LAYERS, LIST(after), "[]", NULL},
};
/* repeat shares no parameters: each child has its own, under its own number. */
static const hone_arg repeat_args[] = {
    {"times", HONE_ARG_COUNT_, AT(repeat), NULL, NULL},
    {"layers", HONE_ARG_LAYERS, LIST(body), NULL, NULL},
};
static const hone_arg group_args[] = {{"layers", HONE_ARG_LAYERS, LIST(body), NULL, NULL}};
/* Square patches that tile the image, as every published vision transformer has. */
static const hone_arg patch_embed_args[] = {
    {"size", HONE_ARG_COUNT_, AT(size), "16", NULL},
    {"dim", HONE_ARG_COUNT_, AT(dim), NULL, NULL},
    INIT_ARG,
};
/* length 0, dim 0: those of the input. What is given must equal the input's: it documents the page. */
static const hone_arg class_token_args[] = {{"dim", HONE_ARG_SIZE, AT(dim), "0", NULL}};
static const hone_arg position_args[] = {
    {"kind", HONE_ARG_WORD, AT(form), "learned", "learned|sincos"},
    {"length", HONE_ARG_SIZE, AT(length), "0", NULL},
};
/* dropout is of the probabilities, as nn.MultiheadAttention's. */
static const hone_arg attention_args[] = {
    {"heads", HONE_ARG_COUNT_, AT(heads), NULL, NULL},
    {"dropout", HONE_ARG_CHANCE, AT(p), "0", NULL},
    {"bias", HONE_ARG_BOOL, AT(bias), "true", NULL},
    {"names", HONE_ARG_WORD, AT(form), "timm", "timm|bert|distilbert"}, /* in the order of emit_token.c */
    INIT_ARG,
};
/* norm: pre is norm_first=True; act's words are in the order of emit_feed_forward's table. */
static const hone_arg encoder_args[] = {
    {"layers", HONE_ARG_COUNT_, AT(layers), NULL, NULL},
    {"dim", HONE_ARG_SIZE, AT(dim), "0", NULL},
    {"heads", HONE_ARG_COUNT_, AT(heads), NULL, NULL},
    {"ff", HONE_ARG_SIZE, AT(ff), "0", NULL}, /* 0: 4 * dim */
    {"norm", HONE_ARG_WORD, AT(form), "pre", "pre|post"},
    {"act", HONE_ARG_WORD, AT(act), "gelu", "gelu|gelu_tanh|relu|silu"},
    {"dropout", HONE_ARG_CHANCE, AT(p), "0", NULL},
    {"eps", HONE_ARG_POSITIVE, AT(eps), "1e-5", NULL},
    {"bias", HONE_ARG_BOOL, AT(bias), "true", NULL},
    INIT_ARG,
};
static const hone_arg pool_args[] = {{"kind", HONE_ARG_WORD, AT(form), "mean", "mean|max|first"}};

/* Stored as (rows, dim): the rows come from the tokenizer. mode's words are in the order of emit_text.c. */
static const hone_arg embedding_bag_args[] = {
    {"dim", HONE_ARG_COUNT_, AT(dim), NULL, NULL},
    {"mode", HONE_ARG_WORD, AT(form), "mean", "mean|sum|sqrt"},
    {"sparse", HONE_ARG_BOOL, AT(sparse), "true", NULL},
    INIT_ARG,
};

/* `kernel: [3, 4, 5]`: several convolutions of the same rows, their channels side by side. */
static const hone_arg conv1d_args[] = {
    {"out", HONE_ARG_CLASSES, AT(out), NULL, NULL},
    {"kernel", HONE_ARG_KERNELS, AT(kernels), "3", NULL},
    {"bias", HONE_ARG_BOOL, AT(bias), "true", NULL},
    INIT_ARG,
};
/* bigru: `hidden` of each direction, so that its rows are twice as wide. */
static const hone_arg gru_args[] = {{"hidden", HONE_ARG_COUNT_, AT(out), NULL, NULL}, INIT_ARG};

/* One row a token; the same table as a bag's. */
static const hone_arg embedding_args[] = {
    {"dim", HONE_ARG_COUNT_, AT(dim), NULL, NULL},
    {"sparse", HONE_ARG_BOOL, AT(sparse), "true", NULL},
    INIT_ARG,
};

/* BERT has two: of the first text and of the second. */
static const hone_arg token_type_args[] = {
    {"count", HONE_ARG_COUNT_, AT(length), "2", NULL},
    INIT_ARG,
};

/* Order is of no meaning but for suggestions, where the first of equals is not chosen at all. */
const hone_layer_type hone_layer_table[] = {
    /* what learns, and what normalises what was learned */
    {LEAF(conv, "out"), WITH(conv_args, hone_emit_conv)},
    {LEAF(linear, "out"), WITH(linear_args, hone_emit_linear)},
    {LEAF(batchnorm, NULL), WITH(batchnorm_args, hone_emit_batchnorm)},
    {LEAF(layernorm, NULL), WITH(layernorm_args, hone_emit_layernorm)},
    /* activations: elementwise, no parameters */
    {LEAF(relu, NULL), NULL, 0, hone_emit_relu},
    {LEAF(relu6, NULL), NULL, 0, hone_emit_relu6},
    {LEAF(leaky_relu, "slope"), WITH(leaky_relu_args, hone_emit_leaky_relu)},
    {LEAF(gelu, "form"), WITH(gelu_args, hone_emit_gelu)},
    {LEAF(silu, NULL), NULL, 0, hone_emit_silu},
    {LEAF(tanh, NULL), NULL, 0, hone_emit_tanh},
    {LEAF(sigmoid, NULL), NULL, 0, hone_emit_sigmoid},
    /* windows and reductions over places */
    {LEAF(maxpool, "kernel"), WITH(pooling_args, hone_emit_maxpool)},
    {LEAF(avgpool, "kernel"), WITH(pooling_args, hone_emit_avgpool)},
    {LEAF(global_avgpool, NULL), NULL, 0, hone_emit_global_avgpool},
    {LEAF(global_maxpool, NULL), NULL, 0, hone_emit_global_maxpool},
    {LEAF(flatten, NULL), NULL, 0, hone_emit_flatten},
    {LEAF(dropout, "probability"), WITH(dropout_args, hone_emit_dropout)},
    /* structure: only residual computes something of its own, the sum */
    {"residual", HONE_SHAPE_RESIDUAL, NULL, WITH(residual_args, hone_emit_residual)},
    {"repeat", HONE_SHAPE_REPEAT, NULL, WITH(repeat_args, NULL)},
    {"group", HONE_SHAPE_GROUP, NULL, WITH(group_args, hone_emit_group)},
    /* tokens of an image, and what works on them */
    {LEAF(patch_embed, NULL), WITH(patch_embed_args, hone_emit_patch_embed)},
    {LEAF(class_token, NULL), WITH(class_token_args, hone_emit_class_token)},
    {LEAF(position, "kind"), WITH(position_args, hone_emit_position)},
    {LEAF(attention, "heads"), WITH(attention_args, hone_emit_attention)},
    {LEAF(encoder, NULL), WITH(encoder_args, hone_emit_encoder)},
    {LEAF(pool, "kind"), WITH(pool_args, hone_emit_pool)},
    {LEAF(embedding, "dim"), WITH(embedding_args, hone_emit_embedding)},
    {LEAF(token_type, "count"), WITH(token_type_args, hone_emit_token_type)},
    {LEAF(embedding_bag, "dim"), WITH(embedding_bag_args, hone_emit_embedding_bag)},
    {LEAF(conv1d, "out"), WITH(conv1d_args, hone_emit_conv1d)},
    {LEAF(gru, "hidden"), WITH(gru_args, hone_emit_gru)},
    {LEAF(bigru, "hidden"), WITH(gru_args, hone_emit_bigru)},
};
const int hone_layer_table_count = COUNT(hone_layer_table);

const hone_layer_type *hone_layer_type_find(const char *name)
{
    for (int k = 0; k < hone_layer_table_count; k++)
        if (strcmp(hone_layer_table[k].name, name) == 0) return &hone_layer_table[k];
    return NULL;
}
