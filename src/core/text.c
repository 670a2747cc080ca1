/* text.c - see text.h. */
#include "core/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void hone_text_append(hone_text *t, const void *data, size_t bytes)
{
    if (!text_reserve(t, bytes)) return;
    if (bytes) memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
    t->data[t->bytes] = '\0';
}

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

void hone_text_free(hone_text *t)
{
    free(t->data);
    *t = (hone_text){0};
}

/* Length of the UTF-8 character at s, 0 if it is malformed (overlong, surrogate, > U+10FFFF). */
static int utf8_length(const unsigned char *s)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    int n = s[0] < 0x80 ? 1 : (s[0] & 0xE0) == 0xC0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : (s[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (n < 2) return n;
    uint32_t code = s[0] & (0x7Fu >> n);
    for (int k = 1; k < n; k++) {
        if ((s[k] & 0xC0) != 0x80) return 0;
        code = code << 6 | (s[k] & 0x3F);
    }
    return code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) ? 0 : n;
}

void hone_text_json(hone_text *t, const char *s)
{
    hone_text_append(t, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        int n = utf8_length(p);
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

char *hone_strdup(const char *s)
{
    if (!s) return NULL;
    size_t bytes = strlen(s) + 1;
    char *copy = malloc(bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}
