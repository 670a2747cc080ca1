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

enum { BINS = 10 };

/* Reliability of the predicted class's score in BINS bins of equal width, and the expected calibration error: the mean
 * of |accuracy - score| over the bins, weighted by their samples (Naeini et al. 2015). */
static void add_calibration(hone_text *t, const hone_evaluation *e)
{
    int64_t n[BINS] = {0}, hit[BINS] = {0};
    double score[BINS] = {0}, error = 0;
    for (int64_t k = 0; k < e->n; k++) {
        int b = (int)((double)e->score[k] * BINS);
        b = b < 0 ? 0 : b >= BINS ? BINS - 1 : b; /* a score of 1 belongs to the last */
        n[b]++;
        hit[b] += e->predicted[k] == e->truth[k];
        score[b] += (double)e->score[k];
    }
    for (int b = 0; b < BINS; b++) error += fabs((double)hit[b] - score[b]);
    hone_text_add(t, "\"calibration\":{");
    add_pair(t, "ece", e->n ? error / (double)e->n : 0);
    hone_text_add(t, ",\"bins\":[");
    for (int b = 0; b < BINS; b++) {
        double in_bin = n[b] ? (double)n[b] : 1;
        hone_text_add(t, "%s{\"n\":%lld,", b ? "," : "", (long long)n[b]);
        add_pair(t, "confidence", score[b] / in_bin);
        hone_text_add(t, ",");
        add_pair(t, "accuracy", (double)hit[b] / in_bin);
        hone_text_add(t, "}");
    }
    hone_text_add(t, "]},");
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
    hone_text_add(&t, ",\"device\":\"%s\",\"precision\":\"%s\",", e->device, hone_precision_name(e->computed_in));
    add_calibration(&t, e);
    hone_text_add(&t, "\"per_class\":[");
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
    hone_text_append(t, "\"", 1);
    for (size_t n; *s; s += n) { /* up to a quote and with it, which is then written again */
        n = strcspn(s, "\"");
        bool quote = s[n] == '"';
        n += quote;
        hone_text_append(t, s, n);
        if (quote) hone_text_append(t, "\"", 1);
    }
    hone_text_append(t, "\"", 1);
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

int64_t *hone_evaluation_worst(const hone_evaluation *e, int64_t most, int64_t *count)
{
    /* (n); + 1 because malloc(0) may be NULL */
    ranked *order = malloc(((size_t)e->n + 1) * sizeof *order);
    int64_t *sample = malloc(((size_t)e->n + 1) * sizeof *sample);
    *count = e->n < most ? e->n : most;
    if (order && sample) {
        for (int64_t k = 0; k < e->n; k++) order[k] = (ranked){e->row_loss[k], k};
        qsort(order, (size_t)e->n, sizeof *order, worst_first);
        for (int64_t k = 0; k < *count; k++) sample[k] = order[k].sample;
    } else {
        free(sample);
        sample = NULL;
    }
    free(order);
    return sample;
}

/* The beginning of a text on one line: white space and control bytes are one space, and no character is halved. */
static void add_excerpt(hone_text *t, const hone_dataset *data, int64_t sample, size_t most)
{
    const char *text;
    size_t bytes, end;
    hone_dataset_text(data, sample, 0, &text, &bytes);
    end = bytes < most ? bytes : most;
    while (end < bytes && end > 0 && ((uint8_t)text[end] & 0xC0) == 0x80) end--;
    for (size_t k = 0; k < end; k++) {
        bool space = (uint8_t)text[k] <= ' ' || text[k] == 127;
        if (!space) hone_text_append(t, text + k, 1);
        else if (k > 0 && (uint8_t)text[k - 1] > ' ') hone_text_append(t, " ", 1);
    }
    if (end < bytes) hone_text_add(t, "...");
}

/* The last column: pictures are opened by their source, a text is best read where its mistake is listed. */
static void add_text_column(hone_text *t, const hone_dataset *data, int64_t sample)
{
    hone_text excerpt = {0};
    hone_text_add(t, ",");
    add_excerpt(&excerpt, data, sample, 400);
    if (excerpt.data) hone_csv_field(t, excerpt.data);
    t->failed |= excerpt.failed;
    hone_text_free(&excerpt);
}

/* High loss on a clean set is where wrong labels are found. */
char *hone_evaluation_worst_csv(const hone_evaluation *e, const hone_dataset *data, int most)
{
    hone_text t = {0};
    char source[1024];
    int64_t count, *worst = hone_evaluation_worst(e, most, &count);
    if (!worst) return NULL;
    bool texts = hone_dataset_is_text(data);
    hone_text_add(&t, "sample,source,truth,predicted,score,loss%s\n", texts ? ",text" : "");
    for (int64_t k = 0; k < count; k++) {
        int64_t s = worst[k];
        hone_text_add(&t, "%lld,", (long long)s);
        hone_csv_field(&t, hone_dataset_source(data, s, source, sizeof source));
        hone_text_add(&t, ",");
        hone_csv_field(&t, e->class_name[e->truth[s]]);
        hone_text_add(&t, ",");
        hone_csv_field(&t, e->class_name[e->predicted[s]]);
        hone_text_add(&t, ",%.6g,%.6g", (double)e->score[s], (double)e->row_loss[s]);
        if (texts) add_text_column(&t, data, s);
        hone_text_add(&t, "\n");
    }
    free(worst);
    return hone_text_take(&t);
}

/* Wrong answers only: worst.csv also lists right ones of which the model was least sure. */
char *hone_evaluation_mistakes(const hone_evaluation *e, const hone_dataset *data, int most)
{
    hone_text t = {0};
    char source[1024];
    int64_t count, *worst = hone_evaluation_worst(e, e->n, &count);
    if (!worst) return NULL;
    hone_text_add(&t, "%s", ""); /* "" and not NULL where all is right */
    for (int64_t k = 0; k < count && most > 0; k++) {
        int64_t s = worst[k];
        if (e->predicted[s] == e->truth[s]) continue;
        hone_text_add(&t, "  %s -> %s %.3f  %s", e->class_name[e->truth[s]], e->class_name[e->predicted[s]],
                      (double)e->score[s], hone_dataset_source(data, s, source, sizeof source));
        if (hone_dataset_is_text(data)) {
            hone_text_add(&t, "  ");
            add_excerpt(&t, data, s, 100);
        }
        hone_text_add(&t, "\n");
        most--;
    }
    free(worst);
    return hone_text_take(&t);
}
