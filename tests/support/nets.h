/* nets.h - small nets of every kind of join and layer, and how tests fill and run them.
 *
 * The nets are built by hand, so that tests of graph and compile need neither configs nor models.
 * Values are a fixed function of tensor and element: the same on every backend and in every build. */
#ifndef HONE_TEST_NETS_H
#define HONE_TEST_NETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hone/philox.h"
#include "hone/program.h"

typedef struct net {
    hone_graph *g;
    hone_tid x, label, row_weight, logits, loss, step;
    int64_t batch;
    int classes, params; /* parameters so far: their names are p0, p1, ... */
} net;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        hone_status ok_status_ = (call);                                                                               \
        if (ok_status_ != HONE_OK) fail_msg("%s: %s", #call, hone_error_message());                                    \
    } while (0)
#define DIM(...)                                                                                                       \
    (const int64_t[]) { __VA_ARGS__ }
#define RANK(...) ((int)(sizeof(DIM(__VA_ARGS__)) / sizeof(int64_t)))
#define IDS(...)                                                                                                       \
    (const hone_tid[]) { __VA_ARGS__ }

static inline hone_tid net_param(net *n, int rank, const int64_t *dim, uint32_t flags)
{
    char name[32];
    hone_tid t;
    snprintf(name, sizeof name, "p%d", n->params++);
    OK(hone_graph_tensor(n->g, name, HONE_F32, HONE_ROLE_PARAM, rank, dim, &t));
    n->g->tensor[t].flags = flags;
    return t;
}
#define WEIGHT(n, ...) net_param(n, RANK(__VA_ARGS__), DIM(__VA_ARGS__), HONE_TENSOR_TRAINABLE | HONE_TENSOR_DECAY)
#define VECTOR(n, c)   net_param(n, 1, DIM(c), HONE_TENSOR_TRAINABLE)

static inline hone_tid net_state(net *n, const char *kind, int64_t c)
{
    char name[32];
    hone_tid t;
    snprintf(name, sizeof name, "p%d.%s", n->params, kind);
    OK(hone_graph_tensor(n->g, name, HONE_F32, HONE_ROLE_STATE, 1, &c, &t));
    return t;
}

static inline int64_t net_channels(const net *n, hone_tid x) { return n->g->tensor[x].dim[n->g->tensor[x].rank - 1]; }

static inline hone_tid net_op(net *n, hone_op op, const hone_tid *in, const hone_attrs *attr)
{
    hone_tid y;
    OK(hone_graph_add1(n->g, op, in, attr, &y));
    return y;
}

static inline hone_tid net_linear(net *n, hone_tid x, int64_t out, bool bias)
{
    hone_tid w = WEIGHT(n, out, net_channels(n, x)), b = bias ? VECTOR(n, out) : HONE_NONE;
    return net_op(n, HONE_OP_linear, IDS(x, w, b), NULL);
}

static inline hone_window net_window(int kernel, int stride, int pad)
{
    return (hone_window){{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}, 1, 0, 0};
}

static inline hone_tid net_conv(net *n, hone_tid x, int64_t out, int kernel, int stride, int pad, bool bias)
{
    hone_attrs a = {.window = net_window(kernel, stride, pad)};
    hone_tid w = WEIGHT(n, out, kernel, kernel, net_channels(n, x)), b = bias ? VECTOR(n, out) : HONE_NONE;
    return net_op(n, HONE_OP_conv, IDS(x, w, b), &a);
}

static inline hone_tid net_pool(net *n, hone_op op, hone_tid x, int kernel, int stride, int pad)
{
    hone_attrs a = {.window = net_window(kernel, stride, pad)};
    return net_op(n, op, &x, &a);
}

static inline hone_tid net_batchnorm(net *n, hone_tid x, bool infer)
{
    hone_attrs a = {.norm = {.eps = 1e-3f, .momentum = 0.1f}};
    int64_t c = net_channels(n, x);
    hone_tid mean = net_state(n, "running_mean", c), var = net_state(n, "running_var", c), out[HONE_MAX_OUT];
    hone_tid gamma = VECTOR(n, c), beta = VECTOR(n, c);
    OK(hone_graph_add(n->g, infer ? HONE_OP_batchnorm_infer : HONE_OP_batchnorm, IDS(x, gamma, beta, mean, var), &a,
                      ~0u, out));
    return out[0];
}

static inline hone_tid net_layernorm(net *n, hone_tid x)
{
    hone_attrs a = {.norm = {.eps = 1e-3f}};
    int64_t c = net_channels(n, x);
    hone_tid gamma = VECTOR(n, c), beta = VECTOR(n, c), out[HONE_MAX_OUT];
    OK(hone_graph_add(n->g, HONE_OP_layernorm, IDS(x, gamma, beta), &a, ~0u, out));
    return out[0];
}

static inline hone_tid net_act(net *n, hone_op op, hone_tid x)
{
    hone_attrs a = {.leaky = {.slope = 0.1f}};
    return net_op(n, op, &x, &a);
}

static inline hone_tid net_add(net *n, hone_tid a, hone_tid b) { return net_op(n, HONE_OP_add, IDS(a, b), NULL); }

static inline void net_start(net *n, int64_t batch, int classes, int rank, const int64_t *dim)
{
    memset(n, 0, sizeof *n);
    n->g = hone_graph_new();
    assert_non_null(n->g);
    n->batch = batch;
    n->classes = classes;
    OK(hone_graph_tensor(n->g, "x", HONE_F32, HONE_ROLE_INPUT, rank, dim, &n->x));
    OK(hone_graph_tensor(n->g, "label", HONE_I32, HONE_ROLE_INPUT, 1, &batch, &n->label));
    OK(hone_graph_step(n->g, &n->step));
}

static inline void net_finish(net *n, hone_tid logits, float grad_scale)
{
    hone_attrs a = {.loss = {.smoothing = 0.1f, .grad_scale = grad_scale}};
    hone_tid out[HONE_MAX_OUT];
    OK(hone_graph_add(n->g, HONE_OP_softmax_xent,
                      IDS(logits, n->label, HONE_NONE, HONE_NONE, n->step, HONE_NONE, HONE_NONE), &a, 1u, out));
    n->logits = logits;
    n->loss = out[0];
    n->g->tensor[n->loss].flags |= HONE_TENSOR_KEEP;
    n->g->tensor[n->logits].flags |= HONE_TENSOR_KEEP;
}

/* --- the nets -------------------------------------------------------------------------------------------- */

/* Linears with every activation, a residual join around two of them, and a product of two branches. */
static inline void net_residual_mlp(net *n, int64_t batch, float grad_scale)
{
    net_start(n, batch, 5, 2, DIM(batch, 7));
    hone_tid h = net_act(n, HONE_OP_relu, net_linear(n, n->x, 11, true));
    hone_tid r = net_act(n, HONE_OP_gelu, net_linear(n, h, 11, true));
    r = net_act(n, HONE_OP_tanh, net_linear(n, r, 11, false));
    h = net_add(n, h, r);
    hone_tid gate = net_act(n, HONE_OP_sigmoid, net_linear(n, h, 11, true));
    h = net_op(n, HONE_OP_mul, IDS(h, gate), NULL);
    h = net_add(n, h, net_act(n, HONE_OP_silu, net_linear(n, h, 11, true)));
    h = net_act(n, HONE_OP_leaky_relu, net_linear(n, h, 6, true));
    h = net_op(n, HONE_OP_concat, IDS(h, net_act(n, HONE_OP_gelu_tanh, net_linear(n, n->x, 3, true))), NULL);
    net_finish(n, net_linear(n, h, n->classes, true), grad_scale);
}

/* Two residual blocks of convolutions and batch norms, the second with a strided projection shortcut. */
static inline hone_tid net_resnet_body(net *n, bool infer)
{
    hone_tid h = net_act(n, HONE_OP_relu, net_batchnorm(n, net_conv(n, n->x, 6, 3, 1, 1, false), infer));
    hone_tid r = net_act(n, HONE_OP_relu, net_batchnorm(n, net_conv(n, h, 6, 3, 1, 1, false), infer));
    r = net_batchnorm(n, net_conv(n, r, 6, 3, 1, 1, false), infer);
    h = net_act(n, HONE_OP_relu, net_add(n, r, h));
    r = net_act(n, HONE_OP_relu6, net_batchnorm(n, net_conv(n, h, 8, 3, 2, 1, false), infer));
    r = net_batchnorm(n, net_conv(n, r, 8, 3, 1, 1, false), infer);
    hone_tid shortcut = net_batchnorm(n, net_conv(n, h, 8, 1, 2, 0, false), infer);
    h = net_act(n, HONE_OP_relu, net_add(n, r, shortcut));
    return net_op(n, HONE_OP_global_avgpool, &h, NULL);
}

static inline void net_resnet(net *n, int64_t batch, bool infer)
{
    net_start(n, batch, 4, 4, DIM(batch, 8, 7, 3));
    hone_tid h = net_resnet_body(n, infer);
    net_finish(n, net_linear(n, h, n->classes, true), 1.0f);
}

/* Convolution, activation, pool, twice: what conv_act_maxpool and its backward rows fuse. */
static inline void net_lenet(net *n, int64_t batch, float grad_scale)
{
    net_start(n, batch, 6, 4, DIM(batch, 12, 12, 2));
    hone_tid h = net_act(n, HONE_OP_relu, net_conv(n, n->x, 4, 3, 1, 1, true));
    h = net_pool(n, HONE_OP_maxpool, h, 2, 2, 0);
    h = net_act(n, HONE_OP_tanh, net_conv(n, h, 5, 3, 1, 0, true));
    h = net_pool(n, HONE_OP_maxpool, h, 2, 2, 0);
    h = net_act(n, HONE_OP_relu, net_conv(n, h, 6, 1, 1, 0, true));
    h = net_pool(n, HONE_OP_avgpool, h, 2, 1, 1);
    const hone_tensor *t = &n->g->tensor[h];
    int64_t flat = t->dim[1] * t->dim[2] * t->dim[3];
    OK(hone_graph_reshape(n->g, h, 2, DIM(batch, flat), &h));
    h = net_act(n, HONE_OP_relu, net_linear(n, h, 9, true));
    h = net_op(n, HONE_OP_dropout, IDS(h, n->step), &(hone_attrs){.drop = {.p = 0.25f, .stream = HONE_STREAM_DROPOUT}});
    net_finish(n, net_linear(n, h, n->classes, true), grad_scale);
}

/* A class token, positions, one pre-norm attention block and its MLP, then the first token. */
static inline void net_transformer(net *n, int64_t batch)
{
    const int64_t T = 5, C = 12;
    net_start(n, batch, 4, 3, DIM(batch, T, 6));
    hone_tid h = net_linear(n, n->x, C, true);
    h = net_op(n, HONE_OP_prepend_token, IDS(h, VECTOR(n, C)), NULL);
    hone_tid position = net_param(n, 2, DIM(T + 1, C), HONE_TENSOR_TRAINABLE);
    h = net_op(n, HONE_OP_add_rows, IDS(h, position), NULL);
    hone_attrs a = {.attention = {.heads = 3, .p = 0.1f, .stream = HONE_STREAM_DROPOUT + 1}}, d = {.drop = {.p = 0.2f}};
    hone_tid out[HONE_MAX_OUT], qkv = net_linear(n, net_layernorm(n, h), 3 * C, true);
    OK(hone_graph_add(n->g, HONE_OP_attention, IDS(qkv, n->step), &a, ~0u, out));
    d.drop.stream = HONE_STREAM_DROPOUT + 2;
    h = net_add(n, h, net_op(n, HONE_OP_drop_path, IDS(net_linear(n, out[0], C, true), n->step), &d));
    hone_tid r = net_act(n, HONE_OP_gelu, net_linear(n, net_layernorm(n, h), 2 * C, true));
    h = net_add(n, h, net_linear(n, r, C, true));
    h = net_op(n, HONE_OP_first_token, IDS(net_layernorm(n, h)), NULL);
    net_finish(n, net_linear(n, h, n->classes, true), 1.0f);
}

/* Overlapping pools with padding, and both global pools over one tensor. No bias before the batch norm:
 * its gradient is zero but for rounding, which no comparison can be relative to. */
static inline void net_pools(net *n, int64_t batch)
{
    net_start(n, batch, 3, 4, DIM(batch, 9, 7, 2));
    hone_tid h = net_pool(n, HONE_OP_maxpool, net_act(n, HONE_OP_relu, net_conv(n, n->x, 4, 3, 1, 1, false)), 3, 2, 1);
    h = net_act(n, HONE_OP_relu, net_batchnorm(n, h, false));
    h = net_pool(n, HONE_OP_maxpool, h, 2, 1, 1);
    hone_tid avg = net_op(n, HONE_OP_global_avgpool, &h, NULL), max = net_op(n, HONE_OP_global_maxpool, &h, NULL);
    net_finish(n, net_linear(n, net_op(n, HONE_OP_concat, IDS(avg, max), NULL), n->classes, true), 1.0f);
}

/* --- values ------------------------------------------------------------------------------------------------- */

/* About normal, of standard deviation ~0.58: two uniforms in (-1, 1), summed and halved. */
static inline float net_value(uint32_t stream, int64_t i)
{
    hone_philox4 r = hone_philox(7, stream, (uint64_t)i, 0);
    return hone_uniform(r.v[0]) + hone_uniform(r.v[1]) - 1.0f;
}

/* Element i of what the host writes to tensor t: weights and inputs random, gammas and variances near 1. */
static inline float net_fill_value(const hone_tensor *t, hone_tid id, int64_t i)
{
    if (t->role == HONE_ROLE_STATE && strstr(t->name, "var")) return 1.0f + 0.2f * net_value((uint32_t)id, i);
    if (t->role == HONE_ROLE_PARAM && t->rank == 1) return 0.7f + 0.3f * net_value((uint32_t)id, i);
    return net_value((uint32_t)id, i);
}

static inline void net_fill(const net *n, hone_program *p)
{
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        int64_t count = hone_tensor_count(x);
        bool given = x->role == HONE_ROLE_INPUT || x->role == HONE_ROLE_PARAM || x->role == HONE_ROLE_STATE;
        if (!given) continue;
        int32_t *host = malloc((size_t)count * sizeof *host);
        for (int64_t i = 0; i < count; i++) {
            float value = net_fill_value(x, t, i);
            if (x->dtype == HONE_I32) host[i] = (int32_t)((i * 7 + 3) % n->classes);
            else memcpy(&host[i], &value, sizeof value);
        }
        OK(hone_program_write(p, t, host, (size_t)count * sizeof *host));
        free(host);
    }
    hone_step step = {.seed = 11, .step = 0, .lr = 0.05f};
    OK(hone_program_put_step(p, &step));
}

/* Runs `steps` whole steps, counting the step block up. */
static inline void net_steps(hone_program *p, int steps)
{
    for (int k = 0; k < steps; k++) {
        hone_step step;
        OK(hone_program_get_step(p, &step));
        OK(hone_program_step(p));
        step.step++;
        OK(hone_program_set_step(p, &step));
    }
}

static inline int net_count_ops(const hone_program *p, hone_op op)
{
    int count = 0;
    const hone_graph *g = hone_program_graph(p);
    for (hone_nid i = 0; i < g->node_count; i++) count += g->node[i].op == op;
    return count;
}

#endif
