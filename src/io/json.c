/* json.c - see json.h. */
#include "io/json.h"

#include <stdint.h>
#include <stdlib.h>

/* A document costs jansson some twenty times its text: an object, its table, keys and values are blocks of their own. */
enum { COST = 20 };

hone_status hone_json_parse(const char *text, size_t bytes, size_t flags, json_t **out, json_error_t *error)
{
    *out = json_loadb(text, bytes, flags, error);
    if (*out) return HONE_OK;
    /* damaged, or no memory? If there is room for it now, parsing it once more tells */
    void *room = bytes < SIZE_MAX / COST ? malloc(bytes * COST + 1) : NULL;
    free(room);
    if (!room) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to parse %zu bytes of JSON", bytes);
    *out = json_loadb(text, bytes, flags, error);
    return HONE_OK;
}
