/* utf8.c - see utf8.h. The table of well-formed sequences is Unicode 15, table 3-7: after the first
 * byte only the second one has a range of its own, all others are 80..BF. */
#include "data/utf8.h"

#include <string.h>

/* Bytes of ASCII from the start, in steps of 16: anything else has its top bit set. */
static size_t ascii_prefix(const char *s, size_t bytes)
{
    /* memcpy compiles to two loads; text has no alignment */
    size_t k = 0;
    for (; k + 16 <= bytes; k += 16) {
        uint64_t a, b;
        memcpy(&a, s + k, 8);
        memcpy(&b, s + k + 8, 8);
        /* one test for both words: the loop is bound by loads, not by branches */
        if ((a | b) & 0x8080808080808080u) break;
    }
    while (k < bytes && (unsigned char)s[k] < 0x80) k++;
    return k;
}

/* Why the sequence at s, which is not well-formed, is refused; `left` bytes are there. */
static const char *fault(const unsigned char *s, size_t left)
{
    if (s[0] < 0xC0) return "a continuation byte without its first byte";
    /* C0 and C1 could only begin two-byte forms of ASCII */
    if (s[0] < 0xC2) return "an overlong form";
    if (s[0] > 0xF4) return s[0] < 0xFE ? "above U+10FFFF" : "a byte that UTF-8 never uses";
    /* from here the first byte is fine; the second may still make the form illegal */
    if (left < 2) return "a character that is cut off at the end";
    if (s[0] == 0xE0 && s[1] >= 0x80 && s[1] < 0xA0) return "an overlong form";
    if (s[0] == 0xED && s[1] >= 0xA0 && s[1] < 0xC0) return "a surrogate";
    if (s[0] == 0xF0 && s[1] >= 0x80 && s[1] < 0x90) return "an overlong form";
    if (s[0] == 0xF4 && s[1] >= 0x90 && s[1] < 0xC0) return "above U+10FFFF";
    size_t want = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    for (size_t k = 1; k < want; k++) {
        if (k >= left) return "a character that is cut off at the end";
        if ((s[k] & 0xC0) != 0x80) return "a character whose continuation is missing";
    }
    return "not a character";
}

/* Length of the well-formed sequence at s, 0 if it is none. */
static size_t sequence(const unsigned char *s, size_t left)
{
    size_t want = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    if (want < 2 || want > left) return want > left ? 0 : want;
    /* the four first bytes whose second one has a narrower range (Unicode 15, table 3-7) */
    unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t k = 2; k < want; k++)
        if ((s[k] & 0xC0) != 0x80) return 0;
    return want;
}

/* Two loops, as text comes in runs: wide steps over ASCII, one by one over all else. */
size_t hone_utf8_check(const char *text, size_t bytes, const char **why)
{
    for (size_t k = 0;;) {
        k += ascii_prefix(text + k, bytes - k);
        /* runs of other scripts are taken without going back to the wide test */
        while (k < bytes && (unsigned char)text[k] >= 0x80) {
            size_t n = sequence((const unsigned char *)text + k, bytes - k);
            if (n == 0) {
                if (why) *why = fault((const unsigned char *)text + k, bytes - k);
                return k;
            }
            k += n;
        }
        if (k >= bytes) return bytes;
    }
}

/* Trusts its input: texts are checked once, when their file is read. */
int hone_utf8_next(const char *text, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    for (int k = 1; k < n; k++) c = c << 6 | (s[k] & 0x3Fu);
    *code = c;
    return n;
}

/* The last bytes first: each takes six bits, what is left goes into the first byte. */
int hone_utf8_put(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    int n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int k = n - 1; k > 0; k--, code >>= 6) out[k] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xF0) | code); /* n leading ones: C0, E0, F0 */
    return n;
}
