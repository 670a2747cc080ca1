/* test_image_broken.c - broken images: every one is refused, by name and reason; nothing crashes.
 * rooms: data config io core
 * Good files come from tests/golden/images.bin or are made here; each test breaks them in one way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "data/image.h"
#include "hone/data.h"
#include "support/golden_image.h"

static bytes copy(bytes b)
{
    bytes c = {0};
    bytes_add(&c, b.data, b.count);
    return c;
}

/* True when the bytes decode. A refusal must be a DATA error that opens with the name. */
static bool accepts(const void *data, size_t count)
{
    hone_image image;
    uint8_t *exact = malloc(count ? count : 1); /* no byte behind the end: ASan sees a read too far */
    if (count) memcpy(exact, data, count);
    hone_status s = hone_image_decode("cats/7.jpg", exact, count, &image);
    free(exact);
    if (s == HONE_OK) {
        hone_image_drop(&image);
        return true;
    }
    assert_int_equal(s, HONE_ERR_DATA);
    assert_null(image.pixels);
    assert_memory_equal(hone_error_message(), "cats/7.jpg: ", 12);
    assert_true(strlen(hone_error_message()) > 20);
    return false;
}

/* Refused, with `why` in the message. Frees `b`. */
static void refused(bytes b, const char *why)
{
    bool ok = accepts(b.data, b.count);
    if (ok || !strstr(hone_error_message(), why))
        fail_msg("wanted \"%s\", got \"%s\"", why, ok ? "(accepted)" : hone_error_message());
    free(b.data);
}

static bytes text(const char *t)
{
    bytes b = {0};
    bytes_add(&b, t, strlen(t));
    return b;
}

static bytes some_png(void)
{
    uint8_t p[24 * 16 * 3];
    for (int i = 0; i < (int)sizeof p; i++) p[i] = test_pixel(1, i);
    return png_make(24, 16, 3, p);
}

static void test_not_images(void **state) /* I1 I2 I3 I28 I31 */
{
    (void)state;
    refused((bytes){0}, "empty");
    refused(text("\xFF"), "not an image");
    refused(text("root:x:0:0:root:/root:/bin/bash\n"), "not an image");
    refused(text("GIF89a..........."), "GIF");
    refused(text("8BPS\1........"), "Photoshop");
    refused(text("#?RADIANCE\n"), "Radiance");
    refused(text("RIFF1234WEBPVP8 "), "WebP");
    bytes tga = {0}; /* uncompressed TGA: has no magic, so it must not be guessed */
    for (int i = 0; i < 64; i++) bytes_u8(&tga, i == 2 ? 2 : i == 12 || i == 14 ? 3 : i == 16 ? 24 : 0);
    refused(tga, "not an image");
    refused(text("P3 1 1 255 0 0 0"), "P5");
    refused(text("P7\nWIDTH 1\n"), "P5");
}

/* Suffixes don't count (I4): a PNG is read whatever it is called. */
static void test_content_not_name(void **state)
{
    (void)state;
    bytes png = some_png(), jpeg = golden_image("jpeg 4:4:4");
    assert_true(accepts(png.data, png.count)); /* under the name cats/7.jpg */
    assert_true(accepts(jpeg.data, jpeg.count));
    free(png.data);
    free(jpeg.data);
}

/* I5: JPEGs cut anywhere. 100 % must be refused, however little is missing. */
static void test_cut_jpegs(void **state)
{
    (void)state;
    const char *names[] = {"jpeg EXIF orientation 6", "jpeg 4:4:4", "jpeg 4:2:2", "jpeg progressive", "jpeg grey",
                           "jpeg restart markers",    "jpeg 1 x 1"};
    int tried = 0, refusals = 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        bytes b = golden_image(names[k]);
        assert_true(accepts(b.data, b.count));
        for (size_t n = 0; n < b.count; n += 1 + n / 60, tried++) refusals += !accepts(b.data, n);
        refusals += !accepts(b.data, b.count - 2) + !accepts(b.data, b.count - 1); /* I6: no EOI */
        tried += 2;
        free(b.data);
    }
    assert_true(tried > 500);
    assert_int_equal(refusals, tried);
}

/* A cut JPEG to which somebody glued an EOI: the marker walk is happy, the decoder must not be. */
static void test_cut_jpeg_with_eoi(void **state)
{
    (void)state;
    bytes b = golden_image("jpeg EXIF orientation 1");
    b.count = b.count * 3 / 4;
    bytes_add(&b, "\xFF\xD9", 2);
    bool turbo = strcmp(hone_jpeg_library(), "libjpeg-turbo") == 0;
    if (turbo) refused(b, "JPEG");
    else free(b.data); /* stb_image cannot tell, see jpeg_stb.c */
}

/* PNGs: cut anywhere, or one bit of any byte flipped (CRC, structure or zlib must notice each). */
static void test_cut_and_flipped_pngs(void **state)
{
    (void)state;
    bytes b = some_png();
    int tried = 0, refusals = 0;
    for (size_t n = 0; n < b.count; n += 1 + n / 100, tried++) refusals += !accepts(b.data, n);
    for (size_t i = 0; i < 2 * b.count; i++, tried++) {
        uint8_t *byte = &b.data[i / 2], keep = *byte;
        *byte ^= (uint8_t)(1u << ((i / 2 + 3 * i) % 8));
        refusals += !accepts(b.data, b.count);
        *byte = keep;
    }
    assert_true(accepts(b.data, b.count));
    assert_true(tried > 1000);
    assert_int_equal(refusals, tried);
    free(b.data);
}

/* A PNG of given parts; the checks of I16 to I25. */
static void test_png_structure(void **state)
{
    (void)state;
    uint8_t raw[2 * (1 + 2)] = {0, 10, 20, 0, 30, 40}; /* 2 x 2 grey */
    bytes b = {0};
    png_header(&b, 2, 2, 8, 0, 0);
    png_data(&b, raw, sizeof raw);
    refused(copy(b), "no IEND");
    bytes twice = copy(b);
    png_data(&twice, raw, sizeof raw); /* more after the stream has ended: inflate stopped, data is left over */
    png_chunk(&twice, "IEND", NULL, 0);
    assert_true(accepts(twice.data, twice.count)); /* harmless: libpng and Pillow read it too */
    free(twice.data);
    bytes apart = copy(b);
    png_chunk(&apart, "tEXt", "a\0b", 3);
    png_data(&apart, raw, sizeof raw);
    png_chunk(&apart, "IEND", NULL, 0);
    refused(apart, "apart");
    bytes unknown = copy(b);
    png_chunk(&unknown, "ABCD", "x", 1);
    refused(unknown, "critical");
    bytes second = {0};
    png_header(&second, 2, 2, 8, 0, 0);
    bytes head = {0};
    png_header(&head, 2, 2, 8, 0, 0);
    bytes_add(&second, head.data + 8, head.count - 8);
    free(head.data);
    refused(second, "second IHDR");
    bytes early = text("\x89PNG\r\n\x1A\n");
    png_data(&early, raw, sizeof raw);
    png_chunk(&early, "IEND", NULL, 0);
    refused(early, "IHDR is not the first");
    bytes none = {0};
    png_header(&none, 2, 2, 8, 0, 0);
    png_chunk(&none, "IEND", NULL, 0);
    refused(none, "no image data");
    bytes bomb = copy(b); /* 1 MB of zeros in an iCCP and a zTXt: must not be inflated, and is no error */
    uint8_t zeros[1000] = {0};
    png_chunk(&bomb, "zTXt", zeros, sizeof zeros);
    png_chunk(&bomb, "IEND", NULL, 0);
    assert_true(accepts(bomb.data, bomb.count));
    free(bomb.data);
    free(b.data);
}

/* Header (w, h, depth, colour), optional palette and one IDAT of `raw`. */
static bytes png_of(uint32_t w, uint32_t h, int depth, int colour, const char *palette, size_t palette_bytes,
                    const uint8_t *raw, size_t n)
{
    bytes b = {0};
    png_header(&b, w, h, depth, colour, 0);
    if (palette) png_chunk(&b, "PLTE", palette, palette_bytes);
    png_data(&b, raw, n);
    png_chunk(&b, "IEND", NULL, 0);
    return b;
}

static void test_png_content(void **state)
{
    (void)state;
    uint8_t raw[64] = {0, 10, 20, 0, 30, 40};
    refused(png_of(2, 2, 8, 0, NULL, 0, raw, 5), "too little");
    refused(png_of(2, 2, 8, 0, NULL, 0, raw, 7), "more image data");
    uint8_t filter[6] = {9, 0, 0, 0, 0, 0};
    refused(png_of(2, 2, 8, 0, NULL, 0, filter, 6), "filter");
    uint8_t index[2] = {0, 3};
    refused(png_of(1, 1, 8, 3, "abcdefghi", 9, index, 2), "palette index"); /* I21: three colours, index 3 */
    index[1] = 2;
    bytes good = png_of(1, 1, 8, 3, "abcdefghi", 9, index, 2);
    assert_true(accepts(good.data, good.count));
    free(good.data);
    refused(png_of(1, 1, 8, 3, NULL, 0, index, 2), "no PLTE");
    refused(png_of(1, 1, 8, 3, "abcd", 4, index, 2), "PLTE");
    refused(png_of(2, 2, 3, 0, NULL, 0, raw, 6), "depth");
    refused(png_of(2, 2, 4, 2, NULL, 0, raw, 6), "depth");
    refused(png_of(2, 2, 8, 7, NULL, 0, raw, 6), "depth");
    refused(png_of(0, 2, 8, 0, NULL, 0, raw, 6), "0 x 2");
    bytes b = {0}; /* I24: broken deflate data under a right CRC */
    png_header(&b, 2, 2, 8, 0, 0);
    png_chunk(&b, "IDAT", "\x78\x9C\x63\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10);
    png_chunk(&b, "IEND", NULL, 0);
    refused(b, "image data");
    b = (bytes){0};
    png_header(&b, 2, 2, 8, 0, 0);
    uLongf n = 64;
    uint8_t z[64];
    assert_int_equal(compress(z, &n, raw, 6), Z_OK);
    z[n - 1] ^= 1; /* Adler-32 of the data */
    png_chunk(&b, "IDAT", z, n);
    png_chunk(&b, "IEND", NULL, 0);
    refused(b, "image data");
}

static long peak_kb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* I9 I19 I20: sizes that would cost gigabytes are refused from the header, without taking memory. */
static void test_huge_sizes(void **state)
{
    (void)state;
    long before = peak_kb();
    uint8_t raw[64] = {0};
    refused(png_of(18000, 18000, 8, 0, NULL, 0, raw, 64), "18000 x 18000");
    refused(png_of(0x7FFFFFFF, 1, 8, 6, NULL, 0, raw, 64), "at most");
    refused(png_of(1, 0x7FFFFFFF, 8, 6, NULL, 0, raw, 64), "at most");
    refused(png_of(0xFFFFFFFF, 0xFFFFFFFF, 16, 6, NULL, 0, raw, 64), "at most");
    refused(text("P5 99999 99999 255\n...."), "at most");
    refused(text("P5 9999999999999999999999 1 255\n...."), "width");
    bytes jpeg = golden_image("jpeg 4:4:4");
    for (size_t i = 2; i + 9 < jpeg.count; i++)
        if (jpeg.data[i] == 0xFF && jpeg.data[i + 1] == 0xC0)
            memset(jpeg.data + i + 5, 0xFF, 4); /* SOF: 65535 x 65535 */
    refused(jpeg, "at most");
    jpeg = golden_image("jpeg 4:4:4");
    for (size_t i = 2; i + 9 < jpeg.count; i++)
        if (jpeg.data[i] == 0xFF && jpeg.data[i + 1] == 0xC0) memset(jpeg.data + i + 5, 0, 2); /* height by DNL */
    refused(jpeg, "x 0");
    assert_true(peak_kb() - before < 64 << 10);
}

/* A strip that `shorter` would blow up to millions of columns (I29). */
static void test_strips(void **state)
{
    (void)state;
    static uint8_t pixels[10000];
    hone_image strip = {1, 10000, 1, 1, pixels};
    uint8_t *out = malloc(224 * 224);
    assert_int_equal(hone_image_fit(&strip, 224, 224, 1, HONE_RESIZE_STRETCH, out), HONE_OK);
    assert_int_equal(hone_image_fit(&strip, 224, 224, 1, HONE_RESIZE_SHORTER, out), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "resize: shorter"));
    free(out);
}

/* Position of the first marker FF `marker` of a JPEG's header. */
static size_t find_marker(bytes b, int marker)
{
    for (size_t i = 2; i + 4 < b.count; i += 2 + (size_t)(b.data[i + 2] << 8 | b.data[i + 3]))
        if (b.data[i + 1] == marker) return i;
    fail_msg("no marker %02X", marker);
    return 0;
}

static void test_jpeg_structure(void **state) /* I7 I8 I11 I12 I13 */
{
    (void)state;
    bool turbo = strcmp(hone_jpeg_library(), "libjpeg-turbo") == 0;
    bytes b = golden_image("jpeg 4:4:4"), trailing = copy(b), filled = {0};
    bytes_add(&trailing, "garbage", 7);
    assert_true(accepts(trailing.data, trailing.count)); /* cameras append previews behind EOI */
    free(trailing.data);
    bytes_add(&filled, b.data, 2);
    bytes_add(&filled, "\xFF\xFF\xFF", 3); /* fill bytes before a marker are legal */
    bytes_add(&filled, b.data + 2, b.count - 2);
    assert_true(accepts(filled.data, filled.count));
    free(filled.data);
    size_t sof = find_marker(b, 0xC0), dqt = find_marker(b, 0xDB), dht = find_marker(b, 0xC4);
    bytes c = copy(b);
    c.data[sof + 4] = 12;
    refused(c, "12 bits");
    c = copy(b);
    c.data[sof + 1] = 0xC3;
    refused(c, "lossless");
    c = copy(b);
    c.data[sof + 9] = 2;
    refused(c, "2 colour components");
    c = copy(b);
    c.data[dqt + 4] = 0x0F; /* table 15 does not exist */
    refused(c, "JPEG");
    c = copy(b);
    memset(c.data + dht + 5, 0xFF, 16); /* more codes than a length can have */
    refused(c, "Huffman");
    c = copy(b);
    c.data[dqt + 1] = 0x01; /* a marker without length where a table stood */
    refused(c, "out of place");
    bytes r = golden_image("jpeg restart markers");
    for (size_t i = find_marker(r, 0xDA); i + 1 < r.count; i++)
        if (r.data[i] == 0xFF && r.data[i + 1] == 0xD2) r.data[i + 1] = 0xD5; /* RST2 -> RST5 */
    if (turbo) refused(r, "JPEG");
    else free(r.data);
    bytes cmyk = golden_image("jpeg CMYK");
    assert_int_equal(accepts(cmyk.data, cmyk.count), turbo);
    free(cmyk.data);
    free(b.data);
}

/* I10: 1000 progressive scans of one component; the limit of libjpeg-turbo is 500. */
static void test_many_scans(void **state)
{
    (void)state;
    if (strcmp(hone_jpeg_library(), "libjpeg-turbo") != 0) skip();
    bytes b = golden_image("jpeg progressive"), bomb = {0};
    size_t sos = find_marker(b, 0xDA), end = sos + 2;
    while (!(b.data[end] == 0xFF && b.data[end + 1] != 0)) end++;
    bytes_add(&bomb, b.data, end);
    for (int k = 0; k < 1000; k++) bytes_add(&bomb, b.data + sos, end - sos);
    bytes_add(&bomb, "\xFF\xD9", 2);
    refused(bomb, "JPEG");
    free(b.data);
}

/* I14: EXIF that is broken in every byte never makes a good picture unreadable, nor reads past its end. */
static void test_broken_exif(void **state)
{
    (void)state;
    bytes b = golden_image("jpeg EXIF orientation 6");
    size_t app1 = find_marker(b, 0xE1), length = (size_t)(b.data[app1 + 2] << 8 | b.data[app1 + 3]);
    for (size_t i = app1 + 4; i < app1 + 2 + length; i++)
        for (int v = 0; v < 2; v++) {
            uint8_t keep = b.data[i];
            b.data[i] = v ? 0xFF : 0;
            assert_true(accepts(b.data, b.count));
            b.data[i] = keep;
        }
    for (size_t n = 0; n + 10 < length; n++) { /* every length, without a byte behind it */
        uint8_t *tiff = malloc(n + 1);
        memcpy(tiff, b.data + app1 + 10, n);
        tiff = realloc(tiff, n ? n : 1);
        int o = hone_exif_orientation(tiff, n);
        assert_true(o == 1 || o == 6);
        free(tiff);
    }
    free(b.data);
}

static void put32(bytes *b, size_t at, uint32_t v)
{
    for (int k = 0; k < 4; k++) b->data[at + (size_t)k] = (uint8_t)(v >> (8 * k));
}

static void test_bmp(void **state) /* I26 */
{
    (void)state;
    bytes b = golden_image("bmp 24"), p = golden_image("bmp 8 palette"), c;
    for (size_t n = 2; n < b.count; n++) assert_false(accepts(b.data, n));
    for (size_t n = 2; n < p.count; n += 3) assert_false(accepts(p.data, n));
    c = copy(b);
    put32(&c, 22, (uint32_t)-7); /* top-down: the same 7 rows in the other order */
    assert_true(accepts(c.data, c.count));
    free(c.data);
    c = copy(b);
    put32(&c, 22, 0x80000000u);
    refused(c, "BMP");
    c = copy(b);
    put32(&c, 10, 0xFFFFFFF0u); /* pixels far away */
    refused(c, "cut");
    c = copy(b);
    put32(&c, 30, 1);
    refused(c, "compressed");
    c = copy(b);
    put32(&c, 14, 41);
    refused(c, "header");
    c = copy(b);
    c.data[28] = 16;
    refused(c, "16 bits");
    c = copy(p);
    put32(&c, 46, 2); /* two colours only: indices run past them */
    refused(c, "palette");
    c = copy(p);
    put32(&c, 46, 300);
    refused(c, "colours");
    free(b.data);
    free(p.data);
}

static void test_pnm(void **state) /* I27 */
{
    (void)state;
    refused(text("P5 2 2 255\nabc"), "cut");
    refused(text("P6 1 1 255\nab"), "cut");
    refused(text("P5 2 2 0\nabcd"), "maximum");
    refused(text("P5 2 2 65536\nabcdabcd"), "maximum");
    refused(text("P5 1 1 10\n\x0B"), "above the maximum");
    refused(text("P5 -1 2 255\nab"), "width");
    refused(text("P5 2 # no end of comment"), "width");
    bytes comments = text("P5\n");
    for (int k = 0; k < 200000; k++) bytes_add(&comments, "#\n", 2);
    bytes_add(&comments, "1 1 255\na", 9);
    refused(comments, "width");
    bytes good = text("P5\n# made by hand\n1 1\n255\na");
    assert_true(accepts(good.data, good.count));
    free(good.data);
}

/* Any byte of any golden file changed: no crash, and PNG, whose every byte is under a CRC, is never accepted. */
static void test_mutations(void **state)
{
    (void)state;
    const char *names[] = {"png colour 6 depth 8 interlaced",
                           "png palette depth 4 with alpha",
                           "bmp 8 palette",
                           "bmp 32",
                           "jpeg progressive",
                           "jpeg grey",
                           "pgm 16 bits"};
    int png_accepted = 0;
    uint32_t random = 12345;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        bytes b = golden_image(names[k]);
        for (int n = 0; n < 400; n++) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % b.count;
            uint8_t keep = b.data[at];
            b.data[at] ^= (uint8_t)(1 + random % 255);
            png_accepted += accepts(b.data, b.count) && strncmp(names[k], "png", 3) == 0;
            b.data[at] = keep;
        }
        free(b.data);
    }
    assert_int_equal(png_accepted, 0);
}

/* Planted faults: were the checks that matter missing, these files would pass; they show that the
 * corpus is otherwise good. A CRC made right again must turn the refusal into an acceptance. */
static void test_planted_fault(void **state)
{
    (void)state;
    bytes b = some_png();
    size_t idat = 8 + 25;   /* behind signature and IHDR */
    b.data[8 + 8 + 3] ^= 3; /* width of IHDR */
    assert_false(accepts(b.data, b.count));
    assert_non_null(strstr(hone_error_message(), "IHDR at byte 8 has a wrong checksum"));
    b.data[8 + 8 + 3] ^= 3;
    uint32_t length = (uint32_t)b.data[idat] << 24 | (uint32_t)b.data[idat + 1] << 16 |
                      (uint32_t)b.data[idat + 2] << 8 | b.data[idat + 3];
    uint8_t *crc = b.data + idat + 8 + length;
    crc[0] ^= 0x80;
    assert_false(accepts(b.data, b.count));
    assert_non_null(strstr(hone_error_message(), "IDAT at byte 33 has a wrong checksum"));
    crc[0] ^= 0x80;
    assert_true(accepts(b.data, b.count));
    free(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_images),
        cmocka_unit_test(test_content_not_name),
        cmocka_unit_test(test_cut_jpegs),
        cmocka_unit_test(test_cut_jpeg_with_eoi),
        cmocka_unit_test(test_cut_and_flipped_pngs),
        cmocka_unit_test(test_png_structure),
        cmocka_unit_test(test_png_content),
        cmocka_unit_test(test_huge_sizes),
        cmocka_unit_test(test_strips),
        cmocka_unit_test(test_jpeg_structure),
        cmocka_unit_test(test_many_scans),
        cmocka_unit_test(test_broken_exif),
        cmocka_unit_test(test_bmp),
        cmocka_unit_test(test_pnm),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_planted_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
