/* findings.h - what the checks of texts and of pictures share: a list of findings that grows, rows of all splits
 * in one order, and the questions that are about classes alone. */
#ifndef HONE_DATA_FINDINGS_H
#define HONE_DATA_FINDINGS_H

#include "data/check.h"

/* All rows in one order: train, val, test. */
typedef struct hone_all_rows {
    const hone_data *d;
    const hone_dataset *set[3]; /* train, val, test; NULL where the data have none                    */
    int64_t begin[4];           /* of each split in the one order; begin[3] is the number of rows   */
} hone_all_rows;

hone_all_rows hone_all_rows_of(const hone_data *d);
int hone_all_rows_split(const hone_all_rows *a, int64_t i); /* 0, 1, 2                             */
int32_t hone_all_rows_label(const hone_all_rows *a, int64_t i);
/* "test.tsv:7 (test)": where val is cut from train, the file does not tell the split. Returns `out`. */
const char *hone_all_rows_place(const hone_all_rows *a, int64_t i, char *out, size_t bytes);

/* A new finding at the end of the list; NULL: memory exhausted. Valid until the next call. */
hone_finding *hone_finding_add(hone_data_report *r, const char *kind);
/* Sets the sentence. */
hone_status hone_finding_say(hone_finding *f, const char *fmt, ...) HONE_PRINTF(2, 3) HONE_MUST_USE;
/* One more; the first `shown` of them get an example. */
enum { HONE_EXAMPLES = 5 };
hone_status hone_finding_count(hone_finding *f, int shown, const char *fmt, ...) HONE_PRINTF(3, 4) HONE_MUST_USE;
/* A finding counted beside the list (several at once) goes into it, or is freed: nothing counted, or `s` failed. */
hone_status hone_finding_keep(hone_data_report *r, hone_finding *f, hone_status s) HONE_MUST_USE;
/* Drops the last finding if it counted nothing. */
void hone_finding_drop_if_none(hone_data_report *r);

/* Rows and classes into `r`. */
hone_status hone_findings_classes(const hone_all_rows *a, hone_data_report *r) HONE_MUST_USE;
/* first[i]: the first row that i is a copy of, i: none. Rows by `first` but not already by `closer` (NULL: none). */
hone_status hone_findings_copies(const hone_all_rows *a, const int64_t *first, const int64_t *closer, bool across,
                                 const char *kind, const char *what, hone_data_report *r) HONE_MUST_USE;
/* Copies with another class than their first has: kind label_conflict. `what`: "text", "picture". */
hone_status hone_findings_conflicts(const hone_all_rows *a, const int64_t *first, const char *what,
                                    hone_data_report *r) HONE_MUST_USE;
/* rare_class, imbalance, class_name, missing_class, skipped_row; of the counts in `r`. */
hone_status hone_findings_of_classes(const hone_all_rows *a, hone_data_report *r) HONE_MUST_USE;
/* Nearest-rank percentiles; sorts `v` (n). */
hone_lengths hone_lengths_of(int64_t *v, int64_t n);

/* The two checks: fill the findings of `r`, whose counts are there. */
hone_status hone_check_texts(const hone_all_rows *a, int what, int64_t max_words, int threads,
                             hone_data_report *r) HONE_MUST_USE;
hone_status hone_check_pictures(const hone_all_rows *a, int what, int threads, hone_data_report *r) HONE_MUST_USE;

#endif
