/* lower_image.c - what images are made of, as ONNX: input, windows, batch norms, flatten. (N,H,W,C) here is
 * (N,C,H,W) there; weights of convolutions have ONNX's order (O, I/groups, kh, kw) in hone's files already. */
#include <math.h>
#include <string.h>

#include "onnx/lower.h"

/* --- input ----------------------------------------------------------------------------------------------------- */

/* float (N,C,H,W), normalised by the caller, or raw pixels where the graph prepares them. */
hone_status hone_lower_image(hone_lower *l, const hone_node *n)
{
    const hone_preprocess *pre = hone_model_preprocess(l->model);
    if (l->opts->preprocess) return hone_lower_out(l, n, hone_lower_preprocess(l, pre));
    *hone_onnx_push_value(l->out, false) = (hone_onnx_value){.name = "input",
                                                             .type = HONE_ONNX_FLOAT,
                                                             .rank = 4,
                                                             .dim = {0, pre->channels, pre->height, pre->width},
                                                             .param = {"N"}};
    return hone_lower_out(l, n, "input");
}

/* --- windows --------------------------------------------------------------------------------------------------- */

/* kernel_shape, strides, pads, dilations of the node added last. */
static void put_window(hone_lower *l, const hone_window *w, bool dilations)
{
    int64_t kernel[2], stride[2], dilation[2], pad[4];
    bool fault = l->opts->fault == HONE_ONNX_FAULT_PADS;
    for (int k = 0; k < 2; k++) {
        kernel[k] = w->kernel[k];
        stride[k] = w->stride[k];
        dilation[k] = w->dilation[k];
        pad[k] = fault ? 0 : w->pad[k];
        pad[2 + k] = fault ? 2 * w->pad[k] : w->pad[k];
    }
    hone_onnx_attr_ints(l->out, "kernel_shape", 2, kernel);
    hone_onnx_attr_ints(l->out, "strides", 2, stride);
    hone_onnx_attr_ints(l->out, "pads", 4, pad);
    if (dilations) hone_onnx_attr_ints(l->out, "dilations", 2, dilation);
}

/* Running statistics as one factor and one shift a channel, in double: y = x factor + shift. */
typedef struct affine {
    float *factor, *shift; /* (C) */
} affine;

/* In double, as the kernels of the norm compute it: the folded weights are rounded once. */
static affine norm_affine(hone_lower *l, const hone_node *bn)
{
    const float *value[4];
    int64_t c = hone_lower_desc(l, bn, 1)->dim[0];
    affine a = {hone_onnx_alloc(l->out, (size_t)c * sizeof(float)), hone_onnx_alloc(l->out, (size_t)c * sizeof(float))};
    /* the fault that a test plants: see lower.h */
    double eps = (double)bn->attr.norm.eps * (l->opts->fault == HONE_ONNX_FAULT_EPSILON ? 1000 : 1);
    for (int k = 0; k < 4; k++) value[k] = hone_lower_find(l, bn->in[1 + k])->value; /* gamma, beta, mean, var */
    for (int64_t k = 0; a.factor && a.shift && k < c; k++) {
        double factor = (double)value[0][k] / sqrt((double)value[3][k] + eps);
        a.factor[k] = (float)factor;
        a.shift[k] = (float)((double)value[1][k] - (double)value[2][k] * factor);
    }
    return a;
}

/* w (O, ..) and b (O) of the node with the norm behind it taken in: w factor, b factor + shift. */
static const char *fold(hone_lower *l, const hone_node *n, const hone_node *bn, const char *in[3])
{
    const hone_param *w = hone_lower_find(l, n->in[1]),
                     *b = n->in[2] == HONE_NONE ? NULL : hone_lower_find(l, n->in[2]);
    affine a = norm_affine(l, bn);
    /* rows of the weight are outputs, in convolutions and linear layers alike */
    int64_t o = w->dim[0], inner = w->count / o;
    float *fw = hone_onnx_alloc(l->out, (size_t)w->count * sizeof *fw);
    float *fb = hone_onnx_alloc(l->out, (size_t)o * sizeof *fb);
    for (int64_t k = 0; fw && fb && k < o; k++) {
        for (int64_t i = 0; i < inner; i++) fw[k * inner + i] = w->value[k * inner + i] * a.factor[k];
        fb[k] = (float)((b ? (double)b->value[k] * (double)a.factor[k] : 0) + (double)a.shift[k]);
    }
    /* "x.weight" has a bias "x.bias", whether the layer had one or not */
    const char *dot = strrchr(w->name, '.');
    const char *name = hone_onnx_text(l->out, "%.*s.bias", dot ? (int)(dot - w->name) : 0, w->name);
    in[1] = hone_lower_values(l, w->name, w->rank, w->dim, fw);
    in[2] = hone_lower_values(l, name, 1, &o, fb);
    return in[1];
}

/* A norm right behind a convolution is a factor and a shift of its outputs; behind a pool it is not, for the maximum
 * of negative factors is another one. */
hone_status hone_lower_conv(hone_lower *l, const hone_node *n)
{
    const char *in[3] = {hone_lower_in(l, n, 0), NULL, NULL};
    const hone_node *bn = l->opts->keep_norms ? NULL : hone_lower_follower(l, n, HONE_OP_batchnorm_infer);
    if (bn) {
        fold(l, n, bn, in);
        l->done[bn - l->g->node] = true;
    } else {
        in[1] = hone_lower_param(l, n->in[1]);
        if (n->in[2] != HONE_NONE) in[2] = hone_lower_param(l, n->in[2]);
    }
    const char *y = hone_onnx_add(l->out, "Conv", in[2] ? 3 : 2, in);
    put_window(l, &n->attr.window, true);
    hone_onnx_attr_int(l->out, "group", n->attr.window.groups);
    return hone_lower_out(l, bn ? bn : n, y);
}

/* Averages count the padding, as hone's and PyTorch's do. */
hone_status hone_lower_pool(hone_lower *l, const hone_node *n)
{
    bool max = n->op == HONE_OP_maxpool;
    const hone_window *w = &n->attr.window;
    bool dilated = w->dilation[0] != 1 || w->dilation[1] != 1;
    if (!max && dilated && l->opts->opset < 19) return hone_lower_refuse(l, n, "dilation came with opset 19");
    const char *y = hone_onnx_unary(l->out, max ? "MaxPool" : "AveragePool", hone_lower_in(l, n, 0));
    put_window(l, w, max || dilated);
    if (!max) hone_onnx_attr_int(l->out, "count_include_pad", 1);
    return hone_lower_out(l, n, y);
}

/* (N,C,H,W) or (N,T,C) -> (N,C). */
hone_status hone_lower_global_pool(hone_lower *l, const hone_node *n)
{
    bool max = n->op == HONE_OP_global_maxpool;
    const char *x = hone_lower_in(l, n, 0);
    if (hone_lower_desc(l, n, 0)->rank == 3)
        return hone_lower_out(l, n, hone_onnx_reduce(l->out, max ? "ReduceMax" : "ReduceMean", x, 1, false));
    const char *y = hone_onnx_unary(l->out, max ? "GlobalMaxPool" : "GlobalAveragePool", x);
    y = hone_onnx_unary(l->out, "Flatten", y);
    hone_onnx_attr_int(l->out, "axis", 1);
    return hone_lower_out(l, n, y);
}

/* Where no convolution took it in. Tokens have their channels last, where ONNX's norm does not look. */
hone_status hone_lower_batchnorm(hone_lower *l, const hone_node *n)
{
    const char *in[5] = {hone_lower_in(l, n, 0)}, *y;
    float eps = n->attr.norm.eps * (l->opts->fault == HONE_ONNX_FAULT_EPSILON ? 1000 : 1);
    if (hone_lower_rank(l, n->in[0]) == 3) {
        const char *base = l->g->tensor[n->in[1]].name;
        affine a = norm_affine(l, n);
        const int64_t *c = hone_lower_desc(l, n, 1)->dim;
        const char *factor = hone_lower_values(l, hone_onnx_text(l->out, "%s.factor", base), 1, c, a.factor);
        const char *shift = hone_lower_values(l, hone_onnx_text(l->out, "%s.shift", base), 1, c, a.shift);
        y = hone_onnx_binary(l->out, "Mul", in[0], factor);
        return hone_lower_out(l, n, hone_onnx_binary(l->out, "Add", y, shift));
    }
    for (int k = 1; k < 5; k++) in[k] = hone_lower_param(l, n->in[k]);
    y = hone_onnx_add(l->out, "BatchNormalization", 5, in);
    hone_onnx_attr_float(l->out, "epsilon", eps);
    return hone_lower_out(l, n, y);
}

/* --- flatten and patches --------------------------------------------------------------------------------------- */

/* (N,C,H,W) -> (N, C H W), the order that weights behind it have in files; or -> tokens (N, H W, C). */
hone_status hone_lower_reshape(hone_lower *l, const hone_node *n)
{
    const hone_tensor *x = hone_lower_desc(l, n, 0), *y = &l->g->tensor[n->out[0]];
    const char *v = hone_lower_in(l, n, 0);
    if (x->rank == 4 && y->rank == 2) {
        if (l->opts->fault == HONE_ONNX_FAULT_FLATTEN) v = hone_onnx_transpose(l->out, v, 4, (int64_t[]){0, 2, 3, 1});
        v = hone_onnx_unary(l->out, "Flatten", v);
        hone_onnx_attr_int(l->out, "axis", 1);
        return hone_lower_out(l, n, v);
    }
    if (x->rank == 4 && y->rank == 3) {
        v = hone_onnx_reshape(l->out, v, 3, (int64_t[]){0, 0, -1});
        return hone_lower_out(l, n, hone_onnx_transpose(l->out, v, 3, (int64_t[]){0, 2, 1}));
    }
    if (x->rank == 3 && y->rank == 2 && x->dim[0] == y->dim[0])
        return hone_lower_out(l, n, hone_onnx_reshape(l->out, v, 2, (int64_t[]){0, -1}));
    return hone_lower_refuse(l, n, "an unknown change of shape");
}
