/* linear.c - y = x w^T + b and its gradients.
 *
 * x (R, I), w (O, I), b (O), y (R, O), where R is every axis of x but the last. Parameter gradients
 * respect node->accumulate; outputs that nobody asked for are NULL. */
#include "ref.h"

void REF(linear)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0], *w = l->in[1], *bias = l->in[2];
    real *y = l->out[0];
    int64_t rows = row_count(l->in_desc[0]), O = l->in_desc[1]->dim[0], I = l->in_desc[1]->dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < O; o++) {
            double sum = bias ? (double)bias[o] : 0;
            for (int64_t i = 0; i < I; i++) sum += (double)x[r * I + i] * (double)w[o * I + i];
            y[r * O + o] = (real)sum;
        }
}

void REF(linear_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0], *w = l->in[1];
    real *dx = l->out[0];
    int64_t rows = row_count(l->in_desc[0]), O = l->in_desc[1]->dim[0], I = l->in_desc[1]->dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < I; i++) {
            double sum = 0;
            for (int64_t o = 0; o < O; o++) sum += (double)dy[r * O + o] * (double)w[o * I + i];
            dx[r * I + i] = (real)sum;
        }
}

void REF(linear_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0], *dy = l->in[1];
    real *dw = l->out[0], *db = l->out[1];
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
