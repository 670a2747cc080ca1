/* idx.c - IDX files (MNIST and its like), plain or gzip-compressed.
 *
 * Layout (LeCun, Cortes, Burges, "The MNIST database"): 00 00 dtype rank, then rank big-endian 32-bit
 * sizes, then the data row-major. Only unsigned bytes are read: images (N, H, W) or (N, H, W, 3),
 * labels (N).
 *
 * The header is hostile until proven: sizes are multiplied with a check against what the file can
 * hold, before memory is taken, and the data must end exactly where the header says. Images and
 * labels must agree in number. Class names come from labels.txt beside the files, one a line, and then
 * bound the labels; without it the classes are numbered up to the largest label of the split. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/gunzip.h"
#include "data/source.h"

typedef struct array {
    int rank;
    int64_t dim[4], count; /* count: product of dim */
    uint8_t *data;         /* (count) */
} array;

/* A file, plain or packed. */
typedef struct stream {
    const char *path;
    int fd;
    int64_t file_bytes;
    bool compressed;
    hone_gunzip gz;
} stream;

/* zlib expands by at most 1032 : 1 (a match of 258 bytes in 2 bits), so a tiny file can't ask for terabytes. */
enum { INFLATE_RATIO_MAX = 1032, CHUNK_BYTES = 1 << 17 };

static hone_status stream_open(const char *path, stream *s)
{
    unsigned char magic[2];
    *s = (stream){.path = path};
    HONE_TRY(hone_file_open(path, &s->fd, &s->file_bytes));
    s->compressed = pread(s->fd, magic, 2, 0) == 2 && hone_gunzip_looks(magic, 2);
    hone_status status = s->compressed ? hone_gunzip_open(path, s->fd, CHUNK_BYTES, &s->gz) : HONE_OK;
    if (status != HONE_OK) close(s->fd);
    return status;
}

static void stream_close(stream *s)
{
    if (s->compressed) hone_gunzip_close(&s->gz);
    close(s->fd);
}

/* Reads up to `want` bytes; *have is fewer only at the end of the data. */
static hone_status stream_read(stream *s, void *data, size_t want, size_t *have)
{
    *have = 0;
    if (s->compressed) return hone_gunzip_read(&s->gz, data, want, have);
    for (size_t got = 1; *have < want && got > 0; *have += got)
        HONE_TRY(hone_file_read_some(s->path, s->fd, (char *)data + *have, want - *have, &got));
    return HONE_OK;
}

/* m: the first four bytes. Swapped bytes get a message of their own, because a header written by a
 * little-endian program is the usual mistake. */
static hone_status check_magic(const char *path, const uint8_t m[4], size_t have)
{
    if (have < 4)
        return hone_fail(HONE_ERR_DATA, "fetch the file again", "%s: %zu bytes, too short for an IDX header",
                         hone_shown(path), have);
    if (m[2] == 0 && m[3] == 0 && (m[0] || m[1]))
        return hone_fail(HONE_ERR_DATA, "write the header big-endian",
                         "%s: IDX header with swapped bytes (%02X %02X %02X %02X)", hone_shown(path), m[0], m[1], m[2],
                         m[3]);
    if (m[0] || m[1])
        return hone_fail(HONE_ERR_DATA, "an IDX file begins with 00 00",
                         "%s: not an IDX file (it begins with %02X %02X %02X %02X)", hone_shown(path), m[0], m[1], m[2],
                         m[3]);
    if (m[2] != 0x08)
        return hone_fail(HONE_ERR_DATA, "convert the values to unsigned bytes",
                         "%s: IDX element type 0x%02X; only 0x08 (unsigned byte) is read", hone_shown(path), m[2]);
    if (m[3] < 1 || m[3] > 4)
        return hone_fail(HONE_ERR_DATA, "images have 3 dimensions, labels 1", "%s: IDX array of %d dimensions",
                         hone_shown(path), m[3]);
    return HONE_OK;
}

/* Sizes from the header; their product is held against what the file can contain. */
static hone_status read_dims(stream *s, array *a)
{
    uint8_t head[4 + 16];
    size_t have;
    HONE_TRY(stream_read(s, head, 4, &have));
    HONE_TRY(check_magic(s->path, head, have));
    a->rank = head[3];
    HONE_TRY(stream_read(s, head + 4, 4 * (size_t)a->rank, &have));
    if (have < 4 * (size_t)a->rank)
        return hone_fail(HONE_ERR_DATA, "fetch the file again", "%s: cut in its header", hone_shown(s->path));
    /* bytes that the file can hold at the most */
    uint64_t most = (uint64_t)s->file_bytes * (s->compressed ? INFLATE_RATIO_MAX : 1), count = 1;
    for (int k = 0; k < a->rank; k++) {
        const uint8_t *p = head + 4 + 4 * k;
        a->dim[k] = (int64_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
        if (a->dim[k] == 0)
            return hone_fail(HONE_ERR_DATA, "the file holds no samples", "%s: dimension %d is 0", hone_shown(s->path),
                             k);
        if ((uint64_t)a->dim[k] > most / count) /* also where the product would overflow */
            return hone_fail(HONE_ERR_DATA, "fetch the file again",
                             "%s: its header declares more than the file can hold (dimension %d is %lld)",
                             hone_shown(s->path), k, (long long)a->dim[k]);
        count *= (uint64_t)a->dim[k];
    }
    a->count = (int64_t)count;
    return HONE_OK;
}

/* Exactly what the header declares, no byte more: a longer file belongs to another header. */
static hone_status read_data(stream *s, array *a)
{
    a->data = malloc((size_t)a->count);
    if (!a->data) return hone_no_memory(s->path, (size_t)a->count);
    size_t have, more;
    uint8_t extra;
    HONE_TRY(stream_read(s, a->data, (size_t)a->count, &have));
    if (have < (size_t)a->count)
        return hone_fail(HONE_ERR_DATA, "fetch the file again",
                         "%s: cut: the header declares %lld bytes of data, the file holds %zu", hone_shown(s->path),
                         (long long)a->count, have);
    HONE_TRY(stream_read(s, &extra, 1, &more));
    if (more)
        return hone_fail(HONE_ERR_DATA, "fetch the file again",
                         "%s: longer than its header declares (%lld bytes of data)", hone_shown(s->path),
                         (long long)a->count);
    return HONE_OK;
}

/* A whole array; `rank_least` to `rank_most` are the dimensions that its use allows. On failure
 * nothing is allocated. */
static hone_status array_read(const char *path, int rank_least, int rank_most, array *a)
{
    stream s;
    *a = (array){0};
    HONE_TRY(stream_open(path, &s));
    hone_status status = read_dims(&s, a);
    if (status == HONE_OK && (a->rank < rank_least || a->rank > rank_most))
        status = hone_fail(HONE_ERR_DATA, "images have 3 dimensions, labels 1",
                           "%s: %d dimension(s) where %d are wanted", hone_shown(path), a->rank, rank_least);
    if (status == HONE_OK) status = read_data(&s, a);
    stream_close(&s);
    if (status != HONE_OK) {
        free(a->data);
        a->data = NULL;
    }
    return status;
}

/* "FOLDER/train-images-idx3-ubyte.gz" and its spellings; NULL if there is none (or no memory). */
static char *find_file(const char *folder, hone_split split, const char *kind, int rank)
{
    static const char *const prefix[HONE_SPLIT_COUNT][3] = {
        {"train", NULL}, {"val", "valid", "validation"}, {"t10k", "test", NULL}};
    static const char *const form[4] = {"%s-%s-idx%d-ubyte", "%s-%s-idx%d-ubyte.gz", "%s-%s.idx%d-ubyte",
                                        "%s-%s.idx%d-ubyte.gz"};
    for (int p = 0; p < 3 && prefix[split][p]; p++)
        for (int f = 0; f < 4; f++) {
            char name[80];
            snprintf(name, sizeof name, form[f], prefix[split][p], kind, rank);
            char *path = hone_path_join(folder, name);
            if (path && hone_path_look(path, NULL) != HONE_PATH_MISSING) return path;
            free(path);
        }
    return NULL;
}

/* idx4: (N, H, W, 3), a common extension for colour. */
static char *find_images(const char *folder, hone_split split)
{
    char *path = find_file(folder, split, "images", 3);
    return path ? path : find_file(folder, split, "images", 4);
}

/* The labels that belong to ".../x-images-idx3-ubyte.gz": NULL if the name has no such form. */
static char *labels_of(const char *images)
{
    char *path = malloc(strlen(images) + 8);
    const char *base = hone_path_base(images), *word = strstr(base, "images");
    if (!path || !word) {
        free(path);
        return NULL;
    }
    sprintf(path, "%.*slabels%s", (int)(word - images), images, word + strlen("images"));
    /* idx3 or idx4 of the images is idx1 of the labels */
    char *rank = strstr(path + (word - images), "idx");
    if (rank && (rank[3] == '3' || rank[3] == '4')) rank[3] = '1';
    return path;
}

/* Files by their first bytes, folders by the names of the files inside. Three or four dimensions: a
 * labels file alone is no data set. */
bool hone_idx_looks(const char *path)
{
    hone_path_kind kind = hone_path_look(path, NULL);
    if (kind == HONE_PATH_FILE) {
        stream s;
        uint8_t head[4] = {1};
        size_t have = 0;
        if (stream_open(path, &s) != HONE_OK) return false;
        hone_status read = stream_read(&s, head, 4, &have);
        stream_close(&s);
        return read == HONE_OK && have == 4 && !head[0] && !head[1] && head[2] >= 8 && head[2] <= 14 && head[3] >= 3;
    }
    for (int split = 0; kind == HONE_PATH_FOLDER && split < HONE_SPLIT_COUNT; split++) {
        char *file = find_images(path, (hone_split)split);
        free(file);
        if (file) return true;
    }
    return false;
}

/* Class names beside the images, else numbers up to the largest label. */
static hone_status name_classes(hone_source *s, const char *images, const char *labels_path, const array *labels)
{
    int largest = 0; /* label that occurs; unsigned bytes, so never negative */
    for (int64_t i = 0; i < labels->count; i++)
        if (labels->data[i] > largest) largest = labels->data[i];
    char *folder = strdup(images), *list = NULL;
    if (!folder) return hone_no_memory("a path", 0);
    *(char *)hone_path_base(folder) = '\0';
    list = hone_path_join(*folder ? folder : ".", "labels.txt");
    free(folder);
    if (!list) return hone_no_memory("a path", 0);
    hone_status status = HONE_OK;
    if (hone_path_look(list, NULL) == HONE_PATH_MISSING) status = hone_source_number_classes(s, largest + 1);
    else status = hone_lines_read(list, &s->classes);
    if (status == HONE_OK && largest >= s->classes.count) {
        int64_t i = 0;
        while (labels->data[i] < s->classes.count) i++;
        status = hone_fail(HONE_ERR_DATA, "add the missing names or mend the labels",
                           "%s#%lld: label %d is out of range: %s names %d classes", hone_shown(labels_path),
                           (long long)i, labels->data[i], hone_shown(list), s->classes.count);
    }
    free(list);
    return status;
}

/* Both arrays of one split into the source. Sizes are held against the limits for images, since a pool
 * of 1 x 4,000,000,000 pixels would pass every check on the file. */
static hone_status build(hone_source *s, const char *images_path, const char *labels_path)
{
    /* A pool of images that passes the limits of one image is a pool that the resize can work on. */
    array images = {0}, labels = {0};
    hone_status status = array_read(labels_path, 1, 1, &labels); /* small: read first, so that errors come quickly */
    if (status == HONE_OK) status = array_read(images_path, 3, 4, &images);
    if (status != HONE_OK) goto done;
    s->raw = images.data; /* owned by the source from here, whatever happens */
    s->count = images.dim[0];
    s->height = images.dim[1] <= HONE_IMAGE_SIDE_MAX ? (int)images.dim[1] : 0;
    s->width = images.dim[2] <= HONE_IMAGE_SIDE_MAX ? (int)images.dim[2] : 0;
    s->channels = images.rank == 4 ? (int)images.dim[3] : 1;
    if (!s->height || !s->width || (int64_t)s->height * s->width > HONE_IMAGE_PIXELS_MAX ||
        (s->channels != 1 && s->channels != 3)) {
        status = hone_fail(HONE_ERR_DATA, "images are (N, H, W) or (N, H, W, 3)",
                           "%s: images of %lld x %lld x %d are not supported", hone_shown(images_path),
                           (long long)images.dim[1], (long long)images.dim[2], s->channels);
    } else if (labels.count != images.dim[0]) {
        status = hone_fail(HONE_ERR_DATA, "images and labels must be of the same set",
                           "%s has %lld images, but %s has %lld labels", hone_shown(images_path),
                           (long long)images.dim[0], hone_shown(labels_path), (long long)labels.count);
    } else if (!(s->label = malloc((size_t)labels.count * sizeof *s->label))) {
        status = hone_no_memory("labels", (size_t)labels.count * sizeof *s->label);
    } else {
        for (int64_t i = 0; i < labels.count; i++) s->label[i] = labels.data[i];
        status = name_classes(s, images_path, labels_path, &labels);
    }
done:
    free(labels.data);
    return status;
}

/* NULL in *out: this split is not there. An explicit path (whole) may name the images file itself, or a
 * folder whose files are called after another split. */
hone_status hone_idx_open(const char *path, hone_split split, bool whole, hone_source **out)
{
    *out = NULL;
    /* the images file itself may be named: data.test: path/to/x-images-idx3-ubyte.gz */
    bool is_file = whole && hone_path_look(path, NULL) == HONE_PATH_FILE;
    char *images = is_file ? strdup(path) : find_images(path, split);
    if (!images && whole) /* data.val: FOLDER whose files are called train-..., or the reverse */
        for (int k = 0; !images && k < HONE_SPLIT_COUNT; k++) images = find_images(path, (hone_split)k);
    if (!images) return HONE_OK;
    char *labels = labels_of(images);
    hone_source *s = hone_source_new(hone_path_base(images));
    hone_status status = HONE_OK;
    if (!s) status = hone_no_memory("a data set", 0);
    else if (!labels)
        status = hone_fail(HONE_ERR_DATA, "name the files x-images-idx3-ubyte and x-labels-idx1-ubyte",
                           "%s: no way to tell the file of its labels", hone_shown(images));
    else {
        if (hone_path_look(labels, NULL) == HONE_PATH_MISSING &&
            strlen(labels) > 3) { /* one of the two may be compressed */
            size_t n = strlen(labels);
            if (strcmp(labels + n - 3, ".gz") == 0) labels[n - 3] = '\0';
            else strcat(labels, ".gz"); /* labels_of left room */
        }
        status = build(s, images, labels);
    }
    if (status == HONE_OK) hone_source_hash_raw(s);
    free(images);
    free(labels);
    if (status != HONE_OK) {
        hone_source_free(s);
        return status;
    }
    *out = s;
    return HONE_OK;
}
