/* embedding_bag_simd.c - rows of a table by token, alone or as bags: forward, both gradients, the update of touched rows.
 *
 * Definitions: kernels/ref/embedding_bag.c and rows.c. A table does not fit in any cache, so a token costs one miss
 * and not much else: rows are asked for some tokens before they are read. Whatever writes rows gives each row to one
 * thread, which meets its occurrences in the order of the tokens: the bits do not depend on the number of threads. */
#include <math.h>
#include <string.h>

#include "cpu/edge_simd.h"
#include "cpu/pointwise.h"

enum {
    LINE_FLOATS = 16,    /* a cache line */
    LINES_AHEAD = 96,    /* asked for before the first is used: several hundred ns of what memory delivers to a core */
    MOST_AHEAD = 32,     /* tokens; more of short rows gain nothing, and have left L1 when their turn comes */
    SHARE_FLOATS = 1024, /* of a text's gradient that lie on the stack at a time */
    NEAR_FLOATS = 64 * 1024 /* rows of a batch that are still in L2 (256 KiB of 512 and up) when they are written */
};

/* One launch, unpacked. For an embedding each live token is a text of its own: B = live, and there are no offsets. */
typedef struct bag_job {
    float *w;              /* (V, C) */
    const int32_t *token;  /* (T) */
    const int32_t *offset; /* (P), or NULL */
    float *y;              /* (B, C): forward */
    const float *dy;       /* (B, C): backward */
    int64_t B, C, live;
    float lr;
    int32_t mode;  /* hone_bag_mode */
    int64_t ahead; /* tokens between asking for a row and using it */
    bool far;      /* rows to be written no longer lie in L2, where forward read them */
} bag_job;

/* Where text n begins. */
SIMD_INLINE int32_t begin_of(const bag_job *j, int64_t n) { return j->offset ? j->offset[n] : (int32_t)n; }

/* What the text's dy is divided by for each of its tokens. */
SIMD_INLINE float divisor_of(const bag_job *j, int64_t n)
{
    int32_t length = begin_of(j, n + 1) - begin_of(j, n);
    if (j->mode == HONE_BAG_SUM || length < 2) return 1.0f;
    return j->mode == HONE_BAG_MEAN ? (float)length : sqrtf((float)length);
}

/* Every line of one row. */
SIMD_INLINE void ask_for(const float *row, int64_t C)
{
    for (int64_t c = 0; c < C; c += LINE_FLOATS) __builtin_prefetch(row + c, 1);
    __builtin_prefetch(row + C - 1, 1);
}

/* Tokens between asking for a row of C floats and using it. */
SIMD_INLINE int64_t ahead_of(int64_t C)
{
    int64_t lines = C / LINE_FLOATS + 1, tokens = LINES_AHEAD / lines;
    return tokens > MOST_AHEAD ? MOST_AHEAD : tokens < 2 ? 2 : tokens;
}

/* The tokens' rows of text n from column `c` on, summed in token order: up to two vectors wide. Rows of the next tokens up to
 * `last` are asked for; 0: by a pass before this one. */
SIMD_INLINE void sum_columns(const bag_job *j, int64_t n, int64_t c, int64_t width, int64_t last)
{
    vfloat a = {0}, b = {0};
    float divisor = divisor_of(j, n);
    for (int64_t t = j->offset[n]; t < j->offset[n + 1]; t++) {
        const float *row = j->w + j->token[t] * j->C + c;
        if (t + j->ahead < last) ask_for(j->w + j->token[t + j->ahead] * j->C, j->C);
        a += v_load_some(row, width);
        if (width > LANES) b += v_load_some(row + LANES, width - LANES);
    }
    if (divisor > 1) {
        a /= v_set(divisor);
        b /= v_set(divisor);
    }
    v_store_some(j->y + n * j->C + c, a, width);
    if (width > LANES) v_store_some(j->y + n * j->C + c + LANES, b, width - LANES);
}

/* Texts begin..end. The first pass over a text's tokens asks for those of the next ones. */
static void forward_range(const void *arg, int64_t begin, int64_t end)
{
    const bag_job *j = arg;
    int64_t first = j->offset[begin], last = j->offset[end];
    for (int64_t t = first; t < last && t < first + j->ahead; t++) ask_for(j->w + j->token[t] * j->C, j->C);
    for (int64_t n = begin; n < end; n++)
        for (int64_t c = 0; c < j->C; c += 2 * LANES)
            sum_columns(j, n, c, j->C - c < 2 * LANES ? j->C - c : 2 * LANES, c == 0 ? last : 0);
}

/* Fields that all ops share; operands are at different places in them. */
static bag_job unpack(const hone_launch *l, int token, int offset, int dy)
{
    bag_job j = {.token = l->in[token], .offset = l->in[offset], .mode = l->node->attr.bag.mode};
    hone_op op = l->node->op;
    j.B = l->in_desc[offset]->dim[0] - 1;
    j.live = j.offset[j.B];
    if (op == HONE_OP_embedding || op == HONE_OP_embedding_dw || op == HONE_OP_embedding_rows) {
        j.B = j.live;
        j.offset = NULL;
        j.mode = HONE_BAG_SUM;
    }
    if (dy < 0) return j;
    j.dy = l->in[dy];
    j.C = l->in_desc[dy]->dim[1];
    j.ahead = ahead_of(j.C);
    j.far = j.live * (j.C + LINE_FLOATS) > NEAR_FLOATS;
    return j;
}

void SIMD(cpu_embedding_bag)(hone_backend *b, const hone_launch *l)
{
    bag_job j = unpack(l, 1, 2, -1);
    j.w = l->in[0];
    j.y = l->out[0];
    j.C = l->in_desc[0]->dim[1];
    j.ahead = ahead_of(j.C);
    hone_cpu_ranges(b, hone_cpu_team(b, j.live * (j.C + 8)), j.B, 1, forward_range, &j);
}

/* Rows begin..end of an embedding. */
static void copy_range(const void *arg, int64_t begin, int64_t end)
{
    const bag_job *j = arg;
    for (int64_t t = begin; t < end; t++) {
        if (t + j->ahead < end) ask_for(j->w + j->token[t + j->ahead] * j->C, j->C);
        memcpy(j->y + t * j->C, j->w + j->token[t] * j->C, (size_t)j->C * sizeof *j->y);
    }
}

void SIMD(cpu_embedding)(hone_backend *b, const hone_launch *l)
{
    bag_job j = unpack(l, 1, 2, -1);
    int64_t T = l->out_desc[0]->dim[0];
    j.w = l->in[0];
    j.y = l->out[0];
    j.C = l->in_desc[0]->dim[1];
    j.ahead = ahead_of(j.C);
    hone_cpu_ranges(b, hone_cpu_team(b, j.live * (j.C + 8)), j.live, 1, copy_range, &j);
    memset(j.y + j.live * j.C, 0, (size_t)((T - j.live) * j.C) * sizeof *j.y);
}

/* --- writing rows ------------------------------------------------------------------------------------ */

/* Blocks of 16 rows go round among the threads, so that neighbours in memory mostly have one writer. */
SIMD_INLINE int owner(int32_t row, int parts) { return parts == 1 ? 0 : (int)((uint32_t)row >> 4) % parts; }

/* to += or -= factor * (dy / length), columns in turn; `subtract` is a constant where this is inlined. */
SIMD_INLINE void change_row(float *to, const float *dy, int64_t C, float length, float lr, int subtract)
{
    for (int64_t c = 0; c < C; c += LANES) {
        int64_t width = C - c < LANES ? C - c : LANES;
        vfloat g = v_load_some(dy + c, width) / v_set(length), x = v_load_some(to + c, width);
        v_store_some(to + c, subtract ? x - v_set(lr) * g : x + g, width);
    }
}

/* row += g, or -= lr * g, for C >= LANES. The last vector overlaps the one before it where C is no multiple of LANES: it is
 * read first and written last, so both give their common columns the same value. No masks: AVX2's masked store costs
 * Zen 3 more than the rest of a short row. */
SIMD_INLINE void change_long(float *row, const float *g, int64_t C, float lr, int subtract)
{
    vfloat x = v_load(row + C - LANES), d = v_load(g + C - LANES);
    for (int64_t c = 0; c < C - LANES; c += LANES) {
        vfloat y = v_load(row + c), e = v_load(g + c);
        v_store(row + c, subtract ? y - v_set(lr) * e : y + e);
    }
    v_store(row + C - LANES, subtract ? x - v_set(lr) * d : x + d);
}

/* Columns c0 .. c0 + C - 1 of the rows that this part owns, over the tokens of text n; g (C) is what each of them gets. */
SIMD_INLINE void change_text(const bag_job *j, int64_t n, int64_t c0, int64_t C, const float *g, int part, int parts,
                             int subtract)
{
    int64_t end = begin_of(j, n + 1);
    for (int64_t t = begin_of(j, n); t < end; t++) {
        if ((j->far || parts > 1) && t + j->ahead < j->live && owner(j->token[t + j->ahead], parts) == part)
            ask_for(j->w + j->token[t + j->ahead] * j->C + c0, C);
        if (owner(j->token[t], parts) != part) continue;
        float *row = j->w + j->token[t] * j->C + c0;
        if (C >= LANES) change_long(row, g, C, j->lr, subtract);
        else change_row(row, g, C, 1, j->lr, subtract);
    }
}

/* What a text gives each of its rows is divided once, not once a token. */
SIMD_INLINE void change_rows(const bag_job *j, int part, int parts, int subtract)
{
    float share[SHARE_FLOATS];
    for (int64_t n = 0; n < j->B; n++) {
        float divisor = divisor_of(j, n);
        for (int64_t c0 = 0; c0 < j->C; c0 += SHARE_FLOATS) {
            int64_t C = j->C - c0 < SHARE_FLOATS ? j->C - c0 : SHARE_FLOATS;
            const float *dy = j->dy + n * j->C + c0;
            if (divisor != 1) {
#pragma omp simd
                for (int64_t c = 0; c < C; c++) share[c] = dy[c] / divisor;
                dy = share;
            }
            change_text(j, n, c0, C, dy, part, parts, subtract);
        }
    }
}

static void sgd_part(void *arg, int part, int parts) { change_rows(arg, part, parts, 1); }
static void dw_part(void *arg, int part, int parts) { change_rows(arg, part, parts, 0); }

/* The row's arithmetic is that of the dense update (p - lr * g), so rows touched once have its bits. */
void SIMD(cpu_embedding_bag_sgd)(hone_backend *b, const hone_launch *l)
{
    const hone_step *step = l->in[4];
    bag_job j = unpack(l, 1, 2, 3);
    j.w = l->in[0];
    j.lr = (float)(double)step->lr;
    if (!step->finite) return;
    hone_cpu_parallel(b, hone_cpu_team(b, j.live * (j.C + 8)), sgd_part, &j);
}

static void dense_gradient(hone_backend *b, const hone_launch *l)
{
    bag_job j = unpack(l, 1, 2, 3);
    j.w = l->out[0];
    j.far = true;
    if (!l->node->accumulate) memset(l->out[0], 0, hone_tensor_bytes(l->out_desc[0]));
    hone_cpu_parallel(b, hone_cpu_team(b, j.live * (j.C + 8)), dw_part, &j);
}

void SIMD(cpu_embedding_bag_dw)(hone_backend *b, const hone_launch *l) { dense_gradient(b, l); }
void SIMD(cpu_embedding_dw)(hone_backend *b, const hone_launch *l) { dense_gradient(b, l); }

/* Sum over texts of |dy|^2 times what its occurrences make of it; lanes of doubles, texts in order. */
void SIMD(cpu_embedding_bag_norm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    hone_step *step = l->in[2];
    bag_job j = unpack(l, 0, 0, 1);
    double sum = step->grad_norm * step->grad_norm;
    for (int64_t n = 0; n < j.B; n++) {
        double squares = 0, length = (double)(j.offset[n + 1] - j.offset[n]);
        const float *dy = j.dy + n * j.C;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < j.C; c++) squares += (double)dy[c] * (double)dy[c];
        if (length < 1) continue;
        switch ((hone_bag_mode)j.mode) { /* length occurrences of dy over the divisor */
        case HONE_BAG_SUM: sum += squares * length; break;
        case HONE_BAG_MEAN: sum += squares / length; break;
        case HONE_BAG_SQRT: sum += squares; break;
        }
    }
    step->grad_norm = sqrt(sum);
    if (!isfinite(sum)) step->finite = 0;
}

/* --- the gradient as rows ------------------------------------------------------------------------------ */

typedef struct occurrence { /* a token and its text */
    uint32_t row;
    int32_t text;
} occurrence;

typedef struct rows_job {
    bag_job bag;
    const occurrence *sorted; /* (live) */
    const int32_t *begin;     /* (count + 1): where the occurrences of a row begin */
    float *drow;              /* (T, C) */
} rows_job;

/* Rows begin..end of the result. */
static void rows_range(const void *arg, int64_t begin, int64_t end)
{
    const rows_job *j = arg;
    int64_t C = j->bag.C;
    for (int64_t u = begin; u < end; u++) {
        float *to = j->drow + u * C;
        memset(to, 0, (size_t)C * sizeof *to);
        for (int32_t k = j->begin[u]; k < j->begin[u + 1]; k++) {
            int64_t n = j->sorted[k].text;
            change_row(to, j->bag.dy + n * C, C, divisor_of(&j->bag, n), 0, 0);
        }
    }
}

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* Radix sort by row, stable, least digit first (Knuth, TAOCP 3, 5.2.5); returns the array that holds the result. */
static occurrence *sort(occurrence *from, occurrence *to, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) most |= from[i].row;
    for (int shift = 0; shift < 32 && most >> shift; shift += DIGIT_BITS) {
        int32_t at[DIGITS] = {0}, sum = 0;
        for (int64_t i = 0; i < n; i++) at[from[i].row >> shift & (DIGITS - 1)]++;
        for (int d = 0; d < DIGITS; d++) {
            int32_t here = at[d];
            at[d] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++) to[at[from[i].row >> shift & (DIGITS - 1)]++] = from[i];
        occurrence *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* Work: two arrays to sort in, and where rows begin (embedding_bag.c states the bytes). */
static void gradient_rows(hone_backend *b, const hone_launch *l)
{
    rows_job j = {.bag = unpack(l, 0, 1, 2), .drow = l->out[1]};
    int64_t T = l->in_desc[0]->dim[0], live = j.bag.live, used = 0;
    occurrence *one = l->work;                                   /* (T) */
    int32_t *row = l->out[0], *begin = (int32_t *)(one + 2 * T); /* (T), (T + 1) */
    for (int64_t n = 0; n < j.bag.B; n++)
        for (int64_t t = begin_of(&j.bag, n); t < begin_of(&j.bag, n + 1); t++)
            one[t] = (occurrence){(uint32_t)j.bag.token[t], (int32_t)n};
    const occurrence *sorted = sort(one, one + T, live);
    for (int64_t k = 0; k < live; k++) {
        if (k > 0 && sorted[k].row == sorted[k - 1].row) continue;
        begin[used] = (int32_t)k;
        row[used++] = (int32_t)sorted[k].row;
    }
    begin[used] = (int32_t)live;
    j.sorted = sorted;
    j.begin = begin;
    *(int32_t *)l->out[2] = (int32_t)used;
    hone_cpu_ranges(b, hone_cpu_team(b, live * (j.bag.C + 8)), used, 1, rows_range, &j);
    for (int64_t u = used; u < T; u++) row[u] = -1;
    memset(j.drow + used * j.bag.C, 0, (size_t)((T - used) * j.bag.C) * sizeof *j.drow);
}

void SIMD(cpu_embedding_bag_rows)(hone_backend *b, const hone_launch *l) { gradient_rows(b, l); }
void SIMD(cpu_embedding_rows)(hone_backend *b, const hone_launch *l) { gradient_rows(b, l); }

/* --- updates of rows ------------------------------------------------------------------------------------- */

/* Factors once a launch, in double and rounded once, as update_simd.c has them. */
typedef struct update_job {
    float *p, *slot0, *slot1; /* (V, C); slots may be NULL for SGD */
    const int32_t *row;       /* (T) */
    const float *drow;        /* (T, C) */
    int64_t C;
    const hone_update_attr *a;
    float lr, lr_over_bias1, inverse_bias2, clip;
} update_job;

/* sgd_run of update_simd.c on one row, term by term: a row touched for the first time gets the same bits. */
static void sgd_rows_range(const void *arg, int64_t begin, int64_t end)
{
    const update_job *j = arg;
    float m = j->a->momentum, decay = j->a->weight_decay, clip = j->clip, lr = j->lr;
    int buffered = j->slot0 && m > 0, nesterov = j->a->nesterov;
    int64_t ahead = ahead_of(j->C);
    for (int64_t u = begin; u < end; u++) {
        const float *grad = j->drow + u * j->C;
        float *p = j->p + j->row[u] * j->C, *buffer = buffered ? j->slot0 + j->row[u] * j->C : NULL;
        if (u + ahead < end) ask_for(j->p + j->row[u + ahead] * j->C, j->C);
        for (int64_t c = 0; c < j->C; c++) {
            float g = grad[c] * clip + decay * p[c];
            if (buffered) {
                float v = m * buffer[c] + g;
                buffer[c] = v;
                g = nesterov ? g + m * v : v;
            }
            p[c] -= lr * g;
        }
    }
}

/* adamw_run of update_simd.c on one row. */
static void adamw_rows_range(const void *arg, int64_t begin, int64_t end)
{
    const update_job *j = arg;
    float beta1 = j->a->beta1, beta2 = j->a->beta2, eps = j->a->eps, keep = 1 - j->lr * j->a->weight_decay;
    float rest1 = (float)(1 - (double)beta1), rest2 = (float)(1 - (double)beta2);
    for (int64_t u = begin; u < end; u++) {
        int64_t at = j->row[u] * j->C;
        const float *grad = j->drow + u * j->C;
        float *p = j->p + at, *ms = j->slot0 + at, *vs = j->slot1 + at;
#pragma omp simd
        for (int64_t c = 0; c < j->C; c++) {
            float g = grad[c] * j->clip;
            float m = beta1 * ms[c] + rest1 * g, v = beta2 * vs[c] + rest2 * (g * g);
            ms[c] = m;
            vs[c] = v;
            p[c] = p[c] * keep - j->lr_over_bias1 * m / (sqrtf(v) * j->inverse_bias2 + eps);
        }
    }
}

/* Different ids, so rows are independent. */
static void update_rows(hone_backend *b, const hone_launch *l, int adam)
{
    const hone_step *step = l->in[4];
    const hone_update_attr *a = &l->node->attr.update;
    int64_t count = *(const int32_t *)l->in[3];
    update_job j = {.p = l->in[0], .row = l->in[1], .drow = l->in[2], .slot0 = l->in[5], .a = a};
    if (!step->finite) return;
    double clip = a->clip_norm > 0 ? (double)a->clip_norm / (step->grad_norm + 1e-6) : 1;
    double t = (double)(step->updates + 1), bias1 = adam ? 1 - pow((double)a->beta1, t) : 1;
    j.slot1 = adam ? l->in[6] : NULL;
    j.C = l->in_desc[0]->dim[1];
    j.clip = (float)(clip < 1 ? clip : 1);
    j.lr = (float)(double)step->lr;
    j.lr_over_bias1 = (float)((double)step->lr / bias1);
    j.inverse_bias2 = adam ? (float)(1 / sqrt(1 - pow((double)a->beta2, t))) : 1;
    hone_cpu_ranges(b, hone_cpu_team(b, count * (j.C + 8)), count, 1, adam ? adamw_rows_range : sgd_rows_range, &j);
}

void SIMD(cpu_sgd_rows)(hone_backend *b, const hone_launch *l) { update_rows(b, l, 0); }
void SIMD(cpu_adamw_rows)(hone_backend *b, const hone_launch *l) { update_rows(b, l, 1); }

/* In doubles, row after row. */
void SIMD(cpu_rows_norm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    hone_step *step = l->in[2];
    const float *drow = l->in[0];
    int64_t n = *(const int32_t *)l->in[1] * l->in_desc[0]->dim[1];
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)drow[i] * (double)drow[i];
    sum += step->grad_norm * step->grad_norm;
    step->grad_norm = sqrt(sum);
    if (!isfinite(sum)) step->finite = 0;
}
