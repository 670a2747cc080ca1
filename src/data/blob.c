/* blob.c - see blob.h. Knows packings and encodings, no table format.
 *
 * Output grows by doubling and input goes through one small buffer, so the cost beyond the content is
 * constant. Both decoders check the sums that their formats carry; a stream that ends early or is
 * followed by anything but another member is an error, never a shorter data set. */
#define XXH_INLINE_ALL
#include "data/blob.h"

#include <lzma.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "data/files.h"
#include "data/gunzip.h"
#include "data/utf8.h"

/* 256 KiB at a time keep the decoder's input in the second-level cache. A dictionary of more than 512 MiB is what no
 * tool writes unasked (xz -9 has 64): it is a way to exhaust memory. */
enum { CHUNK_BYTES = 256 << 10, XZ_MEMORY_BYTES = 600 << 20, TAIL = 2 };

/* One file on its way into memory. */
typedef struct unpack {
    const char *path;
    int fd;
    size_t chunk, limit;
    uint8_t *in; /* (chunk) of xz: what was read last                                                */
    size_t in_bytes;
    bool end;               /* the file has ended                                                         */
    char *out;              /* (capacity) the content so far; becomes the blob's memory                    */
    size_t bytes, capacity; /* of out: used, allocated                                                     */
} unpack;

/* Texts stay in memory, so that is what a user can change. */
static hone_status no_room(const unpack *u, size_t bytes)
{
    return hone_fail(HONE_ERR_MEMORY, "texts are held in memory: use a part of the data, or a machine with more",
                     "%s: no memory for %zu bytes of text", hone_shown(u->path), bytes);
}

/* Room for at least one byte more, and for the tail; a bomb meets the limit here. */
static hone_status grow(unpack *u)
{
    if (u->bytes > u->limit)
        return hone_fail(HONE_ERR_DATA, "raise data.memory_limit_mb, or use a part of the data",
                         "%s: more than %zu bytes of text", hone_shown(u->path), u->limit);
    if (u->bytes + TAIL < u->capacity) return HONE_OK;
    /* doubling: memory in use stays below twice the text, which the limit bounds */
    size_t capacity = 2 * u->capacity + 4096;
    char *out = realloc(u->out, capacity);
    if (!out) return no_room(u, capacity);
    u->out = out;
    u->capacity = capacity;
    return HONE_OK;
}

/* The next stretch of packed bytes. */
static hone_status refill(unpack *u)
{
    HONE_TRY(hone_file_read_some(u->path, u->fd, u->in, u->chunk, &u->in_bytes));
    u->end = u->in_bytes == 0;
    return HONE_OK;
}

/* Straight into its place; the size of fstat is what is read, as in hone_bytes_read. */
static hone_status unpack_plain(unpack *u, size_t size)
{
    /* told by size before anything is allocated */
    if (size > u->limit)
        return hone_fail(HONE_ERR_DATA, "raise data.memory_limit_mb, or use a part of the data",
                         "%s: %zu bytes of text, at most %zu are read", hone_shown(u->path), size, u->limit);
    u->capacity = size + TAIL + 1;
    u->out = malloc(u->capacity);
    if (!u->out) return no_room(u, size);
    while (u->bytes < size) {
        size_t got = 0;
        size_t want = size - u->bytes < u->chunk ? size - u->bytes : u->chunk;
        HONE_TRY(hone_file_read_some(u->path, u->fd, u->out + u->bytes, want, &got));
        if (got == 0)
            return hone_fail(HONE_ERR_DATA, "leave the data alone while it is read",
                             "%s: ended after %zu of %zu bytes: it shrank while it was read", hone_shown(u->path),
                             u->bytes, size);
        u->bytes += got;
    }
    return HONE_OK;
}

/* gzip: as much as there is room for, until the last member has ended with its sum. */
static hone_status unpack_gzip(unpack *u)
{
    hone_gunzip g;
    HONE_TRY(hone_gunzip_open(u->path, u->fd, u->chunk, &g));
    hone_status s = HONE_OK;
    while (s == HONE_OK && !g.ended) {
        size_t have = 0;
        s = grow(u);
        if (s == HONE_OK) s = hone_gunzip_read(&g, u->out + u->bytes, u->capacity - u->bytes - TAIL, &have);
        u->bytes += have;
    }
    hone_gunzip_close(&g);
    return s;
}

/* What liblzma says in numbers. */
static const char *xz_fault(lzma_ret code)
{
    return code == LZMA_BUF_ERROR        ? "the xz file is cut off"
           : code == LZMA_MEMLIMIT_ERROR ? "the xz file wants a dictionary of more than 512 MiB"
           : code == LZMA_OPTIONS_ERROR  ? "the xz file uses a filter that is not known here"
                                         : "broken xz data";
}

/* xz: several streams and padding are the library's to handle (LZMA_CONCATENATED). */
static hone_status unxz(unpack *u, lzma_stream *z)
{
    for (lzma_ret code = LZMA_OK; code != LZMA_STREAM_END;) {
        if (z->avail_in == 0 && !u->end) {
            HONE_TRY(refill(u));
            z->next_in = u->in;
            z->avail_in = u->in_bytes;
        }
        HONE_TRY(grow(u));
        size_t room = u->capacity - u->bytes - TAIL;
        z->next_out = (uint8_t *)u->out + u->bytes;
        z->avail_out = room;
        /* with LZMA_FINISH the decoder itself reports an end that comes too early */
        code = lzma_code(z, u->end ? LZMA_FINISH : LZMA_RUN);
        u->bytes += room - z->avail_out;
        if (code != LZMA_OK && code != LZMA_STREAM_END)
            return hone_fail(HONE_ERR_DATA, "bring the file anew", "%s: %s", hone_shown(u->path), xz_fault(code));
    }
    return HONE_OK;
}

/* The limit on memory is for the dictionary, which the file chooses. */
static hone_status unpack_xz(unpack *u)
{
    lzma_stream z = LZMA_STREAM_INIT;
    u->in = malloc(u->chunk);
    if (!u->in) return no_room(u, u->chunk);
    if (lzma_stream_decoder(&z, XZ_MEMORY_BYTES, LZMA_CONCATENATED) != LZMA_OK) return no_room(u, 0);
    hone_status s = unxz(u, &z);
    lzma_end(&z);
    return s;
}

/* First bytes of what is no plain text, and what to do about it. */
static const struct {
    const char *magic;
    size_t bytes;
    const char *name, *fix;
} container[] = {
    {"PK\3\4", 4, "a zip archive (or a spreadsheet)", "unpack it, or save the sheet as CSV (UTF-8)"},
    {"\x28\xB5\x2F\xFD", 4, "zstd", "unpack it (zstd -d), or pack it by gzip or xz"},
    {"BZh", 3, "bzip2", "unpack it (bunzip2), or pack it by gzip or xz"},
    {"7z\xBC\xAF", 4, "a 7z archive", "unpack it"},
    {"PAR1", 4, "parquet", "save it as CSV or JSONL"},
    {"%PDF-", 5, "PDF", "extract its text"},
    {"\xD0\xCF\x11\xE0", 4, "an old office document", "save it as CSV (UTF-8)"},
};

/* Encodings that announce themselves; longest first, as UTF-32's little mark begins like UTF-16's. */
static const struct {
    const char *mark;
    size_t bytes;
    const char *name, *iconv;
} encoding[] = {
    {"\xFF\xFE\0\0", 4, "UTF-32 (little-endian)", "UTF-32"},
    {"\0\0\xFE\xFF", 4, "UTF-32 (big-endian)", "UTF-32"},
    {"\xFF\xFE", 2, "UTF-16 (little-endian)", "UTF-16"},
    {"\xFE\xFF", 2, "UTF-16 (big-endian)", "UTF-16"},
};

/* Refuses what is no text by its first bytes; takes the UTF-8 mark away; finds NUL. */
static hone_status look(const char *path, hone_blob *b)
{
    for (size_t k = 0; k < sizeof container / sizeof *container; k++)
        if (b->bytes >= container[k].bytes && memcmp(b->data, container[k].magic, container[k].bytes) == 0)
            return hone_fail(HONE_ERR_DATA, container[k].fix, "%s: this is %s, not text", hone_shown(path),
                             container[k].name);
    for (size_t k = 0; k < sizeof encoding / sizeof *encoding; k++)
        if (b->bytes >= encoding[k].bytes && memcmp(b->data, encoding[k].mark, encoding[k].bytes) == 0) {
            char fix[80];
            snprintf(fix, sizeof fix, "convert it: iconv -f %s -t UTF-8 FILE > NEW", encoding[k].iconv);
            return hone_fail(HONE_ERR_DATA, fix, "%s:1:1: the file is %s, texts must be UTF-8", hone_shown(path),
                             encoding[k].name);
        }
    /* the mark is no part of the first column's name */
    if (b->bytes >= 3 && memcmp(b->data, "\xEF\xBB\xBF", 3) == 0) {
        b->data += 3;
        b->bytes -= 3;
    }
    /* at 30 GB/s this costs nothing, and no reader has to think of NUL again */
    const char *nul = b->bytes ? memchr(b->data, 0, b->bytes) : NULL;
    if (!nul) return HONE_OK;
    uint32_t column, line = hone_blob_line(b, (size_t)(nul - b->data), &column);
    return hone_fail(HONE_ERR_DATA, "is it a binary file, or UTF-16? texts are UTF-8 without NUL",
                     "%s:%u:%u: a NUL byte (byte %zu)", hone_shown(path), line, column, (size_t)(nul - b->data));
}

/* By content: a gzip file called .csv is unpacked like any other. */
static hone_status unpack_any(unpack *u, size_t size)
{
    /* pread leaves the position at the start: all of the file goes through one path afterwards */
    uint8_t magic[6] = {0};
    ssize_t n = pread(u->fd, magic, sizeof magic, 0);
    bool gz = n > 0 && hone_gunzip_looks(magic, (size_t)n);
    bool xz /* the xz format, section 2.1.1.1 */ = n == 6 && memcmp(magic,
                                                                    "\xFD"
                                                                    "7zXZ\0",
                                                                    6) == 0;
    if (gz) return unpack_gzip(u);
    return xz ? unpack_xz(u) : unpack_plain(u, size);
}

/* Takes `memory` (with room for the tail) over: checks it, puts the tail behind it, hashes it. */
static hone_status finish(const char *name, char *memory, size_t bytes, hone_blob *out)
{
    *out = (hone_blob){memory, memory, bytes, 0};
    hone_status s = look(name, out);
    if (s != HONE_OK) {
        free(memory);
        *out = (hone_blob){0};
        return s;
    }
    memcpy(out->data + out->bytes, "\n", 2); /* scans for line ends need no bound of their own */
    out->hash = XXH3_64bits(out->data, out->bytes);
    return HONE_OK;
}

/* One descriptor, one buffer, one pass; nothing is left open or allocated after a failure. */
hone_status hone_blob_read(const char *path, size_t limit, size_t chunk, hone_blob *out)
{
    int64_t size;
    unpack u = {.path = path, .limit = limit, .chunk = chunk ? chunk : CHUNK_BYTES};
    *out = (hone_blob){0};
    HONE_TRY(hone_file_open(path, &u.fd, &size));
    hone_status s = unpack_any(&u, (size_t)size);
    close(u.fd);
    free(u.in);
    if (s == HONE_OK) s = grow(&u); /* an empty file gets its tail, too */
    if (s == HONE_OK) return finish(path, u.out, u.bytes, out);
    free(u.out);
    return s;
}

/* For bytes that come from a pipe or a test. Packed content is not unpacked here. */
hone_status hone_blob_of_bytes(const char *name, const void *data, size_t bytes, hone_blob *out)
{
    char *memory = malloc(bytes + TAIL); /* copied: readers undo escapes in place, and the source may be constant */
    *out = (hone_blob){0};
    if (!memory) return no_room(&(unpack){.path = name}, bytes);
    if (bytes) memcpy(memory, data, bytes);
    return finish(name, memory, bytes, out);
}

/* Counted only for messages, so that readers need not carry it. */
uint32_t hone_blob_line(const hone_blob *b, size_t at, uint32_t *column)
{
    /* a CR alone is no line end here: editors that count it are rare, and columns would be off by a line */
    uint32_t line = 1;
    const char *p = b->data, *end = b->data + at;
    for (const char *q; (q = memchr(p, '\n', (size_t)(end - p))); p = q + 1) line++;
    if (column) *column = (uint32_t)(end - p) + 1;
    return line;
}

/* The line is counted only when there is a fault to tell. */
hone_status hone_blob_check_utf8(const hone_blob *b, const char *name, const char *from, const char *to)
{
    const char *why = NULL;
    size_t bytes = (size_t)(to - from), at = hone_utf8_check(from, bytes, &why);
    if (at == bytes) return HONE_OK;
    /* offsets are of the content: behind a mark, and of the unpacked text */
    size_t place = (size_t)(from - b->data) + at;
    uint32_t column, line = hone_blob_line(b, place, &column);
    return hone_fail(HONE_ERR_DATA, "convert the file (for example: iconv -f ISO-8859-1 -t UTF-8 FILE > NEW)",
                     "%s:%u:%u: not UTF-8: byte 0x%02X at offset %zu: %s", hone_shown(name), line, column,
                     (unsigned char)from[at], place, why);
}
