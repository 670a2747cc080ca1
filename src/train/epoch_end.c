/* epoch_end.c - what happens when an epoch, or the run, ends: validation, the best weights, early stop,
 * the plateau rule, a row of results.csv; and the evaluation of the best weights at the very end.
 *
 * best.safetensors is written when validation finds better weights; without validation at the end of the run.
 *
 * The validation is done before any of its consequences is recorded: interrupted, it is done again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "io/file.h"
#include "train/saved.h"
#include "train/text.h"
#include "train/trainer.h"

/* Accuracy and F1 grow, loss shrinks. */
bool hone_trainer_watches_loss(const hone_trainer *t)
{
    const char *metric = t->config->train.early_stop.metric;
    return metric && strcmp(metric, "loss") == 0;
}

/* The figure that best weights and early stop go by. */
static double watched(const hone_trainer *t, const hone_evaluation *e)
{
    const char *metric = t->config->train.early_stop.metric;
    if (hone_trainer_watches_loss(t)) return e->loss;
    return metric && strcmp(metric, "f1_macro") == 0 ? e->f1_macro : e->accuracy;
}

/* With an average it is the average that is saved: it is what validation judged. */
hone_status hone_trainer_save_best(hone_trainer *t)
{
    int count;
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)t->s.step);
    const char *metadata[] = {"hone_step", step, NULL};
    HONE_TRY(hone_model_download(t->model, t->train.full.program, t->config->train.ema > 0));
    hone_blob *blob = hone_weights_blobs(t->model, &count);
    char *path = hone_io_join(t->run.path, "best.safetensors");
    hone_status status = blob && path ? hone_safetensors_write(path, blob, count, metadata)
                                      : hone_fail(HONE_ERR_MEMORY, NULL, "no memory to save the best weights");
    free(blob);
    free(path);
    return status;
}

/* Strictly better than all before; NaN never is. */
static bool update_best(hone_trainer *t, double value)
{
    bool better = hone_trainer_watches_loss(t) ? value < t->s.best : value > t->s.best;
    /* the first finite value is the best so far, whatever the comparison says */
    if (!isfinite(value)) better = false;
    else if (!t->s.have_best) better = true;
    if (!better) {
        t->s.evaluations_without_best++;
        return false;
    }
    t->s.have_best = true;
    t->s.best = value;
    t->s.best_step = t->s.step;
    t->s.evaluations_without_best = 0;
    return true;
}

/* torch.optim.lr_scheduler.ReduceLROnPlateau on the validation loss: mode min, threshold 1e-4 relative. */
static void update_plateau(hone_trainer *t, double val_loss)
{
    if (t->config->train.schedule.name != HONE_SCHEDULE_PLATEAU) return;
    if (val_loss < t->s.plateau_best * (1.0 - 1e-4)) {
        t->s.plateau_best = val_loss;
        t->s.plateau_waits = 0;
    } else if (++t->s.plateau_waits > t->config->train.schedule.plateau_patience) {
        t->s.plateau_scale *= t->config->train.schedule.gamma;
        t->s.plateau_waits = 0;
        hone_trainer_say(t, "note", "no progress: the learning rate is cut to %g of the schedule's",
                         t->s.plateau_scale);
    }
}

/* A val line of metrics.jsonl, a row of results.csv, the event for whoever draws it. `e` NULL: no validation. */
static void write_rows(hone_trainer *t, const hone_evaluation *e, bool best)
{
    /* in epochs, fractional: runs that are limited by steps need not end on a whole one */
    double epoch = (double)t->s.step / (double)t->steps_per_epoch, n = (double)t->s.epoch_samples;
    hone_result_row row = {.epoch = (int64_t)ceil(epoch - 1e-9),
                           .step = t->s.step,
                           .train_loss = t->s.epoch_samples ? t->s.epoch_loss_sum / n : NAN,
                           .train_accuracy = t->s.epoch_samples ? (double)t->s.epoch_correct / n : NAN,
                           .val_loss = e ? e->loss : NAN,
                           .val_accuracy = e ? e->accuracy : NAN,
                           .val_f1_macro = e ? e->f1_macro : NAN,
                           .best = best};
    /* of the last step that was taken */
    row.lr = hone_schedule_lr(t->config, t->s.step - 1, t->steps_per_epoch, t->steps_total, t->s.plateau_scale);
    if (e) {
        const hone_scalar scalar[] = {
            {"val/loss", e->loss}, {"val/accuracy", e->accuracy}, {"val/f1_macro", e->f1_macro}};
        hone_trainer_append(t, &t->run.metrics,
                            hone_val_line_json(t->s.step, epoch, e->loss, e->accuracy, e->f1_macro));
        hone_trainer_event(t, scalar, (int)(sizeof scalar / sizeof *scalar));
    }
    /* the header belongs to a new file only; pending lines count, as the disk may be full */
    if (t->run.results.bytes == 0 && t->run.results.pending.bytes == 0)
        hone_trainer_append(t, &t->run.results, hone_strdup(hone_results_header));
    hone_trainer_append(t, &t->run.results, hone_result_row_csv(&row));
    hone_progress p = {.what = "epoch",
                       .loss = row.train_loss,
                       .accuracy = row.train_accuracy,
                       .lr = row.lr,
                       .val_loss = row.val_loss,
                       .val_accuracy = row.val_accuracy,
                       .best = best,
                       .grad_norm = NAN,
                       .eta_seconds = NAN};
    hone_trainer_progress(t, &p);
}

/* The validation programs share the arenas of training and can read either set of weights. */
static hone_status use_average(hone_trainer *t, bool use)
{
    hone_program *p;
    if (t->config->train.ema <= 0) return HONE_OK;
    for (int k = 0; (p = hone_pass_each(&t->val, k)); k++) HONE_TRY(hone_program_use_ema(p, use));
    return HONE_OK;
}

/* Validation on the average where there is one. */
static hone_status validate(hone_trainer *t, hone_evaluation *e)
{
    HONE_TRY(use_average(t, true));
    hone_status status = hone_evaluation_run(&t->val, t->opts->stop, e);
    if (status != HONE_ERR_DIVERGED) return status;
    /* no figures this time; whether the run can go on is for the guard of the steps to say */
    hone_trainer_say(t, "warn", "step %lld: no validation figures: %s", (long long)t->s.step, hone_error_message());
    *e = (hone_evaluation){.loss = NAN, .accuracy = NAN, .f1_macro = NAN};
    return HONE_OK;
}

/* Out of patience, or out of steps. */
static void decide_end(hone_trainer *t)
{
    int patience = t->config->train.early_stop.patience;
    if (patience > 0 && t->s.evaluations_without_best >= patience) {
        t->s.finished = t->s.stopped_early = true;
        hone_trainer_say(t, "note", "stopped early: no better %s in %d evaluations, the best was at step %lld",
                         t->config->train.early_stop.metric, patience, (long long)t->s.best_step);
    }
    if (t->s.step >= t->steps_total) t->s.finished = true;
}

/* Order matters: figures first, then what follows from them, then the flag that says they were dealt with. */
hone_status hone_trainer_end_epoch(hone_trainer *t)
{
    hone_evaluation e = {0};
    bool best = true; /* without validation the newest weights are the ones to keep */
    hone_step block;
    /* lines come at multiples of log.every, and one for what is left at the end of the run */
    HONE_TRY(hone_trainer_drain(t, &block));
    if (t->s.step >= t->steps_total) HONE_TRY(hone_trainer_log_line(t));
    double began = hone_now_seconds();
    if (t->data->val) {
        HONE_TRY(validate(t, &e));
        best = update_best(t, watched(t, &e));
        update_plateau(t, e.loss);
    } else {
        t->s.best_step = t->s.step;
    }
    /* Only what validation picked can be lost again: without one the end of the run writes them (hone_trainer_final).
     * A full disk costs the best weights of this epoch, not the run. */
    if (t->data->val && best && hone_trainer_save_best(t) != HONE_OK)
        hone_trainer_say(t, "warn", "best.safetensors was not saved: %s", hone_error_message());
    write_rows(t, t->data->val ? &e : NULL, best);
    hone_evaluation_free(&e);
    /* only now: a stop before this line does the whole epoch end again */
    t->s.validation_due = false;
    t->s.epoch_loss_sum = 0;
    t->s.epoch_samples = t->s.epoch_correct = 0;
    decide_end(t);
    /* the evaluation is no training time; that of the line's steps before it is */
    t->line_started += hone_now_seconds() - began;
    return HONE_OK;
}

/* --- at the very end ------------------------------------------------------------------------------------------ */

/* best.safetensors back into model and programs; training weights are not needed any more. */
static hone_status load_best(hone_trainer *t)
{
    hone_weights_report report = {0};
    hone_safetensors *file;
    char *path = hone_io_join(t->run.path, "best.safetensors");
    hone_status status = path ? hone_safetensors_open(path, &file) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) {
        status = hone_weights_load(t->model, file, path, true, &report);
        hone_safetensors_close(file);
    }
    free(report.notes);
    free(path);
    return status == HONE_OK ? hone_model_upload(t->model, t->train.full.program) : status;
}

/* Programs and best.safetensors hold the same weights after this. Without validation the newest are the best: saving them at
 * each epoch's end would cost a large table more time than its training, and checkpoints hold them meanwhile. */
static hone_status settle_best(hone_trainer *t)
{
    if (t->data->val) return load_best(t);
    HONE_TRY(hone_trainer_save_best(t));
    /* the average was saved: it is what is evaluated */
    return t->config->train.ema > 0 ? hone_model_upload(t->model, t->train.full.program) : HONE_OK;
}

/* Takes `text` over; NULL is a memory failure of whoever made it. */
static hone_status write_text(hone_trainer *t, const char *name, char *text)
{
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %s", name);
    hone_status status = hone_run_dir_write(&t->run, name, text);
    free(text);
    return status;
}

/* RUN/eval: report.json, confusion.csv, the 100 samples of highest loss. */
static hone_status write_reports(hone_trainer *t, const hone_evaluation *e, const hone_dataset *data)
{
    char *dir = hone_io_join(t->run.path, "eval");
    hone_status status = dir ? hone_make_dirs(dir) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(dir);
    if (status == HONE_OK) status = write_text(t, "eval/report.json", hone_evaluation_json(e));
    if (status == HONE_OK) status = write_text(t, "eval/confusion.csv", hone_evaluation_confusion_csv(e));
    if (status == HONE_OK) status = write_text(t, "eval/worst.csv", hone_evaluation_worst_csv(e, data, 100));
    return status;
}

/* The test split is loaded only here, so that it costs training no memory. */
hone_status hone_trainer_final(hone_trainer *t, hone_evaluation *out)
{
    hone_dataset *set = t->data->test ? t->data->test : t->data->val;
    hone_pass pass = {0};
    hone_status status;
    *out = (hone_evaluation){0};
    if (t->data->val && !t->s.have_best)
        return hone_fail(HONE_ERR_DIVERGED, "lower train.optimizer.lr, or train longer",
                         "no evaluation of this run gave finite figures");
    HONE_TRY(settle_best(t));
    if (!set) return HONE_OK;
    if (t->data->test) {
        int threads = t->backend->threads > 0 ? t->backend->threads : 1;
        if (t->text)
            HONE_TRY(hone_text_encode(t->text, set, t->config->text.max_length, threads,
                                      hone_text_beside(t->config, "test"), "test"));
        else HONE_TRY(hone_dataset_load(set, threads, t->opts->stop));
        hone_loader_opts loader = hone_eval_loader(t->config, t->config->data.decode_threads);
        HONE_TRY(hone_eval_pass_open(t->backend, t->model, set, t->config->train.batch, &loader, HONE_PRECISION_AUTO,
                                     t->train.full.program, t->opts->stop, &pass));
    } else { /* best.safetensors already holds the average, where there is one */
        HONE_TRY(use_average(t, false));
    }
    status = hone_evaluation_run(t->data->test ? &pass : &t->val, t->opts->stop, out);
    if (status == HONE_OK && !(out->mistakes = hone_evaluation_mistakes(out, set, HONE_MISTAKES)))
        status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the worst mistakes");
    if (status == HONE_OK) status = write_reports(t, out, set);
    hone_pass_close(&pass);
    if (status != HONE_OK) hone_evaluation_free(out);
    return status;
}
