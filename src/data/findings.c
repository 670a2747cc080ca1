/* findings.c - see findings.h: the list of findings, and the questions about classes.
 *
 * Kinds made here: label_conflict, imbalance (100 : 1 and more), empty_class (no training row), rare_class
 * (fewer than 10 training rows), class_name, missing_class, skipped_row. Nothing here knows what a row holds. */
#include "data/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/thread.h"
#include "data/source.h"

/* Ten rows are too few to learn from and to measure by; 100 : 1 makes "always the largest" look good. */
enum { RARE_ROWS = 10, IMBALANCE = 100 };

/* A view: nothing is copied, and `d` must live as long. */
hone_all_rows hone_all_rows_of(const hone_data *d)
{
    hone_all_rows a = {.d = d, .set = {d->train, d->val, d->test}};
    for (int k = 0; k < 3; k++) a.begin[k + 1] = a.begin[k] + (a.set[k] ? hone_dataset_count(a.set[k]) : 0);
    return a;
}

/* Two comparisons, as there are never more than three splits. */
int hone_all_rows_split(const hone_all_rows *a, int64_t i) { return i < a->begin[1] ? 0 : i < a->begin[2] ? 1 : 2; }

int32_t hone_all_rows_label(const hone_all_rows *a, int64_t i)
{
    /* of the view, not of the source: val may be a cut of train */
    int s = hone_all_rows_split(a, i);
    return hone_dataset_labels(a->set[s])[i - a->begin[s]];
}

/* The 16 bytes kept back hold the name of the split. */
const char *hone_all_rows_place(const hone_all_rows *a, int64_t i, char *out, size_t bytes)
{
    int s = hone_all_rows_split(a, i);
    hone_dataset_source(a->set[s], i - a->begin[s], out, bytes - 16);
    size_t used = strlen(out);
    snprintf(out + used, bytes - used, " (%s)", hone_split_name((hone_split)s));
    return out;
}

/* The list may move: callers keep no pointer over the next call. */
hone_finding *hone_finding_add(hone_data_report *r, const char *kind)
{
    hone_finding *grown = realloc(r->finding, ((size_t)r->finding_count + 1) * sizeof *grown);
    if (!grown) return NULL;
    r->finding = grown;
    hone_finding *f = &grown[r->finding_count++];
    *f = (hone_finding){.kind = kind};
    return f;
}

/* Once a finding, when its count is known. */
hone_status hone_finding_say(hone_finding *f, const char *fmt, ...)
{
    hone_text t = {0};
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    f->text = hone_text_take(&t);
    return f->text ? HONE_OK : hone_no_memory("a finding", 0);
}

/* All are counted, a handful is shown: the rest is for the user's own tools. */
hone_status hone_finding_count(hone_finding *f, int shown, const char *fmt, ...)
{
    if (f->count++ >= shown) return HONE_OK;
    hone_text t = {0};
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    char *text = hone_text_take(&t);
    hone_status s = text ? hone_names_add(&f->example, text) : hone_no_memory("a finding", 0);
    free(text);
    return s;
}

/* So that a pass may begin its finding before it knows whether there is one. */
void hone_finding_drop_if_none(hone_data_report *r)
{
    hone_finding *f = &r->finding[r->finding_count - 1];
    if (f->count) return; /* it stays, as the last one */
    hone_names_free(&f->example);
    free(f->text);
    r->finding_count--;
}

/* A finding that was counted beside the list enters it, or is freed where it counted nothing or `s` is a failure. */
hone_status hone_finding_keep(hone_data_report *r, hone_finding *f, hone_status s)
{
    /* moved by value: text and examples go along */
    hone_finding *place = s == HONE_OK && f->count ? hone_finding_add(r, f->kind) : NULL;
    if (place) {
        *place = *f;
        return HONE_OK;
    }
    hone_names_free(&f->example);
    free(f->text);
    return s == HONE_OK && f->count ? hone_no_memory("a finding", 0) : s;
}

/* "row" or "picture", and the plural where `n` wants one. */
static const char *noun(const hone_data_report *r, int64_t n)
{
    return r->pictures ? (n == 1 ? "picture" : "pictures") : (n == 1 ? "row" : "rows");
}

/* Pairs are named by their first: of five copies four are findings, and all of them name the same one. */
hone_status hone_findings_copies(const hone_all_rows *a, const int64_t *first, const int64_t *closer, bool across,
                                 const char *kind, const char *what, hone_data_report *r)
{
    hone_finding *f = hone_finding_add(r, kind);
    char x[HONE_SHOWN], y[HONE_SHOWN];
    if (!f) return hone_no_memory("a finding", 0);
    for (int64_t i = 0; i < a->begin[3]; i++) {
        /* a row is told once, by the closest kind of copy */
        if (first[i] == i || (closer && closer[i] != i)) continue;
        /* the first copy is in the earliest split that has one, as rows stand in the order of splits */
        if ((hone_all_rows_split(a, i) != hone_all_rows_split(a, first[i])) != across) continue;
        HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "%s = %s", hone_all_rows_place(a, i, x, sizeof x),
                                    hone_all_rows_place(a, first[i], y, sizeof y)));
    }
    HONE_TRY(hone_finding_say(f, "%lld %s %s %s an earlier one %s", (long long)f->count, noun(r, f->count),
                              f->count == 1 ? "is" : "are", what,
                              across ? "of another split: scores on it are too good" : "of the same split"));
    hone_finding_drop_if_none(r);
    return HONE_OK;
}

/* What one of the two is called must be wrong, whatever the net learns. */
hone_status hone_findings_conflicts(const hone_all_rows *a, const int64_t *first, const char *what, hone_data_report *r)
{
    hone_finding *f = hone_finding_add(r, "label_conflict");
    char x[HONE_SHOWN], y[HONE_SHOWN];
    if (!f) return hone_no_memory("a finding", 0);
    for (int64_t i = 0; i < a->begin[3]; i++) {
        int32_t mine = hone_all_rows_label(a, i), other = hone_all_rows_label(a, first[i]);
        /* a row that is no copy is its own first, and agrees with itself */
        if (mine == other) continue;
        HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "%s is \"%s\", %s is \"%s\"",
                                    hone_all_rows_place(a, i, x, sizeof x), hone_shown(r->class_name[mine]),
                                    hone_all_rows_place(a, first[i], y, sizeof y), hone_shown(r->class_name[other])));
    }
    HONE_TRY(hone_finding_say(f, "%lld %s the %s of an earlier one and another class", (long long)f->count,
                              f->count == 1 ? (r->pictures ? "picture has" : "row has")
                              : r->pictures ? "pictures have"
                                            : "rows have",
                              what));
    hone_finding_drop_if_none(r);
    return HONE_OK;
}

/* Ascending. */
static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest-rank percentiles; sorts `v` (n). */
hone_lengths hone_lengths_of(int64_t *v, int64_t n)
{
    hone_lengths l = {0};
    if (n == 0) return l;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)v[i];
    /* exact percentiles: sorting millions of numbers costs less than reading their texts */
    qsort(v, (size_t)n, sizeof *v, compare_i64);
    l = (hone_lengths){.min = v[0],
                       .p5 = v[(n - 1) * 5 / 100],
                       .p50 = v[(n - 1) / 2],
                       .p95 = v[(n - 1) * 95 / 100],
                       .p99 = v[(n - 1) * 99 / 100],
                       .max = v[n - 1],
                       .mean = sum / (double)n};
    return l;
}

/* Rows of each class in each split. */
hone_status hone_findings_classes(const hone_all_rows *a, hone_data_report *r)
{
    r->classes = a->d->classes;
    r->class_name = (const char *const *)a->d->class_name;
    /* (classes, 3) */
    r->class_rows = calloc((size_t)r->classes * 3 + 1, sizeof *r->class_rows);
    if (!r->class_rows) return hone_no_memory("class counts", 0);
    for (int64_t i = 0; i < a->begin[3]; i++)
        r->class_rows[hone_all_rows_label(a, i) * 3 + hone_all_rows_split(a, i)]++;
    for (int k = 0; k < 3; k++) r->rows[k] = a->begin[k + 1] - a->begin[k];
    return HONE_OK;
}

/* Names that are likely not meant: spaces at the ends, and what programs write for "no value". */
static hone_status find_class_names(const hone_all_rows *a, hone_data_report *r)
{
    /* pandas, R, SQL, spreadsheets and Python each write their own */
    static const char *const missing[] = {"nan", "NaN", "null", "NULL", "None", "none", "N/A", "n/a", "NA", "?", "-"};
    hone_finding *f = hone_finding_add(r, "class_name");
    if (!f) return hone_no_memory("a finding", 0);
    for (int k = 0; k < a->d->classes; k++) {
        const char *name = a->d->class_name[k];
        size_t n = strlen(name);
        if (*name == ' ' || (n && name[n - 1] == ' '))
            HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "\"%s\" has a space at an end", hone_shown(name)));
        for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
            if (strcmp(name, missing[i]) == 0)
                HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "\"%s\" looks like a missing value", name));
    }
    for (int k = 0; k < a->d->note_count; k++) /* found while opening */
        if (strstr(a->d->note[k], "differ only in case or spaces"))
            HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "%s", a->d->note[k]));
    HONE_TRY(hone_finding_say(f, "%lld class name%s not meant so", (long long)f->count,
                              f->count == 1 ? " is likely" : "s are likely"));
    hone_finding_drop_if_none(r);
    return HONE_OK;
}

/* Classes with no or few rows in train, and the largest beside the smallest that has any. */
static hone_status find_imbalance(hone_data_report *r)
{
    /* both grow at once, so they enter the list at the end */
    hone_finding empty = {.kind = "empty_class"}, rare = {.kind = "rare_class"};
    /* classes by their training rows; least: of those that have any */
    int most = 0, least = -1;
    hone_status s = HONE_OK;
    for (int k = 0; s == HONE_OK && k < r->classes; k++) {
        int64_t n = r->class_rows[k * 3]; /* in train alone: that is what the net sees */
        if (n > r->class_rows[most * 3]) most = k;
        if (n > 0 && (least < 0 || n < r->class_rows[least * 3])) least = k;
        if (n == 0) s = hone_finding_count(&empty, HONE_EXAMPLES, "\"%s\"", hone_shown(r->class_name[k]));
        else if (n < RARE_ROWS)
            s = hone_finding_count(&rare, HONE_EXAMPLES, "\"%s\": %lld", hone_shown(r->class_name[k]), (long long)n);
    }
    if (s == HONE_OK && empty.count)
        s = hone_finding_say(&empty, "%lld class%s no training %s: remove or fill %s", (long long)empty.count,
                             empty.count == 1 ? " has" : "es have", noun(r, 1), empty.count == 1 ? "it" : "them");
    if (s == HONE_OK && rare.count)
        s = hone_finding_say(&rare, "%lld class%s fewer than %d training %s", (long long)rare.count,
                             rare.count == 1 ? " has" : "es have", RARE_ROWS, noun(r, 2));
    s = hone_finding_keep(r, &empty, s);
    s = hone_finding_keep(r, &rare, s);
    if (s != HONE_OK || r->classes < 2 || least < 0) return s;
    int64_t high = r->class_rows[most * 3], low = r->class_rows[least * 3];
    if (high < IMBALANCE * low) return HONE_OK;
    hone_finding *f = hone_finding_add(r, "imbalance");
    if (!f) return hone_no_memory("a finding", 0);
    f->count = high / low; /* the ratio, rounded down */
    return hone_finding_say(
        f, "\"%s\" has %lld training %s, \"%s\" %lld: accuracy alone says little (train.loss.class_weights, f1_macro)",
        hone_shown(r->class_name[most]), (long long)high, noun(r, 2), hone_shown(r->class_name[least]), (long long)low);
}

/* Classes that a split doesn't measure, and rows that were left out while reading. */
static hone_status find_missing(const hone_all_rows *a, hone_data_report *r)
{
    for (int s = 1; s < 3; s++) {
        if (r->rows[s] == 0) continue; /* a split that is not there lacks nothing */
        hone_finding *f = hone_finding_add(r, "missing_class");
        if (!f) return hone_no_memory("a finding", 0);
        for (int k = 0; k < r->classes; k++)
            if (r->class_rows[k * 3 + s] == 0)
                HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "\"%s\"", hone_shown(r->class_name[k])));
        HONE_TRY(hone_finding_say(f, "%lld class%s no %s in %s", (long long)f->count,
                                  f->count == 1 ? " has" : "es have", noun(r, 1), hone_split_name((hone_split)s)));
        hone_finding_drop_if_none(r);
    }
    hone_finding *f = hone_finding_add(r, "skipped_row");
    if (!f) return hone_no_memory("a finding", 0);
    for (int s = 0; s < 3; s++) {
        const char *const *reason;
        /* with on_error: stop there are none */
        int n = a->set[s] ? hone_dataset_skipped(a->set[s], &reason) : 0;
        for (int k = 0; k < n; k++) HONE_TRY(hone_finding_count(f, HONE_EXAMPLES, "%s", reason[k]));
    }
    HONE_TRY(hone_finding_say(f, "%lld broken row%s left out (data.on_error: skip)", (long long)f->count,
                              f->count == 1 ? " is" : "s are"));
    hone_finding_drop_if_none(r);
    return HONE_OK;
}

/* One pass a question; the order of findings is that of their weight. */
hone_status hone_findings_of_classes(const hone_all_rows *a, hone_data_report *r)
{
    HONE_TRY(find_imbalance(r));
    HONE_TRY(find_class_names(a, r));
    return find_missing(a, r);
}

/* Pictures and texts differ in what a copy is and in what is measured; the rest is common. */
hone_status hone_data_report_make(const hone_data *d, int what, int64_t max_words, int threads, hone_data_report *out)
{
    hone_all_rows a = hone_all_rows_of(d);
    *out = (hone_data_report){.pictures = !hone_dataset_is_text(d->train)};
    /* 0 is "all" on every command line of hone */
    if (threads < 1) threads = hone_cpu_count();
    /* counts first: every message below may name them */
    hone_status s = hone_findings_classes(&a, out);
    if (s == HONE_OK)
        s = out->pictures ? hone_check_pictures(&a, what, threads, out)
                          : hone_check_texts(&a, what, max_words, threads, out);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = hone_findings_of_classes(&a, out);
    if (s != HONE_OK) hone_data_report_free(out);
    return s;
}

/* Class names belong to the data. */
void hone_data_report_free(hone_data_report *r)
{
    for (int k = 0; k < r->finding_count; k++) {
        free(r->finding[k].text);
        hone_names_free(&r->finding[k].example);
    }
    free(r->finding);
    free(r->class_rows);
    *r = (hone_data_report){0};
}
