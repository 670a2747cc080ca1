/* text_zoo.h - text nets with random weights and a tokenizer, in folders that hone reads as MODEL: what exports are
 * tried on, and texts of all lengths for them. */
#ifndef HONE_TESTS_TEXT_ZOO_H
#define HONE_TESTS_TEXT_ZOO_H

#include <math.h>

#include "hone/io.h"
#include "hone/philox.h"
#include "support/model_page.h"
#include "text/tokenizer.h"
#include "train/saved.h"

enum { TEXT_ZOO_LONGEST = 48, TEXT_ZOO_CLASSES = 4 };

typedef struct text_zoo_row {
    const char *name, *page;
    bool pairs;
    const char *full; /* the published sizes: what stands in place of `page`; NULL: `page` is all */
    bool any_length;  /* texts are not cut                                                        */
    bool chars;       /* a token a character, none for an empty text; else WordPiece with [CLS] and [SEP] */
} text_zoo_row;

static const text_zoo_row text_zoo[] = {
    {"textcnn", "{file: models/textcnn.yaml, with: {dim: 20, out: 12, kernels: [1, 2, 3, 4, 5]}}", false,
     "{file: models/textcnn.yaml}", false, true},
    {"gru", "{layers: [embedding: {dim: 14}, gru: {name: rnn, hidden: 18}, pool: mean, linear: classes]}", false, NULL,
     false, true},
    {"bigru", "{file: models/gru.yaml, with: {dim: 16, hidden: 12}}", false, "{file: models/gru.yaml}", false, false},
    {"transformer", "{file: models/transformer.yaml, with: {dim: 24, heads: 3, ff: 40, norm: pre}}", false,
     "{file: models/transformer.yaml}", false, false},
    {"transformer_post", "{file: models/transformer.yaml, with: {dim: 24, heads: 3, ff: 40, norm: post}}", false,
     "{file: models/transformer.yaml, with: {norm: post}}", false, true},
    {"bert_base", "{file: models/bert_base.yaml, with: {layers: 2, dim: 24, heads: 4, ff: 48, length: 64}}", true,
     "{file: models/bert_base.yaml}", false, false},
    {"bert_single", "{file: models/bert_base.yaml, with: {layers: 1, dim: 24, heads: 4, ff: 48, length: 64}}", false,
     NULL, false, false},
    {"distilbert", "{file: models/distilbert.yaml, with: {layers: 2, dim: 24, heads: 4, ff: 48, length: 64}}", false,
     "{file: models/distilbert.yaml}", false, false},
    {"minilm_l6", "{file: models/minilm_l6.yaml, with: {layers: 2, dim: 24, heads: 4, ff: 48, length: 64}}", true,
     "{file: models/minilm_l6.yaml}", false, false},
    /* what no ready-made net has: two convolutions after each other, units on units, texts that are longer than the table
     * of places, the first token of a recurrence */
    {"mixed",
     "{layers: [embedding: {dim: 12}, position: {kind: sincos, length: 16}, conv1d: {out: 14, kernel: 4}, relu,"
     " conv1d: {out: 10, kernel: 3}, tanh, bigru: {hidden: 6}, gru: {hidden: 9}, pool: first, linear: classes]}",
     false, NULL, true, true},
};
enum { TEXT_ZOO = sizeof text_zoo / sizeof text_zoo[0] };

/* Words that a tokenizer of pieces cuts in one or several. */
static const char *const text_zoo_words[] = {"bread",  "cheese",  "harbour", "sailing", "cloudy", "window",
                                             "reader", "writers", "a",       "of",      "ovens",  "unthinkable"};

/* Text k, of 0 to 30 words; free() it. Its length says little of the next one's. */
static inline char *text_zoo_text(uint64_t k)
{
    enum { WORDS = sizeof text_zoo_words / sizeof *text_zoo_words };
    char *text = calloc(1, 600);
    uint32_t words = hone_philox(17, HONE_STREAM_SYNTHETIC, k, 1000).v[0] % 31;
    for (uint32_t i = 0; text && i < (k % 9 == 4 ? 0 : words); i++) {
        if (i) strcat(text, " ");
        strcat(text, text_zoo_words[hone_philox(17, HONE_STREAM_SYNTHETIC, k, i).v[0] % WORDS]);
    }
    return text;
}

static inline void text_zoo_source(void *arg, int64_t i, int part, const char **text, size_t *length)
{
    (void)part;
    *text = ((char **)arg)[i];
    *length = strlen(*text);
}

/* DIR/tokenizer.json: WordPiece of some ninety pieces, or characters; *vocab says how many. */
static inline hone_status text_zoo_tokenizer(const char *dir, bool chars, int64_t *vocab)
{
    enum { TEXTS = 64 };
    char *text[TEXTS], path[4096];
    hone_tokenizer *t = NULL;
    hone_tokenizer_opts o = hone_tokenizer_defaults(chars ? HONE_TOKENIZER_CHAR : HONE_TOKENIZER_WORDPIECE);
    o.vocab_size = 90;
    for (int k = 0; k < TEXTS; k++) text[k] = text_zoo_text((uint64_t)k);
    hone_texts texts = {.count = TEXTS, .parts = 1, .arg = text, .at = text_zoo_source};
    hone_status status = hone_make_dirs(dir);
    if (status == HONE_OK) status = hone_tokenizer_train(&o, &texts, 1, &t);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (status == HONE_OK) status = hone_tokenizer_save(t, path);
    if (status == HONE_OK) *vocab = hone_tokenizer_vocab_size(t);
    hone_tokenizer_free(t);
    for (int k = 0; k < TEXTS; k++) free(text[k]);
    return status;
}

/* Weights large enough that every token moves the answer: what is drawn for training does not. */
static inline void text_zoo_weights(hone_model *m, uint64_t seed)
{
    for (int k = 0; k < hone_model_param_count(m); k++) {
        hone_param *p = hone_model_param(m, k);
        bool table = strstr(p->name, "mbedding") != NULL || strstr(p->name, "position") != NULL;
        int64_t inputs = p->rank > 1 ? p->count / p->dim[0] : 1;
        double scale = p->rank < 2 ? 0.4 : table ? 1 : sqrt(6.0 / (double)inputs);
        for (int64_t i = 0; i < p->count; i++) {
            hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)k, (uint64_t)i);
            float u = (float)(scale * ((double)(r.v[0] >> 8) / (double)(1 << 23) - 1));
            p->value[i] = p->rank < 2 ? p->value[i] + u : u;
        }
    }
}

/* Row `k` in a folder. */
static inline hone_status text_zoo_make(int k, bool full, const char *dir)
{
    char path[4096];
    int count;
    hone_model *m = NULL;
    hone_preprocess pre = {.max_length = text_zoo[k].any_length ? 0 : TEXT_ZOO_LONGEST, .pairs = text_zoo[k].pairs};
    HONE_TRY(text_zoo_tokenizer(dir, text_zoo[k].chars, &pre.vocab));
    HONE_TRY(page_model_of(full && text_zoo[k].full ? text_zoo[k].full : text_zoo[k].page, &pre, TEXT_ZOO_CLASSES,
                           (uint64_t)k + 1, &m));
    text_zoo_weights(m, (uint64_t)k + 1);
    snprintf(path, sizeof path, "%s/model.json", dir);
    hone_status status = hone_model_save_json(m, path);
    hone_blob *blob = hone_weights_blobs(m, &count);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (status == HONE_OK && !blob) status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_safetensors_write(path, blob, count, NULL);
    free(blob);
    hone_model_free(m);
    return status;
}

#endif
