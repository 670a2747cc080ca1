/* parallel.c - the one way the dense kernels use threads: a fixed number of parts, one a thread.
 *
 * The number of parts, not the number of threads that OpenMP grants, decides who computes what, so a
 * busy or restricted machine gives the same bits. Builds without OpenMP run the parts in order. */
#include "cpu/cpu.h"

void hone_cpu_parallel(int parts, hone_cpu_job *job, void *arg)
{
    if (parts <= 1) {
        job(arg, 0, 1);
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) job(arg, part, parts);
}

int hone_cpu_parts(const hone_backend *b, double flop)
{
    const double flop_worth_a_thread = 4e5; /* some 4 us of work, twice what waking a thread costs */
    double parts = flop / flop_worth_a_thread;
    if (parts >= b->threads) return b->threads < 1 ? 1 : b->threads;
    return parts < 1 ? 1 : (int)parts;
}

void hone_cpu_share(int64_t count, int part, int parts, int64_t *begin, int64_t *end)
{
    *begin = count * part / parts;
    *end = count * (part + 1) / parts;
}
