/* test_tuned_run.c - algorithms that a device chose by timing stay chosen: a run that is resumed ends with the same
 * bytes although the clock would choose otherwise by then.
 *
 * On the emulated device, with every product at the library's stand-in (HONE_CUDA_LIBRARIES=all), whose algorithms
 * differ in the last bits; HONE_SIMT_CLOCK decides which one "is fastest". The planted fault is the same resume without
 * the run's tuning.txt: it must end with other bytes, else this test could not fail.
 * rooms: train data model config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hone/hone.h"
#include "io/file.h"
#include "support/runs.h"

enum { WARNING_BYTES = 512 };
/* Of the last step: best.safetensors may be of an epoch before the resume. */
#define WEIGHTS "checkpoints/step-00000006/model.safetensors"

static const char page[] = "task: image\n"
                           "data: {synthetic: {shape: [6, 6, 1], classes: 5, samples: 48}, val_fraction: 0}\n"
                           "model:\n  layers:\n    - flatten\n    - linear: {out: 16}\n    - relu\n"
                           "    - linear: classes\n"
                           "train:\n  epochs: 2\n  batch: 16\n  optimizer: {name: sgd, lr: 0.05}\n"
                           "  schedule: {name: constant}\nlog: {every: 1}\n";

/* Keeps the last warning of a run. */
static void listen(void *arg, const hone_progress *p)
{
    if (strcmp(p->what, "warn") == 0) snprintf(arg, WARNING_BYTES, "%s", p->text);
}

/* Trains to step `steps` in dir/run, under a clock; `warning` gets the last one, "" if there was none. */
static void train(const char *dir, const char *run, const char *clock, int steps, char warning[WARNING_BYTES])
{
    char out[512], limit[64];
    const char *overrides[] = {limit};
    hone_config *config = NULL;
    hone_train_opts opts = {
        .device = "emulated", .threads = 1, .out = out, .progress = listen, .progress_arg = warning};
    warning[0] = '\0';
    snprintf(out, sizeof out, "%s/%s", dir, run);
    snprintf(limit, sizeof limit, "train.max_steps=%d", steps);
    assert_int_equal(setenv("HONE_SIMT_CLOCK", clock, 1), 0);
    hone_status status = hone_config_read_text("tuned.yaml", page, overrides, 1, &config);
    if (status == HONE_OK) status = hone_train(config, &opts, NULL);
    if (status != HONE_OK) fail_msg("run %s: %s", run, hone_error_message());
    hone_config_free(config);
}

/* Else our own kernels would have done the work, and this test have shown nothing. */
static void holds_all_directions(const char *dir, const char *run)
{
    size_t bytes;
    char *text = run_file(dir, run, "tuning.txt", &bytes);
    assert_non_null(strstr(text, "choice\tmatmul tn")); /* forward */
    assert_non_null(strstr(text, "choice\tmatmul nn")); /* dx */
    assert_non_null(strstr(text, "choice\tmatmul nt")); /* dw */
    free(text);
}

static void test_resume(void **state)
{
    char dir[] = "/tmp/hone-tuned-XXXXXX", path[512], said[WARNING_BYTES];
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("HONE_CUDA_LIBRARIES", "all", 1), 0);
    train(dir, "whole", "15", 6, said);
    train(dir, "resumed", "15", 3, said);
    train(dir, "resumed", "54", 6, said); /* this clock would choose split-k for all */
    assert_true(same_file(dir, "whole", "resumed", WEIGHTS));
    assert_true(same_file(dir, "whole", "resumed", "tuning.txt"));
    holds_all_directions(dir, "whole");

    train(dir, "without", "15", 3, said);
    snprintf(path, sizeof path, "%s/without/tuning.txt", dir);
    assert_int_equal(unlink(path), 0);
    train(dir, "without", "54", 6, said);
    assert_false(same_file(dir, "whole", "without", WEIGHTS));

    train(dir, "broken", "15", 3, said); /* said, and trained on */
    snprintf(path, sizeof path, "%s/broken/tuning.txt", dir);
    assert_int_equal(hone_file_write(path, "hone-tuning 1\nmachine", 21), HONE_OK);
    train(dir, "broken", "54", 6, said);
    assert_non_null(strstr(said, "cut or damaged"));
    assert_true(same_file(dir, "without", "broken", "tuning.txt")); /* written anew */
    unsetenv("HONE_SIMT_CLOCK");
    unsetenv("HONE_CUDA_LIBRARIES");
    assert_int_equal(hone_io_remove_tree(dir), HONE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resume)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
