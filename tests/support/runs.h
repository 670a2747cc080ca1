/* runs.h - whole trainings in a test: told to stop after some steps, compared file by file. Include after cmocka. */
#ifndef HONE_TESTS_SUPPORT_RUNS_H
#define HONE_TESTS_SUPPORT_RUNS_H

#include <stdlib.h>
#include <string.h>

#include "hone/io.h"
#include "hone/train.h"

/* Asks for a stop after `left` train lines; as progress_arg of hone_train_opts. left = 0: never. */
typedef struct stopper {
    int left;
    volatile int stop;
} stopper;

static inline void count_down(void *arg, const hone_progress *p)
{
    stopper *s = arg;
    if (strcmp(p->what, "step") == 0 && --s->left == 0) s->stop = 1;
}

/* A file of dir/run; free() it. */
static inline char *run_file(const char *dir, const char *run, const char *name, size_t *bytes)
{
    char path[600];
    static char *data; /* static: gcc 12 takes the pointer that comes back for the address of a local */
    data = NULL;
    snprintf(path, sizeof path, "%s/%s/%s", dir, run, name);
    if (hone_file_read(path, 1 << 24, &data, bytes) != HONE_OK) fail_msg("%s", hone_error_message());
    return data;
}

/* Whether a file of two runs has the same bytes. */
static inline bool same_file(const char *dir, const char *a, const char *b, const char *name)
{
    size_t m, n;
    char *x = run_file(dir, a, name, &m), *y = run_file(dir, b, name, &n);
    bool same = m == n && memcmp(x, y, m) == 0;
    free(x);
    free(y);
    return same;
}

#endif
