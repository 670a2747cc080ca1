/* compare.c - `hone compare`: runs side by side. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"
#include "report/compare.h"

/* The page, where one was asked for. */
static hone_status write_page(const hone_comparison *c, const char *path)
{
    char *html;
    if (!path) return HONE_OK;
    HONE_TRY(hone_compare_html(c, &html));
    hone_status status = hone_file_write(path, html, strlen(html));
    free(html);
    return status;
}

static int run(const hone_cli *cli)
{
    hone_comparison *c = NULL;
    hone_status status = hone_compare_open(cli->arg, cli->arg_count, &c);
    if (status != HONE_OK) return (int)status;
    char *text = NULL;
    if (cli->json) status = hone_compare_json(c, &text);
    else if (!(text = hone_compare_text(c))) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the comparison");
    if (status == HONE_OK) printf("%s%s", text, cli->json ? "\n" : "");
    free(text);
    if (status == HONE_OK) status = write_page(c, hone_cli_value(cli, "--report"));
    hone_compare_free(c);
    return (int)status;
}

static const hone_cli_flag flags[] = {
    {"--report", "PAGE", "also writes a page (HTML) with the curves of all runs"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_compare_command = {
    .name = "compare",
    .run = run,
    .arguments = "RUN RUN...",
    .summary = "runs side by side: figures, verdicts, what differs in their configs",
    .least = 2,
    .most = -1,
    .flag = flags,
    .details =
        "RUN is a run directory. Accuracies come with 95 % intervals; a run whose difference to the best may be\n"
        "chance is called not distinguishable. Curves of the runs: --report.",
    .examples = "hone compare runs/a runs/b\n"
                "hone compare runs/a runs/b runs/c --report compare.html\n"
                "hone compare runs/a runs/b --json\n",
};
