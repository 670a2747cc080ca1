/* image_table.h - pictures that a table lists. */
#ifndef HONE_DATA_IMAGE_TABLE_H
#define HONE_DATA_IMAGE_TABLE_H

#include "data/source.h"

/* All splits of what config.data (or `path`) names: out[k] is NULL for one without rows. *unsplit: one set that does
 * not say which rows are for what. Errors (DATA) name table and line. On failure the caller frees what is in out. */
hone_status hone_image_tables_open(const hone_config *c, const char *path, int threads,
                                   hone_source *out[HONE_SPLIT_COUNT], bool *unsplit) HONE_MUST_USE;

#endif
