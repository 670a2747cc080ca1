/* model_json.c - model.json: what predict, eval and export need besides the weights.
 *
 *   {"format": "hone-model", "version": 1, "task": "image", "classes": [names],
 *    "preprocess": {"height", "width", "channels", "resize", "mean": [...], "std": [...]},
 *                  or of text {"vocab", "max_length", "pairs", "tokenizer": "tokenizer.json"},
 *    "layers": [expanded layers in the page's language], "parameters": {name: [shape in files]}}
 *
 * Reading treats every byte as hostile: each field is checked, and the layers go through the same
 * expansion and shape rules as a user's page; what comes out must have exactly the listed parameters.
 * Values are not in this file; after loading they are NaN until someone reads the weights. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/resize.h"
#include "core/text.h"
#include "hone/io.h"
#include "core/json.h"
#include "model/json_yaml.h"
#include "model/model_private.h"

enum { FILE_MAX_BYTES = 64 << 20, IMAGE_MAX = 1 << 14, CLASSES_MAX = 1 << 20, POISON_MAX = 1 << 16 };

/* --- writing ----------------------------------------------------------------------------------------------- */

/* Part of the model: a picture that is prepared differently is another input. */
static json_t *preprocess_json(const hone_preprocess *p)
{
    if (p->vocab > 0)
        return json_pack("{s:I, s:i, s:b, s:s}", "vocab", (json_int_t)p->vocab, "max_length", p->max_length, "pairs",
                         p->pairs, "tokenizer", "tokenizer.json");
    return json_pack("{s:i, s:i, s:i, s:s, s:o, s:o}", "height", p->height, "width", p->width, "channels", p->channels,
                     "resize", hone_resize_name(p->resize), "mean", hone_json_floats(p->mean, p->channels), "std",
                     hone_json_floats(p->std, p->channels));
}

/* Redundant by design: it is what the layers of the file are checked against. */
static json_t *parameters_json(const hone_model *m)
{
    json_t *map = json_object();
    for (int k = 0; k < m->params.count; k++) {
        const hone_param *p = &m->params.item[k];
        json_t *shape = json_array();
        for (int d = 0; d < p->rank; d++) shape = hone_json_added(shape, json_integer((json_int_t)p->dim[d]));
        map = hone_json_with(map, p->name, shape);
    }
    return map;
}

/* `path` is for messages. */
hone_status hone_model_json(const hone_model *m, const char *path, char **out)
{
    for (int k = 0; k < m->classes; k++) /* jansson says NULL to what is not UTF-8, as to a lack of memory */
        if (!hone_text_is_utf8(m->class_name[k]))
            return hone_fail(HONE_ERR_DATA, "rename the class: names must be UTF-8", "%s: a class name is not UTF-8",
                             path);
    json_t *names = json_array();
    for (int k = 0; k < m->classes; k++) names = hone_json_added(names, json_string(m->class_name[k]));
    json_t *root =
        json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:o}", "format", "hone-model", "version", 1, "task",
                  m->pre.vocab > 0 ? "text" : "image", "classes", names, "preprocess", preprocess_json(&m->pre),
                  "layers", hone_layers_to_json(&m->tree.top), "parameters", parameters_json(m));
    /* an object for people too: one space of indent, keys in the order above */
    return hone_json_print(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER, path, out);
}

/* Replaced atomically, like all small files of a run. */
hone_status hone_model_save_json(const hone_model *m, const char *path)
{
    char *text = NULL;
    HONE_TRY(hone_model_json(m, path, &text));
    hone_status status = hone_file_write(path, text, strlen(text));
    free(text);
    return status;
}

/* --- reading ----------------------------------------------------------------------------------------------- */

/* All mistakes of a file are DATA: the user did not write it. */
static hone_status bad(const char *path, const char *field, const char *expected)
{
    return hone_fail(HONE_ERR_DATA, "the file is damaged or was not written by hone", "%s: %s must be %s", path, field,
                     expected);
}

/* 1.0 is no integer here: we never write one. */
static hone_status read_int(const char *path, const json_t *map, const char *key, int low, int high, int *out)
{
    const json_t *n = json_object_get(map, key);
    char expected[64];
    snprintf(expected, sizeof expected, "an integer in %d..%d", low, high);
    if (!json_is_integer(n) || json_integer_value(n) < low || json_integer_value(n) > high)
        return bad(path, key, expected);
    *out = (int)json_integer_value(n);
    return HONE_OK;
}

/* `low` < 0: any number of a sane size; 0: above 0, as a divisor must be. */
static hone_status read_floats(const char *path, const json_t *map, const char *key, int count, double low, float *out)
{
    const json_t *list = json_object_get(map, key);
    if (!json_is_array(list) || (int)json_array_size(list) != count)
        return bad(path, key, "a list with one number a channel");
    for (int k = 0; k < count; k++) {
        const json_t *n = json_array_get(list, (size_t)k);
        double x = json_is_number(n) ? json_number_value(n) : NAN;
        if (!(x > low && x < 1e6))
            return bad(path, key, low < 0 ? "numbers of a sane size" : "positive numbers of a sane size");
        out[k] = (float)x;
        if (low >= 0 && !(out[k] > 0))
            return bad(path, key, "positive numbers of a sane size"); /* 1e-300 is 0 in float */
    }
    return HONE_OK;
}

/* The tokenizer lies beside the file under a fixed name: a path in the file could point anywhere. */
static hone_status read_text_preprocess(const char *path, const json_t *p, hone_preprocess *out)
{
    int vocab = 0;
    HONE_TRY(read_int(path, p, "vocab", 1, INT_MAX, &vocab));
    HONE_TRY(read_int(path, p, "max_length", 0, INT_MAX, &out->max_length));
    out->vocab = vocab;
    out->pairs = json_is_true(json_object_get(p, "pairs")); /* older models have none */
    return HONE_OK;
}

/* Sizes are bounded, because the predictor allocates by them. */
static hone_status read_preprocess(const char *path, const json_t *p, bool text, hone_preprocess *out)
{
    if (!json_is_object(p)) return bad(path, "preprocess", "an object");
    if (text) return read_text_preprocess(path, p, out);
    const char *resize = json_string_value(json_object_get(p, "resize"));
    HONE_TRY(read_int(path, p, "height", 1, IMAGE_MAX, &out->height));
    HONE_TRY(read_int(path, p, "width", 1, IMAGE_MAX, &out->width));
    HONE_TRY(read_int(path, p, "channels", 1, HONE_MAX_CHANNELS, &out->channels));
    if (!hone_resize_of(resize, &out->resize)) return bad(path, "resize", "stretch or shorter");
    HONE_TRY(read_floats(path, p, "mean", out->channels, -1e6, out->mean));
    return read_floats(path, p, "std", out->channels, 0, out->std);
}

/* Pointers into `list`; names are checked to be there and to be different. */
static hone_status read_classes(const char *path, const json_t *list, const char ***out, int *count)
{
    size_t n = json_array_size(list);
    hone_status status = HONE_OK;
    if (!json_is_array(list) || n < 1 || n > CLASSES_MAX) return bad(path, "classes", "a list of class names");
    const char **name = calloc(n, sizeof *name);
    /* a set: comparing all pairs of a million names would take hours */
    json_t *seen = json_object();
    if (!name || !seen) status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: memory exhausted", path);
    for (size_t k = 0; k < n && status == HONE_OK; k++) {
        name[k] = json_string_value(json_array_get(list, k));
        if (!name[k] || !name[k][0] || json_object_get(seen, name[k]))
            status = bad(path, "classes", "different names that are not empty");
        else if (!(seen = hone_json_with(seen, name[k], json_true())))
            status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: memory exhausted", path);
    }
    json_decref(seen);
    if (status != HONE_OK) {
        free((void *)name);
        return status;
    }
    *out = name;
    *count = (int)n;
    return HONE_OK;
}

/* The layers must give exactly the parameters that the file lists. */
static hone_status check_parameters(const char *path, const hone_model *m, const json_t *map)
{
    if (!json_is_object(map)) return bad(path, "parameters", "an object of shapes");
    for (int k = 0; k < m->params.count; k++) {
        const hone_param *p = &m->params.item[k];
        const json_t *shape = json_object_get(map, p->name);
        /* name, rank and every size */
        bool equal = json_is_array(shape) && (int)json_array_size(shape) == p->rank;
        for (int d = 0; equal && d < p->rank; d++) {
            const json_t *n = json_array_get(shape, (size_t)d);
            equal = json_is_integer(n) && json_integer_value(n) == p->dim[d];
        }
        if (!equal)
            return hone_fail(HONE_ERR_DATA, "the file is damaged or was not written by hone",
                             "%s: parameters: %s is not listed with the shape that the layers give it", path, p->name);
    }
    if ((int)json_object_size(map) != m->params.count)
        return hone_fail(HONE_ERR_DATA, "the file is damaged or was not written by hone",
                         "%s: parameters: %zu are listed, the layers have %d", path, json_object_size(map),
                         m->params.count);
    return HONE_OK;
}

/* Mistakes of the layers are USAGE in a page and DATA in a model file. */
static hone_status as_data(hone_status status)
{
    if (status != HONE_ERR_USAGE) return status;
    hone_error e;
    hone_error_save(&e, status);
    return hone_fail(HONE_ERR_DATA, "the file is damaged or was not written by hone", "%s", e.message);
}

/* Poison after the check: NaN logits show at once that nobody read the weights. Its beginning is enough of a table of half
 * a gigabyte, whose pages need not be there at all when the values come from a file's memory. */
static hone_status assemble(const char *path, hone_model *m, const json_t *root)
{
    if (!json_is_array(json_object_get(root, "layers"))) return bad(path, "layers", "a list");
    hone_yaml *page = hone_json_to_yaml(path, root, "layers");
    if (!page) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: memory exhausted", path);
    hone_status status = as_data(hone_model_assemble(m, page, NULL));
    hone_json_yaml_free(page);
    HONE_TRY(status);
    HONE_TRY(check_parameters(path, m, json_object_get(root, "parameters")));
    for (int k = 0; k < m->params.count; k++)
        for (int64_t i = 0; i < m->params.item[k].count && i < POISON_MAX; i++) m->params.item[k].value[i] = NAN;
    return HONE_OK;
}

/* Cheap checks first; nothing is allocated by a number of the file before it is bounded. */
static hone_status read_model(const char *path, const json_t *root, hone_model **out)
{
    hone_preprocess pre = {0};
    const char **name = NULL, *format = json_string_value(json_object_get(root, "format")),
               *task = json_string_value(json_object_get(root, "task"));
    int classes = 0, version = 0;
    if (!json_is_object(root) || !format || strcmp(format, "hone-model") != 0)
        return bad(path, "format", "hone-model: this is no model.json of hone");
    HONE_TRY(read_int(path, root, "version", 1, 1, &version));
    if (!task || (strcmp(task, "image") != 0 && strcmp(task, "text") != 0)) return bad(path, "task", "image or text");
    HONE_TRY(read_preprocess(path, json_object_get(root, "preprocess"), strcmp(task, "text") == 0, &pre));
    HONE_TRY(read_classes(path, json_object_get(root, "classes"), &name, &classes));
    hone_model *m = hone_model_blank(&pre, classes, name);
    free((void *)name);
    if (!m) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: memory exhausted", path);
    hone_status status = assemble(path, m, root);
    if (status != HONE_OK) {
        hone_model_free(m);
        return status;
    }
    *out = m;
    return HONE_OK;
}

/* Repeated keys are refused: two readers could take different ones. */
hone_status hone_model_parse_json(const char *path, const char *text, size_t bytes, hone_model **out)
{
    json_error_t error;
    *out = NULL;
    json_t *root;
    HONE_TRY(hone_json_parse(text, bytes, JSON_REJECT_DUPLICATES, &root, &error));
    if (!root)
        return hone_fail(HONE_ERR_DATA, "the file is damaged or was not written by hone", "%s:%d:%d: not JSON: %s",
                         path, error.line, error.column, error.text);
    hone_status status = read_model(path, root, out);
    json_decref(root);
    return status;
}

hone_status hone_model_load_json(const char *path, hone_model **out)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    HONE_TRY(hone_file_read(path, FILE_MAX_BYTES, &text, &bytes));
    hone_status status = hone_model_parse_json(path, text, bytes, out);
    free(text);
    return status;
}
