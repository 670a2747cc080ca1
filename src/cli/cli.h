/* cli.h - what the files of the command line share: the parsed command line, the table of commands,
 * and the few ways in which commands print.
 *
 * One file per command; each defines its row (flags, help with examples, function) as a constant
 * hone_cli_<name>_command and commands.c lists the rows. A command returns a hone_status, which is the
 * exit code; the dispatcher prints the recorded error. Results go to stdout, all else to stderr. */
#ifndef HONE_CLI_CLI_H
#define HONE_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/json.h"
#include "hone/config.h"
#include "hone/status.h"

typedef struct hone_cli hone_cli;

/* A flag of one command: "--steps" with a value named in help ("N"), or a switch (value NULL). */
typedef struct hone_cli_flag {
    const char *name, *value, *help;
} hone_cli_flag;

enum { HONE_CLI_MAX_FLAGS = 24 };

typedef struct hone_cli_command {
    const char *name;
    int (*run)(const hone_cli *cli); /* a hone_status                                              */
    const char *arguments;           /* "CONFIG [key.sub=value ...]": for the usage line           */
    const char *summary;             /* one line of `hone help`                                    */
    int least, most;                 /* positional arguments it takes; most -1 = any number        */
    const hone_cli_flag *flag;       /* ends with a row whose name is NULL; may be NULL            */
    const char *details;             /* paragraphs of the help page; may be NULL                   */
    const char *examples;            /* command lines with comments, a line each                   */
} hone_cli_command;

typedef enum hone_log_format { HONE_LOG_TTY, HONE_LOG_PLAIN, HONE_LOG_JSON } hone_log_format;

/* The command line, parsed. Strings point into argv and live as long as the process. */
struct hone_cli {
    int argc; /* as typed, argv[0] included: for run.json                      */
    char **argv;
    const hone_cli_command *command;
    /* global flags */
    const char *device; /* "auto" by default                                             */
    int threads;        /* 0 = all cores                                                 */
    bool seed_given;
    int64_t seed;
    bool quiet, json;
    hone_log_format log_format; /* tty only when stderr is one                                   */
    /* positional arguments of the command, config overrides among them */
    int arg_count;
    const char **arg;
    /* values of the command's own flags, in the order of its table; NULL = not given, "" = switch on */
    const char *value[HONE_CLI_MAX_FLAGS];
};

/* Value of a flag of this command ("--out"); NULL when it was not given, "" for a switch that was. */
const char *hone_cli_value(const hone_cli *cli, const char *flag);
/* The same as an integer; `*out` keeps its value when the flag is absent. USAGE out of [least, most]. */
hone_status hone_cli_int(const hone_cli *cli, const char *flag, int64_t least, int64_t most,
                         int64_t *out) HONE_MUST_USE;
/* The same as a finite number above 0. */
hone_status hone_cli_positive(const hone_cli *cli, const char *flag, double *out) HONE_MUST_USE;

/* Writes a file that must not be there yet: what somebody edited is never lost. USAGE where it is, RUNTIME. */
hone_status hone_cli_save_new(const char *path, const char *text) HONE_MUST_USE;

/* Reads the config `path` with arg[first..] as overrides (each must hold a '='), and --seed as train.seed. */
hone_status hone_cli_config(const hone_cli *cli, const char *path, int first, hone_config **out) HONE_MUST_USE;
/* The same for a page in memory, called `name` in messages. */
hone_status hone_cli_config_text(const hone_cli *cli, const char *name, const char *text, int first,
                                 hone_config **out) HONE_MUST_USE;
/* Takes `root`: prints it by jansson's JSON_... flags as a line of stdout. Errors: MEMORY (NULL among them). */
hone_status hone_cli_print_json(json_t *root, size_t flags) HONE_MUST_USE;
/* The command line as typed, quoted for a shell, for run.json. NULL when memory is exhausted; free(). */
char *hone_cli_line(const hone_cli *cli);

/* Parses argv and runs a command; returns the exit code. All of main. */
int hone_cli_main(int argc, char **argv);
/* Prints the recorded error to stderr: its message, then "  fix: hint". */
void hone_cli_print_error(hone_status status);
/* The help page of one command, and the list of all, to `f`. */
void hone_cli_help_command(FILE *f, const hone_cli_command *command);
void hone_cli_help_all(FILE *f);
/* "4.20 MiB"; returns `text`. */
const char *hone_cli_bytes(double bytes, char *text, size_t text_bytes);

extern const hone_cli_command *const hone_cli_commands[]; /* ends with NULL: commands.c */
const hone_cli_command *hone_cli_find(const char *name);  /* NULL if there is none      */

extern const hone_cli_command hone_cli_bench_command, hone_cli_compare_command, hone_cli_completion_command,
    hone_cli_config_command, hone_cli_data_command, hone_cli_doctor_command, hone_cli_eval_command,
    hone_cli_export_command, hone_cli_help_row, hone_cli_import_command, hone_cli_init_command, hone_cli_plan_command,
    hone_cli_predict_command, hone_cli_tokenizer_command, hone_cli_train_command;

#endif
