/* eval.c - `hone eval`: figures of a trained model on a split of its own data or on another set. */
#include <stdlib.h>

#include "cli/progress.h"
#include "hone/train.h"
#include "train/evaluate.h"

/* The same figures in both forms; --json prints one object and nothing else. */
static int run(const hone_cli *cli)
{
    hone_evaluation e = {0};
    int64_t batch = 256;
    hone_status status = hone_cli_int(cli, "--batch", 1, 1 << 20, &batch);
    if (status != HONE_OK) return (int)status;
    hone_eval_opts o = {.device = cli->device,
                        .threads = cli->threads,
                        .data = cli->arg_count > 1 ? cli->arg[1] : NULL,
                        .split = hone_cli_value(cli, "--split"),
                        .batch = (int)batch,
                        .report = hone_cli_value(cli, "--report"),
                        .stop = hone_cli_catch_signals()};
    status = hone_evaluate(cli->arg[0], &o, &e);
    if (status == HONE_OK && cli->json) {
        char *text = hone_evaluation_json(&e);
        if (text) printf("%s\n", text);
        else status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the report");
        free(text);
    } else if (status == HONE_OK) {
        hone_cli_print_evaluation(stdout, &e);
    }
    hone_evaluation_free(&e);
    return (int)status;
}

static const hone_cli_flag flags[] = {
    {"--split", "NAME", "train, val or test; the test split by default, else val"},
    {"--batch", "N", "images at a time, 256 by default"},
    {"--report", "PAGE", "also writes a self-contained page (HTML) about it"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_eval_command = {
    .name = "eval",
    .run = run,
    .arguments = "MODEL [DATA]",
    .summary = "accuracy, per-class table and confusion of a model",
    .least = 1,
    .most = 2,
    .flag = flags,
    .details = "MODEL is a run directory or a model file in it. Without DATA the run's own data are used. Labels map\n"
               "by class name. With --json one object: n, accuracy, accuracy_95, f1_macro, loss, device, precision,\n"
               "calibration, per_class, confusion.",
    .examples = "hone eval runs/fashion-cnn\n"
                "hone eval runs/fashion-cnn --split val --json\n"
                "hone eval runs/fashion-cnn datasets/other --split test\n"
                "hone eval runs/fashion-cnn --split val --report val.html\n",
};
