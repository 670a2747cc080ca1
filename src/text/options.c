/* options.c - what a tokenizer is made from: names, defaults, and which values make sense together. */
#include <string.h>

#include "text/options.h"

const char *const hone_punctuation_name[3] = {"keep", "split", "drop"};
/* By hone_tokenizer_kind. */
static const char *const kind_name[] = {"ngram", "wordpiece", "bpe", "char"};

/* As in `text.tokenizer` of a page. */
const char *hone_tokenizer_kind_name(hone_tokenizer_kind kind) { return kind_name[kind]; }

/* Exact names only: anything else may be the path of a file. */
bool hone_tokenizer_kind_parse(const char *name, hone_tokenizer_kind *kind)
{
    for (int k = 0; k < 4; k++)
        if (strcmp(name, kind_name[k]) == 0) {
            *kind = (hone_tokenizer_kind)k;
            return true;
        }
    return false;
}

/* The defaults of the configuration's `text:` keys. */
hone_tokenizer_opts hone_tokenizer_defaults(hone_tokenizer_kind kind)
{
    /* a merge or a piece that was seen once is noise; a word of a bag costs a row and no more */
    bool trained = kind == HONE_TOKENIZER_WORDPIECE || kind == HONE_TOKENIZER_BPE;
    return (hone_tokenizer_opts){.kind = kind,
                                 /* byte-level BPE keeps capitals, as GPT-2 and RoBERTa do */
                                 .lowercase = kind != HONE_TOKENIZER_BPE,
                                 .vocab_size = kind == HONE_TOKENIZER_NGRAM ? 0 : 30000,
                                 .min_count = trained ? 2 : 1,
                                 .words = {1, 2},
                                 .buckets = 2000000,
                                 .punctuation = HONE_PUNCTUATION_KEEP};
}

/* Words and subwords: a range from 1, or [0, 0] for no subwords. */
static hone_status check_ngram(const hone_tokenizer_opts *o)
{
    if (o->words[0] < 1 || o->words[1] < o->words[0] || o->words[1] > HONE_NGRAM_MAX)
        return hone_fail(HONE_ERR_USAGE, "give [from, to] with 1 <= from <= to <= 16, for example [1, 2]",
                         "text.ngram.words: [%d, %d] is no range of word counts", o->words[0], o->words[1]);
    bool none = o->chars[0] == 0 && o->chars[1] == 0;
    if (!none && (o->chars[0] < 1 || o->chars[1] < o->chars[0] || o->chars[1] > HONE_NGRAM_MAX))
        return hone_fail(HONE_ERR_USAGE, "give [from, to] with 1 <= from <= to <= 16, or none",
                         "text.ngram.chars: [%d, %d] is no range of lengths", o->chars[0], o->chars[1]);
    if (o->buckets < 0 || o->buckets > HONE_VOCAB_MAX)
        return hone_fail(HONE_ERR_USAGE, "2000000 is usual", "text.ngram.buckets: %lld is outside 0 .. %lld",
                         (long long)o->buckets, (long long)HONE_VOCAB_MAX);
    /* n-grams, subwords, and words where there is no vocabulary */
    bool hashed = o->words[1] > 1 || !none || o->min_count == 0;
    if (hashed && o->buckets == 0)
        return hone_fail(HONE_ERR_USAGE, "give text.ngram.buckets: 2000000, or only words with words: [1, 1]",
                         "text.ngram: n-grams are hashed into buckets, and there are none");
    return HONE_OK;
}

/* Named by the page's keys, because that is where most of these numbers come from. */
hone_status hone_tokenizer_check(const hone_tokenizer_opts *o)
{
    if (o->min_count < 0 || (o->min_count == 0 && o->kind != HONE_TOKENIZER_NGRAM))
        return hone_fail(HONE_ERR_USAGE, "1 keeps everything that occurs", "min_count: %lld is too small",
                         (long long)o->min_count);
    if (o->vocab_size < 0 || o->vocab_size > HONE_VOCAB_MAX)
        return hone_fail(HONE_ERR_USAGE, "30000 is usual", "vocab_size: %lld is outside 0 .. %lld",
                         (long long)o->vocab_size, (long long)HONE_VOCAB_MAX);
    return o->kind == HONE_TOKENIZER_NGRAM ? check_ngram(o) : HONE_OK;
}
