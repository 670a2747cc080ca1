/* dataset.c - a data set as a value: making, reading, decoding one sample, freeing.
 *
 * How sets are found is open.c's, how they get into memory pool.c's. */
#include "data/dataset.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"

/* Two passes: count, then fill, so that the index arrays are exact. Ids of samples are positions in
 * the view, which stay the same for the same data and seed; random draws are keyed by them. */
hone_status hone_dataset_new(hone_source *source, const bool *in_val, bool want, hone_dataset **out)
{
    hone_dataset *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return hone_no_memory("a data set", sizeof *d);
    int64_t n = 0;
    for (int64_t i = 0; i < source->count; i++) n += !in_val || in_val[i] == want;
    d->source = hone_source_share(source);
    source->raw_users++;
    d->count = n;
    d->item = malloc((size_t)n * sizeof *d->item + 1); /* + 1: an empty set is no failed allocation */
    d->label = malloc((size_t)n * sizeof *d->label + 1);
    if (source->weight) d->weight = malloc((size_t)n * sizeof *d->weight + 1);
    if (!d->item || !d->label || (source->weight && !d->weight)) {
        hone_dataset_free(d);
        return hone_no_memory("a data set's index", (size_t)n * sizeof *d->item);
    }
    n = 0;
    for (int64_t i = 0; i < source->count; i++) {
        if (in_val && in_val[i] != want) continue;
        d->item[n] = (int32_t)i;
        if (d->weight) d->weight[n] = source->weight[i];
        d->label[n++] = source->label[i];
    }
    /* rows that were left out belong to no sample, so the view that is not cut out tells them */
    for (int k = 0; k < source->skipped.count && !(in_val && want); k++) {
        if (hone_names_add(&d->skipped, source->skipped.item[k]) == HONE_OK) continue;
        hone_dataset_free(d);
        return HONE_ERR_MEMORY;
    }
    *out = d;
    return HONE_OK;
}

/* Drops one reference of the source; its pixels go with the last one. */
void hone_dataset_free(hone_dataset *d)
{
    if (!d) return;
    if (d->pixels_owned) free(d->pixels);
    hone_names_free(&d->skipped);
    hone_text_rows_free(d->texts);
    free(d->weight);
    free(d->item);
    free(d->label);
    hone_source_free(d->source);
    free(d);
}

int64_t hone_dataset_count(const hone_dataset *d) { return d->count; }
const int32_t *hone_dataset_labels(const hone_dataset *d) { return d->label; }
const uint8_t *hone_dataset_pixels(const hone_dataset *d) { return d->pixels; }

/* Tables may carry weights, of pictures and of texts. */
const float *hone_dataset_weights(const hone_dataset *d) { return d->weight; }

/* Broken pictures show in hone_dataset_load, broken rows of a table before; empty with on_error: stop. */
int hone_dataset_skipped(const hone_dataset *d, const char *const **reasons)
{
    if (reasons) *reasons = (const char *const *)d->skipped.item;
    return d->skipped.count;
}

/* Folders: the path below the root, escaped for a message. Others: file name # position in the file,
 * not in the view, so that a validation sample can be found in the training file. */
const char *hone_dataset_source(const hone_dataset *d, int64_t sample, char *text, size_t text_bytes)
{
    const hone_source *s = d->source;
    if (d->texts) return hone_text_rows_place(d->texts, sample, text, text_bytes);
    int32_t item = d->item[sample];
    if (s->files.count) hone_quote(s->files.item[item], text, text_bytes);
    else snprintf(text, text_bytes, "%s#%d", s->name, item);
    return text;
}

/* Other splits, and other views of the same source, keep theirs. */
hone_status hone_dataset_keep(hone_dataset *d, int height, int width)
{
    const hone_source *s = d->source;
    if (s->packed && (s->height != height || s->width != width))
        return hone_fail(HONE_ERR_DATA, "train on the pictures themselves, or leave augment.crop.from out",
                         "%s: a pack holds pictures of one size, %d x %d; crops from %d x %d are not in it",
                         hone_shown(s->name), s->width, s->height, width, height);
    d->height = height;
    d->width = width;
    return HONE_OK;
}

/* (height, width, channels) of unsigned bytes. */
size_t hone_dataset_sample_bytes(const hone_dataset *d)
{
    return (size_t)d->height * (size_t)d->width * (size_t)d->channels;
}

/* Then the source's memory serves as the pool and nothing has to be converted. */
bool hone_dataset_is_raw(const hone_dataset *d)
{
    const hone_source *s = d->source;
    return s->raw && s->height == d->height && s->width == d->width && s->channels == d->channels;
}

/* Three origins, one shape: the pool, raw pixels of another size (resized here), or a file. Only reads
 * the set, so any number of threads may call it. */
hone_status hone_dataset_decode(const hone_dataset *d, int64_t sample, uint8_t *out)
{
    const hone_source *s = d->source;
    size_t bytes = hone_dataset_sample_bytes(d);
    int32_t item = d->item[sample];
    if (d->pixels) {
        memcpy(out, d->pixels + (size_t)sample * bytes, bytes);
        return HONE_OK;
    }
    if (s->raw) {
        size_t stored = (size_t)s->height * (size_t)s->width * (size_t)s->channels;
        /* a view of the item: nothing is copied unless the shape differs */
        hone_image image = {s->height, s->width, s->channels, 1, s->raw + (size_t)item * stored};
        return hone_image_fit(&image, d->height, d->width, d->channels, d->resize, out);
    }
    uint8_t *file;
    size_t count;
    HONE_TRY(hone_source_read(s, item, &file, &count));
    char *path = hone_source_path(s, item);
    hone_preprocess pre = {.height = d->height, .width = d->width, .channels = d->channels, .resize = d->resize};
    hone_status status = path ? hone_image_bytes(path, file, count, &pre, out) : hone_no_memory("a path", 0);
    free(path);
    free(file);
    return status;
}

/* Small letters, white space at the ends left out: what two names have in common that look alike. */
static void fold(const char *name, char *out, size_t bytes)
{
    size_t n = 0;
    while (isspace((unsigned char)*name)) name++;
    for (; *name && n + 1 < bytes; name++) out[n++] = (char)tolower((unsigned char)*name);
    while (n && isspace((unsigned char)out[n - 1])) n--;
    out[n] = '\0';
}

hone_status hone_data_note_class_twins(const hone_data *d, hone_names *notes)
{
    hone_names folded = {0}; /* in the order of class_name, so an index into one is one into the other */
    char text[HONE_SHOWN];   /* a longer name is compared by its beginning */
    hone_status s = HONE_OK;
    /* quadratic, and nobody reads thousands of names */
    int limit = d->classes < 2000 ? d->classes : 0; /* pairs are compared */
    for (int k = 0; s == HONE_OK && k < limit; k++) {
        fold(d->class_name[k], text, sizeof text);
        int twin = hone_names_find(&folded, text);
        if (twin >= 0)
            s = hone_names_addf(notes, "classes \"%s\" and \"%s\" differ only in case or spaces: is it one class?",
                                hone_shown(d->class_name[twin]), hone_shown(d->class_name[k]));
        if (s == HONE_OK) s = hone_names_add(&folded, text);
    }
    hone_names_free(&folded);
    return s;
}

hone_status hone_data_note_one_label(const hone_data *d, hone_names *notes)
{
    const int32_t *label = hone_dataset_labels(d->train);
    int64_t n = hone_dataset_count(d->train), same = 1;
    if (d->classes == 1) return hone_names_add(notes, "the data has one class only: there is nothing to tell apart");
    while (same < n && label[same] == label[0]) same++;
    if (same < n) return HONE_OK; /* the usual case ends at the second class met */
    return hone_names_addf(notes, "every training sample is of class \"%s\": there is nothing to tell apart",
                           hone_shown(d->class_name[label[0]]));
}

/* Splits may share a source; the reference counts sort that out. */
void hone_data_free(hone_data *d)
{
    if (!d) return;
    hone_dataset_free(d->train);
    hone_dataset_free(d->val);
    hone_dataset_free(d->test);
    for (int k = 0; d->class_name && k < d->classes; k++) free(d->class_name[k]);
    for (int k = 0; d->note && k < d->note_count; k++) free(d->note[k]);
    free(d->class_name);
    free(d->note);
    free(d);
}
