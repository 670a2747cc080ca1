/* run_json.c - the pages of a run directory that say what was run: run.json, config.yaml as given,
 * resolved.yaml, model.json. All are replaced atomically. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/hone.h"
#include "io/file.h"
#include "train/text.h"
#include "train/trainer.h"

/* NULL becomes null, not a missing key. */
static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

/* What the run is made of and how far it has come. */
static void put_figures(json_t *o, const hone_trainer *t)
{
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)t->data->fingerprint);
    /* hexadecimal: JSON's numbers are doubles to most readers, which 64 bits do not fit */
    json_object_set_new(o, "data_fingerprint", json_string(text));
    json_object_set_new(o, "classes", json_integer(t->data->classes));
    json_object_set_new(o, "train_samples", json_integer(hone_dataset_count(t->data->train)));
    json_object_set_new(o, "val_samples", json_integer(t->data->val ? hone_dataset_count(t->data->val) : 0));
    json_object_set_new(o, "test_samples", json_integer(t->data->test ? hone_dataset_count(t->data->test) : 0));
    json_object_set_new(o, "step", json_integer(t->s.step));
    json_object_set_new(o, "steps_total", json_integer(t->steps_total));
    json_object_set_new(o, "steps_per_epoch", json_integer(t->steps_per_epoch));
    json_object_set_new(o, "best_step", json_integer(t->s.best_step));
    if (t->s.have_best) json_object_set_new(o, "best", json_real(t->s.best));
    json_object_set_new(o, "best_metric", text_or_null(t->config->train.early_stop.metric));
    /* steps whose gradients were not finite */
    json_object_set_new(o, "skipped_updates", json_integer(t->s.warned_bad));
    json_object_set_new(o, "seconds", json_real(hone_trainer_seconds(t)));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)t->memory_bytes));
}

/* Rewritten whole at every change of status; readers never see half of it. */
hone_status hone_trainer_write_run_json(hone_trainer *t, const char *status)
{
    char now[24], device[512];
    json_t *o = json_object();
    if (!o) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    json_object_set_new(o, "status", json_string(status));
    json_object_set_new(o, "command", text_or_null(t->opts->command));
    json_object_set_new(o, "hone", json_string(HONE_VERSION));
    json_object_set_new(o, "compiler", json_string(__VERSION__));
    json_object_set_new(o, "device", json_string(t->backend->name));
    json_object_set_new(o, "device_text", json_string(hone_backend_describe(t->backend, device, sizeof device)));
    json_object_set_new(o, "precision",
                        t->train.full.program
                            ? json_string(hone_precision_name(hone_program_precision(t->train.full.program)))
                            : json_null());
    json_object_set_new(o, "threads", json_integer(t->backend->threads));
    json_object_set_new(o, "seed", json_integer(t->config->train.seed));
    json_object_set_new(o, "started", text_or_null(t->started_text));
    json_object_set_new(o, "updated", json_string(hone_time_text(now)));
    put_figures(o, t);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(o);
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for run.json");
    hone_status written = hone_run_dir_write(&t->run, "run.json", text);
    free(text);
    return written;
}

/* Any trouble reads as no status: the checkpoints decide what is there. */
void hone_trainer_read_status(const hone_trainer *t, char *status, size_t bytes)
{
    char *text = NULL;
    snprintf(status, bytes, "%s", "");
    if (!hone_run_dir_has(&t->run, "run.json") || hone_run_dir_read(&t->run, "run.json", &text) != HONE_OK) return;
    json_t *o = json_loads(text, 0, NULL);
    const char *s = json_string_value(json_object_get(o, "status"));
    if (s) snprintf(status, bytes, "%s", s);
    json_decref(o);
    free(text);
}

/* The bytes as given, comments included. */
static hone_status write_config(hone_trainer *t)
{
    char *text = NULL, *path;
    size_t bytes;
    /* a page that can't be read again (a pipe, text) is written from its tree */
    if (!t->config->file || hone_file_read(t->config->file, 16 << 20, &text, &bytes) != HONE_OK) {
        text = t->config->page ? hone_yaml_write(t->config->page, 3) : NULL;
        bytes = text ? strlen(text) : 0;
    }
    if (!text) return HONE_OK; /* built by a program: resolved.yaml says it all */
    path = hone_io_join(t->run.path, "config.yaml");
    hone_status status = path ? hone_file_write(path, text, bytes) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(path);
    free(text);
    return status;
}

/* model.json is written before the first step: a checkpoint needs it to be loaded. */
hone_status hone_trainer_write_pages(hone_trainer *t)
{
    HONE_TRY(write_config(t));
    char *resolved = hone_config_resolved(t->config);
    if (!resolved) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for resolved.yaml");
    hone_status status = hone_run_dir_write(&t->run, "resolved.yaml", resolved);
    free(resolved);
    if (status != HONE_OK) return status;
    char *path = hone_io_join(t->run.path, "model.json");
    status = path ? hone_model_save_json(t->model, path) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(path);
    if (status != HONE_OK || !t->text) return status;
    return hone_text_save(t->text, t->run.path);
}
