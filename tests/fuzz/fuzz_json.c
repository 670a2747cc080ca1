/* fuzz_json.c - any bytes as JSON: hone_json_parse accepts what jansson accepts, with the same tree, and refuses the rest
 * with a place and a reason. The first byte is the flags. One difference is meant: jansson passes over a NUL byte behind a
 * number, which is no JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t error, theirs;
    json_t *mine;
    if (size < 1) return 0;
    size_t flags = (data[0] & 1 ? JSON_REJECT_DUPLICATES : 0) | (data[0] & 2 ? JSON_ALLOW_NUL : 0);
    const char *text = (const char *)data + 1;
    if (hone_json_parse(text, size - 1, flags, &mine, &error) != HONE_OK) abort(); /* memory: the limit is far away */
    json_t *other = json_loadb(text, size - 1, flags, &theirs);
    if (!mine && other && memchr(text, 0, size - 1)) {
        json_decref(other);
        return 0;
    }
    if (!mine != !other || (mine && !json_equal(mine, other))) abort();
    if (!mine && (!error.text[0] || error.line < 1 || error.column < 1 || error.position < 0 ||
                  (size_t)error.position > size - 1))
        abort();
    json_decref(mine);
    json_decref(other);
    return 0;
}
