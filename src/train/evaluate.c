/* evaluate.c - one round of a model over a data set, and `hone_evaluate` for a saved model.
 *
 * The arithmetic is the programs'; here rows are collected. Loss is the plain cross-entropy, without
 * smoothing or class weights, so that runs with other losses can be compared. */
#include "train/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "train/saved.h"
#include "train/text.h"

enum { EVAL_TOKENS = 1 << 14 }; /* activations of a transformer are kilobytes a token */

/* Four batches of prefetch: evaluation has no backward pass to hide decoding behind. */
hone_loader_opts hone_eval_loader(const hone_config *c, int threads)
{
    int64_t tokens = c && c->train.batch_tokens > 0 ? c->train.batch_tokens : EVAL_TOKENS;
    return (hone_loader_opts){.threads = threads, .prefetch = 4, .batch_tokens = tokens};
}

hone_status hone_eval_pass_open(hone_backend *b, const hone_model *m, hone_dataset *data, int batch,
                                const hone_loader_opts *loader, hone_precision precision, hone_program *share,
                                const volatile int *stop, hone_pass *out)
{
    hone_pass_opts o = {.backend = b,
                        .model = m,
                        .data = data,
                        .mode = HONE_MODE_EVAL,
                        .batch = batch,
                        .loader = *loader,
                        .build = {.accumulate = 1},
                        .compile = {.loss = HONE_NONE, .share = share, .precision = precision},
                        .stop = stop};
    return hone_pass_open(&o, out);
}

/* First of the largest; a row that holds a NaN has no winner and counts as wrong by taking -1. */
static int32_t arg_max(const float *row, int classes)
{
    int32_t best = 0;
    for (int c = 0; c < classes; c++) {
        if (!(row[c] == row[c])) return -1;
        if (row[c] > row[best]) best = c;
    }
    return best;
}

/* Results of one batch into the rows from `at` on. `probability` (batch, classes + 1) is scratch. */
static hone_status collect(const hone_pass_program *w, const hone_batch *b, float *probability, int64_t at,
                           hone_evaluation *e)
{
    size_t rows = (size_t)w->batch, classes = (size_t)e->classes;
    /* the whole batch is read, as programs give whole tensors; its rows alone are kept */
    float *loss = probability + rows * classes; /* (batch): what fills a batch up has one, too */
    HONE_TRY(hone_program_read(w->program, w->io.probability, probability, rows * classes * sizeof(float)));
    HONE_TRY(hone_program_read(w->program, w->io.row_loss, loss, rows * sizeof(float)));
    memcpy(e->row_loss + at, loss, (size_t)b->count * sizeof(float));
    /* the host decides the winner, by the same rule as the kernel counts hits: first maximum */
    for (int k = 0; k < b->count; k++) {
        const float *row = probability + (size_t)k * classes;
        int32_t best = arg_max(row, e->classes);
        if (best < 0)
            return hone_fail(HONE_ERR_DIVERGED, "the weights hold or produce values that are not finite",
                             "the model's output for sample %d is not a number", b->sample[k]);
        e->truth[at + k] = b->label[k];
        e->predicted[at + k] = best;
        e->score[at + k] = row[best];
    }
    return HONE_OK;
}

/* Batches in file order, so that row k of the results is sample k of the set. */
static hone_status round_over(hone_pass *pass, const volatile int *stop, float *probability, hone_evaluation *e)
{
    int64_t at = 0;
    HONE_TRY(hone_loader_seek(pass->loader, 0, 0));
    for (int64_t k = 0; k < pass->batches; k++) {
        hone_batch b;
        hone_pass_program *w;
        if (stop && *stop) return hone_fail(HONE_INTERRUPTED, NULL, "interrupted while evaluating");
        HONE_TRY(hone_pass_feed(pass, &b, &w));
        HONE_TRY(hone_program_forward_backward(w->program)); /* compiled without a loss: forward only */
        HONE_TRY(collect(w, &b, probability, at, e));
        at += b.count;
    }
    return HONE_OK;
}

/* Scratch for one batch of probabilities; per-sample results are the only things kept. */
hone_status hone_evaluation_run(hone_pass *pass, const volatile int *stop, hone_evaluation *out)
{
    hone_step block; /* eval adds to the sums of the shared block: they are put back */
    int classes = hone_model_classes(pass->model);
    float *probability = malloc((size_t)pass->full.batch * ((size_t)classes + 1) * sizeof *probability);
    hone_status status, restored;
    if (!probability)
        return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d x %d probabilities", pass->full.batch, classes);
    status = hone_evaluation_make(hone_dataset_count(pass->data), classes, pass->model, out);
    if (status != HONE_OK) goto done;
    /* training may be in the middle of a line: its sums are not ours to touch */
    HONE_GOTO(status, hone_program_get_step(pass->full.program, &block), done);
    snprintf(out->device, sizeof out->device, "%s", pass->backend->name);
    out->computed_in = hone_program_precision(pass->full.program);
    status = round_over(pass, stop, probability, out);
    hone_error why;
    hone_error_save(&why, status);
    restored = hone_program_put_step(pass->full.program, &block);
    if (status == HONE_OK) status = restored;
    else hone_error_restore(&why);
    if (status == HONE_OK) hone_evaluation_finish(out);
    else hone_evaluation_free(out);
done:
    free(probability);
    return status;
}

/* Which of the two owns `set` decides how it is freed. */
typedef struct evaluation_data {
    hone_data *own;    /* the run's, or */
    hone_dataset *set; /* one that was opened for this: freed only where `own` is NULL */
    const char *split; /* of the run's own                                             */
} evaluation_data;

/* The named split of the run's own data: an error that says which ones there are. */
static hone_status own_split(hone_data *d, const char *split, evaluation_data *data)
{
    const char *name = split ? split : d->test ? "test" : d->val ? "val" : "train";
    hone_dataset **out = &data->set;
    data->split = name;
    *out = strcmp(name, "test") == 0    ? d->test
           : strcmp(name, "val") == 0   ? d->val
           : strcmp(name, "train") == 0 ? d->train
                                        : NULL;
    if (*out) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "use --split with one of those", "the data have no split %s (there is%s%s%s)",
                     name, d->train ? " train" : "", d->val ? " val" : "", d->test ? " test" : "");
}

/* By path, or the run's own; either way classes are matched by name, never by position. */
static hone_status open_data(const hone_saved *s, const hone_eval_opts *o, evaluation_data *d)
{
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    int classes = hone_model_classes(s->model);
    if (o->data) {
        const char **names = malloc((size_t)classes * sizeof *names);
        if (!names) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
        for (int k = 0; k < classes; k++) names[k] = hone_model_class_name(s->model, k);
        hone_config *plain = NULL;
        hone_status status = s->config ? HONE_OK : hone_saved_plain_config(pre->vocab > 0, &plain);
        if (status == HONE_OK)
            status = hone_data_open_eval(o->data, o->split, plain ? plain : s->config, pre, classes, names, &d->set);
        hone_config_free(plain);
        free(names);
        return status;
    }
    /* weights alone: somebody has to say what to look at */
    if (!s->config)
        return hone_fail(HONE_ERR_USAGE, "name a data set: hone eval MODEL DATA",
                         "a model file does not know its data set");
    hone_image_spec spec = {pre->height, pre->width, pre->channels, pre->resize};
    HONE_TRY(hone_data_open(s->config, &spec, &d->own));
    if (d->own->classes != classes)
        return hone_fail(HONE_ERR_DATA, "evaluate on the data it was trained on, or name another set",
                         "the data have %d classes, the model %d", d->own->classes, classes);
    for (int k = 0; k < classes; k++)
        if (strcmp(d->own->class_name[k], hone_model_class_name(s->model, k)) != 0)
            return hone_fail(HONE_ERR_DATA, "evaluate on the data it was trained on, or name another set",
                             "class %d is %s in the data and %s in the model", k, d->own->class_name[k],
                             hone_model_class_name(s->model, k));
    return own_split(d->own, o->split, d);
}

/* Pixels, or ids by the tokenizer of the run. */
static hone_status load_set(const hone_saved *s, hone_dataset *set, int threads, const volatile int *stop,
                            hone_text_side **text)
{
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    if (pre->vocab == 0) return hone_dataset_load(set, threads, stop);
    HONE_TRY(hone_text_load(s, text));
    if (hone_dataset_has_pairs(set) != pre->pairs)
        return hone_fail(HONE_ERR_DATA, "set data.columns.second as it was in training",
                         "the model was trained on %s, the data have %s",
                         pre->pairs ? "pairs of texts" : "single texts", pre->pairs ? "single texts" : "pairs");
    return hone_text_encode(*text, set, pre->max_length, threads, NULL, NULL);
}

/* Opens model, data, device in the order of what is cheapest to get wrong. */
hone_status hone_evaluate_saved(hone_saved *saved, const hone_eval_opts *o, hone_evaluation *out)
{
    evaluation_data data = {0};
    hone_backend *backend = NULL;
    hone_text_side *text = NULL;
    hone_pass pass = {0};
    hone_loader_opts loader;
    hone_status status;
    HONE_GOTO(status, open_data(saved, o, &data), done);
    HONE_GOTO(status, hone_backend_open(o->device ? o->device : "auto", o->threads, &backend), done);
    HONE_GOTO(status, load_set(saved, data.set, backend->threads > 0 ? backend->threads : 1, o->stop, &text), done);
    loader = hone_eval_loader(saved->config, backend->threads > 0 ? backend->threads : 1);
    HONE_GOTO(status,
              hone_eval_pass_open(backend, saved->model, data.set, o->batch > 0 ? o->batch : 256, &loader,
                                  hone_saved_precision(saved, backend), NULL, o->stop, &pass),
              done);
    HONE_GOTO(status, hone_model_upload(saved->model, pass.full.program), done);
    status = hone_evaluation_run(&pass, o->stop, out);
    if (status == HONE_OK && !(out->mistakes = hone_evaluation_mistakes(out, data.set, HONE_MISTAKES)))
        status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the worst mistakes");
    if (status == HONE_OK && o->report) {
        status = hone_evaluation_page(out, data.set, saved->model, saved->run_dir, o->data ? o->data : data.split,
                                      o->report);
        if (status != HONE_OK) hone_evaluation_free(out);
    }
done:
    hone_pass_close(&pass);
    hone_backend_close(backend);
    hone_text_close(text);
    if (data.own) hone_data_free(data.own);
    else hone_dataset_free(data.set);
    return status;
}

hone_status hone_evaluate(const char *model_path, const hone_eval_opts *o, hone_evaluation *out)
{
    hone_saved saved;
    HONE_TRY(hone_saved_open(model_path, &saved));
    hone_status status = hone_evaluate_saved(&saved, o, out);
    hone_saved_close(&saved);
    return status;
}
