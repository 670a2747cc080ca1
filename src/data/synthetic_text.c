/* synthetic_text.c - texts that are made up, so that speed can be measured with nothing fetched.
 *
 * data.synthetic.shape of a text experiment is [longest, mean, words]: a text has `longest` words where mean equals it, else
 * mean / 2 and an exponential draw of the same mean, cut at `longest`, as lengths of real texts lie. A word is one of
 * `words`, and leans towards its class: a model can learn it. Text k is a function of (seed, k). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/open_text.h"
#include "hone/philox.h"

enum { WORD_BYTES = 8, LABEL_BYTES = 16 }; /* "w65535 " and "class 999999\t" */

/* Words of text k. */
static int64_t length_of(const int64_t shape[3], hone_philox4 r)
{
    double u = ((double)r.v[1] + 0.5) / 4294967296.0, mean = (double)shape[1];
    int64_t n = shape[1] >= shape[0] ? shape[0] : (int64_t)(mean / 2 - log(u) * mean / 2 + 0.5);
    return n < 1 ? 1 : n > shape[0] ? shape[0] : n;
}

/* One row of a table; returns the bytes written. */
static size_t write_row(const hone_config *c, int64_t k, char *to)
{
    const int64_t *shape = c->data.synthetic.shape, classes = c->data.synthetic.classes, words = shape[2];
    uint64_t seed = (uint64_t)c->train.seed;
    hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)k, 0);
    int64_t label = r.v[0] % classes, n = length_of(shape, r);
    size_t at = (size_t)sprintf(to, "class %lld\t", (long long)label);
    for (int64_t w = 0; w < n; w++) {
        r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)k, 1 + (uint64_t)w);
        /* one word in eight is of the class: those whose number leaves its label as the remainder */
        int64_t word = r.v[0] % words;
        if (r.v[1] % 8 == 0 && words > classes) word = word / classes * classes + label;
        at += (size_t)sprintf(to + at, "w%lld%c", (long long)(word < words ? word : label), w + 1 < n ? ' ' : '\n');
    }
    return at;
}

/* The whole set as a table in memory, which the reader of tables takes. */
hone_status hone_synthetic_texts(const hone_config *c, hone_text_sink *sink)
{
    static const char head[] = "label\ttext\n";
    const int64_t *shape = c->data.synthetic.shape, samples = c->data.synthetic.samples;
    size_t row = (size_t)shape[0] * WORD_BYTES + LABEL_BYTES, at = sizeof head - 1;
    char *text = malloc((size_t)samples * row + sizeof head);
    if (!text) return hone_no_memory("synthetic texts", (size_t)samples * row);
    memcpy(text, head, sizeof head);
    for (int64_t k = 0; k < samples; k++) at += write_row(c, k, text + at);
    hone_config columns = *c; /* the page may name other columns for its own data */
    columns.data.columns.input = "text";
    columns.data.columns.label = "label";
    hone_text_job job = {.sink = sink, .config = &columns, .split = HONE_SPLIT_TRAIN, .path = "synthetic"};
    hone_status status = hone_blob_of_bytes("synthetic", text, at, &job.blob);
    free(text);
    HONE_TRY(status);
    HONE_TRY(hone_text_job_begin(&job, "synthetic", "synthetic"));
    return hone_table_read(&job, HONE_FORMAT_TSV);
}
