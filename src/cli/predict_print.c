/* predict_print.c - a prediction as text: table, CSV or JSON lines. Nothing here computes or reads. */
#include "cli/predict_print.h"

#include <stdlib.h>
#include <string.h>

#include "hone/predictor.h"
#include "train/evaluate.h"
#include "train/metrics.h"

/* What "%.9g" writes, without printf where the score is one that wins: printing was a third of the time. */
static void add_score(hone_text *t, double x)
{
    static const double ten[] = {1e9, 1e10, 1e11, 1e12};
    char digits[16];
    int zeros = x >= 0.1 ? 0 : x >= 0.01 ? 1 : x >= 0.001 ? 2 : 3;
    if (!(x >= 1e-4 && x < 0.9999)) { /* exponents, 1, and what could round up to it */
        hone_text_add(t, "%.9g", x);
        return;
    }
    int64_t v = (int64_t)(x * ten[zeros] + 0.5); /* nine significant digits, one more where it rounds up */
    int n = 9 + zeros;
    for (int k = n; k-- > 0; v /= 10) digits[k] = (char)('0' + v % 10);
    while (n > 0 && digits[n - 1] == '0') n--;
    hone_text_append(t, "0.", 2);
    hone_text_append(t, digits, (size_t)n);
}

/* "label":..,"score":.. */
static void add_scored(hone_text *t, const hone_printing *d, int class, float score)
{
    hone_text_add(t, "\"label\":");
    hone_text_json(t, hone_model_class_name(d->model, class));
    hone_text_append(t, ",\"score\":", 9);
    if (score == score) add_score(t, (double)score);
    else hone_json_number(t, (double)score);
}

/* One object a line, keys as documented. */
static void add_jsonl(hone_text *t, const hone_printing *d, const char *name, const float *p)
{
    hone_text_add(t, "{\"input\":");
    hone_text_json(t, name);
    hone_text_add(t, ",");
    add_scored(t, d, d->order[0], p[d->order[0]]);
    hone_text_add(t, ",\"top\":[");
    for (int k = 0; k < d->top; k++) {
        hone_text_add(t, k ? ",{" : "{");
        add_scored(t, d, d->order[k], p[d->order[k]]);
        hone_text_add(t, "}");
    }
    hone_text_add(t, "]}\n");
}

/* RFC 4180; label and score pairs, likeliest first. */
static void add_csv(hone_text *t, const hone_printing *d, const char *name, const float *p)
{
    hone_csv_field(t, name);
    for (int k = 0; k < d->top; k++) {
        hone_text_append(t, ",", 1); /* no format where there is nothing to format: it was a tenth of the time */
        hone_csv_field(t, hone_model_class_name(d->model, d->order[k]));
        hone_text_append(t, ",", 1);
        add_score(t, (double)p[d->order[k]]);
    }
    hone_text_append(t, "\n", 1);
}

/* For eyes. */
static void add_table(hone_text *t, const hone_printing *d, const char *name, const float *p)
{
    hone_text_add(t, "%-40s", name);
    for (int k = 0; k < d->top; k++)
        hone_text_add(t, "  %s %.3f", hone_model_class_name(d->model, d->order[k]), (double)p[d->order[k]]);
    hone_text_add(t, "\n");
}

/* Only CSV has one. */
void hone_printing_header(const hone_printing *d)
{
    if (d->format != HONE_PRINT_CSV) return;
    printf("input,label,score");
    for (int k = 2; k <= d->top; k++) printf(",label%d,score%d", k, k);
    printf("\n");
}

/* Into a buffer, so that many can be written at once. */
void hone_printing_add(hone_text *t, const hone_printing *d, const char *input, const float *p)
{
    hone_predictor_top(p, d->classes, d->top, d->order);
    if (d->format == HONE_PRINT_JSONL) add_jsonl(t, d, input, p);
    else if (d->format == HONE_PRINT_CSV) add_csv(t, d, input, p);
    else add_table(t, d, input, p);
}

/* One write for all of a chunk. */
hone_status hone_printing_flush(hone_text *t)
{
    hone_status status = HONE_OK;
    if (t->failed) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the results");
    if (status == HONE_OK && t->bytes && (fwrite(t->data, 1, t->bytes, stdout) != t->bytes || fflush(stdout) != 0))
        status = hone_fail(HONE_ERR_RUNTIME, NULL, "the results can't be written to stdout");
    hone_text_free(t);
    return status;
}

/* Flags are checked before the model is loaded; --json is short for jsonl. */
hone_status hone_printing_flags(const hone_cli *cli, hone_printing *out)
{
    static const char *const names[] = {"table", "csv", "jsonl"};
    const char *name = hone_cli_value(cli, "--format");
    out->most = 3;
    out->format = cli->json ? HONE_PRINT_JSONL : HONE_PRINT_TABLE;
    HONE_TRY(hone_cli_int(cli, "--top", 1, 1 << 20, &out->most));
    for (int k = 0; name && k < 3; k++) {
        if (strcmp(name, names[k]) != 0) continue;
        out->format = (hone_print_format)k;
        return HONE_OK;
    }
    return name ? hone_fail(HONE_ERR_USAGE, "use table, csv or jsonl", "--format: unknown format %s", name) : HONE_OK;
}

/* More than there are classes means all of them. */
hone_status hone_printing_open(const hone_model *m, hone_printing *out)
{
    out->model = m;
    out->classes = hone_model_classes(m);
    out->top = out->most < out->classes ? (int)out->most : out->classes;
    out->order = malloc((size_t)out->classes * sizeof *out->order);
    return out->order ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
}
