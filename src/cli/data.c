/* data.c - `hone data check|stats|pack|preview|bench`: what is in a data set, what is likely to be wrong with it, pictures in
 * one file, what of them the net sees, and how fast they come. */
#include <stdlib.h>
#include <string.h>

#include "cli/open_data.h"
#include "cli/pack.h"
#include "cli/bench_data.h"
#include "core/text.h"
#include "data/check.h"
#include "train/preview.h"

/* A report in the form asked for; odd things met while reading go to stderr in both. */
static hone_status print_report(const hone_cli *cli, const hone_data *d, const hone_data_report *r, bool check)
{
    for (int k = 0; !cli->json && !cli->quiet && k < d->note_count; k++) fprintf(stderr, "note: %s\n", d->note[k]);
    char *text = cli->json ? hone_data_report_json(r) : hone_data_report_table(r);
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the report");
    printf("%s%s", text, cli->json ? "\n" : "");
    free(text);
    if (check && !cli->json)
        printf(r->finding_count ? "\n%d kind%s of findings\n" : "\nnothing found\n", r->finding_count,
               r->finding_count == 1 ? "" : "s");
    return HONE_OK;
}

/* Pictures need a page: what is done to them stands nowhere else. */
static hone_status preview(const hone_cli *cli)
{
    int64_t samples = 12, epochs = 5;
    const char *path = hone_cli_value(cli, "-o");
    int shown = 0;
    hone_config *c = NULL;
    HONE_TRY(hone_cli_int(cli, "--samples", 1, 1000, &samples));
    HONE_TRY(hone_cli_int(cli, "--epochs", 1, 100, &epochs));
    HONE_TRY(hone_cli_config(cli, cli->arg[1], 2, &c));
    hone_preview_opts o = {.device = cli->device, .threads = cli->threads, .samples = (int)samples};
    o.epochs = (int)epochs;
    o.path = path ? path : "preview.html";
    hone_status s = hone_preview_make(c, &o, &shown);
    hone_config_free(c);
    if (s != HONE_OK) return s;
    hone_text t = {0};
    if (cli->json) hone_text_add(&t, "{\"path\":");
    if (cli->json) hone_text_json(&t, o.path);
    if (cli->json) hone_text_add(&t, ",\"samples\":%d,\"epochs\":%d}\n", shown, o.epochs);
    else hone_text_add(&t, "%s: %d samples, %d epochs\n", o.path, shown, o.epochs);
    char *text = hone_text_take(&t);
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the answer");
    fputs(text, stdout);
    free(text);
    return HONE_OK;
}

/* The verb is an argument, so flags may stand anywhere; one that this verb does not know would have no effect. */
static hone_status check_verb(const hone_cli *cli, const char *what)
{
    enum { VERBS = 5 };
    static const char *const verb[VERBS] = {"check", "stats", "pack", "preview", "bench"};
    static const char *const takes[VERBS] = {"", "", "-o", "-o --samples --epochs", "--seconds"};
    int k = 0;
    while (k < VERBS && strcmp(what, verb[k]) != 0) k++;
    if (k == VERBS) {
        const char *near = hone_did_you_mean(what, verb, VERBS);
        return hone_fail(HONE_ERR_USAGE,
                         "hone data check DATA, stats DATA, pack DATA -o FILE, preview CONFIG, bench CONFIG",
                         "data %.60s: expects check, stats, pack, preview or bench%s%s%s", what,
                         near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    }
    for (int f = 0; cli->command->flag[f].name; f++)
        if (cli->value[f] && !strstr(takes[k], cli->command->flag[f].name))
            return hone_fail(HONE_ERR_USAGE, "hone help data says which verb has which flags", "data %.60s takes no %s",
                             what, cli->command->flag[f].name);
    return HONE_OK;
}

/* Findings are no error: the exit code is 0, and data.check: strict is for those who want one. */
static int data_run(const hone_cli *cli)
{
    const char *what = cli->arg[0];
    bool check = strcmp(what, "check") == 0;
    HONE_TRY(check_verb(cli, what));
    if (strcmp(what, "pack") == 0) return (int)hone_cli_pack(cli);
    if (strcmp(what, "preview") == 0) return (int)preview(cli);
    if (strcmp(what, "bench") == 0) return (int)hone_cli_bench_data(cli);
    hone_cli_data d;
    hone_data_report r;
    /* broken data end here with 3; what follows is about data that can be read */
    HONE_TRY(hone_cli_data_open(cli, cli->arg[1], 2, &d));
    hone_status s = hone_data_report_make(d.data, check ? HONE_REPORT_CHECK : HONE_REPORT_STATS,
                                          d.config->text.max_length, cli->threads, &r);
    if (s == HONE_OK) {
        s = print_report(cli, d.data, &r, check);
        if (s == HONE_OK && r.broken)
            s = hone_fail(HONE_ERR_DATA, "mend or remove them, or train with data.on_error: skip",
                          "%lld broken picture%s", (long long)r.broken, r.broken == 1 ? "" : "s");
        hone_data_report_free(&r);
    }
    hone_cli_data_close(&d);
    return (int)s;
}

static const hone_cli_flag flags[] = {
    {"-o", "FILE",
     "of pack: the file that is written, never over an existing one; of preview: the page, default preview.html"},
    {"--samples", "N", "of preview: rows, default 12"},
    {"--epochs", "N", "of preview: columns behind the first, default 5"},
    {"--seconds", "N", "of bench: least time that is measured, default 3"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_data_command = {
    .name = "data",
    .run = data_run,
    .arguments = "check|stats|pack|preview|bench DATA|CONFIG [key.sub=value ...]",
    .summary = "what is in a data set, and what is likely to be wrong with it",
    .least = 2,
    .most = -1,
    .flag = flags,
    .details =
        "stats    counts of each class in each split; lengths of texts; sizes and channels of pictures\n"
        "check    also copies within and across splits and copies with two classes; imbalance, empty and rare\n"
        "         classes, class names that are likely mistakes. Texts: copies to the byte, but for case and\n"
        "         spaces, nearly (0.8 of their 5-character shingles shared); empty and over-long ones. Pictures:\n"
        "         copies by pixels, nearly (re-encoded, rescaled, brightened, cut or turned a little); broken, "
        "constant,\n"
        "         very small ones\n"
        "pack     decodes all pictures into one file that is mapped while training: for sets that do not fit in\n"
        "         memory. Their size, channels and resize rule are those of the config or of image.size=N and its "
        "like\n"
        "preview  pictures of training side by side, untouched and augmented, as one HTML page\n"
        "bench    reads, decodes and resizes the training pictures, as training does when they do not fit in memory;\n"
        "         pictures a second\n"
        "Findings leave the exit code 0; with data.check: strict in a config they stop training.\n"
        "Broken files exit with 3; broken pictures are all named first.",
    .examples = "hone data check datasets/debian-sections\n"
                "hone data check datasets/fashion-mnist --json\n"
                "hone data pack photos -o photos.pack image.size=128 image.resize=shorter\n"
                "hone data stats mails.csv data.columns.input=body data.columns.label=kind\n"
                "hone data check configs/spam-bag.yaml --json\n"
                "hone data preview configs/cifar-resnet18.yaml -o page.html augment.mixup=0.2\n"
                "hone data bench photos image.size=224 --threads 2\n",
};
