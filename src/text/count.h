/* count.h - how often each word of many texts occurs: the first step of every training. */
#ifndef HONE_TEXT_COUNT_H
#define HONE_TEXT_COUNT_H

#include "text/tokenizer_private.h"

typedef struct hone_word_count {
    const char *word; /* in the text of the list; not NUL-terminated */
    uint32_t bytes;
    int64_t count;
} hone_word_count;

typedef struct hone_word_list {
    hone_word_count *word; /* (words): by count, largest first, equal ones by bytes */
    int64_t words;
    int64_t total; /* occurrences of all words */
    char *text;
} hone_word_list;

/* Counts the words of all parts of all texts as `t` splits them. The same list for any number of threads. */
hone_status hone_word_list_count(const hone_tokenizer *t, const hone_texts *texts, int threads,
                                 hone_word_list *out) HONE_MUST_USE;
void hone_word_list_free(hone_word_list *l);

#endif
