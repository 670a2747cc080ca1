/* test_train.c - whole runs on made-up images: interrupted anywhere and resumed, a run ends with the same
 * bytes as one that was never stopped; values that are not finite are skipped, counted and, many in a
 * row, end the run; another experiment is refused in the same directory.
 * rooms: train data model config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/thread.h"
#include "hone/philox.h"
#include "io/file.h"
#include "train/setup.h"

static int make_scratch(void **state)
{
    char template[64];
    snprintf(template, sizeof template, "%s/hone-train-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_scratch(void **state)
{
    int failed = hone_io_remove_tree(*state) != HONE_OK;
    free(*state);
    return failed;
}

/* Convolution, batch statistics, dropout and augmentation: all that could depend on where a run stopped.
 * 70 samples in batches of 16 leave a last one of 6. */
static const char page[] = "task: image\n"
                           "data: {synthetic: {shape: [8, 8, 1], classes: 4, samples: 70}, val_fraction: 0.2}\n"
                           "augment: {flip: 0.5, crop: {pad: 1}}\n"
                           "model:\n"
                           "  layers:\n"
                           "    - conv: {out: 4, kernel: 3}\n"
                           "    - batchnorm\n"
                           "    - relu\n"
                           "    - maxpool\n"
                           "    - flatten\n"
                           "    - dropout: 0.2\n"
                           "    - linear: {out: classes}\n"
                           "train:\n"
                           "  epochs: 4\n"
                           "  batch: 16\n"
                           "  optimizer: {name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 5e-4}\n"
                           "  schedule: {name: cosine, warmup: 1}\n"
                           "checkpoint: {every: 1 epoch, keep: 2}\n"
                           "log: {every: 3}\n";

/* --- running --------------------------------------------------------------------------------------------- */

static volatile int stop;

typedef struct watch {
    int64_t stop_at; /* step at which to ask for a stop, 0: never */
    int notes;
    char said[4096]; /* notes and warnings */
} watch;

static void on_progress(void *arg, const hone_progress *p)
{
    watch *w = arg;
    size_t used = strlen(w->said);
    if (p->text) snprintf(w->said + used, sizeof w->said - used, "%s\n", p->text);
    if (w->stop_at && p->step == w->stop_at && (strcmp(p->what, "step") == 0 || strcmp(p->what, "epoch") == 0))
        stop = 1;
}

static hone_status train(const char *out, const char *const *override, int count, watch *w, hone_evaluation *e)
{
    hone_config *c;
    hone_train_opts o = {
        .device = "cpu", .threads = 1, .out = out, .stop = &stop, .progress = on_progress, .progress_arg = w};
    hone_status status = hone_config_read_text("page.yaml", page, override, count, &c);
    if (status != HONE_OK) fail_msg("%s", hone_error_message());
    status = hone_train(c, &o, e);
    stop = 0;
    hone_config_free(c);
    return status;
}

static char *read_all(const char *dir, const char *name, size_t *bytes)
{
    char path[600];
    static char *data; /* static: gcc 12 takes the pointer that comes back for the address of a local */
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hone_file_read(path, 1 << 24, &data, bytes) != HONE_OK) fail_msg("%s", hone_error_message());
    return data;
}

/* Removes the values of the two keys that hold wall-clock figures. */
static void blank_clock(char *text)
{
    static const char *const keys[] = {"\"samples_per_second\":", "\"data_wait\":"};
    for (int k = 0; k < 2; k++)
        for (char *at = text; (at = strstr(at, keys[k]));) {
            char *value = at + strlen(keys[k]), *end = value + strcspn(value, ",}");
            memmove(value, end, strlen(end) + 1);
            at = value;
        }
}

static void compare(const char *a, const char *b, const char *name)
{
    size_t m, n;
    char *x = read_all(a, name, &m), *y = read_all(b, name, &n);
    if (strstr(name, ".jsonl")) {
        blank_clock(x);
        blank_clock(y);
        m = strlen(x);
        n = strlen(y);
    }
    if (m != n || memcmp(x, y, m) != 0) {
        size_t k = 0;
        while (k < m && k < n && x[k] == y[k]) k++;
        fail_msg("%s differs from byte %zu on (%zu and %zu bytes)", name, k, m, n);
    }
    free(x);
    free(y);
}

static void compare_runs(const char *a, const char *b, const char *last)
{
    char name[100];
    static const char *const parts[] = {"model.safetensors", "optim.safetensors"};
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "checkpoints/%s/%s", last, parts[k]);
        compare(a, b, name);
    }
    compare(a, b, "best.safetensors");
    compare(a, b, "metrics.jsonl");
    compare(a, b, "results.csv");
    compare(a, b, "eval/report.json");
}

/* --- stopped at every step --------------------------------------------------------------------------------- */

typedef struct setting {
    const char *name, *override[4];
    int count;
    const char *last;
} setting;

static const setting settings[] = {
    {"sgd", {"log.every=1"}, 1, "step-00000020"},
    {"adamw ema",
     {"log.every=1", "train.optimizer={name: adamw, lr: 0.01}", "train.ema=0.9", "train.clip_norm=1"},
     4,
     "step-00000020"},
    {"no validation", {"log.every=1", "data.val_fraction=0", "checkpoint.every=2 steps"}, 3, "step-00000020"},
};

static void test_resume_at_every_step(void **state)
{
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        const setting *s = &settings[k];
        char whole[300], parts[300];
        watch w = {0};
        snprintf(whole, sizeof whole, "%s/%zu-whole", (char *)*state, k);
        snprintf(parts, sizeof parts, "%s/%zu-parts", (char *)*state, k);
        if (train(whole, s->override, s->count, &w, NULL) != HONE_OK) fail_msg("%s: %s", s->name, hone_error_message());
        int stops = 0;
        for (int64_t at = 1; at < 100; at++) {
            w = (watch){.stop_at = at};
            hone_status status = train(parts, s->override, s->count, &w, NULL);
            if (status == HONE_OK) break;
            if (status != HONE_INTERRUPTED) fail_msg("%s: stop %d: %s", s->name, (int)at, hone_error_message());
            stops++;
        }
        assert_in_range(stops, 19, 20);
        compare_runs(whole, parts, s->last);
        w = (watch){0}; /* the very last stop came before the last evaluation: done all the same */
        assert_int_equal(train(parts, s->override, s->count, &w, NULL), HONE_OK);
        assert_non_null(strstr(w.said, "is finished"));
        compare_runs(whole, parts, s->last);
    }
}

/* One array of a safetensors file of a run; the caller closes the file. */
static const float *array_of(hone_safetensors **file, const char *dir, const char *part, const char *name,
                             int64_t count)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, part);
    if (hone_safetensors_open(path, file) != HONE_OK) fail_msg("%s", hone_error_message());
    const hone_blob *b = hone_safetensors_find(*file, name);
    if (!b || b->bytes != (size_t)count * sizeof(float)) fail_msg("%s: no %s of %d values", path, name, (int)count);
    return b->data;
}

/* With train.ema the weights that are kept are averages, batchnorm's statistics as well as parameters. */
static void test_best_is_the_average(void **state)
{
    static const char *const override[] = {"train.epochs=1", "train.ema=0.9"};
    static const char *const name[] = {"batchnorm1.running_mean", "batchnorm1.running_var", "batchnorm1.weight"};
    watch w = {0};
    char average[64];
    if (train(*state, override, 2, &w, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    for (int k = 0; k < 3; k++) {
        hone_safetensors *best, *model, *optim;
        snprintf(average, sizeof average, "%s.ema", name[k]);
        const float *x = array_of(&best, *state, "best.safetensors", name[k], 4);
        const float *raw = array_of(&model, *state, "checkpoints/step-00000005/model.safetensors", name[k], 4);
        const float *y = array_of(&optim, *state, "checkpoints/step-00000005/optim.safetensors", average, 4);
        assert_memory_equal(x, y, 4 * sizeof *x);
        assert_memory_not_equal(x, raw, 4 * sizeof *x);
        hone_safetensors_close(best);
        hone_safetensors_close(model);
        hone_safetensors_close(optim);
    }
}

/* --- stopped at random moments: loading, inside accumulation, evaluating, saving ------------------------------- */

static void on_alarm(int number)
{
    (void)number;
    stop = 1;
}

static void alarm_after(long microseconds)
{
    struct itimerval t = {.it_value = {0, microseconds}};
    setitimer(ITIMER_REAL, &t, NULL);
}

/* Starts a run again and again, each time stopped after up to `span_us`, until it is done. The number of stops;
 * *inside: those within an accumulation. */
static int run_in_parts(const char *parts, const char *const *override, int count, uint32_t span_us, int *inside)
{
    int stops = 0;
    *inside = 0;
    for (uint64_t k = 0; k < 400; k++) {
        watch w = {0};
        alarm_after(1000 + hone_philox(7, 7, k, 0).v[0] % span_us);
        hone_status status = train(parts, override, count, &w, NULL);
        alarm_after(0);
        if (status == HONE_OK) break;
        if (status != HONE_INTERRUPTED) fail_msg("stop %d: %s", (int)k, hone_error_message());
        stops++;
        hone_checkpoint c;
        bool found;
        assert_int_equal(hone_checkpoint_latest(parts, NULL, NULL, &found, &c), HONE_OK);
        if (!found) continue;
        *inside += strstr(c.state_json, "\"micro\": 0") == NULL;
        hone_checkpoint_free(&c);
    }
    return stops;
}

static void test_resume_at_random_moments(void **state)
{
    static const char *const override[] = {"train.accumulate=3", "log.every=1", "train.epochs=30",
                                           "data.synthetic.samples=300", "train.batch=4"};
    char whole[300], parts[300], name[32];
    watch w = {0};
    snprintf(whole, sizeof whole, "%s/whole", (char *)*state);
    double start = hone_now_seconds();
    assert_int_equal(train(whole, override, 5, &w, NULL), HONE_OK);
    /* Some ten stops: each try gets up to a fifth of what the whole run took. A busy machine may give a later run
     * more than its share: then again, with shorter tries. */
    uint32_t span_us = 2000 + (uint32_t)(2e5 * (hone_now_seconds() - start));
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &a, NULL);
    int stops = 0, inside = 0;
    for (int attempt = 0; attempt < 5 && stops < 5; attempt++, span_us = span_us / 3 + 100) {
        snprintf(parts, sizeof parts, "%s/parts-%d", (char *)*state, attempt);
        stops = run_in_parts(parts, override, 5, span_us, &inside);
    }
    signal(SIGALRM, SIG_DFL);
    print_message("    %d stops, %d of them inside an accumulation\n", stops, inside);
    assert_true(stops >= 5);
    snprintf(name, sizeof name, "step-%08d", 30 * 25);
    compare_runs(whole, parts, name);
}

/* --- what a directory may hold --------------------------------------------------------------------------------- */

static void test_finished_and_refused(void **state)
{
    static const struct {
        const char *override, *message;
    } other[] = {
        {"train.batch=8", "train.batch was 16 and is 8"},
        {"train.seed=2", "train.seed"},
        {"train.optimizer.lr=0.06", "train.optimizer.lr was 0.05"},
        {"data.synthetic.samples=71", "data"},
        {"data.synthetic.classes=5", "class"},
        {"augment.flip=0", "augment.flip"},
        {"augment.rotate=5", "augment.rotate"},
        {"augment.mixup=0.2", "augment.mixup"},
        {"augment.erase.probability=0.2", "augment.erase"},
        {"train.optimizer={name: adamw, lr: 0.05}", "train.optimizer"},
    };
    static const char *const may[] = {"train.epochs=5", "log.every=2", "checkpoint.keep=3"};
    watch w = {0};
    hone_evaluation e;
    char run[300];
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    assert_int_equal(train(run, NULL, 0, &w, &e), HONE_OK);
    assert_true(e.n > 0 && e.accuracy > 0.2 && e.accuracy_low < e.accuracy && e.accuracy < e.accuracy_high);
    hone_evaluation_free(&e);
    w = (watch){0};
    assert_int_equal(train(run, NULL, 0, &w, NULL), HONE_OK);
    assert_non_null(strstr(w.said, "is finished"));
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        w = (watch){0};
        hone_status status = train(run, &other[k].override, 1, &w, NULL);
        if (status != HONE_ERR_USAGE) fail_msg("%s: status %d", other[k].override, status);
        if (!strstr(hone_error_message(), other[k].message))
            fail_msg("%s: %s", other[k].override, hone_error_message());
    }
    w = (watch){0};
    assert_int_equal(train(run, may, 3, &w, NULL), HONE_OK);
    assert_non_null(strstr(w.said, "goes on"));
}

/* Extra epochs with a constant rate equal a run that had them from the start. */
static void test_more_epochs(void **state)
{
    static const char *const few[] = {"train.schedule={name: constant}", "train.epochs=2", "log.every=1"};
    static const char *const many[] = {"train.schedule={name: constant}", "train.epochs=5", "log.every=1"};
    char a[300], b[300];
    watch w = {0};
    snprintf(a, sizeof a, "%s/a", (char *)*state);
    snprintf(b, sizeof b, "%s/b", (char *)*state);
    assert_int_equal(train(a, few, 3, &w, NULL), HONE_OK);
    assert_int_equal(train(a, many, 3, &w, NULL), HONE_OK);
    assert_int_equal(train(b, many, 3, &w, NULL), HONE_OK);
    compare_runs(a, b, "step-00000020");
}

/* A checkpoint that was damaged is passed over, said, and the run still ends with the same bytes. */
static void test_damaged_checkpoint(void **state)
{
    char a[300], b[300], path[600];
    watch w = {.stop_at = 9};
    snprintf(a, sizeof a, "%s/a", (char *)*state);
    snprintf(b, sizeof b, "%s/b", (char *)*state);
    assert_int_equal(train(a, NULL, 0, &w, NULL), HONE_INTERRUPTED);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000009/model.safetensors", a);
    assert_int_equal(truncate(path, 500), 0);
    w = (watch){0};
    assert_int_equal(train(a, NULL, 0, &w, NULL), HONE_OK);
    assert_non_null(strstr(w.said, "passed over"));
    w = (watch){0};
    assert_int_equal(train(b, NULL, 0, &w, NULL), HONE_OK);
    compare_runs(a, b, "step-00000020");
}

/* --- a full disk ------------------------------------------------------------------------------------------------ */

static void test_disk_full_goes_on(void **state)
{
    char run[300], whole[300];
    static const char *const override[] = {"checkpoint.every=1 steps"};
    watch w = {0};
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    snprintf(whole, sizeof whole, "%s/whole", (char *)*state);
    assert_int_equal(train(whole, override, 1, &w, NULL), HONE_OK);
    w = (watch){0};
    hone_fault_set(60, HONE_FAULT_EIO); /* one call of some save fails */
    hone_status status = train(run, override, 1, &w, NULL);
    hone_fault_set(0, HONE_FAULT_NONE);
    assert_int_equal(status, HONE_OK);
    assert_non_null(strstr(w.said, "training goes on"));
    compare_runs(whole, run, "step-00000020");
}

/* --- values that are not finite ----------------------------------------------------------------------------------- */

static void test_divergence(void **state)
{
    static const char *const override[] = {"train.optimizer.lr=1e6", "train.max_bad_steps=3", "log.every=1",
                                           "train.schedule={name: constant}"};
    char run[300];
    watch w = {0};
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    assert_int_equal(train(run, override, 4, &w, NULL), HONE_ERR_DIVERGED);
    assert_non_null(strstr(hone_error_message(), "3 steps in a row"));
    assert_non_null(strstr(hone_error_message(), "first at"));
    assert_non_null(strstr(w.said, "skipped"));
    size_t bytes;
    char *text = read_all(run, "run.json", &bytes);
    assert_non_null(strstr(text, "\"diverged\""));
    free(text);
}

typedef struct injection {
    hone_trainer *t;
    float whole; /* the class weight that was there */
    int injected;
} injection;

/* A NaN in the weight of class 0 for one step: it is in loss and gradient of that step alone. */
static void inject(void *arg, const hone_progress *p)
{
    injection *i = arg;
    if (strcmp(p->what, "step") != 0 || (p->step != 3 && p->step != 4)) return;
    float *weight = i->t->class_weight, put = p->step == 3 ? NAN : i->whole;
    if (p->step == 3) i->whole = weight[0];
    weight[0] = put;
    hone_pass_program *program[] = {&i->t->train.full, &i->t->train.tail};
    for (int k = 0; k < 2; k++)
        if (program[k]->program)
            assert_int_equal(hone_program_write(program[k]->program, program[k]->io.class_weight, weight,
                                                (size_t)i->t->data->classes * sizeof *weight),
                             HONE_OK);
    i->injected++;
}

static void test_one_bad_step_is_skipped(void **state)
{
    static const char *const override[] = {"train.loss.class_weights=balanced", "log.every=1"};
    hone_config *c;
    hone_run_dir run;
    hone_trainer t = {0};
    injection i = {.t = &t};
    assert_int_equal(hone_config_read_text("page.yaml", page, override, 2, &c), HONE_OK);
    hone_train_opts o = {.device = "cpu", .threads = 1, .progress = inject, .progress_arg = &i};
    assert_int_equal(hone_run_dir_open(*state, &run), HONE_OK);
    t = (hone_trainer){.config = c, .opts = &o, .run = run};
    assert_int_equal(hone_setup_open(&t), HONE_OK);
    t.s.plateau_scale = 1;
    assert_int_equal(hone_run_dir_start_logs(&t.run, 0, 0, NULL), HONE_OK);
    assert_int_equal(hone_setup_initial_weights(&t), HONE_OK);
    if (hone_trainer_loop(&t) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_step block;
    assert_int_equal(hone_program_get_step(t.train.full.program, &block), HONE_OK);
    assert_int_equal(i.injected, 2);
    assert_int_equal(block.bad_total, 1);
    assert_int_equal(block.updates, t.s.step - 1);
    assert_int_equal(block.bad_in_row, 0);
    for (int k = 0; k < hone_model_param_count(t.model); k++) {
        const hone_param *p = hone_model_param(t.model, k); /* as saved at the end */
        for (int64_t n = 0; n < p->count; n++) assert_true(isfinite(p->value[n]));
    }
    size_t bytes;
    char *text = read_all(*state, "metrics.jsonl", &bytes);
    assert_non_null(strstr(text, "\"loss\":null"));
    assert_non_null(strstr(text, "\"skipped\":1"));
    free(text);
    hone_pass_close(&t.val);
    hone_pass_close(&t.train);
    hone_model_free(t.model);
    hone_data_free(t.data);
    hone_backend_close(t.backend);
    hone_run_dir_close(&t.run);
    free(t.class_weight);
    hone_config_free(c);
}

/* --- learning --------------------------------------------------------------------------------------------------- */

static void test_overfits_one_batch(void **state)
{
    char run[300];
    watch w = {0};
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    hone_config *c;
    static const char text[] = "task: image\n"
                               "data: {synthetic: {shape: [8, 8, 1], classes: 4, samples: 16}, val_fraction: 0}\n"
                               "model: {layers: [flatten, linear: 32, relu, linear: classes]}\n"
                               "train: {epochs: 200, batch: 16, optimizer: {name: adamw, lr: 0.01}, schedule: {name: "
                               "constant}, loss: {label_smoothing: 0}}\n"
                               "checkpoint: {every: 200 epochs}\n"
                               "log: {every: 1}\n";
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = run, .progress = on_progress, .progress_arg = &w};
    if (hone_config_read_text("page.yaml", text, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_status status = hone_train(c, &o, NULL);
    hone_config_free(c);
    if (status != HONE_OK) fail_msg("%s", hone_error_message());
    size_t bytes;
    char *metrics = read_all(run, "metrics.jsonl", &bytes), *last = strstr(metrics, "\"step\":200,");
    assert_non_null(last);
    double loss = strtod(strstr(last, "\"loss\":") + 7, NULL),
           accuracy = strtod(strstr(last, "\"accuracy\":") + 11, NULL);
    if (!(loss < 0.05 && accuracy == 1)) fail_msg("loss %g, accuracy %g", loss, accuracy);
    free(metrics);
}

/* --- starting weights --------------------------------------------------------------------------------------------- */

static void test_init(void **state)
{
    char a[300], b[300], init[400];
    watch w = {0};
    snprintf(a, sizeof a, "%s/a", (char *)*state);
    snprintf(b, sizeof b, "%s/b", (char *)*state);
    snprintf(init, sizeof init, "train.init=%s", a);
    assert_int_equal(train(a, NULL, 0, &w, NULL), HONE_OK);
    const char *more[] = {init, "data.synthetic.classes=5", "train.epochs=1"};
    w = (watch){0};
    if (train(b, more, 3, &w, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_non_null(strstr(w.said, "the head is set anew"));
    assert_non_null(strstr(w.said, "parameters loaded"));
    snprintf(b, sizeof b, "%s/c", (char *)*state);
    const char *other[] = {init, "data.synthetic.shape=[12, 12, 1]"};
    w = (watch){0};
    assert_int_equal(train(b, other, 2, &w, NULL), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "train.init"));
    assert_non_null(strstr(hone_error_message(), "has shape"));
    const char *none[] = {"train.init=/no/such/file"};
    snprintf(b, sizeof b, "%s/d", (char *)*state);
    assert_int_not_equal(train(b, none, 1, &w, NULL), HONE_OK);
    assert_non_null(strstr(hone_error_message(), "/no/such/file"));
}

/* --- evaluation and prediction agree with training ---------------------------------------------------------------- */

static void test_evaluate_again(void **state)
{
    char run[300];
    watch w = {0};
    hone_evaluation trained, again;
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    assert_int_equal(train(run, NULL, 0, &w, &trained), HONE_OK);
    hone_eval_opts o = {.device = "cpu", .threads = 1, .batch = 5};
    if (hone_evaluate(run, &o, &again) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(trained.n, again.n);
    assert_true(trained.accuracy == again.accuracy);
    assert_true(fabs(trained.loss - again.loss) <= 1e-5 * trained.loss); /* other batch sizes, other sums */
    o.split = "nonsense";
    hone_evaluation none;
    assert_int_equal(hone_evaluate(run, &o, &none), HONE_ERR_USAGE);
    hone_evaluation_free(&trained);
    hone_evaluation_free(&again);
    hone_predictor *p;
    if (hone_predictor_open(run, "cpu", 1, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    uint8_t pixels[20 * 64];
    float all[20 * 4], one[4];
    for (uint64_t k = 0; k < sizeof pixels; k++) pixels[k] = (uint8_t)hone_philox(3, 3, k, 0).v[0];
    assert_int_equal(hone_predictor_run(p, pixels, 20, all), HONE_OK);
    for (int k = 0; k < 20; k++) {
        assert_int_equal(hone_predictor_run(p, pixels + k * 64, 1, one), HONE_OK);
        float sum = 0;
        for (int c = 0; c < 4; c++) {
            assert_true(fabsf(one[c] - all[k * 4 + c]) < 1e-5f);
            sum += one[c];
        }
        assert_true(fabsf(sum - 1) < 1e-5f);
    }
    hone_predictor_close(p);
}

/* Lines are 200 steps long and epochs 199, so lines have an epoch's end near their own: the steps before it took time, too.
 * Samples over their rate, summed over all lines, are the time of the run but for its setup and little evaluations. */
static void test_rates_hold_all_steps(void **state)
{
    const char *override[] = {"data.synthetic.samples=3180", "data.val_fraction=0.015", "train.epochs=16",
                              "log.every=200", "checkpoint.every=100 epoch"};
    watch w = {0};
    double began = hone_now_seconds(), seconds = 0;
    assert_int_equal(train(*state, override, 5, &w, NULL), HONE_OK);
    double whole = hone_now_seconds() - began;
    char *text = read_all(*state, "metrics.jsonl", &(size_t){0}), *at = text;
    int lines = 0;
    for (; (at = strstr(at, "\"samples_per_second\":")); lines++) seconds += 200 * 16 / strtod(at += 21, NULL);
    free(text);
    assert_true(lines >= 15);
    if (seconds < 0.5 * whole || seconds > 1.1 * whole) fail_msg("%g of %g s are in %d lines", seconds, whole, lines);
}

int main(void)
{
#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_resume_at_every_step),
        WITH_SCRATCH(test_best_is_the_average),
        WITH_SCRATCH(test_resume_at_random_moments),
        WITH_SCRATCH(test_finished_and_refused),
        WITH_SCRATCH(test_more_epochs),
        WITH_SCRATCH(test_damaged_checkpoint),
        WITH_SCRATCH(test_disk_full_goes_on),
        WITH_SCRATCH(test_divergence),
        WITH_SCRATCH(test_one_bad_step_is_skipped),
        WITH_SCRATCH(test_overfits_one_batch),
        WITH_SCRATCH(test_init),
        WITH_SCRATCH(test_evaluate_again),
        WITH_SCRATCH(test_rates_hold_all_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
