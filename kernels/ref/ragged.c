/* ragged.c - a text's rows to one: mean, maximum, first; positions added to them; and their gradients.
 *
 * x (T, C), T a capacity; offset i32 (P = B + 1): text n has the rows offset[n] .. offset[n+1]-1, offset[B] rows
 * live. A text without rows gives zeros. Gradients are zero where no text is: what lies behind the live rows may be
 * added up with them. */
#include "ref.h"

/* y (B, C) = mean of the text's rows. */
void REF(ragged_mean)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];         /* (T, C) */
    const int32_t *offset = l->in[1]; /* (P) */
    real *y = l->out[0];              /* (B, C) */
    int64_t B = l->in_desc[1]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0, length = (double)(offset[n + 1] - offset[n]);
            for (int64_t t = offset[n]; t < offset[n + 1]; t++) sum += (double)x[t * C + c];
            y[n * C + c] = (real)(length > 0 ? sum / length : 0);
        }
}

/* dx (T, C) = dy[n] / length. */
void REF(ragged_mean_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0];        /* (B, C) */
    const int32_t *offset = l->in[1]; /* (P) */
    real *dx = l->out[0];             /* (T, C) */
    int64_t B = l->in_desc[1]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    memset(dx, 0, (size_t)hone_tensor_count(l->out_desc[0]) * sizeof *dx);
    for (int64_t n = 0; n < B; n++)
        for (int64_t t = offset[n]; t < offset[n + 1]; t++)
            for (int64_t c = 0; c < C; c++)
                dx[t * C + c] = (real)((double)dy[n * C + c] / (double)(offset[n + 1] - offset[n]));
}

/* The first maximum wins, a NaN beats all numbers but no NaN: as global_maxpool. */
void REF(ragged_max)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];         /* (T, C) */
    const int32_t *offset = l->in[1]; /* (P) */
    real *y = l->out[0];              /* (B, C) */
    int32_t *at = l->out[1];          /* (B, C) or NULL */
    int64_t B = l->in_desc[1]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C; c++) {
            real best = 0;
            int32_t place = -1;
            for (int32_t t = offset[n]; t < offset[n + 1]; t++) {
                real v = x[t * C + c];
                if (place >= 0 && !(v > best) && !(isnan(v) && !isnan(best))) continue;
                best = v;
                place = t;
            }
            y[n * C + c] = best;
            if (at) at[n * C + c] = place;
        }
}

/* Texts share no row, so each element of dx has one source at most. */
void REF(ragged_max_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0];    /* (B, C) */
    const int32_t *at = l->in[1]; /* (B, C) */
    real *dx = l->out[0];         /* (T, C) */
    int64_t n = hone_tensor_count(l->in_desc[0]), C = l->in_desc[0]->dim[1];
    memset(dx, 0, (size_t)hone_tensor_count(l->out_desc[0]) * sizeof *dx);
    for (int64_t i = 0; i < n; i++)
        if (at[i] >= 0) dx[at[i] * C + i % C] = dy[i];
}

/* y (B, C) = x[offset[n]]. */
void REF(ragged_first)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];         /* (T, C) */
    const int32_t *offset = l->in[1]; /* (P) */
    real *y = l->out[0];              /* (B, C) */
    int64_t B = l->in_desc[1]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C; c++) y[n * C + c] = offset[n] < offset[n + 1] ? x[offset[n] * C + c] : 0;
}

/* dx (T, C): dy in first rows. */
void REF(ragged_first_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[0];        /* (B, C) */
    const int32_t *offset = l->in[1]; /* (P) */
    real *dx = l->out[0];             /* (T, C) */
    int64_t B = l->in_desc[1]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    memset(dx, 0, (size_t)hone_tensor_count(l->out_desc[0]) * sizeof *dx);
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C && offset[n] < offset[n + 1]; c++) dx[offset[n] * C + c] = dy[n * C + c];
}

/* y (T, C) = x + p[place in the text]; from place L on, and behind the live rows, x as it is. */
void REF(ragged_add)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0], *p = l->in[1]; /* (T, C), (L, C) */
    const int32_t *offset = l->in[2];        /* (P) */
    real *y = l->out[0];                     /* (T, C) */
    int64_t B = l->in_desc[2]->dim[0] - 1, C = l->in_desc[0]->dim[1], L = l->in_desc[1]->dim[0];
    if (y != x) memcpy(y, x, (size_t)hone_tensor_count(l->in_desc[0]) * sizeof *y);
    for (int64_t n = 0; n < B; n++)
        for (int64_t t = offset[n]; t < offset[n + 1] && t - offset[n] < L; t++)
            for (int64_t c = 0; c < C; c++) y[t * C + c] += p[(t - offset[n]) * C + c];
}

/* dp (L, C) = or += the sum over texts of dy at that place. */
void REF(ragged_add_dp)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *dy = l->in[1];        /* (T, C) */
    const int32_t *offset = l->in[2]; /* (P) */
    real *dp = l->out[0];             /* (L, C) */
    int64_t B = l->in_desc[2]->dim[0] - 1, C = l->in_desc[1]->dim[1], L = l->in_desc[0]->dim[0];
    for (int64_t i = 0; i < L * C; i++) {
        double sum = 0;
        for (int64_t n = 0; n < B; n++)
            if (i / C < offset[n + 1] - offset[n]) sum += (double)dy[(offset[n] + i / C) * C + i % C];
        put_param_grad(l, &dp[i], sum);
    }
}
