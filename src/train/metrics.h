/* metrics.h - the lines of metrics.jsonl and results.csv, and the small writers of JSON and CSV. */
#ifndef HONE_TRAIN_METRICS_H
#define HONE_TRAIN_METRICS_H

#include "core/text.h"
#include "hone/graph.h"

/* Nine significant digits; null for what is not finite. */
void hone_json_number(hone_text *t, double value);
/* Quoted where a comma, quote or newline is in it (RFC 4180). */
void hone_csv_field(hone_text *t, const char *s);

/* One train line: loss and accuracy are means over the samples since the line before. */
typedef struct hone_train_line {
    int64_t step;
    double epoch, loss, accuracy, lr, grad_norm, samples_per_second, data_wait;
    int64_t skipped; /* updates skipped so far for not being finite; written only when > 0 */
} hone_train_line;
char *hone_train_line_json(const hone_train_line *l);
char *hone_val_line_json(int64_t step, double epoch, double loss, double accuracy, double f1_macro);

/* results.csv: one row an epoch. NaN gives an empty field. */
extern const char hone_results_header[];
typedef struct hone_result_row {
    int64_t epoch, step;
    double train_loss, train_accuracy, val_loss, val_accuracy, val_f1_macro, lr;
    bool best;
} hone_result_row;
char *hone_result_row_csv(const hone_result_row *r);

#endif
