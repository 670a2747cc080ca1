/* pool.c - max, average and global pooling, with their gradients (PyTorch's definitions).
 *
 * x (N, H, W, C), y (N, OH, OW, C). Padding is -inf for max and a counted 0 for average. `at` is the
 * place of the first maximum; a NaN beats every number, so that it can't be pooled away. Gradients
 * gather (each input sums the windows that chose it), which fixes the order of the sum. */
#include "ref.h"

/* True where `value` takes over from `best`: first maximum wins, and the first NaN wins for good. */
static int beats(double value, double best) { return value > best || (isnan(value) && !isnan(best)); }

/* The window is walked row by row; `at` = r*kw + s of what won. A window has a place inside: pad <= kernel/2. */
void REF(maxpool)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, H, W, C) */
    real *y = l->out[0];      /* (N, OH, OW, C) */
    uint8_t *at = l->out[1];  /* (N, OH, OW, C) or NULL */
    const int64_t *xd = l->in_desc[0]->dim, *yd = l->out_desc[0]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t C = xd[3], count = yd[0] * yd[1] * yd[2] * C;
    for (int64_t k = 0; k < count; k++) {
        int64_t c = k % C, ow = k / C % yd[2], oh = k / C / yd[2] % yd[1], n = k / C / yd[2] / yd[1];
        double best = -INFINITY;
        int64_t place = -1;
        for (int64_t t = 0; t < v->kernel[0] * v->kernel[1]; t++) {
            int64_t h = input_place(v, 0, oh, t / v->kernel[1]), w = input_place(v, 1, ow, t % v->kernel[1]);
            if (h < 0 || h >= xd[1] || w < 0 || w >= xd[2]) continue;
            double value = (double)x[((n * xd[1] + h) * xd[2] + w) * C + c];
            if (place >= 0 && !beats(value, best)) continue;
            best = value;
            place = t;
        }
        y[k] = (real)best;
        if (at) at[k] = (uint8_t)(place < 0 ? 0 : place);
    }
}

/* Sum of dy over the windows that picked the place (n, h, w, c), or, without `at`, that cover it. */
static double window_sum(const hone_launch *l, const real *dy, const uint8_t *at, const int64_t *yd, int64_t n,
                         int64_t h, int64_t w, int64_t c)
{
    const hone_window *v = &attrs(l)->window;
    double sum = 0;
    for (int64_t t = 0; t < v->kernel[0] * v->kernel[1]; t++) {
        int64_t oh = output_place(v, 0, h, t / v->kernel[1], yd[1]);
        int64_t ow = output_place(v, 1, w, t % v->kernel[1], yd[2]);
        if (oh < 0 || ow < 0) continue;
        int64_t k = ((n * yd[1] + oh) * yd[2] + ow) * yd[3] + c;
        if (!at || at[k] == t) sum += (double)dy[k];
    }
    return sum;
}

/* dx at every place (n, h, w, c), walked in memory order. */
static void window_dx(const hone_launch *l, const uint8_t *at, double scale)
{
    real *dx = l->out[0]; /* (N, H, W, C) */
    const int64_t *xd = l->out_desc[0]->dim, *yd = l->in_desc[0]->dim;
    int64_t C = xd[3], count = hone_tensor_count(l->out_desc[0]);
    for (int64_t k = 0; k < count; k++)
        dx[k] = (real)(scale * window_sum(l, l->in[0], at, yd, k / C / xd[2] / xd[1], k / C / xd[2] % xd[1],
                                          k / C % xd[2], k % C));
}

/* dx = sum of dy over the windows whose maximum this place was. */
void REF(maxpool_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    window_dx(l, l->in[1], 1);
}

/* Sum over the places inside, divided by all kh*kw (count_include_pad). */
void REF(avgpool)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, H, W, C) */
    real *y = l->out[0];      /* (N, OH, OW, C) */
    const int64_t *xd = l->in_desc[0]->dim, *yd = l->out_desc[0]->dim;
    const hone_window *v = &attrs(l)->window;
    int64_t C = xd[3], count = yd[0] * yd[1] * yd[2] * C, taps = (int64_t)v->kernel[0] * v->kernel[1];
    for (int64_t k = 0; k < count; k++) {
        int64_t c = k % C, ow = k / C % yd[2], oh = k / C / yd[2] % yd[1], n = k / C / yd[2] / yd[1];
        double sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            int64_t h = input_place(v, 0, oh, t / v->kernel[1]), w = input_place(v, 1, ow, t % v->kernel[1]);
            if (h < 0 || h >= xd[1] || w < 0 || w >= xd[2]) continue;
            sum += (double)x[((n * xd[1] + h) * xd[2] + w) * C + c];
        }
        y[k] = (real)(sum / (double)taps);
    }
}

/* Each window spreads dy evenly over its places; what fell on the padding is lost. */
void REF(avgpool_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const hone_window *v = &attrs(l)->window;
    window_dx(l, NULL, 1.0 / ((double)v->kernel[0] * v->kernel[1]));
}

/* --- the whole image as one window: x (N, S, C) with S = H*W or T ------------------------------ */
void REF(global_avgpool)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, S, C) */
    real *y = l->out[0];      /* (N, C) */
    int64_t N = l->out_desc[0]->dim[0], C = l->out_desc[0]->dim[1], S = row_count(l->in_desc[0]) / N;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t s = 0; s < S; s++) sum += (double)x[(n * S + s) * C + c];
            y[n * C + c] = (real)(sum / (double)S);
        }
}

/* Every place gets dy / S. */
void REF(global_avgpool_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (N, C) */
    real *dx = l->out[0];      /* (N, S, C) */
    int64_t N = l->in_desc[0]->dim[0], C = l->in_desc[0]->dim[1], S = row_count(l->out_desc[0]) / N;
    for (int64_t n = 0; n < N; n++)
        for (int64_t s = 0; s < S; s++)
            for (int64_t c = 0; c < C; c++) dx[(n * S + s) * C + c] = (real)((double)dy[n * C + c] / (double)S);
}

/* `at` = the place of the first maximum in [0, S). */
void REF(global_maxpool)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, S, C) */
    real *y = l->out[0];      /* (N, C) */
    int32_t *at = l->out[1];  /* (N, C) or NULL */
    int64_t N = l->out_desc[0]->dim[0], C = l->out_desc[0]->dim[1], S = row_count(l->in_desc[0]) / N;
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++) {
            int64_t place = 0;
            for (int64_t s = 1; s < S; s++)
                if (beats((double)x[(n * S + s) * C + c], (double)x[(n * S + place) * C + c])) place = s;
            y[n * C + c] = x[(n * S + place) * C + c];
            if (at) at[n * C + c] = (int32_t)place;
        }
}

/* The place that won gets dy, all others 0. */
void REF(global_maxpool_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0];    /* (N, C) */
    const int32_t *at = l->in[1]; /* (N, C) */
    real *dx = l->out[0];         /* (N, S, C) */
    int64_t N = l->in_desc[0]->dim[0], C = l->in_desc[0]->dim[1], S = row_count(l->out_desc[0]) / N;
    for (int64_t n = 0; n < N; n++)
        for (int64_t s = 0; s < S; s++)
            for (int64_t c = 0; c < C; c++) dx[(n * S + s) * C + c] = at[n * C + c] == s ? dy[n * C + c] : 0;
}
