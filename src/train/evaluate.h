/* evaluate.h - running a pass in EVAL mode, and the figures made from it. */
#ifndef HONE_TRAIN_EVALUATE_H
#define HONE_TRAIN_EVALUATE_H

#include "core/interval.h"
#include "hone/train.h"
#include "train/pass.h"
#include "train/saved.h"

/* How evaluations read their data: in file order, with a budget of tokens for texts. `c` may be NULL. */
hone_loader_opts hone_eval_loader(const hone_config *c, int threads);
/* Opens an EVAL pass of at most `batch` over `data`. `share` NULL: it owns its parameters; else it computes
 * in the precision of that program, and `precision` is AUTO. */
hone_status hone_eval_pass_open(hone_backend *b, const hone_model *m, hone_dataset *data, int batch,
                                const hone_loader_opts *loader, hone_precision precision, hone_program *share,
                                const volatile int *stop, hone_pass *out) HONE_MUST_USE;
/* One round over the set. The step block of the shared arena is left as it was. `pass` must be opened
 * by hone_eval_pass_open. HONE_INTERRUPTED when *stop. */
hone_status hone_evaluation_run(hone_pass *pass, const volatile int *stop, hone_evaluation *out) HONE_MUST_USE;

/* hone_evaluate of a model that is open: on o->data, or on the data of its config. */
hone_status hone_evaluate_saved(hone_saved *saved, const hone_eval_opts *o, hone_evaluation *out) HONE_MUST_USE;

/* Allocates for n samples and the given classes; names are copied. */
hone_status hone_evaluation_make(int64_t n, int classes, const hone_model *names, hone_evaluation *out) HONE_MUST_USE;
/* All figures from truth, predicted and row_loss. */
void hone_evaluation_finish(hone_evaluation *e);

/* The report texts: JSON object of `eval --json`, confusion.csv, worst.csv (highest loss first). */
char *hone_evaluation_json(const hone_evaluation *e);
char *hone_evaluation_confusion_csv(const hone_evaluation *e);
char *hone_evaluation_worst_csv(const hone_evaluation *e, const hone_dataset *data, int most);
/* The `most` surest mistakes, a line each: truth -> predicted, score, where it stands, the beginning of its text. */
char *hone_evaluation_mistakes(const hone_evaluation *e, const hone_dataset *data, int most);
enum { HONE_MISTAKES = 5 }; /* what a screen shows; worst.csv has more */
/* (count) samples of highest loss, highest first, at most `most` of them. NULL: memory; free(). */
int64_t *hone_evaluation_worst(const hone_evaluation *e, int64_t most, int64_t *count);
/* The evaluation as a page (report/report.h) at `path`: curves and config of `run_dir`, pictures or texts of the worst
 * samples of `data`, the layers of `m`. `split` says what `data` are. */
hone_status hone_evaluation_page(const hone_evaluation *e, const hone_dataset *data, const hone_model *m,
                                 const char *run_dir, const char *split, const char *path) HONE_MUST_USE;
/* The most confused pairs, most frequent first: returns how many of `most` were filled. */
typedef struct hone_confused {
    int32_t truth, predicted;
    int64_t count;
} hone_confused;
int hone_evaluation_confused(const hone_evaluation *e, int most, hone_confused *out);

#endif
