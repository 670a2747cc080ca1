/* png.c - PNG decoding on zlib: every chunk's CRC, every row, every palette index is checked.
 *
 * Source: Portable Network Graphics, third edition (W3C): chunks in 5, colour types in 6, interlacing
 * in 8, filters in 9, zlib streams in 10. Common decoders skip checksums and read past short palettes;
 * a training run must not learn from such pixels, so whatever a writer can't have meant is an error.
 *
 * Read are grey, palette, RGB and alpha, 1 to 16 bits (of 16 the high byte counts), interlaced or
 * not, tRNS and eXIf. Text and colour profiles are never inflated (that is where bombs hide), of an
 * animation the still image is read. Memory: the pixels and one copy of the filtered rows, both known
 * from the header before anything is allocated. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/image.h"

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

typedef struct png {
    const uint8_t *bytes;
    size_t count;
    int64_t width, height;
    int depth, colour, interlaced, orientation;
    size_t data_at;             /* first IDAT chunk                                            */
    const uint8_t *palette;     /* (palette_count, 3)                                          */
    const uint8_t *transparent; /* tRNS: alphas of a palette, or one colour of 16-bit samples  */
    size_t palette_count, transparent_count;
} png;

/* One pass over the image (interlaced: one of Adam7's seven): size and place in the whole. */
typedef struct pass {
    int64_t width, height, x0, y0, dx, dy;
} pass;

/* Big-endian, as all of the format. */
static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* `at`: byte of the file, for whoever wants to look with a hex editor. */
static hone_status broken(size_t at, const char *what)
{
    return hone_fail(HONE_ERR_DATA, "fetch or re-encode the file", "PNG: %s at byte %zu", what, at);
}

/* `colour` has been checked against the table of read_header. */
static int samples_per_pixel(int colour)
{
    static const int samples[7] = {[GREY] = 1, [RGB] = 3, [PALETTE] = 1, [GREY_ALPHA] = 2, [RGB_ALPHA] = 4};
    return samples[colour];
}

/* d: the 13 bytes of IHDR. Sides of up to 2^32 - 1 are read here and refused by hone_image_alloc. */
static hone_status read_header(png *p, const uint8_t *d, size_t length)
{
    if (length != 13) return broken(16, "IHDR is not 13 bytes long");
    p->width = get32(d);
    p->height = get32(d + 4);
    p->depth = d[8];
    p->colour = d[9];
    p->interlaced = d[12];
    /* depths that the specification allows for each colour type, as sets of bits */
    static const int depths[7] = {[GREY] = 1 | 2 | 4 | 8 | 16,
                                  [RGB] = 8 | 16,
                                  [PALETTE] = 1 | 2 | 4 | 8,
                                  [GREY_ALPHA] = 8 | 16,
                                  [RGB_ALPHA] = 8 | 16};
    bool one_bit = p->depth && (p->depth & (p->depth - 1)) == 0;
    if (p->colour > 6 || !one_bit || !(depths[p->colour] & p->depth))
        return broken(24, "colour type and bit depth don't fit");
    if (d[10] || d[11] || p->interlaced > 1) return broken(26, "unknown compression, filter or interlace method");
    return HONE_OK;
}

/* Once, before the image data, 1 to 256 entries. A palette in an RGB image is only a suggestion. */
static hone_status read_palette(png *p, const uint8_t *d, size_t length, size_t at)
{
    if (p->palette || p->data_at) return broken(at, "misplaced PLTE");
    if (length == 0 || length % 3 || length > 768) return broken(at, "PLTE of a wrong length");
    p->palette = d;
    p->palette_count = length / 3;
    return HONE_OK;
}

/* Any chunk between IHDR and IEND. `after_data`: IDAT chunks must follow each other. */
static hone_status read_chunk(png *p, size_t at, size_t length, bool after_data)
{
    const uint8_t *type = p->bytes + at + 4, *d = type + 4;
    if (memcmp(type, "IDAT", 4) == 0) {
        if (after_data) return broken(at, "IDAT apart from the others");
        if (p->colour == PALETTE && !p->palette) return broken(at, "no PLTE before IDAT");
        if (!p->data_at) p->data_at = at;
    } else if (memcmp(type, "PLTE", 4) == 0) {
        return read_palette(p, d, length, at);
    } else if (memcmp(type, "tRNS", 4) == 0) {
        size_t most = p->colour == PALETTE ? p->palette_count : p->colour == GREY ? 2 : p->colour == RGB ? 6 : 0;
        if (p->data_at || length == 0 || length > most || (p->colour != PALETTE && length != most))
            return broken(at, "misplaced tRNS");
        p->transparent = d;
        p->transparent_count = length;
    } else if (memcmp(type, "eXIf", 4) == 0) {
        p->orientation = hone_exif_orientation(d, length);
    } else if (memcmp(type, "IHDR", 4) == 0) {
        return broken(at, "a second IHDR");
    } else if (!(type[0] & 0x20)) { /* an upper-case first letter marks what no decoder may skip */
        return broken(at, "unknown critical chunk");
    }
    return HONE_OK;
}

/* Walks all chunks up to IEND, checks each CRC, and notes where things are. */
static hone_status read_chunks(png *p)
{
    bool after_data = false;
    /* a chunk: length, type, data, CRC over type and data; `at` stands on its length */
    for (size_t at = 8;;) {
        if (p->count - at < 12) return broken(p->count, "the file is cut: no IEND");
        size_t length = get32(p->bytes + at);
        const uint8_t *type = p->bytes + at + 4;
        for (int k = 0; k < 4; k++)
            if (!((type[k] >= 'A' && type[k] <= 'Z') || (type[k] >= 'a' && type[k] <= 'z')))
                return broken(at, "not a chunk");
        if (length > 0x7FFFFFFF || length > p->count - at - 12)
            return broken(p->count, "the file is cut: a chunk goes on");
        if (get32(type + 4 + length) != crc32(0, type, (uInt)length + 4))
            return hone_fail(HONE_ERR_DATA, "fetch the file again", "PNG: chunk %.4s at byte %zu has a wrong checksum",
                             (const char *)type, at);
        if (at == 8) {
            if (memcmp(type, "IHDR", 4) != 0) return broken(at, "IHDR is not the first chunk");
            HONE_TRY(read_header(p, type + 4, length));
        } else if (memcmp(type, "IEND", 4) == 0) {
            return p->data_at ? HONE_OK : broken(at, "no image data");
        } else {
            HONE_TRY(read_chunk(p, at, length, after_data));
        }
        after_data = p->data_at && memcmp(type, "IDAT", 4) != 0;
        at += 12 + length;
    }
}

/* Passes of the image; empty ones are left out. Returns their number. */
static int make_passes(const png *p, pass pass_out[7])
{
    /* Adam7: first column, first row, column step, row step */
    static const int adam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                    {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    if (!p->interlaced) {
        pass_out[0] = (pass){p->width, p->height, 0, 0, 1, 1};
        return 1;
    }
    int n = 0;
    for (int k = 0; k < 7; k++) {
        const int *a = adam7[k];
        pass q = {(p->width - a[0] + a[2] - 1) / a[2], (p->height - a[1] + a[3] - 1) / a[3], a[0], a[1], a[2], a[3]};
        if (q.width > 0 && q.height > 0) pass_out[n++] = q;
    }
    return n;
}

/* Without the filter byte; rows of sub-byte pixels end in padding bits. */
static size_t row_bytes(const png *p, int64_t width)
{
    return ((size_t)width * (size_t)(samples_per_pixel(p->colour) * p->depth) + 7) / 8;
}

/* Inflates all IDAT chunks into exactly `want` bytes; more, fewer, or a wrong Adler-32 is an error. */
static hone_status inflate_data(const png *p, uint8_t *raw, size_t want)
{
    z_stream z = {0};
    if (inflateInit(&z) != Z_OK) return hone_no_memory("zlib", 0);
    uint8_t extra = 0; /* room for one byte too many, which must stay unused */
    size_t have = 0;
    int r = Z_OK;
    for (size_t at = p->data_at; r == Z_OK && memcmp(p->bytes + at + 4, "IDAT", 4) == 0;) {
        size_t length = get32(p->bytes + at);
        z.next_in = (z_const Bytef *)(p->bytes + at + 8);
        z.avail_in = (uInt)length;
        while (r == Z_OK && z.avail_in) {
            /* when the rows are full, the stream may still hold its end mark and checksum, but no byte more */
            size_t room = want - have > (1u << 30) ? (1u << 30) : want - have;
            z.next_out = room ? raw + have : &extra;
            z.avail_out = room ? (uInt)room : 1;
            r = inflate(&z, Z_NO_FLUSH);
            size_t made = (room ? room : 1) - z.avail_out;
            if (!room && made) r = Z_BUF_ERROR;
            have += room ? made : 0;
        }
        at += 12 + length;
    }
    inflateEnd(&z);
    if (r == Z_STREAM_END && have == want) return HONE_OK;
    const char *why = r == Z_MEM_ERROR                 ? "no memory for zlib"
                      : r == Z_BUF_ERROR               ? "more image data than the size allows"
                      : r == Z_OK || r == Z_STREAM_END ? "too little image data"
                                                       : "broken image data";
    return broken(p->data_at, why);
}

/* The neighbour (left, above, above left) that is closest to a + b - c; ties in this order. */
static int paeth(int a, int b, int c)
{
    int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* Undoes the filter of one row in place. `up` is the row above (zeros for the first), `step` the bytes
 * of a pixel, at least 1. The filters add to bytes modulo 256. */
static bool unfilter(int filter, uint8_t *row, const uint8_t *up, size_t n, size_t step)
{
    switch (filter) {
    case 0: return true;
    case 1: /* Sub */
        for (size_t i = step; i < n; i++) row[i] = (uint8_t)(row[i] + row[i - step]);
        return true;
    case 2: /* Up */
        for (size_t i = 0; i < n; i++) row[i] = (uint8_t)(row[i] + up[i]);
        return true;
    case 3: /* Average; missing neighbours count as 0 */
        for (size_t i = 0; i < n; i++) row[i] = (uint8_t)(row[i] + ((i >= step ? row[i - step] : 0) + up[i]) / 2);
        return true;
    case 4: /* Paeth; in the first pixel only the one above is left of it */
        for (size_t i = 0; i < n && i < step; i++) row[i] = (uint8_t)(row[i] + up[i]);
        for (size_t i = step; i < n; i++) row[i] = (uint8_t)(row[i] + paeth(row[i - step], up[i], up[i - step]));
        return true;
    default: return false;
    }
}

/* Sample `i` of a row at its full depth. */
static unsigned sample_at(const uint8_t *row, size_t i, int depth)
{
    if (depth == 8) return row[i];
    if (depth == 16) return (unsigned)row[2 * i] << 8 | row[2 * i + 1];
    size_t bit = i * (size_t)depth;
    return (unsigned)row[bit / 8] >> (8 - depth - (int)(bit % 8)) & ((1u << depth) - 1);
}

/* Fewer bits are spread over 0..255 exactly (255 is a multiple of 1, 3 and 15); of 16 the high byte
 * counts, as in Pillow. */
static uint8_t to_8_bits(unsigned v, int depth)
{
    return (uint8_t)(depth == 16 ? v >> 8 : depth == 8 ? v : v * 255 / ((1u << depth) - 1));
}

/* Pixel `x` of a palette row -> RGB or RGBA; false when the index is past the palette. */
static bool palette_pixel(const png *p, const uint8_t *row, size_t x, int channels, uint8_t *to)
{
    unsigned index = sample_at(row, x, p->depth);
    if (index >= p->palette_count) return false;
    memcpy(to, p->palette + 3 * index, 3);
    if (channels == 4) to[3] = index < p->transparent_count ? p->transparent[index] : 255;
    return true;
}

/* Pixel `x` of a row of samples; with tRNS one colour, compared at full depth, is fully transparent. */
static void sample_pixel(const png *p, const uint8_t *row, size_t x, int channels, uint8_t *to)
{
    int n = samples_per_pixel(p->colour);
    bool match = p->transparent != NULL; /* until a sample differs from the transparent colour */
    for (int k = 0; k < n; k++) {
        unsigned v = sample_at(row, x * (size_t)n + (size_t)k, p->depth);
        to[k] = to_8_bits(v, p->depth);
        match = match && v == ((unsigned)p->transparent[2 * k] << 8 | p->transparent[2 * k + 1]);
    }
    if (channels > n) to[n] = match ? 0 : 255;
}

/* One unfiltered row of a pass into its place in the image. */
static bool place_row(const png *p, const pass *q, int64_t y, const uint8_t *row, hone_image *out)
{
    int c = out->channels;
    uint8_t *line = out->pixels + (size_t)(q->y0 + y * q->dy) * (size_t)out->width * (size_t)c;
    /* the common case: whole rows of bytes as they are */
    if (p->depth == 8 && p->colour != PALETTE && !p->transparent && q->dx == 1) {
        memcpy(line + q->x0 * c, row, (size_t)q->width * (size_t)c);
        return true;
    }
    for (int64_t x = 0; x < q->width; x++) {
        uint8_t *to = line + (q->x0 + x * q->dx) * c;
        if (p->colour != PALETTE) sample_pixel(p, row, (size_t)x, c, to);
        else if (!palette_pixel(p, row, (size_t)x, c, to)) return false;
    }
    return true;
}

/* raw: for each pass its rows, a filter byte before each. Rows are unfiltered in place, because the
 * next row needs the finished one above; the first row of a pass sees zeros. */
static hone_status place_passes(const png *p, const pass *passes, int count, uint8_t *raw, hone_image *out)
{
    size_t step = (size_t)(samples_per_pixel(p->colour) * p->depth + 7) / 8; /* below 8 bits: the byte before */
    uint8_t *zeros = calloc(row_bytes(p, p->width) + 1, 1);
    if (!zeros) return hone_no_memory("a PNG row", row_bytes(p, p->width));
    hone_status s = HONE_OK;
    for (int k = 0; k < count && s == HONE_OK; k++) {
        size_t n = row_bytes(p, passes[k].width);
        const uint8_t *up = zeros;
        for (int64_t y = 0; y < passes[k].height && s == HONE_OK; y++, up = raw + 1, raw += 1 + n) {
            if (!unfilter(raw[0], raw + 1, up, n, step))
                s = hone_fail(HONE_ERR_DATA, "fetch the file again", "PNG: unknown filter %d in row %lld", raw[0],
                              (long long)y);
            else if (!place_row(p, &passes[k], y, raw + 1, out))
                s = hone_fail(HONE_ERR_DATA, "re-encode the image",
                              "PNG: a palette index in row %lld is past the %zu colours", (long long)y,
                              p->palette_count);
        }
    }
    free(zeros);
    return s;
}

/* Chunks first (all checks), then memory for exactly what the header promises, then pixels. */
hone_status hone_png_decode(const uint8_t *bytes, size_t count, hone_image *out)
{
    png p = {.bytes = bytes, .count = count, .orientation = 1};
    pass passes[7];
    HONE_TRY(read_chunks(&p));
    hone_image image;
    /* tRNS turns into an alpha channel, which hone_image_decode composes on white */
    int channels = (p.colour == PALETTE ? 3 : samples_per_pixel(p.colour)) + (p.transparent != NULL);
    HONE_TRY(hone_image_alloc("PNG", p.height, p.width, channels, &image));
    int pass_count = make_passes(&p, passes);
    size_t want = 0;
    for (int k = 0; k < pass_count; k++) want += (size_t)passes[k].height * (1 + row_bytes(&p, passes[k].width));
    uint8_t *raw = malloc(want);
    hone_status s = raw ? inflate_data(&p, raw, want) : hone_no_memory("PNG rows", want);
    if (s == HONE_OK) s = place_passes(&p, passes, pass_count, raw, &image);
    free(raw);
    if (s != HONE_OK) {
        hone_image_drop(&image);
        return s;
    }
    image.orientation = p.orientation;
    *out = image;
    return HONE_OK;
}
