/* report.c - the texts of an evaluation: report.json (the object that `eval --json` prints too),
 * confusion.csv, worst.csv. Nine significant digits, so that a float survives the way through text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/evaluate.h"
#include "train/metrics.h"

/* NaN and infinities have no JSON form. */
void hone_json_number(hone_text *t, double value)
{
    if (isfinite(value)) hone_text_add(t, "%.9g", value);
    else hone_text_add(t, "null"); /* JSON has no NaN */
}

/* "key":value. */
static void add_pair(hone_text *t, const char *key, double value)
{
    hone_text_add(t, "\"%s\":", key);
    hone_json_number(t, value);
}

/* One entry of per_class. */
static void add_class(hone_text *t, const hone_evaluation *e, int c)
{
    hone_text_add(t, "%s{\"label\":", c ? "," : "");
    hone_text_json(t, e->class_name[c]);
    hone_text_add(t, ",");
    add_pair(t, "precision", e->precision[c]);
    hone_text_add(t, ",");
    add_pair(t, "recall", e->recall[c]);
    hone_text_add(t, ",");
    add_pair(t, "f1", e->f1[c]);
    hone_text_add(t, ",\"support\":%lld}", (long long)e->support[c]);
}

/* Keys are the contract of `hone eval --json`: adding is free, renaming is not. */
char *hone_evaluation_json(const hone_evaluation *e)
{
    hone_text t = {0};
    hone_text_add(&t, "{\"n\":%lld,", (long long)e->n);
    add_pair(&t, "accuracy", e->accuracy);
    hone_text_add(&t, ",\"accuracy_95\":[");
    hone_json_number(&t, e->accuracy_low);
    hone_text_add(&t, ",");
    hone_json_number(&t, e->accuracy_high);
    hone_text_add(&t, "],");
    add_pair(&t, "f1_macro", e->f1_macro);
    hone_text_add(&t, ",");
    add_pair(&t, "loss", e->loss);
    hone_text_add(&t, ",\"device\":\"%s\",\"precision\":\"%s\",\"per_class\":[", e->device,
                  hone_precision_name(e->computed_in));
    for (int c = 0; c < e->classes; c++) add_class(&t, e, c);
    hone_text_add(&t, "],\"confusion\":[");
    for (int r = 0; r < e->classes; r++) {
        hone_text_add(&t, "%s[", r ? "," : "");
        for (int c = 0; c < e->classes; c++)
            hone_text_add(&t, c ? ",%lld" : "%lld", (long long)e->confusion[r * (int64_t)e->classes + c]);
        hone_text_add(&t, "]");
    }
    hone_text_add(&t, "]}");
    return hone_text_take(&t);
}

/* Class names and paths are the users', so they may hold anything. */
void hone_csv_field(hone_text *t, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        hone_text_append(t, s, strlen(s));
        return;
    }
    hone_text_add(t, "\"");
    for (; *s; s++) hone_text_add(t, *s == '"' ? "\"\"" : "%c", *s);
    hone_text_add(t, "\"");
}

/* Rows are truth, columns prediction. */
char *hone_evaluation_confusion_csv(const hone_evaluation *e)
{
    hone_text t = {0};
    hone_text_add(&t, "truth \\ predicted");
    for (int c = 0; c < e->classes; c++) {
        hone_text_add(&t, ",");
        hone_csv_field(&t, e->class_name[c]);
    }
    for (int r = 0; r < e->classes; r++) {
        hone_text_add(&t, "\n");
        hone_csv_field(&t, e->class_name[r]);
        for (int c = 0; c < e->classes; c++)
            hone_text_add(&t, ",%lld", (long long)e->confusion[r * (int64_t)e->classes + c]);
    }
    hone_text_add(&t, "\n");
    return hone_text_take(&t);
}

/* A sample and what it is ranked by. */
typedef struct ranked {
    float loss;
    int64_t sample;
} ranked;

/* qsort order; ties by sample keep the file the same from run to run. */
static int worst_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->loss != y->loss) return x->loss > y->loss ? -1 : 1;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

/* High loss on a clean set is where wrong labels are found. */
char *hone_evaluation_worst_csv(const hone_evaluation *e, const hone_dataset *data, int most)
{
    hone_text t = {0};
    char source[1024];
    /* (n); + 1 because malloc(0) may be NULL */
    ranked *order = malloc(((size_t)e->n + 1) * sizeof *order);
    if (!order) return NULL;
    for (int64_t k = 0; k < e->n; k++) order[k] = (ranked){e->row_loss[k], k};
    qsort(order, (size_t)e->n, sizeof *order, worst_first);
    hone_text_add(&t, "sample,source,truth,predicted,score,loss\n");
    for (int64_t k = 0; k < e->n && k < most; k++) {
        int64_t s = order[k].sample;
        hone_text_add(&t, "%lld,", (long long)s);
        hone_csv_field(&t, hone_dataset_source(data, s, source, sizeof source));
        hone_text_add(&t, ",");
        hone_csv_field(&t, e->class_name[e->truth[s]]);
        hone_text_add(&t, ",");
        hone_csv_field(&t, e->class_name[e->predicted[s]]);
        hone_text_add(&t, ",%.6g,%.6g\n", (double)e->score[s], (double)e->row_loss[s]);
    }
    free(order);
    return hone_text_take(&t);
}
