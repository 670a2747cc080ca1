/* predict_text.c - texts in, probabilities out: the text side of a predictor (predictor.h).
 *
 * One program for BATCH texts with room for so many tokens; a batch that needs more gets a larger program, and a
 * shorter one leaves texts empty, whose answers are dropped. Texts are tokenized by all threads: each has a buffer
 * of its own, and the ids come together in the order of the texts. */
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "train/predictor.h"
#include "train/text.h"

enum { BATCH = 256, ROOM = 1 << 14, PARTS_MAX = 64 };

struct hone_text_predictor {
    hone_backend *backend;
    const hone_model *model;
    const hone_text_predictor *first; /* of another lane: it lends parameters and tokenizer; NULL: they are here */
    hone_text_side *side;
    hone_program *owner, *program; /* the parameters' and the one in use, where that is another */
    hone_model_io io;
    int64_t room;
    int parts;
    hone_ids ids[PARTS_MAX]; /* one a thread: its texts' ids                    */
    int32_t *token;          /* (room)                                          */
    int32_t offset[BATCH + 1];
    /* the batch under way */
    const char *const *text;
    const size_t *bytes;
    int count;
    int32_t length[BATCH];
};

/* A sharer of the first program where there is one. */
static hone_status compile_for(hone_text_predictor *t, int64_t room)
{
    hone_model_opts o = {.batch = BATCH, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = room};
    hone_compile_opts compile = {.loss = HONE_NONE, .share = t->owner, .apart = t->first != NULL};
    hone_graph *g = NULL;
    hone_program *program = NULL;
    int32_t label[BATCH] = {0};
    int32_t *token = realloc(t->token, (size_t)room * sizeof *token);
    if (!token) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld tokens", (long long)room);
    t->token = token;
    HONE_TRY(hone_model_build(t->model, &o, &g, &t->io));
    hone_status status = hone_compile(g, t->backend, &compile, &program);
    hone_graph_free(g);
    HONE_TRY(status);
    if (t->program != t->owner) hone_program_free(t->program);
    if (!t->owner) t->owner = program;
    t->program = program;
    t->room = room;
    return hone_program_write(program, t->io.label, label, sizeof label); /* read by the graph, of no meaning */
}

hone_program *hone_text_predictor_owner(const hone_text_predictor *t) { return t->owner; }

/* An owner's parameters are uploaded here; of a tokenizer there is one, since it never changes. */
hone_status hone_text_predictor_open(hone_saved *saved, hone_backend *b, const hone_text_predictor *first,
                                     hone_text_predictor **out)
{
    hone_text_predictor *t = calloc(1, sizeof *t);
    if (!t) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    t->backend = b;
    t->model = saved->model;
    t->parts = b->threads < 1 ? 1 : b->threads > PARTS_MAX ? PARTS_MAX : b->threads;
    t->first = first;
    hone_status status = HONE_OK;
    if (first) {
        t->side = first->side;
        t->owner = first->owner;
    } else {
        status = hone_text_load(saved, &t->side);
    }
    if (status == HONE_OK) status = compile_for(t, ROOM);
    if (status == HONE_OK && !first) status = hone_model_upload(saved->model, t->program);
    if (status == HONE_OK) {
        *out = t;
        return HONE_OK;
    }
    hone_text_predictor_close(t);
    return status;
}

/* A pair is one line: the two texts with a tab between them. Half a pair is another input than what was learned. */
static hone_status split_pair(const char *text, size_t *bytes, const char **second, size_t *second_bytes)
{
    const char *tab = *bytes ? memchr(text, '\t', *bytes) : NULL;
    if (!tab)
        return hone_fail(HONE_ERR_DATA, "write both texts with a tab between them",
                         "the model labels pairs of texts, and the text \"%.*s\" has no tab",
                         (int)(*bytes < 40 ? *bytes : 40), text);
    *second = tab + 1;
    *second_bytes = *bytes - (size_t)(tab + 1 - text);
    *bytes = (size_t)(tab - text);
    return HONE_OK;
}

/* The texts of part `i`, one after the other. */
static hone_status encode_part(void *arg, int64_t i)
{
    hone_text_predictor *t = arg;
    const hone_preprocess *pre = hone_model_preprocess(t->model);
    hone_ids *ids = &t->ids[i];
    ids->count = 0;
    for (int64_t k = t->count * i / t->parts; k < t->count * (i + 1) / t->parts; k++) {
        hone_encoded what;
        size_t bytes = t->bytes[k], second_bytes = 0;
        const char *second = NULL;
        if (pre->pairs) HONE_TRY(split_pair(t->text[k], &bytes, &second, &second_bytes));
        HONE_TRY(hone_tokenizer_encode(t->side->tokenizer, t->text[k], bytes, second, second_bytes, pre->max_length,
                                       ids, &what));
        t->length[k] = (int32_t)what.count;
    }
    return HONE_OK;
}

/* Ids of all parts side by side; empty texts fill the batch. */
static hone_status gather(hone_text_predictor *t, int64_t *tokens)
{
    *tokens = 0;
    for (int i = 0; i < t->parts; i++) *tokens += t->ids[i].count;
    if (*tokens > INT32_MAX)
        return hone_fail(HONE_ERR_DATA, "cut the texts", "%d texts have over 2^31 tokens", t->count);
    if (*tokens > t->room) HONE_TRY(compile_for(t, *tokens + *tokens / 2));
    int64_t at = 0;
    for (int i = 0; i < t->parts; i++) {
        if (t->ids[i].count) memcpy(t->token + at, t->ids[i].id, (size_t)t->ids[i].count * sizeof *t->token);
        at += t->ids[i].count;
    }
    for (int k = 0; k < BATCH; k++) t->offset[k + 1] = t->offset[k] + (k < t->count ? t->length[k] : 0);
    return HONE_OK;
}

/* `count` <= BATCH texts; probability (count, classes). */
static hone_status run_batch(hone_text_predictor *t, float *all, float *probability)
{
    int64_t tokens;
    size_t classes = (size_t)hone_model_classes(t->model);
    HONE_TRY(hone_parallel_for(t->parts, t->parts, encode_part, t));
    HONE_TRY(gather(t, &tokens));
    HONE_TRY(hone_program_write_front(t->program, t->io.token, t->token, (size_t)tokens * sizeof *t->token));
    HONE_TRY(hone_program_write(t->program, t->io.offset, t->offset, sizeof t->offset));
    HONE_TRY(hone_program_forward_backward(t->program));
    HONE_TRY(hone_program_read(t->program, t->io.probability, all, BATCH * classes * sizeof *all));
    memcpy(probability, all, (size_t)t->count * classes * sizeof *all);
    return HONE_OK;
}

hone_status hone_text_predictor_run(hone_text_predictor *t, const char *const *text, const size_t *bytes, int count,
                                    float *probability)
{
    size_t classes = (size_t)hone_model_classes(t->model);
    float *all = malloc(BATCH * classes * sizeof *all); /* (BATCH, classes) */
    hone_status status = all ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    for (int at = 0; at < count && status == HONE_OK; at += BATCH) {
        t->text = text + at;
        t->bytes = bytes + at;
        t->count = count - at < BATCH ? count - at : BATCH;
        status = run_batch(t, all, probability + (size_t)at * classes);
    }
    free(all);
    return status;
}

void hone_text_predictor_close(hone_text_predictor *t)
{
    if (!t) return;
    if (t->program != t->owner) hone_program_free(t->program); /* a sharer goes before the owner */
    if (!t->first) hone_program_free(t->owner);
    for (int k = 0; k < PARTS_MAX; k++) hone_ids_free(&t->ids[k]);
    if (!t->first) hone_text_close(t->side);
    free(t->token);
    free(t);
}
