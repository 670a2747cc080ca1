/* dnn_problem.c - from a problem to its operation graph, and problems, choices and refusals in words.
 *
 * Contract: one function a kind of problem, each a few tensors and ops; what comes out has passed
 * hone_dnn_graph_check. Types of intermediates follow the pattern: float behind a convolution, the images'
 * own in front of one (the combinations that cuDNN's ahead-of-time engines are written for). Must not know
 * which of the graphs a library has: it is asked. */
#include <stdio.h>

#include "dnn.h"

/* In the order of hone_dnn_kind. */
static const char *const kind_name[HONE_DNN_KIND_COUNT] = {"conv",
                                                           "conv_dx",
                                                           "conv_dw",
                                                           "conv+stats",
                                                           "norm+relu+conv+stats",
                                                           "stats_finalize",
                                                           "norm+relu+conv_dw",
                                                           "conv_dx+relu_dx+norm_dw"};

/* "k3" or "k3x5" */
static int pair_text(char *text, size_t bytes, const char *letter, const int32_t v[2])
{
    return v[0] == v[1] ? snprintf(text, bytes, " %s%d", letter, v[0])
                        : snprintf(text, bytes, " %s%dx%d", letter, v[0], v[1]);
}

/* Everything that a choice depends on but chip and versions: it is the key of the tuning cache. */
char *hone_dnn_problem_text(const hone_dnn_problem *p, char *text, size_t text_bytes)
{
    char kernel[32], stride[32], pad[32], dilation[32] = "", groups[32] = "";
    const hone_window *v = &p->window;
    pair_text(kernel, sizeof kernel, "k", v->kernel);
    pair_text(stride, sizeof stride, "s", v->stride);
    pair_text(pad, sizeof pad, "p", v->pad);
    if (v->dilation[0] != 1 || v->dilation[1] != 1) pair_text(dilation, sizeof dilation, "d", v->dilation);
    if (v->groups != 1) snprintf(groups, sizeof groups, " g%d", v->groups);
    snprintf(text, text_bytes, "%s%s%s %s n%lld %lldx%lldx%lld -> %lld%s%s%s%s%s", kind_name[p->kind],
             p->bias ? "+bias" : "", p->relu ? "+relu" : "", hone_dtype_name(p->dtype), (long long)p->n,
             (long long)p->h, (long long)p->w, (long long)p->in, (long long)p->out, kernel, stride, pad, dilation,
             groups);
    return text;
}

/* The tensors that most graphs have: image, weight, output, in the types that the caller wants. */
static int image_x(hone_dnn_graph *g, const hone_dnn_problem *p, int64_t uid, hone_dtype dtype)
{
    return hone_dnn_add_tensor(g, uid, dtype, (int64_t[4]){p->n, p->in, p->h, p->w});
}
/* The output's side. */
static int image_y(hone_dnn_graph *g, const hone_dnn_problem *p, int64_t uid, hone_dtype dtype)
{
    return hone_dnn_add_tensor(g, uid, dtype, (int64_t[4]){p->n, p->out, p->oh, p->ow});
}
/* A group count of 0 or less is left for the check to refuse. */
static int weight(hone_dnn_graph *g, const hone_dnn_problem *p)
{
    const hone_window *v = &p->window;
    return hone_dnn_add_tensor(
        g, HONE_DNN_W, p->dtype,
        (int64_t[4]){p->out, p->in / (v->groups > 0 ? v->groups : 1), v->kernel[0], v->kernel[1]});
}
/* One value a channel. */
static int by_channel(hone_dnn_graph *g, int64_t uid, hone_dtype dtype, int64_t channels)
{
    return hone_dnn_add_tensor(g, uid, dtype, (int64_t[4]){1, channels, 1, 1});
}

/* y = conv(x, w), + bias, ReLU; what lies between two ops is a float intermediate. */
static void build_conv(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int64_t next = HONE_DNN_VIRTUAL;
    int x = image_x(g, p, HONE_DNN_X, p->dtype), w = weight(g, p);
    int y = p->bias || p->relu ? image_y(g, p, next++, HONE_F32) : image_y(g, p, HONE_DNN_Y, p->dtype);
    hone_dnn_add_op(g, HONE_DNN_OP_CONV, (int[]){x, w, y}, &p->window);
    if (p->bias) {
        int bias = by_channel(g, HONE_DNN_BIAS, p->dtype, p->out);
        int sum = p->relu ? image_y(g, p, next++, HONE_F32) : image_y(g, p, HONE_DNN_Y, p->dtype);
        hone_dnn_add_op(g, HONE_DNN_OP_ADD, (int[]){y, bias, sum}, NULL);
        y = sum;
    }
    if (p->relu) hone_dnn_add_op(g, HONE_DNN_OP_RELU, (int[]){y, image_y(g, p, HONE_DNN_Y, p->dtype)}, NULL);
}

/* The two gradients of a plain convolution. */
static void build_gradient(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int x = image_x(g, p, HONE_DNN_X, p->dtype), w = weight(g, p), y = image_y(g, p, HONE_DNN_Y, p->dtype);
    hone_dnn_add_op(g, p->kind == HONE_DNN_CONV_DX ? HONE_DNN_OP_CONV_DX : HONE_DNN_OP_CONV_DW, (int[]){x, w, y},
                    &p->window);
}

/* relu(scale * x + shift) as an intermediate of the images' type; returns it. */
static int normed_x(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int64_t uid = HONE_DNN_VIRTUAL;
    int x = image_x(g, p, HONE_DNN_X, p->dtype), scale = by_channel(g, HONE_DNN_SCALE, p->dtype, p->in);
    int shift = by_channel(g, HONE_DNN_SHIFT, p->dtype, p->in);
    int scaled = image_x(g, p, uid, p->dtype), shifted = image_x(g, p, uid + 1, p->dtype);
    int on = image_x(g, p, uid + 2, p->dtype);
    hone_dnn_add_op(g, HONE_DNN_OP_MUL, (int[]){x, scale, scaled}, NULL);
    hone_dnn_add_op(g, HONE_DNN_OP_ADD, (int[]){scaled, shift, shifted}, NULL);
    hone_dnn_add_op(g, HONE_DNN_OP_RELU, (int[]){shifted, on}, NULL);
    return on;
}

/* Statistics are of y as it is stored, so that normalising it gives mean 0 and variance 1. */
static void build_stats(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int x = p->kind == HONE_DNN_CONV_STATS ? image_x(g, p, HONE_DNN_X, p->dtype) : normed_x(p, g);
    int w = weight(g, p), y = image_y(g, p, HONE_DNN_Y, p->dtype);
    hone_dnn_add_op(g, HONE_DNN_OP_CONV, (int[]){x, w, y}, &p->window);
    int sum = by_channel(g, HONE_DNN_SUM, HONE_F32, p->out),
        squares = by_channel(g, HONE_DNN_SQUARES, HONE_F32, p->out);
    hone_dnn_add_op(g, HONE_DNN_OP_STATS, (int[]){y, sum, squares}, NULL);
}

/* Sums of `out` channels to what batchnorm needs; scale and shift come out in float. */
static void build_finalize(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    static const int64_t uid[12] = {HONE_DNN_SUM,      HONE_DNN_SQUARES, HONE_DNN_GAMMA,    HONE_DNN_BETA,
                                    HONE_DNN_OLD_MEAN, HONE_DNN_OLD_VAR, HONE_DNN_NEW_MEAN, HONE_DNN_NEW_VAR,
                                    HONE_DNN_MEAN,     HONE_DNN_RSTD,    HONE_DNN_SCALE,    HONE_DNN_SHIFT};
    const int64_t one[4] = {1, 1, 1, 1};
    int slot[HONE_DNN_SLOTS_MAX];
    for (int k = 0; k < 12; k++) slot[k] = by_channel(g, uid[k], HONE_F32, p->out);
    slot[12] = hone_dnn_add_tensor(g, HONE_DNN_COUNT, HONE_I64, one);
    slot[13] = hone_dnn_add_tensor(g, HONE_DNN_EPS, HONE_F32, one);
    slot[14] = hone_dnn_add_tensor(g, HONE_DNN_MOMENTUM, HONE_F32, one);
    hone_dnn_add_op(g, HONE_DNN_OP_FINALIZE, slot, NULL);
}

/* The image of the filter gradient is normalised on its way in. */
static void build_norm_dw(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int x = normed_x(p, g), w = weight(g, p), dy = image_y(g, p, HONE_DNN_Y, p->dtype);
    hone_dnn_add_op(g, HONE_DNN_OP_CONV_DW, (int[]){x, w, dy}, &p->window);
}

/* dx of the convolution stays on chip; ReLU's input is computed again from the batchnorm's, and what is stored is
 * the gradient behind ReLU, with the two sums that the batchnorm's parameters need. */
static void build_dx_norm(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    int64_t uid = HONE_DNN_VIRTUAL;
    int dy = image_y(g, p, HONE_DNN_Y, p->dtype), w = weight(g, p), dx = image_x(g, p, uid++, HONE_F32);
    hone_dnn_add_op(g, HONE_DNN_OP_CONV_DX, (int[]){dx, w, dy}, &p->window);
    int x = image_x(g, p, HONE_DNN_NORM_X, p->dtype), t[4];
    int mean = by_channel(g, HONE_DNN_MEAN, HONE_F32, p->in), rstd = by_channel(g, HONE_DNN_RSTD, HONE_F32, p->in);
    int gamma = by_channel(g, HONE_DNN_GAMMA, HONE_F32, p->in), beta = by_channel(g, HONE_DNN_BETA, HONE_F32, p->in);
    for (int k = 0; k < 4; k++) t[k] = image_x(g, p, uid++, HONE_F32);
    hone_dnn_add_op(g, HONE_DNN_OP_SUB, (int[]){x, mean, t[0]}, NULL);
    hone_dnn_add_op(g, HONE_DNN_OP_MUL, (int[]){t[0], rstd, t[1]}, NULL);
    hone_dnn_add_op(g, HONE_DNN_OP_MUL, (int[]){t[1], gamma, t[2]}, NULL);
    hone_dnn_add_op(g, HONE_DNN_OP_ADD, (int[]){t[2], beta, t[3]}, NULL);
    int through = image_x(g, p, HONE_DNN_X, p->dtype);
    hone_dnn_add_op(g, HONE_DNN_OP_RELU_DX, (int[]){dx, t[3], through}, NULL);
    static const int64_t result[5] = {HONE_DNN_DGAMMA, HONE_DNN_DBETA, HONE_DNN_EQ_DY, HONE_DNN_EQ_X,
                                      HONE_DNN_EQ_SHIFT};
    int slot[HONE_DNN_SLOTS_MAX] = {mean, rstd, gamma, x, through};
    for (int k = 0; k < 5; k++) slot[5 + k] = by_channel(g, result[k], HONE_F32, p->in);
    hone_dnn_add_op(g, HONE_DNN_OP_NORM_DW, slot, NULL);
}

/* A refusal names the problem, so that the net's layer can be found. */
hone_status hone_dnn_graph_of(const hone_dnn_problem *p, hone_dnn_graph *g)
{
    static void (*const build[HONE_DNN_KIND_COUNT])(const hone_dnn_problem *, hone_dnn_graph *) = {
        build_conv,  build_gradient, build_gradient, build_stats,
        build_stats, build_finalize, build_norm_dw,  build_dx_norm};
    char text[160];
    *g = (hone_dnn_graph){.dtype = p->dtype};
    build[p->kind](p, g);
    hone_status status = hone_dnn_graph_check(g);
    if (status != HONE_OK) hone_error_context("%s", hone_dnn_problem_text(p, text, sizeof text));
    return status;
}

/* In 16 bits tensor cores are what was asked for; in fp32 they mean TF32, which is a precision of its own. */
const char *hone_dnn_refusal(const hone_dnn_candidate *c, hone_dtype dtype, const hone_dnn_rules *rules)
{
    if (rules->ordered && !c->ordered) return "not deterministic";
    if (c->rounds_inputs) return "rounds its inputs or sums";
    if (dtype == HONE_F32 && c->tensor_cores && !rules->tensor_float) return "multiplies as TF32";
    return NULL;
}

/* For people: what is needed to find the candidate again is kept by dnn_choose.c. */
char *hone_dnn_choice_text(const char *library, const hone_dnn_candidate *c, int64_t work_bytes, char *text,
                           size_t text_bytes)
{
    snprintf(text, text_bytes, "%s engine %lld, workspace %.1f MiB, %s%s", library, (long long)c->engine,
             (double)work_bytes / (1 << 20), c->ordered ? "deterministic" : "not deterministic",
             c->at_run_time ? ", compiled at run time" : "");
    return text;
}

/* Counts of zero are left out. */
char *hone_dnn_fate_text(const hone_dnn_fate *f, char *text, size_t text_bytes)
{
    int n = snprintf(text, text_bytes, "%d offered", f->offered);
    const struct {
        int count;
        const char *what;
    } rest[] = {{f->against_rules, "against the rules"}, {f->unplanned, "without a plan"}, {f->too_large, "too large"}};
    for (int k = 0; k < 3; k++)
        if (rest[k].count && n > 0 && (size_t)n < text_bytes)
            n += snprintf(text + n, text_bytes - (size_t)n, ", %d %s", rest[k].count, rest[k].what);
    return text;
}
