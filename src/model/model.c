/* model.c - a model's life: from a config's page to named parameters, and between host and program.
 *
 * Expansion and emission are elsewhere (expand.c, emit*.c); here they are put together. A model holds
 * values in file layout only; memory layouts exist in programs. */
#include "hone/model.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "model/model_private.h"

/* --- making one ---------------------------------------------------------------------------------------- */

/* Class names are copied: the data set that they come from may go before the model. */
hone_model *hone_model_blank(const hone_preprocess *pre, int classes, const char *const *class_name)
{
    hone_model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->pre = *pre;
    m->class_name = calloc((size_t)classes, sizeof *m->class_name);
    for (; m->class_name && m->classes < classes; m->classes++) {
        m->class_name[m->classes] = hone_strdup(class_name[m->classes]);
        if (!m->class_name[m->classes]) break;
    }
    if (m->classes == classes && m->class_name) return m;
    hone_model_free(m);
    return NULL;
}

/* Safe on a model that was made halfway. */
void hone_model_free(hone_model *m)
{
    if (!m) return;
    for (int k = 0; k < m->classes; k++) free(m->class_name[k]);
    free(m->class_name);
    hone_param_set_free(&m->params);
    hone_layers_free(&m->tree);
    free(m);
}

/* Batch 2 and TRAIN, because that graph has every parameter; it serves for names and shapes only. */
hone_status hone_model_assemble(hone_model *m, const hone_yaml *page, const hone_yaml *given)
{
    hone_diag d = {0};
    hone_status status = hone_layers_expand(page, given, m->classes, &d, &m->tree);
    if (status == HONE_OK) status = hone_diag_status(&d);
    hone_diag_free(&d);
    HONE_TRY(status);
    hone_model_opts o = {.batch = 2,
                         .pool_rows = 1,
                         .pool_h = m->pre.height,
                         .pool_w = m->pre.width,
                         .mode = HONE_MODE_TRAIN,
                         .accumulate = 1,
                         .tokens = 8};
    hone_graph *g = NULL;
    hone_model_io io;
    HONE_TRY(hone_model_emit(m, &m->params, true, &o, &g, &io));
    hone_graph_free(g);
    return HONE_OK;
}

/* `file` is relative to the config that names it. free() the result; NULL: memory exhausted. */
/* (The config room resolves files itself where it reads pages; this serves configs made in memory.) */
static char *beside(const char *config_file, const char *file)
{
    const char *slash = config_file ? strrchr(config_file, '/') : NULL;
    hone_text path = {0};
    if (file[0] != '/' && slash) hone_text_append(&path, config_file, (size_t)(slash - config_file) + 1);
    hone_text_add(&path, "%s", file);
    return hone_text_take(&path);
}

/* The page of layers: the config's own, or the one that `model.file` names (then *owned is its root). */
/* A config read by hone_config_read has its model file in place already; one made by hand may name it. */
static hone_status find_page(const hone_config *c, const hone_yaml **page, const hone_yaml **given, hone_yaml **owned)
{
    const hone_yaml *tree = c->model.tree;
    if (!tree || tree->kind != HONE_YAML_MAP)
        return hone_fail(HONE_ERR_USAGE, "add `model: {file: models/cnn.yaml}` or `model: {layers: [...]}`",
                         "%s: the config has no model", c->file ? c->file : "config");
    const hone_yaml *file = hone_yaml_get(tree, "file"), *with = hone_yaml_get(tree, "with");
    *page = tree;
    *given = NULL;
    /* the layers are here */
    if (!file || hone_yaml_null(file)) return HONE_OK;
    hone_diag d = {0};
    if (file->kind != HONE_YAML_SCALAR) hone_diag_add(&d, file, "model.file", "must be a path");
    if (with && with->kind != HONE_YAML_MAP)
        hone_diag_add(&d, with, "model.with", "must be a map of the file's parameters");
    for (int k = 0; k < tree->count; k++)
        if (strcmp(tree->key[k]->text, "file") != 0 && strcmp(tree->key[k]->text, "with") != 0)
            hone_diag_add(&d, tree->key[k], "model", "%s does not go with file (the file has the layers)",
                          tree->key[k]->text);
    hone_status status = hone_diag_status(&d);
    hone_diag_free(&d);
    HONE_TRY(status);
    char *path = beside(c->file, file->text);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted");
    status = hone_yaml_read_file(path, owned);
    if (status != HONE_OK)
        hone_error_context("%s:%d:%d: model.file", file->file ? file->file : "config", file->line, file->column);
    free(path);
    *page = *owned;
    *given = with;
    return status;
}

/* What the caller took from data and config; ranges of the graph's own attributes. */
static hone_status check_arguments(const hone_preprocess *pre, int classes)
{
    if (classes < 1 || classes > 1 << 20)
        return hone_fail(HONE_ERR_USAGE, "the data must have at least one class", "model: %d classes", classes);
    if (pre->vocab > 0) return HONE_OK; /* text: its size is bounded with that of all parameters */
    if (pre->height < 1 || pre->width < 1 || pre->channels < 1 || pre->channels > HONE_MAX_CHANNELS)
        return hone_fail(HONE_ERR_USAGE, "set image.size and image.channels", "model: an image of %d x %d x %d",
                         pre->height, pre->width, pre->channels);
    return HONE_OK;
}

/* Errors: USAGE with the place in the page, MEMORY. Values are drawn here: the seed is the run's. */
hone_status hone_model_new(const hone_config *c, const hone_preprocess *pre, int classes, const char *const *class_name,
                           uint64_t seed, hone_model **out)
{
    const hone_yaml *page = NULL, *given = NULL;
    hone_yaml *owned = NULL;
    hone_model *m = NULL;
    hone_status status = HONE_OK;
    HONE_TRY(check_arguments(pre, classes));
    HONE_GOTO(status, find_page(c, &page, &given, &owned), done);
    m = hone_model_blank(pre, classes, class_name);
    if (!m) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "model: memory exhausted");
        goto done;
    }
    HONE_GOTO(status, hone_model_assemble(m, page, given), done);
    for (int k = 0; k < m->params.count; k++)
        HONE_GOTO(status, hone_fill_values(&m->params.item[k], &m->params.fill[k], seed), done);
/* reached with and without an error: the page is not needed any more */
done:
    hone_yaml_free(owned);
    if (status != HONE_OK) {
        hone_model_free(m);
        m = NULL;
    }
    *out = m;
    return status;
}

/* --- reading it ------------------------------------------------------------------------------------------ */

int hone_model_param_count(const hone_model *m) { return m->params.count; }
int hone_model_classes(const hone_model *m) { return m->classes; }
const hone_preprocess *hone_model_preprocess(const hone_model *m) { return &m->pre; }
const char *hone_model_class_name(const hone_model *m, int k)
{
    return k >= 0 && k < m->classes ? m->class_name[k] : NULL;
}
hone_param *hone_model_param(hone_model *m, int k) { return k >= 0 && k < m->params.count ? &m->params.item[k] : NULL; }

/* Linear: models have hundreds of parameters, and this is no inner loop. */
hone_param *hone_model_find_param(hone_model *m, const char *name)
{
    return hone_model_param(m, hone_param_set_find(&m->params, name));
}

/* --- freezing --------------------------------------------------------------------------------------------- */

/* The parameter that a pattern which matches none most likely meant: smallest edit distance where
 * that is unique and small, else the longest common beginning. */
static const char *closest(const hone_model *m, const char *pattern)
{
    const char *best = NULL;
    /* patterns that match nothing are mostly a typo late in a name or a layer of another net */
    size_t best_length = 0;
    const char **name = calloc((size_t)m->params.count + 1, sizeof *name);
    for (int k = 0; k < m->params.count; k++) {
        const char *candidate = m->params.item[k].name;
        size_t same = 0;
        while (pattern[same] && pattern[same] == candidate[same]) same++;
        if (!best || same > best_length) {
            best = candidate;
            best_length = same;
        }
        if (name) name[k] = candidate;
    }
    const char *typo = name ? hone_did_you_mean(pattern, name, m->params.count) : NULL;
    free((void *)name);
    return typo ? typo : best;
}

/* fnmatch without flags: * crosses dots, so "layer1.*" is a whole stage. */
hone_status hone_model_freeze(hone_model *m, const hone_string_list *patterns)
{
    for (int i = 0; i < patterns->count; i++) { /* all patterns first: an error must not leave half of them done */
        bool hit = false;
        for (int k = 0; k < m->params.count && !hit; k++)
            hit = fnmatch(patterns->item[i], m->params.item[k].name, 0) == 0;
        const char *near = hit ? NULL : closest(m, patterns->item[i]);
        if (!hit)
            return hone_fail(HONE_ERR_USAGE, "`hone plan CONFIG` lists the names; * matches any characters",
                             "train.freeze: \"%s\" matches no parameter (the closest is %s)", patterns->item[i],
                             near ? near : "none: the model has no parameters");
    }
    for (int i = 0; i < patterns->count; i++)
        for (int k = 0; k < m->params.count; k++)
            if (fnmatch(patterns->item[i], m->params.item[k].name, 0) == 0) m->params.item[k].trainable = false;
    return HONE_OK;
}

/* --- host and program --------------------------------------------------------------------------------------- */

/* Calls `move` for each parameter with scratch for its memory layout. */
static hone_status for_each(hone_model *m, hone_program *p, bool ema,
                            hone_status (*move)(hone_program *p, const hone_tensor *t, hone_tid id, bool ema,
                                                hone_param *param, float *scratch))
{
    const hone_graph *g = hone_program_graph(p);
    /* one scratch for the largest parameter serves all; tables lie in memory as in files and need none */
    int64_t most = 1;
    hone_status status = HONE_OK;
    for (int k = 0; k < m->params.count; k++)
        if (!m->params.item[k].sparse && m->params.item[k].count > most) most = m->params.item[k].count;
    float *scratch = malloc((size_t)most * sizeof *scratch);
    if (!scratch) return hone_fail(HONE_ERR_MEMORY, NULL, "model: no memory for %lld values", (long long)most);
    for (int k = 0; k < m->params.count && status == HONE_OK; k++) {
        hone_param *param = &m->params.item[k];
        hone_tid id = hone_graph_find(g, param->name);
        if (id == HONE_NONE || hone_tensor_count(&g->tensor[id]) != param->count)
            status = hone_fail(HONE_ERR_RUNTIME, "compile the graph that this model built",
                               "model: the program has no parameter %s of its shape", param->name);
        else status = move(p, &g->tensor[id], id, ema, param, scratch);
    }
    free(scratch);
    return status;
}

/* File layout to memory layout through scratch of (count). */
static hone_status upload_one(hone_program *p, const hone_tensor *t, hone_tid id, bool ema, hone_param *param,
                              float *scratch)
{
    (void)ema;
    /* a table that the file lent the model: lent on, where the program takes it */
    if (param->sparse && param->borrowed && hone_program_lend(p, id, param->value)) return HONE_OK;
    if (param->sparse) return hone_program_write(p, id, param->value, (size_t)param->count * sizeof *scratch);
    hone_layout_from_file(t, param->value, scratch);
    return hone_program_write(p, id, scratch, (size_t)param->count * sizeof *scratch);
}

/* Frozen parameters have no average: they are read as they are. */
static hone_status download_one(hone_program *p, const hone_tensor *t, hone_tid id, bool ema, hone_param *param,
                                float *scratch)
{
    if (param->sparse) return hone_program_read(p, id, param->value, (size_t)param->count * sizeof *scratch);
    bool averaged = t->role == HONE_ROLE_STATE || (t->flags & HONE_TENSOR_TRAINABLE);
    if (ema && averaged && hone_program_has_slot(p, HONE_SLOT_EMA))
        HONE_TRY(hone_program_read_slot(p, id, HONE_SLOT_EMA, scratch));
    else HONE_TRY(hone_program_read(p, id, scratch, (size_t)param->count * sizeof *scratch));
    hone_layout_to_file(t, scratch, param->value);
    return HONE_OK;
}

hone_status hone_model_upload(hone_model *m, hone_program *p) { return for_each(m, p, false, upload_one); }
hone_status hone_model_download(hone_model *m, hone_program *p, bool ema) { return for_each(m, p, ema, download_one); }
