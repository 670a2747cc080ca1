/* test_together_run.c - whole trainings on the emulated device with 1, 2, 4 and 16 steps a graph: the same weights,
 * optimizer state, train lines and results as eager single steps, also stopped, killed and resumed with another number.
 * Planted: steps that pass over a train line, a group that is told one step's number for all; both must show.
 * rooms: train data model config io compile kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "compile/pass.h"
#include "core/thread.h"
#include "hone/hone.h"
#include "hone/philox.h"
#include "io/file.h"
#include "support/runs.h"
#include "train/trainer.h"

/* 33 samples train: eight full batches and one of 1, two epochs. Lines, looks at the gradient, checkpoints and
 * epochs fall on steps that no power of two divides. */
static const char base[] =
    "task: image\n"
    "data: {synthetic: {shape: [6, 6, 3], classes: 3, samples: 33}, val_fraction: 0.2}\n"
    "augment: {flip: 0.5, crop: {pad: 1}, mixup: 0.3}\n"
    "model:\n"
    "  layers: [conv: {out: 4, kernel: 3}, batchnorm, relu, flatten, dropout: 0.2, linear: classes]\n"
    "log: {every: 7}\n"
    "checkpoint: {every: 5 steps, keep: 2}\n"
    "train:\n  epochs: 2\n  batch: 4\n  ema: 0.9\n  clip_norm: 1\n"
    "  schedule: {name: cosine, warmup: 0.5}\n";
static const char adamw[] = "  optimizer: {name: adamw, lr: 0.01}\n",
                  rising[] = "  optimizer: {name: sgd, lr: 1e6, weight_decay: 1}\n  max_bad_steps: 3\n",
                  gathered[] = "  optimizer: {name: adamw, lr: 0.01}\n  accumulate: 2\n";
enum { STEPS = 18 };

/* --- faults, and what the trainer asks for ----------------------------------------------------------------------- */

static int groups;          /* steps_together with more than one */
static bool past_the_lines; /* lines and checkpoints are no reason to end a group */
static bool told_once;      /* the first step's number stands for its group */

int __real_hone_trainer_together(const hone_trainer *t);
int __wrap_hone_trainer_together(const hone_trainer *t);
int __wrap_hone_trainer_together(const hone_trainer *t)
{
    int n = __real_hone_trainer_together(t);
    int64_t left = t->train.batches - t->s.batch - 1;
    while (past_the_lines && 2 * n <= hone_program_steps_most(t->train.full.program) && 2 * n <= left) n *= 2;
    return n;
}

hone_status __real_hone_program_steps_together(hone_program *p, int n);
hone_status __wrap_hone_program_steps_together(hone_program *p, int n);
hone_status __wrap_hone_program_steps_together(hone_program *p, int n)
{
    groups += n > 1;
    return __real_hone_program_steps_together(p, n);
}

void __real_hone_held_set_step(hone_program *p, const hone_step *step);
void __wrap_hone_held_set_step(hone_program *p, const hone_step *step);
void __wrap_hone_held_set_step(hone_program *p, const hone_step *step)
{
    static hone_step first;
    if (p->held == 0) first = *step;
    __real_hone_held_set_step(p, told_once ? &first : step);
}

/* --- one training --------------------------------------------------------------------------------------------------- */

/* A training into dir/run with `most` steps a graph ("" : as counted, "eager"), told to stop after `stop_after` train
 * lines (0: to its end); the status. `groups` counts anew. */
static hone_status train(const char *rest, const char *most, int stop_after, const char *dir, const char *run)
{
    char out[512], page[2048];
    hone_config *config = NULL;
    stopper s = {.left = stop_after};
    hone_train_opts opts = {
        .device = "emulated", .threads = 1, .out = out, .stop = &s.stop, .progress = count_down, .progress_arg = &s};
    bool eager = strcmp(most, "eager") == 0;
    snprintf(out, sizeof out, "%s/%s", dir, run);
    snprintf(page, sizeof page, "%s%s", base, rest);
    assert_int_equal(setenv("HONE_EAGER", eager ? "1" : "", 1), 0);
    assert_int_equal(setenv("HONE_STEPS_A_GRAPH", eager ? "" : most, 1), 0);
    groups = 0;
    hone_status status = hone_config_read_text(HONE_SOURCE_DIR "/configs/together.yaml", page, NULL, 0, &config);
    if (status != HONE_OK) fail_msg("%s", hone_error_message());
    status = hone_train(config, &opts, NULL);
    hone_config_free(config);
    return status;
}

static void train_on(const char *rest, const char *most, const char *dir, const char *run)
{
    if (train(rest, most, 0, dir, run) != HONE_OK) fail_msg("%s steps a graph: %s", most, hone_error_message());
}

/* --- comparing -------------------------------------------------------------------------------------------------------- */

/* A line of metrics.jsonl without what a clock says. */
static json_t *next_line(char **at)
{
    char *end = strchr(*at, '\n');
    if (!end) return NULL;
    *end = '\0';
    json_t *o = json_loads(*at, 0, NULL);
    assert_non_null(o);
    json_object_del(o, "samples_per_second");
    json_object_del(o, "data_wait");
    *at = end + 1;
    return o;
}

static bool same_lines(const char *dir, const char *a, const char *b)
{
    size_t bytes;
    char *x = run_file(dir, a, "metrics.jsonl", &bytes), *y = run_file(dir, b, "metrics.jsonl", &bytes), *i = x, *j = y;
    bool same = true, more = true;
    int count = 0;
    while (same && more) {
        json_t *u = next_line(&i), *v = next_line(&j);
        more = u != NULL;
        same = u && v ? json_equal(u, v) : u == v;
        count += more;
        json_decref(u);
        json_decref(v);
    }
    assert_true(!same || count >= 4);
    free(x);
    free(y);
    return same;
}

/* All that a run leaves, but for times. */
static bool same_runs(const char *dir, const char *a, const char *b)
{
    static const char *const file[] = {"best.safetensors", "results.csv", "checkpoints/step-00000018/model.safetensors",
                                       "checkpoints/step-00000018/optim.safetensors"};
    bool same = same_lines(dir, a, b);
    for (size_t k = 0; same && k < sizeof file / sizeof *file; k++) same = same_file(dir, a, b, file[k]);
    return same;
}

/* --- tests ------------------------------------------------------------------------------------------------------------ */

static int make_scratch(void **state)
{
    static char dir[] = "/tmp/hone-together-XXXXXX";
    *state = mkdtemp(dir);
    if (*state) train_on(adamw, "1", *state, "single");
    return *state ? 0 : -1;
}

static int remove_scratch(void **state) { return hone_io_remove_tree(*state) != HONE_OK; }

static void any_number_gives_the_same_bits(void **state)
{
    static const struct {
        const char *most;
        int groups;
    } row[] = {{"eager", 0}, {"4", 4}, {"", 4}};
    assert_int_equal(groups, 0);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        train_on(adamw, row[k].most, *state, row[k].most[0] ? row[k].most : "counted");
        if (!same_runs(*state, "single", row[k].most[0] ? row[k].most : "counted"))
            fail_msg("%s steps a graph: not what single steps leave", row[k].most);
        print_message("    '%s' steps a graph: %d groups in %d steps\n", row[k].most, groups, STEPS);
        assert_int_equal(groups, row[k].groups);
    }
}

static void planted_faults_are_seen(void **state)
{
    past_the_lines = true;
    train_on(adamw, "4", *state, "past");
    past_the_lines = false;
    assert_false(same_lines(*state, "single", "past"));
    told_once = true;
    train_on(adamw, "4", *state, "once");
    told_once = false;
    assert_false(same_runs(*state, "single", "once"));
}

/* With another number after each stop. */
static void stopped_and_resumed(void **state)
{
    assert_int_equal(train(adamw, "4", 1, *state, "parts"), HONE_INTERRUPTED);
    assert_int_equal(train(adamw, "16", 1, *state, "parts"), HONE_INTERRUPTED);
    assert_int_equal(train(adamw, "1", 1, *state, "parts"), HONE_INTERRUPTED);
    train_on(adamw, "2", *state, "parts");
    assert_true(same_runs(*state, "single", "parts"));
}

/* A process of its own that ends at once, somewhere in the run. */
static bool kill_once(const char *dir, int number, double seconds)
{
    int how;
    pid_t child = fork();
    if (child == 0) _exit(train(adamw, "4", 0, dir, "killed") == HONE_OK ? 0 : 1);
    assert_true(child > 0);
    double share = hone_uniform(hone_philox(5, 1, (uint64_t)number, (uint64_t)getpid()).v[0]);
    nanosleep(&(struct timespec){(time_t)(share * seconds), (long)(fmod(share * seconds, 1) * 1e9)}, NULL);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) || WEXITSTATUS(how) == 0);
    return WIFSIGNALED(how);
}

static void killed_and_resumed(void **state)
{
    int kills = 0;
    double started = hone_now_seconds();
    train_on(adamw, "4", *state, "timed");
    double seconds = hone_now_seconds() - started;
    for (int k = 0; k < 4; k++) kills += kill_once(*state, k, 0.8 * seconds);
    train_on(adamw, "4", *state, "killed");
    print_message("    %d kills of a run of %.2f s\n", kills, seconds);
    assert_true(kills > 0);
    assert_true(same_runs(*state, "single", "killed"));
}

/* The same words at the same step: the search for the bad value looks at the inputs of the last step. */
static void a_run_that_diverges_says_the_same(void **state)
{
    char said[2][1024];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(train(rising, k ? "4" : "1", 0, *state, k ? "rising4" : "rising1"), HONE_ERR_DIVERGED);
        snprintf(said[k], sizeof said[k], "%s", hone_error_message());
    }
    assert_true(groups > 0);
    assert_string_equal(said[0], said[1]);
}

/* An update of several micro-batches stays what it was. */
static void accumulation_runs_one_by_one(void **state)
{
    train_on(gathered, "4", *state, "gathered");
    assert_int_equal(groups, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_gives_the_same_bits),
        cmocka_unit_test(planted_faults_are_seen),
        cmocka_unit_test(stopped_and_resumed),
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(a_run_that_diverges_says_the_same),
        cmocka_unit_test(accumulation_runs_one_by_one),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
