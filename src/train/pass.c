/* pass.c - see pass.h. Resident pixels of a host backend are bound where they lie; elsewhere they are
 * uploaded once. Streamed batches are bound, or uploaded, one by one. */
#include "train/pass.h"

#include <string.h>

/* Pixels are bytes (H, W, C) until the first kernel of a program makes floats of them. */
size_t hone_pass_sample_bytes(const hone_preprocess *pre)
{
    return (size_t)pre->height * (size_t)pre->width * (size_t)pre->channels;
}

/* Builds the graph for `batch` samples and compiles it; class weights are constants of each program. */
static hone_status compile_one(const hone_pass_opts *o, int batch, hone_program *share, hone_pass_program *out)
{
    const hone_preprocess *pre = hone_model_preprocess(o->model);
    hone_model_opts build = o->build;
    hone_compile_opts compile = o->compile;
    hone_graph *graph = NULL;
    if (o->stop && *o->stop) return hone_fail(HONE_INTERRUPTED, NULL, "interrupted while preparing");
    build.mode = o->mode;
    build.batch = batch;
    /* resident: rows are sample ids; streamed: rows are 0..batch-1 of the batch's own pixels */
    build.pool_rows = hone_dataset_pixels(o->data) ? hone_dataset_count(o->data) : batch;
    build.pool_h = pre->height;
    build.pool_w = pre->width;
    HONE_TRY(hone_model_build(o->model, &build, &graph, &out->io));
    compile.loss = o->mode == HONE_MODE_TRAIN ? out->io.loss : HONE_NONE;
    /* one set of parameters, gradients, sums and constants for all programs of a run */
    if (share) compile.share = share;
    hone_status status = hone_compile(graph, o->backend, &compile, &out->program);
    hone_graph_free(graph);
    if (status != HONE_OK) return status;
    out->batch = batch;
    out->loss = o->mode == HONE_MODE_TRAIN;
    if (o->class_weight && out->io.class_weight != HONE_NONE)
        status = hone_program_write(out->program, out->io.class_weight, o->class_weight,
                                    (size_t)hone_model_classes(o->model) * sizeof(float));
    return status;
}

/* Memory for the pool where the host's own can't be used: the whole set, or one streamed batch. */
static hone_status make_pool(hone_pass *p)
{
    const uint8_t *pixels = hone_dataset_pixels(p->data);
    int64_t rows = pixels ? hone_dataset_count(p->data) : p->full.batch;
    if (p->backend->host_memory) return HONE_OK;
    p->pool_bytes = (size_t)rows * hone_pass_sample_bytes(hone_model_preprocess(p->model));
    HONE_TRY(p->backend->alloc(p->backend, p->pool_bytes, &p->pool));
    return pixels ? p->backend->upload(p->backend, p->pool, pixels, p->pool_bytes) : HONE_OK;
}

/* The tail shares arenas with the owner of the parameters, whoever that is. */
hone_status hone_pass_open(const hone_pass_opts *o, hone_pass *out)
{
    int64_t count = hone_dataset_count(o->data);
    /* a set smaller than a batch is one batch; the tail is what is left of the last round, 0 for none */
    int batch = o->batch < count ? o->batch : (int)count, tail = (int)(count % batch);
    hone_loader_opts loader = o->loader;
    hone_status status;
    *out = (hone_pass){.backend = o->backend, .model = o->model, .data = o->data};
    loader.batch = batch;
    HONE_GOTO(status, compile_one(o, batch, NULL, &out->full), fail);
    if (tail) {
        hone_program *owner = o->compile.share ? o->compile.share : out->full.program;
        HONE_GOTO(status, compile_one(o, tail, owner, &out->tail), fail);
    }
    HONE_GOTO(status, make_pool(out), fail);
    HONE_GOTO(status, hone_loader_open(o->data, &loader, &out->loader), fail);
    out->batches = hone_loader_batches(out->loader);
    return HONE_OK;
fail:
    hone_pass_close(out);
    return status;
}

/* The loader goes first: its threads still read the data set and write into batches. */
void hone_pass_close(hone_pass *p)
{
    hone_loader_close(p->loader);
    hone_program_free(p->tail.program); /* a sharer goes before the owner */
    hone_program_free(p->full.program);
    if (p->pool) p->backend->free(p->backend, p->pool);
    *p = (hone_pass){0};
}

/* Binds the pixels that the rows of this batch point into. */
static hone_status bind_pixels(hone_pass *p, const hone_batch *b, hone_pass_program *which)
{
    const uint8_t *host = b->pixels ? b->pixels : hone_dataset_pixels(p->data);
    void *device = p->pool;
    if (!device) {
        /* kernels only read the pool; the interface is the same for memory that they could write */
        memcpy(&device, &host, sizeof device);
    } else if (b->pixels) {
        size_t bytes = (size_t)b->count * hone_pass_sample_bytes(hone_model_preprocess(p->model));
        HONE_TRY(p->backend->upload(p->backend, device, b->pixels, bytes));
    }
    return hone_program_bind_pool(which->program, which->io.pool, device);
}

/* All inputs of a row are 4 bytes wide (i32 or f32); a mode that lacks one says HONE_NONE. */
static hone_status write_input(hone_pass_program *w, hone_tid t, const void *data, int count)
{
    return t == HONE_NONE ? HONE_OK : hone_program_write(w->program, t, data, (size_t)count * 4);
}

/* Which program is decided by the size of the batch alone. */
hone_status hone_pass_feed(hone_pass *p, hone_batch *b, hone_pass_program **which)
{
    HONE_TRY(hone_loader_next(p->loader, b));
    hone_pass_program *w = b->count == p->full.batch ? &p->full : &p->tail;
    /* a loader with other batches would read memory past the inputs */
    if (b->count != w->batch)
        return hone_fail(HONE_ERR_RUNTIME, NULL, "the loader gave a batch of %d, programs are for %d and %d", b->count,
                         p->full.batch, p->tail.batch);
    HONE_TRY(bind_pixels(p, b, w));
    HONE_TRY(write_input(w, w->io.row, b->row, b->count));
    HONE_TRY(write_input(w, w->io.sample, b->sample, b->count));
    HONE_TRY(write_input(w, w->io.label, b->label, b->count));
    HONE_TRY(write_input(w, w->io.row_weight, b->weight, b->count));
    *which = w;
    return HONE_OK;
}
