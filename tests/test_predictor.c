/* test_predictor.c - one predictor for many threads: the answers are those of one thread to the bit, however many
 * lanes there are and whatever stands beside an input; encoded bytes, raw pixels and prepared pixels agree; wrong
 * calls are refused. Under ThreadSanitizer it shows that lanes share nothing that a step writes.
 * rooms: train text data model compile graph config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "hone/hone.h"
#include "hone/philox.h"
#include "io/file.h"
#include "support/scratch.h"
#include "train/engine.h"

enum { THREADS = 8, INPUTS = 24, ROUNDS = 12, CLASSES_MAX = 8 };

static const char image_page[] = "task: image\n"
                                 "data: {synthetic: {shape: [12, 10, 3], classes: 4, samples: 40}}\n"
                                 "model:\n"
                                 "  layers: [conv: {out: 8}, batchnorm, relu, maxpool, conv: {out: 8}, gelu, flatten,\n"
                                 "           linear: 32, dropout: 0.3, linear: {out: classes}]\n"
                                 "train: {epochs: 1, batch: 8}\n";
static const char text_page[] = "task: text\n"
                                "data: {path: %s/rows.tsv, val_fraction: 0}\n"
                                "text: {ngram: {words: [1, 2], buckets: 500, min_count: 1}}\n"
                                "model: {layers: [embedding_bag: 12, linear: classes]}\n"
                                "train: {epochs: 1, batch: 8, optimizer: {name: sgd, lr: 1, momentum: 0}}\n";

/* dir/image and dir/text: two runs. */
static void train(const char *dir, const char *name, const char *page)
{
    hone_config *c = NULL;
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = scratch_path(dir, name)};
    if (hone_config_read_text(name, page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
}

static int make_runs(void **state)
{
    char page[1200];
    hone_text rows = {0};
    char *dir = hone_strdup(scratch_make());
    hone_text_add(&rows, "label\ttext\n");
    for (int k = 0; k < 60; k++) hone_text_add(&rows, "c%d\tword%d word%d other\n", k % 3, k % 3, k);
    scratch_write(dir, "rows.tsv", rows.data, rows.bytes);
    hone_text_free(&rows);
    snprintf(page, sizeof page, text_page, dir);
    train(dir, "image", image_page);
    train(dir, "text", page);
    *state = dir;
    return 0;
}

static int remove_runs(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* A binary PPM of 3 channels; every k another one, some not of the model's size. */
static bytes picture(int k, int *height, int *width)
{
    bytes b = {0};
    char head[64];
    *height = 12 + k % 3;
    *width = 10 + k % 5;
    int n = snprintf(head, sizeof head, "P6\n%d %d\n255\n", *width, *height);
    bytes_add(&b, head, (size_t)n);
    for (int i = 0; i < 3 * *height * *width; i++) bytes_u8(&b, hone_philox(1, 7, (uint64_t)k, (uint32_t)i).v[0] & 255);
    return b;
}

/* Inputs of both kinds, and the answers of one thread. */
typedef struct inputs {
    hone_predictor *predictor;
    bool text;
    int classes;
    const void *data[INPUTS];
    size_t size[INPUTS];
    float want[INPUTS][CLASSES_MAX];
    hone_status status[THREADS];
    int wrong[THREADS];
} inputs;

static hone_status predict(const inputs *in, int first, int count, float *out)
{
    if (in->text)
        return hone_predictor_texts(in->predictor, (const char *const *)&in->data[first], &in->size[first], count, out);
    return hone_predictor_encoded(in->predictor, &in->data[first], &in->size[first], count, out);
}

/* Values that differ in their bits. */
static int differences(const inputs *in, int first, int count, const float *got)
{
    int wrong = 0;
    for (int k = 0; k < count; k++)
        for (int c = 0; c < in->classes; c++)
            wrong += memcmp(&got[k * in->classes + c], &in->want[first + k][c], sizeof(float)) != 0;
    return wrong;
}

typedef struct worker {
    inputs *in;
    int index;
} worker;

/* Its own walk over the inputs: one, three, and more than a batch at a time. */
static void *work(void *arg)
{
    worker *w = arg;
    inputs *in = w->in;
    static const int sizes[] = {1, 3, 18, 1, 2};
    float got[INPUTS * CLASSES_MAX];
    for (int round = 0; round < ROUNDS && in->status[w->index] == HONE_OK; round++) {
        int count = sizes[(round + w->index) % 5], first = (round * 5 + w->index * 3) % (INPUTS - count + 1);
        in->status[w->index] = predict(in, first, count, got);
        in->wrong[w->index] += differences(in, first, count, got);
    }
    return NULL;
}

static void all_at_once(inputs *in)
{
    pthread_t thread[THREADS];
    worker w[THREADS];
    memset(in->status, 0, sizeof in->status);
    memset(in->wrong, 0, sizeof in->wrong);
    for (int t = 0; t < THREADS; t++) {
        w[t] = (worker){in, t};
        assert_int_equal(pthread_create(&thread[t], NULL, work, &w[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) pthread_join(thread[t], NULL);
}

static void make_inputs(inputs *in, bool text)
{
    *in = (inputs){.text = text};
    for (int k = 0; k < INPUTS; k++) {
        int h, w;
        hone_text t = {0};
        for (int i = 0; i < k % 7 && text; i++) hone_text_add(&t, "word%d ", (k * 5 + i) % 60);
        if (!text) {
            bytes b = picture(k, &h, &w);
            in->data[k] = b.data;
            in->size[k] = b.count;
        } else {
            in->size[k] = t.bytes; /* every seventh is empty */
            in->data[k] = t.data ? hone_text_take(&t) : hone_strdup("");
        }
    }
}

static void free_inputs(inputs *in)
{
    for (int k = 0; k < INPUTS; k++) free((void *)in->data[k]);
}

/* The lanes that the second argument allows; the answers of a predictor that one thread uses are the truth. */
static void check_threads(const char *run, bool text, int lanes)
{
    inputs in;
    hone_predictor_opts o = {.device = "cpu", .threads = 1, .lanes = lanes};
    make_inputs(&in, text);
    if (hone_predictor_open(run, "cpu", 1, &in.predictor) != HONE_OK) fail_msg("%s", hone_error_message());
    in.classes = hone_predictor_classes(in.predictor);
    for (int k = 0; k < INPUTS; k++) assert_int_equal(predict(&in, k, 1, in.want[k]), HONE_OK);
    hone_predictor_close(in.predictor);
    if (hone_predictor_open_with(run, &o, &in.predictor) != HONE_OK) fail_msg("%s", hone_error_message());
    all_at_once(&in);
    for (int t = 0; t < THREADS; t++) assert_int_equal(in.status[t], HONE_OK);
    for (int t = 0; t < THREADS; t++) assert_int_equal(in.wrong[t], 0);
    in.want[INPUTS / 2][0] += 1e-6f; /* the planted fault: one value of one input is off by a few bits */
    all_at_once(&in);
    int wrong = 0;
    for (int t = 0; t < THREADS; t++) wrong += in.wrong[t];
    assert_true(wrong > 0);
    hone_predictor_close(in.predictor);
    free_inputs(&in);
}

static void eight_threads_on_eight_lanes(void **state)
{
    check_threads(scratch_path(*state, "image"), false, THREADS);
    check_threads(scratch_path(*state, "text"), true, THREADS);
}

static void eight_threads_on_two_lanes(void **state)
{
    check_threads(scratch_path(*state, "image"), false, 2);
    check_threads(scratch_path(*state, "text"), true, 1);
}

/* What a program must not do to its owner is refused at compile time. */
static void lanes_take_only_what_they_may(void **state)
{
    hone_saved saved;
    hone_engine *first = NULL, *second = NULL;
    hone_predictor_opts cpu = {.device = "cpu", .threads = 1}, ref = {.device = "ref", .threads = 1};
    assert_int_equal(hone_saved_open(scratch_path(*state, "image"), &saved), HONE_OK);
    assert_int_equal(hone_engine_open(&saved, &cpu, NULL, &first), HONE_OK);
    assert_true(hone_engine_can_lend(first));
    assert_int_equal(hone_engine_open(&saved, &ref, first, &second), HONE_OK); /* of the first one's kind, not ref */
    hone_engine_close(second);
    hone_engine_close(first);
    hone_saved_close(&saved);
}

static void encoded_raw_and_prepared_agree(void **state)
{
    hone_predictor *p;
    assert_int_equal(hone_predictor_open(scratch_path(*state, "image"), NULL, 1, &p), HONE_OK);
    const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
    for (int k = 0; k < 6; k++) {
        int h, w;
        float a[CLASSES_MAX], b[CLASSES_MAX], c[CLASSES_MAX];
        bytes file = picture(k, &h, &w);
        const void *data = file.data;
        uint8_t *pixels = malloc((size_t)pre->height * (size_t)pre->width * 3);
        assert_int_equal(hone_predictor_encoded(p, &data, &file.count, 1, a), HONE_OK);
        assert_int_equal(hone_predictor_pixels(p, file.data + file.count - (size_t)(3 * h * w), h, w, 3, 1, b),
                         HONE_OK);
        assert_int_equal(hone_image_bytes("x", file.data, file.count, pre, pixels), HONE_OK);
        assert_int_equal(hone_predictor_run(p, pixels, 1, c), HONE_OK);
        assert_memory_equal(a, b, 4 * sizeof(float));
        assert_memory_equal(a, c, 4 * sizeof(float));
        assert_true(fabsf(a[0] + a[1] + a[2] + a[3] - 1) < 1e-5f);
        free(pixels);
        free(file.data);
    }
    hone_predictor_close(p);
}

static void wrong_calls_are_refused(void **state)
{
    hone_predictor *p = NULL, *q = NULL;
    float out[2 * CLASSES_MAX];
    const char *text = "word1";
    size_t size[2] = {5, 3};
    const void *broken[2] = {"P6\n1", "abc"};
    uint8_t pixel[3] = {0};
    hone_predictor_opts none = {.lanes = -1};
    assert_int_equal(hone_predictor_open(scratch_path(*state, "nothing"), "cpu", 1, &p), HONE_ERR_USAGE);
    assert_null(p);
    assert_int_equal(hone_predictor_open(scratch_path(*state, "image"), "gpu", 1, &p), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_open_with(scratch_path(*state, "image"), &none, &p), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_open(scratch_path(*state, "image"), "cpu", 1, &p), HONE_OK);
    assert_int_equal(hone_predictor_open(scratch_path(*state, "text"), "cpu", 1, &q), HONE_OK);
    assert_int_equal(hone_predictor_texts(p, &text, size, 1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_run(q, pixel, 1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_encoded(q, broken, size, 1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_encoded(p, broken, size, 2, out), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "image 0"));
    assert_int_equal(hone_predictor_pixels(p, pixel, 1, 1, 2, 1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_pixels(p, pixel, 0, 1, 3, 1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_run(p, pixel, -1, out), HONE_ERR_USAGE);
    assert_int_equal(hone_predictor_run(p, NULL, 0, NULL), HONE_OK);
    assert_string_equal(hone_predictor_label(q, 2), "c2");
    assert_null(hone_predictor_label(q, 3));
    assert_null(hone_predictor_label(q, -1));
    assert_true(hone_predictor_takes_text(q) && !hone_predictor_takes_text(p));
    hone_predictor_close(p);
    hone_predictor_close(q);
    hone_predictor_close(NULL);
}

static void top_is_sorted_and_stable(void **state)
{
    (void)state;
    const float p[] = {0.1f, NAN, 0.4f, 0.1f, 0.4f, 0};
    int best[6];
    assert_int_equal(hone_predictor_top(p, 6, 3, best), 3);
    assert_memory_equal(best, ((int[]){2, 4, 0}), 3 * sizeof *best);
    assert_int_equal(hone_predictor_top(p, 6, 9, best), 6);
    assert_memory_equal(best, ((int[]){2, 4, 0, 3, 5, 1}), 6 * sizeof *best);
    assert_int_equal(hone_predictor_top(p, 6, 0, best), 0);
    assert_int_equal(hone_predictor_top(p, 0, 2, best), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_threads_on_eight_lanes),  cmocka_unit_test(eight_threads_on_two_lanes),
        cmocka_unit_test(lanes_take_only_what_they_may), cmocka_unit_test(encoded_raw_and_prepared_agree),
        cmocka_unit_test(wrong_calls_are_refused),       cmocka_unit_test(top_is_sorted_and_stable),
    };
    return cmocka_run_group_tests(tests, make_runs, remove_runs);
}
