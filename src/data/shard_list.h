/* shard_list.h - which archives a path means; for shards.c. */
#ifndef HONE_DATA_SHARD_LIST_H
#define HONE_DATA_SHARD_LIST_H

#include "data/source.h"

/* Paths of the archives of one split, sorted; none: that split is not there. `whole`: all of them. Errors: DATA. */
hone_status hone_shards_list(const char *path, hone_split split, bool whole, hone_names *out) HONE_MUST_USE;
/* The archives of a folder or pattern have this ending. */
bool hone_is_tar_name(const char *name);

#endif
