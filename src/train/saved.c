/* saved.c - opening a model as it lies on disk (saved.h). It reads only: a run in progress may own
 * the directory at the same time, and every file in it is replaced atomically. */
#include "train/saved.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/text.h"
#include "io/file.h"
#include "train/small.h"

/* *path is dir/name where that is a regular file, else NULL. Errors: MEMORY, which must not read as "not there". */
static hone_status find_file(const char *dir, const char *name, char **path)
{
    struct stat s;
    *path = hone_io_join(dir, name);
    if (!*path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (stat(*path, &s) == 0 && S_ISREG(s.st_mode)) return HONE_OK;
    free(*path);
    *path = NULL;
    return HONE_OK;
}

/* A copy of `dir` where model.json is in it, else NULL. */
static hone_status holds_model(const char *dir, char **found)
{
    char *path;
    HONE_TRY(find_file(dir, "model.json", &path));
    *found = path ? hone_strdup(dir) : NULL;
    bool there = path != NULL;
    free(path);
    return there && !*found ? hone_fail(HONE_ERR_MEMORY, NULL, "out of memory") : HONE_OK;
}

/* The folder with model.json: `dir`, or the run of a checkpoint's folder two levels up; NULL: none of them. */
static hone_status find_run_dir(const char *dir, char **found)
{
    HONE_TRY(holds_model(dir, found));
    if (*found || !strstr(dir, "checkpoints/step-")) return HONE_OK;
    char *up = hone_path_parent(dir), *top = up ? hone_path_parent(up) : NULL;
    hone_status status = top ? holds_model(top, found) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(up);
    free(top);
    return status;
}

/* The weights that MODEL means: itself where it is a file of weights, else the best, else those of a checkpoint's
 * folder; NULL: the newest checkpoint. */
static hone_status find_weights(const char *given, bool folder, const char *dir, char **weights)
{
    if (!folder && strlen(given) > 12 && strcmp(given + strlen(given) - 12, ".safetensors") == 0) {
        *weights = hone_strdup(given);
        return *weights ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    }
    HONE_TRY(find_file(dir, "best.safetensors", weights));
    return *weights ? HONE_OK : find_file(dir, "model.safetensors", weights);
}

/* MODEL -> run directory and, where a weights file is meant, its path. */
static hone_status locate(const char *given, hone_saved *out)
{
    struct stat s;
    if (stat(given, &s) < 0)
        return hone_fail(HONE_ERR_USAGE, "MODEL is a run directory or a file in one", "there is no model at %s", given);
    bool folder = S_ISDIR(s.st_mode);
    char *dir = folder ? hone_strdup(given) : hone_path_parent(given);
    if (!dir) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    /* RUN/ and RUN are the same */
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') dir[--n] = '\0';
    /* the folder decides what the model is, the file only which weights */
    hone_status status = find_run_dir(dir, &out->run_dir);
    if (status == HONE_OK) status = find_weights(given, folder, dir, &out->weights);
    free(dir);
    if (status != HONE_OK || out->run_dir) return status;
    return hone_fail(HONE_ERR_USAGE,
                     "MODEL is a run directory or a file in one; a run that has not begun to train has no model",
                     "there is no model.json at %s", given);
}

/* From the named file, best.safetensors, or the newest checkpoint that verifies. */
static hone_status load_weights(hone_saved *s)
{
    hone_weights_report report = {0};
    hone_checkpoint c;
    bool found = false;
    hone_status status;
    if (s->weights) {
        HONE_TRY(hone_safetensors_open(s->weights, &s->file));
        hone_weights_borrow(s->model, s->file);
        status = hone_weights_load(s->model, s->file, s->weights, true, &report);
    } else {
        HONE_TRY(hone_checkpoint_latest(s->run_dir, NULL, NULL, &found, &c));
        if (!found)
            return hone_fail(HONE_ERR_USAGE, "let it train for an epoch first", "%s holds no weights yet", s->run_dir);
        s->weights = hone_io_join(c.path, "model.safetensors");
        status = hone_weights_load(s->model, c.model, c.path, true, &report);
        hone_checkpoint_free(&c);
    }
    free(report.notes);
    return status;
}

/* What the run was made from, where its page lies beside the model. */
static hone_status read_run_config(hone_saved *s)
{
    char *file;
    HONE_TRY(find_file(s->run_dir, "resolved.yaml", &file));
    hone_status status = file ? hone_config_read(file, NULL, 0, &s->config) : HONE_OK;
    free(file);
    return status;
}

/* A small file stands alone; in the folder of a run it also finds the run's data. */
static hone_status open_small(const char *path, hone_saved *out)
{
    out->run_dir = hone_path_parent(path);
    out->weights = hone_strdup(path);
    hone_status status =
        out->run_dir && out->weights ? hone_small_open(path, out) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    return status == HONE_OK ? read_run_config(out) : status;
}

/* model.json makes the model, the weights fill it, resolved.yaml says where its data are. */
hone_status hone_saved_open(const char *path, hone_saved *out)
{
    char *file = NULL;
    hone_status status;
    *out = (hone_saved){0};
    if (hone_small_is(path)) {
        status = open_small(path, out);
        goto done;
    }
    HONE_GOTO(status, locate(path, out), done);
    file = hone_io_join(out->run_dir, "model.json");
    if (!file) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
        goto done;
    }
    HONE_GOTO(status, hone_model_load_json(file, &out->model), done);
    HONE_GOTO(status, load_weights(out), done);
    status = read_run_config(out);
done:
    free(file);
    if (status != HONE_OK) hone_saved_close(out);
    return status;
}

/* For a weights file that was moved out of its run: the defaults of reading data, and nothing to train. */
hone_status hone_saved_plain_config(bool text, hone_config **out)
{
    static const char page[] = "task: image\ndata: {path: .}\nmodel: {layers: [flatten, linear: classes]}\n";
    static const char text_page[] =
        "task: text\ndata: {path: .}\nmodel: {layers: [embedding_bag: 8, linear: classes]}\n";
    return hone_config_read_text("defaults", text ? text_page : page, NULL, 0, out);
}

/* Fine on a zeroed one. */
void hone_saved_close(hone_saved *s)
{
    if (s->model) hone_model_free(s->model);
    hone_safetensors_close(s->file);
    if (s->config) hone_config_free(s->config);
    free(s->run_dir);
    free(s->weights);
    free(s->tokenizer_json);
    *s = (hone_saved){0};
}

/* A refusal is no error here: the device does what it does best, and the report says in what. */
hone_precision hone_saved_precision(const hone_saved *s, const hone_backend *b)
{
    hone_precision precision, asked = s->config ? s->config->train.precision : HONE_PRECISION_AUTO;
    if (hone_precision_choose(b, asked, &precision) == HONE_OK) return precision;
    hone_error_clear();
    return HONE_PRECISION_AUTO;
}
