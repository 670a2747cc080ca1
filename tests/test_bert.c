/* test_bert.c - tiny BERT, DistilBERT and MiniLM beside the figures of `transformers` (tests/golden/make_bert.py): logits
 * of the first batch to 1e-4, the losses of 20 fine-tuning steps to 1e-3. Weights are drawn on both sides and come in
 * as a folder of a Hugging Face model, vocabulary included; the zoo's own pages are what is trained.
 * rooms: train text data model config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "hone/hone.h"
#include "support/drawn.h"
#include "support/scratch.h"
#include "train/saved.h"
#include "train/text.h"

/* tests/golden/bert.json: names and shapes, texts, ids, logits and losses of each case. */
static json_t *golden;

/* As people have it: a body's names without the prefix and norms in the old words where `old`. */
static void write_folder(const char *dir, json_t *shapes, bool old)
{
    int count = 0;
    hone_blob *blob = calloc(json_object_size(shapes), sizeof *blob);
    const char *name;
    json_t *shape, *word;
    size_t k;
    hone_text vocab = {0};
    json_object_foreach(shapes, name, shape)
    {
        hone_blob *b = &blob[count++];
        *b = (hone_blob){.name = name, .dtype = HONE_F32, .rank = (int32_t)json_array_size(shape)};
        int64_t n = 1;
        for (int32_t d = 0; d < b->rank; d++) n *= b->dim[d] = json_integer_value(json_array_get(shape, (size_t)d));
        b->data = drawn_fill(b, n);
        b->bytes = (size_t)n * sizeof(float);
        hone_text other = {0};
        size_t length = strlen(name);
        bool norm = strstr(name, "LayerNorm.") != NULL,
             weight = length > 7 && strcmp(name + length - 7, ".weight") == 0;
        if (old && norm)
            hone_text_add(&other, "%.*s%s", (int)(strrchr(name, '.') - name), name, weight ? ".gamma" : ".beta");
        else hone_text_add(&other, "%s", name);
        b->name = other.data;
    }
    assert_int_equal(hone_safetensors_write(scratch_path(dir, "vocab-is-beside"), blob, count, NULL), HONE_OK);
    scratch_text(dir, "folder/config.json",
                 "{\"num_attention_heads\": 4, \"layer_norm_eps\": 1e-12, \"hidden_act\": \"gelu\"}");
    assert_int_equal(rename(scratch_path(dir, "vocab-is-beside"), scratch_path(dir, "folder/model.safetensors")), 0);
    json_array_foreach(json_object_get(golden, "vocab"), k, word)
        hone_text_add(&vocab, "%s\n", json_string_value(word));
    scratch_text(dir, "folder/vocab.txt", vocab.data);
    hone_text_free(&vocab);
    for (int i = 0; i < count; i++) {
        free((void *)(uintptr_t)blob[i].data);
        free((void *)(uintptr_t)blob[i].name);
    }
    free(blob);
}

/* All cases have the column; only pairs name it in the page. */
static void write_texts(const char *dir, json_t *c)
{
    hone_text t = {0};
    json_t *text;
    size_t k;
    bool pairs = json_is_true(json_object_get(c, "pairs"));
    hone_text_add(&t, "label\ttext\tsecond\n");
    json_array_foreach(json_object_get(c, "texts"), k, text) hone_text_add(
        &t, "%d\t%s\t%s\n", (int)json_integer_value(json_array_get(json_object_get(c, "labels"), k)),
        json_string_value(text), pairs ? json_string_value(json_array_get(json_object_get(c, "second"), k)) : "-");
    scratch_text(dir, "train.tsv", t.data);
    hone_text_free(&t);
}

/* 20 steps of the zoo's page, shrunk; step 0 is kept. */
static void train(const char *dir, const char *kind, json_t *c, const char *lr)
{
    hone_text page = {0};
    hone_config *config;
    hone_train_opts o = {.device = "cpu", .threads = 2, .out = scratch_path(dir, "run")};
    const char *file = strcmp(kind, "bert") == 0 ? "bert_base" : strcmp(kind, "minilm") == 0 ? "minilm_l6" : kind;
    hone_text_add(&page, "task: text\ndata: {train: %s, val_fraction: 0, columns: {second: %s}}\n",
                  scratch_path(dir, "train.tsv"), json_is_true(json_object_get(c, "pairs")) ? "second" : "~");
    hone_text_add(
        &page,
        "text: {max_length: 24}\nmodel: {file: %s/configs/models/%s.yaml, with: {layers: 2, dim: 32, heads: 4, "
        "ff: 64, length: 24, dropout: 0}}\n",
        HONE_SOURCE_DIR, file);
    hone_text_add(&page, "train: {epochs: 2, batch: 8, shuffle: false, init: %s, schedule: constant, ",
                  scratch_path(dir, "folder"));
    hone_text_add(&page, "optimizer: {name: adamw, lr: %s, weight_decay: 0.01}, loss: {label_smoothing: 0}}\n", lr);
    hone_text_add(&page, "checkpoint: {initial: true}\nlog: {every: 1}\n");
    if (hone_config_read_text("page.yaml", page.data, NULL, 0, &config) != HONE_OK)
        fail_msg("%s", hone_error_message());
    if (hone_train(config, &o, NULL) != HONE_OK) fail_msg("%s: %s", kind, hone_error_message());
    hone_config_free(config);
    hone_text_free(&page);
}

/* The largest relative difference of the losses; every step must have its line. */
static double follow(const char *dir, json_t *losses)
{
    char *text;
    size_t length, seen = 0;
    double worst = 0;
    assert_int_equal(hone_file_read(scratch_path(dir, "run/metrics.jsonl"), 1 << 24, &text, &length), HONE_OK);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL);
        if (strcmp(json_string_value(json_object_get(o, "split")), "train") == 0) {
            double want = json_number_value(json_array_get(losses, seen++));
            double error = fabs(json_number_value(json_object_get(o, "loss")) - want) / fabs(want);
            if (!(error <= worst)) worst = error; /* a NaN counts as the worst */
        }
        json_decref(o);
    }
    free(text);
    assert_int_equal(seen, json_array_size(losses));
    return worst;
}

/* Logits of the first texts by the weights of step 0, in a program with room to spare; their largest difference. */
static double logits_apart(const char *dir, json_t *c, int64_t room)
{
    enum { TEXTS = 8, CLASSES = 3 };
    hone_saved saved;
    hone_text_side *side;
    hone_ids ids = {0};
    int32_t offset[TEXTS + 1] = {0}, type[400] = {0}, label[TEXTS] = {0};
    float logits[TEXTS * CLASSES];
    double worst = 0;
    if (hone_saved_open(scratch_path(dir, "run/checkpoints/step-00000000"), &saved) != HONE_OK)
        fail_msg("%s", hone_error_message());
    assert_int_equal(hone_text_load(&saved, &side), HONE_OK);
    for (size_t k = 0; k < TEXTS; k++) {
        hone_encoded what;
        const char *text = json_string_value(json_array_get(json_object_get(c, "texts"), k));
        const char *second = json_string_value(json_array_get(json_object_get(c, "second"), k));
        json_t *want = json_array_get(json_object_get(c, "ids"), k);
        assert_int_equal(hone_tokenizer_encode(side->tokenizer, text, strlen(text), second, second ? strlen(second) : 0,
                                               24, &ids, &what),
                         HONE_OK);
        offset[k + 1] = (int32_t)ids.count;
        assert_int_equal(what.count, json_array_size(want));
        for (int64_t i = 0; i < what.count; i++) {
            assert_int_equal(ids.id[offset[k] + i], json_integer_value(json_array_get(want, (size_t)i)));
            type[offset[k] + i] = i >= what.second;
        }
    }
    /* the loop above has checked that the ids are those of `transformers`; now what the net makes of them */
    hone_backend *b;
    hone_graph *g;
    hone_program *p;
    hone_model_io io;
    hone_model_opts o = {.batch = TEXTS, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = room};
    assert_int_equal(hone_backend_open("cpu", 2, &b), HONE_OK);
    assert_int_equal(hone_model_build(saved.model, &o, &g, &io), HONE_OK);
    if (hone_compile(g, b, NULL, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_model_upload(saved.model, p), HONE_OK);
    assert_int_equal(hone_program_write_front(p, io.token, ids.id, (size_t)ids.count * 4), HONE_OK);
    if (io.type != HONE_NONE)
        assert_int_equal(hone_program_write_front(p, io.type, type, (size_t)ids.count * 4), HONE_OK);
    assert_int_equal(hone_program_write(p, io.offset, offset, sizeof offset), HONE_OK);
    assert_int_equal(hone_program_write(p, io.label, label, sizeof label), HONE_OK);
    assert_int_equal(hone_program_forward_backward(p), HONE_OK);
    assert_int_equal(hone_program_read(p, io.logits, logits, sizeof logits), HONE_OK);
    for (size_t k = 0; k < TEXTS; k++)
        for (size_t i = 0; i < CLASSES; i++) {
            double want = json_number_value(json_array_get(json_array_get(json_object_get(c, "logits"), k), i));
            double error = fabs((double)logits[k * CLASSES + i] - want);
            if (!(error <= worst)) worst = error;
        }
    hone_program_free(p);
    hone_graph_free(g);
    hone_backend_close(b);
    hone_ids_free(&ids);
    hone_text_close(side);
    hone_saved_close(&saved);
    return worst;
}

/* MiniLM comes in the old words of norms, so that both spellings are read. */
static void check(const char *kind)
{
    const char *dir = scratch_make();
    json_t *c = json_object_get(json_object_get(golden, "cases"), kind);
    write_folder(dir, json_object_get(c, "shapes"), strcmp(kind, "minilm") == 0);
    write_texts(dir, c);
    train(dir, kind, c, "1e-3");
    double logits = logits_apart(dir, c, 400), losses = follow(dir, json_object_get(c, "losses"));
    print_message("%-10s logits apart by %.1e, losses of 20 steps by %.1e (float32 from float64: %.1e)\n", kind, logits,
                  losses, json_number_value(json_object_get(c, "drift")));
    assert_true(logits <= 1e-4);
    assert_true(losses <= 1e-3);
    scratch_remove(dir);
}

/* Pairs with token types and a pooler; no token types and a head of two layers; a body without prefix and the mean. */
static void test_bert(void **state) { (void)state, check("bert"); }
static void test_distilbert(void **state) { (void)state, check("distilbert"); }
static void test_minilm(void **state) { (void)state, check("minilm"); }

/* Planted fault: a rate that is a tenth off must be seen by the comparison. */
static void test_another_rate_is_noticed(void **state)
{
    (void)state;
    const char *dir = scratch_make();
    json_t *c = json_object_get(json_object_get(golden, "cases"), "minilm");
    write_folder(dir, json_object_get(c, "shapes"), false);
    write_texts(dir, c);
    train(dir, "minilm", c, "1.1e-3");
    assert_true(follow(dir, json_object_get(c, "losses")) > 1e-3);
    scratch_remove(dir);
}

int main(void)
{
    json_error_t e;
    golden = json_load_file(HONE_TESTS_DIR "/golden/bert.json", 0, &e);
    if (!golden) {
        fprintf(stderr, "tests/golden/bert.json: %s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_distilbert),
        cmocka_unit_test(test_minilm),
        cmocka_unit_test(test_another_rate_is_noticed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
