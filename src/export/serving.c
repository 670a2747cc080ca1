/* serving.c - see serving.h. The model's own file is written first: what a failure leaves behind has no config yet. */
#include "export/serving.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "core/text.h"
#include "export/export.h"
#include "io/file.h"

enum { MODEL_LIMIT_BYTES = 2147483647, BATCH_MOST = 64 };

/* What the two formats call a type of ours; inputs have no others. */
typedef struct type_name {
    hone_onnx_type type;
    const char *triton, *numpy;
} type_name;

/* Of a type that a graph's input or output has. */
static const type_name *name_of(hone_onnx_type type)
{
    static const type_name table[] = {{HONE_ONNX_FLOAT, "TYPE_FP32", "float32"},
                                      {HONE_ONNX_UINT8, "TYPE_UINT8", "uint8"},
                                      {HONE_ONNX_INT64, "TYPE_INT64", "int64"}};
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
        if (table[k].type == type) return &table[k];
    return &table[0]; /* outputs are fp32 in every precision */
}

/* --- Triton -------------------------------------------------------------------------------------------------- */

/* A server may join requests where the first axis of everything is the batch; ragged texts have another one. */
static bool has_batch_axis(const hone_onnx *m)
{
    bool all = true;
    for (int k = 0; k < m->input_count; k++)
        all = all && m->input[k].rank > 1 && m->input[k].param[0] && strcmp(m->input[k].param[0], "N") == 0;
    return all;
}

/* "3, 224, 224": without the batch axis where the server adds it; free axes as `open`. */
static void add_dims(hone_text *t, const hone_onnx_value *v, int from, const char *open)
{
    for (int d = from; d < v->rank; d++) {
        if (d > from) hone_text_add(t, ", ");
        if (v->param[d]) hone_text_add(t, "%s", open);
        else hone_text_add(t, "%lld", (long long)v->dim[d]);
    }
}

/* Zeros of the smallest size: the first request should not pay for the session's start. */
static void add_warm_up(hone_text *t, const hone_onnx *m, int from)
{
    hone_text_add(t, "model_warmup [\n  {\n    name: \"zeros\"\n    batch_size: %d\n", from);
    for (int k = 0; k < m->input_count; k++) {
        hone_text_add(t, "    inputs {\n      key: \"%s\"\n      value: { data_type: %s, dims: [ ", m->input[k].name,
                      name_of(m->input[k].type)->triton);
        add_dims(t, &m->input[k], from, "1");
        hone_text_add(t, " ], zero_data: true }\n    }\n");
    }
    hone_text_add(t, "  }\n]\n");
}

/* Protobuf's text form. Labels belong to the probabilities: Triton's classification extension then names classes. */
static char *triton_config(const char *name, const hone_onnx *m)
{
    hone_text t = {0};
    int from = has_batch_axis(m);
    hone_text_add(&t, "name: \"%s\"\nbackend: \"onnxruntime\"\nmax_batch_size: %d\n", name, from ? BATCH_MOST : 0);
    for (int side = 0; side < 2; side++) {
        int count = side ? m->output_count : m->input_count;
        hone_text_add(&t, "%s [\n", side ? "output" : "input");
        for (int k = 0; k < count; k++) {
            const hone_onnx_value *v = side ? &m->output[k] : &m->input[k];
            hone_text_add(&t, "  {\n    name: \"%s\"\n    data_type: %s\n    dims: [ ", v->name,
                          name_of(v->type)->triton);
            add_dims(&t, v, from, "-1");
            hone_text_add(&t, " ]\n");
            if (strcmp(v->name, "probabilities") == 0) hone_text_add(&t, "    label_filename: \"labels.txt\"\n");
            hone_text_add(&t, "  }%s\n", k + 1 < count ? "," : "");
        }
        hone_text_add(&t, "]\n");
    }
    if (from) hone_text_add(&t, "dynamic_batching { max_queue_delay_microseconds: 500 }\n");
    add_warm_up(&t, m, from);
    return hone_text_take(&t);
}

/* The name becomes a folder and a part of URLs. */
static hone_status check_name(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (*name && strlen(name) < 128 && !name[strspn(name, good)]) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "letters, digits, _ and -", "'%.130s' can't be the name of a served model", name);
}

/* --- MLflow -------------------------------------------------------------------------------------------------- */

/* '[{"type": "tensor", "tensor-spec": {...}, "name": "input"}]' of one side. */
static void add_signature(hone_text *t, const hone_onnx_value *v, int count)
{
    hone_text_add(t, "'[");
    for (int k = 0; k < count; k++) {
        hone_text_add(t, "%s{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"%s\", \"shape\": [", k ? ", " : "",
                      name_of(v[k].type)->numpy);
        add_dims(t, &v[k], 0, "-1");
        hone_text_add(t, "]}, \"name\": \"%s\"}", v[k].name);
    }
    hone_text_add(t, "]'\n");
}

/* The uuid is a hash of the model: the same model has the same one. */
static char *mlmodel(const hone_onnx *m, XXH128_hash_t hash)
{
    hone_text t = {0};
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S.000000", &utc);
    hone_text_add(
        &t, "flavors:\n  onnx:\n    code: null\n    data: model.onnx\n    onnx_version: 1.16.0\n    providers:\n    - "
            "CPUExecutionProvider\n  python_function:\n    data: model.onnx\n    env:\n      conda: conda.yaml\n"
            "      virtualenv: python_env.yaml\n    loader_module: mlflow.onnx\nmlflow_version: 2.14.0\n");
    hone_text_add(&t, "model_uuid: %016llx%016llx\nutc_time_created: '%s'\nsignature:\n  inputs: ",
                  (unsigned long long)hash.high64, (unsigned long long)hash.low64, when);
    add_signature(&t, m->input, m->input_count);
    hone_text_add(&t, "  outputs: ");
    add_signature(&t, m->output, m->output_count);
    return hone_text_take(&t);
}

/* Environments for those who let MLflow build one. */
static hone_status write_environments(const char *folder)
{
    HONE_TRY(hone_export_file(folder, "requirements.txt", "mlflow>=2.9\nnumpy\nonnx>=1.12\nonnxruntime>=1.12\n"));
    HONE_TRY(hone_export_file(folder, "python_env.yaml",
                              "python: '3.11'\nbuild_dependencies:\n- pip\n- setuptools\n- wheel\ndependencies:\n- -r "
                              "requirements.txt\n"));
    return hone_export_file(folder, "conda.yaml",
                            "name: hone\nchannels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip\n- pip:\n  - "
                            "mlflow>=2.9\n  - numpy\n  - onnx>=1.12\n  - onnxruntime>=1.12\n");
}

/* --- both ------------------------------------------------------------------------------------------------------ */

/* FOLDER/model.onnx, checked; `graph` gets its inputs and outputs, *hash (may be NULL) that of the file. */
static hone_status write_model(const char *model_path, const char *folder, const hone_onnx_export_opts *o,
                               hone_onnx_report *report, hone_onnx *graph, XXH128_hash_t *hash)
{
    char *path = hone_io_join(folder, "model.onnx"), *data = NULL;
    size_t bytes = 0;
    hone_status status = path ? hone_make_dirs(folder) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_onnx_export(model_path, path, o, report);
    if (status == HONE_OK) status = hone_onnx_read(path, graph);
    if (status == HONE_OK && hash) status = hone_file_read(path, MODEL_LIMIT_BYTES, &data, &bytes);
    if (status == HONE_OK && hash) *hash = XXH3_128bits(data, bytes);
    free(data);
    free(path);
    return status;
}

/* config.pbtxt comes last: a server that polls the repository must not meet a version without its file. */
hone_status hone_export_triton(const char *model_path, const char *repository, const char *name,
                               const hone_onnx_export_opts *o, hone_onnx_report *report)
{
    hone_saved saved;
    hone_onnx graph = {0};
    HONE_TRY(check_name(name));
    HONE_TRY(hone_saved_open(model_path, &saved));
    char *folder = hone_io_join(repository, name), *version = folder ? hone_io_join(folder, "1") : NULL, *config = NULL;
    hone_status status = version ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = write_model(model_path, version, o, report, &graph, NULL);
    if (status == HONE_OK) status = hone_export_labels(saved.model, folder);
    if (status == HONE_OK) status = hone_export_tokenizer(&saved, folder, true);
    if (status == HONE_OK) config = triton_config(name, &graph);
    if (status == HONE_OK) status = hone_export_file(folder, "config.pbtxt", config);
    hone_onnx_free(&graph);
    hone_saved_close(&saved);
    free(config);
    free(version);
    free(folder);
    return status;
}

/* MLmodel comes last: with it the folder is a model. */
hone_status hone_export_mlflow(const char *model_path, const char *folder, const hone_onnx_export_opts *o,
                               hone_onnx_report *report)
{
    hone_saved saved;
    hone_onnx graph = {0};
    XXH128_hash_t hash = {0};
    const hone_architecture *a = NULL;
    HONE_TRY(hone_saved_open(model_path, &saved));
    hone_status status = write_model(model_path, folder, o, report, &graph, &hash);
    if (status == HONE_OK) status = hone_architecture_find(saved.model, &a);
    if (status == HONE_OK) status = hone_export_labels(saved.model, folder);
    if (status == HONE_OK) status = hone_export_tokenizer(&saved, folder, true);
    if (status == HONE_OK) status = hone_export_card(&saved, a, NULL, folder);
    if (status == HONE_OK) status = write_environments(folder);
    char *text = status == HONE_OK ? mlmodel(&graph, hash) : NULL;
    if (status == HONE_OK) status = hone_export_file(folder, "MLmodel", text);
    free(text);
    hone_onnx_free(&graph);
    hone_saved_close(&saved);
    return status;
}
