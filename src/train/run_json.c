/* run_json.c - the pages of a run directory that say what was run: run.json, config.yaml as given,
 * resolved.yaml, model.json. All are replaced atomically. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "hone/hone.h"
#include "io/file.h"
#include "train/text.h"
#include "train/trainer.h"

/* What the run is made of and how far it has come; takes `o` and gives it back (core/json.h). */
static json_t *with_figures(json_t *o, const hone_trainer *t)
{
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)t->data->fingerprint);
    /* hexadecimal: JSON's numbers are doubles to most readers, which 64 bits do not fit */
    o = hone_json_with(o, "data_fingerprint", json_string(text));
    o = hone_json_with(o, "classes", json_integer(t->data->classes));
    o = hone_json_with(o, "train_samples", json_integer(hone_dataset_count(t->data->train)));
    o = hone_json_with(o, "val_samples", json_integer(t->data->val ? hone_dataset_count(t->data->val) : 0));
    o = hone_json_with(o, "test_samples", json_integer(t->data->test ? hone_dataset_count(t->data->test) : 0));
    o = hone_json_with(o, "step", json_integer(t->s.step));
    o = hone_json_with(o, "steps_total", json_integer(t->steps_total));
    o = hone_json_with(o, "steps_per_epoch", json_integer(t->steps_per_epoch));
    o = hone_json_with(o, "best_step", json_integer(t->s.best_step));
    if (t->s.have_best) o = hone_json_with(o, "best", hone_json_real(t->s.best));
    o = hone_json_with(o, "best_metric", hone_json_string(t->config->train.early_stop.metric));
    /* steps whose gradients were not finite */
    o = hone_json_with(o, "skipped_updates", json_integer(t->s.warned_bad));
    o = hone_json_with(o, "seconds", hone_json_real(hone_trainer_seconds(t)));
    o = hone_json_with(o, "memory_bytes", json_integer((json_int_t)t->memory_bytes));
    return o;
}

/* Rewritten whole at every change of status; readers never see half of it. */
hone_status hone_trainer_write_run_json(hone_trainer *t, const char *status)
{
    char now[24], device[512];
    json_t *o = json_object();
    o = hone_json_with(o, "status", json_string(status));
    o = hone_json_with(o, "command", hone_json_string(t->opts->command));
    o = hone_json_with(o, "hone", json_string(HONE_VERSION));
    o = hone_json_with(o, "compiler", json_string(__VERSION__));
    o = hone_json_with(o, "device", json_string(t->backend->name));
    o = hone_json_with(o, "device_text", hone_json_string(hone_backend_describe(t->backend, device, sizeof device)));
    o = hone_json_with(o, "precision",
                       t->train.full.program
                           ? json_string(hone_precision_name(hone_program_precision(t->train.full.program)))
                           : json_null());
    o = hone_json_with(o, "threads", json_integer(t->backend->threads));
    o = hone_json_with(o, "seed", json_integer(t->config->train.seed));
    o = hone_json_with(o, "started", hone_json_string(t->started_text));
    o = hone_json_with(o, "updated", json_string(hone_time_text(now)));
    char *text;
    HONE_TRY(hone_json_print(with_figures(o, t), JSON_INDENT(2) | JSON_REAL_PRECISION(9), "run.json", &text));
    hone_status written = hone_run_dir_write(&t->run, "run.json", text);
    free(text);
    return written;
}

/* Any trouble but memory reads as no status: the checkpoints decide what is there. */
hone_status hone_trainer_read_status(const hone_trainer *t, char *status, size_t bytes)
{
    char *text = NULL;
    json_t *o = NULL;
    snprintf(status, bytes, "%s", "");
    hone_status read = hone_run_dir_read(&t->run, "run.json", &text);
    if (read == HONE_OK) read = hone_json_parse(text, strlen(text), 0, &o, NULL);
    const char *s = json_string_value(json_object_get(o, "status"));
    if (s) snprintf(status, bytes, "%s", s);
    json_decref(o);
    free(text);
    if (read == HONE_ERR_MEMORY) return read;
    hone_error_clear();
    return HONE_OK;
}

/* The bytes as given, comments included. */
static hone_status write_config(hone_trainer *t)
{
    char *text = NULL, *path;
    size_t bytes;
    /* a page that can't be read again (a pipe, text) is written from its tree */
    if (!t->config->file || hone_file_read(t->config->file, 16 << 20, &text, &bytes) != HONE_OK) {
        if (!t->config->page) return HONE_OK; /* built by a program: resolved.yaml says it all */
        text = hone_yaml_write(t->config->page, 3);
        bytes = text ? strlen(text) : 0;
    }
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for config.yaml");
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
