/* expand.c - a page of layers becomes the tree of records of layers.h.
 *
 * Blocks are macros: a use of one is a group whose layers are the block's, read in a scope of its
 * parameters. `repeat` and a residual's `repeat` become groups with children 0, 1, 2... Naming: see
 * level below. Every mistake goes to the diagnostics once, however often its place is expanded. The
 * work is bounded for any page: blocks can't use themselves, records are counted. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "model/layers.h"
#include "model/scope.h"

enum { LAYERS_MAX = 10000, DEPTH_MAX = 64, BLOCKS_MAX = 256, PATH_MAX_BYTES = HONE_NAME_BYTES - 24 };

/* One level of the names: siblings in it have different names, and the unnamed ones count by kind.
 * A container with `name: ~` shares the level of its parent. */
typedef struct level {
    const char *path; /* prefix of its layers, "" at the top        */
    char (*name)[HONE_COMPONENT_BYTES];
    int name_count, name_capacity;
    int *kind_count; /* per row of the table, then per block       */
} level;

typedef struct expander {
    hone_layer_tree *tree;
    hone_diag *d;
    const hone_yaml *blocks; /* map or NULL */
    hone_scope page;
    hone_yaml classes_node;
    char classes_text[16];
    int classes;
    int depth;
    bool active[BLOCKS_MAX]; /* blocks being expanded */
    bool full;               /* too many layers: stop */
    struct told {
        const hone_yaml *node;
        uint64_t text; /* hash of the message */
    } * told;          /* mistakes reported so far */
    int told_count, told_capacity;
    hone_status status; /* MEMORY is sticky */
} expander;

static void expand_list(expander *x, level *at, hone_layer_list *list, hone_ref r, const char *path);

/* --- mistakes, once each ------------------------------------------------------------------------- */

static bool out_of_memory(expander *x)
{
    x->status = hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted while reading the layers");
    return false;
}

static bool is_told(const expander *x, const hone_yaml *n)
{
    for (int k = 0; k < x->told_count; k++)
        if (x->told[k].node == n) return true;
    return false;
}

/* `text` is the hash of the message, 0 where someone else wrote it. */
static void mark_told(expander *x, const hone_yaml *n, uint64_t text)
{
    if (x->told_count == x->told_capacity) {
        int capacity = x->told_capacity ? 2 * x->told_capacity : 16;
        struct told *more = realloc(x->told, (size_t)capacity * sizeof *more);
        if (!more) {
            out_of_memory(x);
            return;
        }
        x->told = more;
        x->told_capacity = capacity;
    }
    x->told[x->told_count++] = (struct told){n, text};
}

static void mistake(expander *x, const hone_yaml *at, const char *path, const char *fmt, ...) HONE_PRINTF(4, 5);
static void mistake(expander *x, const hone_yaml *at, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *p = text; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    for (int k = 0; k < x->told_count; k++)
        if (x->told[k].node == at && x->told[k].text == hash) return;
    mark_told(x, at, hash);
    hone_diag_add(x->d, at, path, "%s", text);
}

static hone_ref resolve(expander *x, hone_ref r, const char *path)
{
    if (r.node && is_told(x, r.node)) return (hone_ref){NULL, NULL};
    int before = x->d->count;
    hone_ref found = hone_scope_resolve(r, &x->classes_node, path, x->d);
    if (x->d->count > before) mark_told(x, r.node, 0);
    return found;
}

/* --- records and names ------------------------------------------------------------------------------ */

static bool list_push(expander *x, hone_layer_list *list, hone_layer *l)
{
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 4;
        hone_layer **more = realloc(list->item, (size_t)capacity * sizeof *more);
        if (!more) return out_of_memory(x);
        list->item = more;
        list->capacity = capacity;
    }
    list->item[list->count++] = l;
    return true;
}

/* The page's name, kept as long as the tree. */
static const char *intern_file(expander *x, const char *file)
{
    hone_layer_tree *t = x->tree;
    if (!file) file = "model";
    for (int k = 0; k < t->file_count; k++)
        if (strcmp(t->file[k], file) == 0) return t->file[k];
    char **more = realloc(t->file, (size_t)(t->file_count + 1) * sizeof *more);
    char *copy = hone_strdup(file);
    if (more) t->file = more;
    if (!more || !copy) {
        free(copy);
        out_of_memory(x);
        return "";
    }
    return t->file[t->file_count++] = copy;
}

static hone_layer *new_layer(expander *x, hone_layer_list *list, const hone_layer_type *type, const hone_yaml *at)
{
    if (x->status != HONE_OK || x->full) return NULL;
    if (x->tree->all.count >= LAYERS_MAX) {
        mistake(x, at, "layers", "the model has over %d layers", LAYERS_MAX);
        x->full = true;
        return NULL;
    }
    hone_layer *l = calloc(1, sizeof *l);
    if (!l) {
        out_of_memory(x);
        return NULL;
    }
    l->type = type;
    l->file = intern_file(x, at->file);
    l->line = at->line;
    l->column = at->column;
    l->id = x->tree->all.count;
    if (!list_push(x, &x->tree->all, l)) {
        free(l);
        return NULL;
    }
    return list_push(x, list, l) ? l : NULL;
}

static int block_count(const expander *x) { return x->blocks ? x->blocks->count : 0; }

static bool level_open(expander *x, level *lv, const char *path)
{
    *lv = (level){.path = path};
    lv->kind_count = calloc((size_t)(hone_layer_table_count + block_count(x)), sizeof *lv->kind_count);
    return lv->kind_count || out_of_memory(x);
}

static void level_close(level *lv)
{
    free(lv->kind_count);
    free(lv->name);
}

/* Enters a name; false if a sibling has it. */
static bool level_enter(expander *x, level *lv, const char *name)
{
    for (int k = 0; k < lv->name_count; k++)
        if (strcmp(lv->name[k], name) == 0) return false;
    if (lv->name_count == lv->name_capacity) {
        int capacity = lv->name_capacity ? 2 * lv->name_capacity : 8;
        void *more = realloc(lv->name, (size_t)capacity * sizeof *lv->name);
        if (!more) return out_of_memory(x);
        lv->name = more;
        lv->name_capacity = capacity;
    }
    snprintf(lv->name[lv->name_count++], HONE_COMPONENT_BYTES, "%s", name);
    return true;
}

/* Letters, digits, _ and -: no dots (they separate components), nothing that a freeze pattern means. */
static bool is_component(const char *name)
{
    size_t n = strlen(name);
    for (size_t k = 0; k < n; k++)
        if (!isalnum((unsigned char)name[k]) && name[k] != '_' && name[k] != '-') return false;
    return n > 0 && n < HONE_COMPONENT_BYTES;
}

/* Gives l its path under the level; `name` "" adds none. `at` is pointed at when a sibling has it. */
static void set_name(expander *x, level *lv, hone_layer *l, const char *name, const hone_yaml *at)
{
    snprintf(l->name, sizeof l->name, "%s", name);
    size_t used = strlen(lv->path);
    if (used + strlen(name) + 1 > PATH_MAX_BYTES) {
        mistake(x, at, lv->path, "the path of this layer is longer than %d characters", PATH_MAX_BYTES);
        name = "";
    }
    memcpy(l->path, lv->path, used + 1);
    if (!name[0]) return;
    snprintf(l->path + used, sizeof l->path - used, "%s%s", used ? "." : "", name);
    if (!level_enter(x, lv, name) && x->status == HONE_OK)
        mistake(x, at, l->path, "two layers here have this name; give one another `name:`");
}

/* The name that a map gives, else kind plus count. `kind_index` counts unnamed siblings. */
static void name_layer(expander *x, level *lv, hone_layer *l, hone_ref value, const char *kind, int kind_index,
                       const hone_yaml *at)
{
    const hone_yaml *given = value.node && value.node->kind == HONE_YAML_MAP ? hone_yaml_get(value.node, "name") : NULL;
    char name[HONE_COMPONENT_BYTES];
    if (!given) {
        bool digit = isdigit((unsigned char)kind[strlen(kind) - 1]); /* relu6_1: relu61 is the 61st relu */
        snprintf(name, sizeof name, "%.36s%s%d", kind, digit ? "_" : "", ++lv->kind_count[kind_index]);
        set_name(x, lv, l, name, at);
        return;
    }
    hone_ref r = resolve(x, (hone_ref){given, value.scope}, kind);
    bool is_null = r.node && hone_yaml_null(r.node);
    bool is_good = is_null || (r.node && r.node->kind == HONE_YAML_SCALAR && is_component(r.node->text));
    if (r.node && !is_good)
        mistake(x, given, kind, "name must be 1..%d letters, digits, _ or -, or ~ for no level",
                HONE_COMPONENT_BYTES - 1);
    set_name(x, lv, l, is_good && !is_null ? r.node->text : "", given);
}

/* --- layers of the table --------------------------------------------------------------------------------- */

static const char *arg_path(const hone_layer *l, const char *arg, char text[192])
{
    snprintf(text, 192, "%s%s%s", l->path, l->path[0] ? "." : "", arg);
    return text;
}

static void read_arg(expander *x, hone_layer *l, const hone_arg *a, hone_ref value)
{
    char path[192];
    arg_path(l, a->name, path);
    hone_ref r = resolve(x, value, path);
    if (!r.node || is_told(x, r.node)) return;
    hone_arg_value v = {.node = r.node};
    for (int k = 0; k < 2 && r.node->kind != HONE_YAML_SCALAR && k < r.node->count; k++) {
        v.item[k] = resolve(x, (hone_ref){r.node->item[k], r.scope}, path).node;
        if (!v.item[k]) return;
    }
    if (!hone_arg_read(a, &v, x->classes, path, x->d, &l->args)) mark_told(x, r.node, 0);
}

static void unknown_arg(expander *x, const hone_layer *l, const hone_yaml *key)
{
    const char *candidate[24] = {"name"};
    int count = 1;
    for (int k = 0; k < l->type->arg_count && count < 24; k++) candidate[count++] = l->type->arg[k].name;
    const char *best = hone_did_you_mean(key->text, candidate, count);
    char path[192];
    arg_path(l, key->text, path);
    if (best) {
        mistake(x, key, path, "unknown argument of %s (did you mean %s?)", l->type->name, best);
        return;
    }
    hone_text names = {0};
    for (int k = 0; k < count; k++) hone_text_add(&names, "%s%s", k ? ", " : "", candidate[k]);
    mistake(x, key, path, "unknown argument of %s (it takes %s)", l->type->name, names.data ? names.data : "name");
    hone_text_free(&names);
}

static const hone_arg *find_arg(const hone_layer_type *type, const char *name)
{
    for (int k = 0; k < type->arg_count; k++)
        if (strcmp(type->arg[k].name, name) == 0) return &type->arg[k];
    return NULL;
}

static bool is_list_arg(const hone_arg *a) { return a->type == HONE_ARG_LAYERS || a->type == HONE_ARG_SHORTCUT; }

/* Arguments but lists; reports unknown and missing ones, lists included. */
static void read_args(expander *x, hone_layer *l, hone_ref value, const hone_yaml *at)
{
    const hone_layer_type *type = l->type;
    hone_args_default(type, &l->args);
    bool is_map = value.node && value.node->kind == HONE_YAML_MAP;
    const hone_arg *brief = type->short_arg ? find_arg(type, type->short_arg) : NULL;
    if (value.node && !is_map && brief) {
        read_arg(x, l, brief, value);
    } else if (value.node && !is_map) {
        mistake(x, value.node, l->path, "%s takes %s, not %s", type->name,
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
        bool given = is_map ? hone_yaml_get(value.node, a->name) != NULL : value.node && a == brief;
        if (!a->standard && !given) mistake(x, at, l->path, "%s needs %s", type->name, a->name);
    }
}

/* The lists of a group or residual, by the table's rows: body, then shortcut, then after. */
static void expand_children(expander *x, const hone_layer_type *type, hone_layer *l, level *inner, hone_ref value)
{
    for (int k = 0; k < type->arg_count; k++) {
        const hone_arg *a = &type->arg[k];
        const hone_yaml *given =
            value.node && value.node->kind == HONE_YAML_MAP ? hone_yaml_get(value.node, a->name) : NULL;
        if (!is_list_arg(a) || !given) continue;
        char path[192];
        hone_ref r = resolve(x, (hone_ref){given, value.scope}, arg_path(l, a->name, path));
        if (!r.node) continue;
        if (a->standard && hone_yaml_null(r.node)) continue;
        bool is_identity =
            a->type == HONE_ARG_SHORTCUT && r.node->kind == HONE_YAML_SCALAR && strcmp(r.node->text, "identity") == 0;
        if (is_identity) continue;
        if (a->type == HONE_ARG_SHORTCUT && r.node->kind == HONE_YAML_SCALAR) {
            mistake(x, r.node, path, "must be identity or a list of layers, not \"%.60s\"", r.node->text);
            continue;
        }
        if (r.node->kind == HONE_YAML_SEQ && r.node->count == 0 && !a->standard)
            mistake(x, r.node, path, "has no layers");
        expand_list(x, inner, (hone_layer_list *)((char *)l + a->at), r, path);
    }
}

/* Children in a level of their own, or in `outer` where l adds none to the names. */
static void expand_inside(expander *x, level *outer, const hone_layer_type *type, hone_layer *l, hone_ref value)
{
    if (!l->name[0]) {
        expand_children(x, type, l, outer, value);
        return;
    }
    level own;
    if (!level_open(x, &own, l->path)) return;
    expand_children(x, type, l, &own, value);
    level_close(&own);
}

/* l becomes a group of `repeat` children 0, 1, 2...; each is a residual, or a group of repeat's layers. */
static void expand_repeated(expander *x, level *outer, hone_layer *l, hone_ref value, const hone_yaml *at)
{
    const hone_layer_type *written = l->type, *group = hone_layer_type_find("group");
    const hone_layer_type *child_type = written->shape == HONE_SHAPE_REPEAT ? group : written;
    level own, *lv = outer;
    int64_t times = l->args.repeat;
    l->type = group;
    if (l->name[0]) {
        if (!level_open(x, &own, l->path)) return;
        lv = &own;
    }
    for (int64_t k = 0; k < times; k++) {
        hone_layer *child = new_layer(x, &l->body, child_type, at);
        if (!child) break;
        char name[24];
        snprintf(name, sizeof name, "%d", (int)k);
        child->args = l->args;
        child->args.repeat = 1;
        set_name(x, lv, child, name, at);
        expand_inside(x, lv, written, child, value);
    }
    if (l->name[0]) level_close(&own);
}

static void expand_layer(expander *x, level *lv, hone_layer_list *list, const hone_layer_type *type, hone_ref value,
                         const hone_yaml *at)
{
    if (type->shape == HONE_SHAPE_TEXT) {
        mistake(x, at, type->name, "is a layer of `task: text`, which is not built yet");
        return;
    }
    hone_layer *l = new_layer(x, list, type, at);
    if (!l) return;
    name_layer(x, lv, l, value, type->name, (int)(type - hone_layer_table), at);
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

static void expand_block(expander *x, level *lv, hone_layer_list *list, int index, hone_ref value, const hone_yaml *at)
{
    const hone_yaml *block = x->blocks->item[index];
    const char *name = x->blocks->key[index]->text;
    const hone_yaml *layers = block->kind == HONE_YAML_MAP ? hone_yaml_get(block, "layers") : NULL;
    const hone_yaml *with = block->kind == HONE_YAML_MAP ? map_of(block, "with") : NULL;
    if (!layers || (with && with->kind != HONE_YAML_MAP)) return; /* told by check_blocks */
    if (x->active[index]) {
        mistake(x, at, name, "a block can't use itself");
        return;
    }
    if (value.node && value.node->kind != HONE_YAML_MAP) {
        mistake(x, value.node, name, "a block takes a map of its parameters");
        return;
    }
    int before = x->d->count;
    if (!is_told(x, at)) hone_scope_check(value.node, with, at, name, true, x->d);
    if (x->d->count > before) mark_told(x, at, 0);
    hone_layer *l = new_layer(x, list, hone_layer_type_find("group"), at);
    if (!l) return;
    name_layer(x, lv, l, value, name, hone_layer_table_count + index, at);
    hone_scope scope = {.up = &x->page, .given = value.node, .given_scope = value.scope, .standard = with};
    x->active[index] = true;
    expand_inside(x, lv, l->type, l, (hone_ref){block, &scope});
    x->active[index] = false;
}

static int find_block(const expander *x, const char *name)
{
    for (int k = 0; k < block_count(x); k++)
        if (strcmp(x->blocks->key[k]->text, name) == 0) return k;
    return -1;
}

static void unknown_layer(expander *x, const hone_yaml *at, const char *path)
{
    const char *candidate[BLOCKS_MAX + 64];
    int count = 0;
    for (int k = 0; k < hone_layer_table_count; k++) candidate[count++] = hone_layer_table[k].name;
    for (int k = 0; k < block_count(x) && count < BLOCKS_MAX + 64; k++) candidate[count++] = x->blocks->key[k]->text;
    const char *best = hone_did_you_mean(at->text, candidate, count);
    if (best) mistake(x, at, path, "unknown layer %.60s (did you mean %s?)", at->text, best);
    else mistake(x, at, path, "unknown layer %.60s", at->text);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

/* A layer is a name or a map of one name to its value. */
static void expand_item(expander *x, level *lv, hone_layer_list *list, hone_ref item, const char *path)
{
    hone_ref r = resolve(x, item, path), value = {NULL, NULL};
    if (!r.node) return;
    hone_ref name = r;
    if (r.node->kind == HONE_YAML_MAP && r.node->count == 1) {
        name = resolve(x, (hone_ref){r.node->key[0], r.scope}, path);
        value = resolve(x, (hone_ref){r.node->item[0], r.scope}, path);
        if (!name.node || !value.node) return;
        if (hone_yaml_null(value.node)) value.node = NULL; /* `conv:` with nothing after it */
    }
    if (name.node->kind == HONE_YAML_MAP && name.node->count > 1) {
        mistake(x, r.node, path,
                "a layer has one name, this map has %s and %s (are the arguments indented under the name?)",
                r.node->key[0]->text, r.node->key[1]->text);
        return;
    }
    if (name.node->kind != HONE_YAML_SCALAR || hone_yaml_null(name.node)) {
        mistake(x, r.node, path, "a layer must stand here: a name, or a name with its arguments");
        return;
    }
    int block = find_block(x, name.node->text);
    const hone_layer_type *type = hone_layer_type_find(name.node->text);
    if (block >= 0) expand_block(x, lv, list, block, value, name.node);
    else if (type) expand_layer(x, lv, list, type, value, name.node);
    else unknown_layer(x, name.node, path);
}

static void expand_list(expander *x, level *at, hone_layer_list *list, hone_ref r, const char *path)
{
    if (r.node->kind != HONE_YAML_SEQ) {
        mistake(x, r.node, path, "must be a list of layers");
        return;
    }
    if (x->depth >= DEPTH_MAX) {
        mistake(x, r.node, path, "layers are nested deeper than %d levels", DEPTH_MAX);
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

static void check_block(expander *x, const hone_yaml *key, const hone_yaml *block)
{
    const char *name = key->text;
    if (hone_layer_type_find(name)) mistake(x, key, name, "a block can't have the name of a layer");
    if (!is_component(name))
        mistake(x, key, "blocks", "a block's name must be 1..%d letters, digits, _ or -", HONE_COMPONENT_BYTES - 1);
    if (block->kind != HONE_YAML_MAP) {
        mistake(x, block, name, "a block is a map with layers and, if it has parameters, with");
        return;
    }
    for (int k = 0; k < block->count; k++)
        if (strcmp(block->key[k]->text, "layers") != 0 && strcmp(block->key[k]->text, "with") != 0)
            mistake(x, block->key[k], name, "unknown key %.60s of a block (it takes with, layers)",
                    block->key[k]->text);
    const hone_yaml *with = map_of(block, "with");
    if (!hone_yaml_get(block, "layers")) mistake(x, key, name, "the block has no layers");
    if (with && with->kind != HONE_YAML_MAP)
        mistake(x, with, name, "with must be a map of parameters and their defaults");
}

static void check_page(expander *x, const hone_yaml *model)
{
    static const char *const keys[] = {"file", "with", "blocks", "layers"};
    for (int k = 0; k < model->count; k++) {
        const char *key = model->key[k]->text, *best = hone_did_you_mean(key, keys, 4);
        bool known = false;
        for (int i = 0; i < 4; i++) known |= strcmp(key, keys[i]) == 0;
        if (!known)
            mistake(x, model->key[k], "model", "unknown key %.60s%s%s%s", key, best ? " (did you mean " : "",
                    best ? best : "", best ? "?)" : "");
    }
    const hone_yaml *with = map_of(model, "with");
    x->blocks = map_of(model, "blocks");
    if (with && with->kind != HONE_YAML_MAP)
        mistake(x, with, "model.with", "must be a map of parameters and their defaults");
    x->page.standard = with && with->kind == HONE_YAML_MAP ? with : NULL;
    if (x->blocks && (x->blocks->kind != HONE_YAML_MAP || x->blocks->count > BLOCKS_MAX)) {
        mistake(x, x->blocks, "model.blocks", "must be a map of at most %d blocks", BLOCKS_MAX);
        x->blocks = NULL;
    }
    for (int k = 0; k < block_count(x); k++) check_block(x, x->blocks->key[k], x->blocks->item[k]);
}

hone_status hone_layers_expand(const hone_yaml *model, const hone_yaml *given, int classes, hone_diag *d,
                               hone_layer_tree *out)
{
    expander x = {.tree = out, .d = d, .classes = classes};
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
    level top;
    if (!layers) {
        mistake(&x, model, "model", "has no layers");
    } else if (level_open(&x, &top, "")) {
        if (layers->kind == HONE_YAML_SEQ && layers->count == 0) mistake(&x, layers, "layers", "has no layers");
        expand_list(&x, &top, &out->top, (hone_ref){layers, &x.page}, "layers");
        level_close(&top);
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
