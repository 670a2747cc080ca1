/* verify.c - reads a written file back and compares its answers with the predictor's (export.h). Parts of the samples
 * run on threads of their own, each with its own walk; batches are of uneven sizes, because the batch axis is free. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "data/image.h"
#include "onnx/export.h"

enum { PARTS_MAX = 16, BATCH = 5 };

static const double RELATIVE = 0.1;

typedef struct job {
    const hone_onnx *m;           /* read back                          */
    const hone_onnx_samples *s;   /* with hone's own answers            */
    int parts;                    /* threads, each with its own walk    */
    double difference[PARTS_MAX]; /* (parts): the largest of each       */
} job;

/* The largest difference of rows [from, from + count) of the walk's probabilities; infinite where one is no number.
 * Among a thousand classes all may be small: a row's differences count as if its largest probability were RELATIVE
 * at the least. */
static hone_status compare(const hone_onnx_samples *s, int64_t from, int64_t count, hone_onnx_run *r, double *worst)
{
    const hone_onnx_array *p = hone_onnx_run_value(r, "probabilities");
    if (!p || p->type != HONE_ONNX_FLOAT || p->count != count * s->classes)
        return hone_fail(HONE_ERR_VERIFY, NULL, "the graph gives no probabilities of %d classes", s->classes);
    const float *expected = s->expected + from * s->classes, *got = p->data;
    for (int64_t n = 0; n < count; n++, expected += s->classes, got += s->classes) {
        double top = 0;
        for (int k = 0; k < s->classes; k++) top = fmax(top, (double)expected[k]);
        for (int k = 0; k < s->classes; k++) {
            double d = fabs((double)got[k] - (double)expected[k]) * (top < RELATIVE ? RELATIVE / top : 1);
            if (!(d <= *worst)) *worst = d == d ? d : INFINITY;
        }
    }
    return HONE_OK;
}

/* The samples of one part, in batches. */
static hone_status run_part(void *arg, int64_t part)
{
    job *j = arg;
    hone_backend *b = NULL;
    hone_onnx_run *r = NULL;
    int64_t from = j->s->count * part / j->parts, end = j->s->count * (part + 1) / j->parts;
    HONE_TRY(hone_backend_open("ref", 1, &b));
    hone_status status = hone_onnx_run_open(j->m, b, &r);
    for (int64_t n; status == HONE_OK && from < end; from += n) {
        n = end - from < BATCH ? end - from : BATCH;
        status = hone_onnx_samples_run(j->s, from, n, r);
        if (status == HONE_OK) status = compare(j->s, from, n, r, &j->difference[part]);
    }
    hone_onnx_run_close(r);
    hone_backend_close(b);
    return status;
}

/* Raw images of other sizes must be prepared as hone prepares them: a sample, scaled to odd sizes, goes through the
 * graph as it is, and through hone's own fitting into the graph again, where nothing is left to prepare. */
static hone_status run_raw(const job *j, int k, hone_onnx_run *r, double *worst)
{
    const hone_preprocess *pre = j->s->pre;
    /* 3/4 to 9/4 of the height, 9/4 to 3/4 of the width: both grow and both shrink, and one of each */
    int height = pre->height * (3 + 2 * k) / 4 + k, width = pre->width * (9 - 2 * k) / 4 + 1;
    size_t plane = (size_t)pre->height * (size_t)pre->width * (size_t)pre->channels;
    uint8_t *raw = malloc((size_t)height * (size_t)width * (size_t)pre->channels), *fit = malloc(plane);
    hone_onnx_samples one = {.pre = pre, .classes = j->s->classes, .count = 1, .pixels = fit};
    hone_status status = raw && fit ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for an image");
    float *expected = NULL;
    if (status == HONE_OK)
        status = hone_resize_bilinear(j->s->pixels + (size_t)k * plane, pre->height, pre->width, pre->channels, raw,
                                      height, width);
    hone_image image = {height, width, pre->channels, 1, raw};
    if (status == HONE_OK) status = hone_image_fit(&image, pre->height, pre->width, pre->channels, pre->resize, fit);
    if (status == HONE_OK) status = hone_onnx_samples_run(&one, 0, 1, r);
    const hone_onnx_array *p = status == HONE_OK ? hone_onnx_run_value(r, "probabilities") : NULL;
    if (p && (expected = malloc((size_t)p->count * sizeof *expected))) {
        memcpy(expected, p->data, (size_t)p->count * sizeof *expected);
        one.expected = expected;
        status = hone_onnx_raw_run(&one, raw, height, width, r);
        if (status == HONE_OK) status = compare(&one, 0, 1, r, worst);
    }
    free(raw);
    free(fit);
    free(expected);
    return status;
}

/* Four sizes: larger, smaller, wide, tall. */
static hone_status run_sizes(const job *j, double *worst)
{
    hone_backend *b = NULL;
    hone_onnx_run *r = NULL;
    HONE_TRY(hone_backend_open("ref", 1, &b));
    hone_status status = hone_onnx_run_open(j->m, b, &r);
    for (int k = 0; k < 4 && k < j->s->count && status == HONE_OK; k++) status = run_raw(j, k, r, worst);
    hone_onnx_run_close(r);
    hone_backend_close(b);
    return status;
}

/* Whatever the graph can't do is a failed check, too: the file is hone's own. */
static hone_status judge(hone_status status, double worst, double tolerance, const char *source)
{
    if (status == HONE_OK && worst <= tolerance) return HONE_OK;
    if (status == HONE_ERR_MEMORY) return status;
    if (status == HONE_OK)
        return hone_fail(HONE_ERR_VERIFY, "this is a fault of hone: no file was left; please report the model's page",
                         "the exported graph's probabilities differ by %.3g from hone's on %s (at most %.3g)", worst,
                         source, tolerance);
    hone_error_context("the exported graph could not be walked");
    hone_error e;
    hone_error_save(&e, HONE_ERR_VERIFY);
    return hone_error_restore(&e);
}

/* The file is read from disk again, with the reader that trusts nothing: what was written is tried, not what was in
 * memory. Raw sizes are tried last, on a graph that is right for the net's own size. */
hone_status hone_onnx_verify(const char *path, const hone_onnx_samples *s, double tolerance, int threads,
                             hone_onnx_report *report)
{
    hone_onnx m;
    double worst = 0;
    report->difference = INFINITY; /* until it was walked */
    HONE_TRY(hone_onnx_read(path, &m));
    job j = {.m = &m, .s = s, .parts = threads > 0 ? threads : hone_cpu_count()};
    if (j.parts > PARTS_MAX) j.parts = PARTS_MAX;
    if (j.parts > s->count) j.parts = (int)s->count;
    hone_status status = hone_parallel_for(j.parts, j.parts, run_part, &j);
    for (int k = 0; k < j.parts; k++)
        if (!(j.difference[k] <= worst)) worst = j.difference[k];
    if (status == HONE_OK) report->difference = worst;
    status = judge(status, worst, tolerance, s->source);
    if (status == HONE_OK && m.input[0].type == HONE_ONNX_UINT8) {
        status = run_sizes(&j, &report->raw_difference);
        status = judge(status, report->raw_difference, tolerance, "raw images of other sizes");
    }
    report->nodes = m.node_count;
    hone_onnx_free(&m);
    return status;
}

/* --- accuracy ----------------------------------------------------------------------------------------------------- */

/* Rows of p (count, classes) whose first largest entry is the label. */
static int64_t hits(const float *p, const int32_t *label, int64_t count, int classes)
{
    int64_t found = 0;
    for (int64_t n = 0; n < count; n++, p += classes) {
        int best = 0;
        for (int k = 1; k < classes; k++)
            if (p[k] > p[best]) best = k;
        found += best == label[n];
    }
    return found;
}

double hone_onnx_expected_accuracy(const hone_onnx_samples *s)
{
    return (double)hits(s->expected, s->label, s->count, s->classes) / (double)s->count;
}

/* Larger batches than in a check: what counts here is the number of samples. */
hone_status hone_onnx_accuracy(const char *path, const hone_onnx_samples *s, int threads, double *accuracy)
{
    enum { MANY = 64 };
    hone_onnx m;
    hone_backend *b = NULL;
    hone_onnx_run *r = NULL;
    int64_t right = 0;
    HONE_TRY(hone_onnx_read(path, &m));
    hone_status status = hone_backend_open("cpu", threads, &b);
    if (status == HONE_OK) status = hone_onnx_run_open(&m, b, &r);
    for (int64_t at = 0, n; at < s->count && status == HONE_OK; at += n) {
        n = s->count - at < MANY ? s->count - at : MANY;
        status = hone_onnx_samples_run(s, at, n, r);
        const hone_onnx_array *p = status == HONE_OK ? hone_onnx_run_value(r, "probabilities") : NULL;
        if (p && p->count == n * s->classes) right += hits(p->data, s->label + at, n, s->classes);
    }
    *accuracy = (double)right / (double)s->count;
    hone_onnx_run_close(r);
    hone_backend_close(b);
    hone_onnx_free(&m);
    return status;
}
