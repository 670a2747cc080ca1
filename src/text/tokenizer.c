/* tokenizer.c - making and freeing a tokenizer, and what can be asked of one. Encoding is in encode.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "text/tokenizer_private.h"

/* Goes into fingerprints; raise it when the ids of an unchanged file change. */
static const char ids_version[] = "hone ids 1";

/* 100 characters is BERT's longest word. */
hone_status hone_tokenizer_new(const hone_tokenizer_opts *o, hone_tokenizer **out)
{
    *out = NULL;
    HONE_TRY(hone_tokenizer_check(o));
    hone_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
    t->opts = *o;
    t->unknown = -1;
    t->max_word_chars = 100;
    t->use_regex = true; /* GPT-2's pattern, unless a file says otherwise */
    t->unicode = hone_unicode_new();
    if (!t->unicode) {
        hone_tokenizer_free(t);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for Unicode tables");
    }
    *out = t;
    return HONE_OK;
}

/* NULL and half-made ones are fine: constructors unwind through it. */
void hone_tokenizer_free(hone_tokenizer *t)
{
    if (!t) return;
    for (int k = 0; k < t->added_count; k++) {
        free(t->added[k].text);
        free(t->added[k].content);
    }
    free(t->added);
    free((void *)(uintptr_t)t->raw_added.token);
    free((void *)(uintptr_t)t->normal_added.token);
    hone_vocab_free(&t->vocab);
    free(t->unicode);
    free(t->trie.slot);
    free(t->trie.id);
    free(t->prefix);
    free(t->merge);
    free(t->merge_pair);
    free(t->char_page);
    free(t->word);
    hone_kept_free(&t->kept);
    free(t);
}

/* `text` is what is looked for, `content` what is shown and written; they differ once it is normalized. */
hone_status hone_tokenizer_add(hone_tokenizer *t, const char *content, size_t bytes, int32_t id, bool special,
                               bool normalized)
{
    hone_added *grown = realloc(t->added, ((size_t)t->added_count + 1) * sizeof *grown);
    if (grown) t->added = grown;
    char *text = malloc(bytes + 1), *copy = malloc(bytes + 1);
    if (!grown || !text || !copy) {
        free(text);
        free(copy);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for an added token");
    }
    memcpy(text, content, bytes);
    memcpy(copy, content, bytes);
    text[bytes] = copy[bytes] = '\0';
    t->added[t->added_count++] = (hone_added){
        .text = text, .bytes = bytes, .content = copy, .id = id, .normalized = normalized, .special = special};
    return HONE_OK;
}

/* RoBERTa's second text has token type 0 like the first, and two separators before it. */
void hone_tokenizer_bert_template(hone_tokenizer *t, int32_t cls, int32_t sep, bool twice)
{
    hone_template_piece start = {cls, 0, 0}, first = {-1, 0, 0}, end = {sep, 0, 0};
    /* id -1: the text itself */
    hone_template_piece second = {-1, 1, !twice}, last = {sep, 0, !twice};
    t->template[0] = (hone_template){{start, first, end}, 3};
    t->template[1] = twice ? (hone_template){{start, first, end, end, second, last}, 6}
                           : (hone_template){{start, first, end, second, last}, 5};
}

/* The first of two spellings that is a token. */
static int32_t find_either(const hone_tokenizer *t, const char *bert, const char *roberta)
{
    int32_t id = hone_tokenizer_find(t, bert, strlen(bert));
    return id >= 0 ? id : hone_tokenizer_find(t, roberta, strlen(roberta));
}

/* Words that are hashed need rows for that. */
static bool uses_buckets(const hone_tokenizer_opts *o)
{
    return o->words[1] > 1 || o->chars[1] > 0 || o->min_count == 0;
}

/* By what the whole file says: two tokenizers of one fingerprint give the same ids. */
static hone_status take_fingerprint(hone_tokenizer *t)
{
    char *json = hone_tokenizer_json(t);
    if (!json) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
    t->fingerprint = XXH3_64bits_withSeed(json, strlen(json), XXH3_64bits(ids_version, sizeof ids_version));
    free(json);
    return HONE_OK;
}

/* What a model looks up, from its vocabulary. */
static hone_status prepare_model(hone_tokenizer *t)
{
    switch (t->opts.kind) {
    case HONE_TOKENIZER_NGRAM: return hone_ngram_prepare(t);
    case HONE_TOKENIZER_CHAR: return hone_char_prepare(t);
    case HONE_TOKENIZER_WORDPIECE: return hone_wordpiece_prepare(t);
    case HONE_TOKENIZER_BPE: return hone_bpe_prepare(t);
    }
    return HONE_OK;
}

/* In this order: added tokens are normalized, so the normalizers come first; the fingerprint is of all. */
hone_status hone_tokenizer_finish(hone_tokenizer *t)
{
    t->size = t->vocab.size;
    for (int k = 0; k < t->added_count; k++)
        if (t->added[k].id >= t->size) t->size = (int64_t)t->added[k].id + 1;
    if (t->opts.kind == HONE_TOKENIZER_NGRAM && uses_buckets(&t->opts))
        t->size += t->kept.bits ? t->kept.count : t->opts.buckets;
    t->special = (hone_special_ids){-1, -1, -1, -1, -1};
    if (t->opts.kind != HONE_TOKENIZER_NGRAM)
        t->special = (hone_special_ids){find_either(t, "[CLS]", "<s>"), find_either(t, "[SEP]", "</s>"),
                                        find_either(t, "[PAD]", "<pad>"), find_either(t, "[UNK]", "<unk>"),
                                        find_either(t, "[MASK]", "<mask>")};
    if (t->unknown >= 0) t->special.unk = t->unknown; /* the model knows its own, whatever its name */
    hone_normalize_prepare(t);
    HONE_TRY(prepare_model(t));
    HONE_TRY(hone_added_prepare(t));
    return take_fingerprint(t);
}

/* Plain reads of what was decided when it was made. */
hone_tokenizer_kind hone_tokenizer_kind_of(const hone_tokenizer *t) { return t->opts.kind; }
int64_t hone_tokenizer_vocab_size(const hone_tokenizer *t) { return t->size; }
uint64_t hone_tokenizer_fingerprint(const hone_tokenizer *t) { return t->fingerprint; }
hone_special_ids hone_tokenizer_special(const hone_tokenizer *t) { return t->special; }

/* Added tokens come first: a file may give one that the model's vocabulary also has. */
int32_t hone_tokenizer_find(const hone_tokenizer *t, const char *token, size_t bytes)
{
    for (int k = 0; k < t->added_count; k++)
        if (strlen(t->added[k].content) == bytes && memcmp(t->added[k].content, token, bytes) == 0)
            return t->added[k].id;
    return hone_vocab_find(&t->vocab, token, bytes);
}

/* Up to text_bytes - 1 bytes, never half a character. */
static const char *copy_cut(const char *from, size_t bytes, char *text, size_t text_bytes)
{
    if (text_bytes == 0) return text;
    if (bytes > text_bytes - 1) {
        bytes = text_bytes - 1;
        /* back to the start of the character that does not fit */
        while (bytes && ((uint8_t)from[bytes] & 0xC0) == 0x80) bytes--;
    }
    memcpy(text, from, bytes);
    text[bytes] = '\0';
    return text;
}

/* For people to read; two rows of buckets differ by their number alone. */
const char *hone_tokenizer_token(const hone_tokenizer *t, int32_t id, char *text, size_t text_bytes)
{
    size_t bytes = 0;
    const char *token = hone_vocab_text(&t->vocab, id, &bytes);
    for (int k = 0; k < t->added_count; k++)
        if (t->added[k].id == id) return copy_cut(t->added[k].content, strlen(t->added[k].content), text, text_bytes);
    if (token) return copy_cut(token, bytes, text, text_bytes);
    bool hashed = t->opts.kind == HONE_TOKENIZER_NGRAM && id >= t->vocab.size && id < t->size;
    char number[24] = "";
    if (hashed) snprintf(number, sizeof number, "#%d", id - t->vocab.size);
    return copy_cut(number, strlen(number), text, text_bytes);
}
