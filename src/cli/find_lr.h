/* find_lr.h - `hone train CONFIG --find-lr`: the sweep of train/find_lr.h on the command line. */
#ifndef HONE_CLI_FIND_LR_H
#define HONE_CLI_FIND_LR_H

#include "cli/cli.h"

/* Flags of `hone train` that belong to the sweep; each says so in its help. */
#define HONE_CLI_FIND_LR_FLAGS                                                                                         \
    {"--find-lr", NULL, "trains a few steps at rising rates and suggests train.optimizer.lr; leaves no run"},          \
        {"--lr-min", "X", "first rate of --find-lr; by default 1e-5 of sgd, 1e-7 of adamw"},                           \
        {"--lr-max", "X", "last rate of --find-lr; by default 100 of sgd, 1 of adamw"},                                \
        {"--lr-steps", "N", "steps of --find-lr; default 200"},                                                        \
    {                                                                                                                  \
        "-o", "FILE", "of --find-lr: the sweep as JSON; an existing file is not overwritten"                           \
    }

/* Runs the sweep and prints it. Errors: USAGE for flags that do not fit. */
hone_status hone_cli_find_lr(const hone_cli *cli, const hone_config *c) HONE_MUST_USE;
/* USAGE where a flag of the sweep was given without --find-lr. */
hone_status hone_cli_find_lr_check(const hone_cli *cli) HONE_MUST_USE;

#endif
