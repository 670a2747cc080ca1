/* run_files.h - small files of a run directory, for whoever only reads them. */
#ifndef HONE_REPORT_RUN_FILES_H
#define HONE_REPORT_RUN_FILES_H

#include "core/json.h"

/* RUN/name as text; a file that is not there (or can't be read) is no error: *text is NULL. Errors: MEMORY. */
hone_status hone_run_text(const char *run_dir, const char *name, char **text) HONE_MUST_USE;
/* A string of an object, "" without it; a number, NaN without it. `o` may be NULL. */
const char *hone_run_string(const json_t *o, const char *key);
double hone_run_figure(const json_t *o, const char *key);

#endif
