/* model.h - a model: layers as a page describes them, its named parameters, labels, preprocessing.
 *
 * A model owns host copies of its parameters in PyTorch's file layout (what is saved), and builds a
 * graph for a batch size and a mode; the graph is compiled by program.h. It knows no optimizer. */
#ifndef HONE_MODEL_H
#define HONE_MODEL_H

#include "hone/config.h"
#include "hone/graph.h"
#include "hone/program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* EVAL: no dropout, running statistics, no augmentation. VIEW: pictures as TRAIN sees them (image, other, share), no net. */
typedef enum hone_mode { HONE_MODE_TRAIN, HONE_MODE_EVAL, HONE_MODE_VIEW } hone_mode;

/* How pixels become the net's input: one implementation for train, eval, predict and export. */
typedef struct hone_preprocess {
    int         height, width, channels;
    hone_resize resize;
    float       mean[HONE_MAX_CHANNELS], std[HONE_MAX_CHANNELS];
    int64_t     vocab;                     /* > 0: a text model; token ids are below it, and of the above nothing counts */
    int         max_length;                /* text: tokens, what is longer is cut; 0 = no limit      */
    bool        pairs;                     /* text: a sample is two texts                            */
} hone_preprocess;

typedef struct hone_param {
    char      name[HONE_NAME_BYTES];
    hone_role role;                        /* PARAM or STATE                                      */
    int32_t   rank;
    int64_t   dim[HONE_MAX_RANK];          /* in the file                                         */
    int64_t   count;
    float    *value;                       /* (count) in file layout                              */
    bool      decay;                       /* weight decay applies: not a bias, not a norm parameter */
    bool      trainable;                   /* false when frozen                                   */
    bool      sparse;                      /* only rows that a step touches get a gradient        */
    bool      borrowed;                    /* value is memory of an open file, not the model's    */
    float     lr_scale;                    /* share of the learning rate that it learns with      */
} hone_param;

typedef struct hone_model hone_model;

/* Ids of the tensors that trainer, eval and predict touch; HONE_NONE where the mode has none. */
typedef struct hone_model_io {
    hone_tid pool, row, sample, step;      /* see image_batch in ops.def                          */
    hone_tid label, row_weight, class_weight; /* i32 (N), f32 (N), f32 (C) CONST                  */
    hone_tid other, share, mix_table;      /* i32 (N), f32 (N), i32 CONST: see image_mix in ops.def */
    hone_tid image, logits, probability;   /* (N,H,W,C), (N,C), (N,C) (EVAL)                      */
    hone_tid loss, row_loss;               /* (1), (N)                                            */
    hone_tid token, offset;                /* text: i32 (tokens), i32 (N + 1); see embedding_bag in ops.def */
    hone_tid type;                         /* i32 (tokens) 0 or 1: segments, where a layer reads them */
} hone_model_io;

typedef struct hone_model_opts { /* what a build needs beyond the layers */
    int64_t batch;
    int64_t pool_rows, pool_h, pool_w;     /* pool tensor (pool_rows, pool_h, pool_w, channels)   */
    hone_mode mode;
    float   label_smoothing;
    bool    class_weights;
    int     accumulate;                    /* >= 1: loss gradient is scaled by 1/accumulate       */
    hone_augment_attr augment;             /* TRAIN only; height and width are filled in          */
    int64_t tokens;                        /* text: room for that many, of all texts together     */
} hone_model_opts;

/* Reads the `model:` tree of a config (file or layers, blocks, with), checks every layer and name,
 * infers shapes for the given input and class count, and creates the parameters with the values that
 * `seed` gives. All mistakes in one USAGE error. Class names are copied. */
hone_status hone_model_new(const hone_config *c, const hone_preprocess *pre, int classes, const char *const *class_name,
                           uint64_t seed, hone_model **out) HONE_MUST_USE;
void        hone_model_free(hone_model *m);

/* Builds the graph of one step: image_batch, layers, softmax_xent (and softmax in EVAL). Parameters
 * appear as PARAM/STATE tensors by their names. The caller frees the graph. */
hone_status hone_model_build(const hone_model *m, const hone_model_opts *o, hone_graph **graph, hone_model_io *io) HONE_MUST_USE;

int                    hone_model_param_count(const hone_model *m);
hone_param            *hone_model_param(hone_model *m, int k);
hone_param            *hone_model_find_param(hone_model *m, const char *name);
int                    hone_model_classes(const hone_model *m);
const char            *hone_model_class_name(const hone_model *m, int k);
const hone_preprocess *hone_model_preprocess(const hone_model *m);
/* Marks parameters whose name matches a pattern (fnmatch) as frozen; a pattern that matches none is a
 * USAGE error that names the closest parameter. */
hone_status hone_model_freeze(hone_model *m, const hone_string_list *patterns) HONE_MUST_USE;

/* Layer-wise rates (Clark et al. 2020, ELECTRA): the last of L blocks learns with `decay` of the rate, each one before
 * it with `decay` of its successor's, and what stands before the blocks as one more; what stands behind them has the
 * full rate. A block is what a numbered path component holds ("layer.3"). USAGE where the model has none. */
hone_status hone_model_layer_decay(hone_model *m, double decay) HONE_MUST_USE;

/* Host values -> program (all of PARAM and STATE), and back. With `ema`, back reads the average. */
hone_status hone_model_upload(hone_model *m, hone_program *p) HONE_MUST_USE;
hone_status hone_model_download(hone_model *m, hone_program *p, bool ema) HONE_MUST_USE;

/* model.json: layers (expanded, as a tree), labels, preprocessing, shapes of parameters. */
hone_status hone_model_save_json(const hone_model *m, const char *path) HONE_MUST_USE;
hone_status hone_model_load_json(const char *path, hone_model **out) HONE_MUST_USE;
/* The same as text in memory (free() it); `name` is for messages. */
hone_status hone_model_json(const hone_model *m, const char *name, char **text) HONE_MUST_USE;
hone_status hone_model_parse_json(const char *name, const char *text, size_t bytes, hone_model **out) HONE_MUST_USE;

/* The layer table (index, path, kind, output shape, parameters, FLOPs, bytes) of one build, as text;
 * snapshots in the tests hold it. free() the result. */
char       *hone_model_table(const hone_model *m, const hone_graph *g);

#ifdef __cplusplus
}
#endif
#endif
