/* test_model_json.c - model.json: every model of the zoo comes back as it was; changed, cut and flipped files are refused.
 * rooms: model compile graph config io core */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/snapshot.h"
#include "support/zoo.h"

static const char *scratch(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/hone-test-model-%d-%s", (int)getpid(), name);
    return path;
}

static char *table_of(const hone_model *m)
{
    hone_model_io io;
    hone_graph *g = built(m, HONE_MODE_EVAL, 4, &io);
    char *table = hone_model_table(m, g);
    hone_graph_free(g);
    return table;
}

/* Saved and loaded again, every model of the zoo has the same table, names, labels and preprocessing. */
static void test_json_round_trip(void **state)
{
    (void)state;
    for (int k = 0; k < ZOO; k++) {
        hone_model *m = good(zoo[k].page, zoo[k].in), *again = NULL;
        const char *path = scratch("round.json");
        assert_int_equal(hone_model_save_json(m, path), HONE_OK);
        if (hone_model_load_json(path, &again) != HONE_OK) fail_msg("%s: %s", zoo[k].name, hone_error_message());
        char *a = table_of(m), *b = table_of(again), *p = list_params(m), *q = list_params(again);
        assert_string_equal(a, b);
        assert_string_equal(p, q);
        assert_memory_equal(hone_model_preprocess(m), hone_model_preprocess(again), sizeof(hone_preprocess));
        assert_string_equal(hone_model_class_name(m, 2), hone_model_class_name(again, 2));
        assert_true(isnan(hone_model_param(again, 0)->value[0])); /* poison until the weights are read */
        free(a);
        free(b);
        free(p);
        free(q);
        hone_model_free(m);
        hone_model_free(again);
        remove(path);
    }
}

static hone_status load_text(const char *text, size_t bytes)
{
    hone_model *m = NULL;
    const char *path = scratch("hostile.json");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    fclose(f);
    hone_status status = hone_model_load_json(path, &m);
    assert_true((status == HONE_OK) == (m != NULL));
    hone_model_free(m);
    remove(path);
    return status;
}

/* `find` in a good file is replaced; each must be refused as DATA, and must be there to be replaced. */
static const struct {
    const char *find, *put, *says;
} edit[] = {
    {"\"hone-model\"", "\"other\"", "format"},
    {"\"version\": 1", "\"version\": 2", "version"},
    {"\"version\": 1", "\"version\": 1.0", "version"},
    {"\"image\"", "\"sound\"", "task"},
    {"\"image\"", "\"text\"", "vocab"},
    {"\"height\": 28", "\"height\": -28", "height"},
    {"\"width\": 28", "\"width\": 1e9", "width"},
    {"\"channels\": 1", "\"channels\": 5", "channels"},
    {"\"stretch\"", "\"crop\"", "resize"},
    {"0.5", "1e300", "mean"},
    {"0.25", "0.0", "std"},
    {"0.25", "1e-300", "std"},
    {"0.25", "\"x\"", "std"},
    {"\"c1\"", "\"c0\"", "classes"},
    {"\"c1\"", "7", "classes"},
    {"\"c1\"", "\"\"", "classes"},
    {"\"conv\"", "\"convv\"", "did you mean conv"},
    {"\"out\": 4", "\"out\": 5", "parameters"},
    {"\"out\": 4", "\"out\": \"4\"", "must be"},
    {"\"out\": 4", "\"out\": 99999999999", "must be"},
    {"\"out\": 4", "\"outt\": 4", "did you mean out"},
    {"\"conv1.weight\"", "\"conv2.weight\"", "conv1.weight"},
    {"\"layers\"", "\"lairs\"", "layers"},
    {"\"name\": \"conv1\"", "\"name\": \"$classes\"", "name must be"},
    {"\"parameters\": {", "\"parameters\": {\"more\": [1],", "parameters"},
    {"\"format\"", "\"version\"", "not JSON"},
    {"\"name\": \"conv1\"", "\"name\": \"../x\"", "name must be"},
};

static void test_json_hostile(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 4}, batchnorm, flatten, linear: classes]}", SMALL);
    assert_int_equal(hone_model_save_json(m, scratch("good.json")), HONE_OK);
    hone_model_free(m);
    char *text = snapshot_read(scratch("good.json"));
    remove(scratch("good.json"));
    assert_non_null(text);
    assert_int_equal(load_text(text, strlen(text)), HONE_OK);
    for (size_t k = 0; k < sizeof edit / sizeof edit[0]; k++) {
        char *at = strstr(text, edit[k].find);
        if (!at) fail_msg("%s is not in the file", edit[k].find);
        hone_text t = {0};
        hone_text_append(&t, text, (size_t)(at - text));
        hone_text_add(&t, "%s%s", edit[k].put, at + strlen(edit[k].find));
        hone_status status = load_text(t.data, t.bytes);
        if (status != HONE_ERR_DATA || !strstr(hone_error_message(), edit[k].says))
            fail_msg("%s -> %s: status %d, message %s", edit[k].find, edit[k].put, status, hone_error_message());
        hone_text_free(&t);
    }
    for (size_t cut = 0; cut < strlen(text); cut += 97) assert_int_equal(load_text(text, cut), HONE_ERR_DATA);
    for (size_t k = 0; k < strlen(text); k += 13) { /* flipped bits: refused or, in a name, accepted; no crash */
        text[k] ^= 0x11;
        hone_status status = load_text(text, strlen(text));
        assert_true(status == HONE_OK || status == HONE_ERR_DATA);
        text[k] ^= 0x11;
    }
    free(text);
    assert_int_not_equal(hone_model_load_json(scratch("absent.json"), &m), HONE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
