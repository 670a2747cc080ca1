/* clock_jumps.c - a module for LD_PRELOAD: the clock of the day jumps by years, back and forth, at every look at it. The
 * monotonic clock is left alone, as a system leaves it when somebody sets the time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

static atomic_int looks;

/* Seconds by which the next look is wrong: years, never the same twice. */
static time_t jump(void)
{
    int k = atomic_fetch_add(&looks, 1);
    return (time_t)(k % 2 ? -1 : 1) * (time_t)(100000000 + 7919 * (long)k);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*inner)(clockid_t, struct timespec *);
    if (!inner) *(void **)&inner = dlsym(RTLD_NEXT, "clock_gettime");
    int result = inner(id, t);
    if (result == 0 && id == CLOCK_REALTIME) t->tv_sec += jump();
    return result;
}

time_t time(time_t *out)
{
    struct timespec t;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0) return (time_t)-1;
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
