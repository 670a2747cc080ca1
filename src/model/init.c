/* init.c - the first values of parameters, equal to PyTorch's defaults in distribution.
 *
 * A value is a pure function of (seed, name of the parameter, index), so adding or renaming a layer
 * leaves the others as they were. Values are made in file layout (PyTorch's), in index order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/thread.h"
#include "hone/philox.h"
#include "model/emit.h"

/* `kaiming` is fan_out with gain sqrt(2), as torchvision's ResNets use it (He et al. 2015); `xavier` is
 * Glorot & Bengio 2010. The fans are in elements of one output or input, taps of the window included. */
hone_fill hone_fill_weight(const hone_layer *l, int64_t fan_in, int64_t fan_out)
{
    switch ((hone_init_kind)l->args.init.kind) {
    case HONE_INIT_KAIMING: return (hone_fill){HONE_FILL_NORMAL, sqrt(2.0 / (double)fan_out)};
    case HONE_INIT_XAVIER: return (hone_fill){HONE_FILL_UNIFORM, sqrt(6.0 / (double)(fan_in + fan_out))};
    case HONE_INIT_NORMAL: return (hone_fill){HONE_FILL_NORMAL, l->args.init.std};
    case HONE_INIT_ZEROS: return (hone_fill){HONE_FILL_CONST, 0};
    case HONE_INIT_DEFAULT: break;
    }
    /* kaiming_uniform_(a = sqrt(5)): gain sqrt(2 / 6), bound gain * sqrt(3 / fan_in) */
    return (hone_fill){HONE_FILL_UNIFORM, 1.0 / sqrt((double)fan_in)};
}

/* torch.nn.Linear and Conv2d draw the bias by the weight's fan_in; a chosen init sets it to 0. */
hone_fill hone_fill_bias(const hone_layer *l, int64_t fan_in)
{
    if (l->args.init.kind != HONE_INIT_DEFAULT) return (hone_fill){HONE_FILL_CONST, 0};
    return (hone_fill){HONE_FILL_UNIFORM, 1.0 / sqrt((double)fan_in)};
}

/* FNV-1a, 64 bits: the parameter's name as the second half of the Philox counter. */
static uint64_t name_hash(const char *name)
{
    uint64_t h = 14695981039346656037u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

/* One parameter being drawn: chunks of it are independent, so threads can't change the values. */
typedef struct drawing {
    float *x; /* (n) */
    int64_t n;
    /* what to draw */
    const hone_fill *fill;
    uint64_t seed, key;
} drawing;

/* Values per task; a multiple of 4, because one Philox call serves four neighbours. */
enum { CHUNK = 1 << 16 };

/* begin is a multiple of 4, so each chunk starts a Philox block of its own. x in [-a, a). */
static void draw_uniform(const drawing *d, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += 4) {
        hone_philox4 r = hone_philox(d->seed, HONE_STREAM_INIT, (uint64_t)i / 4, d->key);
        for (int64_t k = 0; k < 4 && i + k < end; k++)
            d->x[i + k] = (float)((2.0 * hone_uniform(r.v[k]) - 1.0) * d->fill->a);
    }
}

/* Box & Muller (1958): two uniforms give two normals. u is kept off 0, so the tail ends at 5.8
 * deviations. Not cut elsewhere: timm's trunc_normal_ cuts at +-2 absolute, a hundred deviations away. */
static void draw_normal(const drawing *d, int64_t begin, int64_t end)
{
    static const float two_pi = 6.28318530717958647692f;
    /* float throughout: a random draw needs no more digits */
    float std = (float)d->fill->a;
    for (int64_t i = begin; i < end; i += 4) {
        hone_philox4 r = hone_philox(d->seed, HONE_STREAM_INIT, (uint64_t)i / 4, d->key);
        float z[4];
        for (int k = 0; k < 4; k += 2) {
            float radius = std * sqrtf(-2.0f * logf(1.0f - hone_uniform(r.v[k])));
            float phase = two_pi * hone_uniform(r.v[k + 1]);
            z[k] = radius * cosf(phase);
            z[k + 1] = radius * sinf(phase);
        }
        for (int64_t k = 0; k < 4 && i + k < end; k++) d->x[i + k] = z[k];
    }
}

/* Callback of hone_parallel_for; it can't fail. */
static hone_status draw_chunk(void *arg, int64_t chunk)
{
    const drawing *d = arg;
    /* the last chunk is short */
    int64_t begin = chunk * CHUNK, end = begin + CHUNK < d->n ? begin + CHUNK : d->n;
    if (d->fill->kind == HONE_FILL_NORMAL) draw_normal(d, begin, end);
    else draw_uniform(d, begin, end);
    return HONE_OK;
}

/* x (T, C): sin at even, cos at odd columns of t / 10000^(2j/C), j = column / 2. */
static void fill_sincos(float *x, int64_t t_count, int64_t c_count)
{
    for (int64_t t = 0; t < t_count; t++)
        for (int64_t c = 0; c < c_count; c++) {
            double angle = (double)t / pow(10000.0, (double)(c - c % 2) / (double)c_count);
            x[t * c_count + c] = (float)(c % 2 ? cos(angle) : sin(angle));
        }
}

/* p->value (count) in file order. No error but those of starting threads. */
hone_status hone_fill_values(const hone_param *p, const hone_fill *f, uint64_t seed)
{
    drawing d = {.x = p->value, .n = p->count, .fill = f, .seed = seed, .key = name_hash(p->name)};
    int64_t last = p->dim[p->rank - 1], chunks = (p->count + CHUNK - 1) / CHUNK;
    switch (f->kind) {
    case HONE_FILL_CONST:
        for (int64_t i = 0; i < p->count; i++) p->value[i] = (float)f->a;
        break;
    case HONE_FILL_SINCOS: fill_sincos(p->value, p->count / last, last); break;
    case HONE_FILL_UNIFORM:
    case HONE_FILL_NORMAL: /* threads pay from a few chunks on */
        return hone_parallel_for(chunks > 3 ? hone_cpu_count() : 1, chunks, draw_chunk, &d);
    }
    return HONE_OK;
}

/* --- the set of a model's parameters ------------------------------------------------------------------- */

static const int64_t VALUES_MAX = INT64_C(1) << 31; /* 8 GiB of host copies: far over any net trained here */

/* Three arrays in step; a failed one leaves the others larger, which is harmless. */
static bool grow(hone_param_set *s)
{
    int capacity = s->capacity ? 2 * s->capacity : 64;
    hone_param *item = realloc(s->item, (size_t)capacity * sizeof *item);
    if (item) s->item = item;
    hone_fill *fill = realloc(s->fill, (size_t)capacity * sizeof *fill);
    if (fill) s->fill = fill;
    int32_t *layer = realloc(s->layer, (size_t)capacity * sizeof *layer);
    if (layer) s->layer = layer;
    if (item && fill && layer) s->capacity = capacity;
    return item && fill && layer;
}

/* The total is bounded here, at the one place where memory is taken by a number of the page. */
hone_status hone_param_set_add(hone_param_set *s, const hone_param *p, const hone_fill *f, int32_t layer)
{
    int64_t total = p->count;
    for (int k = 0; k < s->count; k++) total += s->item[k].count;
    if (p->count > VALUES_MAX || total > VALUES_MAX)
        return hone_fail(HONE_ERR_USAGE, "make the layers smaller", "%s: the model would have over 2^31 values",
                         p->name);
    if (s->count == s->capacity && !grow(s)) return hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted");
    float *value = hone_big_alloc((size_t)p->count * sizeof *value);
    if (!value)
        return hone_fail(HONE_ERR_MEMORY, "make the layers smaller", "%s: no memory for %lld values", p->name,
                         (long long)p->count);
    s->item[s->count] = *p;
    s->item[s->count].value = value;
    s->fill[s->count] = *f;
    s->layer[s->count++] = layer;
    return HONE_OK;
}

/* -1 if it is not there. Linear: called while building and loading only. */
int hone_param_set_find(const hone_param_set *s, const char *name)
{
    for (int k = 0; k < s->count; k++)
        if (strcmp(s->item[k].name, name) == 0) return k;
    return -1;
}

/* Fine on a zeroed set. */
void hone_param_set_free(hone_param_set *s)
{
    for (int k = 0; k < s->count; k++)
        if (!s->item[k].borrowed) free(s->item[k].value);
    free(s->item);
    free(s->fill);
    free(s->layer);
    *s = (hone_param_set){0};
}
