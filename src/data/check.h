/* check.h - what is in a data set, of texts or of pictures, and what is likely to be wrong with it.
 *
 * Findings are facts with their places; nothing is changed or left out. A finding is for a person to
 * judge: data.check: strict turns any of them into an error before training. */
#ifndef HONE_DATA_CHECK_H
#define HONE_DATA_CHECK_H

#include "data/files.h"
#include "hone/data.h"

typedef struct hone_finding {
    const char *kind;   /* "exact_duplicate_across", "label_conflict", ... (check_*.c list them)      */
    int64_t count;      /* rows, classes or pairs, as `text` says                                      */
    char *text;         /* a sentence                                                                  */
    hone_names example; /* places: at most five; broken pictures: all                                */
} hone_finding;

/* Least, 5 %, 50 %, 95 %, 99 %, greatest and mean, over all splits. */
typedef struct hone_lengths {
    int64_t min, p5, p50, p95, p99, max;
    double mean;
} hone_lengths;

typedef struct hone_data_report {
    int64_t rows[3]; /* train, val, test; 0: not there                                          */
    int classes;
    const char *const *class_name; /* (classes) the data's                                           */
    int64_t *class_rows;           /* (classes, 3)                                                            */
    bool pictures;                 /* which of the two groups below is filled                          */
    hone_lengths characters, words;
    hone_lengths height, width; /* pixels, as stored and turned upright, before any resize         */
    int64_t grey, colour;       /* pictures of one channel; of three channels that differ            */
    int64_t broken;             /* pictures that can't be decoded                                    */
    int64_t same_files;         /* exact copies whose file is one to the byte, too                   */
    hone_finding *finding;
    int finding_count;
} hone_data_report;

enum { HONE_REPORT_STATS = 0, HONE_REPORT_CHECK = 1 };
/* `d` outlives the report. Texts of more than `max_words` words are over-long. STATS leaves findings out,
 * but for broken pictures. Pictures are decoded by `threads` threads, in the size they have. Errors: MEMORY. */
hone_status hone_data_report_make(const hone_data *d, int what, int64_t max_words, int threads,
                                  hone_data_report *out) HONE_MUST_USE;
void hone_data_report_free(hone_data_report *r);
/* One JSON object / tables for people; free() it. NULL: memory exhausted. */
char *hone_data_report_json(const hone_data_report *r);
char *hone_data_report_table(const hone_data_report *r);
/* DATA with all findings in one message where there are any: data.check: strict. */
hone_status hone_data_check_strict(const hone_data *d, int64_t max_words, int threads) HONE_MUST_USE;

#endif
