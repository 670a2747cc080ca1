/* shape.c - the shape rule of every operation: one signature line each, and a few lines of C where
 * sizes follow from attributes (windows, heads).
 *
 * Rules run as the graph is built, so a mismatch is reported where the model is described. Letters:
 * signature.h. A rule may bind letters and refuse; it must not look at memory or at other nodes.
 *
 * Letters with one meaning throughout: N batch, H W image, C channels, I O inputs and outputs of a
 * layer, K L kernel height and width, J = I / groups, P Q output height and width, B T tokens, R rows
 * (the product of ".."). "step #" is the step block. Optional operands carry "?", as in ops.def.
 * To add an op: a line in the table, and a rule where sizes follow from attributes. */
#include "graph/signature.h"

#include <string.h>

typedef hone_status (*shape_rule)(hone_shape_call *c);

/* Size that a letter stands for; 0 while it is not known. */
static int64_t *letter(hone_shape_call *c, char name) { return &c->size.letter[name - 'A']; }

/* --- windows ------------------------------------------------------------------------------------------ */

/* PyTorch's Conv2d and MaxPool2d: floor((in + 2 pad - dilation (kernel - 1) - 1) / stride) + 1. */
static hone_status window_out(hone_shape_call *c, const hone_window *w, int axis, int64_t in, int64_t *out)
{
    const char *side = axis == 0 ? "height" : "width";
    if (w->kernel[axis] < 1 || w->stride[axis] < 1 || w->pad[axis] < 0 || w->dilation[axis] < 1)
        return hone_shape_fail(c, "window %s: kernel %d, stride %d, pad %d, dilation %d make no window", side,
                               w->kernel[axis], w->stride[axis], w->pad[axis], w->dilation[axis]);
    int64_t reach = (int64_t)w->dilation[axis] * (w->kernel[axis] - 1) + 1;
    int64_t room = in + 2 * (int64_t)w->pad[axis] - reach;
    if (room < 0)
        return hone_shape_fail(c, "a window of %s %lld does not fit in %lld with pad %d", side, (long long)reach,
                               (long long)in, w->pad[axis]);
    *out = room / w->stride[axis] + 1;
    return HONE_OK;
}

/* Binds (or checks, in backward rows) the output size against the input size (h, w). */
static hone_status bind_window(hone_shape_call *c, const hone_window *win, int64_t h, int64_t w)
{
    const char name[2] = {'P', 'Q'};
    const int64_t in[2] = {h, w};
    for (int axis = 0; axis < 2; axis++) {
        int64_t out = 0;
        HONE_TRY(window_out(c, win, axis, in[axis], &out));
        int64_t *bound = letter(c, name[axis]);
        if (*bound == 0) *bound = out;
        if (*bound != out)
            return hone_shape_fail(c, "the window gives %c = %lld, not %lld", name[axis], (long long)out,
                                   (long long)*bound);
    }
    return HONE_OK;
}

/* Each group maps I/groups inputs to O/groups outputs; depthwise has groups = I. */
static hone_status check_groups(hone_shape_call *c)
{
    int32_t groups = c->attr->window.groups;
    int64_t i = *letter(c, 'I'), o = *letter(c, 'O');
    if (groups < 1 || i % groups || o % groups)
        return hone_shape_fail(c, "%d groups do not divide %lld inputs and %lld outputs", groups, (long long)i,
                               (long long)o);
    return HONE_OK;
}

/* The kernel size is said twice, by the weight and by the attribute that windows share with pools. */
static hone_status check_kernel(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    if (*letter(c, 'K') != w->kernel[0] || *letter(c, 'L') != w->kernel[1])
        return hone_shape_fail(c, "the attribute says kernel %d x %d", w->kernel[0], w->kernel[1]);
    if (*letter(c, 'J') * w->groups != *letter(c, 'I'))
        return hone_shape_fail(c, "w must be (O, kh, kw, I / groups) with I = %lld and %d groups",
                               (long long)*letter(c, 'I'), w->groups);
    return HONE_OK;
}

/* y (N, P, Q, O). */
static hone_status rule_conv(hone_shape_call *c)
{
    HONE_TRY(check_groups(c));
    HONE_TRY(check_kernel(c));
    return bind_window(c, &c->attr->window, *letter(c, 'H'), *letter(c, 'W'));
}

/* A strided window can have several input sizes for one output size, so in_h and in_w say which. */
static hone_status rule_conv_dx(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    *letter(c, 'H') = w->in_h;
    *letter(c, 'W') = w->in_w;
    *letter(c, 'I') = *letter(c, 'J') * w->groups;
    HONE_TRY(check_groups(c));
    HONE_TRY(check_kernel(c));
    return bind_window(c, w, w->in_h, w->in_w);
}

/* dw (O, kh, kw, I/groups): the weight's own layout, as the optimizer adds the two. */
static hone_status rule_conv_dw(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    HONE_TRY(check_groups(c));
    *letter(c, 'K') = w->kernel[0];
    *letter(c, 'L') = w->kernel[1];
    *letter(c, 'J') = *letter(c, 'I') / w->groups;
    return bind_window(c, w, *letter(c, 'H'), *letter(c, 'W'));
}

/* A window that lies in the padding whole would have no maximum: PyTorch's rule pad <= kernel / 2. */
static hone_status check_pool(hone_shape_call *c, const hone_window *w)
{
    for (int axis = 0; axis < 2; axis++)
        if ((int64_t)w->pad[axis] * 2 > w->kernel[axis])
            return hone_shape_fail(c, "pooling pad %d is more than half of kernel %d", w->pad[axis], w->kernel[axis]);
    return HONE_OK;
}

/* `at` is a byte, so a window has at most 255 places. */
static hone_status check_places(hone_shape_call *c, const hone_window *w)
{
    if ((int64_t)w->kernel[0] * w->kernel[1] <= 255) return HONE_OK;
    return hone_shape_fail(c, "max pooling windows have at most 255 places, not %d x %d", w->kernel[0], w->kernel[1]);
}

/* Also the geometry of max pooling. */
static hone_status rule_avgpool(hone_shape_call *c)
{
    HONE_TRY(bind_window(c, &c->attr->window, *letter(c, 'H'), *letter(c, 'W')));
    return check_pool(c, &c->attr->window);
}

/* y and at (N, P, Q, C). */
static hone_status rule_maxpool(hone_shape_call *c)
{
    HONE_TRY(check_places(c, &c->attr->window));
    return rule_avgpool(c);
}

/* The window must lead from the image whose gradient is made to dy's size. */
static hone_status rule_pool_dx(hone_shape_call *c)
{
    *letter(c, 'H') = c->attr->window.in_h;
    *letter(c, 'W') = c->attr->window.in_w;
    return rule_avgpool(c);
}

/* Images and dense tokens; everything between N and C is averaged or searched. */
static hone_status rule_global_pool(hone_shape_call *c)
{
    if (c->size.run_rank == 1 || c->size.run_rank == 2) return HONE_OK;
    return hone_shape_fail(c, "x must be (N, H, W, C) or (N, T, C)");
}

/* Rank 3 where in_w is 0: tokens, T = in_h. */
static hone_status rule_global_pool_dx(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    c->size.run_rank = w->in_w == 0 ? 1 : 2;
    c->size.run[0] = w->in_h;
    c->size.run[1] = w->in_w;
    return HONE_OK;
}

/* --- fused windows --------------------------------------------------------------------------------------- */

/* NONE would be a plain row under another name. */
static hone_status check_act(hone_shape_call *c)
{
    if (c->attr->act > HONE_ACT_NONE && c->attr->act <= HONE_ACT_SIGMOID) return HONE_OK;
    return hone_shape_fail(c, "a fused row needs an activation, not %d", (int)c->attr->act);
}

/* An activation changes no shape. */
static hone_status rule_conv_act(hone_shape_call *c)
{
    HONE_TRY(check_act(c));
    return rule_conv(c);
}

/* P, Q: the pool's output; the conv's own output lies between and is never stored. */
static hone_status bind_conv_pool(hone_shape_call *c)
{
    int64_t mid[2] = {0, 0};
    HONE_TRY(check_act(c));
    HONE_TRY(check_places(c, &c->attr->pool));
    HONE_TRY(window_out(c, &c->attr->window, 0, *letter(c, 'H'), &mid[0]));
    HONE_TRY(window_out(c, &c->attr->window, 1, *letter(c, 'W'), &mid[1]));
    HONE_TRY(bind_window(c, &c->attr->pool, mid[0], mid[1]));
    return check_pool(c, &c->attr->pool);
}

/* y, at (N, P, Q, O), of the pooled size. */
static hone_status rule_conv_act_maxpool(hone_shape_call *c)
{
    HONE_TRY(check_groups(c));
    HONE_TRY(check_kernel(c));
    return bind_conv_pool(c);
}

/* As conv_dw, with dy of the pooled size. */
static hone_status rule_conv_act_maxpool_dw(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    HONE_TRY(check_groups(c));
    *letter(c, 'K') = w->kernel[0];
    *letter(c, 'L') = w->kernel[1];
    *letter(c, 'J') = *letter(c, 'I') / w->groups;
    return bind_conv_pool(c);
}

/* dx has the size before the pool, which is the activation's. */
static hone_status rule_maxpool_act_dx(hone_shape_call *c)
{
    HONE_TRY(check_act(c));
    return rule_pool_dx(c);
}

/* --- the rest ---------------------------------------------------------------------------------------------- */

/* Sides above 16384 would overflow the fixed-point maps of augment.h. */
static hone_status rule_image_view(hone_shape_call *c)
{
    const hone_augment_attr *a = &c->attr->augment;
    if (a->height < 1 || a->width < 1 || a->height > 16384 || a->width > 16384 || *letter(c, 'Y') > 16384 ||
        *letter(c, 'X') > 16384)
        return hone_shape_fail(c, "image of %d x %d is not possible: sides are 1 to 16384", a->height, a->width);
    *letter(c, 'H') = a->height;
    *letter(c, 'W') = a->width;
    return HONE_OK;
}

/* Grey is made of one channel or of three. */
static hone_status rule_image_adjust(hone_shape_call *c)
{
    int64_t channels = *letter(c, 'C');
    if (channels != 1 && channels != 3)
        return hone_shape_fail(c, "colour is changed in pictures of 1 or 3 channels, not %lld", (long long)channels);
    if (c->attr->augment.rand_count < 0 || c->attr->augment.rand_count > HONE_ADJUST_MOST - 3)
        return hone_shape_fail(c, "%d steps of RandAugment are not 0 to %d", c->attr->augment.rand_count,
                               HONE_ADJUST_MOST - 3);
    return HONE_OK;
}

/* Two rows of quantiles: mixup's, cutmix's. */
static hone_status rule_image_mix(hone_shape_call *c)
{
    if (*letter(c, 'K') == 2 * HONE_MIX_TABLE) return HONE_OK;
    return hone_shape_fail(c, "the table has %lld entries, not %d", (long long)*letter(c, 'K'), 2 * HONE_MIX_TABLE);
}

/* The pool may be larger than the image: crops choose a part of it. */
static hone_status rule_image_batch(hone_shape_call *c)
{
    const hone_image_attr *a = &c->attr->image;
    if (a->height < 1 || a->width < 1 || a->channels < 1 || a->channels > HONE_MAX_CHANNELS)
        return hone_shape_fail(c, "image of %d x %d x %d is not possible", a->height, a->width, a->channels);
    if (*letter(c, 'C') != a->channels)
        return hone_shape_fail(c, "the pool has %lld channels, the image %d", (long long)*letter(c, 'C'), a->channels);
    if (!c->in[1] && *letter(c, 'P') != *letter(c, 'N'))
        return hone_shape_fail(c, "without rows the pool is the batch: %lld pictures, not %lld",
                               (long long)*letter(c, 'N'), (long long)*letter(c, 'P'));
    for (int k = 0; k < a->channels; k++)
        if (!(a->std[k] > 0)) return hone_shape_fail(c, "std of channel %d is not positive", k);
    *letter(c, 'H') = a->height;
    *letter(c, 'W') = a->width;
    return HONE_OK;
}

static hone_status rule_leaky(hone_shape_call *c)
{
    return c->attr->leaky.slope > 0 ? HONE_OK : hone_shape_fail(c, "the slope must be positive, or y loses x's sign");
}

/* eps 0 would divide by zero on a constant channel. */
static hone_status rule_norm(hone_shape_call *c)
{
    *letter(c, 'G') = (*letter(c, 'C') + 7) / 8; /* a bit a channel, in whole bytes */
    if (c->attr->norm.eps > 0) return HONE_OK;
    return hone_shape_fail(c, "eps must be positive, not %g", (double)c->attr->norm.eps);
}

/* The gate is told once: by y, or by the bits of it that the forward row has left. */
static hone_status rule_norm_gate(hone_shape_call *c)
{
    int64_t bytes = (*letter(c, 'C') + 7) / 8, given = *letter(c, 'G');
    if (!c->in[4] != !c->in[7] && (given == 0 || given == bytes)) return HONE_OK;
    return hone_shape_fail(c, "give y, or in its place open with %lld bytes a row", (long long)bytes);
}

/* p = 1 would scale by 1 / 0. */
static hone_status rule_drop(hone_shape_call *c)
{
    float p = c->attr->drop.p;
    return p >= 0 && p < 1 ? HONE_OK : hone_shape_fail(c, "the probability must be in [0, 1), not %g", (double)p);
}

/* D = A + B. */
static hone_status rule_concat(hone_shape_call *c)
{
    *letter(c, 'D') = *letter(c, 'A') + *letter(c, 'B');
    return HONE_OK;
}

/* dy knows only the sum; `left` says where to cut. */
static hone_status rule_concat_dx(hone_shape_call *c)
{
    int32_t left = c->attr->concat.left;
    if (left < 1 || left >= *letter(c, 'D'))
        return hone_shape_fail(c, "%d channels can't come from the left of %lld", left, (long long)*letter(c, 'D'));
    *letter(c, 'A') = left;
    *letter(c, 'B') = *letter(c, 'D') - left;
    return HONE_OK;
}

/* U = T + 1. */
static hone_status rule_prepend(hone_shape_call *c)
{
    *letter(c, 'U') = *letter(c, 'T') + 1;
    return HONE_OK;
}

/* The gradient of the tokens without the one that was put before them. */
static hone_status rule_prepend_dx(hone_shape_call *c)
{
    *letter(c, 'T') = *letter(c, 'U') - 1;
    return *letter(c, 'T') > 0 ? HONE_OK : hone_shape_fail(c, "dy must have at least two tokens");
}

/* dx is zero but for the first of T tokens. */
static hone_status rule_first_token_dx(hone_shape_call *c)
{
    *letter(c, 'T') = c->attr->window.in_h;
    return HONE_OK;
}

/* qkv (B, T, 3C): every head has C / heads channels of each of q, k and v. */
static hone_status rule_attention(hone_shape_call *c)
{
    int64_t d = *letter(c, 'D'), heads = c->attr->attention.heads;
    float p = c->attr->attention.p;
    if (d % 3 || heads < 1 || (d / 3) % heads)
        return hone_shape_fail(c, "the last size of qkv must be 3 * heads * n with heads = %lld", (long long)heads);
    if (!(p >= 0 && p < 1)) return hone_shape_fail(c, "the probability must be in [0, 1), not %g", (double)p);
    if (p > 0 && !c->in[c->sig.in_count - 1]) return hone_shape_fail(c, "dropout needs the step block");
    *letter(c, 'C') = d / 3;
    *letter(c, 'H') = heads;
    return HONE_OK;
}

/* y and lse bound C and H before: they must be those of this qkv. */
static hone_status rule_attention_dx(hone_shape_call *c)
{
    int64_t channels = *letter(c, 'C'), heads = *letter(c, 'H');
    HONE_TRY(rule_attention(c));
    if (channels == *letter(c, 'C') && heads == *letter(c, 'H')) return HONE_OK;
    return hone_shape_fail(c, "y and lse do not belong to qkv and %d heads", c->attr->attention.heads);
}

/* Rows of texts: B texts are not in the shapes of y, but their offsets must speak of some. */
static hone_status rule_ragged_attention(hone_shape_call *c)
{
    int64_t channels = *letter(c, 'C'), heads = *letter(c, 'H');
    HONE_TRY(rule_attention(c));
    if (channels && (channels != *letter(c, 'C') || heads != *letter(c, 'H')))
        return hone_shape_fail(c, "y and lse do not belong to qkv and %d heads", c->attr->attention.heads);
    return *letter(c, 'P') >= 2 ? HONE_OK : hone_shape_fail(c, "offset needs two entries or more");
}

/* s = 1 would ignore the labels. */
static hone_status rule_loss(hone_shape_call *c)
{
    float s = c->attr->loss.smoothing;
    if ((c->in[5] == NULL) != (c->in[6] == NULL))
        return hone_shape_fail(c, "a second label and its share come together");
    return s >= 0 && s < 1 ? HONE_OK : hone_shape_fail(c, "label smoothing must be in [0, 1), not %g", (double)s);
}

/* The target shape is no function of the input: hone_graph_reshape puts it into out[0] beforehand. */
static hone_status rule_reshape(hone_shape_call *c)
{
    if (c->out[0].rank == 0 && hone_tensor_count(c->in[0]) != 1)
        return hone_shape_fail(c, "a reshape is made by hone_graph_reshape, which takes the shape");
    if (hone_tensor_count(&c->out[0]) == hone_tensor_count(c->in[0])) return HONE_OK;
    char text[96];
    return hone_shape_fail(c, "it can't become %s: the counts differ",
                           hone_tensor_shape_text(&c->out[0], text, sizeof text));
}

/* offset has one entry more than there are texts. */
static hone_status rule_bag(hone_shape_call *c)
{
    int64_t texts = *letter(c, 'P') - 1;
    if (texts < 1) return hone_shape_fail(c, "offset needs two entries or more: where texts begin, and their end");
    if (*letter(c, 'N') == 0) *letter(c, 'N') = texts;
    return *letter(c, 'N') == texts ? HONE_OK
                                    : hone_shape_fail(c, "offset speaks of %lld texts, dy of %lld", (long long)texts,
                                                      (long long)*letter(c, 'N'));
}

/* dx has the capacity of x, of which dy knows nothing. */
static hone_status rule_ragged_dx(hone_shape_call *c)
{
    *letter(c, 'T') = c->attr->ragged.tokens;
    if (c->attr->ragged.tokens < 1) return hone_shape_fail(c, "a gradient of %d rows", c->attr->ragged.tokens);
    return *letter(c, 'P') ? rule_bag(c) : HONE_OK;
}

/* y keeps the rows of x; pad[0] taps lie before the row itself. */
static hone_status rule_conv1d(hone_shape_call *c)
{
    const hone_window *w = &c->attr->window;
    int64_t *kernel = letter(c, 'K');
    HONE_TRY(rule_bag(c));
    if (*kernel == 0) *kernel = w->kernel[0]; /* dw: only the attribute knows */
    if (*kernel != w->kernel[0]) return hone_shape_fail(c, "the attribute says kernel %d", w->kernel[0]);
    if (w->kernel[0] >= 1 && w->pad[0] >= 0 && w->pad[0] < w->kernel[0]) return HONE_OK;
    return hone_shape_fail(c, "a kernel of %d with %d taps before the token makes no window", w->kernel[0], w->pad[0]);
}

/* Three gates of H units; what is kept for the gradient has four columns a unit. */
static hone_status rule_gru(hone_shape_call *c)
{
    int64_t units = *letter(c, 'H');
    HONE_TRY(rule_bag(c));
    if (*letter(c, 'G') == 0) *letter(c, 'G') = 3 * units;
    if (*letter(c, 'Q') == 0) *letter(c, 'Q') = 4 * units;
    if (*letter(c, 'G') == 3 * units && *letter(c, 'Q') == 4 * units) return HONE_OK;
    return hone_shape_fail(c, "w must be (3 H, H), x (T, 3 H) and gates (T, 4 H)");
}

/* --- the table ------------------------------------------------------------------------------------------------ */

/* What the rows of a family share. */
#define NORM_IN   "x ..C, gamma:w C, beta:w C, running_mean:w C, running_var:w C"
#define NORM_OUT  "y ..C, mean:w C, rstd:w C"
#define NORM_BACK "x ..C, gamma:w C, mean:w C, rstd:w C"
#define NORM_DX   "dx ..C, dgamma?:w C, dbeta?:w C"
#define LOSS_IN   "logits NC, label:i N, row_weight?:w N, class_weight?:w C"
#define LOSS_MIX  ", other?:i N, share?:w N"

static const struct {
    const char *signature;
    shape_rule rule; /* NULL: the signature says it all */
} shape_table[HONE_OP_COUNT] = {
    [HONE_OP_image_batch] = {"pool:u PYXC, row?:i N, sample:i N, step # -> x NHWC", rule_image_batch},
    [HONE_OP_image_view] = {"pool:u PYXC, row:i N, sample:i N, step # -> y:u NHWC", rule_image_view},
    [HONE_OP_image_adjust] = {"x:u NHWC, sample:i N, step # -> y:u NHWC", rule_image_adjust},
    [HONE_OP_image_erase] = {"x NHWC, sample:i N, step # -> y NHWC", NULL},
    [HONE_OP_image_mix] = {"x NHWC, label:i N, sample:i N, table:i K, step # -> y NHWC, other:i N, share:w N",
                           rule_image_mix},

    /* dense: weights first dimension is what they make, as in PyTorch */
    [HONE_OP_linear] = {"x ..I, w OI, b? O -> y ..O", NULL},
    [HONE_OP_linear_dx] = {"dy ..O, w OI -> dx ..I", NULL},
    [HONE_OP_linear_dw] = {"x ..I, dy ..O -> dw:w OI, db?:w O", NULL},
    [HONE_OP_conv] = {"x NHWI, w OKLJ, b? O -> y NPQO", rule_conv},
    [HONE_OP_conv_dx] = {"dy NPQO, w OKLJ -> dx NHWI", rule_conv_dx},
    [HONE_OP_conv_dw] = {"x NHWI, dy NPQO -> dw:w OKLJ, db?:w O", rule_conv_dw},

    /* elementwise: any shape; backward reads y where y tells the slope, else x */
    [HONE_OP_relu] = {"x .. -> y ..", NULL},
    [HONE_OP_relu_dx] = {"y .., dy .. -> dx ..", NULL},
    [HONE_OP_relu6] = {"x .. -> y ..", NULL},
    [HONE_OP_relu6_dx] = {"y .., dy .. -> dx ..", NULL},
    [HONE_OP_leaky_relu] = {"x .. -> y ..", rule_leaky},
    [HONE_OP_leaky_relu_dx] = {"y .., dy .. -> dx ..", rule_leaky},
    [HONE_OP_gelu] = {"x .. -> y ..", NULL},
    [HONE_OP_gelu_dx] = {"x .., dy .. -> dx ..", NULL},
    [HONE_OP_gelu_tanh] = {"x .. -> y ..", NULL},
    [HONE_OP_gelu_tanh_dx] = {"x .., dy .. -> dx ..", NULL},
    [HONE_OP_silu] = {"x .. -> y ..", NULL},
    [HONE_OP_silu_dx] = {"x .., dy .. -> dx ..", NULL},
    [HONE_OP_tanh] = {"x .. -> y ..", NULL},
    [HONE_OP_tanh_dx] = {"y .., dy .. -> dx ..", NULL},
    [HONE_OP_sigmoid] = {"x .. -> y ..", NULL},
    [HONE_OP_sigmoid_dx] = {"y .., dy .. -> dx ..", NULL},

    /* pooling: `at` u8 is the place in the window, i32 the place in the image */
    [HONE_OP_maxpool] = {"x NHWC -> y NPQC, at?:u NPQC", rule_maxpool},
    [HONE_OP_maxpool_dx] = {"dy NPQC, at:u NPQC -> dx NHWC", rule_pool_dx},
    [HONE_OP_avgpool] = {"x NHWC -> y NPQC", rule_avgpool},
    [HONE_OP_avgpool_dx] = {"dy NPQC -> dx NHWC", rule_pool_dx},
    [HONE_OP_global_avgpool] = {"x N..C -> y NC", rule_global_pool},
    [HONE_OP_global_avgpool_dx] = {"dy NC -> dx N..C", rule_global_pool_dx},
    [HONE_OP_global_maxpool] = {"x N..C -> y NC, at?:i NC", rule_global_pool},
    [HONE_OP_global_maxpool_dx] = {"dy NC, at:i NC -> dx N..C", rule_global_pool_dx},

    /* normalisation: statistics are per channel (C) or per row (R) */
    [HONE_OP_batchnorm] = {NORM_IN " -> " NORM_OUT, rule_norm},
    [HONE_OP_batchnorm_dx] = {NORM_BACK ", dy ..C -> " NORM_DX, NULL},
    [HONE_OP_batchnorm_infer] = {NORM_IN " -> y ..C", rule_norm},
    [HONE_OP_layernorm] = {"x ..C, gamma:w C, beta:w C -> y ..C, mean:w R, rstd:w R", rule_norm},
    [HONE_OP_layernorm_dx] = {"x ..C, gamma:w C, mean:w R, rstd:w R, dy ..C -> dx ..C, dgamma?:w C, dbeta?:w C", NULL},

    /* noise: masks are drawn again in backward, never stored */
    [HONE_OP_dropout] = {"x .., step # -> y ..", rule_drop},
    [HONE_OP_dropout_dx] = {"dy .., step # -> dx ..", rule_drop},
    [HONE_OP_drop_path] = {"x N.., step # -> y N..", rule_drop},
    [HONE_OP_drop_path_dx] = {"dy N.., step # -> dx N..", rule_drop},

    /* joins and tokens: no broadcasting but over rows */
    [HONE_OP_add] = {"a .., b .. -> y ..", NULL},
    [HONE_OP_mul] = {"a .., b .. -> y ..", NULL},
    [HONE_OP_add_rows] = {"x N.., p .. -> y N..", NULL},
    [HONE_OP_add_rows_dp] = {"dy N.. -> dp:w ..", NULL},
    [HONE_OP_concat] = {"a ..A, b ..B -> y ..D", rule_concat},
    [HONE_OP_concat_dx] = {"dy ..D -> da ..A, db ..B", rule_concat_dx},
    [HONE_OP_prepend_token] = {"x NTC, t C -> y NUC", rule_prepend},
    [HONE_OP_prepend_token_dx] = {"dy NUC -> dx NTC", rule_prepend_dx},
    [HONE_OP_prepend_token_dt] = {"dy NUC -> dt:w C", NULL},
    [HONE_OP_first_token] = {"x NTC -> y NC", NULL},
    [HONE_OP_first_token_dx] = {"dy NC -> dx NTC", rule_first_token_dx},
    [HONE_OP_reshape] = {"x .. -> y ..", rule_reshape},
    [HONE_OP_cast] = {"x:w .. -> y ..", NULL},
    [HONE_OP_attention] = {"qkv BTD, step? # -> y BTC, lse:w BHT", rule_attention},
    [HONE_OP_attention_dx] = {"qkv BTD, y BTC, lse:w BHT, dy BTC, step? # -> dqkv BTD", rule_attention_dx},

    /* loss: a scalar is (1) */
    [HONE_OP_softmax_xent] = {LOSS_IN ", step #" LOSS_MIX " -> loss:w 1, row_loss?:w N", rule_loss},
    [HONE_OP_softmax_xent_dx] = {LOSS_IN ", step? #" LOSS_MIX " -> dlogits NC", rule_loss},
    [HONE_OP_softmax] = {"x ..C -> y:w ..C", NULL},

    /* update: flat arrays of K elements, all written in place */
    [HONE_OP_grad_norm] = {"grad:w K, step # ->", NULL},
    [HONE_OP_sgd] = {"p:w K, grad:w K, segment:u S, step #, slot0?:w K, slot1?:w K, ema?:w K, shadow? K ->", NULL},
    [HONE_OP_adamw] = {"p:w K, grad:w K, segment:u S, step #, slot0?:w K, slot1?:w K, ema?:w K, shadow? K ->", NULL},
    [HONE_OP_average] = {"ema:w K, x:w K, step # ->", NULL},

    /* fused: the operands of the rows they replace, less the inner value */
    [HONE_OP_linear_act] = {"x ..I, w OI, b? O -> y ..O, h? ..O", check_act},
    [HONE_OP_conv_act] = {"x NHWI, w OKLJ, b? O -> y NPQO", rule_conv_act},
    [HONE_OP_linear_dx_act] = {"dy ..O, w OI, below ..I -> dx ..I", check_act},
    [HONE_OP_conv_act_maxpool] = {"x NHWI, w OKLJ, b? O -> y NPQO, at?:u NPQO", rule_conv_act_maxpool},
    [HONE_OP_conv_act_maxpool_dw] = {"x NHWI, y NPQO, at:u NPQO, dy NPQO -> dw:w OKLJ, db?:w O",
                                     rule_conv_act_maxpool_dw},
    [HONE_OP_maxpool_act_dx] = {"y NPQC, at:u NPQC, dy NPQC -> dx NHWC", rule_maxpool_act_dx},
    [HONE_OP_batchnorm_relu] = {NORM_IN " -> " NORM_OUT, rule_norm},
    [HONE_OP_batchnorm_relu6] = {NORM_IN " -> " NORM_OUT, rule_norm},
    [HONE_OP_batchnorm_relu_dx] = {NORM_BACK ", beta:w C, dy ..C, dy2? ..C -> " NORM_DX, NULL},
    [HONE_OP_batchnorm_relu6_dx] = {NORM_BACK ", beta:w C, dy ..C -> " NORM_DX, NULL},
    [HONE_OP_batchnorm_add_relu] = {NORM_IN ", r ..C -> " NORM_OUT ", open?:u ..G", rule_norm},
    [HONE_OP_batchnorm_add_relu_dx] = {NORM_BACK ", y? ..C, dy ..C, dy2? ..C, open?:u ..G -> " NORM_DX ", dr? ..C",
                                       rule_norm_gate},
    [HONE_OP_batchnorm_infer_relu] = {NORM_IN " -> y ..C", rule_norm},
    [HONE_OP_batchnorm_infer_relu6] = {NORM_IN " -> y ..C", rule_norm},
    [HONE_OP_batchnorm_infer_add_relu] = {NORM_IN ", r ..C -> y ..C", rule_norm},
    [HONE_OP_add_relu] = {"a .., b .. -> y ..", NULL},
    [HONE_OP_add_layernorm] = {"a ..C, b ..C, gamma:w C, beta:w C -> y ..C, mean:w R, rstd:w R, sum? ..C", rule_norm},
    [HONE_OP_layernorm_add_dx] =
        {"x ..C, gamma:w C, mean:w R, rstd:w R, dy ..C, r ..C -> dx ..C, dgamma?:w C, dbeta?:w C", NULL},
    [HONE_OP_softmax_xent_both] = {LOSS_IN ", step #" LOSS_MIX " -> loss:w 1, row_loss?:w N, dlogits NC", rule_loss},

    /* ragged text: T tokens of N = P - 1 texts; the rows of a sparse gradient are as many as tokens at most */
    [HONE_OP_embedding_bag] = {"w:w VC, token:i T, offset:i P -> y NC", rule_bag},
    [HONE_OP_embedding_bag_dw] = {"w:w VC, token:i T, offset:i P, dy NC -> dw:w VC", rule_bag},
    [HONE_OP_embedding_bag_rows] = {"token:i T, offset:i P, dy NC -> row:i T, drow:w TC, count:i 1", rule_bag},
    [HONE_OP_rows_norm] = {"drow:w TC, count:i 1, step # ->", NULL},
    [HONE_OP_sgd_rows] = {"p:w VC, row:i T, drow:w TC, count:i 1, step #, slot0?:w VC ->", NULL},
    [HONE_OP_adamw_rows] = {"p:w VC, row:i T, drow:w TC, count:i 1, step #, slot0:w VC, slot1:w VC ->", NULL},
    [HONE_OP_embedding_bag_norm] = {"offset:i P, dy NC, step # ->", rule_bag},
    [HONE_OP_embedding_bag_sgd] = {"p:w VC, token:i T, offset:i P, dy NC, step # ->", rule_bag},
    [HONE_OP_embedding] = {"w:w VC, token:i T, offset:i P -> y TC", rule_bag},
    [HONE_OP_embedding_dw] = {"w:w VC, token:i T, offset:i P, dy TC -> dw:w VC", rule_bag},
    [HONE_OP_embedding_rows] = {"token:i T, offset:i P, dy TC -> row:i T, drow:w TC, count:i 1", rule_bag},
    [HONE_OP_ragged_mean] = {"x TC, offset:i P -> y NC", rule_bag},
    [HONE_OP_ragged_mean_dx] = {"dy NC, offset:i P -> dx TC", rule_ragged_dx},
    [HONE_OP_ragged_max] = {"x TC, offset:i P -> y NC, at?:i NC", rule_bag},
    [HONE_OP_ragged_max_dx] = {"dy NC, at:i NC -> dx TC", rule_ragged_dx},
    [HONE_OP_ragged_first] = {"x TC, offset:i P -> y NC", rule_bag},
    [HONE_OP_ragged_first_dx] = {"dy NC, offset:i P -> dx TC", rule_ragged_dx},
    [HONE_OP_ragged_add] = {"x TC, p:w LC, offset:i P -> y TC", NULL},
    [HONE_OP_ragged_add_dp] = {"p:w LC, dy TC, offset:i P -> dp:w LC", NULL},
    [HONE_OP_ragged_attention] = {"qkv TD, offset:i P, step? # -> y TC, lse:w HT", rule_ragged_attention},
    [HONE_OP_ragged_attention_dx] = {"qkv TD, y TC, lse:w HT, dy TC, offset:i P, step? # -> dqkv TD",
                                     rule_ragged_attention},
    [HONE_OP_conv1d] = {"x TI, w OKI, b? O, offset:i P -> y TO", rule_conv1d},
    [HONE_OP_conv1d_dx] = {"dy TO, w OKI, offset:i P -> dx TI", rule_conv1d},
    [HONE_OP_conv1d_dw] = {"x TI, dy TO, offset:i P -> dw:w OKI, db?:w O", rule_conv1d},
    [HONE_OP_gru] = {"x TG, w GH, b G, offset:i P -> y TH, gates? TQ", rule_gru},
    [HONE_OP_gru_dx] = {"w GH, offset:i P, y TH, gates TQ, dy TH -> dx TG, dw?:w GH, db?:w G", rule_gru},
};

/* For messages, and for the test that every row of ops.def has one. */
const char *hone_shape_signature(hone_op op) { return shape_table[op].signature; }

/* Reads, in this order: the inputs, the op's arithmetic, the outputs. */
hone_status hone_shape_infer(hone_shape_call *c)
{
    const char *line = shape_table[c->op].signature;
    if (!line || !hone_signature_parse(line, &c->sig))
        return hone_fail(HONE_ERR_USAGE, "add a row to src/graph/shape.c", "%s has no shape rule", hone_op_name(c->op));
    HONE_TRY(hone_signature_unify(c));
    if (shape_table[c->op].rule) HONE_TRY(shape_table[c->op].rule(c));
    if (c->op == HONE_OP_reshape) {
        c->out[0].dtype = c->in[0]->dtype;
        return HONE_OK;
    }
    return hone_signature_outputs(c);
}
