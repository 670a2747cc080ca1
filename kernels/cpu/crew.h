/* crew.h - the threads of one CPU backend: they wait between loops and start within a microsecond.
 *
 * A training step of a small net is hundreds of parallel loops of some 10 us, so starting one must cost
 * far less than that, and yet a busy machine must not be burnt: a waiting thread spins for SPIN_US, then
 * sleeps. Not an executor: one loop at a time, called from one thread. */
#ifndef HONE_KERNELS_CPU_CREW_H
#define HONE_KERNELS_CPU_CREW_H

#include "cpu/cpu.h"

typedef struct hone_cpu_crew hone_cpu_crew;

/* `threads` counts the caller: threads - 1 are started. NULL for one thread, or where none can be started
 * (the parts then run in order: slower, the same bits). */
hone_cpu_crew *hone_cpu_crew_open(int threads);
void hone_cpu_crew_close(hone_cpu_crew *t);
/* Runs job(arg, part, parts) for every part and returns when all are done; any number of parts. */
void hone_cpu_crew_run(hone_cpu_crew *t, int parts, hone_cpu_job *job, void *arg);

#endif
