/* test_checkpoint.c - a checkpoint survives everything: a fault or a kill at every single I/O call of a
 * save leaves the last step or the one before loadable; a flipped bit, a cut file or a made-up
 * manifest anywhere is noticed, and the step before is taken instead.
 * rooms: io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hone/philox.h"
#include "io/checkpoint.h"
#include "io/file.h"

static int make_scratch(void **state)
{
    /* memory where there is some: these tests fsync thousands of times */
    char template[64];
    snprintf(template, sizeof template, "%s/hone-checkpoint-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_scratch(void **state)
{
    hone_fault_set(0, HONE_FAULT_NONE);
    int failed = hone_io_remove_tree(*state) != HONE_OK;
    free(*state);
    return failed;
}

/* Content is a function of the step, so a loaded checkpoint can be told from any other. */
static hone_status save(const char *run, int64_t step, int keep)
{
    float model[100], optim[50];
    char text[64];
    for (int k = 0; k < 100; k++) model[k] = (float)(step * 1000 + k);
    for (int k = 0; k < 50; k++) optim[k] = -(float)(step * 1000 + k);
    hone_blob m[2] = {{"w", HONE_F32, 2, {9, 10}, model, 360}, {"b", HONE_F32, 1, {10}, model + 90, 40}};
    hone_blob o = {"w.0", HONE_F32, 1, {50}, optim, 200};
    snprintf(text, sizeof text, "{\"step\": %lld}\n", (long long)step);
    return hone_checkpoint_save(run, step, m, 2, &o, 1, text, keep, true);
}

static void count_report(void *arg, const char *text)
{
    assert_true(text[0] != '\0');
    ++*(int *)arg;
}

/* The step that is found (-1: none), after checking that its content is that step's. */
static int64_t load(const char *run, int *rejected)
{
    hone_checkpoint c;
    bool found;
    int reports = 0;
    assert_int_equal(hone_checkpoint_latest(run, count_report, &reports, &found, &c), HONE_OK);
    if (rejected) *rejected = reports;
    if (!found) return -1;
    const hone_blob *w = hone_safetensors_find(c.model, "w"), *o = hone_safetensors_find(c.optim, "w.0");
    char text[64];
    assert_non_null(w);
    assert_non_null(o);
    assert_true(((const float *)w->data)[89] == (float)(c.step * 1000 + 89));
    assert_true(((const float *)o->data)[49] == -(float)(c.step * 1000 + 49));
    snprintf(text, sizeof text, "{\"step\": %lld}\n", (long long)c.step);
    assert_string_equal(c.state_json, text);
    int64_t step = c.step;
    hone_checkpoint_free(&c);
    return step;
}

static int entries(const char *run, const char *part)
{
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, "%s/checkpoints", run);
    DIR *d = opendir(path);
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));) count += e->d_name[0] != '.' && strstr(e->d_name, part) != NULL;
    closedir(d);
    return count;
}

static void test_keep(void **state)
{
    const char *run = *state;
    assert_int_equal(load(run, NULL), -1);
    for (int64_t step = 0; step <= 50; step += 10) assert_int_equal(save(run, step, 2), HONE_OK);
    assert_int_equal(load(run, NULL), 50);
    assert_int_equal(entries(run, "step-"), 3); /* 0 is protected, 40, 50 */
    assert_int_equal(entries(run, "step-00000000"), 1);
    assert_int_equal(entries(run, "step-00000040"), 1);
    assert_int_equal(save(run, 60, 0), HONE_OK);
    assert_int_equal(entries(run, "step-"), 4);
}

static void test_existing_step_is_left_alone(void **state)
{
    const char *run = *state;
    char path[512];
    struct stat before, after;
    snprintf(path, sizeof path, "%s/checkpoints/step-00000010/MANIFEST.json", run);
    assert_int_equal(save(run, 10, 2), HONE_OK);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(save(run, 10, 2), HONE_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    /* a broken one of the same step is set aside, never written into */
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(load(run, NULL), -1);
    assert_int_equal(save(run, 10, 2), HONE_OK);
    assert_int_equal(load(run, NULL), 10);
    assert_int_equal(entries(run, "rejected"), 1);
}

/* The heart: every call k of a save (with pruning), every mode. */
static void test_every_fault(void **state)
{
    char run[512];
    int number = 0;
    snprintf(run, sizeof run, "%s/count", (const char *)*state);
    for (int64_t step = 1; step <= 2; step++) assert_int_equal(save(run, step, 2), HONE_OK);
    hone_fault_set(0, HONE_FAULT_NONE);
    assert_int_equal(save(run, 3, 2), HONE_OK);
    int64_t calls = hone_fault_calls();
    assert_in_range(calls, 25, 80);
    for (int64_t k = 1; k <= calls; k++) {
        for (int mode = HONE_FAULT_KILL; mode <= HONE_FAULT_SHORT; mode++) {
            snprintf(run, sizeof run, "%s/%d", (const char *)*state, number++);
            for (int64_t step = 1; step <= 2; step++) assert_int_equal(save(run, step, 2), HONE_OK);
            hone_status status = HONE_ERR_RUNTIME;
            if (mode == HONE_FAULT_KILL) {
                pid_t child = fork();
                if (child == 0) {
                    hone_fault_set(k, HONE_FAULT_KILL);
                    status = save(run, 3, 2);
                    _exit(1);
                }
                int how;
                waitpid(child, &how, 0);
                assert_true(WIFSIGNALED(how));
            } else {
                hone_fault_set(k, (hone_fault_mode)mode);
                status = save(run, 3, 2);
                hone_fault_set(0, HONE_FAULT_NONE);
                if (mode == HONE_FAULT_EINTR || mode == HONE_FAULT_SHORT) assert_int_equal(status, HONE_OK);
            }
            int rejected;
            int64_t step = load(run, &rejected);
            if (step != 3 && (step != 2 || status == HONE_OK))
                fail_msg("call %d mode %d: step %d", (int)k, mode, (int)step);
            assert_int_equal(rejected, 0); /* nothing half-made ever has a final name */
            /* life goes on: the next save works and takes the leftovers away */
            assert_int_equal(save(run, 4, 2), HONE_OK);
            assert_int_equal(load(run, NULL), 4);
            assert_int_equal(entries(run, ".tmp-"), 0);
            assert_int_equal(hone_io_remove_tree(run), HONE_OK);
        }
    }
}

/* Total size of a checkpoint's files, and access to byte `at` of them all in a row. */
static const char *const part[] = {"model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json"};

static void flip(const char *run, int64_t at, int bit)
{
    for (int k = 0; k < 4; k++) {
        char path[600];
        struct stat s;
        snprintf(path, sizeof path, "%s/checkpoints/step-00000002/%s", run, part[k]);
        assert_int_equal(stat(path, &s), 0);
        if (at >= s.st_size) {
            at -= s.st_size;
            continue;
        }
        int fd = open(path, O_RDWR);
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (unsigned char)(1 << bit);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        return;
    }
    fail();
}

static int64_t total_bytes(const char *run)
{
    int64_t bytes = 0;
    for (int k = 0; k < 4; k++) {
        char path[600];
        struct stat s;
        snprintf(path, sizeof path, "%s/checkpoints/step-00000002/%s", run, part[k]);
        assert_int_equal(stat(path, &s), 0);
        bytes += s.st_size;
    }
    return bytes;
}

static void test_bit_flips(void **state)
{
    const char *run = *state;
    for (int64_t step = 1; step <= 2; step++) assert_int_equal(save(run, step, 0), HONE_OK);
    int64_t bytes = total_bytes(run);
    for (uint64_t k = 0; k < 1000; k++) {
        hone_philox4 r = hone_philox(1, 2, k, 3);
        int64_t at = r.v[0] % bytes;
        int bit = r.v[1] % 8, rejected;
        flip(run, at, bit);
        if (load(run, &rejected) != 1) fail_msg("bit %d of byte %lld went unnoticed", bit, (long long)at);
        assert_int_equal(rejected, 1);
        flip(run, at, bit);
    }
    assert_int_equal(load(run, NULL), 2); /* and the checker does accept what is whole */
}

static void test_truncation(void **state)
{
    const char *run = *state;
    assert_int_equal(save(run, 1, 0), HONE_OK);
    for (int k = 0; k < 4; k++) {
        for (int cut = 0; cut < 64; cut++) {
            char path[600], gone[600];
            struct stat s;
            assert_int_equal(save(run, 2, 0), HONE_OK);
            snprintf(path, sizeof path, "%s/checkpoints/step-00000002/%s", run, part[k]);
            snprintf(gone, sizeof gone, "%s/checkpoints/step-00000002", run);
            assert_int_equal(stat(path, &s), 0);
            assert_int_equal(truncate(path, s.st_size * cut / 64), 0);
            assert_int_equal(load(run, NULL), 1);
            assert_int_equal(hone_io_remove_tree(gone), HONE_OK);
        }
    }
}

static void put_manifest(const char *run, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/step-00000002/MANIFEST.json", run);
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
}

static void test_manifests(void **state)
{
    static const char *const made[] = {
        "",
        "{",
        "null",
        "[]",
        "{}",
        "{\"format\":\"hone-checkpoint\",\"version\":2,\"step\":2,\"files\":[]}\n",
        "{\"format\":\"hone-checkpoint\",\"version\":1,\"step\":2,\"files\":[]}\n",
        "{\"format\":\"hone-checkpoint\",\"version\":1,\"step\":2,\"files\":[{\"name\":\"../x\"}]}\n",
        "{\"format\":\"hone-checkpoint\",\"version\":1,\"step\":2,\"files\":[{\"name\":\"state.json\"},"
        "{\"name\":\"state.json\"}]}\n",
    };
    const char *run = *state;
    char path[600];
    for (int64_t step = 1; step <= 2; step++) assert_int_equal(save(run, step, 0), HONE_OK);
    for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
        put_manifest(run, made[k]);
        assert_int_equal(load(run, NULL), 1);
    }
    snprintf(path, sizeof path, "%s/checkpoints/step-00000002/MANIFEST.json", run);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load(run, NULL), 1);
}

static void test_strange_entries(void **state)
{
    const char *run = *state;
    char path[600];
    int rejected;
    assert_int_equal(save(run, 1, 0), HONE_OK);
    static const char *const names[] = {"step-2", "step-00000003x", "step--0000001", "step-99999999999999999999",
                                        "done",   "step-"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) { /* none of them is a name of ours */
        snprintf(path, sizeof path, "%s/checkpoints/%s", run, names[k]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    assert_int_equal(load(run, &rejected), 1);
    assert_int_equal(rejected, 0);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000009", run);
    assert_int_equal(hone_file_write(path, "file", 4), HONE_OK); /* a step that is a file */
    assert_int_equal(load(run, &rejected), 1);
    assert_int_equal(rejected, 1);
    snprintf(path, sizeof path, "%s/checkpoints/step-00000007.tmp-%ld-0badf00d", run, (long)getppid());
    assert_int_equal(mkdir(path, 0777), 0); /* of a process that lives: hands off */
    assert_int_equal(save(run, 4, 0), HONE_OK);
    assert_int_equal(entries(run, ".tmp-"), 1);
}

/* A read-only run directory says so and leaves what is there. Root may write anywhere: skipped then. */
static void test_read_only(void **state)
{
    const char *run = *state;
    char path[600];
    if (geteuid() == 0) skip();
    assert_int_equal(save(run, 1, 0), HONE_OK);
    snprintf(path, sizeof path, "%s/checkpoints", run);
    assert_int_equal(chmod(path, 0555), 0);
    hone_status status = save(run, 2, 0);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(status, HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "Permission denied"));
    assert_int_equal(load(run, NULL), 1);
}

int main(void)
{
#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_keep),
        WITH_SCRATCH(test_existing_step_is_left_alone),
        WITH_SCRATCH(test_every_fault),
        WITH_SCRATCH(test_bit_flips),
        WITH_SCRATCH(test_truncation),
        WITH_SCRATCH(test_manifests),
        WITH_SCRATCH(test_strange_entries),
        WITH_SCRATCH(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
