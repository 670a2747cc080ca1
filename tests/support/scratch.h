/* scratch.h - small data sets made on the spot: a folder that goes away, files, PNG, IDX, big-endian numbers. */
#ifndef HONE_TESTS_SCRATCH_H
#define HONE_TESTS_SCRATCH_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

typedef struct bytes {
    uint8_t *data;
    size_t count, capacity;
} bytes; /* grows by bytes_add; free(b.data) */

static inline void bytes_add(bytes *b, const void *data, size_t count)
{
    if (b->count + count + 1 > b->capacity) { /* doubling: one byte at a time stays cheap under ASan too */
        b->capacity = 2 * (b->count + count + 1);
        b->data = realloc(b->data, b->capacity);
    }
    if (!b->data) abort();
    if (count) memcpy(b->data + b->count, data, count);
    b->count += count;
}

static inline void bytes_u8(bytes *b, unsigned v)
{
    uint8_t byte = (uint8_t)v;
    bytes_add(b, &byte, 1);
}

static inline void bytes_be32(bytes *b, uint32_t v)
{
    uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    bytes_add(b, p, 4);
}

/* A fresh folder below TMPDIR; scratch_remove takes it away with all that is in it. */
static inline char *scratch_make(void)
{
    static char path[4096];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hone-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path)) abort();
    return path;
}

static inline void scratch_remove(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *below = malloc(strlen(path) + strlen(e->d_name) + 2);
        sprintf(below, "%s/%s", path, e->d_name);
        struct stat s;
        if (lstat(below, &s) == 0 && S_ISDIR(s.st_mode)) scratch_remove(below);
        else unlink(below);
        free(below);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

/* root/name; the last few results stay valid. */
static inline const char *scratch_path(const char *root, const char *name)
{
    static char text[8][8192];
    static int next;
    char *path = text[next++ % 8];
    snprintf(path, sizeof text[0], "%s/%s", root, name);
    return path;
}

/* Writes root/name, making the folders on the way. */
static inline void scratch_write(const char *root, const char *name, const void *data, size_t count)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0777);
        *p = '/';
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, count, f) != count || fclose(f) != 0) {
        perror(path);
        abort();
    }
}

static inline void scratch_text(const char *root, const char *name, const char *text)
{
    scratch_write(root, name, text, strlen(text));
}

static inline void scratch_gzip(const char *root, const char *name, bytes b)
{
    gzFile f = gzopen(scratch_path(root, name), "wb6");
    if (!f || gzwrite(f, b.data, (unsigned)b.count) != (int)b.count || gzclose(f) != Z_OK) abort();
}

static inline void png_chunk(bytes *b, const char *type, const void *data, size_t count)
{
    bytes_be32(b, (uint32_t)count);
    size_t start = b->count;
    bytes_add(b, type, 4);
    bytes_add(b, data, count);
    bytes_be32(b, (uint32_t)crc32(0, b->data + start, (uInt)(count + 4)));
}

static inline void png_header(bytes *b, uint32_t w, uint32_t h, int depth, int colour, int interlace)
{
    bytes head = {0};
    bytes_add(b, "\x89PNG\r\n\x1A\n", 8);
    bytes_be32(&head, w);
    bytes_be32(&head, h);
    uint8_t rest[5] = {(uint8_t)depth, (uint8_t)colour, 0, 0, (uint8_t)interlace};
    bytes_add(&head, rest, 5);
    png_chunk(b, "IHDR", head.data, head.count);
    free(head.data);
}

/* IDAT of the zlib stream of `raw`. */
static inline void png_data(bytes *b, const uint8_t *raw, size_t count)
{
    uLongf n = compressBound((uLong)count);
    uint8_t *z = malloc(n);
    if (!z || compress2(z, &n, raw, (uLong)count, 6) != Z_OK) abort();
    png_chunk(b, "IDAT", z, n);
    free(z);
}

/* A whole PNG, 8 bits, channels 1 or 3, pixels (h, w, channels). */
static inline bytes png_make(int h, int w, int channels, const uint8_t *pixels)
{
    bytes b = {0}, raw = {0};
    png_header(&b, (uint32_t)w, (uint32_t)h, 8, channels == 3 ? 2 : 0, 0);
    for (int y = 0; y < h; y++) {
        bytes_u8(&raw, 0);
        bytes_add(&raw, pixels + (size_t)y * w * channels, (size_t)w * channels);
    }
    png_data(&b, raw.data, raw.count);
    png_chunk(&b, "IEND", NULL, 0);
    free(raw.data);
    return b;
}

/* Pixel i of test image `id`: any two images differ. */
static inline uint8_t test_pixel(int id, int i)
{
    return (uint8_t)((unsigned)(id * 2654435761u + (unsigned)i * 40503u) >> 7);
}

static inline void scratch_png(const char *root, const char *name, int id, int h, int w, int channels)
{
    uint8_t *p = malloc((size_t)h * w * channels);
    if (!p) abort();
    for (int i = 0; i < h * w * channels; i++) p[i] = test_pixel(id, i);
    bytes b = png_make(h, w, channels, p);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
    free(p);
}

/* Header of an IDX file of unsigned bytes. */
static inline bytes idx_header(int rank, const uint32_t *dim)
{
    bytes b = {0};
    bytes_be32(&b, 0x0800u | (uint32_t)rank);
    for (int k = 0; k < rank; k++) bytes_be32(&b, dim[k]);
    return b;
}

/* n images of h x w (test_pixel of id = i + base) and labels i % classes. */
static inline void scratch_idx(const char *root, const char *prefix, int n, int h, int w, int classes, int base)
{
    char name[128];
    bytes b = idx_header(3, (uint32_t[]){(uint32_t)n, (uint32_t)h, (uint32_t)w});
    for (int i = 0; i < n; i++)
        for (int k = 0; k < h * w; k++) bytes_u8(&b, test_pixel(i + base, k));
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", prefix);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
    b = idx_header(1, (uint32_t[]){(uint32_t)n});
    for (int i = 0; i < n; i++) bytes_u8(&b, (unsigned)(i % classes));
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", prefix);
    scratch_write(root, name, b.data, b.count);
    free(b.data);
}

#endif
