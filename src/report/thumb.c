/* thumb.c - a sample's picture as <img> with a PNG inside the page. PNG (ISO/IEC 15948): 8-bit grey or RGB, filter 0
 * on each row, one IDAT by zlib. Large pictures are made smaller by the mean of whole boxes. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "report/report.h"

enum { EDGE = 72 };

void hone_base64(hone_text *t, const void *data, size_t bytes)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    for (size_t k = 0; k < bytes; k += 3) {
        uint32_t v =
            (uint32_t)p[k] << 16 | (k + 1 < bytes ? (uint32_t)p[k + 1] << 8 : 0) | (k + 2 < bytes ? p[k + 2] : 0u);
        char out[4] = {digit[v >> 18], digit[v >> 12 & 63], k + 1 < bytes ? digit[v >> 6 & 63] : '=',
                       k + 2 < bytes ? digit[v & 63] : '='};
        hone_text_append(t, out, 4);
    }
}

static void be32(unsigned char *to, uint32_t v)
{
    for (int k = 0; k < 4; k++) to[k] = (unsigned char)(v >> (24 - 8 * k));
}

/* length, type, data, CRC-32 of type and data. */
static void chunk(hone_text *t, const char *type, const void *data, size_t bytes)
{
    unsigned char head[8], crc[4];
    be32(head, (uint32_t)bytes);
    memcpy(head + 4, type, 4);
    uLong sum =
        crc32(crc32(0, head + 4, 4), data, (uInt)bytes); /* zlib takes NULL only as a reset: data is never that */
    be32(crc, (uint32_t)sum);
    hone_text_append(t, head, 8);
    hone_text_append(t, data, bytes);
    hone_text_append(t, crc, 4);
}

/* Mean of a box of box x box pixels, cut at the edges. */
static uint8_t mean_of(const hone_report_sample *s, int y0, int x0, int box, int channel)
{
    int sum = 0, n = 0;
    for (int y = y0; y < y0 + box && y < s->height; y++)
        for (int x = x0; x < x0 + box && x < s->width; x++, n++)
            sum += s->pixels[((int64_t)y * s->width + x) * s->channels + channel];
    return n ? (uint8_t)((sum + n / 2) / n) : 0; /* a box begins inside the picture, so there are some */
}

/* Rows of the small picture, each behind its filter byte: (h, 1 + w * channels). */
static uint8_t *shrink(const hone_report_sample *s, int box, int h, int w)
{
    size_t row = 1 + (size_t)w * (size_t)s->channels;
    uint8_t *out = calloc((size_t)h, row);
    for (int y = 0; out && y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < s->channels; c++)
                out[(size_t)y * row + 1 + (size_t)(x * s->channels + c)] = mean_of(s, y * box, x * box, box, c);
    return out;
}

static void png(hone_text *t, const uint8_t *rows, int h, int w, int channels)
{
    uLong raw = (uLong)h * (1 + (uLong)w * (uLong)channels);
    uLongf packed = compressBound(raw);
    uint8_t *data = malloc(packed), head[13] = {0};
    if (!data || compress2(data, &packed, rows, raw, 9) != Z_OK) {
        free(data);
        t->failed = true;
        return;
    }
    be32(head, (uint32_t)w);
    be32(head + 4, (uint32_t)h);
    head[8] = 8;                     /* bits          */
    head[9] = channels == 3 ? 2 : 0; /* RGB, or grey  */
    hone_text_append(t, "\x89PNG\r\n\x1a\n", 8);
    chunk(t, "IHDR", head, sizeof head);
    chunk(t, "IDAT", data, packed);
    chunk(t, "IEND", "", 0);
    free(data);
}

bool hone_picture(hone_text *t, const hone_report_sample *s, int edge)
{
    if (!s->pixels || s->height < 1 || s->width < 1 || (s->channels != 1 && s->channels != 3)) return false;
    int longest = s->height > s->width ? s->height : s->width, box = (longest + edge - 1) / edge;
    int h = (s->height + box - 1) / box, w = (s->width + box - 1) / box;
    uint8_t *rows = shrink(s, box, h, w);
    hone_text file = {0};
    if (rows) png(&file, rows, h, w, s->channels);
    free(rows);
    bool fine = rows != NULL && !file.failed;
    if (fine) {
        hone_text_add(t, "<img alt=\"\" width=\"%d\" height=\"%d\" src=\"data:image/png;base64,", w, h);
        hone_base64(t, file.data, file.bytes);
        hone_text_add(t, "\">");
    }
    hone_text_free(&file);
    return fine;
}

bool hone_thumb(hone_text *t, const hone_report_sample *s) { return hone_picture(t, s, EDGE); }
