/* json.c - building JSON (json.h): each step either succeeds or turns the whole into NULL. */
#include "core/json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

json_t *hone_json_with(json_t *map, const char *key, json_t *value)
{
    /* fails without memory, for a NULL map (and frees the value), for a NULL value */
    if (json_object_set_new(map, key, value) == 0) return map;
    json_decref(map);
    return NULL;
}

/* jansson's two functions mean the same by their results, so these two are one for lists and maps. */
json_t *hone_json_added(json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) == 0) return list;
    json_decref(list);
    return NULL;
}

/* jansson answers NULL to what is not UTF-8, as it does without memory; here only the second is a failure. */
json_t *hone_json_string(const char *s)
{
    if (!s) return json_null();
    if (hone_text_is_utf8(s)) return json_string(s);
    hone_text t = {0};
    while (*s) {
        int n = hone_text_utf8_length((const unsigned char *)s, SIZE_MAX);
        /* a byte at a time where they are malformed, as hone_text_json does */
        hone_text_append(&t, n ? s : "\xEF\xBF\xBD", n ? (size_t)n : 3);
        s += n ? n : 1;
    }
    char *repaired = hone_text_take(&t);
    json_t *string = repaired ? json_string(repaired) : NULL;
    free(repaired);
    return string;
}

json_t *hone_json_real(double v) { return isfinite(v) ? json_real(v) : json_null(); }

/* 0.286f is 0.28600001335144043 as a double; nine digits bring the same float back, and are what a page says. */
json_t *hone_json_floats(const float *x, int count)
{
    json_t *list = json_array();
    char text[32];
    for (int k = 0; k < count; k++) {
        /* back and forth in one locale, whichever it is */
        snprintf(text, sizeof text, "%.9g", (double)x[k]);
        list = hone_json_added(list, json_real(strtod(text, NULL)));
    }
    return list;
}

/* json_dump_callback's receiver. jansson looks past the failure of a key's text; ours is remembered by the text. */
static int receive(const char *part, size_t bytes, void *text)
{
    hone_text_append(text, part, bytes);
    return 0;
}

hone_status hone_json_print(json_t *root, size_t flags, const char *what, char **out)
{
    hone_text t = {0};
    bool good = root && json_dump_callback(root, receive, &t, flags) == 0;
    json_decref(root);
    *out = hone_text_take(&t);
    if (!good) {
        free(*out);
        *out = NULL;
    }
    return *out ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %s", what);
}
