/* test_ragged.c - transformers on rows of texts: beside PyTorch, at any capacity, on any number of threads.
 *
 * Four texts of 0, 1, 7 and 129 tokens. tests/golden/make_encoder.py builds the same net of nn.TransformerEncoderLayer, text
 * by text and without padding, from the same formula for every value; encoder.txt holds its loss and projections of its
 * gradients.
 * rooms: model compile graph config io kernels core */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/model_page.h"

#define OK(expr)                                                                                                       \
    do {                                                                                                               \
        if ((expr) != HONE_OK) fail_msg("%s: %s", #expr, hone_error_message());                                        \
    } while (0)

enum { VOCAB = 17, LONGEST = 130, BATCH = 4, LIVE = 137, CLASSES = 3 };
static const int32_t offsets[BATCH + 1] = {0, 0, 1, 8, LIVE};
static const hone_preprocess TEXTS = {.vocab = VOCAB, .max_length = LONGEST};

/* sparse: false, so that the table has a gradient that can be read. */
static hone_model *make_model(const char *norm, double dropout)
{
    char page[600];
    hone_model *m = NULL;
    snprintf(page, sizeof page,
             "{layers: [embedding: {name: embedding, dim: 12, sparse: false}, position: {name: position}, "
             "encoder: {name: blocks, layers: 2, heads: 3, ff: 20, norm: %s, dropout: %g}, layernorm: {name: norm}, "
             "pool: mean, linear: {name: head, out: classes}]}",
             norm, dropout);
    OK(page_model_of(page, &TEXTS, CLASSES, 7, &m));
    for (int k = 0; k < hone_model_param_count(m); k++) { /* value() of make_encoder.py */
        hone_param *p = hone_model_param(m, k);
        double size = p->rank > 1 ? 0.4 : 0.1, center = p->rank == 1 && strstr(p->name, "weight") ? 1 : 0;
        for (int64_t i = 0; i < p->count; i++)
            p->value[i] = (float)(center + size * sin(0.7 * (double)i + 1.3 * (double)strlen(p->name) + 0.1));
    }
    return m;
}

typedef struct outcome {
    float *all; /* loss, then the gradients of all parameters */
    size_t count;
} outcome;

/* One forward and backward pass at this capacity; what lies behind the live tokens is another id each time. */
static outcome run(hone_model *m, const char *device, int threads, int64_t capacity)
{
    int32_t token[4 * LIVE], label[BATCH] = {0, 1, 2, 1};
    float weight[BATCH] = {1, 1, 1, 1};
    hone_backend *b = NULL;
    hone_graph *g = NULL;
    hone_program *p = NULL;
    hone_model_io io;
    outcome r = {malloc(sizeof(float)), 1};
    hone_model_opts o = {.batch = BATCH, .mode = HONE_MODE_TRAIN, .accumulate = 1, .tokens = capacity};
    OK(hone_backend_open(device, threads, &b));
    OK(hone_model_build(m, &o, &g, &io));
    hone_compile_opts c = {.loss = io.loss};
    OK(hone_compile(g, b, &c, &p));
    OK(hone_model_upload(m, p));
    for (int i = 0; i < capacity; i++) token[i] = i < LIVE ? (i * i + 3 * i) % VOCAB : (int)capacity % VOCAB;
    OK(hone_program_write(p, io.token, token, (size_t)capacity * sizeof *token));
    OK(hone_program_write(p, io.offset, offsets, sizeof offsets));
    OK(hone_program_write(p, io.label, label, sizeof label));
    OK(hone_program_write(p, io.row_weight, weight, sizeof weight));
    OK(hone_program_set_step(p, &(hone_step){.seed = 5, .step = 3}));
    OK(hone_program_forward_backward(p));
    OK(hone_program_read(p, io.loss, r.all, sizeof(float)));
    for (int k = 0; k < hone_model_param_count(m); k++) {
        const hone_graph *made = hone_program_graph(p);
        const hone_param *param = hone_model_param(m, k);
        r.all = realloc(r.all, (r.count + (size_t)param->count) * sizeof *r.all);
        OK(hone_program_read(p, made->tensor[hone_graph_find(made, param->name)].grad, r.all + r.count,
                             (size_t)param->count * sizeof(float)));
        r.count += (size_t)param->count;
    }
    hone_program_free(p);
    hone_graph_free(g);
    hone_backend_close(b);
    return r;
}

static void same(const outcome *a, const outcome *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        if (a->all[i] != b->all[i])
            fail_msg("value %zu of %zu: %.9g and %.9g", i, a->count, (double)a->all[i], (double)b->all[i]);
}

/* --- independence ------------------------------------------------------------------------------------------- */

/* Bits of loss and gradients, dropout included, do not know the capacity or the threads. */
static void test_capacity(void **state)
{
    (void)state;
    static const int64_t capacity[] = {LIVE + 1, 2 * LIVE, 4 * LIVE};
    static const char *const device[] = {"cpu", "ref"};
    for (int k = 0; k < 2; k++) {
        hone_model *m = make_model(k ? "post" : "pre", 0.2);
        outcome exact = run(m, device[k], 1, LIVE);
        for (int i = 0; i < 3; i++) {
            outcome more = run(m, device[k], i == 2 ? 3 : 1, capacity[i]);
            same(&exact, &more);
            free(more.all);
        }
        assert_true(isfinite(exact.all[0]) && exact.all[0] > 0);
        free(exact.all);
        hone_model_free(m);
    }
}

/* The planted fault: another seed of dropout is seen by the comparison. */
static void test_capacity_sees_a_fault(void **state)
{
    (void)state;
    hone_model *a = make_model("pre", 0.2), *b = make_model("pre", 0.21);
    outcome x = run(a, "cpu", 1, LIVE), y = run(b, "cpu", 1, LIVE);
    assert_true(x.count == y.count && memcmp(x.all, y.all, x.count * sizeof *x.all) != 0);
    free(x.all);
    free(y.all);
    hone_model_free(a);
    hone_model_free(b);
}

/* --- beside PyTorch -------------------------------------------------------------------------------------------- */

/* A line: norm, name of a parameter or "loss", projection, length. */
static void compare_golden(const char *norm, const char *device, int *compared)
{
    hone_model *m = make_model(norm, 0);
    outcome r = run(m, device, 2, 2 * LIVE);
    FILE *f = fopen(HONE_TESTS_DIR "/golden/encoder.txt", "r");
    char line[256], which[16], name[128];
    double want, length;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%15s %127s %lf %lf", which, name, &want, &length) != 4 || strcmp(which, norm) != 0) continue;
        size_t at = 0, count = 1;
        for (int k = 0; strcmp(name, "loss") != 0; k++) {
            if (k == hone_model_param_count(m)) fail_msg("no parameter %s", name);
            at += count;
            count = (size_t)hone_model_param(m, k)->count;
            if (strcmp(hone_model_param(m, k)->name, name) == 0) break;
        }
        double got = 0;
        for (size_t i = 0; i < count; i++) got += cos((double)(i + 1)) * (double)r.all[at + i];
        if (!(fabs(got - want) <= 2e-5 * length + 1e-7))
            fail_msg("%s on %s: %s projects to %.9g, in PyTorch to %.9g", norm, device, name, got, want);
        (*compared)++;
    }
    fclose(f);
    free(r.all);
    hone_model_free(m);
}

static void test_encoder_layer(void **state)
{
    (void)state;
    int compared = 0;
    compare_golden("pre", "cpu", &compared);
    compare_golden("post", "cpu", &compared);
    compare_golden("pre", "ref", &compared);
    compare_golden("post", "ref", &compared);
    assert_true(compared == 4 * (1 + 2 + 2 * 12 + 2 + 2)); /* loss, tables, two layers of 12, norm, head */
}

/* --- refusals ---------------------------------------------------------------------------------------------------- */

static void refuse(const char *page, const char *part)
{
    hone_model *m = NULL;
    assert_int_equal(page_model_of(page, &TEXTS, CLASSES, 7, &m), HONE_ERR_USAGE);
    if (!strstr(hone_error_message(), part)) fail_msg("'%s' lacks '%s'", hone_error_message(), part);
}

static void test_refusals(void **state)
{
    (void)state;
    refuse("{layers: [embedding: 8, linear: classes]}", "one row a text");
    refuse("{layers: [embedding: 8, position: {length: 100}, pool: mean, linear: classes]}", "100 positions for texts");
    refuse("{layers: [encoder: {layers: 1, heads: 2}, pool: mean, linear: classes]}", "needs tokens");
    refuse("{layers: [embedding: 8, batchnorm, pool: mean, linear: classes]}", "batches of texts differ");
    refuse("{layers: [embedding: 8, flatten, linear: classes]}", "texts differ in length");
    refuse("{layers: [embedding: 8, residual: {drop_path: 0.1, layers: [linear: 8]}, pool: max, linear: classes]}",
           "whole samples");
    refuse("{layers: [embedding: 8, encoder: {layers: 1, heads: 3}, pool: mean, linear: classes]}", "do not divide");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_capacity_sees_a_fault),
        cmocka_unit_test(test_encoder_layer),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
