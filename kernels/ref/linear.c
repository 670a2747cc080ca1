/* linear.c - y = x w^T + b and its gradients.
 *
 * x (R, I), w (O, I), b (O), y (R, O), where R is every axis of x but the last. Parameter gradients
 * respect node->accumulate; outputs that nobody asked for are NULL. */
#include "ref.h"

/* y[r,o] = b[o] + sum_i x[r,i] w[o,i] */
void REF(linear)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];    /* (R, I) */
    const real *w = l->in[1];    /* (O, I) */
    const real *bias = l->in[2]; /* (O) or NULL */
    real *y = l->out[0];         /* (R, O) */
    int64_t rows = row_count(l->in_desc[0]), O = l->in_desc[1]->dim[0], I = l->in_desc[1]->dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < O; o++) {
            double sum = bias ? (double)bias[o] : 0;
            for (int64_t i = 0; i < I; i++) sum += (double)x[r * I + i] * (double)w[o * I + i];
            y[r * O + o] = (real)sum;
        }
}

/* dx[r,i] = sum_o dy[r,o] w[o,i] */
void REF(linear_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (R, O) */
    const real *w = l->in[1];  /* (O, I) */
    real *dx = l->out[0];      /* (R, I) */
    int64_t rows = row_count(l->in_desc[0]), O = l->in_desc[1]->dim[0], I = l->in_desc[1]->dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < I; i++) {
            double sum = 0;
            for (int64_t o = 0; o < O; o++) sum += (double)dy[r * O + o] * (double)w[o * I + i];
            dx[r * I + i] = (real)sum;
        }
}

/* dw[o,i] = sum_r dy[r,o] x[r,i],  db[o] = sum_r dy[r,o] */
void REF(linear_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];  /* (R, I) */
    const real *dy = l->in[1]; /* (R, O) */
    real *dw = l->out[0];      /* (O, I) or NULL */
    real *db = l->out[1];      /* (O) or NULL */
    int64_t rows = row_count(l->in_desc[0]), I = last_dim(l->in_desc[0]), O = last_dim(l->in_desc[1]);
    for (int64_t o = 0; dw && o < O; o++)
        for (int64_t i = 0; i < I; i++) {
            double sum = 0;
            for (int64_t r = 0; r < rows; r++) sum += (double)dy[r * O + o] * (double)x[r * I + i];
            put_param_grad(l, &dw[o * I + i], sum);
        }
    for (int64_t o = 0; db && o < O; o++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += (double)dy[r * O + o];
        put_param_grad(l, &db[o], sum);
    }
}
