/* conv_pool.c - shapes and scratch sizes of the joined convolution-activation-pooling rows.
 *
 * No arithmetic on tensors: this file is compiled once and the *_simd.c files read what it says. */
#include "cpu/conv_pool.h"

enum { LINE_FLOATS = 16, SLACK_FLOATS = 64 }; /* vectors may read past the last pixel of a scratch image */

/* To whole cache lines, so that no two threads write one. */
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* The formula of torch.nn.Conv2d: floor((in + 2 pad - dilation (k - 1) - 1) / stride) + 1. */
static int64_t conv_size(const hone_window *v, int axis, int64_t in)
{
    int64_t reach = (int64_t)v->dilation[axis] * (v->kernel[axis] - 1) + 1;
    return (in + 2 * v->pad[axis] - reach) / v->stride[axis] + 1;
}

conv_pool_shape hone_cpu_conv_pool_shape(const hone_attrs *a, const hone_tensor *x, const hone_tensor *y)
{
    const hone_window *v = &a->window;
    conv_pool_shape s = {.N = x->dim[0], .H = x->dim[1], .W = x->dim[2], .I = x->dim[3], .O = y->dim[3]};
    s.PH = y->dim[1];
    s.PW = y->dim[2];
    s.OH = conv_size(v, 0, s.H);
    s.OW = conv_size(v, 1, s.W);
    s.groups = v->groups;
    s.Ig = s.I / s.groups;
    s.Og = s.O / s.groups;
    s.padded_h = s.H + 2 * v->pad[0];
    s.padded_w = s.W + 2 * v->pad[1];
    s.taps = (int64_t)v->kernel[0] * v->kernel[1] * s.Ig;
    s.lanes = s.Og <= 8 ? 8 : 16;
    s.blocks = (s.Og + s.lanes - 1) / s.lanes;
    int joined = v->groups == 1 && v->dilation[1] == 1; /* the columns of a kernel row lie side by side */
    s.segment = joined ? v->kernel[1] * s.I : s.Ig;
    s.segments = joined ? v->kernel[0] : (int64_t)v->kernel[0] * v->kernel[1];
    s.stride_floats = round_up(s.segment, s.segment <= 8 ? 8 : 16);
    return s;
}

/* Takes `floats` at the end of what is taken so far. */
static int64_t take(int64_t *at, int64_t floats)
{
    int64_t begin = *at;
    *at += round_up(floats, LINE_FLOATS);
    return begin;
}

conv_pool_scratch hone_cpu_conv_pool_forward_scratch(const conv_pool_shape *s, int parts)
{
    conv_pool_scratch z = {0};
    z.weights = take(&z.total, s->groups * s->blocks * s->taps * s->lanes);
    z.bias = take(&z.total, s->groups * s->blocks * s->lanes);
    z.offsets = take(&z.total, s->taps);
    z.part = z.total;
    z.image = take(&z.part_floats, s->padded_h * s->padded_w * s->I + SLACK_FLOATS);
    z.conv = take(&z.part_floats, s->OH * s->OW * s->lanes);
    z.total += parts * z.part_floats;
    return z;
}

conv_pool_scratch hone_cpu_conv_pool_dw_scratch(const conv_pool_shape *s, int parts)
{
    conv_pool_scratch z = {0};
    z.image = take(&z.part_floats, s->padded_h * s->padded_w * s->I + SLACK_FLOATS);
    z.sums = take(&z.part_floats, s->O * s->segments * s->stride_floats);
    z.bias_sums = take(&z.part_floats, 2 * s->O); /* doubles */
    z.corner = take(&z.part_floats, s->O * s->PH * s->PW);
    z.all_at = take(&z.part_floats, s->O * s->PH * s->PW);
    z.all_g = take(&z.part_floats, s->O * s->PH * s->PW);
    z.list_at = take(&z.part_floats, s->PH * s->PW);
    z.list_g = take(&z.part_floats, s->PH * s->PW);
    z.total = parts * z.part_floats;
    return z;
}

/* For as many parts as there are threads; a launch may use fewer. */
hone_status hone_cpu_conv_pool_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    conv_pool_shape s = hone_cpu_conv_pool_shape(&n->attr, &g->tensor[n->in[0]], &g->tensor[n->out[0]]);
    n->work_bytes = (size_t)hone_cpu_conv_pool_forward_scratch(&s, b->threads).total * sizeof(float);
    n->choice = "direct, pooled in cache";
    return HONE_OK;
}

/* in[1] is y of the pooling, whose shape the sums follow. `choice` is what `plan --nodes` shows. */
hone_status hone_cpu_conv_pool_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    conv_pool_shape s = hone_cpu_conv_pool_shape(&n->attr, &g->tensor[n->in[0]], &g->tensor[n->in[1]]);
    n->work_bytes = (size_t)hone_cpu_conv_pool_dw_scratch(&s, b->threads).total * sizeof(float);
    n->choice = "sparse by the chosen places";
    return HONE_OK;
}

/* Overlapping windows meet a gated dy several times: it is made once. Windows that tile need no scratch. */
hone_status hone_cpu_pool_gate_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = hone_tensor_bytes(&g->tensor[n->in[0]]);
    return HONE_OK;
}
