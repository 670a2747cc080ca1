/* open_data.h - DATA or CONFIG on a command line: opened as text data, for `hone data` and `hone init`. */
#ifndef HONE_CLI_OPEN_DATA_H
#define HONE_CLI_OPEN_DATA_H

#include "cli/cli.h"
#include "hone/data.h"

typedef struct hone_cli_data {
    hone_config *config;
    hone_data *data;
} hone_cli_data;

/* `path` is a page (.yaml, .yml) or data; arguments from `first` on are overrides (data.columns.label=class).
 * A page made for bare data cuts nothing from train. Errors: USAGE for pictures, DATA for broken data. */
hone_status hone_cli_data_open(const hone_cli *cli, const char *path, int first, hone_cli_data *out) HONE_MUST_USE;
void hone_cli_data_close(hone_cli_data *d);

#endif
