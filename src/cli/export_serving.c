/* export_serving.c - `hone export --to triton` and `--to mlflow`: an ONNX file with what a server wants around it. */
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "core/text.h"
#include "export/serving.h"
#include "io/file.h"

/* RUN/export/FORMAT without -o, and the model's name; both are the caller's, on failure too. */
static hone_status choose_folder(const hone_cli *cli, const char *out, const char *format, char **folder, char **name)
{
    hone_saved saved;
    hone_text t = {0};
    HONE_TRY(hone_saved_open(cli->arg[0], &saved));
    if (out) hone_text_add(&t, "%s", out);
    else hone_text_add(&t, "%s/export/%s", saved.run_dir, format);
    /* the model is called like its run; "." and "/" have no name */
    const char *slash = strrchr(saved.run_dir, '/');
    *name = hone_strdup(slash ? slash + 1 : saved.run_dir);
    if (*name && (strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0 || !**name)) {
        free(*name);
        *name = hone_strdup("model");
    }
    *folder = hone_text_take(&t);
    hone_saved_close(&saved);
    return *folder && *name ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
}

/* One line, or an object with --json. */
static hone_status say(const hone_cli *cli, const char *format, const char *folder, const char *name,
                       const hone_onnx_report *r)
{
    hone_text t = {0};
    if (cli->json) {
        hone_text_add(&t, "{\"format\": \"%s\", \"path\": ", format);
        hone_text_json(&t, folder);
        hone_text_add(&t, ", \"model\": ");
        hone_text_json(&t, name);
        hone_text_add(&t, ", \"bytes\": %llu, \"max_difference\": %.3g}", (unsigned long long)r->bytes, r->difference);
    } else {
        hone_text_add(
            &t, "%s: model %s for %s; its ONNX file was read back and tried on %s: probabilities within %.2g of hone's",
            folder, name, format, r->source, r->difference);
    }
    char *line = hone_text_take(&t);
    if (!line) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    puts(line);
    free(line);
    return HONE_OK;
}

/* Both formats, told apart by `triton`. */
static hone_status write_folder(const hone_cli *cli, const char *out, bool triton)
{
    const char *format = triton ? "triton" : "mlflow";
    hone_onnx_export_opts o;
    hone_onnx_report report;
    char *folder = NULL, *name = NULL;
    HONE_TRY(hone_cli_onnx_flags(cli, &o));
    hone_status status = choose_folder(cli, out, format, &folder, &name);
    if (status == HONE_OK)
        status = triton ? hone_export_triton(cli->arg[0], folder, name, &o, &report)
                        : hone_export_mlflow(cli->arg[0], folder, &o, &report);
    if (status == HONE_OK) status = say(cli, format, folder, name, &report);
    free(folder);
    free(name);
    return status;
}

/* The rows of the table differ in this alone. */
static hone_status run_triton(const hone_cli *cli, const char *out) { return write_folder(cli, out, true); }
static hone_status run_mlflow(const hone_cli *cli, const char *out) { return write_folder(cli, out, false); }

const hone_cli_export hone_cli_export_triton = {
    .name = "triton", .summary = "a model repository", .flags = hone_cli_onnx_takes, .run = run_triton};
const hone_cli_export hone_cli_export_mlflow = {
    .name = "mlflow", .summary = "an MLflow model", .flags = hone_cli_onnx_takes, .run = run_mlflow};
