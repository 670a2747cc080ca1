/* json_yaml.c - see json_yaml.h. Arguments go by the rows of the layer table, both ways: nothing
 * here knows a layer by name. */
#include "model/json_yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- layers to JSON --------------------------------------------------------------------------------------- */

/* Pairs are always written out, [height, width]. */
static json_t *pair_json(const int64_t n[2]) { return json_pack("[I, I]", (json_int_t)n[0], (json_int_t)n[1]); }

/* N, or the list that makes branches. */
static json_t *kernels_json(const hone_layer_args *a)
{
    if (a->kernels == 0) return json_integer((json_int_t)a->sizes[0]);
    json_t *list = json_array();
    for (int64_t k = 0; k < a->kernels; k++) list = hone_json_added(list, json_integer((json_int_t)a->sizes[k]));
    return list;
}

/* Word `index` of "a|b|c". */
static json_t *word_json(const char *words, int64_t index)
{
    for (; index > 0; index--) words = strchr(words, '|') + 1;
    return json_stringn(words, strcspn(words, "|"));
}

/* A standard deviation belongs to `normal` alone. */
static json_t *init_json(const hone_layer_args *a)
{
    if (a->init.kind == HONE_INIT_NORMAL) return json_pack("{s:f}", "normal", a->init.std);
    return word_json("default|kaiming|xavier|normal|zeros", a->init.kind);
}

/* One argument as hone_arg_read reads it; every type of the table must have its case here. */
static json_t *arg_json(const hone_layer *l, const hone_arg *a)
{
    const void *at = (const char *)&l->args + a->at;
    /* most arguments are integers; the others read their own field */
    const int64_t *n = at;
    switch (a->type) {
    case HONE_ARG_COUNT_:
    case HONE_ARG_SIZE:
    case HONE_ARG_CLASSES: return json_integer((json_int_t)*n);
    case HONE_ARG_GROUPS: return *n == HONE_DEPTHWISE ? json_string("depthwise") : json_integer((json_int_t)*n);
    case HONE_ARG_PAIR: return pair_json(n);
    case HONE_ARG_KERNELS: return kernels_json(&l->args);
    case HONE_ARG_STRIDE: return n[0] == 0 ? json_string("kernel") : pair_json(n);
    case HONE_ARG_PAD:
        if (l->args.pad.kind == HONE_PAD_GIVEN) return pair_json(l->args.pad.n);
        return json_string(l->args.pad.kind == HONE_PAD_SAME ? "same" : "valid");
    case HONE_ARG_NUMBER:
    case HONE_ARG_POSITIVE:
    case HONE_ARG_CHANCE: return json_real(*(const double *)at);
    case HONE_ARG_BOOL: return json_boolean(*n != 0);
    case HONE_ARG_WORD: return word_json(a->words, *n);
    case HONE_ARG_INIT: return init_json(&l->args);
    case HONE_ARG_SHORTCUT:
    case HONE_ARG_LAYERS: break;
    }
    /* what is left holds layers: an empty shortcut is written as the word that made it */
    const hone_layer_list *list = (const hone_layer_list *)((const char *)l + a->at);
    return a->type == HONE_ARG_SHORTCUT && list->count == 0 ? json_string("identity") : hone_layers_to_json(list);
}

/* NULL without memory, as everything of core/json.h. */
json_t *hone_layers_to_json(const hone_layer_list *list)
{
    json_t *array = json_array();
    for (int k = 0; k < list->count; k++) {
        const hone_layer *l = list->item[k];
        json_t *args = json_object(), *layer = json_object();
        /* names are always written, so unnamed layers keep the numbers they were given */
        args = hone_json_with(args, "name", l->name[0] ? json_string(l->name) : json_null());
        for (int i = 0; i < l->type->arg_count; i++)
            args = hone_json_with(args, l->type->arg[i].name, arg_json(l, &l->type->arg[i]));
        layer = hone_json_with(layer, l->type->name, args);
        array = hone_json_added(array, layer);
    }
    return array;
}

/* --- JSON to a tree of the page's language ------------------------------------------------------------------ */

/* Nodes may be half made: keys and items that are not there yet are NULL. */
void hone_json_yaml_free(hone_yaml *n)
{
    if (!n) return;
    for (int k = 0; k < n->count; k++) {
        if (n->key) hone_json_yaml_free(n->key[k]);
        if (n->item) hone_json_yaml_free(n->item[k]);
    }
    free(n->key);
    free(n->item);
    free(n->text);
    free(n);
}

/* A node with room for `count` items, all NULL; one more than needed, so that 0 allocates something. */
static hone_yaml *new_node(const char *file, hone_yaml_kind kind, size_t count)
{
    hone_yaml *n = calloc(1, sizeof *n);
    if (!n) return NULL;
    n->kind = kind;
    n->file = file;
    n->line = n->column = 1; /* JSON is one value: the layer's path tells the place */
    n->count = (int)count;
    if (kind != HONE_YAML_SCALAR) n->item = calloc(count + 1, sizeof *n->item);
    if (kind == HONE_YAML_MAP) n->key = calloc(count + 1, sizeof *n->key);
    if ((kind != HONE_YAML_SCALAR && !n->item) || (kind == HONE_YAML_MAP && !n->key)) {
        n->count = 0;
        hone_json_yaml_free(n);
        return NULL;
    }
    return n;
}

/* `quoted` marks strings: "4" is no number and "$x" no parameter. */
static hone_yaml *new_scalar(const char *file, const char *text, bool quoted)
{
    hone_yaml *n = new_node(file, HONE_YAML_SCALAR, 0);
    if (n) n->text = malloc(strlen(text) + 1);
    if (n && !n->text) {
        free(n);
        return NULL;
    }
    if (n) strcpy(n->text, text);
    if (n) n->quoted = quoted;
    return n;
}

/* Numbers and words as the page would have them; strings stay strings whatever they look like. */
static hone_yaml *scalar_of(const char *file, const json_t *j)
{
    char text[40];
    switch (json_typeof(j)) {
    case JSON_STRING: return new_scalar(file, json_string_value(j), true);
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(j));
        return new_scalar(file, text, false);
    /* 17 digits: the same double comes back */
    case JSON_REAL: snprintf(text, sizeof text, "%.17g", json_real_value(j)); return new_scalar(file, text, false);
    case JSON_TRUE: return new_scalar(file, "true", false);
    case JSON_FALSE: return new_scalar(file, "false", false);
    default: return new_scalar(file, "~", false);
    }
}

static hone_yaml *convert(const char *file, const json_t *j);

/* Order of keys is kept: messages and names depend on the order of layers. */
static hone_yaml *convert_map(const char *file, const json_t *j)
{
    hone_yaml *n = new_node(file, HONE_YAML_MAP, json_object_size(j));
    const char *key;
    json_t *value;
    int k = 0;
    if (!n) return NULL;
    json_object_foreach((json_t *)j, key, value)
    {
        n->key[k] = new_scalar(file, key, true);
        n->item[k] = convert(file, value);
        if (!n->key[k] || !n->item[k]) {
            hone_json_yaml_free(n);
            return NULL;
        }
        k++;
    }
    return n;
}

/* Recursion is bounded by jansson's own limit of 2048 levels. */
static hone_yaml *convert(const char *file, const json_t *j)
{
    if (json_is_object(j)) return convert_map(file, j);
    if (!json_is_array(j)) return scalar_of(file, j);
    hone_yaml *n = new_node(file, HONE_YAML_SEQ, json_array_size(j));
    for (int k = 0; n && k < n->count; k++) {
        n->item[k] = convert(file, json_array_get(j, (size_t)k));
        if (n->item[k]) continue;
        hone_json_yaml_free(n);
        return NULL;
    }
    return n;
}

/* The page that the expansion expects has `layers` in a map, as a model file has. */
hone_yaml *hone_json_to_yaml(const char *file, const json_t *root, const char *key)
{
    hone_yaml *page = new_node(file, HONE_YAML_MAP, 1);
    if (!page) return NULL;
    page->key[0] = new_scalar(file, key, true);
    page->item[0] = convert(file, json_object_get(root, key));
    if (page->key[0] && page->item[0]) return page;
    hone_json_yaml_free(page);
    return NULL;
}
