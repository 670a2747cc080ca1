/* types_list.c - the types of the schema whose values are lists or maps: pairs, sizes, shapes, values
 * per channel, patterns, class weights. Same contract as types.c; messages point at the item. */
#include <stdlib.h>
#include <string.h>

#include "config/types.h"

/* The shortest text that reads back as the same double. */
static void write_number(double x, hone_text *t)
{
    char number[32];
    hone_text_add(t, "%s", hone_number_write(x, number, sizeof number));
}

/* A plain word of the language, not a quoted text that happens to equal it. */
static bool is_word(const hone_yaml *n, const char *word)
{
    return n->kind == HONE_YAML_SCALAR && !n->quoted && strcmp(n->text, word) == 0;
}

/* Exactly `count` numbers of the row's range; false after a message. */
static bool read_numbers(const hone_row *row, const hone_yaml *n, int count, double *out, hone_diag *d)
{
    if (n->kind != HONE_YAML_SEQ || n->count != count) {
        hone_expected(row, n, d);
        return false;
    }
    for (int k = 0; k < count; k++)
        if (!hone_yaml_float(n->item[k], &out[k]) || !hone_in_range(row, out[k])) {
            hone_expected(row, n->item[k], d);
            return false;
        }
    return true;
}

/* The same for integers. */
static bool read_integers(const hone_row *row, const hone_yaml *n, int count, int64_t *out, hone_diag *d)
{
    if (n->kind != HONE_YAML_SEQ || n->count != count) {
        hone_expected(row, n, d);
        return false;
    }
    for (int k = 0; k < count; k++)
        if (!hone_yaml_int(n->item[k], &out[k]) || !hone_in_range(row, (double)out[k])) {
            hone_expected(row, n->item[k], d);
            return false;
        }
    return true;
}

/* An array of `least` to `most` items; takes over `item`. */
static json_t *schema_list(json_t *item, int least, int most)
{
    return json_pack("{s:s,s:o,s:i,s:i}", "type", "array", "items", item, "minItems", least, "maxItems", most);
}

/* --- [a, b] ------------------------------------------------------------------------------------------- */
/* [a, b]; where the row says so the first must not exceed the second. */
void hone_read_pair(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    double pair[2];
    if (!read_numbers(row, n, 2, pair, d)) return;
    if ((row->flags & HONE_ROW_ASCENDS) && pair[0] > pair[1])
        hone_diag_add(d, n, row->key, "the first number must not exceed the second");
    else memcpy(HONE_FIELD(c, row, double), pair, sizeof pair);
}
/* [a, b]. */
void hone_write_pair(const hone_row *row, const hone_config *c, hone_text *t)
{
    const double *pair = HONE_FIELD(c, row, double);
    hone_text_add(t, "[");
    write_number(pair[0], t);
    hone_text_add(t, ", ");
    write_number(pair[1], t);
    hone_text_add(t, "]");
}
/* Both numbers share the range. */
void hone_describe_pair(const hone_row *row, hone_text *t) { hone_describe_range(row, "[a, b], each a number", t); }
json_t *hone_schema_pair(const hone_row *row) { return schema_list(hone_schema_range(row, "number"), 2, 2); }

/* [a, b] in order, or none, which is stored as 0, 0. */
void hone_read_int_pair(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t pair[2] = {0, 0};
    bool none = (row->flags & HONE_ROW_OPTIONAL) && (is_word(n, "none") || hone_yaml_null(n));
    if (!none && !read_integers(row, n, 2, pair, d)) return;
    if (pair[0] > pair[1]) {
        hone_diag_add(d, n, row->key, "the first number must not exceed the second");
        return;
    }
    for (int k = 0; k < 2; k++) HONE_FIELD(c, row, int)[k] = (int)pair[k];
}
/* 0, 0 is written as the word it was read from. */
void hone_write_int_pair(const hone_row *row, const hone_config *c, hone_text *t)
{
    const int *pair = HONE_FIELD(c, row, int);
    if (pair[1] == 0) hone_text_add(t, "none");
    else hone_text_add(t, "[%d, %d]", pair[0], pair[1]);
}
void hone_describe_int_pair(const hone_row *row, hone_text *t)
{
    hone_describe_range(
        row, row->flags & HONE_ROW_OPTIONAL ? "none or [a, b], each an integer" : "[a, b], each an integer", t);
}
json_t *hone_schema_int_pair(const hone_row *row)
{
    json_t *list = schema_list(hone_schema_range(row, "integer"), 2, 2);
    return row->flags & HONE_ROW_OPTIONAL ? json_pack("{s:[o,{s:s}]}", "anyOf", list, "const", "none") : list;
}

/* --- sizes and shapes --------------------------------------------------------------------------------- */
/* Height and width are neighbours in hone_config, so one row fills both. */
void hone_read_size(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t side[2] = {0, 0};
    if (n->kind == HONE_YAML_SEQ) {
        if (!read_integers(row, n, 2, side, d)) return;
    } else if (!hone_yaml_null(n)) { /* null: the size of the data, written 0 */
        if (!hone_yaml_int(n, &side[0]) || !hone_in_range(row, (double)side[0])) {
            hone_expected(row, n, d);
            return;
        }
        side[1] = side[0];
    }
    for (int k = 0; k < 2; k++) HONE_FIELD(c, row, int)[k] = (int)side[k];
}
/* N where both sides are equal, as users write it. */
void hone_write_size(const hone_row *row, const hone_config *c, hone_text *t)
{
    const int *side = HONE_FIELD(c, row, int); /* height, then width: neighbours in hone_config */
    if (side[0] == 0) hone_text_add(t, "~");
    else if (side[0] == side[1]) hone_text_add(t, "%d", side[0]);
    else hone_text_add(t, "[%d, %d]", side[0], side[1]);
}
void hone_describe_size(const hone_row *row, hone_text *t)
{
    hone_describe_range(row, "N or [height, width], each an integer", t);
}
/* N, [H, W], or null for the size of the data. */
json_t *hone_schema_size(const hone_row *row)
{
    return json_pack("{s:[o,o,{s:s}]}", "anyOf", hone_schema_range(row, "integer"),
                     schema_list(hone_schema_range(row, "integer"), 2, 2), "type", "null");
}

/* [H, W, C]. */
void hone_read_shape(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t shape[3];
    if (read_integers(row, n, 3, shape, d)) memcpy(HONE_FIELD(c, row, int64_t), shape, sizeof shape);
}
/* [H, W, C]. */
void hone_write_shape(const hone_row *row, const hone_config *c, hone_text *t)
{
    const int64_t *s = HONE_FIELD(c, row, int64_t);
    hone_text_add(t, "[%lld, %lld, %lld]", (long long)s[0], (long long)s[1], (long long)s[2]);
}
void hone_describe_shape(const hone_row *row, hone_text *t)
{
    hone_describe_range(row, "[height, width, channels], each an integer", t);
}
json_t *hone_schema_shape(const hone_row *row) { return schema_list(hone_schema_range(row, "integer"), 3, 3); }

/* --- values per channel: mean and std ----------------------------------------------------------------- */
typedef struct channels {
    float *value; /* (4) */
    int *count;
    bool *automatic;
} channels;

/* The two rows of this type keep their values in three fields each. */
static channels channels_of(const hone_row *row, hone_config *c)
{
    /* By name, as the three fields do not stand in one struct. */
    bool mean = strcmp(row->key, "image.mean") == 0;
    return mean ? (channels){c->image.mean, &c->image.mean_count, &c->image.mean_auto}
                : (channels){c->image.std, &c->image.std_count, &c->image.std_auto};
}

/* auto, a list with a value per channel, one value, or nothing (count 0). */
void hone_read_channels(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    channels to = channels_of(row, c);
    double value[4] = {0};
    int count = 0;
    bool automatic = is_word(n, "auto");
    if (n->kind == HONE_YAML_SEQ) {
        count = n->count;
        if (count != 1 && count != 3) {
            hone_diag_add(d, n, row->key, "expects 1 or 3 numbers, one per channel, found %d", count);
            return;
        }
        if (!read_numbers(row, n, count, value, d)) return;
    } else if (!automatic && !hone_yaml_null(n)) {
        count = 1;
        if (!hone_yaml_float(n, value) || !hone_in_range(row, value[0])) {
            hone_expected(row, n, d);
            return;
        }
    }
    *to.automatic = automatic;
    *to.count = count;
    for (int k = 0; k < count; k++) to.value[k] = (float)value[k];
}

/* The values a page gave, in the shortest form that reads back as the same float. */
void hone_write_channels(const hone_row *row, const hone_config *c, hone_text *t)
{
    channels from = channels_of(row, (hone_config *)(uintptr_t)c);
    if (*from.automatic || *from.count == 0) {
        hone_text_add(t, *from.automatic ? "auto" : "~");
        return;
    }
    for (int k = 0; k < *from.count; k++) {
        hone_text_add(t, k ? ", " : "[");
        char number[32];
        hone_text_add(t, "%s", hone_float_write(from.value[k], number, sizeof number));
    }
    hone_text_add(t, "]");
}

/* How many numbers is known only once the data are: 1 for all, or one per channel. */
void hone_describe_channels(const hone_row *row, hone_text *t)
{
    hone_describe_range(row, "auto or a list with, per channel, a number", t);
}
/* auto, a number, a list, or null. */
json_t *hone_schema_channels(const hone_row *row)
{
    return json_pack("{s:[{s:s},o,o,{s:s}]}", "anyOf", "const", "auto", hone_schema_range(row, "number"),
                     schema_list(hone_schema_range(row, "number"), 1, 3), "type", "null");
}

/* --- lists of strings ----------------------------------------------------------------------------------- */
/* Frees the strings and the list; the list may be used again. */
void hone_strings_free(hone_string_list *list)
{
    for (int k = 0; k < list->count; k++) free(list->item[k]);
    free(list->item);
    *list = (hone_string_list){0};
}

/* Room for `count` more strings is made before; false when memory is exhausted. */
static bool reserve_strings(hone_string_list *list, int count)
{
    list->item = calloc(count ? (size_t)count : 1, sizeof *list->item);
    return list->item != NULL;
}

/* A list, or one text for a list of one. */
void hone_read_strings(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    hone_string_list *list = HONE_FIELD(c, row, hone_string_list);
    bool one = n->kind == HONE_YAML_SCALAR && *n->text && !hone_yaml_null(n);
    if (!one && n->kind != HONE_YAML_SEQ) {
        hone_expected(row, n, d);
        return;
    }
    /* The default was read into the list before, so it is emptied first. */
    int count = one ? 1 : n->count;
    hone_strings_free(list);
    if (!reserve_strings(list, count)) return;
    for (int k = 0; k < count; k++) {
        const hone_yaml *item = one ? n : n->item[k];
        if (item->kind != HONE_YAML_SCALAR || !*item->text) hone_expected(row, item, d);
        else if ((list->item[list->count] = hone_strdup(item->text))) list->count++;
    }
}

/* In flow style: [a, b]. */
void hone_write_strings(const hone_row *row, const hone_config *c, hone_text *t)
{
    const hone_string_list *list = HONE_FIELD(c, row, hone_string_list);
    hone_text_add(t, "[");
    for (int k = 0; k < list->count; k++) {
        if (k) hone_text_add(t, ", ");
        hone_scalar_append(t, list->item[k], false);
    }
    hone_text_add(t, "]");
}

void hone_describe_strings(const hone_row *row, hone_text *t)
{
    (void)row;
    hone_text_add(t, "a list of texts");
}
/* A list or one text. */
json_t *hone_schema_strings(const hone_row *row)
{
    (void)row;
    return json_pack("{s:[{s:s},{s:s,s:{s:s}}]}", "anyOf", "type", "string", "type", "array", "items", "type",
                     "string");
}

/* --- class weights -------------------------------------------------------------------------------------- */
/* Back to "none", whatever was read before. */
static void clear_weights(hone_config *c)
{
    hone_strings_free(&c->train.loss.weight_class);
    free(c->train.loss.weight_value);
    c->train.loss.weight_value = NULL;
}

/* {class: weight, ...}; at least one weight must count. */
static void read_weight_map(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    hone_string_list *name = &c->train.loss.weight_class;
    /* Owned by the config from here on, whatever fails below. */
    double sum = 0, *value = calloc((size_t)n->count, sizeof *value);
    c->train.loss.weight_value = value;
    if (!value || !reserve_strings(name, n->count)) return;
    c->train.loss.class_weights = HONE_WEIGHTS_GIVEN;
    for (int k = 0; k < n->count; k++) {
        char shown[64];
        double *to = &value[name->count];
        if (!hone_yaml_float(n->item[k], to) || !hone_in_range(row, *to))
            hone_diag_add(d, n->item[k], row->key, "the weight of class '%s' must be a number of at least 0",
                          hone_yaml_quote(n->key[k], shown, sizeof shown));
        else if ((name->item[name->count] = hone_strdup(n->key[k]->text))) sum += value[name->count++];
    }
    if (name->count == n->count && sum <= 0)
        hone_diag_add(d, n, row->key, "all weights are 0, so nothing would be learned");
}

/* The class names are checked by src/train, which knows the classes. */
void hone_read_weights(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    clear_weights(c);
    c->train.loss.class_weights = HONE_WEIGHTS_NONE;
    if (is_word(n, "balanced")) c->train.loss.class_weights = HONE_WEIGHTS_BALANCED;
    else if (n->kind == HONE_YAML_MAP && n->count > 0) read_weight_map(row, n, c, d);
    else if (!is_word(n, "none")) hone_expected(row, n, d);
}

/* The word, or the map as it was given. */
void hone_write_weights(const hone_row *row, const hone_config *c, hone_text *t)
{
    (void)row;
    if (c->train.loss.class_weights != HONE_WEIGHTS_GIVEN) {
        hone_text_add(t, c->train.loss.class_weights == HONE_WEIGHTS_BALANCED ? "balanced" : "none");
        return;
    }
    const hone_string_list *name = &c->train.loss.weight_class;
    for (int k = 0; k < name->count; k++) {
        hone_text_add(t, k ? ", " : "{");
        hone_scalar_append(t, name->item[k], false);
        hone_text_add(t, ": ");
        write_number(c->train.loss.weight_value[k], t);
    }
    hone_text_add(t, "}");
}

/* Class names are the data's, so they can't be listed here. */
void hone_describe_weights(const hone_row *row, hone_text *t)
{
    (void)row;
    hone_text_add(t, "none, balanced or a map {class: weight}");
}
/* A word or a map from class to weight. */
json_t *hone_schema_weights(const hone_row *row)
{
    return json_pack("{s:[{s:[ss]},{s:s,s:o,s:i}]}", "anyOf", "enum", "none", "balanced", "type", "object",
                     "additionalProperties", hone_schema_range(row, "number"), "minProperties", 1);
}
