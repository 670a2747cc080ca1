/* image_twins.h - which pictures are copies of one another: the same pixels, and nearly.
 *
 * Near means: brought to the smaller one's size (128 pixels a side at most), the two agree but for brightness and
 * contrast, and their shapes differ by at most 15 %. Either pixels correlate by 0.99 and the differences of neighbouring
 * pixels by 0.97 (bright parts may be clipped), or by 0.98 and 0.80 while no block of 4 x 4 pixels or a sixteenth of the
 * side differs in its mean by more than 0.14 standard deviations (noise and blocks of JPEG do not, another pocket on the
 * same coat does). Chosen on Fashion-MNIST: JPEG of quality 75 (99.7 % of 300 pictures; 50: 92 %), another gamma (99 %) and
 * brightening by a fifth (99 %) pass, and 37 of its 10,000 test pictures, looked at one by one: 16 copies of a training
 * picture, 3 the same thing in another colour or print, the others like trousers and shirts. With 0.90 instead of 0.97 those
 * were 65: one copy more (of 17) and 27 like things. At 28 pixels a side a plain thing has no more to tell it by; larger
 * pictures do. Or, from 40 pixels a side: laid over one another by a map that cuts or stretches a side by at most a fifth and
 * turns by at most 12 degrees (image_align.h), their common part, softened and without its border, correlates by 0.96 and
 * 0.60 and no block differs by more than 0.50, or by 0.98 and 0.80 and none by more than 0.90. Of 146 drawings and
 * photographs that were cut, turned and brightened 139 pass; of 713 different ones four pairs (two letters in both cases, two
 * toys of other letters). Mirror images are not looked for.
 *
 * Candidates come from a 64-bit hash of the low frequencies (the signs of an 8 x 8 block of the DCT of
 * 32 x 32 grey pixels against their median: Zauner, "Implementation and benchmarking of perceptual image
 * hash functions", 2010) through four tables of 16 bits that are each also asked with one bit turned: a pair
 * that differs in at most 7 of 64 bits always meets. A cut changes more bits than that, so pictures of 40 pixels a side and
 * more also meet the 50,000 before them one by one; the three likest of those are laid over them. Thumbnails drop most, and
 * what is left is decoded again and compared in full, so a reported pair is one by the definition above. */
#ifndef HONE_DATA_IMAGE_TWINS_H
#define HONE_DATA_IMAGE_TWINS_H

#include "data/image.h"

enum { HONE_THUMB_SIDE = 16, HONE_LAID_SIDE_MIN = 40 };

/* What is kept of one picture: 320 bytes. */
typedef struct hone_print {
    uint64_t pixels[2], file[2]; /* XXH3-128 of shape and pixels (grey stored as RGB is grey); of the bytes */
    uint64_t low;                /* the 64-bit hash above                                      */
    int8_t thumb[HONE_THUMB_SIDE * HONE_THUMB_SIDE]; /* grey minus its mean, scaled to +-127                      */
    float norm;                                      /* of thumb; 0: constant, or not decoded                     */
    int32_t height, width;                           /* 0: not decoded                                            */
    bool grey, constant;
} hone_print;

/* The print of a decoded picture (channels 1 or 3); `file` is left as it is. Errors: MEMORY. */
hone_status hone_print_make(const hone_image *image, hone_print *out) HONE_MUST_USE;

/* Decodes picture i once more; called by several threads at once. */
typedef hone_status hone_picture_read(void *arg, int64_t i, hone_image *out);
/* exact[i], near[i] (count): the first picture that i is a copy of, else i. A picture with an exact copy has the near
 * one of that. Constant pictures and ones without print are copies of none. A pair that `read` fails on is not near.
 * No result depends on `threads`. */
hone_status hone_image_twins_find(const hone_print *print, int64_t count, hone_picture_read *read, void *arg,
                                  int threads, int64_t *exact, int64_t *near) HONE_MUST_USE;
/* Whether two pictures are near by the definition above; lay: also when laid over one another. Errors: MEMORY. */
hone_status hone_images_near(const hone_image *a, const hone_image *b, bool lay, bool *near) HONE_MUST_USE;

#endif
