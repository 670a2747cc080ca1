/* expand.c - a page of layers becomes the tree of records of layers.h.
 *
 * Blocks are macros: a use of one is a group whose layers are the block's, read in a scope of its
 * parameters. `repeat` and a residual's `repeat` become groups with children 0, 1, 2... Every mistake
 * goes to the diagnostics once, however often its place is expanded. The work is bounded for any page:
 * blocks can't use themselves, records are counted. No shape is known here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "model/expand.h"

static void expand_list(hone_expander *x, hone_level *at, hone_layer_list *list, hone_ref r, const char *path);

/* --- layers of the table --------------------------------------------------------------------------------- */

/* "layer1.0.conv1.kernel", what messages about arguments begin with. */
static const char *arg_path(const hone_layer *l, const char *arg, char text[192])
{
    snprintf(text, 192, "%s%s%s", l->path, l->path[0] ? "." : "", arg);
    return text;
}

/* One argument, its $names substituted, into the record. A short list (kernel) or a map of one (init)
 * may hold $names itself. */
static void read_arg(hone_expander *x, hone_layer *l, const hone_arg *a, hone_ref value)
{
    char path[192];
    arg_path(l, a->name, path);
    hone_ref r = hone_expand_resolve(x, value, path);
    if (!r.node || hone_expand_is_told(x, r.node)) return;
    hone_arg_value v = {.node = r.node};
    for (int k = 0; k < HONE_KERNELS_MAX && r.node->kind != HONE_YAML_SCALAR && k < r.node->count; k++) {
        v.item[k] = hone_expand_resolve(x, (hone_ref){r.node->item[k], r.scope}, path).node;
        if (!v.item[k]) return;
    }
    if (!hone_arg_read(a, &v, x->classes, path, x->d, &l->args)) hone_expand_mark(x, r.node, 0);
}

/* Suggests the nearest argument, or lists them all where none is near. */
static void unknown_arg(hone_expander *x, const hone_layer *l, const hone_yaml *key)
{
    const char *candidate[24] = {"name"};
    int count = 1;
    for (int k = 0; k < l->type->arg_count && count < 24; k++) candidate[count++] = l->type->arg[k].name;
    const char *best = hone_did_you_mean(key->text, candidate, count);
    char path[192];
    arg_path(l, key->text, path);
    if (best) {
        hone_expand_mistake(x, key, path, "unknown argument of %s (did you mean %s?)", l->type->name, best);
        return;
    }
    hone_text names = {0};
    for (int k = 0; k < count; k++) hone_text_add(&names, "%s%s", k ? ", " : "", candidate[k]);
    hone_expand_mistake(x, key, path, "unknown argument of %s (it takes %s)", l->type->name,
                        names.data ? names.data : "name");
    hone_text_free(&names);
}

/* The row's argument of this name, NULL if the layer has none such. */
static const hone_arg *find_arg(const hone_layer_type *type, const char *name)
{
    for (int k = 0; k < type->arg_count; k++)
        if (strcmp(type->arg[k].name, name) == 0) return &type->arg[k];
    return NULL;
}

/* Lists become records, not values: they are expanded where names are known. */
static bool is_list_arg(const hone_arg *a) { return a->type == HONE_ARG_LAYERS || a->type == HONE_ARG_SHORTCUT; }

/* Arguments but lists; reports unknown and missing ones, lists included. Three forms of value: none, a
 * short one (for the row's short argument), a map. */
static void read_args(hone_expander *x, hone_layer *l, hone_ref value, const hone_yaml *at)
{
    const hone_layer_type *type = l->type;
    hone_args_default(type, &l->args); /* what a mistake leaves unread keeps its default */
    /* `conv: {...}`, `dropout: 0.3`, `relu` */
    bool is_map = value.node && value.node->kind == HONE_YAML_MAP;
    const hone_arg *brief = type->short_arg ? find_arg(type, type->short_arg) : NULL;
    if (value.node && !is_map && brief) {
        read_arg(x, l, brief, value);
    } else if (value.node && !is_map) {
        hone_expand_mistake(x, value.node, l->path, "%s takes %s, not %s", type->name,
                            type->arg_count ? "a map of arguments" : "no arguments",
                            value.node->kind == HONE_YAML_SEQ ? "a list" : "a short value");
        return;
    }
    for (int k = 0; is_map && k < value.node->count; k++) {
        const hone_yaml *key = value.node->key[k];
        const hone_arg *a = find_arg(type, key->text);
        if (a && !is_list_arg(a)) read_arg(x, l, a, (hone_ref){value.node->item[k], value.scope});
        if (!a && strcmp(key->text, "name") != 0) unknown_arg(x, l, key);
    }
    for (int k = 0; k < type->arg_count; k++) {
        const hone_arg *a = &type->arg[k];
        /* a required argument counts as given even where its value was a mistake: one message is enough */
        bool given = is_map ? hone_yaml_get(value.node, a->name) != NULL : value.node && a == brief;
        if (!a->standard && !given) hone_expand_mistake(x, at, l->path, "%s needs %s", type->name, a->name);
    }
}

/* The lists of a group or residual, by the table's rows: body, then shortcut, then after. They share
 * one level of names, as torchvision's blocks do (conv1, bn1, downsample). */
static void expand_children(hone_expander *x, const hone_layer_type *type, hone_layer *l, hone_level *inner,
                            hone_ref value)
{
    for (int k = 0; k < type->arg_count; k++) {
        const hone_arg *a = &type->arg[k];
        const hone_yaml *given =
            value.node && value.node->kind == HONE_YAML_MAP ? hone_yaml_get(value.node, a->name) : NULL;
        if (!is_list_arg(a) || !given) continue;
        char path[192];
        hone_ref r = hone_expand_resolve(x, (hone_ref){given, value.scope}, arg_path(l, a->name, path));
        if (!r.node) continue;
        /* `after:` with nothing behind it */
        if (a->standard && hone_yaml_null(r.node)) continue;
        /* the default in words; an empty list would mean the same */
        bool is_identity =
            a->type == HONE_ARG_SHORTCUT && r.node->kind == HONE_YAML_SCALAR && strcmp(r.node->text, "identity") == 0;
        if (is_identity) continue;
        if (a->type == HONE_ARG_SHORTCUT && r.node->kind == HONE_YAML_SCALAR) {
            hone_expand_mistake(x, r.node, path, "must be identity or a list of layers, not \"%.60s\"", r.node->text);
            continue;
        }
        if (r.node->kind == HONE_YAML_SEQ && r.node->count == 0 && !a->standard)
            hone_expand_mistake(x, r.node, path, "has no layers");
        expand_list(x, inner, (hone_layer_list *)((char *)l + a->at), r, path);
    }
}

/* Children in a level of their own, or in `outer` where l adds none to the names. */
static void expand_inside(hone_expander *x, hone_level *outer, const hone_layer_type *type, hone_layer *l,
                          hone_ref value)
{
    if (!l->name[0]) {
        expand_children(x, type, l, outer, value);
        return;
    }
    hone_level own;
    if (!hone_level_open(x, &own, l->path)) return;
    expand_children(x, type, l, &own, value);
    hone_level_close(&own);
}

/* l becomes a group of `repeat` children 0, 1, 2...; each is a residual, or a group of repeat's layers. */
static void expand_repeated(hone_expander *x, hone_level *outer, hone_layer *l, hone_ref value, const hone_yaml *at)
{
    const hone_layer_type *written = l->type, *group = hone_layer_type_find("group");
    const hone_layer_type *child_type = written->shape == HONE_SHAPE_REPEAT ? group : written;
    /* children 0, 1, 2... stand in l's level, or in the parent's where l has none */
    hone_level own, *lv = outer;
    /* bounded by the table of arguments, and the records by hone_expand_new */
    int64_t times = l->args.repeat;
    l->type = group;
    if (l->name[0]) {
        if (!hone_level_open(x, &own, l->path)) return;
        lv = &own;
    }
    for (int64_t k = 0; k < times; k++) {
        hone_layer *child = hone_expand_new(x, &l->body, child_type, at);
        if (!child) break;
        char name[24];
        snprintf(name, sizeof name, "%d", (int)k);
        child->args = l->args;
        /* the repetition is spent: model.json must not repeat again */
        child->args.repeat = 1;
        hone_expand_set_name(x, lv, child, name, at);
        expand_inside(x, lv, written, child, value);
    }
    if (l->name[0]) hone_level_close(&own);
}

/* A layer of the table becomes one record, or for repeats a group of records. */
static void expand_layer(hone_expander *x, hone_level *lv, hone_layer_list *list, const hone_layer_type *type,
                         hone_ref value, const hone_yaml *at)
{
    hone_layer *l = hone_expand_new(x, list, type, at);
    if (!l) return;
    hone_expand_name(x, lv, l, value, type->name, (int)(type - hone_layer_table), at);
    read_args(x, l, value, at);
    if (type->shape == HONE_SHAPE_REPEAT || (type->shape == HONE_SHAPE_RESIDUAL && l->args.repeat > 1))
        expand_repeated(x, lv, l, value, at);
    else if (type->shape != HONE_SHAPE_LEAF) expand_inside(x, lv, type, l, value);
}

/* The value of a key; `with:` with nothing after it counts as absent. */
static const hone_yaml *map_of(const hone_yaml *map, const char *key)
{
    const hone_yaml *value = hone_yaml_get(map, key);
    return value && !hone_yaml_null(value) ? value : NULL;
}

/* --- blocks --------------------------------------------------------------------------------------------- */

/* The use of a block is a group. Its arguments are looked up where the use stands, its defaults and
 * layers in the page: a block sees nothing of its caller but what it is given. */
static void expand_block(hone_expander *x, hone_level *lv, hone_layer_list *list, int index, hone_ref value,
                         const hone_yaml *at)
{
    const hone_yaml *block = x->blocks->item[index];
    const char *name = x->blocks->key[index]->text;
    const hone_yaml *layers = block->kind == HONE_YAML_MAP ? hone_yaml_get(block, "layers") : NULL;
    const hone_yaml *with = block->kind == HONE_YAML_MAP ? map_of(block, "with") : NULL;
    /* told by check_block already; there is nothing to expand */
    if (!layers || (with && with->kind != HONE_YAML_MAP)) return;
    if (x->active[index]) {
        hone_expand_mistake(x, at, name, "a block can't use itself");
        return;
    }
    if (value.node && value.node->kind != HONE_YAML_MAP) {
        hone_expand_mistake(x, value.node, name, "a block takes a map of its parameters");
        return;
    }
    /* a use with wrong parameters is told once, at its first expansion */
    int before = x->d->count;
    if (!hone_expand_is_told(x, at)) hone_scope_check(value.node, with, at, name, true, x->d);
    if (x->d->count > before) hone_expand_mark(x, at, 0);
    hone_layer *l = hone_expand_new(x, list, hone_layer_type_find("group"), at);
    if (!l) return;
    hone_expand_name(x, lv, l, value, name, hone_layer_table_count + index, at);
    hone_scope scope = {.up = &x->page, .given = value.node, .given_scope = value.scope, .standard = with};
    /* blocks may use other blocks, which ends because none may use itself */
    /* on the way down only: two uses side by side are fine */
    x->active[index] = true;
    expand_inside(x, lv, l->type, l, (hone_ref){block, &scope});
    x->active[index] = false;
}

/* Index in `blocks`, -1 if there is none. Blocks are few: a search by name will do. */
static int find_block(const hone_expander *x, const char *name)
{
    for (int k = 0; k < hone_block_count(x); k++)
        if (strcmp(x->blocks->key[k]->text, name) == 0) return k;
    return -1;
}

/* Blocks are suggested as well as layers. */
static void unknown_layer(hone_expander *x, const hone_yaml *at, const char *path)
{
    const char *candidate[HONE_BLOCKS_MAX + 64];
    int count = 0;
    for (int k = 0; k < hone_layer_table_count; k++) candidate[count++] = hone_layer_table[k].name;
    for (int k = 0; k < hone_block_count(x) && count < HONE_BLOCKS_MAX + 64; k++)
        candidate[count++] = x->blocks->key[k]->text;
    /* NULL where nothing is near: a wrong suggestion is worse than none */
    const char *best = hone_did_you_mean(at->text, candidate, count);
    if (best) hone_expand_mistake(x, at, path, "unknown layer %.60s (did you mean %s?)", at->text, best);
    else hone_expand_mistake(x, at, path, "unknown layer %.60s", at->text);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

/* A layer is a name or a map of one name to its value. Both may be $names: a block can be chosen by a
 * parameter (`- $stem`). The commonest slip, arguments that are not indented, gets its own words. */
static void expand_item(hone_expander *x, hone_level *lv, hone_layer_list *list, hone_ref item, const char *path)
{
    hone_ref r = hone_expand_resolve(x, item, path), value = {NULL, NULL};
    if (!r.node) return;
    hone_ref name = r;
    if (r.node->kind == HONE_YAML_MAP && r.node->count == 1) {
        name = hone_expand_resolve(x, (hone_ref){r.node->key[0], r.scope}, path);
        value = hone_expand_resolve(x, (hone_ref){r.node->item[0], r.scope}, path);
        if (!name.node || !value.node) return;
        if (hone_yaml_null(value.node)) value.node = NULL; /* `conv:` with nothing after it */
    }
    if (name.node->kind == HONE_YAML_MAP && name.node->count > 1) {
        hone_expand_mistake(x, r.node, path,
                            "a layer has one name, this map has %s and %s (are the arguments indented under the name?)",
                            r.node->key[0]->text, r.node->key[1]->text);
        return;
    }
    if (name.node->kind != HONE_YAML_SCALAR || hone_yaml_null(name.node)) {
        hone_expand_mistake(x, r.node, path, "a layer must stand here: a name, or a name with its arguments");
        return;
    }
    int block = find_block(x, name.node->text);
    const hone_layer_type *type = hone_layer_type_find(name.node->text);
    if (block >= 0) expand_block(x, lv, list, block, value, name.node);
    else if (type) expand_layer(x, lv, list, type, value, name.node);
    else unknown_layer(x, name.node, path);
}

/* Every list of layers passes here, so depth and size are bounded here. */
static void expand_list(hone_expander *x, hone_level *at, hone_layer_list *list, hone_ref r, const char *path)
{
    if (r.node->kind != HONE_YAML_SEQ) {
        hone_expand_mistake(x, r.node, path, "must be a list of layers");
        return;
    }
    if (x->depth >= HONE_DEPTH_MAX) {
        hone_expand_mistake(x, r.node, path, "layers are nested deeper than %d levels", HONE_DEPTH_MAX);
        return;
    }
    x->depth++;
    for (int k = 0; k < r.node->count && x->status == HONE_OK && !x->full; k++) {
        hone_ref item = {r.node->item[k], r.scope};
        expand_item(x, at, list, item, at->path[0] ? at->path : "layers");
    }
    x->depth--;
}

/* --- the page -------------------------------------------------------------------------------------------- */

/* Blocks are checked once where they stand; what is in their layers shows when they are used. */
static void check_block(hone_expander *x, const hone_yaml *key, const hone_yaml *block)
{
    const char *name = key->text;
    if (hone_layer_type_find(name)) hone_expand_mistake(x, key, name, "a block can't have the name of a layer");
    if (!hone_is_component(name))
        hone_expand_mistake(x, key, "blocks", "a block's name must be 1..%d letters, digits, _ or -",
                            HONE_COMPONENT_BYTES - 1);
    if (block->kind != HONE_YAML_MAP) {
        hone_expand_mistake(x, block, name, "a block is a map with layers and, if it has parameters, with");
        return;
    }
    for (int k = 0; k < block->count; k++)
        if (strcmp(block->key[k]->text, "layers") != 0 && strcmp(block->key[k]->text, "with") != 0)
            hone_expand_mistake(x, block->key[k], name, "unknown key %.60s of a block (it takes with, layers)",
                                block->key[k]->text);
    const hone_yaml *with = map_of(block, "with");
    if (!hone_yaml_get(block, "layers")) hone_expand_mistake(x, key, name, "the block has no layers");
    if (with && with->kind != HONE_YAML_MAP)
        hone_expand_mistake(x, with, name, "with must be a map of parameters and their defaults");
}

/* Keys and kinds of the page itself; what is of the wrong kind is left out from here on. */
static void check_page(hone_expander *x, const hone_yaml *model)
{
    static const char *const keys[] = {"file", "with", "blocks", "layers"};
    for (int k = 0; k < model->count; k++) {
        const char *key = model->key[k]->text, *best = hone_did_you_mean(key, keys, 4);
        bool known = false;
        for (int i = 0; i < 4; i++) known |= strcmp(key, keys[i]) == 0;
        if (!known)
            hone_expand_mistake(x, model->key[k], "model", "unknown key %.60s%s%s%s", key,
                                best ? " (did you mean " : "", best ? best : "", best ? "?)" : "");
    }
    const hone_yaml *with = map_of(model, "with");
    x->blocks = map_of(model, "blocks");
    if (with && with->kind != HONE_YAML_MAP)
        hone_expand_mistake(x, with, "model.with", "must be a map of parameters and their defaults");
    x->page.standard = with && with->kind == HONE_YAML_MAP ? with : NULL;
    if (x->blocks && (x->blocks->kind != HONE_YAML_MAP || x->blocks->count > HONE_BLOCKS_MAX)) {
        hone_expand_mistake(x, x->blocks, "model.blocks", "must be a map of at most %d blocks", HONE_BLOCKS_MAX);
        x->blocks = NULL;
    }
    for (int k = 0; x->blocks && k < x->blocks->count; k++) check_block(x, x->blocks->key[k], x->blocks->item[k]);
}

/* The tree keeps nothing of the YAML: numbers and names are copied, so the page may be freed. */
hone_status hone_layers_expand(const hone_yaml *model, const hone_yaml *given, int classes, hone_diag *d,
                               hone_layer_tree *out)
{
    hone_expander x = {.tree = out, .d = d, .classes = classes};
    *out = (hone_layer_tree){0};
    snprintf(x.classes_text, sizeof x.classes_text, "%d", classes);
    x.classes_node = (hone_yaml){.kind = HONE_YAML_SCALAR,
                                 .file = model->file,
                                 .line = model->line,
                                 .column = model->column,
                                 .text = x.classes_text};
    if (model->kind != HONE_YAML_MAP) {
        hone_diag_add(d, model, "model", "must be a map with layers");
        return HONE_OK;
    }
    check_page(&x, model);
    const hone_yaml *layers = hone_yaml_get(model, "layers");
    x.page.given = given && given->kind == HONE_YAML_MAP ? given : NULL;
    hone_scope_check(x.page.given, x.page.standard, x.page.standard ? x.page.standard : model, "model.with", false, d);
    /* the top has no path: its layers' names are the first component */
    hone_level top;
    if (!layers) {
        hone_expand_mistake(&x, model, "model", "has no layers");
    } else if (hone_level_open(&x, &top, "")) {
        if (layers->kind == HONE_YAML_SEQ && layers->count == 0)
            hone_expand_mistake(&x, layers, "layers", "has no layers");
        expand_list(&x, &top, &out->top, (hone_ref){layers, &x.page}, "layers");
        hone_level_close(&top);
    }
    free(x.told);
    return x.status;
}

void hone_layers_free(hone_layer_tree *t)
{
    for (int k = 0; k < t->all.count; k++) {
        hone_layer *l = t->all.item[k];
        free(l->body.item);
        free(l->shortcut.item);
        free(l->after.item);
        free(l);
    }
    free(t->all.item);
    free(t->top.item);
    for (int k = 0; k < t->file_count; k++) free(t->file[k]);
    free(t->file);
    *t = (hone_layer_tree){0};
}
