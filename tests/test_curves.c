/* test_curves.c - the first 20 steps of four nets beside PyTorch's losses (tests/golden/curves.json).
 *
 * Weights, pixels and labels come from Philox on both sides (tests/golden/make_curves.py has the same
 * rules), so only the losses are committed. The whole program runs: page, data files, init, trainer.
 * rooms: train data config model io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "core/text.h"
#include "hone/hone.h"
#include "support/curves.h"

enum { STREAM_PIXELS = 78, STREAM_LABELS = 79, CLASSES = 10 };

/* Pixels (channels, side, side) of one sample and its label, as data() of make_curves.py draws them. */
static int sample(int index, int channels, int side, uint8_t *planar)
{
    int count = channels * side * side;
    for (int i = 0; i < count; i++)
        planar[i] = (uint8_t)(draw(DATA_SEED, STREAM_PIXELS, (uint64_t)index * (uint64_t)count + (uint64_t)i) * 200.0f);
    int label = (int)(draw(DATA_SEED, STREAM_LABELS, (uint64_t)index) * (float)CLASSES);
    memset(planar + label * side, 255, (size_t)side);
    return label;
}

static void put_be32(FILE *f, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(v >> shift & 255), f);
}

/* Grey as IDX, RGB as CIFAR-10's binary files: both are planar. */
static void write_data(const char *dir, int channels, int samples)
{
    char path[512];
    uint8_t planar[3 * 32 * 32];
    int side = channels == 1 ? 28 : 32;
    snprintf(path, sizeof path, "%s/%s", dir, channels == 1 ? "train-images-idx3-ubyte" : "data_batch_1.bin");
    FILE *images = fopen(path, "wb"), *labels = NULL;
    assert_non_null(images);
    if (channels == 1) {
        snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", dir);
        labels = fopen(path, "wb");
        put_be32(images, 0x803), put_be32(images, (uint32_t)samples), put_be32(images, 28), put_be32(images, 28);
        put_be32(labels, 0x801), put_be32(labels, (uint32_t)samples);
    }
    for (int i = 0; i < samples; i++) {
        int label = sample(i, channels, side, planar);
        fputc(label, labels ? labels : images);
        fwrite(planar, 1, (size_t)(channels * side * side), images);
    }
    fclose(images);
    if (labels) fclose(labels);
}

/* The model of a case: the name's first word. */
static const char *model_of(const char *name)
{
    if (strncmp(name, "lenet", 5) == 0) return "{file: models/lenet.yaml}";
    if (strncmp(name, "resnet18", 8) == 0) return "{file: models/resnet18.yaml, with: {stem: cifar}}";
    if (strncmp(name, "mobilenet", 9) == 0) return "{file: models/mobilenet_v2.yaml, with: {dropout: 0}}";
    return "{file: models/vit_tiny.yaml, with: {patch: 8}}";
}

static char *page(const char *name, json_t *c, const char *dir)
{
    hone_text t = {0};
    int channels = (int)json_integer_value(json_object_get(c, "channels"));
    hone_text_add(&t, "task: image\nout: %s/run\ndata: {path: %s, val_fraction: 0}\n", dir, dir);
    hone_text_add(&t, "image: {size: %d, channels: %d, mean: %s, std: %s}\nmodel: %s\n",
                  (int)json_integer_value(json_object_get(c, "size")), channels,
                  channels == 1 ? "[0.45]" : "[0.45, 0.45, 0.45]", channels == 1 ? "[0.25]" : "[0.25, 0.25, 0.25]",
                  model_of(name));
    hone_text_add(&t,
                  "train:\n  epochs: 2\n  batch: %d\n  shuffle: false\n  init: %s/init.safetensors\n  schedule: {name: "
                  "constant}\n",
                  (int)json_integer_value(json_object_get(c, "batch")), dir);
    hone_text_add(&t, "  clip_norm: %g\n", json_number_value(json_object_get(c, "clip")));
    page_optimizer(&t, json_object_get(c, "optimizer"));
    hone_text_add(&t, "  loss: {label_smoothing: %g", json_number_value(json_object_get(c, "smoothing")));
    json_t *weights = json_object_get(c, "weights"), *w;
    size_t k;
    if (json_is_array(weights)) {
        hone_text_add(&t, ", class_weights: {");
        json_array_foreach(weights, k, w)
            hone_text_add(&t, "%s\"%d\": %g", k ? ", " : "", (int)k, json_number_value(w));
        hone_text_add(&t, "}");
    }
    hone_text_add(&t, "}\nlog: {every: 1}\n");
    return hone_text_take(&t);
}

static double run_case(const char *name, json_t *c, const char *override)
{
    char dir[] = "/tmp/hone-curves-XXXXXX", path[512], command[600];
    assert_non_null(mkdtemp(dir));
    int batch = (int)json_integer_value(json_object_get(c, "batch"));
    write_data(dir, (int)json_integer_value(json_object_get(c, "channels")), 10 * batch);
    snprintf(path, sizeof path, "%s/init.safetensors", dir);
    write_init(path, json_object_get(c, "shapes"));

    char *text = page(name, c, dir);
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
    int left = 0;
    const char *name, *slow = getenv("HONE_TEST_SLOW"); /* 0: only the small net, for sanitizer builds */
    json_t *c;
    json_object_foreach(json_object_get(golden, "cases"), name, c)
    {
        if (slow && slow[0] == '0' && strncmp(name, "lenet", 5) != 0) continue;
        double worst = run_case(name, c, NULL);
        print_message("%-26s worst relative difference %.1e over %d steps (float32 itself drifts %.1e from float64)\n",
                      name, worst, (int)json_array_size(json_object_get(c, "losses")),
                      json_number_value(json_object_get(c, "drift")));
        if (worst <= TOLERANCE) continue;
        print_error("%s leaves PyTorch's curve: %.3e > %.0e\n", name, worst, TOLERANCE); /* a NaN comes here too */
        left++;
    }
    assert_int_equal(left, 0);
}

/* mixup and cutmix, whose draws make_mix_curve.py makes again; other mixtures must be seen. */
static void test_mixing_follows_pytorch(void **state)
{
    (void)state;
    json_error_t e;
    json_t *c = json_load_file(HONE_TESTS_DIR "/golden/mix_curve.json", 0, &e);
    if (!c) fail_msg("tests/golden/mix_curve.json: %s", e.text);
    double worst = run_case("lenet-mix", c, "augment={mixup: 1, cutmix: 1}");
    print_message("%-26s worst relative difference %.1e\n", "lenet-mix", worst);
    assert_true(worst <= TOLERANCE);
    assert_true(run_case("lenet-mix", c, "augment={mixup: 1}") > TOLERANCE);
    assert_true(run_case("lenet-mix", c, "augment={mixup: 1, cutmix: 1, mix: 0.9}") > TOLERANCE);
    json_decref(c);
}

/* Planted fault: half a percent more weight decay and a slightly other rate must be seen by the comparison. */
static void test_another_setting_is_noticed(void **state)
{
    (void)state;
    json_t *c = json_object_get(json_object_get(golden, "cases"), "lenet-sgd");
    assert_true(run_case("lenet-sgd", c, "train.optimizer.lr=0.1005") > TOLERANCE);
    assert_true(run_case("lenet-sgd", c, "train.loss.label_smoothing=0.101") > TOLERANCE);
}

int main(void)
{
    json_error_t e;
    golden = json_load_file(HONE_TESTS_DIR "/golden/curves.json", 0, &e);
    if (!golden) {
        fprintf(stderr, "tests/golden/curves.json: %s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow_pytorch),
        cmocka_unit_test(test_another_setting_is_noticed),
        cmocka_unit_test(test_mixing_follows_pytorch),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(golden);
    return failed;
}
