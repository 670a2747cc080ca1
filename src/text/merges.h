/* merges.h - learning merges from counted words (Sennrich et al. 2016): the core of training BPE and WordPiece. */
#ifndef HONE_TEXT_MERGES_H
#define HONE_TEXT_MERGES_H

#include "text/count.h"

/* Words as symbols, and the tokens these are. The caller fills in vocab, symbols and words; learning adds tokens. */
typedef struct hone_merges {
    hone_vocab *vocab;
    const char *prefix; /* of tokens inside a word: left out where two are joined ("" or "##") */
    int32_t *symbol;    /* words, one after the other                                          */
    size_t symbols;
    struct hone_merges_word {
        size_t at; /* of its first symbol */
        int32_t length;
        int64_t count;
    } * word; /* (words) */
    int64_t words;
    uint64_t *pair; /* (merges): learned, by rank; left id << 32 | right id. Owned: free() */
    int32_t *id;    /* (merges): what each makes. Owned                                     */
    int32_t merges;
} hone_merges;

/* Merges the most frequent pair (of equal ones the one with the smaller ids) until the vocabulary has `vocab_size`
 * tokens or no pair occurs min_count times. */
hone_status hone_merges_learn(hone_merges *m, int64_t vocab_size, int64_t min_count) HONE_MUST_USE;

#endif
