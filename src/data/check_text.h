/* check_text.h - what is in a text data set, and what is likely to be wrong with it.
 *
 * Findings are facts with their places; nothing is changed or left out. A finding is for a person to
 * judge: data.check: strict turns any of them into an error before training. */
#ifndef HONE_DATA_CHECK_TEXT_H
#define HONE_DATA_CHECK_TEXT_H

#include "data/files.h"
#include "data/texts.h"

typedef struct hone_finding {
    const char *kind;   /* "exact_duplicate_across", "label_conflict", ... (check_text.c lists them)  */
    int64_t count;      /* rows, classes or pairs, as `text` says                                      */
    char *text;         /* a sentence                                                                  */
    hone_names example; /* places: at most five                                                      */
} hone_finding;

/* Least, 5 %, 50 %, 95 %, 99 %, greatest and mean, over all splits. */
typedef struct hone_lengths {
    int64_t min, p5, p50, p95, p99, max;
    double mean;
} hone_lengths;

typedef struct hone_text_report {
    int64_t rows[3]; /* train, val, test; 0: not there                                          */
    int classes;
    const char *const *class_name; /* (classes) the data's                                           */
    int64_t *class_rows;           /* (classes, 3)                                                            */
    hone_lengths characters, words;
    hone_finding *finding;
    int finding_count;
} hone_text_report;

enum { HONE_REPORT_STATS = 0, HONE_REPORT_CHECK = 1 };
/* `d` outlives the report. Texts of more than `max_words` words are over-long. STATS leaves findings out. */
hone_status hone_text_report_make(const hone_data *d, int what, int64_t max_words, int threads,
                                  hone_text_report *out) HONE_MUST_USE;
void hone_text_report_free(hone_text_report *r);
/* One JSON object / tables for people; free() it. NULL: memory exhausted. */
char *hone_text_report_json(const hone_text_report *r);
char *hone_text_report_table(const hone_text_report *r);
/* DATA with all findings in one message where there are any: data.check: strict. */
hone_status hone_text_check_strict(const hone_data *d, int64_t max_words, int threads) HONE_MUST_USE;

#endif
