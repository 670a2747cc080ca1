/* files.h - folders, file bytes and lists of names for the readers of src/data.
 *
 * Data sets come from strangers: only regular files are ever read (a FIFO or a device is never
 * opened for reading), names are escaped before they reach a message, sizes are limits first. */
#ifndef HONE_DATA_FILES_H
#define HONE_DATA_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

/* A growing list of strings that it owns. */
typedef struct hone_names {
    char **item;
    int count, capacity;
} hone_names;

hone_status hone_names_add(hone_names *n, const char *text) HONE_MUST_USE; /* copies       */
hone_status hone_names_addf(hone_names *n, const char *fmt, ...) HONE_PRINTF(2, 3) HONE_MUST_USE;
void hone_names_sort(hone_names *n);                        /* by bytes, as Python sorts str  */
int hone_names_find(const hone_names *n, const char *text); /* index, or -1                   */
void hone_names_free(hone_names *n);

typedef enum hone_path_kind { HONE_PATH_MISSING, HONE_PATH_FILE, HONE_PATH_FOLDER, HONE_PATH_OTHER } hone_path_kind;
/* Follows links. `bytes` (may be NULL) gets the size of a regular file. OTHER: FIFO, device, socket. */
hone_path_kind hone_path_look(const char *path, int64_t *bytes);
char *hone_path_join(const char *folder, const char *name); /* NULL: memory exhausted, and recorded */
const char *hone_path_base(const char *path);               /* the part behind the last slash      */

/* Entries of a folder, sorted; names that begin with a dot are left out. Errors: DATA. */
hone_status hone_folder_list(const char *path, hone_names *out) HONE_MUST_USE;

/* Opens a regular file for reading; never blocks on a FIFO. Errors (DATA) name the path. */
hone_status hone_file_open(const char *path, int *fd, int64_t *bytes) HONE_MUST_USE;
/* One read; interrupted ones go on, and *got is 0 only at the end of the file. Errors: DATA. */
hone_status hone_file_read_some(const char *path, int fd, void *data, size_t want, size_t *got) HONE_MUST_USE;
/* Whole content (free() it). A file that shrinks while it is read, or over `limit` bytes: DATA. */
hone_status hone_bytes_read(const char *path, size_t limit, uint8_t **data, size_t *bytes) HONE_MUST_USE;
/* `bytes` bytes from `offset` on (free() them; a NUL behind). A file that ends before: DATA. */
hone_status hone_bytes_read_part(const char *path, int64_t offset, size_t bytes, uint8_t **data) HONE_MUST_USE;
/* Lines of a small text file, without line ends, byte order mark and blank lines at the end. */
hone_status hone_lines_read(const char *path, hone_names *out) HONE_MUST_USE;

/* Copies `text` with control characters and bytes that are not UTF-8 as \xNN; returns `out`. */
const char *hone_quote(const char *text, char *out, size_t out_bytes);
#define HONE_SHOWN 400
/* Looks (does this folder hold pictures?) answer yes or no, and no where memory is exhausted. Whoever decides by one
 * clears the error before (hone_error_clear) and asks here afterwards: the recorded error is one of memory. */
bool hone_memory_failed(void);
/* A name as it may stand in a message; lives until the end of the enclosing block. */
#define hone_shown(text) hone_quote((text), (char[HONE_SHOWN]){0}, HONE_SHOWN)

/* Records a MEMORY error and is its status. `bytes` of 0: not known. The hint names the one knob that a user has. */
#define hone_no_memory(what, bytes)                                                                                    \
    hone_fail(HONE_ERR_MEMORY, "set data.memory_limit_mb, or use smaller images", "no memory for %s (%zu bytes)",      \
              (what), (size_t)(bytes))

#endif
