/* cli.c - from argv to an exit code: parse, dispatch, print the error, and never lose output silently.
 *
 * The only place that decides the exit code (DESIGN section 7: it is the hone_status). A reader that
 * closes the pipe (`hone plan x | head`) is no error; a full disk or a closed stdout is one. */
#include "cli/args.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "hone/hone.h"

/* A closed descriptor 0, 1 or 2 would be given to the next file that is opened, and a print would then
 * write into a checkpoint. Standing in for stdout, /dev/null is open for reading only: writes fail. */
static void hold_descriptors(void)
{
    /* stdin writable, stdout readable: each use of them then fails, as it would on a closed one. */
    static const int mode[3] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", mode[fd]) < 0) return;
}

/* Lines of a message stand alone, so that `file:line:col:` begins a line and editors can jump to it. */
void hone_cli_print_error(hone_status status)
{
    const char *message = hone_error_message(), *hint = hone_error_hint();
    fprintf(stderr, "%s\n", *message ? message : hone_status_name(status));
    if (*hint) fprintf(stderr, "  fix: %s\n", hint);
    if (getenv("HONE_DEBUG") && *hone_error_where()) fprintf(stderr, "  at: %s\n", hone_error_where());
}

/* What is still in the buffer must reach the reader, or the exit code says that it did not. */
static int finish_stdout(int status)
{
    errno = 0;
    /* ferror covers writes that failed before the last flush. */
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (!failed || errno == EPIPE) return status;
    if (status == HONE_OK || status == HONE_INTERRUPTED)
        fprintf(stderr, "stdout: the result could not be written: %s\n  fix: send it to a place that has room\n",
                strerror(errno ? errno : EIO));
    return status == HONE_OK ? HONE_ERR_RUNTIME : status;
}

/* Everything between the parsed line and the exit code. */
static int dispatch(hone_cli *cli)
{
    hone_cli_request request;
    hone_status status = hone_cli_parse(cli, &request);
    if (status != HONE_OK) {
        hone_cli_print_error(status);
        return status;
    }
    if (request == HONE_CLI_WANTS_VERSION) {
        printf("hone %s\n", HONE_VERSION);
        return HONE_OK;
    }
    if (request == HONE_CLI_WANTS_HELP) {
        if (cli->command) hone_cli_help_command(stdout, cli->command);
        else hone_cli_help_all(stdout);
        return HONE_OK;
    }
    if (!cli->command) { /* `hone` alone: what could be typed, and the exit code of a wrong command line */
        hone_cli_help_all(stderr);
        return HONE_ERR_USAGE;
    }
    status = hone_cli_check_arguments(cli);
    if (status == HONE_OK) status = (hone_status)cli->command->run(cli);
    if (status != HONE_OK) {
        fflush(stdout);
        hone_cli_print_error(status);
    }
    return status;
}

/* Packs are mapped: reading beyond the end of one that is cut meanwhile is a signal and no error. Nothing but what is safe
 * in signals may be called here; what a run has saved is whole at any moment. All decode threads meet the hole at once: the
 * first speaks and ends the process, the others wait for that. */
static void mapped_file_gone(int number)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    static const char text[] =
        "a file that is mapped into memory (a pack) was cut, or its disk failed, while it was read\n"
        "  fix: make it anew (hone data pack) and run the same command again\n";
    (void)number;
    while (atomic_flag_test_and_set(&told)) pause();
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(HONE_ERR_DATA);
    _exit(HONE_ERR_DATA);
}

/* Allocates the one array, dispatches, flushes. */
int hone_cli_main(int argc, char **argv)
{
    hold_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a write to a closed pipe returns EPIPE instead */
    signal(SIGXFSZ, SIG_IGN); /* and one beyond `ulimit -f` EFBIG: an error with a name, not a death in mid-save */
    /* not by signal(), which POSIX lets forget the handler at the first thread: the second would die of it */
    struct sigaction gone = {.sa_handler = mapped_file_gone};
    sigaction(SIGBUS, &gone, NULL);
    hone_cli cli = {.argc = argc, .argv = argv, .device = "auto"};
    cli.log_format = isatty(STDERR_FILENO) ? HONE_LOG_TTY : HONE_LOG_PLAIN;
    cli.arg = calloc((size_t)argc + 1, sizeof *cli.arg);
    if (!cli.arg) {
        hone_status no_memory = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the command line");
        hone_cli_print_error(no_memory);
        return no_memory;
    }
    int status = dispatch(&cli);
    free(cli.arg);
    return finish_stdout(status);
}

hone_status hone_cli_print_json(json_t *root, size_t flags)
{
    char *text;
    HONE_TRY(hone_json_print(root, flags, "the report", &text));
    puts(text); /* whether it arrived is seen at the end: finish_stdout */
    free(text);
    return HONE_OK;
}

/* A word that a shell would take apart stands in single quotes. */
static void append_word(hone_text *t, const char *word)
{
    if (*word &&
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^") == strlen(word)) {
        hone_text_append(t, word, strlen(word));
        return;
    }
    hone_text_append(t, "'", 1);
    for (; *word; word++) {
        if (*word == '\'') hone_text_append(t, "'\\''", 4);
        else hone_text_append(t, word, 1);
    }
    hone_text_append(t, "'", 1);
}

/* Pasted into a shell it runs the same command again. */
char *hone_cli_line(const hone_cli *cli)
{
    hone_text t = {0};
    for (int k = 0; k < cli->argc; k++) {
        if (k) hone_text_append(&t, " ", 1);
        append_word(&t, cli->argv[k]);
    }
    return hone_text_take(&t);
}

/* Binary units: memory is what is shown. */
const char *hone_cli_bytes(double bytes, char *text, size_t text_bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int k = 0;
    while (bytes >= 1024 && k < 4) {
        bytes /= 1024;
        k++;
    }
    snprintf(text, text_bytes, k ? "%.2f %s" : "%.0f %s", bytes, unit[k]);
    return text;
}
