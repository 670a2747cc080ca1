/* command.h - runs the hone of this build as a user does, through a shell. */
#ifndef HONE_TESTS_COMMAND_H
#define HONE_TESTS_COMMAND_H

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What the last command wrote to its stdout. */
static char output[1 << 16];

/* `hone ARGS` in the folder; its exit code, -1 where a signal ended it. */
static inline int run(const char *root, const char *args)
{
    char line[4096];
    snprintf(line, sizeof line, "cd '%s' && '%s' %s", root, HONE_BINARY, args);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof output - 1, p);
    output[n] = '\0';
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Fails the test unless the command ends with `code` and says `says`. */
static inline void runs(const char *root, const char *args, int code, const char *says)
{
    int got = run(root, args);
    if (got != code || !strstr(output, says))
        fail_msg("hone %s: wanted %d and \"%s\", got %d and \"%s\"", args, code, says, got, output);
}

#endif
