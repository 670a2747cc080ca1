/* pack_read.c - opening a pack (pack.h). Nothing in the file is believed before it is checked: every offset must lie within
 * it, every label within the class list, every name must end. The mapping is the source's and goes with it. */
#define XXH_INLINE_ALL
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "config/resize.h"
#include "core/json.h"
#include "core/text.h"
#include "data/pack.h"
#include "data/pack_format.h"

enum { HASH_BYTES_MAX = 256 << 20, HEADER_BYTES_MAX = 256 << 20 };

typedef struct reader {
    const char *path;
    const uint8_t *map;
    int64_t bytes;
    json_t *header, *entry; /* entry: of the wanted split, borrowed                                   */
    hone_source *source;
} reader;

/* What is wrong is for a bug report; the fix is always the same. */
static hone_status broken(const reader *r, const char *what)
{
    return hone_fail(HONE_ERR_DATA, "make it anew: hone data pack", "%s: a broken pack: %s", hone_shown(r->path), what);
}

/* By the first bytes: the ending of the name is the user's. */
bool hone_pack_looks(const char *path)
{
    uint8_t *magic;
    int64_t bytes;
    bool found = false;
    /* anything shorter than the first page is none, and is not opened */
    if (hone_path_look(path, &bytes) != HONE_PATH_FILE || bytes < HONE_PACK_PAGE) return false;
    if (hone_bytes_read_part(path, 0, 8, &magic) != HONE_OK) return false;
    found = memcmp(magic, HONE_PACK_MAGIC, 8) == 0;
    free(magic);
    return found;
}

/* A count or an offset of `object`; -1: not there, or negative. */
static int64_t number(const json_t *object, const char *key)
{
    /* JSON numbers with a point or exponent are no offsets */
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
}

/* `count` items of `item` bytes at the offset that `key` names; NULL: they do not lie within the file. */
static const uint8_t *column(const reader *r, const char *key, int64_t count, int64_t item)
{
    int64_t at = number(r->entry, key);
    /* aligned as written: an offset in the middle of something else is no offset */
    if (at < HONE_PACK_PAGE || at % HONE_PACK_PAGE || at > r->bytes || count < 0) return NULL;
    /* divided, not multiplied: a count of 2^60 must not wrap around */
    if (item && count > (r->bytes - at) / item) return NULL;
    return r->map + at;
}

/* Read only and shared: pages belong to the system's cache, and writing to a pixel is a fault at once. */
static hone_status map_file(reader *r)
{
    int fd;
    HONE_TRY(hone_file_open(r->path, &fd, &r->bytes));
    /* the size of fstat: a file that shrinks later is the user's to leave alone, as the manual says */
    void *map = MAP_FAILED;
    hone_status s = HONE_OK;
    if (r->bytes < (int64_t)(HONE_PACK_PAGE + sizeof(hone_pack_tail))) s = broken(r, "it is too short");
    else if ((map = mmap(NULL, (size_t)r->bytes, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
        s = hone_fail(HONE_ERR_RUNTIME, "raise the limit on address space (ulimit -v)", "%s: %s", hone_shown(r->path),
                      strerror(errno));
    /* the mapping keeps the file */
    close(fd);
    if (s == HONE_OK) {
        r->map = map;
        r->source->map = map;
        r->source->map_bytes = (size_t)r->bytes;
    }
    return s;
}

/* From the end: a file that was cut has no tail, whatever else is in it. */
static hone_status read_header(reader *r)
{
    hone_pack_tail tail;
    uint32_t version;
    memcpy(&tail, r->map + r->bytes - (int64_t)sizeof tail, sizeof tail);
    memcpy(&version, r->map + 8, sizeof version);
    if (memcmp(r->map, HONE_PACK_MAGIC, 8) != 0) return broken(r, "it does not begin as one");
    if (memcmp(tail.magic, HONE_PACK_MAGIC, 8) != 0) return broken(r, "its end is missing");
    /* named by itself: a newer file is not a broken one */
    if (version != HONE_PACK_VERSION)
        return hone_fail(HONE_ERR_DATA, "make it anew with this version: hone data pack", "%s: version %u, expected %d",
                         hone_shown(r->path), version, HONE_PACK_VERSION);
    /* the header must end where the tail begins: nothing can be put between */
    uint64_t most = (uint64_t)r->bytes - sizeof tail;
    if (tail.bytes > HEADER_BYTES_MAX || tail.offset > most || tail.bytes != most - tail.offset)
        return broken(r, "its header is not where it should be");
    /* hashed before it is parsed, so that damage is called damage */
    const char *text = (const char *)r->map + tail.offset;
    if (XXH3_64bits(text, tail.bytes) != tail.hash) return broken(r, "its header was changed");
    HONE_TRY(hone_json_parse(text, tail.bytes, JSON_REJECT_DUPLICATES, &r->header, &(json_error_t){0}));
    return json_is_object(r->header) ? HONE_OK : broken(r, "its header is no JSON object");
}

/* Class list and shape, the same for all splits. */
static hone_status read_common(reader *r)
{
    hone_source *s = r->source;
    /* NULL reads as an empty array, which is refused below */
    const json_t *classes = json_object_get(r->header, "classes");
    const char *resize = json_string_value(json_object_get(r->header, "resize"));
    int64_t h = number(r->header, "height"), w = number(r->header, "width"), c = number(r->header, "channels");
    /* the limits of one image hold here, too: the product below can't overflow */
    if (h < 1 || w < 1 || h > HONE_IMAGE_SIDE_MAX || w > HONE_IMAGE_SIDE_MAX || h * w > HONE_IMAGE_PIXELS_MAX ||
        (c != 1 && c != 3))
        return broken(r, "sizes out of range");
    if (!hone_resize_of(resize, &s->resize)) return broken(r, "an unknown resize rule");
    /* open.c refuses a page that wants another size or rule */
    s->packed = true;
    s->height = (int)h;
    s->width = (int)w;
    s->channels = (int)c;
    for (size_t k = 0; k < json_array_size(classes); k++) {
        const char *name = json_string_value(json_array_get(classes, k));
        if (!name) return broken(r, "a class without a name");
        HONE_TRY(hone_names_add(&s->classes, name));
    }
    return s->classes.count ? HONE_OK : broken(r, "no classes");
}

/* What the writer hashed while it wrote; a missing figure is a wrong one. */
static bool hash_is(const reader *r, const char *key, uint64_t hash)
{
    const char *said = json_string_value(json_object_get(r->entry, key));
    return said && strtoull(said, NULL, 16) == hash;
}

/* Over labels, weights and names, one behind the other. */
static hone_status check_columns(const reader *r, const uint8_t *labels, const uint8_t *weights, const uint8_t *names,
                                 int64_t names_bytes)
{
    /* int32 and float alike */
    size_t column = (size_t)r->source->count * 4;
    XXH3_state_t *h = XXH3_createState();
    if (!h) return hone_no_memory("a hash", 0);
    XXH3_64bits_reset(h);
    XXH3_64bits_update(h, labels, column);
    if (weights) XXH3_64bits_update(h, weights, column);
    XXH3_64bits_update(h, names, (size_t)names_bytes);
    uint64_t hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return hash_is(r, "columns_xxh3", hash) ? HONE_OK : broken(r, "its labels or names were changed");
}

/* The samples' columns; names are copied, pixels are not. */
static hone_status read_split(reader *r)
{
    hone_source *s = r->source;
    int64_t bytes = (int64_t)s->height * s->width * s->channels, names_bytes = number(r->entry, "names_bytes");
    s->count = number(r->entry, "count");
    if (s->count < 1 || s->count > INT32_MAX) return broken(r, "a split without samples");
    const uint8_t *pixels = column(r, "pixels", s->count, bytes), *labels = column(r, "labels", s->count, 4);
    const uint8_t *names = column(r, "names", names_bytes, 1);
    /* not there: all samples weigh 1 */
    const uint8_t *weights = json_object_get(r->entry, "weights") ? column(r, "weights", s->count, 4) : NULL;
    /* one message for all: which of them it was helps nobody who can only pack anew */
    if (!pixels || !labels || !names || (json_object_get(r->entry, "weights") && !weights))
        return broken(r, "data beyond its end");
    HONE_TRY(check_columns(r, labels, weights, names, names_bytes));
    s->label = malloc((size_t)s->count * sizeof *s->label);
    if (weights) s->weight = malloc((size_t)s->count * sizeof *s->weight);
    if (!s->label || (weights && !s->weight)) return hone_no_memory("labels", (size_t)s->count * 4);
    memcpy(s->label, labels, (size_t)s->count * 4);
    if (weights) memcpy(s->weight, weights, (size_t)s->count * 4);
    /* the hash says that they are the writer's, not that the writer was ours */
    for (int64_t i = 0; i < s->count; i++)
        if (s->label[i] < 0 || s->label[i] >= s->classes.count) return broken(r, "a label beyond its classes");
    for (int64_t i = 0; weights && i < s->count; i++)
        if (!(s->weight[i] >= 0) || s->weight[i] > 3.0e38f) return broken(r, "a weight that is none");
    /* the count says how many there must be; what is behind the last one is not looked at */
    const char *at = (const char *)names, *end = at + names_bytes;
    for (int64_t i = 0; i < s->count; i++) {
        const char *stop = memchr(at, 0, (size_t)(end - at));
        if (!stop) return broken(r, "a name without an end");
        HONE_TRY(hone_names_add(&s->files, at));
        at = stop + 1;
    }
    s->raw = (uint8_t *)(uintptr_t)pixels; /* read only: the mapping is */
    /* as for fingerprints of folders: reading a terabyte before the first step is no option */
    if (r->bytes > HASH_BYTES_MAX) return HONE_OK;
    return hash_is(r, "pixels_xxh3", XXH3_64bits(pixels, (size_t)(s->count * bytes)))
               ? HONE_OK
               : broken(r, "its pixels were changed");
}

/* Header and labels: pixels are in it by their hash. */
static hone_status take_hash(reader *r)
{
    hone_source *s = r->source;
    char *text;
    HONE_TRY(hone_json_print(json_incref(r->header), JSON_COMPACT | JSON_SORT_KEYS, "the hash of a pack", &text));
    uint64_t h = XXH3_64bits(s->label, (size_t)s->count * sizeof *s->label);
    if (s->weight) h = XXH3_64bits_withSeed(s->weight, (size_t)s->count * sizeof *s->weight, h);
    s->hash = XXH3_64bits_withSeed(text, strlen(text), h);
    free(text);
    return HONE_OK;
}

/* Each split opens the file by itself: mappings of the same file share their pages. */
static hone_status read_pack(reader *r, hone_split split)
{
    HONE_TRY(map_file(r));
    HONE_TRY(read_header(r));
    HONE_TRY(read_common(r));
    const json_t *splits = json_object_get(r->header, "splits");
    for (size_t k = 0; k < json_array_size(splits); k++) {
        json_t *entry = json_array_get(splits, k);
        /* a name twice: the last one counts, and both were checked by the hash */
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, hone_split_name(split)) == 0) r->entry = entry;
    }
    if (!r->entry) return HONE_OK; /* that split is not there */
    HONE_TRY(read_split(r));
    return take_hash(r);
}

/* A file that is named as a split by itself (data.val: x.pack) was packed from one set: its train. */
hone_status hone_pack_open(const char *path, hone_split split, bool whole, hone_source **out)
{
    reader r = {.path = path, .source = hone_source_new(hone_path_base(path))};
    *out = NULL;
    if (!r.source) return hone_no_memory("a data set", 0);
    hone_status s = read_pack(&r, whole ? HONE_SPLIT_TRAIN : split);
    /* borrowed from the header, which goes first */
    bool there = r.entry != NULL;
    json_decref(r.header);
    if (s == HONE_OK && there) *out = r.source;
    else hone_source_free(r.source);
    return s;
}
