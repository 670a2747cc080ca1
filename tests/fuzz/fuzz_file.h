/* fuzz_file.h - files of a fuzzer: a folder of its own, in memory where there is such a place, that goes away at the end. */
#ifndef HONE_TESTS_FUZZ_FILE_H
#define HONE_TESTS_FUZZ_FILE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fuzz_folder[64];

/* Runs when the fuzzer ends by itself. */
static void fuzz_clean(void)
{
    char path[400];
    DIR *dir = opendir(fuzz_folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", fuzz_folder, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    if (dir) closedir(dir);
    rmdir(fuzz_folder);
}

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

/* The file's path. */
static inline const char *fuzz_put(const char *name, const void *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
    return path;
}

#endif
