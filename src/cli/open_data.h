/* open_data.h - DATA or CONFIG on a command line: opened for `hone data` and `hone init`. */
#ifndef HONE_CLI_OPEN_DATA_H
#define HONE_CLI_OPEN_DATA_H

#include "cli/cli.h"
#include "hone/data.h"

typedef struct hone_cli_data {
    hone_config *config;
    hone_data *data;
} hone_cli_data;

/* Whether `path` names a page (.yaml, .yml) rather than data. */
bool hone_cli_is_page(const char *path);
/* The page `path`, or one made for bare data; data.check is off. */
hone_status hone_cli_data_config(const hone_cli *cli, const char *path, int first, hone_config **out) HONE_MUST_USE;
/* `path` is a page (.yaml, .yml) or data; arguments from `first` on are overrides (data.columns.label=class).
 * A page made for bare data cuts nothing from train. Pictures that can't be decoded are no error here. The
 * size of pictures in `data` is not theirs. Errors: USAGE (page), DATA. */
hone_status hone_cli_data_open(const hone_cli *cli, const char *path, int first, hone_cli_data *out) HONE_MUST_USE;
void hone_cli_data_close(hone_cli_data *d);

#endif
