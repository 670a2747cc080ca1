/* card.c - README.md of an exported folder, a model card: what the model is, how well it did on what, how to load it.
 *
 * Figures are those of the run (eval/report.json, run.json); what a run does not hold is not said. The licence is the
 * user's to choose, so there is none. */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "export/export.h"
#include "io/json_file.h"

/* "| accuracy | 0.9335 |" */
static void add_figure(hone_text *t, const json_t *report, const char *key, const char *name)
{
    const json_t *v = json_object_get(report, key);
    if (json_is_integer(v)) hone_text_add(t, "| %s | %lld |\n", name, (long long)json_integer_value(v));
    else if (json_is_number(v)) hone_text_add(t, "| %s | %.4f |\n", name, json_number_value(v));
}

/* The evaluation at the end of the run: test where there is one, else val. */
static void add_metrics(hone_text *t, const json_t *report, const json_t *run)
{
    if (!report) {
        hone_text_add(t, "The run holds no evaluation.\n");
        return;
    }
    /* pairs of numbers, as hone eval --json prints them */
    const json_t *range = json_object_get(report, "accuracy_95"), *tests = json_object_get(run, "test_samples");
    hone_text_add(t, "On the %s split:\n\n| figure | value |\n|---|---|\n",
                  json_integer_value(tests) > 0 ? "test" : "validation");
    add_figure(t, report, "n", "samples");
    add_figure(t, report, "accuracy", "accuracy");
    if (json_array_size(range) == 2)
        hone_text_add(t, "| 95 %% interval of it | %.4f to %.4f |\n", json_number_value(json_array_get(range, 0)),
                      json_number_value(json_array_get(range, 1)));
    add_figure(t, report, "f1_macro", "F1, mean over the classes");
    add_figure(t, report, "loss", "loss (mean cross entropy)");
}

/* What the weights were made from: enough to tell two runs apart, nothing that names a person or a machine. */
static void add_training(hone_text *t, const json_t *run)
{
    const json_t *fingerprint = json_object_get(run, "data_fingerprint");
    if (!run) return;
    hone_text_add(t, "\n## Training\n\n");
    if (fingerprint) hone_text_add(t, "- data fingerprint: `%s` (xxh3)\n", json_string_value(fingerprint));
    hone_text_add(t, "- samples: %lld for training, %lld for validation, %lld for testing\n",
                  (long long)json_integer_value(json_object_get(run, "train_samples")),
                  (long long)json_integer_value(json_object_get(run, "val_samples")),
                  (long long)json_integer_value(json_object_get(run, "test_samples")));
    hone_text_add(t, "- weights of step %lld of %lld, seed %lld, %s\n",
                  (long long)json_integer_value(json_object_get(run, "best_step")),
                  (long long)json_integer_value(json_object_get(run, "step")),
                  (long long)json_integer_value(json_object_get(run, "seed")),
                  json_string_value(json_object_get(run, "precision"))
                      ? json_string_value(json_object_get(run, "precision"))
                      : "precision not recorded");
}

/* Texts in, class names out; pairs as two arguments. */
static void add_transformers(hone_text *t, const hone_encoder *e, bool pairs)
{
    if (!e) return;
    hone_text_add(
        t,
        "\n```python\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n"
        "model = AutoModelForSequenceClassification.from_pretrained(\"FOLDER\").eval()\n"
        "logits = model(**tokenizer([\"...\"]%s, padding=True, truncation=True, return_tensors=\"pt\")).logits\n"
        "print([model.config.id2label[int(k)] for k in logits.argmax(1)])\n```\n",
        pairs ? ", [\"...\"]" : "");
}

/* Python lines where other packages know the net; the command always. */
static void add_use(hone_text *t, const hone_architecture *a, const hone_encoder *e, const hone_model *m)
{
    int classes = hone_model_classes(m);
    hone_text_add(t, "\n## Use\n\n    hone predict FOLDER INPUT...\n");
    if (a && a->timm)
        hone_text_add(
            t,
            "\n```python\nimport timm\nmodel = timm.create_model(\"local-dir:FOLDER\", pretrained=True).eval()\n```\n");
    if (a && a->torchvision)
        hone_text_add(
            t,
            "\n```python\nimport safetensors.torch, torchvision\nmodel = torchvision.models.%s(num_classes=%d)\n"
            "model.load_state_dict(safetensors.torch.load_file(\"FOLDER/model.safetensors\"))\nmodel.eval()\n```\n",
            a->torchvision, classes);
    add_transformers(t, e, hone_model_preprocess(m)->pairs);
    hone_text_add(
        t, "\nServing: `hone export MODEL --to triton` writes a Triton repository, which KServe serves as it is\n"
           "(`modelFormat: triton`, `protocolVersion: v2`, `storageUri` of that folder); `--to mlflow` an MLflow "
           "model.\n");
    if (!a && !e)
        hone_text_add(t, "\nNo net of torchvision, timm or transformers has this shape; the weights' names are those "
                         "of `model.json`.\n");
}

/* What a picture goes through before the net. */
static void add_input(hone_text *t, const hone_preprocess *pre)
{
    hone_text_add(t, "\n## Input\n\n");
    if (pre->vocab > 0) {
        hone_text_add(t, "UTF-8 text, tokenized by `tokenizer.json` (%lld ids)", (long long)pre->vocab);
        if (pre->max_length > 0) hone_text_add(t, ", at most %d tokens", pre->max_length);
        hone_text_add(t, ".\n");
        return;
    }
    hone_text_add(t,
                  "%s, %d x %d (height x width), %s by Pillow's antialiased bilinear filter; pixels in 0..1, then (x - "
                  "mean) / std "
                  "with mean",
                  pre->channels == 3 ? "RGB" : "grey", pre->height, pre->width,
                  pre->resize == HONE_RESIZE_SHORTER ? "shorter side fitted and the middle cut out" : "stretched");
    for (int k = 0; k < pre->channels; k++) hone_text_add(t, "%s%.6g", k ? ", " : " ", (double)pre->mean[k]);
    hone_text_add(t, " and std");
    for (int k = 0; k < pre->channels; k++) hone_text_add(t, "%s%.6g", k ? ", " : " ", (double)pre->std[k]);
    hone_text_add(t, ".\n");
}

/* The YAML in front is what model hubs read; a card without a run around it has fewer sections. */
hone_status hone_export_card(const hone_saved *s, const hone_architecture *a, const hone_encoder *e, const char *folder)
{
    json_t *run = NULL, *report = NULL;
    HONE_TRY(hone_json_file(s->run_dir, "run.json", &run));
    hone_status status = hone_json_file(s->run_dir, "eval/report.json", &report);
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    int classes = hone_model_classes(s->model);
    hone_text t = {0};
    hone_text_add(&t, "---\n%spipeline_tag: %s\ntags:\n- hone\n---\n\n# %s\n\n",
                  a && a->timm ? "library_name: timm\n"
                  : e          ? "library_name: transformers\n"
                               : "",
                  pre->vocab > 0 ? "text-classification" : "image-classification",
                  a                ? a->name
                  : e && e->distil ? "DistilBERT"
                  : e              ? "BERT"
                  : pre->vocab > 0 ? "Text classifier"
                                   : "Image classifier");
    hone_text_add(&t,
                  "Trained with hone. %d classes: `labels.txt`. The licence is for whoever publishes this folder to "
                  "choose: add it above as `license:`.\n\n## Evaluation\n\n",
                  classes);
    add_metrics(&t, report, run);
    add_training(&t, run);
    add_input(&t, pre);
    add_use(&t, a, e, s->model);
    json_decref(run);
    json_decref(report);
    char *text = hone_text_take(&t);
    if (status == HONE_OK) status = hone_export_file(folder, "README.md", text);
    free(text);
    return status;
}
