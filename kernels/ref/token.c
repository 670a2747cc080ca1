/* token.c - moving rows about: concatenation and the class token. No arithmetic but one sum.
 *
 * concat: a (R, A), b (R, B), y (R, A+B). Tokens: x (N, T, C), t (C), first token (N, C). */
#include "ref.h"

/* y = [a | b] row by row. */
void REF(concat)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *u = l->in[0]; /* (R, A) */
    const real *v = l->in[1]; /* (R, B) */
    real *y = l->out[0];      /* (R, A+B) */
    int64_t rows = row_count(l->in_desc[0]), A = last_dim(l->in_desc[0]), B = last_dim(l->in_desc[1]);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(y + r * (A + B), u + r * A, (size_t)A * sizeof *y);
        memcpy(y + r * (A + B) + A, v + r * B, (size_t)B * sizeof *y);
    }
}

/* The left A columns are da, the rest db. */
void REF(concat_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (R, A+B) */
    real *da = l->out[0];      /* (R, A) or NULL */
    real *db = l->out[1];      /* (R, B) or NULL */
    int64_t rows = row_count(l->in_desc[0]), A = attrs(l)->concat.left, B = last_dim(l->in_desc[0]) - A;
    for (int64_t r = 0; r < rows; r++) {
        if (da) memcpy(da + r * A, dy + r * (A + B), (size_t)A * sizeof *dy);
        if (db) memcpy(db + r * B, dy + r * (A + B) + A, (size_t)B * sizeof *dy);
    }
}

/* The token t comes before the tokens of every sample. */
void REF(prepend_token)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, T, C) */
    const real *t = l->in[1]; /* (C) */
    real *y = l->out[0];      /* (N, T+1, C) */
    int64_t N = l->in_desc[0]->dim[0], T = l->in_desc[0]->dim[1], C = l->in_desc[0]->dim[2];
    for (int64_t n = 0; n < N; n++) {
        memcpy(y + n * (T + 1) * C, t, (size_t)C * sizeof *y);
        memcpy(y + n * (T + 1) * C + C, x + n * T * C, (size_t)(T * C) * sizeof *y);
    }
}

/* dx = dy without its first token. */
void REF(prepend_token_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (N, T+1, C) */
    real *dx = l->out[0];      /* (N, T, C) */
    int64_t N = l->in_desc[0]->dim[0], T = l->in_desc[0]->dim[1] - 1, C = l->in_desc[0]->dim[2];
    for (int64_t n = 0; n < N; n++) memcpy(dx + n * T * C, dy + n * (T + 1) * C + C, (size_t)(T * C) * sizeof *dx);
}

/* dt = sum over samples of the first token of dy. */
void REF(prepend_token_dt)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (N, T+1, C) */
    real *dt = l->out[0];      /* (C) */
    int64_t N = l->in_desc[0]->dim[0], T = l->in_desc[0]->dim[1] - 1, C = l->in_desc[0]->dim[2];
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t n = 0; n < N; n++) sum += (double)dy[n * (T + 1) * C + c];
        put_param_grad(l, &dt[c], sum);
    }
}

/* y[n] = x[n, 0]. */
void REF(first_token)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (N, T, C) */
    real *y = l->out[0];      /* (N, C) */
    int64_t N = l->in_desc[0]->dim[0], T = l->in_desc[0]->dim[1], C = l->in_desc[0]->dim[2];
    for (int64_t n = 0; n < N; n++) memcpy(y + n * C, x + n * T * C, (size_t)C * sizeof *y);
}

/* Only the first token took part; the others get 0. */
void REF(first_token_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0]; /* (N, C) */
    real *dx = l->out[0];      /* (N, T, C) */
    int64_t N = l->out_desc[0]->dim[0], T = l->out_desc[0]->dim[1], C = l->out_desc[0]->dim[2];
    memset(dx, 0, (size_t)(N * T * C) * sizeof *dx);
    for (int64_t n = 0; n < N; n++) memcpy(dx + n * T * C, dy + n * C, (size_t)C * sizeof *dx);
}
