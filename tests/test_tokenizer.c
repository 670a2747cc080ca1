/* test_tokenizer.c - token ids against goldens of the `tokenizers` package (tests/golden/make_tokenizers.py), files that
 * must be refused, malformed bytes, n-grams and characters by hand, training, and threads.
 * rooms: text io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hone/io.h"
#include "text/tokenizer.h"

#define GOLDEN HONE_TESTS_DIR "/golden/tokenizers/"

static void ok(hone_status s)
{
    if (s != HONE_OK) fail_msg("%s (%s)", hone_error_message(), hone_error_hint());
}

/* --- helpers ------------------------------------------------------------------------------------------- */

static hone_ids encode(const hone_tokenizer *t, const char *text, size_t bytes)
{
    hone_ids ids = {0};
    ok(hone_tokenizer_encode(t, text, bytes, NULL, 0, 0, &ids, NULL));
    return ids;
}

static hone_tokenizer *parse(const char *json)
{
    hone_tokenizer *t = NULL;
    ok(hone_tokenizer_parse("test.json", json, strlen(json), &t));
    return t;
}

/* Whether two tokenizers, or two texts, give the same ids. */
static bool same_ids(const hone_tokenizer *a, const char *x, size_t n, const hone_tokenizer *b, const char *y, size_t m)
{
    hone_ids p = encode(a, x, n), q = encode(b, y, m);
    bool same = p.count == q.count && (p.count == 0 || memcmp(p.id, q.id, (size_t)p.count * sizeof *p.id) == 0);
    hone_ids_free(&p);
    hone_ids_free(&q);
    return same;
}

/* Texts in an array of strings. */
static void string_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    (void)part;
    *text = ((const char *const *)arg)[i];
    *bytes = strlen(*text);
}

static hone_texts strings(const char *const *text, int64_t count)
{
    return (hone_texts){count, 1, (void *)(uintptr_t)text, string_at};
}

/* --- goldens ------------------------------------------------------------------------------------------- */

static json_t *read_golden(void)
{
    char *text;
    size_t bytes;
    ok(hone_file_read(GOLDEN "ids.json", 1 << 24, &text, &bytes));
    json_t *root = json_loadb(text, bytes, JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static bool equals(const hone_ids *ids, const json_t *list, size_t count)
{
    if ((size_t)ids->count != count) return false;
    for (size_t k = 0; k < count; k++)
        if (ids->id[k] != json_integer_value(json_array_get(list, k))) return false;
    return true;
}

/* How many of the golden texts come out differently. */
static int count_differences(const hone_tokenizer *t, const json_t *root, const char *name)
{
    const json_t *texts = json_object_get(root, "texts"), *all = json_object_get(json_object_get(root, "ids"), name);
    int differ = 0;
    assert_true(json_array_size(texts) > 100 && json_array_size(all) == json_array_size(texts));
    for (size_t k = 0; k < json_array_size(texts); k++) {
        const json_t *text = json_array_get(texts, k), *list = json_array_get(all, k);
        hone_ids ids = encode(t, json_string_value(text), json_string_length(text));
        differ += !equals(&ids, list, json_array_size(list));
        hone_ids_free(&ids);
    }
    return differ;
}

/* Neighbouring texts as pairs, cut: ids, and how many belong to the first segment. */
static int count_pair_differences(const hone_tokenizer *t, const json_t *root, const char *name)
{
    const json_t *texts = json_object_get(root, "texts"), *all = json_object_get(json_object_get(root, "pairs"), name);
    int64_t longest = json_integer_value(json_object_get(root, "max_length"));
    hone_ids ids = {0}; /* one buffer for all: what an earlier text left must not matter */
    int differ = 0;
    for (size_t k = 0; k < json_array_size(all); k++) {
        const json_t *a = json_array_get(texts, k), *b = json_array_get(texts, k + 1), *list = json_array_get(all, k);
        hone_encoded what;
        ids.count = 0;
        ok(hone_tokenizer_encode(t, json_string_value(a), json_string_length(a), json_string_value(b),
                                 json_string_length(b), longest, &ids, &what));
        size_t count = json_array_size(list) - 1;
        differ += !equals(&ids, list, count) || what.second != json_integer_value(json_array_get(list, count));
    }
    hone_ids_free(&ids);
    return differ;
}

static const char *const golden_name[] = {"wordpiece_uncased", "wordpiece_cased", "bpe"};

static hone_tokenizer *open_golden(const char *name)
{
    char path[512];
    hone_tokenizer *t;
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    ok(hone_tokenizer_open(path, false, &t));
    return t;
}

static void test_golden(void **state)
{
    (void)state;
    json_t *root = read_golden();
    for (int k = 0; k < 3; k++) {
        hone_tokenizer *t = open_golden(golden_name[k]);
        assert_int_equal(count_differences(t, root, golden_name[k]), 0);
        assert_int_equal(count_pair_differences(t, root, golden_name[k]), 0);
        hone_tokenizer_free(t);
    }
    json_decref(root);
}

/* Written and read again: the same file, the same fingerprint, the same ids. */
static void test_round_trip(void **state)
{
    (void)state;
    json_t *root = read_golden();
    for (int k = 0; k < 3; k++) {
        hone_tokenizer *t = open_golden(golden_name[k]);
        char *json = hone_tokenizer_json(t);
        assert_non_null(json);
        hone_tokenizer *again = parse(json);
        char *twice = hone_tokenizer_json(again);
        assert_string_equal(json, twice);
        assert_true(hone_tokenizer_fingerprint(t) == hone_tokenizer_fingerprint(again));
        assert_int_equal(count_differences(again, root, golden_name[k]), 0);
        hone_tokenizer_free(t);
        hone_tokenizer_free(again);
        free(json);
        free(twice);
    }
    json_decref(root);
}

/* Reads `json` with one place changed. */
static hone_tokenizer *parse_changed(const char *json, const char *from, const char *to)
{
    const char *at = strstr(json, from);
    if (!at) fail_msg("the golden file has no %s", from);
    size_t before = (size_t)(at - json);
    char *changed = malloc(strlen(json) + strlen(to) + 1);
    assert_non_null(changed);
    memcpy(changed, json, before);
    strcpy(changed + before, to);
    strcat(changed, at + strlen(from));
    hone_tokenizer *t = parse(changed);
    free(changed);
    return t;
}

/* The goldens must see each rule: with one of them changed, some text comes out differently. */
static void test_golden_sees_faults(void **state)
{
    static const struct {
        int golden;
        const char *from, *to;
    } fault[] = {{0, "\"lowercase\":true", "\"lowercase\":false,\"x\":1"},
                 {0, "\"strip_accents\":null", "\"strip_accents\":false"},
                 {0, "\"clean_text\":true", "\"clean_text\":false"},
                 {0, "\"handle_chinese_chars\":true", "\"handle_chinese_chars\":false"},
                 {1, "\"max_input_chars_per_word\":100", "\"max_input_chars_per_word\":99"},
                 {1, "\"lowercase\":false", "\"lowercase\":true"},
                 {2, "\"add_prefix_space\":true", "\"add_prefix_space\":false"},
                 {2, "\"use_regex\":true", "\"use_regex\":false"},
                 {2, "\"lstrip\":true", "\"lstrip\":false"}};
    (void)state;
    json_t *root = read_golden();
    for (size_t k = 0; k < sizeof fault / sizeof *fault; k++) {
        char path[512], *json;
        size_t bytes;
        const char *name = golden_name[fault[k].golden];
        snprintf(path, sizeof path, GOLDEN "%s.json", name);
        ok(hone_file_read(path, 1 << 24, &json, &bytes));
        hone_tokenizer *t = parse_changed(json, fault[k].from, fault[k].to);
        if (count_differences(t, root, name) == 0) fail_msg("%s: nothing sees %s", name, fault[k].to);
        hone_tokenizer_free(t);
        free(json);
    }
    json_decref(root);
}

static void test_special(void **state)
{
    (void)state;
    char text[16];
    hone_tokenizer *t = open_golden("wordpiece_cased");
    hone_special_ids s = hone_tokenizer_special(t);
    assert_true(s.pad == 0 && s.unk == 1 && s.cls == 2 && s.sep == 3 && s.mask == 4);
    assert_string_equal(hone_tokenizer_token(t, 3, text, sizeof text), "[SEP]");
    assert_string_equal(hone_tokenizer_token(t, 3, text, 4), "[SE");
    assert_string_equal(hone_tokenizer_token(t, -1, text, sizeof text), "");
    assert_int_equal(hone_tokenizer_find(t, "[MASK]", 6), 4);
    assert_int_equal(hone_tokenizer_find(t, "no such token", 13), -1);
    hone_tokenizer_free(t);
    t = open_golden("bpe");
    s = hone_tokenizer_special(t);
    assert_true(s.cls == 0 && s.pad == 1 && s.sep == 2 && s.unk == 3 && s.mask == hone_tokenizer_vocab_size(t) - 1);
    hone_tokenizer_free(t);
}

/* --- malformed bytes ----------------------------------------------------------------------------------- */

/* As Python's bytes.decode("utf-8", "replace"): one U+FFFD for each maximal subpart. */
static void test_malformed(void **state)
{
    static const struct {
        const char *bytes, *text;
    } row[] = {{"a\xFF b", "a\uFFFD b"},
               {"\xC0\x80", "\uFFFD\uFFFD"},
               {"x\x80", "x\uFFFD"},
               {"\xED\xA0\x80 y", "\uFFFD\uFFFD\uFFFD y"},
               {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
               {"\xE2\x82 z", "\uFFFD z"},
               {"\xF0\x9F\x98", "\uFFFD"},
               {"caf\xE9 au lait \xC3\xA9", "caf\uFFFD au lait \u00E9"},
               {"\xF0\x80\x80\x41", "\uFFFD\uFFFD\uFFFD"
                                    "A"}};
    (void)state;
    static const char *const corpus[] = {"a b x y z A \uFFFD caf\uFFFD au lait \u00E9", "caf\uFFFD a\uFFFD"};
    for (int kind = 0; kind < 4; kind++) {
        hone_tokenizer_opts o = hone_tokenizer_defaults((hone_tokenizer_kind)kind);
        hone_texts texts = strings(corpus, 2);
        hone_tokenizer *t;
        o.vocab_size = 600;
        o.min_count = 1;
        ok(hone_tokenizer_train(&o, &texts, 1, &t));
        for (size_t k = 0; k < sizeof row / sizeof *row; k++)
            if (!same_ids(t, row[k].bytes, strlen(row[k].bytes), t, row[k].text, strlen(row[k].text)))
                fail_msg("%s, row %zu", hone_tokenizer_kind_name((hone_tokenizer_kind)kind), k);
        hone_tokenizer_free(t);
    }
}

/* --- refused ------------------------------------------------------------------------------------------- */

#define MODEL "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"a\":1}}"
#define BERT  "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"

static void test_refused(void **state)
{
    static const struct {
        const char *json, *says;
    } row[] = {
        {"", "no JSON"},
        {"[1]", "has no model"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model Unigram"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":1}}," BERT "}", "[UNK]"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":99999999}}," BERT "}", "outside 0"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"b\":0}}," BERT "}", "two tokens"},
        {"{" MODEL "}", "pre_tokenizer none"},
        {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\"}}", "Metaspace"},
        {"{" MODEL "," BERT ",\"normalizer\":{\"type\":\"Precompiled\"}}", "Precompiled"},
        {"{" MODEL "," BERT ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\"}]}}",
         "Replace"},
        {"{" MODEL "," BERT ",\"post_processor\":{\"type\":\"Odd\"}}", "Odd"},
        {"{" MODEL "," BERT ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\",7],\"cls\":[\"x\",1]}}",
         "sep"},
        {"{" MODEL "," BERT ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[]}}",
         "each text once"},
        {"{" MODEL "," BERT ",\"added_tokens\":[{\"id\":1,\"content\":\"a\",\"single_word\":true}]}", "single_word"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a "
         "b\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
         "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":true}}", "byte_fallback"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
         "end_of_word_suffix"},
        {"{\"model\":{\"type\":\"hone-ngram\",\"words\":[3,1],\"chars\":[0,0],\"vocab\":[]}}", "text.ngram.words"},
        {"{\"model\":{\"type\":\"hone-char\",\"vocab\":[\"a\",1]}}", "vocab[1]"},
        {"{\"model\":{\"type\":\"hone-char\",\"vocab\":[\"a\",\"b\",\"a\"]}}", "vocab[2]: \"a\" is there twice"},
    };
    (void)state;
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        hone_tokenizer *t = NULL;
        hone_status s = hone_tokenizer_parse("test.json", row[k].json, strlen(row[k].json), &t);
        if (s == HONE_OK) fail_msg("row %zu was read", k);
        assert_null(t);
        if (!strstr(hone_error_message(), row[k].says)) fail_msg("row %zu: %s", k, hone_error_message());
    }
}

static void test_paths(void **state)
{
    (void)state;
    char dir[] = "/tmp/hone-tok-XXXXXX", path[64], config[64];
    hone_tokenizer *t = NULL;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(hone_tokenizer_open("/nonexistent", true, &t), HONE_ERR_DATA);
    assert_int_equal(hone_tokenizer_open(dir, true, &t), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "neither"));
    snprintf(path, sizeof path, "%s/spm.model", dir);
    ok(hone_file_write(path, "x", 1));
    assert_int_equal(hone_tokenizer_open(path, true, &t), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_hint(), "SentencePiece"));
    unlink(path);
    snprintf(path, sizeof path, "%s/vocab.txt", dir);
    ok(hone_file_write(path, "a\nb\n", 4));
    assert_int_equal(hone_tokenizer_open(path, true, &t), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "[UNK]"));
    static const char vocab[] = "[PAD]\r\n[UNK]\r\n[CLS]\n[SEP]\nhello\nHello\n##s\n";
    ok(hone_file_write(path, vocab, sizeof vocab - 1));
    ok(hone_tokenizer_open(dir, true, &t)); /* lower-cased, as asked */
    hone_ids ids = encode(t, "Hellos", 6);
    assert_true(ids.count == 4 && ids.id[0] == 2 && ids.id[1] == 4 && ids.id[2] == 6 && ids.id[3] == 3);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", dir);
    ok(hone_file_write(config, "{\"do_lower_case\":false}", 23));
    ok(hone_tokenizer_open(path, true, &t)); /* the file beside it knows better */
    ids = encode(t, "Hello", 5);
    assert_true(ids.count == 3 && ids.id[1] == 5);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
    unlink(path);
    unlink(config);
    rmdir(dir);
}

/* --- n-grams ------------------------------------------------------------------------------------------- */

static hone_tokenizer *train(const hone_tokenizer_opts *o, const char *const *text, int64_t count, int threads)
{
    hone_tokenizer *t;
    hone_texts texts = strings(text, count);
    ok(hone_tokenizer_train(o, &texts, threads, &t));
    return t;
}

static void test_ngram_words(void **state)
{
    static const char *const text[] = {"The cat the dog", "a  cat\u00A0The\u3000END"};
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.buckets = 1000;
    hone_tokenizer *t = train(&o, text, 2, 1);
    /* the 3, cat 2, then a dog end by bytes */
    assert_int_equal(hone_tokenizer_find(t, "the", 3), 0);
    assert_int_equal(hone_tokenizer_find(t, "cat", 3), 1);
    assert_int_equal(hone_tokenizer_find(t, "a", 1), 2);
    assert_int_equal(hone_tokenizer_find(t, "dog", 3), 3);
    assert_int_equal(hone_tokenizer_find(t, "end", 3), 4);
    assert_int_equal(hone_tokenizer_vocab_size(t), 1005);
    hone_ids ids = encode(t, "the\tNEW dog the dog", 19), other = encode(t, "dog the", 7);
    /* 4 known words, 4 pairs; an unknown word has no id, but is part of pairs */
    assert_int_equal(ids.count, 8);
    assert_true(ids.id[0] == 0 && ids.id[1] == 3 && ids.id[2] == 0 && ids.id[3] == 3);
    for (int k = 4; k < 8; k++) assert_true(ids.id[k] >= 5 && ids.id[k] < 1005);
    assert_true(other.count == 3 && other.id[2] == ids.id[6]); /* "dog the" */
    assert_true(ids.id[6] != ids.id[7]);                       /* and not "the dog" */
    hone_ids_free(&ids);
    hone_ids_free(&other);
    hone_tokenizer_free(t);
    o.min_count = 2;
    o.words[1] = 1;
    t = train(&o, text, 2, 1);
    assert_int_equal(hone_tokenizer_vocab_size(t), 2); /* nothing is hashed: no buckets */
    hone_tokenizer_free(t);
    o.min_count = 0; /* all words hashed */
    t = train(&o, text, 2, 1);
    assert_int_equal(hone_tokenizer_vocab_size(t), 1000);
    ids = encode(t, "the cat THE", 11);
    assert_true(ids.count == 3 && ids.id[0] == ids.id[2] && ids.id[0] != ids.id[1]);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
}

static void test_ngram_limits(void **state)
{
    static const char *const text[] = {"one two three four"};
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.words[0] = 2;
    o.words[1] = 3;
    hone_tokenizer *t = train(&o, text, 1, 1);
    hone_ids ids = {0};
    hone_encoded what;
    assert_int_equal(hone_tokenizer_vocab_size(t), 2000000); /* no single words, no vocabulary */
    ok(hone_tokenizer_encode(t, text[0], strlen(text[0]), NULL, 0, 0, &ids, &what));
    assert_true(what.count == 5 && what.cut == 0); /* 3 pairs, 2 triples */
    ok(hone_tokenizer_encode(t, text[0], strlen(text[0]), NULL, 0, 2, &ids, &what));
    assert_true(what.count == 1 && what.cut == 2 && ids.count == 6 && ids.id[5] == ids.id[0]);
    ok(hone_tokenizer_encode(t, " \n", 2, NULL, 0, 0, &ids, &what));
    assert_true(what.count == 0 && ids.count == 6);
    ok(hone_tokenizer_encode(t, "one two", 7, "one two", 7, 0, &ids, &what));
    assert_true(what.count == 2 && what.second == 1 && ids.id[6] == ids.id[7]);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
}

/* "<ab>" has subwords <a ab b> of two, <ab ab> of three; borders alone are none; é is one character. */
static void test_ngram_subwords(void **state)
{
    static const char *const text[] = {"ab x\u00E9y"};
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.words[1] = 1;
    o.chars[0] = 1;
    o.chars[1] = 3;
    hone_tokenizer *t = train(&o, text, 1, 1);
    hone_ids ab = encode(t, "ab", 2), accent = encode(t, "x\u00E9y", 4), b = encode(t, "b", 1);
    assert_int_equal(ab.count, 1 + 2 + 3 + 2);
    assert_int_equal(accent.count, 1 + 3 + 4 + 3);
    assert_int_equal(b.count, 4);                            /* the word is unknown; <b <b> b b> count */
    assert_true(b.id[2] == ab.id[6] && b.id[3] == ab.id[7]); /* behind ab <a <ab a ab ab> */
    hone_ids_free(&ab);
    hone_ids_free(&accent);
    hone_ids_free(&b);
    hone_tokenizer_free(t);
}

static void test_ngram_punctuation(void **state)
{
    static const char *const text[] = {"well, well! (yes)", "\u00ABno\u00BB..."};
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.words[1] = 1;
    static const int64_t words[] = {4, 10, 3}; /* well, well! (yes) «no»...; well , ! ( yes ) « no » . */
    static const int64_t tokens[] = {3, 7, 3};
    for (int p = 0; p < 3; p++) {
        o.punctuation = (hone_punctuation)p;
        hone_tokenizer *t = train(&o, text, 2, 1);
        hone_ids ids = encode(t, text[0], strlen(text[0]));
        assert_int_equal(hone_tokenizer_vocab_size(t), words[p]);
        assert_int_equal(ids.count, tokens[p]);
        hone_ids_free(&ids);
        hone_tokenizer_free(t);
    }
}

/* --- characters, training ------------------------------------------------------------------------------ */

static void test_chars(void **state)
{
    static const char *const text[] = {"bba", "B\u00C9"};
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_CHAR);
    hone_tokenizer *t = train(&o, text, 2, 1);
    hone_ids ids = encode(t, "A\u00E9bz\0", 6);
    /* [PAD] [UNK] b a é */
    assert_int_equal(hone_tokenizer_vocab_size(t), 5);
    assert_int_equal(ids.count, 5);
    assert_true(ids.id[0] == 3 && ids.id[1] == 4 && ids.id[2] == 2 && ids.id[3] == 1 && ids.id[4] == 1);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
}

/* The example of Sennrich et al. (2016), table 1, with spaces as bytes: pairs by count, ties by smaller ids. */
static void test_merges(void **state)
{
    static const char *const text[] = {"low low low low low", "lower lower",
                                       "newest newest newest newest newest newest", "widest widest widest"};
    static const char *const merge[] = {"es", "est", "lo", "low"}; /* 9, 9, 7, 7; then "ne", "ew" and so on with 6 */
    (void)state;
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_BPE);
    o.vocab_size = 5 + 256 + 4;
    hone_tokenizer *t = train(&o, text, 4, 1);
    char token[16];
    for (int k = 0; k < 4; k++) assert_string_equal(hone_tokenizer_token(t, 261 + k, token, sizeof token), merge[k]);
    hone_tokenizer_free(t);
    o.vocab_size = 100;
    hone_texts texts = strings(text, 4);
    assert_int_equal(hone_tokenizer_train(&o, &texts, 1, &t), HONE_ERR_USAGE);
    texts.count = 0;
    o.vocab_size = 1000;
    assert_int_equal(hone_tokenizer_train(&o, &texts, 1, &t), HONE_ERR_DATA);
}

enum { MANY = 3000 };

/* Texts with repeated words, numbers, accents, and long runs. */
static char **many_texts(void)
{
    char **text = calloc(MANY, sizeof *text);
    assert_non_null(text);
    for (int k = 0; k < MANY; k++) {
        text[k] = malloc(256);
        snprintf(text[k], 256, "Package number %d is %s, it's caf\u00E9 no. %d%*s %.*s", k % 97, k % 3 ? "Good" : "bad",
                 k * 7919 % 1000, k % 5, "", k % 60, "abcabcabdabcabcabdabcabcabdabcabcabdabcabcabdabcabcabdabcabc");
    }
    return text;
}

/* One thread and four: the same vocabulary, the same ids, from memory and from the file. */
static void test_threads(void **state)
{
    (void)state;
    char **text = many_texts();
    hone_texts texts = strings((const char *const *)text, MANY);
    for (int kind = 0; kind < 4; kind++) {
        hone_tokenizer_opts o = hone_tokenizer_defaults((hone_tokenizer_kind)kind);
        hone_token_set one, four;
        o.vocab_size = 400;
        hone_tokenizer *t = train(&o, (const char *const *)text, MANY, 1);
        hone_tokenizer *u = train(&o, (const char *const *)text, MANY, 4);
        char *json = hone_tokenizer_json(t), *again = hone_tokenizer_json(u);
        assert_string_equal(json, again);
        hone_tokenizer *read = parse(json);
        ok(hone_tokenizer_encode_all(t, &texts, 30, 1, &one));
        ok(hone_tokenizer_encode_all(read, &texts, 30, 4, &four));
        assert_true(one.count == MANY && one.tokens == four.tokens && one.tokens > 10 * MANY);
        assert_true(one.cut_texts == four.cut_texts && one.cut_tokens == four.cut_tokens);
        assert_memory_equal(one.offset, four.offset, (MANY + 1) * sizeof *one.offset);
        assert_memory_equal(one.id, four.id, (size_t)one.tokens * sizeof *one.id);
        for (int64_t k = 0; k < one.tokens; k++)
            assert_true(one.id[k] >= 0 && one.id[k] < hone_tokenizer_vocab_size(t));
        hone_token_set_free(&one);
        hone_token_set_free(&four);
        hone_tokenizer_free(t);
        hone_tokenizer_free(u);
        hone_tokenizer_free(read);
        free(json);
        free(again);
    }
    for (int k = 0; k < MANY; k++) free(text[k]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_golden_sees_faults),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_ngram_words),
        cmocka_unit_test(test_ngram_limits),
        cmocka_unit_test(test_ngram_subwords),
        cmocka_unit_test(test_ngram_punctuation),
        cmocka_unit_test(test_chars),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
