/* bench.c - `hone bench`: how fast whole training steps are on this machine.
 *
 * What is timed is what training does: the loader's next batch, its upload, the step, a sync. The
 * programs are those of src/train. A last, short batch is passed over. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/machine.h"
#include "core/thread.h"
#include "train/setup.h"
#include "train/text.h"

/* warm: caches, clocks, the recorded step; profile: single ops are noisy, five steps settle their medians */
enum { WARM_STEPS = 3, PROFILE_STEPS = 5 };
/* Steps between two looks at the clock on a device: asking after each one would let the device run dry, which
 * training never does. */
enum { DEVICE_STEPS = 10 };

/* What is measured besides the times. */
typedef struct meter {
    hone_program *last; /* of the last batch: texts choose by their tokens */
    int64_t tokens;     /* live ones, since it was cleared */
} meter;

/* The next full batch: a short last one is passed over, as it would blur the figures. */
static hone_status feed(hone_trainer *t, hone_batch *b, meter *m)
{
    hone_pass_program *w;
    do HONE_TRY(hone_pass_feed(&t->train, b, &w));
    while (w == &t->train.tail);
    m->last = w->program;
    m->tokens += b->tokens;
    return HONE_OK;
}

/* One optimizer step (all micro-batches of it). */
static hone_status one_step(hone_trainer *t, meter *m)
{
    int accumulate = t->config->train.accumulate;
    for (int micro = 0; micro < accumulate; micro++) {
        hone_batch b;
        HONE_TRY(feed(t, &b, m));
        hone_program *p = m->last;
        hone_step s = {
            .seed = (uint64_t)t->config->train.seed, .step = t->s.step, .epoch = (int32_t)b.epoch, .micro = micro};
        s.lr = (float)t->config->train.optimizer.lr;
        HONE_TRY(hone_program_set_step(p, &s));
        if (accumulate == 1) HONE_TRY(hone_program_step(p));
        else HONE_TRY(hone_program_forward_backward(p));
        if (accumulate > 1 && micro == accumulate - 1) HONE_TRY(hone_program_update(p));
    }
    t->s.step++;
    return HONE_OK;
}

/* `steps` of them, until the device is done; together where training runs them so. */
static hone_status run_steps(hone_trainer *t, int steps, meter *m)
{
    hone_program *p = t->train.full.program;
    for (int done = 0; done < steps;) {
        int n = hone_steps_together(hone_program_steps_most(p), done, steps - done, NULL, 0);
        HONE_TRY(hone_program_steps_together(p, n));
        for (int k = 0; k < n; k++) HONE_TRY(one_step(t, m));
        done += n;
    }
    return t->backend->sync(t->backend);
}

/* For qsort. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank; count >= 1. */
static double quantile(const double *sorted, int count, double share)
{
    return sorted[(int)(share * (double)(count - 1) + 0.5)];
}

/* Mean loss since the last call. */
static hone_status take_loss(hone_trainer *t, double *loss)
{
    hone_step s;
    HONE_TRY(hone_program_get_step(t->train.full.program, &s));
    *loss = s.samples ? s.loss_sum / (double)s.samples : NAN;
    s.loss_sum = 0;
    s.samples = s.correct = 0;
    return hone_program_put_step(t->train.full.program, &s);
}

/* Fills seconds[count] with the times of steps; on a device each is the mean of DEVICE_STEPS. */
static hone_status time_steps(hone_trainer *t, double *seconds, int count, double *wait_share, meter *m)
{
    double wait = hone_loader_wait_seconds(t->train.loader), sum = 0;
    int group = t->backend->host_memory ? 1 : DEVICE_STEPS;
    for (int k = 0; k < count; k++) {
        double start = hone_now_seconds();
        HONE_TRY(run_steps(t, group, m));
        double spent = hone_now_seconds() - start;
        seconds[k] = spent / group;
        sum += spent;
    }
    *wait_share = sum > 0 ? (hone_loader_wait_seconds(t->train.loader) - wait) / sum : 0;
    return HONE_OK;
}

/* Warm-up lets the record pass, caches and clock speeds settle; it is not counted. */
static hone_status measure_steps(hone_trainer *t, hone_bench_result *r, meter *m)
{
    double *seconds = calloc((size_t)r->steps, sizeof *seconds), loss;
    if (!seconds) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the times");
    hone_status status = run_steps(t, WARM_STEPS - 1, m); /* step 1 was the first one */
    /* and every size of a group is recorded before it is timed */
    if (r->together > 1 && status == HONE_OK) status = run_steps(t, DEVICE_STEPS, m);
    if (status == HONE_OK) status = take_loss(t, &loss);
    m->tokens = 0;
    if (status == HONE_OK) status = time_steps(t, seconds, r->steps, &r->data_wait, m);
    r->tokens = (double)m->tokens / r->steps / (t->backend->host_memory ? 1 : DEVICE_STEPS);
    if (status == HONE_OK) status = take_loss(t, &r->loss);
    qsort(seconds, (size_t)r->steps, sizeof *seconds, by_value);
    r->step_least = seconds[0];
    r->step_low = quantile(seconds, r->steps, 0.1);
    r->step_median = quantile(seconds, r->steps, 0.5);
    r->step_high = quantile(seconds, r->steps, 0.9);
    free(seconds);
    return status;
}

/* Per-op times and the roof; after the timed steps, because it spoils caches and weights. */
static hone_status measure_ops(hone_trainer *t, hone_program *p, hone_bench_result *r)
{
    const hone_graph *g = hone_program_graph(p);
    double *seconds = calloc((size_t)g->node_count + 1, sizeof *seconds);
    if (!seconds) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the times");
    hone_status status = hone_program_profile(p, PROFILE_STEPS, seconds);
    if (status == HONE_OK && hone_backend_roof(t->backend, &r->flop_per_second, &r->bytes_per_second) != HONE_OK)
        hone_error_clear(); /* the table is then printed without shares */
    if (status == HONE_OK) status = hone_bench_group(g, seconds, r);
    free(seconds);
    return status;
}

static hone_status measure(hone_trainer *t, double started, hone_bench_result *r)
{
    hone_memory planned, allocated;
    meter m = {0};
    HONE_TRY(hone_setup_open(t));
    HONE_TRY(hone_setup_initial_weights(t));
    r->together = hone_program_steps_most(t->train.full.program);
    int64_t launched = t->backend->launched;
    r->ready_seconds = hone_now_seconds() - started;
    HONE_TRY(run_steps(t, 1, &m)); /* not recorded yet, so every launch is counted */
    r->kernels = t->backend->launched - launched;
    r->first_step_seconds = hone_now_seconds() - started;
    HONE_TRY(measure_steps(t, r, &m));
    r->peak_bytes = hone_machine_peak_memory(); /* before the roof, which needs memory of its own */
    hone_program_memory(t->train.full.program, &planned, &allocated);
    r->program_bytes = allocated.total;
    r->device = t->backend->name;
    r->precision = hone_precision_name(hone_program_precision(t->train.full.program));
    r->threads = t->backend->threads;
    r->batch = t->train.full.batch;
    return measure_ops(t, m.last, r);
}

/* Nine digits: more is noise in a measurement. */
static hone_status print_result(const hone_cli *cli, const hone_bench_result *r)
{
    if (!cli->json) {
        hone_bench_print(r);
        return HONE_OK;
    }
    return hone_cli_print_json(hone_bench_json(r), JSON_INDENT(2) | JSON_REAL_PRECISION(9));
}

/* No validation: its programs and data are not part of a training step. */
static void leave_out_validation(hone_config *c)
{
    c->data.val_fraction = 0;
    c->train.early_stop.patience = 0;
    if (c->train.schedule.name == HONE_SCHEDULE_PLATEAU) c->train.schedule.name = HONE_SCHEDULE_CONSTANT;
}

/* The clock starts before the config is read: first_step_seconds is what a user waits. */
static int bench_run(const hone_cli *cli)
{
    double started = hone_now_seconds();
    int64_t steps = 30, batch = 0;
    hone_config *c = NULL;
    HONE_TRY(hone_cli_int(cli, "--steps", 1, 1000000, &steps));
    HONE_TRY(hone_cli_int(cli, "--batch", 1, 1000000, &batch));
    HONE_TRY(hone_cli_config(cli, cli->arg[0], 1, &c));
    if (batch) c->train.batch = (int)batch;
    leave_out_validation(c);
    hone_train_opts opts = {.device = cli->device, .threads = cli->threads};
    hone_trainer t = {.config = c, .opts = &opts};
    hone_bench_result r = {.config = c, .path = cli->arg[0], .steps = (int)steps};
    hone_status status = measure(&t, started, &r);
    if (status == HONE_OK) status = print_result(cli, &r);
    hone_trainer_close(&t);
    hone_config_free(c);
    free(r.op);
    return status;
}

static const hone_cli_flag flags[] = {
    {"--steps", "N", "timed steps; default 30"},
    {"--batch", "N", "train.batch of the config"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_bench_command = {
    .name = "bench",
    .run = bench_run,
    .arguments = "CONFIG [key.sub=value ...]",
    .summary = "samples/s of whole training steps, share of the measured roof, per-op table",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details = "Times the loader's next batch, the step and a sync, after warm-up; median and spread of the steps.\n"
               "The per-op table says what each kernel reaches and its share of the roof of this machine, which is\n"
               "measured on the spot: multiply-adds in registers, and a copy of 64 MiB. Nothing is saved.",
    .examples = "hone bench configs/bench/lenet.yaml\n"
                "hone bench configs/bench/resnet18-cifar.yaml --steps 10 --threads 2\n"
                "hone bench configs/fashion-cnn.yaml --batch 64 --json",
};
