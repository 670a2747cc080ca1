/* encode_all.c - many texts to one flat array of ids, on many threads.
 *
 * A stretch of texts is encoded into memory of its own by whichever thread takes it, and the stretches are put
 * together in order: who did what can't be seen in the result. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "text/tokenizer_private.h"

#include <sys/mman.h>

/* Texts a stretch: long enough to fill a thread's cache of words, short enough to end together. */
enum { STRETCH = 1024, ENCODERS_MAX = 256 };

/* What one stretch gave. */
typedef struct stretch {
    int32_t *id; /* (tokens) */
    int64_t tokens, cut_texts, cut_tokens;
} stretch;

typedef struct job {
    const hone_tokenizer *t;
    const hone_texts *texts;
    int64_t max_length;
    stretch *stretch; /* (stretches) */
    int64_t *length;  /* (count + 1): ids of each text, later where they begin */
    int32_t *second;  /* (count) or NULL */
    hone_ids *ids;    /* (encoders) */
    atomic_flag *busy;
    int encoders;
} job;

/* One text; its length waits in the place where its offset will be. */
static hone_status encode_text(job *j, hone_ids *ids, int64_t i, stretch *out)
{
    const char *text[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    hone_encoded what;
    for (int part = 0; part < j->texts->parts; part++) j->texts->at(j->texts->arg, i, part, &text[part], &bytes[part]);
    if (j->texts->parts == 2 && !text[1]) text[1] = "";
    hone_status status = hone_tokenizer_encode(j->t, text[0], bytes[0], text[1], bytes[1], j->max_length, ids, &what);
    if (status != HONE_OK) return status;
    j->length[i] = what.count;
    if (j->second) j->second[i] = (int32_t)what.second;
    out->cut_texts += what.cut > 0;
    out->cut_tokens += what.cut;
    return HONE_OK;
}

/* There are as many encoders as threads, so one is free. */
static hone_status encode_stretch(void *arg, int64_t number)
{
    job *j = arg;
    stretch *out = &j->stretch[number];
    int mine = 0; /* the first that nobody uses */
    while (atomic_flag_test_and_set(&j->busy[mine])) mine = (mine + 1) % j->encoders;
    hone_ids *ids = &j->ids[mine];
    ids->count = 0; /* its cache of words stays: that is why encoders outlive stretches */
    int64_t end = (number + 1) * STRETCH < j->texts->count ? (number + 1) * STRETCH : j->texts->count;
    hone_status status = HONE_OK;
    for (int64_t i = number * STRETCH; i < end && status == HONE_OK; i++) status = encode_text(j, ids, i, out);
    if (status == HONE_OK && ids->count) {
        out->id = malloc((size_t)ids->count * sizeof *out->id);
        if (out->id) memcpy(out->id, ids->id, (size_t)ids->count * sizeof *out->id);
        else status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %lld token ids", (long long)ids->count);
    }
    out->tokens = ids->count;
    atomic_flag_clear(&j->busy[mine]);
    return status;
}

/* Lengths become offsets, stretches one array. */
static hone_status assemble(job *j, int64_t stretches, hone_token_set *out)
{
    int64_t at = 0, count = j->texts->count;
    /* a length is read before the offset takes its place */
    for (int64_t i = 0; i < count; i++) {
        int64_t length = j->length[i];
        j->length[i] = at;
        at += length;
    }
    j->length[count] = at;
    int32_t *id = malloc(((size_t)at + 1) * sizeof *id);
    if (!id) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %lld token ids", (long long)at);
    *out = (hone_token_set){.count = count, .tokens = at, .id = id, .offset = j->length, .second = j->second};
    at = 0;
    for (int64_t k = 0; k < stretches; k++) {
        const stretch *s = &j->stretch[k];
        if (s->tokens) memcpy(id + at, s->id, (size_t)s->tokens * sizeof *id);
        at += s->tokens;
        out->cut_texts += s->cut_texts;
        out->cut_tokens += s->cut_tokens;
        free(j->stretch[k].id);
        j->stretch[k].id = NULL;
    }
    j->length = NULL; /* the set owns both now */
    j->second = NULL;
    return HONE_OK;
}

/* All memory whose size is known before the first text. */
static hone_status job_room(job *j, int64_t stretches)
{
    size_t count = (size_t)j->texts->count;
    j->stretch = calloc((size_t)stretches + 1, sizeof *j->stretch);
    j->length = calloc(count + 1, sizeof *j->length);
    if (j->texts->parts == 2) j->second = calloc(count + 1, sizeof *j->second);
    j->ids = calloc((size_t)j->encoders, sizeof *j->ids);
    j->busy = calloc((size_t)j->encoders, sizeof *j->busy);
    bool all = j->stretch && j->length && j->ids && j->busy && (j->second || j->texts->parts != 2);
    if (!all) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for the ids of %zu texts", count);
    for (int k = 0; k < j->encoders; k++) atomic_flag_clear(&j->busy[k]);
    return HONE_OK;
}

/* Everything that is still the job's at the end is freed here, after success and after failure. */
hone_status hone_tokenizer_encode_all(const hone_tokenizer *t, const hone_texts *texts, int64_t max_length, int threads,
                                      hone_token_set *out)
{
    job j = {.t = t, .texts = texts, .max_length = max_length};
    j.encoders = threads < 1 ? 1 : threads > ENCODERS_MAX ? ENCODERS_MAX : threads;
    int64_t stretches = (texts->count + STRETCH - 1) / STRETCH;
    *out = (hone_token_set){0};
    hone_status status = job_room(&j, stretches);
    if (status == HONE_OK) status = hone_parallel_for(j.encoders, stretches, encode_stretch, &j);
    if (status == HONE_OK) status = assemble(&j, stretches, out);
    for (int64_t k = 0; j.stretch && k < stretches; k++) free(j.stretch[k].id);
    for (int k = 0; j.ids && k < j.encoders; k++) hone_ids_free(&j.ids[k]);
    free(j.stretch);
    free(j.length);
    free(j.second);
    free(j.ids);
    free(j.busy);
    return status;
}

/* A mapped set owns no single array, only the map. */
void hone_token_set_free(hone_token_set *s)
{
    if (s->map) munmap(s->map, s->map_bytes);
    else {
        free((void *)(uintptr_t)s->id);
        free((void *)(uintptr_t)s->offset);
        free((void *)(uintptr_t)s->second);
    }
    *s = (hone_token_set){0};
}
