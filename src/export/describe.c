/* describe.c - config.json and preprocessor_config.json (export.h), as timm and Hugging Face read them.
 *
 * timm: create_model("local-dir:FOLDER") takes architecture, num_classes, model_args and pretrained_cfg. transformers
 * reads the same file (TimmWrapper) with id2label and label2id; a BERT's keys are transformers.c's. Where the net has no name there, "architecture" is
 * left out, so that nobody builds another net around these weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "export/encoder.h"
#include "export/export.h"

/* How timm prepares an image: fractions of pixels in 0..1, as hone's own. */
static json_t *timm_config(const hone_preprocess *pre, const hone_architecture *a, int classes)
{
    /* both sides stretched is "squash" there; else the shorter side is fitted and the middle cut out */
    bool squash = pre->resize != HONE_RESIZE_SHORTER;
    /* modules, not parameters: "conv1", "fc" */
    char first[64], head[64];
    snprintf(first, sizeof first, "%.*s", (int)(strlen(a->first) - strlen(".weight")), a->first);
    snprintf(head, sizeof head, "%.*s", (int)(strlen(a->head) - strlen(".weight")), a->head);
    return json_pack("{s:[i,i,i], s:o, s:o, s:s, s:f, s:s, s:i, s:s, s:s}", "input_size", pre->channels, pre->height,
                     pre->width, "mean", hone_json_floats(pre->mean, pre->channels), "std",
                     hone_json_floats(pre->std, pre->channels), "interpolation", "bilinear", "crop_pct", 1.0,
                     "crop_mode", squash ? "squash" : "center", "num_classes", classes, "first_conv", first,
                     "classifier", head);
}

/* What timm's constructor must be told where it is not its default: three channels of 224 x 224. */
static json_t *timm_args(const hone_preprocess *pre, const hone_architecture *a)
{
    json_t *args = json_object();
    if (pre->channels != 3) args = hone_json_with(args, "in_chans", json_integer(pre->channels));
    if (a->act == HONE_OP_gelu && (pre->height != 224 || pre->width != 224))
        args = hone_json_with(args, "img_size", json_pack("[i,i]", pre->height, pre->width));
    return args;
}

/* {"0": "cat", ...}, {"cat": 0, ...} and ["cat", ...]. */
static json_t *with_labels(json_t *root, const hone_model *m)
{
    /* JSON has only texts as keys, so ids are texts here and numbers there */
    json_t *id2label = json_object(), *label2id = json_object(), *names = json_array();
    char id[16];
    for (int k = 0; k < hone_model_classes(m); k++) {
        const char *name = hone_model_class_name(m, k);
        snprintf(id, sizeof id, "%d", k);
        id2label = hone_json_with(id2label, id, json_string(name));
        label2id = hone_json_with(label2id, name, json_integer(k));
        names = hone_json_added(names, json_string(name));
    }
    root = hone_json_with(root, "label_names", names);
    root = hone_json_with(root, "id2label", id2label);
    return hone_json_with(root, "label2id", label2id);
}

/* The keys of transformers' fast image processors: shortest side and middle, or stretched. */
static json_t *processor(const hone_preprocess *pre)
{
    bool squash = pre->resize != HONE_RESIZE_SHORTER;
    json_t *root = json_pack("{s:s, s:b, s:i, s:b, s:f, s:b, s:o, s:o, s:b}", "image_processor_type",
                             squash ? "ViTImageProcessor" : "BitImageProcessor", "do_resize", 1, "resample", 2,
                             "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1, "image_mean",
                             hone_json_floats(pre->mean, pre->channels), "image_std",
                             hone_json_floats(pre->std, pre->channels), "do_convert_rgb", pre->channels == 3);
    json_t *size = json_pack("{s:i, s:i}", "height", pre->height, "width", pre->width);
    if (squash) return hone_json_with(root, "size", size);
    int shorter = pre->height < pre->width ? pre->height : pre->width;
    root = hone_json_with(root, "size", json_pack("{s:i}", "shortest_edge", shorter));
    root = hone_json_with(root, "do_center_crop", json_true());
    return hone_json_with(root, "crop_size", size);
}

/* num_classes and labels are written in any case: they are true whatever the net is called. */
hone_status hone_export_config(const hone_model *m, const hone_architecture *a, const hone_encoder *e,
                               const char *folder)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    int classes = hone_model_classes(m);
    json_t *root = json_object();
    if (a && a->timm) root = hone_json_with(root, "architecture", json_string(a->timm));
    else if (a) root = hone_json_with(root, "torchvision", json_string(a->torchvision));
    root = hone_json_with(root, "num_classes", json_integer(classes));
    root = with_labels(root, m);
    if (a) {
        root = hone_json_with(root, "model_args", timm_args(pre, a));
        root = hone_json_with(root, "pretrained_cfg", timm_config(pre, a, classes));
    }
    if (e) root = hone_encoder_config(e, root);
    HONE_TRY(hone_export_json(folder, "config.json", root));
    return pre->vocab > 0 ? HONE_OK : hone_export_json(folder, "preprocessor_config.json", processor(pre));
}
