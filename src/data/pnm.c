/* pnm.c - binary PGM (P5) and PPM (P6) with 8 or 16 bits a sample.
 *
 * Source: the netpbm manual pages pgm(5), ppm(5). Samples are scaled from maxval to 255. Text forms,
 * bitmaps (P1 to P4) and PAM (P7) are refused by name. */
#include <string.h>

#include "data/image.h"

enum { HEADER_LIMIT = 1 << 16 }; /* comments may be long, but not endless */

/* The next number of the header; white space and #comments before it are skipped. -1: none. */
static int64_t next_number(const uint8_t *b, size_t n, size_t *at)
{
    size_t i = *at;
    while (i < n && (b[i] == ' ' || (b[i] >= '\t' && b[i] <= '\r') || b[i] == '#')) {
        if (b[i] == '#')
            while (i < n && b[i] != '\n') i++;
        else i++;
    }
    int64_t v = -1;
    for (; i < n && b[i] >= '0' && b[i] <= '9'; i++) {
        v = (v < 0 ? 0 : v) * 10 + (b[i] - '0');
        if (v > 1 << 30) return -1;
    }
    *at = i;
    return v;
}

/* from (count) samples of 1 or 2 bytes -> to (count): v * 255 / maxval, rounded. */
static void scale(const uint8_t *from, uint8_t *to, size_t count, int64_t maxval, bool *over)
{
    for (size_t i = 0; i < count; i++) {
        int64_t v = maxval > 255 ? (int64_t)from[2 * i] << 8 | from[2 * i + 1] : from[i];
        if (v > maxval) *over = true;
        to[i] = (uint8_t)((v * 255 + maxval / 2) / maxval);
    }
}

/* The format has no checksum; a size that is right and samples within the maximum are all there is to
 * check. Bytes behind the pixels (a second image) are not looked at. */
hone_status hone_pnm_decode(const uint8_t *bytes, size_t count, hone_image *out)
{
    if (bytes[1] != '5' && bytes[1] != '6')
        return hone_fail(HONE_ERR_DATA, "convert it to PNG",
                         "PNM: only binary PGM (P5) and PPM (P6) are supported, not P%c", bytes[1]);
    /* comments may hide megabytes before the sizes: only the first 64 KiB are searched */
    size_t at = 2, header = count < HEADER_LIMIT ? count : HEADER_LIMIT;
    int64_t width = next_number(bytes, header, &at), height = next_number(bytes, header, &at),
            maxval = next_number(bytes, header, &at);
    if (width < 0 || height < 0 || maxval < 1 || maxval > 65535 || at >= header)
        return hone_fail(HONE_ERR_DATA, "the file is broken",
                         "PNM: no width, height and maximum (1 to 65535) in the header");
    at++; /* exactly one white space before the samples */
    hone_image image;
    HONE_TRY(hone_image_alloc("PNM", height, width, bytes[1] == '6' ? 3 : 1, &image));
    size_t samples = (size_t)height * (size_t)width * (size_t)image.channels, want = samples * (maxval > 255 ? 2 : 1);
    bool over = false;
    hone_status s = HONE_OK;
    if (want > count - at)
        s = hone_fail(HONE_ERR_DATA, "fetch the file again",
                      "PNM: the file is cut: %zu bytes of pixels wanted, %zu there", want, count - at);
    else scale(bytes + at, image.pixels, samples, maxval, &over);
    if (over)
        s = hone_fail(HONE_ERR_DATA, "the file is broken", "PNM: a sample is above the maximum %lld",
                      (long long)maxval);
    if (s != HONE_OK) hone_image_drop(&image);
    else *out = image;
    return s;
}
