/* fail_alloc.c - a module for LD_PRELOAD that lets the k-th allocation of a process fail, wherever it comes from:
 * our code or a library of it.
 *
 *   HONE_FAIL_ALLOC=k        malloc, calloc, realloc, aligned_alloc and posix_memalign number k (from 1) gives NULL
 *   HONE_FAIL_ALLOC_LOG=PATH at the end "calls live" goes to that file: allocations made, blocks not freed
 *
 * Allocations before main (the loader's) are not counted: the constructor of this module runs after them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own entry points: dlsym would allocate before it can answer. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *p);

static atomic_long calls, live;
static atomic_long wanted; /* 0: none fails */
static atomic_int armed;

/* Whether this call is the one. */
static int fails(void)
{
    if (!atomic_load(&armed)) return 0;
    long k = atomic_fetch_add(&calls, 1) + 1;
    if (k != atomic_load(&wanted)) return 0;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *p)
{
    if (p && atomic_load(&armed)) atomic_fetch_add(&live, 1);
    return p;
}

void *malloc(size_t bytes) { return fails() ? NULL : counted(__libc_malloc(bytes)); }
void *calloc(size_t count, size_t bytes) { return fails() ? NULL : counted(__libc_calloc(count, bytes)); }

void *realloc(void *old, size_t bytes)
{
    if (fails()) return NULL;
    void *p = __libc_realloc(old, bytes);
    return old ? p : counted(p);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, bytes));
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    if (fails()) return ENOMEM;
    void *p = counted(__libc_memalign(alignment, bytes));
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    if (p && atomic_load(&armed)) atomic_fetch_sub(&live, 1);
    __libc_free(p);
}

__attribute__((constructor)) static void arm(void)
{
    const char *k = getenv("HONE_FAIL_ALLOC");
    atomic_store(&wanted, k ? atol(k) : 0);
    atomic_store(&armed, 1);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("HONE_FAIL_ALLOC_LOG");
    char text[64];
    atomic_store(&armed, 0);
    if (!path) return;
    int n = snprintf(text, sizeof text, "%ld %ld\n", atomic_load(&calls), atomic_load(&live));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) return;
    if (write(fd, text, (size_t)n) != n) unlink(path);
    close(fd);
}
