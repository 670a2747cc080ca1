/* config.h - an experiment as a typed value, read from a YAML page (shared contract: the page a user
 * writes). One schema table (src/config/schema.c) drives parsing, defaults, ranges, overrides,
 * `config explain`, the JSON schema and resolved.yaml. The model's layer list stays a YAML tree,
 * which src/model reads. */
#ifndef HONE_CONFIG_H
#define HONE_CONFIG_H

#include <stdio.h>

#include "hone/status.h"
#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A YAML node with its place in the page: what messages point at. Lines and columns count from 1. */
typedef enum hone_yaml_kind { HONE_YAML_SCALAR, HONE_YAML_SEQ, HONE_YAML_MAP } hone_yaml_kind;
typedef struct hone_yaml hone_yaml;
struct hone_yaml {
    hone_yaml_kind kind;
    const char    *file;          /* page it stands in; owned by the root                         */
    int            line, column;
    char          *text;          /* SCALAR: its characters, "" for an empty one                  */
    bool           quoted;        /* SCALAR: was in quotes, so it is a string whatever it looks like */
    int            count;         /* SEQ: items; MAP: pairs                                       */
    hone_yaml    **item;          /* SEQ: items; MAP: values                                      */
    hone_yaml    **key;           /* MAP: keys (SCALARs), in the order of the page                */
};
/* Parses a whole page. Errors (USAGE): "file:line:col: ..." for syntax, repeated keys, anchors and
 * aliases (refused), nesting over 64, NUL bytes, files over 16 MiB, not UTF-8, not a regular file. */
hone_status      hone_yaml_read_file(const char *path, hone_yaml **out) HONE_MUST_USE;
hone_status      hone_yaml_read_text(const char *name, const char *text, size_t bytes, hone_yaml **out) HONE_MUST_USE;
void             hone_yaml_free(hone_yaml *root);
const hone_yaml *hone_yaml_get(const hone_yaml *map, const char *key);      /* NULL if absent       */
/* Deep copy that owns its memory (its nodes keep file, line, column). NULL: memory exhausted. */
hone_yaml       *hone_yaml_copy(const hone_yaml *node);
/* Typed reads of a scalar; false when it is not of that type (quoted text is no number, 1.5 no int). */
bool             hone_yaml_int(const hone_yaml *n, int64_t *out);
bool             hone_yaml_float(const hone_yaml *n, double *out);          /* finite numbers only  */
bool             hone_yaml_bool(const hone_yaml *n, bool *out);             /* true | false         */
bool             hone_yaml_null(const hone_yaml *n);                        /* ~, null or empty     */
/* Writes a tree as YAML text (flow style below `flow_depth` levels) to a growing string; free() it. */
char            *hone_yaml_write(const hone_yaml *n, int flow_depth);

/* Collects every mistake of a page, so that one run shows all: "file:14:5: train.optimzer: unknown
 * key (did you mean train.optimizer?)". hone_diag_status() turns them into one USAGE error whose
 * message has a line each. */
typedef struct hone_diag { char *text; size_t bytes, capacity; int count; bool no_memory; } hone_diag;
void        hone_diag_add(hone_diag *d, const hone_yaml *at, const char *path, const char *fmt, ...) HONE_PRINTF(4, 5);
hone_status hone_diag_status(const hone_diag *d) HONE_MUST_USE;             /* OK when count is 0   */
void        hone_diag_free(hone_diag *d);
/* Best of `count` candidates by edit distance: <= 1 for names up to 4 letters, <= 2 above, only when
 * the best is unique; NULL otherwise. */
const char *hone_did_you_mean(const char *word, const char *const *candidates, int count);

typedef enum hone_task      { HONE_TASK_IMAGE, HONE_TASK_TEXT } hone_task;
typedef enum hone_format    { HONE_FORMAT_AUTO, HONE_FORMAT_IDX, HONE_FORMAT_CIFAR, HONE_FORMAT_FOLDER, HONE_FORMAT_CSV,
                              HONE_FORMAT_TSV, HONE_FORMAT_JSONL, HONE_FORMAT_FASTTEXT, HONE_FORMAT_TAR, HONE_FORMAT_PACK } hone_format;
typedef enum hone_on_error  { HONE_ON_ERROR_STOP, HONE_ON_ERROR_SKIP } hone_on_error;
typedef enum hone_check     { HONE_CHECK_OFF, HONE_CHECK_STRICT } hone_check;
typedef enum hone_resize    { HONE_RESIZE_STRETCH, HONE_RESIZE_SHORTER } hone_resize;
typedef enum hone_schedule_kind { HONE_SCHEDULE_CONSTANT, HONE_SCHEDULE_STEP, HONE_SCHEDULE_COSINE, HONE_SCHEDULE_ONECYCLE,
                              HONE_SCHEDULE_LINEAR, HONE_SCHEDULE_PLATEAU } hone_schedule_kind;
typedef enum hone_interval_kind { HONE_EVERY_NONE, HONE_EVERY_EPOCHS, HONE_EVERY_STEPS, HONE_EVERY_SECONDS } hone_interval_kind;
typedef struct hone_interval { hone_interval_kind kind; double value; } hone_interval;   /* "1 epoch", "500 steps", "20m" */
typedef enum hone_class_weights { HONE_WEIGHTS_NONE, HONE_WEIGHTS_BALANCED, HONE_WEIGHTS_GIVEN } hone_class_weights;

typedef struct hone_string_list { char **item; int count; } hone_string_list;

/* Strings are owned by the config, NULL where not given. Comments name the key. */
typedef struct hone_config {
    char     *file;                       /* the page; NULL when built from text                   */
    hone_task task;
    char     *out;
    struct {
        char *path, *train, *val, *test;
        hone_format format;
        double val_fraction;
        hone_on_error on_error;
        hone_check check;                 /* strict: findings are errors of hone_data_open         */
        struct { char *input, *label, *second, *weight, *split; } columns; /* second: text only */
        struct { bool given; int64_t shape[3]; int64_t classes, samples; } synthetic; /* shape: [H, W, C] */
        int64_t memory_limit_mb;          /* decoded images beyond this are streamed; 0 = half of the free memory */
        int decode_threads;               /* 0 = compute threads                                   */
        int prefetch;                     /* batches decoded ahead when streaming                  */
    } data;
    struct {
        int height, width;                /* size: N or [H, W]; 0 = that of the data               */
        int channels;                     /* 0 = that of the data                                  */
        hone_resize resize;
        bool mean_auto, std_auto;
        int mean_count, std_count;        /* 0 = not given: mean 0, std 1                          */
        float mean[4], std[4];
    } image;
    struct {
        double flip;
        int crop_pad;                     /* crop: {pad: N}; 0 = off                               */
        struct { bool given; double scale[2], ratio[2]; int from_height, from_width; } crop; /* crop: {scale, ratio, from}: random resized crop; from 0: chosen */
        double rotate;                    /* degrees; 0 = off                                      */
        struct { double brightness, contrast, saturation, hue; } color; /* reach around 1, of hue around 0; 0 = off */
        struct { int count, magnitude; } randaugment;              /* count 0 = off                */
        struct { double probability, area[2], ratio[2]; } erase;   /* probability 0 = off          */
        double mixup, cutmix;             /* alpha of Beta(alpha, alpha); 0 = off                  */
        double mix;                       /* share of the pictures that are mixed                  */
    } augment;
    struct {                              /* task: text                                            */
        char   *tokenizer;                /* ngram | wordpiece | bpe | char, or a path             */
        struct { int words[2], chars[2]; int64_t buckets; int min_count; int punctuation; } ngram; /* chars: 0, 0 = none; punctuation: as hone_punctuation */
        int     vocab_size;
        bool    lowercase;
        int     max_length;               /* tokens                                                */
        bool    cache;                    /* token ids are kept beside the data                    */
    } text;
    struct {
        hone_yaml *tree;                  /* the `model:` value: a map with file|layers, with, blocks */
    } model;
    struct {
        double  epochs;                   /* may be fractional only through max_steps              */
        int64_t max_steps;                /* 0 = off                                               */
        double  max_time;                 /* seconds; 0 = off                                      */
        int     batch, accumulate;
        int64_t batch_tokens;             /* 0 = off                                               */
        struct { char *name; double lr, momentum; bool nesterov; double weight_decay, beta1, beta2, eps; bool decay_all; } optimizer;
        struct { hone_schedule_kind name; double warmup, warmup_fraction, final, step_every, gamma; int plateau_patience; } schedule;
        struct { double label_smoothing; hone_class_weights class_weights; hone_string_list weight_class; double *weight_value; } loss;
        double  clip_norm, ema;
        struct { char *metric; int patience; } early_stop;
        int     max_bad_steps;            /* non-finite steps in a row that end the run            */
        char   *init;                     /* NULL = none                                           */
        hone_string_list freeze;
        double  layer_decay;              /* 1 = off                                               */
        bool    shuffle, deterministic;
        hone_precision precision;
        double  loss_scale;
        int64_t seed;
    } train;
    struct { hone_interval every; int keep; bool initial; } checkpoint;
    struct { int every; } log;
    hone_yaml *page;                      /* the page as read (with overrides applied)             */
    void      *origins;                   /* where each value came from: default, file line, override */
} hone_config;

/* Reads a page and applies `override_count` texts "train.lr=0.1". All mistakes of the page and the
 * overrides are in one USAGE error, a line each. */
hone_status hone_config_read(const char *path, const char *const *override, int override_count, hone_config **out) HONE_MUST_USE;
hone_status hone_config_read_text(const char *name, const char *text, const char *const *override, int override_count,
                                  hone_config **out) HONE_MUST_USE;
void        hone_config_free(hone_config *c);
/* resolved.yaml: every key with its value and, as a comment, its origin; a runnable page. The model
 * file is written in place (as layers), so the page stands alone. free() the text. */
char       *hone_config_resolved(const hone_config *c);
/* `config explain KEY` (type, range, default, help; a prefix lists its keys), `config schema` (JSON Schema). */
hone_status hone_config_explain(const char *key, char **text) HONE_MUST_USE;
char       *hone_config_schema_json(void);
/* Keys that a page or an override may set, "train.batch", in the order of the table; NULL behind the last. A key with
 * a default per kind comes once a row. */
const char *hone_config_key(int index);

#ifdef __cplusplus
}
#endif
#endif
