/* ref_table.c - the table of the reference dialect, one row an op of ops.def.
 *
 * Complete but for reshape, which the plan turns into an alias and nobody launches. Every other dialect
 * is measured against this table, so a row may be slow but never missing. */
#include "ref.h"

#include "dialect.h"

#define ROW(op)              [HONE_OP_##op] = {.launch = REF(op)},
#define ROW_WITH_SCRATCH(op) [HONE_OP_##op] = {.prepare = REF(op##_prepare), .launch = REF(op)},

/* clang-format off */
static const hone_kernel table[HONE_OP_COUNT] = {
    /* data, dense algebra */
    ROW(image_batch) ROW(image_view) ROW_WITH_SCRATCH(image_adjust) ROW(image_erase) ROW(image_mix)
    ROW(linear) ROW(linear_dx) ROW(linear_dw)
    ROW(conv) ROW(conv_dx) ROW(conv_dw)
    /* activations */
    ROW(relu) ROW(relu_dx) ROW(relu6) ROW(relu6_dx) ROW(leaky_relu) ROW(leaky_relu_dx)
    ROW(gelu) ROW(gelu_dx) ROW(gelu_tanh) ROW(gelu_tanh_dx) ROW(silu) ROW(silu_dx)
    ROW(tanh) ROW(tanh_dx) ROW(sigmoid) ROW(sigmoid_dx)
    /* pooling */
    ROW(maxpool) ROW(maxpool_dx) ROW(avgpool) ROW(avgpool_dx)
    ROW(global_avgpool) ROW(global_avgpool_dx) ROW(global_maxpool) ROW(global_maxpool_dx)
    /* normalisation */
    ROW(batchnorm) ROW(batchnorm_dx) ROW(batchnorm_infer) ROW(layernorm) ROW(layernorm_dx)
    /* noise */
    ROW(dropout) ROW(dropout_dx) ROW(drop_path) ROW(drop_path_dx)
    /* joins and tokens */
    ROW(add) ROW(mul) ROW(cast) ROW(add_rows) ROW(add_rows_dp) ROW(concat) ROW(concat_dx)
    ROW(prepend_token) ROW(prepend_token_dx) ROW(prepend_token_dt) ROW(first_token) ROW(first_token_dx)
    ROW_WITH_SCRATCH(attention) ROW_WITH_SCRATCH(attention_dx)
    /* loss, update */
    ROW(softmax_xent) ROW(softmax_xent_dx) ROW(softmax)
    ROW(grad_norm) ROW(sgd) ROW(adamw) ROW(average)
    /* fused */
    ROW(linear_act) ROW(conv_act) ROW(linear_dx_act)
    ROW(conv_act_maxpool) ROW(conv_act_maxpool_dw) ROW(maxpool_act_dx)
    ROW(batchnorm_relu) ROW(batchnorm_relu_dx) ROW(batchnorm_add_relu) ROW(batchnorm_add_relu_dx)
    ROW(batchnorm_infer_relu) ROW(batchnorm_infer_add_relu)
    ROW(add_relu) ROW(softmax_xent_both) ROW(add_layernorm) ROW(layernorm_add_dx)
    ROW(batchnorm_relu6) ROW(batchnorm_relu6_dx) ROW(batchnorm_infer_relu6)
    /* ragged text, sparse tables */
    ROW(embedding_bag) ROW(embedding_bag_dw) ROW(embedding_bag_rows) ROW(embedding_bag_norm) ROW(embedding_bag_sgd)
    ROW(embedding) ROW(embedding_dw) ROW(embedding_rows)
    ROW(ragged_mean) ROW(ragged_mean_dx) ROW(ragged_max) ROW(ragged_max_dx) ROW(ragged_first) ROW(ragged_first_dx)
    ROW(ragged_add) ROW(ragged_add_dp)
    [HONE_OP_ragged_attention] = {.prepare = REF(attention_prepare), .launch = REF(ragged_attention)},
    [HONE_OP_ragged_attention_dx] = {.prepare = REF(attention_dx_prepare), .launch = REF(ragged_attention_dx)},
    ROW(rows_norm) ROW(sgd_rows) ROW(adamw_rows)
    ROW(conv1d) ROW(conv1d_dx) ROW(conv1d_dw) ROW(gru) ROW_WITH_SCRATCH(gru_dx)
};
/* clang-format on */

/* hone_ref32_fill, hone_ref64_fill */
#define FILL_NAME_(bits) hone_ref##bits##_fill
#define FILL_NAME(bits)  FILL_NAME_(bits)

void FILL_NAME(HONE_REAL_BITS)(hone_backend *b)
{
    memcpy(b->kernel, table, sizeof table);
    b->fuses = true; /* fused rows are complete here, so the compiler's rewrites can be tested on ref */
    b->input_acts = 1u << HONE_ACT_GELU | 1u << HONE_ACT_GELU_TANH | 1u << HONE_ACT_SILU;
}
