/* init.c - `hone init DATA`: looks at a data set and writes a page that trains well as it is.
 *
 * init_text.c and init_image.c choose; here is what they share. The page is read back before it is written, so it is
 * valid by the table of keys. It never overwrites a file. */
#include "cli/init.h"

#include <stdlib.h>
#include <string.h>

/* Where the data lie and which columns; only what was typed is written, the rest is found again. */
void hone_cli_init_data(const hone_cli_data *d, const char *path, hone_text *t)
{
    const hone_config *c = d->config;
    const char *key[] = {"input", "label", "second", "weight", "split"};
    const char *value[] = {c->data.columns.input, c->data.columns.label, c->data.columns.second, c->data.columns.weight,
                           c->data.columns.split};
    hone_text_add(t, "data:\n  path: ");
    hone_text_json(t, path);
    hone_text_add(t, "\n");
    bool any = false;
    for (int k = 0; k < 5; k++) {
        if (!value[k]) continue;
        hone_text_add(t, "%s%s: ", any ? ", " : "  columns: {", key[k]);
        hone_text_json(t, value[k]);
        any = true;
    }
    if (any) hone_text_add(t, "}\n");
    if (!d->data->val)
        hone_text_add(t, "  val_fraction: 0.1              # cut from train: the data have no val split\n");
    hone_text_add(t,
                  "  # check: strict                # stop before training while `hone data check` finds anything\n");
}

/* The largest class by the smallest in train. */
double hone_cli_init_imbalance(const hone_data_report *r)
{
    int64_t most = 0, least = INT64_MAX;
    for (int k = 0; k < r->classes; k++) {
        int64_t n = r->class_rows[(size_t)k * 3];
        if (n > most) most = n;
        if (n > 0 && n < least) least = n;
    }
    /* of texts every class has a row; an empty folder of pictures is a class without */
    return least < INT64_MAX ? (double)most / (double)least : 0;
}

/* The folder's or file's own name without endings: runs/NAME. */
void hone_cli_init_out(const char *path, const char *model, hone_text *t)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *base = path + n;
    while (base > path && base[-1] != '/') base--;
    size_t stem = 0;
    /* mails.csv.gz is mails; a leading dot is part of the name */
    while (base + stem < path + n && (base[stem] != '.' || stem == 0)) stem++;
    char name[80];
    snprintf(name, sizeof name, "runs/%.*s-%s", (int)(stem < 60 ? stem : 60), base, model);
    hone_text_add(t, "out: ");
    hone_text_json(t, name);
    hone_text_add(t, "\n");
}

/* Statistics are enough: copies and conflicts are for `hone data check`. */
hone_status hone_cli_init_page(const hone_cli *cli, const char *path, int first, char **page)
{
    hone_cli_data d;
    hone_data_report r;
    hone_text t = {0}, saw = {0};
    hone_config *again = NULL;
    *page = NULL;
    HONE_TRY(hone_cli_data_open(cli, path, first, &d));
    hone_status s = hone_data_report_make(d.data, HONE_REPORT_STATS, 512, cli->threads, &r);
    if (s == HONE_OK) {
        if (r.pictures) hone_cli_init_image(&d, path, &r, &t, &saw);
        else hone_cli_init_text(&d, path, &r, &t);
        if (!r.pictures) hone_text_add(&saw, "%lld training rows, %d classes", (long long)r.rows[0], r.classes);
        hone_data_report_free(&r);
        *page = hone_text_take(&t);
        if (!*page || saw.failed) s = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the page");
    }
    hone_cli_data_close(&d);
    /* a page that its own reader refuses must never leave this program */
    if (s == HONE_OK) s = hone_config_read_text("the page", *page, NULL, 0, &again);
    hone_config_free(again);
    if (s == HONE_OK && !cli->quiet) fprintf(stderr, "%s: %s\n", path, saw.data);
    hone_text_free(&saw);
    if (s != HONE_OK) {
        free(*page);
        *page = NULL;
    }
    return s;
}

/* To a file or to stdout, so that it can be piped. */
static int init_run(const hone_cli *cli)
{
    char *page;
    const char *out = hone_cli_value(cli, "-o");
    if (hone_cli_is_page(cli->arg[0]))
        return hone_fail(HONE_ERR_USAGE, "name data: a folder, a file", "%s: a page already", cli->arg[0]);
    HONE_TRY(hone_cli_init_page(cli, cli->arg[0], 1, &page));
    hone_status s = HONE_OK;
    if (out) s = hone_cli_save_new(out, page);
    else fputs(page, stdout);
    free(page);
    if (s == HONE_OK && out && !cli->quiet) fprintf(stderr, "next: hone train %s\n", out);
    return (int)s;
}

static const hone_cli_flag flags[] = {
    {"-o", "FILE", "where the page goes; stdout by default. An existing file is not overwritten"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_init_command = {
    .name = "init",
    .run = init_run,
    .arguments = "DATA [data.columns.label=NAME ...]",
    .summary = "looks at a data set and writes a commented config",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details =
        "DATA is what data.path takes: a folder of pictures, IDX or CIFAR files, a table, a list with __label__.\n"
        "Columns with other names than path (pictures), text and label are given as overrides and go into the\n"
        "page. What was seen goes to stderr. `hone train DATA` trains with such a page at once.",
    .examples = "hone init datasets/fashion-mnist -o fashion.yaml\n"
                "hone init mails.csv data.columns.input=body data.columns.label=kind\n",
};
