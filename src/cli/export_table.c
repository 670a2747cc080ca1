/* export_table.c - the formats of `hone export`, in the order of its messages. A new format is a file with its
 * row (export.h), a line here, and its lines on the help page of export.c. */
#include "cli/export.h"

const hone_cli_export *const hone_cli_exports[] = {
    &hone_cli_export_safetensors, &hone_cli_export_small,  &hone_cli_export_onnx,
    &hone_cli_export_triton,      &hone_cli_export_mlflow, NULL,
};
