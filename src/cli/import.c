/* import.c - `hone import`: weights of torchvision or timm as a model folder, and a list of what matched. */
#include <stdlib.h>

#include "cli/cli.h"
#include "import/import.h"

/* Machine-readable: the same facts as the lines for people. */
static hone_status print_json(const hone_import *r, const char *out)
{
    json_t *o =
        json_pack("{s:o, s:o, s:s, s:i, s:b, s:i, s:i, s:i, s:o, s:o}", "path", hone_json_string(out), "file",
                  hone_json_string(r->file), "architecture", r->architecture, "classes", r->classes, "class_names",
                  r->named, "matched", r->weights.loaded, "parameters", r->weights.params, "left", r->weights.unused,
                  "weights_notes", hone_json_string(r->weights.notes), "notes", hone_json_string(r->notes));
    return hone_cli_print_json(o, 0);
}

/* Without -o there is no good place: FOLDER is somebody else's, and runs/ may not be where one stands. */
static int run(const hone_cli *cli)
{
    const char *out = hone_cli_value(cli, "-o");
    hone_import r;
    hone_status status = HONE_OK;
    if (!out) return (int)hone_fail(HONE_ERR_USAGE, "hone import FOLDER -o RUN", "import needs -o");
    HONE_TRY(hone_import_folder(cli->arg[0], out, &r));
    if (cli->json) status = print_json(&r, out);
    else {
        printf("%s: %s, %d classes%s\n", out, r.architecture, r.classes,
               r.named ? "" : " (no names in the folder: 0, 1, 2...)");
        printf("weights        %d of %d parameters matched, %d arrays of %s left\n", r.weights.loaded, r.weights.params,
               r.weights.unused, r.file);
        printf("%s%s", r.weights.notes, r.notes);
        printf("next           hone predict %s IMAGE..., or train.init: %s in a page\n", out, out);
    }
    hone_import_free(&r);
    return (int)status;
}

static const hone_cli_flag flags[] = {
    {"-o", "RUN", "the model folder to make"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_import_command = {
    .name = "import",
    .run = run,
    .arguments = "FOLDER -o RUN",
    .summary = "weights of torchvision or timm as a model folder",
    .least = 1,
    .most = 1,
    .flag = flags,
    .details =
        "FOLDER holds model.safetensors (FOLDER may be that file) and config.json of timm, where there is one:\n"
        "class names, size, mean and std come from it; without it 224 x 224 and ImageNet's mean and std.\n"
        "Nets: ResNet-18, 34, 50 and MobileNetV2 of torchvision; ResNet-18, 34, 50, ViT-Ti/16, ViT-S/16 of timm.\n"
        "To train from them with other classes: `train.init: RUN` in a page with that net; the head is set anew.",
    .examples = "hone import downloads/resnet18 -o runs/imagenet\n"
                "hone import weights/vit_small.safetensors -o runs/vit\n",
};
