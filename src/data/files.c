/* files.c - see files.h. Knows no format; every failure names the path.
 *
 * Readers of data sets go through here, so that the rules stand in one place: sorted listings, no
 * hidden names, regular files only, limits before allocation, names escaped in messages. Writing is
 * src/io's. */
#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"

/* Takes over `owned`, which may be NULL after a failed allocation. */
static hone_status names_take(hone_names *n, char *owned)
{
    if (owned && n->count == n->capacity) { /* doubling, as folders may hold a million names */
        int capacity = n->capacity ? 2 * n->capacity : 16;
        char **item = realloc(n->item, (size_t)capacity * sizeof *item);
        if (item) {
            n->item = item;
            n->capacity = capacity;
        }
    }
    if (!owned || n->count == n->capacity) {
        free(owned);
        return hone_no_memory("a list of names", (size_t)n->count * sizeof *n->item);
    }
    n->item[n->count++] = owned;
    return HONE_OK;
}

/* The list owns a copy, so callers may pass buffers of their own. */
hone_status hone_names_add(hone_names *n, const char *text) { return names_take(n, hone_strdup(text)); }

/* The same, formatted; the text may be of any length. */
hone_status hone_names_addf(hone_names *n, const char *fmt, ...)
{
    hone_text t = {0};
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    return names_take(n, hone_text_take(&t));
}

/* By bytes: for UTF-8 that is the order of code points, which Python's sorted() and so torchvision use.
 * A locale must not change the class numbers. */
static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* By bytes, not by locale: class numbers must be the same on every machine. */
void hone_names_sort(hone_names *n)
{
    if (n->count > 1) qsort(n->item, (size_t)n->count, sizeof *n->item, compare_names);
}

/* Linear: lists that are searched hold class names, and mostly hit at once. */
int hone_names_find(const hone_names *n, const char *text)
{
    for (int k = 0; k < n->count; k++)
        if (strcmp(n->item[k], text) == 0) return k;
    return -1;
}

/* Fine on a zeroed one. */
void hone_names_free(hone_names *n)
{
    for (int k = 0; k < n->count; k++) free(n->item[k]);
    free(n->item);
    *n = (hone_names){0};
}

/* stat, not open: looking at a FIFO or a device must have no effect on it. */
hone_path_kind hone_path_look(const char *path, int64_t *bytes)
{
    /* what can't be looked at (permissions) counts as missing; opening it later says why */
    struct stat s;
    if (bytes) *bytes = 0;
    if (stat(path, &s) != 0) return HONE_PATH_MISSING;
    if (S_ISDIR(s.st_mode)) return HONE_PATH_FOLDER;
    if (!S_ISREG(s.st_mode)) return HONE_PATH_OTHER;
    if (bytes) *bytes = (int64_t)s.st_size;
    return HONE_PATH_FILE;
}

/* "a/" and "a" give the same. */
char *hone_path_join(const char *folder, const char *name)
{
    hone_text t = {0};
    size_t n = strlen(folder);
    hone_text_add(&t, "%s%s%s", folder, n && folder[n - 1] != '/' ? "/" : "", name);
    char *path = hone_text_take(&t);
    if (!path) (void)hone_no_memory("a path", n);
    return path;
}

bool hone_memory_failed(void) { return strncmp(hone_error_message(), "no memory for ", 14) == 0; }

/* Points into `path`. */
const char *hone_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The order of readdir is the file system's; sorting makes sample ids the same on every machine. Dot
 * names are .DS_Store, ._x.png and the like, which no one means as data. */
hone_status hone_folder_list(const char *path, hone_names *out)
{
    DIR *dir = opendir(path);
    if (!dir && errno == ENOMEM) return hone_no_memory("a folder's names", 0);
    if (!dir)
        return hone_fail(HONE_ERR_DATA, "check the path and its permissions", "%s: %s", hone_shown(path),
                         strerror(errno));
    hone_status s = HONE_OK;
    for (struct dirent *e; s == HONE_OK && (e = readdir(dir));)
        if (e->d_name[0] != '.') s = hone_names_add(out, e->d_name);
    closedir(dir);
    hone_names_sort(out);
    return s;
}

/* The check is made on the open descriptor, so that a file can't be swapped for a FIFO in between. */
hone_status hone_file_open(const char *path, int *fd, int64_t *bytes)
{
    /* O_NONBLOCK: opening a FIFO that nobody writes must not hang; it means nothing to a file. */
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        return hone_fail(HONE_ERR_DATA, "check the path and its permissions", "%s: %s", hone_shown(path),
                         strerror(errno));
    struct stat s;
    if (fstat(*fd, &s) != 0 || !S_ISREG(s.st_mode)) {
        close(*fd);
        *fd = -1;
        return hone_fail(HONE_ERR_DATA, "only regular files are read", "%s: not a regular file", hone_shown(path));
    }
    *bytes = (int64_t)s.st_size;
    return HONE_OK;
}

hone_status hone_file_read_some(const char *path, int fd, void *data, size_t want, size_t *got)
{
    ssize_t n;
    /* a signal that only sets the stop flag must not look like a broken disk */
    do n = read(fd, data, want);
    while (n < 0 && errno == EINTR);
    if (n < 0) return hone_fail(HONE_ERR_DATA, "check the disk", "%s: %s", hone_shown(path), strerror(errno));
    *got = (size_t)n;
    return HONE_OK;
}

/* Reads exactly `want` bytes; short reads go on. */
static hone_status read_exactly(int fd, const char *path, uint8_t *data, size_t want)
{
    for (size_t have = 0, got = 0; have < want; have += got) {
        HONE_TRY(hone_file_read_some(path, fd, data + have, want - have, &got));
        if (got == 0)
            return hone_fail(HONE_ERR_DATA, "leave the data alone while it is read",
                             "%s: ended after %zu of %zu bytes: it shrank while it was read", hone_shown(path), have,
                             want);
    }
    return HONE_OK;
}

/* The size of fstat is what is read: a file that grows meanwhile is cut there (its decoder complains),
 * one that shrinks is an error of read_exactly. One byte more is allocated for the NUL. */
hone_status hone_bytes_read(const char *path, size_t limit, uint8_t **data, size_t *bytes)
{
    int fd;
    int64_t size;
    *data = NULL;
    *bytes = 0;
    HONE_TRY(hone_file_open(path, &fd, &size));
    hone_status s = HONE_OK;
    if ((uint64_t)size > limit)
        s = hone_fail(HONE_ERR_DATA, "no file of this kind is that large", "%s: %lld bytes, at most %zu are read",
                      hone_shown(path), (long long)size, limit);
    else if (!(*data = malloc((size_t)size + 1))) s = hone_no_memory("a file's content", (size_t)size);
    else s = read_exactly(fd, path, *data, (size_t)size);
    close(fd);
    if (s != HONE_OK) {
        free(*data);
        *data = NULL;
        return s;
    }
    (*data)[size] = 0; /* so that text can be scanned as a string */
    *bytes = (size_t)size;
    return HONE_OK;
}

/* One open a part: the caller may be one of many threads, and a data set may have thousands of archives. */
hone_status hone_bytes_read_part(const char *path, int64_t offset, size_t bytes, uint8_t **data)
{
    int fd;
    int64_t size;
    *data = NULL;
    HONE_TRY(hone_file_open(path, &fd, &size));
    hone_status s = HONE_OK;
    if (offset > size || (uint64_t)(size - offset) < bytes)
        s = hone_fail(HONE_ERR_DATA, "leave the data alone while it is read", "%s: became shorter since it was listed",
                      hone_shown(path));
    else if (!(*data = malloc(bytes + 1))) s = hone_no_memory("a part of a file", bytes);
    else if (lseek(fd, offset, SEEK_SET) < 0)
        s = hone_fail(HONE_ERR_DATA, "check the disk", "%s: %s", hone_shown(path), strerror(errno));
    else s = read_exactly(fd, path, *data, bytes);
    close(fd);
    if (s != HONE_OK) {
        free(*data);
        *data = NULL;
        return s;
    }
    (*data)[bytes] = 0;
    return HONE_OK;
}

/* Windows line ends and a byte order mark are common in lists made by hand. Blank lines in the middle
 * are kept: they are class names that check_class_names refuses, rather than a silent shift. */
hone_status hone_lines_read(const char *path, hone_names *out)
{
    uint8_t *data;
    size_t bytes;
    HONE_TRY(hone_bytes_read(path, 1 << 20, &data, &bytes));
    char *line = (char *)data;
    hone_status s = HONE_OK;
    if (strlen(line) != bytes)
        s = hone_fail(HONE_ERR_DATA, "it must be plain text", "%s: contains a NUL byte", hone_shown(path));
    if (s == HONE_OK && memcmp(line, "\xEF\xBB\xBF", bytes < 3 ? bytes : 3) == 0 && bytes >= 3) line += 3;
    while (s == HONE_OK && *line) {
        char *end = line + strcspn(line, "\n");
        char *next = *end ? end + 1 : end;
        while (end > line && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t')) end--;
        *end = '\0';
        s = hone_names_add(out, line);
        line = next;
    }
    while (s == HONE_OK && out->count && !*out->item[out->count - 1]) free(out->item[--out->count]);
    free(data);
    return s;
}

/* Bytes of the well-formed UTF-8 character at `s`, 0 if it is none (or a control character). */
static int printable_length(const unsigned char *s)
{
    if (*s < 0x80) return *s >= 0x20 && *s != 0x7F;
    int n = *s >= 0xF0 && *s < 0xF5 ? 4 : *s >= 0xE0 && *s < 0xF0 ? 3 : *s >= 0xC2 && *s < 0xE0 ? 2 : 0;
    for (int k = 1; k < n; k++)
        if ((s[k] & 0xC0) != 0x80) return 0;
    return n;
}

/* File names are arbitrary bytes: a newline or an escape sequence must not forge a log line. */
const char *hone_quote(const char *text, char *out, size_t out_bytes)
{
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = printable_length(p);
        size_t need = n ? (size_t)n : 4;
        if (used + need + 4 > out_bytes) { /* cut with an ellipsis rather than in a character */
            memcpy(out + used, "...", 4);
            return out;
        }
        if (n) memcpy(out + used, p, (size_t)n);
        else snprintf(out + used, 5, "\\x%02X", *p);
        used += need;
        p += n ? n : 1;
    }
    out[used] = '\0';
    return out;
}
