/* fuzz_small.c - any bytes as a small model file (train/small.h): refused, or a model whose every number is there.
 *
 * The first byte's lowest bit chooses: the bytes are the file; or they are five sizes, model.json, a NUL and the rest
 * (tokenizer.json and the arrays' bytes), put into a safetensors file whose header is right, so that mutations reach what
 * model.json says: layers, shapes, names. With the next bit that text goes to the reader of a run's model.json instead. */
#include <math.h>

#include "fuzz/fuzz_file.h"
#include "train/small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 16 };

/* An array of the file: its entry in the header, and its bytes from `rest` over and over. */
typedef struct build {
    char header[2048];
    size_t header_bytes, bytes;
    uint8_t data[MOST];
} build;

static void add(build *b, const char *name, const char *dtype, const char *shape, const void *from, size_t bytes,
                size_t count)
{
    if (count > MOST - b->bytes) count = MOST - b->bytes;
    b->header_bytes += (size_t)snprintf(b->header + b->header_bytes, sizeof b->header - b->header_bytes,
                                        ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", name,
                                        dtype, shape, b->bytes, b->bytes + count);
    for (size_t k = 0; k < count; k++) b->data[b->bytes + k] = bytes ? ((const uint8_t *)from)[k % bytes] : 0;
    b->bytes += count;
}

/* Rows, columns, classes below 16 each; `text` is model.json. */
static size_t put_together(build *b, const uint8_t *size, const char *text, size_t text_bytes, const uint8_t *rest,
                           size_t rest_bytes, uint8_t *file)
{
    char shape[64];
    size_t rows = size[0] & 15, columns = size[1] & 15, classes = size[2] & 15, bits = size[3] & 1 ? 4 : 8;
    size_t row = bits == 8 ? columns : (columns + 1) / 2, tokenizer = size[4] < rest_bytes ? size[4] : rest_bytes;
    b->bytes = 0;
    b->header_bytes =
        (size_t)snprintf(b->header, sizeof b->header,
                         "{\"__metadata__\":{\"hone.small\":\"1\",\"hone.table\":\"embedding_bag1.weight\","
                         "\"hone.bits\":\"%zu\"}",
                         bits);
    snprintf(shape, sizeof shape, "[%zu]", text_bytes);
    add(b, "model.json", "U8", shape, text, text_bytes, text_bytes);
    snprintf(shape, sizeof shape, "[%zu]", tokenizer);
    add(b, "tokenizer.json", "U8", shape, rest, tokenizer, tokenizer);
    snprintf(shape, sizeof shape, "[%zu,%zu]", rows, row);
    add(b, "embedding_bag1.weight.levels", "U8", shape, rest, rest_bytes, rows * row);
    snprintf(shape, sizeof shape, "[%zu]", rows);
    add(b, "embedding_bag1.weight.scale", "F32", shape, rest, rest_bytes, rows * 4);
    snprintf(shape, sizeof shape, "[%zu,%zu]", classes, columns);
    add(b, "linear1.weight", "F32", shape, rest, rest_bytes, classes * columns * 4);
    snprintf(shape, sizeof shape, "[%zu]", classes);
    add(b, "linear1.bias", "F32", shape, rest, rest_bytes, classes * 4);
    b->header[b->header_bytes++] = '}';
    uint64_t n = b->header_bytes;
    memcpy(file, &n, sizeof n);
    memcpy(file + 8, b->header, b->header_bytes);
    memcpy(file + 8 + b->header_bytes, b->data, b->bytes);
    return 8 + b->header_bytes + b->bytes;
}

/* Poison is NaN, and no number of an opened file may be. */
static void check(const hone_saved *s)
{
    for (int k = 0; k < hone_model_param_count(s->model); k++) {
        const hone_param *p = hone_model_param(s->model, k);
        for (int64_t i = 0; i < p->count; i++)
            if (!isfinite(p->value[i])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static build b;
    static uint8_t file[8 + 2048 + MOST];
    hone_saved s = {0};
    size_t count = size - 1;
    const uint8_t *from = data + 1;
    if (size < 1) return 0;
    if (data[0] & 1) {
        if (size < 7) return 0;
        const uint8_t *text = data + 6, *end = memchr(text, 0, size - 6);
        size_t text_bytes = end ? (size_t)(end - text) : size - 6;
        const uint8_t *rest = end ? end + 1 : data + size;
        if (text_bytes > MOST / 2) return 0;
        if (data[0] & 2) {
            hone_model *m = NULL;
            if (hone_model_parse_json("model.json", (const char *)text, text_bytes, &m) == HONE_OK && !m) abort();
            hone_model_free(m);
            return 0;
        }
        count = put_together(&b, data + 1, (const char *)text, text_bytes, rest, (size_t)(data + size - rest), file);
        from = file;
    }
    const char *path = fuzz_put("x.safetensors", from, count);
    (void)hone_small_is(path);
    if (hone_small_open(path, &s) == HONE_OK) check(&s);
    else if (!*hone_error_message()) abort(); /* a refusal says why */
    hone_model_free(s.model);
    free(s.tokenizer_json);
    return 0;
}
