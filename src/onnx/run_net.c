/* run_net.c - ONNX's operators of nets through a dialect's kernels (run.h): (N,C,H,W) becomes (N,H,W,C) before a
 * launch and back after it, weights (O,I,kh,kw) become (O,kh,kw,I), matrices the rows that `linear` reads. */
#include <stdlib.h>
#include <string.h>

#include "onnx/run.h"

/* --- order of axes ------------------------------------------------------------------------------------------------- */

/* (A, B, C) -> (A, C, B): all changes of order here are this one. New memory; NULL where there is none. */
static float *swapped(const float *x, int64_t a, int64_t b, int64_t c)
{
    float *y = hone_onnx_aligned((size_t)(a * b * c) * sizeof *y);
    for (int64_t i = 0; y && i < a; i++)
        for (int64_t j = 0; j < b; j++)
            for (int64_t k = 0; k < c; k++) y[(i * c + k) * b + j] = x[(i * b + j) * c + k];
    return y;
}

static hone_status no_memory(void) { return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to check an ONNX graph"); }

/* A float operand of `rank` axes, or a complaint. */
static hone_status want_float(const hone_onnx_call *c, int k, int rank)
{
    HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_FLOAT));
    return rank == 0 || c->in[k]->rank == rank ? HONE_OK : hone_onnx_call_fail(c, "an operand of another rank");
}

/* The shape of a kernel's operand around memory that is there already. */
static hone_onnx_dense dense(int rank, const int64_t *dim, const float *data)
{
    hone_onnx_dense d = {.rank = rank, .data = data};
    memcpy(d.dim, dim, (size_t)rank * sizeof *dim);
    return d;
}

/* A vector (C), or an operand that is left out. */
static hone_onnx_dense vector(const hone_onnx_array *a)
{
    return a ? dense(1, &a->count, a->data) : (hone_onnx_dense){0};
}

/* Runs an image op: x and the output change their order, the operands behind x are given. Output (N,C',H',W') is
 * allocated by the caller. */
static hone_status launch_image(hone_onnx_call *c, hone_op op, const hone_attrs *attr, hone_onnx_dense *in)
{
    const int64_t *x = c->in[0]->dim, *y = c->out.dim;
    int64_t dim[4] = {x[0], x[2], x[3], x[1]};
    if (c->out.count == 0 || c->in[0]->count == 0) return hone_onnx_call_fail(c, "an empty image");
    /* (N,C,H W) -> (N,H W,C), and the result back */
    float *image = swapped(c->in[0]->data, x[0], x[1], x[2] * x[3]);
    float *result = hone_onnx_aligned((size_t)c->out.count * sizeof *result), *back = NULL;
    hone_status status = image && result ? HONE_OK : no_memory();
    in[0] = dense(4, dim, image);
    if (status == HONE_OK) status = hone_onnx_launch(c->backend, op, attr, in, result, c->out.count);
    if (status == HONE_OK && !(back = swapped(result, y[0], y[2] * y[3], y[1]))) status = no_memory();
    if (status == HONE_OK) memcpy(c->out.data, back, (size_t)c->out.count * sizeof *back);
    free(image);
    free(result);
    free(back);
    return status;
}

/* --- windows ---------------------------------------------------------------------------------------------------- */

/* kernel_shape, strides, dilations and pads, which may differ at both ends: hone's are alike, so an uneven window is
 * refused here by name. */
static hone_status read_window(const hone_onnx_call *c, hone_window *w)
{
    static const char *const name[4] = {"kernel_shape", "strides", "dilations", "pads"};
    int32_t *to[3] = {w->kernel, w->stride, w->dilation}; /* in the order of the names */
    int64_t list[HONE_ONNX_RANK];
    int count;
    *w = (hone_window){.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    for (int k = 0; k < 4; k++) {
        HONE_TRY(hone_onnx_call_list(c, name[k], -1, &count, list));
        if (count < 0 && k != 0) count = 0;
        if (count != 0 && count != (k == 3 ? 4 : 2)) return hone_onnx_call_fail(c, "a window that is not of two axes");
        for (int i = 0; i < (k == 3 ? 4 : 2); i++) {
            int64_t v = count ? list[i] : k == 3 ? 0 : 1;
            if (v < (k == 3 ? 0 : 1) || v > 1 << 16) return hone_onnx_call_fail(c, "an impossible window");
            if (k < 3) to[k][i] = (int32_t)v;
            else if (i < 2) w->pad[i] = (int32_t)v;
            else if (v != w->pad[i - 2]) return hone_onnx_call_fail(c, "pads that differ at the two ends");
        }
    }
    return HONE_OK;
}

/* Output (N, channels, OH, OW) of a window over x. */
static hone_status window_out(hone_onnx_call *c, const hone_window *w, int64_t channels)
{
    int64_t dim[4] = {c->in[0]->dim[0], channels};
    for (int k = 0; k < 2; k++) {
        /* the last place that the window touches, from its first */
        int64_t reach = (int64_t)w->dilation[k] * (w->kernel[k] - 1) + 1;
        int64_t room = c->in[0]->dim[2 + k] + 2 * (int64_t)w->pad[k] - reach;
        if (room < 0) return hone_onnx_call_fail(c, "a window larger than the image");
        dim[2 + k] = room / w->stride[k] + 1;
    }
    return hone_onnx_call_out(c, HONE_ONNX_FLOAT, 4, dim);
}

/* Weights are brought to the kernel's order for each call: a check is not worth a cache. */
static hone_status conv(hone_onnx_call *c)
{
    hone_attrs attr = {0};
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    if (c->in[0]->rank == 3) return hone_onnx_conv_line(c);
    HONE_TRY(want_float(c, 0, 4));
    HONE_TRY(want_float(c, 1, 4));
    HONE_TRY(read_window(c, &attr.window));
    const int64_t *w = c->in[1]->dim; /* (O, I/group, kh, kw) */
    int64_t group = hone_onnx_get_int(c->node, "group", 1), dim[4] = {w[0], w[2], w[3], w[1]};
    if (group < 1 || w[1] * group != c->in[0]->dim[1] || w[0] % group || w[2] != attr.window.kernel[0] ||
        w[3] != attr.window.kernel[1] || (c->in[2] && (c->in[2]->type != HONE_ONNX_FLOAT || c->in[2]->count != w[0])))
        return hone_onnx_call_fail(c, "weights that do not fit the image");
    attr.window.groups = (int32_t)group;
    HONE_TRY(window_out(c, &attr.window, w[0]));
    float *weight = swapped(c->in[1]->data, w[0], w[1], w[2] * w[3]);
    if (!weight) return no_memory();
    in[1] = dense(4, dim, weight);
    in[2] = vector(c->in[2]);
    hone_status status = launch_image(c, HONE_OP_conv, &attr, in);
    free(weight);
    return status;
}

/* ceil_mode and averages without their padding would be other pools: refused. */
static hone_status pool(hone_onnx_call *c)
{
    hone_attrs attr = {0};
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    bool max = c->node->op[0] == 'M';
    HONE_TRY(want_float(c, 0, 4));
    HONE_TRY(read_window(c, &attr.window));
    if (hone_onnx_get_int(c->node, "ceil_mode", 0) != 0 ||
        (!max && hone_onnx_get_int(c->node, "count_include_pad", 0) != 1))
        return hone_onnx_call_fail(c, "a pool that hone never writes");
    HONE_TRY(window_out(c, &attr.window, c->in[0]->dim[1]));
    return launch_image(c, max ? HONE_OP_maxpool : HONE_OP_avgpool, &attr, in);
}

/* ONNX keeps two axes of size 1 behind, which a Flatten takes away. */
static hone_status global_pool(hone_onnx_call *c)
{
    bool max = c->node->op[6] == 'M';
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    HONE_TRY(want_float(c, 0, 4));
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, 4, (int64_t[]){c->in[0]->dim[0], c->in[0]->dim[1], 1, 1}));
    return launch_image(c, max ? HONE_OP_global_maxpool : HONE_OP_global_avgpool, NULL, in);
}

/* --- norms ---------------------------------------------------------------------------------------------------------- */

/* Images (N,C,H,W), or rows (N,C). */
static hone_status batchnorm(hone_onnx_call *c)
{
    hone_attrs attr = {.norm = {.eps = hone_onnx_get_float(c->node, "epsilon", 1e-5f)}};
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    HONE_TRY(want_float(c, 0, 0));
    if (c->in[0]->rank != 4 && c->in[0]->rank != 2) return hone_onnx_call_fail(c, "neither images nor rows");
    for (int k = 1; k < 5; k++) {
        HONE_TRY(want_float(c, k, 1));
        if (c->in[k]->count != c->in[0]->dim[1]) return hone_onnx_call_fail(c, "statistics of other channels");
        in[k] = vector(c->in[k]);
    }
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, c->in[0]->rank, c->in[0]->dim));
    if (c->in[0]->rank == 4) return launch_image(c, HONE_OP_batchnorm_infer, &attr, in);
    in[0] = dense(2, c->in[0]->dim, c->in[0]->data);
    return hone_onnx_launch(c->backend, HONE_OP_batchnorm_infer, &attr, in, c->out.data, c->out.count);
}

/* x as rows of its last axis. */
static hone_onnx_dense rows_of(const hone_onnx_array *a)
{
    int64_t last = a->rank ? a->dim[a->rank - 1] : 1, dim[2] = {last ? a->count / last : 0, last};
    return dense(2, dim, a->data);
}

/* An op that works on rows, element by element or along the last axis. */
static hone_status launch_rows(hone_onnx_call *c, hone_op op, const hone_attrs *attr, hone_onnx_dense *in)
{
    HONE_TRY(want_float(c, 0, 0));
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, c->in[0]->rank, c->in[0]->dim));
    if (c->out.count == 0) return HONE_OK;
    in[0] = rows_of(c->in[0]);
    return hone_onnx_launch(c->backend, op, attr, in, c->out.data, c->out.count);
}

/* Mean and variance are the kernel's own; ONNX's optional outputs are never asked for. */
static hone_status layernorm(hone_onnx_call *c)
{
    hone_attrs attr = {.norm = {.eps = hone_onnx_get_float(c->node, "epsilon", 1e-5f)}};
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    int64_t axis = hone_onnx_get_int(c->node, "axis", -1);
    if (!hone_onnx_axis(&axis, c->in[0]->rank) || axis != c->in[0]->rank - 1)
        return hone_onnx_call_fail(c, "not over the last axis");
    for (int k = 1; k < 3; k++) {
        HONE_TRY(want_float(c, k, 1));
        if (c->in[k]->count != c->in[0]->dim[axis]) return hone_onnx_call_fail(c, "a scale of another width");
        in[k] = vector(c->in[k]);
    }
    return launch_rows(c, HONE_OP_layernorm, &attr, in);
}

/* Over the last axis, as hone's; opsets before 13 flattened, which hone does not write. */
static hone_status softmax(hone_onnx_call *c)
{
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    int64_t axis = hone_onnx_get_int(c->node, "axis", -1);
    if (!hone_onnx_axis(&axis, c->in[0]->rank) || axis != c->in[0]->rank - 1)
        return hone_onnx_call_fail(c, "not over the last axis");
    return launch_rows(c, HONE_OP_softmax, NULL, in);
}

/* --- activations ---------------------------------------------------------------------------------------------------- */

/* By the first letter: Relu, LeakyRelu, Sigmoid, Gelu, Tanh. */
static hone_status activation(hone_onnx_call *c)
{
    hone_attrs attr = {.leaky = {hone_onnx_get_float(c->node, "alpha", 0.01f)}};
    hone_onnx_dense in[HONE_MAX_IN] = {0};
    const hone_onnx_attr *form = hone_onnx_find_attr(c->node, "approximate");
    hone_op op = HONE_OP_tanh;
    switch (c->node->op[0]) {
    case 'R': op = HONE_OP_relu; break;
    case 'L': op = HONE_OP_leaky_relu; break;
    case 'S': op = HONE_OP_sigmoid; break;
    case 'G': op = form && form->s && strcmp(form->s, "tanh") == 0 ? HONE_OP_gelu_tanh : HONE_OP_gelu; break;
    default: break;
    }
    return launch_rows(c, op, &attr, in);
}

/* --- products --------------------------------------------------------------------------------------------------------- */

/* a (R,K) @ w (N,K)^T + b? (N) -> y (R,N). A sum of nothing is zero (or the bias, which has no such case). */
static hone_status product(const hone_onnx_call *c, const float *a, const float *w, hone_onnx_dense bias, int64_t r,
                           int64_t k, int64_t n, float *y)
{
    if (r * n == 0) return HONE_OK;
    if (k == 0) {
        memset(y, 0, (size_t)(r * n) * sizeof *y);
        return HONE_OK;
    }
    hone_onnx_dense in[HONE_MAX_IN] = {dense(2, (int64_t[]){r, k}, a), dense(2, (int64_t[]){n, k}, w), bias};
    return hone_onnx_launch(c->backend, HONE_OP_linear, NULL, in, y, r * n);
}

/* x (R,K), w (N,K), b (N): the one form that hone writes. */
static hone_status gemm(hone_onnx_call *c)
{
    HONE_TRY(want_float(c, 0, 2));
    HONE_TRY(want_float(c, 1, 2));
    const int64_t *x = c->in[0]->dim, *w = c->in[1]->dim;
    if (hone_onnx_get_int(c->node, "transB", 0) != 1 || hone_onnx_get_int(c->node, "transA", 0) != 0 ||
        hone_onnx_get_float(c->node, "alpha", 1) != 1 || hone_onnx_get_float(c->node, "beta", 1) != 1)
        return hone_onnx_call_fail(c, "a form that hone never writes");
    if (x[1] != w[1] || (c->in[2] && (c->in[2]->type != HONE_ONNX_FLOAT || c->in[2]->count != w[0])))
        return hone_onnx_call_fail(c, "weights that do not fit the rows");
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, 2, (int64_t[]){x[0], w[0]}));
    return product(c, c->in[0]->data, c->in[1]->data, vector(c->in[2]), x[0], x[1], w[0], c->out.data);
}

/* (.., R, K) @ (K, N), or with equal axes in front (.., K, N). */
static hone_status matmul(hone_onnx_call *c)
{
    const hone_onnx_array *a = c->in[0], *b = c->in[1];
    int64_t dim[HONE_ONNX_RANK], batch = 1;
    HONE_TRY(want_float(c, 0, 0));
    HONE_TRY(want_float(c, 1, 0));
    if (a->rank < 2 || b->rank < 2 || (b->rank != 2 && b->rank != a->rank))
        return hone_onnx_call_fail(c, "a wrong rank");
    memcpy(dim, a->dim, sizeof dim);
    int64_t r = a->dim[a->rank - 2], k = a->dim[a->rank - 1], n = dim[a->rank - 1] = b->dim[b->rank - 1];
    for (int i = 0; i < a->rank - 2; i++) {
        batch *= a->dim[i];
        if (b->rank > 2 && a->dim[i] != b->dim[i]) return hone_onnx_call_fail(c, "batches that differ");
    }
    if (k != b->dim[b->rank - 2]) return hone_onnx_call_fail(c, "matrices that do not fit");
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, a->rank, dim));
    if (b->rank == 2) { /* all rows at once */
        r *= batch;
        batch = 1;
    }
    /* `linear` reads w by rows of N */
    for (int64_t i = 0; i < batch; i++) {
        float *w = swapped((const float *)b->data + i * k * n, 1, k, n);
        hone_status status = w ? product(c, (const float *)a->data + i * r * k, w, (hone_onnx_dense){0}, r, k, n,
                                         (float *)c->out.data + i * r * n)
                               : no_memory();
        free(w);
        HONE_TRY(status);
    }
    return HONE_OK;
}

const hone_onnx_op hone_onnx_net_ops[] = {
    {"Conv", conv, 2, 3},                     /* x (N,I,H,W), w (O,I/g,kh,kw), b? (O); x (N,I,L) too */
    {"MaxPool", pool, 1, 1},                  /* pads count as minus infinity */
    {"AveragePool", pool, 1, 1},              /* pads count as zeros */
    {"GlobalAveragePool", global_pool, 1, 1}, /* (N,C,1,1) */
    {"GlobalMaxPool", global_pool, 1, 1},     /* (N,C,1,1) */
    {"BatchNormalization", batchnorm, 5, 5},  /* x, scale, bias, mean, variance {epsilon} */
    {"LayerNormalization", layernorm, 3, 3},  /* x, scale, bias {axis, epsilon} */
    {"Softmax", softmax, 1, 1},               /* {axis} */
    {"Relu", activation, 1, 1},               /* max(x, 0) */
    {"LeakyRelu", activation, 1, 1},          /* {alpha} */
    {"Sigmoid", activation, 1, 1},            /* 1 / (1 + exp(-x)) */
    {"Tanh", activation, 1, 1},               /* of every element */
    {"Gelu", activation, 1, 1},               /* {approximate}; since 20 */
    {"Gemm", gemm, 2, 3},                     /* x (R,K), w (N,K), b? (N) {transB} */
    {"MatMul", matmul, 2, 2},                 /* (.., R, K), (.., K, N) */
    {NULL, NULL, 0, 0},
};
