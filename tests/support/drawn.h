/* drawn.h - parameters that PyTorch and a test draw alike, so that only figures are committed: tests/golden/philox.py has
 * the same rules. Keyed by the parameter's name; all arithmetic in float32. */
#ifndef HONE_TESTS_DRAWN_H
#define HONE_TESTS_DRAWN_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hone/io.h"
#include "hone/philox.h"

enum { DRAWN_STREAM = 77 };

static inline uint64_t drawn_key(const char *text)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001B3u;
    return h;
}

static inline bool drawn_ends(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* Matrices by their fan-in, weights of norms around 1, biases around 0. free() it. */
static inline float *drawn_fill(const hone_blob *b, int64_t count)
{
    float *v = malloc((size_t)count * sizeof *v);
    double fan_in = 1;
    for (int32_t k = 1; k < b->rank; k++) fan_in *= (double)b->dim[k];
    float bound = (float)sqrt((b->rank == 4 ? 6.0 : 1.0) / fan_in);
    for (int64_t i = 0; v && i < count; i++) {
        hone_philox4 r = hone_philox(drawn_key(b->name), DRAWN_STREAM, (uint64_t)i / 4, 0);
        float u = 2.0f * hone_uniform(r.v[i % 4]) - 1.0f;
        if (drawn_ends(b->name, "running_mean")) v[i] = 0;
        else if (drawn_ends(b->name, "running_var")) v[i] = 1;
        else if (b->rank >= 2) v[i] = u * bound;
        else v[i] = drawn_ends(b->name, "weight") ? 1.0f + 0.1f * u : 0.1f * u;
    }
    return v;
}

#endif
