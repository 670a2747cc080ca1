/* json_steps.c - the normalizer and the post-processor of tokenizer.json, and hone's own models. */
#include <string.h>

#include "text/json_parts.h"

enum { NEST_MAX = 4 };

/* --- normalizers --------------------------------------------------------------------------------------- */

/* A fixed number is enough for every file seen, and keeps hostile ones short. */
static hone_status add_norm(const char *name, hone_tokenizer *t, hone_norm norm)
{
    if (t->norm_count == HONE_NORM_MAX)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: more than %d normalizers", name, HONE_NORM_MAX);
    t->norm[t->norm_count++] = norm;
    return HONE_OK;
}

/* strip_accents null means: where lower-cased. */
static hone_status bert_norm(const char *name, const json_t *o, hone_tokenizer *t)
{
    hone_norm norm = {.kind = HONE_NORM_BERT};
    HONE_TRY(hone_json_flag(name, o, "clean_text", true, &norm.clean_text));
    HONE_TRY(hone_json_flag(name, o, "handle_chinese_chars", true, &norm.chinese_chars));
    HONE_TRY(hone_json_flag(name, o, "lowercase", true, &norm.lowercase));
    HONE_TRY(hone_json_flag(name, o, "strip_accents", norm.lowercase, &norm.strip_accents));
    return add_norm(name, t, norm);
}

/* A sequence may hold sequences; how deep is limited, because the reader calls itself. */
static hone_status read_norm(const char *name, const json_t *o, hone_tokenizer *t, int depth)
{
    static const struct {
        const char *type;
        hone_norm_kind kind;
    } plain[] = {{"Lowercase", HONE_NORM_LOWERCASE},
                 {"StripAccents", HONE_NORM_STRIP_ACCENTS},
                 {"NFD", HONE_NORM_NFD},
                 {"NFC", HONE_NORM_NFC},
                 {"NFKD", HONE_NORM_NFKD},
                 {"NFKC", HONE_NORM_NFKC}};
    const char *type;
    size_t k;
    json_t *one;
    HONE_TRY(hone_json_text(name, o, "type", "none", &type));
    /* the only one with options */
    if (strcmp(type, "BertNormalizer") == 0) return bert_norm(name, o, t);
    for (k = 0; k < sizeof plain / sizeof *plain; k++)
        if (strcmp(type, plain[k].type) == 0) return add_norm(name, t, (hone_norm){.kind = plain[k].kind});
    if (strcmp(type, "Sequence") != 0 || depth == NEST_MAX)
        return hone_fail(
            HONE_ERR_DATA,
            "hone knows BertNormalizer, Lowercase, StripAccents, NFC, NFD, NFKC, NFKD and sequences of them",
            "%s: normalizer %.60s is not supported", name, type);
    json_array_foreach(json_object_get(o, "normalizers"), k, one) HONE_TRY(read_norm(name, one, t, depth + 1));
    return HONE_OK;
}

/* null: the text is taken as it is. */
hone_status hone_json_normalizer(const char *name, const json_t *o, hone_tokenizer *t)
{
    return !o || json_is_null(o) ? HONE_OK : read_norm(name, o, t, 0);
}

/* --- post-processors ----------------------------------------------------------------------------------- */

/* ["[SEP]", 102]: the id is what counts. */
static hone_status pair_id(const char *name, const json_t *o, const char *key, const hone_tokenizer *t, int32_t *out)
{
    const json_t *v = json_object_get(o, key), *id = json_array_get(v, 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= t->size)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor.%s must be [token, id]", name, key);
    *out = (int32_t)json_integer_value(id);
    return HONE_OK;
}

/* {"SpecialToken": {"id": "[CLS]", "type_id": 0}}: its ids stand in special_tokens. */
static hone_status template_special(const char *name, const json_t *piece, const json_t *specials,
                                    const hone_tokenizer *t, uint8_t type, hone_template *m)
{
    const char *token = json_string_value(json_object_get(piece, "id"));
    const json_t *ids = json_object_get(token ? json_object_get(specials, token) : NULL, "ids");
    size_t k;
    json_t *id;
    if (!json_is_array(ids))
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: special token %.60s has no ids", name,
                         token ? token : "without a name");
    json_array_foreach(ids, k, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= t->size)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: an id of %.60s is not in the vocabulary", name,
                             token);
        if (m->count == HONE_TEMPLATE_MAX)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: more than %d pieces", name, HONE_TEMPLATE_MAX);
        m->piece[m->count++] = (hone_template_piece){(int32_t)json_integer_value(id), 0, type};
    }
    return HONE_OK;
}

/* One piece of a template. Token types must be 0 and then 1: only where they change is kept. */
static hone_status template_piece(const char *name, const json_t *o, const json_t *specials, const hone_tokenizer *t,
                                  hone_template *m)
{
    const json_t *text = json_object_get(o, "Sequence"), *special = json_object_get(o, "SpecialToken");
    int64_t type;
    HONE_TRY(hone_json_whole(name, text ? text : special, "type_id", 0, 1, 0, &type));
    /* an encoding says where type 1 begins, and no more */
    if (m->count && type < m->piece[m->count - 1].type)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: token type 0 behind type 1 is not supported", name);
    if (special) return template_special(name, special, specials, t, (uint8_t)type, m);
    const char *which = json_string_value(json_object_get(text, "id"));
    if (!which || (strcmp(which, "A") != 0 && strcmp(which, "B") != 0))
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: a piece must be a special token, A or B", name);
    if (m->count == HONE_TEMPLATE_MAX)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: more than %d pieces", name, HONE_TEMPLATE_MAX);
    m->piece[m->count++] = (hone_template_piece){-1, which[0] == 'B', (uint8_t)type};
    return HONE_OK;
}

/* Both templates. Each text stands in its template once, so lengths can be cut before they are put together. */
static hone_status read_templates(const char *name, const json_t *o, hone_tokenizer *t)
{
    static const char *const key[2] = {"single", "pair"};
    for (int which = 0; which < 2; which++) {
        size_t k;
        json_t *piece;
        hone_template *m = &t->template[which];
        m->count = 0;
        json_array_foreach(json_object_get(o, key[which]), k, piece)
            HONE_TRY(template_piece(name, piece, json_object_get(o, "special_tokens"), t, m));
        int seen[2] = {0, 0}; /* how often each text stands in it */
        for (int p = 0; p < m->count; p++)
            if (m->piece[p].id < 0) seen[m->piece[p].text]++;
        if (seen[0] != 1 || seen[1] != which)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor.%s must hold each text once", name, key[which]);
    }
    return HONE_OK;
}

/* Several may follow one another, but only one may put tokens around texts. */
static hone_status read_processor(const char *name, const json_t *o, hone_tokenizer *t, int depth)
{
    const char *type;
    size_t k;
    json_t *one;
    int32_t cls = -1, sep = -1;
    HONE_TRY(hone_json_text(name, o, "type", "none", &type));
    if (strcmp(type, "ByteLevel") == 0) return HONE_OK; /* moves offsets, not ids */
    /* BERT's and RoBERTa's are templates with fixed pieces */
    bool roberta = strcmp(type, "RobertaProcessing") == 0, bert = strcmp(type, "BertProcessing") == 0;
    bool template = strcmp(type, "TemplateProcessing") == 0;
    if ((roberta || bert || template) && t->template[0].count)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: post_processor: two of them put tokens around texts", name);
    if (template) return read_templates(name, o, t);
    if (roberta || bert) {
        HONE_TRY(pair_id(name, o, "cls", t, &cls));
        HONE_TRY(pair_id(name, o, "sep", t, &sep));
        hone_tokenizer_bert_template(t, cls, sep, roberta);
        return HONE_OK;
    }
    if (strcmp(type, "Sequence") != 0 || depth == NEST_MAX)
        return hone_fail(HONE_ERR_DATA,
                         "hone knows BertProcessing, RobertaProcessing, TemplateProcessing and ByteLevel",
                         "%s: post_processor %.60s is not supported", name, type);
    json_array_foreach(json_object_get(o, "processors"), k, one) HONE_TRY(read_processor(name, one, t, depth + 1));
    return HONE_OK;
}

/* Read last, when all tokens are known: it refers to them by id. */
hone_status hone_json_template(const char *name, const json_t *o, hone_tokenizer *t)
{
    /* ids of special tokens are checked against all that are known by now */
    t->size = t->vocab.size;
    for (int k = 0; k < t->added_count; k++)
        if (t->added[k].id >= t->size) t->size = (int64_t)t->added[k].id + 1;
    return !o || json_is_null(o) ? HONE_OK : read_processor(name, o, t, 0);
}

/* --- hone's own models --------------------------------------------------------------------------------- */

/* ["the", "of", ...]: ids by order. */
static hone_status read_list(const char *name, const json_t *model, hone_vocab *v)
{
    size_t k;
    json_t *word;
    const json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_array(vocab)) return hone_fail(HONE_ERR_DATA, NULL, "%s: model.vocab must be a list", name);
    json_array_foreach(vocab, k, word)
    {
        if (!json_is_string(word) || json_string_length(word) == 0)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: model.vocab[%zu] must be a string", name, k);
        /* the first of the two ids would have no word, and nothing could write the list again */
        if (hone_vocab_find(v, json_string_value(word), json_string_length(word)) >= 0)
            return hone_fail(HONE_ERR_DATA, "each word has one id", "%s: model.vocab[%zu]: \"%.40s\" is there twice",
                             name, k, json_string_value(word));
        HONE_TRY(hone_vocab_add(v, json_string_value(word), json_string_length(word), (int32_t)k));
    }
    return HONE_OK;
}

/* [from, to] */
static hone_status read_range(const char *name, const json_t *model, const char *key, int out[2])
{
    const json_t *v = json_object_get(model, key);
    for (size_t k = 0; k < 2; k++) {
        const json_t *n = json_array_get(v, k);
        if (!json_is_integer(n) || json_integer_value(n) < 0 || json_integer_value(n) > HONE_NGRAM_MAX)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: model.%s must be [from, to]", name, key);
        out[k] = (int)json_integer_value(n);
    }
    return HONE_OK;
}

/* The rows of a pruned bag, as json_write.c has them; absent in one that was not. */
static hone_status read_kept(const char *name, const json_t *model, int64_t buckets, hone_kept *out)
{
    const json_t *rows = json_object_get(model, "rows");
    int64_t at = -1;
    size_t k;
    json_t *n;
    if (!rows) return HONE_OK;
    HONE_TRY(hone_kept_new(out, buckets));
    json_array_foreach(rows, k, n)
    {
        json_int_t gap = json_is_integer(n) ? json_integer_value(n) : 0;
        if (gap < 1 || gap > buckets - 1 - at)
            return hone_fail(HONE_ERR_DATA, NULL, "%s: model.rows[%zu] leads past the %lld buckets or not forward",
                             name, k, (long long)buckets);
        at += gap;
        out->bits[at >> 6] |= 1ull << (at & 63);
    }
    if (!json_is_array(rows)) return hone_fail(HONE_ERR_DATA, NULL, "%s: model.rows must be a list", name);
    hone_kept_finish(out);
    return HONE_OK;
}

/* Options are checked by the same rules as those of a page. */
hone_status hone_json_ngram(const char *name, const json_t *model, hone_tokenizer **out)
{
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    const char *punctuation;
    HONE_TRY(hone_json_flag(name, model, "lowercase", true, &o.lowercase));
    HONE_TRY(hone_json_whole(name, model, "buckets", 0, HONE_VOCAB_MAX, o.buckets, &o.buckets));
    HONE_TRY(hone_json_whole(name, model, "min_count", 0, INT32_MAX, 1, &o.min_count));
    HONE_TRY(hone_json_text(name, model, "punctuation", "keep", &punctuation));
    HONE_TRY(read_range(name, model, "words", o.words));
    HONE_TRY(read_range(name, model, "chars", o.chars));
    int p = 0;
    while (p < 3 && strcmp(punctuation, hone_punctuation_name[p]) != 0) p++;
    if (p == 3) return hone_fail(HONE_ERR_DATA, NULL, "%s: model.punctuation must be keep, split or drop", name);
    o.punctuation = (hone_punctuation)p;
    HONE_TRY(hone_tokenizer_new(&o, out));
    HONE_TRY(read_list(name, model, &(*out)->vocab));
    HONE_TRY(read_kept(name, model, o.buckets, &(*out)->kept));
    return hone_tokenizer_finish(*out);
}

/* A character that the list lacks is [UNK] where there is one, and is left out otherwise. */
hone_status hone_json_char(const char *name, const json_t *model, hone_tokenizer **out)
{
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_CHAR);
    HONE_TRY(hone_json_flag(name, model, "lowercase", true, &o.lowercase));
    HONE_TRY(hone_tokenizer_new(&o, out));
    HONE_TRY(read_list(name, model, &(*out)->vocab));
    (*out)->unknown = hone_vocab_find(&(*out)->vocab, "[UNK]", 5);
    return hone_tokenizer_finish(*out);
}
