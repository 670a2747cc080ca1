/* check_text.c - see check_text.h: looks at all rows of all splits and writes findings.
 *
 * Kinds: exact_duplicate_{within,across}, case_duplicate_{within,across}, near_duplicate_{within,across}
 * (twins.h defines them; across: the first of the texts is in an earlier split, so the row measures what
 * was trained on), label_conflict, empty_text, long_text, imbalance (100 : 1 and more), rare_class (fewer
 * than 10 training rows), class_name, missing_class, skipped_row. */
#include "data/check_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/thread.h"
#include "data/source.h"
#include "data/twins.h"

/* Ten rows are too few to learn from and to measure by; 100 : 1 makes "always the largest" look good. */
enum { EXAMPLES = 5, RARE_ROWS = 10, IMBALANCE = 100 };

/* All rows in one order: train, val, test. */
typedef struct all_rows {
    const hone_data *d;
    const hone_dataset *set[3]; /* train, val, test; NULL where the data have none                    */
    int64_t begin[4];           /* of each split in row                                                        */
    const hone_text_row **row;  /* (count)                                                            */
    int64_t count;
} all_rows;

/* Split of a row by its place in the one order. */
static int split_of(const all_rows *a, int64_t i) { return i < a->begin[1] ? 0 : i < a->begin[2] ? 1 : 2; }

/* "test.tsv:7 (test)": where val is cut from train, the file does not tell the split. */
static const char *place_of(const all_rows *a, int64_t i, char *out, size_t bytes)
{
    int s = split_of(a, i);
    hone_dataset_source(a->set[s], i - a->begin[s], out, bytes - 16);
    size_t used = strlen(out);
    snprintf(out + used, bytes - used, " (%s)", hone_split_name((hone_split)s));
    return out;
}

/* A new finding at the end of the list; NULL: memory exhausted. */
static hone_finding *add_finding(hone_text_report *r, const char *kind)
{
    /* the list may move: callers keep no pointer over the next call */
    hone_finding *grown = realloc(r->finding, ((size_t)r->finding_count + 1) * sizeof *grown);
    if (!grown) return NULL;
    r->finding = grown;
    hone_finding *f = &grown[r->finding_count++];
    *f = (hone_finding){.kind = kind};
    return f;
}

/* Sets the sentence of a finding. */
static hone_status HONE_PRINTF(2, 3) say(hone_finding *f, const char *fmt, ...)
{
    hone_text t = {0};
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    f->text = hone_text_take(&t);
    return f->text ? HONE_OK : hone_no_memory("a finding", 0);
}

/* The last finding counts one more; the first few get an example. */
static hone_status HONE_PRINTF(2, 3) count_one(hone_finding *f, const char *fmt, ...)
{
    /* all are counted, a handful is shown: the rest is for the user's own tools */
    if (f->count++ >= EXAMPLES) return HONE_OK;
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

/* Drops the last finding if it found nothing. */
static void drop_if_none(hone_text_report *r)
{
    hone_finding *f = &r->finding[r->finding_count - 1];
    if (f->count) return; /* it stays, as the last one */
    hone_names_free(&f->example);
    free(f->text);
    r->finding_count--;
}

/* Rows that are copies by `first`, but not already by `closer` (NULL: none). */
static hone_status find_copies(const all_rows *a, const int64_t *first, const int64_t *closer, bool across,
                               const char *kind, const char *what, hone_text_report *r)
{
    hone_finding *f = add_finding(r, kind);
    char x[HONE_SHOWN], y[HONE_SHOWN];
    if (!f) return hone_no_memory("a finding", 0);
    for (int64_t i = 0; i < a->count; i++) {
        /* a row is told once, by the closest kind of copy */
        if (first[i] == i || (closer && closer[i] != i)) continue;
        if (a->row[i]->bytes == 0) continue; /* empty texts are a finding of their own */
        /* the first copy is in the earliest split that has one, as rows stand in the order of splits */
        if ((split_of(a, i) != split_of(a, first[i])) != across) continue;
        HONE_TRY(count_one(f, "%s = %s", place_of(a, i, x, sizeof x), place_of(a, first[i], y, sizeof y)));
    }
    HONE_TRY(say(f, "%lld row%s %s an earlier one %s", (long long)f->count, f->count == 1 ? " is" : "s are", what,
                 across ? "of another split: scores on it are too good" : "of the same split"));
    drop_if_none(r);
    return HONE_OK;
}

/* The same text with another class than its first copy has. */
static hone_status find_conflicts(const all_rows *a, const int64_t *folded, hone_text_report *r)
{
    hone_finding *f = add_finding(r, "label_conflict");
    char x[HONE_SHOWN], y[HONE_SHOWN];
    if (!f) return hone_no_memory("a finding", 0);
    for (int64_t i = 0; i < a->count; i++) {
        const hone_text_row *row = a->row[i], *first = a->row[folded[i]];
        /* empty texts of two classes are no contradiction worth telling */
        if (row->label == first->label || row->bytes == 0) continue;
        HONE_TRY(count_one(f, "%s is \"%s\", %s is \"%s\"", place_of(a, i, x, sizeof x),
                           hone_shown(a->d->class_name[row->label]), place_of(a, folded[i], y, sizeof y),
                           hone_shown(a->d->class_name[first->label])));
    }
    HONE_TRY(say(f, "%lld row%s the text of an earlier one and another class", (long long)f->count,
                 f->count == 1 ? " has" : "s have"));
    drop_if_none(r);
    return HONE_OK;
}

/* Copies of every degree. */
static hone_status find_twins(const all_rows *a, int threads, hone_text_report *r)
{
    hone_twins t; /* for each row the first one like it, in three degrees */
    HONE_TRY(hone_twins_find(a->row, a->count, threads, &t));
    hone_status s = find_copies(a, t.exact, NULL, true, "exact_duplicate_across", "the same as", r);
    if (s == HONE_OK) s = find_copies(a, t.exact, NULL, false, "exact_duplicate_within", "the same as", r);
    if (s == HONE_OK)
        s = find_copies(a, t.folded, t.exact, true, "case_duplicate_across", "but for case and spaces the same as", r);
    if (s == HONE_OK)
        s = find_copies(a, t.folded, t.exact, false, "case_duplicate_within", "but for case and spaces the same as", r);
    if (s == HONE_OK) s = find_copies(a, t.near, t.folded, true, "near_duplicate_across", "nearly the same as", r);
    if (s == HONE_OK) s = find_copies(a, t.near, t.folded, false, "near_duplicate_within", "nearly the same as", r);
    if (s == HONE_OK) s = find_conflicts(a, t.folded, r);
    hone_twins_free(&t);
    return s;
}

/* Characters (code points) and words (runs without white space) of a text. */
static void measure(const char *text, size_t bytes, int64_t *characters, int64_t *words)
{
    bool inside = false;
    for (size_t k = 0; k < bytes; k++) {
        unsigned char c = (unsigned char)text[k];
        /* as the n-gram tokenizer splits, so that the count is that of its words */
        bool space = c <= ' ';
        *characters += (c & 0xC0) != 0x80; /* each but continuation bytes begins one */
        *words += !space && !inside;
        inside = !space;
    }
}

/* Ascending. */
static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest-rank percentiles; sorts `v` (n). */
static hone_lengths summarise(int64_t *v, int64_t n)
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

/* Lengths of all rows, and the findings that come with them. */
static hone_status find_lengths(const all_rows *a, int what, int64_t max_words, hone_text_report *r)
{
    int64_t *characters = calloc((size_t)a->count + 1, sizeof *characters);
    int64_t *words = calloc((size_t)a->count + 1, sizeof *words);
    hone_finding empty = {.kind = "empty_text"}, lengthy = {.kind = "long_text"};
    char x[HONE_SHOWN];
    hone_status s = characters && words ? HONE_OK : hone_no_memory("lengths", (size_t)a->count * sizeof *words);
    for (int64_t i = 0; s == HONE_OK && i < a->count; i++) {
        const hone_text_row *row = a->row[i];
        measure(row->text, row->bytes, &characters[i], &words[i]);
        if (row->second) measure(row->second, row->second_bytes, &characters[i], &words[i]);
        /* no word: nothing that a tokenizer could see */
        if (words[i] == 0) s = count_one(&empty, "%s", place_of(a, i, x, sizeof x));
        if (s == HONE_OK && words[i] > max_words)
            s = count_one(&lengthy, "%s (%lld words)", place_of(a, i, x, sizeof x), (long long)words[i]);
    }
    if (s == HONE_OK) r->characters = summarise(characters, a->count);
    if (s == HONE_OK) r->words = summarise(words, a->count);
    free(characters);
    free(words);
    /* kept aside until now, because the lists grow in one place only */
    hone_finding *const found[2] = {&empty, &lengthy};
    for (int k = 0; k < 2; k++) {
        hone_finding *f =
            s == HONE_OK && what == HONE_REPORT_CHECK && found[k]->count ? add_finding(r, found[k]->kind) : NULL;
        if (f) {
            *f = *found[k];
            s = k == 0 ? say(f, "%lld text%s nothing but white space", (long long)f->count,
                             f->count == 1 ? " is" : "s are")
                       : say(f, "%lld text%s more than %lld words (text.max_length) and will be cut",
                             (long long)f->count, f->count == 1 ? " has" : "s have", (long long)max_words);
        } else {
            hone_names_free(&found[k]->example);
        }
    }
    return s;
}

/* Rows of each class in each split. */
static hone_status count_classes(const all_rows *a, hone_text_report *r)
{
    r->classes = a->d->classes;
    r->class_name = (const char *const *)a->d->class_name;
    /* (classes, 3) */
    r->class_rows = calloc((size_t)r->classes * 3 + 1, sizeof *r->class_rows);
    if (!r->class_rows) return hone_no_memory("class counts", 0);
    for (int64_t i = 0; i < a->count; i++) r->class_rows[a->row[i]->label * 3 + split_of(a, i)]++;
    for (int k = 0; k < 3; k++) r->rows[k] = a->begin[k + 1] - a->begin[k];
    return HONE_OK;
}

/* Names that are likely not meant: spaces at the ends, and what programs write for "no value". */
static hone_status find_class_names(const all_rows *a, hone_text_report *r)
{
    /* pandas, R, SQL, spreadsheets and Python each write their own */
    static const char *const missing[] = {"nan", "NaN", "null", "NULL", "None", "none", "N/A", "n/a", "NA", "?", "-"};
    hone_finding *f = add_finding(r, "class_name");
    if (!f) return hone_no_memory("a finding", 0);
    for (int k = 0; k < a->d->classes; k++) {
        const char *name = a->d->class_name[k];
        size_t n = strlen(name);
        if (*name == ' ' || (n && name[n - 1] == ' '))
            HONE_TRY(count_one(f, "\"%s\" has a space at an end", hone_shown(name)));
        for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
            if (strcmp(name, missing[i]) == 0) HONE_TRY(count_one(f, "\"%s\" looks like a missing value", name));
    }
    for (int k = 0; k < a->d->note_count; k++) /* found while opening */
        if (strstr(a->d->note[k], "differ only in case or spaces")) HONE_TRY(count_one(f, "%s", a->d->note[k]));
    HONE_TRY(
        say(f, "%lld class name%s not meant so", (long long)f->count, f->count == 1 ? " is likely" : "s are likely"));
    drop_if_none(r);
    return HONE_OK;
}

/* Classes with few rows, and the largest beside the smallest. */
static hone_status find_imbalance(const all_rows *a, hone_text_report *r)
{
    hone_finding *f = add_finding(r, "rare_class");
    int most = 0, least = 0;
    if (!f) return hone_no_memory("a finding", 0);
    for (int k = 0; k < r->classes; k++) {
        int64_t n = r->class_rows[k * 3]; /* in train */
        if (n > r->class_rows[most * 3]) most = k;
        if (n < r->class_rows[least * 3]) least = k;
        if (n < RARE_ROWS) HONE_TRY(count_one(f, "\"%s\": %lld", hone_shown(r->class_name[k]), (long long)n));
    }
    HONE_TRY(say(f, "%lld class%s fewer than %d training rows", (long long)f->count, f->count == 1 ? " has" : "es have",
                 RARE_ROWS));
    drop_if_none(r);
    /* of train alone: that is what the net sees */
    int64_t high = r->class_rows[most * 3], low = r->class_rows[least * 3];
    if (r->classes < 2 || high < IMBALANCE * (low ? low : 1)) return HONE_OK;
    if (!(f = add_finding(r, "imbalance"))) return hone_no_memory("a finding", 0);
    f->count = low ? high / low : high; /* the ratio, rounded down */
    (void)a;
    return say(
        f,
        "\"%s\" has %lld training rows, \"%s\" %lld: accuracy alone says little (train.loss.class_weights, f1_macro)",
        hone_shown(r->class_name[most]), (long long)high, hone_shown(r->class_name[least]), (long long)low);
}

/* Classes that a split doesn't measure, and rows that were left out while reading. */
static hone_status find_missing(const all_rows *a, hone_text_report *r)
{
    for (int s = 1; s < 3; s++) {
        if (r->rows[s] == 0) continue; /* a split that is not there lacks nothing */
        hone_finding *f = add_finding(r, "missing_class");
        if (!f) return hone_no_memory("a finding", 0);
        for (int k = 0; k < r->classes; k++)
            if (r->class_rows[k * 3 + s] == 0) HONE_TRY(count_one(f, "\"%s\"", hone_shown(r->class_name[k])));
        HONE_TRY(say(f, "%lld class%s no row in %s", (long long)f->count, f->count == 1 ? " has" : "es have",
                     hone_split_name((hone_split)s)));
        drop_if_none(r);
    }
    hone_finding *f = add_finding(r, "skipped_row");
    if (!f) return hone_no_memory("a finding", 0);
    for (int s = 0; s < 3; s++) {
        const char *const *reason;
        /* with on_error: stop there are none */
        int n = a->set[s] ? hone_dataset_skipped(a->set[s], &reason) : 0;
        for (int k = 0; k < n; k++) HONE_TRY(count_one(f, "%s", reason[k]));
    }
    HONE_TRY(say(f, "%lld broken row%s left out (data.on_error: skip)", (long long)f->count,
                 f->count == 1 ? " is" : "s are"));
    drop_if_none(r);
    return HONE_OK;
}

/* Pointers to all rows. */
static hone_status collect(const hone_data *d, all_rows *a)
{
    const hone_dataset *set[3] = {d->train, d->val, d->test};
    *a = (all_rows){.d = d};
    for (int k = 0; k < 3; k++) {
        a->set[k] = set[k];
        a->begin[k + 1] = a->begin[k] + (set[k] ? hone_dataset_count(set[k]) : 0);
    }
    a->row = malloc((size_t)a->begin[3] * sizeof *a->row + 1);
    if (!a->row) return hone_no_memory("rows", (size_t)a->begin[3] * sizeof *a->row);
    for (int k = 0; k < 3; k++) {
        /* pointers, not copies: rows are 48 bytes */
        const hone_text_rows *t = hone_dataset_texts(set[k]);
        for (int64_t i = 0; t && i < t->count; i++) a->row[a->count++] = &t->row[i];
    }
    return HONE_OK;
}

/* One pass a question; the order of findings is that of their weight. */
hone_status hone_text_report_make(const hone_data *d, int what, int64_t max_words, int threads, hone_text_report *out)
{
    all_rows a;
    *out = (hone_text_report){0};
    /* a caller's mistake that users can make, too: hone data check on pictures */
    if (!hone_dataset_texts(d->train))
        return hone_fail(HONE_ERR_USAGE, "give a text data set",
                         "checks of pictures are not there yet: text only so far");
    HONE_TRY(collect(d, &a));
    hone_status s = count_classes(&a, out);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_twins(&a, threads > 0 ? threads : hone_cpu_count(), out);
    if (s == HONE_OK) s = find_lengths(&a, what, max_words, out);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_imbalance(&a, out);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_class_names(&a, out);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_missing(&a, out);
    free(a.row);
    if (s != HONE_OK) hone_text_report_free(out);
    return s;
}

/* Class names belong to the data. */
void hone_text_report_free(hone_text_report *r)
{
    for (int k = 0; k < r->finding_count; k++) {
        free(r->finding[k].text);
        hone_names_free(&r->finding[k].example);
    }
    free(r->finding);
    free(r->class_rows);
    *r = (hone_text_report){0};
}
