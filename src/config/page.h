/* page.h - the room's own view of YAML pages: parsing that collects mistakes, numbers that no locale
 * can bend, and the pieces of the writer. Public declarations are in hone/config.h. */
#ifndef HONE_CONFIG_PAGE_H
#define HONE_CONFIG_PAGE_H

#include "core/text.h"
#include "hone/config.h"

/* Parses `bytes` of text. Syntax errors and repeated keys go into `d`; *out is the tree, NULL after a
 * syntax error. With `placeless` the nodes carry line 0, so that messages name only `name` (overrides).
 * Errors returned: MEMORY only. */
hone_status hone_page_parse(const char *name, const char *text, size_t bytes, bool placeless, hone_diag *d,
                            hone_yaml **out) HONE_MUST_USE;
/* True for text that YAML reads as one plain scalar, whatever a row makes of it later: a word, a number, `~`, nothing that
 * holds a space or a sign of YAML. False also for rare ones that are plain (.5). */
bool hone_page_plain_word(const char *text);
/* Reads a regular file of at most 16 MiB, NUL-terminated. Errors: USAGE, naming what the path is. */
hone_status hone_page_load(const char *path, char **text, size_t *bytes) HONE_MUST_USE;

/* New nodes that stand where `at` stands. NULL: memory exhausted. */
hone_yaml *hone_yaml_new(hone_yaml_kind kind, const char *text, const hone_yaml *at);
/* Puts (key, value) at the end of a map and owns both from then on; false when memory is exhausted
 * (both are freed). NULL arguments count as exhausted. */
bool hone_yaml_put(hone_yaml *map, hone_yaml *key, hone_yaml *value);
/* Index of a key in a map, -1 if it is absent or `map` is none. */
int hone_yaml_index(const hone_yaml *map, const char *key);
/* Takes pair k out of a map and frees it. */
void hone_yaml_drop(hone_yaml *map, int k);

/* Appends a tree; the text continues at column `indent`, and block levels below are indented from there. */
void hone_yaml_append(hone_text *t, const hone_yaml *n, int indent, int flow_depth);
/* Appends a scalar so that it reads back as the same text: plain where YAML allows it, else quoted. */
void hone_scalar_append(hone_text *t, const char *s, bool quoted);

/* Numbers by the C locale whatever the process has set. hone_number_read takes a whole text of the form
 * [+-]digits[.digits][e[+-]digits]; false for all else, nan, inf and what overflows. */
bool hone_number_read(const char *text, double *out);
/* The shortest decimal that reads back as `x` (finite), e.g. 0.1 or 5e-04; text of >= 32 bytes. */
const char *hone_number_write(double x, char *text, size_t text_bytes);
const char *hone_float_write(float x, char *text, size_t text_bytes); /* the same for a float */

/* The text of a scalar cut to 40 bytes with control characters replaced: for messages. */
const char *hone_yaml_quote(const hone_yaml *n, char *text, size_t text_bytes);
/* What a message found at a node: 'text', a map, a list, nothing. */
const char *hone_yaml_found(const hone_yaml *n, char *text, size_t text_bytes);

#endif
