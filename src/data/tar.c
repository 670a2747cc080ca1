/* tar.c - see tar.h. One pass over the headers; the content of members is skipped, but for long names. */
#include "data/tar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, WINDOW = 64 << 10, NAME_MAX_BYTES = 64 << 10 };

typedef struct reader {
    const char *path;
    int fd;
    int64_t size, at; /* of the archive; where the current header begins                           */
    uint8_t *window;  /* (WINDOW) bytes from window_at on: headers of small members come together       */
    int64_t window_at;
    size_t window_bytes;
    char *name;    /* what a pax or GNU header says of the next member; NULL: nothing                 */
    int64_t bytes; /* -1: nothing                                                                   */
    int64_t odd;
} reader;

static const char cut_hint[] = "fetch the archive again";

/* "shard.tar: byte 1024: ...". */
#define fail_here(r, hint, ...) (hone_fail(HONE_ERR_DATA, (hint), __VA_ARGS__), place((r)), HONE_ERR_DATA)

/* Behind the message was made: errors of all depths get the same beginning. */
static void place(const reader *r) { hone_error_context("%s: byte %lld", hone_shown(r->path), (long long)r->at); }

/* `count` bytes at `offset`, which the caller knows to lie within the file. */
static hone_status get(reader *r, int64_t offset, void *out, size_t count)
{
    uint8_t *to = out;
    while (count) {
        if (offset < r->window_at || offset >= r->window_at + (int64_t)r->window_bytes) {
            /* a window from here on: the header that is wanted next is mostly within it */
            ssize_t n = pread(r->fd, r->window, WINDOW, offset);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0)
                return fail_here(r, "leave the data alone while they are read", "%s",
                                 n < 0 ? strerror(errno) : "the archive shrank while it was read");
            r->window_at = offset;
            r->window_bytes = (size_t)n;
        }
        /* what the window holds of it; the rest needs another window */
        size_t skip = (size_t)(offset - r->window_at), n = r->window_bytes - skip;
        if (n > count) n = count;
        memcpy(to, r->window + skip, n);
        to += n;
        offset += (int64_t)n;
        count -= n;
    }
    return HONE_OK;
}

/* Octal digits, blanks before, a blank or NUL behind; or 0x80 and a big-endian number (GNU, for 8 GiB and more). */
static bool parse_number(const uint8_t *field, size_t width, int64_t *out)
{
    uint64_t v = 0;
    size_t k = 0;
    /* the bit that no digit has */
    if (field[0] & 0x80) {
        if (field[0] != 0x80) return false; /* negative, or beyond 64 bits */
        for (k = 1; k < width; k++) {
            /* the next byte would reach the sign */
            if (v >> 55) return false;
            v = v << 8 | field[k];
        }
        *out = (int64_t)v;
        return true;
    }
    /* blanks before the number: old writers right-justify */
    while (k < width && field[k] == ' ') k++;
    size_t first = k;
    for (; k < width && field[k] >= '0' && field[k] <= '7'; k++) {
        if (v >> 59) return false;
        v = v << 3 | (uint64_t)(field[k] - '0');
    }
    /* no digit at all, or something else behind them */
    if (k == first || (k < width && field[k] != ' ' && field[k] != 0)) return false;
    *out = (int64_t)v;
    return true;
}

/* The sum over the header with its own field as blanks; old writers added the bytes with their sign. */
static bool checksum_is_right(const uint8_t *h)
{
    /* both sums at once: one pass over the header */
    int64_t said, plain = 0, with_sign = 0;
    if (!parse_number(h + 148, 8, &said)) return false;
    for (int k = 0; k < BLOCK; k++) {
        uint8_t v = k >= 148 && k < 156 ? ' ' : h[k];
        plain += v;
        with_sign += (int8_t)v;
    }
    return said == plain || said == with_sign;
}

/* Two such blocks end an archive. */
static bool is_zero(const uint8_t *block)
{
    for (int k = 0; k < BLOCK; k++)
        if (block[k]) return false;
    return true;
}

/* The name that the header itself holds, put together from prefix and name (ustar); at most 256 bytes. */
static void own_name(const uint8_t *h, char *out)
{
    size_t used = 0;
    /* neither field needs a NUL where it is full */
    const char *prefix = (const char *)h + 345;
    if (memcmp(h + 257, "ustar\0", 6) == 0 && *prefix) { /* GNU's "ustar  " has times there */
        used = strnlen(prefix, 155);
        memcpy(out, prefix, used);
        out[used++] = '/';
    }
    size_t n = strnlen((const char *)h, 100);
    memcpy(out + used, h, n);
    out[used + n] = '\0';
}

/* Content of a pax or long-name member; free() it. */
static hone_status read_content(reader *r, int64_t bytes, char **out)
{
    *out = NULL;
    /* a limit before the allocation: the size is the archive's word */
    if (bytes > NAME_MAX_BYTES)
        return fail_here(r, "pack the files anew under shorter names", "a name of %lld bytes", (long long)bytes);
    /* a NUL behind, so that scanning by digits and names can't run out */
    if (!(*out = malloc((size_t)bytes + 1))) return hone_no_memory("a name", (size_t)bytes);
    /* lies within the archive: walk has looked */
    hone_status s = get(r, r->at + BLOCK, *out, (size_t)bytes);
    (*out)[bytes] = '\0';
    if (s != HONE_OK) {
        free(*out);
        *out = NULL;
    }
    return s;
}

/* The name of the next member; it replaces one that another header gave. */
static hone_status set_name(reader *r, const char *name, size_t bytes)
{
    /* the rest behind a NUL would be dropped, and two members could get one name */
    if (memchr(name, 0, bytes)) return fail_here(r, cut_hint, "a name with a NUL byte");
    char *copy = malloc(bytes + 1);
    if (!copy) return hone_no_memory("a name", bytes);
    memcpy(copy, name, bytes);
    copy[bytes] = '\0';
    /* of two headers before one member the later wins, as in GNU tar */
    free(r->name);
    r->name = copy;
    return HONE_OK;
}

/* One record of a pax header, "27 path=some/where.jpg\n" of `length` bytes; `key` behind the blank. */
static hone_status take_record(reader *r, const char *key, const char *end)
{
    /* the value may hold anything but its length is said, so only the key ends at the = */
    const char *equals = memchr(key, '=', (size_t)(end - key));
    if (!equals || end[-1] != '\n') return fail_here(r, cut_hint, "a pax header that is no list of key=value");
    const char *value = equals + 1;
    size_t key_bytes = (size_t)(equals - key), value_bytes = (size_t)(end - 1 - value);
    if (key_bytes == 4 && memcmp(key, "path", 4) == 0) return set_name(r, value, value_bytes);
    /* their content has a map of holes before it: read as it is, it would be another file */
    if (key_bytes >= 10 && memcmp(key, "GNU.sparse", 10) == 0)
        return fail_here(r, "pack the files without --sparse", "a sparse member");
    if (key_bytes != 4 || memcmp(key, "size", 4) != 0) return HONE_OK;
    /* decimal, unlike all numbers of a header */
    int64_t v = 0;
    for (const char *p = value; p < end - 1; p++) {
        if (*p < '0' || *p > '9' || v > INT64_MAX / 10 - 1)
            return fail_here(r, cut_hint, "a pax size that is no number");
        v = v * 10 + (*p - '0');
    }
    r->bytes = v;
    return HONE_OK;
}

/* All records; keys that do not touch path or size are passed over. */
static hone_status take_pax(reader *r, int64_t bytes)
{
    char *text;
    HONE_TRY(read_content(r, bytes, &text));
    hone_status s = HONE_OK;
    for (char *p = text, *end = text + bytes; s == HONE_OK && p < end;) {
        int64_t length = 0;
        char *q = p;
        for (; q < end && *q >= '0' && *q <= '9' && length < NAME_MAX_BYTES * 2; q++) length = length * 10 + (*q - '0');
        /* the length counts itself, the blank and the line end */
        if (q == p || q >= end || *q != ' ' || length <= q + 1 - p || length > end - p)
            s = fail_here(r, cut_hint, "a pax header with a wrong length");
        else s = take_record(r, q + 1, p + length);
        p += length;
    }
    free(text);
    return s;
}

/* GNU's 'L': the content is the name, with a NUL at its end. */
static hone_status take_long_name(reader *r, int64_t bytes)
{
    char *text;
    HONE_TRY(read_content(r, bytes, &text));
    hone_status s = set_name(r, text, strnlen(text, (size_t)bytes));
    free(text);
    return s;
}

/* A member that holds a file. */
static hone_status take_file(reader *r, const uint8_t *h, int64_t bytes, hone_tar_member *member, void *arg)
{
    char own[260];
    const char *name = r->name;
    if (!name) {
        own_name(h, own);
        name = own;
    }
    /* tar -C folder . writes "./7.jpg" */
    while (name[0] == '.' && name[1] == '/') name += 2;
    if (!*name) return fail_here(r, cut_hint, "a member without a name");
    return member(arg, name, r->at + BLOCK, bytes);
}

/* By the type of the header; names that it or one before gave are used up by files only. */
static hone_status take_member(reader *r, const uint8_t *h, int64_t bytes, hone_tar_member *member, void *arg)
{
    hone_status s = HONE_OK;
    switch (h[156]) {
    case 'x': return take_pax(r, bytes);
    case 'L': return take_long_name(r, bytes);
    case 'K': /* the name of a link's target, and what pax says of all members: neither touches files */
    case 'g': return HONE_OK;
    case 0:
    case '0':
    case '7': s = take_file(r, h, bytes, member, arg); break;
    case '5': break;
    case '1':
    case '2':
    case '3':
    case '4':
    case '6': r->odd++; break;
    default:
        s = fail_here(r, "pack the files anew (ustar, pax or GNU format, whole files)",
                      "a member of the type '%c' (%d), which is not supported",
                      h[156] > 32 && h[156] < 127 ? h[156] : '?', h[156]);
    }
    free(r->name);
    r->name = NULL;
    r->bytes = -1;
    return s;
}

/* The rest is zeros: writers fill up to a record of 10 KiB. Two archives put behind each other would lose the second. */
static hone_status check_end(reader *r)
{
    uint8_t block[BLOCK];
    /* mostly a few KiB: this ends at the first block that is not zero */
    for (r->at += BLOCK; r->at < r->size; r->at += BLOCK) {
        size_t n = r->size - r->at < BLOCK ? (size_t)(r->size - r->at) : BLOCK;
        memset(block, 0, sizeof block);
        HONE_TRY(get(r, r->at, block, n));
        if (!is_zero(block))
            return fail_here(r, "keep them as two files, or join them with tar -A",
                             "more data behind the end mark: two archives behind each other?");
    }
    return HONE_OK;
}

/* Every turn looks at one header. */
static hone_status walk(reader *r, hone_tar_member *member, void *arg)
{
    uint8_t h[BLOCK];
    /* of blocks of zeros in a row */
    int zeros = 0;
    for (r->at = 0; zeros < 2;) {
        if (r->size - r->at < BLOCK) return fail_here(r, cut_hint, "the archive ends without its end mark: it is cut");
        HONE_TRY(get(r, r->at, h, BLOCK));
        if (is_zero(h)) {
            if (++zeros == 2) break;
            r->at += BLOCK;
            continue;
        }
        int64_t bytes;
        if (zeros) return fail_here(r, cut_hint, "a single block of zeros within the archive");
        if (!checksum_is_right(h))
            return fail_here(r, cut_hint,
                             r->at ? "no tar header (wrong checksum)" : "not a tar archive (wrong checksum)");
        if (!parse_number(h + 124, 12, &bytes)) return fail_here(r, cut_hint, "a size that is no number");
        /* a pax size is of the file, not of headers between */
        bool is_file = h[156] == 0 || h[156] == '0' || h[156] == '7';
        if (is_file && r->bytes >= 0) bytes = r->bytes;
        /* links and folders hold nothing, whatever their size says */
        if (h[156] >= '1' && h[156] <= '6') bytes = 0;
        if (bytes < 0 || bytes > r->size - r->at - BLOCK)
            return fail_here(r, cut_hint, "a member of %lld bytes, but the archive has %lld more: it is cut",
                             (long long)bytes, (long long)(r->size - r->at - BLOCK));
        /* the member is whole from here on: its callback need not check */
        HONE_TRY(take_member(r, h, bytes, member, arg));
        r->at += BLOCK + (bytes + BLOCK - 1) / BLOCK * BLOCK;
    }
    /* the archive was cut between a long name and its file, and closed by hand */
    if (r->name || r->bytes >= 0) return fail_here(r, cut_hint, "a long name without its member");
    return check_end(r);
}

/* The descriptor lives for the pass alone: members are read later by path and place. */
hone_status hone_tar_index(const char *path, hone_tar_member *member, void *arg, int64_t *odd)
{
    reader r = {.path = path, .bytes = -1};
    HONE_TRY(hone_file_open(path, &r.fd, &r.size));
    r.window = malloc(WINDOW);
    hone_status s = r.window ? walk(&r, member, arg) : hone_no_memory("a tar archive", WINDOW);
    if (odd) *odd = r.odd;
    free(r.window);
    free(r.name);
    close(r.fd);
    return s;
}
