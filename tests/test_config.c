/* test_config.c - pages and their mistakes: snapshots of messages, typos of every key, round trips.
 * rooms: config core
 *
 * tests/snapshots/config/NAME.yaml is a page; lines "# override: key=value" at its start are overrides.
 * NAME.err holds the exact message of a wrong page; pages named ok-* must be accepted and survive a
 * round trip through resolved.yaml. HONE_UPDATE_SNAPSHOTS=1 writes the .err files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/schema.h"
#include "support/snapshot.h"

static const char minimal[] = "data: {path: d}\nmodel: {layers: [linear: classes]}\n";

/* --- snapshots -------------------------------------------------------------------------------------- */
enum { MAX_CASES = 512 };

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names of the pages without ".yaml", sorted. */
static int list_cases(char *name[MAX_CASES])
{
    int count = 0;
    DIR *dir = opendir(HONE_TESTS_DIR "/snapshots/config");
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) && count < MAX_CASES;) {
        size_t n = strlen(e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0) name[count++] = strndup(e->d_name, n - 5);
    }
    closedir(dir);
    qsort(name, (size_t)count, sizeof *name, by_name);
    return count;
}

/* Overrides at the head of a page; points into *text, which is the caller's to free. */
static int overrides_of(const char *path, char **text, const char *override[16])
{
    static const char mark[] = "# override: ";
    int count = 0;
    *text = snapshot_read(path);
    assert_non_null(*text);
    for (char *line = *text; strncmp(line, mark, sizeof mark - 1) == 0 && count < 16;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        override[count++] = line + sizeof mark - 1;
        line = end + 1;
    }
    return count;
}

static hone_status read_case(const char *name, hone_config **out)
{
    char path[256], *text = NULL;
    const char *override[16];
    snprintf(path, sizeof path, "%s.yaml", name);
    int count = overrides_of(path, &text, override);
    hone_status status = hone_config_read(path, override, count, out);
    free(text);
    return status;
}

static void enter_snapshots(char back[1024])
{
    assert_non_null(getcwd(back, 1024));
    assert_int_equal(chdir(HONE_TESTS_DIR "/snapshots/config"), 0); /* messages name the page as it was given */
}

static void wrong_pages_say_exactly_this(void **state)
{
    (void)state;
    char *name[MAX_CASES], back[1024];
    int count = list_cases(name), wrong = 0, failed = 0;
    enter_snapshots(back);
    for (int k = 0; k < count; k++) {
        hone_config *c = NULL;
        if (strncmp(name[k], "ok-", 3) == 0) continue;
        wrong++;
        hone_status status = read_case(name[k], &c);
        char snapshot[128], message[20000];
        snprintf(snapshot, sizeof snapshot, "config/%s.err", name[k]);
        snprintf(message, sizeof message, "%s\n", hone_error_message());
        if (status != HONE_ERR_USAGE) {
            fprintf(stderr, "%s: accepted, or another status: %d\n", name[k], status);
            failed++;
        } else {
            failed += !snapshot_matches(snapshot, message);
        }
        hone_config_free(c);
    }
    assert_int_equal(chdir(back), 0);
    for (int k = 0; k < count; k++) free(name[k]);
    assert_true(wrong >= 60);
    assert_int_equal(failed, 0);
}

/* The checker's own test: another message, and a page whose snapshot is missing, must be noticed. */
static void planted_difference_is_noticed(void **state)
{
    (void)state;
    if (getenv("HONE_UPDATE_SNAPSHOTS")) skip();
    fprintf(stderr, "two planted differences follow\n");
    assert_false(snapshot_matches("config/key-typo.err", "key-typo.yaml:4:3: train.optimzer: unknown key\n"));
    assert_false(snapshot_matches("config/no-such-case.err", "x\n"));
}

/* --- round trip --------------------------------------------------------------------------------------- */
/* Values of two configs, row by row, as text; and their models. */
static void assert_same_config(const hone_config *a, const hone_config *b)
{
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        if (!hone_type_table[row->type].write) continue;
        hone_text x = {0}, y = {0};
        assert_int_equal(hone_row_applies(row, a), hone_row_applies(row, b));
        hone_type_table[row->type].write(row, a, &x);
        hone_type_table[row->type].write(row, b, &y);
        if (x.data || y.data) assert_string_equal(x.data, y.data);
        hone_text_free(&x);
        hone_text_free(&y);
    }
    assert_int_equal(a->data.synthetic.given, b->data.synthetic.given);
    char *x = hone_yaml_write(a->model.tree, 3), *y = hone_yaml_write(b->model.tree, 3);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static void resolved_pages_read_back(void **state)
{
    (void)state;
    char *name[MAX_CASES], back[1024];
    int count = list_cases(name), good = 0;
    enter_snapshots(back);
    for (int k = 0; k < count; k++) {
        hone_config *c = NULL, *again = NULL;
        if (strncmp(name[k], "ok-", 3) == 0) {
            good++;
            if (read_case(name[k], &c) != HONE_OK) fail_msg("%s: %s", name[k], hone_error_message());
            char *page = hone_config_resolved(c);
            if (hone_config_read_text("resolved.yaml", page, NULL, 0, &again) != HONE_OK)
                fail_msg("%s: %s\n%s", name[k], hone_error_message(), page);
            assert_same_config(c, again);
            free(page);
        }
        hone_config_free(c);
        hone_config_free(again);
        free(name[k]);
    }
    assert_int_equal(chdir(back), 0);
    assert_true(good >= 10);
}

static hone_config *read_good(const char *more, const char *const *override, int count)
{
    char page[4096];
    hone_config *c = NULL;
    snprintf(page, sizeof page, "%s%s", minimal, more);
    if (hone_config_read_text("page.yaml", page, override, count, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    return c;
}

static void values_reach_their_fields(void **state)
{
    (void)state;
    static const char *const override[] = {"train.optimizer.lr=0.25", "out=runs/x", "train.batch=7"};
    hone_config *c = read_good("train: {batch: 3, max_time: 20m, freeze: [a, b], loss: {class_weights: {cat: 2.5}}}\n"
                               "image: {size: [20, 30], channels: 3, mean: [0.1, 0.2, 0.3], std: auto}\n"
                               "checkpoint: {every: 500 steps}\n",
                               override, 3);
    assert_int_equal(c->train.batch, 7);
    assert_true(c->train.optimizer.lr == 0.25 && c->train.max_time == 1200);
    assert_string_equal(c->out, "runs/x");
    assert_string_equal(c->train.freeze.item[1], "b");
    assert_int_equal(c->train.loss.class_weights, HONE_WEIGHTS_GIVEN);
    assert_true(c->train.loss.weight_class.count == 1 && c->train.loss.weight_value[0] == 2.5);
    assert_true(c->image.height == 20 && c->image.width == 30 && c->image.channels == 3);
    assert_true(c->image.mean_count == 3 && c->image.mean[2] == 0.3f && !c->image.mean_auto && c->image.std_auto);
    assert_true(c->checkpoint.every.kind == HONE_EVERY_STEPS && c->checkpoint.every.value == 500);
    char *page = hone_config_resolved(c);
    assert_non_null(strstr(page, "lr: 0.25  # override train.optimizer.lr=0.25\n"));
    assert_non_null(strstr(page, "batch: 7  # override train.batch=7\n"));
    assert_non_null(strstr(page, "max_time: 1200s  # page.yaml:3\n"));
    assert_non_null(strstr(page, "epochs: 12  # default\n"));
    free(page);
    hone_config_free(c);
}

/* The defaults of the contract page. */
static void defaults_are_the_contract(void **state)
{
    (void)state;
    hone_config *c = read_good("", NULL, 0);
    assert_true(c->task == HONE_TASK_IMAGE && c->data.val_fraction == 0.1 && c->data.on_error == HONE_ON_ERROR_STOP);
    assert_true(c->train.epochs == 12 && c->train.batch == 128 && c->train.accumulate == 1 && c->train.seed == 1);
    assert_string_equal(c->train.optimizer.name, "sgd");
    assert_true(c->train.optimizer.lr == 0.1 && c->train.optimizer.momentum == 0.9 && c->train.optimizer.nesterov &&
                c->train.optimizer.weight_decay == 5e-4 && !c->train.optimizer.decay_all);
    assert_true(c->train.schedule.name == HONE_SCHEDULE_COSINE && c->train.schedule.warmup == 1 &&
                c->train.schedule.final == 0);
    assert_true(c->train.loss.label_smoothing == 0.1 && c->train.loss.class_weights == HONE_WEIGHTS_NONE);
    assert_true(c->train.clip_norm == 0 && c->train.ema == 0 && c->train.early_stop.patience == 0 && !c->train.init);
    assert_true(c->train.shuffle && c->train.deterministic && c->train.precision == HONE_PRECISION_AUTO);
    assert_true(c->checkpoint.every.kind == HONE_EVERY_EPOCHS && c->checkpoint.every.value == 1 &&
                c->checkpoint.keep == 2);
    assert_true(!c->checkpoint.initial && c->log.every == 50 && c->augment.flip == 0 && c->augment.crop_pad == 0);
    hone_config_free(c);
    c = read_good("train: {optimizer: adamw, schedule: constant}\n", NULL, 0);
    assert_true(c->train.optimizer.lr == 1e-3 && c->train.optimizer.beta1 == 0.9 && c->train.optimizer.beta2 == 0.999 &&
                c->train.optimizer.eps == 1e-8 && c->train.optimizer.weight_decay == 0.01 &&
                c->train.schedule.warmup == 0);
    hone_config_free(c);
    c = read_good("train: {optimizer: {momentum: 0}}\n", NULL, 0);
    assert_false(c->train.optimizer.nesterov);
    hone_config_free(c);
}

/* --- typos --------------------------------------------------------------------------------------------- */
typedef struct tally {
    int tried, right, wrong;
} tally;

/* `word` instead of the last part of `key` ("" = top): is key suggested? */
static void try_typo(const char *group, const char *word, const char *key, tally *t)
{
    hone_text said = {0};
    char expected[160];
    hone_key_suggest(group, word, &said);
    snprintf(expected, sizeof expected, " (did you mean %s?)", key);
    t->tried++;
    if (said.data && strcmp(said.data, expected) == 0) t->right++;
    else if (said.data) t->wrong++;
    hone_text_free(&said);
}

/* All deletions, neighbour swaps, and every insertion and replacement with a few letters. */
static void try_all_typos(const char *group, const char *leaf, const char *key, tally *t)
{
    static const char letters[] = "aeknstx_";
    size_t n = strlen(leaf);
    for (size_t at = 0; at <= n; at++) {
        char word[96];
        if (at < n) {
            snprintf(word, sizeof word, "%.*s%s", (int)at, leaf, leaf + at + 1);
            if (*word) try_typo(group, word, key, t);
        }
        if (at + 1 < n && leaf[at] != leaf[at + 1]) {
            snprintf(word, sizeof word, "%.*s%c%c%s", (int)at, leaf, leaf[at + 1], leaf[at], leaf + at + 2);
            try_typo(group, word, key, t);
        }
        for (const char *l = letters; *l; l++) {
            snprintf(word, sizeof word, "%.*s%c%s", (int)at, leaf, *l, leaf + at);
            try_typo(group, word, key, t);
            if (at == n || leaf[at] == *l) continue;
            snprintf(word, sizeof word, "%.*s%c%s", (int)at, leaf, *l, leaf + at + 1);
            try_typo(group, word, key, t);
        }
    }
}

static void typos_of_every_key_are_recognised(void **state)
{
    (void)state;
    tally t = {0, 0, 0};
    for (int k = 0; k < hone_schema_count; k++) {
        const char *key = hone_schema[k].key, *dot = strrchr(key, '.');
        char group[96];
        if (hone_schema_find(key) != &hone_schema[k]) continue;
        snprintf(group, sizeof group, "%.*s", dot ? (int)(dot - key) : 0, key);
        try_all_typos(group, dot ? dot + 1 : key, key, &t);
    }
    printf("typos: %d tried, %d right (%.2f %%), %d wrong\n", t.tried, t.right, 100.0 * t.right / t.tried, t.wrong);
    assert_true(t.tried > 5000 && t.right >= 0.95 * t.tried);
}

static void far_words_get_no_suggestion(void **state)
{
    (void)state;
    static const char *const far[] = {"flux",       "capacitor", "banana",  "kubernetes", "zzz",
                                      "hyperdrive", "colour",    "weather", "qqqqqq",     "teapot",
                                      "mirror",     "umbrella",  "xyzzy",   "ferret",     "galaxy",
                                      "parsnip",    "violin",    "wobble",  "quark",      "jupiter"};
    static const char *const group[] = {"",          "data", "image", "train", "train.optimizer", "train.schedule",
                                        "checkpoint"};
    for (size_t k = 0; k < sizeof far / sizeof *far; k++)
        for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
            hone_text said = {0};
            hone_key_suggest(group[g], far[k], &said);
            if (said.data) fail_msg("%s.%s%s", group[g], far[k], said.data);
        }
}

static void nearest_word_needs_to_be_unique(void **state)
{
    (void)state;
    static const char *const words[] = {"relu", "selu", "momentum", "lr"};
    assert_null(hone_did_you_mean("celu", words, 4)); /* as near to both */
    assert_string_equal(hone_did_you_mean("rel", words, 4), "relu");
    assert_string_equal(hone_did_you_mean("mometnun", words, 4), "momentum"); /* two edits in a long word */
    assert_null(hone_did_you_mean("xx", words, 4));
    assert_null(hone_did_you_mean("", words, 4));
    assert_string_equal(hone_did_you_mean("LR", words, 4), "lr");
    char longest[300];
    memset(longest, 'm', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(hone_did_you_mean(longest, words, 4));
}

/* --- the table ------------------------------------------------------------------------------------------ */
static void every_row_is_explained_and_in_the_schema(void **state)
{
    (void)state;
    char *json = hone_config_schema_json();
    json_t *root = json_loads(json, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "$schema")),
                        "https://json-schema.org/draft/2020-12/schema");
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        char *text = NULL, word[64];
        assert_int_equal(hone_config_explain(row->key, &text), HONE_OK);
        assert_non_null(strstr(text, row->help));
        if (row->fallback && strcmp(row->fallback, "~") != 0) assert_non_null(strstr(text, row->fallback));
        free(text);
        json_t *at = root;
        for (const char *s = row->key; s;) { /* through groups with a short form, too */
            size_t n = strcspn(s, ".");
            snprintf(word, sizeof word, "%.*s", (int)n, s);
            json_t *any = json_object_get(at, "anyOf");
            if (any) at = json_array_get(any, 1);
            at = json_object_get(json_object_get(at, "properties"), word);
            if (!at) fail_msg("%s is not in the JSON schema", row->key);
            s = s[n] ? s + n + 1 : NULL;
        }
    }
    json_decref(root);
    free(json);
    char *text = NULL;
    assert_int_equal(hone_config_explain("train.optimzer", &text), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "did you mean train.optimizer?"));
    assert_int_equal(hone_config_explain("", &text), HONE_OK);
    free(text);
}

/* The place of a word in `choices` is the value of its C constant: the whole list of each enum. */
static void enums_follow_their_choices(void **state)
{
    (void)state;
    static const struct {
        const char *key, *word;
        int value;
    } expected[] = {
        {"task", "image", HONE_TASK_IMAGE},
        {"task", "text", HONE_TASK_TEXT},
        {"data.format", "auto", HONE_FORMAT_AUTO},
        {"data.format", "idx", HONE_FORMAT_IDX},
        {"data.format", "cifar", HONE_FORMAT_CIFAR},
        {"data.format", "folder", HONE_FORMAT_FOLDER},
        {"data.format", "csv", HONE_FORMAT_CSV},
        {"data.format", "tsv", HONE_FORMAT_TSV},
        {"data.format", "jsonl", HONE_FORMAT_JSONL},
        {"data.format", "fasttext", HONE_FORMAT_FASTTEXT},
        {"data.format", "tar", HONE_FORMAT_TAR},
        {"data.format", "pack", HONE_FORMAT_PACK},
        {"data.on_error", "stop", HONE_ON_ERROR_STOP},
        {"data.on_error", "skip", HONE_ON_ERROR_SKIP},
        {"data.check", "off", HONE_CHECK_OFF},
        {"data.check", "strict", HONE_CHECK_STRICT},
        {"image.resize", "stretch", HONE_RESIZE_STRETCH},
        {"image.resize", "shorter", HONE_RESIZE_SHORTER},
        {"text.ngram.punctuation", "keep", 0}, /* HONE_PUNCTUATION_KEEP and so on: src/text/tokenizer.h */
        {"text.ngram.punctuation", "split", 1},
        {"text.ngram.punctuation", "drop", 2},
        {"train.schedule.name", "constant", HONE_SCHEDULE_CONSTANT},
        {"train.schedule.name", "step", HONE_SCHEDULE_STEP},
        {"train.schedule.name", "cosine", HONE_SCHEDULE_COSINE},
        {"train.schedule.name", "onecycle", HONE_SCHEDULE_ONECYCLE},
        {"train.schedule.name", "linear", HONE_SCHEDULE_LINEAR},
        {"train.schedule.name", "plateau", HONE_SCHEDULE_PLATEAU},
        {"train.precision", "auto", HONE_PRECISION_AUTO},
        {"train.precision", "fp32", HONE_PRECISION_FP32},
        {"train.precision", "tf32", HONE_PRECISION_TF32},
        {"train.precision", "bf16", HONE_PRECISION_BF16},
        {"train.precision", "fp16", HONE_PRECISION_FP16},
    };
    int words = 0;
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++)
        assert_int_equal(hone_choice_index(hone_schema_find(expected[k].key)->choices, expected[k].word),
                         expected[k].value);
    for (int k = 0; k < hone_schema_count; k++) {
        if (hone_schema[k].type != HONE_TYPE_ENUM) continue;
        words++;
        for (const char *c = hone_schema[k].choices; *c; c++) words += *c == '|';
    }
    assert_int_equal(words, sizeof expected / sizeof *expected); /* a new word needs a row here */
}

/* A key that `only` names is read before the row that asks for it. */
static void conditions_stand_after_what_they_name(void **state)
{
    (void)state;
    for (int k = 0; k < hone_schema_count; k++) {
        const char *only = hone_schema[k].only;
        if (!only) continue;
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(only, "="), only);
        const hone_row *other = hone_schema_find(key);
        assert_non_null(other);
        if (strchr(only, '=')) assert_true(other < &hone_schema[k]);
    }
    assert_true(hone_schema_count <= 128);
}

/* --- YAML ------------------------------------------------------------------------------------------------- */
static hone_yaml *parse(const char *text)
{
    hone_yaml *root = NULL;
    if (hone_yaml_read_text("t", text, strlen(text), &root) != HONE_OK) fail_msg("%s", hone_error_message());
    return root;
}

static void scalars_have_types(void **state)
{
    (void)state;
    hone_yaml *m = parse("{a: 12, b: 1.5, c: '3', d: true, e: ~, f: , g: -9223372036854775808, h: 9223372036854775808, "
                         "i: 5e-4, j: 1e400, k: .5, l: 0x1p3, m: +7, n: 1_000, o: infinity, p: 010, q: -0}");
    int64_t i;
    double x;
    bool b;
    assert_true(hone_yaml_int(hone_yaml_get(m, "a"), &i) && i == 12);
    assert_false(hone_yaml_int(hone_yaml_get(m, "b"), &i));
    assert_true(hone_yaml_float(hone_yaml_get(m, "b"), &x) && x == 1.5);
    assert_false(hone_yaml_int(hone_yaml_get(m, "c"), &i) || hone_yaml_float(hone_yaml_get(m, "c"), &x));
    assert_true(hone_yaml_bool(hone_yaml_get(m, "d"), &b) && b);
    assert_true(hone_yaml_null(hone_yaml_get(m, "e")) && hone_yaml_null(hone_yaml_get(m, "f")));
    assert_true(hone_yaml_int(hone_yaml_get(m, "g"), &i) && i == INT64_MIN);
    assert_false(hone_yaml_int(hone_yaml_get(m, "h"), &i));
    assert_true(hone_yaml_float(hone_yaml_get(m, "i"), &x) && x == 5e-4);
    assert_false(hone_yaml_float(hone_yaml_get(m, "j"), &x));
    assert_true(hone_yaml_float(hone_yaml_get(m, "k"), &x) && x == 0.5);
    assert_false(hone_yaml_float(hone_yaml_get(m, "l"), &x));
    assert_true(hone_yaml_int(hone_yaml_get(m, "m"), &i) && i == 7);
    assert_false(hone_yaml_float(hone_yaml_get(m, "n"), &x) || hone_yaml_float(hone_yaml_get(m, "o"), &x));
    assert_false(hone_yaml_int(hone_yaml_get(m, "p"), &i));
    assert_true(hone_yaml_int(hone_yaml_get(m, "q"), &i) && i == 0);
    assert_null(hone_yaml_get(m, "absent"));
    hone_yaml_free(m);
}

static void trees_write_back(void **state)
{
    (void)state;
    static const char page[] = "a: [1, 'x, y', \"q\\\"\\n\", ~, \"~\", '', '12', -3, é, '- x', 'a: b', '#c', [], {}]\n"
                               "b: {c: {d: {e: [f, {g: h}]}}}\n'k: l': |\n  two\n  lines\nr: a:? 2\ns: a?b\nt: "
                               "http://x:80/y\nu: cuda:0\nm:\n  - - 1\n    - 2\n  - n: o\n    p: q\n";
    for (int depth = 0; depth < 6; depth++) {
        hone_yaml *m = parse(page), *copy = hone_yaml_copy(m);
        char *text = hone_yaml_write(copy, depth);
        hone_yaml_free(m); /* the copy owns its memory */
        hone_yaml *again = parse(text);
        char *flow = hone_yaml_write(copy, 0), *flow_again = hone_yaml_write(again, 0);
        assert_string_equal(flow, flow_again);
        assert_string_equal(copy->file, "t");
        assert_true(hone_yaml_get(copy, "b")->line == 2 && hone_yaml_get(copy, "b")->column == 4);
        free(text);
        free(flow);
        free(flow_again);
        hone_yaml_free(copy);
        hone_yaml_free(again);
    }
}

static void numbers_do_not_follow_the_locale(void **state)
{
    (void)state;
    static const char *const comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "nl_NL.UTF-8"};
    const char *set = NULL;
    for (int k = 0; k < 4 && !set; k++) set = setlocale(LC_ALL, comma[k]);
    hone_config *c = read_good("train: {optimizer: {lr: 0.25}}\n", NULL, 0);
    char number[32];
    bool ok = c->train.optimizer.lr == 0.25 && strcmp(hone_number_write(0.1, number, sizeof number), "0.1") == 0;
    hone_config_free(c);
    setlocale(LC_ALL, "C");
    assert_true(ok);
    for (int k = -40; k < 40; k++) { /* shortest text that reads back as the same number */
        double x = ldexp(1.0 / 3, 7 * k), back = 0;
        assert_true(hone_number_read(hone_number_write(x, number, sizeof number), &back) && back == x);
    }
    if (!set) fprintf(stderr, "no locale with a decimal comma is installed: that half was not tested\n");
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    char folder[] = "/tmp/hone-config-XXXXXX", path[64];
    hone_config *c = NULL;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct {
        const char *path, *says;
    } refused[] = {{path, "named pipe"},
                   {folder, "folder"},
                   {"/dev/zero", "device"},
                   {"/nowhere/x.yaml", "No such file"},
                   {"/proc/self/mem", "/proc/self/mem"}};
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        hone_status s = hone_config_read(refused[k].path, NULL, 0, &c);
        assert_true(s != HONE_OK && c == NULL);
        assert_non_null(strstr(hone_error_message(), refused[k].says));
    }
    unlink(path);
    snprintf(path, sizeof path, "%s/large", folder);
    FILE *f = fopen(path, "w");
    assert_true(f && ftruncate(fileno(f), 17 << 20) == 0);
    fclose(f);
    assert_int_equal(hone_config_read(path, NULL, 0, &c), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "16 MiB"));
    unlink(path);
    rmdir(folder);
}

/* Every page cut at every byte, and with a byte replaced: an answer, no crash (a sanitizer build sees more). */
static void broken_pages_are_survived(void **state)
{
    (void)state;
    static const char bytes[] = {'\0', '\t', ':', '{', ']', '"', '&', '-', (char)0xC3, (char)0xFF, '\n'};
    char *page = snapshot_read(HONE_TESTS_DIR "/snapshots/config/ok-synthetic.yaml");
    assert_non_null(page);
    size_t n = strlen(page);
    char *text = malloc(n + 1);
    for (size_t at = 0; at < n; at++) {
        hone_yaml *root = NULL;
        hone_config *c = NULL;
        memcpy(text, page, n + 1);
        text[at] = bytes[at % sizeof bytes];
        if (hone_yaml_read_text("t", text, n, &root) == HONE_OK) hone_yaml_free(root);
        if (hone_config_read_text("t", text, NULL, 0, &c) == HONE_OK) hone_config_free(c);
        memcpy(text, page, at);
        text[at] = '\0';
        if (hone_config_read_text("t", text, NULL, 0, &c) == HONE_OK) hone_config_free(c);
    }
    free(text);
    free(page);
}

/* 200,001 values, and 100,000 keys of which two are equal: refused in well under a second. */
static void large_pages_are_bounded(void **state)
{
    (void)state;
    hone_text t = {0};
    hone_yaml *root = NULL;
    hone_text_add(&t, "[");
    for (int k = 0; k < 250000; k++) hone_text_append(&t, "1,", 2);
    hone_text_add(&t, "1]");
    assert_int_equal(hone_yaml_read_text("t", t.data, t.bytes, &root), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "200000 values"));
    hone_text_free(&t);
    for (int k = 0; k < 90000; k++) hone_text_add(&t, "k%d: 1\n", k);
    hone_text_add(&t, "k77: 1\n");
    assert_int_equal(hone_yaml_read_text("t", t.data, t.bytes, &root), HONE_ERR_USAGE);
    assert_string_equal(hone_error_message(), "t:90001:1: k77: repeated key (first in line 78)");
    hone_text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_pages_say_exactly_this),
        cmocka_unit_test(planted_difference_is_noticed),
        cmocka_unit_test(resolved_pages_read_back),
        cmocka_unit_test(values_reach_their_fields),
        cmocka_unit_test(defaults_are_the_contract),
        cmocka_unit_test(typos_of_every_key_are_recognised),
        cmocka_unit_test(far_words_get_no_suggestion),
        cmocka_unit_test(nearest_word_needs_to_be_unique),
        cmocka_unit_test(every_row_is_explained_and_in_the_schema),
        cmocka_unit_test(enums_follow_their_choices),
        cmocka_unit_test(conditions_stand_after_what_they_name),
        cmocka_unit_test(scalars_have_types),
        cmocka_unit_test(trees_write_back),
        cmocka_unit_test(numbers_do_not_follow_the_locale),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(broken_pages_are_survived),
        cmocka_unit_test(large_pages_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
