/* cuda.h - what the host side of the CUDA dialect shares: its table and the rows in it.
 *
 * Host glue is C (cuda_runtime_api.h compiles as C11); kernels are .cu. The same table and the same
 * .cu files also make the emulated device of the tests (tests/simt), so nothing here may include a
 * CUDA header. */
#ifndef HONE_KERNELS_CUDA_CUDA_H
#define HONE_KERNELS_CUDA_CUDA_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One launcher per op of ops.def that has a kernel of ours; arguments as hone_kernel.launch. */
#define HONE_OP(name, inputs, outputs, in_place) void cuda_##name(hone_backend *b, const hone_launch *l);
#include "hone/ops.def"
#undef HONE_OP

/* Scratch of the rows that need it; arguments as hone_kernel.prepare. */
hone_status cuda_image_adjust_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_softmax_xent_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_batchnorm_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_grad_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_attention_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_conv_act_maxpool_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_maxpool_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_layernorm_dx_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_add_rows_dp_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_prepend_token_dt_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
/* linear_plan.c: the library or our own kernel; also of linear_act, linear_dx_act. */
hone_status cuda_linear_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_linear_dx_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_linear_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
void cuda_linear_release(hone_backend *b, hone_node *n);
hone_status cuda_embedding_bag_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_rows_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_ragged_add_dp_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_conv1d_prepare(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status cuda_gru_prepare(hone_backend *b, const hone_graph *g, hone_node *n);

/* copy.cu: hone_backend.copy. */
void hone_cuda_copy(hone_backend *b, void *to, const void *from, size_t bytes);
/* Puts the rows of kernels/cuda/table.c into b->kernel. Rows without a kernel stay NULL: compile
 * refuses them by name, because this dialect inherits nothing. */
void hone_cuda_fill(hone_backend *b);

/* Entry of the plugin (kernels/dialect.h): opens device number `device`. Errors: DEVICE with the reason. */
hone_status hone_cuda_open(int device, hone_backend **out);
/* The other one: versions of the libraries, or what is missing. */
void hone_cuda_versions(char *text, size_t text_bytes);

#ifdef __cplusplus
}
#endif
#endif
