/* status.h - how every function of hone says that something went wrong.
 *
 * A function that can fail returns a hone_status; HONE_OK is 0. The value of a status is also the
 * exit code of the command (DESIGN section 7). Whoever detects the error calls hone_fail() once,
 * which stores what went wrong, where and how to mend it in a thread-local record; callers only
 * pass the status up (HONE_TRY) and may add context (hone_error_context). Nothing here prints:
 * only src/cli prints and exits. */
#ifndef HONE_STATUS_H
#define HONE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hone_status {
    HONE_OK              = 0,
    HONE_ERR_RUNTIME     = 1,  /* I/O error, failed system call, a library's refusal              */
    HONE_ERR_USAGE       = 2,  /* bad argument, bad config                                        */
    HONE_ERR_DATA        = 3,  /* missing, broken or inconsistent data set                        */
    HONE_ERR_MEMORY      = 4,  /* host or device memory exhausted                                 */
    HONE_ERR_DIVERGED    = 5,  /* too many non-finite steps in a row                              */
    HONE_ERR_DEVICE      = 6,  /* device, driver or plugin cannot be had                          */
    HONE_ERR_VERIFY      = 7,  /* a self-check failed                                             */
    HONE_INTERRUPTED     = 75, /* stopped by a signal after saving; the same command resumes      */
} hone_status;

#if defined(__GNUC__)
#define HONE_PRINTF(fmt_index, arg_index) __attribute__((format(printf, fmt_index, arg_index)))
#define HONE_MUST_USE __attribute__((warn_unused_result))
#else
#define HONE_PRINTF(fmt_index, arg_index)
#define HONE_MUST_USE
#endif

/* Records an error (replacing the one before) and returns `status`. `hint` says the fix in one
 * sentence, NULL if there is none. `file`, `line` are of our source, shown only by HONE_DEBUG=1. */
hone_status hone_fail_at(const char *file, int line, hone_status status, const char *hint,
                         const char *fmt, ...) HONE_PRINTF(5, 6);
#ifndef __clang_analyzer__
#define hone_fail(status, hint, ...) hone_fail_at(__FILE__, __LINE__, (status), (hint), __VA_ARGS__)
#else /* the analyzer can't see into hone_fail_at: told the value, it knows that a failure is not HONE_OK */
#define hone_fail(status, hint, ...) (hone_fail_at(__FILE__, __LINE__, (status), (hint), __VA_ARGS__), (status))
#endif

/* Puts "text: " before the recorded message; for callers who know which file or layer it was. */
void hone_error_context(const char *fmt, ...) HONE_PRINTF(1, 2);

const char *hone_error_message(void);       /* "" if nothing failed in this thread yet            */
const char *hone_error_hint(void);          /* "" if there is no hint                             */
const char *hone_error_where(void);         /* "file.c:123" of our source                         */
void        hone_error_clear(void);
const char *hone_status_name(hone_status status);

/* Moves an error between threads: a worker saves its record, the owner restores it as its own. */
typedef struct hone_error {
    hone_status status;
    char        message[16384], hint[512], where[96]; /* message: all lines of a bad config */
} hone_error;
void        hone_error_save(hone_error *into, hone_status status);
hone_status hone_error_restore(const hone_error *from);

#define HONE_TRY(expr)                                                                             \
    do {                                                                                           \
        hone_status hone_try_status_ = (expr);                                                     \
        if (hone_try_status_ != HONE_OK) return hone_try_status_;                                  \
    } while (0)

/* For constructors: sets `status` and unwinds through the caller's label. */
#define HONE_GOTO(status, expr, label)                                                             \
    do {                                                                                           \
        (status) = (expr);                                                                         \
        if ((status) != HONE_OK) goto label;                                                       \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
