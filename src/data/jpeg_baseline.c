/* jpeg_baseline.c - see jpeg_baseline.h: segments and tables of a plain JPEG, and the way from planes to pixels. The loops
 * over blocks and samples are jpeg_avx2.c's.
 *
 * hone_jpeg_scan has walked over the same file before: lengths of segments lie within it, Huffman tables hold at most 256
 * symbols, and there is an end-of-image marker. Each `false` below means "not plain", never "broken". */
#include "data/jpeg_baseline.h"

#include <stdlib.h>
#include <string.h>

#include "data/pixels.h"

enum {
    SOF0 = 0xC0,
    SOF1 = 0xC1,
    DHT = 0xC4,
    EOI = 0xD9,
    SOS = 0xDA,
    DQT = 0xDB,
    DRI = 0xDD,
    APP0 = 0xE0,
    APP14 = 0xEE
};

/* What of the headers decides about colours, besides the frame. */
typedef struct markers {
    bool frame, jfif, adobe;
    int transform; /* Adobe's                                                                       */
} markers;

/* Canonical codes (T.81, annex C): lengths and symbols to the look-ups of `t`. False: more codes than bits allow; one of
 * ones alone is none. */
static bool make_codes(const uint8_t *counts, hone_jpeg_huffman *t)
{
    int32_t code = 0, index = 0;
    memset(t->code, 0, sizeof t->code);
    for (int length = 1; length <= 16; length++, code *= 2) {
        int n = counts[length - 1];
        if (n && code + n >= 1 << length) return false;
        t->base[length] = index - code;
        for (int k = 0; k < n; k++, code++, index++) {
            int spare = HONE_JPEG_LOOK - length; /* bits of the look-up behind the code */
            for (int i = 0; spare >= 0 && i < 1 << spare; i++)
                t->code[(code << spare) + i] = (uint16_t)(length << 8 | t->symbol[index]);
        }
        t->limit[length] = code << (16 - length);
    }
    return true;
}

/* AC codes whose value fits the look-up as well, and the end of a block: nearly all that a photograph has. */
static void make_quick(hone_jpeg_huffman *t)
{
    memset(t->quick, 0, sizeof t->quick);
    for (int i = 0; i < 1 << HONE_JPEG_LOOK; i++) {
        int length = t->code[i] >> 8, symbol = t->code[i] & 255, s = symbol & 15, run = symbol >> 4;
        int spare = HONE_JPEG_LOOK - length - s;
        if (length && symbol == 0) t->quick[i] = (hone_jpeg_symbol){0, 64, (uint8_t)length};
        if (!length || !s || spare < 0) continue;
        int v = i >> spare & ((1 << s) - 1);
        if (v < 1 << (s - 1)) v += 1 - (1 << s); /* the lower half is negative */
        t->quick[i] = (hone_jpeg_symbol){(int16_t)v, (uint8_t)run, (uint8_t)(length + s)};
    }
}

/* p: behind the length field, `bytes` long. Several tables may follow one another. */
static bool read_huffman(const uint8_t *p, size_t bytes, hone_jpeg_frame *f)
{
    while (bytes >= 17) {
        int class = p[0] >> 4, id = p[0] & 15;
        size_t n = 0;
        for (int k = 1; k <= 16; k++) n += p[k];
        if (class > 1 || id > 1 || n > 256 || n > bytes - 17) return false;
        hone_jpeg_huffman *t = class ? &f->ac[id] : &f->dc[id];
        memcpy(t->symbol, p + 17, n);
        for (size_t k = 0; k < n && !class; k++)
            if (p[17 + k] > 15) return false; /* sizes of differences */
        if (!make_codes(p + 1, t)) return false;
        if (class) make_quick(t);
        t->given = true;
        p += 17 + n;
        bytes -= 17 + n;
    }
    return bytes == 0;
}

static bool read_quant(const uint8_t *p, size_t bytes, hone_jpeg_frame *f)
{
    for (; bytes >= 65; p += 65, bytes -= 65) {
        if (p[0] > 3) return false; /* 16 bits, or no such table */
        for (int k = 0; k < 64; k++) f->quant[p[0]][k] = p[k + 1];
        f->quant_given[p[0]] = true;
    }
    return bytes == 0;
}

/* Grey, or luminance sampled as densely as colour, twice as wide, or twice as wide and high. */
static bool read_frame(const uint8_t *p, size_t bytes, hone_jpeg_frame *f)
{
    f->height = p[1] << 8 | p[2];
    f->width = p[3] << 8 | p[4];
    f->components = p[5];
    if ((f->components != 1 && f->components != 3) || bytes != 6 + 3 * (size_t)f->components) return false;
    for (int c = 0; c < f->components; c++) {
        const uint8_t *q = p + 6 + 3 * c;
        f->component[c] = (hone_jpeg_component){.id = q[0], .h = q[1] >> 4, .v = q[1] & 15, .quant = q[2]};
        if (q[2] > 3 || (c && (q[1] != 0x11 || q[0] == f->component[0].id))) return false;
    }
    int h = f->component[0].h, v = f->component[0].v;
    if (f->components == 1) return h == 1 && v == 1;
    return f->component[1].id != f->component[2].id && ((v == 1 && (h == 1 || h == 2)) || (v == 2 && h == 2));
}

/* One scan of all components in the order of the frame, all 64 coefficients at full precision. */
static bool read_scan(const uint8_t *p, size_t bytes, hone_jpeg_frame *f)
{
    size_t n = (size_t)f->components;
    if (bytes != 4 + 2 * n || p[0] != n || p[1 + 2 * n] != 0 || p[2 + 2 * n] != 63 || p[3 + 2 * n] != 0) return false;
    for (size_t c = 0; c < n; c++) {
        hone_jpeg_component *k = &f->component[c];
        k->dc = p[2 + 2 * c] >> 4;
        k->ac = p[2 + 2 * c] & 15;
        if (p[1 + 2 * c] != k->id || k->dc > 1 || k->ac > 1 || !f->dc[k->dc].given || !f->ac[k->ac].given ||
            !f->quant_given[k->quant])
            return false;
    }
    return true;
}

/* libjpeg's guesses (jdapimin.c) where three components are YCbCr for sure. */
static bool is_ycc(const hone_jpeg_frame *f, const markers *m)
{
    const hone_jpeg_component *c = f->component;
    if (f->components == 1 || m->jfif) return true;
    if (m->adobe) return m->transform == 1;
    return c[0].id == 1 && c[1].id == 2 && c[2].id == 3;
}

/* One segment. p: behind its length field. False: not plain. */
static bool read_segment(int marker, const uint8_t *p, size_t bytes, hone_jpeg_frame *f, markers *m)
{
    switch (marker) {
    case SOF0:
    case SOF1:
        if (m->frame || bytes < 9) return false;
        m->frame = true;
        return read_frame(p, bytes, f);
    case DHT: return read_huffman(p, bytes, f);
    case DQT: return read_quant(p, bytes, f);
    case DRI: f->restart = bytes == 2 ? p[0] << 8 | p[1] : 0; return bytes == 2;
    case APP0:
        if (bytes < 14 || memcmp(p, "JFIF", 5) != 0) return true;
        m->jfif = true;
        return p[5] == 1; /* a revision that the library warns of */
    case APP14:
        if (bytes < 12 || memcmp(p, "Adobe", 5) != 0) return true;
        m->adobe = true;
        m->transform = p[11];
        return true;
    /* other kinds of frames, arithmetic coding, heights that come later */
    default: return !(marker >= 0xC0 && marker <= 0xCF) && marker != 0xDC && marker != EOI;
    }
}

/* All segments up to the entropy-coded data, whose place is kept. */
static bool read_headers(const uint8_t *bytes, size_t count, hone_jpeg_frame *f)
{
    markers m = {0};
    for (size_t at = 2; at + 4 <= count;) {
        int marker = bytes[at + 1];
        if (bytes[at] != 0xFF || marker == 0xFF) return false;
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        const uint8_t *p = bytes + at + 4;
        if (length < 2 || length > count - at - 2) return false;
        at += 2 + length;
        if (marker == SOS) {
            f->data = bytes + at;
            f->end = bytes + count;
            return m.frame && read_scan(p, length - 2, f) && is_ycc(f, &m);
        }
        if (!read_segment(marker, p, length - 2, f, &m)) return false;
    }
    return false;
}

/* Planes of whole MCUs, behind them two rows of colour in full width and sums of 16 bits (*lines points there), and the
 * room for the stream. */
static hone_status make_planes(hone_jpeg_frame *f, uint8_t **memory, uint8_t **lines)
{
    int h = f->component[0].h, v = f->component[0].v;
    size_t bytes = 0, at[3] = {0}, line = 0;
    f->mcus_wide = (f->width + 8 * h - 1) / (8 * h);
    f->mcus_high = (f->height + 8 * v - 1) / (8 * v);
    for (int c = 0; c < f->components; c++) {
        hone_jpeg_component *k = &f->component[c];
        k->width = (f->width * k->h + h - 1) / h;
        k->height = (f->height * k->v + v - 1) / v;
        k->stride = (ptrdiff_t)f->mcus_wide * 8 * k->h;
        at[c] = bytes;
        bytes += (size_t)k->stride * (size_t)f->mcus_high * 8 * (size_t)k->v;
        line = (size_t)k->stride * (size_t)h;
    }
    /* malloc: planes are written before they are read, block by block */
    size_t all = bytes + 4 * line + (size_t)(f->end - f->data) + HONE_JPEG_SPARE;
    *memory = malloc(all);
    if (!*memory) return hone_no_memory("a JPEG's planes", all);
    for (int c = 0; c < f->components; c++) f->component[c].plane = *memory + at[c];
    *lines = *memory + bytes;
    f->clean = *lines + 4 * line;
    return HONE_OK;
}

/* Row y of a colour plane in full width: the plane's own, or in `line`. */
static const uint8_t *colour_row(const hone_jpeg_frame *f, const hone_jpeg_loops *loops, int c, int y, uint16_t *sum,
                                 uint8_t *line)
{
    const hone_jpeg_component *k = &f->component[c];
    if (f->component[0].h == 1) return k->plane + y * k->stride;
    if (f->component[0].v == 1) {
        loops->widen(k->plane + y * k->stride, k->width, line);
        return line;
    }
    /* of the rows above and below the nearer one to this half; at the edges the row itself */
    int near = y / 2, far = near + (y % 2 ? 1 : -1);
    if (far < 0) far = 0;
    if (far >= k->height) far = k->height - 1;
    loops->widen_both(k->plane + near * k->stride, k->plane + far * k->stride, k->width, sum, line);
    return line;
}

/* Planes to pixels (height, width, components). */
static void write_pixels(const hone_jpeg_frame *f, const hone_jpeg_loops *loops, uint8_t *lines, uint8_t *pixels)
{
    const hone_jpeg_component *k = &f->component[0];
    size_t line = (size_t)f->component[f->components - 1].stride * (size_t)k->h;
    for (int y = 0; y < f->height; y++) {
        const uint8_t *luma = k->plane + y * k->stride;
        if (f->components == 1) {
            memcpy(pixels + (size_t)y * (size_t)f->width, luma, (size_t)f->width);
            continue;
        }
        uint16_t *sum = (uint16_t *)(void *)(lines + 2 * line); /* planes are of whole blocks: aligned */
        const uint8_t *cb = colour_row(f, loops, 1, y, sum, lines), *cr = colour_row(f, loops, 2, y, sum, lines + line);
        loops->colour(luma, cb, cr, f->width, pixels + 3 * (size_t)y * (size_t)f->width);
    }
}

/* 50 KB of tables are too much for a thread's stack to be sure of. */
hone_status hone_jpeg_baseline(const uint8_t *bytes, size_t count, const hone_jpeg_info *info, uint8_t *pixels,
                               bool *done)
{
    uint8_t *memory = NULL, *lines = NULL;
    const hone_jpeg_loops *loops = hone_jpeg_loops_pick();
    *done = false;
    if (!loops) return HONE_OK;
    hone_jpeg_frame *f = calloc(1, sizeof *f);
    if (!f) return hone_no_memory("a JPEG's tables", sizeof *f);
    hone_status s = HONE_OK;
    bool plain = read_headers(bytes, count, f) && f->height == info->height && f->width == info->width &&
                 f->components == info->components;
    /* libjpeg repeats samples of colour planes that are this narrow */
    if (plain && f->component[0].h == 2 && (f->width + 1) / 2 <= 2) plain = false;
    if (plain) s = make_planes(f, &memory, &lines);
    if (plain && s == HONE_OK && loops->blocks(f)) {
        write_pixels(f, loops, lines, pixels);
        *done = true;
    }
    free(memory);
    free(f);
    return s;
}
