/* config.c - from a page and overrides to a hone_config, driven by the schema table.
 *
 * Order: parse, apply overrides to the tree (so both are checked by the same code), refuse unknown
 * keys, read each row (default first, then what is written), read the model's page, check the rules
 * between keys. Every step adds its mistakes to one list. Must know no key by name that a row could
 * describe; rules between keys are in check.c. */
#include "config/schema.h"

#include <stdlib.h>
#include <string.h>

/* The one sentence for exhausted memory; config pages are small, so it says little. */
static hone_status no_memory(void) { return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config"); }

/* --- places in a page --------------------------------------------------------------------------------- */
/* Next component of a dotted key into `word` (64 bytes); the rest, NULL after the last. */
static const char *next_component(const char *key, char word[64])
{
    size_t n = strcspn(key, ".");
    snprintf(word, 64, "%.*s", n > 63 ? 63 : (int)n, key);
    return key[n] ? key + n + 1 : NULL;
}

/* Maps only: a list on the way means that the key is not there. */
const hone_yaml *hone_page_find(const hone_yaml *page, const char *key)
{
    for (char word[64]; page && key;) {
        key = next_component(key, word);
        page = hone_yaml_get(page, word);
    }
    return page;
}

/* The deepest node of `key` that is there: where a message about a missing key should point. */
const hone_yaml *hone_page_place(const hone_yaml *page, const char *key)
{
    for (char word[64]; key;) {
        key = next_component(key, word);
        const hone_yaml *inner = hone_yaml_get(page, word);
        if (!inner) break;
        page = inner;
    }
    return page;
}

/* `optimizer: adamw` becomes `optimizer: {name: adamw}` for every group with a short form. False: memory. */
bool hone_page_expand(hone_yaml *page)
{
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        if (row->type != HONE_TYPE_GROUP || !row->choices) continue;
        const char *dot = strrchr(row->key, '.');
        char parent[64];
        snprintf(parent, sizeof parent, "%.*s", dot ? (int)(dot - row->key) : 0, row->key);
        const hone_yaml *map = dot ? hone_page_find(page, parent) : page;
        int at = hone_yaml_index(map, dot ? dot + 1 : row->key);
        if (at < 0 || map->item[at]->kind != HONE_YAML_SCALAR || hone_yaml_null(map->item[at])) continue;
        /* The word keeps its place, so messages about it point at what the user wrote. */
        hone_yaml *word = map->item[at], *group = hone_yaml_new(HONE_YAML_MAP, NULL, word);
        if (!group) return false;
        map->item[at] = group; /* the arrays of a const map are not const */
        if (!hone_yaml_put(group, hone_yaml_new(HONE_YAML_SCALAR, row->choices, group), word)) return false;
    }
    return true;
}

/* --- unknown keys ---------------------------------------------------------------------------------------- */
/* Every key of a map must be a row of the table; groups are entered, values are left to their rows. */
static void check_keys(const hone_yaml *map, const char *group, hone_diag *d)
{
    for (int k = 0; k < map->count; k++) {
        char key[160], shown[64];
        snprintf(key, sizeof key, "%s%s%s", group, *group ? "." : "",
                 hone_yaml_quote(map->key[k], shown, sizeof shown));
        const hone_row *row = strchr(map->key[k]->text, '.') ? NULL : hone_schema_find(key);
        const hone_yaml *value = map->item[k];
        if (!row) {
            hone_text near = {0};
            hone_key_suggest(group, map->key[k]->text, &near);
            hone_diag_add(d, map->key[k], key, "unknown key%s", near.data ? near.data : "");
            hone_text_free(&near);
        } else if (row->type == HONE_TYPE_GROUP && value->kind == HONE_YAML_MAP) {
            check_keys(value, key, d);
        } else if (row->type == HONE_TYPE_GROUP && !hone_yaml_null(value)) {
            hone_text what = {0};
            hone_type_table[row->type].describe(row, &what);
            hone_diag_add(d, value, key, "expects %s, found %s", what.data ? what.data : "a map",
                          hone_yaml_found(value, shown, sizeof shown));
            hone_text_free(&what);
        }
    }
}

/* --- rows -------------------------------------------------------------------------------------------------- */
/* A default that is more than a word: a list, a quoted text. */
static hone_status read_default_page(const hone_row *row, hone_config *c, hone_diag *d)
{
    hone_yaml *value = NULL;
    hone_status status = hone_page_parse("default", row->fallback, strlen(row->fallback), true, d, &value);
    if (status == HONE_OK && value) hone_type_table[row->type].read(row, value, c, d);
    else if (status == HONE_OK && d->count == 0) status = no_memory(); /* libyaml ends a page early where it has none */
    hone_yaml_free(value);
    return status;
}

/* Defaults go through the same reader as a page, so the table can hold no default that a page may not. Most are one word,
 * whose node is known without a parser, each of which begins with 100 KB of buffers. */
static hone_status read_default(const hone_row *row, hone_config *c)
{
    hone_diag d = {0};
    if (!row->fallback) return HONE_OK;
    hone_status status = HONE_OK;
    if (hone_page_plain_word(row->fallback)) {
        /* as a parser would make it; no reader writes to the text */
        hone_yaml word = {.kind = HONE_YAML_SCALAR, .text = (char *)(uintptr_t)row->fallback, .file = "default"};
        hone_type_table[row->type].read(row, &word, c, &d);
    } else {
        status = read_default_page(row, c, &d);
    }
    if (status == HONE_OK) status = hone_diag_status(&d); /* a default out of range is our own bug, and is shown */
    hone_diag_free(&d);
    return status;
}

/* Whether another row of the same key applies. */
static bool key_applies(const char *key, const hone_config *c)
{
    for (int k = 0; k < hone_schema_count; k++)
        if (strcmp(hone_schema[k].key, key) == 0 && hone_row_applies(&hone_schema[k], c)) return true;
    return false;
}

/* "momentum" for adamw, "image.size" for text: named with what it belongs to. Nothing is said where the
 * choice itself is wrong, because that mistake is already in the list. */
static void refuse_inapplicable(const hone_row *row, const hone_yaml *n, const hone_config *c, const bool *bad,
                                hone_diag *d)
{
    const char *equals = strchr(row->only, '=');
    if (hone_schema_find(row->key) != row || key_applies(row->key, c)) return; /* said once per key */
    if (!equals) {
        hone_diag_add(d, n, row->key, "counts only beside %s", row->only);
        return;
    }
    char other_key[64];
    snprintf(other_key, sizeof other_key, "%.*s", (int)(equals - row->only), row->only);
    const hone_row *other = hone_schema_find(other_key);
    if (bad[other - hone_schema]) return;
    hone_text now = {0}, wanted = {0};
    hone_type_table[other->type].write(other, c, &now);
    for (const char *s = equals + 1; *s; s++) hone_text_add(&wanted, *s == '|' ? " or " : "%c", *s);
    hone_diag_add(d, n, row->key, "counts only with %s: %s, this page has %s (remove the key)", other_key,
                  wanted.data ? wanted.data : "", now.data ? now.data : "");
    hone_text_free(&now);
    hone_text_free(&wanted);
}

/* In the order of the table, so that a row's condition reads a value that is already there. */
static hone_status read_rows(hone_config *c, hone_diag *d)
{
    hone_origins *origins = c->origins;
    /* By row; the table is checked by a test to fit. */
    bool bad[128] = {false};
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        if (row->type == HONE_TYPE_GROUP || row->type == HONE_TYPE_TREE) continue;
        const hone_yaml *n = hone_page_find(c->page, row->key);
        if (!hone_row_applies(row, c)) {
            if (n) refuse_inapplicable(row, n, c, bad, d);
            continue;
        }
        HONE_TRY(read_default(row, c));
        /* A row that was refused must not lead to mistakes in the rows that depend on it. */
        int before = d->count;
        if (n) hone_type_table[row->type].read(row, n, c, d);
        if (!n && (row->flags & HONE_ROW_REQUIRED))
            hone_diag_add(d, hone_page_place(c->page, row->key), row->key, "is missing");
        bad[k] = d->count > before;
        origins->node[k] = n;
    }
    return HONE_OK;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */
/* In the order of the command line: a later one may build on an earlier one. */
static hone_status apply_overrides(hone_config *c, const char *const *override, int count, hone_diag *d)
{
    for (int k = 0; k < count; k++) {
        HONE_TRY(hone_override_apply(c->page, override[k], d));
        if (!hone_page_expand(c->page)) return no_memory(); /* optimizer=adamw, then optimizer.lr=1e-4 */
    }
    return HONE_OK;
}

/* Mistakes do not stop it: only exhausted memory does. */
static hone_status read_page(hone_config *c, const char *name, const char *const *override, int count, hone_diag *d)
{
    if (c->page->kind != HONE_YAML_MAP) {
        hone_diag_add(d, c->page, NULL, "a config is a map of keys (task:, data:, model:, train: ...)");
        return HONE_OK;
    }
    if (!hone_page_expand(c->page)) return no_memory();
    HONE_TRY(apply_overrides(c, override, count, d));
    check_keys(c->page, "", d);
    HONE_TRY(read_rows(c, d));
    HONE_TRY(hone_model_page_read(c, name, d));
    hone_config_check(c, d);
    return HONE_OK;
}

/* Parses and reads; frees everything unless there is no mistake at all. */
static hone_status read_config(const char *name, const char *text, size_t bytes, const char *const *override, int count,
                               hone_config **out)
{
    hone_diag d = {0};
    hone_config *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c || !(c->origins = calloc(1, sizeof(hone_origins)))) {
        free(c);
        return no_memory();
    }
    hone_status status = hone_page_parse(name, text, bytes, false, &d, &c->page);
    if (status == HONE_OK && c->page) status = read_page(c, name, override, count, &d);
    if (status == HONE_OK) status = hone_diag_status(&d);
    hone_diag_free(&d);
    if (status != HONE_OK) hone_config_free(c);
    else *out = c;
    return status;
}

/* For pages that are made in memory: of a saved run, of tests. */
hone_status hone_config_read_text(const char *name, const char *text, const char *const *override, int override_count,
                                  hone_config **out)
{
    return read_config(name, text, strlen(text), override, override_count, out);
}

/* The path is kept: model.file is relative to it, and messages begin with it. */
hone_status hone_config_read(const char *path, const char *const *override, int override_count, hone_config **out)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    HONE_TRY(hone_page_load(path, &text, &bytes));
    hone_config *c = NULL;
    hone_status status = read_config(path, text, bytes, override, override_count, &c);
    free(text);
    if (c && !(c->file = hone_strdup(path))) {
        hone_config_free(c);
        return no_memory();
    }
    *out = c;
    return status;
}

/* By the table, so that a new string key is freed without a line here. */
void hone_config_free(hone_config *c)
{
    if (!c) return;
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        void *field = (char *)c + row->offset;
        if (row->type == HONE_TYPE_STRING || row->type == HONE_TYPE_WORD) {
            free(*(char **)field);
            *(char **)field = NULL; /* a second row of the same field finds nothing */
        }
        if (row->type == HONE_TYPE_STRINGS) hone_strings_free(field);
    }
    hone_strings_free(&c->train.loss.weight_class);
    free(c->train.loss.weight_value);
    hone_yaml_free(c->model.tree);
    hone_yaml_free(c->page);
    free(c->origins);
    free(c->file);
    free(c);
}
