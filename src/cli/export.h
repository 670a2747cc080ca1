/* export.h - one row a format of `hone export --to NAME`: what it is called, which flags it takes, who writes it.
 *
 * A new format is a file export_<name>.c with its row, a line in export_table.c, its flags in the
 * command's list (export.c), and its lines on the help page there. */
#ifndef HONE_CLI_EXPORT_H
#define HONE_CLI_EXPORT_H

#include "cli/cli.h"
#include "onnx/export.h"

typedef struct hone_cli_export {
    const char *name;         /* of --to                                                              */
    const char *summary;      /* one line, for the message about an unknown name                      */
    const char *const *flags; /* flags of the command that this format takes besides --to and -o; ends with NULL */
    /* cli->arg[0] is MODEL; `out` is the value of -o, NULL where it was not given.                    */
    hone_status (*run)(const hone_cli *cli, const char *out);
} hone_cli_export;

extern const hone_cli_export hone_cli_export_mlflow, hone_cli_export_onnx, hone_cli_export_safetensors,
    hone_cli_export_small, hone_cli_export_triton;
extern const hone_cli_export *const hone_cli_exports[]; /* ends with NULL: export_table.c */

/* The flags of an ONNX file, of all formats that hold one: read, and their names. */
hone_status hone_cli_onnx_flags(const hone_cli *cli, hone_onnx_export_opts *o) HONE_MUST_USE;
extern const char *const hone_cli_onnx_takes[];

#endif
