/* safetensors.c - a folder of weights that other frameworks load (export.h). The model's parameters already have the
 * file layout and the names of PyTorch's nets; what is added here is the step counter of each batch norm, which those
 * state dicts hold, and the type of the numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "export/export.h"
#include "io/file.h"

/* Arrays of one file, some of them made here. */
typedef struct arrays {
    hone_blob *blob;                    /* (count)                                                                 */
    char (*name)[HONE_NAME_BYTES + 24]; /* (count) of the counters                                */
    void **converted;                   /* (count) NULL where the model's own memory is written                    */
    int count;
} arrays;

static const char MEAN[] = ".running_mean", COUNTER[] = "num_batches_tracked";
/* PyTorch reads the counter only where a batch norm has no momentum, which hone does not make. */
static const int64_t no_batches = 0;

/* Also of a half-made one. */
static void free_arrays(arrays *a)
{
    for (int k = 0; k < a->count && a->converted; k++) free(a->converted[k]);
    free(a->converted);
    free(a->blob);
    free(a->name);
}

/* "layer.running_mean" gets "layer.num_batches_tracked", a scalar. */
static void add_counter(arrays *a, const char *parameter)
{
    size_t n = strlen(parameter), tail = sizeof MEAN - 1;
    if (n < tail || strcmp(parameter + n - tail, MEAN) != 0) return;
    snprintf(a->name[a->count], sizeof a->name[0], "%.*s%s", (int)(n - tail + 1), parameter, COUNTER);
    a->blob[a->count] =
        (hone_blob){.name = a->name[a->count], .dtype = HONE_I64, .data = &no_batches, .bytes = sizeof no_batches};
    a->count++;
}

/* F32 is written from where it lies. */
static hone_status convert(arrays *a, int k, hone_dtype dtype)
{
    hone_blob *b = &a->blob[k];
    int64_t count = (int64_t)(b->bytes / sizeof(float));
    if (dtype == HONE_F32) return HONE_OK;
    /* 1 byte more, so that an empty array is no NULL */
    size_t bytes = (size_t)count * hone_dtype_bytes(dtype);
    a->converted[k] = malloc(bytes + 1);
    if (!a->converted[k]) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %s", b->name);
    if (!hone_reals_from_f32(dtype, b->data, a->converted[k], count))
        return hone_fail(HONE_ERR_USAGE, "fp32, fp16 or bf16", "weights can't be written as %s",
                         hone_dtype_name(dtype));
    b->data = a->converted[k];
    b->dtype = dtype;
    b->bytes = bytes;
    return HONE_OK;
}

/* Parameters first, then a counter for each running mean: at most twice as many. */
static hone_status make_arrays(hone_model *m, hone_dtype dtype, arrays *a)
{
    int count = hone_model_param_count(m);
    hone_blob *blob = hone_weights_blobs(m, &count);
    a->blob = blob ? realloc(blob, (2 * (size_t)count + 1) * sizeof *blob) : NULL;
    if (!a->blob) free(blob);
    a->name = calloc(2 * (size_t)count + 1, sizeof *a->name);
    a->converted = calloc(2 * (size_t)count + 1, sizeof *a->converted);
    if (!a->blob || !a->name || !a->converted)
        return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d arrays", count);
    a->count = count;
    for (int k = 0; k < count; k++) HONE_TRY(convert(a, k, dtype));
    for (int k = 0; k < count; k++) add_counter(a, a->blob[k].name);
    return HONE_OK;
}

/* model.safetensors, the name under which Hugging Face's and timm's loaders look. */
static hone_status write_weights(hone_model *m, hone_dtype dtype, const char *folder, size_t *bytes)
{
    arrays a = {0};
    char *path = hone_io_join(folder, "model.safetensors");
    hone_status status = path ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = make_arrays(m, dtype, &a);
    if (status == HONE_OK) status = hone_safetensors_write(path, a.blob, a.count, NULL);
    *bytes = 0;
    for (int k = 0; k < a.count && status == HONE_OK; k++) *bytes += a.blob[k].bytes;
    free_arrays(&a);
    free(path);
    return status;
}

/* Weights come last: whoever watches the folder finds it whole. */
hone_status hone_export_safetensors(hone_saved *s, hone_dtype dtype, const char *folder, size_t *bytes)
{
    char *json = hone_io_join(folder, "model.json");
    hone_status status = json ? hone_make_dirs(folder) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_model_save_json(s->model, json);
    free(json);
    HONE_TRY(status);
    const hone_architecture *a;
    hone_encoder encoder, *e;
    bool found;
    HONE_TRY(hone_architecture_find(s->model, &a));
    HONE_TRY(hone_encoder_find(s->model, &found, &encoder));
    e = found ? &encoder : NULL;
    HONE_TRY(hone_export_labels(s->model, folder));
    HONE_TRY(hone_export_config(s->model, a, e, folder));
    HONE_TRY(hone_export_card(s, a, e, folder));
    if (e) HONE_TRY(hone_encoder_tokenizer(s, e, folder));
    HONE_TRY(hone_export_tokenizer(s, folder, true));
    return write_weights(s->model, dtype, folder, bytes);
}
