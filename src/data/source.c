/* source.c - see source.h: life and small services of a source; no format. */
#define XXH_INLINE_ALL
#include "data/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "core/text.h"
#include "data/image.h"

enum { LARGE_BYTES = 64 << 20, MAGIC_BYTES = 16 };

/* The names that users type and messages show. */
const char *hone_split_name(hone_split split)
{
    static const char *const name[HONE_SPLIT_COUNT] = {"train", "val", "test"};
    return name[split];
}

/* With one reference, that of the caller. */
hone_source *hone_source_new(const char *name)
{
    hone_source *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->refs = 1;
    s->name = hone_strdup(name);
    if (s->name) return s;
    free(s);
    return NULL;
}

/* Another reference for another view. Counts are not atomic: opening and freeing is one thread's work. */
hone_source *hone_source_share(hone_source *s)
{
    s->refs++;
    return s;
}

/* The last reference takes everything with it. */
void hone_source_free(hone_source *s)
{
    if (!s || --s->refs > 0) return;
    hone_names_free(&s->classes);
    hone_names_free(&s->notes);
    hone_names_free(&s->skipped);
    hone_names_free(&s->files);
    hone_names_free(&s->shards);
    free(s->member);
    free(s->name);
    free(s->root);
    free(s->label);
    free(s->weight);
    if (s->map) munmap(s->map, s->map_bytes);
    else free(s->raw);
    free(s);
}

/* For formats without names: the label itself is the name. */
hone_status hone_source_number_classes(hone_source *s, int count)
{
    for (int k = 0; k < count; k++) HONE_TRY(hone_names_addf(&s->classes, "%d", k));
    return HONE_OK;
}

/* Chained by seeds: 10 GB/s on one core, so 47 MB of Fashion-MNIST cost 5 ms. */
void hone_source_hash_raw(hone_source *s)
{
    size_t pixels_bytes = (size_t)s->count * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
    /* names, labels and shape go in: other labels over the same pixels are other data */
    int shape[3] = {s->height, s->width, s->channels};
    uint64_t h = XXH3_64bits_withSeed(shape, sizeof shape, (uint64_t)s->count);
    for (int k = 0; k < s->classes.count; k++) /* with its NUL, so that "ab","c" is not "a","bc" */
        h = XXH3_64bits_withSeed(s->classes.item[k], strlen(s->classes.item[k]) + 1, h);
    h = XXH3_64bits_withSeed(s->label, (size_t)s->count * sizeof *s->label, h);
    s->hash = XXH3_64bits_withSeed(s->raw, pixels_bytes, h);
}

char *hone_source_path(const hone_source *s, int64_t item)
{
    if (!s->member) return hone_path_join(s->root, s->files.item[item]);
    /* files of an archive begin with its base name */
    const char *shard = s->shards.item[s->member[item].shard];
    return hone_path_join(shard, s->files.item[item] + strlen(hone_path_base(shard)) + 1);
}

/* Read anew each time: the system's page cache is the only one between disk and decoder. */
/* A gigabyte of something else is not read before it is called what it is. */
static hone_status look_first(const hone_source *s, int64_t item, const char *path, int64_t offset, int64_t bytes)
{
    uint8_t *first;
    if (bytes <= LARGE_BYTES) return HONE_OK;
    HONE_TRY(hone_bytes_read_part(path, offset, MAGIC_BYTES, &first));
    char *name = hone_source_path(s, item);
    hone_status status = name ? hone_image_known(name, first, MAGIC_BYTES) : hone_no_memory("a path", 0);
    free(name);
    free(first);
    return status;
}

hone_status hone_source_read(const hone_source *s, int64_t item, uint8_t **data, size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    if (s->member) {
        const hone_member *m = &s->member[item];
        if (m->bytes > HONE_IMAGE_FILE_MAX)
            return hone_fail(HONE_ERR_DATA, "no picture is that large", "%s: %lld bytes, at most %d are read",
                             hone_shown(s->files.item[item]), (long long)m->bytes, HONE_IMAGE_FILE_MAX);
        HONE_TRY(look_first(s, item, s->shards.item[m->shard], m->offset, m->bytes));
        *bytes = (size_t)m->bytes;
        return hone_bytes_read_part(s->shards.item[m->shard], m->offset, *bytes, data);
    }
    char *path = hone_source_path(s, item);
    if (!path) return hone_no_memory("a path", 0);
    int64_t size = 0; /* of a file that can't be read: the reader says so */
    hone_status status = hone_path_look(path, &size) == HONE_PATH_FILE ? look_first(s, item, path, 0, size) : HONE_OK;
    if (status == HONE_OK) status = hone_bytes_read(path, HONE_IMAGE_FILE_MAX, data, bytes);
    free(path);
    return status;
}
