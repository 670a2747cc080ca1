/* fuzz_utf8.c - the check of UTF-8 against a plain decoder that is written for this test alone, and what
 * is built on well-formed text: folding and shingles, which must take anything that passed. */
#include <stdlib.h>
#include <string.h>

#include "data/twins.h"
#include "data/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 3629 by arithmetic: decode, then ask whether the code point has this length. 0: malformed. */
static size_t plain_decode(const uint8_t *s, size_t left, uint32_t *code)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0xFFu >> (n + 1));
    for (size_t k = 1; k < n; k++) {
        if (s[k] >> 6 != 2) return 0;
        c = c * 64 + s[k] % 64;
    }
    size_t right = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (right != n || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    *code = c;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* from the heap, to its last byte: reading too far is caught */
    char *text = malloc(size + !size);
    const char *why = NULL;
    size_t at = 0, n;
    uint32_t code, again;
    if (!text || size > 512) { /* longer ones find nothing that short ones do not */
        free(text);
        return 0;
    }
    memcpy(text, data, size);
    for (; at < size && (n = plain_decode(data + at, size - at, &code)) > 0; at += n) {
        char back[4];
        if (hone_utf8_next(text + at, &again) != (int)n || again != code) abort();
        if (hone_utf8_put(code, back) != (int)n || memcmp(back, text + at, n) != 0) abort();
    }
    if (hone_utf8_check(text, size, &why) != at || (at < size && !why)) abort();
    hone_text_row row = {.text = text, .bytes = (uint32_t)at}, half = {.text = text, .bytes = 0};
    for (at /= 2; at && ((uint8_t)text[at] & 0xC0) == 0x80;) at--;
    half.bytes = (uint32_t)at;
    double same = hone_text_similarity(&row, &row), other = hone_text_similarity(&row, &half);
    if ((same != 1 && same != 0) || !(other >= 0 && other <= 1)) abort();
    free(text);
    return 0;
}
