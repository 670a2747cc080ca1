/* crew.c - see crew.h. A generation counter starts a loop, a counter of arrivals ends it.
 *
 *   caller:  job, arg, parts; arrived = 0; generation++  ->  its own parts  ->  waits for arrived == helpers
 *   helper:  waits for a new generation  ->  its parts  ->  arrived++
 *
 * Part p belongs to thread p % threads, so who computes what is fixed. Waiting spins first: the gap between
 * two loops of a step is shorter than waking a thread. Whoever then sleeps is woken under the lock. */
#include "cpu/crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Long enough to bridge the gap between two loops of a step, short enough to leave the core to others. */
enum {
    SPIN_US = 200,
    SPINS_PER_LOOK = 64 /* between two looks at the clock */,
    SPINS_BEFORE_YIELD = 20000 /* some 20 us */
};

/* One thread; it lives as long as the crew. */
typedef struct helper {
    hone_cpu_crew *crew;
    pthread_t thread;
    int index; /* 1..threads-1; the caller is 0 */
} helper;

/* job, arg and parts are written before `generation` and read after it; no other order protects them. */
struct hone_cpu_crew {
    hone_cpu_job *job;
    void *arg;
    int parts, threads;
    _Atomic unsigned generation;
    _Atomic int arrived, stop;
    _Atomic int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    helper *helper;
};

/* Monotonic microseconds. */
static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The same parts for the same thread in every run: results don't depend on who was quicker. */
static void run_parts(hone_cpu_crew *t, int index)
{
    for (int part = index; part < t->parts; part += t->threads) t->job(t->arg, part, t->parts);
}

/* A helper's life. Sleeping re-checks the generation under the lock, so no wake-up is missed. */
static void *help(void *arg)
{
    helper *h = arg;
    hone_cpu_crew *t = h->crew;
    unsigned seen = 0;
    for (;;) {
        int64_t until = now_us() + SPIN_US;
        for (int spin = 1; atomic_load_explicit(&t->generation, memory_order_acquire) == seen; spin++) {
            if (spin % SPINS_PER_LOOK != 0 || now_us() < until) continue;
            pthread_mutex_lock(&t->lock);
            atomic_fetch_add(&t->sleepers, 1);
            while (atomic_load(&t->generation) == seen) pthread_cond_wait(&t->wake, &t->lock);
            atomic_fetch_sub(&t->sleepers, 1);
            pthread_mutex_unlock(&t->lock);
        }
        seen = atomic_load_explicit(&t->generation, memory_order_acquire);
        if (atomic_load(&t->stop)) return NULL;
        run_parts(t, h->index);
        atomic_fetch_add_explicit(&t->arrived, 1, memory_order_release);
    }
}

/* Wakes sleepers too. The lock orders this with a helper that is about to sleep: either it sees the new
 * generation, or it is counted before the look at `sleepers`. */
static void start(hone_cpu_crew *t)
{
    atomic_fetch_add(&t->generation, 1);
    if (atomic_load(&t->sleepers) == 0) return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* Without a crew the caller does all parts in order: the results are the same bits. */
void hone_cpu_crew_run(hone_cpu_crew *t, int parts, hone_cpu_job *job, void *arg)
{
    if (!t || parts <= 1) {
        for (int part = 0; part < parts; part++) job(arg, part, parts);
        return;
    }
    t->job = job;
    t->arg = arg;
    t->parts = parts;
    atomic_store(&t->arrived, 0);
    start(t);
    run_parts(t, 0);
    /* A helper that the system has put aside needs this core: give it away after a short spin. */
    for (int spin = 1; atomic_load_explicit(&t->arrived, memory_order_acquire) < t->threads - 1; spin++)
        if (spin > SPINS_BEFORE_YIELD) sched_yield();
}

/* `started` helpers exist: all, or fewer when opening failed halfway. */
static void stop(hone_cpu_crew *t, int started)
{
    atomic_store(&t->stop, 1);
    start(t);
    for (int k = 0; k < started; k++) pthread_join(t->helper[k].thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->helper);
    free(t);
}

/* NULL for one thread and where threads can't be had: the caller then works alone, only slower. */
hone_cpu_crew *hone_cpu_crew_open(int threads)
{
    hone_cpu_crew *t = threads > 1 ? calloc(1, sizeof *t) : NULL;
    if (!t) return NULL;
    t->threads = threads;
    t->helper = calloc((size_t)threads - 1, sizeof *t->helper);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (int k = 0; k < threads - 1; k++) {
        helper *h = t->helper ? &t->helper[k] : NULL;
        if (h) *h = (helper){.crew = t, .index = k + 1};
        if (h && pthread_create(&h->thread, NULL, help, h) == 0) continue;
        stop(t, k);
        return NULL;
    }
    return t;
}

/* Fine on NULL. No loop may be running. */
void hone_cpu_crew_close(hone_cpu_crew *t)
{
    if (t) stop(t, t->threads - 1);
}
