/* open_data.c - see open_data.h. Bare data are read through a page like all others, so that columns and
 * formats mean the same there and in a config. */
#include "cli/open_data.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/dataset.h"
#include "data/open_text.h"

/* By its ending, which data never have. */
bool hone_cli_is_page(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* The least page that names `path`. The model is never built; a page must have one. */
static hone_status read_bare(const hone_cli *cli, const char *path, bool text, int first, hone_config **out)
{
    hone_text t = {0};
    hone_text_add(&t,
                  "task: %s\nmodel: {layers: [flatten]}\ndata:\n  val_fraction: 0\n  path: ", text ? "text" : "image");
    /* a JSON string is a YAML string, whatever the path holds */
    hone_text_json(&t, path);
    hone_text_add(&t, "\n");
    char *page = hone_text_take(&t);
    if (!page) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for a page");
    hone_status s = hone_cli_config_text(cli, "command line", page, first, out);
    free(page);
    return s;
}

/* A path that is not there is left to the reader of texts, whose message names the script that brings it. */
hone_status hone_cli_data_config(const hone_cli *cli, const char *path, int first, hone_config **out)
{
    bool page = hone_cli_is_page(path);
    hone_error_clear();
    bool text = !page && hone_text_looks(path);
    if (hone_memory_failed()) return HONE_ERR_MEMORY;
    HONE_TRY(page ? hone_cli_config(cli, path, first, out) : read_bare(cli, path, text, first, out));
    (*out)->data.check = HONE_CHECK_OFF; /* findings are what other commands tell */
    return HONE_OK;
}

hone_status hone_cli_data_open(const hone_cli *cli, const char *path, int first, hone_cli_data *out)
{
    *out = (hone_cli_data){0};
    HONE_TRY(hone_cli_data_config(cli, path, first, &out->config));
    hone_config *c = out->config;
    /* all that is broken is told, not the first of it */
    if (c->task == HONE_TASK_IMAGE) c->data.on_error = HONE_ON_ERROR_SKIP;
    /* pictures are looked at in the size they have */
    hone_status s = hone_data_open(c, &HONE_IMAGE_SPEC_NONE, &out->data);
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
