/* export.c - `hone export`: a trained model into a file that other programs read.
 *
 * The formats are rows of one table (export_table.c). A flag of another format is refused and not ignored: who
 * gives --opset to a format that has none has something else in mind. */
#include <string.h>

#include "cli/export.h"

/* The format of --to; USAGE that lists them all. */
static hone_status find_format(const char *name, const hone_cli_export **out)
{
    const char *known[16];
    char list[512] = "";
    int count = 0;
    for (; hone_cli_exports[count]; count++) {
        size_t used = strlen(list);
        known[count] = hone_cli_exports[count]->name;
        snprintf(list + used, sizeof list - used, "%s%s (%s)", count ? ", " : "", hone_cli_exports[count]->name,
                 hone_cli_exports[count]->summary);
        if (name && strcmp(name, hone_cli_exports[count]->name) == 0) {
            *out = hone_cli_exports[count];
            return HONE_OK;
        }
    }
    if (!name) return hone_fail(HONE_ERR_USAGE, list, "export needs a format: --to NAME");
    const char *near = hone_did_you_mean(name, known, count);
    return hone_fail(HONE_ERR_USAGE, list, "--to: no format '%.40s'%s%s%s", name, near ? " (did you mean " : "",
                     near ? near : "", near ? "?)" : "");
}

/* Flags that were given but that this format does not take. */
static hone_status check_flags(const hone_cli *cli, const hone_cli_export *format)
{
    for (int k = 0; cli->command->flag[k].name; k++) {
        const char *flag = cli->command->flag[k].name;
        bool takes = strcmp(flag, "--to") == 0 || strcmp(flag, "-o") == 0;
        for (const char *const *own = format->flags; !takes && *own; own++) takes = strcmp(flag, *own) == 0;
        if (cli->value[k] && !takes)
            return hone_fail(HONE_ERR_USAGE, "hone help export lists the flags of each format", "--to %s takes no %s",
                             format->name, flag);
    }
    return HONE_OK;
}

static int run(const hone_cli *cli)
{
    const hone_cli_export *format = NULL;
    HONE_TRY(find_format(hone_cli_value(cli, "--to"), &format));
    HONE_TRY(check_flags(cli, format));
    return (int)format->run(cli, hone_cli_value(cli, "-o"));
}

static const hone_cli_flag flags[] = {
    {"--to", "NAME", "the format, see above"},
    {"-o", "PATH", "where it goes"},
    {"--dtype", "fp32|fp16|bf16", "safetensors: type of the weights, default fp32"},
    {"--max-bytes", "N", "small: the file is no larger, default 10000000"},
    {"--opset", "N", "onnx: 13 to 21, default 17"},
    {"--no-fold", NULL, "onnx: batch norms stay nodes of their own"},
    {"--with-preprocess", NULL, "onnx: uint8 images (N,h,w,C) of any size go in"},
    {"--fp16", NULL, "onnx: weights stored in 16 bits"},
    {"--int8", NULL, "onnx: 8-bit products, calibrated on the validation split"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_export_command = {
    .name = "export",
    .run = run,
    .arguments = "MODEL --to NAME [-o PATH]",
    .summary = "a trained model as a file that other programs read",
    .least = 1,
    .most = 1,
    .flag = flags,
    .details =
        "MODEL is a run directory or a model file in it.\n"
        "safetensors  a folder (RUN/export/safetensors without -o): weights by the names of torchvision, timm\n"
        "             and Hugging Face with config.json, labels.txt, a model card; hone reads it as MODEL; BERT and\n"
        "             DistilBERT load by transformers' AutoModelForSequenceClassification and AutoTokenizer\n"
        "small        one file (RUN/small.safetensors without -o) of a bag of n-grams: the rows that matter, in 8\n"
        "             or 4 bits a number; prints the accuracy before and after; eval and predict read it as MODEL\n"
        "onnx         one file (RUN/export/onnx/model.onnx), read back and tried before it is left. Images: "
        "(N,C,H,W).\n"
        "             Bags: flat input_ids and offsets. Other texts: input_ids and attention_mask (N,L), padded\n"
        "             anywhere, and token_type_ids where the net reads them; tokenizer.json beside it if there is "
        "none\n"
        "triton       a model repository (RUN/export/triton): config.pbtxt with batching and a warm-up sample, "
        "labels,\n"
        "             1/model.onnx; takes the flags of onnx\n"
        "mlflow       an MLflow model (RUN/export/mlflow): MLmodel, model.onnx, environments, model card; the same "
        "flags",
    .examples = "hone export runs/fashion-cnn --to onnx --with-preprocess -o shoes/model.onnx\n"
                "hone export runs/fashion-cnn --to triton -o repository\n"
                "hone export runs/fashion-cnn --to safetensors --dtype bf16 -o shoes\n"
                "hone export runs/sections-bag --to small --max-bytes 10000000 -o sections.safetensors\n",
};
