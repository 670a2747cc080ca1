/* test_text_check.c - `hone data check|stats`, `hone init`, data.check: strict: planted faults must be found.
 * rooms: cli
 * needs: cli
 *
 * Texts are made from a word list by a fixed generator, so nothing in them is a copy by accident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/wait.h>

#include "core/text.h"
#include "data/check.h"
#include "data/twins.h"
#include "support/command.h"
#include "support/data_checks.h"

/* `words` words of text number `id`: from 4,000 words, so two texts share next to nothing. */
static void make_text(hone_text *t, uint32_t id, int words)
{
    uint32_t x = id * 2654435761u + 12345;
    for (int k = 0; k < words; k++) {
        x = x * 1664525u + 1013904223u;
        uint32_t w = (x >> 8) % 4000;
        hone_text_add(t, "%s%c%c%c%u", k ? " " : "", 'a' + w % 26, 'a' + w / 26 % 26, 'a' + w / 7 % 26, w % 97);
    }
}

static const hone_finding *found(const hone_data_report *r, const char *kind)
{
    for (int k = 0; k < r->finding_count; k++)
        if (strcmp(r->finding[k].kind, kind) == 0) return &r->finding[k];
    return NULL;
}

static void wanted(const hone_data_report *r, const char *kind, int64_t count)
{
    const hone_finding *f = found(r, kind);
    if ((f ? f->count : 0) != count)
        fail_msg("%s: wanted %lld, found %lld", kind, (long long)count, f ? (long long)f->count : 0);
}

static hone_data *open_text(const char *path, hone_config *c)
{
    *c = data_config(path);
    c->task = HONE_TASK_TEXT;
    c->data.val_fraction = 0;
    return opened(c);
}

/* A clean set: 400 training rows, 100 test rows, two classes. */
static void write_set(hone_text *train, hone_text *test)
{
    *train = *test = (hone_text){0};
    hone_text_add(train, "label\ttext\n");
    hone_text_add(test, "label\ttext\n");
    for (int i = 0; i < 500; i++) {
        hone_text *t = i < 400 ? train : test;
        hone_text_add(t, "%s\t", i % 2 ? "spam" : "ham");
        make_text(t, (uint32_t)i, 20 + i % 30);
        hone_text_add(t, "\n");
    }
}

static void save_set(const char *root, hone_text *train, hone_text *test)
{
    scratch_write(root, "set/train.tsv", train->data, train->bytes);
    scratch_write(root, "set/test.tsv", test->data, test->bytes);
    hone_text_free(train);
    hone_text_free(test);
}

static void report_of(const char *root, hone_data **d, hone_data_report *r, int threads)
{
    hone_config c;
    *d = open_text(scratch_path(root, "set"), &c);
    if (hone_data_report_make(*d, HONE_REPORT_CHECK, 60, threads, r) != HONE_OK) fail_msg("%s", hone_error_message());
}

/* No planted fault, no finding: a checker that cries wolf is not read. */
static void test_clean(void **state)
{
    hone_text train, test;
    hone_data *d;
    hone_data_report r;
    write_set(&train, &test);
    save_set(*state, &train, &test);
    report_of(*state, &d, &r, 1);
    if (r.finding_count) fail_msg("%s: %s", r.finding[0].kind, r.finding[0].text);
    assert_int_equal(r.rows[0], 400);
    assert_int_equal(r.rows[2], 100);
    assert_int_equal(r.class_rows[0], 200);
    assert_int_equal(r.class_rows[5], 50);
    assert_int_equal(r.words.min, 20);
    assert_int_equal(r.words.max, 49);
    hone_data_report_free(&r);
    hone_data_free(d);
}

/* T21, T22 and TRUST 13: 10 exact, 7 case-only and 10 near copies across splits, and the rest. */
static void test_planted(void **state)
{
    hone_text train, test;
    write_set(&train, &test);
    for (uint32_t i = 0; i < 10; i++) { /* exact, of training rows 2 i */
        hone_text_add(&test, "ham\t");
        make_text(&test, 2 * i, 20 + (int)(2 * i) % 30);
        hone_text_add(&test, "\n");
    }
    for (uint32_t i = 0; i < 7; i++) { /* but for case and spaces */
        hone_text t = {0};
        make_text(&t, 100 + 2 * i, 20 + (int)(100 + 2 * i) % 30);
        for (size_t k = 0; k < t.bytes; k += 3)
            if (t.data[k] >= 'a' && t.data[k] <= 'z') t.data[k] = (char)(t.data[k] - 32);
        hone_text_add(&test, "ham\t  %s \n", t.data);
        hone_text_free(&t);
    }
    for (uint32_t i = 0; i < 10; i++) { /* near: one word of 20 to 49 more, and other punctuation */
        hone_text_add(&test, "ham\t");
        make_text(&test, 200 + 2 * i, 20 + (int)(200 + 2 * i) % 30);
        hone_text_add(&test, " indeed!\n");
    }
    hone_text_add(&train, "ham\t");
    make_text(&train, 301, 20 + 301 % 30); /* row 301 is spam */
    hone_text_add(&train, "\nspam\t   \nham\t");
    make_text(&train, 9000, 70);
    hone_text_add(&train, "\nSpam\tone more class that differs in case\nnan\tan odd class\n");
    save_set(*state, &train, &test);
    for (int threads = 1; threads < 4; threads += 2) {
        hone_data *d;
        hone_data_report r;
        report_of(*state, &d, &r, threads);
        wanted(&r, "exact_duplicate_across", 10);
        wanted(&r, "exact_duplicate_within", 1);
        wanted(&r, "case_duplicate_across", 7);
        wanted(&r, "case_duplicate_within", 0);
        wanted(&r, "near_duplicate_across", 10);
        wanted(&r, "near_duplicate_within", 0);
        wanted(&r, "label_conflict", 1);
        wanted(&r, "empty_text", 1);
        wanted(&r, "long_text", 1);
        wanted(&r, "rare_class", 2);
        wanted(&r, "imbalance", 202);
        wanted(&r, "class_name", 2);
        wanted(&r, "missing_class", 2);
        const hone_finding *f = found(&r, "exact_duplicate_across");
        assert_int_equal(f->example.count, 5);
        assert_string_equal(f->example.item[0], "test.tsv:102 (test) = train.tsv:2 (train)");
        f = found(&r, "label_conflict");
        assert_string_equal(f->example.item[0], "train.tsv:402 (train) is \"ham\", train.tsv:303 (train) is \"spam\"");
        hone_config c;
        hone_data_free(d);
        d = NULL;
        c = data_config(scratch_path(*state, "set"));
        c.task = HONE_TASK_TEXT;
        c.data.check = HONE_CHECK_STRICT;
        c.text.max_length = 60;
        assert_int_equal(data_open(&c, &d), HONE_ERR_DATA);
        assert_non_null(strstr(hone_error_message(), "data.check: strict: "));
        assert_non_null(strstr(hone_error_message(), "label_conflict: 1 row has"));
        hone_data_report_free(&r);
    }
}

/* The similarity itself, against sets that are counted by hand. */
static void test_similarity(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        double similarity;
    } pair[] = {
        {"abcdefgh", "abcdefgh", 1},
        {"ABC, defgh", "abc  defgh!", 1},  /* folded: "abc defgh" */
        {"abcdefgh", "abcdefgx", 3.0 / 5}, /* 4 shingles each, 3 common */
        {"abc", "abc", 1},                 /* shorter than a shingle: one stretch */
        {"abc", "abd", 0},
        {"", "", 0},
        {"\xC3\x84\xC3\x96\xC3\x9C\xC3\x84\xC3\x96x", "\xC3\xA4\xC3\xB6\xC3\xBC\xC3\xA4\xC3\xB6y",
         1.0 / 3}, /* five letters, ten bytes */
    };
    for (size_t k = 0; k < sizeof pair / sizeof *pair; k++) {
        hone_text_row a = {.text = pair[k].a, .bytes = (uint32_t)strlen(pair[k].a)};
        hone_text_row b = {.text = pair[k].b, .bytes = (uint32_t)strlen(pair[k].b)};
        double s = hone_text_similarity(&a, &b);
        if (s < pair[k].similarity - 1e-9 || s > pair[k].similarity + 1e-9)
            fail_msg("\"%s\" and \"%s\": %g, wanted %g", pair[k].a, pair[k].b, s, pair[k].similarity);
    }
}

/* Every pair that the search reports is one by definition, and it misses few: all pairs are compared. */
static void test_near_against_all_pairs(void **state)
{
    (void)state;
    enum { N = 300 };
    static hone_text text[N];
    static hone_text_row row[N];
    const hone_text_row *list[N];
    for (int i = 0; i < N; i++) { /* clusters of three: the base, and 1 or 2 of 30 words changed */
        text[i] = (hone_text){0};
        make_text(&text[i], 5000 + (uint32_t)(i / 3), 30);
        for (int k = 0; k < i % 3; k++) memcpy(text[i].data + 20 + 60 * k, "####", 4);
        row[i] = (hone_text_row){.text = text[i].data, .bytes = (uint32_t)text[i].bytes};
        list[i] = &row[i];
    }
    hone_twins t;
    assert_int_equal(hone_twins_find(list, N, 2, &t), HONE_OK);
    int near = 0, missed = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) {
            bool is_near = hone_text_similarity(&row[i], &row[j]) >= HONE_NEAR_SIMILARITY;
            bool said = t.near[i] == t.near[j];
            near += is_near;
            missed += is_near && !said;
            if (said && i / 3 != j / 3) fail_msg("%d and %d are not near", i, j);
        }
    assert_true(near >= 150);
    assert_true(missed * 50 <= near); /* 2 % */
    hone_twins_free(&t);
    for (int i = 0; i < N; i++) hone_text_free(&text[i]);
}

/* --- the command ------------------------------------------------------------------------------------------ */
static void test_commands(void **state)
{
    const char *root = *state;
    hone_text train, test;
    write_set(&train, &test);
    hone_text_add(&test, "spam\t");
    make_text(&test, 1, 21);
    hone_text_add(&test, "\n");
    save_set(root, &train, &test);
    runs(root, "data check set 2>&1", 0,
         "exact_duplicate_across: 1 row is the same as an earlier one of another split");
    runs(root, "data stats set 2>&1", 0, "rows: 400 train, 0 val, 101 test; 2 classes");
    assert_null(strstr(output, "duplicate"));
    runs(root, "data check set --json 2>&1", 0, "");
    json_t *j = json_loads(output, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "rows"), "test")), 101);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "findings"), 0), "kind")),
                        "exact_duplicate_across");
    json_decref(j);
    runs(root, "data check nowhere 2>&1", 3, "no such file or folder");
    runs(root, "data stat set 2>&1", 2, "did you mean stats?");
    runs(root, "data check set data.colums.label=x 2>&1", 2, "did you mean data.columns?");
    runs(root, "data check set data.columns.label=kind 2>&1", 3, "set/train.tsv:1: no column \"kind\"");
    runs(root, "init set -o set.yaml 2>&1", 0, "hone train set.yaml");
    runs(root, "config show set.yaml 2>&1", 0, "embedding_bag");
    runs(root, "data check set.yaml 2>&1", 0, "exact_duplicate_across");
    runs(root, "init set -o set.yaml 2>&1", 2, "set.yaml: File exists");
    scratch_text(root, "other.csv", "kind,body\nh,x\ns,y\nh,z\n");
    runs(root, "init other.csv data.columns.input=body data.columns.label=kind 2>&1", 0,
         "columns: {input: \"body\", label: \"kind\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planted, setup, teardown),
        cmocka_unit_test(test_similarity),
        cmocka_unit_test(test_near_against_all_pairs),
        cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
