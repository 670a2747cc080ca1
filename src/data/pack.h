/* pack.h - decoded pictures of one size in one file that is mapped: `hone data pack`.
 *
 * For sets that do not fit in memory and cost much to decode: training then reads pixels as they are, from the system's
 * page cache. Samples keep their order, so the same seed cuts the same validation split and shuffles alike.
 *
 * The file, little-endian: "HONEPACK", version (u32), zeros up to 4096; for each split pixels (n, H, W, C), labels
 * (n int32), weights (n float) where there are any, names (n texts, a NUL behind each), each on a multiple of 4096; a JSON
 * object that says where all that lies; 32 bytes: its offset, its length, its XXH3 (u64 each), "HONEPACK". */
#ifndef HONE_DATA_PACK_H
#define HONE_DATA_PACK_H

#include "data/source.h"
#include "hone/data.h"

typedef struct hone_pack_opts {
    const char *path;   /* of the file; it must not exist                                            */
    hone_resize resize; /* by which the pictures of `d` come to their size                             */
    int threads;
    const volatile int *stop; /* polled; NULL: none                                                  */
} hone_pack_opts;

typedef struct hone_pack_result {
    int64_t count[3]; /* train, val, test                                                           */
    int64_t skipped;  /* left out by data.on_error: skip                                           */
    int64_t bytes;
} hone_pack_result;

/* All splits of `d`, decoded in its size; written beside and renamed, so no half pack bears the name. Samples that can't be
 * decoded follow data.on_error. Errors: USAGE (the file exists), DATA, RUNTIME (disk), MEMORY, INTERRUPTED. */
hone_status hone_pack_write(const hone_data *d, const hone_pack_opts *o, hone_pack_result *out) HONE_MUST_USE;

bool hone_pack_looks(const char *path); /* a file that begins with the magic                           */
/* As hone_idx_open; `raw` is the mapping. Header and sizes are checked, pixels where the file has at most 256 MiB. */
hone_status hone_pack_open(const char *path, hone_split split, bool whole, hone_source **out) HONE_MUST_USE;

#endif
