/* commands.c - the list of commands, in the order of `hone help`. A new command is a file with its row
 * (cli.h) and a line here. */
#include <string.h>

#include "cli/cli.h"

const hone_cli_command *const hone_cli_commands[] = {
    &hone_cli_train_command,  &hone_cli_eval_command,       &hone_cli_predict_command, &hone_cli_export_command,
    &hone_cli_import_command, &hone_cli_compare_command,    &hone_cli_plan_command,    &hone_cli_data_command,
    &hone_cli_init_command,   &hone_cli_bench_command,      &hone_cli_config_command,  &hone_cli_tokenizer_command,
    &hone_cli_doctor_command, &hone_cli_completion_command, &hone_cli_help_row,        NULL,
};

/* Exact names only, as for flags. */
const hone_cli_command *hone_cli_find(const char *name)
{
    for (int k = 0; hone_cli_commands[k]; k++)
        if (strcmp(hone_cli_commands[k]->name, name) == 0) return hone_cli_commands[k];
    return NULL;
}
