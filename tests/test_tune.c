/* test_tune.c - the tuning cache: what is remembered, which file wins, and that a bad file costs a timing, never a run.
 * rooms: tuning core
 * No GPU: times come from a callback. Planted faults: a file cut after every byte, with every byte changed, of another
 * format and of another machine; two writers at once; candidates that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/scratch.h"
#include "tune.h"

static const char MACHINE[] = "NVIDIA H100 PCIe sm_90, 114 multiprocessors; driver 13000; cuBLASLt 130100";

static hone_tune *opened(const char *machine)
{
    hone_tune *t = NULL;
    assert_int_equal(hone_tune_new(machine, &t), HONE_OK);
    return t;
}

/* "" where there is no choice. */
static const char *found(hone_tune *t, const char *problem)
{
    const char *choice = hone_tune_find(t, problem);
    return choice ? choice : "";
}

static void put(hone_tune *t, const char *problem, const char *choice)
{
    assert_int_equal(hone_tune_put(t, problem, choice), HONE_OK);
}

/* The whole file; free() it. */
static char *content(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 1 << 16);
    *size = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    return text;
}

static void test_remembers(void **state)
{
    const char *path = scratch_path(*state, "tune.txt");
    hone_tune *t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, path, false), HONE_OK); /* no file is an empty one */
    assert_null(hone_tune_find(t, "a"));
    assert_false(hone_tune_changed(t));
    char name[32];
    for (int k = 0; k < 100; k++) { /* more than the table's first room */
        snprintf(name, sizeof name, "problem %d", k);
        put(t, name, k % 2 ? "odd" : "even");
    }
    put(t, "problem 7", "other"); /* replaces */
    assert_true(hone_tune_changed(t));
    assert_int_equal(hone_tune_save(t, path, false), HONE_OK);
    hone_tune_free(t);
    t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, path, false), HONE_OK);
    assert_string_equal(found(t, "problem 0"), "even");
    assert_string_equal(found(t, "problem 7"), "other");
    assert_string_equal(found(t, "problem 99"), "odd");
    assert_null(hone_tune_find(t, "problem 100"));
    assert_false(hone_tune_changed(t)); /* nothing new: no need to write */
    hone_tune_free(t);
}

/* The run directory was asked first: its choices stay, and only what this run used goes into it. */
static void test_run_directory_wins(void **state)
{
    const char *cache = scratch_path(*state, "cache.txt"), *run = scratch_path(*state, "run.txt");
    hone_tune *t = opened(MACHINE);
    put(t, "a", "cache");
    put(t, "b", "cache");
    put(t, "c", "cache");
    assert_int_equal(hone_tune_save(t, cache, false), HONE_OK);
    hone_tune_free(t);
    t = opened(MACHINE);
    put(t, "a", "run");
    assert_int_equal(hone_tune_save(t, run, true), HONE_OK);
    hone_tune_free(t);

    t = opened(MACHINE); /* whichever is read first */
    assert_int_equal(hone_tune_load(t, cache, false), HONE_OK);
    assert_int_equal(hone_tune_load(t, run, true), HONE_OK);
    assert_int_equal(hone_tune_load(t, cache, false), HONE_OK);
    assert_string_equal(found(t, "a"), "run");
    assert_string_equal(found(t, "b"), "cache");
    assert_int_equal(hone_tune_save(t, run, true), HONE_OK);
    hone_tune_free(t);
    t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, run, true), HONE_OK);
    assert_string_equal(found(t, "a"), "run");
    assert_string_equal(found(t, "b"), "cache");
    assert_null(hone_tune_find(t, "c")); /* nobody asked for it */
    hone_tune_free(t);
}

/* Writes `text` and demands that all of it is refused. */
static void refused(const char *path, const char *text, size_t size, const char *why)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
    hone_tune *t = opened(MACHINE);
    if (hone_tune_load(t, path, true) != HONE_ERR_DATA) fail_msg("%s was taken", why);
    assert_non_null(strstr(hone_error_message(), path));
    if (hone_tune_find(t, "a") || hone_tune_find(t, "problem two")) fail_msg("%s: a part of it was taken", why);
    hone_tune_free(t);
}

static void test_bad_files(void **state)
{
    const char *good = scratch_path(*state, "good.txt"), *bad = scratch_path(*state, "bad.txt");
    size_t size;
    char why[64];
    hone_tune *t = opened(MACHINE);
    put(t, "a", "choice one");
    put(t, "problem two", "choice two");
    assert_int_equal(hone_tune_save(t, good, false), HONE_OK);
    hone_tune_free(t);
    char *text = content(good, &size);
    for (size_t cut = 0; cut < size; cut++) {
        snprintf(why, sizeof why, "a file cut after %zu bytes", cut);
        refused(bad, text, cut, why);
    }
    for (size_t k = 0; k < size; k++) { /* one bit of each byte; byte 0 of the file included */
        char kept = text[k];
        text[k] = (char)(kept ^ 1);
        snprintf(why, sizeof why, "a file with byte %zu changed", k);
        refused(bad, text, size, why);
        text[k] = '\0';
        refused(bad, text, size, why);
        text[k] = kept;
    }
    refused(bad, "hone-tuning 2\nend\t0\t0\n", 22, "another version");
    char *twice = malloc(2 * size);
    memcpy(twice, text, size);
    memcpy(twice + size, text, size);
    refused(bad, twice, 2 * size, "a file twice over");
    free(twice);
    free(text);
    /* the next save mends it */
    t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, bad, false), HONE_ERR_DATA);
    put(t, "a", "new");
    assert_int_equal(hone_tune_save(t, bad, false), HONE_OK);
    hone_tune_free(t);
    t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, bad, false), HONE_OK);
    assert_string_equal(found(t, "a"), "new");
    hone_tune_free(t);
}

/* A run directory that was copied to another machine: said, not used. */
static void test_other_machine(void **state)
{
    const char *path = scratch_path(*state, "moved.txt");
    hone_tune *t = opened("NVIDIA A100 sm_80; driver 12040");
    put(t, "a", "made there");
    assert_int_equal(hone_tune_save(t, path, false), HONE_OK);
    hone_tune_free(t);
    t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, path, true), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "A100"));
    assert_null(hone_tune_find(t, "a"));
    hone_tune_free(t);
}

static void test_paths(void **state)
{
    const char *root = *state;
    char path[4096], other[4096];
    hone_tune *t = opened(MACHINE), *u = opened("another");
    assert_int_equal(setenv("XDG_CACHE_HOME", scratch_path(root, "xdg"), 1), 0);
    assert_true(hone_tune_user_path(t, path, sizeof path));
    assert_true(hone_tune_user_path(u, other, sizeof other));
    assert_string_not_equal(path, other); /* a file a machine */
    assert_ptr_equal(strstr(path, scratch_path(root, "xdg/hone/tune-")), path);
    put(t, "a", "b");
    assert_int_equal(hone_tune_save(t, path, false), HONE_OK); /* the folders are there */
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0);
    assert_int_equal(setenv("HOME", root, 1), 0);
    assert_true(hone_tune_user_path(t, path, sizeof path));
    assert_ptr_equal(strstr(path, scratch_path(root, ".cache/hone/tune-")), path);
    assert_false(hone_tune_user_path(t, path, 40));
    assert_int_equal(unsetenv("HOME"), 0);
    assert_false(hone_tune_user_path(t, path, sizeof path));
    assert_int_equal(hone_tune_save(t, scratch_path(root, "no/such/folder"), false), HONE_ERR_RUNTIME);
    assert_int_equal(hone_tune_load(t, root, false), HONE_ERR_DATA); /* a folder is no file */
    hone_tune_free(t);
    hone_tune_free(u);
}

static void test_texts(void **state)
{
    (void)state;
    hone_tune *t = NULL;
    char longest[HONE_TUNE_TEXT_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    longest[HONE_TUNE_TEXT_BYTES] = '\0';
    assert_int_equal(hone_tune_new("two\nlines", &t), HONE_ERR_USAGE);
    assert_null(t);
    t = opened(MACHINE);
    assert_int_equal(hone_tune_put(t, "a\tb", "c"), HONE_ERR_USAGE);
    assert_int_equal(hone_tune_put(t, "a", "b\nc"), HONE_ERR_USAGE);
    assert_int_equal(hone_tune_put(t, "", "b"), HONE_ERR_USAGE);
    assert_int_equal(hone_tune_put(t, "a", ""), HONE_ERR_USAGE);
    assert_int_equal(hone_tune_put(t, longest, "b"), HONE_ERR_USAGE);
    longest[HONE_TUNE_TEXT_BYTES - 1] = '\0';
    assert_int_equal(hone_tune_put(t, longest, "b"), HONE_OK);
    hone_tune_free(t);
}

enum { WRITERS = 6, ROUNDS = 15 };

/* Each adds a problem of its own in each round, over the same file. */
static void write_rounds(const char *path, int writer)
{
    char name[32];
    for (int k = 0; k < ROUNDS; k++) {
        hone_tune *t = NULL;
        snprintf(name, sizeof name, "writer %d round %d", writer, k);
        if (hone_tune_new(MACHINE, &t) != HONE_OK || hone_tune_load(t, path, false) != HONE_OK ||
            hone_tune_put(t, name, "done") != HONE_OK || hone_tune_save(t, path, false) != HONE_OK)
            _exit(1);
        hone_tune_free(t);
    }
    _exit(0);
}

/* A reader never sees half a file, and what the last writer knew is there; two that write in the same moment may each
 * lose the other's newest choice, which is then timed again. */
static void test_processes(void **state)
{
    const char *path = scratch_path(*state, "shared.txt");
    char name[32];
    int bad = 0, last_rounds = 0;
    for (int w = 0; w < WRITERS; w++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) write_rounds(path, w);
    }
    for (int left = WRITERS, status; left > 0; left--) {
        assert_true(wait(&status) > 0);
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    assert_int_equal(bad, 0);
    hone_tune *t = opened(MACHINE);
    assert_int_equal(hone_tune_load(t, path, false), HONE_OK);
    for (int w = 0; w < WRITERS; w++) {
        snprintf(name, sizeof name, "writer %d round %d", w, ROUNDS - 1);
        last_rounds += hone_tune_find(t, name) != NULL;
    }
    assert_true(last_rounds > 0);
    hone_tune_free(t);
}

typedef struct clock_table { /* what each candidate would take; < 0: it fails */
    double us[8];
    int asked;
} clock_table;

static hone_status look(void *arg, int k, double *us)
{
    clock_table *c = arg;
    c->asked++;
    *us = c->us[k];
    return c->us[k] < 0 ? hone_fail(HONE_ERR_RUNTIME, NULL, "candidate %d does not run", k) : HONE_OK;
}

static void name_candidate(void *arg, int k, char *text, size_t text_bytes)
{
    (void)arg;
    snprintf(text, text_bytes, "candidate %d", k);
}

static void test_choose(void **state)
{
    (void)state;
    clock_table c = {.us = {5, -1, 3, NAN, 3, 4}};
    hone_tune_trial trial = {"product", 6, name_candidate, look, &c};
    hone_tune *t = opened(MACHINE);
    int winner = -1;
    hone_error_clear();
    assert_int_equal(hone_tune_choose(t, &trial, &winner), HONE_OK);
    assert_int_equal(winner, 2); /* the first of the fastest */
    assert_int_equal(c.asked, 6);
    assert_string_equal(hone_error_message(), ""); /* a candidate that fails is no error */
    assert_string_equal(found(t, "product"), "candidate 2");
    c.us[0] = c.us[2] = -1;
    trial = (hone_tune_trial){"none", 3, name_candidate, look, &c};
    assert_int_equal(hone_tune_choose(t, &trial, &winner), HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "candidate 2 does not run"));
    assert_null(hone_tune_find(t, "none"));
    hone_tune_free(t);
}

static int begin(void **state)
{
    *state = strdup(scratch_make());
    return 0;
}

static int end(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_remembers, begin, end),
        cmocka_unit_test_setup_teardown(test_run_directory_wins, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_files, begin, end),
        cmocka_unit_test_setup_teardown(test_other_machine, begin, end),
        cmocka_unit_test_setup_teardown(test_paths, begin, end),
        cmocka_unit_test(test_texts),
        cmocka_unit_test_setup_teardown(test_processes, begin, end),
        cmocka_unit_test(test_choose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
