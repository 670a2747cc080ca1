/* data.c - `hone data check|stats|pack`: what is in a data set, what is likely to be wrong with it, pictures in one file. */
#include <stdlib.h>
#include <string.h>

#include "cli/open_data.h"
#include "cli/pack.h"
#include "data/check.h"

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

/* Findings are no error: the exit code is 0, and data.check: strict is for those who want one. */
static int data_run(const hone_cli *cli)
{
    static const char *const verb[] = {"check", "stats", "pack"};
    const char *what = cli->arg[0];
    bool check = strcmp(what, "check") == 0;
    if (strcmp(what, "pack") == 0) return (int)hone_cli_pack(cli);
    if (!check && strcmp(what, "stats") != 0) {
        /* the verb is an argument, so flags may stand anywhere */
        const char *near = hone_did_you_mean(what, verb, 3);
        return hone_fail(HONE_ERR_USAGE, "hone data check DATA, hone data stats DATA, hone data pack DATA -o FILE",
                         "data %.60s: expects check, stats or pack%s%s%s", what, near ? " (did you mean " : "",
                         near ? near : "", near ? "?)" : "");
    }
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
    {"-o", "FILE", "of pack: the file that is written; an existing one is not overwritten"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_data_command = {
    .name = "data",
    .run = data_run,
    .arguments = "check|stats|pack DATA|CONFIG [key.sub=value ...]",
    .summary = "what is in a data set, and what is likely to be wrong with it",
    .least = 2,
    .most = -1,
    .flag = flags,
    .details =
        "stats  counts of each class in each split; lengths of texts; sizes and channels of pictures\n"
        "check  also copies within and across splits and copies with two classes; imbalance, empty and rare\n"
        "       classes, class names that are likely mistakes. Texts: copies to the byte, but for case and\n"
        "       spaces, nearly (0.8 of their 5-character shingles shared); empty and over-long ones. Pictures:\n"
        "       copies by pixels, nearly (re-encoded, rescaled, brightened); broken, constant, very small ones\n"
        "pack   decodes all pictures into one file that is mapped while training: for sets that do not fit in memory.\n"
        "       Their size, channels and resize rule are those of the config or of image.size=N and its like\n"
        "Findings leave the exit code 0; with data.check: strict in a config they stop training.\n"
        "Broken files exit with 3; broken pictures are all named first.",
    .examples = "hone data check datasets/debian-sections\n"
                "hone data check datasets/fashion-mnist --json\n"
                "hone data pack photos -o photos.pack image.size=128 image.resize=shorter\n"
                "hone data stats mails.csv data.columns.input=body data.columns.label=kind\n"
                "hone data check configs/spam-bag.yaml --json\n",
};
