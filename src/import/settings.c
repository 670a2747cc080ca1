/* settings.c - see settings.h. config.json is another program's file: what is missing gets its default, and what is there
 * must make sense. */
#include "import/settings.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "core/json.h"

enum { CONFIG_LIMIT_BYTES = 64 << 20, SIDE_MAX = 4096 };

/* *root NULL where there is none. */
static hone_status read_config(const char *folder, json_t **root)
{
    char *path = hone_io_join(folder, "config.json"), *text = NULL;
    json_error_t error;
    FILE *there = path ? fopen(path, "rb") : NULL;
    hone_status status = path ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    *root = NULL;
    if (there) {
        size_t bytes;
        fclose(there);
        status = hone_file_read(path, CONFIG_LIMIT_BYTES, &text, &bytes);
        if (status == HONE_OK) status = hone_json_parse(text, bytes, JSON_REJECT_DUPLICATES, root, &error);
        if (status == HONE_OK && !*root)
            status = hone_fail(HONE_ERR_DATA, "mend it, or take it out of the folder", "%s:%d:%d: not JSON: %s", path,
                               error.line, error.column, error.text);
    }
    free(text);
    free(path);
    return status;
}

/* Weights of a known net have these two. */
static hone_status read_shapes(const hone_safetensors *file, const hone_architecture *a, hone_import_settings *s)
{
    const hone_blob *first = hone_safetensors_find(file, a->first), *head = hone_safetensors_find(file, a->head);
    if (!first || !head || first->rank != 4 || head->rank != 2 || head->dim[0] < 1 || head->dim[0] > 1 << 20 ||
        (first->dim[1] != 1 && first->dim[1] != 3))
        return hone_fail(HONE_ERR_DATA, "hone reads nets for grey and RGB pictures", "%s or %s has a shape of no use",
                         a->first, a->head);
    s->pre.channels = (int)first->dim[1];
    s->classes = (int)head->dim[0];
    return HONE_OK;
}

/* The side that a table of positions was made for: 1 + (side / patch)^2 rows. 224 for nets without one. */
static int side_of(const hone_safetensors *file, const hone_architecture *a)
{
    const hone_blob *table = hone_safetensors_find(file, "pos_embed");
    if (!table || table->rank != 3) return 224;
    /* the first row is the class token's */
    int patches = (int)lround(sqrt((double)(table->dim[1] - 1)));
    return patches >= 1 && patches <= SIDE_MAX / a->first_kernel ? patches * a->first_kernel : 224;
}

/* One number a channel, or the default. */
static hone_status read_floats(const json_t *cfg, const char *key, const float *standard, bool positive, int channels,
                               float *out)
{
    const json_t *list = json_object_get(cfg, key);
    for (int k = 0; k < channels; k++) {
        const json_t *n = json_array_get(list, (size_t)k);
        out[k] = n               ? (float)json_number_value(n)
                 : channels == 1 ? (standard[0] + standard[1] + standard[2]) / 3
                                 : standard[k];
        if ((n && !json_is_number(n)) || !isfinite(out[k]) || (positive && !(out[k] > 0)))
            return hone_fail(HONE_ERR_DATA, "one number a channel",
                             "config.json: pretrained_cfg.%s is no list of numbers", key);
    }
    return HONE_OK;
}

/* hone resizes one way; where the file asks for another, that is said. */
static void note_resize(const json_t *cfg, hone_import_settings *s)
{
    const char *mode = json_string_value(json_object_get(cfg, "crop_mode")),
               *filter = json_string_value(json_object_get(cfg, "interpolation"));
    /* 0 where it is not there */
    double crop = json_number_value(json_object_get(cfg, "crop_pct"));
    s->pre.resize = mode && strcmp(mode, "squash") == 0 ? HONE_RESIZE_STRETCH : HONE_RESIZE_SHORTER;
    if (filter && strcmp(filter, "bilinear") != 0)
        hone_text_add(&s->notes, "config.json asks for %s interpolation, hone resizes bilinearly\n", filter);
    if (crop > 0 && crop < 1)
        hone_text_add(&s->notes, "config.json crops to %.4g of the resized picture, hone cuts out all that fits\n",
                      crop);
}

/* timm writes input_size as (C, H, W); the weights know better about C. */
static hone_status read_preprocess(const json_t *cfg, int side, hone_import_settings *s)
{
    static const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f}; /* ImageNet's */
    const json_t *size = json_object_get(cfg, "input_size");
    json_int_t h = json_integer_value(json_array_get(size, 1)), w = json_integer_value(json_array_get(size, 2));
    bool given = size != NULL;
    s->pre.height = given ? (int)(h > SIDE_MAX ? 0 : h) : side;
    s->pre.width = given ? (int)(w > SIDE_MAX ? 0 : w) : side;
    if (s->pre.height < 1 || s->pre.width < 1)
        return hone_fail(HONE_ERR_DATA, "[channels, height, width]",
                         "config.json: pretrained_cfg.input_size is no size");
    HONE_TRY(read_floats(cfg, "mean", mean, false, s->pre.channels, s->pre.mean));
    HONE_TRY(read_floats(cfg, "std", std, true, s->pre.channels, s->pre.std));
    note_resize(cfg, s);
    return HONE_OK;
}

/* Name k by either form of config.json; NULL where there is none. */
static const char *name_of(const json_t *root, int k)
{
    char id[16];
    snprintf(id, sizeof id, "%d", k);
    const json_t *list = json_object_get(root, "label_names");
    const char *name = json_string_value(json_array_get(list, (size_t)k));
    return name ? name : json_string_value(json_object_get(json_object_get(root, "id2label"), id));
}

/* All or none: a few names among numbers would be a mistake of the file. */
static hone_status read_names(const json_t *root, hone_import_settings *s)
{
    const json_t *count = json_object_get(root, "num_classes");
    if (json_is_integer(count) && json_integer_value(count) != s->classes)
        return hone_fail(HONE_ERR_DATA, "they belong to two models",
                         "config.json has %lld classes, the head of the weights %d",
                         (long long)json_integer_value(count), s->classes);
    s->name = calloc((size_t)s->classes, sizeof *s->name);
    if (!s->name) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d class names", s->classes);
    s->named = true;
    for (int k = 0; k < s->classes && s->named; k++) s->named = name_of(root, k) != NULL;
    for (int k = 0; k < s->classes; k++) {
        char id[16];
        snprintf(id, sizeof id, "%d", k);
        if (!(s->name[k] = hone_strdup(s->named ? name_of(root, k) : id)))
            return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d class names", s->classes);
    }
    return HONE_OK;
}

/* Shapes first: all that follows is a list of so many channels or classes. */
hone_status hone_import_settings_read(const char *folder, const hone_safetensors *file, const hone_architecture *a,
                                      hone_import_settings *s)
{
    json_t *root = NULL;
    *s = (hone_import_settings){0};
    HONE_TRY(read_shapes(file, a, s));
    HONE_TRY(read_config(folder, &root));
    const json_t *cfg = json_object_get(root, "pretrained_cfg");
    /* some writers put the settings at the top; what the file calls the net ("resnet18.a1_in1k") is not asked */
    hone_status status = read_preprocess(cfg ? cfg : root, side_of(file, a), s);
    if (status == HONE_OK) status = read_names(root, s);
    json_decref(root);
    return status;
}

/* Fine on a zeroed and on a half-read one. */
void hone_import_settings_free(hone_import_settings *s)
{
    for (int k = 0; k < s->classes && s->name; k++) free(s->name[k]);
    free(s->name);
    hone_text_free(&s->notes);
}
