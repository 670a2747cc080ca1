/* layers.h - stage one of a model: the page's layers, expanded.
 *
 * A page of layers (blocks, parameters, repeats) becomes a tree of layer records: kind, path, typed
 * arguments, nothing left to substitute. Stage two (emit.h) turns the tree into graph nodes for one
 * batch size and mode. The vocabulary is one table (layer_table.c): a row says the layer's name, its
 * arguments with types and defaults, and the function that emits it. Nothing here knows the graph's
 * shapes, and no default of a layer is written anywhere but in that table. */
#ifndef HONE_MODEL_LAYERS_H
#define HONE_MODEL_LAYERS_H

#include "hone/config.h"

#define HONE_COMPONENT_BYTES 48 /* one component of a path, with its NUL */

/* Weight initialisation; DEFAULT is what the PyTorch module of the same name does (init.c). */
typedef enum hone_init_kind {
    HONE_INIT_DEFAULT,
    HONE_INIT_KAIMING, /* N(0, 2 / fan_out), as torchvision's convolutional nets                */
    HONE_INIT_XAVIER,  /* U(+-sqrt(6 / (fan_in + fan_out)))                                     */
    HONE_INIT_NORMAL,  /* N(0, std)                                                             */
    HONE_INIT_ZEROS
} hone_init_kind;

typedef enum hone_pad_kind { HONE_PAD_GIVEN, HONE_PAD_SAME, HONE_PAD_VALID } hone_pad_kind;

enum { HONE_DEPTHWISE = -1 }; /* groups: depthwise, resolved where the channels are known */

enum { HONE_KERNELS_MAX = 8 }; /* branches of one conv1d */

/* Arguments of all layers in one struct; which fields a layer uses is said by its row of the table. */
typedef struct hone_layer_args {
    int64_t out, dim, heads, ff, length, layers, size, groups, repeat; /* counts; 0 = not given */
    int64_t kernel[2], stride[2], dilation[2];                         /* height, width          */
    int64_t kernels, sizes[HONE_KERNELS_MAX]; /* conv1d: branches, their kernels; 0 branches: sizes[0] alone */
    struct {
        int64_t kind, n[2];
    } pad;
    struct {
        int64_t kind;
        double std;
    } init;
    double eps, momentum, slope, p;
    int64_t form;         /* index of a word: gelu exact|tanh, pool mean|max|first, position, norm       */
    int64_t act;          /* encoder: index in its list of activations                                    */
    int64_t bias, sparse; /* 0 or 1                                                               */
} hone_layer_args;

typedef struct hone_layer hone_layer;
typedef struct hone_layer_list {
    hone_layer **item;
    int count, capacity;
} hone_layer_list;

typedef enum hone_arg_type {
    HONE_ARG_COUNT_,   /* integer in 1..2^20                                                         */
    HONE_ARG_SIZE,     /* integer in 0..2^20; 0 is "take it from the input"                          */
    HONE_ARG_CLASSES,  /* integer in 1..2^20, or the word `classes`                                  */
    HONE_ARG_GROUPS,   /* integer >= 1, or the word `depthwise`                                      */
    HONE_ARG_PAIR,     /* N or [h, w], each in 1..1024                                               */
    HONE_ARG_STRIDE,   /* the same, or `kernel` (0): as large as the kernel                          */
    HONE_ARG_KERNELS,  /* N in 1..1024, or a list of 1..8 of them                                    */
    HONE_ARG_PAD,      /* same, valid, N or [h, w]                                                   */
    HONE_ARG_NUMBER,   /* number in 0..1e6                                                           */
    HONE_ARG_POSITIVE, /* the same without 0                                                       */
    HONE_ARG_CHANCE,   /* probability in 0..1, 1 excluded                                            */
    HONE_ARG_BOOL,     /* true | false                                                               */
    HONE_ARG_WORD,     /* one of `words`, stored as its index                                        */
    HONE_ARG_INIT,     /* default | kaiming | xavier | normal | zeros | {normal: STD}                */
    HONE_ARG_LAYERS,   /* a list of layers: `slot` of the record                                     */
    HONE_ARG_SHORTCUT  /* the word identity, or a list of layers                                     */
} hone_arg_type;

typedef struct hone_arg {
    const char *name;
    hone_arg_type type;
    size_t at;            /* offset in hone_layer_args; lists: in hone_layer                        */
    const char *standard; /* default as a user would write it; NULL = must be given                */
    const char *words;    /* WORD: "exact|tanh"                                                    */
} hone_arg;

struct hone_emit;
struct hone_value;
typedef hone_status (*hone_emit_fn)(struct hone_emit *e, const hone_layer *l, struct hone_value *v);

typedef enum hone_layer_shape {
    HONE_SHAPE_LEAF,
    HONE_SHAPE_GROUP,
    HONE_SHAPE_REPEAT,
    HONE_SHAPE_RESIDUAL
} hone_layer_shape;

typedef struct hone_layer_type {
    const char *name;
    hone_layer_shape shape; /* how stage one expands it                                           */
    const char *short_arg;  /* argument that a short value sets (`dropout: 0.3`), or NULL          */
    const hone_arg *arg;
    int arg_count;
    hone_emit_fn emit; /* stage two; NULL for what stage one dissolves                        */
} hone_layer_type;

extern const hone_layer_type hone_layer_table[];
extern const int hone_layer_table_count;
const hone_layer_type *hone_layer_type_find(const char *name); /* NULL if there is none */

/* One layer of the expanded tree. Repeats and blocks have become groups. */
struct hone_layer {
    const hone_layer_type *type;
    int32_t id;                      /* position in the tree, preorder: hone_node.layer              */
    char name[HONE_COMPONENT_BYTES]; /* "" adds no level                                             */
    char path[HONE_NAME_BYTES];      /* the prefix of its parameters' names                          */
    const char *file;                /* where the page says it; owned by the tree                    */
    int line, column;
    hone_layer_args args;
    hone_layer_list body, shortcut, after; /* group, residual: body; residual: the others            */
};

typedef struct hone_layer_tree {
    hone_layer_list top;
    hone_layer_list all; /* every record by id; owns them  */
    char **file;         /* interned names of pages        */
    int file_count;
} hone_layer_tree;

/* Expands `model` (a map with layers, optional blocks and with) for `classes` classes. `given` (may
 * be NULL) overrides the page's `with:`. Every mistake goes to `d`; the tree is complete only if d
 * stayed empty. Errors: MEMORY only. */
hone_status hone_layers_expand(const hone_yaml *model, const hone_yaml *given, int classes, hone_diag *d,
                               hone_layer_tree *out) HONE_MUST_USE;
void hone_layers_free(hone_layer_tree *t);

/* Reads one argument's value into `args` by its row; false after a mistake went to `d`. `path` names
 * the argument in the message. */
typedef struct hone_arg_value {
    const hone_yaml *node;                   /* the value, parameters already substituted       */
    const hone_yaml *item[HONE_KERNELS_MAX]; /* first items of a list or map, substituted */
} hone_arg_value;
bool hone_arg_read(const hone_arg *a, const hone_arg_value *v, int classes, const char *path, hone_diag *d,
                   hone_layer_args *args);
/* Sets every argument of the row that has a default. */
void hone_args_default(const hone_layer_type *type, hone_layer_args *args);

#endif
