/* export_onnx.c - `hone export --to onnx`: its flags, and the lines that say what was written and how it was tried. */
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "core/text.h"
#include "export/export.h"
#include "hone/io.h"
#include "io/file.h"
#include "onnx/export.h"

/* Mistakes to be found, planted by tests through HONE_ONNX_FAULT=NAME. */
static hone_onnx_fault planted_fault(void)
{
    static const char *const name[HONE_ONNX_FAULT_COUNT] = {"",        "pads",  "epsilon", "transpose", "heads",
                                                            "flatten", "mean",  "mask",    "places",    "types",
                                                            "gates",   "reset", "reverse"};
    const char *given = getenv("HONE_ONNX_FAULT");
    for (int k = 1; given && k < HONE_ONNX_FAULT_COUNT; k++)
        if (strcmp(given, name[k]) == 0) return (hone_onnx_fault)k;
    return HONE_ONNX_FAULT_NONE;
}

/* Shared with the folders that hold such a file (export_serving.c). */
hone_status hone_cli_onnx_flags(const hone_cli *cli, hone_onnx_export_opts *o)
{
    bool inside = hone_cli_value(cli, "--with-preprocess") != NULL;
    int64_t opset = 17;
    HONE_TRY(hone_cli_int(cli, "--opset", 13, 21, &opset));
    *o = (hone_onnx_export_opts){.lower = {.opset = (int)opset,
                                           .keep_norms = hone_cli_value(cli, "--no-fold") != NULL,
                                           .preprocess = inside,
                                           .fault = planted_fault()},
                                 .fp16 = hone_cli_value(cli, "--fp16") != NULL,
                                 .int8 = hone_cli_value(cli, "--int8") != NULL,
                                 .threads = cli->threads};
    if (o->fp16 && o->int8)
        return hone_fail(HONE_ERR_USAGE, "give one of them", "--fp16 and --int8 exclude each other");
    return HONE_OK;
}

/* RUN/export/onnx/model.onnx without -o; the folder is made. */
static hone_status choose_path(const hone_cli *cli, const char *out, char **path, char **folder)
{
    hone_saved saved;
    HONE_TRY(hone_saved_open(cli->arg[0], &saved));
    *path = out ? hone_strdup(out) : hone_io_join(saved.run_dir, "export/onnx/model.onnx");
    *folder = *path ? hone_path_parent(*path) : NULL;
    hone_status status = *folder ? hone_make_dirs(*folder) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_export_labels(saved.model, *folder);
    /* a folder that the user names may hold another model's */
    if (status == HONE_OK) status = hone_export_tokenizer(&saved, *folder, out == NULL);
    hone_saved_close(&saved);
    return status;
}

static hone_status say(const hone_cli *cli, const char *path, const hone_onnx_export_opts *o, const hone_onnx_report *r)
{
    hone_text t = {0};
    char size[32];
    if (cli->json) {
        hone_text_add(&t, "{\"format\": \"onnx\", \"path\": ");
        hone_text_json(&t, path);
        hone_text_add(&t, ", \"opset\": %d, \"nodes\": %d, \"bytes\": %llu, \"max_difference\": %.3g, \"checked_on\": ",
                      o->lower.opset, r->nodes, (unsigned long long)r->bytes, r->difference);
        hone_text_json(&t, r->source);
        if (r->judged)
            hone_text_add(&t, ", \"accuracy_before\": %.6f, \"accuracy_after\": %.6f, \"judged\": %lld",
                          r->accuracy_before, r->accuracy_after, (long long)r->judged);
        hone_text_add(&t, "}");
    } else {
        hone_text_add(&t,
                      "%s: opset %d, %d nodes, %s; read back and tried on %s: probabilities within %.2g of hone's%s",
                      path, o->lower.opset, r->nodes, hone_cli_bytes((double)r->bytes, size, sizeof size), r->source,
                      r->difference, r->by_definition ? " by the ref dialect" : "");
        if (r->judged)
            hone_text_add(&t, "\nint8: accuracy %.4f before, %.4f after, on %lld samples", r->accuracy_before,
                          r->accuracy_after, (long long)r->judged);
    }
    char *line = hone_text_take(&t);
    if (!line) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    puts(line);
    free(line);
    return HONE_OK;
}

static hone_status run(const hone_cli *cli, const char *out)
{
    hone_onnx_export_opts o;
    hone_onnx_report report;
    char *path = NULL, *folder = NULL;
    HONE_TRY(hone_cli_onnx_flags(cli, &o));
    hone_status status = choose_path(cli, out, &path, &folder);
    if (status == HONE_OK) status = hone_onnx_export(cli->arg[0], path, &o, &report);
    if (status == HONE_OK) status = say(cli, path, &o, &report);
    free(path);
    free(folder);
    return status;
}

const char *const hone_cli_onnx_takes[] = {"--opset", "--no-fold", "--with-preprocess", "--fp16", "--int8", NULL};

const hone_cli_export hone_cli_export_onnx = {
    .name = "onnx", .summary = "a graph for onnxruntime and others", .flags = hone_cli_onnx_takes, .run = run};
