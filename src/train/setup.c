/* setup.c - everything slow or fallible before the first step (setup.h). */
#include "train/setup.h"

#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "data/dataset.h"
#include "io/file.h"
#include "train/augment.h"
#include "train/text.h"

/* --- data and model ------------------------------------------------------------------------------------------- */

/* The compute threads where the page says nothing. */
static int decode_threads(const hone_trainer *t)
{
    int n = t->config->data.decode_threads;
    return n > 0 ? n : t->backend->threads > 0 ? t->backend->threads : 1;
}

/* Named, counted, and listed in the run directory: never passed over in silence. */
static void report_skipped(hone_trainer *t, hone_dataset *d, const char *split)
{
    const char *const *reasons;
    int count = hone_dataset_skipped(d, &reasons);
    if (count == 0) return;
    hone_trainer_say(t, "warn", "%d broken samples of %s are skipped; the first: %s", count, split, reasons[0]);
    hone_text text = {0};
    for (int k = 0; k < count; k++) hone_text_add(&text, "%s\n", reasons[k]);
    char *list = hone_text_take(&text), name[32];
    snprintf(name, sizeof name, "skipped-%s.txt", split);
    if (list && hone_run_dir_write(&t->run, name, list) != HONE_OK)
        hone_trainer_say(t, "warn", "%s", hone_error_message());
    free(list);
}

/* Train and val are decoded now; test waits for the end of the run. */
static hone_status open_data(hone_trainer *t)
{
    const hone_config *c = t->config;
    hone_image_spec spec = {c->image.height, c->image.width, c->image.channels, c->image.resize};
    HONE_TRY(hone_data_open(c, &spec, &t->data));
    /* legal, but seldom meant: one class, no validation, names that look alike */
    for (int k = 0; k < t->data->note_count; k++) hone_trainer_say(t, "note", "%s", t->data->note[k]);
    if (c->task == HONE_TASK_TEXT) {
        report_skipped(t, t->data->train, "train");
        if (t->data->val) report_skipped(t, t->data->val, "val");
        return hone_text_open(t, decode_threads(t));
    }
    HONE_TRY(hone_augment_keep(c, t->data));
    HONE_TRY(hone_dataset_load(t->data->train, decode_threads(t), t->opts->stop));
    report_skipped(t, t->data->train, "train");
    if (!t->data->val) return HONE_OK;
    HONE_TRY(hone_dataset_load(t->data->val, decode_threads(t), t->opts->stop));
    report_skipped(t, t->data->val, "val");
    return HONE_OK;
}

/* One value for all channels, or one each. */
static hone_status spread(const char *key, const float *from, int count, int channels, float *to)
{
    if (count > 1 && count != channels)
        return hone_fail(HONE_ERR_USAGE, "give one value, or one per channel",
                         "%s has %d values, images have %d channels", key, count, channels);
    for (int k = 0; k < channels && count > 0; k++) to[k] = from[count > 1 ? k : 0];
    return HONE_OK;
}

/* Moments are measured on the training split only, and stored in the model. */
static hone_status make_preprocess(hone_trainer *t, hone_preprocess *pre)
{
    const hone_config *c = t->config;
    *pre = (hone_preprocess){.vocab = t->vocab, .max_length = c->text.max_length};
    pre->pairs = c->task == HONE_TASK_TEXT && hone_dataset_has_pairs(t->data->train);
    if (c->task == HONE_TASK_TEXT) return HONE_OK;
    /* (channels), at most RGBA */
    float mean[4] = {0}, std[4] = {1, 1, 1, 1};
    *pre = (hone_preprocess){.height = t->data->height, .width = t->data->width, .channels = t->data->channels};
    pre->resize = c->image.resize;
    for (int k = 0; k < 4; k++) pre->std[k] = 1;
    /* pixels are in 0..1 here, as the page's own values are */
    if (c->image.mean_auto || c->image.std_auto) HONE_TRY(hone_dataset_moments(t->data->train, mean, std));
    HONE_TRY(spread("image.mean", c->image.mean_auto ? mean : c->image.mean,
                    c->image.mean_auto ? pre->channels : c->image.mean_count, pre->channels, pre->mean));
    HONE_TRY(spread("image.std", c->image.std_auto ? std : c->image.std,
                    c->image.std_auto ? pre->channels : c->image.std_count, pre->channels, pre->std));
    for (int k = 0; k < pre->channels; k++)
        if (!(pre->std[k] > 0)) pre->std[k] = 1; /* a channel of one value: nothing to scale; or NaN */
    for (int k = 0; k < pre->channels && c->image.std_auto; k++)
        if (std[k] <= 1.0f / 255) /* what hone_dataset_moments gives for a constant */
            hone_trainer_say(t, "warn", "image.std: auto: all pixels of train have one value (channel %d)", k);
    return HONE_OK;
}

/* Needs the data: image size, class names and measured moments are part of a model. */
hone_status hone_setup_model(hone_trainer *t)
{
    hone_preprocess pre;
    HONE_TRY(make_preprocess(t, &pre));
    HONE_TRY(hone_model_new(t->config, &pre, t->data->classes, (const char *const *)t->data->class_name,
                            (uint64_t)t->config->train.seed, &t->model));
    /* before any graph is built: frozen parameters get no gradient and no optimizer slots */
    HONE_TRY(hone_model_freeze(t->model, &t->config->train.freeze));
    if (t->config->train.layer_decay < 1) HONE_TRY(hone_model_layer_decay(t->model, t->config->train.layer_decay));
    for (int k = 0; k < hone_model_param_count(t->model) && t->config->train.optimizer.decay_all; k++)
        hone_model_param(t->model, k)->decay = true;
    return HONE_OK;
}

/* --- loss weights ------------------------------------------------------------------------------------------------ */

/* n / (C * n_c), as scikit-learn's "balanced" and the usual PyTorch recipe; 0 for a class without samples. */
static void balanced_weights(hone_trainer *t)
{
    const int32_t *label = hone_dataset_labels(t->data->train);
    int64_t n = hone_dataset_count(t->data->train);
    for (int64_t k = 0; k < n; k++) t->class_weight[label[k]] += 1.0f;
    for (int c = 0; c < t->data->classes; c++) {
        float count = t->class_weight[c];
        if (count > 0) t->class_weight[c] = (float)((double)n / ((double)t->data->classes * (double)count));
        else hone_trainer_say(t, "warn", "class %s has no training samples: its weight is 0", t->data->class_name[c]);
    }
}

/* Classes that the page does not name have weight 1. */
static hone_status given_weights(hone_trainer *t)
{
    const hone_string_list *names = &t->config->train.loss.weight_class;
    for (int c = 0; c < t->data->classes; c++) t->class_weight[c] = 1.0f;
    for (int k = 0; k < names->count; k++) {
        int c = 0;
        while (c < t->data->classes && strcmp(names->item[k], t->data->class_name[c]) != 0) c++;
        if (c == t->data->classes) {
            const char *close =
                hone_did_you_mean(names->item[k], (const char *const *)t->data->class_name, t->data->classes);
            return hone_fail(HONE_ERR_USAGE, "use the class names of the data",
                             "train.loss.class_weights: there is no class %s%s%s%s", names->item[k],
                             close ? " (did you mean " : "", close ? close : "", close ? "?)" : "");
        }
        t->class_weight[c] = (float)t->config->train.loss.weight_value[k];
    }
    return HONE_OK;
}

/* (C) floats, or nothing where all are 1. */
static hone_status make_class_weights(hone_trainer *t)
{
    if (t->config->train.loss.class_weights == HONE_WEIGHTS_NONE) return HONE_OK;
    t->class_weight = calloc((size_t)t->data->classes, sizeof(float));
    if (!t->class_weight) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (t->config->train.loss.class_weights == HONE_WEIGHTS_GIVEN) return given_weights(t);
    balanced_weights(t);
    return HONE_OK;
}

/* --- programs ------------------------------------------------------------------------------------------------------ */

/* The page's constants as the kernels want them. zero_grad: the update clears what micro-batches added up;
 * with one of them, gradients are overwritten by the next step anyway. */
static hone_update_attr update_attr(const hone_config *c)
{
    return (hone_update_attr){.momentum = (float)c->train.optimizer.momentum,
                              .nesterov = c->train.optimizer.nesterov,
                              .beta1 = (float)c->train.optimizer.beta1,
                              .beta2 = (float)c->train.optimizer.beta2,
                              .eps = (float)c->train.optimizer.eps,
                              .weight_decay = (float)c->train.optimizer.weight_decay,
                              .clip_norm = (float)c->train.clip_norm,
                              .ema_decay = (float)c->train.ema,
                              .zero_grad = c->train.accumulate > 1};
}

/* In one place, so that whoever else compiles a training pass times and plans what is trained. */
hone_pass_opts hone_setup_train_opts(const hone_trainer *t)
{
    const hone_config *c = t->config;
    bool adamw = c->train.optimizer.name && strcmp(c->train.optimizer.name, "adamw") == 0;
    return (hone_pass_opts){.backend = t->backend,
                            .model = t->model,
                            .data = t->data->train,
                            .mode = HONE_MODE_TRAIN,
                            .batch = c->train.batch,
                            .loader = {.threads = decode_threads(t),
                                       .prefetch = c->data.prefetch,
                                       .shuffle = c->train.shuffle,
                                       .seed = (uint64_t)c->train.seed,
                                       .batch_tokens = c->train.batch_tokens},
                            .build = {.label_smoothing = (float)c->train.loss.label_smoothing,
                                      .class_weights = t->class_weight != NULL,
                                      .accumulate = c->train.accumulate,
                                      .augment = hone_augment_of(c)},
                            .compile = {.optimizer = adamw ? HONE_OPT_ADAMW : HONE_OPT_SGD,
                                        .update = update_attr(c),
                                        .precision = c->train.precision,
                                        .loss_scale = (float)c->train.loss_scale,
                                        .accumulate = c->train.accumulate,
                                        .together = c->task == HONE_TASK_IMAGE},
                            .class_weight = t->class_weight,
                            .mix_alpha = {c->augment.mixup, c->augment.cutmix},
                            .stop = t->opts->stop};
}

hone_pass_opts hone_setup_view_opts(const hone_trainer *t)
{
    hone_pass_opts o = hone_setup_train_opts(t);
    o.mode = HONE_MODE_VIEW;
    o.compile = (hone_compile_opts){.loss = HONE_NONE, .precision = HONE_PRECISION_FP32};
    o.class_weight = NULL; /* of the loss, which is not built */
    return o;
}

/* A step is an update: the last group of an epoch may have fewer micro-batches. */
static void count_steps(hone_trainer *t)
{
    int accumulate = t->config->train.accumulate;
    t->steps_per_epoch = (t->train.batches + accumulate - 1) / accumulate;
    t->steps_total = (int64_t)(t->config->train.epochs * (double)t->steps_per_epoch + 0.999999);
    /* whichever comes first; 0 means no limit */
    int64_t most = t->config->train.max_steps;
    if (most > 0 && (most < t->steps_total || t->config->train.epochs <= 0)) t->steps_total = most;
}

/* What the programs hold and the decoded pixels; for the display and run.json. */
static void count_memory(hone_trainer *t)
{
    const hone_pass *pass[] = {&t->train, &t->val};
    for (int k = 0; k < 2; k++) {
        const hone_program *p;
        for (int i = 0; (p = hone_pass_each(pass[k], i)); i++) {
            hone_memory planned, allocated;
            hone_program_memory(p, &planned, &allocated);
            t->memory_bytes += allocated.total;
        }
        t->memory_bytes += pass[k]->pool_bytes;
        if (pass[k]->data && hone_dataset_pixels(pass[k]->data))
            t->memory_bytes += (size_t)hone_dataset_count(pass[k]->data) * hone_dataset_sample_bytes(pass[k]->data);
    }
}

/* Rules that need to know the splits. */
static hone_status check_splits(const hone_trainer *t)
{
    if (t->data->val) return HONE_OK;
    if (t->config->train.early_stop.patience > 0)
        return hone_fail(HONE_ERR_USAGE, "set data.val or data.val_fraction",
                         "train.early_stop needs a validation split");
    if (t->config->train.schedule.name == HONE_SCHEDULE_PLATEAU)
        return hone_fail(HONE_ERR_USAGE, "set data.val or data.val_fraction",
                         "train.schedule plateau needs a validation split");
    return HONE_OK;
}

/* --- choices that a device makes by timing -------------------------------------------------------------------------- */

static const char TUNING_FILE[] = "tuning.txt"; /* in the run directory, which says it first: the same bits again */

/* A cache that can't be used is said, and costs a new timing. */
static hone_status load_tuning(hone_trainer *t)
{
    hone_backend *b = t->backend;
    b->any_order = !t->config->train.deterministic;
    if (!b->tuning_load) return HONE_OK;
    if (b->tuning_load(b, NULL) != HONE_OK) hone_trainer_say(t, "warn", "%s", hone_error_message());
    if (!t->run.path) return HONE_OK; /* a bench has none */
    char *path = hone_io_join(t->run.path, TUNING_FILE);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (b->tuning_load(b, path) != HONE_OK)
        hone_trainer_say(t, "warn", "%s; sums may differ in their last bits", hone_error_message());
    hone_error_clear();
    free(path);
    return HONE_OK;
}

void hone_setup_save_tuning(hone_trainer *t)
{
    hone_backend *b = t->backend;
    if (!b->tuning_save || !t->run.path) return;
    char *path = hone_io_join(t->run.path, TUNING_FILE);
    if (path && b->tuning_save(b, path) != HONE_OK) {
        hone_trainer_say(t, "warn", "%s", hone_error_message());
        hone_error_clear();
    }
    free(path);
}

/* In the order of what is cheapest to get wrong: device, data, model, programs. */
hone_status hone_setup_open(hone_trainer *t)
{
    const char *device = t->opts->device ? t->opts->device : "auto";
    char taken[256];
    HONE_TRY(hone_backend_open(device, t->opts->threads, &t->backend));
    if (strcmp(device, "auto") == 0) /* the user left the choice to us, so the choice is said */
        hone_trainer_say(t, "note", "device: %s", hone_backend_describe(t->backend, taken, sizeof taken));
    hone_precision precision; /* compile asks again; here it is cheap to get wrong */
    HONE_TRY(hone_precision_choose(t->backend, t->config->train.precision, &precision));
    HONE_TRY(load_tuning(t));
    HONE_TRY(open_data(t));
    HONE_TRY(check_splits(t));
    HONE_TRY(hone_setup_model(t));
    HONE_TRY(make_class_weights(t));
    hone_pass_opts train = hone_setup_train_opts(t);
    HONE_TRY(hone_pass_open(&train, &t->train));
    count_steps(t);
    hone_loader_opts loader = hone_eval_loader(t->config, decode_threads(t));
    if (t->data->val)
        HONE_TRY(hone_eval_pass_open(t->backend, t->model, t->data->val, t->config->train.batch, &loader,
                                     HONE_PRECISION_AUTO, t->train.full.program, t->opts->stop, &t->val));
    count_memory(t);
    return HONE_OK;
}

/* --- starting weights ------------------------------------------------------------------------------------------------ */

/* Uploading also starts the moving averages, at what was loaded: as torch.optim.swa_utils.AveragedModel does. */
hone_status hone_setup_initial_weights(hone_trainer *t)
{
    if (t->config->train.init) HONE_TRY(hone_init_load(t, t->config->train.init));
    return hone_model_upload(t->model, t->train.full.program);
}
