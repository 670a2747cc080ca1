/* train.c - a tokenizer from texts: counted words become a vocabulary.
 *
 * Everything follows from the sorted list of words (count.h), so threads can't change the result. A trained BPE has
 * RoBERTa's special tokens and template, a trained WordPiece BERT's. */
#include <stdlib.h>
#include <string.h>

#include "text/merges.h"

/* Longer words teach nothing and cost much: BERT's limit, and one for lines without a space (base64). */
enum { PIECES_LONGEST = 100, BYTES_LONGEST = 512, ALPHABET_MAX = 1000 };

/* Under the next free id. */
static hone_status add_text(hone_vocab *v, const char *text, size_t bytes)
{
    return hone_vocab_add(v, text, bytes, v->size);
}

/* A special token takes the next id. */
static hone_status add_special(hone_tokenizer *t, const char *token)
{
    int32_t id = t->vocab.size;
    HONE_TRY(add_text(&t->vocab, token, strlen(token)));
    return hone_tokenizer_add(t, token, strlen(token), id, true, false);
}

/* --- bags and characters ------------------------------------------------------------------------------- */

/* The most frequent ones, down to min_count. */
static hone_status take_words(hone_tokenizer *t, const hone_word_list *l)
{
    const hone_tokenizer_opts *o = &t->opts;
    /* the list is sorted by count: the first word too rare ends it */
    int64_t limit = o->vocab_size > 0 ? o->vocab_size : HONE_VOCAB_MAX;
    for (int64_t k = 0; k < l->words && t->vocab.size < limit && l->word[k].count >= o->min_count; k++)
        HONE_TRY(add_text(&t->vocab, l->word[k].word, l->word[k].bytes));
    return HONE_OK;
}

/* Id 0 pads and id 1 is for whatever the texts did not have. */
static hone_status train_char(hone_tokenizer *t, const hone_word_list *l)
{
    HONE_TRY(add_text(&t->vocab, "[PAD]", 5));
    t->unknown = t->vocab.size;
    HONE_TRY(add_text(&t->vocab, "[UNK]", 5));
    return take_words(t, l);
}

/* --- merges -------------------------------------------------------------------------------------------- */

/* Room for all words and symbols; a word never has more symbols than bytes. */
static hone_status merges_room(hone_merges *m, const hone_word_list *l)
{
    size_t symbols = 1;
    for (int64_t k = 0; k < l->words; k++) symbols += l->word[k].bytes;
    m->symbol = malloc(symbols * sizeof *m->symbol);
    m->word = malloc(((size_t)l->words + 1) * sizeof *m->word);
    return m->symbol && m->word ? HONE_OK
                                : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for the words of the texts");
}

/* Not the vocabulary, which belongs to the tokenizer. */
static void merges_free(hone_merges *m)
{
    free(m->symbol);
    free(m->word);
    free(m->pair);
    free(m->id);
}

/* The bytes of each word as symbols. */
static void byte_symbols(const hone_tokenizer *t, hone_merges *m, const hone_word_list *l)
{
    for (int64_t k = 0; k < l->words; k++) {
        const hone_word_count *w = &l->word[k];
        if (w->bytes > BYTES_LONGEST) continue; /* encoding takes such words, learning does not */
        m->word[m->words++] = (struct hone_merges_word){m->symbols, (int32_t)w->bytes, w->count};
        for (uint32_t b = 0; b < w->bytes; b++) m->symbol[m->symbols++] = t->byte_id[(uint8_t)w->word[b]];
    }
}

/* The 256 bytes in the order of the characters that stand for them. */
static hone_status byte_alphabet(hone_tokenizer *t)
{
    for (uint32_t code = 0; code < 0x200; code++)
        for (int b = 0; b < 256; b++) {
            char text[4];
            if (hone_bpe_byte_code((uint8_t)b) != code) continue;
            HONE_TRY(add_text(&t->vocab, text, (size_t)(hone_utf8_put(text, code) - text)));
        }
    return hone_bpe_prepare(t);
}

/* The alphabet is all bytes, seen or not: no text is ever unknown to it. */
static hone_status train_bpe(hone_tokenizer *t, const hone_word_list *l)
{
    static const char *const token[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
    hone_merges m = {.vocab = &t->vocab, .prefix = ""};
    for (size_t k = 0; k < sizeof token / sizeof *token; k++) HONE_TRY(add_special(t, token[k]));
    hone_tokenizer_bert_template(t, 0, 2, true);
    HONE_TRY(byte_alphabet(t));
    if (t->opts.vocab_size < t->vocab.size)
        return hone_fail(HONE_ERR_USAGE, "30000 is usual",
                         "vocab_size: %lld; byte-level BPE needs %d for bytes and "
                         "special tokens",
                         (long long)t->opts.vocab_size, t->vocab.size);
    hone_status status = merges_room(&m, l);
    if (status == HONE_OK) {
        byte_symbols(t, &m, l);
        status = hone_merges_learn(&m, t->opts.vocab_size, t->opts.min_count);
    }
    if (status == HONE_OK) status = hone_bpe_merges(t, m.merges);
    for (int32_t k = 0; status == HONE_OK && k < m.merges; k++) hone_bpe_merge_add(t, m.pair[k], k, m.id[k]);
    merges_free(&m);
    return status;
}

/* --- WordPiece ----------------------------------------------------------------------------------------- */

/* A character, how often it occurs, and its ids at the start of a word and inside. */
typedef struct letter {
    uint32_t code;
    int64_t count;
    int32_t first, inner;
} letter;

/* For choosing: the most frequent, equal ones by code point. */
static int letter_by_count(const void *a, const void *b)
{
    const letter *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->code < y->code ? -1 : x->code > y->code;
}

/* For searching, and for ids that do not depend on counts. */
static int letter_by_code(const void *a, const void *b)
{
    const letter *x = a, *y = b;
    return x->code < y->code ? -1 : x->code > y->code;
}

/* Counts of all characters, then the most frequent ones that are wanted, by code point. *letters gets their number. */
static hone_status alphabet(const hone_tokenizer *t, const hone_word_list *l, letter **out, int *letters)
{
    letter *all = calloc(0x110000, sizeof *all); /* 25 MiB for a moment, and no search a character */
    if (!all) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for an alphabet");
    for (int64_t k = 0; k < l->words; k++)
        for (const uint8_t *s = (const uint8_t *)l->word[k].word, *end = s + l->word[k].bytes; s < end;)
            all[hone_utf8_next(&s)].count += l->word[k].count;
    int n = 0;
    for (uint32_t c = 0; c < 0x110000; c++)
        if (all[c].count >= t->opts.min_count) all[n++] = (letter){c, all[c].count, -1, -1};
    qsort(all, (size_t)n, sizeof *all, letter_by_count);
    /* both forms of all letters take half of the vocabulary at most: the other half is for pieces */
    int64_t most = t->opts.vocab_size / 4 < ALPHABET_MAX ? t->opts.vocab_size / 4 : ALPHABET_MAX;
    *letters = n < most ? n : (int)most;
    qsort(all, (size_t)*letters, sizeof *all, letter_by_code);
    *out = all;
    return HONE_OK;
}

/* Both forms of each letter: all first ones, then all inner ones. */
static hone_status add_letters(hone_tokenizer *t, letter *a, int letters)
{
    for (int inner = 0; inner < 2; inner++)
        for (int k = 0; k < letters; k++) {
            char text[8] = "##";
            char *end = hone_utf8_put(text + 2, a[k].code);
            const char *start = inner ? text : text + 2;
            *(inner ? &a[k].inner : &a[k].first) = t->vocab.size;
            HONE_TRY(add_text(&t->vocab, start, (size_t)(end - start)));
        }
    return HONE_OK;
}

/* Words as letters; those the alphabet lacks are left out, as the `tokenizers` package does. */
static void letter_symbols(hone_merges *m, const hone_word_list *l, const letter *a, int letters)
{
    for (int64_t k = 0; k < l->words; k++) {
        const uint8_t *s = (const uint8_t *)l->word[k].word, *end = s + l->word[k].bytes;
        size_t at = m->symbols;
        bool first = true;
        if (l->word[k].bytes > 4 * PIECES_LONGEST) continue;
        for (; s < end; first = false) {
            letter wanted = {.code = hone_utf8_next(&s)};
            const letter *found = bsearch(&wanted, a, (size_t)letters, sizeof *a, letter_by_code);
            /* the first letter that stays may stand inside the word: then it has its inner form */
            if (found) m->symbol[m->symbols++] = first ? found->first : found->inner;
        }
        m->word[m->words++] = (struct hone_merges_word){at, (int32_t)(m->symbols - at), l->word[k].count};
    }
}

/* Special tokens have BERT's names at ids 0 to 4, where most tools expect at least [PAD]. */
static hone_status train_wordpiece(hone_tokenizer *t, const hone_word_list *l)
{
    static const char *const token[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    hone_merges m = {.vocab = &t->vocab, .prefix = "##"};
    letter *a = NULL;
    int letters = 0;
    t->prefix = calloc(3, 1);
    if (!t->prefix) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
    memcpy(t->prefix, "##", 2);
    for (size_t k = 0; k < sizeof token / sizeof *token; k++) HONE_TRY(add_special(t, token[k]));
    t->unknown = 1;
    hone_tokenizer_bert_template(t, 2, 3, false);
    if (t->opts.vocab_size < 32)
        return hone_fail(HONE_ERR_USAGE, "30000 is usual", "vocab_size: %lld is too small for WordPiece",
                         (long long)t->opts.vocab_size);
    hone_status status = alphabet(t, l, &a, &letters);
    if (status == HONE_OK) status = add_letters(t, a, letters);
    if (status == HONE_OK) status = merges_room(&m, l);
    if (status == HONE_OK) {
        letter_symbols(&m, l, a, letters);
        status = hone_merges_learn(&m, t->opts.vocab_size, t->opts.min_count);
    }
    free(a);
    merges_free(&m);
    return status;
}

/* --- all kinds ----------------------------------------------------------------------------------------- */

/* The words are counted; what becomes of them is the kind's business. */
static hone_status train_kind(hone_tokenizer *t, const hone_word_list *l)
{
    if (l->words == 0)
        return hone_fail(HONE_ERR_DATA, "give texts with at least one word", "the texts hold nothing to learn from");
    switch (t->opts.kind) {
    case HONE_TOKENIZER_NGRAM: return take_words(t, l);
    case HONE_TOKENIZER_CHAR: return train_char(t, l);
    case HONE_TOKENIZER_WORDPIECE: return train_wordpiece(t, l);
    case HONE_TOKENIZER_BPE: return train_bpe(t, l);
    }
    return HONE_OK;
}

/* What splitting needs before there is a vocabulary. */
static hone_status prepare_split(hone_tokenizer *t)
{
    if (t->opts.kind == HONE_TOKENIZER_NGRAM) return hone_ngram_prepare(t);
    if (t->opts.kind == HONE_TOKENIZER_BPE && t->opts.lowercase) t->norm[t->norm_count++].kind = HONE_NORM_LOWERCASE;
    if (t->opts.kind == HONE_TOKENIZER_WORDPIECE)
        t->norm[t->norm_count++] = (hone_norm){HONE_NORM_BERT, true, true, t->opts.lowercase, t->opts.lowercase};
    hone_normalize_prepare(t);
    return HONE_OK;
}

/* Bags whose words are all hashed learn nothing, so their texts are not even read. */
hone_status hone_tokenizer_train(const hone_tokenizer_opts *o, const hone_texts *texts, int threads,
                                 hone_tokenizer **out)
{
    hone_word_list l = {0};
    HONE_TRY(hone_tokenizer_new(o, out));
    hone_tokenizer *t = *out;
    bool needs_words = o->kind != HONE_TOKENIZER_NGRAM || (o->min_count > 0 && o->words[0] == 1);
    hone_status status = prepare_split(t);
    if (status == HONE_OK && needs_words) status = hone_word_list_count(t, texts, threads, &l);
    if (status == HONE_OK && needs_words) status = train_kind(t, &l);
    hone_word_list_free(&l);
    free(t->word); /* made again with the vocabulary */
    t->word = NULL;
    if (status == HONE_OK) status = hone_tokenizer_finish(t);
    if (status == HONE_OK) return HONE_OK;
    hone_tokenizer_free(t);
    *out = NULL;
    return status;
}
