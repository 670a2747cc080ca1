/* normalize.c - the normalizers of tokenizer.json, from UTF-8 to UTF-8, as the `tokenizers` package defines them.
 *
 * Takes well-formed text only. BERT's four rules run in one pass: clean, space out ideographs, decompose and strip
 * accents, lower-case. Ordering combining marks looks at the marks between two starters and no further, so text is
 * never held as a whole except for composition (NFC, NFKC). */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

/* One pass over a text. The marks since the last starter wait until they can be put in order. */
typedef struct pass {
    const hone_unicode *u;
    const hone_norm *norm;
    hone_buffer *out;
    bool strip, lower; /* what becomes of each character */
    uint32_t *mark;    /* (marks): waiting                */
    uint8_t *order;    /* (marks): their combining classes */
    size_t marks, capacity;
} pass;

/* Every call may add a decomposed character, lower-cased and with spaces around it. */
enum { ROOM = HONE_DECOMPOSED_MAX * 8 + 8 };

/* In the table of ASCII: no character. */
enum { REMOVED = 0xFF };

/* One character to the output, which has room. */
static void put(pass *p, uint32_t c)
{
    uint32_t low[2] = {c, 0};
    /* after ordering: what is stripped still kept others in their place */
    if (p->strip && (hone_unicode_class(p->u, c) & HONE_UNICODE_ACCENT)) return;
    int n = p->lower ? hone_unicode_lower(c, low) : 1;
    char *at = p->out->data + p->out->count;
    for (int k = 0; k < n; k++) at = hone_utf8_put(at, low[k]);
    p->out->count = (size_t)(at - p->out->data);
}

/* The waiting marks in canonical order: a stable sort by class (Unicode 15, definition D109). Classes are few, so one
 * walk for each class that occurs is linear even for a text of marks alone. */
static hone_status flush(pass *p)
{
    bool occurs[256] = {false};
    if (p->marks == 0) return HONE_OK;
    HONE_TRY(hone_buffer_reserve(p->out, p->marks * 8 + ROOM));
    for (size_t k = 0; k < p->marks; k++) occurs[p->order[k]] = true;
    for (int order = 0; order < 256; order++)
        for (size_t k = 0; occurs[order] && k < p->marks; k++)
            if (p->order[k] == order) put(p, p->mark[k]);
    p->marks = 0;
    return HONE_OK;
}

/* A mark waits for the next starter. */
static hone_status wait_mark(pass *p, uint32_t c, int order)
{
    if (p->marks == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 64;
        uint32_t *mark = realloc(p->mark, capacity * sizeof *mark);
        if (mark) p->mark = mark;
        uint8_t *orders = realloc(p->order, capacity);
        if (orders) p->order = orders;
        if (!mark || !orders) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a text's accents");
        p->capacity = capacity;
    }
    p->mark[p->marks] = c;
    p->order[p->marks++] = (uint8_t)order;
    return HONE_OK;
}

/* Decomposes a character and hands on its parts. */
static hone_status decompose(pass *p, uint32_t c, bool compatibility)
{
    uint32_t part[HONE_DECOMPOSED_MAX];
    int n = hone_unicode_decompose(c, compatibility, part);
    for (int k = 0; k < n; k++) {
        int order = hone_unicode_combining(p->u, part[k]);
        if (order) {
            HONE_TRY(wait_mark(p, part[k], order));
            continue;
        }
        HONE_TRY(flush(p)); /* a starter ends the run of marks */
        put(p, part[k]);
    }
    return HONE_OK;
}

/* A character that is not ASCII, through BERT's rules. */
static hone_status bert_char(pass *p, uint32_t c)
{
    const hone_norm *norm = p->norm;
    uint8_t classes = hone_unicode_class(p->u, c);
    if (norm->clean_text && (classes & HONE_UNICODE_OTHER)) return HONE_OK;
    /* cleaning comes first, so a wide space between ideographs is a plain one by then */
    if (norm->clean_text && (classes & HONE_UNICODE_SPACE)) c = ' ';
    HONE_TRY(hone_buffer_reserve(p->out, ROOM));
    bool alone = norm->chinese_chars && hone_unicode_ideograph(c);
    if (!norm->strip_accents) { /* nothing is ordered then */
        if (alone) p->out->data[p->out->count++] = ' ';
        put(p, c);
        if (alone) p->out->data[p->out->count++] = ' ';
        return HONE_OK;
    }
    if (alone) HONE_TRY(flush(p));
    if (alone) p->out->data[p->out->count++] = ' ';
    HONE_TRY(decompose(p, c, false));
    if (alone) p->out->data[p->out->count++] = ' ';
    return HONE_OK;
}

/* ASCII goes through a table. It is a starter, so waiting marks come first. */
static hone_status bert_pass(pass *p, const uint8_t *ascii, const uint8_t *s, const uint8_t *end)
{
    HONE_TRY(hone_buffer_reserve(p->out, (size_t)(end - s) + ROOM));
    while (s < end) {
        if (*s >= 0x80) {
            HONE_TRY(bert_char(p, hone_utf8_next(&s)));
            continue;
        }
        const uint8_t *stop = s;
        bool kept = false; /* marks wait across what is removed */
        while (stop < end && *stop < 0x80) kept |= ascii[*stop++] != REMOVED;
        if (kept) HONE_TRY(flush(p));
        HONE_TRY(hone_buffer_reserve(p->out, (size_t)(stop - s) + ROOM));
        char *at = p->out->data + p->out->count;
        while (s < stop) {
            uint8_t to = ascii[*s++];
            *at = (char)to;
            at += to != REMOVED;
        }
        p->out->count = (size_t)(at - p->out->data);
    }
    return flush(p);
}

/* Lower-casing, dropping marks, decomposition: a character at a time. */
static hone_status char_pass(pass *p, const uint8_t *s, const uint8_t *end)
{
    hone_norm_kind kind = p->norm->kind;
    p->lower = kind == HONE_NORM_LOWERCASE;
    while (s < end) {
        uint32_t c = hone_utf8_next(&s);
        HONE_TRY(hone_buffer_reserve(p->out, ROOM));
        if (kind == HONE_NORM_STRIP_ACCENTS && (hone_unicode_class(p->u, c) & HONE_UNICODE_MARK)) continue;
        if (kind == HONE_NORM_LOWERCASE || kind == HONE_NORM_STRIP_ACCENTS) put(p, c);
        else HONE_TRY(decompose(p, c, kind == HONE_NORM_NFKD || kind == HONE_NORM_NFKC));
    }
    return flush(p);
}

/* Code points of a buffer, in w->code. */
static hone_status to_codes(hone_work *w, const hone_buffer *b, size_t *count)
{
    const uint8_t *s = (const uint8_t *)b->data, *end = s + b->count;
    if (w->code_capacity < b->count) {
        uint32_t *code = realloc(w->code, b->count * 2 * sizeof *code);
        if (!code) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a text of %zu bytes", b->count);
        w->code = code;
        w->code_capacity = b->count * 2;
    }
    *count = 0;
    while (s < end) w->code[(*count)++] = hone_utf8_next(&s);
    return HONE_OK;
}

/* Canonical composition (Unicode 15, definitions D115 to D117) of text that is decomposed and in order: a character
 * joins the last starter unless something between them has its class or a higher one. */
static hone_status compose(const hone_unicode *u, hone_work *w, hone_buffer *b)
{
    size_t count = 0, out = 0, starter = SIZE_MAX;
    int last = -1; /* class of what stands behind the starter; -1: nothing does */
    HONE_TRY(to_codes(w, b, &count));
    uint32_t *code = w->code;
    for (size_t k = 0; k < count; k++) {
        int order = hone_unicode_combining(u, code[k]);
        uint32_t joined = starter != SIZE_MAX && last < order ? hone_unicode_compose(code[starter], code[k]) : 0;
        if (joined) {
            code[starter] = joined;
            continue;
        }
        if (order == 0) starter = out;
        last = order == 0 ? -1 : order;
        code[out++] = code[k];
    }
    char *at = b->data; /* composed text is never longer */
    for (size_t k = 0; k < out; k++) at = hone_utf8_put(at, code[k]);
    b->count = (size_t)(at - b->data);
    return HONE_OK;
}

/* One normalizer; the marks' memory lives as long as the pass. */
static hone_status run_one(const hone_tokenizer *t, hone_work *w, int step, const char *text, size_t bytes,
                           hone_buffer *out)
{
    const hone_norm *norm = &t->norm[step];
    pass p = {.u = t->unicode, .norm = norm, .out = out};
    const uint8_t *s = (const uint8_t *)text;
    hone_status status;
    out->count = 0;
    if (norm->kind == HONE_NORM_BERT) {
        p.strip = norm->strip_accents;
        p.lower = norm->lowercase;
        status = bert_pass(&p, t->ascii_bert[step], s, s + bytes);
    } else {
        status = char_pass(&p, s, s + bytes);
    }
    if (status == HONE_OK && (norm->kind == HONE_NORM_NFC || norm->kind == HONE_NORM_NFKC))
        status = compose(t->unicode, w, out);
    free(p.mark);
    free(p.order);
    return status;
}

/* Two buffers in turn: each normalizer reads what the one before it wrote. */
hone_status hone_normalize(const hone_tokenizer *t, hone_work *w, const char **text, size_t *bytes)
{
    for (int k = 0; k < t->norm_count; k++) {
        hone_buffer *out = &w->normal[k & 1];
        HONE_TRY(run_one(t, w, k, *text, *bytes, out));
        *text = out->data;
        *bytes = out->count;
    }
    return HONE_OK;
}

/* What happens to the 128 characters that most text consists of, decided once. */
void hone_normalize_prepare(hone_tokenizer *t)
{
    for (int k = 0; k < t->norm_count; k++)
        for (uint32_t c = 0; c < 128; c++) {
            const hone_norm *norm = &t->norm[k];
            uint8_t classes = hone_unicode_class(t->unicode, c), to = (uint8_t)c;
            if (norm->lowercase && c >= 'A' && c <= 'Z') to = (uint8_t)(c + 32);
            /* cleaning: tab and line ends are spaces first, other controls go */
            if (norm->clean_text && (classes & HONE_UNICODE_SPACE)) to = ' ';
            if (norm->clean_text && (classes & HONE_UNICODE_OTHER)) to = REMOVED;
            t->ascii_bert[k][c] = to;
        }
}
