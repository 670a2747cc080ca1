/* model_page.h - models from a page of layers, without a config file: what several tests start from. */
#ifndef HONE_TESTS_MODEL_PAGE_H
#define HONE_TESTS_MODEL_PAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/model.h"

typedef struct page_input {
    int height, width, channels, classes;
    uint64_t seed;
} page_input;

/* The value of `model:` is `text`; the model sees what `pre` says, and classes "c0", "c1", ... */
static inline hone_status page_model_of(const char *text, const hone_preprocess *pre, int classes, uint64_t seed,
                                        hone_model **out)
{
    hone_config c = {.file = (char *)HONE_SOURCE_DIR "/configs/page.yaml"};
    char(*name)[16] = calloc((size_t)classes, sizeof *name);
    const char **names = calloc((size_t)classes, sizeof *names);
    *out = NULL;
    for (int k = 0; name && names && k < classes; k++) {
        snprintf(name[k], sizeof name[k], "c%d", k);
        names[k] = name[k];
    }
    hone_status status = name && names ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "page_model: memory exhausted");
    if (status == HONE_OK) status = hone_yaml_read_text("page.yaml", text, strlen(text), &c.model.tree);
    if (status == HONE_OK) status = hone_model_new(&c, pre, classes, names, seed, out);
    hone_yaml_free(c.model.tree);
    free(name);
    free((void *)names);
    return status;
}

/* Images of the given size. */
static inline hone_status page_model(const char *text, page_input in, hone_model **out)
{
    hone_preprocess pre = {.height = in.height, .width = in.width, .channels = in.channels};
    for (int k = 0; k < in.channels; k++) {
        pre.mean[k] = 0.5f;
        pre.std[k] = 0.25f;
    }
    return page_model_of(text, &pre, in.classes, in.seed, out);
}

#endif
