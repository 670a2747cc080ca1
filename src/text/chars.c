/* chars.c - one id a code point, lower-cased or not; unknown ones share an id. Malformed bytes are U+FFFD. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

/* Pages of 256 code points that hold a known one; page 0 of the table is "all unknown". */
hone_status hone_char_prepare(hone_tokenizer *t)
{
    int pages = 1;
    size_t bytes;
    bool used[0x1100] = {false};
    for (int round = 0; round < 2; round++) { /* which pages there are, then what is in them */
        for (int32_t id = 0; id < t->vocab.size; id++) {
            const uint8_t *s = (const uint8_t *)hone_vocab_text(&t->vocab, id, &bytes);
            if (!s || bytes == 0 || (size_t)hone_utf8_length(*s) != bytes) continue; /* [PAD], [UNK] */
            uint32_t c = hone_utf8_next(&s);
            if (round == 1) t->char_page[(size_t)t->char_index[c >> 8] * 256 + (c & 255)] = id;
            else if (!used[c >> 8]) {
                used[c >> 8] = true;
                t->char_index[c >> 8] = (uint16_t)pages++;
            }
        }
        if (round == 1) break;
        t->char_page = malloc((size_t)pages * 256 * sizeof *t->char_page);
        if (!t->char_page) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %d characters", t->vocab.size);
        for (int k = 0; k < pages * 256; k++) t->char_page[k] = t->unknown;
    }
    return HONE_OK;
}

/* The character at *s (malformed: U+FFFD) in lower case, into out; steps over it. Returns how many code points. */
static inline int next_lower(const hone_tokenizer *t, const uint8_t **s, const uint8_t *end, uint32_t out[2])
{
    if (**s < 0x80) { /* most text */
        uint8_t c = *(*s)++;
        out[0] = t->opts.lowercase && c >= 'A' && c <= 'Z' ? c + 32u : c;
        return 1;
    }
    int n = hone_utf8_whole(*s, (size_t)(end - *s));
    if (n < 0) {
        *s -= n;
        out[0] = 0xFFFD;
        return 1;
    }
    out[0] = hone_utf8_next(s);
    return t->opts.lowercase ? hone_unicode_lower(out[0], out) : 1;
}

/* One malformed byte or one character gives at most two ids (U+0130 in lower case), so room is made once. */
hone_status hone_char_encode(const hone_tokenizer *t, const char *text, size_t bytes, hone_ids *ids)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + bytes;
    HONE_TRY(hone_ids_reserve(ids, 2 * bytes));
    int32_t *out = ids->id + ids->count;
    while (s < end) {
        uint32_t c[2];
        int n = next_lower(t, &s, end, c);
        for (int k = 0; k < n; k++) {
            int32_t id = t->char_page[(size_t)t->char_index[c[k] >> 8] * 256 + (c[k] & 255)];
            if (id >= 0) *out++ = id; /* without [UNK], unknown characters vanish */
        }
    }
    ids->count = out - ids->id;
    return HONE_OK;
}

/* For counting: characters are the words of this tokenizer. */
hone_status hone_char_words(const hone_tokenizer *t, const char *text, size_t bytes, hone_word_fn fn, void *arg)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + bytes;
    while (s < end) {
        uint32_t c[2];
        int n = next_lower(t, &s, end, c);
        for (int k = 0; k < n; k++) {
            char one[4];
            HONE_TRY(fn(arg, one, (size_t)(hone_utf8_put(one, c[k]) - one)));
        }
    }
    return HONE_OK;
}
