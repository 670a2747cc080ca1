/* expand.h - the state of one expansion, shared by expand.c (layers, blocks, lists) and
 * expand_names.c (mistakes, records, names). Nobody else includes it; layers.h is the way in. */
#ifndef HONE_MODEL_EXPAND_H
#define HONE_MODEL_EXPAND_H

#include "model/layers.h"
#include "model/scope.h"

/* Bounds on what a page may grow to: far over any net, small enough to stop a bomb in no time.
 * A path leaves room for the longest suffix of a parameter ("0.attn.proj.weight"). */
enum { HONE_LAYERS_MAX = 10000, HONE_DEPTH_MAX = 64, HONE_BLOCKS_MAX = 256, HONE_PATH_MAX = HONE_NAME_BYTES - 24 };

/* One level of the names: siblings in it have different names, and the unnamed ones count by kind.
 * A container with `name: ~` shares the level of its parent. */
typedef struct hone_level {
    const char *path;                   /* prefix of its layers, "" at the top                      */
    char (*name)[HONE_COMPONENT_BYTES]; /* (name_count) names in use                                */
    int name_count, name_capacity;
    int *kind_count; /* unnamed layers so far: per row of the table, then per block */
} hone_level;

/* A mistake that has been reported: a block used ten times is wrong once. */
typedef struct hone_told {
    const hone_yaml *node;
    uint64_t text; /* hash of the message; 0 where someone else wrote it */
} hone_told;

typedef struct hone_expander {
    hone_layer_tree *tree;
    hone_diag *d;
    const hone_yaml *blocks; /* map or NULL                                                    */
    hone_scope page;         /* parameters of the page, what blocks see beyond their own       */
    hone_yaml classes_node;  /* the value of $classes                                          */
    char classes_text[16];
    int classes;
    int depth;                    /* lists that enclose this one                                    */
    bool active[HONE_BLOCKS_MAX]; /* blocks being expanded: none of them may be used again          */
    bool full;                    /* too many layers: stop                                          */
    hone_told *told;
    int told_count, told_capacity;
    hone_status status; /* MEMORY is sticky                                               */
} hone_expander;

/* --- mistakes, once each --- */

bool hone_expand_no_memory(hone_expander *x); /* records it; returns false */
bool hone_expand_is_told(const hone_expander *x, const hone_yaml *n);
void hone_expand_mark(hone_expander *x, const hone_yaml *n, uint64_t text);
void hone_expand_mistake(hone_expander *x, const hone_yaml *at, const char *path, const char *fmt, ...)
    HONE_PRINTF(4, 5);
/* hone_scope_resolve; a node with a reported mistake resolves to nothing. */
hone_ref hone_expand_resolve(hone_expander *x, hone_ref r, const char *path);

/* --- records and names --- */

int hone_block_count(const hone_expander *x);
/* A new record at the end of `list`; NULL when there are too many or memory is exhausted. */
hone_layer *hone_expand_new(hone_expander *x, hone_layer_list *list, const hone_layer_type *type, const hone_yaml *at);
bool hone_level_open(hone_expander *x, hone_level *lv, const char *path);
void hone_level_close(hone_level *lv);
/* Letters, digits, _ and -: no dots (they separate components), nothing that a freeze pattern means. */
bool hone_is_component(const char *name);
/* Gives l its path under the level; `name` "" adds none. `at` is pointed at when a sibling has it. */
void hone_expand_set_name(hone_expander *x, hone_level *lv, hone_layer *l, const char *name, const hone_yaml *at);
/* The name that a map gives, else kind plus count. `kind_index` counts unnamed siblings. */
void hone_expand_name(hone_expander *x, hone_level *lv, hone_layer *l, hone_ref value, const char *kind, int kind_index,
                      const hone_yaml *at);

#endif
