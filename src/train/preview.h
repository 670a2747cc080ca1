/* preview.h - `hone data preview`: the first batch of training, as it is and as the net sees it. */
#ifndef HONE_TRAIN_PREVIEW_H
#define HONE_TRAIN_PREVIEW_H

#include "hone/config.h"

typedef struct hone_preview_opts {
    const char *device; /* of the kernels that make the pictures: the same bits on all      */
    int threads;
    int samples, epochs; /* rows at the most, and columns behind the first                  */
    const char *path;    /* of the page                                                     */
} hone_preview_opts;

/* `shown`: rows of the page. Errors: USAGE for texts, those of data, model and device, RUNTIME (disk). */
hone_status hone_preview_make(hone_config *c, const hone_preview_opts *o, int *shown) HONE_MUST_USE;

#endif
