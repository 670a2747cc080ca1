/* shrinking.c - a module for LD_PRELOAD: files whose name ends with $HONE_SHRINKS seem 64 bytes longer than they are when
 * asked for their size, so that reading them ends too soon, as with a file that is cut while it is read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fstat(int fd, struct stat *s)
{
    static int (*inner)(int, struct stat *);
    char link[64], path[4096];
    const char *ending = getenv("HONE_SHRINKS");
    if (!inner) *(void **)&inner = dlsym(RTLD_NEXT, "fstat");
    int result = inner(fd, s);
    if (result != 0 || !ending || !S_ISREG(s->st_mode)) return result;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t wanted = strlen(ending);
    if (n >= (ssize_t)wanted && memcmp(path + n - wanted, ending, wanted) == 0) s->st_size += 64;
    return result;
}
