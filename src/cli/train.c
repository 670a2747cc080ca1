/* train.c - `hone train`: trains, or goes on where the run directory's last checkpoint stands. */
#include <stdlib.h>
#include <string.h>

#include "cli/find_lr.h"
#include "cli/init.h"
#include "cli/progress.h"
#include "core/text.h"
#include "data/pack.h"
#include "data/shards.h"
#include "hone/train.h"
#include "train/evaluate.h"

/* To stdout: the table, where things are, what to do next. */
static hone_status print_result(const hone_cli *cli, const hone_config *config, const char *out,
                                const hone_evaluation *e)
{
    if (cli->json) {
        char *text = hone_evaluation_json(e);
        if (!text)
            return hone_fail(HONE_ERR_MEMORY, "the same is in eval/report.json of the run",
                             "the run is finished and saved, but there is no memory to print its figures");
        printf("%s\n", text);
        free(text);
        return HONE_OK;
    }
    /* 0: neither a test nor a validation split */
    if (e->n > 0) {
        printf("\n");
        hone_cli_print_evaluation(stdout, e);
    }
    printf("\nbest weights   %s/best.safetensors\nmetrics        %s/metrics.jsonl, %s/results.csv\n", out, out, out);
    if (e->n > 0) printf("evaluation     %s/eval/report.json, confusion.csv, worst.csv\n", out);
    if (e->n > 0) printf("page           %s/report.html\n", out);
    printf("next           hone predict %s %s\n", out, config->task == HONE_TASK_TEXT ? "TEXT..." : "IMAGE...");
    return HONE_OK;
}

/* Folders, and files with an ending that data have; any other file is a page, whatever its name. */
static bool is_data(const char *path)
{
    static const char *const ending[] = {".csv", ".tsv", ".jsonl", ".txt", ".tar", ".gz", ".xz"};
    hone_path_kind kind = hone_path_look(path, NULL);
    const char *dot = strrchr(path, '.');
    bool found =
        kind == HONE_PATH_FOLDER || hone_shards_looks(path) || hone_pack_looks(path); /* train-{000..127}.tar, too */
    for (size_t k = 0; dot && kind == HONE_PATH_FILE && k < sizeof ending / sizeof *ending; k++)
        found |= strcmp(dot, ending[k]) == 0;
    return found;
}

/* A page, or data: then the page that `hone init` makes of them. The same data make the same page, so that the same
 * command resumes. */
static hone_status read_page(const hone_cli *cli, hone_config **out)
{
    char *page = NULL;
    if (!is_data(cli->arg[0])) return hone_cli_config(cli, cli->arg[0], 1, out);
    HONE_TRY(hone_cli_init_page(cli, cli->arg[0], 1, &page));
    hone_status s = hone_cli_config_text(cli, "page of the data", page, 1, out);
    free(page);
    return s;
}

/* Config errors come before the run directory is touched. */
static int run(const hone_cli *cli)
{
    hone_config *config = NULL;
    hone_evaluation result = {0};
    /* stderr only: stdout is the result's, so that --json can be piped */
    hone_cli_progress progress = {.format = cli->log_format, .quiet = cli->quiet};
    char *command = hone_cli_line(cli);
    hone_status status = command ? hone_cli_find_lr_check(cli) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = read_page(cli, &config);
    if (status == HONE_OK && hone_cli_value(cli, "--find-lr")) {
        status = hone_cli_find_lr(cli, config);
    } else if (status == HONE_OK) {
        const char *out = hone_cli_value(cli, "--out");
        hone_train_opts o = {.device = cli->device,
                             .threads = cli->threads,
                             .out = out,
                             .command = command,
                             .stop = hone_cli_catch_signals(),
                             .progress = hone_cli_progress_show,
                             .progress_arg = &progress};
        status = hone_train(config, &o, &result);
        hone_cli_progress_close(&progress);
        if (status == HONE_OK) status = print_result(cli, config, out ? out : config->out, &result);
    }
    hone_evaluation_free(&result);
    hone_config_free(config);
    free(command);
    return (int)status;
}

static const hone_cli_flag flags[] = {
    {"--out", "DIR", "run directory; wins over `out:` of the config"},
    HONE_CLI_FIND_LR_FLAGS,
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_train_command = {
    .name = "train",
    .run = run,
    .arguments = "CONFIG|DATA [key.sub=value ...]",
    .summary = "trains a model; resumes by itself an unfinished run",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details =
        "DATA in place of a config (a folder of pictures, a table, ...) trains with the page that hone init makes\n"
        "of them. An unfinished run in the run directory goes on from its last good checkpoint and ends with the same\n"
        "bytes as one that was never stopped. Ctrl-C, SIGTERM and SIGUSR1 save and exit with 75; a second\n"
        "Ctrl-C leaves at once with 130. A directory that holds another experiment is refused.",
    .examples = "hone train configs/fashion-quick.yaml\n"
                "hone train datasets/fashion-mnist train.epochs=3\n"
                "hone train configs/fashion-cnn.yaml train.epochs=3 train.optimizer.lr=0.05 --out runs/short\n"
                "hone train configs/fashion-cnn.yaml --log-format json 2> progress.jsonl\n"
                "hone train configs/fashion-cnn.yaml --find-lr\n",
};
