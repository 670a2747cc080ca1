/* weights.c - between a model's named parameters and arrays of a file (saved.h): by name, checked by
 * shape, never by position. It converts F16, BF16 and F64 to float and reports all that it left out. */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/saved.h"

/* IEEE half to float: sign, 5 bits of exponent (bias 15), 10 of fraction. */
static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023, bits;
    float f;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in float */
        f = (float)fraction * 5.9604644775390625e-8f;
        return sign ? -f : f;
    }
    /* 112 = 127 - 15: the difference of the biases; 31 is infinity or NaN */
    bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | fraction << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Any float type of a file to the fp32 of the model; false for integers. */
static bool to_floats(const hone_blob *b, float *out, int64_t count)
{
    switch (b->dtype) {
    case HONE_F32:
        if (out != b->data) memcpy(out, b->data, (size_t)count * sizeof *out);
        return true;
    case HONE_F64:
        for (int64_t k = 0; k < count; k++) out[k] = (float)((const double *)b->data)[k];
        return true;
    case HONE_F16:
        for (int64_t k = 0; k < count; k++) out[k] = half_to_float(((const uint16_t *)b->data)[k]);
        return true;
    case HONE_BF16:
        for (int64_t k = 0; k < count; k++) {
            uint32_t bits = (uint32_t)((const uint16_t *)b->data)[k] << 16;
            memcpy(&out[k], &bits, sizeof bits);
        }
        return true;
    default: return false;
    }
}

/* Equal rank and dims, dims before `from` not looked at. */
static bool same_shape(const hone_param *p, const hone_blob *b, int from)
{
    if (p->rank != b->rank) return false;
    for (int k = from; k < p->rank; k++)
        if (p->dim[k] != b->dim[k]) return false;
    return true;
}

/* "(10, 512)" of either side. */
static void add_shape(hone_text *t, int32_t rank, const int64_t *dim)
{
    hone_text_add(t, "(");
    for (int k = 0; k < rank; k++) hone_text_add(t, k ? ", %lld" : "%lld", (long long)dim[k]);
    hone_text_add(t, ")");
}

/* Names both shapes: a transposed array has the right size and is still wrong. */
static hone_status fail_shape(const char *name, const hone_param *p, const hone_blob *b)
{
    hone_text t = {0};
    add_shape(&t, b->rank, b->dim);
    hone_text_add(&t, ", the model needs ");
    add_shape(&t, p->rank, p->dim);
    char *text = hone_text_take(&t);
    hone_fail(HONE_ERR_DATA, "the file belongs to another model; see `hone plan` for this one's shapes",
              "%s: %s has shape %s", name, p->name, text ? text : "?");
    free(text);
    return HONE_ERR_DATA;
}

/* Names what is closest, for files whose names have a prefix or a typo. */
static hone_status fail_missing(const hone_safetensors *file, const char *name, const hone_param *p)
{
    int count = hone_safetensors_count(file);
    const char **names = malloc(((size_t)count + 1) * sizeof *names);
    for (int k = 0; k < count && names; k++) names[k] = hone_safetensors_blob(file, k)->name;
    const char *close = names ? hone_did_you_mean(p->name, names, count) : NULL;
    hone_fail(HONE_ERR_DATA, "the file belongs to another model", "%s: no array %s%s%s%s", name, p->name,
              close ? " (is it " : "", close ? close : "", close ? "?)" : "");
    free(names);
    return HONE_ERR_DATA;
}

/* A head of another class count is set anew; nothing else may differ in shape. */
static bool is_other_head(const hone_model *m, const hone_param *p, const hone_blob *b)
{
    return p->rank >= 1 && p->dim[0] == hone_model_classes(m) && b->rank >= 1 && b->dim[0] != p->dim[0] &&
           same_shape(p, b, 1);
}

/* One parameter: loaded, left with a note, or an error. */
static hone_status load_one(hone_model *m, hone_param *p, const hone_safetensors *file, const char *name, bool strict,
                            hone_weights_report *r, hone_text *notes)
{
    const hone_blob *b = hone_safetensors_find(file, p->name);
    if (!b && strict) return fail_missing(file, name, p);
    if (!b) {
        hone_text_add(notes, "%s is not in the file: set anew\n", p->name);
        return HONE_OK;
    }
    if (!same_shape(p, b, 0)) {
        if (strict || !is_other_head(m, p, b)) return fail_shape(name, p, b);
        hone_text_add(notes, "%s has shape ", p->name);
        add_shape(notes, b->rank, b->dim);
        hone_text_add(notes, " in the file, ");
        add_shape(notes, p->rank, p->dim);
        hone_text_add(notes, " here: the head is set anew\n");
        return HONE_OK;
    }
    if (!to_floats(b, p->value, p->count))
        return hone_fail(HONE_ERR_DATA, "weights are F32, F64, F16 or BF16", "%s: %s has dtype %s", name, p->name,
                         hone_dtype_name(b->dtype));
    r->loaded++;
    return HONE_OK;
}

/* Above this a copy costs more than it is worth: fresh pages, and the pass over them. */
enum { BORROW_FROM = 1 << 20 };

void hone_weights_borrow(hone_model *m, const hone_safetensors *file)
{
    for (int k = 0; k < hone_model_param_count(m); k++) {
        hone_param *p = hone_model_param(m, k);
        const hone_blob *b = hone_safetensors_find(file, p->name);
        if (!b || b->dtype != HONE_F32 || p->count < BORROW_FROM || !same_shape(p, b, 0) || p->borrowed) continue;
        free(p->value);
        p->value = (float *)(uintptr_t)b->data;
        p->borrowed = true;
    }
}

/* A file that fits nothing at all is another model's, strict or not. */
hone_status hone_weights_load(hone_model *m, const hone_safetensors *file, const char *name, bool strict,
                              hone_weights_report *report)
{
    hone_text notes = {0};
    hone_status status = HONE_OK;
    int found = 0;
    *report = (hone_weights_report){.params = hone_model_param_count(m)};
    for (int k = 0; k < report->params && status == HONE_OK; k++)
        status = load_one(m, hone_model_param(m, k), file, name, strict, report, &notes);
    for (int k = 0; k < hone_safetensors_count(file) && status == HONE_OK; k++)
        found += hone_model_find_param(m, hone_safetensors_blob(file, k)->name) != NULL;
    /* counters such as num_batches_tracked and heads of other tasks end up here */
    report->unused = hone_safetensors_count(file) - found;
    report->notes = hone_text_take(&notes);
    if (status == HONE_OK && !report->notes) status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", name);
    if (status == HONE_OK && report->loaded == 0 && report->params > 0)
        status = fail_missing(file, name, hone_model_param(m, 0));
    if (status != HONE_OK) {
        free(report->notes);
        report->notes = NULL;
    }
    return status;
}

/* Names and values stay the model's: valid until it is freed or downloaded into again. */
hone_blob *hone_weights_blobs(hone_model *m, int *count)
{
    *count = hone_model_param_count(m);
    hone_blob *blob = calloc((size_t)*count + 1, sizeof *blob);
    for (int k = 0; k < *count && blob; k++) {
        const hone_param *p = hone_model_param(m, k);
        blob[k] = (hone_blob){p->name, HONE_F32, p->rank, {0}, p->value, (size_t)p->count * sizeof(float)};
        memcpy(blob[k].dim, p->dim, sizeof p->dim);
    }
    return blob;
}
