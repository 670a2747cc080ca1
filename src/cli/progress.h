/* progress.h - how a run and an evaluation look on a terminal, in a log file, to a program. */
#ifndef HONE_CLI_PROGRESS_H
#define HONE_CLI_PROGRESS_H

#include "cli/cli.h"
#include "hone/train.h"

typedef struct hone_cli_progress {
    hone_log_format format;
    bool quiet;
    bool line_open; /* tty: the live line stands without a newline                                  */
} hone_cli_progress;

/* For hone_train_opts.progress; `arg` is a hone_cli_progress. Writes to stderr. */
void hone_cli_progress_show(void *arg, const hone_progress *p);
/* Ends a live line, so that other output begins on its own. */
void hone_cli_progress_close(hone_cli_progress *p);

/* The per-class table, accuracy with its interval, the most confused pairs, to `f`. */
void hone_cli_print_evaluation(FILE *f, const hone_evaluation *e);

/* SIGINT, SIGTERM and SIGUSR1 set the returned flag; a second SIGINT ends the process with 130 at once. */
volatile int *hone_cli_catch_signals(void);

#endif
