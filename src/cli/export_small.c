/* export_small.c - `hone export --to small`: a bag of n-grams as one file of at most --max-bytes, with its accuracy
 * before and after on the run's test split, else its validation split. The file is a MODEL of eval and predict. */
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/export.h"
#include "core/text.h"
#include "hone/io.h"
#include "io/file.h"
#include "train/evaluate.h"
#include "train/small.h"

enum { DEFAULT_BYTES = 10000000 };

/* Both by the same rows and the same code; the small one borrows the run's config, which knows the data. */
static hone_status measure(const hone_cli *cli, hone_saved *saved, const char *path, hone_evaluation e[2])
{
    hone_saved small = {0};
    hone_eval_opts o = {.device = cli->device, .threads = cli->threads};
    HONE_TRY(hone_evaluate_saved(saved, &o, &e[0]));
    HONE_TRY(hone_saved_open(path, &small));
    hone_config *own = small.config;
    small.config = saved->config;
    hone_status status = hone_evaluate_saved(&small, &o, &e[1]);
    small.config = own;
    hone_saved_close(&small);
    return status;
}

static void print_report(const hone_cli *cli, const char *path, const hone_small_report *r, const hone_evaluation e[2])
{
    char size[32];
    if (cli->json) {
        hone_text t = {0};
        hone_text_json(&t, path);
        printf("{\"path\":%s,\"bytes\":%zu,\"bits\":%d,\"rows\":%lld,\"rows_seen\":%lld,\"rows_kept\":%lld,\"n\":%lld,"
               "\"accuracy_before\":%.9g,\"accuracy\":%.9g}\n",
               t.data ? t.data : "null", r->bytes, r->bits, (long long)r->rows, (long long)r->seen, (long long)r->kept,
               (long long)e[0].n, e[0].accuracy, e[1].accuracy);
        hone_text_free(&t);
        return;
    }
    printf("%s: %zu bytes (%s)\n", path, r->bytes, hone_cli_bytes((double)r->bytes, size, sizeof size));
    printf("rows     %lld of the %lld that training met (of %lld), %d bits a number\n", (long long)r->kept,
           (long long)r->seen, (long long)r->rows, r->bits);
    printf("accuracy %.4f before, %.4f small (n = %lld, %+.2f points)\n", e[0].accuracy, e[1].accuracy,
           (long long)e[0].n, 100 * (e[1].accuracy - e[0].accuracy));
}

/* Beside the weights, where eval also finds the run's data, unless -o says otherwise. */
static hone_status write_small(const hone_cli *cli, hone_saved *saved, const char *path, int64_t max_bytes)
{
    hone_small_report report = {0};
    hone_evaluation e[2] = {0};
    struct stat st;
    HONE_TRY(hone_small_write(saved, cli->threads, (size_t)max_bytes, path, &report));
    if (stat(path, &st) == 0) report.bytes = (size_t)st.st_size;
    hone_status status = measure(cli, saved, path, e);
    if (status == HONE_OK) print_report(cli, path, &report, e);
    hone_evaluation_free(&e[0]);
    hone_evaluation_free(&e[1]);
    return status;
}

static hone_status run(const hone_cli *cli, const char *out)
{
    int64_t max_bytes = DEFAULT_BYTES;
    hone_saved saved;
    HONE_TRY(hone_cli_int(cli, "--max-bytes", 1, INT64_MAX / 2, &max_bytes));
    HONE_TRY(hone_saved_open(cli->arg[0], &saved));
    char *path = out ? hone_strdup(out) : hone_io_join(saved.run_dir, "small.safetensors");
    hone_status status =
        path ? write_small(cli, &saved, path, max_bytes) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(path);
    hone_saved_close(&saved);
    return status;
}

const hone_cli_export hone_cli_export_small = {
    .name = "small",
    .summary = "a bag of n-grams, pruned and quantised",
    .flags = (const char *const[]){"--max-bytes", NULL},
    .run = run,
};
