/* run_dir.c - see run_dir.h, and the lock of io.h. It knows names and safety, not what the files say. */
#define _DEFAULT_SOURCE /* flock: it also keeps out a second run of the same process, fcntl would not */
#include "io/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/file.h"

enum { PENDING_LIMIT_BYTES = 16 << 20, SMALL_FILE_BYTES = 64 << 20 };

/* ISO 8601, UTC. */
const char *hone_time_text(char text[24])
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text;
}

/* --- the lock -------------------------------------------------------------------------------------- */

/* The kernel drops the lock when the process dies, however it dies: a stale file locks nobody out. */
hone_status hone_run_lock(const char *run_dir, int *fd)
{
    char pid[32] = "";
    char *path = hone_io_join(run_dir, ".lock");
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = HONE_OK;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) {
        status = hone_fail(HONE_ERR_RUNTIME, "check that the run directory can be written", "cannot open %s: %s", path,
                           strerror(errno));
    } else if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
        /* held by somebody: the number is what the user needs to find out who */
        ssize_t n = pread(*fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        status = hone_fail(HONE_ERR_RUNTIME, "wait for it to end, or give another --out",
                           "%s is in use by another run (process %.*s)", run_dir, (int)strcspn(pid, "\n"),
                           pid[0] ? pid : "unknown");
        close(*fd);
    } else { /* the number is only for the message: a failure to write it is none of the lock */
        int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        if (ftruncate(*fd, 0) < 0 || pwrite(*fd, pid, (size_t)n, 0) < 0) errno = 0;
    }
    if (status != HONE_OK) *fd = -1;
    free(path);
    return status;
}

/* Closing the descriptor gives the lock back. */
void hone_run_unlock(int fd)
{
    if (fd >= 0) close(fd); /* the file stays: removing it would let two runs lock two files */
}

/* --- growing logs ------------------------------------------------------------------------------------ */

/* For appending; `bytes` is what is there. */
static hone_status log_open(hone_log *log, const char *dir, const char *name)
{
    struct stat s;
    log->path = hone_io_join(dir, name);
    if (!log->path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log->fd < 0 || fstat(log->fd, &s) < 0)
        return hone_fail(HONE_ERR_RUNTIME, "check that the run directory can be written", "cannot open %s: %s",
                         log->path, strerror(errno));
    log->bytes = (int64_t)s.st_size;
    return HONE_OK;
}

/* Writes what is pending; on failure it stays pending and the file ends in a whole line. */
static hone_status log_flush(hone_log *log)
{
    if (log->fd < 0 || log->pending.bytes == 0) return HONE_OK;
    HONE_TRY(hone_io_append(log->fd, log->path, log->bytes, log->pending.data, log->pending.bytes));
    log->bytes += (int64_t)log->pending.bytes;
    log->pending.bytes = 0;
    return HONE_OK;
}

/* Past the limit new lines are dropped: a disk that stays full must not eat the memory too. */
hone_status hone_log_append(hone_log *log, const char *line)
{
    if (log->pending.bytes < PENDING_LIMIT_BYTES) hone_text_add(&log->pending, "%s\n", line);
    if (log->pending.failed) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while logging to %s", log->path);
    return log_flush(log);
}

/* Called before a checkpoint records the length: what it counts must survive a power loss. */
hone_status hone_log_sync(hone_log *log)
{
    HONE_TRY(log_flush(log));
    if (log->fd >= 0 && fsync(log->fd) < 0)
        return hone_fail(HONE_ERR_RUNTIME, NULL, "cannot flush %s to disk: %s", log->path, strerror(errno));
    return HONE_OK;
}

/* A last try for pending lines; there is nobody left to report to. */
static void log_close(hone_log *log)
{
    if (log->path && log_flush(log) != HONE_OK) hone_error_clear();
    if (log->path && log->fd >= 0) close(log->fd);
    free(log->path);
    hone_text_free(&log->pending);
    *log = (hone_log){.fd = -1};
}

/* Cuts a log back to `bytes`; a shorter one keeps its length (never filled up with NUL bytes). */
static hone_status log_start(hone_log *log, const char *dir, const char *name, int64_t bytes, int64_t *lost)
{
    HONE_TRY(log_open(log, dir, name));
    if (log->bytes < bytes) {
        *lost += bytes - log->bytes;
        return HONE_OK;
    }
    /* lines of steps that the checkpoint does not know: they are written again, equal */
    if (log->bytes > bytes) HONE_TRY(hone_io_truncate(log->path, bytes));
    log->bytes = bytes;
    return HONE_OK;
}

/* --- the directory ------------------------------------------------------------------------------------ */

/* The lock comes before anything in the folder is read or written. */
hone_status hone_run_dir_open(const char *path, hone_run_dir *out)
{
    *out = (hone_run_dir){.path = hone_strdup(path), .lock = -1, .metrics.fd = -1, .results.fd = -1, .log.fd = -1};
    hone_status status = out->path ? hone_make_dirs(path) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_run_lock(path, &out->lock);
    if (status != HONE_OK) hone_run_dir_close(out);
    return status;
}

/* The lock goes last, so that nobody else appends while pending lines are still being written. */
void hone_run_dir_close(hone_run_dir *r)
{
    if (!r->path) return;
    log_close(&r->metrics);
    log_close(&r->results);
    log_close(&r->log);
    hone_run_unlock(r->lock);
    free(r->path);
    *r = (hone_run_dir){.lock = -1, .metrics.fd = -1, .results.fd = -1, .log.fd = -1};
}

/* log.txt is a history over all sessions and is never cut. */
hone_status hone_run_dir_start_logs(hone_run_dir *r, int64_t metrics_bytes, int64_t results_bytes, int64_t *lost)
{
    int64_t missing = 0;
    HONE_TRY(log_start(&r->metrics, r->path, "metrics.jsonl", metrics_bytes, &missing));
    HONE_TRY(log_start(&r->results, r->path, "results.csv", results_bytes, &missing));
    if (lost) *lost = missing;
    return log_open(&r->log, r->path, "log.txt");
}

/* Best effort by design: a full disk must not end a run through its diary. */
void hone_run_dir_note(hone_run_dir *r, const char *kind, const char *text)
{
    char when[24];
    hone_text t = {0};
    hone_error before; /* a note about a failure must not replace the failure */
    hone_error_save(&before, HONE_OK);
    hone_text_add(&t, "%s %s %s", hone_time_text(when), kind, text);
    char *line = hone_text_take(&t);
    if (line && r->log.path && r->log.fd >= 0 && hone_log_append(&r->log, line) != HONE_OK) hone_error_restore(&before);
    free(line);
}

/* Small files are replaced, never written in place: readers (eval, plots) may look at any time. */
hone_status hone_run_dir_write(const hone_run_dir *r, const char *name, const char *text)
{
    char *path = hone_io_join(r->path, name);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while writing %s", name);
    hone_status status = hone_file_write(path, text, strlen(text));
    free(path);
    return status;
}

/* The limit stands against a file that is not ours: config and state are kilobytes. */
hone_status hone_run_dir_read(const hone_run_dir *r, const char *name, char **text)
{
    char *path = hone_io_join(r->path, name);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while reading %s", name);
    hone_status status = hone_file_read(path, SMALL_FILE_BYTES, text, NULL);
    free(path);
    return status;
}
