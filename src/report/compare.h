/* compare.h - runs side by side: figures with intervals, who can be told apart from the best, and which values of
 * their configs differ. The files of the run directories are all that is read.
 *
 * Two accuracies are "not distinguishable" when Newcombe's 95 % interval of their difference (hybrid score, method 10
 * of Newcombe 1998, for independent samples) holds 0. Runs evaluated on the same samples are taken as independent,
 * too: that errs towards "not distinguishable". */
#ifndef HONE_REPORT_COMPARE_H
#define HONE_REPORT_COMPARE_H

#include <jansson.h>
#include <stdint.h>

#include "core/text.h"

typedef struct hone_compared {
    char *path;
    json_t *run, *report;                          /* run.json, eval/report.json; report may be NULL                 */
    char *metrics;                                 /* metrics.jsonl, or NULL                                         */
    char *resolved;                                /* resolved.yaml, or NULL                                         */
    double accuracy, low, high, loss, f1, seconds; /* NaN where the run has no evaluation             */
    int64_t n, hits, step, train_samples;
    double behind_low, behind_high; /* interval of (best accuracy - own); NaN without an evaluation   */
} hone_compared;

typedef struct hone_comparison {
    hone_compared *run; /* (count) in the order given */
    int count;
    int best;          /* index of the highest accuracy, -1: no run has one */
    bool same_samples; /* all were evaluated on data of one fingerprint, as many samples */
} hone_comparison;

/* Errors: DATA, USAGE naming the folder that holds no run; MEMORY. */
hone_status hone_compare_open(const char *const *dir, int count, hone_comparison **out) HONE_MUST_USE;
void hone_compare_free(hone_comparison *c);
/* A table for people (NULL: memory), one JSON object, a page; free(). Errors: MEMORY. */
char *hone_compare_text(const hone_comparison *c);
hone_status hone_compare_json(const hone_comparison *c, char **out) HONE_MUST_USE;
hone_status hone_compare_html(const hone_comparison *c, char **html) HONE_MUST_USE;

/* --- differences.c: values of resolved.yaml that are not the same in all runs --- */
typedef struct hone_difference {
    char *key;    /* "train.optimizer.lr", "model.layers[3]"                                 */
    char **value; /* (runs) "" where a run does not have the key                              */
} hone_difference;
/* `out`, `data` paths and the like are differences too: nothing is hidden. *out NULL-terminated by key; free below. */
hone_status hone_differences(const hone_comparison *c, hone_difference **out, int *count) HONE_MUST_USE;
void hone_differences_free(hone_difference *d, int count, int runs);

#endif
