/* help.c - the help pages, all made from the rows of the commands, and the command `hone help`. */
#include <string.h>

#include "cli/args.h"
#include "hone/hone.h"

/* Synonyms have no help and are not listed. */
static void print_flags(FILE *f, const hone_cli_flag *flag)
{
    for (; flag && flag->name; flag++) {
        char name[64];
        if (!flag->help) continue;
        snprintf(name, sizeof name, "%s%s%s", flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
        fprintf(f, "  %-34s %s\n", name, flag->help);
    }
}

/* Each line of `text` indented by two. */
static void print_indented(FILE *f, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        fprintf(f, "%s%.*s\n", n ? "  " : "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

/* Usage first: it is what most readers came for. */
void hone_cli_help_command(FILE *f, const hone_cli_command *c)
{
    fprintf(f, "hone %s %s\n\n%s.\n", c->name, c->arguments, c->summary);
    if (c->details) {
        fprintf(f, "\n");
        print_indented(f, c->details);
    }
    if (c->flag) {
        fprintf(f, "\nflags\n");
        print_flags(f, c->flag);
    }
    fprintf(f, "\nglobal flags\n");
    print_flags(f, hone_cli_global_flags);
    fprintf(f, "\nexamples\n");
    print_indented(f, c->examples);
}

/* The exit codes stand here because scripts need them. */
void hone_cli_help_all(FILE *f)
{
    fprintf(f, "hone %s: trains classifiers that are written as a page of YAML\n\nhone COMMAND ... [flags]\n\n",
            HONE_VERSION);
    for (int k = 0; hone_cli_commands[k]; k++)
        fprintf(f, "  %-10s %s\n", hone_cli_commands[k]->name, hone_cli_commands[k]->summary);
    fprintf(f, "\nglobal flags\n");
    print_flags(f, hone_cli_global_flags);
    fprintf(f, "\nexit codes: 0 ok, 1 run-time error, 2 usage or config, 3 data, 4 out of memory, 5 diverged,\n"
               "6 device or driver, 7 verification failed, 75 interrupted and resumable, 130 second Ctrl-C\n"
               "(hone help exit-codes)\n\n`hone help COMMAND` shows flags and examples of one.\n");
}

/* For scripts and job files: what each code promises, and what to do about it. */
static const char exit_codes[] =
    "exit codes of every command\n\n"
    "    0  ok\n"
    "    1  run-time error: a file could not be written, a limit of the system was met; the message names it\n"
    "    2  usage or config: the command line or the page is wrong; nothing was started\n"
    "    3  data: a file is missing, cut, damaged or does not fit; the message names file and place\n"
    "    4  out of memory: a smaller train.batch, or `hone plan CONFIG` for the largest that fits\n"
    "    5  diverged: no finite gradients; the last good checkpoint is there\n"
    "    6  device or driver: `hone doctor` tells what is missing\n"
    "    7  verification failed: a file that did not prove itself was not left behind\n"
    "   75  interrupted and saved: the same command goes on (SIGTERM, SIGINT, SIGUSR1)\n"
    "  130  second Ctrl-C: ended at once; the checkpoint before is there\n"
    "\nin a job: restart on 75 (Kubernetes: restartPolicy OnFailure; Slurm: --requeue --signal=USR1@90 with srun)\n";

/* The same page as `hone COMMAND --help`. */
static int help_run(const hone_cli *cli)
{
    if (cli->arg_count == 0) {
        hone_cli_help_all(stdout);
        return HONE_OK;
    }
    if (strcmp(cli->arg[0], "exit-codes") == 0) {
        fputs(exit_codes, stdout);
        return HONE_OK;
    }
    const hone_cli_command *c = hone_cli_find(cli->arg[0]);
    if (!c)
        return hone_fail(HONE_ERR_USAGE, "hone help lists the commands", "no command '%.60s' to explain", cli->arg[0]);
    hone_cli_help_command(stdout, c);
    return HONE_OK;
}

const hone_cli_command hone_cli_help_row = {
    .name = "help",
    .run = help_run,
    .arguments = "[COMMAND|exit-codes]",
    .summary = "shows what can be typed, and what exit codes mean",
    .least = 0,
    .most = 1,
    .examples = "hone help\nhone help train\nhone help exit-codes\nhone train --help",
};
