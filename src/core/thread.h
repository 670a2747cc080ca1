/* thread.h - cores, clocks, and a parallel loop for host work (decoding, not kernels). */
#ifndef HONE_CORE_THREAD_H
#define HONE_CORE_THREAD_H

#include <stdint.h>

#include "hone/status.h"

int hone_cpu_count(void);      /* cores this process may run on (affinity, cgroup quota), >= 1 */
double hone_now_seconds(void); /* monotonic                                                    */

/* Calls work(arg, i) for i in [0, count) on `threads` threads (the caller is one of them), items
 * handed out in order. The first error stops the loop and is returned, recorded in this thread. */
hone_status hone_parallel_for(int threads, int64_t count, hone_status (*work)(void *arg, int64_t i),
                              void *arg) HONE_MUST_USE;

#endif
