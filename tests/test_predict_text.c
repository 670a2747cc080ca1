/* test_predict_text.c - predictions for texts: pairs get the token types that an evaluation feeds, to the bit; programs
 * of every size give the same bits; half a pair is refused with its place and a fix.
 * rooms: train text data model compile graph config io kernels core
 * needs: cli */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "hone/hone.h"
#include "hone/philox.h"
#include "support/scratch.h"
#include "train/capacity.h"
#include "train/saved.h"

enum { ROWS = 60, CLASSES = 3, LONGEST = 340, TEXTS = 300 };

/* A BERT of two layers on pairs, and a transformer on single texts; their tokenizers are trained on the rows. */
static const char page[] = "task: text\n"
                           "data: {train: %s, test: %s, val_fraction: 0, columns: {second: %s}}\n"
                           "text: {tokenizer: wordpiece, vocab_size: 300, max_length: 400}\n"
                           "model: {file: %s/configs/models/%s.yaml, with: {%s}}\n"
                           "train: {epochs: 2, batch: 16, optimizer: {name: adamw, lr: 1e-2}}\n";
static const char bert_sizes[] = "layers: 2, dim: 16, heads: 2, ff: 32, length: 400",
                  transformer_sizes[] = "depth: 2, dim: 16, heads: 2, ff: 32";

/* `count` words of text `stream`, another order and other words for every one. */
static void add_words(hone_text *t, uint64_t stream, int count)
{
    for (int k = 0; k < count; k++)
        hone_text_add(t, "%sword%u", k ? " " : "",
                      hone_philox(3, HONE_STREAM_SYNTHETIC, stream, (uint32_t)k).v[0] % 90);
}

/* Texts of a table: of 1 to 12 words, those of the pair's second part another length. */
static void write_rows(const char *path)
{
    hone_text t = {0};
    hone_text_add(&t, "label\ttext\tsecond\n");
    for (int k = 0; k < ROWS; k++) {
        hone_text_add(&t, "c%d\t", k % CLASSES);
        add_words(&t, (uint64_t)k, 1 + k % 12);
        hone_text_add(&t, "\t");
        add_words(&t, (uint64_t)k + 1000, 1 + k % 5);
        hone_text_add(&t, "\n");
    }
    assert_int_equal(hone_file_write(path, t.data, t.bytes), HONE_OK);
    hone_text_free(&t);
}

static void train(const char *dir, const char *name, const char *net, const char *sizes, bool pairs)
{
    char text[2400], rows[1000];
    hone_config *c = NULL;
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = scratch_path(dir, name)};
    snprintf(rows, sizeof rows, "%s", scratch_path(dir, "rows.tsv"));
    snprintf(text, sizeof text, page, rows, rows, pairs ? "second" : "~", HONE_SOURCE_DIR, net, sizes);
    if (hone_config_read_text("page.yaml", text, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
}

static int make_runs(void **state)
{
    char *dir = hone_strdup(scratch_make());
    write_rows(scratch_path(dir, "rows.tsv"));
    train(dir, "pairs", "bert_base", bert_sizes, true);
    train(dir, "single", "transformer", transformer_sizes, false);
    *state = dir;
    return 0;
}

static int remove_runs(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* --- pairs ------------------------------------------------------------------------------------------------------- */

/* The rows of the table again, as arrays that a caller of the library has. */
typedef struct rows {
    hone_data *data;
    const char *first[ROWS], *second[ROWS];
    size_t first_bytes[ROWS], second_bytes[ROWS];
} rows;

static void open_rows(const char *run, rows *r)
{
    hone_saved saved;
    hone_image_spec none = {0};
    assert_int_equal(hone_saved_open(run, &saved), HONE_OK);
    if (hone_data_open(saved.config, &none, &r->data) != HONE_OK) fail_msg("%s", hone_error_message());
    for (int64_t k = 0; k < ROWS; k++) {
        hone_dataset_text(r->data->test, k, 0, &r->first[k], &r->first_bytes[k]);
        hone_dataset_text(r->data->test, k, 1, &r->second[k], &r->second_bytes[k]);
    }
    hone_saved_close(&saved);
}

/* Rows whose likeliest class, or the bits of its score, are not the evaluation's. */
static int differences(const hone_evaluation *e, const float *probability)
{
    int wrong = 0, best;
    for (int k = 0; k < ROWS; k++) {
        hone_predictor_top(probability + k * CLASSES, CLASSES, 1, &best);
        wrong += best != e->predicted[k] || memcmp(&probability[k * CLASSES + best], &e->score[k], sizeof(float)) != 0;
    }
    return wrong;
}

/* All at once, one by one, and written as lines with a tab: each time what an evaluation says, to the bit. */
static void pairs_are_those_of_an_evaluation(void **state)
{
    const char *run = scratch_path(*state, "pairs");
    hone_eval_opts o = {.device = "cpu", .threads = 1};
    hone_evaluation e;
    hone_predictor *p;
    rows r;
    float got[ROWS * CLASSES];
    open_rows(run, &r);
    if (hone_evaluate(run, &o, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(e.n, ROWS);
    if (hone_predictor_open(run, "cpu", 1, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_true(hone_predictor_takes_pairs(p));
    assert_int_equal(hone_predictor_pairs(p, r.first, r.first_bytes, r.second, r.second_bytes, ROWS, got), HONE_OK);
    assert_int_equal(differences(&e, got), 0);
    for (int k = 0; k < ROWS; k++) {
        assert_int_equal(hone_predictor_pairs(p, r.first + k, r.first_bytes + k, r.second + k, r.second_bytes + k, 1,
                                              got + k * CLASSES),
                         HONE_OK);
    }
    assert_int_equal(differences(&e, got), 0);
    for (int k = 0; k < ROWS; k++) {
        hone_text line = {0};
        hone_text_add(&line, "%.*s\t%.*s", (int)r.first_bytes[k], r.first[k], (int)r.second_bytes[k], r.second[k]);
        const char *text = line.data;
        assert_int_equal(hone_predictor_texts(p, &text, &line.bytes, 1, got + k * CLASSES), HONE_OK);
        hone_text_free(&line);
    }
    assert_int_equal(differences(&e, got), 0);
    /* planted: the parts in the other order are other ids of other types */
    assert_int_equal(hone_predictor_pairs(p, r.second, r.second_bytes, r.first, r.first_bytes, ROWS, got), HONE_OK);
    assert_true(differences(&e, got) > ROWS / 2);
    hone_predictor_close(p);
    hone_evaluation_free(&e);
    hone_data_free(r.data);
}

/* Only the table of types tells the net where the second text begins: with one that says nothing, the answers must be
 * others. So the comparison above would have seen types that nobody fed. */
static void types_reach_the_net(void **state)
{
    rows r;
    hone_saved saved;
    hone_predictor *p;
    char was[1000];
    float with[ROWS * CLASSES], without[ROWS * CLASSES];
    const char *run = scratch_path(*state, "pairs"), *weights = scratch_path(*state, "pairs/best.safetensors");
    open_rows(run, &r);
    assert_int_equal(hone_predictor_open(run, "cpu", 1, &p), HONE_OK);
    assert_int_equal(hone_predictor_pairs(p, r.first, r.first_bytes, r.second, r.second_bytes, ROWS, with), HONE_OK);
    hone_predictor_close(p);
    assert_int_equal(hone_saved_open(run, &saved), HONE_OK);
    hone_param *table =
        (hone_param *)hone_model_find_param(saved.model, "bert.embeddings.token_type_embeddings.weight");
    assert_non_null(table);
    memcpy(table->value + table->dim[1], table->value, (size_t)table->dim[1] * sizeof(float));
    int count = 0;
    hone_blob *blob = hone_weights_blobs(saved.model, &count);
    snprintf(was, sizeof was, "%s.kept", weights);
    assert_int_equal(rename(weights, was), 0);
    assert_int_equal(hone_safetensors_write(weights, blob, count, NULL), HONE_OK);
    free(blob);
    hone_saved_close(&saved);
    if (hone_predictor_open(run, "cpu", 1, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_predictor_pairs(p, r.first, r.first_bytes, r.second, r.second_bytes, ROWS, without), HONE_OK);
    hone_predictor_close(p);
    assert_int_equal(rename(was, weights), 0);
    int same = 0;
    for (int k = 0; k < ROWS * CLASSES; k++) same += with[k] == without[k];
    assert_true(same < ROWS);
    hone_data_free(r.data);
}

/* Half a pair, and a pair for a model of single texts: each told with its fix. */
static void wrong_parts_are_refused(void **state)
{
    hone_predictor *p, *q;
    const char *one = "word1 word2";
    size_t size = strlen(one);
    float got[CLASSES];
    assert_int_equal(hone_predictor_open(scratch_path(*state, "pairs"), "cpu", 1, &p), HONE_OK);
    assert_int_equal(hone_predictor_open(scratch_path(*state, "single"), "cpu", 1, &q), HONE_OK);
    assert_int_equal(hone_predictor_texts(p, &one, &size, 1, got), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "word1 word2"));
    assert_non_null(strstr(hone_error_hint(), "tab"));
    assert_false(hone_predictor_takes_pairs(q));
    assert_int_equal(hone_predictor_pairs(q, &one, &size, &one, &size, 1, got), HONE_ERR_USAGE);
    /* a second text of no size is a pair all the same */
    const char *nothing = NULL;
    assert_int_equal(hone_predictor_pairs(p, &one, &size, &nothing, (size_t[]){0}, 1, got), HONE_OK);
    assert_int_equal(hone_predictor_texts(p, (const char *[]){"word1 word2\t"}, (size_t[]){size + 1}, 1, got + 0),
                     HONE_OK);
    hone_predictor_close(p);
    hone_predictor_close(q);
}

/* --- the command ------------------------------------------------------------------------------------------------- */

/* Its exit code; *out (4000) gets stdout and stderr. */
static int command(const char *dir, const char *arguments, const char *run, char *out)
{
    char line[3000];
    snprintf(line, sizeof line, "'" HONE_BINARY "' predict '%s' %s --device cpu 2>&1", scratch_path(dir, run),
             arguments);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, 3999, f);
    out[n] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_command_takes_pairs(void **state)
{
    char a[4000], b[4000], c[4000];
    assert_int_equal(command(*state, "'word1 word2' --second 'word3' --format jsonl", "pairs", a), 0);
    assert_int_equal(command(*state, "\"word1 word2$(printf '\\t')word3\" --format jsonl", "pairs", b), 0);
    assert_string_equal(a, b);
    assert_non_null(strstr(a, "word1 word2\\u0009word3")); /* JSON of a tab */
    assert_int_equal(command(*state, "'word3' --second 'word1 word2' --format jsonl", "pairs", c), 0);
    assert_string_not_equal(strstr(a, "\"score\""), strstr(c, "\"score\""));
    assert_int_equal(command(*state, "'word1 word2'", "pairs", a), 3);
    assert_non_null(strstr(a, "--second"));
    assert_int_equal(command(*state, "'a' 'b' --second 'c'", "pairs", a), 2);
    assert_int_equal(command(*state, "'a' --second 'c'", "single", a), 2);
    assert_non_null(strstr(a, "single texts"));
    hone_text lines = {0};
    hone_text_add(&lines, "word1\tword2\nno second one\nword1\tword4\n");
    assert_int_equal(hone_file_write(scratch_path(*state, "lines"), lines.data, lines.bytes), HONE_OK);
    hone_text_free(&lines);
    char redirected[1200];
    snprintf(redirected, sizeof redirected, "- < '%s'", scratch_path(*state, "lines"));
    assert_int_equal(command(*state, redirected, "pairs", a), 3);
    assert_non_null(strstr(a, "stdin, line 2"));
    assert_non_null(strstr(a, "no second one"));
}

/* --- sizes ------------------------------------------------------------------------------------------------------- */

static void capacities_are_few_and_sufficient(void **state)
{
    (void)state;
    int64_t before = 0;
    int sizes = 0;
    for (int64_t n = 0; n <= 512; n++) {
        int64_t room = hone_capacity_of(n);
        assert_true(room >= n && room >= before && room % 4 == 0 && (n < 8 || room * 2 < n * 3 + 24));
        sizes += room != before;
        before = room;
    }
    assert_int_equal(sizes, 13); /* 8, 12, 16, 24 ... 512: as many as predict_text.c means to keep */
    assert_int_equal(hone_capacity_of((int64_t)3 << 30), (int64_t)3 << 30);
}

/* Texts of all lengths, many times the programs that are kept: alone, by threes, seventeen at a time and more than a
 * batch, forwards and backwards, and each has the bits that it had alone. */
static void every_size_gives_the_same_bits(void **state)
{
    static const int some[] = {3, 17, TEXTS, 1, 2, 290};
    static char *text[TEXTS];
    static size_t size[TEXTS];
    static float want[TEXTS * CLASSES], got[TEXTS * CLASSES];
    hone_predictor *p;
    for (int k = 0; k < TEXTS; k++) {
        hone_text t = {0};
        add_words(&t, 5000 + (uint64_t)k, k * 7 % LONGEST); /* one of them is empty */
        size[k] = t.bytes;
        text[k] = t.data ? hone_text_take(&t) : hone_strdup("");
    }
    assert_int_equal(hone_predictor_open(scratch_path(*state, "single"), "cpu", 1, &p), HONE_OK);
    for (int k = 0; k < TEXTS; k++)
        assert_int_equal(hone_predictor_texts(p, (const char *const *)text + k, size + k, 1, want + k * CLASSES),
                         HONE_OK);
    for (size_t s = 0; s < sizeof some / sizeof *some; s++) {
        for (int at = 0, n; at < TEXTS; at += n) {
            n = TEXTS - at < some[s] ? TEXTS - at : some[s];
            assert_int_equal(hone_predictor_texts(p, (const char *const *)text + at, size + at, n, got + at * CLASSES),
                             HONE_OK);
        }
        assert_memory_equal(got, want, sizeof want);
    }
    /* planted: another text in one place must show */
    const char *other = text[5];
    assert_int_equal(hone_predictor_texts(p, &other, size + 5, 1, got), HONE_OK);
    assert_memory_not_equal(got, want, CLASSES * sizeof *got);
    hone_predictor_close(p);
    for (int k = 0; k < TEXTS; k++) free(text[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_an_evaluation),  cmocka_unit_test(types_reach_the_net),
        cmocka_unit_test(wrong_parts_are_refused),           cmocka_unit_test(the_command_takes_pairs),
        cmocka_unit_test(capacities_are_few_and_sufficient), cmocka_unit_test(every_size_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, make_runs, remove_runs);
}
