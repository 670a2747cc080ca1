/* gru.c - the recurrence of a gated unit over ragged texts, and its gradients, as torch.nn.GRU defines it.
 *
 * x (T, 3H) = W_ih tokens + b_ih, a linear layer's; w (3H, H), b (3H) of the state; three gates side by side: r | z | n.
 * Each text runs its own length from a zero state, forwards, or with {gru.reverse} from its last token to its first:
 *   a = w h + b                  r = sigmoid(x_r + a_r)     z = sigmoid(x_z + a_z)
 *   n = tanh(x_n + r * a_n)      h' = (1 - z) * n + z * h = y[t]
 * gates (T, 4H) = r | z | n | a_n is what the gradient needs beside y. Rows behind the live ones are written as 0 and
 * never read. */
#include "ref.h"

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* The row of step k of text n. */
static int64_t row_of(const hone_launch *l, const int32_t *offset, int64_t n, int64_t k)
{
    return attrs(l)->gru.reverse ? offset[n + 1] - 1 - k : offset[n] + k;
}

/* a_j = w[j] h + b[j]; no state yet: h is NULL. */
static double state_at(const real *w, const real *bias, const real *h, int64_t H, int64_t j)
{
    double sum = (double)bias[j];
    for (int64_t i = 0; h && i < H; i++) sum += (double)w[j * H + i] * (double)h[i];
    return sum;
}

void REF(gru)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];         /* (T, 3H) */
    const real *w = l->in[1];         /* (3H, H) */
    const real *bias = l->in[2];      /* (3H) */
    const int32_t *offset = l->in[3]; /* (P) */
    real *y = l->out[0];              /* (T, H) */
    real *gates = l->out[1];          /* (T, 4H) or NULL */
    int64_t T = l->in_desc[0]->dim[0], H = l->in_desc[1]->dim[1], B = l->in_desc[3]->dim[0] - 1;
    memset(y, 0, (size_t)(T * H) * sizeof *y);
    if (gates) memset(gates, 0, (size_t)(T * 4 * H) * sizeof *gates);
    for (int64_t n = 0; n < B; n++)
        for (int64_t k = 0; k < offset[n + 1] - offset[n]; k++) {
            int64_t t = row_of(l, offset, n, k);
            const real *h = k > 0 ? y + row_of(l, offset, n, k - 1) * H : NULL, *xt = x + t * 3 * H;
            for (int64_t j = 0; j < H; j++) {
                double a = state_at(w, bias, h, H, 2 * H + j);
                double r = sigmoid((double)xt[j] + state_at(w, bias, h, H, j));
                double z = sigmoid((double)xt[H + j] + state_at(w, bias, h, H, H + j));
                double c = tanh((double)xt[2 * H + j] + r * a);
                y[t * H + j] = (real)((1 - z) * c + z * (h ? (double)h[j] : 0));
                if (!gates) continue;
                gates[t * 4 * H + j] = (real)r;
                gates[t * 4 * H + H + j] = (real)z;
                gates[t * 4 * H + 2 * H + j] = (real)c;
                gates[t * 4 * H + 3 * H + j] = (real)a;
            }
        }
}

/* Gradients of the three sums behind the gates of unit j, from dh of the state: da for a_r, a_z, a_n; dx_n apart,
 * as x_n does not go through r. Returns what dh hands to the state before, without w's part. */
static double gate_slopes(const real *gates, int64_t H, int64_t j, double before, double dh, double da[3], double *dxn)
{
    double r = (double)gates[j], z = (double)gates[H + j], c = (double)gates[2 * H + j], a = (double)gates[3 * H + j];
    *dxn = dh * (1 - z) * (1 - c * c);
    da[0] = *dxn * a * r * (1 - r);
    da[1] = dh * (before - c) * z * (1 - z);
    da[2] = *dxn * r;
    return dh * z;
}

hone_status REF(gru_dx_prepare)(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *w = &g->tensor[n->in[0]];
    /* da (T, 3H), and dh of two steps (2, H) */
    n->work_bytes = (size_t)(g->tensor[n->in[2]].dim[0] * w->dim[0] + 2 * w->dim[1]) * sizeof(real);
    return HONE_OK;
}

/* One text, from its last step to its first; da (T, 3H) and dx (T, 3H) or NULL. carry (2, H) is scratch. */
static void backward_text(const hone_launch *l, int64_t n, real *da, real *dx, real *carry)
{
    const real *w = l->in[0];                                    /* (3H, H) */
    const int32_t *offset = l->in[1];                            /* (P) */
    const real *y = l->in[2], *gates = l->in[3], *dy = l->in[4]; /* (T, H), (T, 4H), (T, H) */
    int64_t H = l->in_desc[0]->dim[1], length = offset[n + 1] - offset[n];
    real *dh = carry, *next = carry + H;
    memset(dh, 0, (size_t)H * sizeof *dh);
    for (int64_t k = length - 1; k >= 0; k--) {
        int64_t t = row_of(l, offset, n, k);
        const real *h = k > 0 ? y + row_of(l, offset, n, k - 1) * H : NULL;
        for (int64_t j = 0; j < H; j++) {
            double slope[3], dxn, all = (double)dy[t * H + j] + (double)dh[j];
            next[j] = (real)gate_slopes(gates + t * 4 * H, H, j, h ? (double)h[j] : 0, all, slope, &dxn);
            for (int64_t q = 0; q < 3; q++) {
                da[t * 3 * H + q * H + j] = (real)slope[q];
                if (dx) dx[t * 3 * H + q * H + j] = (real)(q < 2 ? slope[q] : dxn);
            }
        }
        for (int64_t i = 0; i < H; i++) {
            double sum = (double)next[i];
            for (int64_t j = 0; j < 3 * H; j++) sum += (double)da[t * 3 * H + j] * (double)w[j * H + i];
            dh[i] = (real)sum;
        }
    }
}

/* dw[j,i]: over all steps but the first of each text, whose state was 0. */
static double dw_at(const hone_launch *l, const real *da, int64_t j, int64_t i)
{
    const int32_t *offset = l->in[1]; /* (P) */
    const real *y = l->in[2];         /* (T, H) */
    int64_t H = l->in_desc[0]->dim[1], B = l->in_desc[1]->dim[0] - 1;
    double sum = 0;
    for (int64_t n = 0; n < B; n++)
        for (int64_t k = 1; k < offset[n + 1] - offset[n]; k++)
            sum += (double)da[row_of(l, offset, n, k) * 3 * H + j] * (double)y[row_of(l, offset, n, k - 1) * H + i];
    return sum;
}

void REF(gru_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const int32_t *offset = l->in[1]; /* (P) */
    real *dx = l->out[0];             /* (T, 3H) or NULL */
    real *dw = l->out[1];             /* (3H, H) or NULL */
    real *db = l->out[2];             /* (3H) or NULL */
    int64_t T = l->in_desc[2]->dim[0], H = l->in_desc[0]->dim[1], B = l->in_desc[1]->dim[0] - 1;
    real *da = l->work; /* (T, 3H) */
    if (dx) memset(dx, 0, (size_t)(T * 3 * H) * sizeof *dx);
    for (int64_t n = 0; n < B; n++) backward_text(l, n, da, dx, da + T * 3 * H);
    for (int64_t j = 0; dw && j < 3 * H; j++)
        for (int64_t i = 0; i < H; i++) put_param_grad(l, &dw[j * H + i], dw_at(l, da, j, i));
    for (int64_t j = 0; db && j < 3 * H; j++) {
        double sum = 0;
        for (int64_t t = 0; t < offset[B]; t++) sum += (double)da[t * 3 * H + j];
        put_param_grad(l, &db[j], sum);
    }
}
