/* test_bad_inputs.c - every case of the list of bad inputs, in one table: a command that is run here (exit code, words of the
 * message, nothing lost and nothing left behind), the test that covers it, or why it can't occur.
 * rooms: io core
 * needs: cli
 *
 * Tables: bad_inputs/{config,images,data,models,runs,covered}.c. `test_bad_inputs I32` runs the cases of one number.
 * HONE_TEST_SLOW=0 leaves out those that take a file of 100 MB and more. */
#define _DEFAULT_SOURCE /* wait4: the memory that a command took */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "bad_inputs/bad_inputs.h"
#include "support/scratch.h"

enum { MOST_MB = 400, SECONDS = 120, ENTRIES = 4096 };

/* The list: how many cases each letter has. */
static const struct {
    char letter;
    int cases;
} list[] = {{'C', 18}, {'I', 34}, {'T', 24}, {'D', 14}, {'M', 22}, {'O', 6}, {'H', 34}, {'R', 16}};
enum { LETTERS = sizeof list / sizeof *list };

static const bad_input *const tables[] = {bad_config, bad_images, bad_data, bad_models, bad_runs};
static const char *only; /* one number, where one was asked for */

/* --- completeness ----------------------------------------------------------------------------------------------- */

/* Marks "I5" or "H1-H34"; false for what the list does not have. */
static bool mark(const char *id, bool seen[LETTERS][64])
{
    int first, last;
    char letter, again;
    int n = sscanf(id, "%c%d-%c%d", &letter, &first, &again, &last);
    if (n == 2) last = first;
    for (int k = 0; k < LETTERS; k++) {
        if (list[k].letter != letter) continue;
        if (n < 2 || first < 1 || last > list[k].cases) return false;
        for (int i = first; i <= last; i++) seen[k][i] = true;
        return true;
    }
    return false;
}

/* The first case that no table has, "" if there is none; rows beyond the list fail. `without` is left out: a planted gap. */
static const char *missing(const char *without)
{
    static char text[16];
    bool seen[LETTERS][64] = {{false}};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const bad_input *r = tables[t]; r->id; r++)
            if (strcmp(r->id, without) != 0 && !mark(r->id, seen)) fail_msg("%s is not in the list", r->id);
    for (const bad_covered *r = bad_covered_by; r->id; r++)
        if (strcmp(r->id, without) != 0 && !mark(r->id, seen)) fail_msg("%s is not in the list", r->id);
    for (const bad_absent *r = bad_not_here; r->id; r++)
        if (strcmp(r->id, without) != 0 && !mark(r->id, seen)) fail_msg("%s is not in the list", r->id);
    for (int k = 0; k < LETTERS; k++)
        for (int i = 1; i <= list[k].cases; i++)
            if (!seen[k][i]) {
                snprintf(text, sizeof text, "%c%d", list[k].letter, i);
                return text;
            }
    return "";
}

static void every_case_is_in_a_table(void **state)
{
    static const char *const planted[] = {"C7", "I25", "T24", "D8", "M18", "O3", "H1-H34", "R7"};
    (void)state;
    const char *gap = missing("");
    if (*gap) fail_msg("%s is in no table of tests/bad_inputs", gap);
    for (size_t k = 0; k < sizeof planted / sizeof *planted; k++) { /* and a gap is seen */
        gap = missing(planted[k]);
        if (strncmp(gap, planted[k], strlen(gap)) != 0 || !*gap) fail_msg("without %s nothing is missing", planted[k]);
    }
}

/* --- what other tests cover ------------------------------------------------------------------------------------- */

static bool file_holds(const char *path, const char *words)
{
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    char *text = calloc(1, n + 1);
    rewind(f);
    bool found = text && fread(text, 1, n, f) == n && strstr(text, words) != NULL;
    fclose(f);
    free(text);
    return found;
}

/* The words stand in the test's source, or the snapshot is there. */
static bool is_covered(const bad_covered *r)
{
    char path[512];
    if (strcmp(r->test, "config") == 0) {
        snprintf(path, sizeof path, HONE_TESTS_DIR "/snapshots/config/%s.err", r->where);
        return access(path, R_OK) == 0;
    }
    snprintf(path, sizeof path, HONE_TESTS_DIR "/%s.c", r->test);
    if (file_holds(path, r->where)) return true;
    /* a good page that is read is a file, whose name the test takes from its folder */
    snprintf(path, sizeof path, HONE_TESTS_DIR "/snapshots/config/%s.yaml", r->where);
    return access(path, R_OK) == 0;
}

static void the_other_tests_are_there(void **state)
{
    (void)state;
    for (const bad_covered *r = bad_covered_by; r->id; r++) {
        if (!is_covered(r)) fail_msg("%s: no \"%s\" in %s", r->id, r->where, r->test);
        print_message("%-4s  by %s: %s\n", r->id, r->test, r->where);
    }
    for (const bad_absent *r = bad_not_here; r->id; r++) print_message("%-6s  does not occur: %s\n", r->id, r->reason);
    assert_false(is_covered(&(bad_covered){"C1", "test_config",
                                           "a word that is "
                                           "nowhere"}));
}

/* --- what lies in a folder ------------------------------------------------------------------------------------------ */

typedef struct entry {
    char path[512]; /* below the folder */
    long long bytes;
    unsigned long crc;
} entry;

typedef struct listing {
    entry item[ENTRIES];
    int count;
} listing;

static unsigned long crc_of(const char *path)
{
    static unsigned char part[1 << 16];
    unsigned long crc = crc32(0, NULL, 0);
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) crc = crc32(crc, part, (uInt)n);
    fclose(f);
    return crc;
}

/* Files with size and content (up to 64 MB), folders and other things by name. */
static void look(const char *folder, const char *below, listing *l)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, below);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat s;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        assert_true(l->count < ENTRIES);
        entry *t = &l->item[l->count++];
        snprintf(t->path, sizeof t->path, "%s%s%s", below, *below ? "/" : "", e->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, t->path);
        assert_int_equal(lstat(path, &s), 0);
        *t = (entry){.bytes = S_ISREG(s.st_mode) ? (long long)s.st_size : -1};
        snprintf(t->path, sizeof t->path, "%s%s%s", below, *below ? "/" : "", e->d_name);
        if (S_ISREG(s.st_mode) && s.st_size <= 64 << 20) t->crc = crc_of(path);
        if (S_ISDIR(s.st_mode)) look(folder, t->path, l);
    }
    if (dir) closedir(dir);
}

/* Whether `path` lies in one of the words of `leaves`. */
static bool may_be_new(const char *path, const char *leaves)
{
    while (leaves && *leaves) {
        size_t n = strcspn(leaves, " ");
        if (strncmp(path, leaves, n) == 0 && (path[n] == '\0' || path[n] == '/')) return true;
        leaves += n + (leaves[n] == ' ');
    }
    return false;
}

/* Whatever was there is there as it was; what is new may be. "" or what is wrong. */
static const char *compare(const listing *before, const listing *after, const char *leaves)
{
    static char text[600];
    for (int k = 0; k < before->count; k++) {
        const entry *b = &before->item[k];
        bool same = may_be_new(b->path, leaves); /* a run goes on in its own directory */
        for (int i = 0; i < after->count && !same; i++)
            same = strcmp(b->path, after->item[i].path) == 0 && b->bytes == after->item[i].bytes &&
                   b->crc == after->item[i].crc;
        snprintf(text, sizeof text, "%s was changed or lost", b->path);
        if (!same) return text;
    }
    for (int k = 0; k < after->count; k++) {
        bool known = may_be_new(after->item[k].path, leaves);
        for (int i = 0; i < before->count && !known; i++)
            known = strcmp(after->item[k].path, before->item[i].path) == 0;
        snprintf(text, sizeof text, "%s was left behind", after->item[k].path);
        if (!known) return text;
    }
    return "";
}

/* --- running a case ----------------------------------------------------------------------------------------------- */

typedef struct outcome {
    int code; /* exit code, or 128 + signal, as shells say it */
    long peak_mb;
    char text[1 << 16];
} outcome;

/* The line by a shell in the folder; as nobody where root would be let through everything. */
static void run_line(const char *folder, const char *line, bool as_nobody, outcome *o)
{
    int ends[2], status = 0;
    size_t n = 0;
    struct rusage usage;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("HONE", HONE_BINARY, 1);
        setenv("HONE_SHRINKING", HONE_SHRINKING_MODULE, 1);
        setenv("HONE_CLOCK", HONE_CLOCK_MODULE, 1);
        if (chdir(folder) != 0 || dup2(ends[1], 1) < 0 || dup2(ends[1], 2) < 0) _exit(126);
        close(ends[0]);
        close(ends[1]);
        if (as_nobody && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(126);
        alarm(SECONDS);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    for (ssize_t got; n < sizeof o->text - 1 && (got = read(ends[0], o->text + n, sizeof o->text - 1 - n)) > 0;)
        n += (size_t)got;
    o->text[n] = '\0';
    close(ends[0]);
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    o->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    o->peak_mb = usage.ru_maxrss / 1024;
}

static bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/* Reasons not to run a case here; NULL: none. */
static const char *left_out(const bad_input *r)
{
    const char *slow = getenv("HONE_TEST_SLOW");
    if (r->flags & SLOW && slow && strcmp(slow, "0") == 0) return "HONE_TEST_SLOW=0";
    if (r->flags & NOT_SANITIZED && sanitized()) return "a sanitizer build brings its own allocator";
    if (!(r->flags & NOT_AS_ROOT) || geteuid() != 0) return NULL;
    /* as nobody then, who must get to the program */
    outcome o;
    run_line("/", "test -x \"$HONE\"", true, &o);
    return o.code == 0 ? NULL : "root may do everything, and nobody can't reach the program";
}

/* A refusal says what to do, or what it expected: "" where it does. */
static const char *judge(const bad_input *r, const outcome *o)
{
    static char text[1200];
    static const char *const fix[] = {"fix: ", "did you mean", "expects", "needs", "is given twice", "has an empty"};
    if (o->code != r->code) {
        snprintf(text, sizeof text, "exit code %d, wanted %d", o->code, r->code);
        return text;
    }
    for (int k = 0; k < 3 && r->says[k]; k++) {
        snprintf(text, sizeof text, "it does not say \"%s\"", r->says[k]);
        if (!strstr(o->text, r->says[k])) return text;
    }
    bool helps = r->code == 0;
    for (size_t k = 0; k < sizeof fix / sizeof *fix; k++) helps |= strstr(o->text, fix[k]) != NULL;
    if (!helps) return "it names no fix";
    snprintf(text, sizeof text, "it took %ld MB", o->peak_mb);
    return !sanitized() && o->peak_mb > MOST_MB ? text : "";
}

/* Prints a line; false and a message where the case went wrong. */
static bool try_case(const bad_input *r)
{
    static listing before, after;
    static outcome o;
    const char *reason = left_out(r);
    if (reason) {
        print_message("%-4s  left out (%s): %s\n", r->id, reason, r->what);
        return true;
    }
    char *folder = strdup(scratch_make());
    assert_non_null(folder);
    if (r->flags & NOT_AS_ROOT) assert_int_equal(chmod(folder, 0755), 0);
    if (r->make) r->make(folder);
    before.count = after.count = 0;
    look(folder, "", &before);
    run_line(folder, r->command, (r->flags & NOT_AS_ROOT) != 0, &o);
    look(folder, "", &after);
    const char *wrong = judge(r, &o);
    if (!*wrong) wrong = compare(&before, &after, r->leaves);
    if (*wrong) print_error("%s %s: %s\n  %s\n%s\n", r->id, r->what, wrong, r->command, o.text);
    else print_message("%-4s  %d  %s\n", r->id, r->code, r->what);
    bool good = !*wrong;
    scratch_remove(folder);
    free(folder);
    return good;
}

static void bad_inputs_are_refused(void **state)
{
    int tried = 0, wrong = 0;
    (void)state;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const bad_input *r = tables[t]; r->id; r++) {
            if (only && strcmp(only, r->id) != 0) continue;
            tried++;
            wrong += !try_case(r);
        }
    print_message("%d commands on bad inputs, %d wrong\n", tried, wrong);
    assert_int_equal(wrong, 0);
    assert_true(only || tried > 60);
}

/* The judges above must see a wrong code, a missing word, a missing fix, a lost file and one that was left. */
static void planted_faults_are_noticed(void **state)
{
    static listing before, after;
    static outcome o = {.code = 3, .text = "x.csv:3: bad\n  fix: mend it\n"};
    bad_input r = {.id = "T1", .code = 3, .says = {"x.csv:3"}};
    (void)state;
    assert_string_equal(judge(&r, &o), "");
    r.code = 2;
    assert_string_not_equal(judge(&r, &o), "");
    r.code = 3;
    r.says[1] = "x.csv:4";
    assert_string_not_equal(judge(&r, &o), "");
    r.says[1] = NULL;
    strcpy(o.text, "x.csv:3: bad\n");
    assert_string_not_equal(judge(&r, &o), "");
    before.count = 1;
    before.item[0] = (entry){"a/b", 3, 7};
    after = before;
    assert_string_equal(compare(&before, &after, NULL), "");
    after.item[0].crc = 8;
    assert_string_not_equal(compare(&before, &after, NULL), "");
    after.item[0] = (entry){"run/x", 3, 7};
    assert_string_not_equal(compare(&before, &after, "run"), "");
    after = before;
    after.item[after.count++] = (entry){"running", 3, 7};
    assert_string_not_equal(compare(&before, &after, "run"), "");
    strcpy(after.item[1].path, "run/x");
    assert_string_equal(compare(&before, &after, "page run"), "");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_in_a_table),
        cmocka_unit_test(the_other_tests_are_there),
        cmocka_unit_test(planted_faults_are_noticed),
        cmocka_unit_test(bad_inputs_are_refused),
    };
    only = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
