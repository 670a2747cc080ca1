/* vocab.h - tokens and their ids, both ways. Texts lie in one block; ids may have holes. */
#ifndef HONE_TEXT_VOCAB_H
#define HONE_TEXT_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_vocab {
    char *text; /* all tokens, one after the other                          */
    size_t text_bytes, text_capacity;
    size_t *at;       /* (capacity): start of each id's token; SIZE_MAX = no such id */
    uint32_t *length; /* (capacity): bytes of it                                */
    int32_t size, capacity;
    int32_t *slot; /* (mask + 1): ids by hash, open addressing, -1 = free  */
    uint32_t mask, used;
} hone_vocab;

/* Adds a token under an id. A token that is there already moves to the new id, as in a list that is read line by
 * line. Errors: MEMORY; DATA when another token has that id. */
hone_status hone_vocab_add(hone_vocab *v, const char *text, size_t bytes, int32_t id) HONE_MUST_USE;
int32_t hone_vocab_find(const hone_vocab *v, const char *text, size_t bytes); /* -1: not there */
/* NULL for an id without a token. Not NUL-terminated. */
const char *hone_vocab_text(const hone_vocab *v, int32_t id, size_t *bytes);
void hone_vocab_free(hone_vocab *v);

#endif
