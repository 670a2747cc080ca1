/* image_align.h - lays one picture over another: a small cut, turn or stretch between the two is found and undone. */
#ifndef HONE_DATA_IMAGE_ALIGN_H
#define HONE_DATA_IMAGE_ALIGN_H

#include "data/image.h"

/* Where a point of picture a lies in picture b, both from -1 to 1 along each axis:
 * x' = m[0] + m[1] x + m[2] y, y' = m[3] + m[4] x + m[5] y. */
typedef struct hone_image_map {
    double m[6];
} hone_image_map;

/* The map under which brightness agrees best, by least squares from "as they lie", over brightness and contrast as well.
 * *found: it came to rest, and cuts, turns and stretches by little: sides by at most a fifth, 12 degrees, and three quarters
 * of a lie within b. Whether the two then are alike is the caller's to measure. Errors: MEMORY. */
hone_status hone_images_align(const hone_image *a, const hone_image *b, hone_image_map *out, bool *found) HONE_MUST_USE;

/* b as it lies under a: out (h, w, c) of a's frame, inside (h, w) 1 where both have it and their borders are not near:
 * where one was turned in its frame, they are mixed with what it was filled up with. Errors: MEMORY. */
hone_status hone_image_warp(const hone_image *b, const hone_image_map *map, int h, int w, int c, uint8_t *out,
                            uint8_t *inside) HONE_MUST_USE;

#endif
