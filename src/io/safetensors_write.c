/* safetensors_write.c - writing a safetensors file (io.h): entries by dtype size descending, then by
 * name, as the reference writer orders them; "format":"pt", without which some readers refuse a file;
 * header padded with spaces to a multiple of 8, so that data stay aligned. It never replaces a good
 * file by half of one: the public function writes a temporary and renames it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "io/file.h"
#include "io/safetensors.h"

static const char *const dtype_name[HONE_DTYPE_COUNT] = {
    [HONE_F32] = "F32", [HONE_F64] = "F64", [HONE_BF16] = "BF16", [HONE_F16] = "F16",
    [HONE_I32] = "I32", [HONE_I64] = "I64", [HONE_U8] = "U8"};

/* qsort order of the reference writer: wide elements first keeps every array aligned. */
static int by_size_then_name(const void *a, const void *b)
{
    const hone_blob *x = *(const hone_blob *const *)a, *y = *(const hone_blob *const *)b;
    size_t m = hone_dtype_bytes(x->dtype), n = hone_dtype_bytes(y->dtype);
    if (m != n) return m > n ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The blobs in file order, or NULL with `*status` set: repeated names, sizes that contradict shapes. */
static const hone_blob **file_order(const hone_blob *blob, int count, hone_status *status)
{
    const hone_blob **order = malloc(((size_t)count + 1) * sizeof *order);
    *status = order ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %d arrays", count);
    for (int k = 0; k < count && *status == HONE_OK; k++) {
        size_t bytes = hone_dtype_bytes(blob[k].dtype);
        order[k] = &blob[k];
        for (int d = 0; d < blob[k].rank; d++) bytes *= (size_t)blob[k].dim[d];
        if (bytes != blob[k].bytes)
            *status = hone_fail(HONE_ERR_USAGE, NULL, "array %s: %zu bytes given, its shape needs %zu", blob[k].name,
                                blob[k].bytes, bytes);
    }
    if (*status == HONE_OK) qsort(order, (size_t)count, sizeof *order, by_size_then_name);
    for (int k = 1; k < count && *status == HONE_OK; k++)
        if (strcmp(order[k]->name, order[k - 1]->name) == 0)
            *status = hone_fail(HONE_ERR_USAGE, NULL, "two arrays are named %s", order[k]->name);
    if (*status == HONE_OK) return order;
    free(order);
    return NULL;
}

/* `metadata`: key, value, ..., NULL. */
static void add_metadata(hone_text *t, const char *const *metadata)
{
    hone_text_add(t, "\"__metadata__\":{\"format\":\"pt\"");
    for (; metadata && metadata[0]; metadata += 2) {
        hone_text_add(t, ",");
        hone_text_json(t, metadata[0]);
        hone_text_add(t, ":");
        hone_text_json(t, metadata[1]);
    }
    hone_text_add(t, "}");
}

/* Header text, padded; *data_bytes gets the size of what follows. */
static void make_header(hone_text *t, const hone_blob **order, int count, const char *const *metadata,
                        uint64_t *data_bytes)
{
    uint64_t at = 0;
    hone_text_add(t, "{");
    add_metadata(t, metadata);
    for (int k = 0; k < count; k++) {
        const hone_blob *b = order[k];
        hone_text_add(t, ",");
        hone_text_json(t, b->name);
        hone_text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name[b->dtype]);
        for (int d = 0; d < b->rank; d++) hone_text_add(t, d ? ",%lld" : "%lld", (long long)b->dim[d]);
        unsigned long long begin = at, end = at += b->bytes;
        hone_text_add(t, "],\"data_offsets\":[%llu,%llu]}", begin, end);
    }
    hone_text_add(t, "}");
    /* spaces are the one padding that the format allows */
    while (t->bytes % 8 && !t->failed) hone_text_add(t, " ");
    *data_bytes = at;
}

/* Streams header and arrays: no second copy of the weights in memory. */
hone_status hone_safetensors_write_plain(const char *path, const hone_blob *blob, int count,
                                         const char *const *metadata, uint64_t *bytes, uint64_t *xxh3)
{
    hone_status status;
    hone_text header = {0};
    hone_out o = {.fd = -1};
    uint64_t data_bytes = 0;
    unsigned char length[8];
    const hone_blob **order = file_order(blob, count, &status);
    if (!order) return status;
    make_header(&header, order, count, metadata, &data_bytes);
    if (header.failed) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %s", path);
        goto done;
    }
    /* little-endian by hand: the same file on every machine */
    for (int k = 0; k < 8; k++) length[k] = (unsigned char)((uint64_t)header.bytes >> (8 * k));
    HONE_GOTO(status, hone_out_open(&o, path, 8 + header.bytes + data_bytes), done);
    HONE_GOTO(status, hone_out_write(&o, length, sizeof length), done);
    HONE_GOTO(status, hone_out_write(&o, header.data, header.bytes), done);
    for (int k = 0; k < count; k++) HONE_GOTO(status, hone_out_write(&o, order[k]->data, order[k]->bytes), done);
    *bytes = o.bytes;
    status = hone_out_close(&o, xxh3);
done:
    hone_out_abort(&o);
    hone_text_free(&header);
    free(order);
    return status;
}

/* Under the final name there is always a whole file: the old one or the new one. */
hone_status hone_safetensors_write(const char *path, const hone_blob *blob, int count, const char *const *metadata)
{
    hone_status status;
    uint64_t bytes, xxh3;
    char *temporary = hone_path_temporary(path), *parent = hone_path_parent(path);
    if (!temporary || !parent) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %s", path);
        goto done;
    }
    status = hone_safetensors_write_plain(temporary, blob, count, metadata, &bytes, &xxh3);
    if (status == HONE_OK) status = hone_io_rename(temporary, path);
    if (status == HONE_OK) status = hone_io_sync_dir(parent);
    else unlink(temporary); /* past the fault switch: unwinding is no step of a save */
done:
    free(temporary);
    free(parent);
    return status;
}
