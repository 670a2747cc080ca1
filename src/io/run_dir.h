/* run_dir.h - a run directory: its lock, its small files, its growing logs.
 *
 * metrics.jsonl and results.csv are cut back to where the checkpoint stood when a run is resumed, so
 * that the final files equal those of a run that was never stopped. A full disk never ends a run: a
 * line that can't be written waits in memory and is tried again with the next one. */
#ifndef HONE_IO_RUN_DIR_H
#define HONE_IO_RUN_DIR_H

#include "core/text.h"
#include "hone/io.h"

/* A file that only grows. Invariant: `bytes` is a length at which the file ends in a whole line. */
typedef struct hone_log {
    int fd; /* -1: not open */
    char *path;
    int64_t bytes;     /* of the file */
    hone_text pending; /* lines that are not in the file yet */
} hone_log;

/* While `lock` is held (-1: not), no other process writes anything in `path`. */
typedef struct hone_run_dir {
    char *path;
    int lock;
    hone_log metrics, results, log; /* metrics.jsonl, results.csv, log.txt */
} hone_run_dir;

/* Makes the folder where needed and locks it. Errors: RUNTIME (in use by another run: names its pid). */
hone_status hone_run_dir_open(const char *path, hone_run_dir *out) HONE_MUST_USE;
/* Writes what is pending, closes all. Fine on a zeroed one whose `path` is NULL. */
void hone_run_dir_close(hone_run_dir *r);

/* Opens the logs for appending: metrics.jsonl and results.csv are cut back to the given lengths (0 for
 * a new run), log.txt goes on. *lost (may be NULL) is the number of bytes that the files are short of
 * these lengths (a power failure can take them). */
hone_status hone_run_dir_start_logs(hone_run_dir *r, int64_t metrics_bytes, int64_t results_bytes,
                                    int64_t *lost) HONE_MUST_USE;
/* Appends one line (the newline is added). On error the line is kept for the next call. */
hone_status hone_log_append(hone_log *log, const char *line) HONE_MUST_USE;
/* Brings what was appended to the disk itself. */
hone_status hone_log_sync(hone_log *log) HONE_MUST_USE;
/* A line "2026-01-31T12:00:00Z kind text" of log.txt. A history for people: errors are not reported;
 * without a run directory (zeroed) nothing is written. */
void hone_run_dir_note(hone_run_dir *r, const char *kind, const char *text);

/* Atomic replacement of RUN/name; reading it back (free() the text). */
hone_status hone_run_dir_write(const hone_run_dir *r, const char *name, const char *text) HONE_MUST_USE;
hone_status hone_run_dir_read(const hone_run_dir *r, const char *name, char **text) HONE_MUST_USE;
/* "2026-01-31T12:00:00Z" of now; returns `text`. */
const char *hone_time_text(char text[24]);

#endif
