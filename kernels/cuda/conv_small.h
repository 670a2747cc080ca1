/* conv_small.h - which convolutions are small enough for conv_small.cu, and what they need. For conv.cu and conv_plan.c.
 *
 * A sample of the image lies in shared memory, so it has to fit there; few channels, because each product is an fp32
 * multiply-add of ours and not a tensor core's. Functions of the shape alone: the order of additions, and so the bits,
 * are the same on every chip. */
#ifndef HONE_KERNELS_CUDA_CONV_SMALL_H
#define HONE_KERNELS_CUDA_CONV_SMALL_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One convolution by its window and the sizes of x (samples, h, w, in) and y (samples, oh, ow, out). */
typedef struct hone_small_conv {
    hone_window window;
    int64_t samples, h, w, in, oh, ow, out;
} hone_small_conv;

/* Whether the kernels of conv_small.cu take conv_dx or conv_dw of it: 3 x 3 or 5 x 5, stride 1, no groups. */
bool hone_small_conv_dx_fits(const hone_small_conv *c);
bool hone_small_conv_dw_fits(const hone_small_conv *c);
/* Scratch of conv_dw where it fits: sums of its blocks. */
size_t hone_small_conv_dw_bytes(const hone_small_conv *c);

/* Launchers of what fits. dx (samples, h, w, in) from dy and w; dw, db (either may be NULL) from x and dy, added to
 * what is there where `accumulate`. */
void hone_small_conv_dx(hone_backend *b, const hone_small_conv *c, hone_dtype dtype, const void *dy, const void *w,
                        void *dx);
void hone_small_conv_dw(hone_backend *b, const hone_small_conv *c, hone_dtype dtype, const void *x, const void *dy,
                        float *dw, float *db, int accumulate, void *work);

#ifdef __cplusplus
}
#endif
#endif
