/* predictor.c - a saved model behind one call: pixels in, probabilities out (train.h).
 *
 * One program for a batch of up to BATCH images; fewer are padded with copies of row 0, whose results
 * are dropped, so that any count runs without compiling again. */
#include <stdlib.h>
#include <string.h>

#include "hone/train.h"
#include "train/pass.h"
#include "train/predictor.h"
#include "train/saved.h"

enum { BATCH = 16 };

/* Both programs share one set of parameters; `many` owns it. Not for two threads at once. */
struct hone_predictor {
    hone_saved saved;
    hone_backend *backend;
    hone_text_predictor *text; /* a text model's; nothing below is then there */
    hone_program *one, *many;  /* for 1 image and for BATCH: a single one should not cost BATCH */
    hone_model_io one_io, many_io;
    void *pool;         /* device memory for BATCH images, NULL on a host backend */
    float *probability; /* (BATCH, classes) */
};

/* `share` NULL: this program owns the parameters. */
static hone_status compile_for(hone_predictor *p, int batch, hone_program *share, hone_program **program,
                               hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(p->saved.model);
    hone_model_opts o = {.batch = batch,
                         .pool_rows = batch,
                         .pool_h = pre->height,
                         .pool_w = pre->width,
                         .mode = HONE_MODE_EVAL,
                         .accumulate = 1};
    hone_compile_opts compile = {
        .loss = HONE_NONE, .share = share, .precision = hone_saved_precision(&p->saved, p->backend)};
    hone_graph *g = NULL;
    HONE_TRY(hone_model_build(p->saved.model, &o, &g, io));
    hone_status status = hone_compile(g, p->backend, &compile, program);
    hone_graph_free(g);
    return status;
}

/* Labels take no part in a prediction but the graph reads them; rows are 0, 1, 2.... */
static hone_status fill_inputs(hone_program *program, const hone_model_io *io, int batch)
{
    int32_t row[BATCH] = {0}, zero[BATCH] = {0};
    float one[BATCH];
    for (int k = 0; k < batch; k++) {
        row[k] = k;
        one[k] = 1.0f;
    }
    size_t bytes = (size_t)batch * 4;
    if (io->row != HONE_NONE) HONE_TRY(hone_program_write(program, io->row, row, bytes));
    if (io->sample != HONE_NONE) HONE_TRY(hone_program_write(program, io->sample, row, bytes));
    if (io->label != HONE_NONE) HONE_TRY(hone_program_write(program, io->label, zero, bytes));
    if (io->row_weight != HONE_NONE) HONE_TRY(hone_program_write(program, io->row_weight, one, bytes));
    return HONE_OK;
}

/* Everything slow or fallible happens here; a prediction only computes. */
hone_status hone_predictor_open(const char *model_path, const char *device, int threads, hone_predictor **out)
{
    hone_status status;
    hone_predictor *p = calloc(1, sizeof *p);
    if (!p) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    HONE_GOTO(status, hone_saved_open(model_path, &p->saved), fail);
    HONE_GOTO(status, hone_backend_open(device ? device : "auto", threads, &p->backend), fail);
    if (hone_model_preprocess(p->saved.model)->vocab > 0) {
        HONE_GOTO(status, hone_text_predictor_open(&p->saved, p->backend, &p->text), fail);
        *out = p;
        return HONE_OK;
    }
    HONE_GOTO(status, compile_for(p, BATCH, NULL, &p->many, &p->many_io), fail);
    HONE_GOTO(status, compile_for(p, 1, p->many, &p->one, &p->one_io), fail);
    HONE_GOTO(status, hone_model_upload(p->saved.model, p->many), fail);
    HONE_GOTO(status, fill_inputs(p->many, &p->many_io, BATCH), fail);
    HONE_GOTO(status, fill_inputs(p->one, &p->one_io, 1), fail);
    p->probability = malloc((size_t)BATCH * (size_t)hone_model_classes(p->saved.model) * sizeof(float));
    if (!p->probability) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
        goto fail;
    }
    /* the host path keeps a copy too: the caller's memory may be shorter than a batch */
    size_t pixels = (size_t)BATCH * hone_pass_sample_bytes(hone_model_preprocess(p->saved.model));
    HONE_GOTO(status, p->backend->alloc(p->backend, pixels, &p->pool), fail);
    *out = p;
    return HONE_OK;
fail:
    hone_predictor_close(p);
    return status;
}

/* Owned by the predictor: valid until it is closed. */
const hone_model *hone_predictor_model(const hone_predictor *p) { return p->saved.model; }

/* `count` <= BATCH images, pixels (count, H, W, C), out (count, classes). */
static hone_status run_some(hone_predictor *p, const uint8_t *pixels, int count, float *out)
{
    size_t image = hone_pass_sample_bytes(hone_model_preprocess(p->saved.model));
    size_t classes = (size_t)hone_model_classes(p->saved.model);
    bool single = count == 1;
    hone_program *program = single ? p->one : p->many;
    hone_tid result = single ? p->one_io.probability : p->many_io.probability;
    size_t rows = single ? 1 : BATCH;
    /* rows past `count` keep older pixels: computed, never looked at */
    HONE_TRY(p->backend->upload(p->backend, p->pool, pixels, (size_t)count * image));
    HONE_TRY(hone_program_bind_pool(program, single ? p->one_io.pool : p->many_io.pool, p->pool));
    HONE_TRY(hone_program_forward_backward(program));
    HONE_TRY(hone_program_read(program, result, p->probability, rows * classes * sizeof(float)));
    memcpy(out, p->probability, (size_t)count * classes * sizeof(float));
    return HONE_OK;
}

hone_status hone_predictor_texts(hone_predictor *p, const char *const *text, const size_t *bytes, int count,
                                 float *probability)
{
    if (p->text) return hone_text_predictor_run(p->text, text, bytes, count, probability);
    return hone_fail(HONE_ERR_USAGE, "give it images", "the model labels images, not texts");
}

/* In chunks of BATCH; probability (count, classes). */
hone_status hone_predictor_run(hone_predictor *p, const uint8_t *pixels, int count, float *probability)
{
    size_t image = hone_pass_sample_bytes(hone_model_preprocess(p->saved.model));
    size_t classes = (size_t)hone_model_classes(p->saved.model);
    if (p->text) return hone_fail(HONE_ERR_USAGE, "give it texts", "the model labels texts, not images");
    for (int at = 0; at < count; at += BATCH) {
        int some = count - at < BATCH ? count - at : BATCH;
        HONE_TRY(run_some(p, pixels + (size_t)at * image, some, probability + (size_t)at * classes));
    }
    return HONE_OK;
}

/* Also unwinds a half-opened one: everything in it is NULL until it is made. */
void hone_predictor_close(hone_predictor *p)
{
    if (!p) return;
    if (p->pool) p->backend->free(p->backend, p->pool);
    hone_text_predictor_close(p->text);
    hone_program_free(p->one); /* a sharer goes before the owner */
    hone_program_free(p->many);
    hone_backend_close(p->backend);
    hone_saved_close(&p->saved);
    free(p->probability);
    free(p);
}
