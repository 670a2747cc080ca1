/* safetensors.c - opening a safetensors file: every byte is hostile until checked (io.h).
 *
 * Format: u64le N, N bytes of JSON, data. Each entry has dtype, shape, data_offsets; the ranges must
 * cover the data exactly, without holes or overlaps. The file is read, not mapped, so that nobody can
 * change it under us. Limits (header 100 MB as the reference implementation, rank 8, JSON values) are
 * checked before anything is allocated by what the file says. Writing: safetensors_write.c. */
#include "io/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/json.h"

enum { HEADER_LIMIT_BYTES = 100000000, COMMA_LIMIT = 4000000, RANK_LIMIT = 8 };

/* The file's bytes are kept as read: blobs point into them, so loading costs one copy, not two. */
struct hone_safetensors {
    char *memory;    /* the whole file                                                            */
    hone_blob *blob; /* (count) in the order of their data                                        */
    void **moved;    /* (count) copies of blobs that were misaligned in the file, else NULL        */
    int count;
    json_t *header; /* owns names and metadata                                                   */
};

/* Names as the format writes them; what is not listed (BOOL, I8, F8...) hone has no use for. */
static const struct {
    const char *name;
    hone_dtype dtype;
} dtype_table[] = {{"F32", HONE_F32}, {"F64", HONE_F64}, {"BF16", HONE_BF16}, {"F16", HONE_F16},
                   {"I32", HONE_I32}, {"I64", HONE_I64}, {"U8", HONE_U8}};

/* The dtype of a name in the header; false for those that hone has no use for (I8, BOOL, F8...). */
static bool dtype_of(const char *name, hone_dtype *out)
{
    for (size_t k = 0; k < sizeof dtype_table / sizeof *dtype_table; k++) {
        if (strcmp(name, dtype_table[k].name) != 0) continue;
        *out = dtype_table[k].dtype;
        return true;
    }
    return false;
}

#define BROKEN(...)                                                                                                    \
    hone_fail(HONE_ERR_DATA, "the file is damaged or not a safetensors file; fetch or save it again", __VA_ARGS__)

/* A JSON integer that is a whole number >= 0; reals such as 4.0 are not. */
static bool whole(const json_t *v, int64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = json_integer_value(v);
    return true;
}

/* Rank, dimensions and the byte size they give, with every product checked. */
static hone_status read_shape(const char *file, const char *name, const json_t *shape, hone_blob *b)
{
    if (!json_is_array(shape)) return BROKEN("%s: tensor %s: shape is not a list", file, name);
    if (json_array_size(shape) > RANK_LIMIT)
        return BROKEN("%s: tensor %s: rank %zu, at most %d are read", file, name, json_array_size(shape), RANK_LIMIT);
    /* of one element so far */
    size_t bytes = hone_dtype_bytes(b->dtype);
    bool empty = false;
    b->rank = (int32_t)json_array_size(shape);
    for (int k = 0; k < b->rank; k++) {
        if (!whole(json_array_get(shape, (size_t)k), &b->dim[k]))
            return BROKEN("%s: tensor %s: dimension %d of the shape is not a whole number >= 0", file, name, k);
        empty = empty || b->dim[k] == 0;
    }
    /* overflow matters only where no dimension is 0: [0, 2^62] is a legal empty tensor */
    for (int k = 0; k < b->rank && !empty; k++)
        if (__builtin_mul_overflow(bytes, (size_t)b->dim[k], &bytes))
            return BROKEN("%s: tensor %s: its shape overflows", file, name);
    /* 0 elements take 0 bytes, however large the other dimensions */
    b->bytes = empty ? 0 : bytes;
    return HONE_OK;
}

/* One entry of the header into a blob whose `data` points into the data part (base, data_bytes). */
static hone_status read_entry(const char *file, const char *name, const json_t *entry, const char *base,
                              size_t data_bytes, hone_blob *b)
{
    const json_t *dtype = json_object_get(entry, "dtype"), *offsets = json_object_get(entry, "data_offsets");
    int64_t begin, end;
    *b = (hone_blob){.name = name};
    if (!json_is_object(entry) || json_object_size(entry) != 3 || !json_is_string(dtype) || !offsets)
        return BROKEN("%s: tensor %s: an entry has exactly dtype, shape and data_offsets", file, name);
    if (!dtype_of(json_string_value(dtype), &b->dtype))
        return BROKEN("%s: tensor %s: dtype %.20s is not one that hone reads (F64 F32 F16 BF16 I64 I32 U8)", file, name,
                      json_string_value(dtype));
    HONE_TRY(read_shape(file, name, json_object_get(entry, "shape"), b));
    if (json_array_size(offsets) != 2 || !whole(json_array_get(offsets, 0), &begin) ||
        !whole(json_array_get(offsets, 1), &end))
        return BROKEN("%s: tensor %s: data_offsets is not a pair of whole numbers", file, name);
    if (end < begin) return BROKEN("%s: tensor %s: data_offsets run backwards", file, name);
    /* end >= begin >= 0 is known here, so the casts keep the value */
    if ((size_t)end > data_bytes)
        return BROKEN("%s: tensor %s: its data end at byte %lld, the file has %zu: cut off?", file, name,
                      (long long)end, data_bytes);
    if ((size_t)(end - begin) != b->bytes)
        return BROKEN("%s: tensor %s: %lld bytes of data, its shape and dtype need %zu", file, name,
                      (long long)(end - begin), b->bytes);
    b->data = base + begin;
    return HONE_OK;
}

/* qsort order: where the data lie. */
static int by_place(const void *a, const void *b)
{
    const hone_blob *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty ones before what starts there */
}

/* Blobs sorted by place must follow each other without gap or overlap from first to last byte. */
static hone_status check_cover(const char *file, const hone_safetensors *s, const char *base, size_t data_bytes)
{
    /* end of what is covered */
    const char *at = base;
    for (int k = 0; k < s->count; k++) {
        const char *begin = s->blob[k].data;
        if (begin < at) return BROKEN("%s: tensors %s and %s overlap", file, s->blob[k - 1].name, s->blob[k].name);
        if (begin > at)
            return BROKEN("%s: %td bytes before tensor %s belong to none", file, begin - at, s->blob[k].name);
        at = begin + s->blob[k].bytes;
    }
    if (at != base + data_bytes)
        return BROKEN("%s: %td bytes after the last tensor belong to none", file, base + data_bytes - at);
    return HONE_OK;
}

/* Kernels and casts want natural alignment, which the format does not promise. */
static hone_status align_blobs(const char *file, hone_safetensors *s)
{
    for (int k = 0; k < s->count; k++) {
        hone_blob *b = &s->blob[k];
        if ((uintptr_t)b->data % hone_dtype_bytes(b->dtype) == 0 || b->bytes == 0) continue;
        if (!(s->moved[k] = malloc(b->bytes))) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", file);
        b->data = memcpy(s->moved[k], b->data, b->bytes);
    }
    return HONE_OK;
}

/* The format allows strings only; other values would have no meaning to agree on. */
static hone_status check_metadata(const char *file, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!metadata) return HONE_OK;
    if (!json_is_object(metadata)) return BROKEN("%s: __metadata__ is not a map", file);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) return BROKEN("%s: __metadata__ %.60s is not a string", file, key);
    }
    return HONE_OK;
}

/* Parses the header text; the limit on commas bounds what the parser may allocate. */
static hone_status parse_header(const char *file, const char *text, size_t bytes, json_t **out)
{
    json_error_t error;
    size_t commas = 0;
    if (bytes == 0 || text[0] != '{') return BROKEN("%s: the header does not begin with {", file);
    for (size_t k = 0; k < bytes; k++) commas += text[k] == ',';
    if (commas > COMMA_LIMIT) return BROKEN("%s: the header holds over %d values", file, COMMA_LIMIT);
    HONE_TRY(hone_json_parse(text, bytes, JSON_REJECT_DUPLICATES, out, &error));
    if (!*out) return BROKEN("%s: the header is not valid JSON: %s at byte %d", file, error.text, error.position);
    return HONE_OK;
}

/* Every entry but __metadata__ is an array. Names point into the parsed header, data into the file. */
static hone_status read_entries(const char *file, hone_safetensors *s, const char *base, size_t data_bytes)
{
    const char *name;
    json_t *entry;
    /* one more than needed where there is metadata, and never 0 for calloc */
    size_t room = json_object_size(s->header);
    HONE_TRY(check_metadata(file, json_object_get(s->header, "__metadata__")));
    s->blob = calloc(room + 1, sizeof *s->blob);
    s->moved = calloc(room + 1, sizeof *s->moved);
    if (!s->blob || !s->moved) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", file);
    json_object_foreach(s->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        HONE_TRY(read_entry(file, name, entry, base, data_bytes, &s->blob[s->count]));
        s->count++;
    }
    /* the header's order means nothing; the data's order shows holes and overlaps */
    qsort(s->blob, (size_t)s->count, sizeof *s->blob, by_place);
    HONE_TRY(check_cover(file, s, base, data_bytes));
    return align_blobs(file, s);
}

/* From here on `data` belongs to the handle, on failure too. */
hone_status hone_safetensors_from_memory(const char *name, char *data, size_t bytes, hone_safetensors **out)
{
    hone_status status = HONE_OK;
    uint64_t header_bytes = 0;
    hone_safetensors *s = calloc(1, sizeof *s);
    if (!s) {
        free(data);
        return hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", name);
    }
    s->memory = data;
    if (bytes < 8) {
        status = BROKEN("%s: %zu bytes are too few for a safetensors file", name, bytes);
        goto fail;
    }
    for (int k = 7; k >= 0; k--) header_bytes = header_bytes << 8 | (unsigned char)data[k];
    /* compared before any sum with it: N near 2^64 must not wrap */
    if (header_bytes > HEADER_LIMIT_BYTES || header_bytes > bytes - 8) {
        status = BROKEN("%s: the header claims %llu bytes, the file has %zu (limit %d)", name,
                        (unsigned long long)header_bytes, bytes - 8, HEADER_LIMIT_BYTES);
        goto fail;
    }
    HONE_GOTO(status, parse_header(name, data + 8, (size_t)header_bytes, &s->header), fail);
    HONE_GOTO(status, read_entries(name, s, data + 8 + header_bytes, bytes - 8 - (size_t)header_bytes), fail);
    *out = s;
    return HONE_OK;
fail:
    hone_safetensors_close(s);
    return status;
}

/* Read in one piece: a mapped file could change or shrink (SIGBUS) after it was checked. */
hone_status hone_safetensors_open(const char *path, hone_safetensors **out)
{
    char *data;
    size_t bytes;
    HONE_TRY(hone_file_read(path, SIZE_MAX - 1, &data, &bytes));
    return hone_safetensors_from_memory(path, data, bytes, out);
}

/* In the order of their data, which is not that of the header. */
int hone_safetensors_count(const hone_safetensors *s) { return s->count; }
const hone_blob *hone_safetensors_blob(const hone_safetensors *s, int k) { return &s->blob[k]; }

/* Linear: a few hundred arrays are looked up once a load. NULL when there is none of that name. */
const hone_blob *hone_safetensors_find(const hone_safetensors *s, const char *name)
{
    for (int k = 0; k < s->count; k++)
        if (strcmp(s->blob[k].name, name) == 0) return &s->blob[k];
    return NULL;
}

/* NULL without metadata or without that key: jansson's getters accept NULL all the way. */
const char *hone_safetensors_metadata(const hone_safetensors *s, const char *key)
{
    return json_string_value(json_object_get(json_object_get(s->header, "__metadata__"), key));
}

/* Blobs point into the handle's memory, so they end here too. Fine on NULL and on a half-made one. */
void hone_safetensors_close(hone_safetensors *s)
{
    if (!s) return;
    for (int k = 0; k < s->count && s->moved; k++) free(s->moved[k]);
    free(s->moved);
    free(s->blob);
    json_decref(s->header);
    free(s->memory);
    free(s);
}
