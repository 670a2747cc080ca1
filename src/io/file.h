/* file.h - the room's own view of file.c: the one layer through which all saving goes.
 *
 * Every function here that changes the disk passes the fault switch first, so the tests can make the
 * k-th call fail or kill the process there. Messages name the path, the bytes needed and the bytes
 * free. Paths are UTF-8 byte strings, relative to the working directory unless absolute. */
#ifndef HONE_IO_FILE_H
#define HONE_IO_FILE_H

#include <stdint.h>

#include "hone/io.h"

/* A file being written. `need_bytes` is only for the message when the disk is full. */
typedef struct hone_out {
    int fd;
    char *path;          /* owned copy                                                             */
    uint64_t bytes;      /* written so far                                                         */
    uint64_t need_bytes; /* expected in all, 0 if unknown                                          */
    void *hash;          /* running XXH3 (64 bit) of all that was written                          */
} hone_out;

/* Creates (or empties) a file for writing. Errors: RUNTIME, MEMORY. */
hone_status hone_out_open(hone_out *o, const char *path, uint64_t need_bytes) HONE_MUST_USE;
hone_status hone_out_write(hone_out *o, const void *data, size_t bytes) HONE_MUST_USE;
/* fsync and close, both results checked; *xxh3 (may be NULL) gets the hash. Frees in any case. */
hone_status hone_out_close(hone_out *o, uint64_t *xxh3) HONE_MUST_USE;
/* Closes without checking and removes the file: for unwinding. Fine on a closed or zeroed one. */
void hone_out_abort(hone_out *o);

hone_status hone_io_mkdir(const char *path) HONE_MUST_USE; /* EEXIST is an error here               */
hone_status hone_io_rename(const char *from, const char *to) HONE_MUST_USE;
hone_status hone_io_sync_dir(const char *path) HONE_MUST_USE;
/* Sets the length of an existing file, or creates an empty one; fsynced. */
hone_status hone_io_truncate(const char *path, int64_t bytes) HONE_MUST_USE;
/* Removes a folder of files and folders (symbolic links are unlinked, never followed). */
hone_status hone_io_remove_tree(const char *path) HONE_MUST_USE;

/* Appends with one write loop; on failure the file is cut back to `at`, so no half line stays. */
hone_status hone_io_append(int fd, const char *path, int64_t at, const void *data, size_t bytes) HONE_MUST_USE;

/* "a/b" in new memory, NULL when memory is exhausted. */
char *hone_io_join(const char *dir, const char *name);
/* "PATH.tmp-<pid>-<random>": where a thing lies before it gets its name. NULL: memory. */
char *hone_path_temporary(const char *path);
/* The folder that holds `path` ("." for a bare name). NULL: memory. */
char *hone_path_parent(const char *path);
/* The pid in a temporary name, 0 if `name` is none. */
long hone_path_temporary_pid(const char *name);

/* Test switch, kept per thread. Call number k (from 1) of this layer fails in the given mode:
 * KILL ends the process with SIGKILL (a write first puts half of its bytes), ENOSPC makes that call
 * and every later create, mkdir and write fail, EIO and EINTR fail once, SHORT writes half.
 * The environment variable HONE_FAULT="k:kill|enospc|eio|eintr|short" sets the same at start. */
typedef enum hone_fault_mode {
    HONE_FAULT_NONE,
    HONE_FAULT_KILL,
    HONE_FAULT_ENOSPC,
    HONE_FAULT_EIO,
    HONE_FAULT_EINTR,
    HONE_FAULT_SHORT
} hone_fault_mode;
void hone_fault_set(int64_t k, hone_fault_mode mode); /* also sets the count back to 0            */
int64_t hone_fault_calls(void);                       /* calls so far in this thread              */

#endif
