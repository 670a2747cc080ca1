/* table_rows.c - a table's text into fields: CSV after RFC 4180, TSV, TSV with quotes.
 *
 * In CSV a field that begins with a quote ends at the next single one; "" inside is one quote, and line
 * ends and commas inside belong to the text. A quote further on in a field is a plain character (Python's
 * csv module in strict mode reads the same fields). Lines end with LF or CRLF; a CR alone outside quotes
 * is refused, because half of all programs would begin a new row there.
 *
 * TSV has no quotes by definition, but spreadsheets write them: quotes count in a TSV only if every field
 * that begins with one is a whole quoted field, and none of them spans lines and tabs (which two unpaired
 * quotes in two rows would look like). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/table.h"

/* Top bit of each byte of `word` that equals `c` (Mycroft's test; bytes above a hit may be false). */
static uint64_t equal_bytes(uint64_t word, unsigned char c)
{
    uint64_t x = word ^ (0x0101010101010101u * c);
    return (x - 0x0101010101010101u) & ~x & 0x8080808080808080u;
}

/* The first delimiter, LF or CR at or behind p: eight bytes at a time, as fields of text are long. The
 * '\n' at the end of the data stops it. */
static char *scan_field(char *p, const char *end, char delimiter)
{
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        if (equal_bytes(word, (unsigned char)delimiter) | equal_bytes(word, '\n') | equal_bytes(word, '\r')) break;
    }
    while (*p != delimiter && *p != '\n' && *p != '\r') p++;
    return p;
}

/* Doubling; rows of a table have few fields. */
static hone_status push(hone_table *t, char *at, char *end)
{
    if (t->count == t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 16;
        hone_span *grown = realloc(t->field, (size_t)capacity * sizeof *grown);
        if (!grown) return hone_no_memory("the fields of a row", (size_t)capacity * sizeof *grown);
        t->field = grown;
        t->capacity = capacity;
    }
    t->field[t->count++] = (hone_span){at, (size_t)(end - at)};
    return HONE_OK;
}

/* Lines within quotes count for messages like all others. */
static void count_lines(hone_table *t, char *from, const char *to)
{
    for (char *q = from; (q = memchr(q, '\n', (size_t)(to - q))); q++) {
        t->line++;
        t->line_begin = q + 1;
    }
}

/* Column of a byte in the line of p, from 1. */
static uint32_t column_of(const hone_table *t, const char *at) { return (uint32_t)(at - t->line_begin) + 1; }

/* Whatever was wrong, the next row begins behind the next line end. */
static void resync(hone_table *t)
{
    char *nl = memchr(t->p, '\n', (size_t)(t->end - t->p));
    t->p = nl ? nl + 1 : t->end;
    t->line += nl != NULL;
    t->line_begin = t->p;
}

/* A field in quotes; p is at the opening one and ends behind the closing one. Text moves to the front as
 * doubled quotes shrink, so nothing is allocated. */
static hone_status quoted_field(hone_table *t, hone_span *out)
{
    uint32_t line = t->line, column = column_of(t, t->p);
    char *from = t->p + 1, *to = from;
    out->at = from;
    for (;;) {
        /* from quote to quote: memchr is several times quicker than a loop over bytes */
        char *q = memchr(from, '"', (size_t)(t->end - from));
        if (!q) {
            t->p = t->end;
            return hone_text_fail(t->job, line, column, "close it, and write \"\" for a quote inside a quoted field",
                                  "the quote that opens here is never closed");
        }
        count_lines(t, from, q);
        /* nothing moves before the first doubled quote, which most fields do not have */
        if (to != from) memmove(to, from, (size_t)(q - from));
        to += q - from;
        from = q + 1;
        if (from >= t->end || *from != '"') break;
        *to++ = '"';
        from++;
    }
    out->bytes = (size_t)(to - out->at);
    t->p = from;
    /* RFC 4180, section 2.5: only a delimiter or a line end may follow */
    char next = *from;
    if (from >= t->end || next == t->delimiter || next == '\n' || (next == '\r' && from[1] == '\n')) return HONE_OK;
    uint32_t at = column_of(t, from);
    line = t->line;
    resync(t);
    return hone_text_fail(t->job, line, at, "write \"\" for a quote inside a quoted field",
                          "text follows the quote that closes a field");
}

/* One row of a table whose quotes count. */
static hone_status quoted_row(hone_table *t)
{
    for (;;) {
        hone_span f = {t->p, 0};
        if (*t->p == '"' && t->p < t->end) {
            HONE_TRY(quoted_field(t, &f));
        } else {
            t->p = scan_field(t->p, t->end, t->delimiter);
            f.bytes = (size_t)(t->p - f.at);
        }
        HONE_TRY(push(t, f.at, f.at + f.bytes));
        /* the last row may lack its line end */
        if (t->p >= t->end) return HONE_OK;
        if (*t->p == t->delimiter) {
            t->p++;
            continue;
        }
        if (*t->p == '\r' && t->p[1] != '\n') {
            uint32_t line = t->line, column = column_of(t, t->p);
            resync(t);
            return hone_text_fail(t->job, line, column, "end lines with LF or CRLF, and quote texts that hold a CR",
                                  "a CR without LF outside quotes");
        }
        /* a last CR without its LF ends at the mark that stands behind the data */
        t->p += *t->p == '\r' ? 2 : 1;
        if (t->p > t->end) t->p = t->end;
        t->line++;
        t->line_begin = t->p;
        return HONE_OK;
    }
}

/* One line, split at tabs: two scans by memchr, which is as quick as memory. */
static hone_status plain_row(hone_table *t)
{
    char *nl = memchr(t->p, '\n', (size_t)(t->end - t->p)), *stop = nl ? nl : t->end, *p = t->p;
    t->p = nl ? nl + 1 : t->end;
    t->line += nl != NULL;
    /* CRLF and LF may be mixed in one file */
    if (stop > p && stop[-1] == '\r') stop--;
    for (char *tab; (tab = memchr(p, t->delimiter, (size_t)(stop - p))); p = tab + 1) HONE_TRY(push(t, p, tab));
    return push(t, p, stop);
}

/* Which of the two ways is a property of the file, decided once. */
hone_status hone_table_next(hone_table *t)
{
    t->count = 0;
    t->row = t->line;
    t->line_begin = t->p;
    return t->quoted ? quoted_row(t) : plain_row(t);
}

/* The closing quote of a field that opens at p, or NULL if what follows is not one whole field. */
static const char *closing_quote(const char *p, const char *end)
{
    const char *from = p + 1;
    for (;;) {
        const char *q = memchr(from, '"', (size_t)(end - from));
        if (!q) return NULL;
        if (q[1] == '"' && q + 1 < end) {
            from = q + 2;
            continue;
        }
        /* behind the data stand '\n' and NUL, so q[1] and q[2] can be read */
        bool whole = q + 1 >= end || q[1] == '\t' || q[1] == '\n' || (q[1] == '\r' && q[2] == '\n');
        bool spans = memchr(p, '\n', (size_t)(q - p)) && memchr(p, '\t', (size_t)(q - p));
        return whole && !spans ? q : NULL;
    }
}

/* Only quotes at the start of a field matter, so the scan jumps from quote to quote. */
bool hone_table_tsv_quoted(const char *data, const char *end, uint32_t *plain_line)
{
    bool any = false;
    *plain_line = 0;
    for (const char *p = data; (p = memchr(p, '"', (size_t)(end - p)));) {
        /* a quote within a field is a plain character in either reading */
        if (p > data && p[-1] != '\t' && p[-1] != '\n') {
            p++;
            continue;
        }
        const char *close = closing_quote(p, end);
        if (!close) {
            *plain_line = 1;
            for (const char *q = data; (q = memchr(q, '\n', (size_t)(p - q))); q++) ++*plain_line;
            return false;
        }
        any = true;
        p = close + 1;
    }
    return any;
}
