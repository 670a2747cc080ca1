/* dnn_graph.c - what an operation graph must be before a library may see it.
 *
 * Contract: cuDNN notices wrong output sizes, but takes a weight with half its channels for a grouped
 * convolution, two tensors of one uid for one, a transposed layout for a wish, and a mixed type for an
 * empty list. So all of that is refused here, by name. Must not know any library. */
#include <stdio.h>
#include <string.h>

#include "dnn.h"

/* In the order of hone_dnn_op_kind. */
/* clang-format off */
static const hone_dnn_op_rule rules[HONE_DNN_OP_COUNT] = {
    {"conv", 3, 1u << 2}, {"conv_dx", 3, 1u << 0}, {"conv_dw", 3, 1u << 1},
    {"add", 3, 1u << 2}, {"sub", 3, 1u << 2}, {"mul", 3, 1u << 2},
    {"relu", 2, 1u << 1}, {"relu_dx", 3, 1u << 2}, {"stats", 3, 3u << 1},
    {"finalize", 15, 0x3Fu << 6}, {"norm_dw", 10, 0x1Fu << 5},
};
/* clang-format on */

/* For whoever walks operands without knowing the op. */
const hone_dnn_op_rule *hone_dnn_rule(hone_dnn_op_kind kind) { return &rules[kind]; }

/* A search: graphs have two dozen tensors. The first of two equal uids, which the check relies on. */
int hone_dnn_graph_find(const hone_dnn_graph *g, int64_t uid)
{
    for (int k = 0; k < g->tensor_count; k++)
        if (g->tensor[k].uid == uid) return k;
    return -1;
}

/* Channels innermost, then W, H, N: hone's one layout, in the order of cuDNN's dims (N, C, H, W). */
static void channels_last(const int64_t dim[4], int64_t stride[4])
{
    stride[1] = 1;
    stride[3] = dim[1];
    stride[2] = dim[1] * dim[3];
    stride[0] = dim[1] * dim[3] * dim[2];
}

/* Counts past the end are kept, so that the check can refuse them; nothing is written there. */
int hone_dnn_add_tensor(hone_dnn_graph *g, int64_t uid, hone_dtype dtype, const int64_t dim[4])
{
    int k = g->tensor_count++;
    if (k >= HONE_DNN_TENSORS_MAX) return 0;
    hone_dnn_tensor *t = &g->tensor[k];
    *t = (hone_dnn_tensor){.uid = uid, .dtype = dtype, .is_virtual = uid >= HONE_DNN_VIRTUAL};
    t->by_value = uid == HONE_DNN_COUNT || uid == HONE_DNN_EPS || uid == HONE_DNN_MOMENTUM;
    memcpy(t->dim, dim, sizeof t->dim);
    channels_last(dim, t->stride);
    return k;
}

/* `slot` has the rule's count of entries. */
int hone_dnn_add_op(hone_dnn_graph *g, hone_dnn_op_kind kind, const int *slot, const hone_window *window)
{
    int k = g->op_count++;
    if (k >= HONE_DNN_OPS_MAX) return 0;
    g->op[k] = (hone_dnn_op){.kind = kind};
    memcpy(g->op[k].slot, slot, (size_t)rules[kind].slots * sizeof *slot);
    if (window) g->op[k].window = *window;
    return k;
}

/* What is wrong here is wrong in this program, not in the user's page. */
#define REFUSE(...) hone_fail(HONE_ERR_USAGE, "a mistake in the graph's builder: report it", "dnn: " __VA_ARGS__)

/* Dims, strides and type of one tensor; uids are compared with those before it. */
static hone_status check_tensor(const hone_dnn_graph *g, int k)
{
    const hone_dnn_tensor *t = &g->tensor[k];
    int64_t stride[4];
    channels_last(t->dim, stride);
    for (int d = 0; d < 4; d++) {
        if (t->dim[d] < 1) return REFUSE("tensor %d: dim %d is %d", (int)t->uid, d, (int)t->dim[d]);
        if (t->stride[d] != stride[d])
            return REFUSE("tensor %d: stride %d is %lld where the channels-last layout has %lld", (int)t->uid, d,
                          (long long)t->stride[d], (long long)stride[d]);
    }
    if (t->uid < 1) return REFUSE("tensor %d: no uid", k);
    if (hone_dnn_graph_find(g, t->uid) != k) return REFUSE("uid %d stands for two tensors", (int)t->uid);
    if (t->is_virtual != (t->uid >= HONE_DNN_VIRTUAL) || (!t->is_virtual && t->uid >= HONE_DNN_UID_COUNT))
        return REFUSE("uid %d does not say whether its tensor lies in memory", (int)t->uid);
    bool is_float = t->dtype == HONE_F32 || t->dtype == HONE_BF16 || t->dtype == HONE_F16;
    if (!is_float && !(t->by_value && t->dtype == HONE_I64))
        return REFUSE("tensor %d: type %s", (int)t->uid, hone_dtype_name(t->dtype));
    return HONE_OK;
}

/* Images and weights that lie in memory are of the graph's one type; an intermediate is that or float. */
static hone_status check_type(const hone_dnn_graph *g, const char *op, const hone_dnn_tensor *t)
{
    if (t->dtype == g->dtype || (t->is_virtual && t->dtype == HONE_F32)) return HONE_OK;
    return REFUSE("%s: tensor %d is %s in a graph of %s", op, (int)t->uid, hone_dtype_name(t->dtype),
                  hone_dtype_name(g->dtype));
}

/* Places of a window along one axis; formula of torch.nn.Conv2d. */
static int64_t places(int64_t size, const hone_window *v, int axis)
{
    return (size + 2 * v->pad[axis] - v->dilation[axis] * (v->kernel[axis] - 1) - 1) / v->stride[axis] + 1;
}

/* x (N, I, H, W), w (O, I/g, kh, kw), y (N, O, OH, OW): every dim by every other. */
static hone_status check_conv(const hone_dnn_graph *g, const hone_dnn_op *op)
{
    const char *name = rules[op->kind].name;
    const hone_window *v = &op->window;
    const hone_dnn_tensor *x = &g->tensor[op->slot[0]], *w = &g->tensor[op->slot[1]], *y = &g->tensor[op->slot[2]];
    for (int s = 0; s < 3; s++) HONE_TRY(check_type(g, name, &g->tensor[op->slot[s]]));
    for (int a = 0; a < 2; a++)
        if (v->kernel[a] < 1 || v->stride[a] < 1 || v->pad[a] < 0 || v->dilation[a] < 1 || v->groups < 1)
            return REFUSE("%s: window %d of size %d, stride %d, pad %d, dilation %d, %d groups", name, a, v->kernel[a],
                          v->stride[a], v->pad[a], v->dilation[a], v->groups);
    /* cuDNN has no groups of its own: it divides the image's channels by the weight's, whatever comes out. */
    if (w->dim[1] * v->groups != x->dim[1] || x->dim[1] % v->groups || y->dim[1] % v->groups)
        return REFUSE("%s: a weight of %lld input channels and %d groups for an image of %lld", name,
                      (long long)w->dim[1], v->groups, (long long)x->dim[1]);
    if (w->dim[0] != y->dim[1])
        return REFUSE("%s: a weight of %lld output channels for %lld", name, (long long)w->dim[0],
                      (long long)y->dim[1]);
    if (w->dim[2] != v->kernel[0] || w->dim[3] != v->kernel[1])
        return REFUSE("%s: a weight of %lldx%lld under a window of %dx%d", name, (long long)w->dim[2],
                      (long long)w->dim[3], v->kernel[0], v->kernel[1]);
    /* Batch and places: cuDNN would notice these, with a message that names no op of ours. */
    if (x->dim[0] != y->dim[0]) return REFUSE("%s: batches of %d and %d", name, (int)x->dim[0], (int)y->dim[0]);
    for (int a = 0; a < 2; a++)
        if (places(x->dim[2 + a], v, a) != y->dim[2 + a])
            return REFUSE("%s: output of size %lld, the window gives %lld", name, (long long)y->dim[2 + a],
                          (long long)places(x->dim[2 + a], v, a));
    return HONE_OK;
}

/* Operand `b` is of the shape of `a`, or one value a channel of it. */
static hone_status check_operand(const char *name, const hone_dnn_tensor *a, const hone_dnn_tensor *b, bool channels)
{
    int64_t want[4] = {1, a->dim[1], 1, 1};
    if ((channels && memcmp(want, b->dim, sizeof want) == 0) || memcmp(a->dim, b->dim, sizeof want) == 0)
        return HONE_OK;
    return REFUSE("%s: tensor %d (%lld,%lld,%lld,%lld) beside tensor %d of %lld channels", name, (int)b->uid,
                  (long long)b->dim[0], (long long)b->dim[1], (long long)b->dim[2], (long long)b->dim[3], (int)a->uid,
                  (long long)a->dim[1]);
}

/* The first image of the op rules; all else is of its shape or of its channels. */
static hone_status check_shapes(const hone_dnn_graph *g, const hone_dnn_op *op)
{
    const hone_dnn_op_rule *rule = &rules[op->kind];
    const int image = op->kind == HONE_DNN_OP_NORM_DW ? 3 : 0;
    const hone_dnn_tensor *a = &g->tensor[op->slot[image]];
    for (int s = 0; s < rule->slots; s++) {
        const hone_dnn_tensor *t = &g->tensor[op->slot[s]];
        int64_t one[4] = {1, 1, 1, 1};
        if (t->by_value) {
            if (memcmp(one, t->dim, sizeof one) != 0) return REFUSE("%s: scalar %d has dims", rule->name, (int)t->uid);
            continue;
        }
        /* These slots have no broadcast: a gradient by channel would be summed, not spread. */
        bool whole = op->kind == HONE_DNN_OP_RELU || op->kind == HONE_DNN_OP_RELU_DX ||
                     (op->kind <= HONE_DNN_OP_MUL && s == 2) || (op->kind == HONE_DNN_OP_NORM_DW && s == 4);
        HONE_TRY(check_operand(rule->name, a, t, !whole && s != image));
        bool by_channel = t->dim[0] * t->dim[2] * t->dim[3] == 1; /* statistics and parameters choose their own type */
        if (!by_channel) HONE_TRY(check_type(g, rule->name, t));
    }
    return HONE_OK;
}

/* Writers and readers of each tensor: one writer at most, an intermediate has both, nothing stands idle. */
static hone_status check_use(const hone_dnn_graph *g)
{
    int writers[HONE_DNN_TENSORS_MAX] = {0}, readers[HONE_DNN_TENSORS_MAX] = {0};
    for (int k = 0; k < g->op_count; k++)
        for (int s = 0; s < rules[g->op[k].kind].slots; s++) {
            int t = g->op[k].slot[s];
            if (rules[g->op[k].kind].written >> s & 1u) writers[t]++;
            else if (g->tensor[t].is_virtual && !writers[t])
                return REFUSE("%s reads tensor %d before it is made", rules[g->op[k].kind].name, (int)g->tensor[t].uid);
            else readers[t]++;
        }
    for (int t = 0; t < g->tensor_count; t++) {
        const hone_dnn_tensor *d = &g->tensor[t];
        if (writers[t] > 1) return REFUSE("tensor %d has %d writers", (int)d->uid, writers[t]);
        if (d->is_virtual ? !readers[t] || !writers[t] : !readers[t] && !writers[t])
            return REFUSE("tensor %d has no %s", (int)d->uid, readers[t] || !d->is_virtual ? "use" : "reader");
    }
    return HONE_OK;
}

/* Sizes of the arrays first, since everything after indexes them. */
hone_status hone_dnn_graph_check(const hone_dnn_graph *g)
{
    if (g->tensor_count > HONE_DNN_TENSORS_MAX || g->op_count > HONE_DNN_OPS_MAX || g->op_count < 1)
        return REFUSE("a graph of %d tensors and %d ops", g->tensor_count, g->op_count);
    if (g->dtype != HONE_F32 && g->dtype != HONE_BF16 && g->dtype != HONE_F16)
        return REFUSE("a graph of type %s", hone_dtype_name(g->dtype));
    for (int k = 0; k < g->tensor_count; k++) HONE_TRY(check_tensor(g, k));
    for (int k = 0; k < g->op_count; k++) {
        const hone_dnn_op *op = &g->op[k];
        for (int s = 0; s < rules[op->kind].slots; s++)
            if (op->slot[s] < 0 || op->slot[s] >= g->tensor_count)
                return REFUSE("%s: slot %d has no tensor", rules[op->kind].name, s);
        HONE_TRY(op->kind <= HONE_DNN_OP_CONV_DW ? check_conv(g, op) : check_shapes(g, op));
    }
    return check_use(g);
}
