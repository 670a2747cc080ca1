/* init.c - `hone init DATA`: looks at a text data set and writes a page that trains well as it is.
 *
 * What it chooses follows from the number of rows and the lengths of the texts, by the rules of `choose`;
 * each choice is commented with its reason. The page is read back before it is written, so it is valid by
 * the table of keys. It never overwrites a file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/open_data.h"
#include "core/text.h"
#include "data/check.h"

/* What a page needs to know. */
typedef struct choice {
    int epochs, batch, dim, buckets, min_count;
    const char *optimizer; /* as it stands in the page                                                */
    const char *why;       /* of the row count, for the comment                                       */
    int max_length;
    bool characters; /* parts of words help where texts are short and words are rare                  */
} choice;

/* Few rows want many passes and AdamW, which steps far for rare words; many rows want few passes and SGD,
 * whose cost is that of the batch's words alone. SGD's rate is for the mean over a batch and over a text's
 * words, so it is far above that of a dense net (half the batch is fastText's 0.5 a text). */
static choice choose(const hone_data_report *r)
{
    static const char adamw[] = "{name: adamw, lr: 3e-3}",
                      sgd32[] = "{name: sgd, lr: 16, momentum: 0, weight_decay: 0}",
                      sgd64[] = "{name: sgd, lr: 32, momentum: 0, weight_decay: 0}";
    int64_t rows = r->rows[0];
    choice c = {5, 64, 64, 2000000, 5, sgd64, "many rows: few passes, rare words left out", 512, false};
    if (rows < 500000) c = (choice){8, 32, 64, 2000000, 1, sgd32, "tens of thousands of rows", 512, false};
    if (rows < 20000) c = (choice){15, 16, 64, 500000, 1, adamw, "thousands of rows", 512, false};
    if (rows < 2000) c = (choice){30, 16, 32, 100000, 1, adamw, "few rows: many passes, a small table", 512, false};
    /* one text in a hundred may be cut; a bag costs no more for long ones */
    while (c.max_length < r->words.p99 && c.max_length < 4096) c.max_length *= 2;
    c.characters = r->words.p50 <= 16;
    return c;
}

/* Where the data lie and which columns; only what was typed is written, the rest is found again. */
static void write_data(const hone_cli_data *d, const char *path, hone_text *t)
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
static double imbalance(const hone_data_report *r)
{
    int64_t most = 0, least = INT64_MAX;
    for (int k = 0; k < r->classes; k++) {
        int64_t n = r->class_rows[(size_t)k * 3];
        if (n > most) most = n;
        if (n < least) least = n;
    }
    /* every class has a row, or it would not be one */
    return least > 0 && r->classes ? (double)most / (double)least : 0;
}

/* The folder's or file's own name without endings: runs/NAME. */
static void write_out(const char *path, hone_text *t)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *base = path + n;
    while (base > path && base[-1] != '/') base--;
    size_t stem = 0;
    /* mails.csv.gz is mails; a leading dot is part of the name */
    while (base + stem < path + n && (base[stem] != '.' || stem == 0)) stem++;
    char name[80];
    snprintf(name, sizeof name, "runs/%.*s-bag", (int)(stem < 60 ? stem : 60), base);
    hone_text_add(t, "out: ");
    hone_text_json(t, name);
    hone_text_add(t, "\n");
}

/* The whole page. */
static char *write_page(const hone_cli_data *d, const char *path, const hone_data_report *r)
{
    choice c = choose(r);
    hone_text t = {0};
    hone_text_add(&t, "# %lld training rows, %d classes; a text has %lld words in the median, %lld at most\n",
                  (long long)r->rows[0], r->classes, (long long)r->words.p50, (long long)r->words.max);
    hone_text_add(&t, "task: text\n");
    write_out(path, &t);
    write_data(d, path, &t);
    hone_text_add(
        &t, "text:\n  tokenizer: ngram               # words and pairs of words, hashed: quick, and hard to beat\n");
    hone_text_add(&t, "  ngram: {words: [1, 2], chars: %s, buckets: %d, min_count: %d}\n",
                  c.characters ? "[3, 5]" : "none", c.buckets, c.min_count);
    if (c.characters)
        hone_text_add(&t, "                                 # chars: the texts are short, so parts of words help\n");
    hone_text_add(&t, "  lowercase: true\n  max_length: %d                # tokens; longer texts are cut\n",
                  c.max_length);
    hone_text_add(&t, "model:\n  layers:\n    - embedding_bag: {dim: %d, mode: mean}\n    - linear: classes\n", c.dim);
    hone_text_add(&t, "train:\n  epochs: %d                     # %s\n  batch: %d\n", c.epochs, c.why, c.batch);
    hone_text_add(&t, "  optimizer: %s\n", c.optimizer);
    hone_text_add(&t, "  schedule: {name: linear}       # down to 0 at the end\n");
    double uneven = imbalance(r);
    if (uneven >= 10)
        hone_text_add(&t,
                      "  loss: {label_smoothing: 0, class_weights: none} # classes are uneven (%.0f : 1): try "
                      "balanced, watch f1_macro\n",
                      uneven);
    else hone_text_add(&t, "  loss: {label_smoothing: 0}\n");
    return hone_text_take(&t);
}

/* "wx": a page that somebody edited is never lost. */
static hone_status save(const char *path, const char *page)
{
    FILE *f = fopen(path, "wx");
    if (!f)
        return hone_fail(errno == EEXIST ? HONE_ERR_USAGE : HONE_ERR_RUNTIME,
                         errno == EEXIST ? "name another file with -o, or remove it" : "check the path", "%s: %s", path,
                         strerror(errno));
    bool ok = fputs(page, f) >= 0;
    ok = fclose(f) == 0 && ok;
    return ok ? HONE_OK : hone_fail(HONE_ERR_RUNTIME, "is the disk full?", "%s: could not be written", path);
}

/* Made, read back, written. */
static hone_status make_page(const hone_cli *cli, const hone_cli_data *d, const hone_data_report *r)
{
    hone_config *again = NULL;
    const char *path = cli->arg[0], *out = hone_cli_value(cli, "-o");
    char *page = write_page(d, path, r);
    if (!page) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the page");
    /* a page that its own reader refuses must never leave this program */
    hone_status s = hone_config_read_text("the page", page, NULL, 0, &again);
    hone_config_free(again);
    if (s == HONE_OK && out) s = save(out, page);
    else if (s == HONE_OK) fputs(page, stdout);
    if (s == HONE_OK && out && !cli->quiet)
        fprintf(stderr, "%s: %lld training rows, %d classes; next: hone train %s\n", out, (long long)r->rows[0],
                r->classes, out);
    free(page);
    return s;
}

/* Statistics are enough: copies and conflicts are for `hone data check`. */
static int init_run(const hone_cli *cli)
{
    hone_cli_data d;
    hone_data_report r;
    HONE_TRY(hone_cli_data_open(cli, cli->arg[0], 1, &d));
    hone_status s = hone_data_report_make(d.data, HONE_REPORT_STATS, 512, cli->threads, &r);
    if (s == HONE_OK) {
        s = make_page(cli, &d, &r);
        hone_data_report_free(&r);
    }
    hone_cli_data_close(&d);
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
    .summary = "looks at a text data set and writes a commented config",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details = "DATA is what data.path takes: a table, a list with __label__, a folder. Columns with other names\n"
               "than text and label are given as overrides and go into the page. Text only so far.",
    .examples = "hone init datasets/debian-sections -o sections.yaml\n"
                "hone init mails.csv data.columns.input=body data.columns.label=kind\n",
};
