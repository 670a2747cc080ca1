/* image.c - see image.h: the way from file bytes to upright RGB or grey pixels of the wanted shape.
 *
 * The order is that of torchvision's usual pipeline: decode, compose alpha on white, turn upright,
 * convert the channels, resize. Training, evaluation and predict all come through here, so that a
 * model sees in use what it saw in training, to the bit. It must not know data sets, and it trusts no
 * header: limits on sides and area stand before every allocation (a PNG of 1 MB can ask for 2 GB). */
#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "hone/data.h"

hone_status hone_image_alloc(const char *format, int64_t height, int64_t width, int channels, hone_image *out)
{
    *out = (hone_image){0};
    if (height <= 0 || width <= 0)
        return hone_fail(HONE_ERR_DATA, "the file is broken", "%s: the header says %lld x %lld pixels (width x height)",
                         format, (long long)width, (long long)height);
    /* both tests are needed: sides below the limit may still multiply to gigabytes */
    if (height > HONE_IMAGE_SIDE_MAX || width > HONE_IMAGE_SIDE_MAX || height * width > HONE_IMAGE_PIXELS_MAX)
        return hone_fail(HONE_ERR_DATA, "scale the image down",
                         "%s: %lld x %lld pixels; at most %d a side and %d in all", format, (long long)width,
                         (long long)height, HONE_IMAGE_SIDE_MAX, HONE_IMAGE_PIXELS_MAX);
    size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *pixels = malloc(bytes);
    if (!pixels) return hone_no_memory("a decoded image", bytes);
    *out = (hone_image){(int)height, (int)width, channels, 1, pixels};
    return HONE_OK;
}

/* Also fine on an image that was never filled. */
void hone_image_drop(hone_image *image)
{
    free(image->pixels);
    *image = (hone_image){0};
}

/* Formats that hone knows to refuse by name rather than as rubbish. */
static hone_status refuse(const uint8_t *bytes, size_t count)
{
    static const struct {
        const char *magic;
        size_t bytes;
        const char *name;
    } known[] = {{"GIF8", 4, "GIF"},
                 {"8BPS", 4, "Photoshop"},
                 {"#?RADIANCE", 10, "Radiance HDR"},
                 {"#?RGBE", 6, "Radiance HDR"},
                 {"II*\0", 4, "TIFF"},
                 {"MM\0*", 4, "TIFF"},
                 {"\x53\x80\xF6\x34", 4, "Softimage PIC"},
                 {"<svg", 4, "SVG"},
                 {"%PDF", 4, "PDF"}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (count >= known[k].bytes && memcmp(bytes, known[k].magic, known[k].bytes) == 0)
            return hone_fail(HONE_ERR_DATA, "convert it to PNG or JPEG", "%s images are not supported", known[k].name);
    if (count >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
        return hone_fail(HONE_ERR_DATA, "convert it to PNG or JPEG", "WebP images are not supported");
    if (count == 0) return hone_fail(HONE_ERR_DATA, "fetch the file again", "the file is empty");
    return hone_fail(HONE_ERR_DATA, "supported: PNG, JPEG, BMP, PNM",
                     "not an image of a known format (begins with %02X %02X)", bytes[0], count > 1 ? bytes[1] : 0);
}

typedef hone_status (*decoder)(const uint8_t *bytes, size_t count, hone_image *out);

/* By magic numbers alone: ImageNet itself has a PNG called .JPEG. P1 to P7 go to the PNM reader, which
 * names the ones that it refuses. NULL: none of ours. */
static decoder decoder_of(const uint8_t *b, size_t n)
{
    if (n >= 8 && memcmp(b, "\x89PNG\r\n\x1A\n", 8) == 0) return hone_png_decode;
    if (n >= 3 && memcmp(b, "\xFF\xD8\xFF", 3) == 0) return hone_jpeg_decode;
    if (n >= 2 && memcmp(b, "BM", 2) == 0) return hone_bmp_decode;
    if (n >= 2 && b[0] == 'P' && b[1] >= '1' && b[1] <= '7') return hone_pnm_decode;
    return NULL;
}

hone_status hone_image_known(const char *name, const uint8_t *bytes, size_t count)
{
    if (decoder_of(bytes, count)) return HONE_OK;
    hone_status s = refuse(bytes, count);
    hone_error_context("%s", hone_shown(name));
    return s;
}

/* White shows through: v' = (v*a + 255*(255-a)) / 255, rounded. Drops the alpha channel in place. */
static void compose_on_white(hone_image *image)
{
    int c = image->channels - 1;
    size_t count = (size_t)image->height * (size_t)image->width;
    /* in place: the writer is never ahead of the reader */
    const uint8_t *from = image->pixels;
    uint8_t *to = image->pixels;
    for (size_t i = 0; i < count; i++, from += c + 1, to += c)
        for (int k = 0, a = from[c]; k < c; k++) to[k] = (uint8_t)((from[k] * a + 255 * (255 - a) + 127) / 255);
    image->channels = c;
}

/* The name is put before the message here, once, so that decoders need not know it. */
hone_status hone_image_decode(const char *name, const uint8_t *bytes, size_t count, hone_image *out)
{
    *out = (hone_image){0};
    decoder decode = decoder_of(bytes, count);
    hone_status s = decode ? decode(bytes, count, out) : refuse(bytes, count);
    if (s == HONE_OK && out->channels % 2 == 0) compose_on_white(out);
    if (s == HONE_OK) s = hone_image_orient(out);
    if (s != HONE_OK) {
        hone_image_drop(out);
        hone_error_context("%s", hone_shown(name));
    }
    return s;
}

/* As it is stored, before any resize: what a check looks at, and what the size of a folder is learnt from. */
hone_status hone_source_picture(const hone_source *s, int64_t item, hone_image *out)
{
    uint8_t *bytes;
    size_t count;
    *out = (hone_image){0};
    if (s->raw) {
        size_t stored = (size_t)s->height * (size_t)s->width * (size_t)s->channels;
        HONE_TRY(hone_image_alloc(s->name, s->height, s->width, s->channels, out));
        memcpy(out->pixels, s->raw + (size_t)item * stored, stored);
        return HONE_OK;
    }
    HONE_TRY(hone_source_read(s, item, &bytes, &count));
    char *path = hone_source_path(s, item);
    hone_status status = path ? hone_image_decode(path, bytes, count, out) : hone_no_memory("a path", 0);
    free(path);
    free(bytes);
    return status;
}

/* in (n, from) -> out (n, to), from and to being 1 or 3; rows of 16.16 weights sum to 65536. */
static void convert_channels(const uint8_t *in, int from, uint8_t *out, int to, size_t n)
{
    if (from == to) memcpy(out, in, n * (size_t)to);
    else if (to == 3)
        for (size_t i = 0; i < n; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
    else
        for (size_t i = 0; i < n; i++, in += 3)
            out[i] = (uint8_t)((in[0] * 19595 + in[1] * 38470 + in[2] * 7471 + 0x8000) >> 16);
}

/* Python's round(d / 2) for d >= 0: halves go to the even neighbour (torchvision's CenterCrop). */
static int half_even(int d) { return d % 2 == 0 ? d / 2 : d / 2 + (d / 2) % 2; }

/* Scales so that the target is just covered, then cuts its middle out: torchvision's Resize + CenterCrop. */
static hone_status fit_shorter(const uint8_t *in, int h, int w, int c, uint8_t *out, int oh, int ow)
{
    /* the tighter side is met exactly, the other one rounds down as int() does in torchvision */
    bool by_height = (int64_t)h * ow <= (int64_t)w * oh; /* the height is the tighter side */
    int64_t nh = by_height ? oh : (int64_t)h * ow / w, nw = by_height ? (int64_t)w * oh / h : ow;
    if (nh == oh && nw == ow) return hone_resize_bilinear(in, h, w, c, out, oh, ow);
    /* 1 x 65000 to 224 x 224 would scale to 14 million columns: such strips are refused, not survived */
    hone_image scaled;
    HONE_TRY(hone_image_alloc("resize: shorter", nh, nw, c, &scaled));
    hone_status s = hone_resize_bilinear(in, h, w, c, scaled.pixels, (int)nh, (int)nw);
    int top = half_even((int)nh - oh), left = half_even((int)nw - ow);
    for (int y = 0; s == HONE_OK && y < oh; y++)
        memcpy(out + (size_t)y * ow * c, scaled.pixels + ((size_t)(y + top) * nw + left) * c, (size_t)ow * c);
    hone_image_drop(&scaled);
    return s;
}

/* Channels before size: averaging colours and then taking grey would round differently from Pillow. */
hone_status hone_image_fit(const hone_image *in, int height, int width, int channels, hone_resize resize, uint8_t *out)
{
    /* same size: only the channels may differ, and nothing is resampled */
    const uint8_t *pixels = in->pixels;
    uint8_t *converted = NULL;
    size_t count = (size_t)in->height * (size_t)in->width;
    if (in->height == height && in->width == width) {
        convert_channels(pixels, in->channels, out, channels, count);
        return HONE_OK;
    }
    if (channels != in->channels) {
        converted = malloc(count * (size_t)channels);
        if (!converted) return hone_no_memory("an image", count * (size_t)channels);
        convert_channels(pixels, in->channels, converted, channels, count);
        pixels = converted;
    }
    hone_status s = resize == HONE_RESIZE_SHORTER
                        ? fit_shorter(pixels, in->height, in->width, channels, out, height, width)
                        : hone_resize_bilinear(pixels, in->height, in->width, channels, out, height, width);
    free(converted);
    return s;
}

/* The one way from bytes to a sample: training, evaluation, predict and a server all end up here. */
hone_status hone_image_bytes(const char *name, const void *bytes, size_t count, const hone_preprocess *pre,
                             uint8_t *out)
{
    hone_image image;
    HONE_TRY(hone_image_decode(name, bytes, count, &image));
    hone_status s = hone_image_fit(&image, pre->height, pre->width, pre->channels, pre->resize, out);
    hone_image_drop(&image);
    if (s != HONE_OK) hone_error_context("%s", hone_shown(name));
    return s;
}

/* `out` may be partly written on failure; callers drop the sample. */
hone_status hone_image_file(const char *path, const hone_preprocess *pre, uint8_t *out)
{
    uint8_t *bytes;
    size_t count;
    HONE_TRY(hone_bytes_read(path, HONE_IMAGE_FILE_MAX, &bytes, &count));
    hone_status s = hone_image_bytes(path, bytes, count, pre, out);
    free(bytes);
    return s;
}
