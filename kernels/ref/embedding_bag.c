/* embedding_bag.c - rows of a table by token: one a token (embedding), or summed or averaged over a text (bags).
 *
 * w (V, C); token i32 (T), T a capacity; offset i32 (P = B + 1): text n has the tokens offset[n] .. offset[n+1]-1,
 * and offset[B] is the live count. What lies behind it is never looked at. torch.nn.EmbeddingBag with
 * include_last_offset=True: a text without tokens gives zeros, and has no part in the gradient. */
#include "ref.h"

/* What text n adds to the gradient of each of its tokens' rows is dy[n] / share. For an embedding each token is a text
 * of its own, and offset is NULL in this file's helpers. */
static double share(const hone_launch *l, const int32_t *offset, int64_t n)
{
    if (!offset) return 1;
    int32_t length = offset[n + 1] - offset[n];
    int32_t mode = attrs(l)->bag.mode;
    if (length < 1 || mode == HONE_BAG_SUM) return 1;
    return mode == HONE_BAG_MEAN ? (double)length : sqrt((double)length);
}

/* Where text n begins. */
static int64_t begins(const int32_t *offset, int64_t n) { return offset ? offset[n] : n; }

/* y (B, C). */
void REF(embedding_bag)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *w = l->in[0];         /* (V, C) */
    const int32_t *token = l->in[1];  /* (T) */
    const int32_t *offset = l->in[2]; /* (P) */
    real *y = l->out[0];              /* (B, C) */
    int64_t B = l->in_desc[2]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t t = offset[n]; t < offset[n + 1]; t++) sum += (double)w[token[t] * C + c];
            y[n * C + c] = (real)(sum / share(l, offset, n));
        }
}

/* dw (V, C): dense, for small tables and for comparison. */
static void add_dw(const hone_launch *l, const int32_t *offset, int64_t B)
{
    const int32_t *token = l->in[1]; /* (T) */
    const real *dy = l->in[3];       /* (B, C); (T, C) of an embedding */
    real *dw = l->out[0];            /* (V, C) */
    int64_t C = l->in_desc[3]->dim[1];
    if (!l->node->accumulate) memset(dw, 0, hone_tensor_bytes(l->out_desc[0]));
    for (int64_t n = 0; n < B; n++)
        for (int64_t t = begins(offset, n); t < begins(offset, n + 1); t++)
            for (int64_t c = 0; c < C; c++) dw[token[t] * C + c] += (real)((double)dy[n * C + c] / share(l, offset, n));
}

void REF(embedding_bag_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    add_dw(l, l->in[2], l->in_desc[2]->dim[0] - 1);
}

/* Where `id` stands in row (count), or would stand. */
static int64_t place_of(const int32_t *row, int64_t count, int32_t id)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (row[middle] < id) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* First the ids by insertion, then their gradients: drow[u] = sum of dy / share over the occurrences. */
static void make_rows(const hone_launch *l, const int32_t *offset, int64_t B)
{
    const int32_t *token = l->in[0]; /* (T) */
    const real *dy = l->in[2];       /* (B, C); (T, C) of an embedding */
    int32_t *row = l->out[0];        /* (T) */
    real *drow = l->out[1];          /* (T, C) */
    int32_t *count = l->out[2];      /* (1) */
    int64_t T = l->in_desc[0]->dim[0], C = l->in_desc[2]->dim[1], used = 0;
    for (int64_t t = 0; t < begins(offset, B); t++) {
        int64_t at = place_of(row, used, token[t]);
        if (at < used && row[at] == token[t]) continue;
        memmove(row + at + 1, row + at, (size_t)(used - at) * sizeof *row);
        row[at] = token[t];
        used++;
    }
    for (int64_t u = used; u < T; u++) row[u] = -1;
    memset(drow, 0, (size_t)(T * C) * sizeof *drow);
    for (int64_t n = 0; n < B; n++)
        for (int64_t t = begins(offset, n); t < begins(offset, n + 1); t++) {
            real *to = drow + place_of(row, used, token[t]) * C;
            for (int64_t c = 0; c < C; c++) to[c] += (real)((double)dy[n * C + c] / share(l, offset, n));
        }
    *count = (int32_t)used;
}

void REF(embedding_bag_rows)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    make_rows(l, l->in[1], l->in_desc[1]->dim[0] - 1);
}

/* --- one row a token ------------------------------------------------------------------------------- */

/* How many of the T tokens live. */
static int64_t live_count(const hone_launch *l, int offset)
{
    return ((const int32_t *)l->in[offset])[l->in_desc[offset]->dim[0] - 1];
}

/* torch.nn.Embedding over the live tokens; rows behind them are zero. */
void REF(embedding)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *w = l->in[0];        /* (V, C) */
    const int32_t *token = l->in[1]; /* (T) */
    real *y = l->out[0];             /* (T, C) */
    int64_t T = l->in_desc[1]->dim[0], C = l->in_desc[0]->dim[1], live = live_count(l, 2);
    for (int64_t t = 0; t < T; t++)
        for (int64_t c = 0; c < C; c++) y[t * C + c] = t < live ? w[token[t] * C + c] : 0;
}

void REF(embedding_dw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    add_dw(l, NULL, live_count(l, 2));
}

void REF(embedding_rows)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    make_rows(l, NULL, live_count(l, 1));
}

/* As if every occurrence were a row of its own: sum over tokens of |dy / length|^2, exact where none repeats. */
void REF(embedding_bag_norm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const int32_t *offset = l->in[0]; /* (P) */
    const real *dy = l->in[1];        /* (B, C) */
    hone_step *step = l->in[2];       /* the step block */
    int64_t B = l->in_desc[0]->dim[0] - 1, C = l->in_desc[1]->dim[1];
    double sum = 0;
    for (int64_t n = 0; n < B; n++) {
        double squares = 0, length = (double)(offset[n + 1] - offset[n]), s = share(l, offset, n);
        for (int64_t c = 0; c < C; c++) squares += (double)dy[n * C + c] * (double)dy[n * C + c];
        if (length > 0) sum += squares * length / (s * s);
    }
    double all = step->grad_norm * step->grad_norm + sum;
    step->grad_norm = sqrt(all);
    if (!isfinite(all)) step->finite = 0;
}

/* p[token] -= lr * dy / length, occurrence by occurrence in the order of the tokens. */
void REF(embedding_bag_sgd)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *p = l->in[0];               /* (V, C) */
    const int32_t *token = l->in[1];  /* (T) */
    const int32_t *offset = l->in[2]; /* (P) */
    const real *dy = l->in[3];        /* (B, C) */
    const hone_step *step = l->in[4]; /* the step block */
    int64_t B = l->in_desc[2]->dim[0] - 1, C = l->in_desc[0]->dim[1];
    for (int64_t n = 0; n < B && step->finite; n++)
        for (int64_t t = offset[n]; t < offset[n + 1]; t++)
            for (int64_t c = 0; c < C; c++) {
                real *to = &p[token[t] * C + c];
                real g = (real)((double)dy[n * C + c] / share(l, offset, n)); /* rounded as a stored gradient is */
                *to = (real)((double)*to - (double)step->lr * (double)g);
            }
}
