/* zoo.h - the models of the zoo as tests open them: pages, inputs, parameter counts; graphs and lists of parameters. */
#ifndef HONE_TESTS_ZOO_H
#define HONE_TESTS_ZOO_H

#include "core/text.h"
#include "support/model_page.h"

static const page_input SMALL = {28, 28, 1, 10, 1};

/* The model of a page that must be right. */
static inline hone_model *good(const char *text, page_input in)
{
    hone_model *m = NULL;
    hone_status status = page_model(text, in, &m);
    if (status != HONE_OK) fail_msg("%s", hone_error_message());
    return m;
}

/* Its graph, over a pool of 64 samples. */
static inline hone_graph *built(const hone_model *m, hone_mode mode, int64_t batch, hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {
        .batch = batch, .pool_rows = 64, .pool_h = pre->height, .pool_w = pre->width, .mode = mode, .accumulate = 1};
    hone_graph *g = NULL;
    if (hone_model_build(m, &o, &g, io) != HONE_OK) fail_msg("%s", hone_error_message());
    return g;
}

typedef struct zoo_row {
    const char *name, *page;
    page_input in;
    int64_t params;     /* 0: not a published figure */
    const char *golden; /* tests/golden/param_names/NAME.txt, or NULL */
} zoo_row;

/* Counts: torchvision's documentation and timm's model cards. */
static const zoo_row zoo[] = {
    {"mlp", "{file: models/mlp.yaml}", {28, 28, 1, 10, 1}, 669706, NULL},
    {"lenet", "{file: models/lenet.yaml}", {28, 28, 1, 10, 1}, 61706, NULL},
    {"cnn", "{file: models/cnn.yaml}", {28, 28, 1, 10, 1}, 0, NULL},
    {"resnet18-cifar", "{file: models/resnet18.yaml, with: {stem: cifar}}", {32, 32, 3, 10, 1}, 11173962, NULL},
    {"resnet18", "{file: models/resnet18.yaml}", {224, 224, 3, 1000, 1}, 11689512, "resnet18"},
    {"resnet34", "{file: models/resnet34.yaml}", {224, 224, 3, 1000, 1}, 21797672, "resnet34"},
    {"resnet50", "{file: models/resnet50.yaml}", {224, 224, 3, 1000, 1}, 25557032, "resnet50"},
    {"mobilenet_v2", "{file: models/mobilenet_v2.yaml}", {224, 224, 3, 1000, 1}, 3504872, "mobilenet_v2"},
    {"vit_tiny", "{file: models/vit_tiny.yaml}", {224, 224, 3, 1000, 1}, 5717416, "vit_tiny"},
    {"vit_s16", "{file: models/vit_s16.yaml}", {224, 224, 3, 1000, 1}, 22050664, "vit_s16"},
};
enum { ZOO = sizeof zoo / sizeof zoo[0] };

/* "NAME (shape)" a line, in the model's order: what tests/golden/param_names.py writes. */
static inline char *list_params(hone_model *m)
{
    hone_text t = {0};
    for (int k = 0; k < hone_model_param_count(m); k++) {
        const hone_param *p = hone_model_param(m, k);
        hone_text_add(&t, "%s (", p->name);
        for (int d = 0; d < p->rank; d++) hone_text_add(&t, "%s%lld", d ? ", " : "", (long long)p->dim[d]);
        hone_text_add(&t, ")\n");
    }
    return hone_text_take(&t);
}

#endif
