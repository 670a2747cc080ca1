/* lower_text.c - text as ONNX: bags of rows over flat ids. */
#include "onnx/lower.h"

/* Two texts of three tokens and one:
 *
 *   input_ids  7 4 7 | 2        offsets  0 3        ends  3 4
 *   M          1 1 1   0        y[0] = w[7] + w[4] + w[7]
 *              0 0 0   1        y[1] = w[2]
 *
 * and for a mean each row is divided by its text's length, or by 1 where there is nothing to divide. The product costs
 * N T C multiplications where T C additions would do; a batch of texts is small beside its table. */

/* The graph's inputs: ids of all texts one after the other, and where each text begins (torch.nn.EmbeddingBag's). */
static void bag_inputs(hone_onnx *m)
{
    *hone_onnx_push_value(m, false) =
        (hone_onnx_value){.name = "input_ids", .type = HONE_ONNX_INT64, .rank = 1, .param = {"T"}};
    *hone_onnx_push_value(m, false) =
        (hone_onnx_value){.name = "offsets", .type = HONE_ONNX_INT64, .rank = 1, .param = {"N"}};
}

/* Where each text ends: the next one's beginning, and the number of ids. (N) */
static const char *bag_ends(hone_onnx *m)
{
    const char *one = hone_onnx_i64(m, 1, (int64_t[]){1}), *zero = hone_onnx_i64(m, 1, (int64_t[]){0});
    const char *far = hone_onnx_i64(m, 1, (int64_t[]){INT64_MAX});
    const char *later = hone_onnx_add(m, "Slice", 4, (const char *[]){"offsets", one, far, zero});
    const char *ends = hone_onnx_binary(m, "Concat", later, hone_onnx_unary(m, "Shape", "input_ids"));
    hone_onnx_attr_int(m, "axis", 0);
    return ends;
}

/* y (N,C) = M @ w[ids] with M (N,T) = 1 where the token is the text's: sums that no loop and no difference of running
 * sums (which would cancel) is needed for. A text without tokens has a row of zeros. */
hone_status hone_lower_bag(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *zero = hone_onnx_index(m, 0), *one = hone_onnx_index(m, 1), *axis = hone_onnx_i64(m, 1, (int64_t[]){1});
    bag_inputs(m);
    const char *ends = bag_ends(m);
    const char *count = hone_onnx_unary(m, "Size", "input_ids");
    const char *place = hone_onnx_add(m, "Range", 3, (const char *[]){zero, count, one}); /* (T) */
    const char *begin = hone_onnx_binary(m, "Unsqueeze", "offsets", axis),
               *end = hone_onnx_binary(m, "Unsqueeze", ends, axis);
    const char *within = hone_onnx_binary(m, "And", hone_onnx_binary(m, "GreaterOrEqual", place, begin),
                                          hone_onnx_binary(m, "Less", place, end));
    const char *member = hone_onnx_unary(m, "Cast", within); /* (N,T) */
    hone_onnx_attr_int(m, "to", HONE_ONNX_FLOAT);
    const char *rows = hone_onnx_binary(m, "Gather", hone_lower_param(l, n->in[0]), "input_ids"); /* (T,C) */
    hone_onnx_attr_int(m, "axis", 0);
    const char *y = hone_onnx_binary(m, "MatMul", member, rows);
    if (n->attr.bag.mode == HONE_BAG_SUM || l->opts->fault == HONE_ONNX_FAULT_MEAN) return hone_lower_out(l, n, y);
    const char *length = hone_onnx_unary(m, "Cast", hone_onnx_binary(m, "Sub", end, begin)); /* (N,1) */
    hone_onnx_attr_int(m, "to", HONE_ONNX_FLOAT);
    length = hone_onnx_binary(m, "Max", length, hone_onnx_scalar(m, 1));
    if (n->attr.bag.mode == HONE_BAG_SQRT) length = hone_onnx_unary(m, "Sqrt", length);
    return hone_lower_out(l, n, hone_onnx_binary(m, "Div", y, length));
}
