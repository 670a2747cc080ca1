/* text.h - a growing string for messages, tables and files. Memory failure is sticky: appends turn
 * into no-ops and hone_text_take returns NULL, so callers check once, at the end. */
#ifndef HONE_CORE_TEXT_H
#define HONE_CORE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "hone/status.h"

typedef struct hone_text {
    char *data; /* NUL-terminated; NULL while empty */
    size_t bytes, capacity;
    bool failed;
} hone_text;

void hone_text_add(hone_text *t, const char *fmt, ...) HONE_PRINTF(2, 3);
void hone_text_addv(hone_text *t, const char *fmt, va_list args);
void hone_text_append(hone_text *t, const void *data, size_t bytes);
/* Gives the string to the caller (free() it) and empties `t`; NULL when memory was exhausted. */
char *hone_text_take(hone_text *t);
void hone_text_free(hone_text *t);
/* A JSON string literal with quotes and escapes; bytes that are not UTF-8 become U+FFFD. */
void hone_text_json(hone_text *t, const char *s);
/* Length of the UTF-8 character at s (of at most `bytes`), 0 if it is malformed (overlong, surrogate, > U+10FFFF). */
int hone_text_utf8_length(const unsigned char *s, size_t bytes);
bool hone_text_is_utf8(const char *s); /* all of it */

char *hone_strdup(const char *s); /* NULL in, NULL out */

#endif
