/* json.h - JSON when memory may run out: jansson's trees, read and built so that a lack of memory is told.
 *
 * jansson's own reader drops a character of a string whose buffer can't grow (and runs past the end of one whose closing
 * quote it dropped), its builders leave a member out, and its printer part of a key; a user would take a good file for a
 * damaged one, or get one that is. A process of hone's could end there; a program that uses libhone can't. So text is read
 * by hone_json_parse alone, and trees are built by what is below: a failure turns the tree into NULL, jansson passes NULL
 * through, and hone_json_print says at the end what happened. */
#ifndef HONE_CORE_JSON_H
#define HONE_CORE_JSON_H

#include <jansson.h>

#include "hone/status.h"

/* `bytes` bytes of RFC 8259 text whose top is an object or an array, as a tree. OK with *out NULL: the text is no JSON,
 * *error (may be NULL) says where and why. Flags: JSON_REJECT_DUPLICATES, JSON_ALLOW_NUL (of \u0000 in strings). Numbers
 * have a point in every locale; at most 2048 levels. Errors: MEMORY. */
hone_status hone_json_parse(const char *text, size_t bytes, size_t flags, json_t **out,
                            json_error_t *error) HONE_MUST_USE;

/* Both take `value` and give the first argument back; NULL, with everything freed, where it or `value` is NULL or memory
 * is out. `map = hone_json_with(map, ...)`: the old pointer is not to be used again. */
json_t *hone_json_with(json_t *map, const char *key, json_t *value) HONE_MUST_USE;
json_t *hone_json_added(json_t *list, json_t *value) HONE_MUST_USE;
/* A string of any bytes: what is not UTF-8 becomes U+FFFD, as paths may hold anything. NULL gives null. */
json_t *hone_json_string(const char *s) HONE_MUST_USE;
/* null where JSON has no form of the number. */
json_t *hone_json_real(double v) HONE_MUST_USE;
/* (count) numbers; of floats the nine digits that name them, as the double would print seventeen. */
json_t *hone_json_floats(const float *x, int count) HONE_MUST_USE;
/* Takes `root`; its text by jansson's JSON_... flags, to be freed. `what` is for the message. Errors: MEMORY. */
hone_status hone_json_print(json_t *root, size_t flags, const char *what, char **out) HONE_MUST_USE;

#endif
