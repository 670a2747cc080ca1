/* json_read.c - tokenizer.json: WordPiece and byte-level BPE of the `tokenizers` package, and hone's own models.
 *
 * What is not understood is refused by name, never skipped: a normalizer left out would change ids and nothing would
 * say so. Left out on purpose: decoder (only for text from ids), truncation and padding (the page says them). */
#include <stdlib.h>
#include <string.h>

#include "text/json_parts.h"
#include "core/json.h"

#define READS "hone reads WordPiece and byte-level BPE; `hone tokenizer train` makes one from your texts"

/* null and absent are the same: the package writes null where older versions wrote nothing. */
hone_status hone_json_text(const char *name, const json_t *o, const char *key, const char *fallback, const char **out)
{
    const json_t *v = json_object_get(o, key);
    *out = fallback;
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_string(v)) return hone_fail(HONE_ERR_DATA, NULL, "%s: %s must be a string", name, key);
    *out = json_string_value(v);
    return HONE_OK;
}

/* 1.0 is no whole number here; the package would refuse it, too. */
hone_status hone_json_whole(const char *name, const json_t *o, const char *key, int64_t least, int64_t most,
                            int64_t fallback, int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    *out = fallback;
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: %s must be a whole number in %lld .. %lld", name, key,
                         (long long)least, (long long)most);
    *out = json_integer_value(v);
    return HONE_OK;
}

/* 0 and 1 are no booleans: a file that has them was not written by the package. */
hone_status hone_json_flag(const char *name, const json_t *o, const char *key, bool fallback, bool *out)
{
    const json_t *v = json_object_get(o, key);
    *out = fallback;
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_boolean(v)) return hone_fail(HONE_ERR_DATA, NULL, "%s: %s must be true or false", name, key);
    *out = json_is_true(v);
    return HONE_OK;
}

/* Ids lie close together; a stray one would make the embedding as long as itself. */
static int64_t id_limit(const json_t *vocab, const json_t *added)
{
    return (int64_t)json_object_size(vocab) + (int64_t)json_array_size(added) + 65536;
}

/* {"token": id, ...} */
static hone_status read_vocab(const char *name, const json_t *model, int64_t limit, hone_vocab *v)
{
    json_t *vocab = json_object_get(model, "vocab");
    const char *key;
    json_t *id;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return hone_fail(HONE_ERR_DATA, READS, "%s: model.vocab must be an object of tokens and ids", name);
    /* in the order of the file, which decides nothing: every token brings its id */
    json_object_foreach(vocab, key, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= limit)
            return hone_fail(HONE_ERR_DATA, "ids count from 0 without large gaps",
                             "%s: model.vocab: the id of %.60s is outside 0 .. %lld", name, key, (long long)limit - 1);
        hone_status status = hone_vocab_add(v, key, strlen(key), (int32_t)json_integer_value(id));
        if (status != HONE_OK) {
            hone_error_context("%s: model.vocab", name);
            return status;
        }
    }
    return HONE_OK;
}

/* One entry of added_tokens. */
static hone_status read_added_one(const char *name, const json_t *o, int64_t limit, hone_tokenizer *t)
{
    const char *content;
    int64_t id;
    bool single, normalized, special, left, right;
    HONE_TRY(hone_json_text(name, o, "content", NULL, &content));
    HONE_TRY(hone_json_whole(name, o, "id", 0, limit - 1, -1, &id));
    HONE_TRY(hone_json_flag(name, o, "single_word", false, &single));
    HONE_TRY(hone_json_flag(name, o, "lstrip", false, &left));
    HONE_TRY(hone_json_flag(name, o, "rstrip", false, &right));
    HONE_TRY(hone_json_flag(name, o, "special", false, &special));
    /* the package's default: special tokens are looked for as they are */
    HONE_TRY(hone_json_flag(name, o, "normalized", !special, &normalized));
    if (!content || !*content || id < 0)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: an added token needs content and id", name);
    if (single)
        return hone_fail(HONE_ERR_DATA, "set single_word to false, or take the token out",
                         "%s: added token %.60s: single_word is not supported", name, content);
    HONE_TRY(hone_tokenizer_add(t, content, strlen(content), (int32_t)id, special, normalized));
    t->added[t->added_count - 1].left_strip = left;
    t->added[t->added_count - 1].right_strip = right;
    return HONE_OK;
}

/* Absent in hand-written files: then there are none. */
static hone_status read_added(const char *name, const json_t *added, int64_t limit, hone_tokenizer *t)
{
    size_t k;
    json_t *one;
    if (added && !json_is_null(added) && !json_is_array(added))
        return hone_fail(HONE_ERR_DATA, NULL, "%s: added_tokens must be a list", name);
    json_array_foreach(added, k, one) HONE_TRY(read_added_one(name, one, limit, t));
    return HONE_OK;
}

/* Each model is read with the pre-tokenizer it was trained with. A sequence of one is that one. */
static hone_status read_pre_tokenizer(const char *name, const json_t *o, hone_tokenizer *t)
{
    const char *type, *wanted = t->opts.kind == HONE_TOKENIZER_BPE ? "ByteLevel" : "BertPreTokenizer";
    HONE_TRY(hone_json_text(name, o, "type", "none", &type));
    const json_t *list = json_object_get(o, "pretokenizers");
    if (strcmp(type, "Sequence") == 0 && json_array_size(list) == 1) {
        o = json_array_get(list, 0);
        HONE_TRY(hone_json_text(name, o, "type", "none", &type));
    }
    if (strcmp(type, wanted) != 0)
        return hone_fail(HONE_ERR_DATA, READS, "%s: pre_tokenizer %.60s is not supported (only %s for this model)",
                         name, type, wanted);
    HONE_TRY(hone_json_flag(name, o, "add_prefix_space", true, &t->add_prefix_space));
    return hone_json_flag(name, o, "use_regex", true, &t->use_regex);
}

/* --- WordPiece ----------------------------------------------------------------------------------------- */

/* Without an unknown token a word that can't be covered would have no ids at all, so it must be there. */
static hone_status read_wordpiece(const char *name, const json_t *model, hone_tokenizer *t)
{
    const char *unknown, *prefix;
    int64_t longest;
    HONE_TRY(hone_json_text(name, model, "unk_token", "[UNK]", &unknown));
    HONE_TRY(hone_json_text(name, model, "continuing_subword_prefix", "##", &prefix));
    HONE_TRY(hone_json_whole(name, model, "max_input_chars_per_word", 1, 1 << 20, 100, &longest));
    t->max_word_chars = (int32_t)longest; /* in code points */
    t->unknown = hone_vocab_find(&t->vocab, unknown, strlen(unknown));
    if (t->unknown < 0)
        return hone_fail(HONE_ERR_DATA, "add it to the vocabulary", "%s: the unknown token %.60s is not in it", name,
                         unknown);
    size_t bytes = strlen(prefix);
    t->prefix = calloc(bytes + 1, 1);
    if (!t->prefix) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
    memcpy(t->prefix, prefix, bytes);
    return HONE_OK;
}

/* --- BPE ----------------------------------------------------------------------------------------------- */

/* The two tokens of a merge: "a b", or ["a", "b"]. */
static bool merge_sides(const json_t *merge, const char *side[2], size_t bytes[2])
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t k = 0; k < 2; k++) {
            side[k] = json_string_value(json_array_get(merge, k));
            if (!side[k]) return false;
            bytes[k] = json_string_length(json_array_get(merge, k));
        }
        return true;
    }
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false; /* exactly one: tokens hold none in this form */
    side[0] = text;
    bytes[0] = (size_t)(space - text);
    side[1] = space + 1;
    bytes[1] = strlen(space + 1);
    return true;
}

/* One merge: both sides and their union are tokens. */
static hone_status read_merge(const char *name, const json_t *merge, int32_t rank, hone_buffer *joined,
                              hone_tokenizer *t)
{
    const char *side[2];
    size_t bytes[2];
    int32_t id[3] = {-1, -1, -1};
    if (!merge_sides(merge, side, bytes))
        return hone_fail(HONE_ERR_DATA, NULL, "%s: merge %d must be \"a b\" or [\"a\", \"b\"]", name, rank);
    joined->count = 0;
    HONE_TRY(hone_buffer_reserve(joined, bytes[0] + bytes[1] + 1));
    memcpy(joined->data, side[0], bytes[0]);
    memcpy(joined->data + bytes[0], side[1], bytes[1]);
    for (int k = 0; k < 2; k++) id[k] = hone_vocab_find(&t->vocab, side[k], bytes[k]);
    id[2] = hone_vocab_find(&t->vocab, joined->data, bytes[0] + bytes[1]);
    if (id[0] < 0 || id[1] < 0 || id[2] < 0)
        return hone_fail(HONE_ERR_DATA, "the vocabulary needs both parts of a merge and their union",
                         "%s: merge %d (%.40s) names a token that is not in the vocabulary", name, rank, side[0]);
    hone_bpe_merge_add(t, (uint64_t)(uint32_t)id[0] << 32 | (uint32_t)id[1], rank, id[2]);
    return HONE_OK;
}

/* Options of the model that change ids and that byte-level models do not use. */
static hone_status refuse_bpe_options(const char *name, const json_t *model)
{
    static const char *const text[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int k = 0; k < 2; k++) {
        const char *value;
        HONE_TRY(hone_json_text(name, model, text[k], "", &value));
        if (*value) return hone_fail(HONE_ERR_DATA, READS, "%s: BPE with %s is not supported", name, text[k]);
    }
    bool fallback;
    HONE_TRY(hone_json_flag(name, model, "byte_fallback", false, &fallback));
    if (fallback) return hone_fail(HONE_ERR_DATA, READS, "%s: BPE with byte_fallback is not supported", name);
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return hone_fail(HONE_ERR_DATA, "set dropout to null", "%s: BPE with dropout gives other ids each time", name);
    return HONE_OK;
}

/* An unknown token is optional: a vocabulary with all 256 bytes never needs it. */
static hone_status read_bpe(const char *name, const json_t *model, hone_tokenizer *t)
{
    const char *unknown;
    const json_t *merges = json_object_get(model, "merges");
    HONE_TRY(refuse_bpe_options(name, model));
    HONE_TRY(hone_json_text(name, model, "unk_token", NULL, &unknown));
    HONE_TRY(hone_json_flag(name, model, "fuse_unk", false, &t->fuse_unknown));
    HONE_TRY(hone_json_flag(name, model, "ignore_merges", false, &t->ignore_merges));
    if (unknown) t->unknown = hone_vocab_find(&t->vocab, unknown, strlen(unknown));
    if (!json_is_array(merges) || json_array_size(merges) > HONE_VOCAB_MAX)
        return hone_fail(HONE_ERR_DATA, NULL, "%s: model.merges must be a list", name);
    HONE_TRY(hone_bpe_merges(t, (int32_t)json_array_size(merges)));
    hone_buffer joined = {0}; /* one for all merges: there are tens of thousands */
    hone_status status = HONE_OK;
    for (int32_t k = 0; k < t->merge_count && status == HONE_OK; k++)
        status = read_merge(name, json_array_get(merges, (size_t)k), k, &joined, t);
    free(joined.data);
    return status;
}

/* --- the file ------------------------------------------------------------------------------------------ */

/* Older files have no model.type: merges tell BPE. */
static const char *model_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type) return type;
    return json_object_get(model, "merges") ? "BPE" : json_object_get(model, "vocab") ? "WordPiece" : "none";
}

/* All parts of a file of the package. */
static hone_status read_parts(const char *name, const json_t *root, const json_t *model, hone_tokenizer *t)
{
    const json_t *added = json_object_get(root, "added_tokens");
    /* the vocabulary first: unknown token, merges and templates are looked up in it */
    int64_t limit = id_limit(json_object_get(model, "vocab"), added);
    HONE_TRY(read_vocab(name, model, limit, &t->vocab));
    HONE_TRY(t->opts.kind == HONE_TOKENIZER_BPE ? read_bpe(name, model, t) : read_wordpiece(name, model, t));
    HONE_TRY(hone_json_normalizer(name, json_object_get(root, "normalizer"), t));
    HONE_TRY(read_pre_tokenizer(name, json_object_get(root, "pre_tokenizer"), t));
    HONE_TRY(read_added(name, added, limit, t));
    HONE_TRY(hone_json_template(name, json_object_get(root, "post_processor"), t));
    return hone_tokenizer_finish(t);
}

/* Picks the reader by the model. */
static hone_status read_root(const char *name, const json_t *root, hone_tokenizer **out)
{
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model)) return hone_fail(HONE_ERR_DATA, READS, "%s: no tokenizer: it has no model", name);
    const char *type = model_type(model);
    if (strcmp(type, "hone-ngram") == 0) return hone_json_ngram(name, model, out);
    if (strcmp(type, "hone-char") == 0) return hone_json_char(name, model, out);
    bool bpe = strcmp(type, "BPE") == 0;
    if (!bpe && strcmp(type, "WordPiece") != 0)
        return hone_fail(HONE_ERR_DATA, READS, "%s: model %.60s is not supported", name, type);
    hone_tokenizer_opts o = hone_tokenizer_defaults(bpe ? HONE_TOKENIZER_BPE : HONE_TOKENIZER_WORDPIECE);
    HONE_TRY(hone_tokenizer_new(&o, out));
    return read_parts(name, root, model, *out);
}

/* Whatever was made before a mistake was found is freed: the caller gets a tokenizer or nothing. */
hone_status hone_tokenizer_parse(const char *name, const char *json, size_t bytes, hone_tokenizer **out)
{
    json_error_t error;
    *out = NULL;
    json_t *root;
    HONE_TRY(hone_json_parse(json, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &root, &error));
    if (!root)
        return hone_fail(HONE_ERR_DATA, "a tokenizer.json of the `tokenizers` package is needed",
                         "%s:%d:%d: no JSON: %s", name, error.line, error.column, error.text);
    hone_status status = read_root(name, root, out);
    json_decref(root);
    if (status == HONE_OK) return HONE_OK;
    hone_tokenizer_free(*out);
    *out = NULL;
    return status;
}
