/* pass.c - see pass.h. Resident pixels of a host backend are bound where they lie; elsewhere they are
 * uploaded once. Streamed batches are bound, or sent ahead through two lanes, one by one. */
#include "train/pass.h"

#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "train/augment.h"

/* Pixels are bytes (H, W, C) until the first kernel of a program makes floats of them. */
size_t hone_pass_sample_bytes(const hone_preprocess *pre)
{
    return (size_t)pre->height * (size_t)pre->width * (size_t)pre->channels;
}

/* Texts that are no pairs are all of the first segment: said once, as nobody writes there again. */
static hone_status clear_types(hone_pass_program *w)
{
    int32_t *zero = calloc((size_t)w->tokens, sizeof *zero);
    if (!zero) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld tokens", (long long)w->tokens);
    hone_status status = hone_program_write_front(w->program, w->io.type, zero, (size_t)w->tokens * sizeof *zero);
    free(zero);
    return status;
}

/* Shares of mixup and cutmix: constants of each program, as class weights are. */
static hone_status write_mix_table(const hone_pass_opts *o, hone_pass_program *out)
{
    int32_t table[2 * HONE_MIX_TABLE];
    hone_mix_table(o->mix_alpha[0], table);
    hone_mix_table(o->mix_alpha[1], table + HONE_MIX_TABLE);
    return hone_program_write(out->program, out->io.mix_table, table, sizeof table);
}

/* Builds the graph for `batch` samples and compiles it; class weights are constants of each program. */
static hone_status compile_one(const hone_pass_opts *o, int batch, int64_t tokens, hone_program *share,
                               hone_pass_program *out)
{
    hone_model_opts build = o->build;
    hone_compile_opts compile = o->compile;
    hone_graph *graph = NULL;
    if (o->stop && *o->stop) return hone_fail(HONE_INTERRUPTED, NULL, "interrupted while preparing");
    build.mode = o->mode;
    build.batch = batch;
    /* resident: rows are sample ids; streamed: rows are 0..batch-1 of the batch's own pixels */
    build.pool_rows = hone_dataset_pixels(o->data) ? hone_dataset_count(o->data) : batch;
    build.pool_h = o->data->height; /* larger than the net's pictures where crops are cut out of them */
    build.pool_w = o->data->width;
    build.tokens = tokens;
    HONE_TRY(hone_model_build(o->model, &build, &graph, &out->io));
    compile.loss = o->mode == HONE_MODE_TRAIN ? out->io.loss : HONE_NONE;
    /* streamed pixels arrive one by one; a short batch stands alone at an epoch's end */
    compile.together = o->compile.together && hone_dataset_pixels(o->data) && !share;
    /* one set of parameters, gradients, sums and constants for all programs of a run */
    if (share) compile.share = share;
    hone_status status = hone_compile(graph, o->backend, &compile, &out->program);
    hone_graph_free(graph);
    if (status != HONE_OK) return status;
    out->batch = batch;
    out->tokens = tokens;
    out->loss = o->mode == HONE_MODE_TRAIN;
    if (out->io.type != HONE_NONE) HONE_TRY(clear_types(out));
    if (out->io.mix_table != HONE_NONE) HONE_TRY(write_mix_table(o, out));
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
    if (p->backend->host_memory || hone_dataset_is_text(p->data)) return HONE_OK;
    p->pool_bytes = (size_t)rows * hone_dataset_sample_bytes(p->data);
    HONE_TRY(p->backend->alloc(p->backend, p->pool_bytes, &p->pool));
    if (pixels) return p->backend->upload(p->backend, p->pool, pixels, p->pool_bytes);
    for (int k = 0; k < 2; k++) HONE_TRY(p->backend->lane_open(p->backend, p->pool_bytes, &p->lane[k]));
    return HONE_OK;
}

/* The programs of smaller room; the owner is the largest, so that all run in its memory. */
static hone_status open_smaller(const hone_pass_opts *o, hone_program *owner, const hone_capacities *c, hone_pass *p)
{
    for (int k = 0; k < c->count; k++) {
        HONE_TRY(compile_one(o, p->full.batch, c->tokens[k], owner, &p->smaller[k]));
        p->smaller_count++;
    }
    return HONE_OK;
}

/* The tail shares arenas with the owner of the parameters, whoever that is. */
hone_status hone_pass_open(const hone_pass_opts *o, hone_pass *out)
{
    int64_t count = hone_dataset_count(o->data);
    /* a set smaller than a batch is one batch; the tail is what is left of the last round, 0 for none */
    int batch = o->batch < count ? o->batch : (int)count, tail = (int)(count % batch);
    bool text = hone_dataset_is_text(o->data);
    hone_capacities room = {0};
    hone_loader_opts loader = o->loader;
    hone_status status;
    *out = (hone_pass){.backend = o->backend, .model = o->model, .data = o->data};
    loader.batch = batch;
    out->budget = text && loader.batch_tokens > 0;
    if (out->budget) tail = 0;
    if (text) HONE_GOTO(status, hone_capacities_find(o->data, &loader, &room), fail);
    HONE_GOTO(status, compile_one(o, batch, room.most, NULL, &out->full), fail);
    hone_program *owner = o->compile.share ? o->compile.share : out->full.program;
    if (tail) HONE_GOTO(status, compile_one(o, tail, room.tail, owner, &out->tail), fail);
    if (text) HONE_GOTO(status, open_smaller(o, owner, &room, out), fail);
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
    for (int k = 0; k < p->smaller_count; k++) hone_program_free(p->smaller[k].program);
    hone_program_free(p->tail.program); /* sharers go before the owner */
    hone_program_free(p->full.program);
    for (int k = 0; k < 2; k++)
        if (p->lane[k]) p->backend->lane_close(p->backend, p->lane[k]);
    if (p->pool) p->backend->free(p->backend, p->pool);
    *p = (hone_pass){0};
}

/* A streamed batch travels while the step before it is computed; the loader's memory is free again at once. */
static hone_status send_pixels(hone_pass *p, const hone_batch *b)
{
    hone_lane *lane = p->lane[p->turn];
    size_t bytes = (size_t)b->count * hone_dataset_sample_bytes(p->data);
    p->turn = !p->turn;
    HONE_TRY(p->backend->lane_wait(p->backend, lane));
    memcpy(lane->host, b->pixels, bytes);
    return p->backend->lane_send(p->backend, lane, p->pool, bytes);
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
        HONE_TRY(send_pixels(p, b));
    }
    return hone_program_bind_pool(which->program, which->io.pool, device);
}

/* All inputs of a row are 4 bytes wide (i32 or f32); a mode that lacks one says HONE_NONE. */
static hone_status write_input(hone_pass_program *w, hone_tid t, const void *data, int count)
{
    return t == HONE_NONE ? HONE_OK : hone_program_write(w->program, t, data, (size_t)count * 4);
}

hone_program *hone_pass_each(const hone_pass *p, int k)
{
    if (k == 0) return p->full.program;
    if (k <= p->smaller_count) return p->smaller[k - 1].program;
    return k == p->smaller_count + 1 ? p->tail.program : NULL;
}

/* The program of this many samples, and of the least room for tokens. */
static hone_pass_program *choose(hone_pass *p, const hone_batch *b)
{
    hone_pass_program *w = b->count == p->full.batch || p->budget ? &p->full : &p->tail;
    for (int k = 0; w != &p->tail && k < p->smaller_count && p->smaller[k].tokens >= b->tokens; k++) w = &p->smaller[k];
    return w;
}

/* Ids up to the live ones; what lies behind them is never looked at. */
static hone_status write_tokens(hone_pass_program *w, const hone_batch *b)
{
    HONE_TRY(hone_program_write_front(w->program, w->io.token, b->token, (size_t)b->tokens * sizeof *b->token));
    if (w->io.type != HONE_NONE && b->type)
        HONE_TRY(hone_program_write_front(w->program, w->io.type, b->type, (size_t)b->tokens * sizeof *b->type));
    return write_input(w, w->io.offset, b->offset, w->batch + 1);
}

/* Which program is decided by the sizes of the batch alone. */
hone_status hone_pass_feed(hone_pass *p, hone_batch *b, hone_pass_program **which)
{
    HONE_TRY(hone_loader_next(p->loader, b));
    hone_pass_program *w = choose(p, b);
    /* a loader with other batches would read memory past the inputs */
    if (b->count > w->batch || (b->count < w->batch && !p->budget) || b->tokens > w->tokens)
        return hone_fail(HONE_ERR_RUNTIME, NULL, "the loader gave a batch of %d, programs are for %d and %d", b->count,
                         p->full.batch, p->tail.batch);
    HONE_TRY(b->offset ? write_tokens(w, b) : bind_pixels(p, b, w));
    HONE_TRY(write_input(w, w->io.row, b->row, w->batch));
    HONE_TRY(write_input(w, w->io.sample, b->sample, w->batch));
    HONE_TRY(write_input(w, w->io.label, b->label, w->batch));
    HONE_TRY(write_input(w, w->io.row_weight, b->weight, w->batch));
    *which = w;
    return HONE_OK;
}
