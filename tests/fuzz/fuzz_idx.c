/* fuzz_idx.c - any bytes as the two files of an IDX set, plain or gzip: refused or read whole.
 *
 * The first byte cuts the input: that share of it is the labels file, the rest the images file. The
 * files lie in a folder of their own in memory. What is accepted must be consistent. */
#include "data/source.h"
#include "fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    size_t labels = data[0] * (size - 1) / 255;
    fuzz_put("train-labels-idx1-ubyte", data + 1, labels);
    fuzz_put("train-images-idx3-ubyte", data + 1 + labels, size - 1 - labels);
    hone_source *s = NULL;
    if (hone_idx_open(fuzz_folder, HONE_SPLIT_TRAIN, false, &s) == HONE_OK) {
        if (!s || s->count < 1 || !s->raw || s->height < 1 || s->width < 1) abort();
        for (int64_t i = 0; i < s->count; i++)
            if (s->label[i] < 0 || s->label[i] >= s->classes.count) abort();
    } else if (s) {
        abort();
    }
    (void)hone_idx_looks(fuzz_folder);
    hone_source_free(s);
    return 0;
}
