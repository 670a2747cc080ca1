/* table.c - the rows of the CUDA dialect: op, prepare, launch. C, because nvcc takes no designated
 * initialisers. A row is written here when its .cu file is. */
#include "conv_plan.h"
#include "cuda.h"

/* Several rows a line, grouped by file: the formatter would give each its own line. */
/* clang-format off */
#define ROW(name)               {HONE_OP_##name, {NULL, cuda_##name, NULL}}
#define PREPARED(name, prepare) {HONE_OP_##name, {cuda_##prepare##_prepare, cuda_##name, NULL}} /* needs scratch */
#define LINEAR(name, prepare)   {HONE_OP_##name, {cuda_##prepare##_prepare, cuda_##name, cuda_linear_release}}
#define CONV(name)              {HONE_OP_##name, {cuda_conv_prepare, cuda_conv_launch, cuda_conv_release}}

static const struct {
    hone_op     op;
    hone_kernel kernel;
} rows[] = {
    /* activation.cu */
    ROW(relu), ROW(relu_dx), ROW(relu6), ROW(relu6_dx), ROW(leaky_relu), ROW(leaky_relu_dx), ROW(gelu), ROW(gelu_dx),
    ROW(gelu_tanh), ROW(gelu_tanh_dx), ROW(silu), ROW(silu_dx), ROW(tanh), ROW(tanh_dx), ROW(sigmoid), ROW(sigmoid_dx),
    /* elementwise.cu */
    ROW(add), ROW(add_relu), ROW(mul), ROW(cast), ROW(add_rows), PREPARED(add_rows_dp, add_rows_dp), ROW(concat), ROW(concat_dx),
    /* dropout.cu, token.cu */
    ROW(dropout), ROW(dropout_dx), ROW(drop_path), ROW(drop_path_dx),
    ROW(prepend_token), ROW(prepend_token_dx), PREPARED(prepend_token_dt, prepend_token_dt), ROW(first_token), ROW(first_token_dx),
    /* softmax.cu, layernorm.cu */
    ROW(softmax), ROW(softmax_xent_dx),
    PREPARED(softmax_xent, softmax_xent), PREPARED(softmax_xent_both, softmax_xent),
    ROW(layernorm), PREPARED(layernorm_dx, layernorm_dx), ROW(add_layernorm), PREPARED(layernorm_add_dx, layernorm_dx),
    /* image_view.cu, image_adjust.cu, image_mix.cu */
    ROW(image_view), PREPARED(image_adjust, image_adjust), ROW(image_erase), ROW(image_mix),
    /* image_batch.cu, maxpool.cu, pool.cu, update.cu */
    ROW(image_batch), PREPARED(maxpool, maxpool), PREPARED(maxpool_dx, maxpool), PREPARED(maxpool_act_dx, maxpool),
    ROW(avgpool), ROW(avgpool_dx),
    ROW(global_avgpool), ROW(global_avgpool_dx), ROW(global_maxpool), ROW(global_maxpool_dx),
    PREPARED(grad_norm, grad_norm), ROW(sgd), ROW(adamw), ROW(average),
    /* linear.cu, conv.cu */
    LINEAR(linear, linear), LINEAR(linear_act, linear), LINEAR(linear_dx, linear_dx), LINEAR(linear_dx_act, linear_dx),
    LINEAR(linear_dw, linear_dw), CONV(conv), CONV(conv_act), CONV(conv_dx), CONV(conv_dw),
    /* attention.cu, conv_pool.cu */
    PREPARED(attention, attention), PREPARED(attention_dx, attention),
    ROW(conv_act_maxpool), PREPARED(conv_act_maxpool_dw, conv_act_maxpool_dw),
    /* embedding_bag.cu, rows.cu */
    ROW(embedding_bag), PREPARED(embedding_bag_dw, embedding_bag), PREPARED(embedding_bag_rows, embedding_bag),
    PREPARED(embedding_bag_norm, rows_norm), PREPARED(embedding_bag_sgd, embedding_bag), ROW(embedding), PREPARED(embedding_dw, embedding_bag),
    PREPARED(embedding_rows, embedding_bag), PREPARED(rows_norm, rows_norm), ROW(sgd_rows), ROW(adamw_rows),
    /* ragged.cu */
    ROW(ragged_mean), ROW(ragged_mean_dx), ROW(ragged_max), ROW(ragged_max_dx), ROW(ragged_first), ROW(ragged_first_dx),
    ROW(ragged_add), PREPARED(ragged_add_dp, ragged_add_dp),
    PREPARED(ragged_attention, attention), PREPARED(ragged_attention_dx, attention),
    /* conv1d.cu, gru.cu */
    PREPARED(conv1d, conv1d), PREPARED(conv1d_dx, conv1d), PREPARED(conv1d_dw, conv1d),
    PREPARED(gru, gru), PREPARED(gru_dx, gru),
    /* batchnorm.cu */
    PREPARED(batchnorm, batchnorm), PREPARED(batchnorm_relu, batchnorm), PREPARED(batchnorm_add_relu, batchnorm),
    PREPARED(batchnorm_dx, batchnorm), PREPARED(batchnorm_relu_dx, batchnorm), PREPARED(batchnorm_add_relu_dx, batchnorm),
    PREPARED(batchnorm_relu6, batchnorm), PREPARED(batchnorm_relu6_dx, batchnorm),
    ROW(batchnorm_infer), ROW(batchnorm_infer_relu), ROW(batchnorm_infer_relu6), ROW(batchnorm_infer_add_relu),
};
/* clang-format on */

void hone_cuda_fill(hone_backend *b)
{
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) b->kernel[rows[k].op] = rows[k].kernel;
    /* cuBLASLt has GELU in this form alone; the others would be the pass behind the product that they are anyway */
    b->input_acts = 1u << HONE_ACT_GELU_TANH;
}
