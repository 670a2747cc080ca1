/* describe.c - config.json and preprocessor_config.json (export.h), as timm and Hugging Face read them.
 *
 * timm: create_model("local-dir:FOLDER") takes architecture, num_classes, model_args and pretrained_cfg. transformers
 * reads the same file (TimmWrapper) with id2label and label2id; a BERT's keys are transformers.c's. Where the net has no name there, "architecture" is
 * left out, so that nobody builds another net around these weights. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/encoder.h"
#include "export/export.h"

/* (count) as a list. */
static json_t *floats(const float *x, int count)
{
    json_t *list = json_array();
    char text[32];
    for (int k = 0; k < count; k++) { /* 9 digits name the float; its double would print 17 */
        snprintf(text, sizeof text, "%.9g", (double)x[k]);
        json_array_append_new(list, json_real(strtod(text, NULL)));
    }
    return list;
}

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
                     pre->width, "mean", floats(pre->mean, pre->channels), "std", floats(pre->std, pre->channels),
                     "interpolation", "bilinear", "crop_pct", 1.0, "crop_mode", squash ? "squash" : "center",
                     "num_classes", classes, "first_conv", first, "classifier", head);
}

/* What timm's constructor must be told where it is not its default: three channels of 224 x 224. */
static json_t *timm_args(const hone_preprocess *pre, const hone_architecture *a)
{
    json_t *args = json_object();
    if (pre->channels != 3) json_object_set_new(args, "in_chans", json_integer(pre->channels));
    if (a->act == HONE_OP_gelu && (pre->height != 224 || pre->width != 224))
        json_object_set_new(args, "img_size", json_pack("[i,i]", pre->height, pre->width));
    return args;
}

/* {"0": "cat", ...}, {"cat": 0, ...} and ["cat", ...]. */
static void put_labels(json_t *root, const hone_model *m)
{
    /* JSON has only texts as keys, so ids are texts here and numbers there */
    json_t *id2label = json_object(), *label2id = json_object(), *names = json_array();
    char id[16];
    for (int k = 0; k < hone_model_classes(m); k++) {
        const char *name = hone_model_class_name(m, k);
        snprintf(id, sizeof id, "%d", k);
        json_object_set_new(id2label, id, json_string(name));
        json_object_set_new(label2id, name, json_integer(k));
        json_array_append_new(names, json_string(name));
    }
    json_object_set_new(root, "label_names", names);
    json_object_set_new(root, "id2label", id2label);
    json_object_set_new(root, "label2id", label2id);
}

/* Takes `root` over; NULL is out of memory. */
static hone_status write_json(const char *folder, const char *name, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    hone_status status = hone_export_file(folder, name, text);
    free(text);
    json_decref(root);
    return status;
}

/* The keys of transformers' fast image processors: shortest side and middle, or stretched. */
static json_t *processor(const hone_preprocess *pre)
{
    bool squash = pre->resize != HONE_RESIZE_SHORTER;
    json_t *root =
        json_pack("{s:s, s:b, s:i, s:b, s:f, s:b, s:o, s:o, s:b}", "image_processor_type",
                  squash ? "ViTImageProcessor" : "BitImageProcessor", "do_resize", 1, "resample", 2, "do_rescale", 1,
                  "rescale_factor", 1.0 / 255, "do_normalize", 1, "image_mean", floats(pre->mean, pre->channels),
                  "image_std", floats(pre->std, pre->channels), "do_convert_rgb", pre->channels == 3);
    json_t *size = json_pack("{s:i, s:i}", "height", pre->height, "width", pre->width);
    if (squash) {
        json_object_set_new(root, "size", size);
        return root;
    }
    int shorter = pre->height < pre->width ? pre->height : pre->width;
    json_object_set_new(root, "size", json_pack("{s:i}", "shortest_edge", shorter));
    json_object_set_new(root, "do_center_crop", json_true());
    json_object_set_new(root, "crop_size", size);
    return root;
}

/* num_classes and labels are written in any case: they are true whatever the net is called. */
hone_status hone_export_config(const hone_model *m, const hone_architecture *a, const hone_encoder *e,
                               const char *folder)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    int classes = hone_model_classes(m);
    json_t *root = json_object();
    if (a && a->timm) json_object_set_new(root, "architecture", json_string(a->timm));
    else if (a) json_object_set_new(root, "torchvision", json_string(a->torchvision));
    json_object_set_new(root, "num_classes", json_integer(classes));
    put_labels(root, m);
    if (a) {
        json_object_set_new(root, "model_args", timm_args(pre, a));
        json_object_set_new(root, "pretrained_cfg", timm_config(pre, a, classes));
    }
    if (e) hone_encoder_config(e, root);
    HONE_TRY(write_json(folder, "config.json", root));
    return pre->vocab > 0 ? HONE_OK : write_json(folder, "preprocessor_config.json", processor(pre));
}
