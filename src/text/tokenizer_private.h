/* tokenizer_private.h - what the files of this room share: the tokenizer's parts and the encoder's working memory.
 *
 * The path of a text: repair (UTF-8) -> added tokens of the raw text -> normalize -> added tokens of the normalized
 * text -> words -> model (ids, through a cache of words) -> cut -> template (special tokens). N-grams and characters
 * go from words or code points to ids directly. */
#ifndef HONE_TEXT_TOKENIZER_PRIVATE_H
#define HONE_TEXT_TOKENIZER_PRIVATE_H

#include "text/options.h"
#include "text/unicode.h"
#include "text/vocab.h"

/* Growing bytes. */
typedef struct hone_buffer {
    char *data;
    size_t count, capacity;
} hone_buffer;
/* Room for `more` bytes behind `count`. */
hone_status hone_buffer_reserve(hone_buffer *b, size_t more) HONE_MUST_USE;
/* Room for `more` ids behind `count`. */
hone_status hone_ids_reserve(hone_ids *ids, size_t more) HONE_MUST_USE;

/* --- normalizers ------------------------------------------------------------------------------------------- */
typedef enum hone_norm_kind {
    HONE_NORM_BERT,
    HONE_NORM_LOWERCASE,
    HONE_NORM_STRIP_ACCENTS,
    HONE_NORM_NFD,
    HONE_NORM_NFC,
    HONE_NORM_NFKD,
    HONE_NORM_NFKC
} hone_norm_kind;

typedef struct hone_norm {
    hone_norm_kind kind;
    /* BERT only */
    bool clean_text, chinese_chars, strip_accents, lowercase;
} hone_norm;
enum { HONE_NORM_MAX = 8 };

/* --- added tokens, template -------------------------------------------------------------------------------- */
typedef struct hone_added {
    char *text; /* owned; normalized already where `normalized` */
    size_t bytes;
    char *content; /* owned: as the file writes it */
    int32_t id;
    /* looked for in which round; takes the white space before, behind it; is no text of a user */
    bool normalized, left_strip, right_strip, special;
} hone_added;

/* Added tokens of one of the two rounds, by their first byte: ascending by it, longest first within one. */
typedef struct hone_added_index {
    const hone_added **token; /* (count) */
    int count;
    int32_t first[256]; /* where the tokens of a byte begin in `token`; -1: none */
    int only;           /* the one first byte all of them have; -1 otherwise     */
} hone_added_index;

/* A piece of what is put around texts: text 0 or 1 (id -1), or a special id; `type` is BERT's token type. */
typedef struct hone_template_piece {
    int32_t id;
    uint8_t text, type;
} hone_template_piece;
enum { HONE_TEMPLATE_MAX = 16 };
typedef struct hone_template {
    hone_template_piece piece[HONE_TEMPLATE_MAX];
    int count;
} hone_template;

/* --- models ------------------------------------------------------------------------------------------------ */
/* (node, byte) -> node of the trie of pieces; open addressing, 0 = free. */
typedef struct hone_trie {
    uint64_t *slot; /* (mask + 1): key + 1 in the high 40 bits, child in the low 24 */
    uint64_t mask;  /* slots are a power of two */
    int32_t *id;    /* (nodes): the piece that ends here, or -1 */
    uint32_t nodes;
    uint32_t root, inner; /* of pieces that begin a word, and of those behind "##" */
} hone_trie;

typedef struct hone_merge {
    uint64_t pair;    /* left id << 32 | right id */
    int32_t rank, id; /* its place in the list, and the token it makes */
} hone_merge;

/* A word of an n-gram vocabulary: known by its 64-bit hash. */
typedef struct hone_word_slot {
    uint64_t hash;
    int32_t id;
} hone_word_slot;

/* Which buckets of a pruned bag have a row. */
typedef struct hone_kept {
    uint64_t *bits; /* (groups): a bit a bucket; NULL: all have one */
    int32_t *rank;  /* (groups): bits set before the group          */
    int64_t groups, count;
} hone_kept;

struct hone_tokenizer {
    hone_tokenizer_opts opts;
    hone_unicode *unicode;    /* own copy of the classes, spread out for look-up */
    hone_vocab vocab;         /* of the model, without added tokens */
    int64_t size;             /* ids are below                      */
    uint64_t fingerprint;     /* xxh3 of the file it would write */
    hone_special_ids special; /* found by name when it is finished */
    int32_t unknown;          /* the model's unk token, -1: none    */
    /* WordPiece and BPE */
    hone_norm norm[HONE_NORM_MAX]; /* (norm_count), in the order they run */
    int norm_count;
    hone_added *added; /* (added_count) */
    int added_count;
    hone_added_index raw_added, normal_added; /* the two rounds of looking for them */
    hone_template template[2];                /* of one text, of a pair */
    uint8_t ascii_bert[HONE_NORM_MAX][128];   /* BERT's rules on ASCII */
    /* WordPiece */
    hone_trie trie;         /* the vocabulary again, by bytes */
    int32_t max_word_chars; /* a longer word is unknown as a whole */
    char *prefix;           /* "##" */
    /* BPE */
    bool add_prefix_space, use_regex, ignore_merges, fuse_unknown; /* as tokenizer.json names them */
    hone_merge *merge; /* (merge_mask + 1), open addressing by pair; rank -1 = free */
    uint64_t merge_mask;
    int32_t merge_count;
    uint64_t *merge_pair; /* (merge_count) by rank: for writing the file */
    int32_t byte_id[256]; /* id of a single byte, -1: none               */
    /* characters */
    int32_t *char_page;          /* (pages, 256) ids, -1: unknown */
    uint16_t char_index[0x1100]; /* page of each 256 code points; 0: all unknown */
    /* n-grams */
    hone_word_slot *word; /* (word_mask + 1), open addressing, hash 0 = free */
    uint64_t word_mask;
    hone_kept kept;
    uint8_t byte_kind[256], byte_lower[256]; /* what a byte does to a word, and what it becomes in it */
};

/* A word that was encoded before. One cache line; words or results that do not fit are not kept. */
enum { HONE_CACHE_BYTES = 22, HONE_CACHE_IDS = 8 };
typedef struct hone_cached_word {
    uint64_t hash; /* 0 = free */
    uint8_t bytes, count;
    char word[HONE_CACHE_BYTES];
    int32_t id[HONE_CACHE_IDS];
} hone_cached_word;

/* One symbol of a word under BPE: a list through indices. */
typedef struct hone_symbol {
    int32_t id, previous, next;
} hone_symbol;
/* A pair that may be merged; the heap's order is (rank, at). */
typedef struct hone_candidate {
    int32_t rank, at, left, right, id;
} hone_candidate;

/* Behind hone_ids.work. */
typedef struct hone_work {
    const hone_tokenizer *owner;            /* whose ids the cache holds */
    hone_buffer repaired, normal[2], piece; /* text without malformed bytes; normalized; with its prefix space */
    uint32_t *code;                         /* (code_capacity) */
    size_t code_capacity;
    hone_cached_word *cache; /* (HONE_CACHE_SLOTS) */
    hone_symbol *symbol;     /* (symbol_capacity): a long word under BPE */
    hone_candidate *heap;    /* (3 * symbol_capacity) */
    size_t symbol_capacity;
    uint64_t *hash; /* (hash_capacity): of the words of a text */
    size_t hash_capacity;
} hone_work;
enum { HONE_CACHE_SLOTS = 1 << 14 };

/* The work memory of `ids`, made on first use and emptied when another tokenizer takes it. */
hone_status hone_work_get(const hone_tokenizer *t, hone_ids *ids, hone_work **out) HONE_MUST_USE;

/* --- the steps --------------------------------------------------------------------------------------------- */
/* What splitters call for each word; a status other than HONE_OK stops them. */
typedef hone_status (*hone_word_fn)(void *arg, const char *word, size_t bytes);

/* Well-formed text: `text` itself, or a repaired copy in w->repaired. */
hone_status hone_text_repair(hone_work *w, const char **text, size_t *bytes) HONE_MUST_USE;
/* All normalizers, in order; the result lies in `text` itself (none) or in w->normal. */
hone_status hone_normalize(const hone_tokenizer *t, hone_work *w, const char **text, size_t *bytes) HONE_MUST_USE;
/* Fills what hone_normalize looks up; after norm[] is set. */
void hone_normalize_prepare(hone_tokenizer *t);

/* Words of normalized text as the pre-tokenizer of the model splits it. */
hone_status hone_split(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                       void *arg) HONE_MUST_USE;
/* Words or characters of raw text, through all steps before the model: for training. */
hone_status hone_words(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                       void *arg) HONE_MUST_USE;

/* Calls `fn` for the stretches of raw text between added tokens, and with word NULL and bytes = id for a token. */
hone_status hone_added_split(const hone_added_index *a, const hone_unicode *u, const char *text, size_t bytes,
                             hone_word_fn fn, void *arg) HONE_MUST_USE;
/* Sorts t->added into the two indices. */
hone_status hone_added_prepare(hone_tokenizer *t) HONE_MUST_USE;

/* Models: append the ids of a word. WordPiece and BPE need room for bytes + 1 ids. */
hone_status hone_wordpiece_prepare(hone_tokenizer *t) HONE_MUST_USE;
void hone_wordpiece_word(const hone_tokenizer *t, const char *word, size_t bytes, hone_ids *ids);
hone_status hone_bpe_prepare(hone_tokenizer *t) HONE_MUST_USE;
hone_status hone_bpe_word(const hone_tokenizer *t, hone_work *w, const char *word, size_t bytes,
                          hone_ids *ids) HONE_MUST_USE;
/* Puts a merge into the table (room for it was made); a later rank does not replace an earlier one. */
hone_status hone_bpe_merges(hone_tokenizer *t, int32_t count) HONE_MUST_USE;
void hone_bpe_merge_add(hone_tokenizer *t, uint64_t pair, int32_t rank, int32_t id);
/* The code point that the byte-level alphabet writes for a byte (GPT-2's table). */
uint32_t hone_bpe_byte_code(uint8_t byte);

hone_status hone_ngram_prepare(hone_tokenizer *t) HONE_MUST_USE;
hone_status hone_ngram_encode(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, int64_t max_words,
                              hone_ids *ids, int64_t *cut) HONE_MUST_USE;
hone_status hone_ngram_words(const hone_tokenizer *t, hone_work *w, const char *text, size_t bytes, hone_word_fn fn,
                             void *arg) HONE_MUST_USE;
/* Pruned bags. Bits of `buckets`, none set; after they are, `finish` counts. `map` renumbers ids from `base` on. */
hone_status hone_kept_new(hone_kept *k, int64_t buckets) HONE_MUST_USE;
void hone_kept_finish(hone_kept *k);
void hone_kept_free(hone_kept *k);
void hone_kept_map(const hone_tokenizer *t, hone_ids *ids, int64_t base);
hone_status hone_char_prepare(hone_tokenizer *t) HONE_MUST_USE;
hone_status hone_char_encode(const hone_tokenizer *t, const char *text, size_t bytes, hone_ids *ids) HONE_MUST_USE;
hone_status hone_char_words(const hone_tokenizer *t, const char *text, size_t bytes, hone_word_fn fn,
                            void *arg) HONE_MUST_USE;

/* An empty tokenizer of a kind with its Unicode tables; after its parts are filled in, `finish` builds what is looked
 * up, finds special ids and takes the fingerprint. */
hone_status hone_tokenizer_new(const hone_tokenizer_opts *o, hone_tokenizer **out) HONE_MUST_USE;
hone_status hone_tokenizer_finish(hone_tokenizer *t) HONE_MUST_USE;
/* Appends an added token; copies `content`. */
hone_status hone_tokenizer_add(hone_tokenizer *t, const char *content, size_t bytes, int32_t id, bool special,
                               bool normalized) HONE_MUST_USE;
/* [CLS] A [SEP] (B [SEP]), or RoBERTa's <s> A </s> (</s> B </s>) when `twice`. */
void hone_tokenizer_bert_template(hone_tokenizer *t, int32_t cls, int32_t sep, bool twice);

#endif
