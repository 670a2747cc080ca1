/* test_image_init.c - `hone init DATA` and `hone train DATA` on pictures: the page must say what is there, be valid, and
 * train well as it is. rooms: cli
 * needs: cli */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/wait.h>

#include "support/command.h"
#include "support/data_checks.h"

static uint32_t roll(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* Class 0 a disc, 1 a square, 2 a cross, anywhere and in any colours, with noise. */
static void draw(const char *root, const char *name, int class, uint32_t id, int h, int w)
{
    uint32_t x = id * 2654435761u + 7;
    uint8_t *p = malloc((size_t)h * (size_t)w * 3), back[3], front[3];
    assert_non_null(p);
    for (int c = 0; c < 3; c++) {
        back[c] = (uint8_t)(roll(&x) % 100);
        front[c] = (uint8_t)(150 + roll(&x) % 100);
    }
    int r = 5 + (int)(roll(&x) % 3), cy = r + (int)(roll(&x) % (unsigned)(h - 2 * r)),
        cx = r + (int)(roll(&x) % (unsigned)(w - 2 * r));
    for (int y = 0; y < h; y++)
        for (int z = 0; z < w; z++) {
            int dy = abs(y - cy), dx = abs(z - cx);
            bool in = class == 0   ? dy * dy + dx * dx <= r * r
                      : class == 1 ? dy <= r - 1 && dx <= r - 1
                                   : (dy <= 1 && dx <= r) || (dx <= 1 && dy <= r);
            for (int c = 0; c < 3; c++) p[(y * w + z) * 3 + c] = (uint8_t)((in ? front[c] : back[c]) + roll(&x) % 6);
        }
    bytes b = png_make(h, w, 3, p);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
    free(p);
}

/* `n` pictures of each class in train, 30 of each in test. */
static void write_shapes(const char *root, int n)
{
    static const char *const class[] = {"disc", "square", "cross"};
    char name[64];
    for (int i = 0; i < n + 30; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "shapes/%s/%s/%d.png", i < n ? "train" : "test", class[k], i);
            draw(root, name, k, (uint32_t)(i * 3 + k), 24, 24);
        }
}

static void says(const char *text)
{
    if (!strstr(output, text)) fail_msg("no \"%s\" in \"%s\"", text, output);
}

/* The data alone are given; the test split is answered well. */
static void test_trains(void **state)
{
    const char *root = *state;
    write_shapes(root, 100);
    runs(root, "init shapes -o shapes.yaml 2>&1", 0, "next: hone train shapes.yaml");
    says("300 training pictures, 24 x 24 colour; 3 classes of 100 to 100; 0 val, 90 test; 0 broken");
    runs(root, "plan shapes.yaml 2>&1", 0, "linear");
    runs(root, "init shapes -o shapes.yaml 2>&1", 2, "File exists");
    runs(root, "train shapes --json --quiet --out run 2>&1", 0, "");
    json_t *j = json_loads(output, 0, NULL);
    assert_non_null(j);
    double accuracy = json_number_value(json_object_get(j, "accuracy"));
    if (accuracy < 0.9) fail_msg("accuracy %g", accuracy);
    assert_int_equal(json_integer_value(json_object_get(j, "n")), 90);
    json_decref(j);
    /* the same data make the same page, so the finished run is known again; another key makes another experiment */
    runs(root, "train shapes --out run 2>&1", 0, "");
    runs(root, "train shapes train.batch=20 --out run 2>&1", 2, "");
}

/* What the page says follows the data. */
static void test_choices(void **state)
{
    const char *root = *state;
    char name[64];
    for (int i = 0; i < 24; i++) { /* digits, mixed sizes and shapes, one class rare, one picture broken */
        snprintf(name, sizeof name, "digits/%d/%d.png", i < 4, i);
        scratch_png(root, name, i, 40 + i, 300 + i, 1);
    }
    scratch_text(root, "digits/0/broken.png", "no picture");
    runs(root, "init digits 2>&1", 0, "flip: 0 ");
    says("on_error: skip");
    says("class_weights: balanced} # classes are uneven, 5 : 1");
    says("channels: 1 ");
    says("size: 48");
    says("resize: stretch");
    says("val_fraction: 0.1");
    says("epochs: 80");
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "photos/train/%s/%d.png", i % 2 ? "oak" : "elm", i);
        draw(root, name, i % 2, (uint32_t)i, 400 + i, 500);
    }
    runs(root, "init photos 2>&1", 0, "size: 64");
    says("resize: shorter");
    says("flip: 0.5");
    says("stride: 1}");
    runs(root, "init nowhere 2>&1", 3, "no such file or folder");
    scratch_text(root, "x.yaml", "task: image\n");
    runs(root, "init x.yaml 2>&1", 2, "a page already");
    runs(root, "train photos train.epoch=1 2>&1", 2, "did you mean");
    scratch_text(root, "empty/readme.md", "nothing");
    runs(root, "train empty 2>&1", 3, "data of a known format");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_trains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choices, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
