/* open_data.c - see open_data.h. Bare data are read through a page like all others, so that columns and
 * formats mean the same there and in a config. */
#include "cli/open_data.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/open_text.h"

/* By its ending, as data never have it. */
static bool is_page(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* The least page that names `path`. The model is never built; a page must have one. */
static hone_status read_bare(const hone_cli *cli, const char *path, int first, hone_config **out)
{
    hone_text t = {0};
    hone_text_add(&t, "task: text\nmodel: {layers: [flatten]}\ndata:\n  val_fraction: 0\n  path: ");
    /* a JSON string is a YAML string, whatever the path holds */
    hone_text_json(&t, path);
    hone_text_add(&t, "\n");
    char *page = hone_text_take(&t);
    if (!page) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for a page");
    hone_status s = hone_cli_config_text(cli, "command line", page, first, out);
    free(page);
    return s;
}

/* A path that is not there is left to the reader, whose message names the script that brings it. */
hone_status hone_cli_data_open(const hone_cli *cli, const char *path, int first, hone_cli_data *out)
{
    *out = (hone_cli_data){0};
    bool page = is_page(path);
    HONE_TRY(page ? hone_cli_config(cli, path, first, &out->config) : read_bare(cli, path, first, &out->config));
    bool text = page ? out->config->task == HONE_TASK_TEXT
                     : hone_path_look(path, NULL) == HONE_PATH_MISSING || hone_text_looks(path);
    hone_status s = HONE_OK;
    if (!text)
        s = hone_fail(HONE_ERR_USAGE, "hone plan and hone train name what is wrong with pictures",
                      "%s: these are pictures, and this command knows text only so far", path);
    if (s == HONE_OK) s = hone_data_open(out->config, &(hone_image_spec){0}, &out->data);
    if (s != HONE_OK) hone_cli_data_close(out);
    return s;
}

/* Fine on one that was only half opened. */
void hone_cli_data_close(hone_cli_data *d)
{
    hone_data_free(d->data);
    hone_config_free(d->config);
    *d = (hone_cli_data){0};
}
