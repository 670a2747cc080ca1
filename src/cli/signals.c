/* signals.c - the stop flag of long commands. The handler only sets it, or leaves at once: everything
 * that saving needs happens in the loops that poll it. The flag is the one mutable global of hone: a
 * signal handler can reach nothing else. */
#include <signal.h>
#include <unistd.h>

#include "cli/progress.h"

enum { EXIT_SECOND_INTERRUPT = 130 };

static volatile int stop_flag;
static volatile sig_atomic_t interrupts;

/* Only what POSIX allows in a handler: a flag, _exit. */
static void on_signal(int number)
{
    if (number == SIGINT && interrupts++) _exit(EXIT_SECOND_INTERRUPT);
    stop_flag = 1;
}

volatile int *hone_cli_catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    sigemptyset(&a.sa_mask);
    a.sa_flags = SA_RESTART; /* system calls go on: the flag is looked at soon enough */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGUSR1, &a, NULL);
    /* a reader that went away (| head) must not end a run: writes fail and are ignored */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
    return &stop_flag;
}
