/* utf8.h - is it UTF-8? RFC 3629: shortest forms, no surrogates, nothing above U+10FFFF. Says where the
 * first fault is and what it is; never repairs, never guesses another encoding. */
#ifndef HONE_DATA_UTF8_H
#define HONE_DATA_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Offset of the first byte that is not well-formed, `bytes` if all are. `why` (may be NULL) gets a
 * phrase for a message where there is one. 16 bytes of ASCII are passed at once. */
size_t hone_utf8_check(const char *text, size_t bytes, const char **why);
/* The character at `text` (well-formed) and its length in bytes, 1 to 4. */
int hone_utf8_next(const char *text, uint32_t *code);
/* Writes a code point (not a surrogate) to `out` (4 bytes at most); its length. */
int hone_utf8_put(uint32_t code, char *out);

#endif
