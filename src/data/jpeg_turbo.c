/* jpeg_turbo.c - JPEG pixels by libjpeg-turbo's TurboJPEG interface; jpeg_stb.c stands in without it.
 *
 * The slow integer DCT and fancy upsampling are the bits that Pillow and torchvision train on. Every
 * warning of the library is an error here: it means that pixels were made up. */
#include <turbojpeg.h>

#include "data/image.h"

const char *hone_jpeg_library(void) { return "libjpeg-turbo"; }

static hone_status refused(tjhandle tj)
{
    return hone_fail(HONE_ERR_DATA, "fetch or re-encode the file", "JPEG: %s", tjGetErrorStr2(tj));
}

/* A handle a call: 10 us of some 1000 that a photograph takes, and no state between files or threads. */
hone_status hone_jpeg_pixels(const uint8_t *bytes, size_t count, const hone_jpeg_info *info, int channels,
                             uint8_t *pixels)
{
    static const int format[5] = {0, TJPF_GRAY, 0, TJPF_RGB, TJPF_CMYK};
    tjhandle tj = tjInitDecompress();
    if (!tj) return hone_fail(HONE_ERR_MEMORY, NULL, "libjpeg-turbo: %s", tjGetErrorStr2(NULL));
    hone_status s = HONE_OK;
    int width = 0, height = 0, subsampling, colour;
    if (tjDecompressHeader3(tj, bytes, (unsigned long)count, &width, &height, &subsampling, &colour) != 0)
        s = refused(tj);
    else if (width != info->width || height != info->height) /* it would write past the pixels */
        s = hone_fail(HONE_ERR_DATA, "re-encode the image", "JPEG: contradictory sizes in its headers");
    /* LIMITSCANS: a progressive file of thousands of scans costs minutes */
    else if (tjDecompress2(tj, bytes, (unsigned long)count, pixels, width, 0, height, format[channels],
                           TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0)
        s = refused(tj);
    tjDestroy(tj);
    return s;
}
