/* bmp.c - uncompressed Windows bitmaps: 1, 4, 8 bits with a palette, 24 and 32 bits.
 *
 * Source: Microsoft's BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER to BITMAPV5HEADER. The
 * pixels must all be in the file and every index in the palette. Run-length coding, 16 bits and
 * channel masks other than 8-8-8-8 are refused by name. */
#include <string.h>

#include "data/image.h"

typedef struct bmp {
    const uint8_t *bytes;
    size_t count, offset, header, stride;
    int64_t width, height;
    int bits;
    bool top_down, alpha;
    const uint8_t *palette; /* (palette_count, entry) in B, G, R order */
    size_t palette_count, entry;
} bmp;

/* Little-endian, as all of the format. */
static uint32_t get16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }

/* The hint fits every case: what is odd here is plain in PNG. */
static hone_status bad(const char *what) { return hone_fail(HONE_ERR_DATA, "convert it to PNG", "BMP: %s", what); }

/* Compression 3 says that masks follow; only the order B, G, R, A of plain 32-bit files is taken. */
static hone_status read_masks(bmp *b, uint32_t compression)
{
    if (compression == 0) return HONE_OK;
    if (compression != 3 || b->bits != 32) return bad("compressed bitmaps are not supported");
    if (b->count < 66) return bad("the file is cut in its header");
    const uint8_t *mask = b->bytes + 54;
    if (get32(mask) != 0xFF0000 || get32(mask + 4) != 0xFF00 || get32(mask + 8) != 0xFF)
        return bad("unusual channel masks");
    b->alpha = b->header >= 56 && b->count >= 70 && get32(mask + 12) == 0xFF000000u;
    if (b->header == 40) b->header += 12; /* the old header has its masks behind it */
    return HONE_OK;
}

/* Colours follow the header; "colours used" of 0 means all that the bit depth has. A file may declare
 * fewer, and then an index beyond them is an error of read_row. */
static hone_status read_palette(bmp *b, size_t declared)
{
    if (b->bits > 8) return HONE_OK;
    size_t most = (size_t)1 << b->bits;
    b->palette_count = declared ? declared : most;
    b->palette = b->bytes + 14 + b->header;
    if (b->palette_count > most) return bad("more colours than the bit depth has");
    if (14 + b->header + b->palette_count * b->entry > b->count) return bad("the file is cut in its palette");
    return HONE_OK;
}

/* Sizes, depth and direction. A negative height means that the first stored row is the top one; else
 * rows are stored from the bottom up. Limits on the sizes are hone_image_alloc's. */
static hone_status read_header(bmp *b)
{
    if (b->count < 26) return bad("the file is cut in its header");
    b->offset = get32(b->bytes + 10);
    b->header = get32(b->bytes + 14);
    const uint8_t *h = b->bytes + 14;
    /* each header contains the one before it, so the fields below have one place in all of them */
    if (b->header == 12) { /* OS/2 1.x: 16-bit sizes, palette of three bytes */
        b->width = get16(h + 4);
        b->height = get16(h + 6);
        b->bits = (int)get16(h + 10);
        b->entry = 3;
        return read_palette(b, 0);
    }
    if (b->header != 40 && b->header != 52 && b->header != 56 && b->header != 108 && b->header != 124)
        return bad("unknown header");
    if (b->count < 14 + b->header) return bad("the file is cut in its header");
    b->width = (int32_t)get32(h + 4);
    b->height = (int32_t)get32(h + 8);
    b->bits = (int)get16(h + 14);
    b->entry = 4;
    b->top_down = b->height < 0;
    if (b->top_down) b->height = -b->height;
    HONE_TRY(read_masks(b, get32(h + 16)));
    return read_palette(b, get32(h + 32));
}

/* One stored row -> RGB or RGBA; false when an index is past the palette. */
static bool read_row(const bmp *b, const uint8_t *row, uint8_t *to, int channels)
{
    /* indices of 1 and 4 bits stand in a byte from its high end down; channels are B, G, R (, A) */
    for (int64_t x = 0; x < b->width; x++, to += channels) {
        const uint8_t *bgr = row + x * (b->bits / 8);
        if (b->bits <= 8) {
            int64_t bit = x * b->bits;
            size_t index = (size_t)(row[bit / 8] >> (8 - b->bits - bit % 8)) & ((1u << b->bits) - 1);
            if (index >= b->palette_count) return false;
            bgr = b->palette + index * b->entry;
        }
        to[0] = bgr[2];
        to[1] = bgr[1];
        to[2] = bgr[0];
        if (channels == 4) to[3] = bgr[3];
    }
    return true;
}

/* Rows are padded to 4 bytes (stride). All of them must lie inside the file before one is read; the
 * header's own idea of the file size is not trusted, many writers leave it 0. */
hone_status hone_bmp_decode(const uint8_t *bytes, size_t count, hone_image *out)
{
    bmp b = {.bytes = bytes, .count = count};
    HONE_TRY(read_header(&b));
    if (b.bits != 1 && b.bits != 4 && b.bits != 8 && b.bits != 24 && b.bits != 32)
        return hone_fail(HONE_ERR_DATA, "convert it to PNG", "BMP: %d bits a pixel are not supported", b.bits);
    hone_image image;
    HONE_TRY(hone_image_alloc("BMP", b.height, b.width, b.alpha ? 4 : 3, &image));
    b.stride = ((size_t)b.width * (size_t)b.bits + 31) / 32 * 4;
    hone_status s = HONE_OK;
    if (b.offset < 14 + b.header || b.offset > count || b.stride * (size_t)b.height > count - b.offset)
        s = hone_fail(HONE_ERR_DATA, "fetch the file again",
                      "BMP: the file is cut: %zu bytes of pixels wanted at byte %zu of %zu",
                      b.stride * (size_t)b.height, b.offset, count);
    for (int64_t y = 0; s == HONE_OK && y < b.height; y++) {
        int64_t stored = b.top_down ? y : b.height - 1 - y;
        uint8_t *to = image.pixels + (size_t)y * (size_t)b.width * (size_t)image.channels;
        if (!read_row(&b, bytes + b.offset + (size_t)stored * b.stride, to, image.channels))
            s = bad("a colour index is past the palette");
    }
    if (s != HONE_OK) hone_image_drop(&image);
    else *out = image;
    return s;
}
