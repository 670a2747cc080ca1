/* split.c - from normalized text to words: BERT's pre-tokenizer and the byte-level one of GPT-2.
 *
 * The byte-level pattern 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ is a scanner here,
 * alternatives in the same order (openai/gpt-2, src/encoder.py). Words are bytes of the text; nothing is copied. */
#include <string.h>

#include "text/tokenizer_private.h"

/* The classes of the character at *s; steps over it. */
static inline uint8_t next_class(const hone_unicode *u, const uint8_t **s)
{
    return **s < 0x80 ? u->classes[u->page[0]][*(*s)++] : hone_unicode_class(u, hone_utf8_next(s));
}

/* White space ends words and vanishes; each punctuation mark is a word. */
static hone_status split_bert(const hone_unicode *u, const uint8_t *s, const uint8_t *end, hone_word_fn fn, void *arg)
{
    const uint8_t *word = s; /* where the word under way begins */
    while (s < end) {
        const uint8_t *at = s;
        uint8_t classes = next_class(u, &s);
        if (!(classes & (HONE_UNICODE_SPACE | HONE_UNICODE_PUNCT))) continue;
        if (at > word) HONE_TRY(fn(arg, (const char *)word, (size_t)(at - word)));
        if (classes & HONE_UNICODE_PUNCT) HONE_TRY(fn(arg, (const char *)at, (size_t)(s - at)));
        word = s;
    }
    return s > word ? fn(arg, (const char *)word, (size_t)(s - word)) : HONE_OK;
}

/* Bytes of 's 't 'm 'd 're 've 'll at s, 0 if there is none. */
static size_t contraction(const uint8_t *s, const uint8_t *end)
{
    if (end - s < 2 || s[0] != '\'') return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
    if (end - s < 3) return 0;
    bool two = (s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l');
    return two ? 3 : 0;
}

enum { LETTER_NUMBER_SPACE = HONE_UNICODE_LETTER | HONE_UNICODE_NUMBER | HONE_UNICODE_SPACE };

/* End of the longest run whose characters have `kind` among letter, number, space; 0 = none of the three. */
static const uint8_t *run_end(const hone_unicode *u, const uint8_t *s, const uint8_t *end, uint8_t kind)
{
    while (s < end) {
        const uint8_t *at = s;
        if ((next_class(u, &s) & LETTER_NUMBER_SPACE) != kind) return at;
    }
    return end;
}

/* White space before something else leaves its last character, which may be the next word's space. */
static const uint8_t *space_end(const hone_unicode *u, const uint8_t *s, const uint8_t *end)
{
    const uint8_t *stop = run_end(u, s, end, HONE_UNICODE_SPACE), *last = stop;
    if (stop == end) return stop; /* \s+(?!\S): nothing follows, all of it is one word */
    do last--;
    while ((*last & 0xC0) == 0x80);
    return last > s ? last : stop;
}

/* Each turn takes one alternative of the pattern; all of them match at least one character. */
static hone_status split_byte_level(const hone_unicode *u, const uint8_t *s, const uint8_t *end, hone_word_fn fn,
                                    void *arg)
{
    while (s < end) {
        const uint8_t *stop = s + contraction(s, end);
        if (stop == s) {
            const uint8_t *at = s + (*s == ' ' && end - s > 1), *body = at;
            uint8_t kind = next_class(u, &at) & LETTER_NUMBER_SPACE;
            /* a space belongs to the run behind it; before more white space it is white space itself */
            if (kind == HONE_UNICODE_SPACE) stop = space_end(u, s, end);
            else stop = run_end(u, body, end, kind);
        }
        HONE_TRY(fn(arg, (const char *)s, (size_t)(stop - s)));
        s = stop;
    }
    return HONE_OK;
}

/* The prefix space makes the first word look like any other; each stretch between added tokens gets one. */
static hone_status with_prefix_space(hone_work *w, const char **text, size_t *bytes)
{
    w->piece.count = 0;
    HONE_TRY(hone_buffer_reserve(&w->piece, *bytes + 1));
    w->piece.data[0] = ' ';
    memcpy(w->piece.data + 1, *text, *bytes);
    w->piece.count = *bytes + 1;
    *text = w->piece.data;
    *bytes = w->piece.count;
    return HONE_OK;
}

/* Added tokens are gone from `text` by now; an empty stretch has no words. */
hone_status hone_split(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                       void *arg)
{
    if (bytes == 0) return HONE_OK;
    if (t->opts.kind == HONE_TOKENIZER_WORDPIECE)
        return split_bert(t->unicode, (const uint8_t *)text, (const uint8_t *)text + bytes, fn, arg);
    if (t->add_prefix_space && text[0] != ' ') HONE_TRY(with_prefix_space(w, &text, &bytes));
    if (!t->use_regex) return fn(arg, text, bytes);
    return split_byte_level(t->unicode, (const uint8_t *)text, (const uint8_t *)text + bytes, fn, arg);
}
