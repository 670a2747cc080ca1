/* test_memory.c - the k-th allocation of a process fails, for each k: the command says that it is out of memory and exits
 * with 4 (or with 1 where a library answers for it), or does without and exits with 0; it never crashes, and leaves no
 * more blocks behind than a run that ended well.
 * rooms: data core
 * needs: cli
 *
 * tests/faults/fail_alloc.c is preloaded into the real binary. HONE_TEST_SLOW=0 takes every ninth k. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/tar_make.h"

enum { LEAST = 300 }; /* allocations that are made to fail one by one, at least */

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

typedef struct outcome {
    int code; /* exit code, or 128 + signal */
    long calls, live;
    char err[2048];
} outcome;

static void read_file(const char *path, char *text, size_t most)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, most - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
}

/* hone `line` in the scratch folder with allocation `k` failing (0: none). */
static outcome run(const char *root, const char *line, long k)
{
    char copy[512], number[32], log[4200], err[4200], *argv[32] = {(char *)(uintptr_t)HONE_BINARY};
    int argc = 1, status = 0;
    outcome o = {0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " ")) argv[argc++] = word;
    snprintf(number, sizeof number, "%ld", k);
    snprintf(log, sizeof log, "%s/log", root);
    snprintf(err, sizeof err, "%s/err", root);
    unlink(log);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666), null = open("/dev/null", O_WRONLY);
        if (chdir(root) != 0 || fd < 0 || dup2(fd, 2) < 0 || dup2(null, 1) < 0) _exit(126);
        setenv("HONE_FAIL_ALLOC", number, 1);
        setenv("HONE_FAIL_ALLOC_LOG", log, 1);
        setenv("LD_PRELOAD", HONE_FAIL_ALLOC_MODULE, 1);
        execv(HONE_BINARY, argv);
        _exit(127);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char text[64];
    read_file(log, text, sizeof text);
    if (sscanf(text, "%ld %ld", &o.calls, &o.live) != 2) o.calls = -1; /* a crash leaves none */
    read_file(err, o.err, sizeof o.err);
    return o;
}

/* Every k up to the number of allocations of a good run, at most LEAST of them in the first part and then in strides. */
static void fail_each(const char *root, const char *line, bool fresh)
{
    const char *slow = getenv("HONE_TEST_SLOW");
    long stride = slow && strcmp(slow, "0") == 0 ? 9 : 1;
    outcome good = run(root, line, 0);
    int memory = 0, fine = 0, other = 0;
    assert_int_equal(good.code, 0);
    assert_true(good.calls > 50); /* the module is in */
    for (long k = 1; k <= good.calls; k += k < LEAST ? stride : good.calls / 40 + 1) {
        if (fresh) scratch_remove(scratch_path(root, "run"));
        if (fresh) unlink(scratch_path(root, "x.pack"));
        outcome o = run(root, line, k);
        bool said = strstr(o.err, "memory") || o.code == 0;
        if (o.code != 4 && o.code != 0 && !(o.code == 1 && said))
            fail_msg("hone %s: allocation %ld failed: exit code %d: %s", line, k, o.code, o.err);
        if (o.code == 4 && !said) fail_msg("hone %s: allocation %ld: no word of memory: %s", line, k, o.err);
        if (o.live > good.live)
            fail_msg("hone %s: allocation %ld failed: %ld blocks left, %ld after a good run", line, k, o.live,
                     good.live);
        memory += o.code == 4;
        fine += o.code == 0;
        other += o.code == 1;
    }
    print_message("hone %s: %ld allocations; %d times exit 4, %d times 1, %d times done without\n", line, good.calls,
                  memory, other, fine);
    assert_true(memory > 3 * (fine + other)); /* what is done without is the exception */
}

static const char page[] = "data: {synthetic: {shape: [6, 6, 1], classes: 3, samples: 24}}\n"
                           "model: {layers: [conv: {out: 2}, batchnorm, relu, flatten, linear: {out: classes}]}\n"
                           "train: {batch: 8, epochs: 1}\n";

static void config_show(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "config show page.yaml", false);
}

static void train(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "train page.yaml --out run --threads 1", true);
}

static void predict(void **state)
{
    scratch_text(*state, "page.yaml", page);
    assert_int_equal(run(*state, "train page.yaml --out run --threads 1", 0).code, 0);
    scratch_png(*state, "x.png", 1, 6, 6, 1);
    fail_each(*state, "predict run x.png --threads 1", false);
}

/* Pictures in folders and in an archive: copies, a broken file, a page made of them. */
static void write_pictures(const char *root)
{
    char name[64];
    bytes b = {0};
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "set/%s/%s/%d.png", i < 8 ? "train" : "test", i % 2 ? "a" : "b", i);
        scratch_png(root, name, i % 10, 12, 12, 3);
        snprintf(name, sizeof name, "%d.png", i);
        tar_png(&b, name, i, 12, 12, 3);
        snprintf(name, sizeof name, "%d.txt", i);
        tar_text(&b, name, i % 2 ? "a" : "b");
    }
    tar_end(&b);
    scratch_write(root, "set.tar", b.data, b.count);
    free(b.data);
}

/* One thread opens the splits, too: of several, libc keeps the stacks of as many as ran at once. */
static void data_check(void **state)
{
    write_pictures(*state);
    fail_each(*state, "data check set --threads 1 data.decode_threads=1", false);
}

static void data_pack(void **state)
{
    write_pictures(*state);
    fail_each(*state, "data pack set -o x.pack --threads 1 data.decode_threads=1 image.size=8", true);
}

static void data_shards(void **state)
{
    write_pictures(*state);
    fail_each(*state, "data check set.tar --threads 1 data.decode_threads=1", false);
}

static void init(void **state)
{
    write_pictures(*state);
    fail_each(*state, "init set --threads 1 data.decode_threads=1", false);
}

static void find_lr(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "train page.yaml --find-lr --lr-steps 20 --threads 1", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(config_show, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(train, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(predict, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_check, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_pack, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_shards, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(init, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(find_lr, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
