/* model_page.c - the `model:` key: layers written in the config, or a model file with parameters.
 *
 * The result is one map with `layers` and, where written, `with` and `blocks`; its nodes keep their own
 * page and line, so that messages point into the model file. What the layers mean is for src/model. */
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

static const char *const config_keys[] = {"file", "layers", "with", "blocks"};
static const char *const file_keys[] = {"layers", "with", "blocks"};

/* Refuses keys that are not in `known`; `prefix` is "model." for the config, "" for a model file. */
static void check_keys(const hone_yaml *map, const char *prefix, const char *const *known, int count, hone_diag *d)
{
    for (int k = 0; k < map->count; k++) {
        const char *word = map->key[k]->text;
        bool found = false;
        char key[96], shown[64];
        for (int i = 0; i < count; i++) found = found || strcmp(known[i], word) == 0;
        if (found) continue;
        const char *near = hone_did_you_mean(word, known, count);
        snprintf(key, sizeof key, "%s%s", prefix, hone_yaml_quote(map->key[k], shown, sizeof shown));
        hone_diag_add(d, map->key[k], key, "unknown key%s%s%s%s", near ? " (did you mean " : "", near ? prefix : "",
                      near ? near : "", near ? "?)" : "");
    }
}

/* Kinds of the known keys; nulls count as absent. */
static void check_kinds(const hone_yaml *map, const char *prefix, hone_diag *d)
{
    for (int k = 0; k < map->count; k++) {
        const hone_yaml *v = map->item[k];
        const char *word = map->key[k]->text;
        char key[96], shown[64];
        bool list = strcmp(word, "layers") == 0, inner = strcmp(word, "with") == 0 || strcmp(word, "blocks") == 0;
        if ((!list && !inner) || (inner && hone_yaml_null(v))) continue;
        snprintf(key, sizeof key, "%s%s", prefix, word);
        if (list && (v->kind != HONE_YAML_SEQ || v->count == 0))
            hone_diag_add(d, v, key, "expects a list of layers, found %s",
                          v->kind == HONE_YAML_SEQ ? "an empty one" : hone_yaml_found(v, shown, sizeof shown));
        if (inner && v->kind != HONE_YAML_MAP)
            hone_diag_add(d, v, key, "expects a map, found %s", hone_yaml_found(v, shown, sizeof shown));
    }
}

/* "models/cnn.yaml" beside the page "configs/x.yaml" is "configs/models/cnn.yaml". NULL: memory. */
static char *beside(const char *page, const char *file)
{
    const char *slash = strrchr(page, '/');
    hone_text t = {0};
    if (slash && file[0] != '/') hone_text_append(&t, page, (size_t)(slash - page) + 1);
    hone_text_add(&t, "%s", file);
    return hone_text_take(&t);
}

/* Values that the config gives replace those of the file; only parameters that the file declares. */
static hone_status merge_with(hone_yaml *tree, const hone_yaml *given, const char *file, hone_diag *d)
{
    if (!given || given->kind != HONE_YAML_MAP) return HONE_OK;
    const hone_yaml *own = hone_yaml_get(tree, "with");
    const char *word[64];
    int count = 0;
    for (int k = 0; own && k < own->count && count < 64 && own->kind == HONE_YAML_MAP; k++)
        word[count++] = own->key[k]->text;
    for (int k = 0; k < given->count; k++) {
        int at = hone_yaml_index(own, given->key[k]->text);
        if (!own || at < 0) {
            char key[96], shown[64];
            const char *near = hone_did_you_mean(given->key[k]->text, word, count);
            snprintf(key, sizeof key, "model.with.%s", hone_yaml_quote(given->key[k], shown, sizeof shown));
            hone_diag_add(d, given->key[k], key, "%s has no such parameter%s%s%s", file,
                          near ? " (did you mean model.with." : "", near ? near : "", near ? "?)" : "");
            continue;
        }
        /* A copy keeps its place in the config, so a wrong value is shown where it was written. */
        hone_yaml *value = hone_yaml_copy(given->item[k]);
        if (!value) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
        hone_yaml_free(own->item[at]);
        own->item[at] = value; /* the arrays of a const map are not const */
    }
    return HONE_OK;
}

/* Reads and checks the model file; *out NULL after a message. */
static hone_status read_file(const hone_yaml *file, const char *page_name, hone_diag *d, hone_yaml **out)
{
    char *text = NULL, *path = beside(page_name, file->text);
    size_t bytes = 0;
    *out = NULL;
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
    hone_status status = hone_page_load(path, &text, &bytes);
    /* Told beside the other mistakes, at the line that names the file. */
    if (status == HONE_ERR_USAGE) { /* one more mistake of the page, beside the others */
        hone_diag_add(d, file, "model.file", "%s", hone_error_message());
        status = HONE_OK;
    } else if (status == HONE_OK) {
        status = hone_page_parse(path, text, bytes, false, d, out);
    }
    if (*out && (*out)->kind != HONE_YAML_MAP) {
        hone_diag_add(d, *out, NULL, "a model file is a map with layers:, and with: and blocks: where needed");
        hone_yaml_free(*out);
        *out = NULL;
    }
    if (*out) {
        check_keys(*out, "", file_keys, 3, d);
        check_kinds(*out, "", d);
        if (!hone_yaml_get(*out, "layers")) hone_diag_add(d, *out, NULL, "the model file has no layers:");
    }
    free(text);
    free(path);
    return status;
}

/* Adds all mistakes of both pages; c->model.tree stays NULL where there is nothing to hand over. */
hone_status hone_model_page_read(hone_config *c, const char *page_name, hone_diag *d)
{
    const hone_yaml *model = hone_yaml_get(c->page, "model");
    if (!model || hone_yaml_null(model)) {
        hone_diag_add(d, model ? model : c->page, "model", "is missing: give model.file or model.layers");
        return HONE_OK;
    }
    if (model->kind != HONE_YAML_MAP) {
        hone_diag_add(d, model, "model", "expects a map with file: or layers:%s",
                      model->kind == HONE_YAML_SEQ ? " (put the list below layers:)" : "");
        return HONE_OK;
    }
    check_keys(model, "model.", config_keys, 4, d);
    check_kinds(model, "model.", d);
    const hone_yaml *file = hone_yaml_get(model, "file"), *layers = hone_yaml_get(model, "layers");
    if (!file && !layers) hone_diag_add(d, model, "model", "needs file: or layers:");
    if (file && (layers || hone_yaml_get(model, "blocks")))
        hone_diag_add(d, model, "model", "has file: and %s: (choose one)", layers ? "layers" : "blocks");
    if (!file)
        return (c->model.tree = hone_yaml_copy(model)) ? HONE_OK
                                                       : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
    if (file->kind != HONE_YAML_SCALAR || hone_yaml_null(file) || !*file->text) {
        hone_diag_add(d, file, "model.file", "expects the path of a model file");
        return HONE_OK;
    }
    HONE_TRY(read_file(file, page_name, d, &c->model.tree));
    return c->model.tree ? merge_with(c->model.tree, hone_yaml_get(model, "with"), file->text, d) : HONE_OK;
}
