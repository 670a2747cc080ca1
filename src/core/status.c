/* status.c - the thread-local error record behind status.h.
 *
 * One record a thread, overwritten by the next failure. It never allocates, so that running out of
 * memory can be reported too, and it never prints. */
#include "hone/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local hone_error last_error;

/* Texts are cut where they do not fit: a shortened message is better than none. The folder of `file` is
 * left out, because it is the build machine's. */
hone_status hone_fail_at(const char *file, int line, hone_status status, const char *hint, const char *fmt, ...)
{
    hone_error *e = &last_error;
    const char *base = strrchr(file, '/');
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, args);
    va_end(args);
    snprintf(e->hint, sizeof e->hint, "%s", hint ? hint : "");
    snprintf(e->where, sizeof e->where, "%s:%d", base ? base + 1 : file, line);
    e->status = status;
    return status;
}

/* The new text is built aside, because `fmt`'s arguments may point into the recorded message. */
void hone_error_context(const char *fmt, ...)
{
    char text[sizeof last_error.message];
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof text) return; /* no room for the message behind it */
    snprintf(text + used, sizeof text - (size_t)used, ": %s", last_error.message);
    memcpy(last_error.message, text, sizeof text);
}

/* All of these are valid until the same thread fails again. */
const char *hone_error_message(void) { return last_error.message; }
const char *hone_error_hint(void) { return last_error.hint; }
const char *hone_error_where(void) { return last_error.where; }
void hone_error_clear(void) { memset(&last_error, 0, sizeof last_error); }

/* For a worker's error: the record is thread-local, so another thread can't read it in place. */
void hone_error_save(hone_error *into, hone_status status)
{
    *into = last_error;
    into->status = status;
}

/* Returns the status it was saved with, so that callers can pass it straight up. */
hone_status hone_error_restore(const hone_error *from)
{
    last_error = *from;
    return from->status;
}

/* No default: the compiler then names a status that was added and is missing here. */
const char *hone_status_name(hone_status status)
{
    switch (status) {
    case HONE_OK: return "ok";
    case HONE_ERR_RUNTIME: return "run-time error";
    case HONE_ERR_USAGE: return "usage or config error";
    case HONE_ERR_DATA: return "data error";
    case HONE_ERR_MEMORY: return "out of memory";
    case HONE_ERR_DIVERGED: return "diverged";
    case HONE_ERR_DEVICE: return "device error";
    case HONE_ERR_VERIFY: return "verification failed";
    case HONE_INTERRUPTED: return "interrupted, resumable";
    }
    return "unknown status";
}
