/* tune.h - choices that prepare made by timing, remembered so that nobody makes them twice.
 *
 * A problem is a line of text that says everything the choice depends on ("matmul tn m 512 ..."); a choice is a
 * short line that its author can read back. Who is faster may change from one day to the next, and with it the last
 * bit of every sum: so a choice once made stays, in the user's cache and in the run directory, which wins.
 * Plain C without CUDA: tested on any machine. Kernels use it in prepare only; it prints nothing. */
#ifndef HONE_KERNELS_CUDA_TUNE_H
#define HONE_KERNELS_CUDA_TUNE_H

#include <stdbool.h>
#include <stddef.h>

#include "hone/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a problem, of a choice and of a machine with its end; none may hold a tab or a newline. */
enum { HONE_TUNE_TEXT_BYTES = 512 };

typedef struct hone_tune hone_tune;

/* `machine`: chip, driver and library versions, one line. Choices of another machine are never used.
 * Errors: MEMORY, USAGE for a text with a newline. */
hone_status hone_tune_new(const char *machine, hone_tune **out) HONE_MUST_USE;
void hone_tune_free(hone_tune *t); /* NULL is fine */

/* Adds the choices of a file. `wins`: they replace what is there (the run directory); else what is there stays
 * (the user's cache). A file that does not exist is an empty one. All or nothing: of a file that is cut, changed, of
 * another format or of another machine nothing is taken.
 * Errors: DATA with the reason, for the caller to say and go on; MEMORY. */
hone_status hone_tune_load(hone_tune *t, const char *path, bool wins) HONE_MUST_USE;
/* Replaces a file as a whole (temporary, fsync, rename); two processes may do it at once. `used_only`: the choices
 * that were asked for or made since hone_tune_new (a run directory); else all, joined with those that another
 * process has written there meanwhile (the user's cache). Errors: RUNTIME naming the path, MEMORY. */
hone_status hone_tune_save(const hone_tune *t, const char *path, bool used_only) HONE_MUST_USE;
/* "$XDG_CACHE_HOME/hone/tune-<hash of the machine>.txt", or under ~/.cache; the folders are made. False where the user
 * has no such folder or the path does not fit. */
bool hone_tune_user_path(const hone_tune *t, char *path, size_t path_bytes);
/* Choices that no file held when they were made: worth a save. */
bool hone_tune_changed(const hone_tune *t);

/* The choice of a problem, or NULL. Valid until that problem gets another one. */
const char *hone_tune_find(hone_tune *t, const char *problem);
/* Errors: USAGE for a text that is empty, too long or holds a tab or newline; MEMORY. */
hone_status hone_tune_put(hone_tune *t, const char *problem, const char *choice) HONE_MUST_USE;

/* Candidates 0..count-1 of one problem. */
typedef struct hone_tune_trial {
    const char *problem;
    int count;
    /* Writes what `hone_tune_find` shall answer if k wins. */
    void (*text)(void *arg, int k, char *text, size_t text_bytes);
    /* Median time of a run. Not OK: k can't be used and is left out; its error is forgotten. */
    hone_status (*time)(void *arg, int k, double *microseconds);
    void *arg;
} hone_tune_trial;
/* Times the candidates and remembers the fastest (the first of equals); *winner is its index.
 * Errors: RUNTIME where none can be used, with the reason of the last; those of hone_tune_put. */
hone_status hone_tune_choose(hone_tune *t, const hone_tune_trial *trial, int *winner) HONE_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
