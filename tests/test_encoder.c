/* test_encoder.c - which nets go out as a BERT or DistilBERT of transformers: those that are it, with their sizes, and no
 * net that differs in anything a loader could not see from names. What transformers makes of the folders: tests/python.
 * rooms: export onnx train text data model compile graph config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/encoder.h"
#include "export/export.h"
#include "hone/predictor.h"
#include "support/scratch.h"
#include "support/text_zoo.h"

/* The page configs/models/NAME.yaml as a map of its own, with `from` replaced once, or all times, by `to`; free(). */
static char *page_of(const char *name, const char *from, const char *to, bool all)
{
    char path[600], *file, *page = NULL;
    size_t size, room;
    snprintf(path, sizeof path, "%s/configs/models/%s.yaml", HONE_SOURCE_DIR, name);
    assert_int_equal(hone_file_read(path, 1 << 20, &file, &size), HONE_OK);
    page = calloc(1, room = size + 4096);
    const char *at = file;
    for (const char *hit; from && (hit = strstr(at, from)); at = hit + strlen(from)) {
        strncat(page, at, (size_t)(hit - at));
        strcat(page, to);
        if (!all) {
            at = hit + strlen(from);
            break;
        }
    }
    if (from && at == file) fail_msg("%s has no \"%s\"", name, from);
    strcat(page, at);
    assert_true(strlen(page) < room);
    free(file);
    return page;
}

/* Two layers of 24, 4 heads, 48 between: what the page says in its first map. */
static char *shrunk(const char *name, const char *from, const char *to, bool all)
{
    char *page = page_of(name, from, to, all);
    char *map = strstr(page, "with: {"), *end = strchr(map, '}');
    static const char sizes[] = "with: {layers: 2, dim: 24, heads: 4, ff: 48, length: 64, dropout: 0, sparse: false}";
    char *small = calloc(1, strlen(page) + sizeof sizes);
    strncat(small, page, (size_t)(map - page));
    strcat(small, sizes);
    strcat(small, end + 1);
    free(page);
    return small;
}

static bool find(const char *page, hone_encoder *e)
{
    hone_preprocess pre = {.vocab = 90, .max_length = 48};
    hone_model *m;
    bool found;
    if (page_model_of(page, &pre, 3, 1, &m) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_encoder_find(m, &found, e), HONE_OK);
    hone_model_free(m);
    return found;
}

static void encoders_are_known(void **state)
{
    (void)state;
    for (int distil = 0; distil < 2; distil++) {
        hone_encoder e;
        char *page = shrunk(distil ? "distilbert" : "bert_base", NULL, NULL, false);
        assert_true(find(page, &e));
        assert_int_equal(e.distil, distil);
        assert_int_equal(e.layers, 2);
        assert_int_equal(e.heads, 4);
        assert_int_equal(e.width, 24);
        assert_int_equal(e.inner, 48);
        assert_int_equal(e.vocab, 90);
        assert_int_equal(e.length, 64);
        assert_int_equal(e.types, distil ? 0 : 2);
        assert_int_equal(e.act, HONE_OP_gelu);
        assert_true((float)e.eps == 1e-12f);
        free(page);
    }
}

/* Sizes, activation and epsilon are keys of config.json and may be others. */
static void their_keys_may_differ(void **state)
{
    (void)state;
    hone_encoder e;
    char *page = shrunk("bert_base", "            - gelu\n", "            - gelu: tanh\n", true);
    assert_true(find(page, &e));
    assert_int_equal(e.act, HONE_OP_gelu_tanh);
    free(page);
    page = shrunk("bert_base", "eps: 1e-12", "eps: 1e-5", true);
    assert_true(find(page, &e));
    assert_true((float)e.eps == 1e-5f);
    free(page);
    page = shrunk("bert_base", "token_type_embeddings, init", "token_type_embeddings, count: 3, init", true);
    assert_true(find(page, &e));
    assert_int_equal(e.types, 3);
    free(page);
}

/* Each page differs in one thing from a net that is one; a loader would not see it from the names. */
static void others_are_not(void **state)
{
    (void)state;
    static const struct {
        const char *page, *from, *to;
        bool all;
    } other[] = {
        {"minilm_l6", NULL, NULL, false},                                    /* a mean of the rows    */
        {"bert_base", "- pool: first", "- pool: mean", false},               /* under BERT's names    */
        {"bert_base", "        - tanh\n", "        - relu\n", false},        /* another pooler        */
        {"bert_base", "        - tanh\n", "", false},                        /* none                  */
        {"bert_base", "eps: 1e-12", "eps: 1e-5", false},                     /* two epsilons          */
        {"bert_base", "name: classifier,", "name: head,", false},            /* another name          */
        {"bert_base", "out: classes,", "out: classes, bias: false,", false}, /* a bias less           */
        {"bert_base", "- linear: {name: intermediate.dense", "- relu\n            - linear: {name: intermediate.dense",
         false}, /* an activation more    */
        {"bert_base", "      - position: {name: position_embeddings, length: $length}\n", "", false}, /* no places */
        {"bert_base", "position_embeddings, length", "position_embeddings, kind: sincos, length", false},
        {"distilbert", "eps: 1e-12", "eps: 1e-5", true},   /* its code has 1e-12    */
        {"distilbert", "  - relu\n", "  - gelu\n", false}, /* before the classifier */
        {"distilbert", "        - pool: first", "        - pool: max", false},
        {"transformer", NULL, NULL, false}};
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        hone_encoder e;
        bool own = strcmp(other[k].page, "transformer") == 0;
        char *page = own ? page_of("transformer", NULL, NULL, false)
                         : shrunk(other[k].page, other[k].from, other[k].to, other[k].all);
        if (find(page, &e)) fail_msg("%s with \"%s\" is taken for a net of transformers", other[k].page, other[k].to);
        free(page);
    }
}

/* The files beside the weights; a tokenizer that transformers can't read is not described as one. */
static void folders_say_what_they_hold(void **state)
{
    (void)state;
    const char *dir = scratch_make();
    hone_saved s;
    size_t size;
    char *text;
    int row = 0;
    while (strcmp(text_zoo[row].name, "bert_base") != 0) row++;
    assert_int_equal(text_zoo_make(row, false, scratch_path(dir, "net")), HONE_OK);
    assert_int_equal(hone_saved_open(scratch_path(dir, "net"), &s), HONE_OK);
    if (hone_export_safetensors(&s, HONE_F32, scratch_path(dir, "out"), &size) != HONE_OK)
        fail_msg("%s", hone_error_message());
    hone_saved_close(&s);
    assert_int_equal(hone_file_read(scratch_path(dir, "out/config.json"), 1 << 20, &text, &size), HONE_OK);
    json_t *c = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(c, "model_type")), "bert");
    assert_int_equal(json_integer_value(json_object_get(c, "num_attention_heads")), 4);
    assert_true(json_real_value(json_object_get(c, "layer_norm_eps")) == 1e-12);
    json_decref(c);
    free(text);
    assert_int_equal(hone_file_read(scratch_path(dir, "out/tokenizer_config.json"), 1 << 20, &text, &size), HONE_OK);
    assert_non_null(strstr(text, "\"cls_token\": \"[CLS]\""));
    assert_non_null(strstr(text, "\"model_max_length\": 48"));
    free(text);
    /* the folder is a MODEL of hone, too */
    hone_predictor *p;
    float got[TEXT_ZOO_CLASSES], want[TEXT_ZOO_CLASSES];
    const char *one = "bread\tcheese of ovens";
    for (int k = 0; k < 2; k++) {
        if (hone_predictor_open(scratch_path(dir, k ? "out" : "net"), "cpu", 1, &p) != HONE_OK)
            fail_msg("%s", hone_error_message());
        assert_int_equal(hone_predictor_texts(p, &one, (size_t[]){strlen(one)}, 1, k ? got : want), HONE_OK);
        hone_predictor_close(p);
    }
    assert_memory_equal(got, want, sizeof got);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_are_known),
        cmocka_unit_test(their_keys_may_differ),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(folders_say_what_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
