/* linear.h - the linear rows between linear_plan.c, which chooses, and linear.cu, our own kernels.
 *
 * Arguments as hone_kernel.launch, operands in the order of ops.def. Each writes one output only. */
#ifndef HONE_KERNELS_CUDA_LINEAR_H
#define HONE_KERNELS_CUDA_LINEAR_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The whole row by our tile kernel. */
void cuda_own_linear(hone_backend *b, const hone_launch *l);
void cuda_own_linear_act(hone_backend *b, const hone_launch *l);
void cuda_own_linear_dx(hone_backend *b, const hone_launch *l);
void cuda_own_linear_dx_act(hone_backend *b, const hone_launch *l);
void cuda_own_linear_dw(hone_backend *b, const hone_launch *l); /* out[0] alone */
void cuda_own_linear_db(hone_backend *b, const hone_launch *l); /* out[1] alone */
/* Over a product of the library, in out[1] where that is asked for, else in out[0]: out[0] = act(it + bias). And dx, in
 * place, gated by the output or input of the activation below. */
void cuda_linear_finish(hone_backend *b, const hone_launch *l, int with_bias);
void cuda_linear_gate(hone_backend *b, const hone_launch *l);

#ifdef __cplusplus
}
#endif
#endif
