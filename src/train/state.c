/* state.c - the trainer to a checkpoint and back (trainer.h), to the bit.
 *
 * state.json holds every field of hone_run_state by name; doubles and floats are written as hexadecimal
 * text (%a), which is exact and has NaN and infinities. Slots of the optimizer and, within an
 * accumulation, the partial gradients are arrays of optim.safetensors named PARAMETER.slot0, .slot1,
 * .ema and .grad, in the memory layout of the program. */
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/thread.h"
#include "io/file.h"
#include "core/json.h"
#include "train/saved.h"
#include "train/trainer.h"

enum { STATE_VERSION = 1 };

/* --- state.json --------------------------------------------------------------------------------------- */

typedef enum field_type { FIELD_I64, FIELD_I32, FIELD_U64, FIELD_BOOL, FIELD_DOUBLE, FIELD_FLOAT } field_type;

/* Every field that steers a byte of what follows must be here: one that is missing restarts at 0 after a
 * resume, and the run then ends with other bytes than one that was never stopped. */
static const struct field {
    const char *name;
    size_t offset;
    field_type type;
} fields[] = {
#define FIELD(type, name)                                                                                              \
    {                                                                                                                  \
#name, offsetof(hone_run_state, name), type                                                                    \
    }
    /* where the run stands: epoch and batch are the loader's place, micro counts within an accumulation */
    FIELD(FIELD_I64, step),
    FIELD(FIELD_I64, epoch),
    FIELD(FIELD_I64, batch),
    FIELD(FIELD_I64, micro),
    FIELD(FIELD_BOOL, validation_due),
    FIELD(FIELD_BOOL, finished),
    FIELD(FIELD_BOOL, stopped_early),
    FIELD(FIELD_DOUBLE, seconds),
    /* what validation has decided so far */
    FIELD(FIELD_BOOL, have_best),
    FIELD(FIELD_DOUBLE, best),
    FIELD(FIELD_I64, best_step),
    FIELD(FIELD_I64, evaluations_without_best),
    FIELD(FIELD_DOUBLE, plateau_scale),
    FIELD(FIELD_DOUBLE, plateau_best),
    FIELD(FIELD_I64, plateau_waits),
    /* sums under way: of the next line of metrics.jsonl, and of the epoch */
    FIELD(FIELD_DOUBLE, line_loss_sum),
    FIELD(FIELD_I64, line_samples),
    FIELD(FIELD_I64, line_correct),
    FIELD(FIELD_DOUBLE, epoch_loss_sum),
    FIELD(FIELD_I64, epoch_samples),
    FIELD(FIELD_I64, epoch_correct),
    FIELD(FIELD_I64, logged_step),
    FIELD(FIELD_I64, warned_bad),
    /* where the logs are cut back to */
    FIELD(FIELD_I64, metrics_bytes),
    FIELD(FIELD_I64, results_bytes),
    /* the step block as the device has it: seed, counters, Adam's t */
    FIELD(FIELD_U64, block.seed),
    FIELD(FIELD_I64, block.step),
    FIELD(FIELD_I32, block.epoch),
    FIELD(FIELD_I32, block.micro),
    FIELD(FIELD_FLOAT, block.lr),
    FIELD(FIELD_FLOAT, block.reserved),
    FIELD(FIELD_DOUBLE, block.loss_sum),
    FIELD(FIELD_I64, block.samples),
    FIELD(FIELD_I64, block.correct),
    FIELD(FIELD_DOUBLE, block.grad_norm),
    FIELD(FIELD_I32, block.finite),
    FIELD(FIELD_I32, block.bad_in_row),
    FIELD(FIELD_I64, block.bad_total),
    FIELD(FIELD_I64, block.updates),
    FIELD(FIELD_FLOAT, block.loss_scale),
    FIELD(FIELD_I32, block.scale_good),
#undef FIELD
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

/* Text for what JSON numbers can't carry exactly. */
static json_t *field_to_json(const struct field *f, const hone_run_state *s)
{
    const void *at = (const char *)s + f->offset;
    char text[48];
    switch (f->type) {
    case FIELD_I64: return json_integer(*(const int64_t *)at);
    case FIELD_I32: return json_integer(*(const int32_t *)at);
    case FIELD_BOOL: return json_boolean(*(const bool *)at);
    case FIELD_U64: snprintf(text, sizeof text, "%llu", (unsigned long long)*(const uint64_t *)at); break;
    case FIELD_DOUBLE: snprintf(text, sizeof text, "%a", *(const double *)at); break;
    case FIELD_FLOAT: snprintf(text, sizeof text, "%a", (double)*(const float *)at); break;
    }
    return json_string(text);
}

/* False when the value is absent or of another type. */
static bool field_from_json(const struct field *f, const json_t *v, hone_run_state *s)
{
    void *at = (char *)s + f->offset;
    const char *text = json_string_value(v);
    char *end = NULL;
    switch (f->type) {
    case FIELD_I64: *(int64_t *)at = json_integer_value(v); return json_is_integer(v);
    case FIELD_I32: *(int32_t *)at = (int32_t)json_integer_value(v); return json_is_integer(v);
    case FIELD_BOOL: *(bool *)at = json_is_true(v); return json_is_boolean(v);
    case FIELD_U64: *(uint64_t *)at = text ? strtoull(text, &end, 10) : 0; break;
    case FIELD_DOUBLE: *(double *)at = text ? strtod(text, &end) : 0; break;
    case FIELD_FLOAT: *(float *)at = text ? strtof(text, &end) : 0; break;
    }
    return text && end != text && *end == '\0';
}

/* Takes `o`: its text with the identity as its last member: as text, since parsing it only to print it again would give memory
 * one more chance to run out in a library. NULL: it did. */
static char *with_identity(json_t *o, const char *identity_json)
{
    hone_text t = {0};
    char *fields_text;
    if (hone_json_print(o, JSON_INDENT(1), "the state of the run", &fields_text) != HONE_OK) return NULL;
    hone_text_add(&t, "%.*s,\n \"identity\": %s\n}", (int)(strlen(fields_text) - 2), fields_text, identity_json);
    free(fields_text);
    return hone_text_take(&t);
}

/* Indented: a state is read by people when something went wrong. */
char *hone_run_state_json(const hone_run_state *s, const char *identity_json)
{
    json_t *o = hone_json_with(json_object(), "version", json_integer(STATE_VERSION));
    for (int k = 0; k < FIELD_COUNT; k++) o = hone_json_with(o, fields[k].name, field_to_json(&fields[k], s));
    return with_identity(o, identity_json);
}

/* Every field must be there: a default would be a silent difference. */
hone_status hone_run_state_parse(const char *text, hone_run_state *out)
{
    json_error_t error;
    json_t *o;
    hone_status status = HONE_OK;
    HONE_TRY(hone_json_parse(text, strlen(text), JSON_REJECT_DUPLICATES, &o, &error));
    if (!o) return hone_fail(HONE_ERR_DATA, NULL, "state.json is not valid JSON: %s", error.text);
    if (json_integer_value(json_object_get(o, "version")) != STATE_VERSION)
        status = hone_fail(HONE_ERR_DATA, "go on with the hone that wrote it, or give another --out",
                           "state.json has version %lld, this hone reads %d",
                           (long long)json_integer_value(json_object_get(o, "version")), STATE_VERSION);
    for (int k = 0; k < FIELD_COUNT && status == HONE_OK; k++)
        if (!field_from_json(&fields[k], json_object_get(o, fields[k].name), out))
            status = hone_fail(HONE_ERR_DATA, NULL, "state.json: %s is missing or of another type", fields[k].name);
    json_decref(o);
    return status;
}

/* --- optimizer arrays ------------------------------------------------------------------------------------- */

enum { KINDS = 4 }; /* slots 0 and 1, the average (slot 2; running statistics have it alone), the partial gradient */
static const char *const kind_name[KINDS] = {"slot0", "slot1", "ema", "grad"};

typedef struct optim_arrays {
    hone_blob *blob;
    char **name;
    float **value;
    int count;
} optim_arrays;

static void optim_free(optim_arrays *a)
{
    for (int k = 0; k < a->count; k++) {
        free(a->name[k]);
        free(a->value[k]);
    }
    free(a->blob);
    free(a->name);
    free(a->value);
    *a = (optim_arrays){0};
}

/* Whether `kind` of parameter `p` is part of a checkpoint, and the tensor to read it by. */
static bool has_kind(const hone_trainer *t, const hone_param *p, int kind, hone_tid *tensor)
{
    const hone_program *program = t->train.full.program;
    const hone_graph *g = hone_program_graph(program);
    hone_tid id = hone_graph_find(g, p->name);
    if (id == HONE_NONE) return false;
    *tensor = id;
    if (p->role == HONE_ROLE_STATE) return kind == HONE_SLOT_EMA && hone_program_has_slot(program, kind);
    if (!p->trainable || !(g->tensor[id].flags & HONE_TENSOR_TRAINABLE)) return false;
    *tensor = kind < 3 ? id : g->tensor[id].grad;
    return kind < 3 ? hone_program_has_slot(program, kind) : t->s.micro > 0 && *tensor != HONE_NONE;
}

/* (count) floats in the program's memory layout. */
static hone_status read_kind(hone_program *p, hone_tid tensor, int kind, float *value, int64_t count)
{
    return kind < 3 ? hone_program_read_slot(p, tensor, kind, value)
                    : hone_program_read(p, tensor, value, (size_t)count * sizeof *value);
}

/* The way back. */
static hone_status write_kind(hone_program *p, hone_tid tensor, int kind, const float *value, int64_t count)
{
    return kind < 3 ? hone_program_write_slot(p, tensor, kind, value)
                    : hone_program_write(p, tensor, value, (size_t)count * sizeof *value);
}

/* One array of one parameter, where it has it. */
static hone_status optim_add(hone_trainer *t, const hone_param *p, int kind, optim_arrays *a)
{
    hone_text name = {0};
    hone_tid tensor;
    if (!has_kind(t, p, kind, &tensor)) return HONE_OK;
    hone_text_add(&name, "%s.%s", p->name, kind_name[kind]);
    int at = a->count++;
    a->name[at] = hone_text_take(&name);
    a->value[at] = malloc((size_t)p->count * sizeof(float));
    if (!a->name[at] || !a->value[at]) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to save %s", p->name);
    a->blob[at] = (hone_blob){a->name[at], HONE_F32, 1, {p->count}, a->value[at], (size_t)p->count * sizeof(float)};
    return read_kind(t->train.full.program, tensor, kind, a->value[at], p->count);
}

/* Parameters in the model's order; the writer sorts by name anyway. */
static hone_status optim_collect(hone_trainer *t, optim_arrays *a)
{
    size_t most = (size_t)hone_model_param_count(t->model) * KINDS + 1;
    hone_status status = HONE_OK;
    *a =
        (optim_arrays){calloc(most, sizeof *a->blob), calloc(most, sizeof *a->name), calloc(most, sizeof *a->value), 0};
    if (!a->blob || !a->name || !a->value) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory to save the optimizer");
    for (int k = 0; k < hone_model_param_count(t->model) && status == HONE_OK; k++)
        for (int kind = 0; kind < KINDS && status == HONE_OK; kind++)
            status = optim_add(t, hone_model_param(t->model, k), kind, a);
    if (status != HONE_OK) optim_free(a);
    return status;
}

/* All that the run needs must be there, and nothing more: another optimizer's state is refused. */
static hone_status optim_restore(hone_trainer *t, const hone_safetensors *file)
{
    int used = 0;
    for (int k = 0; k < hone_model_param_count(t->model); k++) {
        const hone_param *p = hone_model_param(t->model, k);
        for (int kind = 0; kind < KINDS; kind++) {
            char name[HONE_NAME_BYTES + 8];
            hone_tid tensor;
            if (!has_kind(t, p, kind, &tensor)) continue;
            snprintf(name, sizeof name, "%s.%s", p->name, kind_name[kind]);
            const hone_blob *b = hone_safetensors_find(file, name);
            if (!b || b->dtype != HONE_F32 || b->bytes != (size_t)p->count * sizeof(float))
                return hone_fail(HONE_ERR_DATA, "the checkpoint is of another optimizer; give another --out",
                                 "optim.safetensors: %s is missing or has another size", name);
            HONE_TRY(write_kind(t->train.full.program, tensor, kind, b->data, p->count));
            used++;
        }
    }
    /* arrays left over: slots of AdamW where the page now says SGD, or the other way round */
    if (used != hone_safetensors_count(file))
        return hone_fail(HONE_ERR_DATA, "the checkpoint is of another optimizer; give another --out",
                         "optim.safetensors holds %d arrays, this run has a place for %d", hone_safetensors_count(file),
                         used);
    return HONE_OK;
}

/* --- whole checkpoints ---------------------------------------------------------------------------------------- */

/* Logs are flushed to disk before their lengths are recorded: a checkpoint never points past them. */
static hone_status collect_state(hone_trainer *t, char **text)
{
    HONE_TRY(hone_log_sync(&t->run.metrics));
    HONE_TRY(hone_log_sync(&t->run.results));
    t->s.metrics_bytes = t->run.metrics.bytes;
    t->s.results_bytes = t->run.results.bytes;
    /* the only wall-clock value of a state; it steers nothing but max_time */
    t->s.seconds = hone_trainer_seconds(t);
    /* metric sums that are still on the device, Adam's step count, the counters of bad steps */
    HONE_TRY(hone_program_get_step(t->train.full.program, &t->s.block));
    char *identity = hone_identity_json(t);
    *text = identity ? hone_run_state_json(&t->s, identity) : NULL;
    free(identity);
    return *text ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory to save the state of the run");
}

/* The same sequence for every save, whatever asked for it: a resumed run can't tell them apart. */
hone_status hone_trainer_save(hone_trainer *t, bool initial)
{
    optim_arrays optim = {0};
    hone_blob *model = NULL;
    char *text = NULL;
    int count = 0;
    hone_status status;
    HONE_GOTO(status, collect_state(t, &text), done);
    /* false: the weights being trained; the average is an array of its own (.ema) */
    HONE_GOTO(status, hone_model_download(t->model, t->train.full.program, false), done);
    HONE_GOTO(status, optim_collect(t, &optim), done);
    model = hone_weights_blobs(t->model, &count);
    if (!model) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory to save the model");
        goto done;
    }
    status = hone_checkpoint_save(t->run.path, t->s.step, model, count, optim.blob, optim.count, text,
                                  t->config->checkpoint.keep, t->config->checkpoint.initial);
    t->last_save = hone_now_seconds();
    if (status == HONE_OK) t->last_saved_step = t->s.step;
    if (status == HONE_OK && !initial) hone_trainer_say(t, "checkpoint", "saved step %lld", (long long)t->s.step);
done:
    free(model);
    free(text);
    optim_free(&optim);
    return status;
}

/* For the callback of hone_checkpoint_latest. */
typedef struct rejections {
    hone_trainer *t;
    int count;
} rejections;

static void rejected(void *arg, const char *text)
{
    rejections *r = arg;
    r->count++;
    hone_trainer_say(r->t, "warn", "a checkpoint was passed over: %s", text);
}

/* State, then identity, then weights: nothing of another experiment reaches a program. */
hone_status hone_trainer_restore(hone_trainer *t, bool *found)
{
    hone_checkpoint c;
    hone_weights_report report = {0};
    hone_status status;
    rejections passed = {.t = t};
    HONE_TRY(hone_checkpoint_latest(t->run.path, rejected, &passed, found, &c));
    /* starting over would cut the logs of a run whose weights somebody may still rescue */
    if (!*found && passed.count > 0)
        return hone_fail(
            HONE_ERR_DATA,
            "bring them back from a copy; or remove its folder checkpoints, or give another --out, to start over",
            "%s: none of its %d checkpoints is whole", t->run.path, passed.count);
    if (!*found) return HONE_OK;
    HONE_GOTO(status, hone_run_state_parse(c.state_json, &t->s), done);
    /* before the weights: a wrong --out must not leave a trace */
    HONE_GOTO(status, hone_identity_check(t, c.state_json), done);
    HONE_GOTO(status, hone_weights_load(t->model, c.model, c.path, true, &report), done);
    HONE_GOTO(status, hone_model_upload(t->model, t->train.full.program), done);
    HONE_GOTO(status, optim_restore(t, c.optim), done);
    HONE_GOTO(status, hone_program_put_step(t->train.full.program, &t->s.block), done);
    status = hone_loader_seek(t->train.loader, t->s.epoch, t->s.batch);
done:
    free(report.notes);
    hone_checkpoint_free(&c);
    return status;
}
