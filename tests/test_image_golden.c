/* test_image_golden.c - decoders and resize against pixels that Pillow and torchvision made.
 * rooms: data config io core
 * The goldens and the script that makes them: tests/golden/images.bin, images.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "data/image.h"
#include "hone/data.h"

/* One record of images.bin; `file` of a resize without one is that of the record before. */
typedef struct record {
    char kind, name[256];
    const uint8_t *file, *pixels; /* pixels (h, w, c) */
    size_t file_bytes;
    int h, w, c;
} record;

typedef struct goldens {
    uint8_t *data;
    int count;
    record *item;
} goldens;

static uint32_t get(const uint8_t *p, int bytes)
{
    uint32_t v = 0;
    for (int k = bytes - 1; k >= 0; k--) v = v << 8 | p[k];
    return v;
}

static goldens read_goldens(void)
{
    goldens g = {0};
    size_t bytes;
    assert_int_equal(hone_bytes_read(HONE_TESTS_DIR "/golden/images.bin", 1 << 24, &g.data, &bytes), HONE_OK);
    assert_memory_equal(g.data, "HGI1", 4);
    g.count = (int)get(g.data + 4, 4);
    assert_in_range(g.count, 100, 1000);
    g.item = calloc((size_t)g.count, sizeof *g.item);
    const uint8_t *p = g.data + 8;
    for (int i = 0; i < g.count; i++) {
        record *r = &g.item[i];
        r->kind = (char)p[0];
        memcpy(r->name, p + 2, p[1]);
        p += 2 + p[1];
        r->file_bytes = get(p, 4);
        r->file = p + 4;
        p += 4 + r->file_bytes;
        r->h = (int)get(p, 2);
        r->w = (int)get(p + 2, 2);
        r->c = p[4];
        r->pixels = p + 5;
        p += 5 + (size_t)r->h * r->w * r->c;
    }
    assert_ptr_equal(p, g.data + bytes);
    return g;
}

static void free_goldens(goldens *g)
{
    free(g->item);
    free(g->data);
}

/* What hone makes of a record: (h, w, c) of the record; NULL where the decoded shape differs. */
static uint8_t *produce(const record *r)
{
    hone_image image;
    hone_status s = hone_image_decode(r->name, r->file, r->file_bytes, &image);
    if (s != HONE_OK) fail_msg("%s", hone_error_message());
    uint8_t *out = malloc((size_t)r->h * r->w * r->c);
    bool resize = r->kind == 's' || r->kind == 'c';
    if (image.channels != r->c || (!resize && (image.height != r->h || image.width != r->w))) {
        print_error("%s: decoded to %d x %d x %d, wanted %d x %d x %d\n", r->name, image.height, image.width,
                    image.channels, r->h, r->w, r->c);
        hone_image_drop(&image);
        free(out);
        return NULL;
    }
    s = hone_image_fit(&image, r->h, r->w, r->c, r->kind == 'c' ? HONE_RESIZE_SHORTER : HONE_RESIZE_STRETCH, out);
    hone_image_drop(&image);
    assert_int_equal(s, HONE_OK);
    return out;
}

/* Largest difference of two images, and their mean difference. */
static int difference(const uint8_t *a, const uint8_t *b, size_t n, double *mean)
{
    int most = 0;
    *mean = 0;
    for (size_t i = 0; i < n; i++) {
        int d = abs(a[i] - b[i]);
        most = d > most ? d : most;
        *mean += (double)d / (double)n;
    }
    return most;
}

/* JPEG: libjpeg-turbo must agree with Pillow's (another version of it) to the bit; stb_image has other
 * DCT and chroma upsampling, and sharp chroma edges of tiny images differ by tens. */
static bool within(const record *r, const uint8_t *got, bool report)
{
    double mean;
    int most = difference(got, r->pixels, (size_t)r->h * r->w * r->c, &mean);
    bool turbo = strcmp(hone_jpeg_library(), "libjpeg-turbo") == 0;
    bool good = r->kind == 'j' && !turbo ? most <= 60 && mean <= 4.0 : most == 0;
    if (!good && report) print_error("%s: differs by up to %d, %.3f in the mean\n", r->name, most, mean);
    return good;
}

static void test_goldens(void **state)
{
    (void)state;
    goldens g = read_goldens();
    bool turbo = strcmp(hone_jpeg_library(), "libjpeg-turbo") == 0;
    int bad = 0, kinds[256] = {0};
    for (int i = 0; i < g.count; i++) {
        if (!turbo && strcmp(g.item[i].name, "jpeg CMYK") == 0) continue; /* refused by stb, see test_image_broken */
        uint8_t *got = produce(&g.item[i]);
        bad += !got || !within(&g.item[i], got, true);
        kinds[(int)g.item[i].kind]++;
        free(got);
    }
    assert_int_equal(bad, 0);
    assert_true(kinds['d'] >= 40 && kinds['j'] >= 14 && kinds['s'] >= 40 && kinds['c'] >= 8);
    free_goldens(&g);
}

/* The checker must see one wrong pixel by one unit, and pictures are no zeros. */
static void test_planted_fault(void **state)
{
    (void)state;
    goldens g = read_goldens();
    int caught = 0, tried = 0;
    for (int i = 0; i < g.count; i++) {
        const record *r = &g.item[i];
        if (r->kind == 'j') continue;
        uint8_t *got = produce(r);
        size_t n = (size_t)r->h * r->w * r->c;
        got[(size_t)i * 7919 % n] ^= 1;
        caught += !within(r, got, false);
        tried++;
        free(got);
    }
    assert_int_equal(caught, tried);
    free_goldens(&g);
}

/* Grey from RGB is Pillow's: (19595 R + 38470 G + 7471 B + 32768) >> 16; RGB from grey repeats it. */
static void test_channels(void **state)
{
    (void)state;
    uint8_t rgb[6] = {255, 0, 0, 10, 200, 30}, grey[2], back[6];
    hone_image image = {1, 2, 3, 1, rgb};
    assert_int_equal(hone_image_fit(&image, 1, 2, 1, HONE_RESIZE_STRETCH, grey), HONE_OK);
    assert_int_equal(grey[0], 76);
    assert_int_equal(grey[1], 124);
    image = (hone_image){1, 2, 1, 1, grey};
    assert_int_equal(hone_image_fit(&image, 1, 2, 3, HONE_RESIZE_STRETCH, back), HONE_OK);
    assert_memory_equal(back, ((uint8_t[]){76, 76, 76, 124, 124, 124}), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_planted_fault),
        cmocka_unit_test(test_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
