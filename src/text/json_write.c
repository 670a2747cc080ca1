/* json_write.c - a tokenizer as tokenizer.json. WordPiece and BPE files are read by the `tokenizers` package; the
 * models "hone-ngram" and "hone-char" are hone's own.
 *
 * One form for one tokenizer: the fingerprint is the hash of this text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "io/file.h"
#include "text/tokenizer_private.h"

/* A string with its length, because characters may be NUL. */
static void add_string(hone_text *j, const char *s, size_t bytes)
{
    /* everything from 0x80 on is well-formed UTF-8 already */
    size_t plain = 0; /* where the stretch begins that needs no escape: copied whole, vocabularies are long */
    hone_text_append(j, "\"", 1);
    for (size_t k = 0; k < bytes; k++) {
        uint8_t c = (uint8_t)s[k];
        if (c != '"' && c != '\\' && c >= 0x20) continue;
        hone_text_append(j, s + plain, k - plain);
        hone_text_add(j, c < 0x20 ? "\\u%04x" : "\\%c", c);
        plain = k + 1;
    }
    hone_text_append(j, s + plain, bytes - plain);
    hone_text_append(j, "\"", 1);
}

/* As JSON writes it. */
static const char *flag(bool b) { return b ? "true" : "false"; }

/* --- parts --------------------------------------------------------------------------------------------- */

/* As the file had them: content before normalizing, which is done again when it is read. */
static void add_added(hone_text *j, const hone_tokenizer *t)
{
    hone_text_add(j, "  \"added_tokens\": [");
    for (int k = 0; k < t->added_count; k++) {
        const hone_added *a = &t->added[k];
        hone_text_add(j, "%s\n    {\"id\": %d, \"content\": ", k ? "," : "", a->id);
        add_string(j, a->content, strlen(a->content));
        hone_text_add(j,
                      ", \"single_word\": false, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, \"special\": %s}",
                      flag(a->left_strip), flag(a->right_strip), flag(a->normalized), flag(a->special));
    }
    hone_text_add(j, "%s],\n", t->added_count ? "\n  " : "");
}

/* The rules of BERT are written out, so that null never has to be guessed again. */
static void add_norm(hone_text *j, const hone_norm *n)
{
    static const char *const type[] = {"BertNormalizer", "Lowercase", "StripAccents", "NFD", "NFC", "NFKD", "NFKC"};
    hone_text_add(j, "{\"type\": \"%s\"", type[n->kind]);
    if (n->kind == HONE_NORM_BERT)
        hone_text_add(j, ", \"clean_text\": %s, \"handle_chinese_chars\": %s, \"strip_accents\": %s, \"lowercase\": %s",
                      flag(n->clean_text), flag(n->chinese_chars), flag(n->strip_accents), flag(n->lowercase));
    hone_text_add(j, "}");
}

/* One alone is written without a sequence around it: most readers know only that. */
static void add_normalizer(hone_text *j, const hone_tokenizer *t)
{
    hone_text_add(j, "  \"normalizer\": ");
    if (t->norm_count == 0) hone_text_add(j, "null");
    else if (t->norm_count == 1) add_norm(j, &t->norm[0]);
    else {
        hone_text_add(j, "{\"type\": \"Sequence\", \"normalizers\": [");
        for (int k = 0; k < t->norm_count; k++) {
            if (k) hone_text_add(j, ", ");
            add_norm(j, &t->norm[k]);
        }
        hone_text_add(j, "]}");
    }
    hone_text_add(j, ",\n");
}

/* The token of a special id, as templates name it. Where another id has the same token, its number goes behind it. */
static void add_token_name(hone_text *j, const hone_tokenizer *t, int32_t id)
{
    size_t bytes = 0;
    const char *text = hone_vocab_text(&t->vocab, id, &bytes);
    for (int k = 0; k < t->added_count; k++)
        if (t->added[k].id == id) {
            text = t->added[k].content;
            bytes = strlen(text);
        }
    bool unique = text && hone_tokenizer_find(t, text, bytes) == id;
    hone_text name = {0};
    hone_text_append(&name, text, bytes);
    if (!unique) hone_text_add(&name, "#%d", id);
    add_string(j, name.data, name.bytes);
    j->failed |= name.failed;
    hone_text_free(&name);
}

/* A special token is named; its id stands in special_tokens. */
static void add_pieces(hone_text *j, const hone_tokenizer *t, const hone_template *m)
{
    for (int k = 0; k < m->count; k++) {
        const hone_template_piece *p = &m->piece[k];
        hone_text_add(j, "%s{\"%s\": {\"id\": ", k ? ", " : "", p->id >= 0 ? "SpecialToken" : "Sequence");
        if (p->id >= 0) add_token_name(j, t, p->id);
        else hone_text_add(j, "\"%c\"", p->text ? 'B' : 'A');
        hone_text_add(j, ", \"type_id\": %d}}", p->type);
    }
}

/* Every special id of both templates once. */
static void add_template_ids(hone_text *j, const hone_tokenizer *t)
{
    int32_t seen[2 * HONE_TEMPLATE_MAX];
    int count = 0;
    for (int which = 0; which < 2; which++)
        for (int k = 0; k < t->template[which].count; k++) {
            int32_t id = t->template[which].piece[k].id;
            int at = 0; /* a key may stand in an object once */
            while (at < count && seen[at] != id) at++;
            if (id < 0 || at < count) continue;
            hone_text_add(j, "%s", count ? ", " : "");
            seen[count++] = id;
            add_token_name(j, t, id);
            hone_text_add(j, ": {\"id\": ");
            add_token_name(j, t, id);
            hone_text_add(j, ", \"ids\": [%d], \"tokens\": [", id);
            add_token_name(j, t, id);
            hone_text_add(j, "]}");
        }
}

/* Always in this form, whichever the file had: it can say what the other two say. */
static void add_template(hone_text *j, const hone_tokenizer *t)
{
    hone_text_add(j, "  \"post_processor\": ");
    if (t->template[0].count == 0) {
        hone_text_add(j, "null,\n");
        return;
    }
    hone_text_add(j, "{\"type\": \"TemplateProcessing\",\n    \"single\": [");
    add_pieces(j, t, &t->template[0]);
    hone_text_add(j, "],\n    \"pair\": [");
    add_pieces(j, t, &t->template[1]);
    hone_text_add(j, "],\n    \"special_tokens\": {");
    add_template_ids(j, t);
    hone_text_add(j, "}},\n");
}

/* --- models -------------------------------------------------------------------------------------------- */

/* {"token": id, ...} in the order of ids. */
static void add_vocab(hone_text *j, const hone_tokenizer *t)
{
    const char *comma = "";
    size_t bytes;
    hone_text_add(j, "    \"vocab\": {");
    for (int32_t id = 0; id < t->vocab.size; id++) {
        const char *text = hone_vocab_text(&t->vocab, id, &bytes);
        if (!text) continue; /* ids may have holes */
        hone_text_add(j, "%s\n      ", comma);
        add_string(j, text, bytes);
        hone_text_add(j, ": %d", id);
        comma = ",";
    }
    hone_text_add(j, "\n    }");
}

/* The words of an n-gram vocabulary, or the characters: a list in the order of ids. */
static void add_list(hone_text *j, const hone_tokenizer *t)
{
    size_t bytes;
    hone_text_add(j, "    \"vocab\": [");
    for (int32_t id = 0; id < t->vocab.size; id++) {
        const char *text = hone_vocab_text(&t->vocab, id, &bytes);
        hone_text_add(j, "%s\n      ", id ? "," : "");
        add_string(j, text ? text : "", text ? bytes : 0);
    }
    hone_text_add(j, "]\n  }\n}\n");
}

/* "unk_token": the model's own, or null. */
static void add_unknown(hone_text *j, const hone_tokenizer *t)
{
    size_t bytes = 0;
    const char *text = hone_vocab_text(&t->vocab, t->unknown, &bytes);
    hone_text_add(j, "\"unk_token\": ");
    if (text) add_string(j, text, bytes);
    else hone_text_add(j, "null");
    hone_text_add(j, ",");
}

/* The decoder is for the package, which turns ids back into text with it. */
static void add_wordpiece(hone_text *j, const hone_tokenizer *t)
{
    hone_text_add(j, "  \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n");
    add_template(j, t);
    hone_text_add(j, "  \"decoder\": {\"type\": \"WordPiece\", \"prefix\": ");
    add_string(j, t->prefix, strlen(t->prefix));
    hone_text_add(j, ", \"cleanup\": true},\n  \"model\": {\n    \"type\": \"WordPiece\", ");
    add_unknown(j, t);
    hone_text_add(j, " \"continuing_subword_prefix\": ");
    add_string(j, t->prefix, strlen(t->prefix));
    hone_text_add(j, ", \"max_input_chars_per_word\": %d,\n", t->max_word_chars);
    add_vocab(j, t);
    hone_text_add(j, "\n  }\n}\n");
}

/* Merges as pairs: tokens that hold a space are then no special case. */
static void add_bpe(hone_text *j, const hone_tokenizer *t)
{
    hone_text_add(j,
                  "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": true,"
                  " \"use_regex\": %s},\n",
                  flag(t->add_prefix_space), flag(t->use_regex));
    add_template(j, t);
    hone_text_add(j, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                     "\"use_regex\": true},\n  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, ");
    add_unknown(j, t);
    hone_text_add(j,
                  " \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n    \"fuse_unk\": %s, "
                  "\"byte_fallback\": false, \"ignore_merges\": %s,\n",
                  flag(t->fuse_unknown), flag(t->ignore_merges));
    add_vocab(j, t);
    hone_text_add(j, ",\n    \"merges\": [");
    for (int32_t k = 0; k < t->merge_count; k++) {
        size_t left_bytes = 0, right_bytes = 0;
        const char *left = hone_vocab_text(&t->vocab, (int32_t)(t->merge_pair[k] >> 32), &left_bytes);
        const char *right = hone_vocab_text(&t->vocab, (int32_t)(uint32_t)t->merge_pair[k], &right_bytes);
        hone_text_add(j, "%s\n      [", k ? "," : "");
        add_string(j, left, left_bytes);
        hone_text_add(j, ", ");
        add_string(j, right, right_bytes);
        hone_text_add(j, "]");
    }
    hone_text_add(j, "]\n  }\n}\n");
}

/* Which buckets have a row: for each the distance from the one before (the first from -1), so that numbers are short. */
static void add_kept(hone_text *j, const hone_kept *k)
{
    int64_t last = -1;
    const char *comma = "";
    hone_text_add(j, " \"rows\": [");
    for (int64_t g = 0; g < k->groups; g++)
        for (uint64_t bits = k->bits[g]; bits; bits &= bits - 1) {
            int64_t at = g * 64 + __builtin_ctzll(bits);
            hone_text_add(j, "%s%lld", comma, (long long)(at - last));
            last = at;
            comma = ",";
        }
    hone_text_add(j, "],");
}

/* A file the package can't use says so by its model. */
static void add_own(hone_text *j, const hone_tokenizer *t)
{
    const hone_tokenizer_opts *o = &t->opts;
    hone_text_add(j, "{\n  \"version\": \"1.0\",\n  \"model\": {\n    \"type\": \"hone-%s\", \"lowercase\": %s,",
                  hone_tokenizer_kind_name(o->kind), flag(o->lowercase));
    if (o->kind == HONE_TOKENIZER_NGRAM)
        hone_text_add(j,
                      " \"words\": [%d, %d], \"chars\": [%d, %d], \"buckets\": %lld, \"min_count\": %lld,"
                      " \"punctuation\": \"%s\",",
                      o->words[0], o->words[1], o->chars[0], o->chars[1], (long long)o->buckets,
                      (long long)o->min_count, hone_punctuation_name[o->punctuation]);
    if (t->kept.bits) add_kept(j, &t->kept);
    hone_text_add(j, "\n");
    add_list(j, t);
}

/* Keys in the order in which the package writes them, so that files can be compared. */
char *hone_tokenizer_json(const hone_tokenizer *t)
{
    hone_text j = {0};
    if (t->opts.kind == HONE_TOKENIZER_NGRAM || t->opts.kind == HONE_TOKENIZER_CHAR) {
        add_own(&j, t);
        return hone_text_take(&j);
    }
    /* the page says how long texts may be, so the file says nothing */
    hone_text_add(&j, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    add_added(&j, t);
    add_normalizer(&j, t);
    if (t->opts.kind == HONE_TOKENIZER_WORDPIECE) add_wordpiece(&j, t);
    else add_bpe(&j, t);
    return hone_text_take(&j);
}

/* Whole or not at all: hone_file_write renames a finished file. */
hone_status hone_tokenizer_save(const hone_tokenizer *t, const char *path)
{
    char *json = hone_tokenizer_json(t);
    if (!json) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while writing %s", path);
    hone_status status = hone_file_write(path, json, strlen(json));
    free(json);
    return status;
}
