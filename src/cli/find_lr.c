/* find_lr.c - see find_lr.h: flags, the table for people, JSON. What is swept and judged is train/find_lr.c's. */
#include "cli/find_lr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "core/text.h"
#include "train/find_lr.h"

enum { TABLE_ROWS = 20, BAR = 40 };

/* A flag that has no effect is a misunderstanding, and is told before anything is read. */
hone_status hone_cli_find_lr_check(const hone_cli *cli)
{
    static const char *const own[] = {"--lr-min", "--lr-max", "--lr-steps", "-o"};
    for (size_t k = 0; k < sizeof own / sizeof *own; k++) /* -o beside a training is most likely meant as --out */
        if (hone_cli_value(cli, own[k]) && !hone_cli_value(cli, "--find-lr"))
            return hone_fail(HONE_ERR_USAGE, "the run directory is --out", "%s goes with --find-lr", own[k]);
    if (hone_cli_value(cli, "--find-lr") && hone_cli_value(cli, "--out"))
        return hone_fail(HONE_ERR_USAGE, "-o FILE keeps the sweep",
                         "--find-lr leaves no run directory, so --out has no use");
    return HONE_OK;
}

/* Keys are a contract with scripts: add, never rename. */
static hone_status make_json(const hone_config *c, const hone_lr_sweep *s, char **out)
{
    /* every point: a plot of one's own is what the file is for */
    json_t *points = json_array();
    for (int k = 0; k < s->count; k++)
        points = hone_json_added(points, json_pack("{s:o,s:o,s:o}", "lr", hone_json_real(s->point[k].lr), "loss",
                                                   hone_json_real(s->point[k].loss), "smooth",
                                                   hone_json_real(s->point[k].smooth)));
    /* no fall, no rates */
    double found = s->suggestion > 0 ? 1 : NAN;
    json_t *o = json_pack("{s:s,s:o,s:o,s:o,s:b,s:o}", "optimizer", c->train.optimizer.name, "suggestion",
                          hone_json_real(found * s->suggestion), "steepest", hone_json_real(found * s->steepest),
                          "minimum", hone_json_real(found * s->minimum), "diverged", s->diverged, "points", points);
    return hone_json_print(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9), "the report", out);
}

/* About twenty points of the curve; bars from the least to the first smoothed loss, so that a dip is seen. */
static void print_table(const hone_config *c, const hone_lr_sweep *s)
{
    /* the end of a sweep is off any scale, so the scale is that of its beginning */
    double least = INFINITY, most = 0;
    for (int k = 0; k < s->count; k++) {
        if (s->point[k].smooth < least) least = s->point[k].smooth;
        if (k <= s->count / 10 && s->point[k].smooth > most) most = s->point[k].smooth;
    }
    /* counted from the end, which is the point of interest */
    int stride = (s->count + TABLE_ROWS - 1) / TABLE_ROWS;
    printf("%-10s %10s\n", "lr", "loss");
    for (int k = s->count - 1 - (s->count - 1) / stride * stride; k < s->count; k += stride) {
        double v = s->point[k].smooth, share = most > least ? (v - least) / (most - least) : 0;
        /* a bar that would not fit ends with a mark instead of growing */
        int bar = !isfinite(v) || share > 1 ? BAR : (int)(share * BAR + 0.5);
        printf("%-10.3g %10.4g  %.*s%s\n", s->point[k].lr, v, bar, "########################################",
               !isfinite(v) || share > 1.2 ? " >" : "");
    }
    printf("\n%s after %d steps\n", s->diverged ? "diverged" : "did not diverge", s->count);
    if (s->suggestion > 0)
        printf("falls quickest at %.2g, least at %.2g\n\nsuggestion  train.optimizer.lr=%.2g (%s, batch %d)\n",
               s->steepest, s->minimum, s->suggestion, c->train.optimizer.name, c->train.batch * c->train.accumulate);
    else
        printf("the loss did not fall by a twentieth: no suggestion; try --lr-steps above %d, or other --lr-min, "
               "--lr-max\n",
               s->count);
}

/* Rates are of the optimizer's own scale. */
static hone_status read_flags(const hone_cli *cli, const hone_config *c, hone_lr_opts *o)
{
    /* adamw divides by the gradient's size, so its rates are two orders smaller */
    bool sgd = strcmp(c->train.optimizer.name, "sgd") == 0;
    int64_t steps = 200;
    *o = (hone_lr_opts){.low = sgd ? 1e-5 : 1e-7, .high = sgd ? 100 : 1};
    HONE_TRY(hone_cli_positive(cli, "--lr-min", &o->low));
    HONE_TRY(hone_cli_positive(cli, "--lr-max", &o->high));
    HONE_TRY(hone_cli_int(cli, "--lr-steps", 20, 1000000, &steps));
    o->steps = (int)steps;
    if (o->low >= o->high)
        return hone_fail(HONE_ERR_USAGE, NULL, "--lr-min %g is not below --lr-max %g", o->low, o->high);
    return HONE_OK;
}

/* The file before stdout: a full disk must not leave a table that says where the file is. */
hone_status hone_cli_find_lr(const hone_cli *cli, const hone_config *c)
{
    hone_lr_opts o;
    hone_lr_sweep s;
    hone_cli_progress progress = {.format = cli->log_format, .quiet = cli->quiet};
    hone_train_opts opts = {.device = cli->device,
                            .threads = cli->threads,
                            .stop = hone_cli_catch_signals(),
                            .progress = hone_cli_progress_show,
                            .progress_arg = &progress};
    HONE_TRY(read_flags(cli, c, &o));
    hone_status status = hone_find_lr(c, &opts, &o, &s);
    /* before anything goes to stdout: a line of the terminal may be half drawn */
    hone_cli_progress_close(&progress);
    HONE_TRY(status);
    const char *file = hone_cli_value(cli, "-o");
    char *json;
    status = make_json(c, &s, &json);
    if (status == HONE_OK && file) status = hone_cli_save_new(file, json);
    if (status == HONE_OK && cli->json) printf("%s\n", json);
    else if (status == HONE_OK) print_table(c, &s);
    free(json);
    hone_lr_sweep_free(&s);
    return status;
}
