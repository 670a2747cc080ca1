/* schema.h - THE table of keys: one row says a key's type, place in hone_config, range, default and
 * help. Reading, defaults, overrides, resolved.yaml, `config explain` and the JSON schema are all
 * driven by it, so a key cannot be known to one and not to another. Internal to src/config. */
#ifndef HONE_CONFIG_SCHEMA_H
#define HONE_CONFIG_SCHEMA_H

#include <jansson.h>

#include "config/page.h"

typedef enum hone_type {
    HONE_TYPE_GROUP,    /* a map of keys; `choices` names the key that a bare scalar stands for      */
    HONE_TYPE_TREE,     /* kept as YAML: model                                                       */
    HONE_TYPE_STRING,   /* char *                                                                    */
    HONE_TYPE_WORD,     /* char *: one of `choices`                                                  */
    HONE_TYPE_ENUM,     /* int-sized enum whose values count from 0 in the order of `choices`        */
    HONE_TYPE_BOOL,     /* bool                                                                      */
    HONE_TYPE_INT,      /* int                                                                       */
    HONE_TYPE_INT64,    /* int64_t                                                                   */
    HONE_TYPE_WHOLE,    /* double that takes integers only                                           */
    HONE_TYPE_FLOAT,    /* double                                                                    */
    HONE_TYPE_PAIR,     /* double[2]: [a, b]                                                         */
    HONE_TYPE_INT_PAIR, /* int[2]: [a, b] with a <= b; none = 0, 0                                   */
    HONE_TYPE_SIZE,     /* int[2] = height, width: N or [H, W]                                       */
    HONE_TYPE_SHAPE,    /* int64_t[3]: [H, W, C]                                                     */
    HONE_TYPE_CHANNELS, /* float[4] + count + auto flag: auto, a number, or a list                   */
    HONE_TYPE_INTERVAL, /* hone_interval: N epochs | N steps | a time                                */
    HONE_TYPE_TIME,     /* double seconds: 90s, 20m, 3h                                              */
    HONE_TYPE_STRINGS,  /* hone_string_list: a list, or one string                                   */
    HONE_TYPE_WEIGHTS,  /* train.loss.class_weights                                                  */
    HONE_TYPE_COUNT
} hone_type;

enum {
    HONE_ROW_ABOVE_MIN = 1 << 0, /* the least value itself is refused                                */
    HONE_ROW_BELOW_MAX = 1 << 1, /* the greatest value itself is refused                             */
    HONE_ROW_OPTIONAL = 1 << 2,  /* `~` means not given                                              */
    HONE_ROW_NONE = 1 << 3,      /* STRING: the word `none` means not given                          */
    HONE_ROW_REQUIRED = 1 << 4,  /* no default: must be given (where `only` holds)                   */
    HONE_ROW_ASCENDS = 1 << 5    /* PAIR: the first must not exceed the second                       */
};

typedef struct hone_row {
    const char *key; /* "train.optimizer.lr"; keys with another default per kind have a row per kind  */
    hone_type type;
    size_t offset; /* of the field in hone_config                                                    */
    double min, max;
    unsigned flags;
    const char *fallback; /* the default as YAML text, read by the same reader; NULL: none             */
    const char *choices;  /* "sgd|adamw"                                                             */
    const char *only;     /* "train.schedule.name=step|plateau": the row counts only then; NULL: always.
                             "data.synthetic": only where that group is written                      */
    const char *help;
} hone_row;

extern const hone_row hone_schema[];
extern const int hone_schema_count;

/* First row of a key, NULL if the key is unknown. */
const hone_row *hone_schema_find(const char *key);
/* Whether a row's `only` holds for `c`, read so far. */
bool hone_row_applies(const hone_row *row, const hone_config *c);
/* Whether choice `word` of "a|b|c" exists; its index, or -1. */
int hone_choice_index(const char *choices, const char *word);
/* Splits "a|b|c" into at most 16 words that point into `storage` (>= 256 bytes). */
int hone_choice_list(const char *choices, char *storage, size_t storage_bytes, const char *word[16]);

/* What is known of a type (types.c). */
typedef struct hone_type_ops {
    /* Stores a value; mistakes go into `d`. The field may hold an earlier value, which is freed. */
    void (*read)(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d);
    /* Appends the value of the field as YAML that `read` takes back. */
    void (*write)(const hone_row *row, const hone_config *c, hone_text *t);
    /* "an integer from 1 to 64": what messages and explain call the type. */
    void (*describe)(const hone_row *row, hone_text *t);
    /* A JSON Schema of the value. */
    json_t *(*schema)(const hone_row *row);
} hone_type_ops;
extern const hone_type_ops hone_type_table[HONE_TYPE_COUNT];
void hone_strings_free(hone_string_list *list); /* the list is empty afterwards */

/* --- config.c and its helpers ----------------------------------------------------------------------- */
/* c->origins: for each row of the table the node that its value was read from, NULL for the default. */
typedef struct hone_origins {
    const hone_yaml *node[128]; /* [hone_schema_count] */
} hone_origins;

/* Node of a key ("train.batch") in a page; NULL if it isn't written. */
const hone_yaml *hone_page_find(const hone_yaml *page, const char *key);
/* Place of a key for messages: its value, else the innermost group around it that is written. */
const hone_yaml *hone_page_place(const hone_yaml *page, const char *key);
/* Bare words for groups become maps: `optimizer: sgd` -> {name: sgd}. false: memory exhausted. */
bool hone_page_expand(hone_yaml *page);
/* Applies "key=value" to the page (override.c); mistakes go into `d`. */
hone_status hone_override_apply(hone_yaml *page, const char *text, hone_diag *d) HONE_MUST_USE;
/* Appends " (did you mean x?)" for an unknown key of a group ("" = top of the page), or nothing. */
void hone_key_suggest(const char *group, const char *word, hone_text *t);
/* Reads model.file, merges `with`, refuses unknown keys of `model:`; result in c->model.tree
 * (model_page.c). `page_name`: paths are relative to its folder. */
hone_status hone_model_page_read(hone_config *c, const char *page_name, hone_diag *d) HONE_MUST_USE;
/* Rules between keys (check.c). */
void hone_config_check(hone_config *c, hone_diag *d);

#endif
