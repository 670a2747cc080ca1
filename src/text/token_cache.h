/* token_cache.h - token ids on disk beside the data, so that a second run doesn't tokenize again.
 *
 * The file holds what its key says and nothing else: a key that differs in any field, a wrong length or a wrong
 * hash makes it stale, and it is written anew. It is never trusted: offsets and ids are checked before use.
 * Layout, little endian: 128 bytes of header (magic "honetok1", the key, counts, XXH3 of the body, XXH3 of the
 * header), then offsets i64 (count + 1), ids i32 (tokens), second i32 (count, pairs only). */
#ifndef HONE_TEXT_TOKEN_CACHE_H
#define HONE_TEXT_TOKEN_CACHE_H

#include "text/tokenizer.h"

/* What the ids are a function of. */
typedef struct hone_token_key {
    uint64_t data;      /* fingerprint of the texts and their order */
    uint64_t tokenizer; /* hone_tokenizer_fingerprint               */
    int64_t max_length;
    int64_t vocab_size; /* ids at or above make the file invalid    */
} hone_token_key;

/* Maps the ids of `path`. *found is false, without an error, where there is no file or it is stale; `why` (may be
 * NULL, `why_bytes` long) then says which. Errors: MEMORY. */
hone_status hone_token_cache_open(const char *path, const hone_token_key *key, bool *found, hone_token_set *out,
                                  char *why, size_t why_bytes) HONE_MUST_USE;
/* Writes atomically; an existing file is replaced. Errors: RUNTIME (disk full, no permission). */
hone_status hone_token_cache_write(const char *path, const hone_token_key *key, const hone_token_set *s) HONE_MUST_USE;
/* Opens the cache, or encodes and writes it. A cache that can't be written is no error: `note` (may be NULL) says
 * so and the ids stay in memory. `path` NULL: no cache. The key's data field is the caller's; the rest is filled. */
hone_status hone_token_cache_get(const char *path, uint64_t data_fingerprint, const hone_tokenizer *t,
                                 const hone_texts *texts, int64_t max_length, int threads, hone_token_set *out,
                                 char *note, size_t note_bytes) HONE_MUST_USE;
/* XXH3 over all texts, their lengths and their order: a data field that no change of the data escapes. */
hone_status hone_texts_fingerprint(const hone_texts *texts, uint64_t *out) HONE_MUST_USE;

#endif
