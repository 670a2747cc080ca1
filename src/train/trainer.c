/* trainer.c - hone_train: opens everything that a run needs, in the order in which it can fail, hands
 * over to the loop, and evaluates the best weights at the end. It holds no arithmetic of nets. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "io/file.h"
#include "train/saved.h"
#include "train/setup.h"
#include "train/text.h"

/* --- saying things ------------------------------------------------------------------------------------------ */

/* Position and memory are the same for all kinds of events. */
void hone_trainer_progress(hone_trainer *t, hone_progress *p)
{
    p->step = t->s.step;
    p->steps_total = t->steps_total;
    p->epoch = t->steps_per_epoch ? (double)t->s.step / (double)t->steps_per_epoch : 0;
    p->epochs_total = t->steps_per_epoch ? (double)t->steps_total / (double)t->steps_per_epoch : 0;
    p->memory_bytes = t->memory_bytes;
    if (t->opts->progress) t->opts->progress(t->opts->progress_arg, p);
}

/* To the caller and to log.txt; for what happens now and then, not every step. */
void hone_trainer_say(hone_trainer *t, const char *what, const char *fmt, ...)
{
    hone_text text = {0};
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&text, fmt, args);
    va_end(args);
    char *sentence = hone_text_take(&text), cut[256] = "";
    if (!sentence) { /* what memory failed may be what this is about: then its beginning */
        va_start(args, fmt);
        vsnprintf(cut, sizeof cut, fmt, args);
        va_end(args);
    }
    hone_progress p = {.what = what, .text = sentence ? sentence : cut, .val_loss = NAN};
    p.val_accuracy = p.eta_seconds = NAN;
    hone_run_dir_note(&t->run, what, p.text);
    hone_trainer_progress(t, &p);
    free(sentence);
}

/* Set by a signal handler; looked at between steps, so a step is never half done. */
bool hone_trainer_stopped(const hone_trainer *t) { return t->opts->stop && *t->opts->stop; }

/* Over all sessions of a run, without the pauses between them. */
double hone_trainer_seconds(const hone_trainer *t)
{
    return t->session_seconds_before + (t->started > 0 ? hone_now_seconds() - t->started : 0);
}

/* --- the run --------------------------------------------------------------------------------------------------- */

/* Reverse order of opening; everything is fine with being NULL. */
void hone_trainer_close(hone_trainer *t)
{
    hone_pass_close(&t->val); /* sharers before the owner of the arenas */
    hone_pass_close(&t->train);
    hone_model_free(t->model);
    hone_data_free(t->data);
    hone_text_close(t->text);
    hone_backend_close(t->backend);
    hone_run_dir_close(&t->run);
    hone_tfevents_close(&t->events);
    free(t->class_weight);
    free(t->started_text);
}

/* Setup and earlier starts of the run are no part of the rates. */
static void start_clock(hone_trainer *t)
{
    t->session_seconds_before = t->s.seconds;
    t->started = t->line_started = t->last_save = hone_now_seconds();
    t->session_first_step = t->s.step;
    t->line_wait = hone_loader_wait_seconds(t->train.loader);
}

/* A fresh run: pages, weights to start from, step 0 where it shall be kept. */
static hone_status begin(hone_trainer *t)
{
    t->s = (hone_run_state){.plateau_scale = 1.0, .plateau_best = INFINITY, .logged_step = 0};
    /* step 0 counts as not saved */
    t->last_saved_step = -1;
    HONE_TRY(hone_trainer_write_pages(t));
    HONE_TRY(hone_run_dir_start_logs(&t->run, 0, 0, NULL));
    HONE_TRY(hone_setup_initial_weights(t));
    if (!t->config->checkpoint.initial) return HONE_OK;
    return hone_trainer_save(t, true);
}

/* A run that had ended goes on when it was given more steps; not after an early stop or out of time. */
static bool has_more_to_do(const hone_trainer *t)
{
    double limit = t->config->train.max_time;
    bool out_of_time = limit > 0 && t->s.seconds >= limit;
    return !t->s.stopped_early && !out_of_time && t->s.step < t->steps_total;
}

/* Whether run.json says that all was done, and nothing was added since. The newest checkpoint may stand
 * before the last evaluation, when that was interrupted: its step is what counts then. */
static hone_status is_done(const hone_trainer *t, bool *done)
{
    char status[32];
    HONE_TRY(hone_trainer_read_status(t, status, sizeof status));
    *done = strcmp(status, "finished") == 0 && (t->s.finished ? !has_more_to_do(t) : t->s.step >= t->steps_total);
    return HONE_OK;
}

/* A run that goes on: logs are cut back to where the checkpoint stood. */
static hone_status go_on(hone_trainer *t)
{
    int64_t lost = 0;
    t->resumed = true;
    t->last_saved_step = t->s.step;
    HONE_TRY(hone_run_dir_start_logs(&t->run, t->s.metrics_bytes, t->s.results_bytes, &lost));
    if (lost > 0)
        hone_trainer_say(t, "warn", "%lld bytes of the logs from before the checkpoint are lost", (long long)lost);
    /* fewer epochs than before: it only has to be evaluated; more: a finished run has more to do */
    if (!t->s.finished && t->s.step >= t->steps_total) t->s.validation_due = true;
    if (t->s.finished && has_more_to_do(t)) {
        t->s.finished = false;
        hone_trainer_say(t, "note", "the run had ended at step %lld and goes on to %lld", (long long)t->s.step,
                         (long long)t->steps_total);
    } else if (!t->s.finished) {
        hone_trainer_say(t, "note", "going on from step %lld of %lld", (long long)t->s.step, (long long)t->steps_total);
    }
    return hone_trainer_write_pages(t);
}

/* The last thing of a run, as it quotes run.json: a run that lacks nothing but its page is a finished one. */
static hone_status write_page(hone_trainer *t, const hone_evaluation *e)
{
    hone_dataset *data = t->data->test ? t->data->test : t->data->val;
    if (!data) return HONE_OK;
    char *path = hone_io_join(t->run.path, "report.html");
    hone_status status =
        path ? hone_evaluation_page(e, data, t->model, t->run.path, data == t->data->test ? "test" : "val", path)
             : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status != HONE_OK)
        hone_error_context(
            "the run is finished and saved, but report.html was not written (hone eval %s --report PAGE)", t->run.path);
    free(path);
    return status;
}

/* "finished" is written last: a kill before it means that the evaluation is done again. */
static hone_status run_to_the_end(hone_trainer *t, hone_evaluation *final)
{
    /* a run that is killed stays "running" here: only its lock says that it is not */
    HONE_TRY(hone_trainer_write_run_json(t, "running"));
    hone_setup_save_tuning(t); /* before the first step: a run that is killed goes on with the same algorithms */
    if (hone_tfevents_open(&t->events, t->run.path, t->s.step) != HONE_OK) {
        hone_trainer_say(t, "warn", "no file for TensorBoard: %s", hone_error_message());
        hone_error_clear();
    }
    start_clock(t);
    HONE_TRY(hone_trainer_loop(t));
    HONE_TRY(hone_trainer_final(t, final));
    hone_setup_save_tuning(t); /* with those of the final evaluation */
    HONE_TRY(hone_trainer_write_run_json(t, "finished"));
    t->finished = true;
    HONE_TRY(write_page(t, final));
    hone_progress p = {.what = "done",
                       .text = t->run.path,
                       .val_loss = final->n ? final->loss : NAN,
                       .val_accuracy = final->n ? final->accuracy : NAN,
                       .eta_seconds = 0};
    hone_trainer_progress(t, &p);
    return HONE_OK;
}

/* Everything after the lock is taken. */
static hone_status train_in(hone_trainer *t, hone_evaluation *final)
{
    bool found = false, done = false;
    HONE_TRY(hone_setup_open(t));
    HONE_TRY(hone_trainer_restore(t, &found));
    if (found) HONE_TRY(is_done(t, &done));
    if (done) { /* the logs are not touched */
        hone_trainer_say(t, "note",
                         "%s is finished (step %lld): nothing to do. Give another --out, or more train.epochs",
                         t->run.path, (long long)t->s.step);
        return HONE_OK;
    }
    HONE_TRY(found ? go_on(t) : begin(t));
    return run_to_the_end(t, final);
}

/* run.json says how it ended; a failure to write that must not hide the reason. */
static void record_end(hone_trainer *t, hone_status status)
{
    hone_error why;
    if (status == HONE_OK || !t->train.full.program || t->run.log.fd < 0) return;
    hone_error_save(&why, status);
    hone_run_dir_note(&t->run, status == HONE_INTERRUPTED ? "note" : "error", why.message);
    /* whatever came after that is about the page */
    const char *name = t->finished                   ? "finished"
                       : status == HONE_INTERRUPTED  ? "interrupted"
                       : status == HONE_ERR_DIVERGED ? "diverged"
                                                     : "failed";
    if (hone_trainer_write_run_json(t, name) != HONE_OK) hone_error_clear();
    hone_error_restore(&why);
}

/* One exit: whatever happened is in run.json and log.txt before the directory is unlocked. */
hone_status hone_train(const hone_config *c, const hone_train_opts *o, hone_evaluation *final)
{
    hone_evaluation ignored = {0}, *into = final ? final : &ignored;
    const char *out = o->out ? o->out : c->out;
    hone_trainer t = {.config = c, .opts = o, .events.fd = -1};
    char now[24];
    *into = (hone_evaluation){0};
    if (!out)
        return hone_fail(HONE_ERR_USAGE, "give --out DIR, or `out:` in the config",
                         "there is no run directory to write to");
    HONE_TRY(hone_run_dir_open(out, &t.run));
    t.started_text = hone_strdup(hone_time_text(now));
    hone_status status =
        t.started_text ? train_in(&t, into) : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the run's name");
    record_end(&t, status);
    hone_trainer_close(&t);
    if (!final) hone_evaluation_free(&ignored);
    return status;
}
