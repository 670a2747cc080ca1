/* test_preview.c - `hone data preview`: its pictures are the data's bytes where nothing is augmented, the mirrored ones
 * where all are flipped, and the same page on every dialect and number of threads; labels of mixtures name both classes.
 * rooms: train data model config io report kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/hone.h"
#include "io/file.h"
#include "support/scratch.h"
#include "train/preview.h"

enum { SIDE = 8, SAMPLES = 3, EPOCHS = 2, COUNT = SAMPLES * (EPOCHS + 1), MOST = 4096 };

/* One page: its text, and the base64 of its pictures, row by row. */
typedef struct shown {
    char *html;
    size_t bytes;
    char picture[COUNT][MOST];
} shown;

static hone_status make_page(const char *dir, const char *device, int threads, const char *augment, char path[600])
{
    char text[1024];
    hone_config *c = NULL;
    int rows = 0;
    snprintf(path, 600, "%s/page.html", dir);
    snprintf(text, sizeof text,
             "task: image\ndata: {path: %s/pics, val_fraction: 0}\n"
             "image: {size: %d, channels: 3, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}\naugment: %s\n"
             "model: {layers: [flatten, linear: classes]}\ntrain: {batch: 4}\n",
             dir, SIDE, augment);
    if (hone_config_read_text("page.yaml", text, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_preview_opts o = {.device = device, .threads = threads, .samples = SAMPLES, .epochs = EPOCHS, .path = path};
    hone_status status = hone_preview_make(c, &o, &rows);
    if (status == HONE_OK) assert_int_equal(rows, SAMPLES);
    hone_config_free(c);
    return status;
}

/* The page of an `augment:` block, taken apart. */
static void preview(const char *dir, const char *device, int threads, const char *augment, shown *s)
{
    char path[600];
    int k = 0;
    if (make_page(dir, device, threads, augment, path) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_file_read(path, 1 << 24, &s->html, &s->bytes), HONE_OK);
    for (const char *at = s->html; (at = strstr(at, "base64,")); k++) {
        at += 7;
        assert_true(k < COUNT && strcspn(at, "\"") < MOST);
        snprintf(s->picture[k], MOST, "%.*s", (int)strcspn(at, "\""), at);
    }
    assert_int_equal(k, COUNT);
}

static int digit(char c)
{
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(all, c) : NULL;
    return at ? (int)(at - all) : -1;
}

/* Pixels of a picture of the page, through our own PNG reader. */
static void decode(const char *text, uint8_t pixels[SIDE * SIDE * 3])
{
    uint8_t file[MOST];
    size_t count = 0, bits = 0;
    uint32_t window = 0;
    for (; digit(*text) >= 0; text++) {
        window = window << 6 | (uint32_t)digit(*text);
        for (bits += 6; bits >= 8; bits -= 8) file[count++] = (uint8_t)(window >> (bits - 8));
    }
    hone_preprocess pre = {.height = SIDE, .width = SIDE, .channels = 3};
    assert_int_equal(hone_image_bytes("page.png", file, count, &pre, pixels), HONE_OK);
}

/* Normalised and back again: not a bit may change. */
static void test_untouched(void **state)
{
    shown *s = calloc(1, sizeof *s);
    preview(*state, "cpu", 1, "{}", s);
    for (int k = 0; k < COUNT; k++) assert_string_equal(s->picture[k], s->picture[k - k % (EPOCHS + 1)]);
    assert_string_not_equal(s->picture[0], s->picture[EPOCHS + 1]); /* another sample is another picture */
    free(s->html);
    free(s);
}

static void test_flipped(void **state)
{
    shown *s = calloc(1, sizeof *s);
    uint8_t plain[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
    preview(*state, "cpu", 1, "{flip: 1}", s);
    decode(s->picture[0], plain);
    decode(s->picture[1], seen);
    for (int i = 0; i < SIDE * SIDE; i++)
        assert_memory_equal(seen + 3 * i, plain + 3 * (i / SIDE * SIDE + SIDE - 1 - i % SIDE), 3);
    free(s->html);
    free(s);
}

static void test_the_same_everywhere(void **state)
{
    static const char all[] = "{flip: 0.5, crop: {scale: [0.3, 1]}, rotate: 20, color: {contrast: 0.4}, "
                              "randaugment: {count: 2}, erase: {probability: 0.5}, mixup: 1}";
    static const struct {
        const char *device;
        int threads;
    } other[] = {{"cpu", 4}, {"ref", 1}, {"emulated", 1}};
    shown *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    preview(*state, "cpu", 1, all, a);
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        preview(*state, other[k].device, other[k].threads, all, b);
        assert_string_equal(a->html, b->html);
        free(b->html);
    }
    assert_non_null(strstr(a->html, "randaugment:\n    count: 2"));
    assert_null(strstr(a->html, "layers:"));       /* only what is done to the pictures */
    assert_non_null(strstr(a->html, "ball + 0.")); /* 0.7x ball + 0.2x cube */
    assert_string_not_equal(a->picture[1], a->picture[2]);
    free(a->html);
    free(a);
    free(b);
}

/* Texts are sent to their own command; a place that can't be written is named. */
static void test_refused(void **state)
{
    hone_config *c = NULL;
    int rows;
    const char *text = "task: text\ndata: {path: d}\nmodel: {layers: [embedding_bag: {dim: 4}, linear: classes]}\n";
    hone_preview_opts o = {.device = "cpu", .threads = 1, .samples = 1, .epochs = 1, .path = "page.html"};
    (void)state;
    assert_int_equal(hone_config_read_text("page.yaml", text, NULL, 0, &c), HONE_OK);
    assert_int_equal(hone_preview_make(c, &o, &rows), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "texts"));
    hone_config_free(c);
    char path[600];
    assert_int_equal(make_page("/no/such/folder", "cpu", 1, "{}", path), HONE_ERR_DATA);
    hone_error_clear();
}

static int make(void **state)
{
    char *dir = scratch_make();
    for (int k = 0; k < 3; k++) {
        char name[40];
        for (int c = 0; c < 2; c++) {
            snprintf(name, sizeof name, "pics/%s/%d.png", c ? "cube" : "ball", k);
            scratch_png(dir, name, 2 * k + c, SIDE, SIDE, 3);
        }
    }
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
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_the_same_everywhere),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
