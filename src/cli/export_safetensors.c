/* export_safetensors.c - `hone export --to safetensors`: its flags, and the lines that say what was written. */
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "core/text.h"
#include "export/export.h"
#include "hone/config.h"
#include "io/file.h"
#include "train/saved.h"

/* fp32 where --dtype is not given. */
static hone_status read_dtype(const hone_cli *cli, hone_dtype *out)
{
    static const char *const name[] = {"fp32", "fp16", "bf16"};
    static const hone_dtype dtype[] = {HONE_F32, HONE_F16, HONE_BF16};
    const char *given = hone_cli_value(cli, "--dtype");
    *out = HONE_F32;
    if (!given) return HONE_OK;
    for (int k = 0; k < 3; k++) {
        if (strcmp(given, name[k]) != 0) continue;
        *out = dtype[k];
        return HONE_OK;
    }
    const char *near = hone_did_you_mean(given, name, 3);
    return hone_fail(HONE_ERR_USAGE, "--dtype fp32, fp16 or bf16", "--dtype %.60s: unknown type%s%s%s", given,
                     near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

/* One line: where the weights came from and went, their type and size. */
static hone_status say(const hone_cli *cli, const hone_saved *saved, const char *out, hone_dtype dtype, size_t bytes)
{
    hone_text t = {0};
    char size[32];
    if (cli->json) {
        hone_text_add(&t, "{\"format\": \"safetensors\", \"path\": ");
        hone_text_json(&t, out);
        hone_text_add(&t, ", \"dtype\": \"%s\", \"bytes\": %zu}", hone_dtype_name(dtype), bytes);
    } else {
        hone_text_add(&t, "%s: weights of %s as %s, %s", out, saved->weights, hone_dtype_name(dtype),
                      hone_cli_bytes((double)bytes, size, sizeof size));
    }
    char *line = hone_text_take(&t);
    if (!line) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    puts(line);
    free(line);
    return HONE_OK;
}

/* Flags are checked before the model is loaded; -o names the folder itself. */
static hone_status run(const hone_cli *cli, const char *out)
{
    hone_saved saved;
    hone_dtype dtype;
    size_t bytes = 0;
    HONE_TRY(read_dtype(cli, &dtype));
    HONE_TRY(hone_saved_open(cli->arg[0], &saved));
    char *folder = out ? hone_strdup(out) : hone_io_join(saved.run_dir, "export/safetensors");
    hone_status status = folder ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_export_safetensors(&saved, dtype, folder, &bytes);
    if (status == HONE_OK) status = say(cli, &saved, folder, dtype, bytes);
    free(folder);
    hone_saved_close(&saved);
    return status;
}

static const char *const takes[] = {"--dtype", NULL};

const hone_cli_export hone_cli_export_safetensors = {
    .name = "safetensors", .summary = "weights for PyTorch, timm, transformers", .flags = takes, .run = run};
