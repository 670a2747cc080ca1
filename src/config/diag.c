/* diag.c - the list of mistakes in a page, and the nearest word to a misspelt one.
 *
 * A mistake is one line "file:line:col: path: what". They are collected in any order and shown in the
 * order of the page; those of overrides (no line) come last. Nothing here prints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/page.h"

enum { SHOWN_BYTES = 15000, SHOWN_LINES = 100 }; /* the error record holds 16 KiB */

/* Appends to the text in place; hone_text doubles, so a page with many mistakes stays cheap. */
void hone_diag_add(hone_diag *d, const hone_yaml *at, const char *path, const char *fmt, ...)
{
    hone_text t = {.data = d->text, .bytes = d->bytes, .capacity = d->capacity};
    if (at && at->line > 0) hone_text_add(&t, "%s:%d:%d: ", at->file, at->line, at->column);
    else if (at) hone_text_add(&t, "%s: ", at->file);
    if (path && *path) hone_text_add(&t, "%s: ", path);
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    hone_text_append(&t, "\n", 1);
    d->text = t.data; /* without memory the text ends early, the count still says that there is a mistake */
    d->bytes = t.bytes;
    d->capacity = t.capacity;
    d->count++;
}

/* Fine on a zeroed one. */
void hone_diag_free(hone_diag *d)
{
    free(d->text);
    *d = (hone_diag){0};
}

/* --- order ------------------------------------------------------------------------------------------ */
typedef struct diag_line {
    const char *text; /* without its newline */
    int bytes, file_bytes;
    int file; /* pages in the order in which they first appear; lines without a place come last */
    long line, column;
    int index; /* keeps equal places in the order of their discovery */
} diag_line;

/* Finds ":LINE:COL: " and so where the file name ends. */
static void find_place(diag_line *l)
{
    for (const char *p = l->text; p < l->text + l->bytes; p++) {
        if (*p != ':' || p[1] < '0' || p[1] > '9') continue;
        char *end;
        long line = strtol(p + 1, &end, 10);
        if (*end != ':' || end[1] < '0' || end[1] > '9') continue;
        long column = strtol(end + 1, &end, 10);
        if (*end != ':') continue;
        l->line = line;
        l->column = column;
        l->file_bytes = (int)(p - l->text);
        return;
    }
}

/* For qsort, which is not stable: the index decides between equal places. */
static int by_place(const void *a, const void *b)
{
    const diag_line *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return x->index - y->index;
}

/* One entry a mistake; returns how many (fewer than counted only where memory ran out). */
static int split_lines(const hone_diag *d, diag_line *line)
{
    int count = 0;
    for (const char *p = d->text; *p && count < d->count; count++) {
        const char *end = strchr(p, '\n');
        if (!end) break;
        line[count] = (diag_line){.text = p, .bytes = (int)(end - p), .file = d->count, .index = count};
        find_place(&line[count]);
        for (int k = 0; line[count].line && k <= count; k++) /* the first line of that page gives its rank */
            if (line[k].line && line[k].file_bytes == line[count].file_bytes &&
                memcmp(line[k].text, p, (size_t)line[k].file_bytes) == 0) {
                line[count].file = k;
                break;
            }
        p = end + 1;
    }
    return count;
}

/* Cuts the list where the error record would, but says how many are left. */
hone_status hone_diag_status(const hone_diag *d)
{
    if (d->no_memory) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
    if (d->count == 0) return HONE_OK;
    diag_line *line = d->text ? calloc((size_t)d->count, sizeof *line) : NULL;
    if (!line) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to list %d mistakes of the config", d->count);
    int count = split_lines(d, line), shown = 0;
    /* Mistakes were found by key; readers go through the page by line. */
    qsort(line, (size_t)count, sizeof *line, by_place);
    hone_text t = {0};
    for (; shown < count && shown < SHOWN_LINES && t.bytes + (size_t)line[shown].bytes < SHOWN_BYTES; shown++)
        hone_text_add(&t, "%s%.*s", shown ? "\n" : "", line[shown].bytes, line[shown].text);
    if (shown < d->count) hone_text_add(&t, "\n... and %d more", d->count - shown);
    free(line);
    char *message = hone_text_take(&t);
    hone_status status = hone_fail(HONE_ERR_USAGE, "`hone config explain KEY` tells what a key takes", "%s",
                                   message ? message : "the config has mistakes");
    free(message);
    return status;
}

/* --- the nearest word --------------------------------------------------------------------------------- */
enum { WORD_BYTES = 64 };

/* Users write learning-rate and LR; neither should hide the key that is meant. */
static int lower(char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c == '-' ? '_' : c; }

/* The smaller of the two. */
static int least(int a, int b) { return a < b ? a : b; }

/* Optimal string alignment: insert, delete, replace, and swap of neighbours cost 1 each. Letter case
 * and - or _ make no difference. Both words are shorter than WORD_BYTES. */
static int edit_distance(const char *a, const char *b)
{
    int row[3][WORD_BYTES + 1] = {{0}}, n = (int)strlen(b);
    for (int j = 0; j <= n; j++) row[0][j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int *now = row[i % 3], *above = row[(i + 2) % 3], *two_above = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            now[j] = least(least(above[j] + 1, now[j - 1] + 1), above[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], two_above[j - 2] + 1);
        }
    }
    return row[strlen(a) % 3][n];
}

/* A tie is no suggestion: a wrong one costs more than none. */
const char *hone_did_you_mean(const char *word, const char *const *candidates, int count)
{
    const char *best = NULL;
    int best_distance = WORD_BYTES, ties = 0;
    size_t length = strlen(word);
    if (length == 0 || length >= WORD_BYTES) return NULL;
    for (int k = 0; k < count; k++) {
        /* Rows of one key give the same candidate twice; that is no tie. */
        size_t other = strlen(candidates[k]);
        if (other >= WORD_BYTES || (best && strcmp(best, candidates[k]) == 0)) continue;
        /* a short word is near to everything, so the shorter of the two sets the allowance */
        int allowed = (length < other ? length : other) <= 4 ? 1 : 2;
        int distance = edit_distance(word, candidates[k]);
        if (distance > allowed || distance > best_distance) continue;
        ties = distance < best_distance ? 0 : ties + 1;
        best = candidates[k];
        best_distance = distance;
    }
    return ties ? NULL : best;
}

/* Bytes of one character stay together, so that the message is valid UTF-8. */
const char *hone_yaml_quote(const hone_yaml *n, char *text, size_t text_bytes)
{
    const char *s = n->kind == HONE_YAML_SCALAR ? n->text : n->kind == HONE_YAML_MAP ? "a map" : "a list";
    size_t used = 0, most = text_bytes - 4 < 40 ? text_bytes - 4 : 40;
    while (used < most && s[used]) {
        text[used] = (unsigned char)s[used] < 0x20 ? '?' : s[used];
        used++;
    }
    if (s[used]) {
        while (used > 0 && ((unsigned char)s[used] & 0xC0) == 0x80) used--; /* whole characters only */
        memcpy(text + used, "...", 3);
        used += 3;
    }
    text[used] = '\0';
    return text;
}

/* For "expected X, found Y": says the kind where the text alone would mislead ("3" quoted is no number). */
const char *hone_yaml_found(const hone_yaml *n, char *text, size_t text_bytes)
{
    char shown[64];
    hone_yaml_quote(n, shown, sizeof shown);
    if (hone_yaml_null(n)) snprintf(text, text_bytes, "nothing");
    else if (n->kind != HONE_YAML_SCALAR) snprintf(text, text_bytes, "%s", shown);
    else snprintf(text, text_bytes, n->quoted ? "the text \"%s\"" : "'%s'", shown);
    return text;
}
