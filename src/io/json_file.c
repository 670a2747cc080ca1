/* json_file.c - see json_file.h. */
#include "io/json_file.h"

#include <stdlib.h>

#include "io/file.h"

enum { LIMIT = 512 << 20 }; /* eval/report.json of ten thousand classes is nearly that */

/* The place in the message is an editor's: file, line, column. */
hone_status hone_json_file(const char *folder, const char *name, json_t **out)
{
    json_error_t why;
    char *text = NULL, *path = hone_io_join(folder, name);
    size_t bytes = 0;
    *out = NULL;
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = hone_file_read(path, LIMIT, &text, &bytes);
    free(path);
    if (status == HONE_ERR_MEMORY) return status; /* a file that is there must not pass for one that is not */
    if (status != HONE_OK) {
        hone_error_clear();
        return HONE_OK;
    }
    status = hone_json_parse(text, bytes, 0, out, &why);
    free(text);
    if (status != HONE_OK || *out) return status;
    return hone_fail(HONE_ERR_DATA, "a file of a run is written anew by training or evaluating again",
                     "%s/%s:%d:%d: no JSON: %s", folder, name, why.line, why.column, why.text);
}
