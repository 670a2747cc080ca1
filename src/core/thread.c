/* thread.c - see thread.h. The one file of src/ that may look at the platform. */
#define _GNU_SOURCE
#include "core/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A container's CPU quota (cgroup v2), rounded up; 0 where there is none. */
static int cgroup_quota(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (!f) return 0;
    long quota = 0, period = 0;
    int fields = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    return fields == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* What this process may use, not what the machine has: affinity and quota of a container come first.
 * More threads than that only take turns, and a spinning one then stalls the others. */
int hone_cpu_count(void)
{
    int count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
    int quota = cgroup_quota();
    if (quota > 0 && quota < count) count = quota;
#endif
    return count > 0 ? count : 1;
}

/* Monotonic: setting the clock changes no duration. Differences mean something, the value alone does not. */
double hone_now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One parallel loop. Items are handed out one by one, because their costs differ (files, folders). */
typedef struct loop {
    int64_t count;
    hone_status (*work)(void *arg, int64_t i);
    void *arg;
    /* the next item to hand out; it may run past count */
    _Atomic int64_t next;
    _Atomic int failed;
    pthread_mutex_t lock;
    hone_error error; /* of the failed item with the lowest index, so messages don't race */
    int64_t error_item;
} loop;

/* Takes items until none is left or one failed. Items in progress elsewhere are finished, not cut off. */
static void *loop_run(void *arg)
{
    loop *l = arg;
    while (!atomic_load(&l->failed)) {
        int64_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->count) break;
        hone_status s = l->work(l->arg, i);
        if (s == HONE_OK) continue;
        pthread_mutex_lock(&l->lock);
        if (!atomic_load(&l->failed) || i < l->error_item) {
            hone_error_save(&l->error, s);
            l->error_item = i;
        }
        atomic_store(&l->failed, 1);
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* The calling thread works too, so the loop ends even where no helper can be started. */
hone_status hone_parallel_for(int threads, int64_t count, hone_status (*work)(void *arg, int64_t i), void *arg)
{
    loop l = {.count = count, .work = work, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
    /* a thread without an item would only cost its start */
    if (threads > count) threads = (int)count;
    pthread_t *helper = threads > 1 ? calloc((size_t)threads - 1, sizeof *helper) : NULL;
    int started = 0;
    if (helper)
        while (started < threads - 1 && pthread_create(&helper[started], NULL, loop_run, &l) == 0) started++;
    loop_run(&l); /* fewer helpers than asked for only cost time */
    for (int k = 0; k < started; k++) pthread_join(helper[k], NULL);
    free(helper);
    pthread_mutex_destroy(&l.lock);
    return atomic_load(&l.failed) ? hone_error_restore(&l.error) : HONE_OK;
}
