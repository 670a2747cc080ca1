/* pack.h - `hone data pack CONFIG|DATA -o FILE`, for data.c. */
#ifndef HONE_CLI_PACK_H
#define HONE_CLI_PACK_H

#include "cli/cli.h"

hone_status hone_cli_pack(const hone_cli *cli) HONE_MUST_USE;

#endif
