/* fuzz_idx.c - any bytes as the two files of an IDX set, plain or gzip: refused or read whole.
 *
 * The first byte cuts the input: that share of it is the labels file, the rest the images file. The
 * files lie in a folder of their own in memory. What is accepted must be consistent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

/* Takes the two files and their folder away when the fuzzer ends by itself. */
static void clean(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", folder);
    unlink(path);
    rmdir(folder);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder) {
        const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* memory: thousands of files a second */
        snprintf(folder, sizeof folder, "%s/hone-fuzz-idx-XXXXXX", tmp);
        if (!mkdtemp(folder) || atexit(clean) != 0) abort();
    }
    if (size < 1) return 0;
    size_t labels = data[0] * (size - 1) / 255;
    put("train-labels-idx1-ubyte", data + 1, labels);
    put("train-images-idx3-ubyte", data + 1 + labels, size - 1 - labels);
    hone_source *s = NULL;
    if (hone_idx_open(folder, HONE_SPLIT_TRAIN, false, &s) == HONE_OK) {
        if (!s || s->count < 1 || !s->raw || s->height < 1 || s->width < 1) abort();
        for (int64_t i = 0; i < s->count; i++)
            if (s->label[i] < 0 || s->label[i] >= s->classes.count) abort();
    } else if (s) {
        abort();
    }
    (void)hone_idx_looks(folder);
    hone_source_free(s);
    return 0;
}
