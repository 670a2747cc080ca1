/* elementwise.c - sums and products of equal shapes, and adding a parameter to every sample.
 *
 * a, b, y: any shape, all equal. add_rows: x (N, R..), p (R..). The output may lie over input 0. */
#include "ref.h"

/* y = a + b, rounded once. */
void REF(add)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *u = l->in[0]; /* any shape */
    const real *v = l->in[1]; /* as a */
    real *y = l->out[0];      /* as a */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) y[i] = u[i] + v[i];
}

/* y = relu(a + b). */
void REF(add_relu)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *u = l->in[0]; /* any shape */
    const real *v = l->in[1]; /* as a */
    real *y = l->out[0];      /* as a */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        real sum = u[i] + v[i];
        y[i] = sum < 0 ? 0 : sum; /* NaN passes, as in relu */
    }
}

/* y = x: in this dialect all reals are stored alike. */
void REF(cast)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    memcpy(l->out[0], l->in[0], hone_tensor_bytes(l->out_desc[0]));
}

/* y = a * b. */
void REF(mul)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *u = l->in[0]; /* any shape */
    const real *v = l->in[1]; /* as a */
    real *y = l->out[0];      /* as a */
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) y[i] = u[i] * v[i];
}

/* y[n] = x[n] + p for every sample n. */
void REF(add_rows)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, R) */
    const real *p = l->in[1]; /* (R) */
    real *y = l->out[0];      /* (N, R) */
    int64_t count = hone_tensor_count(l->in_desc[0]), row = hone_tensor_count(l->in_desc[1]);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] + p[i % row];
}

/* dp = sum of dy over the samples. */
void REF(add_rows_dp)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (N, R) */
    real *dp = l->out[0];      /* (R) */
    int64_t count = hone_tensor_count(l->in_desc[0]), row = hone_tensor_count(l->out_desc[0]);
    for (int64_t k = 0; k < row; k++) {
        double sum = 0;
        for (int64_t i = k; i < count; i += row) sum += (double)dy[i];
        put_param_grad(l, &dp[k], sum);
    }
}
