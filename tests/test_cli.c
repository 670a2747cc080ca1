/* test_cli.c - the command line as a user meets it: exit codes, help, did-you-mean, JSON, lost output.
 * rooms: cli
 * needs: cli
 *
 * Runs the real binary in a scratch folder; the parser itself is also called directly. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "core/text.h"

static const char page[] = "data: {synthetic: {shape: [8, 8, 1], classes: 3, samples: 64}}\n"
                           "model: {layers: [conv: {out: 4}, relu, flatten, linear: {out: classes}]}\n"
                           "train: {batch: 16, epochs: 1}\n";

/* --- running the binary --------------------------------------------------------------------------------- */
typedef struct outcome {
    int code; /* exit code, or 128 + signal */
    char *out, *err;
} outcome;

static char *read_back(int fd)
{
    off_t bytes = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)bytes + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)bytes, 0), bytes);
    text[bytes] = '\0';
    close(fd);
    return text;
}

static int scratch_file(void)
{
    char name[] = "/tmp/hone-cli-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    return fd;
}

/* `line` is split at spaces. out_fd >= 0 stands in for stdout; -2: stdout is closed. */
static outcome run_to(const char *line, int out_fd)
{
    char copy[1024], *argv[32] = {(char *)(uintptr_t)HONE_BINARY};
    int argc = 1, out = scratch_file(), err = scratch_file(), status = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " ")) argv[argc++] = word;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (out_fd == -2) close(STDOUT_FILENO);
        else dup2(out_fd >= 0 ? out_fd : out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return (outcome){WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_back(out), read_back(err)};
}

static outcome run(const char *line) { return run_to(line, -1); }

static void done(outcome *o)
{
    free(o->out);
    free(o->err);
}

/* --- the scratch folder ------------------------------------------------------------------------------------- */
static char folder[] = "/tmp/hone-cli-folder-XXXXXX";

static void write_page(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int enter(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) != 0) return -1;
    write_page("good.yaml", page);
    write_page("typo.yaml", "data: {path: nowhere}\nmodel: {layers: [relu]}\ntrain: {optimzer: sgd}\n");
    write_page("nodata.yaml", "data: {path: nowhere}\nmodel: {layers: [flatten, linear: classes]}\n");
    return 0;
}

static int leave(void **state)
{
    (void)state;
    unlink("good.yaml");
    unlink("typo.yaml");
    unlink("nodata.yaml");
    return chdir("/") != 0 || rmdir(folder) != 0;
}

/* --- exit codes ----------------------------------------------------------------------------------------------- */
static void exit_codes_and_messages(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *says; /* on stderr, or on stdout where the code is 0 */
    } expected[] = {
        {"", 2, "hone COMMAND"},
        {"--version", 0, "hone 0."},
        {"--help", 0, "exit codes"},
        {"-h", 0, "exit codes"},
        {"help", 0, "exit codes"},
        {"help nothing", 2, "no command 'nothing'"},
        {"help plan bench", 2, "one argument too many: 'bench'"},
        {"trian x", 2, "unknown command 'trian' (did you mean train?)"},
        {"frobnicate", 2, "unknown command 'frobnicate'\n"},
        {"--jsn doctor", 2, "unknown flag '--jsn' (did you mean --json?)"},
        {"bench good.yaml --step 3", 2, "unknown flag '--step' (did you mean --steps?)"},
        {"bench good.yaml -x", 2, "unknown flag '-x'"},
        {"doctor --threads", 2, "--threads needs a value"},
        {"doctor --threads --json", 2, "--threads needs a value"},
        {"doctor --threads=", 2, "--threads has an empty value"},
        {"doctor --threads 0", 2, "--threads expects an integer from 1 to 1024, found '0'"},
        {"doctor --threads two", 2, "found 'two'"},
        {"doctor --threads 1 --threads 1", 2, "--threads is given twice"},
        {"doctor --json --json", 2, "--json is given twice"},
        {"doctor --json=yes", 2, "--json takes no value"},
        {"doctor --seed -1", 2, "--seed expects"},
        {"doctor --seed 1e3", 2, "--seed expects"},
        {"doctor --log-format xml", 2, "expects tty, plain or json"},
        {"doctor extra", 2, "one argument too many: 'extra'"},
        {"plan", 2, "plan needs an argument"},
        {"config", 2, "config needs an argument"},
        {"config shwo good.yaml", 2, "(did you mean show?)"},
        {"config show", 2, "needs the path of a config"},
        {"config schema x", 2, "takes no argument"},
        {"config explain train.optimzer", 2, "unknown key (did you mean train.optimizer?)"},
        {"config explain train.optimizer.lr", 0, "learning rate"},
        {"config show typo.yaml", 2, "typo.yaml:3:9: train.optimzer: unknown key (did you mean train.optimizer?)\n"},
        {"config show absent.yaml", 2, "absent.yaml: No such file"},
        {"config show .", 2, "is a folder"},
        {"config show good.yaml train.batch", 2, "'train.batch' is no override"},
        {"config show good.yaml train.batch=0", 2, "override train.batch=0: train.batch: expects an integer"},
        {"config show good.yaml --seed 5", 0, "seed: 5  # override train.seed=5"},
        {"config show good.yaml train.batch=3", 0, "batch: 3  # override train.batch=3"},
        {"--seed=5 config show good.yaml", 0, "seed: 5"},
        {"plan nodata.yaml", 3, "nowhere"},
        {"plan nodata.yaml image.size=8 image.channels=1 --classes 4", 0, "linear1"},
        {"plan good.yaml --allocate --threads 1", 0, "allocated: training"},
        {"plan good.yaml --nodes", 0, "backward"},
        {"plan good.yaml --device gpu", 2, "unknown device 'gpu'"},
        {"plan good.yaml --device cuda:99", 6, "cuda"},
        {"plan good.yaml train.precision=bf16 --device cpu", 2, "train.precision"},
        {"doctor", 0, "device"},
        {"config show -- good.yaml", 0, "synthetic"},
        {"config show -", 2, "-: No such file"},
    };
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++) {
        outcome o = run(expected[k].line);
        const char *text = expected[k].code ? o.err : o.out;
        if (o.code != expected[k].code || !strstr(text, expected[k].says))
            fail_msg("hone %s: exit %d, wanted %d with \"%s\"\n--- stdout\n%s\n--- stderr\n%s", expected[k].line,
                     o.code, expected[k].code, expected[k].says, o.out, o.err);
        if (expected[k].code && *o.out) fail_msg("hone %s: printed on stdout: %s", expected[k].line, o.out);
        done(&o);
    }
}

/* The check above must notice another code or another text. */
static void planted_wrong_code_is_noticed(void **state)
{
    (void)state;
    outcome o = run("config show typo.yaml");
    assert_int_not_equal(o.code, 0);
    assert_null(strstr(o.err, "train.optimzer: unknown key (did you mean train.schedule?)"));
    done(&o);
}

static void errors_have_a_fix_line(void **state)
{
    (void)state;
    outcome o = run("trian");
    assert_string_equal(o.err, "unknown command 'trian' (did you mean train?)\n  fix: hone help lists the commands\n");
    done(&o);
}

/* --- help --------------------------------------------------------------------------------------------------- */
static void every_command_has_a_help_page(void **state)
{
    (void)state;
    outcome all = run("help");
    for (int k = 0; hone_cli_commands[k]; k++) {
        const hone_cli_command *c = hone_cli_commands[k];
        char line[64], usage[64];
        snprintf(line, sizeof line, "help %s", c->name);
        outcome page_a = run(line);
        snprintf(line, sizeof line, "%s --help", c->name);
        outcome page_b = run(line);
        snprintf(usage, sizeof usage, "hone %s ", c->name);
        assert_int_equal(page_a.code, 0);
        assert_string_equal(page_a.out, page_b.out);
        assert_ptr_equal(strstr(page_a.out, usage), page_a.out);
        assert_non_null(strstr(page_a.out, "\nexamples\n  hone "));
        assert_non_null(strstr(page_a.out, c->summary));
        assert_non_null(strstr(all.out, c->summary));
        for (const hone_cli_flag *f = c->flag; f && f->name; f++) assert_non_null(strstr(page_a.out, f->help));
        done(&page_a);
        done(&page_b);
    }
    done(&all);
}

/* Parses one command line of a help page; redirections are not part of it. */
static void check_example(const char *line, size_t bytes)
{
    char copy[512], *argv[32];
    const char *arg[32];
    int argc = 0;
    snprintf(copy, sizeof copy, "%.*s", (int)bytes, line);
    copy[strcspn(copy, "#")] = '\0';
    for (char *word = strtok(copy, " "); word && argc < 31; word = strtok(NULL, " ")) {
        if (strchr("|><;&", *word) || (word[0] == '2' && word[1] == '>')) break;
        argv[argc++] = word;
    }
    if (argc == 0) return;
    if (strcmp(argv[0], "hone") != 0) return; /* a pipe into hone begins with another program */
    hone_cli cli = {.argc = argc, .argv = argv, .arg = arg};
    hone_cli_request request;
    hone_status status = hone_cli_parse(&cli, &request);
    if (status == HONE_OK && request == HONE_CLI_WANTS_RUN && cli.command) status = hone_cli_check_arguments(&cli);
    if (status != HONE_OK) fail_msg("example \"%.*s\": %s", (int)bytes, line, hone_error_message());
}

static void examples_of_help_are_valid(void **state)
{
    (void)state;
    for (int k = 0; hone_cli_commands[k]; k++)
        for (const char *s = hone_cli_commands[k]->examples; *s;) {
            size_t n = strcspn(s, "\n");
            check_example(s, n);
            s += n + (s[n] == '\n');
        }
}

/* --- completion ------------------------------------------------------------------------------------------------- */
/* What bash offers for the last of `words` (shell words, hone first) after it has read the script. */
static void assert_offers(const char *words, int last, const char *offered)
{
    char line[1024], answer[4096] = "";
    snprintf(line, sizeof line,
             "bash -c 'source <(" HONE_BINARY
             " completion bash); COMP_WORDS=(%s); COMP_CWORD=%d; _hone; echo ${COMPREPLY[*]}'",
             words, last);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    assert_non_null(fgets(answer, sizeof answer, f));
    assert_int_equal(pclose(f), 0);
    answer[strcspn(answer, "\n")] = 0;
    assert_string_equal(answer, offered);
}

static void completion_in_bash(void **state)
{
    (void)state;
    assert_offers("hone comp", 1, "compare completion");
    assert_offers("hone train page.yaml train.optimizer.mom", 3, "train.optimizer.momentum=");
    assert_offers("hone eval --spl", 2, "--split");
    assert_offers("hone eval --thr", 2, "--threads");
    assert_offers("hone eval train.optimizer.mom", 2, ""); /* eval takes no overrides */
    assert_offers("hone help doc", 2, "doctor");
    outcome o = run("completion fish");
    assert_int_equal(o.code, HONE_ERR_USAGE);
    done(&o);
}

static void exit_codes_page(void **state)
{
    (void)state;
    outcome o = run("help exit-codes");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "75  interrupted and saved"));
    done(&o);
}

/* --- did you mean --------------------------------------------------------------------------------------------- */
/* Every deletion and swap of neighbours in `word`; `fits` is told by the message. */
static void try_typos(const char *word, size_t from, const char *const *before, int before_count, const char *what)
{
    size_t n = strlen(word);
    for (size_t at = from; at + 1 < n; at++)
        for (int swap = 0; swap < 2; swap++) {
            char wrong[64], *argv[8] = {(char *)(uintptr_t) "hone"};
            const char *arg[8];
            int argc = 1;
            if (swap && word[at] == word[at + 1]) continue;
            if (swap) snprintf(wrong, sizeof wrong, "%.*s%c%c%s", (int)at, word, word[at + 1], word[at], word + at + 2);
            else snprintf(wrong, sizeof wrong, "%.*s%s", (int)at, word, word + at + 1);
            for (int k = 0; k < before_count; k++) argv[argc++] = (char *)(uintptr_t)before[k];
            argv[argc++] = wrong;
            hone_cli cli = {.argc = argc, .argv = argv, .arg = arg};
            hone_cli_request request;
            char expected[128];
            snprintf(expected, sizeof expected, "unknown %s '%s' (did you mean %s?)", what, wrong, word);
            assert_int_equal(hone_cli_parse(&cli, &request), HONE_ERR_USAGE);
            assert_string_equal(hone_error_message(), expected);
        }
}

static void typos_of_commands_and_flags(void **state)
{
    (void)state;
    for (int k = 0; hone_cli_commands[k]; k++) {
        const hone_cli_command *c = hone_cli_commands[k];
        try_typos(c->name, 0, NULL, 0, "command");
        for (const hone_cli_flag *f = c->flag; f && f->name; f++)
            if (f->name[1] == '-') try_typos(f->name, 2, &c->name, 1, "flag");
        for (const hone_cli_flag *f = hone_cli_global_flags; f->name; f++)
            if (f->name[1] == '-') try_typos(f->name, 2, &c->name, 1, "flag");
    }
}

/* --- results ---------------------------------------------------------------------------------------------------- */
static json_t *json_result(const char *line)
{
    outcome o = run(line);
    json_error_t error;
    if (o.code != 0) fail_msg("hone %s: exit %d: %s", line, o.code, o.err);
    json_t *root = json_loads(o.out, JSON_REJECT_DUPLICATES, &error);
    if (!root || !json_is_object(root)) fail_msg("hone %s: no JSON object: %s\n%s", line, error.text, o.out);
    done(&o);
    return root;
}

static double number_at(const json_t *o, const char *key)
{
    const json_t *n = json_object_get(o, key);
    if (!json_is_number(n)) fail_msg("%s is not a number", key);
    return json_number_value(n);
}

static void json_results_are_objects(void **state)
{
    (void)state;
    static const char *const line[] = {"doctor --json", "config schema", "config show good.yaml --json",
                                       "plan good.yaml --json --nodes"};
    for (size_t k = 0; k < sizeof line / sizeof *line; k++) json_decref(json_result(line[k]));
}

static void bench_has_its_figures(void **state)
{
    (void)state;
    json_t *o = json_result("bench good.yaml --json --steps 5 --batch 8 --threads 1 --device cpu");
    static const char *const positive[] = {"samples_per_second", "step_ms",           "step_ms_p90",   "ready_seconds",
                                           "first_step_seconds", "peak_memory_bytes", "program_bytes", "flop_per_step",
                                           "step_ms_min"};
    for (size_t k = 0; k < sizeof positive / sizeof *positive; k++) assert_true(number_at(o, positive[k]) > 0);
    assert_string_equal(json_string_value(json_object_get(o, "device")), "cpu");
    assert_string_equal(json_string_value(json_object_get(o, "precision")), "fp32");
    assert_true(number_at(o, "batch") == 8 && number_at(o, "steps") == 5);
    double rate = number_at(o, "samples_per_second") * number_at(o, "step_ms") / 8000; /* they must agree */
    assert_true(rate > 0.999 && rate < 1.001);
    assert_true(number_at(json_object_get(o, "roof"), "gflop_per_second") > 0);
    assert_true(json_array_size(json_object_get(o, "ops")) >= 5);
    json_decref(o);
}

/* No --device: the choice is said, although bench has no run directory to say it in. */
static void bench_says_its_device_nowhere(void **state)
{
    (void)state;
    json_decref(json_result("bench good.yaml --json --steps 1 --batch 8 --threads 1"));
}

static double training_total(int batch)
{
    char line[128];
    snprintf(line, sizeof line, "plan good.yaml --json --threads 2 --memory 1 --batch %d", batch);
    json_t *o = json_result(line);
    double bytes = number_at(json_object_get(o, "training"), "total_bytes");
    json_decref(o);
    return bytes;
}

/* The largest batch fits, the next one does not; whatever batch the search starts from. */
static void largest_batch_is_the_largest(void **state)
{
    (void)state;
    static const int start[] = {1, 16, 5000};
    int largest[3];
    for (int k = 0; k < 3; k++) {
        char line[128];
        snprintf(line, sizeof line, "plan good.yaml --json --threads 2 --memory 3 --batch %d", start[k]);
        json_t *o = json_result(line);
        largest[k] = (int)number_at(o, "largest_batch");
        json_decref(o);
    }
    assert_true(largest[0] == largest[1] && largest[1] == largest[2] && largest[0] > 1);
    assert_true(training_total(largest[0]) <= 3 << 20);
    assert_true(training_total(largest[0] + 1) > 3 << 20);
}

/* --- lost output --------------------------------------------------------------------------------------------------- */
static void lost_output_is_an_error(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    outcome o = run_to("config schema", full);
    assert_int_equal(o.code, 1);
    assert_non_null(strstr(o.err, "could not be written"));
    done(&o);
    close(full);
    o = run_to("config schema", -2); /* stdout closed */
    assert_int_equal(o.code, 1);
    done(&o);
}

/* A reader that has seen enough is no error, and no SIGPIPE either. */
static void closed_pipe_is_no_error(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    outcome o = run_to("config schema", ends[1]);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.err, "");
    done(&o);
    close(ends[1]);
}

static void command_line_is_kept_for_run_json(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t) "hone", (char *)(uintptr_t) "train", (char *)(uintptr_t) "a b.yaml",
                    (char *)(uintptr_t) "out=it's", (char *)(uintptr_t) ""};
    hone_cli cli = {.argc = 5, .argv = argv};
    char *line = hone_cli_line(&cli);
    assert_string_equal(line, "hone train 'a b.yaml' 'out=it'\\''s' ''");
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes_and_messages),
        cmocka_unit_test(planted_wrong_code_is_noticed),
        cmocka_unit_test(errors_have_a_fix_line),
        cmocka_unit_test(every_command_has_a_help_page),
        cmocka_unit_test(examples_of_help_are_valid),
        cmocka_unit_test(completion_in_bash),
        cmocka_unit_test(exit_codes_page),
        cmocka_unit_test(typos_of_commands_and_flags),
        cmocka_unit_test(json_results_are_objects),
        cmocka_unit_test(bench_has_its_figures),
        cmocka_unit_test(bench_says_its_device_nowhere),
        cmocka_unit_test(largest_batch_is_the_largest),
        cmocka_unit_test(lost_output_is_an_error),
        cmocka_unit_test(closed_pipe_is_no_error),
        cmocka_unit_test(command_line_is_kept_for_run_json),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
