/* safetensors.h - what checkpoint.c needs of safetensors.c beyond the public header: writing without
 * the rename (the whole folder is renamed later) and opening bytes whose hash was already checked. */
#ifndef HONE_IO_SAFETENSORS_H
#define HONE_IO_SAFETENSORS_H

#include "hone/io.h"

/* Writes and fsyncs `path` in place; *bytes and *xxh3 describe what was written. */
hone_status hone_safetensors_write_plain(const char *path, const hone_blob *blob, int count,
                                         const char *const *metadata, uint64_t *bytes, uint64_t *xxh3) HONE_MUST_USE;
/* Takes `data` (malloc, `bytes` long) over in any case; `name` is for messages. */
hone_status hone_safetensors_from_memory(const char *name, char *data, size_t bytes,
                                         hone_safetensors **out) HONE_MUST_USE;

#endif
