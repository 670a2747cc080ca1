/* fused.c - linear, conv and max-pooling joined with an activation: the rows that fuse.c may write.
 *
 * Each row is the composition of plain rows that ops.def names, with the same roundings, so that a
 * fused program and a plain one agree to the bit here. (Fused batchnorm, add and loss rows live with
 * their plain ones.) x (N, H, W, I), w (O, kh, kw, I/g), pooled y, at, dy (N, PH, PW, O). */
#include "ref.h"

/* The activation over a result that is stored already; `h` (or NULL) keeps what it was. */
static void activate(const hone_launch *l, real *h)
{
    real *y = l->out[0]; /* any shape */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        if (h) h[i] = y[i];
        y[i] = (real)REF(act)(attrs(l)->act, (double)attrs(l)->leaky.slope, (double)y[i]);
    }
}

/* The gradient below an activation by its output, or by its input x where only that tells (act_slope): 0 where the unit
 * is off, whatever dy is. */
static double below(const hone_attrs *a, double y, double dy)
{
    double slope = REF(act_slope)(a->act, (double)a->leaky.slope, y);
    return slope == 0 ? 0 : slope * dy;
}

/* act(linear(x, w, b)), and what the activation read where that is asked for */
void REF(linear_act)(hone_backend *b, const hone_launch *l)
{
    REF(linear)(b, l);
    activate(l, l->out[1]);
}

/* act(conv(x, w, b)) */
void REF(conv_act)(hone_backend *b, const hone_launch *l)
{
    REF(conv)(b, l);
    activate(l, NULL);
}

/* The gradient below an activation whose output was the input of the linear. */
void REF(linear_dx_act)(hone_backend *b, const hone_launch *l)
{
    const real *told = l->in[2]; /* (R, I): that output, or the input of the activation */
    real *dx = l->out[0];        /* (R, I) */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    REF(linear_dx)(b, l);
    for (int64_t i = 0; i < count; i++) dx[i] = (real)below(attrs(l), (double)told[i], (double)dx[i]);
}

/* Size of the convolution's output along `axis`, which this row never stores. */
static int64_t conv_size(const hone_launch *l, int axis)
{
    const hone_window *v = &attrs(l)->window;
    int64_t reach = (int64_t)v->dilation[axis] * (v->kernel[axis] - 1) + 1;
    return (l->in_desc[0]->dim[1 + axis] + 2 * v->pad[axis] - reach) / v->stride[axis] + 1;
}

/* maxpool(act(conv(x, w, b))) without storing the convolution: windows that overlap compute it again. */
void REF(conv_act_maxpool)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *y = l->out[0];     /* (N, PH, PW, O) */
    uint8_t *at = l->out[1]; /* (N, PH, PW, O) or NULL */
    const int64_t *yd = l->out_desc[0]->dim;
    const hone_attrs *a = attrs(l);
    int64_t OH = conv_size(l, 0), OW = conv_size(l, 1), count = hone_tensor_count(l->out_desc[0]);
    for (int64_t k = 0; k < count; k++) {
        int64_t o = k % yd[3], pw = k / yd[3] % yd[2], ph = k / yd[3] / yd[2] % yd[1], n = k / yd[3] / yd[2] / yd[1];
        real best = (real)-INFINITY;
        int64_t place = -1;
        for (int64_t t = 0; t < a->pool.kernel[0] * a->pool.kernel[1]; t++) {
            int64_t oh = input_place(&a->pool, 0, ph, t / a->pool.kernel[1]);
            int64_t ow = input_place(&a->pool, 1, pw, t % a->pool.kernel[1]);
            if (oh < 0 || oh >= OH || ow < 0 || ow >= OW) continue;
            real value = (real)REF(act)(a->act, (double)a->leaky.slope, (double)(real)REF(conv_at)(l, n, oh, ow, o));
            if (place >= 0 && !(value > best || (isnan(value) && !isnan(best)))) continue;
            best = value;
            place = t;
        }
        y[k] = best;
        if (at) at[k] = (uint8_t)(place < 0 ? 0 : place);
    }
}

/* The pooled outputs each send their gradient to one place of the convolution's output, (*oh, *ow),
 * and through the activation: returns that gradient. */
static double pooled_gradient(const hone_launch *l, int64_t ph, int64_t pw, int64_t k, int64_t *oh, int64_t *ow)
{
    const real *y = l->in[1];     /* (N, PH, PW, O) */
    const real *dy = l->in[3];    /* (N, PH, PW, O) */
    const uint8_t *at = l->in[2]; /* (N, PH, PW, O) */
    const hone_window *p = &attrs(l)->pool;
    *oh = input_place(p, 0, ph, at[k] / p->kernel[1]);
    *ow = input_place(p, 1, pw, at[k] % p->kernel[1]);
    return (double)(real)below(attrs(l), (double)y[k], (double)dy[k]);
}

/* dw at (o, r, s, i), or db at o where i is -1. */
static double conv_act_maxpool_dw_at(const hone_launch *l, int64_t o, int64_t r, int64_t s, int64_t i)
{
    const real *x = l->in[0]; /* (N, H, W, I) */
    const int64_t *xd = l->in_desc[0]->dim, *yd = l->in_desc[1]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t channel = o / (yd[3] / v->groups) * (xd[3] / v->groups) + i;
    double sum = 0;
    for (int64_t k = o; k < yd[0] * yd[1] * yd[2] * yd[3]; k += yd[3]) {
        int64_t pw = k / yd[3] % yd[2], ph = k / yd[3] / yd[2] % yd[1], n = k / yd[3] / yd[2] / yd[1], oh, ow;
        double g = pooled_gradient(l, ph, pw, k, &oh, &ow);
        if (i < 0) {
            sum += g;
            continue;
        }
        int64_t h = input_place(v, 0, oh, r), w = input_place(v, 1, ow, s);
        if (h < 0 || h >= xd[1] || w < 0 || w >= xd[2]) continue;
        sum += g * (double)x[((n * xd[1] + h) * xd[2] + w) * xd[3] + channel];
    }
    return sum;
}

/* Only the places that won have a gradient: one term per pooled output, not per place. */
void REF(conv_act_maxpool_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *dw = l->out[0]; /* (O, kh, kw, I/g) or NULL */
    real *db = l->out[1]; /* (O) or NULL */
    const hone_window *v = &attrs(l)->window;
    int64_t O = l->in_desc[1]->dim[3], Ig = l->in_desc[0]->dim[3] / v->groups;
    for (int64_t o = 0; o < O; o++) {
        for (int64_t r = 0; dw && r < v->kernel[0]; r++)
            for (int64_t s = 0; s < v->kernel[1]; s++)
                for (int64_t i = 0; i < Ig; i++) put_param_grad(l, dw++, conv_act_maxpool_dw_at(l, o, r, s, i));
        if (db) put_param_grad(l, &db[o], conv_act_maxpool_dw_at(l, o, 0, 0, -1));
    }
}

/* dx at a place = sum over the pooled windows that picked it, each gated by its pooled y. */
void REF(maxpool_act_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *y = l->in[0];     /* (N, PH, PW, O) */
    const real *dy = l->in[2];    /* (N, PH, PW, O) */
    const uint8_t *at = l->in[1]; /* (N, PH, PW, O) */
    real *dx = l->out[0];         /* (N, H, W, C) */
    const int64_t *xd = l->out_desc[0]->dim, *yd = l->in_desc[0]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t C = xd[3], count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % C, w = i / C % xd[2], h = i / C / xd[2] % xd[1], n = i / C / xd[2] / xd[1];
        double sum = 0;
        for (int64_t t = 0; t < v->kernel[0] * v->kernel[1]; t++) {
            int64_t oh = output_place(v, 0, h, t / v->kernel[1], yd[1]);
            int64_t ow = output_place(v, 1, w, t % v->kernel[1], yd[2]);
            int64_t k = ((n * yd[1] + oh) * yd[2] + ow) * C + c;
            if (oh >= 0 && ow >= 0 && at[k] == t) sum += (double)(real)below(attrs(l), (double)y[k], (double)dy[k]);
        }
        dx[i] = (real)sum;
    }
}
