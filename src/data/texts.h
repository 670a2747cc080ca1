/* texts.h - labelled text as a value: rows of UTF-8 with class, weight and place, one list a split.
 *
 * hone_data_open fills it for `task: text`; the splits, class names, notes and fingerprint are those of
 * hone_data (data.h), the rows of a split are hone_dataset_texts(d). Texts are not copied on the way:
 * they lie in the bytes of their files (escapes undone in place), which the pool owns and all splits
 * share. They are whole, well-formed UTF-8 without NUL, and not NUL-terminated.
 *
 * Class names are those that train has, sorted by bytes (as for folders of images); a class that only
 * val or test has is an error that names its first row. Row i of a split is its sample i: the key of
 * order and random draws. Rows stand in the order of their files. After opening nothing changes, so any
 * number of threads may read. Nothing here knows tokens. */
#ifndef HONE_DATA_TEXTS_H
#define HONE_DATA_TEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/data.h"

typedef struct hone_text_pool hone_text_pool; /* bytes and names of the files; counted references */

typedef struct hone_text_row {
    const char *text;   /* (bytes) UTF-8; may be empty                                             */
    const char *second; /* (second_bytes) the other text of a pair; NULL without data.columns.second */
    uint32_t bytes, second_bytes;
    int32_t label; /* index into the class names of the experiment                            */
    float weight;  /* 1 without a weight column                                               */
    uint32_t line; /* where the row begins in its file, from 1; 0: the file is the row        */
    int32_t file;  /* index into the pool's files                                             */
} hone_text_row;

typedef struct hone_text_rows {
    int64_t count;
    hone_text_row *row;  /* (count)                                                                */
    bool second, weight; /* the data have the column                                               */
    hone_text_pool *pool;
} hone_text_rows;

/* Rows of a split; NULL for images. */
const hone_text_rows *hone_dataset_texts(const hone_dataset *d);
/* "train.tsv:17", or "spam/0001.txt" for folders; returns `out`. */
const char *hone_text_rows_place(const hone_text_rows *t, int64_t sample, char *out, size_t out_bytes);
void hone_text_rows_free(hone_text_rows *t); /* NULL is fine */

#endif
