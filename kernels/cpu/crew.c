/* crew.c - see crew.h. One word says which loop runs, how many parts it has and which of them are taken.
 *
 *   word:    generation (32) | parts (16) | taken (16)
 *   caller:  job, arg; finished = 0; word = next generation, parts, 0  ->  claims parts  ->  waits for finished == parts
 *   helper:  waits for taken < parts  ->  claims parts, each by one more in the word  ->  finished += what it did
 *
 * A part goes to whoever is free: a thread whose core is lent to somebody else holds up the part that it has, not half
 * of the loop, and one that sleeps holds up nothing. Parts are cut by shape alone, so who computes one changes no bit.
 * Waiting spins first: the gap between two loops of a step is shorter than waking a thread. */
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
    SPINS_BEFORE_YIELD = 20000 /* some 20 us */,
    MAX_PARTS = 0xffff /* of a word; a loop has about as many parts as there are threads */
};

/* Parts of a word, and how many of them are taken */
static int parts_of(uint64_t word) { return (int)(word >> 16 & MAX_PARTS); }
static int taken_of(uint64_t word) { return (int)(word & MAX_PARTS); }

/* job and arg are written before `word` and read after a part of it is claimed: until that part is finished the
 * caller starts no other loop. */
struct hone_cpu_crew {
    hone_cpu_job *job;
    void *arg;
    int threads;
    _Atomic uint64_t word;
    _Atomic int finished, stop, sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *helper; /* (threads - 1) */
};

/* Monotonic microseconds. */
static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* In one order with `sleepers`: see wake. */
static bool work_is_there(hone_cpu_crew *t)
{
    uint64_t word = atomic_load(&t->word);
    return taken_of(word) < parts_of(word) || atomic_load(&t->stop);
}

/* Claims and runs parts until none is left; a word of a loop that is over fails to be swapped. */
static void run_parts(hone_cpu_crew *t)
{
    int done = 0;
    uint64_t word = atomic_load_explicit(&t->word, memory_order_acquire);
    while (taken_of(word) < parts_of(word)) {
        if (!atomic_compare_exchange_weak_explicit(&t->word, &word, word + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        t->job(t->arg, taken_of(word), parts_of(word));
        done++;
        word = atomic_load_explicit(&t->word, memory_order_acquire);
    }
    if (done) atomic_fetch_add_explicit(&t->finished, done, memory_order_release);
}

/* A helper's life. Sleeping looks for work again under the lock, so no wake-up is missed. */
static void *help(void *arg)
{
    hone_cpu_crew *t = arg;
    while (!atomic_load(&t->stop)) {
        int64_t until = now_us() + SPIN_US;
        for (int spin = 1; !work_is_there(t); spin++) {
            if (spin % SPINS_PER_LOOK != 0 || now_us() < until) continue;
            pthread_mutex_lock(&t->lock);
            atomic_fetch_add(&t->sleepers, 1);
            while (!work_is_there(t)) pthread_cond_wait(&t->wake, &t->lock);
            atomic_fetch_sub(&t->sleepers, 1);
            pthread_mutex_unlock(&t->lock);
        }
        run_parts(t);
    }
    return NULL;
}

/* Wakes sleepers. The lock orders this with a helper that is about to sleep: either it sees what was written
 * before, or it is counted before the look at `sleepers`. */
static void wake(hone_cpu_crew *t)
{
    if (atomic_load(&t->sleepers) == 0) return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* Without a crew the caller does all parts in order: the results are the same bits. */
void hone_cpu_crew_run(hone_cpu_crew *t, int parts, hone_cpu_job *job, void *arg)
{
    if (!t || parts <= 1 || parts > MAX_PARTS) {
        for (int part = 0; part < parts; part++) job(arg, part, parts);
        return;
    }
    t->job = job;
    t->arg = arg;
    atomic_store(&t->finished, 0);
    uint64_t generation = (atomic_load(&t->word) >> 32) + 1;
    atomic_store(&t->word, generation << 32 | (uint64_t)parts << 16);
    wake(t);
    run_parts(t);
    /* A helper that the system has put aside needs this core: give it away after a short spin. */
    for (int spin = 1; atomic_load_explicit(&t->finished, memory_order_acquire) < parts; spin++)
        if (spin > SPINS_BEFORE_YIELD) sched_yield();
}

/* `started` helpers exist: all, or fewer when opening failed halfway. */
static void stop(hone_cpu_crew *t, int started)
{
    atomic_store(&t->stop, 1);
    wake(t);
    for (int k = 0; k < started; k++) pthread_join(t->helper[k], NULL);
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
        if (t->helper && pthread_create(&t->helper[k], NULL, help, t) == 0) continue;
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
