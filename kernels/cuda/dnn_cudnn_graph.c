/* dnn_cudnn_graph.c - a checked operation graph as cuDNN's descriptors.
 *
 * Contract: a translation by tables, slot by slot; nothing is decided here. Convolutions are cross-correlations
 * (what every framework calls convolution); all arithmetic is float. Sources: cuDNN backend API reference,
 * CUDNN_BACKEND_OPERATION_*_DESCRIPTOR. */
#include "dnn_cudnn.h"

/* clang-format off */
static const struct {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t  attribute[HONE_DNN_SLOTS_MAX]; /* slot by slot, as in hone_dnn_op_kind */
    cudnnBackendAttributeName_t  description;                   /* of the convolution or pointwise mode; math type otherwise */
    cudnnPointwiseMode_t         mode;
} op_table[HONE_DNN_OP_COUNT] = {
#define CONV(name, x, w, y) {CUDNN_ATTR_OPERATION_CONVOLUTION_##name##x, CUDNN_ATTR_OPERATION_CONVOLUTION_##name##w, CUDNN_ATTR_OPERATION_CONVOLUTION_##name##y}, \
                            CUDNN_ATTR_OPERATION_CONVOLUTION_##name##CONV_DESC, 0
    [HONE_DNN_OP_CONV]    = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CONV(FORWARD_, X, W, Y)},
    [HONE_DNN_OP_CONV_DX] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CONV(BWD_DATA_, DX, W, DY)},
    [HONE_DNN_OP_CONV_DW] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CONV(BWD_FILTER_, X, DW, DY)},
#undef CONV
#define POINTWISE(mode, ...) {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, {__VA_ARGS__}, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_POINTWISE_##mode}
#define XBY CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_ATTR_OPERATION_POINTWISE_YDESC
    [HONE_DNN_OP_ADD]     = POINTWISE(ADD, XBY),
    [HONE_DNN_OP_SUB]     = POINTWISE(SUB, XBY),
    [HONE_DNN_OP_MUL]     = POINTWISE(MUL, XBY),
    [HONE_DNN_OP_RELU]    = POINTWISE(RELU_FWD, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_YDESC),
    [HONE_DNN_OP_RELU_DX] = POINTWISE(RELU_BWD, CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                      CUDNN_ATTR_OPERATION_POINTWISE_DXDESC),
#undef XBY
#undef POINTWISE
    [HONE_DNN_OP_STATS]   = {CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR,
                             {CUDNN_ATTR_OPERATION_GENSTATS_XDESC, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC},
                             CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, 0},
#define F(name) CUDNN_ATTR_OPERATION_BN_FINALIZE_##name
    [HONE_DNN_OP_FINALIZE] = {CUDNN_BACKEND_OPERATION_BN_FINALIZE_STATISTICS_DESCRIPTOR,
                             {F(Y_SUM_DESC), F(Y_SQ_SUM_DESC), F(SCALE_DESC), F(BIAS_DESC), F(PREV_RUNNING_MEAN_DESC), F(PREV_RUNNING_VAR_DESC),
                              F(UPDATED_RUNNING_MEAN_DESC), F(UPDATED_RUNNING_VAR_DESC), F(SAVED_MEAN_DESC), F(SAVED_INV_STD_DESC),
                              F(EQ_SCALE_DESC), F(EQ_BIAS_DESC), F(ACCUM_COUNT_DESC), F(EPSILON_DESC), F(EXP_AVERATE_FACTOR_DESC)},
                             F(MATH_PREC), 0},
#undef F
#define N(name) CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_##name
    [HONE_DNN_OP_NORM_DW] = {CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR,
                             {N(MEAN_DESC), N(INVSTD_DESC), N(BN_SCALE_DESC), N(X_DESC), N(DY_DESC), N(DBN_SCALE_DESC), N(DBN_BIAS_DESC),
                              N(EQ_DY_SCALE_DESC), N(EQ_X_SCALE_DESC), N(EQ_BIAS)},
                             N(MATH_PREC), 0},
#undef N
};
/* clang-format on */

/* Attributes are typed and counted; the names in messages are the attributes' own. */
#define SET(d, attribute, type, count, values)                                                                         \
    CUDNN_TRY(&dnn->call, #attribute, dnn->call.set((d), CUDNN_ATTR_##attribute, CUDNN_TYPE_##type, (count), (values)))
#define FINALIZE(d, what) CUDNN_TRY(&dnn->call, "finalizing " what, dnn->call.finalize(d))

/* hone's storage types only; the check has refused all others. */
static cudnnDataType_t data_type(hone_dtype dtype)
{
    switch (dtype) {
    case HONE_BF16: return CUDNN_DATA_BFLOAT16;
    case HONE_F16: return CUDNN_DATA_HALF;
    case HONE_I64: return CUDNN_DATA_INT64;
    default: return CUDNN_DATA_FLOAT;
    }
}

/* Everything that hone_dnn_tensor says, attribute by attribute; alignment is what the planner promises at the least. */
static hone_status make_tensor(hone_dnn *dnn, cudnn_bag *bag, const hone_dnn_tensor *t, cudnnBackendDescriptor_t *out)
{
    const cudnnDataType_t type = data_type(t->dtype);
    const int64_t align = HONE_DNN_ALIGN_BYTES;
    const bool is_virtual = t->is_virtual, by_value = t->by_value;
    HONE_TRY(hone_cudnn_make(dnn, bag, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    SET(*out, TENSOR_DATA_TYPE, DATA_TYPE, 1, &type);
    SET(*out, TENSOR_DIMENSIONS, INT64, 4, t->dim);
    SET(*out, TENSOR_STRIDES, INT64, 4, t->stride);
    SET(*out, TENSOR_UNIQUE_ID, INT64, 1, &t->uid);
    SET(*out, TENSOR_BYTE_ALIGNMENT, INT64, 1, &align);
    SET(*out, TENSOR_IS_VIRTUAL, BOOLEAN, 1, &is_virtual);
    SET(*out, TENSOR_IS_BY_VALUE, BOOLEAN, 1, &by_value);
    FINALIZE(*out, "a tensor");
    return HONE_OK;
}

/* Padding is the same on both sides of an axis; groups are nowhere here: cuDNN reads them off the weight's channels. */
static hone_status make_window(hone_dnn *dnn, cudnn_bag *bag, const hone_window *v, cudnnBackendDescriptor_t *out)
{
    const int64_t axes = 2, pad[2] = {v->pad[0], v->pad[1]}, stride[2] = {v->stride[0], v->stride[1]},
                  dilation[2] = {v->dilation[0], v->dilation[1]};
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    HONE_TRY(hone_cudnn_make(dnn, bag, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    SET(*out, CONVOLUTION_SPATIAL_DIMS, INT64, 1, &axes);
    SET(*out, CONVOLUTION_COMP_TYPE, DATA_TYPE, 1, &type);
    SET(*out, CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, 1, &mode);
    SET(*out, CONVOLUTION_PRE_PADDINGS, INT64, 2, pad);
    SET(*out, CONVOLUTION_POST_PADDINGS, INT64, 2, pad);
    SET(*out, CONVOLUTION_DILATIONS, INT64, 2, dilation);
    SET(*out, CONVOLUTION_FILTER_STRIDES, INT64, 2, stride);
    FINALIZE(*out, "a window");
    return HONE_OK;
}

/* ReLU's bounds and slope keep their defaults: from 0 up, slope 0. */
static hone_status make_pointwise(hone_dnn *dnn, cudnn_bag *bag, cudnnPointwiseMode_t mode,
                                  cudnnBackendDescriptor_t *out)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    HONE_TRY(hone_cudnn_make(dnn, bag, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, out));
    SET(*out, POINTWISE_MODE, POINTWISE_MODE, 1, &mode);
    SET(*out, POINTWISE_MATH_PREC, DATA_TYPE, 1, &type);
    FINALIZE(*out, "a pointwise mode");
    return HONE_OK;
}

/* What an op has besides its operands: a window or a mode, or a type of its sums and a mode of its own. */
static hone_status describe_op(hone_dnn *dnn, cudnn_bag *bag, const hone_dnn_op *op, cudnnBackendDescriptor_t d)
{
    const cudnnBackendAttributeName_t description = op_table[op->kind].description;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t part;
    if (op->kind <= HONE_DNN_OP_RELU_DX) {
        if (op->kind <= HONE_DNN_OP_CONV_DW) HONE_TRY(make_window(dnn, bag, &op->window, &part));
        else HONE_TRY(make_pointwise(dnn, bag, op_table[op->kind].mode, &part));
        CUDNN_TRY(&dnn->call, "an op's window or mode",
                  dnn->call.set(d, description, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part));
        return HONE_OK;
    }
    CUDNN_TRY(&dnn->call, "the type of sums", dnn->call.set(d, description, CUDNN_TYPE_DATA_TYPE, 1, &type));
    if (op->kind == HONE_DNN_OP_STATS) {
        const cudnnGenStatsMode_t mode = CUDNN_GENSTATS_SUM_SQSUM;
        SET(d, OPERATION_GENSTATS_MODE, GENSTATS_MODE, 1, &mode);
    } else if (op->kind == HONE_DNN_OP_FINALIZE) {
        const cudnnBnFinalizeStatsMode_t mode = CUDNN_BN_FINALIZE_STATISTICS_TRAINING;
        SET(d, OPERATION_BN_FINALIZE_STATS_MODE, BN_FINALIZE_STATS_MODE, 1, &mode);
    }
    return HONE_OK;
}

/* Results replace what was in memory (alpha 1, beta 0): adding to a gradient is our own kernel's. */
static hone_status make_op(hone_dnn *dnn, cudnn_bag *bag, const hone_dnn_op *op, const cudnnBackendDescriptor_t *tensor,
                           cudnnBackendDescriptor_t *out)
{
    const float one = 1, zero = 0;
    HONE_TRY(hone_cudnn_make(dnn, bag, op_table[op->kind].type, out));
    for (int s = 0; s < hone_dnn_rule(op->kind)->slots; s++)
        CUDNN_TRY(&dnn->call, hone_dnn_rule(op->kind)->name,
                  dnn->call.set(*out, op_table[op->kind].attribute[s], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                &tensor[op->slot[s]]));
    HONE_TRY(describe_op(dnn, bag, op, *out));
    /* Scales are attributes of the three convolutions only, each under names of its own. */
    if (op->kind == HONE_DNN_OP_CONV) {
        SET(*out, OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT, 1, &one);
        SET(*out, OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT, 1, &zero);
    } else if (op->kind == HONE_DNN_OP_CONV_DX) {
        SET(*out, OPERATION_CONVOLUTION_BWD_DATA_ALPHA, FLOAT, 1, &one);
        SET(*out, OPERATION_CONVOLUTION_BWD_DATA_BETA, FLOAT, 1, &zero);
    } else if (op->kind == HONE_DNN_OP_CONV_DW) {
        SET(*out, OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, FLOAT, 1, &one);
        SET(*out, OPERATION_CONVOLUTION_BWD_FILTER_BETA, FLOAT, 1, &zero);
    }
    CUDNN_TRY(&dnn->call, hone_dnn_rule(op->kind)->name, dnn->call.finalize(*out));
    return HONE_OK;
}

/* The handle is told to the graph where there is one; a described chip is told to the heuristics instead. */
hone_status hone_cudnn_graph(hone_dnn *dnn, cudnn_bag *bag, const hone_dnn_graph *g, cudnnBackendDescriptor_t *out)
{
    cudnnBackendDescriptor_t tensor[HONE_DNN_TENSORS_MAX], op[HONE_DNN_OPS_MAX];
    /* Tensors first: an op holds its operands' descriptors, and two ops that share one share the descriptor. */
    for (int k = 0; k < g->tensor_count; k++) HONE_TRY(make_tensor(dnn, bag, &g->tensor[k], &tensor[k]));
    for (int k = 0; k < g->op_count; k++) HONE_TRY(make_op(dnn, bag, &g->op[k], tensor, &op[k]));
    HONE_TRY(hone_cudnn_make(dnn, bag, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, out));
    SET(*out, OPERATIONGRAPH_OPS, BACKEND_DESCRIPTOR, g->op_count, op);
    if (dnn->handle) SET(*out, OPERATIONGRAPH_HANDLE, HANDLE, 1, &dnn->handle);
    FINALIZE(*out, "the operation graph");
    return HONE_OK;
}
