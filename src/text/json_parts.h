/* json_parts.h - between the files that read tokenizer.json. `name` is the file, for messages. */
#ifndef HONE_TEXT_JSON_PARTS_H
#define HONE_TEXT_JSON_PARTS_H

#include <jansson.h>

#include "text/tokenizer_private.h"

/* A member that must be a string, a whole number, a boolean or absent (null); `fallback` when it is absent. Errors:
 * DATA with the name of the file and of the member. */
hone_status hone_json_text(const char *name, const json_t *o, const char *key, const char *fallback,
                           const char **out) HONE_MUST_USE;
hone_status hone_json_whole(const char *name, const json_t *o, const char *key, int64_t least, int64_t most,
                            int64_t fallback, int64_t *out) HONE_MUST_USE;
hone_status hone_json_flag(const char *name, const json_t *o, const char *key, bool fallback, bool *out) HONE_MUST_USE;

/* The normalizer, and what goes around texts; null and absent are "none". */
hone_status hone_json_normalizer(const char *name, const json_t *o, hone_tokenizer *t) HONE_MUST_USE;
hone_status hone_json_template(const char *name, const json_t *o, hone_tokenizer *t) HONE_MUST_USE;
/* The models that are hone's own: n-grams and characters. */
hone_status hone_json_ngram(const char *name, const json_t *model, hone_tokenizer **out) HONE_MUST_USE;
hone_status hone_json_char(const char *name, const json_t *model, hone_tokenizer **out) HONE_MUST_USE;

#endif
