/* jpeg.c - the walk over a JPEG's markers, and what both libraries behind it need.
 *
 * Source: ITU-T T.81, annex B. Libraries forgive much: stb_image loads a file that was cut in half,
 * libjpeg pads it with grey. So the walk finds the size (limits first), the orientation, and insists
 * on an end-of-image marker; libjpeg-turbo's warnings are errors besides. What follows EOI is not
 * looked at (cameras append previews there). It must not decode. */
#include <stdlib.h>
#include <string.h>

#include "data/image.h"

enum { DHT = 0xC4, EOI = 0xD9, SOS = 0xDA, APP1 = 0xE1 };

/* The usual fate of a file: a download or a copy that ended early. */
static hone_status cut(size_t at)
{
    return hone_fail(HONE_ERR_DATA, "fetch the file again",
                     "JPEG: the file is cut: it ends at byte %zu without an end-of-image marker", at);
}

/* SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC). */
static bool is_frame(int marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/* p points at the segment's length field; it is `length` bytes long. */
static hone_status read_frame(const uint8_t *p, size_t length, int marker, hone_jpeg_info *info)
{
    if (length < 8) return hone_fail(HONE_ERR_DATA, "the file is broken", "JPEG: frame header of %zu bytes", length);
    if (info->components) return hone_fail(HONE_ERR_DATA, "re-encode the image", "JPEG: two frames in one image");
    if (p[2] != 8)
        return hone_fail(HONE_ERR_DATA, "re-encode with 8 bits", "JPEG: %d bits a sample are not supported", p[2]);
    if (marker != 0xC0 && marker != 0xC1 && marker != 0xC2 && marker != 0xC9 && marker != 0xCA)
        return hone_fail(HONE_ERR_DATA, "re-encode as baseline JPEG",
                         "JPEG: lossless and hierarchical frames are not supported (SOF%d)", marker - 0xC0);
    /* a height of 0 (to come later, in DNL) is refused with the other impossible sizes */
    info->height = p[3] << 8 | p[4];
    info->width = p[5] << 8 | p[6];
    info->components = p[7];
    if (info->components != 1 && info->components != 3 && info->components != 4)
        return hone_fail(HONE_ERR_DATA, "re-encode the image", "JPEG: %d colour components", info->components);
    return HONE_OK;
}

/* A DHT segment: tables of class and id, 16 counts of codes by length, then as many values. stb_image
 * 2.27 writes past its table when the counts sum to more than 256, so no decoder gets to see that. */
static hone_status check_huffman(const uint8_t *p, size_t length)
{
    for (size_t at = 2; at < length;) {
        size_t values = 0;
        if (length - at < 17) return hone_fail(HONE_ERR_DATA, "fetch the file again", "JPEG: cut Huffman table");
        for (size_t k = 1; k <= 16; k++) values += p[at + k];
        if (p[at] >> 4 > 1 || (p[at] & 15) > 3 || values > 256 || values > length - at - 17)
            return hone_fail(HONE_ERR_DATA, "fetch the file again",
                             "JPEG: broken Huffman table (class and id %02X, %zu codes)", p[at], values);
        at += 17 + values;
    }
    return HONE_OK;
}

/* Index of the 0xFF of the marker that ends the entropy-coded data starting at `at`; `count` if none. */
static size_t skip_scan(const uint8_t *bytes, size_t count, size_t at)
{
    while (at + 1 < count) {
        const uint8_t *ff = memchr(bytes + at, 0xFF, count - 1 - at);
        if (!ff) return count;
        at = (size_t)(ff - bytes);
        int next = ff[1];
        if (next != 0 && next != 0xFF && !(next >= 0xD0 && next <= 0xD7)) return at; /* not stuffing, fill, RST */
        at += next == 0xFF ? 1 : 2;
    }
    return count;
}

/* Segments are skipped by their lengths, entropy-coded data by looking for the next marker; previews in
 * APP segments are thus never mistaken for the image. Linear in the file, no allocation. */
hone_status hone_jpeg_scan(const uint8_t *bytes, size_t count, hone_jpeg_info *info)
{
    *info = (hone_jpeg_info){.orientation = 1};
    bool scan = false, exif = false;
    for (size_t at = 2; at + 1 < count;) {
        if (bytes[at] != 0xFF)
            return hone_fail(HONE_ERR_DATA, "fetch the file again",
                             "JPEG: byte %zu is %02X where a marker should stand", at, bytes[at]);
        int marker = bytes[at + 1];
        if (marker == 0xFF) { /* fill byte */
            at++;
            continue;
        }
        if (marker == EOI) {
            if (info->components && scan) return HONE_OK;
            return hone_fail(HONE_ERR_DATA, "fetch the file again", "JPEG: ends before any image data");
        }
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) /* markers that have no length */
            return hone_fail(HONE_ERR_DATA, "fetch the file again", "JPEG: marker %02X at byte %zu is out of place",
                             marker, at);
        size_t body = at + 2, length = body + 1 < count ? (size_t)bytes[body] << 8 | bytes[body + 1] : 0;
        if (body + 1 >= count || body + length > count) return cut(count);
        if (length < 2)
            return hone_fail(HONE_ERR_DATA, "the file is broken", "JPEG: segment of %zu bytes at byte %zu", length, at);
        if (is_frame(marker)) HONE_TRY(read_frame(bytes + body, length, marker, info));
        if (marker == DHT) HONE_TRY(check_huffman(bytes + body, length));
        if (marker == APP1 && !exif && length >= 8 && memcmp(bytes + body + 2, "Exif\0", 6) == 0) {
            info->orientation = hone_exif_orientation(bytes + body + 8, length - 8);
            exif = true;
        }
        at = body + length;
        if (marker == SOS) {
            scan = true;
            at = skip_scan(bytes, count, at);
        }
    }
    return cut(count);
}

/* Stored CMYK is inverted (Adobe), so x stands for 255 - ink; then as Pillow: v = k - (255 - x) * k / 255. */
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, in += 4, out += 3)
        for (int c = 0; c < 3; c++) {
            int t = (255 - in[c]) * in[3] + 128, ink = ((t >> 8) + t) >> 8; /* rounded division by 255 */
            out[c] = (uint8_t)(in[3] > ink ? in[3] - ink : 0);
        }
}

/* Decodes as stored (grey stays grey, so that a grey set costs a third), then CMYK to RGB in place: pixel i is written at
 * 3 i, behind which 4 i has been read already. */
hone_status hone_jpeg_decode(const uint8_t *bytes, size_t count, hone_image *out)
{
    hone_jpeg_info info;
    hone_image image;
    HONE_TRY(hone_jpeg_scan(bytes, count, &info));
    HONE_TRY(hone_image_alloc("JPEG", info.height, info.width, info.components, &image));
    hone_status s = hone_jpeg_pixels(bytes, count, &info, info.components, image.pixels);
    if (s != HONE_OK) {
        hone_image_drop(&image);
        return s;
    }
    if (info.components == 4) {
        cmyk_to_rgb(image.pixels, image.pixels, (size_t)image.height * (size_t)image.width);
        image.channels = 3;
    }
    image.orientation = info.orientation;
    *out = image;
    return HONE_OK;
}
