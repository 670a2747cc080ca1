/* jpeg_baseline.h - the usual JPEG (baseline, Huffman, 8 bits, grey or YCbCr), decoded about twice as fast as a library does.
 *
 * It answers for whole, plain files only. Whatever is unusual or looks damaged is left to the library behind
 * hone_jpeg_pixels, whose verdict and messages then count: so this reader rejects nothing and accepts nothing that the
 * library would not. */
#ifndef HONE_DATA_JPEG_BASELINE_H
#define HONE_DATA_JPEG_BASELINE_H

#include "data/image.h"

/* pixels (height, width, components) of `info`, allocated by the caller: libjpeg-turbo's, to the bit. *done: they are there;
 * else the library is to be asked. Errors: MEMORY. */
hone_status hone_jpeg_baseline(const uint8_t *bytes, size_t count, const hone_jpeg_info *info, uint8_t *pixels,
                               bool *done) HONE_MUST_USE;

#endif
