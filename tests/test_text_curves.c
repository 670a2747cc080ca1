/* test_text_curves.c - the first 20 steps of a TextCNN and of a bidirectional GRU beside PyTorch's losses
 * (tests/golden/text_curves.json, made by make_text_curves.py, which has the same rules for texts and weights).
 *
 * The whole program runs: page, table, tokenizer, init, trainer. Texts have 1 to 24 words, and nothing is padded.
 * rooms: train text data model config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "support/curves.h"

enum { STREAM_LENGTHS = 80, STREAM_WORDS, STREAM_LABELS, CLASSES = 5, WORDS = 40, LONGEST = 24 };

/* texts() of make_text_curves.py. */
static void write_texts(const char *path, int samples)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "label\ttext\n");
    for (int i = 0; i < samples; i++) {
        int length = (int)(draw(DATA_SEED, STREAM_LENGTHS, (uint64_t)i) * (float)LONGEST);
        int label = (int)(draw(DATA_SEED, STREAM_LABELS, (uint64_t)i) * (float)CLASSES);
        fprintf(f, "%d\t", label);
        for (int k = 0; k < length; k++)
            fprintf(f, "w%02d ", (int)(draw(DATA_SEED, STREAM_WORDS, (uint64_t)(i * LONGEST + k)) * (float)WORDS));
        fprintf(f, "mark%d\n", label);
    }
    assert_int_equal(fclose(f), 0);
}

static const char *layers_of(const char *name)
{
    if (strncmp(name, "textcnn", 7) == 0) return "conv1d: {name: convs, out: 12, kernel: [2, 3, 5]}, relu, pool: max";
    return "bigru: {name: rnn, hidden: 12}, pool: max";
}

static char *page(const char *name, json_t *c, int batch, const char *dir)
{
    hone_text t = {0};
    hone_text_add(&t, "task: text\nout: %s/run\ndata: {train: %s/train.tsv, val_fraction: 0}\n", dir, dir);
    hone_text_add(&t, "text: {tokenizer: ngram, ngram: {words: [1, 1]}}\n");
    /* dense: torch.optim's moments do not rest in rows that a batch does not name */
    hone_text_add(
        &t, "model: {layers: [embedding: {name: emb, dim: 16, sparse: false}, %s, linear: {name: fc, out: classes}]}\n",
        layers_of(name));
    hone_text_add(&t,
                  "train:\n  epochs: 2\n  batch: %d\n  shuffle: false\n  init: %s/init.safetensors\n  schedule: {name: "
                  "constant}\n  clip_norm: %g\n",
                  batch, dir, json_number_value(json_object_get(c, "clip")));
    page_optimizer(&t, json_object_get(c, "optimizer"));
    hone_text_add(&t, "  loss: {label_smoothing: %g}\nlog: {every: 1}\n",
                  json_number_value(json_object_get(c, "smoothing")));
    return hone_text_take(&t);
}

static double run_case(const char *name, json_t *c, int batch, const char *override)
{
    char dir[] = "/tmp/hone-curves-XXXXXX", path[512], command[600];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/train.tsv", dir);
    write_texts(path, 10 * batch);
    snprintf(path, sizeof path, "%s/init.safetensors", dir);
    write_init(path, json_object_get(c, "shapes"));
    char *text = page(name, c, batch, dir);
    hone_config *config = NULL;
    hone_status s =
        hone_config_read_text(HONE_SOURCE_DIR "/configs/curves.yaml", text, &override, override ? 1 : 0, &config);
    hone_train_opts opts = {.device = "cpu"};
    if (s == HONE_OK) s = hone_train(config, &opts, NULL);
    if (s != HONE_OK) fail_msg("%s: %s", name, hone_error_message());
    snprintf(path, sizeof path, "%s/run/metrics.jsonl", dir);
    double worst = follow(path, json_object_get(c, "losses"));
    hone_config_free(config);
    free(text);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    return worst;
}

static json_t *golden;

static void test_follow_pytorch(void **state)
{
    (void)state;
    int left = 0, batch = (int)json_integer_value(json_object_get(golden, "batch"));
    const char *name;
    json_t *c;
    json_object_foreach(json_object_get(golden, "cases"), name, c)
    {
        double worst = run_case(name, c, batch, NULL);
        print_message("%-14s worst relative difference %.1e over %d steps (float32 itself drifts %.1e from float64)\n",
                      name, worst, (int)json_array_size(json_object_get(c, "losses")),
                      json_number_value(json_object_get(c, "drift")));
        if (worst <= TOLERANCE) continue;
        print_error("%s leaves PyTorch's curve: %.3e > %.0e\n", name, worst, TOLERANCE); /* a NaN comes here too */
        left++;
    }
    assert_int_equal(left, 0);
}

/* Planted faults: one percent of the rate, or of the smoothing, must be seen by the comparison. */
static void test_another_setting_is_noticed(void **state)
{
    (void)state;
    json_t *cases = json_object_get(golden, "cases");
    int batch = (int)json_integer_value(json_object_get(golden, "batch"));
    assert_true(run_case("gru-sgd", json_object_get(cases, "gru-sgd"), batch, "train.optimizer.lr=0.0505") > TOLERANCE);
    assert_true(run_case("textcnn-sgd", json_object_get(cases, "textcnn-sgd"), batch,
                         "train.loss.label_smoothing=0.101") > TOLERANCE);
}

int main(void)
{
    json_error_t e;
    golden = json_load_file(HONE_TESTS_DIR "/golden/text_curves.json", 0, &e);
    if (!golden) {
        fprintf(stderr, "tests/golden/text_curves.json: %s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow_pytorch),
        cmocka_unit_test(test_another_setting_is_noticed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
