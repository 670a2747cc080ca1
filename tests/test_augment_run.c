/* test_augment_run.c - whole trainings with every augmentation there is: the same bytes with 1 and 4 decode threads,
 * with resident and streamed pictures, stopped at each step and resumed; on the emulated device the pictures of the CPU.
 * rooms: train data model config io kernels core
 *
 * HONE_TEST_DEVICE=cuda: the device's part on a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "hone/hone.h"
#include "io/file.h"
#include "support/runs.h"
#include "support/scratch.h"
#include "train/augment.h"
#include "train/setup.h"

/* Pictures are taken at 140 x 140, so that 60 of them pass a limit of 1 MiB and are streamed; the net is small. */
static const char page[] = "task: image\n"
                           "data: {path: %s, val_fraction: 0}\n"
                           "image: {size: 140, channels: 3, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}\n"
                           "augment:\n"
                           "  flip: 0.5\n"
                           "  crop: {scale: [0.2, 1], from: [170, 190]}\n"
                           "  rotate: 20\n"
                           "  color: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}\n"
                           "  randaugment: {count: 2, magnitude: 9}\n"
                           "  erase: {probability: 0.5}\n"
                           "  mixup: 0.2\n"
                           "  cutmix: 1\n"
                           "  mix: 0.8\n"
                           "model: {layers: [avgpool: 20, flatten, linear: 8, relu, linear: classes]}\n"
                           "train: {epochs: 2, batch: 7, optimizer: {name: sgd, lr: 0.05}, schedule: {name: constant}, "
                           "loss: {label_smoothing: 0.1}}\n"
                           "log: {every: 1}\n";

static hone_config *config_of(const char *dir, const char *const *override, int count)
{
    char text[2048];
    hone_config *config = NULL;
    snprintf(text, sizeof text, page, dir);
    if (hone_config_read_text(HONE_SOURCE_DIR "/configs/page.yaml", text, override, count, &config) != HONE_OK)
        fail_msg("%s", hone_error_message());
    return config;
}

/* A run, or the rest of one; `stop_after` 0: to its end. True where it came to its end. */
static bool train(const char *dir, const char *name, const char *const *override, int count, int stop_after)
{
    char out[512];
    stopper s = {.left = stop_after};
    hone_train_opts opts = {
        .device = "cpu", .threads = 2, .out = out, .stop = &s.stop, .progress = count_down, .progress_arg = &s};
    hone_config *config = config_of(dir, override, count);
    snprintf(out, sizeof out, "%s/runs/%s", dir, name);
    hone_status status = hone_train(config, &opts, NULL);
    if (status != HONE_OK && status != HONE_INTERRUPTED) fail_msg("%s: %s", name, hone_error_message());
    hone_config_free(config);
    hone_error_clear();
    return status == HONE_OK;
}

static bool same_weights(const char *dir, const char *a, const char *b)
{
    char path[600];
    static char *data[2]; /* static: gcc 12 takes the pointer that comes back for the address of a local */
    size_t length[2];
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/runs/%s/best.safetensors", dir, k ? b : a);
        if (hone_file_read(path, 1 << 20, &data[k], &length[k]) != HONE_OK) fail_msg("%s", hone_error_message());
    }
    bool same = length[0] == length[1] && memcmp(data[0], data[1], length[0]) == 0;
    free(data[0]);
    free(data[1]);
    return same;
}

static void test_threads_and_streams(void **state)
{
    static const char *const other[][2] = {{"data.decode_threads=4", "data.memory_limit_mb=64"},
                                           {"data.decode_threads=1", "data.memory_limit_mb=1"},
                                           {"data.decode_threads=4", "data.memory_limit_mb=1"}};
    const char *dir = *state, *const one[] = {"data.decode_threads=1", "data.memory_limit_mb=64"};
    assert_true(train(dir, "one", one, 2, 0));
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        char name[16];
        snprintf(name, sizeof name, "other%zu", k);
        assert_true(train(dir, name, other[k], 2, 0));
        if (!same_weights(dir, "one", name)) fail_msg("%s, %s: other bytes", other[k][0], other[k][1]);
    }
    /* the planted faults: what must change the bytes does */
    const char *const seed[] = {"train.seed=2"}, *const mix[] = {"augment.mix=0.7"},
                      *const erase[] = {"augment.erase.probability=0.4"}, *const from[] = {"augment.crop.from=200"};
    const char *const *change[] = {seed, mix, erase, from};
    for (int k = 0; k < 4; k++) {
        char name[16];
        snprintf(name, sizeof name, "changed%d", k);
        assert_true(train(dir, name, change[k], 1, 0));
        assert_false(same_weights(dir, "one", name));
    }
}

/* Training pictures are kept larger than they come out, by the page or by the rule; others are not. */
static void test_kept_sizes(void **state)
{
    static const struct {
        const char *size, *from;
        int height, width; /* of the pictures kept: 20 x 20 in memory */
    } row[] = {{"image.size=16", "augment.crop.from=24", 24, 24},
               {"image.size=16", "augment.crop.from=~", 20, 20},
               {"image.size=[12, 13]", "augment.crop.from=~", 18, 19},
               {"image.size=40", "augment.crop.from=~", 40, 40},
               {"image.size=16", "augment.crop.from=[30, 17]", 30, 17}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        const char *const override[] = {row[k].size, row[k].from, "data.val_fraction=0.2"};
        hone_config *config = config_of(*state, override, 3);
        hone_image_spec spec = {config->image.height, config->image.width, config->image.channels, HONE_RESIZE_STRETCH};
        hone_data *d;
        assert_int_equal(hone_data_open(config, &spec, &d), HONE_OK);
        assert_int_equal(hone_augment_keep(config, d), HONE_OK);
        assert_int_equal(d->train->height, row[k].height);
        assert_int_equal(d->train->width, row[k].width);
        assert_int_equal(d->val->height, config->image.height);
        assert_int_equal(d->val->width, config->image.width);
        hone_data_free(d);
        hone_config_free(config);
    }
}

/* Nine batches an epoch, the last of four: stopped after one step, then after two more, and so on. */
static void test_resume(void **state)
{
    const char *dir = *state;
    int stops = 0;
    assert_true(train(dir, "whole", NULL, 0, 0));
    for (int k = 1; !train(dir, "parts", NULL, 0, k); k++) stops++;
    assert_true(stops >= 4);
    assert_true(same_weights(dir, "whole", "parts"));
}

/* --- pictures on two dialects ----------------------------------------------------------------------------------------- */

enum { BATCHES = 3, BATCH = 7, PIXELS = 140 * 140 * 3 };

/* The first pictures as the net sees them, with their second labels and shares. */
typedef struct seen {
    float image[BATCHES][BATCH * PIXELS], share[BATCHES][BATCH];
    int32_t other[BATCHES][BATCH];
} seen;

static void look(const char *device, const char *dir, seen *s)
{
    const char *const limit[] = {"data.memory_limit_mb=64", "train.precision=fp32"};
    hone_config *config = config_of(dir, limit, 2);
    hone_train_opts opts = {.device = device, .threads = 1};
    hone_trainer t = {.config = config, .opts = &opts};
    hone_pass pass;
    if (hone_setup_open(&t) != HONE_OK) fail_msg("%s: %s", device, hone_error_message());
    hone_pass_opts o = hone_setup_view_opts(&t);
    if (hone_pass_open(&o, &pass) != HONE_OK) fail_msg("%s: %s", device, hone_error_message());
    for (int k = 0; k < BATCHES; k++) {
        hone_batch b;
        hone_pass_program *w;
        assert_int_equal(hone_pass_feed(&pass, &b, &w), HONE_OK);
        hone_step step = {.seed = 5, .epoch = 1, .step = k};
        assert_int_equal(hone_program_set_step(w->program, &step), HONE_OK);
        assert_int_equal(hone_program_forward_backward(w->program), HONE_OK);
        assert_int_equal(hone_program_read(w->program, w->io.image, s->image[k], sizeof s->image[k]), HONE_OK);
        assert_int_equal(hone_program_read(w->program, w->io.other, s->other[k], sizeof s->other[k]), HONE_OK);
        assert_int_equal(hone_program_read(w->program, w->io.share, s->share[k], sizeof s->share[k]), HONE_OK);
    }
    hone_pass_close(&pass);
    hone_pass_close(&t.val);
    hone_pass_close(&t.train);
    hone_model_free(t.model);
    hone_data_free(t.data);
    hone_backend_close(t.backend);
    hone_config_free(config);
}

static void test_dialects_see_the_same(void **state)
{
    const char *name = getenv("HONE_TEST_DEVICE");
    const char *device[] = {"cpu", "ref", name ? name : "emulated"};
    seen *s = calloc(2, sizeof *s);
    look(device[0], *state, &s[0]);
    for (int k = 1; k < 3; k++) {
        memset(&s[1], 0, sizeof s[1]);
        look(device[k], *state, &s[1]);
        if (memcmp(&s[0], &s[1], sizeof *s) != 0) fail_msg("%s sees other pictures than the CPU", device[k]);
    }
    int mixed = 0;
    for (int k = 0; k < BATCHES; k++)
        for (int n = 0; n < BATCH; n++) mixed += s[0].share[k][n] < 1;
    assert_true(mixed > 5);
    free(s);
}

static int make(void **state)
{
    char *dir = scratch_make();
    scratch_idx(dir, "train", 60, 20, 20, 4, 1);
    *state = dir;
    return 0;
}

static int clean(void **state)
{
    scratch_remove(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_and_streams, make, clean),
        cmocka_unit_test_setup_teardown(test_kept_sizes, make, clean),
        cmocka_unit_test_setup_teardown(test_resume, make, clean),
        cmocka_unit_test_setup_teardown(test_dialects_see_the_same, make, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
