/* tokenizer.h - from text to token ids: bags of n-grams, WordPiece, byte-level BPE, characters.
 *
 * A hone_tokenizer never changes after it was made, so any number of threads may encode with one, each into
 * its own hone_ids. Ids are int32, 0 .. vocab_size-1, and the same on every machine and for every number of
 * threads. WordPiece and BPE give the ids of the Hugging Face `tokenizers` package. Text is UTF-8; malformed
 * bytes are read as U+FFFD, one for each maximal subpart (Unicode, section 3.9), and a NUL is a character
 * like any other. Nothing here knows labels, data sets, or tensors. */
#ifndef HONE_TEXT_TOKENIZER_H
#define HONE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

typedef struct hone_tokenizer hone_tokenizer;

typedef enum hone_tokenizer_kind {
    HONE_TOKENIZER_NGRAM,     /* words of the vocabulary in front, hashed n-grams in `buckets` behind */
    HONE_TOKENIZER_WORDPIECE, /* BERT                                                                 */
    HONE_TOKENIZER_BPE,       /* byte-level: GPT-2, RoBERTa                                           */
    HONE_TOKENIZER_CHAR       /* one id a code point                                                  */
} hone_tokenizer_kind;

/* What punctuation (P* and ASCII symbols) does to the words of an n-gram tokenizer. */
typedef enum hone_punctuation {
    HONE_PUNCTUATION_KEEP,  /* words end at white space only, as in fastText */
    HONE_PUNCTUATION_SPLIT, /* each mark is a word of its own                */
    HONE_PUNCTUATION_DROP   /* marks end words and vanish                    */
} hone_punctuation;

/* What to make. Start from hone_tokenizer_defaults(kind) and change what differs. */
typedef struct hone_tokenizer_opts {
    hone_tokenizer_kind kind;
    bool lowercase;     /* by Unicode; WordPiece then also strips accents, as BERT does             */
    int64_t vocab_size; /* largest vocabulary: WordPiece, BPE, char; n-gram words (0 = no limit)    */
    int64_t min_count;  /* rarer words (pairs, characters) are left out. N-gram: 0 = no vocabulary, */
                        /* words are hashed like the rest                                           */
    /* n-gram only */
    int words[2];    /* [from, to] words in an n-gram; [1, 1]: words alone                       */
    int chars[2];    /* [from, to] code points of a subword of "<word>"; [0, 0]: none            */
    int64_t buckets; /* rows for hashed n-grams; ids vocabulary .. vocabulary + buckets - 1       */
    hone_punctuation punctuation;
} hone_tokenizer_opts;

/* Texts by number: random access, so that many threads can read them. `at` may be called from any thread and
 * gives bytes that stay valid until the source is closed; part 1 is the second text of a pair. */
typedef struct hone_texts {
    int64_t count;
    int parts; /* 1, or 2 for pairs */
    void *arg;
    void (*at)(void *arg, int64_t i, int part, const char **text, size_t *bytes);
} hone_texts;

hone_tokenizer_opts hone_tokenizer_defaults(hone_tokenizer_kind kind);
const char *hone_tokenizer_kind_name(hone_tokenizer_kind kind); /* "ngram", "wordpiece", "bpe", "char" */
/* False for a name that is none of the four (then it may be a path). */
bool hone_tokenizer_kind_parse(const char *name, hone_tokenizer_kind *kind);

/* Learns a vocabulary from all parts of all texts with `threads` threads; the result doesn't depend on them.
 * Order: special tokens, then by count (merges: by rank), equal ones by bytes. Errors: USAGE for options out of
 * range, DATA when the texts hold no token, MEMORY. */
hone_status hone_tokenizer_train(const hone_tokenizer_opts *o, const hone_texts *texts, int threads,
                                 hone_tokenizer **out) HONE_MUST_USE;

/* Reads `vocab.txt` (WordPiece), `tokenizer.json`, or a folder that holds one of them. For vocab.txt a
 * `tokenizer_config.json` beside it says whether to lower-case; without one, `lowercase` does. Errors: DATA names
 * the file, and what of it is unknown (another model, normalizer, pre-tokenizer), with the fix. */
hone_status hone_tokenizer_open(const char *path, bool lowercase, hone_tokenizer **out) HONE_MUST_USE;
/* The same from memory; `name` is for messages. JSON only. */
hone_status hone_tokenizer_parse(const char *name, const char *json, size_t bytes, hone_tokenizer **out) HONE_MUST_USE;
/* An n-gram tokenizer of fewer rows: `keep` (vocab_size of `t`) says which stay. Their ids follow each other in the
 * order they had; n-grams without a row are left out of a text. USAGE where `t` is no bag, or pruned already. */
hone_status hone_tokenizer_keep(const hone_tokenizer *t, const uint8_t *keep, hone_tokenizer **out) HONE_MUST_USE;
/* Writes a tokenizer.json that hone_tokenizer_open reads back to the same ids; atomic. WordPiece and BPE: the
 * `tokenizers` package reads it, too. */
hone_status hone_tokenizer_save(const hone_tokenizer *t, const char *path) HONE_MUST_USE;
/* The text of that file; free(). NULL: memory. */
char *hone_tokenizer_json(const hone_tokenizer *t);
void hone_tokenizer_free(hone_tokenizer *t);

hone_tokenizer_kind hone_tokenizer_kind_of(const hone_tokenizer *t);
/* Rows an embedding needs: all ids are below. N-gram: words + buckets. */
int64_t hone_tokenizer_vocab_size(const hone_tokenizer *t);
/* xxh3 of all that decides ids: equal fingerprints, equal ids. For caches and resume. */
uint64_t hone_tokenizer_fingerprint(const hone_tokenizer *t);

/* -1 where the vocabulary has no such token. */
typedef struct hone_special_ids {
    int32_t cls, sep, pad, unk, mask;
} hone_special_ids;
hone_special_ids hone_tokenizer_special(const hone_tokenizer *t);
/* Id of a token as the vocabulary writes it ("##ing", "Ġthe"); -1 if it is not there. */
int32_t hone_tokenizer_find(const hone_tokenizer *t, const char *token, size_t bytes);
/* The token as the vocabulary writes it, copied to `text` with a NUL and cut to fit; hashed rows are "#12".
 * Returns `text`; "" for an id that is out of range or unused. */
const char *hone_tokenizer_token(const hone_tokenizer *t, int32_t id, char *text, size_t text_bytes);

/* The caller's buffer: ids of many texts, one after the other. Zero it before the first use; `work` is the
 * encoder's own memory (caches), so keep one buffer per thread and tokenizer. Freed by hone_ids_free. */
typedef struct hone_ids {
    int32_t *id; /* (count) */
    int64_t count, capacity;
    void *work;
} hone_ids;
void hone_ids_free(hone_ids *ids);

/* What one call of hone_tokenizer_encode added. */
typedef struct hone_encoded {
    int64_t count;  /* ids appended                                                                   */
    int64_t second; /* ids of them before the second segment (BERT's token type 1); = count if none  */
    int64_t cut;    /* tokens (n-gram: words) left out because of max_length                          */
} hone_encoded;

/* Appends the ids of a text, special tokens included ([CLS] .. [SEP] where the tokenizer has them). `pair` may be
 * NULL; n-gram and char tokenizers put its ids behind the first's. max_length 0 = no limit; it counts tokens with
 * the special ones (a pair loses from its longer part, end first), or words for n-grams. A text without tokens
 * appends nothing. `what` may be NULL. Errors: MEMORY. */
hone_status hone_tokenizer_encode(const hone_tokenizer *t, const char *text, size_t bytes, const char *pair,
                                  size_t pair_bytes, int64_t max_length, hone_ids *ids,
                                  hone_encoded *what) HONE_MUST_USE;

/* Token ids of many texts, flat. Memory is malloc'ed, or the map of a cache file (token_cache.h). */
typedef struct hone_token_set {
    int64_t count, tokens;
    const int32_t *id;     /* (tokens)                                                              */
    const int64_t *offset; /* (count + 1): ids of text i are id[offset[i]] .. id[offset[i + 1] - 1] */
    const int32_t *second; /* (count) as in hone_encoded; NULL where texts have one part            */
    int64_t cut_texts, cut_tokens;
    void *map; /* owner of the memory; NULL: the arrays are malloc'ed */
    size_t map_bytes;
} hone_token_set;

/* Encodes all texts with `threads` threads; the same bytes for any number of them. */
hone_status hone_tokenizer_encode_all(const hone_tokenizer *t, const hone_texts *texts, int64_t max_length, int threads,
                                      hone_token_set *out) HONE_MUST_USE;
void hone_token_set_free(hone_token_set *s);

#endif
