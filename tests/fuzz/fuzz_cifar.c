/* fuzz_cifar.c - any bytes as the files of a CIFAR set: refused, or every label within the class list and every pixel there.
 *
 * The first byte says which set (10 or 100) and how many copies of the second, a whole record's length apart, so that the
 * mutations need not find 3,073 bytes by themselves; the rest is the list of class names. */
#include "data/source.h"
#include "fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIXELS = 3072, RECORDS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[RECORDS * (PIXELS + 2) + 1];
    if (size < 2) return 0;
    bool hundred = data[0] & 1;
    static const uint8_t some[] = {1, 0, 2, 1}; /* mostly one: the records are copies of each other */
    size_t record = PIXELS + (hundred ? 2 : 1), records = some[data[0] >> 1 & 3],
           count = records * record + (data[0] >> 3 & 1);
    if (count > sizeof file) count = sizeof file;
    for (size_t k = 0; k < count; k++) file[k] = data[1 + k % record % (size - 1)];
    static const char *const name[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                       "data_batch_5.bin"};
    fuzz_put(hundred ? "train.bin" : name[0], file, count);
    unlink(fuzz_path(hundred ? name[0] : "train.bin"));
    for (int k = 1; k < 5; k++) { /* five files of the same bytes: writing is what takes the time */
        if (hundred) unlink(fuzz_path(name[k]));
        else if (access(fuzz_path(name[k]), F_OK) != 0 && symlink(name[0], fuzz_path(name[k])) != 0)
            unlink(fuzz_path(name[k]));
    }
    fuzz_put(hundred ? "fine_label_names.txt" : "batches.meta.txt", data + 2, size - 2);
    unlink(fuzz_path(hundred ? "batches.meta.txt" : "fine_label_names.txt"));
    hone_source *s = NULL;
    (void)hone_cifar_looks(fuzz_folder);
    if (hone_cifar_open(fuzz_folder, HONE_SPLIT_TRAIN, false, &s) == HONE_OK && s) {
        uint64_t sum = 0;
        if (s->count < 1 || !s->raw || s->height != 32 || s->width != 32 || s->channels != 3) abort();
        for (int64_t i = 0; i < s->count; i++)
            if (s->label[i] < 0 || s->label[i] >= s->classes.count) abort();
        for (int64_t i = 0; i < s->count * PIXELS; i++) sum += s->raw[i]; /* each promised pixel is there */
        if (sum > (uint64_t)s->count * PIXELS * 255) abort();
    }
    hone_source_free(s);
    return 0;
}
