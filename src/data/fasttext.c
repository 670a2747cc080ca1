/* fasttext.c - fastText's training format: "__label__spam text ..." a line.
 *
 * Fields are separated by spaces and tabs, as fastText reads them; a label is any field that begins with
 * __label__. One label a line, wherever on the line it stands at its start; a second one is refused with
 * its place: one class a text is what this program trains. The text is what follows the label. */
#include <stdlib.h>
#include <string.h>

#include "data/text_sink.h"
#include "data/utf8.h"

static const char prefix[] = "__label__";
enum { PREFIX_BYTES = sizeof prefix - 1 };

/* White space within a line, as fastText's dictionary splits. */
static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

/* The first field at or behind p that is a label, or `end`. Rare bytes first: "__" hardly occurs in text. */
static char *find_label(char *begin, char *p, char *end)
{
    for (; end - p >= PREFIX_BYTES; p++) {
        /* stops early enough for a whole prefix to fit */
        p = memchr(p, '_', (size_t)(end - p) - (PREFIX_BYTES - 1));
        if (!p) break;
        if (memcmp(p, prefix, PREFIX_BYTES) == 0 && (p == begin || is_space(p[-1]))) return p;
    }
    return end;
}

/* One line [p, end). */
static hone_status read_line(const hone_text_job *job, char *p, char *end, uint32_t line)
{
    char *begin = p;
    const char *why = NULL;
    size_t bytes = (size_t)(end - p);
    if (!job->checked && hone_utf8_check(p, bytes, &why) != bytes)
        return hone_text_fail(job, line, 0, "convert the file to UTF-8", "not UTF-8: %s", why);
    while (p < end && is_space(*p)) p++;
    /* fastText would take a label anywhere; at the start it can't be part of the text by accident */
    if (find_label(begin, p, end) != p)
        return hone_text_fail(job, line, (uint32_t)(p - begin) + 1,
                              "each line begins with its class: __label__spam Buy now",
                              "no %s at the start of the line", prefix);
    hone_span label = {p + PREFIX_BYTES, 0};
    for (p = label.at; p < end && !is_space(*p);) p++;
    label.bytes = (size_t)(p - label.at);
    char *second = find_label(begin, p, end);
    if (second != end)
        return hone_text_fail(job, line, (uint32_t)(second - begin) + 1,
                              "keep one label a line: texts of several classes are not trained yet",
                              "a second label on the line");
    while (p < end && is_space(*p)) p++;
    /* the label's neighbours are separators, and so are spaces at the end */
    while (end > p && is_space(end[-1])) end--;
    if ((size_t)(end - p) > UINT32_MAX) return hone_text_fail(job, line, 0, "cut it", "a text of more than 4 GiB");
    hone_text_row row = {.text = p, .bytes = (uint32_t)(end - p), .weight = 1.0f, .line = line};
    return hone_text_sink_add(job, job->split, label, row);
}

/* Lines of white space are passed over and counted, as fastText does without saying so. */
hone_status hone_fasttext_read(hone_text_job *job)
{
    char *end = job->blob.data + job->blob.bytes;
    uint32_t line = 0;
    for (char *p = job->blob.data; p < end;) {
        char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end, *q = p;
        line++;
        while (q < stop && is_space(*q)) q++;
        if (q == stop) {
            hone_text_sink_blank(job, line);
        } else {
            hone_status s = read_line(job, p, stop, line);
            if (s != HONE_OK) HONE_TRY(hone_text_sink_broken(job, s));
        }
        p = nl ? nl + 1 : end;
    }
    return HONE_OK;
}
