/* args.h - between the parser of the command line and the dispatcher; commands use cli.h alone. */
#ifndef HONE_CLI_ARGS_H
#define HONE_CLI_ARGS_H

#include "cli/cli.h"

typedef enum hone_cli_request { HONE_CLI_WANTS_RUN, HONE_CLI_WANTS_HELP, HONE_CLI_WANTS_VERSION } hone_cli_request;

extern const hone_cli_flag hone_cli_global_flags[]; /* ends with a NULL name; rows without help are synonyms */

/* Fills `cli` from its argc and argv; cli->arg has room for argc pointers. USAGE names the flag. */
hone_status hone_cli_parse(hone_cli *cli, hone_cli_request *request) HONE_MUST_USE;
/* USAGE when the command got too few or too many arguments. */
hone_status hone_cli_check_arguments(const hone_cli *cli) HONE_MUST_USE;
hone_status hone_cli_parse_int(const char *name, const char *text, int64_t least, int64_t most,
                               int64_t *out) HONE_MUST_USE;

#endif
