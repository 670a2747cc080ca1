/* unicode.c - see unicode.h. Knows characters one at a time; sequences are normalize.c's business. */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Adds the page to those stored, or finds its equal; false when 256 are not enough. */
static bool store_page(hone_unicode *u, int *pages, uint32_t number, const uint8_t *page /* (256) */)
{
    int k = 0;
    while (k < *pages && memcmp(u->classes[k], page, 256) != 0) k++;
    if (k == 256) return false;
    if (k == *pages) memcpy(u->classes[(*pages)++], page, 256);
    u->page[number] = (uint8_t)k;
    return true;
}

/* Runs are ascending, so each page is filled in one walk. */
hone_unicode *hone_unicode_new(void)
{
    hone_unicode *u = calloc(1, sizeof *u);
    int pages = 1, r = 0; /* page 0: no class at all */
    if (!u) return NULL;
    for (uint32_t number = 0; number < 0x1100; number++) {
        uint8_t page[256] = {0};
        uint32_t low = number << 8, high = low + 256;
        for (; r < hone_unicode_run_count; r++) {
            const hone_unicode_run *run = &hone_unicode_runs[r];
            uint32_t from = run->first > low ? run->first : low, to = run->first + run->count;
            if (from < high && to > from) memset(page + (from - low), run->classes, (to < high ? to : high) - from);
            if (to > high || run->first >= high) break; /* it goes on in the next page */
        }
        if (!store_page(u, &pages, number, page)) {
            free(u);
            return NULL;
        }
    }
    return u;
}

/* The second byte of three- and four-byte forms is what tells overlong forms, surrogates and codes past U+10FFFF. */
static bool second_fits(uint8_t first, uint8_t second)
{
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

/* C0, C1 and F5 to FF begin nothing. */
int hone_utf8_whole(const uint8_t *s, size_t n)
{
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4) return -1;
    int length = hone_utf8_length(s[0]);
    if (n < 2 || !second_fits(s[0], s[1])) return -1;
    for (int k = 2; k < length; k++)
        if ((size_t)k >= n || (s[k] & 0xC0) != 0x80) return -k;
    return length;
}

/* Read in strides: this is the one pass over every text that finds nothing nearly every time. */
size_t hone_utf8_valid(const char *text, size_t bytes)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;
    while (i < bytes) {
        uint64_t eight;
        /* most text is ASCII, and eight bytes at once are tested as cheaply as one */
        while (i + 8 <= bytes && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0)) i += 8;
        while (i < bytes && s[i] < 0x80) i++;
        if (i == bytes) break;
        int n = hone_utf8_whole(s + i, bytes - i);
        if (n < 0) break;
        i += (size_t)n;
    }
    return i;
}

/* Pairs newer than Unicode 15, which an older utf8proc does not know: runs with one distance to their lower case. */
static const struct {
    uint32_t first, last, lower;
} late_case[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},     {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x19B},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
};

/* Simple mappings of utf8proc; they equal the full ones for every code point but U+0130. */
int hone_unicode_lower(uint32_t c, uint32_t out[2])
{
    if (c == 0x130) { /* I with dot: the only code point whose lower case has two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    if (c >= 0x1C89)
        for (size_t k = 0; k < sizeof late_case / sizeof *late_case; k++)
            if (c >= late_case[k].first && c <= late_case[k].last) {
                out[0] = late_case[k].lower + (c - late_case[k].first);
                return 1;
            }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

/* Characters that got their decomposition after the package's tables were made: it leaves them as they are. */
static bool is_late(uint32_t c, bool compatibility)
{
    static const struct {
        uint32_t first, last;
    } late[] = {{0x32FF, 0x32FF},   {0xA7F1, 0xA7F4},   {0xAB69, 0xAB69},   {0x10780, 0x107BA},
                {0x1CCD6, 0x1CCF9}, {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
    if (c == 0x11938) return true; /* the only canonical one */
    for (size_t k = 0; compatibility && k < sizeof late / sizeof *late; k++)
        if (c >= late[k].first && c <= late[k].last) return true;
    return false;
}

/* utf8proc decomposes fully (Hangul, too), but leaves the order of marks to us. */
int hone_unicode_decompose(uint32_t c, bool compatibility, uint32_t out[HONE_DECOMPOSED_MAX])
{
    utf8proc_int32_t code[HONE_DECOMPOSED_MAX];
    int boundary = 0;
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
    out[0] = c;                                          /* most characters are their own */
    if (c < 0xA0 || is_late(c, compatibility)) return 1; /* nothing below has one */
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, code, HONE_DECOMPOSED_MAX, options, &boundary);
    if (n < 1 || n > HONE_DECOMPOSED_MAX) return 1;
    for (int k = 0; k < n; k++) out[k] = (uint32_t)code[k];
    return (int)n;
}

/* Asked of utf8proc pair by pair: which pairs compose never changes, what blocks them did. */
uint32_t hone_unicode_compose(uint32_t first, uint32_t second)
{
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};
    if (second < 0x300) return 0; /* no second part is below */
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1) return 0;
    return is_late((uint32_t)pair[0], false) ? 0 : (uint32_t)pair[0];
}

/* Nothing below U+0300 is a mark, and most text ends here. */
int hone_unicode_combining(const hone_unicode *u, uint32_t c)
{
    if (c < 0x300 || !(hone_unicode_class(u, c) & HONE_UNICODE_ORDERED)) return 0;
    return utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

/* BERT's tokenization.py names these blocks; the package starts extension E two rows late, and ids follow it. */
bool hone_unicode_ideograph(uint32_t c)
{
    if (c < 0x3400) return false;
    return c <= 0x4DBF || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}
