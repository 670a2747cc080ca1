/* lower_token.c - rows and tokens as ONNX: linear layers, layer norms, activations, joins, attention. Values are
 * (N,C) or (N,T,C) on both sides; ragged text has become (N,T,C) by now. */
#include <math.h>
#include <string.h>

#include "onnx/lower.h"

/* (O, I) -> (I, O) in the arena. */
static float *transposed(hone_lower *l, const float *w, int64_t o, int64_t i)
{
    float *t = hone_onnx_alloc(l->out, (size_t)(o * i) * sizeof *t);
    for (int64_t r = 0; t && r < o; r++)
        for (int64_t c = 0; c < i; c++) t[c * o + r] = w[r * i + c];
    return t;
}

/* x (N, I) @ w (O, I)^T + b. */
static const char *gemm(hone_lower *l, const hone_node *n)
{
    const char *in[3] = {hone_lower_in(l, n, 0)};
    const hone_param *w = hone_lower_find(l, n->in[1]);
    if (l->opts->fault == HONE_ONNX_FAULT_TRANSPOSE)
        in[1] = hone_lower_values(l, w->name, 2, w->dim, transposed(l, w->value, w->dim[0], w->dim[1]));
    else in[1] = hone_lower_param(l, n->in[1]);
    if (n->in[2] != HONE_NONE) in[2] = hone_lower_param(l, n->in[2]);
    const char *y = hone_onnx_add(l->out, "Gemm", in[2] ? 3 : 2, in);
    hone_onnx_attr_int(l->out, "transB", 1);
    return y;
}

/* Tokens go through MatMul, which wants (I, O). */
hone_status hone_lower_linear(hone_lower *l, const hone_node *n)
{
    if (hone_lower_rank(l, n->in[0]) == 2) return hone_lower_out(l, n, gemm(l, n));
    const hone_node *gru = hone_lower_follower(l, n, HONE_OP_gru);
    if (gru) return hone_lower_gru(l, n, gru);
    const hone_param *w = hone_lower_find(l, n->in[1]);
    int64_t dim[2] = {w->dim[1], w->dim[0]};
    bool fault = l->opts->fault == HONE_ONNX_FAULT_TRANSPOSE;
    const float *values = fault ? w->value : transposed(l, w->value, w->dim[0], w->dim[1]);
    const char *wt = hone_lower_values(l, w->name, 2, dim, values);
    const char *y = hone_onnx_binary(l->out, "MatMul", hone_lower_in(l, n, 0), wt);
    if (n->in[2] != HONE_NONE) y = hone_onnx_binary(l->out, "Add", y, hone_lower_param(l, n->in[2]));
    return hone_lower_out(l, n, y);
}

/* Native from opset 17 on. */
hone_status hone_lower_layernorm(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *x = hone_lower_in(l, n, 0), *gamma = hone_lower_param(l, n->in[1]),
               *beta = hone_lower_param(l, n->in[2]);
    float eps = n->attr.norm.eps;
    /* a thousand times BERT's 1e-12 would still be nothing, and no mistake */
    if (l->opts->fault == HONE_ONNX_FAULT_EPSILON) eps = fmaxf(eps * 1000, 1e-2f);
    if (l->opts->opset >= 17) {
        const char *y = hone_onnx_add(m, "LayerNormalization", 3, (const char *[]){x, gamma, beta});
        hone_onnx_attr_int(m, "axis", -1);
        hone_onnx_attr_float(m, "epsilon", eps);
        return hone_lower_out(l, n, y);
    }
    /* (x - mean) / sqrt(variance + eps) gamma + beta, the variance of all C and not of C - 1 */
    const char *centred = hone_onnx_binary(m, "Sub", x, hone_onnx_reduce(m, "ReduceMean", x, -1, true));
    const char *variance = hone_onnx_reduce(m, "ReduceMean", hone_onnx_binary(m, "Mul", centred, centred), -1, true);
    const char *deviation = hone_onnx_unary(m, "Sqrt", hone_onnx_binary(m, "Add", variance, hone_onnx_scalar(m, eps)));
    const char *y = hone_onnx_binary(m, "Mul", hone_onnx_binary(m, "Div", centred, deviation), gamma);
    return hone_lower_out(l, n, hone_onnx_binary(m, "Add", y, beta));
}

/* --- activations ------------------------------------------------------------------------------------------------ */

/* x Phi(x), or its approximation by tanh; the constants are sqrt(1/2) and sqrt(2/pi). */
static const char *gelu(hone_lower *l, const char *x, bool exact)
{
    hone_onnx *m = l->out;
    if (l->opts->opset >= 20) {
        const char *y = hone_onnx_unary(m, "Gelu", x);
        hone_onnx_attr_string(m, "approximate", exact ? "none" : "tanh");
        return y;
    }
    const char *inner;
    if (exact) {
        inner = hone_onnx_unary(m, "Erf", hone_onnx_binary(m, "Mul", x, hone_onnx_scalar(m, 0.70710678f)));
    } else {
        const char *square = hone_onnx_binary(m, "Mul", x, x);
        const char *cubic = hone_onnx_binary(m, "Mul", square, hone_onnx_scalar(m, 0.044715f));
        cubic = hone_onnx_binary(m, "Add", cubic, hone_onnx_scalar(m, 1));
        const char *scaled = hone_onnx_binary(m, "Mul", x, hone_onnx_scalar(m, 0.79788456f));
        inner = hone_onnx_unary(m, "Tanh", hone_onnx_binary(m, "Mul", scaled, cubic));
    }
    const char *gate = hone_onnx_binary(m, "Add", inner, hone_onnx_scalar(m, 1));
    const char *half = hone_onnx_binary(m, "Mul", x, hone_onnx_scalar(m, 0.5f));
    return hone_onnx_binary(m, "Mul", half, gate);
}

/* Each as one node where ONNX has one in every opset that hone writes, else by its formula. */
hone_status hone_lower_act(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *x = hone_lower_in(l, n, 0), *y = NULL;
    switch (n->op) {
    case HONE_OP_relu: y = hone_onnx_unary(m, "Relu", x); break;
    case HONE_OP_relu6:
        y = hone_onnx_add(m, "Clip", 3, (const char *[]){x, hone_onnx_scalar(m, 0), hone_onnx_scalar(m, 6)});
        break;
    case HONE_OP_leaky_relu:
        y = hone_onnx_unary(m, "LeakyRelu", x);
        hone_onnx_attr_float(m, "alpha", n->attr.leaky.slope);
        break;
    case HONE_OP_gelu: y = gelu(l, x, true); break;
    case HONE_OP_gelu_tanh: y = gelu(l, x, false); break;
    case HONE_OP_silu: y = hone_onnx_binary(m, "Mul", x, hone_onnx_unary(m, "Sigmoid", x)); break;
    case HONE_OP_tanh: y = hone_onnx_unary(m, "Tanh", x); break;
    case HONE_OP_sigmoid: y = hone_onnx_unary(m, "Sigmoid", x); break;
    default: return hone_lower_refuse(l, n, "an unknown activation");
    }
    return hone_lower_out(l, n, y);
}

/* --- joins ------------------------------------------------------------------------------------------------------- */

/* Positions have a leading axis of 1 in files and broadcast over the batch as they are. */
hone_status hone_lower_join(hone_lower *l, const hone_node *n)
{
    const char *a = hone_lower_in(l, n, 0), *y;
    if (n->op == HONE_OP_concat) { /* the last axis is C, which images have in front */
        y = hone_onnx_binary(l->out, "Concat", a, hone_lower_in(l, n, 1));
        hone_onnx_attr_int(l->out, "axis", hone_lower_desc(l, n, 0)->rank == 4 ? 1 : -1);
        return hone_lower_out(l, n, y);
    }
    bool rows = n->op == HONE_OP_add_rows; /* p (1,T,C) in files: it broadcasts */
    if (rows && hone_lower_desc(l, n, 0)->rank == 4) return hone_lower_refuse(l, n, "positions of an image");
    const char *b = rows ? hone_lower_param(l, n->in[1]) : hone_lower_in(l, n, 1);
    return hone_lower_out(l, n, hone_onnx_binary(l->out, n->op == HONE_OP_mul ? "Mul" : "Add", a, b));
}

/* t (1,1,C) before x (N,T,C), once for each sample. */
hone_status hone_lower_prepend(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *x = hone_lower_in(l, n, 0), *shape = hone_onnx_unary(m, "Shape", x);
    const char *zero = hone_onnx_i64(m, 1, (int64_t[]){0});
    const char *batch = hone_onnx_binary(m, "Gather", shape, zero); /* (1) */
    hone_onnx_attr_int(m, "axis", 0);
    const char *rest = hone_onnx_i64(m, 2, (int64_t[]){1, hone_lower_desc(l, n, 0)->dim[2]});
    const char *target = hone_onnx_binary(m, "Concat", batch, rest);
    hone_onnx_attr_int(m, "axis", 0);
    const char *token = hone_onnx_binary(m, "Expand", hone_lower_param(l, n->in[1]), target);
    const char *y = hone_onnx_binary(m, "Concat", token, x);
    hone_onnx_attr_int(m, "axis", 1);
    return hone_lower_out(l, n, y);
}

/* x[:, 0, :]. */
hone_status hone_lower_first(hone_lower *l, const hone_node *n)
{
    const char *y = hone_onnx_binary(l->out, "Gather", hone_lower_in(l, n, 0), hone_onnx_index(l->out, 0));
    hone_onnx_attr_int(l->out, "axis", 1);
    return hone_lower_out(l, n, y);
}

/* --- attention ------------------------------------------------------------------------------------------------- */

/* 0 keeps the sizes of the batch and of the tokens, whatever they are at run time. */
const char *hone_lower_split_heads(hone_lower *l, const char *x, int64_t heads, int64_t head_dim)
{
    x = hone_onnx_reshape(l->out, x, 4, (int64_t[]){0, 0, heads, head_dim});
    return hone_onnx_transpose(l->out, x, 4, (int64_t[]){0, 2, 1, 3});
}

/* The way back: heads side by side in the last axis. */
const char *hone_lower_join_heads(hone_lower *l, const char *x, int64_t width)
{
    x = hone_onnx_transpose(l->out, x, 4, (int64_t[]){0, 2, 1, 3});
    return hone_onnx_reshape(l->out, x, 3, (int64_t[]){0, 0, width});
}

/* The scale goes to q, which is smaller than the scores, and keeps them in range. */
const char *hone_lower_heads(hone_lower *l, const char *const qkv[3], int64_t head_dim, const char *bias)
{
    hone_onnx *m = l->out;
    bool fault = l->opts->fault == HONE_ONNX_FAULT_HEADS;
    const char *scale = hone_onnx_scalar(m, fault ? 1 : (float)(1 / sqrt((double)head_dim)));
    const char *keys = hone_onnx_transpose(m, qkv[1], 4, (int64_t[]){0, 1, 3, 2});
    const char *scores = hone_onnx_binary(m, "MatMul", hone_onnx_binary(m, "Mul", qkv[0], scale), keys);
    if (bias) scores = hone_onnx_binary(m, "Add", scores, bias);
    const char *p = hone_onnx_unary(m, "Softmax", scores);
    hone_onnx_attr_int(m, "axis", -1);
    return hone_onnx_binary(m, "MatMul", p, qkv[2]);
}

/* qkv (N,T,3C) = [q|k|v]: cut along the last axis. Texts leave out the keys of padding. */
hone_status hone_lower_attention(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const hone_tensor *qkv = hone_lower_desc(l, n, 0);
    bool ragged = n->op == HONE_OP_ragged_attention;
    int64_t c = qkv->dim[qkv->rank - 1] / 3, heads = n->attr.attention.heads;
    /* (N,T,C) each, then (N,heads,T,D) */
    const char *part[3], *last = hone_onnx_i64(m, 1, (int64_t[]){2});
    for (int k = 0; k < 3; k++) {
        const char *from = hone_onnx_i64(m, 1, (int64_t[]){k * c}), *to = hone_onnx_i64(m, 1, (int64_t[]){(k + 1) * c});
        part[k] = hone_onnx_add(m, "Slice", 4, (const char *[]){hone_lower_in(l, n, 0), from, to, last});
        part[k] = hone_lower_split_heads(l, part[k], heads, c / heads);
    }
    const char *y = hone_lower_heads(l, part, c / heads, ragged ? hone_lower_attention_bias(l) : NULL);
    return hone_lower_out(l, n, hone_lower_join_heads(l, y, c));
}
