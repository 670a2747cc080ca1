/* number.c - decimal numbers, read and written the same in every locale.
 *
 * strtod and printf follow the process's locale (de_DE writes 0,1), so both run here under a private
 * "C" locale. The grammar is checked first: strtod alone would take hex floats, nan and inf. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/page.h"

/* First character that is no digit. */
static const char *digits(const char *s)
{
    while (*s >= '0' && *s <= '9') s++;
    return s;
}

/* [+-] (digits [. [digits]] | . digits) [(e|E) [+-] digits] */
static bool is_number(const char *s)
{
    if (*s == '+' || *s == '-') s++;
    const char *whole = digits(s);
    const char *end = whole;
    size_t mantissa = (size_t)(whole - s);
    if (*end == '.') {
        const char *part = end + 1;
        end = digits(part);
        mantissa += (size_t)(end - part);
    }
    if (mantissa == 0) return false;
    if (*end == 'e' || *end == 'E') {
        end++;
        if (*end == '+' || *end == '-') end++;
        const char *power = end;
        end = digits(power);
        if (end == power) return false;
    }
    return *end == '\0';
}

/* In the C locale, whatever the program's: a comma locale would read 0.5 as 0. Per thread, so it disturbs none. */
bool hone_number_read(const char *text, double *out)
{
    if (!is_number(text)) return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return false; /* only without memory */
    locale_t before = uselocale(c);
    double x = strtod(text, NULL);
    uselocale(before);
    freelocale(c);
    if (!isfinite(x)) return false;
    *out = x;
    return true;
}

/* The shortest decimal that `same` accepts; `most` digits always suffice. */
static const char *shortest(double x, int most, bool (*same)(double read, double x), char *text, size_t text_bytes)
{
    if (x == floor(x) && fabs(x) < 1e15) { /* 1200, not 1.2e+03 */
        snprintf(text, text_bytes, "%.0f", x);
        return text;
    }
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = uselocale(c);
    for (int precision = 1; precision <= most; precision++) {
        snprintf(text, text_bytes, "%.*g", precision, x);
        if (same(strtod(text, NULL), x)) break;
    }
    uselocale(before);
    if (c) freelocale(c);
    return text;
}

/* Acceptance tests of `shortest`: the value itself, or the float it stands for. */
static bool same_double(double read, double x) { return read == x; }
static bool same_float(double read, double x) { return (float)read == (float)x; }

/* 17 digits always suffice for a double (IEEE 754, section 5.12), fewer mostly do. */
const char *hone_number_write(double x, char *text, size_t text_bytes)
{
    return shortest(x, 17, same_double, text, text_bytes);
}

/* 9 digits always suffice for a float. */
const char *hone_float_write(float x, char *text, size_t text_bytes)
{
    return shortest((double)x, 9, same_float, text, text_bytes);
}
