/* curves.h - what the tests beside PyTorch's losses share: weights and data drawn as make_curves.py draws them, the
 * optimizer's line of a page, and the comparison with the losses that a run has logged. */
#ifndef HONE_TESTS_SUPPORT_CURVES_H
#define HONE_TESTS_SUPPORT_CURVES_H

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "hone/hone.h"

enum { STREAM_VALUES = 77, DATA_SEED = 1234 };
static const double TOLERANCE = 1e-4; /* relative, at each step: what users are promised */

static inline uint64_t fnv1a(const char *text)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001B3u;
    return h;
}

static inline float draw(uint64_t seed, uint32_t stream, uint64_t i)
{
    return hone_uniform(hone_philox(seed, stream, i / 4, 0).v[i % 4]);
}

static inline bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* fill() of make_curves.py. */
static inline float *fill(const hone_blob *b, int64_t count)
{
    float *v = malloc((size_t)count * sizeof *v);
    double fan_in = 1;
    for (int32_t k = 1; k < b->rank; k++) fan_in *= (double)b->dim[k];
    float bound = (float)sqrt((b->rank == 4 ? 6.0 : 1.0) / fan_in);
    for (int64_t i = 0; i < count; i++) {
        float u = 2.0f * draw(fnv1a(b->name), STREAM_VALUES, (uint64_t)i) - 1.0f;
        if (ends_with(b->name, "running_mean")) v[i] = 0;
        else if (ends_with(b->name, "running_var")) v[i] = 1;
        else if (b->rank >= 2) v[i] = u * bound;
        else if (ends_with(b->name, "weight")) v[i] = 1.0f + 0.1f * u;
        else v[i] = 0.1f * u;
    }
    return v;
}

static inline void write_init(const char *path, json_t *shapes)
{
    int count = (int)json_object_size(shapes), k = 0;
    hone_blob *blob = calloc((size_t)count, sizeof *blob);
    const char *name;
    json_t *shape;
    json_object_foreach(shapes, name, shape)
    {
        hone_blob *b = &blob[k++];
        *b = (hone_blob){.name = name, .dtype = HONE_F32, .rank = (int32_t)json_array_size(shape)};
        int64_t n = 1;
        for (int32_t d = 0; d < b->rank; d++) n *= b->dim[d] = json_integer_value(json_array_get(shape, (size_t)d));
        b->data = fill(b, n);
        b->bytes = (size_t)n * sizeof(float);
    }
    assert_int_equal(hone_safetensors_write(path, blob, count, NULL), HONE_OK);
    for (k = 0; k < count; k++) free((void *)blob[k].data);
    free(blob);
}

static inline void page_optimizer(hone_text *t, json_t *opt)
{
    const char *name = json_string_value(json_object_get(opt, "name"));
    hone_text_add(t, "  optimizer: {name: %s, lr: %g, weight_decay: %g", name,
                  json_number_value(json_object_get(opt, "lr")),
                  json_number_value(json_object_get(opt, "weight_decay")));
    if (json_object_get(opt, "momentum"))
        hone_text_add(t, ", momentum: %g", json_number_value(json_object_get(opt, "momentum")));
    if (strcmp(name, "sgd") == 0) /* hone's default is true, PyTorch's is false */
        hone_text_add(t, ", nesterov: %s", json_is_true(json_object_get(opt, "nesterov")) ? "true" : "false");
    hone_text_add(t, "}\n");
}

/* Largest relative difference over the steps; every step must have its line. */
static inline double follow(const char *metrics, json_t *losses)
{
    FILE *f = fopen(metrics, "r");
    assert_non_null(f);
    double worst = 0;
    char line[4096];
    size_t seen = 0;
    while (fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        if (strcmp(json_string_value(json_object_get(o, "split")), "train") == 0) {
            double want = json_number_value(json_array_get(losses, seen)),
                   got = json_number_value(json_object_get(o, "loss"));
            double error = fabs(got - want) / fabs(want);
            if (!(error <= worst)) worst = error; /* a NaN counts as the worst */
            seen++;
        }
        json_decref(o);
    }
    fclose(f);
    assert_int_equal(seen, json_array_size(losses));
    return worst;
}

#endif
