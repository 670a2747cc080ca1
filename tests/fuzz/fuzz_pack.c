/* fuzz_pack.c - any bytes as a pack (data/pack.h): refused, or every sample's pixels, label, weight and name readable.
 *
 * The first byte's lowest bit chooses: the bytes are the file; or they are what a writer would hash - the length of the
 * columns' page, its content, the JSON header - and the magic, the hashes and the tail are put right around them, since no
 * mutation finds an XXH3. "####" in the header becomes the hash of the pixels, "@@@@" that of the columns. The next two bits choose the
 * split that is opened; 3: all, one after the other. */
#include <xxhash.h>

#include "data/pack.h"
#include "data/pack_format.h"
#include "fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 4, MOST = (PAGES + 1) * HONE_PACK_PAGE + (1 << 14) };

/* A whole file around `header`, whose data stand in pages 1 to PAGES. */
static size_t build(uint8_t *file, const uint8_t *data, size_t size)
{
    static const char *const mark[] = {"####", "@@@@"};
    uint32_t version = HONE_PACK_VERSION;
    size_t column = size < 64 ? size / 2 : 32, at = (PAGES + 1) * HONE_PACK_PAGE;
    memset(file, 0, at);
    memcpy(file, HONE_PACK_MAGIC, 8);
    memcpy(file + 8, &version, sizeof version);
    /* two samples of 2 x 2 grey on page 1, two labels on page 2, their names on page 3, weights on page 4 */
    memcpy(file + HONE_PACK_PAGE, data, column < 8 ? column : 8);
    for (size_t k = 0; k < column && k < 8; k++) file[2 * HONE_PACK_PAGE + k] = data[k] & (k % 4 ? 0 : 3);
    memcpy(file + 3 * HONE_PACK_PAGE, data, column);
    memcpy(file + 4 * HONE_PACK_PAGE, data, column < 8 ? column : 8);
    uint64_t hash[2] = {XXH3_64bits(file + HONE_PACK_PAGE, 8), 0};
    XXH3_state_t *h = XXH3_createState();
    XXH3_64bits_reset(h);
    XXH3_64bits_update(h, file + 2 * HONE_PACK_PAGE, 8);
    if (size > 2 && data[size - 1] == ' ') XXH3_64bits_update(h, file + 4 * HONE_PACK_PAGE, 8); /* with weights */
    XXH3_64bits_update(h, file + 3 * HONE_PACK_PAGE, 4);
    hash[1] = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    size_t begin = at;
    for (size_t k = column; k < size && at < MOST - 64;) {
        int m = 0;
        while (m < 2 && (size - k < 4 || memcmp(data + k, mark[m], 4) != 0)) m++;
        if (m < 2) at += (size_t)sprintf((char *)file + at, "%016llx", (unsigned long long)hash[m]);
        else file[at++] = data[k];
        k += m < 2 ? 4 : 1;
    }
    hone_pack_tail tail = {.offset = begin, .bytes = at - begin, .hash = XXH3_64bits(file + begin, at - begin)};
    memcpy(tail.magic, HONE_PACK_MAGIC, sizeof tail.magic);
    memcpy(file + at, &tail, sizeof tail);
    return at + sizeof tail;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[MOST];
    if (size < 1) return 0;
    bool raw = !(data[0] & 1);
    size_t count = raw ? size - 1 : build(file, data + 1, size - 1);
    const char *path = fuzz_put("x.pack", raw ? data + 1 : file, count);
    (void)hone_pack_looks(path);
    int wanted = data[0] >> 1 & 3;
    for (int split = 0; split < HONE_SPLIT_COUNT; split++) {
        hone_source *s = NULL;
        if (wanted < HONE_SPLIT_COUNT && split != wanted) continue;
        if (hone_pack_open(path, (hone_split)split, false, &s) == HONE_OK && s) {
            uint64_t sum = 0;
            int64_t bytes = s->count * s->height * s->width * s->channels;
            if (s->count < 1 || s->files.count != s->count || s->height < 1 || s->width < 1) abort();
            for (int64_t i = 0; i < s->count; i++)
                if (s->label[i] < 0 || s->label[i] >= s->classes.count || (s->weight && !(s->weight[i] >= 0))) abort();
            for (int64_t i = 0; i < bytes; i++) sum += s->raw[i];
            if (sum > (uint64_t)bytes * 255) abort();
        }
        hone_source_free(s);
    }
    return 0;
}
