/* test_small.c - bags as small files: they fit, they answer as their run does, damaged ones are refused, and so is what
 * is no bag. A pruned tokenizer gives the ids of the whole one, without those that went.
 * rooms: train text data model config io core
 * needs: cli */
#include "support/text_run.h"

#include <math.h>
#include <sys/stat.h>

#include "text/tokenizer.h"
#include "train/saved.h"
#include "train/small.h"

static size_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static hone_saved opened(const char *path)
{
    hone_saved s;
    if (hone_saved_open(path, &s) != HONE_OK) fail_msg("%s", hone_error_message());
    return s;
}

static void train_run(const char *dir)
{
    watch w = {0};
    write_all(dir);
    if (train(dir, "run", plain, 1, &w, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
}

static hone_small_report write_small(const char *dir, size_t max_bytes, const char *name)
{
    hone_small_report r;
    hone_saved s = opened(path_in(dir, "run"));
    if (hone_small_write(&s, 2, max_bytes, path_in(dir, name), &r) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_saved_close(&s);
    assert_true(size_of(path_in(dir, name)) <= max_bytes);
    return r;
}

static double accuracy_of(const char *dir, const char *model)
{
    hone_evaluation e;
    hone_eval_opts o = {.device = "cpu", .threads = 1, .data = path_in(dir, "test.tsv"), .split = "test"};
    if (hone_evaluate(path_in(dir, model), &o, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    double accuracy = e.accuracy;
    hone_evaluation_free(&e);
    return accuracy;
}

/* --- files ------------------------------------------------------------------------------------------------ */

/* All rows that training met in 8 bits; fewer in 4. What tells the classes apart is worth most and stays last. */
static void test_fits(void **state)
{
    train_run(*state);
    hone_small_report all = write_small(*state, 1000000, "all.safetensors");
    assert_int_equal(all.bits, 8);
    assert_int_equal(all.kept, all.seen);
    assert_true(all.seen < all.rows);
    double before = accuracy_of(*state, "run");
    assert_true(before > 0.95);
    assert_true(fabs(accuracy_of(*state, "all.safetensors") - before) < 0.011);
    hone_small_report few = write_small(*state, 8000, "few.safetensors");
    assert_int_equal(few.bits, 4);
    assert_true(few.kept > 20 && few.kept < all.kept);
    assert_true(accuracy_of(*state, "few.safetensors") > before - 0.05);
    /* the same bytes twice */
    write_small(*state, 8000, "again.safetensors");
    char *a, *b;
    size_t m, n;
    assert_int_equal(hone_file_read(path_in(*state, "few.safetensors"), 1 << 20, &a, &m), HONE_OK);
    assert_int_equal(hone_file_read(path_in(*state, "again.safetensors"), 1 << 20, &b, &n), HONE_OK);
    assert_true(m == n && memcmp(a, b, m) == 0);
    free(a);
    free(b);
}

/* 8 bits of a number leave the answers where they were. */
static void test_answers(void **state)
{
    static const char *const text[] = {"left right", "W1 right left W2", "", "paper W9 W9", "nothing known"};
    size_t bytes[5];
    float p[2][15];
    train_run(*state);
    write_small(*state, 1000000, "all.safetensors");
    for (int k = 0; k < 5; k++) bytes[k] = strlen(text[k]);
    for (int k = 0; k < 2; k++) {
        hone_predictor *q;
        const char *model = path_in(*state, k ? "all.safetensors" : "run");
        if (hone_predictor_open(model, "cpu", 2, &q) != HONE_OK) fail_msg("%s", hone_error_message());
        assert_int_equal(hone_predictor_texts(q, text, bytes, 5, p[k]), HONE_OK);
        hone_predictor_close(q);
    }
    for (int k = 0; k < 12; k++) assert_true(fabsf(p[0][k] - p[1][k]) < 0.03f);
}

/* Any bit: an error or another number, never a crash (the suite runs under sanitizers too). */
static void test_damaged(void **state)
{
    char *data;
    size_t bytes, refused = 0;
    train_run(*state);
    write_small(*state, 8000, "few.safetensors");
    assert_int_equal(hone_file_read(path_in(*state, "few.safetensors"), 1 << 20, &data, &bytes), HONE_OK);
    for (size_t at = 0; at < bytes; at += at < 1500 ? 3 : 41) {
        hone_saved s = {0};
        data[at] ^= (char)(1 << at % 8);
        assert_int_equal(hone_file_write(path_in(*state, "bad.safetensors"), data, bytes), HONE_OK);
        if (hone_small_open(path_in(*state, "bad.safetensors"), &s) != HONE_OK) refused++;
        hone_saved_close(&s);
        data[at] ^= (char)(1 << at % 8);
    }
    assert_true(refused > 100);
    for (size_t cut = 0; cut < bytes; cut += 97) {
        hone_saved s = {0};
        assert_int_equal(hone_file_write(path_in(*state, "bad.safetensors"), data, cut), HONE_OK);
        assert_true(hone_small_open(path_in(*state, "bad.safetensors"), &s) != HONE_OK);
        hone_saved_close(&s);
    }
    free(data);
}

/* --- refusals --------------------------------------------------------------------------------------------- */

static void expect(hone_status status, const char *what)
{
    assert_int_equal(status, HONE_ERR_USAGE);
    if (!strstr(hone_error_message(), what)) fail_msg("wanted %s, got %s", what, hone_error_message());
    assert_true(*hone_error_hint() != '\0');
}

static void test_refuses(void **state)
{
    hone_small_report r;
    hone_config *c;
    train_run(*state);
    hone_saved s = opened(path_in(*state, "run"));
    expect(hone_small_write(&s, 1, 100, path_in(*state, "x"), &r), "--max-bytes 100");
    hone_saved_close(&s);
    assert_int_equal(size_of(path_in(*state, "x")), 0);
    write_small(*state, 8000, "few.safetensors");
    s = opened(path_in(*state, "few.safetensors"));
    expect(hone_small_write(&s, 1, 100000, path_in(*state, "x"), &r), "small already");
    hone_saved_close(&s);
    /* pictures */
    hone_preprocess pre = {.height = 4, .width = 4, .channels = 1, .std = {1}};
    const char *const names[] = {"a", "b"};
    assert_int_equal(hone_config_read_text("p", "task: image\ndata: {path: .}\nmodel: {layers: [flatten, linear: 2]}\n",
                                           NULL, 0, &c),
                     HONE_OK);
    s = (hone_saved){.config = c, .weights = strdup("pictures")};
    assert_int_equal(hone_model_new(c, &pre, 2, names, 1, &s.model), HONE_OK);
    expect(hone_small_write(&s, 1, 100000, path_in(*state, "x"), &r), "no bag");
    hone_saved_close(&s);
}

/* The command says what it did, and its mistakes by exit code. */
static void test_command(void **state)
{
    char command[1200], *out;
    size_t bytes;
    train_run(*state);
    snprintf(command, sizeof command, HONE_BINARY " export %s --to small --max-bytes 9000 --device cpu --json > %s",
             path_in(*state, "run"), path_in(*state, "out.json"));
    assert_int_equal(system(command), 0);
    assert_int_equal(hone_file_read(path_in(*state, "out.json"), 1 << 20, &out, &bytes), HONE_OK);
    assert_non_null(strstr(out, "\"bits\":4"));
    assert_non_null(strstr(out, "\"n\":100"));
    free(out);
    /* in the folder of its run it knows the run's data */
    snprintf(command, sizeof command, HONE_BINARY " eval %s --device cpu --json > %s",
             path_in(*state, "run/small.safetensors"), path_in(*state, "out.json"));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, HONE_BINARY " export %s --to small --max-bytes 50 2> %s", path_in(*state, "run"),
             path_in(*state, "err"));
    assert_int_equal(WEXITSTATUS(system(command)), 2);
}

/* --- the tokenizer ---------------------------------------------------------------------------------------- */

static const char *const sample[] = {"the quick brown fox", "the lazy dog \xC3\xA9t\xC3\xA9", "dog the fox quick", "",
                                     "unknown words here the fox"};

static void sample_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    (void)arg;
    (void)part;
    *text = sample[i];
    *bytes = strlen(sample[i]);
}

static void same_ids(const hone_tokenizer *t, const int32_t *new_id, const hone_tokenizer *pruned)
{
    hone_ids a = {0}, b = {0};
    for (int k = 0; k < 5; k++) {
        int64_t at = 0;
        a.count = b.count = 0;
        assert_int_equal(hone_tokenizer_encode(t, sample[k], strlen(sample[k]), NULL, 0, 0, &a, NULL), HONE_OK);
        assert_int_equal(hone_tokenizer_encode(pruned, sample[k], strlen(sample[k]), NULL, 0, 0, &b, NULL), HONE_OK);
        for (int64_t i = 0; i < a.count; i++) {
            if (new_id[a.id[i]] < 0) continue;
            assert_true(at < b.count && b.id[at] == new_id[a.id[i]]);
            at++;
        }
        assert_int_equal(at, b.count);
    }
    hone_ids_free(&a);
    hone_ids_free(&b);
}

/* Every third row goes; buckets of sizes around the 64 of a group; with and without a vocabulary; through its file. */
static void test_tokenizer(void **state)
{
    static const int64_t buckets[] = {1, 63, 64, 65, 1000};
    (void)state;
    for (int k = 0; k < 10; k++) {
        hone_texts texts = {.count = 3, .parts = 1, .at = sample_at};
        hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
        hone_tokenizer *t, *pruned, *again;
        o.words[1] = 2;
        o.chars[0] = 2;
        o.chars[1] = 3;
        o.buckets = buckets[k % 5];
        o.min_count = k < 5;
        assert_int_equal(hone_tokenizer_train(&o, &texts, 1, &t), HONE_OK);
        int64_t size = hone_tokenizer_vocab_size(t), kept = 0;
        uint8_t *keep = calloc((size_t)size, 1);
        int32_t *new_id = malloc((size_t)size * sizeof *new_id);
        for (int64_t r = 0; r < size; r++) {
            keep[r] = r % 3 != 1;
            new_id[r] = keep[r] ? (int32_t)kept++ : -1;
        }
        assert_int_equal(hone_tokenizer_keep(t, keep, &pruned), HONE_OK);
        assert_int_equal(hone_tokenizer_vocab_size(pruned), kept);
        same_ids(t, new_id, pruned);
        char *json = hone_tokenizer_json(pruned);
        if (hone_tokenizer_parse("pruned", json, strlen(json), &again) != HONE_OK) fail_msg("%s", hone_error_message());
        assert_true(hone_tokenizer_fingerprint(again) == hone_tokenizer_fingerprint(pruned));
        same_ids(t, new_id, again);
        hone_tokenizer_free(again);
        expect(hone_tokenizer_keep(pruned, keep, &again), "pruned");
        free(json);
        free(keep);
        free(new_id);
        hone_tokenizer_free(pruned);
        hone_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_fits),    WITH_SCRATCH(test_answers), WITH_SCRATCH(test_damaged),
        WITH_SCRATCH(test_refuses), WITH_SCRATCH(test_command), cmocka_unit_test(test_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
