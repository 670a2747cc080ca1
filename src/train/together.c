/* together.c - how many of the next steps may run as one (hone_program_steps_together).
 *
 * Between two things that the host does at known steps (a train line, a look at the gradients, a checkpoint, the end of
 * an epoch or of the run) a device needs nothing from it. Those steps are a function of the state, so groups never pass
 * over one of them and a resumed run has the lines of one that was never stopped. Limits in seconds are met at the end
 * of a group, some milliseconds late. */
#include "train/trainer.h"

int hone_steps_together(int most, int64_t step, int64_t left, const int64_t *every, int count)
{
    int n = 1;
    for (int k = 0; k < count; k++) {
        int64_t until = every[k] > 0 ? every[k] - step % every[k] : left;
        if (until < left) left = until;
    }
    while (2 * n <= most && 2 * n <= left) n *= 2;
    return n;
}

int64_t hone_trainer_save_steps(const hone_trainer *t)
{
    const hone_interval *every = &t->config->checkpoint.every;
    if (every->kind == HONE_EVERY_STEPS) return (int64_t)every->value;
    if (every->kind == HONE_EVERY_EPOCHS) return (int64_t)(every->value * (double)t->steps_per_epoch + 0.5);
    return 0;
}

/* Asking a device costs a wait, so there the question is put only as often as it must be. */
int64_t hone_trainer_look_steps(const hone_trainer *t)
{
    int64_t line = t->config->log.every, bad = t->config->train.max_bad_steps;
    int64_t every = line < bad ? line : bad;
    return t->backend->host_memory || every < 1 ? 1 : every;
}

/* A short last batch has a program of its own. */
int hone_trainer_together(const hone_trainer *t)
{
    const int64_t every[] = {t->config->log.every, hone_trainer_look_steps(t), hone_trainer_save_steps(t)};
    int most = hone_program_steps_most(t->train.full.program);
    if (most == 1) return 1;
    int64_t left = t->train.batches - t->s.batch - (t->train.tail.program != NULL), to_end = t->steps_total - t->s.step;
    return hone_steps_together(most, t->s.step, left < to_end ? left : to_end, every, 3);
}
