/* tar_make.h - tar archives made on the spot: members, pax and GNU headers, the end mark. */
#ifndef HONE_TESTS_TAR_MAKE_H
#define HONE_TESTS_TAR_MAKE_H

#include "support/scratch.h"

/* Checksum of the header at `at`, in its place. */
static inline void tar_seal(bytes *b, size_t at)
{
    unsigned sum = 0;
    memset(b->data + at + 148, ' ', 8);
    for (int k = 0; k < 512; k++) sum += b->data[at + (size_t)k];
    char text[8];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(b->data + at + 148, text, 7);
}

/* A member of any type; the content is filled up to a block. Returns where its header begins. */
static inline size_t tar_typed(bytes *b, char type, const char *name, const void *data, size_t count)
{
    uint8_t h[512] = {0};
    size_t at = b->count;
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(h + 100, "0000644", 8);
    snprintf((char *)h + 124, 12, "%011o", (unsigned)count);
    memcpy(h + 136, "00000000000", 12);
    h[156] = (uint8_t)type;
    memcpy(h + 257, "ustar\00000", 8);
    bytes_add(b, h, 512);
    tar_seal(b, at);
    bytes_add(b, data, count);
    while (b->count % 512) bytes_u8(b, 0);
    return at;
}

static inline void tar_file(bytes *b, const char *name, const void *data, size_t count)
{
    tar_typed(b, '0', name, data, count);
}
static inline void tar_text(bytes *b, const char *name, const char *text) { tar_file(b, name, text, strlen(text)); }

/* The next member's name as pax and as GNU tar write long ones. */
static inline void tar_pax(bytes *b, const char *key, const char *value)
{
    char record[4096];
    size_t n = strlen(key) + strlen(value) + 3, digits = 1;
    for (size_t p = 10; n + digits >= p; p *= 10) digits++;
    snprintf(record, sizeof record, "%zu %s=%s\n", n + digits, key, value);
    tar_typed(b, 'x', "PaxHeaders/x", record, strlen(record));
}
static inline void tar_long(bytes *b, const char *name) { tar_typed(b, 'L', "././@LongLink", name, strlen(name) + 1); }

/* Two zero blocks. */
static inline void tar_end(bytes *b)
{
    for (int k = 0; k < 1024; k++) bytes_u8(b, 0);
}

/* A picture of test_pixel values as KEY.png. */
static inline void tar_png(bytes *b, const char *name, int id, int h, int w, int channels)
{
    uint8_t *p = malloc((size_t)h * (size_t)w * (size_t)channels);
    if (!p) abort();
    for (int i = 0; i < h * w * channels; i++) p[i] = test_pixel(id, i);
    bytes png = png_make(h, w, channels, p);
    tar_file(b, name, png.data, png.count);
    free(png.data);
    free(p);
}

#endif
