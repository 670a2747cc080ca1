/* parallel.c - how kernels share work among threads: a fixed number of parts, cut by shape alone.
 *
 * The number of parts, not the number of threads that the system grants, decides what is computed together, so a
 * busy or restricted machine gives the same bits. The threads themselves are the crew of the backend. */
#include "cpu/cpu.h"
#include "cpu/crew.h"

void hone_cpu_parallel(const hone_backend *b, int parts, hone_cpu_job *job, void *arg)
{
    if (parts <= 1) job(arg, 0, 1);
    else hone_cpu_crew_run(b->self, parts, job, arg);
}

int hone_cpu_parts(const hone_backend *b, double flop)
{
    const double flop_worth_a_thread = 4e5; /* some 4 us of work, more than waking a thread costs */
    double parts = flop / flop_worth_a_thread;
    if (parts >= b->threads) return b->threads < 1 ? 1 : b->threads;
    return parts < 1 ? 1 : (int)parts;
}

void hone_cpu_share(int64_t count, int part, int parts, int64_t *begin, int64_t *end)
{
    *begin = count * part / parts;
    *end = count * (part + 1) / parts;
}
