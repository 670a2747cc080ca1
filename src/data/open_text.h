/* open_text.h - from what config.data names to text data sets. Internal to src/data; open.c calls it. */
#ifndef HONE_DATA_OPEN_TEXT_H
#define HONE_DATA_OPEN_TEXT_H

#include "data/dataset.h"
#include "data/text_sink.h"

/* All rows of what the page names, by split; no class is mapped and no split is cut yet. */
typedef struct hone_text_gather {
    hone_text_sink sink;
    bool unsplit; /* one set that does not say which rows are for what                              */
    char *name;   /* of the data, for messages                                                      */
} hone_text_gather;

/* `path`: another place than the page's; NULL: the page's own. */
hone_status hone_text_gather_open(const hone_config *c, const char *path, hone_text_gather *out) HONE_MUST_USE;
void hone_text_gather_free(hone_text_gather *g);

/* As hone_data_open and hone_data_open_eval, for task: text. */
hone_status hone_text_data_open(const hone_config *c, hone_data **out) HONE_MUST_USE;
hone_status hone_text_data_open_eval(const char *path, const char *split, const hone_config *c, int classes,
                                     const char *const *class_name, hone_dataset **out) HONE_MUST_USE;

/* Whether what lies at `path` is text rather than pictures, by names and first bytes. */
bool hone_text_looks(const char *path);
/* A data set of the rows of `t`, which it takes over (also on failure). */
hone_status hone_dataset_of_texts(hone_text_rows *t, const char *name, hone_dataset **out) HONE_MUST_USE;
/* The name of a split as typed; COUNT for NULL. Errors: USAGE. (open.c) */
hone_status hone_split_of_name(const char *name, hone_split *out) HONE_MUST_USE;
/* Fails and names the splits that are there: have[k] says which. (open.c) */
hone_status hone_split_missing(const bool have[HONE_SPLIT_COUNT], hone_split wanted) HONE_MUST_USE;
/* The rows of data.synthetic (synthetic_text.c). */
hone_status hone_synthetic_texts(const hone_config *c, hone_text_sink *sink) HONE_MUST_USE;
/* "datasets/x: no such file or folder", with the script that brings it. (open.c) */
hone_status hone_path_missing(const char *path) HONE_MUST_USE;

#endif
