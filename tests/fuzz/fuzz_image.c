/* fuzz_image.c - any bytes as an image: refused or decoded whole, never a crash, a leak or a read too far.
 *
 * Start it with the goldens as a corpus: fuzz_image FOLDER (fuzz_seeds.py writes one). Each accepted
 * image is also resized, so that every promised pixel is read. */
#include <stdlib.h>

#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[16 * 16 * 3];
    hone_image image;
    if (hone_image_decode("fuzz", data, size, &image) != HONE_OK) {
        if (image.pixels) abort(); /* an error never leaves pixels behind */
        return 0;
    }
    if (image.height < 1 || image.width < 1 || (image.channels != 1 && image.channels != 3)) abort();
    hone_status s = hone_image_fit(&image, 16, 16, 3, (hone_resize)(size % 2), out);
    if (s != HONE_OK && s != HONE_ERR_DATA) abort();
    hone_image_drop(&image);
    return 0;
}
