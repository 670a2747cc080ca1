/* json.h - parsing JSON when memory may run out. jansson tells "invalid token" of a document that it had no memory for;
 * a user would take a good file for a damaged one. */
#ifndef HONE_IO_JSON_H
#define HONE_IO_JSON_H

#include <jansson.h>

#include "hone/status.h"

/* json_loadb of `bytes` bytes. OK with *out NULL: the text is no JSON, *error says where. Errors: MEMORY. */
hone_status hone_json_parse(const char *text, size_t bytes, size_t flags, json_t **out,
                            json_error_t *error) HONE_MUST_USE;

#endif
