/* test_kill.c - the program itself under signals: killed with -9 at random moments and started again by
 * the same command it ends with the bytes of an uninterrupted run; SIGTERM while loading, stepping,
 * evaluating and saving is answered by a save and exit code 75; a second Ctrl-C by 130 at once.
 * HONE_KILLS=25 asks for more kills than the suite's 5.
 * rooms: io core
 * needs: cli */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/thread.h"
#include "hone/philox.h"
#include "io/file.h"

static int make_scratch(void **state)
{
    char template[64];
    snprintf(template, sizeof template, "%s/hone-kill-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_scratch(void **state)
{
    int failed = hone_io_remove_tree(*state) != HONE_OK;
    free(*state);
    return failed;
}

static const char page[] =
    "task: image\n"
    "data: {synthetic: {shape: [12, 12, 1], classes: 4, samples: 1500}, val_fraction: 0.2}\n"
    "augment: {flip: 0.5, crop: {pad: 1}}\n"
    "model:\n"
    "  layers: [conv: {out: 8, kernel: 3}, batchnorm, relu, maxpool, flatten, dropout: 0.2, linear: classes]\n"
    "train: {epochs: 10, batch: 32, optimizer: {name: adamw, lr: 0.003}, ema: 0.99, accumulate: 2}\n"
    "checkpoint: {every: 20 steps, keep: 2}\n"
    "log: {every: 24}\n"; /* an epoch has 47 batches: 24 steps */

/* --- starting and watching ------------------------------------------------------------------------------- */

typedef struct child {
    pid_t pid;
    FILE *events; /* its stderr: a JSON object a line */
} child;

static child start(const char *config, const char *out, const char *extra)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    child c = {.pid = fork()};
    if (c.pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execl(HONE_BINARY, "hone", "train", config, "--out", out, "--threads", "1", "--log-format", "json", "--device",
              "cpu", extra, (char *)NULL);
        _exit(99);
    }
    assert_true(c.pid > 0);
    close(ends[1]);
    c.events = fdopen(ends[0], "r");
    return c;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Reads on until the process closes its stderr; its exit code, or -signal. */
static int finish(child *c)
{
    char line[8192];
    int how;
    while (fgets(line, sizeof line, c->events)) continue;
    fclose(c->events);
    waitpid(c->pid, &how, 0);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
}

/* Reads until an event of this kind has come `count` times; false when the process ended before. */
static bool wait_for(child *c, const char *event, int count)
{
    char line[8192], mark[64];
    snprintf(mark, sizeof mark, "{\"event\":\"%s\"", event);
    while (fgets(line, sizeof line, c->events))
        if (strncmp(line, mark, strlen(mark)) == 0 && --count == 0) return true;
    return false;
}

static void compare(const char *a, const char *b, const char *name)
{
    char path[600], *x, *y;
    size_t m, n;
    snprintf(path, sizeof path, "%s/%s", a, name);
    assert_int_equal(hone_file_read(path, 1 << 24, &x, &m), HONE_OK);
    snprintf(path, sizeof path, "%s/%s", b, name);
    assert_int_equal(hone_file_read(path, 1 << 24, &y, &n), HONE_OK);
    if (m != n || memcmp(x, y, m) != 0) fail_msg("%s differs", name);
    free(x);
    free(y);
}

static void compare_runs(const char *a, const char *b)
{
    compare(a, b, "checkpoints/step-00000240/model.safetensors");
    compare(a, b, "checkpoints/step-00000240/optim.safetensors");
    compare(a, b, "best.safetensors");
    compare(a, b, "results.csv");
    compare(a, b, "eval/confusion.csv");
}

typedef struct place {
    char config[300], whole[300], parts[300];
    double seconds; /* of the uninterrupted run */
} place;

/* `text`: the page. */
static place uninterrupted_of(void **state, const char *text)
{
    place p;
    snprintf(p.config, sizeof p.config, "%s/page.yaml", (char *)*state);
    snprintf(p.whole, sizeof p.whole, "%s/whole", (char *)*state);
    snprintf(p.parts, sizeof p.parts, "%s/parts", (char *)*state);
    assert_int_equal(hone_file_write(p.config, text, strlen(text)), HONE_OK);
    double began = hone_now_seconds();
    child c = start(p.config, p.whole, NULL);
    assert_int_equal(finish(&c), 0);
    p.seconds = hone_now_seconds() - began;
    return p;
}

static place uninterrupted(void **state) { return uninterrupted_of(state, page); }

/* --- tests --------------------------------------------------------------------------------------------------- */

static void kill_again_and_again(const place *run)
{
    place p = *run;
    const char *wanted = getenv("HONE_KILLS");
    int kills = wanted ? atoi(wanted) : 5, done = 0;
    for (int k = 0; k < kills; k++) {
        child c = start(p.config, p.parts, NULL);
        /* up to a third of the whole run, so that several fit in */
        pause_ms((long)(hone_uniform(hone_philox(11, 1, (uint64_t)k, (uint64_t)getpid()).v[0]) * p.seconds * 333));
        kill(c.pid, SIGKILL);
        int how = finish(&c);
        if (how != -SIGKILL && how != 0) fail_msg("kill %d: exit code %d", k, how);
        done += how == -SIGKILL;
        if (how == 0) assert_int_equal(hone_io_remove_tree(p.parts), HONE_OK); /* it was through: begin anew */
    }
    child c = start(p.config, p.parts, NULL);
    assert_int_equal(finish(&c), 0);
    print_message("    %d kills of a run of %.1f s\n", done, p.seconds);
    assert_true(done > 0);
    compare_runs(p.whole, p.parts);
}

static void test_killed_again_and_again(void **state)
{
    place p = uninterrupted(state);
    kill_again_and_again(&p);
}

/* 1500 texts of 4 classes, a word of its class in each; 1200 train in 24 batches, as the images above. */
static void write_texts(const char *path)
{
    char *text = malloc(1500 * 64);
    size_t at = (size_t)sprintf(text, "label\ttext\n");
    for (int k = 0; k < 1500; k++) {
        uint32_t draw = hone_philox(3, 1, (uint64_t)k, 0).v[0];
        at += (size_t)sprintf(text + at, "c%d\tw%u own%d w%u w%u\n", k % 4, draw % 97, k % 4, draw / 97 % 89,
                              draw / 9001 % 83);
    }
    assert_int_equal(hone_file_write(path, text, at), HONE_OK);
    free(text);
}

/* A sparse table and its optimizer slots resume to the same bytes, too. */
static void test_bag_killed(void **state)
{
    char text[900], data[300];
    snprintf(data, sizeof data, "%s/texts.tsv", (char *)*state);
    write_texts(data);
    snprintf(text, sizeof text,
             "task: text\ndata: {train: %s, val_fraction: 0.2}\n"
             "text: {ngram: {words: [1, 2], buckets: 5000}}\n"
             "model: {layers: [embedding_bag: 16, dropout: 0.2, linear: classes]}\n"
             "train: {epochs: 10, batch: 50, optimizer: {name: adamw, lr: 0.01}, clip_norm: 1}\n"
             "checkpoint: {every: 20 steps, keep: 2}\nlog: {every: 24}\n",
             data);
    place p = uninterrupted_of(state, text);
    kill_again_and_again(&p);
}

/* Asks it to stop as soon as it has said `event` for the n-th time, and resumes it afterwards. */
static void stop_after(const place *p, int number, const char *event, int count)
{
    child c = start(p->config, p->parts, NULL);
    if (event && !wait_for(&c, event, count)) fail_msg("it ended before %s came", event);
    if (!event) pause_ms(count);
    double asked = hone_now_seconds();
    kill(c.pid, number);
    int how = finish(&c);
    /* on a busy machine the signal may come before the program's own first line: later, then */
    if (how == -number && !event && count < 10000) {
        stop_after(p, number, event, 2 * count);
        return;
    }
    if (how != 75) fail_msg("signal %d after %s %d: exit code %d", number, event ? event : "ms", count, how);
    assert_true(hone_now_seconds() - asked < 10);
}

static void test_stopped_in_each_phase(void **state)
{
    place p = uninterrupted(state);
    stop_after(&p, SIGTERM, "step", 1);       /* the epoch's last step was logged: evaluating */
    stop_after(&p, SIGTERM, "epoch", 1);      /* evaluated: saving, or the next epoch's steps */
    stop_after(&p, SIGUSR1, "checkpoint", 1); /* just saved: stepping */
    stop_after(&p, SIGINT, "note", 1);        /* just resumed */
    stop_after(&p, SIGTERM, "checkpoint", 2);
    stop_after(&p, SIGTERM, "epoch", 2);
    child c = start(p.config, p.parts, NULL);
    assert_int_equal(finish(&c), 0);
    compare_runs(p.whole, p.parts);
}

/* While loading there is nothing to save: it must still leave quickly, with 75. */
static void test_stopped_while_loading(void **state)
{
    static const char big[] = "task: image\n" /* some seconds of making up images */
                              "data: {synthetic: {shape: [32, 32, 3], classes: 4, samples: 200000}, val_fraction: 0}\n"
                              "model: {layers: [flatten, linear: classes]}\n";
    place p;
    snprintf(p.config, sizeof p.config, "%s/big.yaml", (char *)*state);
    snprintf(p.parts, sizeof p.parts, "%s/big", (char *)*state);
    assert_int_equal(hone_file_write(p.config, big, strlen(big)), HONE_OK);
    stop_after(&p, SIGTERM, NULL, 100);
}

static void test_second_interrupt(void **state)
{
    char config[300], out[300];
    snprintf(config, sizeof config, "%s/slow.yaml", (char *)*state);
    snprintf(out, sizeof out, "%s/slow", (char *)*state);
    static const char slow[] =
        "task: image\n" /* a step takes far longer than the two signals are apart */
        "data: {synthetic: {shape: [64, 64, 3], classes: 4, samples: 1024}, val_fraction: 0}\n"
        "model: {layers: [conv: {out: 64}, relu, conv: {out: 64}, relu, global_avgpool, linear: classes]}\n"
        "train: {epochs: 9, batch: 256}\n"
        "log: {every: 1}\n";
    assert_int_equal(hone_file_write(config, slow, strlen(slow)), HONE_OK);
    /* A signal between two steps saves and ends with 75 before the second one comes: then the run goes on and both are
     * sent again. The pause before them leads into the next step. */
    int code = 75;
    for (int attempt = 0; code == 75 && attempt < 4; attempt++) {
        child c = start(config, out, NULL);
        assert_true(wait_for(&c, "step", 1));
        pause_ms(30);
        kill(c.pid, SIGINT);
        pause_ms(20);
        double asked = hone_now_seconds();
        kill(c.pid, SIGINT);
        code = finish(&c);
        assert_true(hone_now_seconds() - asked < 2);
    }
    assert_int_equal(code, 130);
}

/* Two runs in one directory: the second is refused and names the first. */
static void test_two_at_once(void **state)
{
    place p = uninterrupted(state);
    child first = start(p.config, p.parts, NULL);
    assert_true(wait_for(&first, "step", 1));
    child second = start(p.config, p.parts, NULL);
    char line[8192] = "", pid[64];
    assert_non_null(fgets(line, sizeof line, second.events));
    snprintf(pid, sizeof pid, "process %ld", (long)first.pid);
    if (!strstr(line, pid)) fail_msg("said: %s", line);
    assert_int_equal(finish(&second), 1);
    assert_int_equal(finish(&first), 0);
    compare_runs(p.whole, p.parts);
}

int main(void)
{
#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_killed_again_and_again), WITH_SCRATCH(test_bag_killed),
        WITH_SCRATCH(test_stopped_in_each_phase),  WITH_SCRATCH(test_stopped_while_loading),
        WITH_SCRATCH(test_second_interrupt),       WITH_SCRATCH(test_two_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
