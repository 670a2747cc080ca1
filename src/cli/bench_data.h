/* bench_data.h - `hone data bench`. */
#ifndef HONE_CLI_BENCH_DATA_H
#define HONE_CLI_BENCH_DATA_H

#include "cli/cli.h"

/* Times the loader over the training pictures of DATA or CONFIG. Errors: USAGE, DATA. */
hone_status hone_cli_bench_data(const hone_cli *cli) HONE_MUST_USE;

#endif
