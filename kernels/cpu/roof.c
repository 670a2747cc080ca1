/* roof.c - what this machine can do at most: fp32 operations and bytes moved, each in a second.
 *
 * Measured with the threads and the instruction set that the kernels use, so a share of the roof is a
 * statement about the kernel. Best of a few short runs: a roof is what was reached once. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/roof.h"
#include "dialect.h"

enum { FMA_RUNS = 40, COPY_RUNS = 5, MAX_THREADS = 1024, ROUNDS = 200000 };
static const size_t COPY_BYTES = (size_t)64 << 20; /* beyond the caches */

/* Seconds of the monotonic clock; kernels include nothing of src. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct work {
    double (*fma)(int64_t rounds, float *sink);
    double flop[MAX_THREADS]; /* (parts) operations done */
    float sink[MAX_THREADS];
    char *to;
    const char *from; /* (COPY_BYTES) */
} work;

/* A part of hone_cpu_parallel: each thread has its own sink and count. */
static void compute(void *arg, int part, int parts)
{
    work *w = arg;
    (void)parts;
    w->flop[part] = w->fma(ROUNDS, &w->sink[part]);
}

/* Each thread copies its share, as a kernel would. */
static void copy(void *arg, int part, int parts)
{
    work *w = arg;
    int64_t begin, end;
    hone_cpu_share((int64_t)COPY_BYTES, part, parts, &begin, &end);
    memcpy(w->to + begin, w->from + begin, (size_t)(end - begin));
}

/* The best, since other processes can only slow a run down. */
static double best_seconds(const hone_backend *b, int threads, int runs, hone_cpu_job *job, work *w)
{
    double best = 0;
    for (int run = 0; run <= runs; run++) {
        double start = now();
        hone_cpu_parallel(b, threads, job, w);
        double seconds = now() - start;
        if (run == 1 || (run > 1 && seconds < best)) best = seconds; /* run 0 wakes threads, touches pages */
    }
    return best;
}

hone_status hone_cpu_roof(const hone_backend *b, double *flop_per_second, double *bytes_per_second)
{
    int threads = b->threads;
    double (*const fma[])(int64_t, float *) = HONE_CPU_EACH(hone_cpu_roof_fma);
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    work *w = calloc(1, sizeof *w);
    char *memory = malloc(2 * COPY_BYTES);
    if (!w || !memory) {
        free(w);
        free(memory);
        return hone_fail(HONE_ERR_MEMORY, NULL, "roof: no memory for a copy of %zu bytes", COPY_BYTES);
    }
    memset(memory, 1, 2 * COPY_BYTES);
    w->fma = fma[hone_cpu_isa_pick()];
    w->to = memory;
    w->from = memory + COPY_BYTES;
    double seconds = best_seconds(b, threads, FMA_RUNS, compute, w), flop = 0;
    for (int k = 0; k < threads; k++) flop += w->flop[k];
    *flop_per_second = flop / seconds;
    *bytes_per_second = 2.0 * (double)COPY_BYTES / best_seconds(b, threads, COPY_RUNS, copy, w); /* read and written */
    free(memory);
    free(w);
    return HONE_OK;
}
