/* completion.c - `hone completion bash|zsh`: a script for the shell, made from the same tables as the help pages, so
 * that it can't name what is not there. zsh runs the bash function through its bashcompinit. */
#include <string.h>

#include "cli/args.h"

/* Flags of a table, blanks between. */
static void print_flags(const hone_cli_flag *flag)
{
    for (; flag && flag->name; flag++)
        if (flag->help) printf(" %s", flag->name);
}

/* A key that has a row per kind stands once: its rows follow each other. */
static void print_keys(void)
{
    const char *last = "";
    for (int k = 0; hone_config_key(k); k++) {
        if (strcmp(hone_config_key(k), last) != 0) printf(" %s=", hone_config_key(k));
        last = hone_config_key(k);
    }
}

/* Commands whose arguments may be key=value: their usage line says so. */
static bool takes_overrides(const hone_cli_command *c) { return strstr(c->arguments, "key.sub=value") != NULL; }

static void print_commands(void)
{
    for (int k = 0; hone_cli_commands[k]; k++) printf(" %s", hone_cli_commands[k]->name);
}

/* One branch of the case: the flags of a command, and whether keys complete behind its config. */
static void print_branch(const hone_cli_command *c)
{
    printf("    %s) flags=\"", c->name);
    print_flags(c->flag);
    printf("\"%s ;;\n", takes_overrides(c) ? "; words=$keys" : strcmp(c->name, "help") == 0 ? "; words=$commands" : "");
}

static void print_bash(void)
{
    printf("# completion of hone for bash: source <(hone completion bash)\n_hone() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} flags= words= commands=\"");
    print_commands();
    printf("\"\n    local keys=\"");
    print_keys();
    printf(
        "\"\n    if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"$commands\" -- \"$word\")); return; fi\n"
        "    case ${COMP_WORDS[1]} in\n");
    for (int k = 0; hone_cli_commands[k]; k++) print_branch(hone_cli_commands[k]);
    printf("    esac\n    case $word in\n    -*) COMPREPLY=($(compgen -W \"$flags");
    print_flags(hone_cli_global_flags);
    /* a key goes on with its value: no blank behind the = */
    printf("\" -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -W \"$words\" -- \"$word\") $(compgen -f -- \"$word\"))\n"
           "       case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac ;;\n    esac\n}\n"
           "complete -o filenames -F _hone hone\n");
}

static int run(const hone_cli *cli)
{
    const char *shell = cli->arg[0];
    bool zsh = strcmp(shell, "zsh") == 0;
    if (!zsh && strcmp(shell, "bash") != 0)
        return hone_fail(HONE_ERR_USAGE, "hone completion bash, or zsh", "there is no completion for %.40s", shell);
    if (zsh)
        printf("# completion of hone for zsh: source <(hone completion zsh)\nautoload -U +X compinit && compinit\n"
               "autoload -U +X bashcompinit && bashcompinit\n");
    print_bash();
    return HONE_OK;
}

const hone_cli_command hone_cli_completion_command = {
    .name = "completion",
    .run = run,
    .arguments = "bash|zsh",
    .summary = "prints a script that completes commands, flags and config keys",
    .least = 1,
    .most = 1,
    .details = "Commands, flags, keys of the config (train.batch=) and file names complete with the Tab key.",
    .examples = "hone completion bash > /etc/bash_completion.d/hone\nhone completion zsh > ~/.hone-completion.zsh",
};
