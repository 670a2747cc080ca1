/* blob.h - the whole content of a text file in memory, whatever it is packed in.
 *
 * Plain, gzip (several members too) and xz, told by the first bytes and not by the name. A mark of
 * UTF-8 in front is left out; UTF-16 and UTF-32 marks, NUL bytes and containers that hold no plain text
 * (zip, zstd, bzip2, parquet, PDF) are refused by name. Read, not mapped: a file that another program
 * cuts short would otherwise kill us. */
#ifndef HONE_DATA_BLOB_H
#define HONE_DATA_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_blob {
    char *memory; /* free() it                                                                  */
    char *data;   /* (bytes) content behind the mark; a '\n' and a NUL stand behind its end     */
    size_t bytes;
    uint64_t hash; /* xxh3 of the content                                                        */
} hone_blob;

/* `chunk`: bytes asked of the system at once (0: a good number; tests take 1). `limit`: most bytes
 * unpacked. Errors: DATA (no such file, broken or cut packing, over the limit, not text), MEMORY. */
hone_status hone_blob_read(const char *path, size_t limit, size_t chunk, hone_blob *out) HONE_MUST_USE;
/* The same checks for content that is already in memory (plain text), which is copied. */
hone_status hone_blob_of_bytes(const char *name, const void *data, size_t bytes, hone_blob *out) HONE_MUST_USE;
/* Line (from 1) in which byte `at` of the content stands; *column: bytes into that line, from 1. */
uint32_t hone_blob_line(const hone_blob *b, size_t at, uint32_t *column);
/* Checks that [from, to) of the content is UTF-8. Errors (DATA): file:line:column and the kind of fault. */
hone_status hone_blob_check_utf8(const hone_blob *b, const char *name, const char *from, const char *to) HONE_MUST_USE;

#endif
