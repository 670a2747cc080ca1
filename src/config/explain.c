/* explain.c - the schema table for readers: `config explain KEY` and the JSON Schema for editors. */
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "core/json.h"

/* --- explain -------------------------------------------------------------------------------------------- */
/* One line a row: the default, and the choice for which it holds. */
static void explain_default(const hone_row *row, hone_text *t)
{
    if (row->flags & HONE_ROW_REQUIRED) hone_text_add(t, "  default  none, it must be given");
    else hone_text_add(t, "  default  %s", strcmp(row->fallback, "~") == 0 ? "not given" : row->fallback);
    if (row->only) hone_text_add(t, strchr(row->only, '=') ? "  (where %s)" : "  (beside %s)", row->only);
    hone_text_add(t, "\n");
}

/* Help, accepted values, then the default of each row of that key. */
static void explain_row(const hone_row *row, hone_text *t)
{
    hone_text_add(t, "%s\n  %s\n  value    ", row->key, row->help);
    hone_type_table[row->type].describe(row, t);
    hone_text_add(t, "\n");
    for (const hone_row *r = hone_schema; r < hone_schema + hone_schema_count; r++) {
        if (strcmp(r->key, row->key) != 0) continue;
        explain_default(r, t);
        if (strcmp(r->help, row->help) != 0) hone_text_add(t, "           %s\n", r->help);
    }
}

/* The keys below a group, a line each. */
static void explain_group(const char *group, hone_text *t)
{
    size_t n = strlen(group);
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        bool below = n == 0 || (strncmp(row->key, group, n) == 0 && row->key[n] == '.');
        if (!below || row->type == HONE_TYPE_GROUP || hone_schema_find(row->key) != row) continue;
        hone_text_add(t, "  %-32s %-14s %s\n", row->key,
                      !row->fallback || strcmp(row->fallback, "~") == 0 ? "-" : row->fallback, row->help);
    }
}

hone_status hone_config_explain(const char *key, char **text)
{
    hone_text t = {0};
    *text = NULL;
    const hone_row *row = key && *key ? hone_schema_find(key) : NULL;
    if (key && *key && !row) {
        const char *dot = strrchr(key, '.');
        char group[64];
        snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - key) : 0, key);
        if (dot && !hone_schema_find(group)) group[0] = '\0';
        hone_key_suggest(group, dot && *group ? dot + 1 : key, &t);
        hone_status s = hone_fail(HONE_ERR_USAGE, "`hone config explain` lists all keys", "%s: unknown key%s", key,
                                  t.data ? t.data : "");
        hone_text_free(&t);
        return s;
    }
    if (!row) {
        explain_group("", &t);
    } else if (row->type == HONE_TYPE_GROUP) {
        hone_text_add(&t, "%s\n  %s\n", row->key, row->help);
        explain_group(key, &t);
    } else {
        explain_row(row, &t);
    }
    *text = hone_text_take(&t);
    return *text ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the help text");
}

/* --- JSON Schema, draft 2020-12 ---------------------------------------------------------------------------- */
/* A default of the table as JSON; maps do not occur there. */
static json_t *json_of(const hone_yaml *n)
{
    int64_t whole;
    double number;
    bool truth;
    if (n->kind == HONE_YAML_SEQ) {
        json_t *list = json_array();
        for (int k = 0; k < n->count; k++) list = hone_json_added(list, json_of(n->item[k]));
        return list;
    }
    if (hone_yaml_null(n)) return json_null();
    if (hone_yaml_int(n, &whole)) return json_integer(whole);
    if (hone_yaml_float(n, &number)) return json_real(number);
    if (hone_yaml_bool(n, &truth)) return json_boolean(truth);
    return json_string(n->text);
}

/* A key with one row has a default; one with several has it per choice, which the help then says. */
static json_t *with_default(json_t *schema, const hone_row *row)
{
    hone_yaml *value = NULL;
    /* Editors fill defaults in, so an ambiguous one must not be there. */
    bool first = hone_schema_find(row->key) == row, last = true;
    for (const hone_row *r = row + 1; r < hone_schema + hone_schema_count; r++)
        last = last && strcmp(r->key, row->key) != 0;
    if (!first || !last || !row->fallback) return schema;
    /* the table's own text: only memory can fail */
    bool read = hone_yaml_read_text("default", row->fallback, strlen(row->fallback), &value) == HONE_OK;
    schema = hone_json_with(schema, "default", read && value ? json_of(value) : NULL);
    hone_yaml_free(value);
    return schema;
}

/* The layer language is not in the table: its keys are checked by src/model, so layers stay open here. */
static json_t *model_schema(void)
{
    return json_pack("{s:s, s:{s:{s:s}, s:{s:s,s:i}, s:{s:s}, s:{s:s}}, s:b}", "type", "object", "properties", "file",
                     "type", "string", "layers", "type", "array", "minItems", 1, "with", "type", "object", "blocks",
                     "type", "object", "additionalProperties", 0);
}

/* Type and range come from the type's own function, help and default from the row. */
static json_t *schema_of(const hone_row *row)
{
    json_t *schema = row->type == HONE_TYPE_TREE ? model_schema() : hone_type_table[row->type].schema(row);
    schema = hone_json_with(schema, "description", json_string(row->help));
    if (row->type != HONE_TYPE_GROUP) return with_default(schema, row);
    schema = hone_json_with(schema, "properties", json_object());
    return hone_json_with(schema, "additionalProperties", json_false());
}

/* The properties object that a key belongs to: `root`'s, or that of the group above (which stands
 * before its keys in the table). */
static json_t *properties_above(json_t *root, const char *key)
{
    json_t *at = json_object_get(root, "properties");
    for (const char *dot; (dot = strchr(key, '.')); key = dot + 1) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)(dot - key), key);
        at = json_object_get(json_object_get(at, word), "properties");
    }
    return at;
}

/* Groups with a short form take its words too. Done at the end, when their properties are complete. False: memory. */
static bool add_short_forms(json_t *root)
{
    bool all = true;
    for (int k = hone_schema_count - 1; k >= 0; k--) { /* inner groups first */
        const hone_row *row = &hone_schema[k];
        if (row->type != HONE_TYPE_GROUP || !row->choices) continue;
        const char *dot = strrchr(row->key, '.'), *leaf = dot ? dot + 1 : row->key;
        json_t *above = properties_above(root, row->key), *group = json_object_get(above, leaf);
        /* json_pack takes a reference of its own (O), the old entry is released by the set. */
        json_t *word = json_object_get(json_object_get(group, "properties"), row->choices);
        all = json_object_set_new(above, leaf, json_pack("{s:[O,O]}", "anyOf", word, group)) == 0 && all;
    }
    return all;
}

char *hone_config_schema_json(void)
{
    json_t *root = json_pack("{s:s,s:s,s:s,s:{},s:b,s:[ss]}", "$schema", "https://json-schema.org/draft/2020-12/schema",
                             "title", "hone config", "type", "object", "properties", "additionalProperties", 0,
                             "required", "data", "model");
    bool all = root != NULL;
    for (int k = 0; all && k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        const char *dot = strrchr(row->key, '.');
        if (hone_schema_find(row->key) == row)
            all = json_object_set_new(properties_above(root, row->key), dot ? dot + 1 : row->key, schema_of(row)) == 0;
    }
    all = all && add_short_forms(root);
    char *text;
    if (!all) json_decref(root);
    return hone_json_print(all ? root : NULL, JSON_INDENT(2), "the schema", &text) == HONE_OK ? text : NULL;
}

/* Groups are no keys of their own. */
const char *hone_config_key(int index)
{
    for (int k = 0; k < hone_schema_count; k++)
        if (hone_schema[k].type != HONE_TYPE_GROUP && index-- == 0) return hone_schema[k].key;
    return NULL;
}
