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
    int64_t vocab; /* above 0: texts of up to max_length tokens */
    int max_length;
} page_input;

/* The value of `model:` is `text`; the model sees images of the given size and classes "c0", "c1", ... */
static inline hone_status page_model(const char *text, page_input in, hone_model **out)
{
    hone_config c = {.file = (char *)HONE_SOURCE_DIR "/configs/page.yaml"};
    hone_preprocess pre = {.height = in.height, .width = in.width, .channels = in.channels};
    pre.vocab = in.vocab;
    pre.max_length = in.max_length;
    for (int k = 0; k < in.channels; k++) {
        pre.mean[k] = 0.5f;
        pre.std[k] = 0.25f;
    }
    char(*name)[16] = calloc((size_t)in.classes, sizeof *name);
    const char **names = calloc((size_t)in.classes, sizeof *names);
    *out = NULL;
    for (int k = 0; name && names && k < in.classes; k++) {
        snprintf(name[k], sizeof name[k], "c%d", k);
        names[k] = name[k];
    }
    hone_status status = name && names ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "page_model: memory exhausted");
    if (status == HONE_OK) status = hone_yaml_read_text("page.yaml", text, strlen(text), &c.model.tree);
    if (status == HONE_OK) status = hone_model_new(&c, &pre, in.classes, names, in.seed, out);
    hone_yaml_free(c.model.tree);
    free(name);
    free((void *)names);
    return status;
}

#endif
