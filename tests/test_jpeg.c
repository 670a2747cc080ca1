/* test_jpeg.c - the reader of plain JPEGs beside Pillow's pixels and beside the library that it stands in for.
 * rooms: data config io core
 * Files and hashes: tests/golden/jpegs.bin, make_jpegs.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "data/image.h"
#include "data/jpeg_baseline.h"
#include "data/pixels.h"

typedef struct record {
    char name[256];
    bool plain;
    const uint8_t *file;
    size_t bytes;
    int h, w, c;
    uint64_t hash;
} record;

typedef struct goldens {
    uint8_t *data;
    int count;
    record *item;
} goldens;

static uint64_t get(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int k = bytes - 1; k >= 0; k--) v = v << 8 | p[k];
    return v;
}

static goldens read_goldens(void)
{
    goldens g = {0};
    size_t bytes;
    assert_int_equal(hone_bytes_read(HONE_TESTS_DIR "/golden/jpegs.bin", 1 << 24, &g.data, &bytes), HONE_OK);
    assert_memory_equal(g.data, "HGJ1", 4);
    g.count = (int)get(g.data + 4, 4);
    assert_in_range(g.count, 80, 1000);
    g.item = calloc((size_t)g.count, sizeof *g.item);
    const uint8_t *p = g.data + 8;
    for (int i = 0; i < g.count; i++) {
        record *r = &g.item[i];
        memcpy(r->name, p + 1, p[0]);
        p += 1 + p[0];
        r->plain = p[0];
        r->bytes = get(p + 1, 4);
        r->file = p + 5;
        p += 5 + r->bytes;
        r->h = (int)get(p, 2);
        r->w = (int)get(p + 2, 2);
        r->c = p[4];
        r->hash = get(p + 5, 8);
        p += 13;
    }
    assert_ptr_equal(p, g.data + bytes);
    return g;
}

static void free_goldens(goldens *g)
{
    free(g->item);
    free(g->data);
}

static uint64_t fnv(const uint8_t *data, size_t bytes)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t k = 0; k < bytes; k++) h = (h ^ data[k]) * 0x100000001B3u;
    return h;
}

/* A copy of exactly its size, so that a sanitizer sees one byte too many; NULL where the file is refused or not plain. */
static uint8_t *plain_pixels(const uint8_t *file, size_t bytes, hone_jpeg_info *info)
{
    uint8_t *copy = malloc(bytes ? bytes : 1), *pixels = NULL;
    bool done = false;
    memcpy(copy, file, bytes);
    if (hone_jpeg_scan(copy, bytes, info) == HONE_OK && info->height > 0 && info->width > 0 && info->height < 2000 &&
        info->width < 2000) {
        pixels = malloc((size_t)info->height * (size_t)info->width * (size_t)info->components);
        assert_int_equal(hone_jpeg_baseline(copy, bytes, info, pixels, &done), HONE_OK);
    }
    free(copy);
    if (done) return pixels;
    free(pixels);
    return NULL;
}

/* Every plain file is taken, no other one is, and the pixels are Pillow's. */
static void test_pixels(void **state)
{
    (void)state;
    if (!hone_jpeg_loops_pick()) skip(); /* a CPU without AVX2: the library decodes all */
    goldens g = read_goldens();
    for (int i = 0; i < g.count; i++) {
        const record *r = &g.item[i];
        hone_jpeg_info info;
        uint8_t *pixels = plain_pixels(r->file, r->bytes, &info);
        if ((pixels != NULL) != r->plain) fail_msg("%s: %s", r->name, pixels ? "taken" : "not taken");
        if (!pixels) continue;
        size_t n = (size_t)r->h * (size_t)r->w * (size_t)r->c;
        assert_int_equal(info.height, r->h);
        assert_int_equal(info.width, r->w);
        if (fnv(pixels, n) != r->hash) fail_msg("%s: not Pillow's pixels", r->name);
        pixels[n / 2] ^= 1; /* the planted fault */
        assert_true(fnv(pixels, n) != r->hash);
        free(pixels);
    }
    free_goldens(&g);
}

/* Both sets of loops give the same bytes of every resize; and so does a picture cut to one row or column. */
static void test_resize_sets(void **state)
{
    (void)state;
    uint32_t x = 7;
    for (int k = 0; k < 300; k++) {
        int side[4], c = k % 4 ? 3 : 1;
        for (int i = 0; i < 4; i++) {
            x = x * 1664525u + 1013904223u;
            side[i] = 1 + (int)(x >> 8) % (k < 60 ? 4 : 90);
        }
        size_t from = (size_t)side[0] * (size_t)side[1] * (size_t)c, to = (size_t)side[2] * (size_t)side[3] * (size_t)c;
        uint8_t *in = malloc(from), *out[2] = {malloc(to), malloc(to)};
        for (size_t i = 0; i < from; i++) {
            x = x * 1664525u + 1013904223u;
            in[i] = k % 3 ? (uint8_t)(x >> 24) : (uint8_t)((x >> 31) * 255);
        }
        for (int set = 0; set < 2; set++) {
            if (set) setenv("HONE_CPU_ISA", "base", 1);
            assert_int_equal(hone_resize_bilinear(in, side[0], side[1], c, out[set], side[2], side[3]), HONE_OK);
        }
        unsetenv("HONE_CPU_ISA");
        assert_memory_equal(out[0], out[1], to);
        free(in);
        free(out[0]);
        free(out[1]);
    }
}

/* Through hone_image_decode the others come out right too: where libjpeg-turbo is, to the bit. */
static void test_through_library(void **state)
{
    (void)state;
    if (strcmp(hone_jpeg_library(), "libjpeg-turbo") != 0) skip();
    goldens g = read_goldens();
    for (int i = 0; i < g.count; i++) {
        const record *r = &g.item[i];
        hone_image image;
        if (hone_image_decode(r->name, r->file, r->bytes, &image) != HONE_OK) fail_msg("%s", hone_error_message());
        if (fnv(image.pixels, (size_t)r->h * (size_t)r->w * (size_t)r->c) != r->hash) fail_msg("%s", r->name);
        hone_image_drop(&image);
    }
    free_goldens(&g);
}

/* Damaged files: whatever this reader takes, the library takes without a warning and with the same pixels. */
static void test_damage(void **state)
{
    (void)state;
    bool turbo = strcmp(hone_jpeg_library(), "libjpeg-turbo") == 0;
    goldens g = read_goldens();
    uint32_t x = 1;
    int taken = 0, tried = 0;
    for (int i = 0; i < g.count; i++) {
        const record *r = &g.item[i];
        if (!r->plain || r->bytes > 6000) continue;
        uint8_t *file = malloc(r->bytes);
        for (size_t at = 2; at < r->bytes; at += 1 + r->bytes / 300) {
            hone_jpeg_info info;
            x = x * 1664525u + 1013904223u;
            memcpy(file, r->file, r->bytes);
            file[at] ^= (uint8_t)(1u << (x >> 29)); /* one bit */
            uint8_t *pixels = plain_pixels(file, r->bytes, &info);
            tried++;
            if (!pixels) continue;
            taken++;
            size_t n = (size_t)info.height * (size_t)info.width * (size_t)info.components;
            uint8_t *library = malloc(n);
            if (turbo && hone_jpeg_pixels(file, r->bytes, &info, info.components, library) != HONE_OK)
                fail_msg("%s, byte %zu: %s", r->name, at, hone_error_message());
            if (turbo && memcmp(library, pixels, n) != 0) fail_msg("%s, byte %zu: other pixels", r->name, at);
            free(library);
            free(pixels);
        }
        free(file);
    }
    assert_true(tried > 5000 && (taken > 100 || !hone_jpeg_loops_pick()));
    free_goldens(&g);
}

/* No cut of a file is taken. */
static void test_cuts(void **state)
{
    (void)state;
    goldens g = read_goldens();
    for (int i = 0; i < g.count; i++)
        for (size_t n = 0; n < g.item[i].bytes; n += 1 + g.item[i].bytes / 200) {
            hone_jpeg_info info;
            uint8_t *pixels = plain_pixels(g.item[i].file, n, &info);
            if (pixels) fail_msg("%s, %zu bytes", g.item[i].name, n);
        }
    hone_error_clear();
    free_goldens(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels), cmocka_unit_test(test_resize_sets), cmocka_unit_test(test_through_library),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
