/* loop.c - the steps of a run: feed, compute, log, save, until done or told to stop (trainer.h).
 *
 * The stop flag is looked at before every micro-batch (before every group of steps that run as one: together.c), in
 * every evaluation batch and before every save. What happens when is a function of the state alone (max_time and checkpoint intervals in
 * seconds apart), so a resumed run does the same things at the same steps. */
#include <math.h>
#include <stdlib.h>

#include "core/thread.h"
#include "train/trainer.h"

/* Moves the metric sums from the device into the state: those of the line and those of the epoch. A
 * spoilt batch must not spoil the epoch's mean; only its line says that it was there. */
hone_status hone_trainer_drain(hone_trainer *t, hone_step *block)
{
    HONE_TRY(hone_program_get_step(t->train.full.program, block));
    t->s.line_loss_sum += block->loss_sum;
    t->s.line_samples += block->samples;
    t->s.line_correct += block->correct;
    if (isfinite(block->loss_sum)) {
        t->s.epoch_loss_sum += block->loss_sum;
        t->s.epoch_samples += block->samples;
        t->s.epoch_correct += block->correct;
    }
    hone_step cleared = *block;
    cleared.loss_sum = 0;
    cleared.samples = cleared.correct = 0;
    return hone_program_put_step(t->train.full.program, &cleared);
}

/* Since this start of the run: what the time left is guessed from. */
static double steps_per_second(const hone_trainer *t)
{
    double seconds = hone_now_seconds() - t->started;
    return seconds > 0 ? (double)(t->s.step - t->session_first_step) / seconds : 0;
}

/* Wall-clock figures since the line before. */
static void take_times(hone_trainer *t, hone_train_line *line)
{
    double now = hone_now_seconds(), wait = hone_loader_wait_seconds(t->train.loader);
    double seconds = now - t->line_started;
    line->samples_per_second = seconds > 0 ? (double)t->timed_samples / seconds : 0;
    line->data_wait = seconds > 0 ? fmin(1.0, (wait - t->line_wait) / seconds) : 0;
    t->line_started = now;
    t->line_wait = wait;
    t->timed_samples = 0;
}

/* One event for the caller's display. */
static void show(hone_trainer *t, const char *what, const hone_train_line *line)
{
    double rate = steps_per_second(t);
    hone_progress p = {.what = what,
                       .loss = line->loss,
                       .accuracy = line->accuracy,
                       .lr = line->lr,
                       .grad_norm = line->grad_norm,
                       .samples_per_second = line->samples_per_second,
                       .data_wait = line->data_wait,
                       .val_loss = NAN,
                       .val_accuracy = NAN,
                       .eta_seconds = rate > 0 ? (double)(t->steps_total - t->s.step) / rate : NAN};
    hone_trainer_progress(t, &p);
}

/* A line that can't be written is kept by the log and tried again: training goes on. */
void hone_trainer_append(hone_trainer *t, hone_log *log, char *line)
{
    if (!line || hone_log_append(log, line) != HONE_OK)
        hone_trainer_say(t, "warn", "%s", line ? hone_error_message() : "no memory for a log line");
    free(line);
}

void hone_trainer_event(hone_trainer *t, const hone_scalar *scalar, int count)
{
    if (hone_tfevents_add(&t->events, t->s.step, scalar, count) == HONE_OK) return;
    hone_trainer_say(t, "warn", "TensorBoard's file ends here: %s", hone_error_message());
    hone_error_clear();
}

/* A train line's figures by TensorBoard's tags. */
static void train_event(hone_trainer *t, const hone_train_line *l)
{
    const hone_scalar scalar[] = {{"train/loss", l->loss},
                                  {"train/accuracy", l->accuracy},
                                  {"train/lr", l->lr},
                                  {"train/grad_norm", l->grad_norm},
                                  {"train/samples_per_second", l->samples_per_second},
                                  {"train/data_wait", l->data_wait}};
    hone_trainer_event(t, scalar, (int)(sizeof scalar / sizeof *scalar));
}

/* Sums are cleared only when their line is made, so no sample is in two lines or none. */
hone_status hone_trainer_log_line(hone_trainer *t)
{
    hone_train_line line = {.step = t->s.step, .epoch = (double)t->s.step / (double)t->steps_per_epoch};
    hone_step block;
    if (t->s.logged_step == t->s.step) return HONE_OK;
    HONE_TRY(hone_trainer_drain(t, &block));
    double n = (double)t->s.line_samples;
    line.loss = t->s.line_samples ? t->s.line_loss_sum / n : NAN;
    line.accuracy = t->s.line_samples ? (double)t->s.line_correct / n : NAN;
    line.grad_norm = block.grad_norm;
    line.skipped = block.bad_total;
    take_times(t, &line);
    /* the rate that the last of these steps used */
    line.lr = hone_schedule_lr(t->config, t->s.step - 1, t->steps_per_epoch, t->steps_total, t->s.plateau_scale);
    t->s.line_loss_sum = 0;
    t->s.line_samples = t->s.line_correct = 0;
    t->s.logged_step = t->s.step;
    hone_trainer_append(t, &t->run.metrics, hone_train_line_json(&line));
    train_event(t, &line);
    show(t, "step", &line);
    return HONE_OK;
}

/* Between two lines a terminal wants to see life: the sums so far, without clearing them. */
static hone_status tick(hone_trainer *t)
{
    double now = hone_now_seconds();
    hone_step b;
    if (now - t->tick_shown < 0.25 || !t->opts->progress || !t->backend->host_memory) return HONE_OK;
    t->tick_shown = now;
    HONE_TRY(hone_program_get_step(t->train.full.program, &b));
    double seconds = now - t->line_started, n = (double)b.samples;
    double wait = hone_loader_wait_seconds(t->train.loader) - t->line_wait;
    hone_train_line line = {.step = t->s.step,
                            .loss = n > 0 ? (b.loss_sum + t->s.line_loss_sum) / n : NAN,
                            .accuracy = n > 0 ? (double)(b.correct + t->s.line_correct) / n : NAN,
                            .grad_norm = b.grad_norm,
                            .samples_per_second = seconds > 0 ? (double)t->timed_samples / seconds : 0,
                            .data_wait = seconds > 0 ? fmin(1.0, wait / seconds) : 0};
    line.lr = hone_schedule_lr(t->config, t->s.step > 0 ? t->s.step - 1 : 0, t->steps_per_epoch, t->steps_total,
                               t->s.plateau_scale);
    show(t, "tick", &line);
    return HONE_OK;
}

/* --- the guard against values that are not finite -------------------------------------------------------- */

/* The device has already skipped the update; here it is counted, said, and after too many given up. */
static hone_status check_finite(hone_trainer *t, hone_program *last)
{
    hone_step b;
    bool found = false;
    char text[512] = "";
    if (t->s.step % hone_trainer_look_steps(t) != 0) return HONE_OK;
    HONE_TRY(hone_program_get_step(last, &b));
    if (b.bad_total > t->s.warned_bad && b.bad_in_row == 1)
        hone_trainer_say(t, "warn",
                         "step %lld: the gradient is not finite, its update was skipped (%d in a row end the run)",
                         (long long)t->s.step, t->config->train.max_bad_steps);
    t->s.warned_bad = b.bad_total;
    if (b.bad_in_row < t->config->train.max_bad_steps) return HONE_OK;
    /* the inputs of the last bad step still lie in its program */
    HONE_TRY(hone_program_find_nonfinite(last, &found, text, sizeof text));
    return hone_fail(HONE_ERR_DIVERGED,
                     "lower train.optimizer.lr, set train.clip_norm, or look at the data of that step",
                     "step %lld: %d steps in a row gave no finite gradient; %s%s", (long long)t->s.step, b.bad_in_row,
                     found ? "first at " : "every value of the last one is finite", text);
}

/* --- one step --------------------------------------------------------------------------------------------- */

/* What a kernel may draw on: seed, step, epoch, micro-batch, rate. Nothing else tells it the time. */
static hone_status set_block(hone_trainer *t, hone_program *p, double lr)
{
    hone_step s = {.seed = (uint64_t)t->config->train.seed,
                   .step = t->s.step,
                   .epoch = (int32_t)t->s.epoch,
                   .micro = (int32_t)t->s.micro,
                   .lr = (float)lr};
    return hone_program_set_step(p, &s);
}

/* The last, shorter group of an epoch is updated too, with the same 1/accumulate (as frameworks do), so an epoch sees
 * every sample. */
hone_status hone_trainer_micro_batch(hone_trainer *t, double lr, hone_program **updated)
{
    hone_batch b;
    hone_pass_program *w;
    HONE_TRY(hone_pass_feed(&t->train, &b, &w));
    HONE_TRY(set_block(t, w->program, lr));
    /* counted before it runs: what is saved after a stop is the position of the next batch */
    t->s.micro++;
    t->s.batch++;
    bool last = t->s.batch == t->train.batches;
    *updated = last || t->s.micro == t->config->train.accumulate ? w->program : NULL;
    /* whole steps may be recorded on a device; with accumulation the update stands apart */
    if (t->config->train.accumulate == 1) HONE_TRY(hone_program_step(w->program));
    else HONE_TRY(hone_program_forward_backward(w->program));
    if (t->config->train.accumulate > 1 && *updated) HONE_TRY(hone_program_update(w->program));
    t->timed_samples += b.count;
    if (last) {
        t->s.batch = 0;
        t->s.epoch++;
    }
    /* from here on: a step is complete */
    if (!*updated) return HONE_OK;
    t->s.micro = 0;
    t->s.step++;
    t->s.validation_due = last || t->s.step >= t->steps_total;
    return HONE_OK;
}

/* --- saving when it is time -------------------------------------------------------------------------------- */

/* Multiples of a step count are a function of the state; seconds are the one interval that is not. */
static bool save_is_due(const hone_trainer *t)
{
    const hone_interval *every = &t->config->checkpoint.every;
    int64_t steps = hone_trainer_save_steps(t);
    if (t->s.step == t->last_saved_step) return false;
    if (every->kind == HONE_EVERY_SECONDS) return hone_now_seconds() - t->last_save >= every->value;
    return steps > 0 && t->s.step % steps == 0;
}

/* A failed save keeps the ones before, and training: said, logged, tried again at the next turn. */
static void save_or_warn(hone_trainer *t)
{
    if (hone_trainer_save(t, false) == HONE_OK) return;
    hone_trainer_say(t, "warn", "this checkpoint was not saved, training goes on: %s", hone_error_message());
}

/* A stop without a save would break the promise of exit code 75: then it is an error. */
static hone_status save_and_stop(hone_trainer *t)
{
    if (hone_trainer_save(t, false) != HONE_OK) {
        hone_error_context("stopped by a signal at step %lld, and could not save", (long long)t->s.step);
        return HONE_ERR_RUNTIME;
    }
    return hone_fail(HONE_INTERRUPTED, "run the same command again to go on",
                     "stopped by a signal at step %lld; saved in %s", (long long)t->s.step, t->run.path);
}

/* Out of time: the epoch under way is evaluated as it is. */
static void check_time(hone_trainer *t)
{
    double limit = t->config->train.max_time;
    if (limit <= 0 || t->s.validation_due || hone_trainer_seconds(t) < limit || t->s.micro > 0) return;
    hone_trainer_say(t, "note", "train.max_time is over at step %lld", (long long)t->s.step);
    /* the schedule is cut off, not squeezed: rates so far were for the full length */
    t->steps_total = t->s.step;
    t->s.validation_due = true;
}

/* Of the step that comes */
static double scheduled_lr(const hone_trainer *t)
{
    return hone_schedule_lr(t->config, t->s.step, t->steps_per_epoch, t->steps_total, t->s.plateau_scale);
}

/* One micro-batch, or steps that run as one: then *updated is that of the last. */
static hone_status run_some(hone_trainer *t, hone_program **updated)
{
    hone_program *p = t->train.full.program;
    int n = hone_trainer_together(t); /* 1 or more */
    *updated = NULL;
    if (n > 1) HONE_TRY(hone_program_steps_together(p, n));
    for (int k = 0; k < n; k++) {
        hone_status status = hone_trainer_micro_batch(t, scheduled_lr(t), updated);
        if (status == HONE_OK) continue;
        if (n > 1 && hone_program_steps_together(p, 1) != HONE_OK) hone_error_context("dropping %d steps", k);
        return status;
    }
    return HONE_OK;
}

/* The end of the run is always saved, so that the directory can be told from an unfinished one. */
hone_status hone_trainer_loop(hone_trainer *t)
{
    while (!t->s.finished) {
        /* the one place where a stop is answered; evaluation answers by HONE_INTERRUPTED below */
        if (hone_trainer_stopped(t)) return save_and_stop(t);
        /* an epoch end is work of its own, so that a run can be stopped and resumed before it */
        if (t->s.validation_due) {
            hone_status status = hone_trainer_end_epoch(t);
            if (status == HONE_INTERRUPTED) return save_and_stop(t);
            if (status != HONE_OK) return status;
            if (t->s.finished) break;
            if (save_is_due(t)) save_or_warn(t);
            continue;
        }
        hone_program *updated;
        HONE_TRY(run_some(t, &updated));
        if (!updated) continue;
        HONE_TRY(check_finite(t, updated));
        /* lines at fixed steps, not at fixed times: a resumed run has the same ones */
        if (t->s.step % t->config->log.every == 0) HONE_TRY(hone_trainer_log_line(t));
        else HONE_TRY(tick(t));
        check_time(t);
        /* at an epoch's end the checkpoint waits for the validation, to hold its verdict */
        if (!t->s.validation_due && save_is_due(t)) save_or_warn(t);
    }
    return t->s.step == t->last_saved_step ? HONE_OK : hone_trainer_save(t, false);
}
