/* fuzz_tar.c - any bytes as a tar shard: refused, or every sample readable to its last byte and labelled within the
 * class list. The first byte says what happens to samples that lack something. */
#include "data/shards.h"
#include "fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const char *path = fuzz_put("x.tar", data + 1, size - 1);
    hone_source *s = NULL;
    hone_on_error on_error = data[0] & 1 ? HONE_ON_ERROR_SKIP : HONE_ON_ERROR_STOP;
    if (hone_shards_open(path, HONE_SPLIT_TRAIN, true, on_error, 1, &s) == HONE_OK) {
        if (!s || s->count < 1 || s->count != s->files.count) abort();
        for (int64_t i = 0; i < s->count; i++) {
            uint8_t *bytes;
            size_t count;
            if (s->label[i] < 0 || s->label[i] >= s->classes.count) abort();
            if (hone_source_read(s, i, &bytes, &count) != HONE_OK || count > size) abort();
            char *name = hone_source_path(s, i);
            if (!name || strncmp(name, path, strlen(path)) != 0) abort();
            free(name);
            free(bytes);
        }
    } else if (s) {
        abort();
    }
    hone_source_free(s);
    return 0;
}
