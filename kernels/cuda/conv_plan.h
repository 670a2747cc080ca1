/* conv_plan.h - the convolution rows of the table: a library's plan, or our own kernels of conv.cu.
 *
 * conv, conv_act, conv_dx and conv_dw share prepare, launch and release, which look at node->op. Must not
 * know a library: that is dnn.h. */
#ifndef HONE_KERNELS_CUDA_CONV_PLAN_H
#define HONE_KERNELS_CUDA_CONV_PLAN_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As in hone_kernel. After prepare node->choice says which plan, or our own kernel and why. */
hone_status cuda_conv_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
void cuda_conv_launch(hone_backend *b, const hone_launch *l);
void cuda_conv_release(hone_backend *b, hone_node *n);

/* conv_epilogue.cu. y (.., channels) of `count` elements in place: act(y + bias); bias (channels) or NULL. */
void hone_cuda_bias_act(hone_backend *b, hone_dtype dtype, void *y, const void *bias, int64_t channels, int64_t count,
                        hone_act act, float slope);
/* dw (count) fp32 = or += from, which is of `dtype`. */
void hone_cuda_put_gradient(hone_backend *b, hone_dtype dtype, const void *from, float *dw, int64_t count,
                            int accumulate);

#ifdef __cplusplus
}
#endif
#endif
