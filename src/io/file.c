/* file.c - the one layer through which all saving goes (file.h, and the small-file part of io.h).
 *
 * Order that makes a file safe: write in full, fsync, close with both results checked, rename, fsync
 * the folder. EINTR is retried, except for close: Linux has freed the descriptor by then. Each system
 * call that changes the disk passes the fault switch. Reading needs no switch: it loses nothing. */
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/memory.h"
#include "core/text.h"
#include "io/fault.h"

/* Runs one system call behind the fault switch: `r` gets its result. */
#define BEHIND_SWITCH(r, needs_space, call)                                                                            \
    do {                                                                                                               \
        hone_fault_mode fault_mode_ = hone_fault_next(needs_space);                                                    \
        if (fault_mode_ == HONE_FAULT_KILL) hone_fault_die();                                                          \
        int fault_errno_ = hone_fault_errno(fault_mode_);                                                              \
        if (fault_errno_) {                                                                                            \
            errno = fault_errno_;                                                                                      \
            (r) = -1;                                                                                                  \
        } else {                                                                                                       \
            (r) = (call);                                                                                              \
        }                                                                                                              \
    } while (0)

/* open, retried when a signal interrupts it. */
static int switched_open(const char *path, int flags)
{
    int fd;
    do BEHIND_SWITCH(fd, flags & O_CREAT, open(path, flags | O_CLOEXEC, 0666));
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* One write, which may be short: callers loop. */
static ssize_t switched_write(int fd, const char *data, size_t bytes)
{
    hone_fault_mode mode = hone_fault_next(true);
    if (mode == HONE_FAULT_KILL) { /* the worst moment: half of it is there */
        if (write(fd, data, bytes / 2) >= 0) fsync(fd);
        hone_fault_die();
    }
    if (hone_fault_errno(mode)) {
        errno = hone_fault_errno(mode);
        return -1;
    }
    return write(fd, data, mode == HONE_FAULT_SHORT && bytes > 1 ? bytes / 2 : bytes);
}

/* fsync. A failure is final: Linux drops the dirty pages, so trying again would report success for lost data. */
static int switched_fsync(int fd)
{
    int r;
    do BEHIND_SWITCH(r, false, fsync(fd));
    while (r < 0 && errno == EINTR);
    return r;
}

/* The descriptor is gone whatever the result; a simulated error closes it too. */
static int switched_close(int fd)
{
    int r;
    BEHIND_SWITCH(r, false, close(fd));
    if (r < 0) {
        int e = errno;
        if (fcntl(fd, F_GETFD) >= 0) close(fd); /* only where the error was simulated */
        errno = e;
    }
    return r < 0 && errno == EINTR ? 0 : r;
}

/* unlink or rmdir. */
static int switched_unlink(const char *path, bool folder)
{
    int r;
    do BEHIND_SWITCH(r, false, folder ? rmdir(path) : unlink(path));
    while (r < 0 && errno == EINTR);
    return r;
}

/* What a user can do about it; a full disk has words of its own below. */
static const char *way_out(int e)
{
    switch (e) {
    case EACCES:
    case EPERM:
    case EROFS: return "check the permissions of that folder, or give another --out";
    case EFBIG: return "raise the limit on the size of files (ulimit -f)";
    case EIO: return "the disk reports a fault: see the system's log, and give an --out elsewhere";
    case ENOENT:
    case ENOTDIR:
    case EEXIST: return "each part of the path but the last must be a folder";
    case EMFILE:
    case ENFILE: return "raise the limit on open files (ulimit -n)";
    default: return "check the path, or give another --out";
    }
}

/* "cannot VERB PATH: reason", with what the disk lacks where that is the reason. */
static hone_status fail_path(const char *verb, const char *path, uint64_t need_bytes)
{
    int e = errno;
    struct statvfs v;
    char *dir = hone_path_parent(path);
    hone_status status = HONE_ERR_RUNTIME;
    /* a quota reads like a full disk to the user, and the remedy is the same */
    bool full = e == ENOSPC || e == EDQUOT;
    unsigned long long room = dir && statvfs(dir, &v) == 0 ? (unsigned long long)v.f_bavail * v.f_frsize : 0;
    if (full && need_bytes)
        hone_fail(status, "free some space on that disk or give another --out; what was saved before is intact",
                  "cannot %s %s: %s (needs %llu bytes, %llu free)", verb, path, strerror(e),
                  (unsigned long long)need_bytes, room);
    else if (full)
        hone_fail(status, "free some space on that disk or give another --out; what was saved before is intact",
                  "cannot %s %s: %s (%llu bytes free)", verb, path, strerror(e), room);
    else hone_fail(status, way_out(e), "cannot %s %s: %s", verb, path, strerror(e));
    free(dir);
    return status;
}

/* Memory exhausted while `path` was handled. */
static hone_status fail_memory(const char *path)
{
    return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while handling %s", path);
}

/* --- paths ------------------------------------------------------------------------------------- */

/* NULL when out of memory; a doubled slash is harmless and left in. */
char *hone_io_join(const char *dir, const char *name)
{
    hone_text t = {0};
    hone_text_add(&t, "%s/%s", dir, name);
    return hone_text_take(&t);
}

/* In the same folder as the final name: rename is atomic only within one file system. */
char *hone_path_temporary(const char *path)
{
    /* unique is enough, secret is not needed: the folder is ours under a lock */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed[3] = {(uint64_t)now.tv_sec, (uint64_t)now.tv_nsec, (uint64_t)getpid()};
    hone_text t = {0};
    hone_text_add(&t, "%s.tmp-%ld-%08x", path, (long)getpid(), (unsigned)XXH3_64bits(seed, sizeof seed));
    return hone_text_take(&t);
}

/* 0: not a temporary name. The caller asks the kernel whether that process still lives. */
long hone_path_temporary_pid(const char *name)
{
    const char *mark = strstr(name, ".tmp-");
    return mark ? strtol(mark + 5, NULL, 10) : 0;
}

/* As dirname(1) for names without a trailing slash, but never changing its argument. */
char *hone_path_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return hone_strdup(".");
    if (slash == path) return hone_strdup("/");
    hone_text t = {0};
    hone_text_append(&t, path, (size_t)(slash - path));
    return hone_text_take(&t);
}

/* --- writing ----------------------------------------------------------------------------------- */

/* The hash is taken of what is handed to write, not of what is read back. */
hone_status hone_out_open(hone_out *o, const char *path, uint64_t need_bytes)
{
    *o = (hone_out){.fd = -1, .path = hone_strdup(path), .need_bytes = need_bytes, .hash = XXH3_createState()};
    if (!o->path || !o->hash) {
        hone_out_abort(o);
        return fail_memory(path);
    }
    XXH3_64bits_reset(o->hash);
    o->fd = switched_open(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (o->fd < 0) {
        hone_status status = fail_path("create", path, need_bytes);
        hone_out_abort(o);
        return status;
    }
    return HONE_OK;
}

/* Writes all of it or says why not; a write of 0 bytes that should have moved some is an error. */
static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        /* one call moves at most about 2 GiB on Linux; 64 MiB keeps a signal's wait short */
        ssize_t n = switched_write(fd, data, bytes < (64u << 20) ? bytes : 64u << 20);
        if (n < 0 && errno == EINTR) continue;
        /* no progress and no error would loop for ever */
        if (n == 0) errno = EIO;
        if (n <= 0) return -1;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* Empty writes are fine: arrays may have no elements. */
hone_status hone_out_write(hone_out *o, const void *data, size_t bytes)
{
    if (bytes == 0) return HONE_OK;
    if (write_all(o->fd, data, bytes) < 0) return fail_path("write", o->path, o->need_bytes);
    /* only after the kernel took the bytes: hash and count describe the file */
    XXH3_64bits_update(o->hash, data, bytes);
    o->bytes += bytes;
    return HONE_OK;
}

/* Memory only; the descriptor is the caller's business. */
static void out_free(hone_out *o)
{
    free(o->path);
    XXH3_freeState(o->hash);
    *o = (hone_out){.fd = -1};
}

/* fsync comes before close: an error of delayed writing (quota, network) shows in either. */
hone_status hone_out_close(hone_out *o, uint64_t *xxh3)
{
    hone_status status = HONE_OK;
    if (xxh3) *xxh3 = XXH3_64bits_digest(o->hash);
    if (switched_fsync(o->fd) < 0) status = fail_path("flush to disk", o->path, o->need_bytes);
    if (switched_close(o->fd) < 0 && status == HONE_OK) status = fail_path("close", o->path, o->need_bytes);
    out_free(o);
    return status;
}

/* Fine after a close and on one that failed to open. Past the fault switch: unwinding is no step of a save. */
void hone_out_abort(hone_out *o)
{
    if (o->path && o->fd >= 0) {
        close(o->fd);
        unlink(o->path);
    }
    if (o->path || o->hash) out_free(o);
}

/* Cutting back keeps the file a sequence of whole lines, which resume and readers rely on. */
hone_status hone_io_append(int fd, const char *path, int64_t at, const void *data, size_t bytes)
{
    if (write_all(fd, data, bytes) == 0) return HONE_OK;
    hone_status status = fail_path("append to", path, bytes);
    if (ftruncate(fd, at) < 0) hone_error_context("%s may end in a half line", path);
    return status;
}

/* A folder that is there already is an error here: names of temporaries must be new. */
hone_status hone_io_mkdir(const char *path)
{
    int r;
    do BEHIND_SWITCH(r, true, mkdir(path, 0777));
    while (r < 0 && errno == EINTR);
    return r < 0 ? fail_path("create folder", path, 0) : HONE_OK;
}

/* The one moment when new content becomes visible; on one file system it happens or it does not. */
hone_status hone_io_rename(const char *from, const char *to)
{
    int r;
    do BEHIND_SWITCH(r, false, rename(from, to));
    while (r < 0 && errno == EINTR);
    return r < 0 ? fail_path("rename to", to, 0) : HONE_OK;
}

/* A rename is only safe from power loss when its folder was flushed. */
hone_status hone_io_sync_dir(const char *path)
{
    int fd = switched_open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return fail_path("open folder", path, 0);
    /* some network file systems can't fsync a folder and say EINVAL: nothing more can be done there */
    int r = switched_fsync(fd), e = errno;
    if (switched_close(fd) < 0 && r == 0) return fail_path("close folder", path, 0);
    errno = e;
    return r < 0 && e != EINVAL ? fail_path("flush folder", path, 0) : HONE_OK;
}

/* The descriptor is opened for writing only here: logs are appended to by another one. */
hone_status hone_io_truncate(const char *path, int64_t bytes)
{
    int fd = switched_open(path, O_WRONLY | O_CREAT);
    if (fd < 0) return fail_path("open", path, 0);
    hone_status status = HONE_OK;
    int r;
    do BEHIND_SWITCH(r, false, ftruncate(fd, bytes));
    while (r < 0 && errno == EINTR);
    if (r < 0) status = fail_path("cut back", path, 0);
    if (status == HONE_OK && switched_fsync(fd) < 0) status = fail_path("flush to disk", path, 0);
    if (switched_close(fd) < 0 && status == HONE_OK) status = fail_path("close", path, 0);
    return status;
}

static hone_status remove_entry(const char *path, int depth);

/* Everything in a folder; stops at the first thing that can't be removed. */
static hone_status remove_children(const char *path, int depth)
{
    DIR *d = opendir(path);
    if (!d) return fail_path("open folder", path, 0);
    hone_status status = HONE_OK;
    for (struct dirent *e; status == HONE_OK && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *child = hone_io_join(path, e->d_name);
        status = child ? remove_entry(child, depth + 1) : fail_memory(path);
        free(child);
    }
    closedir(d);
    return status;
}

/* `depth` bounds the recursion: what hone writes is two levels deep. */
static hone_status remove_entry(const char *path, int depth)
{
    struct stat s;
    if (lstat(path, &s) < 0) return fail_path("look at", path, 0);
    bool folder = S_ISDIR(s.st_mode);
    /* nothing of ours is that deep: better to stop than to follow a surprise */
    if (folder && depth > 8) return hone_fail(HONE_ERR_RUNTIME, NULL, "%s: folders nest too deep to remove", path);
    if (folder) HONE_TRY(remove_children(path, depth));
    return switched_unlink(path, folder) < 0 ? fail_path("remove", path, 0) : HONE_OK;
}

hone_status hone_io_remove_tree(const char *path) { return remove_entry(path, 0); }

/* --- small files (io.h) -------------------------------------------------------------------------- */

/* Temporary, fsync, rename, fsync of the folder: readers see the old file or the new one. */
hone_status hone_file_write(const char *path, const void *data, size_t bytes)
{
    hone_status status = HONE_OK;
    hone_out o = {.fd = -1};
    bool written = false;
    char *temporary = hone_path_temporary(path), *parent = hone_path_parent(path);
    if (!temporary || !parent) {
        status = fail_memory(path);
        goto done;
    }
    HONE_GOTO(status, hone_out_open(&o, temporary, bytes), done);
    written = true;
    HONE_GOTO(status, hone_out_write(&o, data, bytes), done);
    HONE_GOTO(status, hone_out_close(&o, NULL), done);
    HONE_GOTO(status, hone_io_rename(temporary, path), done);
    written = false;
    status = hone_io_sync_dir(parent);
done:
    hone_out_abort(&o);
    if (written) unlink(temporary); /* past the switch: unwinding is no step of a save */
    free(temporary);
    free(parent);
    return status;
}

/* Opens a regular file for reading; devices, pipes and folders are refused before they can block. */
static hone_status open_regular(const char *path, int *fd, size_t *bytes)
{
    struct stat s;
    *bytes = 0;
    /* O_NONBLOCK: opening a pipe must not wait for a writer */
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        return hone_fail(HONE_ERR_RUNTIME, errno == ENOENT ? "check the path" : NULL, "cannot read %s: %s", path,
                         strerror(errno));
    if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode)) {
        *bytes = (size_t)s.st_size;
        return HONE_OK;
    }
    close(*fd);
    return hone_fail(HONE_ERR_RUNTIME, "give the path of a file", "cannot read %s: it is not a regular file", path);
}

/* The size is taken from the open file; one that shrinks meanwhile is an error, one that grows is cut. */
hone_status hone_file_read(const char *path, size_t limit, char **data, size_t *bytes)
{
    int fd;
    size_t size = 0, got = 0;
    HONE_TRY(open_regular(path, &fd, &size));
    char *buffer = NULL;
    hone_status status = HONE_OK;
    if (size > limit) {
        status =
            hone_fail(HONE_ERR_RUNTIME, NULL, "%s is too large: %zu bytes, at most %zu are read", path, size, limit);
    } else if (size == SIZE_MAX || !(buffer = hone_big_alloc(size + 1))) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for its %zu bytes", path, size);
    }
    while (status == HONE_OK && got < size) {
        ssize_t n = read(fd, buffer + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = hone_fail(HONE_ERR_RUNTIME, NULL, "cannot read %s: %s", path, strerror(errno));
        else if (n == 0) status = hone_fail(HONE_ERR_RUNTIME, NULL, "%s became shorter while being read", path);
        else got += (size_t)n;
    }
    close(fd);
    if (status != HONE_OK) {
        free(buffer);
        return status;
    }
    buffer[size] = '\0';
    *data = buffer;
    if (bytes) *bytes = size;
    return HONE_OK;
}

/* Each prefix of the path in turn. A folder that appears in between (another process) is as good. */
hone_status hone_make_dirs(const char *path)
{
    char *part = hone_strdup(path);
    if (!part) return fail_memory(path);
    hone_status status = HONE_OK;
    /* every slash, and the end, closes a prefix that must be a folder */
    for (char *p = part + 1; status == HONE_OK && p[-1]; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        struct stat s;
        *p = '\0';
        if (stat(part, &s) == 0) {
            if (!S_ISDIR(s.st_mode))
                status = hone_fail(HONE_ERR_RUNTIME, "choose another --out",
                                   "%s is in the way: it is a file, not a folder", part);
        } else if (mkdir(part, 0777) < 0 && errno != EEXIST) {
            status = fail_path("create folder", part, 0);
        }
        *p = end;
        if (!end) break;
    }
    free(part);
    return status;
}
