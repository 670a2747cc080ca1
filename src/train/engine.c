/* engine.c - one lane of a predictor (engine.h).
 *
 * A program for 1 image and one for BATCH; fewer images leave older pixels in the batch, whose results are dropped,
 * so that any count runs without compiling again. The first lane compiles both and owns the parameters; later ones
 * make the large program when a call first needs it, because its activations are what a lane costs. */
#include "train/engine.h"

#include <stdlib.h>
#include <string.h>

#include "train/pass.h"

enum { BATCH = 16 };

struct hone_engine {
    hone_saved *saved;
    hone_backend *backend;
    const hone_engine *first;  /* whose parameters these programs read; NULL: this one's own */
    hone_text_predictor *text; /* a text model's; nothing below is then there */
    hone_program *one, *many;  /* for 1 image and for BATCH: a single one should not cost BATCH */
    hone_model_io one_io, many_io;
    void *pool;         /* device memory for BATCH images */
    float *probability; /* (BATCH, classes) */
};

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

/* Over the first lane's parameters where it is another one; else the first program made owns them. */
static hone_status compile_for(hone_engine *e, int batch, hone_program **program, hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(e->saved->model);
    hone_model_opts o = {.batch = batch,
                         .pool_rows = batch,
                         .pool_h = pre->height,
                         .pool_w = pre->width,
                         .mode = HONE_MODE_EVAL,
                         .accumulate = 1};
    hone_compile_opts compile = {.loss = HONE_NONE,
                                 .share = e->first ? e->first->many : e->many,
                                 .apart = e->first != NULL,
                                 .frozen = true,
                                 .precision = hone_saved_precision(e->saved, e->backend)};
    hone_graph *g = NULL;
    HONE_TRY(hone_model_build(e->saved->model, &o, &g, io));
    hone_status status = hone_compile(g, e->backend, &compile, program);
    hone_graph_free(g);
    HONE_TRY(status);
    return fill_inputs(*program, io, batch);
}

/* The owner is compiled first: the one with the larger arenas, in which the other then fits. */
static hone_status open_images(hone_engine *e)
{
    if (!e->first) {
        HONE_TRY(compile_for(e, BATCH, &e->many, &e->many_io));
        HONE_TRY(hone_model_upload(e->saved->model, e->many));
    }
    HONE_TRY(compile_for(e, 1, &e->one, &e->one_io));
    e->probability = malloc((size_t)BATCH * (size_t)hone_model_classes(e->saved->model) * sizeof(float));
    if (!e->probability) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    /* the host path keeps a copy too: the caller's memory may be shorter than a batch */
    size_t pixels = (size_t)BATCH * hone_pass_sample_bytes(hone_model_preprocess(e->saved->model));
    return e->backend->alloc(e->backend, pixels, &e->pool);
}

/* Everything slow or fallible happens here; a prediction only computes. */
hone_status hone_engine_open(hone_saved *saved, const hone_predictor_opts *o, const hone_engine *first,
                             hone_engine **out)
{
    hone_engine *e = calloc(1, sizeof *e);
    if (!e) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    e->saved = saved;
    e->first = first;
    /* later lanes must be of the very kind that "auto" gave the first one */
    const char *device = first ? first->backend->name : o->device ? o->device : "auto";
    hone_status status = hone_backend_open(device, o->threads, &e->backend);
    if (status == HONE_OK && hone_model_preprocess(saved->model)->vocab > 0)
        status = hone_text_predictor_open(saved, e->backend, first ? first->text : NULL, &e->text);
    else if (status == HONE_OK) status = open_images(e);
    if (status == HONE_OK) *out = e;
    else hone_engine_close(e);
    return status;
}

/* A device of its own memory has one queue, and a 16-bit copy of the parameters is refreshed by steps: both take turns. */
bool hone_engine_can_lend(const hone_engine *e)
{
    hone_program *owner = e->text ? hone_text_predictor_owner(e->text) : e->many;
    return e->backend->host_memory && hone_precision_storage(hone_program_precision(owner)) == HONE_F32;
}

/* `count` <= BATCH images, pixels (count, H, W, C), out (count, classes). */
static hone_status run_some(hone_engine *e, const uint8_t *pixels, int count, float *out)
{
    size_t image = hone_pass_sample_bytes(hone_model_preprocess(e->saved->model));
    size_t classes = (size_t)hone_model_classes(e->saved->model);
    bool single = count == 1;
    if (!single && !e->many) HONE_TRY(compile_for(e, BATCH, &e->many, &e->many_io));
    hone_program *program = single ? e->one : e->many;
    hone_tid result = single ? e->one_io.probability : e->many_io.probability;
    size_t rows = single ? 1 : BATCH;
    /* rows past `count` keep older pixels: computed, never looked at */
    HONE_TRY(e->backend->upload(e->backend, e->pool, pixels, (size_t)count * image));
    HONE_TRY(hone_program_bind_pool(program, single ? e->one_io.pool : e->many_io.pool, e->pool));
    HONE_TRY(hone_program_forward_backward(program));
    HONE_TRY(hone_program_read(program, result, e->probability, rows * classes * sizeof(float)));
    memcpy(out, e->probability, (size_t)count * classes * sizeof(float));
    return HONE_OK;
}

/* In chunks of BATCH. */
hone_status hone_engine_images(hone_engine *e, const uint8_t *pixels, int count, float *probability)
{
    size_t image = hone_pass_sample_bytes(hone_model_preprocess(e->saved->model));
    size_t classes = (size_t)hone_model_classes(e->saved->model);
    for (int at = 0; at < count; at += BATCH) {
        int some = count - at < BATCH ? count - at : BATCH;
        HONE_TRY(run_some(e, pixels + (size_t)at * image, some, probability + (size_t)at * classes));
    }
    return HONE_OK;
}

/* In chunks of its own. */
hone_status hone_engine_texts(hone_engine *e, const hone_text_inputs *in, float *probability)
{
    return hone_text_predictor_run(e->text, in, probability);
}

/* Also unwinds a half-opened one: everything in it is NULL until it is made. */
void hone_engine_close(hone_engine *e)
{
    if (!e) return;
    if (e->pool) e->backend->free(e->backend, e->pool);
    hone_text_predictor_close(e->text);
    hone_program_free(e->one); /* a sharer goes before the owner */
    hone_program_free(e->many);
    hone_backend_close(e->backend);
    free(e->probability);
    free(e);
}
