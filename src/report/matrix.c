/* matrix.c - who was taken for whom: the confusion matrix as a heat map that is a real table (it can be read aloud,
 * copied and printed), and the classes with their figures. Many classes are shown by the pairs that are confused. */
#include <stdlib.h>

#include "report/report.h"

enum { LARGEST = 30, PAIRS = 25 }; /* a wider matrix can't be read on a screen */

typedef struct pair {
    int truth, predicted;
    int64_t count;
} pair;

/* Anything that is no number counts as 0: the page must not fail on a report of another version. */
static int64_t cell(const json_t *confusion, int r, int c)
{
    return (int64_t)json_integer_value(json_array_get(json_array_get(confusion, (size_t)r), (size_t)c));
}

/* In the order of the matrix. */
static const char *class_name(const json_t *report, int k)
{
    const char *s =
        json_string_value(json_object_get(json_array_get(json_object_get(report, "per_class"), (size_t)k), "label"));
    return s ? s : "?";
}

/* Samples of a class. */
static int64_t row_sum(const json_t *confusion, int r, int classes)
{
    int64_t sum = 0;
    for (int c = 0; c < classes; c++) sum += cell(confusion, r, c);
    return sum;
}

/* Shares of the row: classes of unlike size are to be compared. */
static void heat_map(hone_text *t, const json_t *report, const json_t *confusion, int classes)
{
    hone_text_add(t, "<div class=\"scroll\"><table class=\"heat\">\n<tr><th scope=\"col\">truth \\ predicted</th>");
    for (int c = 0; c < classes; c++) {
        hone_text_add(t, "<th class=\"top\" scope=\"col\">");
        hone_html(t, class_name(report, c));
        hone_text_add(t, "</th>");
    }
    hone_text_add(t, "</tr>\n");
    for (int r = 0; r < classes; r++) {
        int64_t sum = row_sum(confusion, r, classes);
        hone_text_add(t, "<tr><th scope=\"row\">");
        hone_html(t, class_name(report, r));
        hone_text_add(t, "</th>");
        for (int c = 0; c < classes; c++) {
            int64_t n = cell(confusion, r, c);
            hone_text_add(t, "<td%s style=\"--v:%.3f\">", r == c ? " class=\"hit\"" : "",
                          sum ? (double)n / (double)sum : 0.0);
            if (n) hone_text_add(t, "%lld", (long long)n);
            hone_text_add(t, "</td>");
        }
        hone_text_add(t, "</tr>\n");
    }
    hone_text_add(t, "</table></div>\n");
}

/* qsort order; ties by place keep the page the same. */
static int most_first(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->truth != y->truth ? x->truth - y->truth : x->predicted - y->predicted;
}

/* The most frequent first. */
static void pair_table(hone_text *t, const json_t *report, const pair *p, int count)
{
    hone_text_add(t, "<div class=\"scroll\"><table>\n<tr><th scope=\"col\">truth</th><th scope=\"col\">taken for</th>"
                     "<th scope=\"col\">times</th></tr>\n");
    for (int k = 0; k < count; k++) {
        hone_text_add(t, "<tr><td class=\"name\">");
        hone_html(t, class_name(report, p[k].truth));
        hone_text_add(t, "</td><td class=\"name\">");
        hone_html(t, class_name(report, p[k].predicted));
        hone_text_add(t, "</td><td>%lld</td></tr>\n", (long long)p[k].count);
    }
    hone_text_add(t, "</table></div>\n");
}

/* The most frequent mistakes. */
static void confused_pairs(hone_text *t, const json_t *report, const json_t *confusion, int classes)
{
    pair *all = malloc((size_t)classes * (size_t)classes * sizeof *all);
    int count = 0;
    if (!all) {
        t->failed = true;
        return;
    }
    for (int r = 0; r < classes; r++)
        for (int c = 0; c < classes; c++)
            if (r != c && cell(confusion, r, c) > 0) all[count++] = (pair){r, c, cell(confusion, r, c)};
    qsort(all, (size_t)count, sizeof *all, most_first);
    if (count) pair_table(t, report, all, count < PAIRS ? count : PAIRS);
    else hone_text_add(t, "<p>No mistakes.</p>\n");
    free(all);
}

void hone_report_confusion(hone_text *t, const json_t *report)
{
    const json_t *confusion = json_object_get(report, "confusion");
    int classes = (int)json_array_size(confusion);
    if (classes == 0) return;
    hone_text_add(t, "<h2>Confusion</h2>\n");
    if (classes <= LARGEST) {
        hone_text_add(
            t, "<p class=\"soft\">Rows are the truth, columns the prediction; colour is the share of the row.</p>\n");
        heat_map(t, report, confusion, classes);
    }
    hone_text_add(t, "<details%s><summary>Most confused pairs</summary>\n", classes <= LARGEST ? "" : " open");
    confused_pairs(t, report, confusion, classes);
    hone_text_add(t, "</details>\n");
}

/* A number over its bar. */
static void meter(hone_text *t, const json_t *row, const char *key)
{
    double v = json_number_value(json_object_get(row, key));
    hone_text_add(t, "<td class=\"meter\" style=\"--v:%.3f\">%.3f</td>", v, v);
}

void hone_report_classes(hone_text *t, const json_t *report)
{
    const json_t *rows = json_object_get(report, "per_class"), *row;
    size_t k;
    if (json_array_size(rows) == 0) return;
    hone_text_add(
        t, "<h2>Classes</h2>\n<div class=\"scroll\"><table>\n<tr><th scope=\"col\">class</th><th scope=\"col\">F1</th>"
           "<th scope=\"col\">precision</th><th scope=\"col\">recall</th><th scope=\"col\">support</th></tr>\n");
    json_array_foreach(rows, k, row)
    {
        const char *name = json_string_value(json_object_get(row, "label"));
        hone_text_add(t, "<tr><th scope=\"row\">");
        hone_html(t, name ? name : "?");
        hone_text_add(t, "</th>");
        meter(t, row, "f1");
        meter(t, row, "precision");
        meter(t, row, "recall");
        hone_text_add(t, "<td>%lld</td></tr>\n", (long long)json_integer_value(json_object_get(row, "support")));
    }
    hone_text_add(t, "</table></div>\n");
}
