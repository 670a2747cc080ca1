/* weights.c - between a model's named parameters and arrays of a file (saved.h): by name, checked by
 * shape, never by position. It converts F16, BF16 and F64 to float and reports all that it left out. */
#include <math.h>
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

/* --- names of other libraries ------------------------------------------------------------------------------ */

/* Without the prefix that a model with a head has and its body alone has not. */
static const char *without_base(const char *name)
{
    static const char *const base[] = {"bert.", "distilbert."};
    for (size_t k = 0; k < sizeof base / sizeof *base; k++)
        if (strncmp(name, base[k], strlen(base[k])) == 0) return name + strlen(base[k]);
    return name;
}

/* Old checkpoints of BERT call the weight and bias of a norm gamma and beta. */
static bool same_name(const char *param, const char *array)
{
    static const char *const word[2][2] = {{".weight", ".gamma"}, {".bias", ".beta"}};
    /* prefixes off both sides: a file of the body fits a page with a head, and the other way round */
    const char *a = without_base(param), *b = without_base(array);
    if (strcmp(a, b) == 0) return true;
    for (int k = 0; k < 2; k++) {
        size_t n = strlen(a), m = strlen(b), x = strlen(word[k][0]), y = strlen(word[k][1]);
        if (n > x && m > y && n - x == m - y && strncmp(a, b, n - x) == 0 && strcmp(a + n - x, word[k][0]) == 0 &&
            strcmp(b + m - y, word[k][1]) == 0)
            return true;
    }
    return false;
}

/* The array of a parameter: of its very name, else (unless `strict`) of the name that it has elsewhere; or NULL. */
static const hone_blob *find_array(const hone_safetensors *file, const char *param, bool strict)
{
    const hone_blob *b = hone_safetensors_find(file, param);
    for (int k = 0; !b && !strict && k < hone_safetensors_count(file); k++)
        if (same_name(param, hone_safetensors_blob(file, k)->name)) b = hone_safetensors_blob(file, k);
    return b;
}

/* Whether an array is the one of some parameter. */
static bool has_place(hone_model *m, const hone_safetensors *file, const char *array, bool strict)
{
    if (hone_model_find_param(m, array)) return true;
    for (int k = 0; k < hone_model_param_count(m) && !strict; k++) {
        const hone_blob *b = find_array(file, hone_model_param(m, k)->name, false);
        if (b && strcmp(b->name, array) == 0) return true;
    }
    return false;
}

/* The array of the file that most likely means parameter `name`: a typo away, or with a prefix ("module.fc.weight").
 * Arrays that are parameters by their own names mean those. */
static const char *closest_in_file(hone_model *m, const hone_safetensors *file, const char *name)
{
    int count = hone_safetensors_count(file), free_count = 0;
    const char **names = malloc(((size_t)count + 1) * sizeof *names), *close = NULL;
    size_t n = strlen(name);
    /* what is claimed already is out of the race, and can make no tie */
    for (int k = 0; k < count && names; k++) {
        const char *other = hone_safetensors_blob(file, k)->name;
        if (!hone_model_find_param(m, other)) names[free_count++] = other;
    }
    /* a typo first, then a wrapper's prefix */
    if (names) close = hone_did_you_mean(name, names, free_count);
    for (int k = 0; k < free_count && !close; k++) {
        size_t length = strlen(names[k]);
        if (length > n && names[k][length - n - 1] == '.' && strcmp(names[k] + length - n, name) == 0) close = names[k];
    }
    free(names); /* what it pointed at is the file's */
    return close;
}

/* Names what is closest, for files whose names have a prefix or a typo. */
static hone_status fail_missing(hone_model *m, const hone_safetensors *file, const char *name, const hone_param *p)
{
    const char *close = closest_in_file(m, file, p->name);
    return hone_fail(HONE_ERR_DATA, "the file belongs to another model", "%s: no array %s%s%s%s", name, p->name,
                     close ? " (is it " : "", close ? close : "", close ? "?)" : "");
}

/* A head of another class count is set anew; nothing else may differ in shape. */
static bool is_other_head(const hone_model *m, const hone_param *p, const hone_blob *b)
{
    return p->rank >= 1 && p->dim[0] == hone_model_classes(m) && b->rank >= 1 && b->dim[0] != p->dim[0] &&
           same_shape(p, b, 1);
}

/* A first convolution for RGB where the model sees grey: (O, 3, kh, kw) against (O, 1, kh, kw). */
static bool is_colour(const hone_param *p, const hone_blob *b)
{
    return p->rank == 4 && b->rank == 4 && p->dim[1] == 1 && b->dim[1] == 3 && p->dim[0] == b->dim[0] &&
           p->dim[2] == b->dim[2] && p->dim[3] == b->dim[3];
}

/* Grey is R = G = B, whose answer is the sum of the three filters: what timm does, too. */
static hone_status sum_colours(hone_param *p, const hone_blob *b, const char *name)
{
    int64_t window = p->dim[2] * p->dim[3];
    float *all = malloc((size_t)p->count * 3 * sizeof *all); /* (O, 3, kh, kw) */
    if (!all) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for %s", name, p->name);
    bool real = to_floats(b, all, 3 * p->count);
    for (int64_t k = 0; k < p->count && real; k++) {
        /* filter o, place i of the window: three planes of `window` values each */
        const float *rgb = all + k / window * 3 * window + k % window;
        p->value[k] = rgb[0] + rgb[window] + rgb[2 * window];
    }
    free(all);
    return real ? HONE_OK
                : hone_fail(HONE_ERR_DATA, "weights are F32, F64, F16 or BF16", "%s: %s has dtype %s", name, p->name,
                            hone_dtype_name(b->dtype));
}

/* Whether all of `count` values are numbers: their exponents are not all ones. No branch, so that the compiler makes a
 * pass at the speed of memory of it; tables have billions of values. */
static bool all_finite(const float *x, int64_t count)
{
    uint32_t bad = 0;
    for (int64_t k = 0; k < count; k++) {
        uint32_t bits;
        memcpy(&bits, &x[k], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return !bad;
}

/* A net with a value that is not a number answers with such: better told here, by the place. */
static hone_status check_finite(const hone_param *p, const char *name)
{
    if (all_finite(p->value, p->count)) return HONE_OK;
    int64_t k = 0;
    while (isfinite(p->value[k])) k++;
    return hone_fail(HONE_ERR_DATA, "the run diverged or the file is damaged; take an earlier one",
                     "%s: %s holds %f at element %lld", name, p->name, (double)p->value[k], (long long)k);
}

/* One parameter: loaded, left with a note, or an error. */
static hone_status load_one(hone_model *m, hone_param *p, const hone_safetensors *file, const char *name, bool strict,
                            hone_weights_report *r, hone_text *notes)
{
    const hone_blob *b = find_array(file, p->name, strict);
    if (!b && strict) return fail_missing(m, file, name, p);
    if (!b) {
        const char *close = closest_in_file(m, file, p->name);
        hone_text_add(notes, "%s is not in the file%s%s%s: set anew\n", p->name, close ? " (is it " : "",
                      close ? close : "", close ? "?)" : "");
        return HONE_OK;
    }
    if (!strict && is_colour(p, b)) {
        HONE_TRY(sum_colours(p, b, name));
        hone_text_add(notes, "%s has filters for RGB in the file: summed for grey\n", p->name);
        r->loaded++;
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
    return check_finite(p, name);
}

/* The parameter that `name` was likely meant to be, of those that the file lacks; NULL where none is near. */
static const char *closest_in_model(hone_model *m, const hone_safetensors *file, const char *name)
{
    int count = hone_model_param_count(m), free_count = 0;
    const char **names = malloc(((size_t)count + 1) * sizeof *names);
    for (int k = 0; k < count && names; k++) {
        const char *other = hone_model_param(m, k)->name;
        if (!hone_safetensors_find(file, other)) names[free_count++] = other;
    }
    const char *close = names ? hone_did_you_mean(name, names, free_count) : NULL;
    free(names); /* what it pointed at is the model's */
    return close;
}

/* Arrays of the file that no parameter has the name of; the first LISTED by name, with what they may be. Step counters
 * of batch norms are no weights and do not count. Returns the first of the others, or NULL. */
static const char *note_unused(hone_model *m, const hone_safetensors *file, bool strict, hone_weights_report *r,
                               hone_text *notes)
{
    enum { LISTED = 20 };
    static const char counter[] = ".num_batches_tracked";
    int listed = 0, more = 0;
    const char *first = NULL;
    for (int k = 0; k < hone_safetensors_count(file); k++) {
        const char *name = hone_safetensors_blob(file, k)->name;
        size_t n = strlen(name), tail = sizeof counter - 1;
        if (has_place(m, file, name, strict)) continue;
        if (n > tail && strcmp(name + n - tail, counter) == 0) continue;
        r->unused++;
        if (!first) first = name;
        /* a file of another net would fill the screen */
        if (listed == LISTED) {
            more++;
            continue;
        }
        const char *close = closest_in_model(m, file, name);
        hone_text_add(notes, "%s of the file has no place in the model%s%s%s\n", name, close ? " (did you mean " : "",
                      close ? close : "", close ? "?)" : "");
        listed++;
    }
    if (more > 0) hone_text_add(notes, "%d more arrays of the file have no place in the model\n", more);
    return first;
}

/* A file that holds more than the model is another model's. */
static hone_status fail_stranger(hone_model *m, const hone_safetensors *file, const char *name, const char *stranger)
{
    const char *close = closest_in_model(m, file, stranger);
    return hone_fail(HONE_ERR_DATA, "the file belongs to another model", "%s: the model has no parameter %s%s%s%s",
                     name, stranger, close ? " (did you mean " : "", close ? close : "", close ? "?)" : "");
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
    *report = (hone_weights_report){.params = hone_model_param_count(m)};
    for (int k = 0; k < report->params && status == HONE_OK; k++)
        status = load_one(m, hone_model_param(m, k), file, name, strict, report, &notes);
    const char *stranger =
        status == HONE_OK ? note_unused(m, file, strict, report, &notes) : NULL; /* heads of other tasks */
    if (stranger && strict) status = fail_stranger(m, file, name, stranger);
    report->notes = hone_text_take(&notes);
    if (status == HONE_OK && !report->notes) status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", name);
    if (status == HONE_OK && report->loaded == 0 && report->params > 0)
        status = fail_missing(m, file, name, hone_model_param(m, 0));
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
