/* text.c - see text.h. */
#include "core/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and the end mark. Failure is remembered instead of returned, so that a chain of
 * additions is checked once, when the text is taken. Doubling keeps n additions at O(n) copies. */
static bool text_reserve(hone_text *t, size_t more)
{
    if (t->failed) return false;
    size_t need = t->bytes + more + 1;
    if (need <= t->capacity) return true;
    size_t capacity = t->capacity ? t->capacity : 128;
    while (capacity < need) capacity *= 2;
    char *data = realloc(t->data, capacity);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

/* `data` may hold any bytes; the end mark behind them is not counted. */
void hone_text_append(hone_text *t, const void *data, size_t bytes)
{
    if (!text_reserve(t, bytes)) return;
    if (bytes) memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
    t->data[t->bytes] = '\0';
}

/* Measured first and then written: the list of arguments is used up by one pass, hence the copy. */
void hone_text_addv(hone_text *t, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (need < 0 || !text_reserve(t, (size_t)need)) return;
    vsnprintf(t->data + t->bytes, (size_t)need + 1, fmt, args);
    t->bytes += (size_t)need;
}

void hone_text_add(hone_text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    hone_text_addv(t, fmt, args);
    va_end(args);
}

/* NULL when any addition failed: half a text is never handed out. An empty text is "", not NULL. */
char *hone_text_take(hone_text *t)
{
    if (!t->data && !t->failed) hone_text_append(t, "", 0);
    char *data = t->data;
    if (t->failed) {
        free(data);
        data = NULL;
    }
    *t = (hone_text){0};
    return data;
}

/* Fine on a zeroed text and on one that was taken. */
void hone_text_free(hone_text *t)
{
    free(t->data);
    *t = (hone_text){0};
}

/* The bound is looked at before each byte; 0 is no continuation, so NUL-terminated text needs none. */
int hone_text_utf8_length(const unsigned char *s, size_t bytes)
{
    /* the smallest code of each length: below it, the form is overlong (RFC 3629, section 3) */
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    int n = s[0] < 0x80 ? 1 : (s[0] & 0xE0) == 0xC0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : (s[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (n < 2) return n;
    uint32_t code = s[0] & (0x7Fu >> n);
    for (int k = 1; k < n; k++) {
        if ((size_t)k >= bytes || (s[k] & 0xC0) != 0x80) return 0;
        code = code << 6 | (s[k] & 0x3F);
    }
    return code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) ? 0 : n;
}

bool hone_text_is_utf8(const char *s)
{
    int n = 1;
    while (*s && (n = hone_text_utf8_length((const unsigned char *)s, SIZE_MAX)) > 0) s += n;
    return n > 0;
}

/* RFC 8259, section 7. File names and class names may be any bytes, so malformed ones become U+FFFD:
 * the output is valid JSON whatever the disk holds. */
void hone_text_json(hone_text *t, const char *s)
{
    hone_text_append(t, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t plain = 0; /* mostly there is nothing to escape: runs of ASCII go at once */
        while (p[plain] >= 0x20 && p[plain] < 0x7F && p[plain] != '"' && p[plain] != '\\') plain++;
        if (plain) hone_text_append(t, p, plain);
        p += plain;
        if (plain) continue;
        int n = hone_text_utf8_length(p, SIZE_MAX);
        if (n == 0) {
            hone_text_append(t, "\xEF\xBF\xBD", 3);
            n = 1;
        } else if (*p == '"' || *p == '\\') {
            hone_text_add(t, "\\%c", *p);
        } else if (*p < 0x20) {
            hone_text_add(t, "\\u%04x", *p);
        } else {
            hone_text_append(t, p, (size_t)n);
        }
        p += n;
    }
    hone_text_append(t, "\"", 1);
}

/* NULL in, NULL out: optional texts need no case of their own. (strdup itself is POSIX and does not.) */
char *hone_strdup(const char *s)
{
    if (!s) return NULL;
    size_t bytes = strlen(s) + 1;
    char *copy = malloc(bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}
