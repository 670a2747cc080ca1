/* init.c - train.init: weights to start from, by name, out of a file, a run, an imported or a downloaded folder.
 *
 * What matched and what did not is said line by line, and so is a folder whose pictures were prepared otherwise than the
 * page's: such weights see another input than they were made for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/json_file.h"
#include "train/saved.h"
#include "train/setup.h"

/* --- how the folder's pictures were prepared --------------------------------------------------------------------- */

/* Unlike in any channel by more than a rounding; what is not there is not unlike. */
static bool unlike(const json_t *list, const float *mine, int channels)
{
    bool other = false;
    if ((int)json_array_size(list) != channels) return false;
    for (int k = 0; k < channels; k++)
        other = other || !(fabs(json_number_value(json_array_get(list, (size_t)k)) - (double)mine[k]) < 1e-3);
    return other;
}

/* Compares one page of the folder; *its: it has such an object. */
static hone_status compare_page(hone_trainer *t, const char *folder, const char *page, const char *key, bool *its)
{
    static const char *const field[] = {"mean", "std"};
    const hone_preprocess *pre = hone_model_preprocess(t->model);
    json_t *root;
    hone_status status = hone_json_file(folder, page, &root);
    if (status == HONE_ERR_DATA) { /* somebody else's page, of which the weights have no need */
        hone_trainer_say(t, "warn", "init: %s", hone_error_message());
        hone_error_clear();
        status = HONE_OK;
    }
    const json_t *object = json_object_get(root, key);
    *its = object != NULL;
    for (int f = 0; f < 2 && object && status == HONE_OK; f++) {
        json_t *list = json_object_get(object, field[f]);
        char *text = NULL;
        if (!unlike(list, f ? pre->std : pre->mean, pre->channels)) continue;
        status = hone_json_print(json_incref(list), JSON_REAL_PRECISION(6), page, &text);
        if (status == HONE_OK)
            hone_trainer_say(t, "warn", "init: %s/%s has image.%s %s, this page another: set it, or train longer",
                             folder, page, field[f], text);
        free(text);
    }
    json_decref(root);
    return status;
}

/* A warning and no error: the page is the user's word. */
static hone_status say_preprocess(hone_trainer *t, const char *folder)
{
    static const char *const page[] = {"model.json", "config.json"}, *const key[] = {"preprocess", "pretrained_cfg"};
    bool its = false; /* hone's own page first: it is about these very weights */
    for (int k = 0; k < 2 && !its; k++) HONE_TRY(compare_page(t, folder, page[k], key[k], &its));
    return HONE_OK;
}

/* --- the weights ---------------------------------------------------------------------------------------------------- */

/* What came from the file, and line by line what did not. */
static void say_init(hone_trainer *t, const char *path, const hone_weights_report *r)
{
    hone_trainer_say(t, "note", "init: %d of %d parameters loaded from %s, %d of its arrays unused", r->loaded,
                     r->params, path, r->unused);
    for (char *line = r->notes, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) break;
        hone_trainer_say(t, "note", "init: %.*s", (int)(end - line), line);
    }
}

/* FOLDER/name where it is a file. */
static bool has_file(const char *folder, const char *name, hone_text *path)
{
    struct stat s;
    hone_text_free(path);
    hone_text_add(path, "%s/%s", folder, name);
    return !path->failed && stat(path->data, &s) == 0 && S_ISREG(s.st_mode);
}

/* Opens what `path` names: a file; of a folder best.safetensors, model.safetensors (as timm and Hugging Face call it), or
 * the newest good checkpoint, then in `c` with *found. `name` is what was opened, for messages. */
static hone_status open_weights(const char *path, hone_text *name, hone_safetensors **file, hone_checkpoint *c,
                                bool *found)
{
    struct stat s;
    bool folder = stat(path, &s) == 0 && S_ISDIR(s.st_mode);
    *found = false;
    if (folder && !has_file(path, "best.safetensors", name) && !has_file(path, "model.safetensors", name)) {
        HONE_TRY(hone_checkpoint_latest(path, NULL, NULL, found, c));
        if (*found) return HONE_OK;
        return hone_init_no_weights(path);
    }
    if (!folder) hone_text_add(name, "%s", path);
    if (name->failed) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    return hone_safetensors_open(name->data, file);
}

/* A folder may be a run, a folder of timm or Hugging Face, or one that `hone import` made. */
hone_status hone_init_load(hone_trainer *t, const char *path)
{
    hone_weights_report report = {0};
    hone_safetensors *file = NULL;
    hone_checkpoint checkpoint = {0};
    hone_text name = {0};
    bool found;
    hone_status status = open_weights(path, &name, &file, &checkpoint, &found);
    const char *shown = name.data ? name.data : path;
    if (status == HONE_OK && strcmp(shown, path) != 0) status = hone_init_check_net(t, path);
    if (status == HONE_OK) status = hone_weights_load(t->model, found ? checkpoint.model : file, shown, false, &report);
    if (status == HONE_OK) say_init(t, shown, &report);
    else hone_error_context("train.init");
    if (status == HONE_OK && strcmp(shown, path) != 0) status = say_preprocess(t, path);
    free(report.notes);
    hone_text_free(&name);
    hone_safetensors_close(file);
    hone_checkpoint_free(&checkpoint);
    return status;
}
