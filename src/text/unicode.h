/* unicode.h - code points: UTF-8 in and out, classes, lower case, decomposition.
 *
 * Classes come from a table of our own (unicode_table.c), because ids must not change with the version of a
 * library; case and decomposition, which Unicode keeps stable, come from utf8proc. */
#ifndef HONE_TEXT_UNICODE_H
#define HONE_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

enum {
    HONE_UNICODE_LETTER = 1,   /* \p{L} of the byte-level pattern                                       */
    HONE_UNICODE_NUMBER = 2,   /* \p{N}                                                                 */
    HONE_UNICODE_SPACE = 4,    /* \s                                                                    */
    HONE_UNICODE_PUNCT = 8,    /* P* and ASCII symbols: words of their own in BERT                      */
    HONE_UNICODE_ACCENT = 16,  /* Mn: what BERT strips                                                 */
    HONE_UNICODE_OTHER = 32,   /* Cc, Cf, Co, U+FFFD: what BERT's cleaning removes                      */
    HONE_UNICODE_MARK = 64,    /* Mn, Mc, Me: what the StripAccents normalizer removes                  */
    HONE_UNICODE_ORDERED = 128 /* canonical ordering may move it                                        */
};

/* The longest decomposition of one code point has 18 (U+FDFA, compatibility). */
enum { HONE_DECOMPOSED_MAX = 32 };

typedef struct hone_unicode_run {
    uint32_t first;
    uint16_t count;
    uint8_t classes;
} hone_unicode_run;
extern const hone_unicode_run hone_unicode_runs[]; /* ascending */
extern const int hone_unicode_run_count;

/* The runs, spread out for look-up: pages of 256 code points, equal pages stored once. */
typedef struct hone_unicode {
    uint8_t page[0x1100];
    uint8_t classes[256][256]; /* (pages, 256) */
} hone_unicode;

/* NULL: memory. free() it. */
hone_unicode *hone_unicode_new(void);

/* Classes of a code point <= U+10FFFF. */
static inline uint8_t hone_unicode_class(const hone_unicode *u, uint32_t c)
{
    return u->classes[u->page[c >> 8]][c & 255];
}

/* Bytes of a well-formed character by its first byte. */
static inline int hone_utf8_length(uint8_t first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

/* Decodes the well-formed character at s and steps over it. */
static inline uint32_t hone_utf8_next(const uint8_t **s)
{
    const uint8_t *p = *s;
    int n = hone_utf8_length(*p);
    *s = p + n;
    if (n == 1) return *p;
    if (n == 2) return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    if (n == 3) return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

/* Writes a code point (at most 4 bytes) and returns the end. */
static inline char *hone_utf8_put(char *at, uint32_t c)
{
    if (c < 0x80) {
        *at++ = (char)c;
        return at;
    }
    if (c < 0x800) {
        *at++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *at++ = (char)(0xE0 | c >> 12);
        } else {
            *at++ = (char)(0xF0 | c >> 18);
            *at++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *at++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *at++ = (char)(0x80 | (c & 0x3F));
    return at;
}

/* Bytes of the character at s (n > 0 bytes left): positive where it is well-formed, else minus the length of the
 * maximal subpart that one U+FFFD stands for (Unicode 15, section 3.9, table 3-8). */
int hone_utf8_whole(const uint8_t *s, size_t n);
/* Length of the longest well-formed beginning. */
size_t hone_utf8_valid(const char *text, size_t bytes);

/* Lower case, up to two code points (U+0130); the count. Not by context: no final sigma. */
int hone_unicode_lower(uint32_t c, uint32_t out[2]);
/* Canonical or compatibility decomposition of one code point into `out`; the count. Not ordered. */
int hone_unicode_decompose(uint32_t c, bool compatibility, uint32_t out[HONE_DECOMPOSED_MAX]);
/* The character that two make (canonical composition); 0: none. */
uint32_t hone_unicode_compose(uint32_t first, uint32_t second);
/* Canonical combining class: 0 = starter. */
int hone_unicode_combining(const hone_unicode *u, uint32_t c);
/* The ranges that BERT calls Chinese: ideographs, which it makes words of their own. */
bool hone_unicode_ideograph(uint32_t c);

#endif
