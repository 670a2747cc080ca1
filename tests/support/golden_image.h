/* golden_image.h - encoded pictures of tests/golden/images.bin by name (test_image_golden.c says how they lie there). */
#ifndef HONE_TESTS_GOLDEN_IMAGE_H
#define HONE_TESTS_GOLDEN_IMAGE_H

#include <stdint.h>

#include "support/scratch.h"

/* The file of the record `name`, copied; the test program ends where there is none. */
static __attribute__((noinline)) bytes golden_image(const char *name)
{
    FILE *f = fopen(HONE_TESTS_DIR "/golden/images.bin", "rb");
    static uint8_t data[1 << 24];
    size_t count = f ? fread(data, 1, sizeof data, f) : 0;
    bytes found = {0};
    if (f) fclose(f);
    for (const uint8_t *p = data + 8; p < data + count;) {
        const uint8_t *text = p + 2, *file = text + p[1] + 4;
        uint32_t n = file[-4] | (uint32_t)file[-3] << 8 | (uint32_t)file[-2] << 16 | (uint32_t)file[-1] << 24;
        const uint8_t *shape = file + n;
        if (strlen(name) == p[1] && memcmp(text, name, p[1]) == 0) bytes_add(&found, file, n);
        p = shape + 5 + (size_t)(shape[0] | shape[1] << 8) * (size_t)(shape[2] | shape[3] << 8) * shape[4];
    }
    if (!found.count) {
        fprintf(stderr, "no golden picture is called %s\n", name);
        abort();
    }
    return found;
}

#endif
