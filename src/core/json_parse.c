/* json_parse.c - text to jansson's tree (json.h), by RFC 8259 to the letter.
 *
 * Every allocation is looked at, which is why jansson's own reader isn't used. Accepts and refuses what that one does
 * (tests/test_json.c compares the two on thousands of damaged documents): no text behind the top, no NaN, no halves of
 * surrogate pairs, no leading zeros, integers of 64 bits, reals that are finite. Hostile text costs time and memory in
 * proportion to its length; its depth is bounded before it goes on. */
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"

/* jansson's own bound, which json_decref and json_dumps recurse by, too. */
enum { DEPTH_MAX = 2048 };

typedef struct reader {
    const char *begin, *p, *end; /* p: the next byte; *end is not there: a header in a mapping has no NUL behind it   */
    size_t flags;                /* JSON_REJECT_DUPLICATES, JSON_ALLOW_NUL                                            */
    int depth;                   /* of the value being read, itself included                                          */
    bool memory;                 /* it was memory that failed, not the text */
    json_error_t *error;
} reader;

/* The first mistake, at the byte where it is. NULL, so that it can be returned. */
static json_t *wrong(reader *r, const char *what)
{
    json_error_t *e = r->error;
    const char *line = r->begin;
    if (!e || e->text[0]) return NULL; /* what follows from the first is no news */
    e->line = 1;
    /* counted only now: a good document pays nothing for its lines */
    for (const char *p = r->begin; p < r->p; p++)
        if (*p == '\n') {
            e->line++;
            line = p + 1;
        }
    e->column = (int)(r->p - line) + 1;
    e->position = (int)(r->p - r->begin);
    snprintf(e->text, sizeof e->text, "%s", what);
    return NULL;
}

/* NULL as well. The error's text stays empty: the status says it, and a place would point at a good byte. */
static void *no_memory(reader *r)
{
    r->memory = true;
    return NULL;
}

/* RFC 8259, section 2: these four and no other; a byte order mark is none of them. */
static void skip_space(reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) r->p++;
}

/* Whether the next character is `c`; it is then passed. */
static bool take(reader *r, char c)
{
    if (r->p >= r->end || *r->p != c) return false;
    r->p++;
    return true;
}

/* --- strings ----------------------------------------------------------------------------------------------------- */

/* Four hexadecimal digits at p; -1: they are none. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    /* not by strtol: it would take signs, blanks and 0x */
    if (end - p < 4) return -1;
    for (int k = 0; k < 4; k++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *at = p[k] ? strchr(digits, p[k]) : NULL;
        if (!at) return -1;
        v = v * 16 + (int)(at - digits < 16 ? at - digits : at - digits - 6);
    }
    return v;
}

/* RFC 3629, section 3; `code` is no surrogate. */
static char *put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xE0 | code >> 12);
        } else {
            *to++ = (char)(0xF0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* \uXXXX with p behind the u; characters above U+FFFF are two of them. False: a mistake. */
static bool read_unicode(reader *r, char **to)
{
    int code = hex4(r->p, r->end);
    if (code < 0) return wrong(r, "\\u takes four hexadecimal digits"), false;
    if (code == 0 && !(r->flags & JSON_ALLOW_NUL)) return wrong(r, "\\u0000 is not allowed here"), false;
    if (code >= 0xDC00 && code < 0xE000) return wrong(r, "the second half of a surrogate pair alone"), false;
    r->p += 4;
    /* the first half of a pair, which the second must follow at once */
    if (code >= 0xD800 && code < 0xDC00) {
        int low = r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u' ? hex4(r->p + 2, r->end) : -1;
        if (low < 0xDC00 || low >= 0xE000) return wrong(r, "the first half of a surrogate pair alone"), false;
        r->p += 6;
        /* ten bits each */
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    *to = put_utf8(*to, (unsigned)code);
    return true;
}

/* One character of a string, with its escape, to *to. False: a mistake. */
static bool read_character(reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    /* the bytes themselves must be escaped, a tab too; 0x7F need not */
    if ((unsigned char)*r->p < 0x20) return wrong(r, "a control character in a string"), false;
    if (*r->p != '\\') {
        /* checked here once, so that what comes out is UTF-8 for whoever shows or hashes it */
        int n = hone_text_utf8_length((const unsigned char *)r->p, (size_t)(r->end - r->p));
        if (n == 0) return wrong(r, "not UTF-8"), false;
        memcpy(*to, r->p, (size_t)n);
        *to += n;
        r->p += n;
        return true;
    }
    char c = r->end - r->p > 1 ? r->p[1] : '\0';
    const char *at = c ? strchr(from, c) : NULL;
    if (c != 'u' && !at) return wrong(r, "an unknown escape"), false;
    r->p += 2;
    if (c == 'u') return read_unicode(r, to);
    *(*to)++ = means[at - from];
    return true;
}

/* A string at its opening quote: NUL-terminated and to be freed, *bytes its length. NULL: a mistake, or memory. */
static char *read_text(reader *r, size_t *bytes)
{
    const char *open = r->p++, *close = r->p;
    /* an escape is never shorter than what it means, so the room between the quotes is enough */
    while (close < r->end && *close != '"') close += *close == '\\' && r->end - close > 1 ? 2 : 1;
    if (close >= r->end) {
        r->p = open;
        wrong(r, "the string that opens here is never closed");
        return NULL;
    }
    char *text = malloc((size_t)(close - r->p) + 1), *to = text;
    if (!text) return no_memory(r);
    while (r->p < close)
        if (!read_character(r, &to)) {
            free(text);
            return NULL;
        }
    r->p = close + 1;
    *to = '\0'; /* for keys; values go by their length, as \u0000 may stand in them */
    *bytes = (size_t)(to - text);
    return text;
}

/* One copy more than needed: jansson has no public way to hand a string over. */
static json_t *read_string(reader *r)
{
    size_t bytes;
    char *text = read_text(r, &bytes);
    if (!text) return NULL;
    json_t *j = json_stringn_nocheck(text, bytes); /* its UTF-8 was checked above */
    free(text);
    return j ? j : no_memory(r);
}

/* --- numbers and words -------------------------------------------------------------------------------------------- */

/* A run of digits; false where there is none. */
static bool digits(reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') r->p++;
    return r->p > from;
}

/* The number between `from` and p, in the C locale that hone_json_parse has set. */
static json_t *convert(reader *r, const char *from, bool real)
{
    char room[64], *text = room;
    size_t n = (size_t)(r->p - from);
    if (n >= sizeof room && !(text = malloc(n + 1))) return no_memory(r);
    memcpy(text, from, n); /* strtod wants an end */
    text[n] = '\0';
    errno = 0; /* the only way to tell INT64_MAX from what is beyond it */
    double value = real ? strtod(text, NULL) : 0;
    long long whole = real ? 0 : strtoll(text, NULL, 10);
    bool range = real ? !isfinite(value) : errno == ERANGE; /* what is too small for a double is 0 */
    if (text != room) free(text);
    /* a message points at the number's first digit, not behind it */
    r->p = range ? from : r->p;
    if (range) return wrong(r, real ? "a number beyond the range of double" : "an integer beyond 64 bits");
    json_t *j = real ? json_real(value) : json_integer(whole);
    return j ? j : no_memory(r);
}

/* RFC 8259, section 6. An integer stays one: offsets and counts are compared exactly, and 1.0 is told from 1. */
static json_t *read_number(reader *r)
{
    const char *from = r->p;
    bool real = false;
    take(r, '-');
    /* "0" and "-0" are numbers, "01" is none: its 1 is then out of place */
    if (!take(r, '0') && !digits(r)) return wrong(r, "a digit is wanted here");
    if (take(r, '.')) {
        real = true;
        if (!digits(r)) return wrong(r, "a digit is wanted here");
    }
    if (take(r, 'e') || take(r, 'E')) {
        real = true;
        if (!take(r, '+')) take(r, '-');
        if (!digits(r)) return wrong(r, "a digit is wanted here");
    }
    return convert(r, from, real);
}

/* The three words; NaN and Infinity are Python's. What follows a word is looked at by whoever asked for a value. */
static json_t *read_word(reader *r)
{
    static const char *const word[] = {"true", "false", "null"};
    for (int k = 0; k < 3; k++) {
        size_t n = strlen(word[k]);
        if ((size_t)(r->end - r->p) < n || memcmp(r->p, word[k], n) != 0) continue;
        r->p += n;
        /* constants of the library: no memory needed */
        return k == 0 ? json_true() : k == 1 ? json_false() : json_null();
    }
    return wrong(r, r->p < r->end ? "a value is wanted here" : "the text ends where a value is wanted");
}

/* --- objects and arrays -------------------------------------------------------------------------------------------- */

static json_t *read_value(reader *r);

/* A key at its quote and its value into `o`. False: a mistake, or memory. */
static bool read_member(reader *r, json_t *o)
{
    size_t bytes;
    const char *at = r->p;
    if (r->p >= r->end || *r->p != '"') return wrong(r, "a key in quotes is wanted here"), false;
    char *key = read_text(r, &bytes);
    if (!key) return false;
    const char *mistake = strlen(key) != bytes                                           ? "a NUL in a key"
                          : r->flags & JSON_REJECT_DUPLICATES && json_object_get(o, key) ? "a key for the second time"
                                                                                         : NULL;
    json_t *value = NULL;
    if (mistake) {
        r->p = at; /* at the key, not behind it */
        wrong(r, mistake);
    } else {
        skip_space(r);
        if (!take(r, ':')) wrong(r, "a colon is wanted here");
        else value = read_value(r);
    }
    /* takes the value; without memory it frees it */
    bool stored = value && json_object_set_new_nocheck(o, key, value) == 0;
    if (value && !stored) no_memory(r);
    free(key);
    return stored;
}

/* An object or an array at its bracket. */
static json_t *read_nested(reader *r)
{
    bool object = *r->p++ == '{', good = true;
    char close = object ? '}' : ']';
    json_t *all = object ? json_object() : json_array();
    if (!all) return no_memory(r);
    skip_space(r);
    if (take(r, close)) return all; /* the only place where nothing may stand: [1,] is refused below */
    do {
        skip_space(r);
        if (object) {
            good = read_member(r, all);
        } else {
            json_t *value = read_value(r);
            good = value && json_array_append_new(all, value) == 0;
            if (value && !good) no_memory(r);
        }
        skip_space(r);
    } while (good && take(r, ','));
    if (good && take(r, close)) return all;
    if (good) wrong(r, r->p < r->end ? "a comma or a closing bracket is wanted here" : "the text ends in the middle");
    json_decref(all);
    return NULL;
}

/* The only recursion; its depth is bounded before it goes on. */
static json_t *read_value(reader *r)
{
    json_t *value;
    skip_space(r);
    /* counted for scalars as well, as jansson does: the two refuse the same documents */
    if (++r->depth > DEPTH_MAX) return wrong(r, "nested too deeply");
    char c = r->p < r->end ? *r->p : '\0';
    if (c == '{' || c == '[') value = read_nested(r);
    else if (c == '"') value = read_string(r);
    else if (c == '-' || (c >= '0' && c <= '9')) value = read_number(r);
    else value = read_word(r);
    r->depth--;
    return value;
}

hone_status hone_json_parse(const char *text, size_t bytes, size_t flags, json_t **out, json_error_t *error)
{
    reader r = {.begin = text, .p = text, .end = text + bytes, .flags = flags, .error = error};
    if (error) *error = (json_error_t){.line = -1, .column = -1};
    *out = NULL;
    /* numbers have a point: of this thread alone, so that it disturbs none */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to parse %zu bytes of JSON", bytes);
    locale_t before = uselocale(c);
    skip_space(&r);
    /* RFC 8259 allows a bare value at the top; no file that hone reads is one */
    if (r.p < r.end && (*r.p == '{' || *r.p == '[')) *out = read_value(&r);
    else wrong(&r, "an object or an array is wanted here");
    skip_space(&r);
    if (*out && r.p < r.end) {
        wrong(&r, "text behind the end");
        json_decref(*out);
        *out = NULL;
    }
    uselocale(before);
    freelocale(c);
    return r.memory ? hone_fail(HONE_ERR_MEMORY, NULL, "no memory to parse %zu bytes of JSON", bytes) : HONE_OK;
}
