/* test_token_cache.c - token ids on disk: read back to the bit, rebuilt when stale or damaged, never trusted.
 * rooms: text io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hone/io.h"
#include "io/file.h"
#include "text/token_cache.h"

static char dir[] = "/tmp/hone-cache-XXXXXX", path[64];

static void ok(hone_status s)
{
    if (s != HONE_OK) fail_msg("%s", hone_error_message());
}

/* Counts its calls, so that a cache that was used can be told from one that was not. */
typedef struct source {
    int calls;
} source;

static void text_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    static const char *const text_of[] = {"one two", "", "two three four", "one"};
    ((source *)arg)->calls++;
    *text = part ? "pair" : text_of[i];
    *bytes = strlen(*text);
}

static hone_tokenizer *make(hone_texts texts, int64_t buckets)
{
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    hone_tokenizer *t;
    o.buckets = buckets;
    ok(hone_tokenizer_train(&o, &texts, 1, &t));
    return t;
}

static bool same(const hone_token_set *a, const hone_token_set *b)
{
    size_t offsets = ((size_t)a->count + 1) * sizeof *a->offset;
    bool pairs = (a->second != NULL) == (b->second != NULL);
    return a->count == b->count && a->tokens == b->tokens && pairs && !memcmp(a->offset, b->offset, offsets) &&
           !memcmp(a->id, b->id, (size_t)a->tokens * sizeof *a->id) &&
           (!a->second || !memcmp(a->second, b->second, (size_t)a->count * sizeof *a->second)) &&
           a->cut_texts == b->cut_texts && a->cut_tokens == b->cut_tokens;
}

/* Text alone and pairs: the second time nothing is tokenized; another key is another file. */
static void test_get(void **state)
{
    (void)state;
    for (int parts = 1; parts <= 2; parts++) {
        source s = {0};
        hone_texts texts = {4, parts, &s, text_at};
        hone_tokenizer *t = make(texts, 100), *other = make(texts, 101);
        hone_token_set first, second, third;
        char note[200];
        ok(hone_token_cache_get(path, 7, t, &texts, 2, 2, &first, note, sizeof note));
        assert_true(first.map == NULL && first.cut_texts == 1 && !*note);
        s.calls = 0;
        ok(hone_token_cache_get(path, 7, t, &texts, 2, 2, &second, note, sizeof note));
        assert_true(second.map != NULL && s.calls == 0 && same(&first, &second));
        static const int64_t length[] = {2, 0};
        for (int what = 0; what < 3; what++) { /* data, tokenizer, max_length */
            s.calls = 0;
            ok(hone_token_cache_get(path, what == 0 ? 8 : 7, what == 1 ? other : t, &texts, length[what == 2], 1,
                                    &third, note, sizeof note));
            assert_true(s.calls == 4 * parts && third.map == NULL);
            hone_token_set_free(&third);
            ok(hone_token_cache_get(path, 7, t, &texts, 2, 1, &third, note, sizeof note)); /* written anew */
            hone_token_set_free(&third);
        }
        hone_token_set_free(&first);
        hone_token_set_free(&second);
        hone_tokenizer_free(t);
        hone_tokenizer_free(other);
        unlink(path);
    }
}

/* Every byte of a file, flipped; every length, cut: never found, never read past its end. */
static void test_damage(void **state)
{
    (void)state;
    source s = {0};
    hone_texts texts = {4, 2, &s, text_at};
    hone_tokenizer *t = make(texts, 100);
    hone_token_key key = {7, hone_tokenizer_fingerprint(t), 0, hone_tokenizer_vocab_size(t)};
    hone_token_set set, found_set;
    bool found;
    char *data, why[100];
    size_t bytes;
    ok(hone_tokenizer_encode_all(t, &texts, 0, 1, &set));
    ok(hone_token_cache_write(path, &key, &set));
    ok(hone_token_cache_open(path, &key, &found, &found_set, why, sizeof why));
    assert_true(found && same(&set, &found_set));
    hone_token_set_free(&found_set);
    ok(hone_file_read(path, 1 << 20, &data, &bytes));
    assert_int_equal(bytes, 128 + 5 * 8 + set.tokens * 4 + 4 * 4);
    for (size_t k = 0; k < bytes; k++) {
        data[k] ^= 0x10;
        FILE *f = fopen(path, "wb");
        assert_true(f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0);
        ok(hone_token_cache_open(path, &key, &found, &found_set, why, sizeof why));
        if (found) fail_msg("byte %zu flipped and not seen", k);
        assert_true(*why);
        data[k] ^= 0x10;
    }
    for (size_t cut = 0; cut < bytes; cut += 3) {
        FILE *f = fopen(path, "wb");
        assert_true(f && fwrite(data, 1, cut, f) == cut && fclose(f) == 0);
        ok(hone_token_cache_open(path, &key, &found, &found_set, why, sizeof why));
        assert_false(found);
    }
    free(data);
    hone_token_set_free(&set);
    hone_tokenizer_free(t);
    unlink(path);
}

/* A right hash is no proof of right contents: ids past the vocabulary and offsets that run back are refused. */
static void test_contents(void **state)
{
    (void)state;
    int32_t id[3] = {0, 1, 2}, second[2] = {1, 0};
    int64_t offset[3] = {0, 2, 3};
    hone_token_set set = {.count = 2, .tokens = 3, .id = id, .offset = offset, .second = second}, out;
    hone_token_key key = {1, 2, 0, 3};
    bool found;
    for (int fault = 0; fault < 6; fault++) {
        id[1] = fault == 1 ? 3 : fault == 2 ? -1 : 1;
        offset[1] = fault == 3 ? 4 : 2;
        offset[0] = fault == 4 ? 1 : 0;
        second[1] = fault == 5 ? 2 : 0;
        ok(hone_token_cache_write(path, &key, &set));
        ok(hone_token_cache_open(path, &key, &found, &out, NULL, 0));
        assert_true(found == (fault == 0));
        if (found) hone_token_set_free(&out);
    }
    unlink(path);
}

/* A disk that fails at any call leaves the old file or none, and the ids are there all the same. */
static void test_faults(void **state)
{
    (void)state;
    source s = {0};
    hone_texts texts = {4, 1, &s, text_at};
    hone_tokenizer *t = make(texts, 100);
    int noted = 0;
    for (int64_t k = 1; k < 12; k++) {
        hone_token_set set;
        char note[300];
        hone_fault_set(k, HONE_FAULT_ENOSPC);
        ok(hone_token_cache_get(path, (uint64_t)k, t, &texts, 0, 1, &set, note, sizeof note));
        hone_fault_set(0, HONE_FAULT_NONE);
        assert_int_equal(set.count, 4);
        noted += *note != '\0';
        hone_token_set_free(&set);
    }
    assert_true(noted >= 3);
    hone_token_set set;
    char note[300];
    ok(hone_token_cache_get("/nonexistent/x", 1, t, &texts, 0, 1, &set, note, sizeof note));
    assert_non_null(strstr(note, "/nonexistent/x"));
    hone_token_set_free(&set);
    hone_tokenizer_free(t);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* no temporary is left */
}

int main(void)
{
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/tokens", dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_get), cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_contents), cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
