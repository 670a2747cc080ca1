/* model_private.h - what the files of this room share of a model. Others use include/hone/model.h. */
#ifndef HONE_MODEL_MODEL_PRIVATE_H
#define HONE_MODEL_MODEL_PRIVATE_H

#include "model/emit.h"

struct hone_model {
    hone_layer_tree tree;
    hone_param_set params;
    hone_preprocess pre;
    int classes;
    char **class_name; /* (classes) */
};

/* Emits the whole graph. `collect`: the first time, fills m->params (without values). */
hone_status hone_model_emit(const hone_model *m, hone_param_set *params, bool collect, const hone_model_opts *o,
                            hone_graph **graph, hone_model_io *io) HONE_MUST_USE;
/* build_image.c: pool, row, sample, step and the nodes up to io->image; mixing adds label, mix_table, other, share. */
hone_status hone_model_add_image(hone_graph *g, const hone_preprocess *pre, const hone_model_opts *o,
                                 hone_model_io *io) HONE_MUST_USE;
/* Expands `page`, emits once to find the parameters. Values are not filled. Errors: USAGE with every
 * mistake of the page, else with the first shape that does not fit. */
hone_status hone_model_assemble(hone_model *m, const hone_yaml *page, const hone_yaml *given) HONE_MUST_USE;
/* An empty model with these classes and preprocessing; NULL when memory is exhausted. */
hone_model *hone_model_blank(const hone_preprocess *pre, int classes, const char *const *class_name);

#endif
