/* expand_names.c - what stage one needs besides the layers themselves: mistakes that are told once,
 * records, and the rules of names (the page's contract: explicit names, `~` for no level, else kind
 * and count among the unnamed siblings). It must not know any layer by name. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "model/expand.h"

/* --- mistakes, once each ------------------------------------------------------------------------- */

bool hone_expand_no_memory(hone_expander *x)
{
    x->status = hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted while reading the layers");
    return false;
}

/* A linear search: pages have few mistakes. */
bool hone_expand_is_told(const hone_expander *x, const hone_yaml *n)
{
    for (int k = 0; k < x->told_count; k++)
        if (x->told[k].node == n) return true;
    return false;
}

/* Losing a mark to exhausted memory ends the expansion anyway. */
void hone_expand_mark(hone_expander *x, const hone_yaml *n, uint64_t text)
{
    if (x->told_count == x->told_capacity) {
        int capacity = x->told_capacity ? 2 * x->told_capacity : 16;
        hone_told *more = realloc(x->told, (size_t)capacity * sizeof *more);
        if (!more) {
            hone_expand_no_memory(x);
            return;
        }
        x->told = more;
        x->told_capacity = capacity;
    }
    x->told[x->told_count++] = (hone_told){n, text};
}

/* The same words about the same place are reported once, though a block or a repeat may come by
 * often, each time under another path. */
void hone_expand_mistake(hone_expander *x, const hone_yaml *at, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* FNV-1a: two messages of one place that collide would cost one of them, no more */
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *p = text; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    for (int k = 0; k < x->told_count; k++)
        if (x->told[k].node == at && x->told[k].text == hash) return;
    hone_expand_mark(x, at, hash);
    hone_diag_add(x->d, at, path, "%s", text);
}

/* A mistake found on the way marks the node that was read, so that the next expansion of its place
 * is silent. */
hone_ref hone_expand_resolve(hone_expander *x, hone_ref r, const char *path)
{
    if (r.node && hone_expand_is_told(x, r.node)) return (hone_ref){NULL, NULL};
    int before = x->d->count;
    hone_ref found = hone_scope_resolve(r, &x->classes_node, path, x->d);
    if (x->d->count > before) hone_expand_mark(x, r.node, 0);
    return found;
}

/* --- records and names ------------------------------------------------------------------------------ */

/* Lists hold pointers only; tree->all owns the records. */
static bool list_push(hone_expander *x, hone_layer_list *list, hone_layer *l)
{
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 4;
        hone_layer **more = realloc(list->item, (size_t)capacity * sizeof *more);
        if (!more) return hone_expand_no_memory(x);
        list->item = more;
        list->capacity = capacity;
    }
    list->item[list->count++] = l;
    return true;
}

/* The page's name, kept as long as the tree: records outlive the YAML they came from. A net has one
 * or two pages (config, model file), so a list will do. */
static const char *intern_file(hone_expander *x, const char *file)
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
        hone_expand_no_memory(x);
        return "";
    }
    return t->file[t->file_count++] = copy;
}

/* The record belongs to tree->all from the first push on, so a failed second one leaks nothing. */
hone_layer *hone_expand_new(hone_expander *x, hone_layer_list *list, const hone_layer_type *type, const hone_yaml *at)
{
    if (x->status != HONE_OK || x->full) return NULL;
    if (x->tree->all.count >= HONE_LAYERS_MAX) {
        hone_expand_mistake(x, at, "layers", "the model has over %d layers", HONE_LAYERS_MAX);
        x->full = true;
        return NULL;
    }
    hone_layer *l = calloc(1, sizeof *l);
    if (!l) {
        hone_expand_no_memory(x);
        return NULL;
    }
    /* where the page says it: for messages of stage two, when the page is gone */
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

/* Zero where the page has no blocks. */
int hone_block_count(const hone_expander *x) { return x->blocks ? x->blocks->count : 0; }

/* `path` must outlive the level: it is the path of the layer that opens it. */
bool hone_level_open(hone_expander *x, hone_level *lv, const char *path)
{
    *lv = (hone_level){.path = path};
    lv->kind_count = calloc((size_t)hone_layer_table_count + (size_t)hone_block_count(x), sizeof *lv->kind_count);
    return lv->kind_count || hone_expand_no_memory(x);
}

/* The names are of use only while siblings are still to come. */
void hone_level_close(hone_level *lv)
{
    free(lv->kind_count);
    free(lv->name);
}

/* Enters a name; false if a sibling has it. */
static bool level_enter(hone_expander *x, hone_level *lv, const char *name)
{
    for (int k = 0; k < lv->name_count; k++)
        if (strcmp(lv->name[k], name) == 0) return false;
    if (lv->name_count == lv->name_capacity) {
        int capacity = lv->name_capacity ? 2 * lv->name_capacity : 8;
        void *more = realloc(lv->name, (size_t)capacity * sizeof *lv->name);
        if (!more) return hone_expand_no_memory(x);
        lv->name = more;
        lv->name_capacity = capacity;
    }
    snprintf(lv->name[lv->name_count++], HONE_COMPONENT_BYTES, "%s", name);
    return true;
}

bool hone_is_component(const char *name)
{
    size_t n = strlen(name);
    for (size_t k = 0; k < n; k++)
        if (!isalnum((unsigned char)name[k]) && name[k] != '_' && name[k] != '-') return false;
    return n > 0 && n < HONE_COMPONENT_BYTES;
}

/* Components with dots between them: two levels of a path at once, where siblings share the first. */
static bool is_name(const char *name)
{
    char part[HONE_COMPONENT_BYTES];
    if (strlen(name) >= sizeof part) return false;
    for (const char *at = name;; at++) {
        size_t n = strcspn(at, ".");
        memcpy(part, at, n);
        part[n] = '\0';
        if (!hone_is_component(part)) return false;
        at += n;
        if (!*at) return true;
    }
}

/* A path that would not fit is told and cut, so that expansion can go on to find more mistakes. */
void hone_expand_set_name(hone_expander *x, hone_level *lv, hone_layer *l, const char *name, const hone_yaml *at)
{
    snprintf(l->name, sizeof l->name, "%s", name);
    size_t used = strlen(lv->path);
    if (used + strlen(name) + 1 > HONE_PATH_MAX) {
        hone_expand_mistake(x, at, lv->path, "the path of this layer is longer than %d characters", HONE_PATH_MAX);
        name = "";
    }
    memcpy(l->path, lv->path, used + 1);
    if (!name[0]) return;
    snprintf(l->path + used, sizeof l->path - used, "%s%s", used ? "." : "", name);
    if (!level_enter(x, lv, name) && x->status == HONE_OK)
        hone_expand_mistake(x, at, l->path, "two layers here have this name; give one another `name:`");
}

/* A `name:` that is no scalar or holds odd characters is a mistake, and the layer stays without one. */
void hone_expand_name(hone_expander *x, hone_level *lv, hone_layer *l, hone_ref value, const char *kind, int kind_index,
                      const hone_yaml *at)
{
    const hone_yaml *given = value.node && value.node->kind == HONE_YAML_MAP ? hone_yaml_get(value.node, "name") : NULL;
    char name[HONE_COMPONENT_BYTES];
    if (!given) {
        bool digit = isdigit((unsigned char)kind[strlen(kind) - 1]); /* relu6_1: relu61 is the 61st relu */
        snprintf(name, sizeof name, "%.36s%s%d", kind, digit ? "_" : "", ++lv->kind_count[kind_index]);
        hone_expand_set_name(x, lv, l, name, at);
        return;
    }
    hone_ref r = hone_expand_resolve(x, (hone_ref){given, value.scope}, kind);
    /* `~` or nothing: no level */
    bool is_null = r.node && hone_yaml_null(r.node);
    bool is_good = is_null || (r.node && r.node->kind == HONE_YAML_SCALAR && is_name(r.node->text));
    if (r.node && !is_good)
        hone_expand_mistake(x, given, kind, "name must be 1..%d letters, digits, _ or -, or ~ for no level",
                            HONE_COMPONENT_BYTES - 1);
    hone_expand_set_name(x, lv, l, is_good && !is_null ? r.node->text : "", given);
}
