/* layer_args.c - one argument of a layer, read by its row of the table.
 *
 * Types and ranges live here, one reader a type. Ranges are wide enough for any net and narrow
 * enough that products of a few of them stay within int64. A mistake goes to the diagnostics with
 * the place of the value; nothing is clamped and nothing is guessed. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/layers.h"

enum { COUNT_MAX = 1 << 20, WINDOW_MAX = 1024 };

/* How a message quotes what stood there. */
static const char *describe(const hone_yaml *n, char text[80])
{
    if (n->kind == HONE_YAML_SCALAR) snprintf(text, 80, n->text[0] ? "\"%.60s\"" : "nothing%s", n->text);
    else snprintf(text, 80, "%s", n->kind == HONE_YAML_SEQ ? "a list" : "a map");
    return text;
}

/* Tells what was expected and what stood there; returns false for the reader to pass on. */
static bool refuse(hone_diag *d, const hone_yaml *at, const char *path, const char *expected)
{
    char found[80];
    hone_diag_add(d, at, path, "must be %s, not %s", expected, describe(at, found));
    return false;
}

/* Quoted or not: words of arguments can't be mistaken for anything else. */
static bool is_word(const hone_yaml *n, const char *word)
{
    return n->kind == HONE_YAML_SCALAR && strcmp(n->text, word) == 0;
}

/* Numbers in quotes are text: hone_yaml_int refuses them, and 1.5. */
static bool read_int(const hone_yaml *n, int64_t low, int64_t high, int64_t *out)
{
    return n->kind == HONE_YAML_SCALAR && hone_yaml_int(n, out) && *out >= low && *out <= high;
}

/* N or [h, w] into two integers; false without a message. */
static bool read_pair(const hone_arg_value *v, int64_t low, int64_t out[2])
{
    /* [h, w]: items that are unknown $names are NULL and have been told */
    if (v->node->kind == HONE_YAML_SEQ)
        return v->node->count == 2 && v->item[0] && v->item[1] && read_int(v->item[0], low, WINDOW_MAX, &out[0]) &&
               read_int(v->item[1], low, WINDOW_MAX, &out[1]);
    if (!read_int(v->node, low, WINDOW_MAX, &out[0])) return false;
    out[1] = out[0];
    return true;
}

/* N, or a list of N; false without a message. */
static bool read_kernels(const hone_arg_value *v, hone_layer_args *args)
{
    const hone_yaml *n = v->node;
    args->kernels = 0;
    if (n->kind != HONE_YAML_SEQ) return read_int(n, 1, WINDOW_MAX, &args->sizes[0]);
    if (n->count < 1 || n->count > HONE_KERNELS_MAX) return false;
    for (int k = 0; k < n->count; k++)
        if (!v->item[k] || !read_int(v->item[k], 1, WINDOW_MAX, &args->sizes[k])) return false;
    args->kernels = n->count;
    return true;
}

/* kind says how n is to be understood; `same` needs the kernel and is resolved when emitting. */
static bool read_pad(const hone_arg_value *v, const char *path, hone_diag *d, hone_layer_args *args)
{
    /* `valid` is no padding; `same` leaves n for the emitter */
    args->pad.n[0] = args->pad.n[1] = 0;
    args->pad.kind = is_word(v->node, "same")    ? HONE_PAD_SAME
                     : is_word(v->node, "valid") ? HONE_PAD_VALID
                                                 : HONE_PAD_GIVEN;
    if (args->pad.kind != HONE_PAD_GIVEN || read_pair(v, 0, args->pad.n)) return true;
    return refuse(d, v->node, path, "same, valid, an integer in 0..1024 or [height, width]");
}

/* Index of the scalar's text in "a|b|c", -1 if it is none of them. */
static int word_index(const hone_yaml *n, const char *words)
{
    if (n->kind != HONE_YAML_SCALAR) return -1;
    /* words are compared whole: "exac" is not "exact" */
    size_t length = strlen(n->text);
    int index = 0;
    for (const char *w = words;; index++) {
        size_t have = strcspn(w, "|");
        if (have == length && strncmp(w, n->text, have) == 0) return index;
        if (!w[have]) return -1;
        w += have + 1;
    }
}

/* Stores the index of the word; the emitter's table has the same order as the row's words. */
static bool read_word(const hone_arg *a, const hone_yaml *n, const char *path, hone_diag *d, int64_t *out)
{
    *out = word_index(n, a->words);
    if (*out >= 0) return true;
    char expected[120] = "";
    for (const char *w = a->words; *w; w++) { /* "a|b" reads "a or b" */
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, *w == '|' ? " or " : "%c", *w);
    }
    return refuse(d, n, path, expected);
}

/* `init: normal` or `init: {normal: 0.01}`. */
static bool read_init(const hone_arg_value *v, const char *path, hone_diag *d, hone_layer_args *args)
{
    const hone_yaml *n = v->node;
    static const char expected[] = "default, kaiming, xavier, normal, zeros or {normal: STD}";
    args->init.std = 0.02; /* what transformers use: BERT, timm's trunc_normal_ */
    args->init.kind = word_index(n, "default|kaiming|xavier|normal|zeros");
    if (args->init.kind >= 0) return true;
    args->init.kind = HONE_INIT_NORMAL;
    if (n->kind != HONE_YAML_MAP || n->count != 1 || !is_word(n->key[0], "normal")) return refuse(d, n, path, expected);
    const hone_yaml *std = v->item[0];
    if (!std) return false; /* an unknown $name, already told */
    if (std->kind != HONE_YAML_SCALAR || !hone_yaml_float(std, &args->init.std) || args->init.std < 0 ||
        args->init.std > 100)
        return refuse(d, std, path, "a standard deviation in 0..100");
    return true;
}

/* Integers, and the two words that stand for one. */
static bool read_count(const hone_arg *a, const hone_yaml *n, int classes, const char *path, hone_diag *d, int64_t *out)
{
    if (a->type == HONE_ARG_CLASSES && is_word(n, "classes")) {
        *out = classes;
        return true;
    }
    if (a->type == HONE_ARG_GROUPS && is_word(n, "depthwise")) {
        *out = HONE_DEPTHWISE;
        return true;
    }
    if (read_int(n, a->type == HONE_ARG_SIZE ? 0 : 1, COUNT_MAX, out)) return true;
    return refuse(d, n, path,
                  a->type == HONE_ARG_CLASSES  ? "an integer in 1..1048576 or `classes`"
                  : a->type == HONE_ARG_GROUPS ? "an integer in 1..1048576 or `depthwise`"
                  : a->type == HONE_ARG_SIZE   ? "an integer in 0..1048576"
                                               : "an integer in 1..1048576");
}

/* Finite by hone_yaml_float; ranges keep float conversions far from overflow. */
static bool read_number(const hone_arg *a, const hone_yaml *n, const char *path, hone_diag *d, double *out)
{
    bool is_chance = a->type == HONE_ARG_CHANCE, is_positive = a->type == HONE_ARG_POSITIVE;
    bool ok = n->kind == HONE_YAML_SCALAR && hone_yaml_float(n, out);
    if (ok && (is_positive ? *out > 0 : *out >= 0) && (is_chance ? *out < 1 : *out <= 1e6)) return true;
    return refuse(d, n, path,
                  is_chance     ? "a probability in 0..1 (below 1)"
                  : is_positive ? "a number above 0, at most 1000000"
                                : "a number in 0..1000000");
}

/* One case a type; the compiler warns of a type without a case. */
bool hone_arg_read(const hone_arg *a, const hone_arg_value *v, int classes, const char *path, hone_diag *d,
                   hone_layer_args *args)
{
    void *to = (char *)args + a->at;
    const hone_yaml *n = v->node;
    switch (a->type) {
    case HONE_ARG_COUNT_:
    case HONE_ARG_SIZE:
    case HONE_ARG_CLASSES:
    case HONE_ARG_GROUPS: return read_count(a, n, classes, path, d, to);
    case HONE_ARG_STRIDE:
        if (is_word(n, "kernel")) {
            args->stride[0] = args->stride[1] = 0;
            return true;
        }
        return read_pair(v, 1, to) || refuse(d, n, path, "kernel, an integer in 1..1024 or [height, width]");
    case HONE_ARG_PAIR: return read_pair(v, 1, to) || refuse(d, n, path, "an integer in 1..1024 or [height, width]");
    case HONE_ARG_KERNELS:
        return read_kernels(v, args) || refuse(d, n, path, "an integer in 1..1024 or a list of at most 8 of them");
    case HONE_ARG_PAD: return read_pad(v, path, d, args);
    case HONE_ARG_NUMBER:
    case HONE_ARG_POSITIVE:
    case HONE_ARG_CHANCE: return read_number(a, n, path, d, to);
    case HONE_ARG_BOOL: {
        bool flag = false;
        if (n->kind != HONE_YAML_SCALAR || !hone_yaml_bool(n, &flag)) return refuse(d, n, path, "true or false");
        *(int64_t *)to = flag;
        return true;
    }
    case HONE_ARG_WORD: return read_word(a, n, path, d, to);
    case HONE_ARG_INIT: return read_init(v, path, d, args);
    case HONE_ARG_LAYERS:
    case HONE_ARG_SHORTCUT: break; /* lists are expanded, not read */
    }
    assert(!"a list is no value");
    return false;
}

/* Defaults are text in the table and go through the same reader, so they can't differ from what a page
 * may say. A default that can't be read is our own bug. */
void hone_args_default(const hone_layer_type *type, hone_layer_args *args)
{
    for (int k = 0; k < type->arg_count; k++) {
        const hone_arg *a = &type->arg[k];
        if (!a->standard || a->type == HONE_ARG_LAYERS || a->type == HONE_ARG_SHORTCUT) continue;
        char text[32];
        snprintf(text, sizeof text, "%s", a->standard);
        hone_yaml scalar = {.kind = HONE_YAML_SCALAR, .file = "layer_table.c", .text = text};
        hone_diag d = {0};
        bool ok = hone_arg_read(a, &(hone_arg_value){.node = &scalar}, 1, a->name, &d, args);
        assert(ok && "a default of the table must be readable");
        (void)ok;
        hone_diag_free(&d);
    }
}
