/* run_files.c - see run_files.h. */
#include "report/run_files.h"

#include <math.h>
#include <stdlib.h>

#include "io/file.h"

enum { LIMIT = 512 << 20 }; /* metrics.jsonl of a million lines is a fifth of that */

hone_status hone_run_text(const char *run_dir, const char *name, char **text)
{
    size_t bytes;
    char *path = hone_io_join(run_dir, name);
    *text = NULL;
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = hone_file_read(path, LIMIT, text, &bytes);
    free(path);
    if (status == HONE_ERR_MEMORY) return status;
    if (status != HONE_OK) hone_error_clear();
    return HONE_OK;
}

const char *hone_run_string(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

double hone_run_figure(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}
