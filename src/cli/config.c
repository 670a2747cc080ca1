/* config.c - `hone config show|explain|schema`: what a page means once all defaults are in. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/text.h"

/* Prints a text that the library made, and frees it. */
static int print_text(char *text)
{
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the text");
    fputs(text, stdout);
    if (*text && text[strlen(text) - 1] != '\n') putchar('\n');
    free(text);
    return HONE_OK;
}

/* --json: {"resolved": "the page"}; the page itself is YAML. */
static int print_page(const hone_cli *cli, char *page)
{
    if (!cli->json || !page) return print_text(page);
    hone_text t = {0};
    hone_text_add(&t, "{\"resolved\": ");
    hone_text_json(&t, page);
    hone_text_add(&t, "}");
    free(page);
    return print_text(hone_text_take(&t));
}

/* Reading checks the page, so a wrong one is never shown as if it were right. */
static int show(const hone_cli *cli)
{
    hone_config *c = NULL;
    if (cli->arg_count < 2)
        return hone_fail(HONE_ERR_USAGE, "hone config show CONFIG", "config show needs the path of a config");
    HONE_TRY(hone_cli_config(cli, cli->arg[1], 2, &c));
    char *page = hone_config_resolved(c);
    hone_config_free(c);
    return print_page(cli, page);
}

/* Several keys in one go; without any, all of them. */
static int explain(const hone_cli *cli)
{
    char *text = NULL;
    if (cli->arg_count < 2) {
        HONE_TRY(hone_config_explain("", &text));
        return print_text(text);
    }
    for (int k = 1; k < cli->arg_count; k++) {
        HONE_TRY(hone_config_explain(cli->arg[k], &text));
        HONE_TRY((hone_status)print_text(text));
    }
    return HONE_OK;
}

/* The verb is an argument, so flags may stand anywhere. */
static int config_run(const hone_cli *cli)
{
    /* for the suggestion */
    static const char *const verb[] = {"show", "explain", "schema"};
    const char *what = cli->arg[0];
    if (strcmp(what, "show") == 0) return show(cli);
    if (strcmp(what, "explain") == 0) return explain(cli);
    if (strcmp(what, "schema") == 0 && cli->arg_count == 1) return print_text(hone_config_schema_json());
    if (strcmp(what, "schema") == 0) return hone_fail(HONE_ERR_USAGE, NULL, "config schema takes no argument");
    const char *near = hone_did_you_mean(what, verb, 3);
    return hone_fail(HONE_ERR_USAGE, "hone help config shows examples",
                     "config %s: expects show, explain or schema%s%s%s", what, near ? " (did you mean " : "",
                     near ? near : "", near ? "?)" : "");
}

const hone_cli_command hone_cli_config_command = {
    .name = "config",
    .run = config_run,
    .arguments = "show CONFIG [key.sub=value ...] | explain [KEY ...] | schema",
    .summary = "shows a config with all defaults, explains keys, prints the JSON schema",
    .least = 1,
    .most = -1,
    .details = "show     checks the page and prints every key with its value and where it came from;\n"
               "         the output is a config that stands alone\n"
               "explain  value, range, default and meaning of a key, or all keys below a group\n"
               "schema   JSON Schema (draft 2020-12) for editors that complete and check YAML",
    .examples = "hone config show configs/fashion-cnn.yaml train.epochs=3\n"
                "hone config explain train.optimizer\n"
                "hone config schema > hone.schema.json",
};
