/* fuzz_file.h - files of a fuzzer: a folder of its own, in memory where there is such a place, that goes away at the end.
 *
 * Files stay open and are written over: making, cutting and removing them took most of the time of a parser of short
 * files, and no parser sees a difference. */
#ifndef HONE_TESTS_FUZZ_FILE_H
#define HONE_TESTS_FUZZ_FILE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fuzz_folder[64];

/* A file that is there and its size. */
static struct fuzz_file {
    char name[64], path[128];
    int fd;
    size_t bytes;
} fuzz_files[16];
static int fuzz_count;

/* Folders in the folder, too. */
static void fuzz_remove(const char *folder)
{
    char path[400];
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.' && unlink(path) != 0) fuzz_remove(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

/* Runs when the fuzzer ends by itself. */
static void fuzz_clean(void) { fuzz_remove(fuzz_folder); }

/* folder/name; the last two stay valid. */
static inline const char *fuzz_path(const char *name)
{
    static char path[2][128];
    static int next;
    if (!*fuzz_folder) {
        const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* thousands of files a second */
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/hone-fuzz-XXXXXX", tmp);
        if (!mkdtemp(fuzz_folder) || atexit(fuzz_clean) != 0) abort();
    }
    char *p = path[next++ % 2];
    snprintf(p, sizeof path[0], "%s/%s", fuzz_folder, name);
    return p;
}

static inline struct fuzz_file *fuzz_holds(const char *name)
{
    for (int k = 0; k < fuzz_count; k++)
        if (strcmp(fuzz_files[k].name, name) == 0) return &fuzz_files[k];
    return NULL;
}

/* The file's path, which stays valid. A fuzzer has a few names that it writes over and over. */
static inline const char *fuzz_put(const char *name, const void *data, size_t size)
{
    struct fuzz_file *f = fuzz_holds(name);
    if (!f) {
        if (fuzz_count == sizeof fuzz_files / sizeof *fuzz_files) abort();
        f = &fuzz_files[fuzz_count++];
        snprintf(f->name, sizeof f->name, "%s", name);
        snprintf(f->path, sizeof f->path, "%s", fuzz_path(name));
        f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (f->fd < 0) abort();
    }
    if (pwrite(f->fd, data, size, 0) != (ssize_t)size) abort();
    if (size < f->bytes && ftruncate(f->fd, (off_t)size) != 0) abort();
    f->bytes = size;
    return f->path;
}

#endif
