/* fuzz_cifar.c - any bytes as the files of a CIFAR set: refused, or every label within the class list and every pixel there.
 *
 * The first byte says which set (10 or 100), how many records and files; the rest fills a record over and over, so that the
 * mutations need not find 3,073 bytes by themselves, and is the list of class names. */
#include <sys/stat.h>

#include "data/source.h"
#include "fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIXELS = 3072, RECORDS = 2 };

/* The set's files: one batch of `count` bytes, or two, the second a link to the first. Each kind of set has a folder of its
 * own, so that files are only written over. Returns the folder. */
static const char *put_files(bool hundred, bool two, const uint8_t *file, size_t count, const uint8_t *names,
                             size_t bytes)
{
    static const char *const name[2][2] = {{"data_batch_1.bin", "batches.meta.txt"},
                                           {"train.bin", "fine_label_names.txt"}};
    static char folder[2][2][128];
    char *path = folder[hundred][two], set[16], batch[64], list[64];
    snprintf(set, sizeof set, "set%d", 2 * hundred + two);
    snprintf(batch, sizeof batch, "%s/%s", set, name[hundred][0]);
    snprintf(list, sizeof list, "%s/%s", set, name[hundred][1]);
    if (!*path) {
        snprintf(path, sizeof folder[0][0], "%s", fuzz_path(set));
        if (mkdir(path, 0700) != 0) abort();
    }
    bool linked = fuzz_holds(batch);
    fuzz_put(batch, file, count);
    fuzz_put(list, names, bytes);
    snprintf(list, sizeof list, "%s/data_batch_2.bin", set);
    if (two && !linked && symlink(name[hundred][0], fuzz_path(list)) != 0) abort();
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t some[] = {1, 0, 2, 1}; /* mostly one: the records are copies of each other */
    static uint8_t file[RECORDS * (PIXELS + 2) + 1], pixels[2 * RECORDS * PIXELS];
    if (size < 2) return 0;
    bool hundred = data[0] & 1;
    size_t record = PIXELS + (hundred ? 2 : 1), records = some[data[0] >> 1 & 3];
    size_t count = records * record + (data[0] >> 3 & 1), most = size - 1;
    for (size_t k = 0; k < record && k < count; k += most) /* the input over and over makes one record */
        memcpy(file + k, data + 1, most < record - k ? most : record - k);
    for (size_t k = record; k < count; k += record) memcpy(file + k, file, record < count - k ? record : count - k);
    const char *folder = put_files(hundred, data[0] >> 4 & 1, file, count, data + 2, size - 2);
    hone_source *s = NULL;
    (void)hone_cifar_looks(folder);
    if (hone_cifar_open(folder, HONE_SPLIT_TRAIN, false, &s) == HONE_OK && s) {
        if (s->count < 1 || !s->raw || s->height != 32 || s->width != 32 || s->channels != 3) abort();
        if (s->count > 2 * RECORDS) abort();
        for (int64_t i = 0; i < s->count; i++)
            if (s->label[i] < 0 || s->label[i] >= s->classes.count) abort();
        memcpy(pixels, s->raw, (size_t)s->count * PIXELS); /* each promised pixel is there */
    }
    hone_source_free(s);
    return 0;
}
