/* dataset.h - the inside of a data set, for the files of src/data that fill, load and stream it.
 *
 * A data set is a view of a source: a list of its items, labels in the class list of the experiment,
 * and the shape that every sample comes out in. After hone_dataset_load it is read-only, so that
 * loader threads need no lock. */
#ifndef HONE_DATA_DATASET_H
#define HONE_DATA_DATASET_H

#include "data/source.h"
#include "data/texts.h"
#include "hone/data.h"

/* For callers that will not read samples through the set but look at its sources: no size is looked for or checked. */
#define HONE_IMAGE_SPEC_NONE ((const hone_image_spec){1, 1, 1, HONE_RESIZE_STRETCH})

struct hone_dataset {
    hone_source *source;
    int64_t count;
    int32_t *item;         /* (count) item of the source, ascending                                       */
    int32_t *label;        /* (count) index into the class list of the experiment                         */
    float *weight;         /* (count), or NULL: all 1                                                     */
    const int32_t *token;  /* text, (offset[count]): ids, the caller's; NULL before they are set */
    const int64_t *offset; /* text, (count + 1): where the ids of a sample begin                 */
    const int32_t *second; /* text, (count): ids before the second segment; NULL: no pairs       */
    hone_text_rows *texts; /* rows of text; then item, pixels and the shape are not there                */
    int height, width, channels;
    hone_resize resize;
    hone_on_error on_error;
    int threads;                /* decode threads where a call names none                              */
    int64_t memory_limit_bytes; /* 0: half of what is free when it is loaded                       */
    bool loaded;
    uint8_t *pixels; /* (count, height, width, channels): own, or the source's              */
    bool pixels_owned;
    hone_names skipped; /* "file: reason"                                                      */
};

/* View of `source` (shared) with the items where in_val[i] == want, or all where in_val is NULL. */
hone_status hone_dataset_new(hone_source *source, const bool *in_val, bool want, hone_dataset **out) HONE_MUST_USE;
/* Bytes of one decoded sample. */
size_t hone_dataset_sample_bytes(const hone_dataset *d);
/* From now on samples come in this size and not in the experiment's: pictures that crops are cut from. Before
 * hone_dataset_load. Errors (DATA): a pack holds one size. */
hone_status hone_dataset_keep(hone_dataset *d, int height, int width) HONE_MUST_USE;
/* One sample -> out (height, width, channels). Thread-safe. Errors (DATA) name the file. */
hone_status hone_dataset_decode(const hone_dataset *d, int64_t sample, uint8_t *out) HONE_MUST_USE;
/* A note for each two class names that look alike: `Spam` and `spam `. */
hone_status hone_data_note_class_twins(const hone_data *d, hone_names *notes) HONE_MUST_USE;
/* A note where all of train has one label: such a net learns nothing. */
hone_status hone_data_note_one_label(const hone_data *d, hone_names *notes) HONE_MUST_USE;
/* Bytes that may still be taken without swapping, under a container's limit too. */
int64_t hone_free_memory_bytes(void);
/* True where pixels of the source are the samples: no resize, no channel change. */
bool hone_dataset_is_raw(const hone_dataset *d);

#endif
