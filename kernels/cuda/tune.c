/* tune.c - the tuning cache: a table in memory and its file (tune.h).
 *
 * The file is text, so that a person can read why a run is as fast as it is:
 *   hone-tuning 1
 *   machine <tab> NVIDIA H100 ...
 *   choice <tab> problem <tab> choice           (any number)
 *   end <tab> count <tab> FNV-1a of all before, 16 hex digits
 * A reader takes all of it or nothing. Must not print, and must not know CUDA. */
#include "tune.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MOST = 16 << 20, ENTRIES_MOST = 100000 };
static const char FORMAT[] = "hone-tuning 1";

typedef struct entry {
    char *problem, *choice;
    bool used; /* asked for or made by this process */
} entry;

struct hone_tune {
    char *machine;
    entry *list; /* (capacity), the first `count` in use; order of arrival */
    int count, capacity;
    bool changed; /* holds choices that came from no file                   */
};

/* Of one line that a file can hold. */
static bool is_text(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < HONE_TUNE_TEXT_BYTES && !strpbrk(s, "\t\n\r");
}

/* One message for all the small allocations of this file. */
static hone_status no_memory(void) { return hone_fail(HONE_ERR_MEMORY, NULL, "tuning: out of memory"); }

/* strdup is not C11; the length is bounded by is_text. */
static char *copy_text(const char *s)
{
    size_t n = strlen(s) + 1;
    char *c = malloc(n);
    if (c) memcpy(c, s, n);
    return c;
}

/* Half-made tables are freed here, so that a caller has nothing to undo. */
hone_status hone_tune_new(const char *machine, hone_tune **out)
{
    *out = NULL;
    if (!is_text(machine)) return hone_fail(HONE_ERR_USAGE, NULL, "tuning: the machine has no one-line name");
    hone_tune *t = calloc(1, sizeof *t);
    if (t) t->machine = copy_text(machine);
    if (!t || !t->machine) {
        free(t);
        return no_memory();
    }
    *out = t;
    return HONE_OK;
}

/* Texts are owned by their entries. */
void hone_tune_free(hone_tune *t)
{
    if (!t) return;
    for (int k = 0; k < t->count; k++) {
        free(t->list[k].problem);
        free(t->list[k].choice);
    }
    free(t->list);
    free(t->machine);
    free(t);
}

/* --- the table --------------------------------------------------------------------------------- */

/* A net has some hundred problems at most, all looked up before its first step: a loop will do. */
static entry *lookup(const hone_tune *t, const char *problem)
{
    for (int k = 0; k < t->count; k++)
        if (strcmp(t->list[k].problem, problem) == 0) return &t->list[k];
    return NULL;
}

/* Sets or adds; `into` (may be NULL) gets the entry, valid until the next call. */
static hone_status set(hone_tune *t, const char *problem, const char *choice, entry **into)
{
    entry *e = lookup(t, problem);
    char *text = copy_text(choice);
    if (!text) return no_memory();
    if (!e) { /* a new one: room for it first, so that a failure leaves the table as it was */
        if (t->count == t->capacity) {
            int capacity = t->capacity ? 2 * t->capacity : 32;
            entry *list = realloc(t->list, (size_t)capacity * sizeof *list);
            if (!list) goto fail;
            t->list = list;
            t->capacity = capacity;
        }
        char *name = copy_text(problem);
        if (!name) goto fail;
        e = &t->list[t->count++];
        *e = (entry){.problem = name};
    }
    free(e->choice);
    e->choice = text;
    if (into) *into = e;
    return HONE_OK;
fail:
    free(text);
    return no_memory();
}

/* Asking marks the choice as used: what a run asks for belongs into its directory. */
const char *hone_tune_find(hone_tune *t, const char *problem)
{
    entry *e = lookup(t, problem);
    if (!e) return NULL;
    e->used = true;
    return e->choice;
}

/* Texts are checked here and not when they are written: a file that can be written can be read. */
hone_status hone_tune_put(hone_tune *t, const char *problem, const char *choice)
{
    entry *e = NULL;
    if (!is_text(problem) || !is_text(choice))
        return hone_fail(HONE_ERR_USAGE, NULL, "tuning: a problem or its choice is no single line: '%.100s'", problem);
    HONE_TRY(set(t, problem, choice, &e));
    e->used = true;
    t->changed = true;
    return HONE_OK;
}

bool hone_tune_changed(const hone_tune *t) { return t->changed; }

/* All candidates are asked, also after a good one: the library's order is a guess. */
hone_status hone_tune_choose(hone_tune *t, const hone_tune_trial *trial, int *winner)
{
    double best = 0;
    hone_error why = {.status = HONE_OK};
    *winner = -1;
    for (int k = 0; k < trial->count; k++) {
        double us = 0;
        hone_status status = trial->time(trial->arg, k, &us);
        if (status != HONE_OK) {
            hone_error_save(&why, status);
            hone_error_clear();
        } else if (us >= 0 && (*winner < 0 || us < best)) { /* a NaN is no time */
            best = us;
            *winner = k;
        }
    }
    if (*winner < 0)
        return hone_fail(HONE_ERR_RUNTIME, NULL, "tuning: none of %d candidates runs for %.200s%s%.200s", trial->count,
                         trial->problem, why.status != HONE_OK ? ": " : "", why.status != HONE_OK ? why.message : "");
    char text[HONE_TUNE_TEXT_BYTES];
    trial->text(trial->arg, *winner, text, sizeof text);
    return hone_tune_put(t, trial->problem, text);
}

/* --- reading ----------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits: against cut and damaged files, not against malice. */
static uint64_t hash_of(const char *data, size_t bytes)
{
    uint64_t h = 14695981039346656037u;
    for (size_t k = 0; k < bytes; k++) h = (h ^ (unsigned char)data[k]) * 1099511628211u;
    return h;
}

/* Whole file, free() it; *data NULL where there is none. */
static hone_status read_all(const char *path, char **data, size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    FILE *f = fopen(path, "rb");
    if (!f && errno == ENOENT) return HONE_OK;
    if (!f) return hone_fail(HONE_ERR_DATA, NULL, "%s: %s", path, strerror(errno));
    size_t room = 1 << 16, got = 0, n; /* most files fit at once; read to the end, as sizes of files may change */
    char *text = malloc(room + 1);
    while (text && (n = fread(text + got, 1, room - got, f)) > 0) {
        got += n;
        if (got < room) continue;
        char *more = room < FILE_BYTES_MOST ? realloc(text, 2 * room + 1) : NULL;
        if (!more) free(text);
        text = more;
        room *= 2;
    }
    bool broken = ferror(f) != 0; /* a folder opens and can't be read */
    fclose(f);
    if (!text) return hone_fail(HONE_ERR_DATA, "delete it", "%s: too large for a tuning file", path);
    if (broken) {
        free(text);
        return hone_fail(HONE_ERR_DATA, "delete it", "%s: can't be read", path);
    }
    text[got] = '\0';
    *data = text;
    *bytes = got;
    return HONE_OK;
}

/* What every refusal has in common: the caller goes on without the file, and rewrites it. */
static hone_status refuse(const char *path, const char *what)
{
    return hone_fail(HONE_ERR_DATA, "nothing to do: choices are timed again", "%s: %s; it is not used", path, what);
}

/* Splits the line at *at at its tabs into `field`, and moves *at past it. Returns the count of fields, 0 for a line
 * without end or with more than three. */
static int split_line(char **at, char *field[3])
{
    char *end = strchr(*at, '\n'); /* the file is whole, so the last line has one, too */
    int count = 0;
    if (!end) return 0;
    *end = '\0';
    for (char *s = *at; s && count < 3;) {
        field[count++] = s;
        s = strchr(s, '\t');
        if (s) *s++ = '\0';
        if (s && count == 3) return 0;
    }
    *at = end + 1;
    return count;
}

/* Is the last line "end", and does it count and sum up what stands before it? */
static bool is_whole(const char *data, size_t bytes, int *choices)
{
    const char *last = data + bytes;
    char tail[64];
    if (strlen(data) != bytes || bytes < 2 || last[-1] != '\n') return false; /* a NUL inside: not ours */
    for (last--; last > data && last[-1] != '\n';) last--;                    /* to the start of the last line */
    *choices = 0;
    for (const char *s = data; (s = strstr(s, "\nchoice\t")) && s < last; s++) ++*choices;
    snprintf(tail, sizeof tail, "end\t%d\t%016" PRIx64 "\n", *choices, hash_of(data, (size_t)(last - data)));
    return strcmp(last, tail) == 0;
}

/* `data` is whole and ends with a newline; written to. */
static hone_status take_lines(hone_tune *t, const char *path, char *data, int choices, bool wins)
{
    char *at = data, *field[3], what[HONE_TUNE_TEXT_BYTES + 64];
    if (split_line(&at, field) != 1 || strcmp(field[0], FORMAT) != 0) return refuse(path, "another format");
    if (split_line(&at, field) != 2 || strcmp(field[0], "machine") != 0) return refuse(path, "no machine is named");
    if (strcmp(field[1], t->machine) != 0) {
        snprintf(what, sizeof what, "its choices were made on another machine (%.400s)", field[1]);
        return refuse(path, what);
    }
    if (choices > ENTRIES_MOST) return refuse(path, "too many choices");
    for (int k = 0; k < choices; k++) {
        if (split_line(&at, field) != 3 || strcmp(field[0], "choice") != 0 || !is_text(field[1]) || !is_text(field[2]))
            return refuse(path, "a line is no choice");
        if (wins || !lookup(t, field[1])) HONE_TRY(set(t, field[1], field[2], NULL));
    }
    return HONE_OK;
}

/* Format first, so that a file of a later hone is not called damaged. */
hone_status hone_tune_load(hone_tune *t, const char *path, bool wins)
{
    char *data = NULL;
    size_t bytes = 0;
    int choices = 0;
    HONE_TRY(read_all(path, &data, &bytes));
    if (!data) return HONE_OK;
    hone_status status = strncmp(data, FORMAT, sizeof FORMAT - 1) != 0 || data[sizeof FORMAT - 1] != '\n'
                             ? refuse(path, "another format")
                         : is_whole(data, bytes, &choices) ? take_lines(t, path, data, choices, wins)
                                                           : refuse(path, "cut or damaged");
    free(data);
    return status;
}

/* --- writing ----------------------------------------------------------------------------------- */

typedef struct writer { /* grows; `failed` once memory is exhausted */
    char *data;
    size_t bytes, room;
    bool failed;
} writer;

/* Doubling keeps it linear; after a failure nothing more is added, and the caller looks once, at the end. */
static void add(writer *w, const char *text)
{
    size_t n = strlen(text);
    if (w->failed) return;
    if (w->bytes + n + 1 > w->room) {
        size_t room = 2 * (w->bytes + n + 1);
        char *data = realloc(w->data, room);
        w->failed = !data;
        if (!data) return;
        w->data = data;
        w->room = room;
    }
    memcpy(w->data + w->bytes, text, n + 1);
    w->bytes += n;
}

/* The text of the file; free() data. */
static writer compose(const hone_tune *t, bool used_only)
{
    writer w = {.data = NULL};
    const char *const head[] = {FORMAT, "\nmachine\t", t->machine, "\n"};
    char tail[64];
    int written = 0;
    for (int k = 0; k < 4; k++) add(&w, head[k]);
    for (int k = 0; k < t->count; k++) {
        const entry *e = &t->list[k];
        const char *const line[] = {"choice\t", e->problem, "\t", e->choice, "\n"};
        if (used_only && !e->used) continue;
        for (int i = 0; i < 5; i++) add(&w, line[i]);
        written++;
    }
    snprintf(tail, sizeof tail, "end\t%d\t%016" PRIx64 "\n", written, hash_of(w.data ? w.data : "", w.bytes));
    add(&w, tail);
    return w;
}

/* All of it, through interruptions and short writes, and onto the disk. */
static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        data += n;
        bytes -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* A temporary beside it, named by the process, then one rename: a reader sees the old file or the new one. */
static hone_status replace_file(const char *path, const char *data, size_t bytes)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary) return hone_fail(HONE_ERR_RUNTIME, NULL, "%s: too long a path", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool ok = fd >= 0 && write_all(fd, data, bytes);
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && ok) { /* a full disk may show only here */
        ok = false;
        why = errno;
    }
    if (ok && rename(temporary, path) == 0) return HONE_OK;
    if (ok) why = errno;
    if (fd >= 0) unlink(temporary);
    return hone_fail(HONE_ERR_RUNTIME, "the run goes on; choices are timed again next time", "%s: %s", path,
                     strerror(why));
}

/* Read, join, replace: without a lock, as a folder in the net may have none. Two that save in one moment can lose each
 * other's newest choices, never a file. */
hone_status hone_tune_save(const hone_tune *t, const char *path, bool used_only)
{
    hone_tune *joined = NULL;
    hone_status status = HONE_OK;
    if (!used_only) { /* ours win over what another process has written meanwhile: they are in use here */
        HONE_TRY(hone_tune_new(t->machine, &joined));
        for (int k = 0; k < t->count && status == HONE_OK; k++)
            status = set(joined, t->list[k].problem, t->list[k].choice, NULL);
        if (status == HONE_OK && hone_tune_load(joined, path, false) != HONE_OK) hone_error_clear(); /* rewritten now */
    }
    if (status == HONE_OK) {
        writer w = compose(joined ? joined : t, used_only);
        status = w.failed ? no_memory() : replace_file(path, w.data, w.bytes);
        free(w.data);
    }
    hone_tune_free(joined);
    return status;
}

/* A hash of the machine in the name: several chips and versions keep their files side by side. */
bool hone_tune_user_path(const hone_tune *t, char *path, size_t path_bytes)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given = cache && cache[0] == '/'; /* the XDG base directory specification: a relative one is ignored */
    if (!given && (!home || home[0] != '/')) return false;
    int n = snprintf(path, path_bytes, "%s%s", given ? cache : home, given ? "" : "/.cache");
    if (n < 0 || (size_t)n + 64 > path_bytes) return false;
    mkdir(path, 0700); /* what can't be made shows when the file is written */
    n += snprintf(path + n, path_bytes - (size_t)n, "/hone");
    mkdir(path, 0700);
    snprintf(path + n, path_bytes - (size_t)n, "/tune-%016" PRIx64 ".txt", hash_of(t->machine, strlen(t->machine)));
    return true;
}
