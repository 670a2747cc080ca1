/* compare.c - see compare.h: reading the runs, the verdicts, the forms for people and programs. */
#include "report/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/interval.h"
#include "core/json.h"
#include "io/json_file.h"
#include "report/report.h"
#include "report/run_files.h"

/* Figures out of the JSON; what is missing stays NaN or 0. */
static void take_figures(hone_compared *r)
{
    const json_t *interval = json_object_get(r->report, "accuracy_95");
    r->seconds = hone_run_figure(r->run, "seconds");
    r->step = (int64_t)json_integer_value(json_object_get(r->run, "step"));
    r->train_samples = (int64_t)json_integer_value(json_object_get(r->run, "train_samples"));
    r->accuracy = hone_run_figure(r->report, "accuracy");
    r->loss = hone_run_figure(r->report, "loss");
    r->f1 = hone_run_figure(r->report, "f1_macro");
    r->low = r->report ? json_number_value(json_array_get(interval, 0)) : NAN;
    r->high = r->report ? json_number_value(json_array_get(interval, 1)) : NAN;
    r->n = (int64_t)json_integer_value(json_object_get(r->report, "n"));
    r->hits = r->n > 0 ? llround(r->accuracy * (double)r->n) : 0;
    r->behind_low = r->behind_high = NAN;
}

/* A folder without run.json is no run; one without an evaluation is, as of a run that still trains. */
static hone_status open_one(const char *dir, hone_compared *r)
{
    r->path = hone_strdup(dir);
    if (!r->path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    HONE_TRY(hone_json_file(dir, "run.json", &r->run));
    if (!r->run)
        return hone_fail(HONE_ERR_USAGE, "name the directories that `hone train` wrote",
                         "%s holds no run (no run.json)", dir);
    HONE_TRY(hone_json_file(dir, "eval/report.json", &r->report));
    HONE_TRY(hone_run_text(dir, "metrics.jsonl", &r->metrics));
    HONE_TRY(hone_run_text(dir, "resolved.yaml", &r->resolved));
    take_figures(r);
    return HONE_OK;
}

/* The best, how far the others are behind it, and whether that was measured on the same samples. */
static void judge(hone_comparison *c)
{
    c->best = -1;
    c->same_samples = true;
    for (int k = 0; k < c->count; k++) {
        const hone_compared *r = &c->run[k], *first = &c->run[0];
        if (r->n > 0 && (c->best < 0 || r->accuracy > c->run[c->best].accuracy)) c->best = k;
        const char *a = hone_run_string(r->run, "data_fingerprint"),
                   *b = hone_run_string(first->run, "data_fingerprint");
        c->same_samples = c->same_samples && r->n == first->n && strcmp(a, b) == 0;
    }
    for (int k = 0; k < c->count && c->best >= 0; k++) {
        hone_compared *r = &c->run[k], *best = &c->run[c->best];
        if (r->n > 0) hone_newcombe(best->hits, best->n, r->hits, r->n, &r->behind_low, &r->behind_high);
    }
}

hone_status hone_compare_open(const char *const *dir, int count, hone_comparison **out)
{
    hone_comparison *c = calloc(1, sizeof *c);
    hone_status status = HONE_OK;
    *out = NULL;
    if (c) c->run = calloc((size_t)count, sizeof *c->run);
    if (!c || !c->run) status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    for (int k = 0; k < count && status == HONE_OK; k++) {
        c->count = k + 1;
        status = open_one(dir[k], &c->run[k]);
    }
    if (status == HONE_OK) {
        judge(c);
        *out = c;
        return HONE_OK;
    }
    hone_compare_free(c);
    return status;
}

/* Fine on a half-opened one: what was not reached is zero. */
void hone_compare_free(hone_comparison *c)
{
    if (!c) return;
    for (int k = 0; k < c->count; k++) {
        free(c->run[k].path);
        free(c->run[k].metrics);
        free(c->run[k].resolved);
        json_decref(c->run[k].run);
        json_decref(c->run[k].report);
    }
    free(c->run);
    free(c);
}

/* What can be said about a run beside the best. */
static const char *verdict(const hone_comparison *c, int k)
{
    if (c->run[k].n == 0) return "not evaluated";
    if (k == c->best) return "best";
    return c->run[k].behind_low > 0 ? "behind" : "not distinguishable from the best";
}

/* --- for people ------------------------------------------------------------------------------------------------ */

/* Of the column of runs: paths are as long as their users like. */
static int width_of(const hone_comparison *c)
{
    size_t width = 3;
    for (int k = 0; k < c->count; k++) width = strlen(c->run[k].path) > width ? strlen(c->run[k].path) : width;
    return (int)width;
}

/* Figures that a run does not have are dashes, never zeros. */
static void text_row(hone_text *t, const hone_comparison *c, int k, int width)
{
    const hone_compared *r = &c->run[k];
    char seconds[32], steps[32];
    hone_text_add(t, "%-*s  ", width, r->path);
    if (r->n)
        hone_text_add(t, "%.4f  %.4f to %.4f  %8lld  %8.4f  %.4f", r->accuracy, r->low, r->high, (long long)r->n,
                      r->loss, r->f1);
    else hone_text_add(t, "%-6s  %-16s  %8s  %8s  %-6s", "-", "-", "-", "-", "-");
    hone_text_add(t, "  %12s  %10s  %s\n", hone_seconds_text(r->seconds, seconds), hone_count_text(r->step, steps),
                  verdict(c, k));
}

/* Values are cut where a line of layers would push the table off the screen; the page shows them whole. */
static void text_differences(hone_text *t, const hone_comparison *c, const hone_difference *d, int count)
{
    enum { SHOWN = 40 };
    if (count) hone_text_add(t, "\nwhat differs in the configs\n");
    for (int k = 0; k < count; k++) {
        hone_text_add(t, "  %-28s", d[k].key);
        for (int r = 0; r < c->count; r++) {
            const char *value = d[k].value[r] ? d[k].value[r] : "";
            hone_text_add(t, "  %.*s%s", SHOWN, *value ? value : "(none)", strlen(value) > SHOWN ? "..." : "");
        }
        hone_text_add(t, "\n");
    }
}

/* Runs in the order given: a user who sorts them has a reason. */
char *hone_compare_text(const hone_comparison *c)
{
    hone_text t = {0};
    hone_difference *d;
    int count, width = width_of(c);
    if (hone_differences(c, &d, &count) != HONE_OK) return NULL;
    hone_text_add(&t,
                  "%-*s  accur.  95%% interval              n      loss  f1          trained       steps  verdict\n",
                  width, "run");
    for (int k = 0; k < c->count; k++) text_row(&t, c, k, width);
    if (!c->same_samples) hone_text_add(&t, "\nnote: the runs were not evaluated on the same data\n");
    text_differences(&t, c, d, count);
    hone_differences_free(d, count, c->count);
    return hone_text_take(&t);
}

/* --- for programs ---------------------------------------------------------------------------------------------- */

/* Keys as in `hone eval --json`, where they mean the same. */
static json_t *run_object(const hone_comparison *c, int k)
{
    const hone_compared *r = &c->run[k];
    json_t *o = json_object();
    o = hone_json_with(o, "run", hone_json_string(r->path));
    o = hone_json_with(o, "accuracy", hone_json_real(r->accuracy));
    o = hone_json_with(o, "accuracy_95", json_pack("[o,o]", hone_json_real(r->low), hone_json_real(r->high)));
    o = hone_json_with(o, "n", json_integer(r->n));
    o = hone_json_with(o, "loss", hone_json_real(r->loss));
    o = hone_json_with(o, "f1_macro", hone_json_real(r->f1));
    o = hone_json_with(o, "seconds", hone_json_real(r->seconds));
    o = hone_json_with(o, "step", json_integer(r->step));
    o = hone_json_with(o, "behind_95",
                       json_pack("[o,o]", hone_json_real(r->behind_low), hone_json_real(r->behind_high)));
    o = hone_json_with(o, "verdict", json_string(verdict(c, k)));
    return o;
}

/* A difference is a list in the order of the runs; null: the run does not have the key. */
hone_status hone_compare_json(const hone_comparison *c, char **out)
{
    hone_difference *d;
    int count;
    HONE_TRY(hone_differences(c, &d, &count));
    json_t *o = json_object(), *runs = json_array(), *differences = json_object();
    for (int k = 0; k < c->count; k++) runs = hone_json_added(runs, run_object(c, k));
    for (int k = 0; k < count; k++) {
        json_t *values = json_array();
        for (int r = 0; r < c->count; r++) values = hone_json_added(values, hone_json_string(d[k].value[r]));
        differences = hone_json_with(differences, d[k].key, values);
    }
    o = hone_json_with(o, "runs", runs);
    o = hone_json_with(o, "same_data", json_boolean(c->same_samples));
    o = hone_json_with(o, "differences", differences);
    hone_differences_free(d, count, c->count);
    return hone_json_print(o, JSON_REAL_PRECISION(9), "the comparison", out);
}

/* --- the page -------------------------------------------------------------------------------------------------- */

/* The colour of the name is that of the curve. */
static void html_row(hone_text *t, const hone_comparison *c, int k)
{
    const hone_compared *r = &c->run[k];
    char text[32];
    hone_text_add(t, "<tr><th scope=\"row\"><span class=\"key%d\">", k % HONE_CHART_KINDS);
    hone_html(t, r->path);
    hone_text_add(t, "</span></th>");
    if (r->n)
        hone_text_add(t, "<td>%.4f</td><td>%.4f to %.4f</td><td>%s</td><td>%.4f</td><td>%.4f</td>", r->accuracy, r->low,
                      r->high, hone_count_text(r->n, text), r->loss, r->f1);
    else hone_text_add(t, "<td>-</td><td>-</td><td>-</td><td>-</td><td>-</td>");
    hone_text_add(t, "<td>%s</td>", hone_seconds_text(r->seconds, text));
    hone_text_add(t, "<td>%s</td><td class=\"name\">%s</td></tr>\n", hone_count_text(r->step, text), verdict(c, k));
}

/* What the verdict means stands below the table, where it is read. */
static void html_table(hone_text *t, const hone_comparison *c)
{
    static const char *const head[] = {"run", "accuracy", "95 % interval", "n",      "loss",
                                       "F1",  "trained",  "steps",         "verdict"};
    hone_text_add(t, "<div class=\"scroll\"><table>\n<tr>");
    for (size_t k = 0; k < sizeof head / sizeof *head; k++) hone_text_add(t, "<th scope=\"col\">%s</th>", head[k]);
    hone_text_add(t, "</tr>\n");
    for (int k = 0; k < c->count; k++) html_row(t, c, k);
    hone_text_add(
        t,
        "</table></div>\n<p class=\"soft\">Not distinguishable: the 95 %% interval of the difference to the best "
        "(Newcombe 1998) holds 0.%s</p>\n",
        c->same_samples ? "" : " The runs were not evaluated on the same data.");
}

/* Validation curves of all runs in one drawing. */
static hone_status html_curves(hone_text *t, const hone_comparison *c)
{
    hone_chart loss = {.title = "validation loss", .unit = "", .logarithmic = true, .mark = NAN};
    hone_chart accuracy = {.title = "validation accuracy", .unit = "", .mark = NAN};
    hone_series val[HONE_CHART_KINDS] = {{0}};
    hone_status status = HONE_OK;
    int shown = c->count < HONE_CHART_KINDS ? c->count : HONE_CHART_KINDS;
    for (int k = 0; k < shown && status == HONE_OK; k++) {
        if (c->run[k].metrics) status = hone_series_read(c->run[k].metrics, "val", &val[k]);
        hone_series *v = &val[k];
        loss.curve[loss.curves++] = (hone_curve){c->run[k].path, k, v->step, v->loss, v->count};
        accuracy.curve[accuracy.curves++] = (hone_curve){c->run[k].path, k, v->step, v->accuracy, v->count};
    }
    if (status == HONE_OK) {
        hone_text_add(t, "<h2>Curves</h2>\n<div class=\"charts\">\n");
        hone_chart_svg(t, &accuracy);
        hone_chart_svg(t, &loss);
        hone_text_add(t, "</div>\n");
        if (c->count > shown) hone_text_add(t, "<p class=\"soft\">The first %d runs are drawn.</p>\n", shown);
    }
    for (int k = 0; k < shown; k++) hone_series_free(&val[k]);
    return status;
}

/* Whole values: the page has room, and may be scrolled. */
static void html_differences(hone_text *t, const hone_comparison *c, const hone_difference *d, int count)
{
    if (count == 0) return;
    hone_text_add(
        t, "<h2>What differs in the configs</h2>\n<div class=\"scroll\"><table>\n<tr><th scope=\"col\">key</th>");
    for (int r = 0; r < c->count; r++) {
        hone_text_add(t, "<th scope=\"col\">");
        hone_html(t, c->run[r].path);
        hone_text_add(t, "</th>");
    }
    hone_text_add(t, "</tr>\n");
    for (int k = 0; k < count; k++) {
        hone_text_add(t, "<tr><th scope=\"row\">");
        hone_html(t, d[k].key);
        hone_text_add(t, "</th>");
        for (int r = 0; r < c->count; r++) {
            hone_text_add(t, "<td class=\"name\">");
            hone_html(t, d[k].value[r]);
            hone_text_add(t, "</td>");
        }
        hone_text_add(t, "</tr>\n");
    }
    hone_text_add(t, "</table></div>\n");
}

/* The verdicts first; why they differ, behind the curves. */
hone_status hone_compare_html(const hone_comparison *c, char **html)
{
    hone_text t = {0};
    hone_difference *d;
    int count;
    *html = NULL;
    HONE_TRY(hone_differences(c, &d, &count));
    hone_html_open(&t, "runs compared");
    hone_text_add(&t, "<h1>%d runs compared</h1>\n", c->count);
    html_table(&t, c);
    hone_status status = html_curves(&t, c);
    html_differences(&t, c, d, count);
    hone_html_close(&t);
    hone_differences_free(d, count, c->count);
    if (status == HONE_OK && !(*html = hone_text_take(&t)))
        status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the page");
    hone_text_free(&t);
    return status;
}
