/* predictor.c - a saved model behind one handle, for any number of threads (hone/predictor.h).
 *
 * A call takes an idle lane (engine.h), makes one where all are busy and there may be more, or waits; and gives it back.
 * The lock is held for the choice only, never while something is computed or compiled. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "data/image.h"
#include "train/engine.h"
#include "train/pass.h"

struct hone_predictor {
    hone_saved saved;
    hone_predictor_opts opts; /* its device may be gone after opening: lanes ask the first one's */
    pthread_mutex_t lock;
    pthread_cond_t freed;
    hone_engine *first; /* owns the parameters */
    /* under the lock */
    hone_engine **idle; /* (most) a stack: the lane used last has its memory in the caches */
    int idle_count, made, most;
};

/* --- lanes ------------------------------------------------------------------------------------------------- */

/* Under the lock; true where the caller may make a lane, and *out an idle one otherwise. */
static bool wait_for_lane(hone_predictor *p, hone_engine **out)
{
    while (p->idle_count == 0 && p->made >= p->most) pthread_cond_wait(&p->freed, &p->lock);
    *out = p->idle_count > 0 ? p->idle[--p->idle_count] : NULL;
    if (!*out) p->made++;
    return !*out;
}

/* A lane that can't be made for want of memory is no error: the lanes there are serve, one call after the other. */
static hone_engine *take(hone_predictor *p)
{
    hone_engine *e;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        bool may_make = wait_for_lane(p, &e);
        pthread_mutex_unlock(&p->lock);
        if (!may_make || hone_engine_open(&p->saved, &p->opts, p->first, &e) == HONE_OK) return e;
        /* from now on as many as there are */
        hone_error_clear();
        pthread_mutex_lock(&p->lock);
        p->most = --p->made; /* at least 1: the first one was made by opening */
        pthread_mutex_unlock(&p->lock);
    }
}

/* One lane, one waiter woken. */
static void give(hone_predictor *p, hone_engine *e)
{
    pthread_mutex_lock(&p->lock);
    p->idle[p->idle_count++] = e;
    pthread_cond_signal(&p->freed);
    pthread_mutex_unlock(&p->lock);
}

/* --- opening ----------------------------------------------------------------------------------------------- */

/* The first lane is made by the opener, so that a model that can't run is told at once. */
static hone_status open_first(hone_predictor *p, const char *model_path)
{
    HONE_TRY(hone_saved_open(model_path, &p->saved));
    HONE_TRY(hone_engine_open(&p->saved, &p->opts, NULL, &p->first));
    p->most = !hone_engine_can_lend(p->first) ? 1 : p->opts.lanes > 0 ? p->opts.lanes : hone_cpu_count();
    p->idle = calloc((size_t)p->most, sizeof *p->idle);
    if (!p->idle) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d lanes", p->most);
    p->made = p->idle_count = 1;
    p->idle[0] = p->first;
    /* lanes ask the first one for its device; this is the caller's string */
    p->opts.device = NULL;
    return HONE_OK;
}

/* A failed opening leaves nothing behind, and *out NULL. */
hone_status hone_predictor_open_with(const char *model_path, const hone_predictor_opts *o, hone_predictor **out)
{
    *out = NULL;
    if (o->lanes < 0 || o->threads < 0)
        return hone_fail(HONE_ERR_USAGE, "0 lets hone choose", "%d lanes of %d threads", o->lanes, o->threads);
    hone_predictor *p = calloc(1, sizeof *p);
    if (!p) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->freed, NULL);
    p->opts = *o;
    hone_status status = open_first(p, model_path);
    if (status == HONE_OK) *out = p;
    else hone_predictor_close(p);
    return status;
}

/* The short form: as many lanes as cores, made as they are needed. */
hone_status hone_predictor_open(const char *model_path, const char *device, int threads, hone_predictor **out)
{
    hone_predictor_opts o = {.device = device, .threads = threads};
    return hone_predictor_open_with(model_path, &o, out);
}

/* Those who read go before the owner; a half-opened one has at most the first. */
void hone_predictor_close(hone_predictor *p)
{
    if (!p) return;
    for (int k = 0; k < p->idle_count; k++)
        if (p->idle[k] != p->first) hone_engine_close(p->idle[k]);
    hone_engine_close(p->first);
    hone_saved_close(&p->saved);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    free(p->idle);
    free(p);
}

/* --- what was opened --------------------------------------------------------------------------------------- */

const hone_model *hone_predictor_model(const hone_predictor *p) { return p->saved.model; }
int hone_predictor_classes(const hone_predictor *p) { return hone_model_classes(p->saved.model); }
bool hone_predictor_takes_text(const hone_predictor *p) { return hone_model_preprocess(p->saved.model)->vocab > 0; }
bool hone_predictor_takes_pairs(const hone_predictor *p)
{
    return hone_predictor_takes_text(p) && hone_model_preprocess(p->saved.model)->pairs;
}

/* Checked, unlike hone_model_class_name: the number may come over a wire. */
const char *hone_predictor_label(const hone_predictor *p, int k)
{
    return k >= 0 && k < hone_predictor_classes(p) ? hone_model_class_name(p->saved.model, k) : NULL;
}

/* --- predictions ------------------------------------------------------------------------------------------- */

/* The other kind of input would be read as garbage. */
static hone_status check_call(const hone_predictor *p, bool text, int count)
{
    if (count < 0) return hone_fail(HONE_ERR_USAGE, NULL, "%d inputs", count);
    if (hone_predictor_takes_text(p) == text) return HONE_OK;
    if (text) return hone_fail(HONE_ERR_USAGE, "give it images", "the model labels images, not texts");
    return hone_fail(HONE_ERR_USAGE, "give it texts", "the model labels texts, not images");
}

/* Tokenized in the lane, whose threads do it. */
static hone_status run_texts(hone_predictor *p, const hone_text_inputs *in, float *probability)
{
    HONE_TRY(check_call(p, true, in->count));
    if (in->count == 0) return HONE_OK;
    hone_engine *e = take(p);
    hone_status status = hone_engine_texts(e, in, probability);
    give(p, e);
    return status;
}

hone_status hone_predictor_texts(hone_predictor *p, const char *const *text, const size_t *bytes, int count,
                                 float *probability)
{
    return run_texts(p, &(hone_text_inputs){.text = text, .bytes = bytes, .count = count}, probability);
}

/* A model that never saw a second text has no use for one: dropping it would be an answer to another question. */
hone_status hone_predictor_pairs(hone_predictor *p, const char *const *first, const size_t *first_bytes,
                                 const char *const *second, const size_t *second_bytes, int count, float *probability)
{
    HONE_TRY(check_call(p, true, count));
    if (!hone_predictor_takes_pairs(p))
        return hone_fail(HONE_ERR_USAGE, "give it the first text alone", "the model labels single texts, not pairs");
    return run_texts(
        p,
        &(hone_text_inputs){
            .text = first, .bytes = first_bytes, .second = second, .second_bytes = second_bytes, .count = count},
        probability);
}

/* The one way into an image lane; the other two forms end here. */
hone_status hone_predictor_run(hone_predictor *p, const uint8_t *pixels, int count, float *probability)
{
    HONE_TRY(check_call(p, false, count));
    if (count == 0) return HONE_OK;
    hone_engine *e = take(p);
    hone_status status = hone_engine_images(e, pixels, count, probability);
    give(p, e);
    return status;
}

/* (count, H, W, C) of the model; NULL with the error recorded. */
static uint8_t *room_for(const hone_predictor *p, int count)
{
    size_t image = hone_pass_sample_bytes(hone_model_preprocess(p->saved.model));
    uint8_t *pixels = malloc(image * (size_t)count + 1);
    if (!pixels) (void)hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %d images of %zu bytes", count, image);
    return pixels;
}

/* Decoded in the caller's thread, before a lane is taken. */
hone_status hone_predictor_encoded(hone_predictor *p, const void *const *data, const size_t *bytes, int count,
                                   float *probability)
{
    HONE_TRY(check_call(p, false, count));
    const hone_preprocess *pre = hone_model_preprocess(p->saved.model);
    uint8_t *pixels = room_for(p, count);
    hone_status status = pixels ? HONE_OK : HONE_ERR_MEMORY;
    for (int k = 0; k < count && status == HONE_OK; k++) {
        char name[32];
        snprintf(name, sizeof name, "image %d", k);
        status = hone_image_bytes(name, data[k], bytes[k], pre, pixels + (size_t)k * hone_pass_sample_bytes(pre));
    }
    if (status == HONE_OK) status = hone_predictor_run(p, pixels, count, probability);
    free(pixels);
    return status;
}

/* Checked here, because nothing behind it can know what the caller's memory holds. */
static hone_status check_size(int height, int width, int channels)
{
    enum { SIDE_MAX = 1 << 15 };
    if (height < 1 || width < 1 || height > SIDE_MAX || width > SIDE_MAX || (channels != 1 && channels != 3))
        return hone_fail(HONE_ERR_USAGE, "sides in 1..32768; 1 channel, or 3 (RGB)", "pixels of %d x %d x %d", height,
                         width, channels);
    return HONE_OK;
}

/* Resized in the caller's thread, one picture after the other. */
hone_status hone_predictor_pixels(hone_predictor *p, const uint8_t *pixels, int height, int width, int channels,
                                  int count, float *probability)
{
    HONE_TRY(check_call(p, false, count));
    HONE_TRY(check_size(height, width, channels));
    const hone_preprocess *pre = hone_model_preprocess(p->saved.model);
    size_t image = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *fitted = room_for(p, count);
    hone_status status = fitted ? HONE_OK : HONE_ERR_MEMORY;
    for (int k = 0; k < count && status == HONE_OK; k++) {
        hone_image in = {height, width, channels, 1, (uint8_t *)pixels + (size_t)k * image};
        status = hone_image_fit(&in, pre->height, pre->width, pre->channels, pre->resize,
                                fitted + (size_t)k * hone_pass_sample_bytes(pre));
    }
    if (status == HONE_OK) status = hone_predictor_run(p, fitted, count, probability);
    free(fitted);
    return status;
}

/* By insertion: `count` is a few. A NaN is no better than anything, and anything is better than a NaN. */
int hone_predictor_top(const float *probability, int classes, int count, int *best)
{
    int filled = 0;
    for (int c = 0; c < classes && count > 0; c++) {
        float x = probability[c];
        int at = filled;
        for (; at > 0; at--) {
            float before = probability[best[at - 1]];
            if (!(x > before || (before != before && x == x))) break;
        }
        if (at == count) continue;
        /* the last of a full list falls off */
        if (filled < count) filled++;
        memmove(best + at + 1, best + at, (size_t)(filled - 1 - at) * sizeof *best);
        best[at] = c;
    }
    return filled;
}
