/* describe.c - metadata_props of an exported file: what a server needs besides the graph, as text (export.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/resize.h"
#include "hone/hone.h"
#include "io/json_file.h"
#include "onnx/export.h"

/* Takes the object over; JSON text as the value of `key`. */
static hone_status put_json(hone_onnx *m, const char *key, json_t *value)
{
    char *text;
    HONE_TRY(hone_json_print(value, JSON_COMPACT | JSON_REAL_PRECISION(9), "metadata", &text));
    hone_onnx_meta(m, key, text);
    free(text);
    return HONE_OK;
}

/* How pixels or texts become the input, in the words of model.json; `in_graph` tells a server whether it is to
 * do that itself. */
static json_t *preprocess_json(const hone_preprocess *p, bool inside)
{
    if (p->vocab > 0)
        return json_pack("{s:I, s:i, s:b, s:s}", "vocab", (json_int_t)p->vocab, "max_length", p->max_length, "pairs",
                         p->pairs, "tokenizer", "tokenizer.json");
    return json_pack("{s:b, s:i, s:i, s:i, s:s, s:s, s:o, s:o}", "in_graph", inside, "height", p->height, "width",
                     p->width, "channels", p->channels, "resize", hone_resize_name(p->resize), "interpolation",
                     "bilinear, antialiased", "mean", hone_json_floats(p->mean, p->channels), "std",
                     hone_json_floats(p->std, p->channels));
}

/* What run.json says of the data and the figures; a model without a run has no such lines. */
static hone_status put_run(const hone_saved *s, hone_onnx *m)
{
    /* keys of run.json; a model file outside a run has none of them */
    static const char *const key[] = {"data_fingerprint", "best_metric", "best", "best_step", "started"};
    json_t *run;
    HONE_TRY(hone_json_file(s->run_dir, "run.json", &run));
    for (size_t k = 0; k < sizeof key / sizeof key[0]; k++) {
        json_t *value = json_object_get(run, key[k]);
        if (json_is_string(value)) hone_onnx_meta(m, key[k], json_string_value(value));
        if (json_is_number(value)) {
            char text[32];
            snprintf(text, sizeof text, "%.9g", json_number_value(value));
            hone_onnx_meta(m, key[k], text);
        }
    }
    json_decref(run);
    return HONE_OK;
}

/* Everything is text, as metadata_props are strings alone. Labels come as a JSON list, because a comma may stand
 * in a class name. */
hone_status hone_onnx_describe(const hone_saved *s, const hone_onnx_export_opts *o, hone_onnx *m)
{
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    json_t *labels = json_array();
    m->producer_version = HONE_VERSION;
    m->graph_name = pre->vocab > 0 ? "text classifier" : "image classifier";
    for (int k = 0; k < hone_model_classes(s->model); k++)
        labels = hone_json_added(labels, hone_json_string(hone_model_class_name(s->model, k)));
    hone_onnx_meta(m, "task", pre->vocab > 0 ? "text-classification" : "image-classification");
    HONE_TRY(put_json(m, "labels", labels));
    HONE_TRY(put_json(m, "preprocess", preprocess_json(pre, o->lower.preprocess)));
    if (pre->vocab == 0) hone_onnx_meta(m, "input_color", pre->channels == 1 ? "grey" : "RGB");
    hone_onnx_meta(m, "hone", HONE_VERSION);
    HONE_TRY(put_run(s, m));
    return hone_onnx_status(m);
}
