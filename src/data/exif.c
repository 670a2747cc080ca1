/* exif.c - the orientation that cameras write, read from EXIF and applied to pixels.
 *
 * Source: Exif 2.32 (CIPA DC-008), tag 0x0112 of the 0th IFD; TIFF 6.0 for the structure. Broken
 * EXIF means "upright", as in Pillow: it never makes a good picture unreadable. Other tags are not
 * looked at, and no offset is followed without a check against the end. */
#include <stdlib.h>
#include <string.h>

#include "data/image.h"

typedef struct reader {
    const uint8_t *data;
    size_t count;
    bool big_endian;
} reader;

/* Both byte orders occur in the wild: cameras write MM, phones II. Callers have checked `at`. */
static uint32_t get16(const reader *r, size_t at)
{
    const uint8_t *p = r->data + at;
    return r->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t get32(const reader *r, size_t at)
{
    return r->big_endian ? get16(r, at) << 16 | get16(r, at + 2) : get16(r, at + 2) << 16 | get16(r, at);
}

/* Header: order mark, 42, offset of the 0th IFD; IFD: entry count, then entries in any order. Only the
 * first IFD is looked at (the second describes the thumbnail). */
int hone_exif_orientation(const uint8_t *tiff, size_t count)
{
    reader r = {tiff, count, false};
    if (count < 8) return 1;
    if (memcmp(tiff, "MM\0*", 4) == 0) r.big_endian = true;
    else if (memcmp(tiff, "II*\0", 4) != 0) return 1;
    size_t ifd = get32(&r, 4);
    if (ifd > count - 2) return 1;
    size_t entries = get16(&r, ifd);
    for (size_t k = 0; k < entries; k++) {
        size_t at = ifd + 2 + 12 * k; /* tag, type, count, value: 2 + 2 + 4 + 4 bytes */
        if (at + 12 > count) return 1;
        if (get16(&r, at) != 0x0112) continue;
        uint32_t type = get16(&r, at + 2), value = get16(&r, at + 8); /* SHORT stands left-justified */
        return type == 3 && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* How destination (y, x) finds its source pixel: start + y * row + x * column, in pixels. */
typedef struct walk {
    int64_t start, row, column;
} walk;

/* Names in Pillow's terms: 2 flip left-right, 3 rotate 180, 4 flip top-bottom, 5 transpose,
 * 6 rotate 270, 7 transverse, 8 rotate 90 (counter-clockwise). Each is one walk over the source with
 * constant steps; the starting corner and the two steps say it all. */
hone_status hone_image_orient(hone_image *image)
{
    int o = image->orientation, c = image->channels;
    if (o <= 1 || o > 8) return HONE_OK;
    int64_t h = image->height, w = image->width, last_row = (h - 1) * w, last_column = w - 1;
    /* 5..8 swap the axes: a destination row runs along a source column */
    const walk ways[9] = {
        [2] = {last_column, w, -1}, [3] = {last_row + last_column, -w, -1}, [4] = {last_row, -w, 1},   [5] = {0, 1, w},
        [6] = {last_row, 1, -w},    [7] = {last_row + last_column, -1, -w}, [8] = {last_column, -1, w}};
    hone_image turned;
    HONE_TRY(hone_image_alloc("EXIF", o >= 5 ? w : h, o >= 5 ? h : w, c, &turned));
    uint8_t *to = turned.pixels;
    for (int64_t y = 0; y < turned.height; y++)
        for (int64_t x = 0; x < turned.width; x++, to += c)
            memcpy(to, image->pixels + (ways[o].start + y * ways[o].row + x * ways[o].column) * c, (size_t)c);
    free(image->pixels);
    *image = turned;
    return HONE_OK;
}
