/* bad_inputs.h - the table of bad inputs: what is tried by running hone, what another test covers, what can't occur.
 *
 * Numbers are those of the list of bad inputs that this project keeps (C: config and command line, I: images, T: tables and
 * text, D: IDX, tar and packs, M: model files and checkpoints, R: training runs, O: ONNX, H: the HTTP server). */
#ifndef HONE_TESTS_BAD_INPUTS_H
#define HONE_TESTS_BAD_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

/* One command on one bad input. Its folder is fresh; `make` fills it. */
typedef struct bad_input {
    const char *id, *what;
    void (*make)(const char *folder); /* NULL: nothing is needed                                              */
    const char *command; /* a line of the shell; $HONE is the program, the folder is the working directory */
    int code;            /* exit code: `hone help exit-codes`                                    */
    const char *says[3]; /* parts of what it prints, stdout and stderr together                  */
    const char *leaves;  /* entries that may be new in the folder ("run page.html"); NULL: none  */
    enum { NOT_AS_ROOT = 1, SLOW = 2, NOT_SANITIZED = 4 } flags;
} bad_input;

/* Another test's words: a function of tests/TEST.c, or a snapshot of tests/snapshots/config. */
typedef struct bad_covered {
    const char *id, *test, *where;
} bad_covered;

typedef struct bad_absent {
    const char *id, *reason;
} bad_absent;

/* Each ends with an empty row. */
extern const bad_input bad_config[], bad_images[], bad_data[], bad_models[], bad_runs[];
extern const bad_covered bad_covered_by[];
extern const bad_absent bad_not_here[];

/* --- inputs.c: what several tables start from ------------------------------------------------------------------ */
/* set/train/{cat,dog}/N.png and set/test/..., 8 x 8 grey; page.yaml of a small net on them, out: run. */
void bad_make_pictures(const char *folder);
/* rows.tsv of two classes and page.yaml of a bag on them. */
void bad_make_texts(const char *folder);
/* page.yaml of a net on synthetic pictures, out: run; 4 steps. */
void bad_make_synthetic(const char *folder);
/* bad_make_synthetic, trained: run/ is finished. */
void bad_make_run(const char *folder);
/* hone ARGS in the folder, which must end with `code`. */
void bad_hone(const char *folder, const char *args, int code);

#endif
