/* test_find_lr.c - `hone train --find-lr`: the rule on curves that are known, and the command, which leaves nothing.
 * rooms: cli
 * needs: cli */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/wait.h>

#include "support/command.h"
#include "support/data_checks.h"
#include "train/find_lr.h"

enum { N = 100 };

/* Rates 1e-4 to 1e+4, the loss a function of log10 of the rate. */
static hone_lr_sweep curve(hone_lr_point *p, double (*f)(double))
{
    for (int k = 0; k < N; k++) {
        double log_lr = -4 + 8.0 * k / (N - 1);
        p[k] = (hone_lr_point){pow(10, log_lr), f(log_lr), f(log_lr)};
    }
    hone_lr_sweep s = {.point = p, .count = N};
    hone_lr_sweep_judge(&s);
    return s;
}

/* Flat, falls quickest at 0.1 (10^-1), least at 10, then rises steeply. */
static double usual(double x) { return 2 - tanh(2 * (x + 1)) / 2 + (x > 1 ? 4 * (x - 1) * (x - 1) : 0); }
static double flat(double x) { return 2.3 + 0.01 * sin(20 * x); }
static double rising(double x) { return 1 + (x + 4) * (x + 4); }
static double late(double x) { return 2 - (x > 3 ? x - 3 : 0); } /* still falling where the sweep ends */
static double broken(double x) { return x > 2 ? NAN : usual(x); }

static void test_rule(void **state)
{
    (void)state;
    hone_lr_point p[N];
    hone_lr_sweep s = curve(p, usual);
    assert_true(s.steepest > 0.07 && s.steepest < 0.15);
    assert_true(s.minimum > 8 && s.minimum < 14);
    assert_true(fabs(s.suggestion / s.minimum - 0.1) < 1e-9);
    assert_true(curve(p, flat).suggestion == 0);
    assert_true(curve(p, rising).suggestion == 0);
    s = curve(p, late);
    assert_true(s.minimum > 9000 && s.suggestion <= s.minimum / 2 && s.suggestion >= s.minimum / 10);
    s = curve(p, broken);
    assert_true(s.minimum > 8 && s.minimum < 14);
    s.count = 9;
    hone_lr_sweep_judge(&s);
    assert_true(s.suggestion == 0);
}

/* Four classes that differ in which quarter of the picture is bright; `step` scales all pixels. */
static void write_blocks(const char *root, const char *name, int step)
{
    enum { COUNT = 256, SIDE = 8 };
    char path[64];
    bytes b = idx_header(3, (uint32_t[]){COUNT, SIDE, SIDE});
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < SIDE * SIDE; k++)
            bytes_u8(&b, (unsigned)((k / 16 == i % 4 ? 2 : 0) * step + test_pixel(i, k) % step));
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", name);
    scratch_write(root, path, b.data, b.count);
    free(b.data);
    b = idx_header(1, (uint32_t[]){COUNT});
    for (int i = 0; i < COUNT; i++) bytes_u8(&b, (unsigned)(i % 4));
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", name);
    scratch_write(root, path, b.data, b.count);
    free(b.data);
}

static double suggestion(const char *root, const char *args)
{
    runs(root, args, 0, "");
    json_t *j = json_loads(output, 0, NULL);
    assert_non_null(j);
    double v = json_number_value(json_object_get(j, "suggestion"));
    assert_true(json_array_size(json_object_get(j, "points")) > 20);
    assert_true(json_number_value(json_object_get(j, "steepest")) > 0);
    json_decref(j);
    return v;
}

/* Loss of the last epoch of a run with this rate. */
static double loss_with(const char *root, double lr)
{
    char args[200];
    snprintf(args, sizeof args,
             "train page.yaml data.path=bright train.optimizer.lr=%g --out run%g --json --quiet 2>&1", lr, lr);
    if (run(root, args) != 0) return INFINITY;
    json_t *j = json_loads(output, 0, NULL);
    double v = j ? json_number_value(json_object_get(j, "loss")) : INFINITY;
    json_decref(j);
    return v;
}

static void test_command(void **state)
{
    const char *root = *state;
    write_blocks(root, "bright", 80);
    write_blocks(root, "dark", 8);
    scratch_text(
        root, "page.yaml",
        "task: image\nout: run\ndata: {path: bright}\nmodel: {layers: [flatten, linear: 32, relu, linear: classes]}\n"
        "train: {epochs: 3, batch: 16, optimizer: {name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 0}, "
        "schedule: {name: constant}}\n");
    runs(root, "train page.yaml --find-lr --quiet", 0, "suggestion  train.optimizer.lr=");
    assert_int_equal(access(scratch_path(root, "run"), F_OK), -1); /* no run directory */
    double bright = suggestion(root, "train page.yaml --find-lr --json --quiet -o sweep.json");
    runs(root, "train page.yaml --find-lr --quiet -o sweep.json 2>&1", 2, "sweep.json: File exists");
    assert_int_equal(access(scratch_path(root, "sweep.json"), F_OK), 0);
    /* the same seed, the same sweep */
    assert_true(suggestion(root, "train page.yaml --find-lr --json --quiet") == bright);
    /* pixels a tenth as large: the gradient of the weights is, and so is what it does to a logit: rates up to 100 times as large */
    double dark =
        suggestion(root, "train page.yaml --find-lr --json --quiet data.path=dark --lr-max 10000 --lr-steps 300");
    if (dark < 1.5 * bright || dark > 500 * bright) fail_msg("%g for bright pictures, %g for dark ones", bright, dark);
    /* what it is for: better than a tenth of it and than a hundred times of it, after three epochs */
    double good = loss_with(root, bright);
    if (good > loss_with(root, bright / 10) || good > loss_with(root, bright * 100))
        fail_msg("%g: loss %g", bright, good);
    runs(root, "train page.yaml --lr-min 1 2>&1", 2, "--lr-min goes with --find-lr");
    runs(root, "train page.yaml --find-lr --lr-min 2 --lr-max 1 2>&1", 2, "--lr-min 2 is not below --lr-max 1");
    runs(root, "train page.yaml --find-lr --lr-max x 2>&1", 2, "--lr-max expects a number above 0, found 'x'");
    runs(root, "train page.yaml --find-lr --out run 2>&1", 2, "--out has no use");
    runs(root, "train page.yaml --find-lr --quiet train.accumulate=2 --lr-steps 40", 0, "batch 32");
    runs(root, "train page.yaml --find-lr --quiet --lr-max 1e-5 --lr-min 1e-7 --lr-steps 40", 0, "no suggestion");
}

/* Texts go the same way. */
static void test_text(void **state)
{
    char line[64];
    bytes b = {0};
    bytes_add(&b, "label\ttext\n", 11);
    for (int i = 0; i < 400; i++) {
        int n = snprintf(line, sizeof line, "%s\tword%d other%d %s\n", i % 2 ? "x" : "y", i % 7, i % 5,
                         i % 2 ? "left" : "right");
        bytes_add(&b, line, (size_t)n);
    }
    scratch_write(*state, "t.tsv", b.data, b.count);
    free(b.data);
    runs(*state, "train t.tsv --find-lr --quiet", 0, "suggestion  train.optimizer.lr=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),
        cmocka_unit_test_setup_teardown(test_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
