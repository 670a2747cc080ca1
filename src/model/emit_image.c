/* emit_image.c - emitters of layers on images and plain vectors: conv, linear, norms, activations,
 * pooling, flatten. Values are (N, H, W, C), (N, T, C) or (N, C); see emit.h for the contract. */
#include <string.h>

#include "model/emit.h"

enum { RANK_ROWS = 1u << 2, RANK_TOKENS = 1u << 3, RANK_IMAGE = 1u << 4 };

/* --- windows ------------------------------------------------------------------------------------------ */

/* `same` is dilation * (kernel - 1) / 2 on each side, as PyTorch users write padding by hand; with an
 * even reach that would need unequal sides, which windows don't have. */
static hone_status set_pad(const hone_layer *l, hone_window *w)
{
    for (int k = 0; k < 2; k++) {
        int32_t reach = w->dilation[k] * (w->kernel[k] - 1);
        if (l->args.pad.kind == HONE_PAD_SAME && reach % 2)
            return hone_emit_fail(l, "give pad as a number, or use an odd kernel",
                                  "pad: same needs dilation * (kernel - 1) to be even, it is %d", reach);
        w->pad[k] = l->args.pad.kind == HONE_PAD_SAME ? reach / 2 : (int32_t)l->args.pad.n[k];
    }
    return HONE_OK;
}

/* Checked here and not only by the graph, so that the message speaks of the page's layer and shapes. */
static hone_status set_window(const hone_emit *e, const hone_layer *l, const hone_value *v, hone_window *w)
{
    const hone_tensor *x = hone_emit_tensor(e, v);
    char shape[96];
    for (int k = 0; k < 2; k++) {
        w->kernel[k] = (int32_t)l->args.kernel[k];
        w->stride[k] = (int32_t)(l->args.stride[k] ? l->args.stride[k] : l->args.kernel[k]);
        w->dilation[k] = (int32_t)(l->args.dilation[k] ? l->args.dilation[k] : 1);
    }
    /* pooling has no groups; conv sets its own */
    w->groups = 1;
    HONE_TRY(set_pad(l, w));
    for (int k = 0; k < 2; k++)
        if (w->dilation[k] * (w->kernel[k] - 1) + 1 > x->dim[1 + k] + 2 * w->pad[k])
            return hone_emit_fail(l, "use a smaller kernel, more pad, or fewer pooling steps before it",
                                  "a window of %d x %d (pad %d x %d) does not fit its input %s", w->kernel[0],
                                  w->kernel[1], w->pad[0], w->pad[1], hone_emit_shape(e, v, shape));
    return HONE_OK;
}

/* --- conv, linear --------------------------------------------------------------------------------------- */

/* depthwise: one group a channel; out must then be a multiple of the channels (the multiplier). */
static hone_status set_groups(const hone_layer *l, int64_t in, hone_window *w)
{
    int64_t groups = l->args.groups == HONE_DEPTHWISE ? in : l->args.groups;
    if (in % groups || l->args.out % groups)
        return hone_emit_fail(l, "in and out channels must be multiples of groups",
                              "%lld groups do not divide %lld input and %lld output channels", (long long)groups,
                              (long long)in, (long long)l->args.out);
    w->groups = (int32_t)groups;
    return HONE_OK;
}

/* x (N, H, W, I), w (O, kh, kw, I/groups), b? (O) -> (N, OH, OW, O). */
HONE_EMITTER(conv)
{
    hone_attrs attr = {0};
    hone_window *w = &attr.window;
    HONE_TRY(
        hone_emit_rank(e, l, v, RANK_IMAGE, "an image (N, H, W, C)", "put conv before flatten or pooling to vectors"));
    int64_t in = hone_emit_tensor(e, v)->dim[3], out = l->args.out;
    HONE_TRY(set_window(e, l, v, w));
    HONE_TRY(set_groups(l, in, w));
    /* PyTorch's fans: of the weight (O, I/groups, kh, kw), whatever the groups */
    int64_t area = (int64_t)w->kernel[0] * w->kernel[1], fan_in = in / w->groups * area, fan_out = out * area;
    hone_param_spec weight = {.suffix = "weight",
                              .role = HONE_ROLE_PARAM,
                              .rank = 4,
                              .decay = true,
                              .dim = {out, w->kernel[0], w->kernel[1], in / w->groups},
                              .layout = HONE_LAYOUT_CONV};
    weight.fill = hone_fill_weight(l, fan_in, fan_out);
    hone_param_spec bias = {.suffix = "bias", .role = HONE_ROLE_PARAM, .rank = 1, .dim = {out}};
    bias.fill = hone_fill_bias(l, fan_in);
    hone_tid wt, bt = HONE_NONE;
    HONE_TRY(hone_emit_param(e, l, &weight, &wt));
    if (l->args.bias) HONE_TRY(hone_emit_param(e, l, &bias, &bt));
    return hone_emit_node(e, l, HONE_OP_conv, (hone_tid[]){v->t, wt, bt}, &attr, 1u, false, v);
}

/* x (N, I) or (N, T, I) -> (.., out). Images are refused: PyTorch's Linear would act on their width. */
HONE_EMITTER(linear)
{
    HONE_TRY(hone_emit_rank(e, l, v, RANK_ROWS | RANK_TOKENS, "(N, I) or (N, T, I)",
                            "put flatten or global_avgpool before it"));
    hone_linear_spec s = {.prefix = "", .out = l->args.out, .bias = l->args.bias};
    return hone_emit_dense(e, l, &s, v);
}

/* --- norms ------------------------------------------------------------------------------------------------ */

/* A norm's parameters after flatten would be in (C,H,W) order in files and (H,W,C) in memory. */
static hone_status refuse_flattened(const hone_layer *l, const hone_value *v)
{
    if (v->hwc[0] == 0) return HONE_OK;
    return hone_emit_fail(l, "put the norm before flatten, or after the next linear",
                          "%s over a flattened image of %d x %d x %d", l->type->name, v->hwc[0], v->hwc[1], v->hwc[2]);
}

/* x (.., C). Four vectors (C), named as nn.BatchNorm names them; TRAIN updates the running ones in place,
 * EVAL reads them (batchnorm_infer). */
HONE_EMITTER(batchnorm)
{
    static const struct {
        const char *suffix;
        hone_role role;
        double value;
    } row[4] = {{"weight", HONE_ROLE_PARAM, 1},
                {"bias", HONE_ROLE_PARAM, 0},
                {"running_mean", HONE_ROLE_STATE, 0},
                {"running_var", HONE_ROLE_STATE, 1}};
    const hone_tensor *x = hone_emit_tensor(e, v);
    int64_t c = x->dim[x->rank - 1];
    hone_tid in[5] = {v->t};
    HONE_TRY(refuse_flattened(l, v));
    HONE_TRY(hone_emit_no_text(l, v, "batches of texts differ in length: statistics over them are not offered"));
    for (int k = 0; k < 4; k++) {
        hone_param_spec s = {.suffix = row[k].suffix,
                             .role = row[k].role,
                             .rank = 1,
                             .dim = {c},
                             .fill = {HONE_FILL_CONST, row[k].value}};
        HONE_TRY(hone_emit_param(e, l, &s, &in[1 + k]));
    }
    hone_attrs attr = {.norm = {.eps = (float)l->args.eps, .momentum = (float)l->args.momentum}};
    return hone_emit_node(e, l, e->mode == HONE_MODE_EVAL ? HONE_OP_batchnorm_infer : HONE_OP_batchnorm, in, &attr, ~0u,
                          false, v);
}

/* x (.., C): over the channels of each pixel or token. */
HONE_EMITTER(layernorm)
{
    HONE_TRY(refuse_flattened(l, v));
    return hone_emit_scale_shift(e, l, "", l->args.eps, v);
}

/* --- activations: elementwise, so a flattened order passes through ------------------------------------------- */

HONE_EMITTER(relu) { return hone_emit_unary(e, l, HONE_OP_relu, NULL, true, v); }
HONE_EMITTER(relu6) { return hone_emit_unary(e, l, HONE_OP_relu6, NULL, true, v); }
HONE_EMITTER(silu) { return hone_emit_unary(e, l, HONE_OP_silu, NULL, true, v); }
HONE_EMITTER(tanh) { return hone_emit_unary(e, l, HONE_OP_tanh, NULL, true, v); }
HONE_EMITTER(sigmoid) { return hone_emit_unary(e, l, HONE_OP_sigmoid, NULL, true, v); }

/* The slope is positive by the table: the backward pass tells the side by the sign of y. */
HONE_EMITTER(leaky_relu)
{
    hone_attrs attr = {.leaky = {.slope = (float)l->args.slope}};
    return hone_emit_unary(e, l, HONE_OP_leaky_relu, &attr, true, v);
}

HONE_EMITTER(gelu) /* form: exact | tanh */
{
    return hone_emit_unary(e, l, l->args.form == 0 ? HONE_OP_gelu : HONE_OP_gelu_tanh, NULL, true, v);
}

HONE_EMITTER(dropout) { return hone_emit_drop(e, l, HONE_OP_dropout, l->args.p, v); }

/* --- pooling -------------------------------------------------------------------------------------------------- */

/* (N, H, W, C) -> (N, OH, OW, C). */
static hone_status emit_pooling(hone_emit *e, const hone_layer *l, hone_op op, hone_value *v)
{
    hone_attrs attr = {0};
    HONE_TRY(hone_emit_rank(e, l, v, RANK_IMAGE, "an image (N, H, W, C)", "put pooling before flatten"));
    HONE_TRY(set_window(e, l, v, &attr.window));
    const hone_window *w = &attr.window;
    if (w->pad[0] > w->kernel[0] / 2 || w->pad[1] > w->kernel[1] / 2) /* PyTorch's rule: no window in padding alone */
        return hone_emit_fail(l, "use a smaller pad", "pad %d x %d is more than half of the kernel %d x %d", w->pad[0],
                              w->pad[1], w->kernel[0], w->kernel[1]);
    return hone_emit_unary(e, l, op, &attr, false, v); /* the backward pass asks for maxpool's `at` */
}

HONE_EMITTER(maxpool) { return emit_pooling(e, l, HONE_OP_maxpool, v); }
HONE_EMITTER(avgpool) { return emit_pooling(e, l, HONE_OP_avgpool, v); }

/* (N, H, W, C) or (N, T, C) -> (N, C). */
static hone_status emit_global(hone_emit *e, const hone_layer *l, hone_op op, hone_value *v)
{
    HONE_TRY(hone_emit_rank(e, l, v, RANK_IMAGE | RANK_TOKENS, "(N, H, W, C) or (N, T, C)",
                            "its input is pooled or flattened already"));
    return hone_emit_unary(e, l, op, NULL, false, v);
}

HONE_EMITTER(global_avgpool) { return emit_global(e, l, HONE_OP_global_avgpool, v); }
HONE_EMITTER(global_maxpool) { return emit_global(e, l, HONE_OP_global_maxpool, v); }

/* (N, H, W, C) to (N, H*W*C), an alias; of one row of vectors nothing is left to do. */
HONE_EMITTER(flatten)
{
    const hone_tensor *x = hone_emit_tensor(e, v);
    HONE_TRY(hone_emit_no_text(l, v, "texts differ in length"));
    if (x->rank == 2) return HONE_OK;
    /* one place or one channel: (H,W,C) and (C,H,W) are the same order, nothing to remember */
    int32_t hwc[3] = {0};
    if (x->rank == 4 && x->dim[1] * x->dim[2] > 1 && x->dim[3] > 1) /* else both orders are one */
        for (int k = 0; k < 3; k++) hwc[k] = (int32_t)x->dim[1 + k];
    int64_t dim[2] = {x->dim[0], hone_tensor_count(x) / x->dim[0]};
    HONE_TRY(hone_emit_reshape(e, l, 2, dim, v));
    memcpy(v->hwc, hwc, sizeof v->hwc);
    return HONE_OK;
}
