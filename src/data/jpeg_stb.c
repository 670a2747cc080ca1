/* jpeg_stb.c - JPEG pixels by stb_image, where libjpeg-turbo is not installed; see jpeg_turbo.c.
 *
 * Only stb's JPEG reader is compiled, without file access. It accepts cut data, so the caller has
 * found EOI first (hone_jpeg_scan). Its pixels differ from libjpeg's by a few units (other DCT and
 * upsampling), and it knows neither arithmetic coding nor CMYK: those are refused.
 * A file that was cut and closed with a false EOI is beyond what it can tell; libjpeg-turbo can. */
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_FAILURE_STRINGS
#define STBI_MAX_DIMENSIONS 65535
#define STBI_ASSERT(x)      ((void)(x))
#include <stb_image.h>

#include <limits.h>

#include "data/image.h"

const char *hone_jpeg_library(void) { return "stb_image"; }

/* stb allocates by itself and knows no stride, hence the copy. */
hone_status hone_jpeg_pixels(const uint8_t *bytes, size_t count, const hone_jpeg_info *info, int channels,
                             uint8_t *pixels)
{
    if (channels == 4)
        return hone_fail(HONE_ERR_DATA, "build hone with libturbojpeg0-dev, or convert the image to RGB",
                         "JPEG: CMYK is not supported");
    if (count > INT_MAX) return hone_fail(HONE_ERR_DATA, NULL, "JPEG: %zu bytes are too many", count);
    int width = 0, height = 0, stored = 0;
    stbi_uc *decoded = stbi_load_from_memory(bytes, (int)count, &width, &height, &stored, channels);
    if (!decoded) return hone_fail(HONE_ERR_DATA, "fetch or re-encode the file", "JPEG: broken image data");
    hone_status s = HONE_OK;
    if (width != info->width || height != info->height)
        s = hone_fail(HONE_ERR_DATA, "re-encode the image", "JPEG: contradictory sizes in its headers");
    else memcpy(pixels, decoded, (size_t)width * (size_t)height * (size_t)channels);
    stbi_image_free(decoded);
    return s;
}
