/* test_image_check.c - `hone data check|stats` on pictures and data.check: strict: planted faults must be found, and
 * nothing else. rooms: cli
 * needs: cli
 *
 * Pictures are drawn by a fixed generator: a background of slow waves, boxes, fine texture. Copies are made as
 * programs make them: another file format, blocks quantised as JPEG does, rescaled, brightened. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/wait.h>

#include "core/text.h"
#include "data/check.h"
#include "data/image_twins.h"
#include "support/command.h"
#include "support/data_checks.h"

enum { H = 48, W = 64 };

static uint32_t roll(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

static uint8_t clip(double v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : lrint(v)); }

/* Picture `id` of `channels` channels (H, W, channels), which the caller frees. */
static hone_image draw(uint32_t id, int channels)
{
    hone_image im = {H, W, channels, 1, malloc((size_t)H * W * (size_t)channels)};
    assert_non_null(im.pixels);
    uint32_t x = id * 2654435761u + 99;
    double v[H][W][3], wave[4][5];
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 5; i++) wave[k][i] = roll(&x) % 1000 / 1000.0;
    for (int y = 0; y < H; y++)
        for (int z = 0; z < W; z++)
            for (int c = 0; c < 3; c++) {
                v[y][z][c] = 120;
                for (int k = 0; k < 4; k++)
                    v[y][z][c] +=
                        30 * wave[k][4] *
                        sin(6.28 * (wave[k][0] * 3 * y / H + wave[k][1] * 3 * z / W + wave[k][2] + c * wave[k][3]));
                v[y][z][c] += (roll(&x) % 9) - 4.0;
            }
    for (int k = 0; k < 5; k++) {
        int top = (int)(roll(&x) % (H - 8)), left = (int)(roll(&x) % (W - 8)), h = 4 + (int)(roll(&x) % 20),
            w = 4 + (int)(roll(&x) % 24);
        double colour[3] = {roll(&x) % 256, roll(&x) % 256, roll(&x) % 256};
        for (int y = top; y < top + h && y < H; y++)
            for (int z = left; z < left + w && z < W; z++)
                for (int c = 0; c < 3; c++) v[y][z][c] = colour[c] * 0.8 + 0.2 * v[y][z][c];
    }
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < channels; c++) im.pixels[i * channels + c] = clip(v[i / W][i % W][c]);
    return im;
}

static void save_png(const char *root, const char *name, const hone_image *im)
{
    bytes b = png_make(im->height, im->width, im->channels, im->pixels);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
}

/* The same pixels in another format. */
static void save_pnm(const char *root, const char *name, const hone_image *im)
{
    bytes b = {0};
    char head[64];
    int n = snprintf(head, sizeof head, "P%d\n%d %d\n255\n", im->channels == 3 ? 6 : 5, im->width, im->height);
    bytes_add(&b, head, (size_t)n);
    bytes_add(&b, im->pixels, (size_t)im->height * (size_t)im->width * (size_t)im->channels);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
}

/* What JPEG loses: the DCT of each 8 x 8 block, quantised in steps that grow with the frequency. */
static void quantise(hone_image *im, double step)
{
    double basis[8][8];
    for (int u = 0; u < 8; u++)
        for (int x = 0; x < 8; x++) basis[u][x] = cos(3.14159265 * u * (2 * x + 1) / 16) * (u ? 0.5 : 0.353553391);
    for (int c = 0; c < im->channels; c++)
        for (int by = 0; by + 8 <= im->height; by += 8)
            for (int bx = 0; bx + 8 <= im->width; bx += 8) {
                double f[8][8] = {{0}};
                for (int u = 0; u < 8; u++)
                    for (int w = 0; w < 8; w++) {
                        for (int y = 0; y < 8; y++)
                            for (int x = 0; x < 8; x++)
                                f[u][w] += basis[u][y] * basis[w][x] *
                                           im->pixels[((by + y) * im->width + bx + x) * im->channels + c];
                        double q = step * (1 + 0.5 * (u + w));
                        f[u][w] = q * round(f[u][w] / q);
                    }
                for (int y = 0; y < 8; y++)
                    for (int x = 0; x < 8; x++) {
                        double v = 0;
                        for (int u = 0; u < 8; u++)
                            for (int w = 0; w < 8; w++) v += basis[u][y] * basis[w][x] * f[u][w];
                        im->pixels[((by + y) * im->width + bx + x) * im->channels + c] = clip(v);
                    }
            }
}

static void rescale(hone_image *im, int h, int w)
{
    uint8_t *out = malloc((size_t)h * (size_t)w * (size_t)im->channels);
    assert_non_null(out);
    assert_int_equal(hone_resize_bilinear(im->pixels, im->height, im->width, im->channels, out, h, w), HONE_OK);
    free(im->pixels);
    *im = (hone_image){h, w, im->channels, 1, out};
}

static void brighten(hone_image *im, double gain, double more)
{
    for (int i = 0; i < im->height * im->width * im->channels; i++) im->pixels[i] = clip(gain * im->pixels[i] + more);
}

/* A part of a picture (shares of its sides), turned about its middle, in another size; black where there was nothing. */
static void cut_and_turn(hone_image *im, double top, double left, double height, double width, double degrees, int h,
                         int w)
{
    hone_image out = {h, w, im->channels, 1, calloc((size_t)h * (size_t)w, (size_t)im->channels)};
    double s = sin(degrees * 3.14159265 / 180), c = cos(degrees * 3.14159265 / 180);
    assert_non_null(out.pixels);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double u = ((x + 0.5) / w - 0.5) * width * im->width, v = ((y + 0.5) / h - 0.5) * height * im->height;
            double px = (left + width / 2) * im->width + c * u - s * v - 0.5,
                   py = (top + height / 2) * im->height + s * u + c * v - 0.5;
            if (px < 0 || py < 0 || px > im->width - 1 || py > im->height - 1) continue;
            int ix = (int)px, iy = (int)py, jx = ix + 1 < im->width ? ix + 1 : ix,
                jy = iy + 1 < im->height ? iy + 1 : iy;
            double fx = px - ix, fy = py - iy;
            for (int k = 0; k < im->channels; k++) {
                const uint8_t *p = im->pixels + k;
                double a = p[(iy * im->width + ix) * im->channels], b = p[(iy * im->width + jx) * im->channels];
                double d = p[(jy * im->width + ix) * im->channels], e = p[(jy * im->width + jx) * im->channels];
                out.pixels[(y * w + x) * im->channels + k] =
                    clip((a * (1 - fx) + b * fx) * (1 - fy) + (d * (1 - fx) + e * fx) * fy);
            }
        }
    free(im->pixels);
    *im = out;
}

static const hone_finding *found(const hone_data_report *r, const char *kind)
{
    for (int k = 0; k < r->finding_count; k++)
        if (strcmp(r->finding[k].kind, kind) == 0) return &r->finding[k];
    return NULL;
}

static void wanted(const hone_data_report *r, const char *kind, int64_t count)
{
    const hone_finding *f = found(r, kind);
    if ((f ? f->count : 0) != count)
        fail_msg("%s: wanted %lld, found %lld", kind, (long long)count, f ? (long long)f->count : 0);
}

static void report_of(const char *path, hone_data **d, hone_data_report *r, int threads)
{
    hone_config c = data_config(path);
    c.data.val_fraction = 0;
    c.data.on_error = HONE_ON_ERROR_SKIP;
    *d = opened(&c);
    if (hone_data_report_make(*d, HONE_REPORT_CHECK, 0, threads, r) != HONE_OK) fail_msg("%s", hone_error_message());
}

/* 240 training and 60 test pictures of two classes, no two alike; every fifth is grey. */
static void write_clean(const char *root)
{
    char name[64];
    for (uint32_t i = 0; i < 300; i++) {
        hone_image im = draw(i, i % 5 ? 3 : 1);
        snprintf(name, sizeof name, "set/%s/%s/%03u.png", i < 240 ? "train" : "test", i % 2 ? "dog" : "cat", i);
        save_png(root, name, &im);
        hone_image_drop(&im);
    }
}

/* No planted fault, no finding. */
static void test_clean(void **state)
{
    hone_data *d;
    hone_data_report r;
    write_clean(*state);
    report_of(scratch_path(*state, "set"), &d, &r, 2);
    if (r.finding_count) fail_msg("%s: %s, %s", r.finding[0].kind, r.finding[0].text, r.finding[0].example.item[0]);
    assert_int_equal(r.rows[0], 240);
    assert_int_equal(r.rows[2], 60);
    assert_int_equal(r.class_rows[0], 120);
    assert_int_equal(r.height.p50, H);
    assert_int_equal(r.width.max, W);
    assert_int_equal(r.grey, 60);
    assert_int_equal(r.colour, 240);
    hone_data_report_free(&r);
    hone_data_free(d);
}

/* Copies of training pictures 2 k into test: ten by pixels, ten nearly. */
static void plant_copies(const char *root)
{
    char name[64];
    for (uint32_t k = 0; k < 20; k++) {
        hone_image im = draw(2 * k, 2 * k % 5 ? 3 : 1);
        snprintf(name, sizeof name, "set/test/cat/copy%02u.%s", k, k % 2 ? "png" : im.channels == 3 ? "ppm" : "pgm");
        if (k >= 10 && k < 13) quantise(&im, 6);
        if (k >= 13 && k < 16) rescale(&im, k == 13 ? H * 3 / 4 : H * 9 / 8, k == 13 ? W * 3 / 4 : W * 9 / 8);
        if (k == 16 || k == 17) brighten(&im, k == 16 ? 1.2 : 0.7, k == 16 ? 5 : 12);
        if (k >= 18) {
            rescale(&im, H - 3, W - 4);
            brighten(&im, 1.1, 0);
            quantise(&im, 4);
        }
        if (k % 2) save_png(root, name, &im);
        else save_pnm(root, name, &im);
        hone_image_drop(&im);
    }
}

static void plant_broken(const char *root)
{
    hone_image im = draw(7000, 3);
    bytes b = png_make(H, W, 3, im.pixels);
    scratch_write(root, "set/train/cat/cut.png", b.data, b.count / 2);
    b.data[b.count / 2] ^= 0x40;
    scratch_write(root, "set/train/cat/flipped.png", b.data, b.count);
    scratch_text(root, "set/train/dog/page.jpg", "<html>not found</html>");
    scratch_text(root, "set/test/dog/empty.png", "");
    scratch_text(root, "set/test/cat/short.ppm", "P6\n64 48\n255\nabc");
    free(b.data);
    hone_image_drop(&im);
}

/* 10 exact and 10 near copies across splits, copies with two classes, 5 broken files, an empty class, 1 : 1000. */
static void test_planted(void **state)
{
    const char *root = *state;
    char name[64];
    write_clean(root);
    plant_copies(root);
    plant_broken(root);
    hone_image im = draw(1, 3); /* picture 1 is a dog */
    save_png(root, "set/train/cat/really_a_dog.png", &im);
    memset(im.pixels, 77, (size_t)H * W * 3);
    save_png(root, "set/train/cat/black.png", &im);
    save_pnm(root, "set/train/cat/black2.ppm", &im);
    hone_image_drop(&im);
    scratch_png(root, "set/train/cat/tiny.png", 5, 4, 60, 3);
    mkdir(scratch_path(root, "set/train/fish"), 0777);
    for (uint32_t i = 0; i < 3; i++) {
        im = draw(8000 + i, 3);
        snprintf(name, sizeof name, "set/train/Dog/%u.png", i);
        save_png(root, name, &im);
        hone_image_drop(&im);
    }
    for (int threads = 1; threads < 4; threads += 2) {
        hone_data *d;
        hone_data_report r;
        report_of(scratch_path(root, "set"), &d, &r, threads);
        wanted(&r, "exact_duplicate_across", 10);
        wanted(&r, "exact_duplicate_within", 1);
        const hone_finding *near = found(&r, "near_duplicate_across");
        assert_non_null(near);
        if (near->count < 9 || near->count > 10) fail_msg("%lld of 10 near copies", (long long)near->count);
        wanted(&r, "near_duplicate_within", 0);
        wanted(&r, "label_conflict", 1);
        wanted(&r, "constant_picture", 2);
        wanted(&r, "small_picture", 1);
        wanted(&r, "empty_class", 1);
        wanted(&r, "rare_class", 1);
        wanted(&r, "class_name", 1);
        wanted(&r, "missing_class", 2);
        wanted(&r, "broken_picture", 5);
        static const char *const broken[] = {"cut.png", "flipped.png", "page.jpg", "empty.png", "short.ppm"};
        const hone_finding *f = found(&r, "broken_picture");
        assert_int_equal(f->example.count, 5);
        for (int k = 0; k < 5; k++) {
            bool there = false;
            for (int i = 0; i < 5; i++) there |= strstr(f->example.item[i], broken[k]) != NULL;
            if (!there) fail_msg("%s is not named", broken[k]);
        }
        f = found(&r, "label_conflict");
        assert_non_null(strstr(f->example.item[0], "is \"dog\""));
        assert_non_null(strstr(f->example.item[0], "really_a_dog.png (train) is \"cat\""));
        hone_data_report_free(&r);
        hone_data_free(d);
    }
    hone_config c = data_config(scratch_path(root, "set"));
    hone_data *d = NULL;
    c.data.on_error = HONE_ON_ERROR_SKIP;
    c.data.check = HONE_CHECK_STRICT;
    assert_int_equal(data_open(&c, &d), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "data.check: strict: "));
    assert_non_null(strstr(hone_error_message(), "label_conflict: 1 picture has"));
    assert_null(d);
}

/* 1 : 1000, from pixels that lie in memory. */
static void test_imbalance(void **state)
{
    hone_data *d;
    hone_data_report r;
    enum { N = 1001 };
    bytes b = idx_header(3, (uint32_t[]){N, 8, 8});
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 64; k++) bytes_u8(&b, test_pixel(i, k));
    scratch_write(*state, "set/train-images-idx3-ubyte", b.data, b.count);
    free(b.data);
    b = idx_header(1, (uint32_t[]){N});
    for (int i = 0; i < N; i++) bytes_u8(&b, i == 500);
    scratch_write(*state, "set/train-labels-idx1-ubyte", b.data, b.count);
    free(b.data);
    report_of(scratch_path(*state, "set"), &d, &r, 2);
    wanted(&r, "imbalance", 1000);
    wanted(&r, "rare_class", 1);
    wanted(&r, "exact_duplicate_within", 0);
    assert_int_equal(r.height.p50, 8);
    hone_data_report_free(&r);
    hone_data_free(d);
}

/* For the search: a copy of one of the pictures in memory. */
static hone_status copy_of(void *arg, int64_t i, hone_image *out)
{
    const hone_image *im = (const hone_image *)arg + i;
    *out = *im;
    size_t n = (size_t)im->height * (size_t)im->width * (size_t)im->channels;
    out->pixels = malloc(n);
    assert_non_null(out->pixels);
    memcpy(out->pixels, im->pixels, n);
    return HONE_OK;
}

/* The comparison itself: what is near and what is not, and the search against all pairs. */
static void test_near(void **state)
{
    (void)state;
    enum { N = 120 };
    hone_image im[N];
    static hone_print print[N];
    int64_t exact[N], near[N];
    bool is_near;
    for (uint32_t i = 0; i < N; i++) { /* groups of three: the picture, quantised, rescaled */
        im[i] = draw(4000 + i / 3, 3);
        if (i % 3 == 1) quantise(&im[i], 8);
        if (i % 3 == 2) rescale(&im[i], H * 5 / 6, W * 5 / 6);
        print[i] = (hone_print){0};
        assert_int_equal(hone_print_make(&im[i], &print[i]), HONE_OK);
    }
    hone_image mirror = draw(4000, 3); /* mirrored, negative: other pictures */
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < 3; c++) mirror.pixels[i * 3 + c] = im[0].pixels[((i / W) * W + W - 1 - i % W) * 3 + c];
    assert_int_equal(hone_images_near(&im[0], &mirror, true, &is_near), HONE_OK);
    assert_false(is_near);
    for (int i = 0; i < H * W * 3; i++) mirror.pixels[i] = (uint8_t)(255 - im[0].pixels[i]);
    assert_int_equal(hone_images_near(&im[0], &mirror, true, &is_near), HONE_OK);
    assert_false(is_near);
    hone_image_drop(&mirror);
    int pairs = 0, missed = 0;
    assert_int_equal(hone_image_twins_find(print, N, copy_of, im, 2, exact, near), HONE_OK);
    for (int i = 0; i < N; i++) {
        int64_t first = i;
        for (int j = i - 1; j >= 0; j--) {
            assert_int_equal(hone_images_near(&im[i], &im[j], true, &is_near), HONE_OK);
            if (is_near && i / 3 != j / 3) fail_msg("%d and %d are not alike", i, j);
            if (is_near) first = j;
        }
        pairs += first != i;
        missed += first != i && near[i] == i;
        if (near[i] != i && near[i] / 3 != i / 3) fail_msg("%d = %d", i, (int)near[i]);
        assert_int_equal(exact[i], i);
    }
    assert_true(pairs >= 70);
    assert_true(missed * 50 <= pairs); /* 2 % */
    for (int i = 0; i < N; i++) hone_image_drop(&im[i]);
}

/* Copy k of 20: cut by up to a tenth a side, turned by up to four degrees, both, and brightened or quantised besides. */
static void change(hone_image *im, int k)
{
    uint32_t x = 77u * (uint32_t)k + 5;
    double r[6];
    for (int i = 0; i < 6; i++) r[i] = roll(&x) % 1000 / 1000.0;
    double height = k % 4 == 1 ? 1 : 0.9 + 0.1 * r[0], width = k % 4 == 1 ? 1 : 0.9 + 0.1 * r[1];
    double degrees = k % 4 == 0 ? 0 : (r[2] < 0.5 ? -1 : 1) * (1 + 3 * r[3]);
    int h = k % 3 ? (int)(im->height * height) : im->height, w = k % 3 ? (int)(im->width * width) : im->width;
    cut_and_turn(im, (1 - height) * r[4], (1 - width) * r[5], height, width, degrees, h, w);
    if (k % 4 == 2) brighten(im, 0.8 + 0.4 * r[0], 10);
    if (k % 4 == 3) quantise(im, 5);
}

/* 20 copies that were cut, turned, brightened and quantised among 100 other pictures: 18 are found, and nothing else. */
static void test_cut_and_turned(void **state)
{
    const char *root = *state;
    char name[64];
    hone_data *d;
    hone_data_report r;
    for (uint32_t i = 0; i < 100; i++) {
        hone_image im = draw(9000 + i, 3);
        rescale(&im, H * 2, W * 2);
        snprintf(name, sizeof name, "set/train/%s/%03u.png", i % 2 ? "dog" : "cat", i);
        save_png(root, name, &im);
        if (i < 20) {
            change(&im, (int)i);
            snprintf(name, sizeof name, "set/test/%s/copy%03u.png", i % 2 ? "dog" : "cat", i);
            save_png(root, name, &im);
        }
        hone_image_drop(&im);
    }
    report_of(scratch_path(root, "set"), &d, &r, 2);
    const hone_finding *near = found(&r, "near_duplicate_across");
    int64_t count = near ? near->count : 0;
    if (count < 18 || count > 20) fail_msg("%lld of 20", (long long)count);
    /* each with the picture that it was made of */
    for (int k = 0; near && k < near->example.count; k++) {
        const char *text = near->example.item[k], *copy = strstr(text, "copy");
        assert_non_null(copy);
        char original[8];
        snprintf(original, sizeof original, "/%.3s.", copy + 4);
        if (!strstr(text, original)) fail_msg("%s", text);
    }
    wanted(&r, "near_duplicate_within", 0);
    wanted(&r, "exact_duplicate_across", 0);
    hone_data_report_free(&r);
    hone_data_free(d);
}

/* --- the command ------------------------------------------------------------------------------------------ */
static void test_commands(void **state)
{
    const char *root = *state;
    write_clean(root);
    runs(root, "data check set 2>&1", 0, "nothing found");
    runs(root, "data stats set 2>&1", 0, "60 grey, 240 in colour, 0 broken");
    plant_copies(root);
    runs(root, "data check set 2>&1", 0,
         "exact_duplicate_across: 10 pictures are by pixels the same as an earlier one of another split");
    scratch_text(root, "page.yaml",
                 "task: image\nout: run\ndata: {path: set, check: strict}\nimage: {size: 16}\n"
                 "model: {layers: [flatten, linear: classes]}\ntrain: {epochs: 1, batch: 16}\n");
    runs(root, "train page.yaml 2>&1", 3, "data.check: strict: 2 findings");
    runs(root, "data check page.yaml 2>&1", 0, "near_duplicate_across");
    runs(root, "train page.yaml data.check=off 2>&1", 0, "best weights");
    plant_broken(root);
    runs(root, "data check set 2>&1", 3, "train/dog/page.jpg: not an image");
    runs(root, "data check set --json 2>/dev/null", 3, "");
    json_t *j = json_loads(output, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "rows"), "train")), 243);
    assert_int_equal(json_integer_value(json_object_get(j, "broken")), 5);
    json_t *first = json_array_get(json_object_get(j, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "kind")), "broken_picture");
    assert_int_equal(json_array_size(json_object_get(first, "examples")), 5);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_imbalance, setup, teardown),
        cmocka_unit_test(test_near),
        cmocka_unit_test_setup_teardown(test_cut_and_turned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
