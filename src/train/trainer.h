/* trainer.h - the trainer as its own files see it: setup (trainer.c), the loop (loop.c), what happens
 * at the end of an epoch (epoch_end.c), saving and restoring (state.c), run.json (run_json.c). */
#ifndef HONE_TRAIN_TRAINER_H
#define HONE_TRAIN_TRAINER_H

#include "hone/train.h"
#include "io/run_dir.h"
#include "io/tfevents.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/pass.h"

/* All that a resumed run needs beyond weights, optimizer slots and partial gradients. Every field is
 * in state.json, doubles to the bit. Wall-clock fields steer nothing but max_time. */
typedef struct hone_run_state {
    int64_t step;         /* optimizer steps done (tried)                                      */
    int64_t epoch, batch; /* next batch to take: epoch, index within it                        */
    int64_t micro;        /* micro-batches of the step under way                               */
    bool validation_due;  /* an epoch (or the run) ended and was not evaluated yet             */
    bool finished;        /* all steps done, or stopped early                                  */
    bool stopped_early;
    double seconds; /* trained, over all sessions                                        */
    bool have_best;
    double best; /* of the watched metric                                             */
    int64_t best_step;
    int64_t evaluations_without_best;
    double plateau_scale, plateau_best;
    int64_t plateau_waits;
    /* sums already taken off the device: since the last train line, and since the epoch's begin */
    double line_loss_sum, epoch_loss_sum;
    int64_t line_samples, line_correct, epoch_samples, epoch_correct;
    int64_t logged_step; /* of the last train line                                            */
    int64_t warned_bad;  /* bad_total that was already reported                               */
    int64_t metrics_bytes, results_bytes;
    hone_step block;
} hone_run_state;

typedef struct hone_trainer {
    const hone_config *config;
    const hone_train_opts *opts;
    hone_run_dir run;
    hone_tfevents events; /* the lines of metrics.jsonl once more, for TensorBoard */
    hone_backend *backend;
    hone_data *data;
    hone_model *model;
    hone_pass train, val;
    struct hone_text_side *text; /* tokenizer and ids; NULL for images */
    int64_t vocab;               /* text: rows of its tables           */
    float *class_weight;         /* (C) or NULL */
    hone_run_state s;
    bool resumed, finished; /* finished: run.json says so */
    int64_t steps_per_epoch, steps_total;
    /* since this start, wall clock */
    double started, session_seconds_before, line_started, line_wait, tick_shown, last_save;
    int64_t timed_samples, session_first_step, last_saved_step;
    size_t memory_bytes;
    char *started_text;
} hone_trainer;

/* --- saying things: to the caller's callback and to log.txt --- */
void hone_trainer_say(hone_trainer *t, const char *what, const char *fmt, ...) HONE_PRINTF(3, 4);
void hone_trainer_progress(hone_trainer *t, hone_progress *p); /* fills what all kinds share */
bool hone_trainer_stopped(const hone_trainer *t);              /* by a signal */
double hone_trainer_seconds(const hone_trainer *t);            /* trained, over all sessions */
void hone_trainer_close(hone_trainer *t);                      /* frees what was opened so far; fine on a zeroed one */

/* --- loop.c: until finished or interrupted (HONE_INTERRUPTED, already saved) --- */
hone_status hone_trainer_loop(hone_trainer *t) HONE_MUST_USE;
/* The next micro-batch at rate `lr`, and the update where it completes a step: then *updated is the program that ran it,
 * else NULL. Counts in t->s; does not look at what came out. */
hone_status hone_trainer_micro_batch(hone_trainer *t, double lr, hone_program **updated) HONE_MUST_USE;
/* together.c: the largest power of two, at most `most`, of steps after `step` that are no more than `left` and pass over
 * no multiple of an every[count] (0: none); at least 1. */
int hone_steps_together(int most, int64_t step, int64_t left, const int64_t *every, int count);
/* How many of the steps to come may run as one: up to whatever the host does next at a known step. */
int hone_trainer_together(const hone_trainer *t);
/* Steps between two checkpoints; 0 where none is due at fixed steps. */
int64_t hone_trainer_save_steps(const hone_trainer *t);
/* Steps between two looks at what a device did; 1 in host memory, where looking costs nothing. */
int64_t hone_trainer_look_steps(const hone_trainer *t);
/* Moves the metric sums off the device into the state; *block is as it was read. */
hone_status hone_trainer_drain(hone_trainer *t, hone_step *block) HONE_MUST_USE;
/* The train line of the steps since the last one; nothing where there were none. */
hone_status hone_trainer_log_line(hone_trainer *t) HONE_MUST_USE;
/* Appends and frees a line; a failure is said and does not end the run. */
void hone_trainer_append(hone_trainer *t, hone_log *log, char *line);
/* The same for TensorBoard: (count) figures of this step. */
void hone_trainer_event(hone_trainer *t, const hone_scalar *scalar, int count);

/* --- epoch_end.c: validation, best weights, early stop, plateau, results.csv --- */
hone_status hone_trainer_end_epoch(hone_trainer *t) HONE_MUST_USE;
bool hone_trainer_watches_loss(const hone_trainer *t); /* the best is the least */
hone_status hone_trainer_save_best(hone_trainer *t) HONE_MUST_USE;
/* Weights of best.safetensors, which without validation is written here, on test, else val; writes eval/. *out stays zeroed
 * without either. */
hone_status hone_trainer_final(hone_trainer *t, hone_evaluation *out) HONE_MUST_USE;

/* --- state.c --- */
hone_status hone_trainer_save(hone_trainer *t, bool initial) HONE_MUST_USE;
/* Restores the newest good checkpoint. *found false: a fresh run. USAGE when it is another experiment. */
hone_status hone_trainer_restore(hone_trainer *t, bool *found) HONE_MUST_USE;
char *hone_run_state_json(const hone_run_state *s, const char *identity_json);
hone_status hone_run_state_parse(const char *text, hone_run_state *out) HONE_MUST_USE;

/* --- identity.c: what must be equal for a run to go on in the same directory --- */
char *hone_identity_json(const hone_trainer *t);
/* USAGE naming the first key that differs. `text`: a state.json with "identity". */
hone_status hone_identity_check(const hone_trainer *t, const char *text) HONE_MUST_USE;

/* --- run_json.c --- */
hone_status hone_trainer_write_run_json(hone_trainer *t, const char *status) HONE_MUST_USE;
hone_status hone_trainer_write_pages(hone_trainer *t) HONE_MUST_USE; /* config.yaml, resolved.yaml, model.json */
/* "finished", "running", ... of run.json; "" if there is none. */
hone_status hone_trainer_read_status(const hone_trainer *t, char *status, size_t bytes) HONE_MUST_USE;

#endif
