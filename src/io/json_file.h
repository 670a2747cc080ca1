/* json_file.h - a small JSON file of a folder, for whoever only reads it: run.json, eval/report.json, config.json. */
#ifndef HONE_IO_JSON_FILE_H
#define HONE_IO_JSON_FILE_H

#include "core/json.h"

/* folder/name parsed; a file that is not there (or can't be read) is no error: *out is NULL.
 * Errors: DATA (no JSON: file and line), MEMORY. */
hone_status hone_json_file(const char *folder, const char *name, json_t **out) HONE_MUST_USE;

#endif
