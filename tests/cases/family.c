/* family.c - which rows belong together: the backward rows of each forward op and their operands.
 *
 * Written apart from src/graph/grad.c on purpose: a mistake there must not be copied here. Facts about
 * ops.def that its macro does not carry ("!" inputs, parameter gradients) stand here too. */
#include "cases/cases.h"

#include <string.h>

#define ROW(forward, backward, operands, gradient)                                                                     \
    {                                                                                                                  \
        HONE_OP_##forward, HONE_OP_##backward, operands, gradient, false                                               \
    }
#define FUSED(forward, backward, operands, gradient)                                                                   \
    {                                                                                                                  \
        HONE_OP_##forward, HONE_OP_##backward, operands, gradient, true                                                \
    }
/* The gradient is an operand as it is: no kernel, but the numbers must agree. */
#define SAME(forward, operand, gradient)                                                                               \
    {                                                                                                                  \
        HONE_OP_##forward, HONE_OP_reshape, operand, gradient, false                                                   \
    }

const backward_row backward_list[] = {
    ROW(linear, linear_dx, "d0 x1", "x0"),
    ROW(linear, linear_dw, "x0 d0", "x1 x2"),
    FUSED(linear, linear_dx_act, "d0 x1 x0", ""),
    ROW(conv, conv_dx, "d0 x1", "x0"),
    ROW(conv, conv_dw, "x0 d0", "x1 x2"),
    ROW(relu, relu_dx, "y0 d0", "x0"),
    ROW(relu6, relu6_dx, "y0 d0", "x0"),
    ROW(leaky_relu, leaky_relu_dx, "y0 d0", "x0"),
    ROW(gelu, gelu_dx, "x0 d0", "x0"),
    ROW(gelu_tanh, gelu_tanh_dx, "x0 d0", "x0"),
    ROW(silu, silu_dx, "x0 d0", "x0"),
    ROW(tanh, tanh_dx, "y0 d0", "x0"),
    ROW(sigmoid, sigmoid_dx, "y0 d0", "x0"),
    ROW(maxpool, maxpool_dx, "d0 y1", "x0"),
    FUSED(maxpool, maxpool_act_dx, "y0 y1 d0", ""),
    ROW(avgpool, avgpool_dx, "d0", "x0"),
    ROW(global_avgpool, global_avgpool_dx, "d0", "x0"),
    ROW(global_maxpool, global_maxpool_dx, "d0 y1", "x0"),
    ROW(batchnorm, batchnorm_dx, "x0 x1 y1 y2 d0", "x0 x1 x2"),
    ROW(layernorm, layernorm_dx, "x0 x1 y1 y2 d0", "x0 x1 x2"),
    ROW(layernorm, layernorm_add_dx, "x0 x1 y1 y2 d0 x0", ""),
    ROW(dropout, dropout_dx, "d0 x1", "x0"),
    ROW(drop_path, drop_path_dx, "d0 x1", "x0"),
    SAME(add, "d0", "x0"),
    SAME(add, "d0", "x1"),
    ROW(mul, mul, "d0 x1", "x0"),
    ROW(mul, mul, "d0 x0", "x1"),
    SAME(add_rows, "d0", "x0"),
    ROW(add_rows, add_rows_dp, "d0", "x1"),
    ROW(concat, concat_dx, "d0", "x0 x1"),
    ROW(prepend_token, prepend_token_dx, "d0", "x0"),
    ROW(prepend_token, prepend_token_dt, "d0", "x1"),
    ROW(first_token, first_token_dx, "d0", "x0"),
    ROW(attention, attention_dx, "x0 y0 y1 d0 x1", "x0"),
    ROW(softmax_xent, softmax_xent_dx, "x0 x1 x2 x3 x4 x5 x6", "x0"),
    ROW(embedding_bag, embedding_bag_dw, "x0 x1 x2 d0", "x0"),
    ROW(embedding_bag, embedding_bag_rows, "x1 x2 d0", ""),
    ROW(embedding, embedding_dw, "x0 x1 x2 d0", "x0"),
    ROW(embedding, embedding_rows, "x1 x2 d0", ""),
    ROW(ragged_mean, ragged_mean_dx, "d0 x1", "x0"),
    ROW(ragged_max, ragged_max_dx, "d0 y1", "x0"),
    ROW(ragged_first, ragged_first_dx, "d0 x1", "x0"),
    SAME(ragged_add, "d0", "x0"),
    ROW(ragged_add, ragged_add_dp, "x1 d0 x2", "x1"),
    ROW(ragged_attention, ragged_attention_dx, "x0 y0 y1 d0 x1 x2", "x0"),
    ROW(conv1d, conv1d_dx, "d0 x1 x3", "x0"),
    ROW(conv1d, conv1d_dw, "x0 d0 x3", "x1 x2"),
    ROW(gru, gru_dx, "x1 x3 y0 y1 d0", "x0 x1 x2"),
    /* fused */
    ROW(conv_act_maxpool, conv_act_maxpool_dw, "x0 y0 y1 d0", "x1 x2"),
    ROW(batchnorm_relu, batchnorm_relu_dx, "x0 x1 y1 y2 x2 d0 -", "x0 x1 x2"),
    ROW(batchnorm_relu, batchnorm_relu_dx, "x0 x1 y1 y2 x2 d0 x0", ""),
    ROW(batchnorm_relu6, batchnorm_relu6_dx, "x0 x1 y1 y2 x2 d0", "x0 x1 x2"),
    ROW(batchnorm_add_relu, batchnorm_add_relu_dx, "x0 x1 y1 y2 y0 d0 -  -", "x0 x1 x2 x5"),
    ROW(batchnorm_add_relu, batchnorm_add_relu_dx, "x0 x1 y1 y2 -  d0 -  y3", "x0 x1 x2 x5"),
    ROW(batchnorm_add_relu, batchnorm_add_relu_dx, "x0 x1 y1 y2 y0 d0 x5 -", ""),
    ROW(batchnorm_add_relu, batchnorm_add_relu_dx, "x0 x1 y1 y2 -  d0 x5 y3", ""),
    SAME(softmax_xent_both, "y2", "x0"),
    ROW(add_layernorm, layernorm_dx, "y3 x2 y1 y2 d0", "x0 x2 x3"),
};
const int backward_count = (int)(sizeof backward_list / sizeof *backward_list);

const char *no_gradient_reason(hone_op op)
{
    switch (op) {
    case HONE_OP_image_batch:
    case HONE_OP_image_view:
    case HONE_OP_image_adjust: return "its input is bytes";
    case HONE_OP_image_erase:
    case HONE_OP_image_mix: return "its input is data, which nothing is learned for";
    case HONE_OP_batchnorm_infer:
    case HONE_OP_batchnorm_infer_relu:
    case HONE_OP_batchnorm_infer_relu6:
    case HONE_OP_batchnorm_infer_add_relu: return "evaluation only";
    case HONE_OP_softmax: return "predictions only; training uses softmax_xent";
    case HONE_OP_reshape: return "an alias";
    case HONE_OP_cast: return "a rounded copy for one pass; masters are never differentiated through it";
    case HONE_OP_grad_norm:
    case HONE_OP_rows_norm:
    case HONE_OP_sgd_rows:
    case HONE_OP_adamw_rows:
    case HONE_OP_embedding_bag_norm:
    case HONE_OP_embedding_bag_sgd:
    case HONE_OP_sgd:
    case HONE_OP_adamw:
    case HONE_OP_average: return "the update";
    case HONE_OP_linear_act:
    case HONE_OP_conv_act:
    case HONE_OP_add_relu: return "its backward is the plain rows, and it equals them forward";
    default: return NULL;
    }
}

/* A row that only backward passes use. */
bool is_backward(hone_op op)
{
    for (int k = 0; k < backward_count; k++)
        if (backward_list[k].backward == op && op != HONE_OP_mul && op != HONE_OP_reshape) return true;
    return false;
}

bool is_written_input(hone_op op, int k)
{
    switch (op) {
    case HONE_OP_batchnorm:
    case HONE_OP_batchnorm_relu:
    case HONE_OP_batchnorm_relu6:
    case HONE_OP_batchnorm_add_relu: return k == 3 || k == 4;
    case HONE_OP_softmax_xent:
    case HONE_OP_softmax_xent_both: return k == 4;
    case HONE_OP_grad_norm: return k == 1;
    case HONE_OP_sgd:
    case HONE_OP_adamw: return k != 2;
    case HONE_OP_rows_norm:
    case HONE_OP_embedding_bag_norm: return k == 2;
    case HONE_OP_sgd_rows:
    case HONE_OP_adamw_rows: return k == 0 || k >= 5;
    case HONE_OP_embedding_bag_sgd: return k == 0;
    case HONE_OP_average: return k == 0;
    default: return false;
    }
}

bool is_param_gradient(hone_op op, int k)
{
    switch (op) {
    case HONE_OP_linear_dw:
    case HONE_OP_conv_dw:
    case HONE_OP_conv1d_dw:
    case HONE_OP_conv_act_maxpool_dw:
    case HONE_OP_add_rows_dp:
    case HONE_OP_embedding_bag_dw:
    case HONE_OP_embedding_dw:
    case HONE_OP_ragged_add_dp:
    case HONE_OP_prepend_token_dt: return true;
    case HONE_OP_batchnorm_dx:
    case HONE_OP_batchnorm_relu_dx:
    case HONE_OP_batchnorm_relu6_dx:
    case HONE_OP_batchnorm_add_relu_dx:
    case HONE_OP_gru_dx:
    case HONE_OP_layernorm_dx:
    case HONE_OP_layernorm_add_dx: return k == 1 || k == 2;
    default: return false;
    }
}
