/* fault.c - the test switch of the saving layer (file.h): which call fails, and how.
 *
 * State is thread-local like the error record: saving happens on one thread, and a test that injects
 * faults must not disturb another. Nothing here is reached unless file.c asks. */
#include "io/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* `calls` counts on after the fault has struck, so that a test can learn how many calls a save makes. */
typedef struct fault_state {
    bool environment_read;
    int64_t calls, k; /* k 0: off */
    hone_fault_mode mode;
} fault_state;

static _Thread_local fault_state fault;

/* Mode by its name in HONE_FAULT; NONE for an unknown one. */
static hone_fault_mode mode_of(const char *name)
{
    static const char *const names[] = {"", "kill", "enospc", "eio", "eintr", "short"};
    for (int m = HONE_FAULT_KILL; m <= HONE_FAULT_SHORT; m++)
        if (strcasecmp(name, names[m]) == 0) return (hone_fault_mode)m;
    return HONE_FAULT_NONE;
}

/* HONE_FAULT="k:mode": lets a test of the whole program do what hone_fault_set does. */
static void read_environment(void)
{
    fault.environment_read = true;
    const char *text = getenv("HONE_FAULT");
    char *end = NULL;
    if (!text) return;
    long long k = strtoll(text, &end, 10);
    if (k > 0 && *end == ':') {
        fault.k = k;
        fault.mode = mode_of(end + 1);
    }
}

/* Setting it also wins over HONE_FAULT: a test's own fault is the only one there is. */
void hone_fault_set(int64_t k, hone_fault_mode mode)
{
    fault = (fault_state){.environment_read = true, .k = mode == HONE_FAULT_NONE ? 0 : k, .mode = mode};
}

/* A save without a fault tells how many there are; the test then lets each of them fail in turn. */
int64_t hone_fault_calls(void) { return fault.calls; }

/* SIGKILL runs no handler and no atexit: what is on the disk then is what a crash would leave. */
void hone_fault_die(void)
{
    for (;;) raise(SIGKILL); /* once is enough */
}

/* Called once for each system call that changes the disk, in program order: that order is what k counts. */
hone_fault_mode hone_fault_next(bool makes_space_need)
{
    if (!fault.environment_read) read_environment();
    fault.calls++;
    if (fault.k == 0) return HONE_FAULT_NONE;
    if (fault.calls == fault.k) return fault.mode;
    /* a full disk stays full for whatever needs room */
    bool still_full = fault.mode == HONE_FAULT_ENOSPC && fault.calls > fault.k && makes_space_need;
    return still_full ? HONE_FAULT_ENOSPC : HONE_FAULT_NONE;
}

/* 0: the call is made (a short write is made too, only shorter; a kill never gets here). */
int hone_fault_errno(hone_fault_mode mode)
{
    switch (mode) {
    case HONE_FAULT_ENOSPC: return ENOSPC;
    case HONE_FAULT_EIO: return EIO;
    case HONE_FAULT_EINTR: return EINTR;
    default: return 0;
    }
}
