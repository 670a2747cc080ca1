/* conv.c - 2-D convolution with groups, stride, padding and dilation, and its gradients.
 *
 * x (N, H, W, I), w (O, kh, kw, I/g), b (O), y (N, OH, OW, O). Output (oh, ow) reads input
 * h = oh*stride - pad + r*dilation for r in [0, kh), likewise w; places outside the image count as 0.
 * Group q joins input channels [q I/g, (q+1) I/g) to outputs [q O/g, (q+1) O/g). */
#include "ref.h"

/* y[n,oh,ow,o] = b[o] + sum over taps (r, s) and channels i of x[n,h,w,i] w[o,r,s,i], in double */
double REF(conv_at)(const hone_launch *l, int64_t n, int64_t oh, int64_t ow, int64_t o)
{
    const real *x = l->in[0];    /* (N, H, W, I) */
    const real *w = l->in[1];    /* (O, kh, kw, I/g) */
    const real *bias = l->in[2]; /* (O) or NULL */
    const int64_t *xd = l->in_desc[0]->dim, *wd = l->in_desc[1]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t H = xd[1], W = xd[2], I = xd[3], Ig = wd[3], group = o / (wd[0] / v->groups);
    double sum = bias ? (double)bias[o] : 0;
    for (int64_t r = 0; r < wd[1]; r++)
        for (int64_t s = 0; s < wd[2]; s++) {
            int64_t h = input_place(v, 0, oh, r), c = input_place(v, 1, ow, s);
            if (h < 0 || h >= H || c < 0 || c >= W) continue;
            const real *px = x + ((n * H + h) * W + c) * I + group * Ig; /* (I/g) */
            const real *pw = w + ((o * wd[1] + r) * wd[2] + s) * Ig;     /* (I/g) */
            for (int64_t i = 0; i < Ig; i++) sum += (double)px[i] * (double)pw[i];
        }
    return sum;
}

/* Every output by the sum above. */
void REF(conv)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *y = l->out[0]; /* (N, OH, OW, O) */
    const int64_t *yd = l->out_desc[0]->dim;
    for (int64_t n = 0; n < yd[0]; n++)
        for (int64_t oh = 0; oh < yd[1]; oh++)
            for (int64_t ow = 0; ow < yd[2]; ow++)
                for (int64_t o = 0; o < yd[3]; o++) *y++ = (real)REF(conv_at)(l, n, oh, ow, o);
}

/* dx[n,h,w,i] = sum over taps and over the outputs o of i's group that read the place. */
static double conv_dx_at(const hone_launch *l, int64_t n, int64_t h, int64_t c, int64_t i)
{
    const real *dy = l->in[0]; /* (N, OH, OW, O) */
    const real *w = l->in[1];  /* (O, kh, kw, I/g) */
    const int64_t *yd = l->in_desc[0]->dim, *wd = l->in_desc[1]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t Ig = wd[3], Og = wd[0] / v->groups, first = i / Ig * Og;
    double sum = 0;
    for (int64_t r = 0; r < wd[1]; r++)
        for (int64_t s = 0; s < wd[2]; s++) {
            int64_t oh = output_place(v, 0, h, r, yd[1]), ow = output_place(v, 1, c, s, yd[2]);
            if (oh < 0 || ow < 0) continue;
            const real *g = dy + ((n * yd[1] + oh) * yd[2] + ow) * yd[3]; /* (O) */
            for (int64_t o = first; o < first + Og; o++)
                sum += (double)g[o] * (double)w[((o * wd[1] + r) * wd[2] + s) * Ig + i % Ig];
        }
    return sum;
}

/* Every input by the sum above; a gather, so no place is written twice. */
void REF(conv_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *dx = l->out[0]; /* (N, H, W, I) */
    const int64_t *xd = l->out_desc[0]->dim;
    for (int64_t n = 0; n < xd[0]; n++)
        for (int64_t h = 0; h < xd[1]; h++)
            for (int64_t c = 0; c < xd[2]; c++)
                for (int64_t i = 0; i < xd[3]; i++) *dx++ = (real)conv_dx_at(l, n, h, c, i);
}

/* dw[o,r,s,i] = sum over images and outputs of dy[.,o] times the input that this tap read. */
static double conv_dw_at(const hone_launch *l, int64_t o, int64_t r, int64_t s, int64_t i)
{
    const real *x = l->in[0];  /* (N, H, W, I) */
    const real *dy = l->in[1]; /* (N, OH, OW, O) */
    const int64_t *xd = l->in_desc[0]->dim, *yd = l->in_desc[1]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t channel = o / (yd[3] / v->groups) * (xd[3] / v->groups) + i;
    double sum = 0;
    for (int64_t n = 0; n < yd[0]; n++)
        for (int64_t oh = 0; oh < yd[1]; oh++)
            for (int64_t ow = 0; ow < yd[2]; ow++) {
                int64_t h = input_place(v, 0, oh, r), c = input_place(v, 1, ow, s);
                if (h < 0 || h >= xd[1] || c < 0 || c >= xd[2]) continue;
                sum += (double)dy[((n * yd[1] + oh) * yd[2] + ow) * yd[3] + o] *
                       (double)x[((n * xd[1] + h) * xd[2] + c) * xd[3] + channel];
            }
    return sum;
}

/* db[o] = sum of dy over images and places. */
void REF(conv_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[1]; /* (N, OH, OW, O) */
    real *dw = l->out[0];      /* (O, kh, kw, I/g) or NULL */
    real *db = l->out[1];      /* (O) or NULL */
    const hone_window *v = &attrs(l)->window;
    int64_t O = l->in_desc[1]->dim[3], rows = row_count(l->in_desc[1]), Ig = l->in_desc[0]->dim[3] / v->groups;
    for (int64_t o = 0; dw && o < O; o++)
        for (int64_t r = 0; r < v->kernel[0]; r++)
            for (int64_t s = 0; s < v->kernel[1]; s++)
                for (int64_t i = 0; i < Ig; i++) put_param_grad(l, dw++, conv_dw_at(l, o, r, s, i));
    for (int64_t o = 0; db && o < O; o++) {
        double sum = 0;
        for (int64_t row = 0; row < rows; row++) sum += (double)dy[row * O + o];
        put_param_grad(l, &db[o], sum);
    }
}
