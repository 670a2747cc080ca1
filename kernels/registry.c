/* registry.c - opens a dialect by name and owns the verbs of those that live in host memory.
 *
 * Contract: what is asked for is opened or refused with the reason and the fix; only "auto" chooses,
 * and hone_backend_describe says what it chose. The CUDA dialect is a plugin opened with dlopen, so
 * the same binary runs where CUDA is not installed. Must not compute, and must not know graphs. */
#define _GNU_SOURCE /* madvise, dladdr */
#include "dialect.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ALIGN_BYTES = 64, /* a cache line, and the widest vector */
    HUGE_PAGE_BYTES = 2 << 20
};

/* --- host memory ------------------------------------------------------------------------------- */
/* Reading rows of a large table at random, or columns of a matrix, misses the TLB with pages of 4 KiB, not with 2 MiB.
 * The last page too if half of it is used; else it would only cost memory. A wish: where the system has no such pages
 * nothing changes but the time. */
static void ask_for_huge_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, (bytes + HUGE_PAGE_BYTES / 2) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)bytes;
#endif
}

/* Memory of calloc, aligned by hand, so that large blocks come zeroed from the system: its pages are made when the
 * threads first touch them, not all by one thread here. What calloc gave stands before the block. */
static hone_status host_alloc(hone_backend *b, size_t bytes, void **out)
{
    size_t align = bytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : ALIGN_BYTES;
    size_t rounded = bytes <= SIZE_MAX - 2 * align ? (bytes + align) / align * align : 0;
    char *base = rounded ? calloc(1, rounded + align) : NULL; /* 0 bytes get a line too: never NULL */
    *out = NULL;
    if (!base)
        return hone_fail(HONE_ERR_MEMORY, "use a smaller batch or a smaller model", "%s: no memory for %zu bytes",
                         b->name, bytes);
    char *block = base + (align - (uintptr_t)base % align); /* at least 16 bytes on: malloc's own alignment */
    memcpy(block - sizeof base, &base, sizeof base);
    if (align == HUGE_PAGE_BYTES) ask_for_huge_pages(block, bytes);
    *out = block;
    return HONE_OK;
}

/* NULL is fine, as with free(). */
static void host_free(hone_backend *b, void *ptr)
{
    char *base = NULL;
    (void)b;
    if (ptr) memcpy(&base, (char *)ptr - sizeof base, sizeof base);
    free(base);
}

/* Upload and download alike. */
static hone_status host_copy(hone_backend *b, void *to, const void *from, size_t bytes)
{
    (void)b;
    if (bytes) memcpy(to, from, bytes);
    return HONE_OK;
}

/* Launches return when they are done: nothing to wait for. */
static hone_status host_sync(hone_backend *b)
{
    (void)b;
    return HONE_OK;
}

/* The tables are static and prepared nodes are released by their program. */
static void host_close(hone_backend *b) { free(b); }

/* A backend with the host verbs and an empty table. `threads` 0 = all that this process may use. */
static hone_status host_open(const char *name, int threads, hone_backend **out)
{
    hone_backend *b = calloc(1, sizeof *b);
    if (!b) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for the backend", name);
    b->name = name;
    b->real = HONE_F32;
    b->host_memory = true;
    b->threads = threads > 0 ? threads : hone_cpu_count();
    b->alloc = host_alloc;
    b->free = host_free;
    b->upload = host_copy;
    b->download = host_copy;
    b->sync = host_sync;
    b->close = host_close;
    *out = b;
    return HONE_OK;
}

/* --- the dialects ------------------------------------------------------------------------------ */
static hone_status open_ref(int threads, hone_backend **out)
{
    HONE_TRY(host_open("ref", threads, out));
    hone_ref32_fill(*out);
    return HONE_OK;
}

/* Double: what tests measure the others against. */
static hone_status open_ref64(int threads, hone_backend **out)
{
    HONE_TRY(host_open("ref64", threads, out));
    (*out)->real = HONE_F64;
    hone_ref64_fill(*out);
    return HONE_OK;
}

/* The reference with the rows of kernels/cpu over it. */
static hone_status open_cpu(int threads, hone_backend **out)
{
    HONE_TRY(host_open("cpu", threads, out));
    hone_ref32_fill(*out); /* inherited rows: a fast kernel replaces a tested one */
    hone_cpu_overlay(*out);
    return HONE_OK;
}

/* The folder of the file that this code was loaded from: the program, or libhone.so. "" where it can't be told. */
static void own_folder(char *folder, size_t bytes)
{
    Dl_info info;
    hone_status (*self)(const char *, int, hone_backend **) = hone_backend_open;
    void *address;
    memcpy(&address, &self, sizeof address); /* POSIX's functions are objects to dladdr */
    folder[0] = '\0';
    if (!dladdr(address, &info) || !info.dli_fname || !strchr(info.dli_fname, '/')) return;
    snprintf(folder, bytes, "%s", info.dli_fname);
    *strrchr(folder, '/') = '\0';
}

/* The folder of the running program, whatever name it was started by. */
static void program_folder(char *folder, size_t bytes)
{
    ssize_t got = readlink("/proc/self/exe", folder, bytes - 1);
    folder[got > 0 ? got : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    else folder[0] = '\0';
}

/* "libhone_NAME.so" beside the library or the binary, in .. or ../lib of it, then wherever the loader looks. A path with
 * '/' is tried alone by dlopen, so no stray library of the working directory is taken. */
static void *open_plugin(const char *name, char *tried, size_t tried_bytes)
{
    char folder[2][3072], path[4096];
    own_folder(folder[0], sizeof folder[0]);
    program_folder(folder[1], sizeof folder[1]);
    static const char *const place[] = {"", "/../lib", "/.."}; /* build folder, installed, test of a build folder */
    for (int k = 0; k < 6; k++) {
        if (!folder[k / 3][0]) continue;
        snprintf(path, sizeof path, "%s%s/libhone_%s.so", folder[k / 3], place[k % 3], name);
        if (access(path, R_OK) != 0) continue;
        void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!plugin) snprintf(tried, tried_bytes, "%s", dlerror());
        return plugin; /* one that lies there and can't be opened is an error, not a reason to look on */
    }
    snprintf(path, sizeof path, "libhone_%s.so", name);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin) snprintf(tried, tried_bytes, "%s", dlerror());
    return plugin;
}

/* `name` is cuda, or emulated: the same kernels over the tests' SIMT emulator, in test builds only. */
static hone_status open_cuda(const char *name, int device, hone_backend **out)
{
    char reason[1024] = "", fix[192];
    snprintf(fix, sizeof fix, "use --device cpu, or put the plugin libhone_%s.so beside the hone binary", name);
    void *plugin = open_plugin(name, reason, sizeof reason);
    if (strstr(reason, "libcublasLt")) /* the one library that the plugin can't do without, beside the driver */
        snprintf(fix, sizeof fix,
                 "install cuBLAS of that CUDA version (Debian, Ubuntu: libcublas-VERSION), or add its folder to "
                 "LD_LIBRARY_PATH, or use --device cpu");
    if (!plugin) return hone_fail(HONE_ERR_DEVICE, fix, "%s: its plugin can't be opened: %s", name, reason);
    /* POSIX lets an object pointer of dlsym be a function; ISO C needs the copy. */
    void *symbol = dlsym(plugin, HONE_CUDA_ENTRY);
    hone_cuda_open_fn open;
    memcpy(&open, &symbol, sizeof open);
    hone_status status =
        symbol ? open(device, out) : hone_fail(HONE_ERR_DEVICE, fix, "%s: its plugin has no " HONE_CUDA_ENTRY, name);
    if (status != HONE_OK) dlclose(plugin);
    return status; /* an open plugin stays loaded until the process ends: its kernels are in use */
}

/* Asked before "auto" opens the plugin, whose cuBLASLt costs 190 MiB and up to a second even where no GPU is. */
static bool has_driver(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver) dlclose(driver);
    return driver != NULL;
}

/* "cuda" or "cuda:N"; false where the name is neither. */
static bool cuda_name(const char *name, int *device)
{
    *device = 0;
    if (strncmp(name, "cuda", 4) != 0) return false;
    if (name[4] == '\0') return true;
    if (name[4] != ':' || name[5] < '0' || name[5] > '9') return false;
    char *end;
    long n = strtol(name + 5, &end, 10);
    *device = (int)n;
    return *end == '\0' && n < 1024;
}

hone_status hone_backend_open(const char *name, int threads, hone_backend **out)
{
    int device;
    *out = NULL;
    if (strcmp(name, "auto") == 0) {
        if (has_driver() && open_cuda("cuda", 0, out) == HONE_OK) return HONE_OK;
        hone_error_clear(); /* not an error here: the user asked for whatever is there */
        return open_cpu(threads, out);
    }
    if (strcmp(name, "cpu") == 0) return open_cpu(threads, out);
    if (strcmp(name, "ref") == 0) return open_ref(threads, out);
    if (strcmp(name, "ref64") == 0) return open_ref64(threads, out);
    if (strcmp(name, "emulated") == 0) return open_cuda(name, 0, out);
    if (cuda_name(name, &device)) return open_cuda("cuda", device, out);
    return hone_fail(HONE_ERR_USAGE, "devices: auto, cpu, cuda, cuda:N, ref, ref64", "unknown device '%s'", name);
}

void hone_backend_close(hone_backend *b)
{
    if (b && b->close) b->close(b);
}

/* --- description ------------------------------------------------------------------------------- */
static const char *instruction_set(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) return "AVX-512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "AVX2";
    return "SSE2";
#elif defined(__aarch64__)
    return "NEON";
#else
    return "plain C";
#endif
}

const char *hone_backend_describe(hone_backend *b, char *text, size_t text_bytes)
{
    if (b->describe) b->describe(b, text, text_bytes);
    else if (strcmp(b->name, "cpu") == 0)
        snprintf(text, text_bytes, "cpu: %s, %d threads", instruction_set(), b->threads);
    else
        snprintf(text, text_bytes, "%s: plain C, %s, %d threads", b->name, b->real == HONE_F64 ? "double" : "float",
                 b->threads);
    return text;
}

const char *hone_backend_libraries(const char *device, char *text, size_t text_bytes)
{
    int number;
    hone_cuda_versions_fn versions;
    text[0] = '\0';
    if (!cuda_name(device, &number)) return text;
    void *plugin = open_plugin("cuda", text, text_bytes); /* stays loaded, as in open_cuda */
    void *symbol = plugin ? dlsym(plugin, HONE_CUDA_VERSIONS) : NULL;
    memcpy(&versions, &symbol, sizeof versions);
    if (symbol) versions(text, text_bytes);
    return text;
}

hone_status hone_backend_roof(hone_backend *b, double *flop_per_second, double *bytes_per_second)
{
    if (strcmp(b->name, "cpu") == 0 || strncmp(b->name, "ref", 3) == 0)
        return hone_cpu_roof(b, flop_per_second, bytes_per_second);
    return hone_fail(HONE_ERR_DEVICE, NULL, "%s: no measurement of the roof", b->name);
}
