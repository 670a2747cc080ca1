/* identity.c - which experiment a run directory holds. A resumed run must end with the bytes of one
 * that was never stopped, so whatever steers those bytes is listed here and compared by key. How long
 * the run lasts, where it writes and what it logs may change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "data/dataset.h"
#include "train/text.h"
#include "train/trainer.h"

/* *o is NULL from the first failure on (core/json.h). Absent texts compare equal to the word none. */
static void put_text(json_t **o, const char *key, const char *value)
{
    *o = hone_json_with(*o, key, hone_json_string(value ? value : "none"));
}

/* 17 digits: two doubles are equal exactly when their texts are. */
static void put_number(json_t **o, const char *key, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    put_text(o, key, text);
}

/* Takes `text`, which memory failed where it is NULL: half an identity would refuse its own run. */
static void put_made(json_t **o, const char *key, char *text)
{
    *o = hone_json_with(*o, key, text ? hone_json_string(text) : NULL);
    free(text);
}

/* What is off is left out, so that runs from before these keys resume. */
static void put_augment(json_t **o, const hone_config *c)
{
    const struct {
        const char *key;
        double value;
    } number[] = {
        {"augment.rotate", c->augment.rotate},
        {"augment.color.brightness", c->augment.color.brightness},
        {"augment.color.contrast", c->augment.color.contrast},
        {"augment.color.saturation", c->augment.color.saturation},
        {"augment.color.hue", c->augment.color.hue},
        {"augment.randaugment.count", c->augment.randaugment.count},
        {"augment.randaugment.magnitude", c->augment.randaugment.count ? c->augment.randaugment.magnitude : 0},
        {"augment.erase.probability", c->augment.erase.probability},
        {"augment.mixup", c->augment.mixup},
        {"augment.cutmix", c->augment.cutmix},
        {"augment.mix", c->augment.mixup > 0 || c->augment.cutmix > 0 ? c->augment.mix : 0},
    };
    for (size_t k = 0; k < sizeof number / sizeof *number; k++)
        if (number[k].value > 0) put_number(o, number[k].key, number[k].value);
    for (int k = 0; k < 2 && c->augment.erase.probability > 0; k++) {
        put_number(o, k ? "augment.erase.area[1]" : "augment.erase.area[0]", c->augment.erase.area[k]);
        put_number(o, k ? "augment.erase.ratio[1]" : "augment.erase.ratio[0]", c->augment.erase.ratio[k]);
    }
}

/* The data themselves, their classes, and how pixels are prepared and augmented. */
static void put_data(json_t **o, const hone_trainer *t)
{
    const hone_config *c = t->config;
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)t->data->fingerprint);
    json_t *classes = json_array();
    for (int k = 0; k < t->data->classes; k++)
        classes = hone_json_added(classes, hone_json_string(t->data->class_name[k]));
    char *names = NULL;
    if (hone_json_print(classes, JSON_COMPACT, "the class list", &names) != HONE_OK) names = NULL;
    put_made(o, "the class list", names);
    put_text(o, "the content of the data", text);
    put_number(o, "the number of training samples", (double)hone_dataset_count(t->data->train));
    /* the split, and with it which samples train, follows from the fraction and the seed */
    put_number(o, "data.val_fraction", c->data.val_fraction);
    if (t->text) { /* all that decides ids; what the splits are was told above */
        snprintf(text, sizeof text, "%016llx", (unsigned long long)hone_tokenizer_fingerprint(t->text->tokenizer));
        put_text(o, "text (its tokenizer)", text);
        put_number(o, "text.max_length", c->text.max_length);
        return;
    }
    put_number(o, "image.size (height)", t->data->height);
    put_number(o, "image.size (width)", t->data->width);
    put_number(o, "image.channels", t->data->channels);
    /* how a picture becomes a tensor */
    put_number(o, "image.resize", c->image.resize);
    for (int k = 0; k < 4; k++) {
        char key[24];
        snprintf(key, sizeof key, "image.mean[%d]", k);
        put_number(o, key, (double)c->image.mean[k]);
        snprintf(key, sizeof key, "image.std[%d]", k);
        put_number(o, key, (double)c->image.std[k]);
    }
    /* augmentation draws by (seed, epoch, sample), so only its ranges are listed */
    put_number(o, "augment.flip", c->augment.flip);
    put_number(o, "augment.crop.pad", c->augment.crop_pad);
    for (int k = 0; k < 2 && c->augment.crop.given; k++) {
        put_number(o, k ? "augment.crop.scale[1]" : "augment.crop.scale[0]", c->augment.crop.scale[k]);
        put_number(o, k ? "augment.crop.ratio[1]" : "augment.crop.ratio[0]", c->augment.crop.ratio[k]);
    }
    /* what crops are cut from: of another size only where it is larger */
    if (t->data->train->height != t->data->height || t->data->train->width != t->data->width) {
        put_number(o, "augment.crop.from (height)", t->data->train->height);
        put_number(o, "augment.crop.from (width)", t->data->train->width);
    }
    put_augment(o, c);
}

/* Every constant of the update and of the learning rate. */
static void put_optimizer(json_t **o, const hone_config *c)
{
    put_text(o, "train.optimizer.name", c->train.optimizer.name);
    put_number(o, "train.optimizer.lr", c->train.optimizer.lr);
    put_number(o, "train.optimizer.momentum", c->train.optimizer.momentum);
    put_number(o, "train.optimizer.nesterov", c->train.optimizer.nesterov);
    put_number(o, "train.optimizer.weight_decay", c->train.optimizer.weight_decay);
    put_number(o, "train.optimizer.betas[0]", c->train.optimizer.beta1);
    put_number(o, "train.optimizer.betas[1]", c->train.optimizer.beta2);
    put_number(o, "train.optimizer.eps", c->train.optimizer.eps);
    put_number(o, "train.optimizer.decay_all", c->train.optimizer.decay_all);
    /* of the schedule only the shape: its length is train.epochs, which may change */
    put_number(o, "train.schedule.name", c->train.schedule.name);
    put_number(o, "train.schedule.warmup", c->train.schedule.warmup);
    put_number(o, "train.schedule.warmup_fraction", c->train.schedule.warmup_fraction);
    put_number(o, "train.schedule.final", c->train.schedule.final);
    put_number(o, "train.schedule.step_every", c->train.schedule.step_every);
    put_number(o, "train.schedule.gamma", c->train.schedule.gamma);
    put_number(o, "train.schedule.plateau_patience", c->train.schedule.plateau_patience);
}

/* Batches, seed, loss, what is frozen. */
static void put_training(json_t **o, const hone_config *c)
{
    char key[300];
    put_number(o, "train.batch", c->train.batch);
    put_number(o, "train.batch_tokens", (double)c->train.batch_tokens);
    put_number(o, "train.accumulate", c->train.accumulate);
    put_number(o, "train.seed", (double)c->train.seed);
    put_number(o, "train.shuffle", c->train.shuffle);
    put_number(o, "train.loss.label_smoothing", c->train.loss.label_smoothing);
    put_number(o, "train.loss.class_weights", c->train.loss.class_weights);
    for (int k = 0; k < c->train.loss.weight_class.count; k++) {
        snprintf(key, sizeof key, "train.loss.class_weights.%.200s", c->train.loss.weight_class.item[k]);
        put_number(o, key, c->train.loss.weight_value[k]);
    }
    put_number(o, "train.clip_norm", c->train.clip_norm);
    put_number(o, "train.ema", c->train.ema);
    /* these choose kernels, and kernels round differently */
    put_number(o, "train.precision", c->train.precision);
    put_number(o, "train.loss_scale", c->train.loss_scale);
    put_number(o, "train.deterministic", c->train.deterministic);
    put_text(o, "train.init", c->train.init);
    put_number(o, "train.layer_decay", c->train.layer_decay);
    /* what decides about best.safetensors and the end */
    put_text(o, "train.early_stop.metric", c->train.early_stop.metric);
    put_number(o, "train.early_stop.patience", c->train.early_stop.patience);
    for (int k = 0; k < c->train.freeze.count; k++) {
        snprintf(key, sizeof key, "train.freeze[%d]", k);
        put_text(o, key, c->train.freeze.item[k]);
    }
}

/* Names and shapes of all parameters stand for the layers: the tree may be written in many ways. The
 * order of layers without parameters is told apart by the layer tree of the page. */
static void put_model(json_t **o, const hone_trainer *t)
{
    hone_text text = {0};
    for (int k = 0; k < hone_model_param_count(t->model); k++) {
        const hone_param *p = hone_model_param(t->model, k);
        hone_text_add(&text, "%s", p->name);
        for (int d = 0; d < p->rank; d++) hone_text_add(&text, " %lld", (long long)p->dim[d]);
        hone_text_add(&text, ";");
    }
    put_made(o, "model (its parameters)", hone_text_take(&text));
    if (t->config->model.tree) put_made(o, "model (its page)", hone_yaml_write(t->config->model.tree, 2));
    else put_text(o, "model (its page)", NULL);
}

/* Key -> text, in the order in which differences are worth naming. */
static json_t *identity(const hone_trainer *t)
{
    json_t *o = json_object();
    put_training(&o, t->config); /* first what is named by a key: the seed also changes the data's split */
    put_optimizer(&o, t->config);
    put_data(&o, t);
    put_model(&o, t);
    return o;
}

/* Stored in each checkpoint's state; free() it. NULL: memory. */
char *hone_identity_json(const hone_trainer *t)
{
    char *text;
    return hone_json_print(identity(t), JSON_INDENT(1), "the identity of the run", &text) == HONE_OK ? text : NULL;
}

/* Long values (parameter lists, pages) are not worth reading in a message. */
static const char *shown(const json_t *v)
{
    const char *s = json_string_value(v);
    return !s ? "absent" : strlen(s) > 60 ? "another one" : s;
}

/* Keys on either side count: a key that a run did not have is a difference too. */
hone_status hone_identity_check(const hone_trainer *t, const char *text)
{
    json_t *state;
    HONE_TRY(hone_json_parse(text, strlen(text), JSON_REJECT_DUPLICATES, &state, NULL));
    json_t *was = json_object_get(state, "identity");
    json_t *now = identity(t), *value;
    const char *key, *different = NULL;
    hone_status status = HONE_OK;
    json_object_foreach(now, key, value)
    {
        if (!different && !json_equal(value, json_object_get(was, key))) different = key;
    }
    json_object_foreach(was, key, value)
    {
        if (!different && !json_object_get(now, key)) different = key;
    }
    if (!now) status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    else if (different)
        status = hone_fail(HONE_ERR_USAGE, "give another --out, or put the value back to go on with that run",
                           "%s holds another experiment: %s was %s and is %s now", t->run.path, different,
                           shown(json_object_get(was, different)), shown(json_object_get(now, different)));
    json_decref(state);
    json_decref(now);
    return status;
}
