/* test_label_noise.c - what the report calls likely wrong labels: of a training set with 5 % of its labels turned, the
 * turned ones must stand where the loss is highest. rooms: train
 *
 * 600 drawn shapes, 30 of them under another class's name; after a short training the set is evaluated on itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hone/philox.h"
#include "hone/train.h"
#include "support/data_checks.h"

enum { SIDE = 16, COUNT = 600, CLASSES = 3, EVERY = 20 };

static uint32_t roll(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* Class 0 a disc, 1 a square, 2 a cross, anywhere, on noise. */
static void draw(bytes *b, int class, uint32_t id)
{
    uint32_t x = id * 2654435761u + 7;
    int r = 3 + (int)(roll(&x) % 3), cy = r + (int)(roll(&x) % (unsigned)(SIDE - 2 * r)),
        cx = r + (int)(roll(&x) % (unsigned)(SIDE - 2 * r));
    unsigned back = roll(&x) % 60, front = 140 + roll(&x) % 80;
    for (int y = 0; y < SIDE; y++)
        for (int z = 0; z < SIDE; z++) {
            int dy = abs(y - cy), dx = abs(z - cx);
            bool in = class == 0   ? dy * dy + dx * dx <= r * r
                      : class == 1 ? dy < r && dx < r
                                   : (dy < 1 && dx <= r) || (dx < 1 && dy <= r);
            bytes_u8(b, (in ? front : back) + roll(&x) % 30);
        }
}

/* Every 20th label is another class's. */
static bool is_turned(int i) { return i % EVERY == 7; }

static void write_set(const char *root)
{
    bytes pixels = idx_header(3, (uint32_t[]){COUNT, SIDE, SIDE}), labels = idx_header(1, (uint32_t[]){COUNT});
    for (int i = 0; i < COUNT; i++) {
        draw(&pixels, i % CLASSES, (uint32_t)i);
        bytes_u8(&labels, (unsigned)((i + (is_turned(i) ? 1 + i / EVERY % 2 : 0)) % CLASSES));
    }
    scratch_write(root, "set/train-images-idx3-ubyte", pixels.data, pixels.count);
    scratch_write(root, "set/train-labels-idx1-ubyte", labels.data, labels.count);
    free(pixels.data);
    free(labels.data);
}

/* Of the `most` highest losses, how many belong to turned labels. */
static int turned_among(const hone_evaluation *e, int most)
{
    int found = 0;
    for (int i = 0; i < COUNT; i++) {
        int above = 0; /* rank by counting: equal losses by their place */
        for (int j = 0; j < COUNT; j++)
            above += e->row_loss[j] > e->row_loss[i] || (e->row_loss[j] == e->row_loss[i] && j < i);
        found += is_turned(i) && above < most;
    }
    return found;
}

static void test_turned_labels_lead(void **state)
{
    const char *root = *state;
    char page[1024], out[512];
    hone_config *c = NULL;
    hone_evaluation e = {0}, worst = {0};
    write_set(root);
    snprintf(out, sizeof out, "%s/run", root);
    snprintf(
        page, sizeof page,
        "task: image\nout: %s\ndata: {path: %s/set, val_fraction: 0}\nimage: {mean: auto, std: auto}\n"
        "model: {layers: [conv: {out: 16}, batchnorm, relu, maxpool: 2, conv: {out: 32}, batchnorm, relu, maxpool: 2,\n"
        "                 conv: {out: 32}, batchnorm, relu, global_maxpool, linear: classes]}\n"
        "train: {epochs: 8, batch: 32, optimizer: {name: sgd, lr: 0.05}, schedule: {name: cosine, warmup: 1}}\n",
        out, root);
    if (hone_config_read_text("page", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_train_opts o = {.device = "cpu", .threads = 2};
    if (hone_train(c, &o, &e) != HONE_OK) fail_msg("%s", hone_error_message());
    char report[600];
    snprintf(report, sizeof report, "%s/labels.html", root);
    hone_eval_opts v = {.device = "cpu", .threads = 2, .split = "train", .report = report};
    if (hone_evaluate(out, &v, &worst) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(worst.n, COUNT);
    int turned = COUNT / EVERY, found = turned_among(&worst, COUNT / 10);
    print_message("%d of %d turned labels among the %d highest losses; accuracy %.3f\n", found, turned, COUNT / 10,
                  worst.accuracy);
    if (found * 10 < turned * 6) fail_msg("%d of %d turned labels among the highest losses", found, turned);
    static char html[1 << 20];
    FILE *f = fopen(report, "rb");
    assert_non_null(f);
    html[fread(html, 1, sizeof html - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(html, "Likely wrong labels")); /* the model is sure of another class */
    /* the same labels, shuffled losses: the count must be one that chance does not give */
    for (int i = 0; i < COUNT; i++) worst.row_loss[i] = hone_uniform(hone_philox(5, 1, (uint64_t)i, 0).v[0]);
    assert_true(turned_among(&worst, COUNT / 10) * 10 < turned * 6);
    hone_evaluation_free(&e);
    hone_evaluation_free(&worst);
    hone_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_turned_labels_lead, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
