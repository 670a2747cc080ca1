/* added.c - added tokens ([MASK], <s>, a user's own): found in the text before anything splits it, the leftmost first
 * and of those the longest, as in the `tokenizers` package.
 *
 * Two rounds: tokens that are not normalized are looked for in the raw text, the others in normalized text. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

/* By first byte, longest first, so that the first match is the one. Among equal texts the earlier one. */
static int by_byte(const void *a, const void *b)
{
    const hone_added *x = *(const hone_added *const *)a, *y = *(const hone_added *const *)b;
    int first = (uint8_t)x->text[0] - (uint8_t)y->text[0];
    if (first) return first;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* One of the two rounds. Tokens are sorted once, so that a search looks at those of one first byte only. */
static hone_status prepare_one(hone_tokenizer *t, hone_added_index *a, bool normalized)
{
    a->only = -1; /* until all tokens are seen to begin alike */
    memset(a->first, 0xFF, sizeof a->first);
    a->token = malloc(((size_t)t->added_count + 1) * sizeof *a->token);
    if (!a->token) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %d added tokens", t->added_count);
    for (int k = 0; k < t->added_count; k++)
        if (t->added[k].normalized == normalized && t->added[k].bytes) a->token[a->count++] = &t->added[k];
    qsort((void *)(uintptr_t)a->token, (size_t)a->count, sizeof *a->token, by_byte);
    /* backwards, so that the first token of each byte is what stays */
    for (int k = a->count - 1; k >= 0; k--) a->first[(uint8_t)a->token[k]->text[0]] = k;
    if (a->count && a->token[0]->text[0] == a->token[a->count - 1]->text[0]) a->only = (uint8_t)a->token[0]->text[0];
    return HONE_OK;
}

/* A normalized token is looked for in normalized text, so it goes the same way first. */
static hone_status normalize_token(hone_tokenizer *t, hone_work *w, hone_added *a)
{
    const char *text = a->content;
    size_t bytes = a->bytes;
    HONE_TRY(hone_normalize(t, w, &text, &bytes));
    char *copy = malloc(bytes + 1);
    if (!copy) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for an added token");
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    free(a->text);
    a->text = copy;
    a->bytes = bytes;
    return HONE_OK;
}

/* A buffer of its own for normalizing: the tokenizer is not finished yet, but its normalizers are. */
hone_status hone_added_prepare(hone_tokenizer *t)
{
    hone_ids ids = {0};
    hone_work *w = NULL;
    hone_status status = hone_work_get(t, &ids, &w);
    for (int k = 0; k < t->added_count && status == HONE_OK; k++)
        if (t->added[k].normalized) status = normalize_token(t, w, &t->added[k]);
    hone_ids_free(&ids);
    if (status == HONE_OK) status = prepare_one(t, &t->raw_added, false);
    if (status == HONE_OK) status = prepare_one(t, &t->normal_added, true);
    return status;
}

/* The token that begins at s, NULL if none does. */
static const hone_added *match(const hone_added_index *a, const char *s, const char *end)
{
    int k = a->first[(uint8_t)*s];
    if (k < 0) return NULL;
    /* longest first: the first that fits is the one */
    for (; k < a->count && a->token[k]->text[0] == *s; k++)
        if ((size_t)(end - s) >= a->token[k]->bytes && memcmp(s, a->token[k]->text, a->token[k]->bytes) == 0)
            return a->token[k];
    return NULL;
}

/* Start of the white space that ends at s. */
static const char *space_before(const hone_unicode *u, const char *from, const char *s)
{
    while (s > from) {
        const char *at = s;
        do at--;
        while (at > from && (*at & 0xC0) == 0x80);
        const uint8_t *c = (const uint8_t *)at;
        if (!(hone_unicode_class(u, hone_utf8_next(&c)) & HONE_UNICODE_SPACE)) break;
        s = at;
    }
    return s;
}

/* End of the white space that begins at s. */
static const char *space_after(const hone_unicode *u, const char *s, const char *end)
{
    while (s < end) {
        const uint8_t *c = (const uint8_t *)s;
        if (!(hone_unicode_class(u, hone_utf8_next(&c)) & HONE_UNICODE_SPACE)) break;
        s = (const char *)c;
    }
    return s;
}

/* Most texts hold no token at all: with one first byte in question, memchr passes over them at memory speed. */
hone_status hone_added_split(const hone_added_index *a, const hone_unicode *u, const char *text, size_t bytes,
                             hone_word_fn fn, void *arg)
{
    const char *end = text + bytes, *rest = text; /* rest: what is not handed out yet begins there */
    for (const char *s = text; s < end && a->count;) {
        if (a->only >= 0 && (s = memchr(s, a->only, (size_t)(end - s))) == NULL) break;
        const hone_added *token = match(a, s, end);
        if (!token) {
            s++;
            continue;
        }
        const char *start = token->left_strip ? space_before(u, rest, s) : s, *stop = s + token->bytes;
        s = stop;
        if (token->right_strip) stop = space_after(u, stop, end);
        /* what stands before the token is text of its own, split as if the rest did not exist */
        if (start > rest) HONE_TRY(fn(arg, rest, (size_t)(start - rest)));
        HONE_TRY(fn(arg, NULL, (size_t)token->id));
        rest = stop;
        if (s < rest) s = rest;
    }
    return end > rest ? fn(arg, rest, (size_t)(end - rest)) : HONE_OK;
}
