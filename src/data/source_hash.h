/* source_hash.h - the fingerprint of a source whose samples are files: names and sizes in the order of the samples,
 * and the content too where the set is small. */
#ifndef HONE_DATA_SOURCE_HASH_H
#define HONE_DATA_SOURCE_HASH_H

#include "data/source.h"

typedef struct hone_source_hash {
    void *state; /* a running XXH3 */
    int64_t total_bytes;
} hone_source_hash;

hone_status hone_source_hash_begin(hone_source_hash *h) HONE_MUST_USE;
/* What labels and columns the set has, before the files. */
void hone_source_hash_add(hone_source_hash *h, const void *data, size_t bytes);
/* The next file of the list, and its size. */
void hone_source_hash_file(hone_source_hash *h, const char *name, int64_t bytes);
/* s->hash; sets of at most 256 MiB are read by `threads` threads. Frees in any case. */
hone_status hone_source_hash_end(hone_source_hash *h, hone_source *s, int threads) HONE_MUST_USE;
void hone_source_hash_free(hone_source_hash *h); /* for unwinding; fine on a zeroed one */

#endif
