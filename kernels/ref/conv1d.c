/* conv1d.c - convolution along the tokens of ragged texts, and its gradients.
 *
 * x (T, I), w (O, K, I), b (O), y (T, O); offset i32 (P = B + 1): text n has the rows offset[n] .. offset[n+1]-1. Row t
 * reads rows t - pad[0] .. t - pad[0] + K - 1 of its own text; what lies outside the text counts as 0. So with
 * pad[0] = (K - 1) / 2 a text keeps its length, as torch.nn.Conv1d with padding="same" has it for even kernels, too.
 * Rows behind the live ones are written as 0 and never read. */
#include "ref.h"

/* One launch, unpacked; the names are the forward's. */
typedef struct ragged {
    const int32_t *offset; /* (P) */
    int64_t B, T, K, I, O, before;
} ragged;

/* `flat`: an operand with T rows; w (O, K, I) by its description. */
static ragged unpack(const hone_launch *l, int offset, const hone_tensor *flat, const hone_tensor *w)
{
    return (ragged){.offset = l->in[offset],
                    .B = l->in_desc[offset]->dim[0] - 1,
                    .T = flat->dim[0],
                    .O = w->dim[0],
                    .K = w->dim[1],
                    .I = w->dim[2],
                    .before = attrs(l)->window.pad[0]};
}

void REF(conv1d)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    ragged r = unpack(l, 3, l->in_desc[0], l->in_desc[1]);
    const real *x = l->in[0];    /* (T, I) */
    const real *w = l->in[1];    /* (O, K, I) */
    const real *bias = l->in[2]; /* (O) or NULL */
    real *y = l->out[0];         /* (T, O) */
    memset(y, 0, (size_t)(r.T * r.O) * sizeof *y);
    for (int64_t n = 0; n < r.B; n++)
        for (int64_t t = r.offset[n]; t < r.offset[n + 1]; t++)
            for (int64_t o = 0; o < r.O; o++) {
                double sum = bias ? (double)bias[o] : 0;
                for (int64_t k = 0; k < r.K; k++) {
                    int64_t s = t + k - r.before;
                    if (s < r.offset[n] || s >= r.offset[n + 1]) continue;
                    for (int64_t i = 0; i < r.I; i++)
                        sum += (double)x[s * r.I + i] * (double)w[(o * r.K + k) * r.I + i];
                }
                y[t * r.O + o] = (real)sum;
            }
}

/* Row s was tap k of row t = s - k + pad[0]. */
void REF(conv1d_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    ragged r = unpack(l, 2, l->in_desc[0], l->in_desc[1]);
    const real *dy = l->in[0]; /* (T, O) */
    const real *w = l->in[1];  /* (O, K, I) */
    real *dx = l->out[0];      /* (T, I) */
    memset(dx, 0, (size_t)(r.T * r.I) * sizeof *dx);
    for (int64_t n = 0; n < r.B; n++)
        for (int64_t s = r.offset[n]; s < r.offset[n + 1]; s++)
            for (int64_t i = 0; i < r.I; i++) {
                double sum = 0;
                for (int64_t k = 0; k < r.K; k++) {
                    int64_t t = s - k + r.before;
                    if (t < r.offset[n] || t >= r.offset[n + 1]) continue;
                    for (int64_t o = 0; o < r.O; o++)
                        sum += (double)dy[t * r.O + o] * (double)w[(o * r.K + k) * r.I + i];
                }
                dx[s * r.I + i] = (real)sum;
            }
}

/* dw[o,k,i]: over all rows whose tap k lies in their text. */
static double dw_at(const ragged *r, const real *x, const real *dy, int64_t o, int64_t k, int64_t i)
{
    double sum = 0;
    for (int64_t n = 0; n < r->B; n++)
        for (int64_t t = r->offset[n]; t < r->offset[n + 1]; t++) {
            int64_t s = t + k - r->before;
            if (s < r->offset[n] || s >= r->offset[n + 1]) continue;
            sum += (double)dy[t * r->O + o] * (double)x[s * r->I + i];
        }
    return sum;
}

void REF(conv1d_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const hone_tensor *y = l->in_desc[1];
    hone_tensor w = {.dim = {y->dim[1], attrs(l)->window.kernel[0], l->in_desc[0]->dim[1]}};
    ragged r = unpack(l, 2, y, &w);
    const real *x = l->in[0];  /* (T, I) */
    const real *dy = l->in[1]; /* (T, O) */
    real *dw = l->out[0];      /* (O, K, I) or NULL */
    real *db = l->out[1];      /* (O) or NULL */
    for (int64_t o = 0; dw && o < r.O; o++)
        for (int64_t k = 0; k < r.K; k++)
            for (int64_t i = 0; i < r.I; i++) put_param_grad(l, dw++, dw_at(&r, x, dy, o, k, i));
    for (int64_t o = 0; db && o < r.O; o++) {
        double sum = 0;
        for (int64_t t = 0; t < r.offset[r.B]; t++) sum += (double)dy[t * r.O + o];
        put_param_grad(l, &db[o], sum);
    }
}
