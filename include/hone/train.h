/* train.h - a whole training run, an evaluation, predictions.
 *
 * The trainer owns two kinds of programs (train, eval) over one set of parameters, the schedule, the
 * metrics and the stop rules; it holds no arithmetic of nets. A run directory that holds an
 * unfinished run is resumed to the same bytes. */
#ifndef HONE_TRAIN_H
#define HONE_TRAIN_H

#include "hone/config.h"
#include "hone/data.h"
#include "hone/model.h"
#include "hone/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What happens while training; the command line draws it, a library user may plot it. */
typedef struct hone_progress {
    const char *what;            /* "note", "warn", "step", "epoch", "checkpoint", "done"           */
    const char *text;            /* note, warn, checkpoint: a sentence                              */
    int64_t     step, steps_total;
    double      epoch, epochs_total;
    double      loss, accuracy, lr, grad_norm, samples_per_second, data_wait; /* data_wait: share 0..1 */
    double      val_loss, val_accuracy; /* epoch; NaN where there is no validation                   */
    bool        best;            /* epoch: the best so far by the watched metric                     */
    double      eta_seconds;
    size_t      memory_bytes;
} hone_progress;

typedef struct hone_train_opts {
    const char *device;          /* "auto", "cpu", "cuda:0", "ref"                                   */
    int         threads;         /* 0 = all                                                          */
    const char *out;             /* run directory; NULL = config.out                                 */
    const char *command;         /* as typed, for run.json                                           */
    volatile int *stop;          /* set by a signal handler: save and return HONE_INTERRUPTED         */
    void      (*progress)(void *arg, const hone_progress *p);
    void       *progress_arg;
} hone_train_opts;

/* Per-class and overall figures of one evaluation. */
typedef struct hone_evaluation {
    int64_t  n;
    int      classes;
    char   **class_name;
    double   accuracy, accuracy_low, accuracy_high; /* Wilson's 95 % interval                       */
    double   loss, f1_macro;
    double  *precision, *recall, *f1;               /* (classes)                                    */
    int64_t *support;                               /* (classes)                                    */
    int64_t *confusion;                             /* (classes, classes): row = truth              */
    /* per sample, in order of the set */
    int32_t *truth, *predicted;                     /* (n)                                          */
    float   *row_loss, *score;                      /* (n)                                          */
    char    *mistakes;                              /* the surest ones, a line each, for people     */
    /* where it was computed; the type may be another than the run's where a device lacks that */
    char           device[16];
    hone_precision computed_in;
} hone_evaluation;
void hone_evaluation_free(hone_evaluation *e);

/* Trains. On success `final` (may be NULL) gets the evaluation of the best weights on test, else val. */
hone_status hone_train(const hone_config *c, const hone_train_opts *o, hone_evaluation *final) HONE_MUST_USE;

/* Evaluates a run or a model file (MODEL of the command line) on a data set; data NULL = the run's own. */
typedef struct hone_eval_opts {
    const char         *device;
    int                 threads;
    const char         *data, *split;  /* NULL: the run's own; its test split, else val                    */
    int                 batch;
    const char         *report;        /* path of a page (HTML) about the evaluation; NULL: none           */
    const volatile int *stop;
} hone_eval_opts;
hone_status hone_evaluate(const char *model_path, const hone_eval_opts *o, hone_evaluation *out) HONE_MUST_USE;

/* Learning rate before step `step` of `steps_total`, `steps_per_epoch` steps an epoch; plateau_scale
 * is 1 unless the plateau rule has cut it. Same formulas as torch.optim.lr_scheduler, per step. */
double hone_schedule_lr(const hone_config *c, int64_t step, int64_t steps_per_epoch, int64_t steps_total, double plateau_scale);

#ifdef __cplusplus
}
#endif
#endif
