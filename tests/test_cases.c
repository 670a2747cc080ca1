/* test_cases.c - every kernel of every dialect, driven by the case list (tests/cases.def).
 * rooms: kernels graph core
 *
 *   test_cases [test [NAME]]   cpu and ref against ref64; fused rows against plain ones; planted faults; no holes
 *   test_cases grad       backward rows against central differences, in double
 *   test_cases perf [[DEVICE:]OP]    speed, as a table
 *   test_cases support    the table ops x dialects x storage types
 *   test_cases dump       the cases with their numbers, for tests/golden/make_ops.py
 *   test_cases emulated [OP [first]]    the CUDA dialect's kernels on the SIMT emulator (HONE_SIMT picks the
 *                         schedule); `first` stops at the first failure; OP@bf16, @fp16: stored in 16 bits.
 *                         HONE_TEST_SMALL set: some small cases of each op; HONE_TEST_SHARE=N: every Nth of each
 *                         op, drawn by the text of the CUDA kernels: others after every change of them
 *   test_cases cuda [OP [first]]        the same on the GPU of this machine
 * The parts are in tests/cases/. All failing cases of a mode are listed, not only the first. */
#include "cases/cases.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 40, SMALL_MAX = 8 };

/* With all threads; a dialect that does not open fails the test. */
static hone_backend *open_device(const char *name)
{
    hone_backend *b = NULL;
    if (hone_backend_open(name, 0, &b) != HONE_OK) fail_msg("%s: %s", name, hone_error_message());
    return b;
}

/* Prints the first complaints and counts all. */
static void count_failure(int *failures, const complaint *why)
{
    if ((*failures)++ < SHOWN_MAX) print_error("%s\n", why->text);
}

/* Failures of all cases on a backend, which is closed. */
static int failures_on(hone_backend *b)
{
    hone_backend *ref64 = open_device("ref64");
    complaint why;
    int failures = 0;
    for (int k = 0; k < case_count; k++)
        if (!check_case(b, ref64, &case_list[k], HONE_F32, &why)) count_failure(&failures, &why);
    hone_backend_close(b);
    hone_backend_close(ref64);
    return failures;
}

/* Float against double. */
static void test_ref(void **state)
{
    (void)state;
    assert_int_equal(failures_on(open_device("ref")), 0);
}

static void test_cpu(void **state)
{
    (void)state;
    assert_int_equal(failures_on(open_device("cpu")), 0);
}

/* The kernels that this CPU would not pick, and other ways to share the work. The variable is the
 * dialect's own switch for tests; a set that the CPU lacks is lowered to one that it has. */
static void test_cpu_variants(void **state)
{
    (void)state;
    static const struct {
        const char *isa;
        int threads;
    } variant[] = {{"base", 1}, {"avx2", 3}};
    int failures = 0;
    for (int k = 0; k < 2; k++) {
        hone_backend *b = NULL;
        assert_int_equal(setenv("HONE_CPU_ISA", variant[k].isa, 1), 0);
        assert_int_equal(hone_backend_open("cpu", variant[k].threads, &b), HONE_OK);
        int failed = failures_on(b); /* kernels may ask again in prepare */
        unsetenv("HONE_CPU_ISA");
        if (failed) print_error("with HONE_CPU_ISA=%s and %d threads\n", variant[k].isa, variant[k].threads);
        failures += failed;
    }
    assert_int_equal(failures, 0);
}

/* Every convolution by every algorithm that can do it, not only by the one that the rule picks. */
static void test_cpu_convolutions(void **state)
{
    (void)state;
    static const char *const method[] = {"implicit", "winograd", "direct"};
    hone_backend *b = open_device("cpu"), *ref64 = open_device("ref64");
    complaint why;
    int failures = 0;
    for (int m = 0; m < 3; m++) {
        assert_int_equal(setenv("HONE_CPU_CONV", method[m], 1), 0);
        for (int k = 0; k < case_count; k++) {
            if (case_list[k].op != HONE_OP_conv && case_list[k].op != HONE_OP_conv_act) continue;
            if (check_case(b, ref64, &case_list[k], HONE_F32, &why)) continue;
            print_error("HONE_CPU_CONV=%s: ", method[m]);
            count_failure(&failures, &why);
        }
        unsetenv("HONE_CPU_CONV");
    }
    hone_backend_close(b);
    hone_backend_close(ref64);
    assert_int_equal(failures, 0);
}

/* On every dialect, because each has its own fused kernels. */
static void test_fused(void **state)
{
    (void)state;
    static const char *const device[] = {"ref64", "ref", "cpu"};
    complaint why;
    int failures = 0;
    for (int d = 0; d < 3; d++) {
        hone_backend *b = open_device(device[d]);
        for (int k = 0; k < case_count; k++)
            if (!check_fused(b, &case_list[k], &why)) count_failure(&failures, &why);
        hone_backend_close(b);
    }
    assert_int_equal(failures, 0);
}

/* The definition itself. */
static void test_golden(void **state)
{
    (void)state;
    hone_backend *ref64 = open_device("ref64");
    complaint why;
    int compared = 0;
    if (!check_golden(ref64, HONE_TESTS_DIR "/golden/ops.txt", &compared, &why)) fail_msg("%s", why.text);
    hone_backend_close(ref64);
}

static void test_faults(void **state)
{
    (void)state;
    int planted = 0;
    assert_int_equal(plant_faults(&planted), 0);
    assert_true(planted > 0);
}

/* Prints the support table, too. */
static void test_no_holes(void **state)
{
    (void)state;
    assert_int_equal(report_support(), 0);
}

/* By operations and bytes: above some work a check is too slow, and the smaller shapes of an op suffice. */
static bool is_small(const case_row *row, double limit)
{
    scene s;
    double flop, bytes;
    scene_open(&s, row);
    hone_node_cost(s.g, &s.g->node[s.forward], &flop, &bytes);
    scene_close(&s);
    return flop < limit && bytes < limit;
}

/* Every small case; an op that is differentiated needs 20 of them. */
static void test_gradients(void **state)
{
    (void)state;
    hone_backend *ref64 = open_device("ref64");
    complaint why;
    int failures = 0, checked = 0, shapes[HONE_OP_COUNT] = {0};
    for (int k = 0; k < case_count; k++) {
        if (case_list[k].tolerance >= NANS || !is_small(&case_list[k], 1e6)) continue;
        int before = checked;
        if (!check_gradient(ref64, &case_list[k], &checked, &why)) count_failure(&failures, &why);
        shapes[case_list[k].op] += checked > before;
    }
    hone_backend_close(ref64);
    print_message("%d gradients agree with differences\n", checked);
    for (int op = 0; op < HONE_OP_COUNT; op++)
        if (shapes[op] > 0 && shapes[op] < 20) {
            print_error("%s: only %d shapes were differentiated\n", hone_op_name((hone_op)op), shapes[op]);
            failures++;
        }
    assert_int_equal(failures, 0);
}

/* Does `b` have every row that the case runs? */
static bool has_rows(const hone_backend *b, hone_op op)
{
    if (!b->kernel[op].launch) return false;
    for (int k = 0; k < backward_count; k++) {
        hone_op back = backward_list[k].backward;
        if (backward_list[k].forward == op && back != HONE_OP_reshape && !b->kernel[back].launch) return false;
    }
    return true;
}

/* FNV-1a over the kernels' sources: one number for one state of them. */
static uint64_t digest_kernels(void)
{
    uint64_t h = 14695981039346656037u;
    glob_t found;
    assert_int_equal(glob(HONE_SOURCE_DIR "/kernels/cuda/*.cu*", 0, NULL, &found), 0);
    for (size_t k = 0; k < found.gl_pathc; k++) {
        FILE *f = fopen(found.gl_pathv[k], "r");
        assert_non_null(f);
        for (int c; (c = getc(f)) != EOF;) h = (h ^ (uint64_t)c) * 1099511628211u;
        fclose(f);
    }
    globfree(&found);
    return h;
}

/* Case number `of_op` of an op, of those that run; HONE_TEST_SHARE unset: all of them. */
static bool is_drawn(int op, int of_op)
{
    static uint64_t digest;
    const char *share = getenv("HONE_TEST_SHARE");
    uint64_t n = share ? (uint64_t)atoi(share) : 1;
    if (n <= 1) return true;
    if (digest == 0) digest = digest_kernels();
    return ((uint64_t)of_op + digest + (uint64_t)op) % n == 0;
}

static const char *device_name; /* "emulated", "cuda" */
static const char *device_op;   /* NULL: all */
static hone_dtype device_storage;
static bool stop_at_first; /* a planted fault needs one witness, not all */

static void test_device(void **state)
{
    (void)state;
    hone_backend *b = open_device(device_name), *ref64 = open_device("ref64");
    complaint why;
    const bool small = getenv("HONE_TEST_SMALL") != NULL; /* under ThreadSanitizer: some small cases of each op */
    int failures = 0, ran = 0, of_op[HONE_OP_COUNT] = {0}, met[HONE_OP_COUNT] = {0};
    for (int k = 0; k < case_count && !(failures && stop_at_first); k++) {
        const case_row *row = &case_list[k];
        if ((device_op && strcmp(device_op, hone_op_name(row->op)) != 0) || !has_rows(b, row->op)) continue;
        if (!is_drawn((int)row->op, met[row->op]++)) continue;
        if (small && (!is_small(row, 3e4) || of_op[row->op]++ >= SMALL_MAX)) continue;
        ran++;
        if (!check_case(b, ref64, row, device_storage, &why)) count_failure(&failures, &why);
    }
    hone_backend_close(b);
    hone_backend_close(ref64);
    print_message("%d of %d cases ran on device %s\n", ran, case_count, device_name);
    assert_true(ran > 0);
    assert_int_equal(failures, 0);
}

/* The ops that have cases, a line each: for whoever runs them apart. */
static int print_ops(void)
{
    for (int k = 0; k < case_count; k++)
        if (k == 0 || case_list[k].op != case_list[k - 1].op) printf("%s\n", hone_op_name(case_list[k].op));
    return 0;
}

/* "OP", "OP@bf16", "@fp16": cuts the storage type off; false where it is none. */
static bool take_storage(char *op)
{
    char *at = op ? strchr(op, '@') : NULL;
    device_op = op && op != at ? op : NULL;
    device_storage = HONE_F32;
    if (!at) return true;
    for (int k = HONE_PRECISION_FP32; k < HONE_PRECISION_COUNT; k++)
        if (strcmp(at + 1, hone_precision_name((hone_precision)k)) == 0)
            device_storage = hone_precision_storage((hone_precision)k);
    *at = '\0';
    return device_storage != HONE_F32;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "test";
    const struct CMUnitTest kernels[] = {
        cmocka_unit_test(test_ref),          cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_cpu_variants), cmocka_unit_test(test_cpu_convolutions),
        cmocka_unit_test(test_fused),        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_no_holes),
    };
    const struct CMUnitTest device[] = {cmocka_unit_test(test_device)};
    const struct CMUnitTest gradients[] = {cmocka_unit_test(test_gradients)};
    if (strcmp(mode, "perf") == 0) return report_perf(argc > 2 ? argv[2] : NULL);
    if (strcmp(mode, "dump") == 0) return golden_dump();
    if (strcmp(mode, "support") == 0) return report_support();
    if (strcmp(mode, "ops") == 0) return print_ops();
    device_name = mode;
    if (!take_storage(argc > 2 ? argv[2] : NULL)) return 2;
    stop_at_first = argc > 3 && strcmp(argv[3], "first") == 0;
    if (strcmp(mode, "emulated") == 0 || strcmp(mode, "cuda") == 0) return cmocka_run_group_tests(device, NULL, NULL);
    if (strcmp(mode, "grad") == 0) return cmocka_run_group_tests(gradients, NULL, NULL);
    if (argc > 2) cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(kernels, NULL, NULL);
}
