/* open.c - tokenizer files by path: tokenizer.json, vocab.txt with tokenizer_config.json beside it, or their folder.
 * Other files (SentencePiece's, CLIP's merges.txt) are refused by name with what to do instead. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "core/json.h"
#include "text/json_parts.h"

enum { FILE_LIMIT = 512 << 20 };

/* The part behind the last slash. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* By bytes: names of files are compared as they are. */
static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* --- vocab.txt ----------------------------------------------------------------------------------------- */

/* Bytes of a line without white space at its end, as the `tokenizers` package trims it. */
static size_t trimmed(const hone_unicode *u, const char *line, size_t bytes)
{
    while (bytes) {
        size_t at = bytes;
        do at--;
        while (at && ((uint8_t)line[at] & 0xC0) == 0x80);
        const uint8_t *c = (const uint8_t *)line + at;
        if (!(hone_unicode_class(u, hone_utf8_next(&c)) & HONE_UNICODE_SPACE)) break;
        bytes = at;
    }
    return bytes;
}

/* One token a line, its number the id. */
static hone_status read_lines(const char *path, const char *text, size_t bytes, hone_tokenizer *t)
{
    size_t good = hone_utf8_valid(text, bytes);
    int32_t id = 0;
    for (size_t at = 0; at < bytes; id++) {
        /* a file may end with or without a line end; an empty line is a token of no bytes, and keeps its number */
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        if (at + length > good)
            return hone_fail(HONE_ERR_DATA, "save the file as UTF-8", "%s:%d: not UTF-8", path, id + 1);
        hone_status status = hone_vocab_add(&t->vocab, text + at, trimmed(t->unicode, text + at, length), id);
        if (status != HONE_OK) {
            hone_error_context("%s:%d", path, id + 1);
            return status;
        }
        at += length + 1;
    }
    return HONE_OK;
}

/* BERT's special tokens, where the vocabulary has them: found in texts, put around them. */
static hone_status bert_specials(const char *path, hone_tokenizer *t)
{
    static const char *const token[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t k = 0; k < sizeof token / sizeof *token; k++) {
        /* not every vocabulary has all five; [UNK] alone is asked for */
        int32_t id = hone_vocab_find(&t->vocab, token[k], strlen(token[k]));
        if (id >= 0) HONE_TRY(hone_tokenizer_add(t, token[k], strlen(token[k]), id, true, false));
    }
    t->unknown = hone_vocab_find(&t->vocab, "[UNK]", 5);
    int32_t cls = hone_vocab_find(&t->vocab, "[CLS]", 5), sep = hone_vocab_find(&t->vocab, "[SEP]", 5);
    if (t->unknown < 0)
        return hone_fail(HONE_ERR_DATA, "a BERT vocab.txt has a line [UNK]; word lists are no tokenizers",
                         "%s: no WordPiece vocabulary: it has no [UNK]", path);
    if (cls >= 0 && sep >= 0) hone_tokenizer_bert_template(t, cls, sep, false);
    return HONE_OK;
}

/* What tokenizer_config.json beside the vocabulary says about capitals, accents and ideographs. */
static hone_status read_config(const char *path, hone_norm *norm)
{
    char *dir = hone_path_parent(path), *file = dir ? hone_io_join(dir, "tokenizer_config.json") : NULL, *text = NULL;
    size_t bytes;
    struct stat st;
    hone_status status = file ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while reading %s", path);
    if (status == HONE_OK && stat(file, &st) == 0) {
        json_t *o = NULL;
        status = hone_file_read(file, 16 << 20, &text, &bytes);
        if (status == HONE_OK) status = hone_json_parse(text, bytes, 0, &o, NULL);
        if (status == HONE_OK && !o) status = hone_fail(HONE_ERR_DATA, "repair or remove it", "%s: no JSON", file);
        bool chinese = norm->chinese_chars;
        if (status == HONE_OK) status = hone_json_flag(file, o, "do_lower_case", norm->lowercase, &norm->lowercase);
        if (status == HONE_OK) status = hone_json_flag(file, o, "strip_accents", norm->lowercase, &norm->strip_accents);
        if (status == HONE_OK)
            status = hone_json_flag(file, o, "tokenize_chinese_chars", chinese, &norm->chinese_chars);
        json_decref(o);
    }
    free(text);
    free(file);
    free(dir);
    return status;
}

/* The rules are BERT's; the file beside the vocabulary may say otherwise. */
static hone_status fill_vocab_txt(const char *path, const char *text, size_t bytes, bool lowercase, hone_tokenizer *t)
{
    hone_norm norm = {HONE_NORM_BERT, true, true, lowercase, lowercase}; /* cleaned, ideographs apart */
    HONE_TRY(read_config(path, &norm));
    t->norm[t->norm_count++] = norm;
    t->prefix = calloc(3, 1);
    if (!t->prefix) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
    memcpy(t->prefix, "##", 2);
    HONE_TRY(read_lines(path, text, bytes, t));
    HONE_TRY(bert_specials(path, t));
    return hone_tokenizer_finish(t);
}

/* As hone_tokenizer_parse: a tokenizer or nothing. */
static hone_status open_vocab_txt(const char *path, const char *text, size_t bytes, bool lowercase,
                                  hone_tokenizer **out)
{
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_WORDPIECE);
    HONE_TRY(hone_tokenizer_new(&o, out));
    hone_status status = fill_vocab_txt(path, text, bytes, lowercase, *out);
    if (status == HONE_OK) return HONE_OK;
    hone_tokenizer_free(*out);
    *out = NULL;
    return status;
}

/* --- paths --------------------------------------------------------------------------------------------- */

/* Files of other tokenizers that people have at hand. */
static hone_status refuse(const char *path)
{
    const char *hint = "give a vocab.txt (WordPiece), a tokenizer.json, or a folder that holds one";
    if (ends_with(path, ".model"))
        hint = "SentencePiece models are not read; `hone tokenizer train` makes a WordPiece or BPE tokenizer";
    else if (ends_with(path, "merges.txt") || ends_with(path, "vocab.json"))
        hint = "give the tokenizer.json of the same model; it holds both files";
    return hone_fail(HONE_ERR_DATA, hint, "%s: not a tokenizer file that hone reads", path);
}

/* By name, as people name these files; the content is checked by its reader. */
static hone_status open_file(const char *path, bool lowercase, hone_tokenizer **out)
{
    char *text = NULL;
    size_t bytes = 0;
    bool json = ends_with(path, ".json") && strcmp(base_name(path), "vocab.json") != 0;
    bool lines = ends_with(path, ".txt") && !ends_with(path, "merges.txt");
    if (!json && !lines) return refuse(path); /* before reading: such files may be huge */
    HONE_TRY(hone_file_read(path, FILE_LIMIT, &text, &bytes));
    hone_status status =
        json ? hone_tokenizer_parse(path, text, bytes, out) : open_vocab_txt(path, text, bytes, lowercase, out);
    free(text);
    return status;
}

/* tokenizer.json first: it says more than vocab.txt. */
static hone_status open_folder(const char *path, bool lowercase, hone_tokenizer **out)
{
    static const char *const name[] = {"tokenizer.json", "vocab.txt"};
    struct stat st;
    for (int k = 0; k < 2; k++) {
        char *file = hone_io_join(path, name[k]);
        if (!file) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while reading %s", path);
        bool there = stat(file, &st) == 0;
        hone_status status = there ? open_file(file, lowercase, out) : HONE_OK;
        free(file);
        if (there) return status;
    }
    return hone_fail(HONE_ERR_DATA, "hone reads WordPiece and byte-level BPE from one of these files",
                     "%s: holds neither tokenizer.json nor vocab.txt", path);
}

/* A folder is what `train.init` and a run directory give. */
hone_status hone_tokenizer_open(const char *path, bool lowercase, hone_tokenizer **out)
{
    struct stat st;
    *out = NULL;
    if (stat(path, &st) != 0)
        return hone_fail(HONE_ERR_DATA, "give ngram, wordpiece, bpe, char, or the path of a tokenizer file",
                         "%s: no such tokenizer file", path);
    return S_ISDIR(st.st_mode) ? open_folder(path, lowercase, out) : open_file(path, lowercase, out);
}
