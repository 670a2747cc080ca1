/* init.h - pages that are made from data: `hone init DATA`, `hone train DATA`. */
#ifndef HONE_CLI_INIT_H
#define HONE_CLI_INIT_H

#include "cli/open_data.h"
#include "core/text.h"
#include "data/check.h"

/* A commented page for the data at `path` (free() it), read back once; arguments from `first` on are overrides for
 * reading the data. Says on stderr what it saw. A function of the data alone. Errors: DATA, USAGE, MEMORY. */
hone_status hone_cli_init_page(const hone_cli *cli, const char *path, int first, char **page) HONE_MUST_USE;

/* The two kinds of pages; `saw` gets one line for people. */
void hone_cli_init_text(const hone_cli_data *d, const char *path, const hone_data_report *r, hone_text *t);
void hone_cli_init_image(const hone_cli_data *d, const char *path, const hone_data_report *r, hone_text *t,
                         hone_text *saw);
/* What they share: the group `data`, the line `out: runs/NAME-MODEL`, largest class by the smallest that has rows in
 * train (0: no class has any). */
void hone_cli_init_data(const hone_cli_data *d, const char *path, hone_text *t);
void hone_cli_init_out(const char *path, const char *model, hone_text *t);
double hone_cli_init_imbalance(const hone_data_report *r);

#endif
