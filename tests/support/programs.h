/* programs.h - what the tests of compiled programs share: opening, compiling, comparing outcomes. */
#ifndef HONE_TEST_PROGRAMS_H
#define HONE_TEST_PROGRAMS_H

#include <math.h>

#include "compile/pass.h"
#include "support/nets.h"

static inline hone_backend *open_backend(const char *name)
{
    hone_backend *b = NULL;
    OK(hone_backend_open(name, 1, &b));
    return b;
}

static inline void check_message(const char *part)
{
    if (!strstr(hone_error_message(), part)) fail_msg("'%s' lacks '%s'", hone_error_message(), part);
}

static inline void build_net(net *n, int kind, int64_t batch)
{
    if (kind == 0) net_residual_mlp(n, batch, 1.0f);
    if (kind == 1) net_resnet(n, batch, false);
    if (kind == 2) net_lenet(n, batch, 1.0f);
    if (kind == 3) net_transformer(n, batch);
    if (kind == 4) net_pools(n, batch);
}
enum { KINDS = 5 };

static const hone_update_attr sgd = {.momentum = 0.9f, .nesterov = 1, .weight_decay = 1e-3f, .clip_norm = 1.0f};
static const hone_update_attr adamw = {
    .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = 1e-2f, .ema_decay = 0.9f};

static inline hone_compile_opts training(const net *n)
{
    return (hone_compile_opts){.loss = n->loss, .optimizer = HONE_OPT_SGD, .update = sgd};
}

static inline hone_program *compiled(const net *n, hone_backend *b, const hone_compile_opts *o)
{
    hone_program *p;
    OK(hone_compile(n->g, b, o, &p));
    net_fill(n, p);
    return p;
}

/* Normwise distance of two arrays, relative to the second. */
static inline double distance(const float *a, const float *b, int64_t count)
{
    double difference = 0, norm = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        difference += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

/* Largest distance over the loss, the logits and all parameter gradients of one step. */
static inline double difference_of(const net *n, hone_program *p, hone_program *q)
{
    double worst = 0;
    OK(hone_program_forward_backward(p));
    OK(hone_program_forward_backward(q));
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        hone_tid gp = hone_program_graph(p)->tensor[t].grad, gq = hone_program_graph(q)->tensor[t].grad;
        assert_true((gp == HONE_NONE) == (gq == HONE_NONE));
        bool kept = (n->g->tensor[t].flags & HONE_TENSOR_KEEP) != 0;
        if (gp == HONE_NONE && !kept) continue;
        const float *a = hone_program_address(p, kept ? t : gp), *b = hone_program_address(q, kept ? t : gq);
        double d = distance(a, b, hone_tensor_count(&n->g->tensor[t]));
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

/* All parameters, states and kept activations, one after the other; the caller frees. */
static inline float *outcome(const net *n, hone_program *p, size_t *bytes)
{
    float *all = NULL;
    *bytes = 0;
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        bool read = x->role == HONE_ROLE_PARAM || x->role == HONE_ROLE_STATE || (x->flags & HONE_TENSOR_KEEP);
        if (!read) continue;
        size_t size = hone_tensor_bytes(x);
        all = realloc(all, *bytes + size);
        OK(hone_program_read(p, t, (char *)all + *bytes, size));
        *bytes += size;
    }
    return all;
}

static inline bool same_outcome(const net *n, hone_program *p, hone_program *q)
{
    size_t a_bytes, b_bytes;
    float *a = outcome(n, p, &a_bytes), *b = outcome(n, q, &b_bytes);
    bool same = a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0;
    for (size_t k = 0; k < a_bytes / sizeof *a; k++) assert_true(isfinite(a[k]));
    free(a);
    free(b);
    return same;
}

#endif
