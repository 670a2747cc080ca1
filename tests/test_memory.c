/* test_memory.c - the k-th allocation of a process fails, for each k: the command says that it is out of memory and exits
 * with 4 (or with 1 where a library answers for it), or does without and exits with 0; it never crashes, and leaves no
 * more blocks behind than a run that ended well.
 * rooms: data core
 * needs: cli
 *
 * tests/faults/fail_alloc.c is preloaded into the real binary. HONE_TEST_SLOW=0 takes every ninth k,
 * HONE_TEST_SLOW=all each of all (an hour). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/tar_make.h"

enum { LEAST = 300 }; /* allocations that are made to fail one by one, at least */

/* hone, copied to where no plugin lies beside it: what the loader of libraries makes of a lack of memory is not ours. */
static int copy_binary(const char *root)
{
    char *program = NULL;
    long n = 0;
    FILE *f = fopen(HONE_BINARY, "rb");
    if (f && fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) > 0 && (program = malloc((size_t)n))) {
        rewind(f);
        if (fread(program, 1, (size_t)n, f) == (size_t)n) scratch_write(root, "hone", program, (size_t)n);
    }
    free(program);
    if (f) fclose(f);
    return chmod(scratch_path(root, "hone"), 0755);
}

static int make_folder(void **state)
{
    *state = strdup(scratch_make());
    return *state ? copy_binary(*state) : -1;
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
    char err[16384], out[16384];
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
    char copy[512], number[32], log[4200], err[4200], out[4200], program[] = "./hone", *argv[32] = {program};
    int argc = 1, status = 0;
    outcome o = {0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " ")) argv[argc++] = word;
    snprintf(number, sizeof number, "%ld", k);
    snprintf(log, sizeof log, "%s/log", root);
    snprintf(err, sizeof err, "%s/err", root);
    snprintf(out, sizeof out, "%s/out.txt", root);
    unlink(log);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666), to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (chdir(root) != 0 || fd < 0 || dup2(fd, 2) < 0 || dup2(to, 1) < 0) _exit(126);
        setenv("HONE_FAIL_ALLOC", number, 1);
        setenv("HONE_FAIL_ALLOC_LOG", log, 1);
        setenv("LD_PRELOAD", HONE_FAIL_ALLOC_MODULE, 1);
        execv(program, argv);
        _exit(127);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char text[64];
    read_file(log, text, sizeof text);
    if (sscanf(text, "%ld %ld", &o.calls, &o.live) != 2) o.calls = -1; /* a crash leaves none */
    read_file(err, o.err, sizeof o.err);
    read_file(out, o.out, sizeof o.out);
    return o;
}

/* Files and folders below a path. */
static int entries(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char below[4400];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        n += 1 + entries(below);
    }
    if (dir) closedir(dir);
    return n;
}

/* "" where a command that ended with 0 did all that the good one did, or said what it left out. Figures of time and of free
 * memory differ from run to run, so texts are compared by the number of their lines and members. */
static const char *left_out(const outcome *good, const outcome *o, int good_entries, int now)
{
    int marks[2] = {0};
    for (int k = 0; k < 2; k++)
        for (const char *p = k ? o->out : good->out; *p; p++) marks[k] += strchr("\n{},", *p) != NULL;
    /* doctor's own answer: a device that memory was short for is one that can't be had */
    if (strstr(o->err, "warn") || strstr(o->out, "no memory for") || strstr(o->out, "out of memory")) return "";
    return marks[0] != marks[1]  ? "something is missing in what it printed"
           : good_entries != now ? "a file is missing in what it made"
                                 : "";
}

/* Every k up to the number of allocations of a good run, at most LEAST of them in the first part and then in strides.
 * `made` (NULL: nothing) is what the command leaves, and is taken away before each try. */
static void fail_each(const char *root, const char *line, const char *made)
{
    const char *slow = getenv("HONE_TEST_SLOW");
    long stride = slow && strcmp(slow, "0") == 0 ? 9 : 1;
    if (slow && strcmp(slow, "all") == 0) stride = 0; /* each one */
    outcome good = run(root, line, 0);
    int memory = 0, fine = 0, other = 0;
    assert_int_equal(good.code, 0);
    assert_true(good.calls > 50); /* the module is in */
    int good_entries = made ? entries(scratch_path(root, made)) : 0;
    for (long k = 1; k <= good.calls; k += !stride ? 1 : k < LEAST ? stride : good.calls / 40 + 1) {
        if (made && unlink(scratch_path(root, made)) != 0) scratch_remove(scratch_path(root, made));
        outcome o = run(root, line, k);
        bool said = strstr(o.err, "memory") || o.code == 0;
        if (o.code != 4 && o.code != 0 && !(o.code == 1 && said))
            fail_msg("hone %s: allocation %ld failed: exit code %d: %s", line, k, o.code, o.err);
        if (o.code == 4 && !said) fail_msg("hone %s: allocation %ld: no word of memory: %s", line, k, o.err);
        if (o.live > good.live)
            fail_msg("hone %s: allocation %ld failed: %ld blocks left, %ld after a good run", line, k, o.live,
                     good.live);
        const char *missing =
            o.code ? "" : left_out(&good, &o, good_entries, made ? entries(scratch_path(root, made)) : 0);
        if (*missing) fail_msg("hone %s: allocation %ld failed: exit code 0, but %s: %s", line, k, missing, o.out);
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
    fail_each(*state, "config show page.yaml", NULL);
}

static void train(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "train page.yaml --out run --threads 1", "run");
}

static void predict(void **state)
{
    scratch_text(*state, "page.yaml", page);
    assert_int_equal(run(*state, "train page.yaml --out run --threads 1", 0).code, 0);
    scratch_png(*state, "x.png", 1, 6, 6, 1);
    fail_each(*state, "predict run x.png --threads 1", NULL);
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
    fail_each(*state, "data check set --threads 1 data.decode_threads=1", NULL);
}

static void data_pack(void **state)
{
    write_pictures(*state);
    fail_each(*state, "data pack set -o x.pack --threads 1 data.decode_threads=1 image.size=8", "x.pack");
}

static void data_shards(void **state)
{
    write_pictures(*state);
    fail_each(*state, "data check set.tar --threads 1 data.decode_threads=1", NULL);
}

static void init(void **state)
{
    write_pictures(*state);
    fail_each(*state, "init set --threads 1 data.decode_threads=1", NULL);
}

static void find_lr(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "train page.yaml --find-lr --lr-steps 20 --threads 1", NULL);
}

/* What is printed or written as JSON, whole or not at all. */
static void reports(void **state)
{
    scratch_text(*state, "page.yaml", page);
    fail_each(*state, "config schema", NULL);
    fail_each(*state, "plan page.yaml --json --threads 1", NULL);
    fail_each(*state, "doctor --json --threads 1", NULL);
}

static void finished_runs(void **state)
{
    scratch_text(*state, "page.yaml", page);
    assert_int_equal(run(*state, "train page.yaml --out run --threads 1", 0).code, 0);
    fail_each(*state, "eval run --json --report page.html --threads 1", "page.html");
    fail_each(*state, "compare run run --json", NULL);
    fail_each(*state, "train page.yaml --out run --threads 1", NULL); /* nothing to do */
    fail_each(*state, "train page.yaml --out more train.init=run --threads 1 --json --quiet", "more");
}

static void exports(void **state)
{
    scratch_text(*state, "page.yaml", page);
    assert_int_equal(run(*state, "train page.yaml --out run --threads 1", 0).code, 0);
    fail_each(*state, "export run --to safetensors -o out", "out");
    fail_each(*state, "export run --to onnx -o m.onnx --threads 1", "m.onnx");
}

static void bags(void **state)
{
    bytes b = {0};
    bytes_add(&b, "label\ttext\n", 11);
    for (int k = 0; k < 24; k++) {
        char row[64];
        int n = snprintf(row, sizeof row, "%s\tword%d here\n", k % 2 ? "spam" : "ham", k % 5);
        bytes_add(&b, row, (size_t)n);
    }
    scratch_write(*state, "rows.tsv", b.data, b.count);
    free(b.data);
    scratch_text(*state, "page.yaml",
                 "task: text\ndata: {train: rows.tsv, val_fraction: 0}\ntext: {ngram: {buckets: 50}}\n"
                 "model: {layers: [embedding_bag: {dim: 4}, linear: classes]}\ntrain: {epochs: 1, batch: 8}\n");
    fail_each(*state, "train page.yaml --out run --threads 1", "run");
    assert_int_equal(run(*state, "train page.yaml --out run --threads 1", 0).code, 0);
    fail_each(*state, "export run --to small -o small.safetensors --threads 1", "small.safetensors");
    assert_int_equal(run(*state, "export run --to small -o small.safetensors --threads 1", 0).code, 0);
    fail_each(*state, "predict small.safetensors word1 --threads 1", NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* the commands of one test alone */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(config_show, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(train, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(predict, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_check, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_pack, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(data_shards, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(init, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(find_lr, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(reports, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(finished_runs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(exports, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(bags, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
