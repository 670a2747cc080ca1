/* image.h - from the bytes of one image file to pixels of the wanted shape.
 *
 * Formats are told by content: PNG, JPEG, BMP, PNM. A decoder either returns every pixel the file
 * promises or an error that says what is wrong and where; a cut or altered file never yields an
 * image. Decoders are pure functions of the bytes and may run on many threads. */
#ifndef HONE_DATA_IMAGE_H
#define HONE_DATA_IMAGE_H

#include "data/source.h"
#include "hone/model.h"

/* 8-bit samples (height, width, channels): 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA while decoding; 1 or 3
 * in what hone_image_decode returns. `orientation` is EXIF's 1..8, applied by hone_image_decode. */
typedef struct hone_image {
    int height, width, channels, orientation;
    uint8_t *pixels;
} hone_image;

/* Decodes, composes alpha on white, turns upright. `name` opens the message. Errors: DATA, MEMORY. */
hone_status hone_image_decode(const char *name, const uint8_t *bytes, size_t count, hone_image *out) HONE_MUST_USE;
/* Whether the first bytes of a file are those of a format that hone reads. Errors (DATA) say what they are. */
hone_status hone_image_known(const char *name, const uint8_t *bytes, size_t count) HONE_MUST_USE;
/* One item of a source in the size it has; free it with hone_image_drop. Thread-safe. */
hone_status hone_source_picture(const hone_source *s, int64_t item, hone_image *out) HONE_MUST_USE;
void hone_image_drop(hone_image *image); /* frees the pixels                                       */

/* Grey from RGB (ITU-R 601 as Pillow's "L"), RGB from grey, then the resize rule; out (h, w, c). */
hone_status hone_image_fit(const hone_image *in, int height, int width, int channels, hone_resize resize,
                           uint8_t *out) HONE_MUST_USE;

/* The decoders: *out is filled on success only; messages begin with the format ("PNG: ..."). */
hone_status hone_png_decode(const uint8_t *bytes, size_t count, hone_image *out) HONE_MUST_USE;
hone_status hone_bmp_decode(const uint8_t *bytes, size_t count, hone_image *out) HONE_MUST_USE;
hone_status hone_pnm_decode(const uint8_t *bytes, size_t count, hone_image *out) HONE_MUST_USE;
hone_status hone_jpeg_decode(const uint8_t *bytes, size_t count, hone_image *out) HONE_MUST_USE;

/* What a JPEG says of itself, from a walk over all its markers up to EOI. */
typedef struct hone_jpeg_info {
    int height, width, components, orientation;
} hone_jpeg_info;
hone_status hone_jpeg_scan(const uint8_t *bytes, size_t count, hone_jpeg_info *info) HONE_MUST_USE;
/* The library behind hone_jpeg_decode; pixels (height, width, channels) are allocated by the caller.
 * channels 1, 3, or 4 = CMYK as stored (inverted, Adobe's habit). CMake picks jpeg_turbo.c or jpeg_stb.c. */
hone_status hone_jpeg_pixels(const uint8_t *bytes, size_t count, const hone_jpeg_info *info, int channels,
                             uint8_t *pixels) HONE_MUST_USE;
const char *hone_jpeg_library(void); /* "libjpeg-turbo" or "stb_image"                             */

/* Orientation 1..8 of a TIFF structure (the payload behind "Exif\0\0"); 1 where broken or absent. */
int hone_exif_orientation(const uint8_t *tiff, size_t count);
/* Turns an image upright; no-op for orientation 1. */
hone_status hone_image_orient(hone_image *image) HONE_MUST_USE;

/* Checks sides and area against the limits and allocates (height, width, channels). `format` for messages. */
hone_status hone_image_alloc(const char *format, int64_t height, int64_t width, int channels,
                             hone_image *out) HONE_MUST_USE;

/* Separable antialiased triangle filter, 8 bits, equal to Pillow's Image.resize(BILINEAR):
 * in (h, w, c) -> out (oh, ow, c). */
hone_status hone_resize_bilinear(const uint8_t *in, int h, int w, int channels, uint8_t *out, int oh,
                                 int ow) HONE_MUST_USE;

#endif
