/* page.c - report.html: headline figures, curves, confusion, classes, calibration, worst samples, layers, the config
 * with its origins, the environment. In this order, because that is the order of a reader's questions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json_file.h"
#include "report/report.h"
#include "report/run_files.h"

enum { EXCERPT = 400, SHOWN = 20 };

/* What the page is made of; texts are owned, NULL where the file is missing. */
typedef struct sources {
    json_t *run, *report;
    char *metrics, *resolved;
} sources;

/* NULL is fine for all of them. */
static void close_sources(sources *s)
{
    json_decref(s->run);
    json_decref(s->report);
    free(s->metrics);
    free(s->resolved);
}

static hone_status open_sources(const hone_report_input *in, sources *s)
{
    if (in->evaluation) HONE_TRY(hone_json_parse(in->evaluation, strlen(in->evaluation), 0, &s->report, NULL));
    if (in->evaluation && !s->report)
        return hone_fail(HONE_ERR_DATA, "hone eval --json makes it", "the evaluation of %s is no JSON", in->run_dir);
    HONE_TRY(hone_json_file(in->run_dir, "run.json", &s->run));
    HONE_TRY(hone_run_text(in->run_dir, "metrics.jsonl", &s->metrics));
    return hone_run_text(in->run_dir, "resolved.yaml", &s->resolved);
}

/* A box with a number and what it is. */
static void figure(hone_text *t, const char *value, const char *what)
{
    hone_text_add(t, "<div class=\"figure\"><b>");
    hone_html(t, value);
    hone_text_add(t, "</b><span>");
    hone_html(t, what);
    hone_text_add(t, "</span></div>\n");
}

/* Accuracy never without its interval and its n. */
static void accuracy_figure(hone_text *t, const hone_report_input *in, const json_t *report)
{
    char value[64], what[160], n[32];
    const json_t *interval = json_object_get(report, "accuracy_95");
    snprintf(value, sizeof value, "%.4f", hone_run_figure(report, "accuracy"));
    snprintf(what, sizeof what, "accuracy on %s, 95 %% interval %.4f to %.4f, n = %s",
             in->split ? in->split : "the evaluated split", json_number_value(json_array_get(interval, 0)),
             json_number_value(json_array_get(interval, 1)),
             hone_count_text(json_integer_value(json_object_get(report, "n")), n));
    figure(t, value, what);
}

/* What one wants to know before anything else: how good, how long, on how much. */
static void headline(hone_text *t, const hone_report_input *in, const sources *s)
{
    char value[64], what[96], number[32];
    hone_text_add(t, "<div class=\"figures\">\n");
    if (s->report) {
        accuracy_figure(t, in, s->report);
        snprintf(value, sizeof value, "%.4f", hone_run_figure(s->report, "f1_macro"));
        figure(t, value, "F1, mean over the classes");
        snprintf(value, sizeof value, "%.4f", hone_run_figure(s->report, "loss"));
        figure(t, value, "cross-entropy");
    }
    if (s->run) {
        figure(t, hone_seconds_text(hone_run_figure(s->run, "seconds"), number), "of training");
        snprintf(what, sizeof what, "steps of %s",
                 hone_count_text(json_integer_value(json_object_get(s->run, "steps_total")), number));
        figure(t, hone_count_text(json_integer_value(json_object_get(s->run, "step")), value), what);
        figure(t, hone_count_text(json_integer_value(json_object_get(s->run, "train_samples")), value),
               "training samples");
    }
    hone_text_add(t, "</div>\n");
}

/* The command line is there to be copied. */
static void title(hone_text *t, const hone_report_input *in, const sources *s)
{
    const char *status = hone_run_string(s->run, "status");
    hone_text_add(t, "<h1>");
    hone_html(t, in->run_dir);
    hone_text_add(t, "</h1>\n<p class=\"soft\">hone ");
    hone_html(t, hone_run_string(s->run, "hone"));
    hone_text_add(t, ", %s<span class=\"%s\">", "run ", strcmp(status, "finished") == 0 ? "good" : "bad");
    hone_html(t, *status ? status : "of unknown state");
    hone_text_add(t, "</span>");
    if (*hone_run_string(s->run, "started")) {
        hone_text_add(t, ", started ");
        hone_html(t, hone_run_string(s->run, "started"));
    }
    hone_text_add(t, "</p>\n");
    if (*hone_run_string(s->run, "command")) {
        hone_text_add(t, "<pre>");
        hone_html(t, hone_run_string(s->run, "command"));
        hone_text_add(t, "</pre>\n");
    }
}

/* One chart of train and val, or of train alone. */
static void chart(hone_text *t, const char *name, const char *unit, bool logarithmic, double mark,
                  const hone_series *train, const double *train_y, const hone_series *val, const double *val_y)
{
    hone_chart c = {.title = name, .unit = unit, .logarithmic = logarithmic, .mark = mark};
    c.curve[c.curves++] = (hone_curve){"train", 0, train->step, train_y, train->count};
    if (val_y) c.curve[c.curves++] = (hone_curve){"validation", 1, val->step, val_y, val->count};
    hone_chart_svg(t, &c);
}

/* Each chart answers a question of its own: does it learn, does it generalise, was the rate right, did it explode, was it
 * fast. A run that never logged has none. */
static hone_status curves(hone_text *t, const sources *s)
{
    hone_series train, val;
    double best = s->run ? hone_run_figure(s->run, "best_step") : NAN;
    if (!s->metrics) return HONE_OK;
    HONE_TRY(hone_series_read(s->metrics, "train", &train));
    hone_status status = hone_series_read(s->metrics, "val", &val);
    if (status == HONE_OK && train.count + val.count > 0) {
        hone_text_add(
            t,
            "<h2>Training</h2>\n<p class=\"soft\">By step; the dashed line is the step whose weights were kept as the "
            "best. Training loss holds what the config adds to it (label smoothing, class weights).</p>\n"
            "<div class=\"charts\">\n");
        chart(t, "loss", "", true, best, &train, train.loss, &val, val.loss);
        chart(t, "accuracy", "", false, best, &train, train.accuracy, &val, val.accuracy);
        chart(t, "learning rate", "", false, NAN, &train, train.lr, &val, NULL);
        chart(t, "gradient norm", "", true, NAN, &train, train.grad_norm, &val, NULL);
        chart(t, "samples per second", "", false, NAN, &train, train.speed, &val, NULL);
        hone_text_add(t, "</div>\n");
    }
    hone_series_free(&train);
    if (status == HONE_OK) hone_series_free(&val);
    return status;
}

/* An end in the middle of a UTF-8 sequence would show as a broken character. */
static size_t excerpt(const char *text, size_t bytes)
{
    if (bytes <= EXCERPT) return bytes;
    size_t end = EXCERPT;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
    return end;
}

/* Prediction first: that is what is to be judged. */
static void sample(hone_text *t, const hone_report_sample *s)
{
    hone_text_add(t, "<div class=\"sample\">");
    hone_thumb(t, s);
    hone_text_add(t, "<p><b class=\"%s\">", strcmp(s->truth, s->predicted) == 0 ? "good" : "bad");
    hone_html(t, s->predicted);
    hone_text_add(t, "</b> %.3f", s->score);
    if (strcmp(s->truth, s->predicted) != 0) {
        hone_text_add(t, "<br>labelled <b>");
        hone_html(t, s->truth);
        hone_text_add(t, "</b>");
    }
    hone_text_add(t, ", loss %.3g</p>", s->loss);
    if (s->text) {
        size_t shown = excerpt(s->text, s->text_bytes);
        hone_text_add(t, "<p>");
        hone_html_bytes(t, s->text, shown);
        hone_text_add(t, "%s</p>", shown < s->text_bytes ? "…" : "");
    }
    hone_text_add(t, "<p class=\"soft\">");
    hone_html(t, s->source);
    hone_text_add(t, "</p></div>\n");
}

/* As sure of another class as it is of that class's own samples (Northcutt et al., "Confident learning", 2021), so the
 * measure follows what a model is sure of at all: either the label is wrong, or the model is, and a look tells. */
static bool suspicious(const hone_report_sample *s)
{
    return strcmp(s->truth, s->predicted) != 0 && s->score >= 0.5 && s->score >= s->usual;
}

/* `labels`: the suspicious ones; else the others. Hits of high loss are no mistakes. */
static void samples(hone_text *t, const hone_report_input *in, bool labels)
{
    int shown = 0;
    for (int k = 0; k < in->worst_count; k++) {
        const hone_report_sample *s = &in->worst[k];
        if (labels != suspicious(s) || strcmp(s->truth, s->predicted) == 0 || shown == SHOWN) continue;
        if (shown++ == 0)
            hone_text_add(
                t, "<h2>%s</h2>\n<p class=\"soft\">%s</p>\n<div class=\"samples%s\">\n",
                labels ? "Likely wrong labels" : "Worst mistakes",
                labels ? "The model is as sure of another class as of that class's own samples: look at the label. "
                         "Highest loss first."
                       : "Wrong and less sure, highest loss first.",
                s->text ? " texts" : "");
        sample(t, s);
    }
    if (shown) hone_text_add(t, "</div>\n");
}

/* A long text, folded. */
static void folded(hone_text *t, const char *what, const char *text)
{
    if (!text || !*text) return;
    hone_text_add(t, "<details><summary>%s</summary><pre>", what);
    hone_html(t, text);
    hone_text_add(t, "</pre></details>\n");
}

/* Keys of run.json by their own names, so that they can be looked up there. */
static void environment(hone_text *t, const json_t *run)
{
    static const char *const key[] = {"device_text",      "precision", "threads",         "seed",      "memory_bytes",
                                      "data_fingerprint", "compiler",  "skipped_updates", "best_step", "updated"};
    if (!run) return;
    hone_text_add(t, "<details><summary>Environment</summary><div class=\"scroll\"><table>\n");
    for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
        const json_t *v = json_object_get(run, key[k]);
        if (!v || json_is_null(v)) continue;
        hone_text_add(t, "<tr><th scope=\"row\">%s</th><td class=\"name\">", key[k]);
        if (json_is_string(v)) hone_html(t, json_string_value(v));
        else hone_text_add(t, "%.10g", json_number_value(v));
        hone_text_add(t, "</td></tr>\n");
    }
    hone_text_add(t, "</table></div></details>\n");
}

/* Sections that have nothing to show write nothing. */
hone_status hone_report_html(const hone_report_input *in, char **html)
{
    hone_text t = {0};
    sources s = {0};
    *html = NULL;
    hone_status status = open_sources(in, &s);
    if (status == HONE_OK) {
        hone_html_open(&t, in->run_dir);
        title(&t, in, &s);
        headline(&t, in, &s);
        status = curves(&t, &s);
    }
    if (status == HONE_OK) {
        hone_report_confusion(&t, s.report);
        hone_report_classes(&t, s.report);
        hone_report_calibration(&t, s.report);
        samples(&t, in, true);
        samples(&t, in, false);
        hone_text_add(&t, "<h2>How it was made</h2>\n");
        folded(&t, "Layers", in->layers);
        folded(&t, "Config, every value with its origin", s.resolved);
        environment(&t, s.run);
        hone_html_close(&t);
        *html = hone_text_take(&t);
        if (!*html) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for report.html");
    }
    hone_text_free(&t);
    close_sources(&s);
    return status;
}

/* Atomic: a browser may look at any time. */
hone_status hone_report_write(const hone_report_input *in, const char *path)
{
    char *html;
    HONE_TRY(hone_report_html(in, &html));
    hone_status status = hone_file_write(path, html, strlen(html));
    free(html);
    return status;
}
