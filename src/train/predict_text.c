/* predict_text.c - texts in, probabilities out: the text side of a predictor (predictor.h).
 *
 * Programs are for one text or for BATCH of them, with room for so many tokens (hone_capacity_of). A call takes the
 * least that holds it, made when it is first needed and kept: a short text alone costs what it holds, not what a full
 * batch would. A batch that is not full leaves texts empty, whose answers are dropped. No program changes a bit of an
 * answer: rows of forward products do not depend on their neighbours, nor on the room behind them.
 * Texts are tokenized by all threads: each has a buffer of its own, and ids come together in the order of the texts. */
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "train/capacity.h"
#include "train/predictor.h"
#include "train/text.h"

/* PROGRAMS: most that a lane keeps; texts of 1 to 512 tokens, one by one, need thirteen. */
enum { BATCH = 256, PARTS_MAX = 64, PROGRAMS = 14 };

/* One of the sizes. */
typedef struct sized {
    hone_program *program;
    hone_model_io io;
    int batch;    /* texts: 1 or BATCH                              */
    int64_t room; /* tokens of all of them                          */
    int64_t used; /* number of the call that used it last           */
} sized;

struct hone_text_predictor {
    hone_backend *backend;
    hone_saved *saved;
    const hone_text_predictor *first; /* of another lane: it lends parameters and tokenizer; NULL: they are here */
    hone_text_side *side;
    hone_program *owner;  /* of the parameters; without `first` it is also size[0] and stays there */
    sized size[PROGRAMS]; /* (made) */
    int made;
    int64_t calls;
    int parts;
    hone_ids ids[PARTS_MAX]; /* one a thread: its texts' ids                    */
    int32_t *token, *type;   /* (room): ids of a batch, and their segments      */
    int64_t room;
    int32_t offset[BATCH + 1];
    float *all; /* (BATCH, classes) */
    /* the batch under way */
    hone_text_inputs in;
    int32_t length[BATCH], second[BATCH]; /* ids of each text; of them before the second segment */
};

/* --- programs ------------------------------------------------------------------------------------------------- */

/* Labels are read by the graph and of no meaning; segments have to be 0 until somebody writes others. */
static hone_status clear_inputs(const sized *s)
{
    int32_t label[BATCH] = {0};
    HONE_TRY(hone_program_write(s->program, s->io.label, label, (size_t)s->batch * sizeof *label));
    if (s->io.type == HONE_NONE) return HONE_OK;
    int32_t *zero = calloc((size_t)s->room, sizeof *zero);
    if (!zero) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld tokens", (long long)s->room);
    hone_status status = hone_program_write_front(s->program, s->io.type, zero, (size_t)s->room * sizeof *zero);
    free(zero);
    return status;
}

/* A sharer of the first program where there is one. */
static hone_status compile_for(hone_text_predictor *t, int batch, int64_t room, sized *out)
{
    hone_model_opts o = {.batch = batch, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = room};
    hone_compile_opts compile = {.loss = HONE_NONE,
                                 .share = t->owner,
                                 .apart = t->first != NULL,
                                 .frozen = true,
                                 .precision = hone_saved_precision(t->saved, t->backend)};
    hone_graph *g = NULL;
    *out = (sized){.batch = batch, .room = room};
    HONE_TRY(hone_model_build(t->saved->model, &o, &g, &out->io));
    hone_status status = hone_compile(g, t->backend, &compile, &out->program);
    hone_graph_free(g);
    if (status == HONE_OK) status = clear_inputs(out);
    if (status != HONE_OK) {
        hone_program_free(out->program);
        *out = (sized){0};
    }
    return status;
}

/* A place for one more program: a free one, or that of the program which was used longest ago. The owner stays, for its
 * memory is everybody's. */
static sized *make_place(hone_text_predictor *t)
{
    if (t->made < PROGRAMS) return &t->size[t->made++];
    int oldest = t->first ? 0 : 1;
    for (int k = oldest + 1; k < PROGRAMS; k++)
        if (t->size[k].used < t->size[oldest].used) oldest = k;
    hone_program_free(t->size[oldest].program);
    t->size[oldest] = (sized){0};
    return &t->size[oldest];
}

/* Room for ids of a batch on the host. */
static hone_status make_room(hone_text_predictor *t, int64_t room)
{
    if (room <= t->room) return HONE_OK;
    int32_t *token = realloc(t->token, (size_t)room * sizeof *token);
    if (token) t->token = token;
    int32_t *type = token ? realloc(t->type, (size_t)room * sizeof *type) : NULL;
    if (!type) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld tokens", (long long)room);
    t->type = type;
    t->room = room;
    return HONE_OK;
}

/* The program of exactly this size: the least that holds `count` texts of `tokens` ids together. */
static hone_status choose(hone_text_predictor *t, int count, int64_t tokens, sized **out)
{
    int batch = count == 1 ? 1 : BATCH;
    int64_t room = hone_capacity_of(tokens);
    sized *found = NULL;
    for (int k = 0; k < t->made && !found; k++)
        if (t->size[k].batch == batch && t->size[k].room == room) found = &t->size[k];
    if (!found) {
        found = make_place(t);
        HONE_TRY(make_room(t, room));
        HONE_TRY(compile_for(t, batch, room, found)); /* a place that stays empty fits no call */
    }
    found->used = ++t->calls;
    *out = found;
    return HONE_OK;
}

hone_program *hone_text_predictor_owner(const hone_text_predictor *t) { return t->owner; }

/* An owner's parameters are uploaded here; of a tokenizer there is one, since it never changes. */
static hone_status open_first(hone_text_predictor *t)
{
    sized *s;
    HONE_TRY(hone_text_load(t->saved, &t->side));
    HONE_TRY(choose(t, 1, 1, &s)); /* the smallest: whoever asks for one text should not pay for more */
    t->owner = s->program;
    return hone_model_upload(t->saved->model, t->owner);
}

hone_status hone_text_predictor_open(hone_saved *saved, hone_backend *b, const hone_text_predictor *first,
                                     hone_text_predictor **out)
{
    hone_text_predictor *t = calloc(1, sizeof *t);
    if (!t) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    t->backend = b;
    t->saved = saved;
    t->parts = b->threads < 1 ? 1 : b->threads > PARTS_MAX ? PARTS_MAX : b->threads;
    t->first = first;
    t->all = malloc((size_t)BATCH * (size_t)hone_model_classes(saved->model) * sizeof *t->all);
    hone_status status = t->all ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (first) {
        t->side = first->side;
        t->owner = first->owner;
    } else if (status == HONE_OK) {
        status = open_first(t);
    }
    if (status == HONE_OK) {
        *out = t;
        return HONE_OK;
    }
    hone_text_predictor_close(t);
    return status;
}

/* --- a batch -------------------------------------------------------------------------------------------------- */

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

/* Text k of the batch: both parts, given apart or with a tab between them. */
static hone_status encode_text(hone_text_predictor *t, int64_t k, hone_ids *ids)
{
    const hone_preprocess *pre = hone_model_preprocess(t->saved->model);
    const char *second = !t->in.second ? NULL : t->in.second[k] ? t->in.second[k] : ""; /* NULL: of no bytes */
    size_t bytes = t->in.bytes[k], second_bytes = second ? t->in.second_bytes[k] : 0;
    hone_encoded what;
    if (pre->pairs && !second) HONE_TRY(split_pair(t->in.text[k], &bytes, &second, &second_bytes));
    HONE_TRY(hone_tokenizer_encode(t->side->tokenizer, t->in.text[k], bytes, second, second_bytes, pre->max_length, ids,
                                   &what));
    t->length[k] = (int32_t)what.count;
    t->second[k] = (int32_t)what.second;
    return HONE_OK;
}

/* The texts of part `i`, one after the other. */
static hone_status encode_part(void *arg, int64_t i)
{
    hone_text_predictor *t = arg;
    hone_ids *ids = &t->ids[i];
    int64_t parts = t->parts < t->in.count ? t->parts : t->in.count;
    ids->count = 0;
    for (int64_t k = t->in.count * i / parts; k < t->in.count * (i + 1) / parts; k++) HONE_TRY(encode_text(t, k, ids));
    return HONE_OK;
}

/* Ids of all parts side by side, in a program that holds them; empty texts fill the batch. */
static hone_status gather(hone_text_predictor *t, int parts, sized **use)
{
    int64_t tokens = 0, at = 0;
    for (int i = 0; i < parts; i++) tokens += t->ids[i].count;
    if (tokens > INT32_MAX / 2) /* the room is at most a half more */
        return hone_fail(HONE_ERR_DATA, "cut the texts", "%d texts have over 2^30 tokens", t->in.count);
    HONE_TRY(choose(t, t->in.count, tokens, use));
    for (int i = 0; i < parts; i++) {
        if (t->ids[i].count) memcpy(t->token + at, t->ids[i].id, (size_t)t->ids[i].count * sizeof *t->token);
        at += t->ids[i].count;
    }
    for (int k = 0; k < (*use)->batch; k++) t->offset[k + 1] = t->offset[k] + (k < t->in.count ? t->length[k] : 0);
    return HONE_OK;
}

/* As the loader has them in training: 0 up to a pair's second segment, 1 from there on; single texts stay 0. */
static hone_status write_types(hone_text_predictor *t, const sized *use)
{
    if (use->io.type == HONE_NONE || !hone_model_preprocess(t->saved->model)->pairs) return HONE_OK;
    for (int k = 0; k < t->in.count; k++)
        for (int32_t i = 0; i < t->length[k]; i++) t->type[t->offset[k] + i] = i >= t->second[k];
    size_t tokens = (size_t)t->offset[t->in.count];
    return hone_program_write_front(use->program, use->io.type, t->type, tokens * sizeof *t->type);
}

/* `t->in.count` <= BATCH texts; probability (count, classes). */
static hone_status run_batch(hone_text_predictor *t, float *probability)
{
    sized *use;
    size_t row = (size_t)hone_model_classes(t->saved->model) * sizeof(float);
    int parts = t->parts < t->in.count ? t->parts : t->in.count;
    HONE_TRY(hone_parallel_for(parts, parts, encode_part, t));
    HONE_TRY(gather(t, parts, &use));
    size_t tokens = (size_t)t->offset[t->in.count], offsets = (size_t)use->batch + 1;
    HONE_TRY(hone_program_write_front(use->program, use->io.token, t->token, tokens * sizeof *t->token));
    HONE_TRY(write_types(t, use));
    HONE_TRY(hone_program_write(use->program, use->io.offset, t->offset, offsets * sizeof *t->offset));
    HONE_TRY(hone_program_forward_backward(use->program));
    HONE_TRY(hone_program_read(use->program, use->io.probability, t->all, (size_t)use->batch * row));
    memcpy(probability, t->all, (size_t)t->in.count * row);
    return HONE_OK;
}

hone_status hone_text_predictor_run(hone_text_predictor *t, const hone_text_inputs *in, float *probability)
{
    size_t classes = (size_t)hone_model_classes(t->saved->model);
    for (int at = 0; at < in->count; at += BATCH) {
        t->in = (hone_text_inputs){.text = in->text + at,
                                   .bytes = in->bytes + at,
                                   .second = in->second ? in->second + at : NULL,
                                   .second_bytes = in->second ? in->second_bytes + at : NULL,
                                   .count = in->count - at < BATCH ? in->count - at : BATCH};
        HONE_TRY(run_batch(t, probability + (size_t)at * classes));
    }
    return HONE_OK;
}

/* Sharers go before the owner, which is the first of its lane. */
void hone_text_predictor_close(hone_text_predictor *t)
{
    if (!t) return;
    while (t->made > 0) hone_program_free(t->size[--t->made].program);
    for (int k = 0; k < PARTS_MAX; k++) hone_ids_free(&t->ids[k]);
    if (!t->first) hone_text_close(t->side);
    free(t->token);
    free(t->type);
    free(t->all);
    free(t);
}
