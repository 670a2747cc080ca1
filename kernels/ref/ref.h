/* ref.h - the reference dialect: the definition of every operation, in plain C.
 *
 * Each file is compiled twice: HONE_REAL_BITS 32 gives ref32_relu on float, 64 gives ref64_relu on
 * double. `real` is the type of every F32 tensor of the graph; accumulators are double in both.
 * Read these files to learn what an op means. They must stay obvious: no vector code, no threads, no
 * cleverness; speed belongs to kernels/cpu. */
#ifndef HONE_KERNELS_REF_H
#define HONE_KERNELS_REF_H

#include "hone/backend.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define REF_TYPE_32           float
#define REF_TYPE_64           double
#define REF_PASTE_(a, b)      a##b
#define REF_PASTE(a, b)       REF_PASTE_(a, b)
#define REF_NAME_(bits, name) ref##bits##_##name
#define REF_NAME(bits, name)  REF_NAME_(bits, name)

typedef REF_PASTE(REF_TYPE_, HONE_REAL_BITS) real;
#define REF(name) REF_NAME(HONE_REAL_BITS, name) /* REF(relu) is ref32_relu or ref64_relu */

/* One launcher per op of ops.def; arguments as hone_kernel.launch. */
#define HONE_OP(name, inputs, outputs, in_place) void REF(name)(hone_backend * b, const hone_launch *l);
#include "hone/ops.def"
#undef HONE_OP

/* image_adjust needs one picture of scratch. */
hone_status REF(image_adjust_prepare)(hone_backend *b, const hone_graph *g, hone_node *n);
/* attention needs scratch: a row of probabilities, or the gradients of one head's q, k, v in double; ragged, too. */
hone_status REF(attention_prepare)(hone_backend *b, const hone_graph *g, hone_node *n);
hone_status REF(attention_dx_prepare)(hone_backend *b, const hone_graph *g, hone_node *n);
/* gru_dx: gradients of the gates, (T, 3H), and of the state. */
hone_status REF(gru_dx_prepare)(hone_backend *b, const hone_graph *g, hone_node *n);

static inline const hone_attrs *attrs(const hone_launch *l) { return &l->node->attr; }

/* Elements of all axes but the last: the rows of a (.., C) tensor. */
static inline int64_t row_count(const hone_tensor *t)
{
    int64_t rows = 1;
    for (int32_t k = 0; k + 1 < t->rank; k++) rows *= t->dim[k];
    return rows;
}

static inline int64_t last_dim(const hone_tensor *t) { return t->rank ? t->dim[t->rank - 1] : 1; }

/* Windows of conv and pooling along one axis (0 = height, 1 = width): the input place that tap `k` of
 * output `o` reads, outside the image where it is not in [0, size). */
static inline int64_t input_place(const hone_window *v, int axis, int64_t o, int64_t k)
{
    return o * v->stride[axis] - v->pad[axis] + k * v->dilation[axis];
}

/* The output that reads input place `h` by tap `k`, or -1 where there is none. */
static inline int64_t output_place(const hone_window *v, int axis, int64_t h, int64_t k, int64_t outputs)
{
    int64_t at = h + v->pad[axis] - k * v->dilation[axis];
    if (at < 0 || at % v->stride[axis] != 0) return -1;
    return at / v->stride[axis] < outputs ? at / v->stride[axis] : -1;
}

/* A gradient is written; only a parameter's is added to, where the node accumulates micro-batches. */
static inline void put_param_grad(const hone_launch *l, real *dw, double value)
{
    *dw = (real)(l->node->accumulate ? (double)*dw + value : value);
}

/* Forward and derivative of a fused row's activation, both exact. The derivative reads u = act(x), but x itself for gelu,
 * gelu_tanh and silu. */
double REF(act)(hone_act act, double slope, double x);
double REF(act_slope)(hone_act act, double slope, double u);

/* The sum behind one output of a convolution, bias included; shared by conv and its fused rows. */
double REF(conv_at)(const hone_launch *l, int64_t n, int64_t oh, int64_t ow, int64_t o);

#endif
