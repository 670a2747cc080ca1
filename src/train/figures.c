/* figures.c - what an evaluation says, from its per-sample results: no programs, no files.
 *
 * Definitions as scikit-learn's: precision, recall and F1 of a class that was never predicted or never
 * true are 0; f1_macro is the plain mean over the classes that occur in truth or prediction. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/evaluate.h"

/* All arrays at once, so that a round over the data can't fail halfway for memory. */
hone_status hone_evaluation_make(int64_t n, int classes, const hone_model *names, hone_evaluation *out)
{
    /* confusion (classes, classes); arrays of a row are never of size 0, which calloc may answer by NULL */
    size_t c = (size_t)classes, rows = (size_t)(n > 0 ? n : 1);
    *out = (hone_evaluation){.n = n, .classes = classes};
    out->class_name = calloc(c, sizeof *out->class_name);
    out->precision = calloc(c, sizeof(double));
    out->recall = calloc(c, sizeof(double));
    out->f1 = calloc(c, sizeof(double));
    out->support = calloc(c, sizeof(int64_t));
    out->confusion = calloc(c * c, sizeof(int64_t));
    out->truth = calloc(rows, sizeof(int32_t));
    out->predicted = calloc(rows, sizeof(int32_t));
    out->row_loss = calloc(rows, sizeof(float));
    out->score = calloc(rows, sizeof(float));
    bool ok = out->class_name && out->precision && out->recall && out->f1 && out->support && out->confusion &&
              out->truth && out->predicted && out->row_loss && out->score;
    for (int k = 0; k < classes && ok; k++) ok = (out->class_name[k] = hone_strdup(hone_model_class_name(names, k)));
    if (ok) return HONE_OK;
    hone_evaluation_free(out);
    return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the results of %lld samples, %d classes", (long long)n,
                     classes);
}

/* Also frees a half-made one: class_name is NULL-filled before its texts are copied. */
void hone_evaluation_free(hone_evaluation *e)
{
    for (int k = 0; k < e->classes && e->class_name; k++) free(e->class_name[k]);
    free(e->class_name);
    free(e->precision);
    free(e->recall);
    free(e->f1);
    free(e->support);
    free(e->confusion);
    free(e->truth);
    free(e->predicted);
    free(e->row_loss);
    free(e->score);
    free(e->mistakes);
    *e = (hone_evaluation){0};
}

/* From the confusion matrix: rows are truth, columns prediction. */
static void class_figures(hone_evaluation *e)
{
    double f1_sum = 0;
    int present = 0;
    for (int c = 0; c < e->classes; c++) {
        int64_t predicted = 0, hits = e->confusion[c * (int64_t)e->classes + c];
        for (int t = 0; t < e->classes; t++) predicted += e->confusion[t * (int64_t)e->classes + c];
        e->precision[c] = predicted ? (double)hits / (double)predicted : 0;
        e->recall[c] = e->support[c] ? (double)hits / (double)e->support[c] : 0;
        /* F1 = 2 TP / (2 TP + FP + FN), which needs no special case for 0/0 of its parts */
        e->f1[c] = predicted + e->support[c] ? 2.0 * (double)hits / (double)(predicted + e->support[c]) : 0;
        present += predicted + e->support[c] > 0;
        f1_sum += e->f1[c];
    }
    e->f1_macro = present ? f1_sum / present : 0;
}

/* From truth, predicted and row_loss (n each). Sums in double and in sample order: the same bytes each run. */
void hone_evaluation_finish(hone_evaluation *e)
{
    int64_t hits = 0;
    double loss = 0;
    memset(e->support, 0, (size_t)e->classes * sizeof *e->support);
    memset(e->confusion, 0, (size_t)e->classes * (size_t)e->classes * sizeof *e->confusion);
    for (int64_t k = 0; k < e->n; k++) {
        hits += e->truth[k] == e->predicted[k];
        loss += (double)e->row_loss[k];
        e->support[e->truth[k]]++;
        e->confusion[e->truth[k] * (int64_t)e->classes + e->predicted[k]]++;
    }
    e->accuracy = e->n ? (double)hits / (double)e->n : 0;
    e->loss = e->n ? loss / (double)e->n : 0;
    hone_wilson(hits, e->n, &e->accuracy_low, &e->accuracy_high);
    class_figures(e);
}

/* A sorted list of at most `most`: the matrix may be 1000 x 1000, the list is 5. */
int hone_evaluation_confused(const hone_evaluation *e, int most, hone_confused *out)
{
    int count = 0;
    for (int t = 0; t < e->classes; t++) {
        for (int p = 0; p < e->classes; p++) {
            int64_t n = e->confusion[t * (int64_t)e->classes + p];
            if (t == p || n == 0 || most <= 0) continue;
            int at = count < most ? count++ : most; /* insertion keeps equal counts in class order */
            if (at == most && out[most - 1].count >= n) continue;
            if (at == most) at = most - 1;
            for (; at > 0 && out[at - 1].count < n; at--) out[at] = out[at - 1];
            out[at] = (hone_confused){t, p, n};
        }
    }
    return count;
}
