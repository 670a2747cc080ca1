/* test_compare.c - runs side by side: the interval of a difference against published values, verdicts, which values of
 * the configs differ, folders that hold no run.
 * rooms: report io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/interval.h"
#include "io/file.h"
#include "report/compare.h"
#include "support/scratch.h"

static int make_folder(void **state)
{
    *state = strdup(scratch_make());
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Newcombe 1998, Statistics in Medicine 17, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10. */
static void test_newcombe(void **state)
{
    double low, high;
    (void)state;
    hone_newcombe(56, 70, 48, 80, &low, &high);
    assert_float_equal(low, 0.0524, 5e-5);
    assert_float_equal(high, 0.3339, 5e-5);
    hone_newcombe(9, 10, 3, 10, &low, &high);
    assert_float_equal(low, 0.1705, 5e-5);
    assert_float_equal(high, 0.8090, 5e-5);
    hone_newcombe(10, 10, 0, 10, &low, &high);
    assert_true(low > 0.5 && high <= 1.0 + 1e-12);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char *path = hone_io_join(dir, name);
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    free(path);
}

/* DIR/name with 1,000 samples, `hits` of them right; hits < 0: never evaluated. */
static char *make_run(const char *dir, const char *name, int hits, const char *fingerprint, const char *resolved)
{
    char text[512], *run = hone_io_join(dir, name), *eval = hone_io_join(run, "eval");
    assert_int_equal(hone_make_dirs(eval), HONE_OK);
    snprintf(text, sizeof text, "{\"status\":\"finished\",\"seconds\":12,\"step\":1000,\"data_fingerprint\":\"%s\"}",
             fingerprint);
    write_file(run, "run.json", text);
    snprintf(text, sizeof text, "{\"n\":1000,\"accuracy\":%.3f,\"accuracy_95\":[0.1,0.9],\"f1_macro\":0.5,\"loss\":1}",
             hits / 1000.0);
    if (hits >= 0) write_file(run, "eval/report.json", text);
    write_file(run, "resolved.yaml", resolved);
    write_file(run, "metrics.jsonl",
               "{\"split\":\"val\",\"step\":10,\"loss\":1,\"accuracy\":0.5}\n{\"split\":\"val\",\"step\":20,\"loss\":0."
               "5,\"accuracy\":0.6}\n");
    free(eval);
    return run;
}

static const char base[] =
    "task: image  # a.yaml:1\nimage:\n  mean: [0.286]  # default\nmodel:  # a.yaml:9\n  layers:\n    - conv: {out: 6}\n"
    "    - relu\ntrain:\n  optimizer:\n    name: sgd  # default\n    lr: 0.1  # default\n  note: \"a  # b\"  # x\n";

static void test_verdicts_and_differences(void **state)
{
    char *run[4], *text, *html;
    hone_comparison *c;
    hone_difference *d;
    int count;
    run[0] = make_run(*state, "a", 900, "f1", base);
    run[1] = make_run(
        *state, "b", 880, "f1",
        "task: image  # b.yaml:3\nimage:\n  mean: [0.286]  # b.yaml:4\nmodel:\n  layers:\n    - conv: {out: 8}\n"
        "    - relu\n    - linear: classes\ntrain:\n  optimizer:\n    name: sgd\n    lr: 0.2  # override\n  note: \"a  "
        "# b\"\n");
    run[2] = make_run(*state, "c", 800, "f1", base);
    run[3] = make_run(*state, "d<e>", -1, "f1", base);
    assert_int_equal(hone_compare_open((const char *const *)run, 4, &c), HONE_OK);
    assert_int_equal(c->best, 0);
    assert_true(c->run[1].behind_low < 0 && c->run[1].behind_high > 0); /* 0.900 and 0.880 of 1,000 */
    assert_true(c->run[2].behind_low > 0);
    text = hone_compare_text(c);
    assert_non_null(strstr(text, "not distinguishable from the best"));
    assert_non_null(strstr(text, "behind\n"));
    assert_non_null(strstr(text, "not evaluated"));
    free(text);
    /* origins are no values; layers are compared one by one */
    assert_int_equal(hone_differences(c, &d, &count), HONE_OK);
    assert_int_equal(count, 3);
    assert_string_equal(d[0].key, "model.layers[0]");
    assert_string_equal(d[0].value[1], "- conv: {out: 8}");
    assert_string_equal(d[1].key, "train.optimizer.lr");
    assert_string_equal(d[1].value[0], "0.1");
    assert_string_equal(d[1].value[1], "0.2");
    assert_string_equal(d[2].key, "model.layers[2]");
    assert_null(d[2].value[0]);
    hone_differences_free(d, count, c->count);
    assert_int_equal(hone_compare_html(c, &html), HONE_OK);
    assert_non_null(strstr(html, "d&lt;e&gt;"));
    assert_null(strstr(html, "<e>"));
    free(html);
    assert_int_equal(hone_compare_json(c, &text), HONE_OK);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "runs"), 3), "accuracy")));
    json_decref(o);
    free(text);
    hone_compare_free(c);
    for (int k = 0; k < 4; k++) free(run[k]);
}

static void test_refusals(void **state)
{
    hone_comparison *c;
    char *a = make_run(*state, "a", 900, "f1", base), *b = make_run(*state, "b", 900, "f2", base);
    const char *bad[2] = {a, *state}, *good[2] = {a, b};
    assert_int_equal(hone_compare_open(bad, 2, &c), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "holds no run"));
    assert_int_equal(hone_compare_open(good, 2, &c), HONE_OK);
    assert_false(c->same_samples); /* other data: said, not hidden */
    hone_compare_free(c);
    write_file(b, "run.json", "{\n\"status\"");
    assert_int_equal(hone_compare_open(good, 2, &c), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "run.json:2"));
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newcombe),
        cmocka_unit_test_setup_teardown(test_verdicts_and_differences, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refusals, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
