/* check_print.c - a report of check.h as JSON, as tables, and as an error.
 *
 * Only words and columns: what is counted, and how, is findings.c's and its neighbours'. All text is made in memory, so that
 * nothing is half printed; names come from strangers and are escaped. */
#include <stdlib.h>

#include "core/text.h"
#include "data/check.h"
#include "data/source.h"

/* One row of percentiles. */
static void lengths_json(hone_text *t, const char *name, const hone_lengths *l)
{
    hone_text_add(t,
                  "\"%s\":{\"min\":%lld,\"p5\":%lld,\"p50\":%lld,\"p95\":%lld,\"p99\":%lld,\"max\":%lld,\"mean\":%.3f}",
                  name, (long long)l->min, (long long)l->p5, (long long)l->p50, (long long)l->p95, (long long)l->p99,
                  (long long)l->max, l->mean);
}

/* Keys are a contract with scripts: add, never rename. */
char *hone_data_report_json(const hone_data_report *r)
{
    hone_text t = {0};
    hone_text_add(&t, "{\"rows\":{\"train\":%lld,\"val\":%lld,\"test\":%lld},\"classes\":[", (long long)r->rows[0],
                  (long long)r->rows[1], (long long)r->rows[2]);
    /* all classes, in the order of their numbers; tables are for people and may be cut */
    for (int k = 0; k < r->classes; k++) {
        const int64_t *n = r->class_rows + (size_t)k * 3;
        hone_text_add(&t, "%s{\"name\":", k ? "," : "");
        hone_text_json(&t, r->class_name[k]);
        hone_text_add(&t, ",\"train\":%lld,\"val\":%lld,\"test\":%lld}", (long long)n[0], (long long)n[1],
                      (long long)n[2]);
    }
    hone_text_add(&t, "],\"%s\":{", r->pictures ? "size" : "length");
    lengths_json(&t, r->pictures ? "height" : "characters", r->pictures ? &r->height : &r->characters);
    hone_text_add(&t, ",");
    lengths_json(&t, r->pictures ? "width" : "words", r->pictures ? &r->width : &r->words);
    if (r->pictures)
        hone_text_add(&t, "},\"channels\":{\"grey\":%lld,\"colour\":%lld},\"broken\":%lld,\"identical_files\":%lld",
                      (long long)r->grey, (long long)r->colour, (long long)r->broken, (long long)r->same_files);
    hone_text_add(&t, "%s,\"findings\":[", r->pictures ? "" : "}");
    for (int k = 0; k < r->finding_count; k++) {
        const hone_finding *f = &r->finding[k];
        hone_text_add(&t, "%s{\"kind\":\"%s\",\"count\":%lld,\"text\":", k ? "," : "", f->kind, (long long)f->count);
        hone_text_json(&t, f->text); /* may hold class names, so it is escaped like them */
        hone_text_add(&t, ",\"examples\":[");
        for (int i = 0; i < f->example.count; i++) {
            hone_text_add(&t, "%s", i ? "," : "");
            hone_text_json(&t, f->example.item[i]);
        }
        hone_text_add(&t, "]}");
    }
    hone_text_add(&t, "]}");
    return hone_text_take(&t);
}

/* A class and what it is sorted by. */
typedef struct ranked {
    int64_t rows;
    int class;
} ranked;

/* Largest first; equal ones by their number. */
static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->rows != y->rows ? (x->rows < y->rows ? 1 : -1) : x->class - y->class;
}

/* The classes by size; many are cut in the middle, where they interest least. */
static void classes_table(hone_text *t, const hone_data_report *r)
{
    /* 40 lines fit a screen */
    int shown = r->classes <= 40 ? r->classes : 40;
    ranked *order = malloc((size_t)r->classes * sizeof *order + 1);
    if (!order) {
        t->failed = true;
        return;
    }
    for (int k = 0; k < r->classes; k++) order[k] = (ranked){r->class_rows[(size_t)k * 3], k};
    qsort(order, (size_t)r->classes, sizeof *order, compare_ranked);
    hone_text_add(t, "%-32s %10s %10s %10s\n", "class", "train", "val", "test");
    for (int k = 0; k < r->classes; k++) {
        /* the largest and the smallest classes are what one looks for */
        if (k == shown / 2 && r->classes > shown) {
            hone_text_add(t, "  ... %d more (--json has all)\n", r->classes - shown);
            k += r->classes - shown; /* on to the last twenty */
        }
        const int64_t *n = r->class_rows + (size_t)order[k].class * 3;
        hone_text_add(t, "%-32s %10lld %10lld %10lld\n", hone_shown(r->class_name[order[k].class]), (long long)n[0],
                      (long long)n[1], (long long)n[2]);
    }
    free(order);
}

/* One row of percentiles for people. */
static void lengths_row(hone_text *t, const char *name, const hone_lengths *l)
{
    hone_text_add(t, "%-12s %9lld %9lld %9lld %9lld %9lld %9lld %11.1f\n", name, (long long)l->min, (long long)l->p5,
                  (long long)l->p50, (long long)l->p95, (long long)l->p99, (long long)l->max, l->mean);
}

/* Counts first, then lengths, then findings with their places. */
char *hone_data_report_table(const hone_data_report *r)
{
    hone_text t = {0};
    /* the first line says all that is needed to see that the right data were read */
    hone_text_add(&t, "%s: %lld train, %lld val, %lld test; %d classes\n\n", r->pictures ? "pictures" : "rows",
                  (long long)r->rows[0], (long long)r->rows[1], (long long)r->rows[2], r->classes);
    classes_table(&t, r);
    hone_text_add(&t, "\n%-12s %9s %9s %9s %9s %9s %9s %11s\n", r->pictures ? "pixels" : "length", "least", "5 %",
                  "median", "95 %", "99 %", "greatest", "mean");
    lengths_row(&t, r->pictures ? "height" : "characters", r->pictures ? &r->height : &r->characters);
    lengths_row(&t, r->pictures ? "width" : "words", r->pictures ? &r->width : &r->words);
    if (r->pictures)
        hone_text_add(&t, "%lld grey, %lld in colour, %lld broken\n", (long long)r->grey, (long long)r->colour,
                      (long long)r->broken);
    if (r->same_files)
        hone_text_add(&t, "%lld file%s to the byte a copy of another\n", (long long)r->same_files,
                      r->same_files == 1 ? " is" : "s are");
    for (int k = 0; k < r->finding_count; k++) {
        const hone_finding *f = &r->finding[k];
        hone_text_add(&t, "%s%s: %s\n", k ? "" : "\n", f->kind, f->text);
        for (int i = 0; i < f->example.count; i++) hone_text_add(&t, "    %s\n", f->example.item[i]);
        /* findings about sets (imbalance) have no examples to be continued */
        if (f->count > f->example.count && f->example.count)
            hone_text_add(&t, "    ... %lld more\n", (long long)(f->count - f->example.count));
    }
    return hone_text_take(&t);
}

/* One line a finding, so that all can be mended before the next try. */
hone_status hone_data_check_strict(const hone_data *d, int64_t max_words, int threads)
{
    hone_data_report r;
    HONE_TRY(hone_data_report_make(d, HONE_REPORT_CHECK, max_words, threads, &r));
    hone_text t = {0};
    for (int k = 0; k < r.finding_count; k++) {
        const hone_finding *f = &r.finding[k];
        hone_text_add(&t, "\n  %s: %s%s%s", f->kind, f->text, f->example.count ? ", first: " : "",
                      f->example.count ? f->example.item[0] : "");
    }
    /* the report goes before the error is made: the message is a copy */
    int found = r.finding_count;
    hone_data_report_free(&r);
    char *list = hone_text_take(&t);
    hone_status s =
        !found ? HONE_OK
               : hone_fail(HONE_ERR_DATA, "mend the data, or train with data.check: off",
                           "data.check: strict: %d finding%s%s", found, found == 1 ? "" : "s", list ? list : "");
    free(list);
    return s;
}
