/* gru_simd.c - the recurrence of a GRU over ragged texts and its gradient: a product a step, gates in SIMD.
 *
 * Definitions: kernels/ref/gru.c; who walks which text: gru.h. W_hh is packed once a launch and stays in L2. Backward
 * keeps the gradients of the gates' sums, da (T, 3H), so that dw is one product over all tokens at the end. */
#include <string.h>

#include "cpu/gru.h"
#include "cpu/math_simd.h"
#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* One launch, unpacked. */
typedef struct gru_job {
    const hone_cpu_gemm *gemm;
    hone_cpu_gru_work at;
    const int32_t *offset, *order; /* (P), (B) by rank */
    const float *w, *bias;         /* (3H, H), (3H) */
    const float *x;                /* (T, 3H) */
    const float *dy;               /* (T, H): backward */
    float *y, *gates;              /* (T, H), (T, 4H) or NULL */
    float *dx;                     /* (T, 3H) or NULL */
    float *work;
    int64_t T, B, H;
    int reverse;
} gru_job;

/* Small questions that every loop asks; texts may be empty. */
static int64_t length_of(const gru_job *j, int64_t text) { return j->offset[text + 1] - j->offset[text]; }
/* The text of row r of a part. */
static int64_t text_at(const gru_job *j, int64_t r, int part, int parts) { return j->order[part + r * parts]; }
static int64_t rows_of(const gru_job *j, int part, int parts) { return (j->B - part + parts - 1) / parts; }
static int64_t token_of(const gru_job *j, int64_t text, int64_t k)
{
    return j->reverse ? j->offset[text + 1] - 1 - k : j->offset[text] + k;
}

/* Forward wants the columns of w turned, backward as they lie. */
static void pack_part(void *arg, int part, int parts)
{
    const gru_job *j = arg;
    const hone_cpu_gemm *g = j->gemm;
    int64_t columns = j->dy ? j->H : 3 * j->H, first, last;
    hone_cpu_share((columns + g->cols - 1) / g->cols, part, parts, &first, &last);
    if (first >= last) return;
    if (!j->dy) g->pack_turned(first, last, columns, j->H, j->w, j->H, j->work);
    else g->pack(first, last, columns, 3 * j->H, j->w, j->H, j->work);
}

/* One step of one text: x, a (3H), h (H) in place, y (H), gates (4H) or NULL. */
static void gate_row(const float *restrict x, const float *restrict a, float *restrict h, int64_t H, float *restrict y,
                     float *restrict gates)
{
#pragma omp simd
    for (int64_t j = 0; j < H; j++) {
        float r = math_sigmoid(x[j] + a[j]), z = math_sigmoid(x[H + j] + a[H + j]), an = a[2 * H + j];
        float n = math_tanh(x[2 * H + j] + r * an);
        float next = (1 - z) * n + z * h[j];
        h[j] = next;
        y[j] = next;
        if (!gates) continue;
        gates[j] = r;
        gates[H + j] = z;
        gates[2 * H + j] = n;
        gates[3 * H + j] = an;
    }
}

/* Rows behind the live ones: a share of each array. */
static void clear_dead(const gru_job *j, float *to, int64_t columns, int part, int parts)
{
    int64_t live = j->offset[j->B], first, last;
    hone_cpu_share(j->T - live, part, parts, &first, &last);
    if (to) memset(to + (live + first) * columns, 0, (size_t)((last - first) * columns) * sizeof *to);
}

/* One thread's texts from their first step to the last of the longest. */
static void forward_part(void *arg, int part, int parts)
{
    const gru_job *j = arg;
    const hone_cpu_gemm *g = j->gemm;
    const hone_cpu_epilogue e = {.bias = j->bias};
    int64_t H = j->H, alive = rows_of(j, part, parts);
    float *h = j->work + j->at.own + part * j->at.own_floats, *a = h + j->at.rows * H;
    memset(h, 0, (size_t)(alive * H) * sizeof *h);
    clear_dead(j, j->y, H, part, parts);
    clear_dead(j, j->gates, 4 * H, part, parts);
    for (int64_t k = 0;; k++) {
        while (alive > 0 && length_of(j, text_at(j, alive - 1, part, parts)) <= k) alive--;
        /* the texts that ended are the last rows: the product shrinks with them */
        if (alive == 0) return;
        if (k == 0) /* from a zero state */
            memset(a, 0, (size_t)(alive * 3 * H) * sizeof *a);
        else g->rows_by_panels(alive, 3 * H, H, h, H, j->work, g->cols, H * g->cols, a, 3 * H, 0);
        g->finish(&e, alive, 3 * H, a, 3 * H);
        for (int64_t r = 0; r < alive; r++) {
            int64_t t = token_of(j, text_at(j, r, part, parts), k);
            gate_row(j->x + t * 3 * H, a + r * 3 * H, h + r * H, H, j->y + t * H,
                     j->gates ? j->gates + t * 4 * H : NULL);
        }
    }
}

/* What both launches begin with: operands, the order of the texts, packed weights. */
static void begin(hone_backend *b, gru_job *j, int parts)
{
    j->gemm = hone_cpu_gemm_pick();
    j->at = hone_cpu_gru_layout(j->gemm, parts, j->T, j->B, j->H, j->dy != NULL);
    j->order = hone_cpu_longest_first(j->offset, j->B, (int32_t *)(j->work + j->at.order));
    hone_cpu_parallel(b, parts, pack_part, j);
}

void SIMD(cpu_gru)(hone_backend *b, const hone_launch *l)
{
    gru_job j = {
        .x = l->in[0], .w = l->in[1], .bias = l->in[2], .offset = l->in[3], .y = l->out[0], .gates = l->out[1]};
    j.work = l->work;
    j.T = l->in_desc[0]->dim[0];
    j.B = l->in_desc[3]->dim[0] - 1;
    j.H = l->in_desc[1]->dim[1];
    j.reverse = l->node->attr.gru.reverse;
    int parts = hone_cpu_gru_parts(b, j.T, j.B, j.H);
    begin(b, &j, parts);
    hone_cpu_parallel(b, parts, forward_part, &j);
}

/* --- backward -------------------------------------------------------------------------------------------- */

/* gates (4H), h (H) of the step before, dy (H); dh (H) in place: what the state before gets without w's part.
 * da (3H) twice, dx (3H). */
static void gate_slopes(const float *restrict gates, const float *restrict before, const float *restrict dy, int64_t H,
                        float *restrict dh, float *restrict da, float *restrict da_kept, float *restrict dx)
{
#pragma omp simd
    for (int64_t j = 0; j < H; j++) {
        float r = gates[j], z = gates[H + j], n = gates[2 * H + j], an = gates[3 * H + j], d = dy[j] + dh[j];
        float dxn = d * (1 - z) * (1 - n * n), dr = dxn * an * r * (1 - r), dz = d * (before[j] - n) * z * (1 - z);
        dh[j] = d * z; /* the way past the gates */
        da[j] = da_kept[j] = dx[j] = dr;
        da[H + j] = da_kept[H + j] = dx[H + j] = dz;
        da[2 * H + j] = da_kept[2 * H + j] = dxn * r;
        dx[2 * H + j] = dxn;
    }
}

/* The part's texts from the last step of the longest to the first: texts join as their last token comes. */
static void backward_part(void *arg, int part, int parts)
{
    const gru_job *j = arg;
    const hone_cpu_gemm *g = j->gemm;
    int64_t H = j->H, rows = rows_of(j, part, parts), alive = 0;
    float *dh = j->work + j->at.own + part * j->at.own_floats, *da = dh + j->at.rows * H;
    float *zeros = da + j->at.rows * 3 * H,
          *spare = zeros + H; /* the state before the first; dx that nobody asked for */
    memset(zeros, 0, (size_t)H * sizeof *zeros);
    clear_dead(j, j->dx, 3 * H, part, parts);
    for (int64_t k = length_of(j, text_at(j, 0, part, parts)) - 1; k >= 0; k--) {
        for (; alive < rows && length_of(j, text_at(j, alive, part, parts)) > k; alive++)
            memset(dh + alive * H, 0, (size_t)H * sizeof *dh);
        for (int64_t r = 0; r < alive; r++) {
            int64_t text = text_at(j, r, part, parts), t = token_of(j, text, k);
            const float *before = k > 0 ? j->y + token_of(j, text, k - 1) * H : zeros;
            gate_slopes(j->gates + t * 4 * H, before, j->dy + t * H, H, dh + r * H, da + r * 3 * H,
                        j->work + j->at.da + t * 3 * H, j->dx ? j->dx + t * 3 * H : spare);
        }
        if (k > 0) g->rows_by_panels(alive, H, 3 * H, da, 3 * H, j->work, g->cols, 3 * H * g->cols, dh, H, 1);
    }
}

void SIMD(cpu_gru_dx)(hone_backend *b, const hone_launch *l)
{
    gru_job j = {.w = l->in[0], .offset = l->in[1], .y = l->in[2], .gates = l->in[3], .dy = l->in[4], .dx = l->out[0]};
    j.work = l->work;
    j.T = l->in_desc[2]->dim[0];
    j.B = l->in_desc[1]->dim[0] - 1;
    j.H = l->in_desc[0]->dim[1];
    j.reverse = l->node->attr.gru.reverse;
    int parts = hone_cpu_gru_parts(b, j.T, j.B, j.H);
    begin(b, &j, parts);
    hone_cpu_parallel(b, parts, backward_part, &j);
    /* dw = da^T times the states before: a window of one row, the token before (or, in reverse, behind) */
    hone_cpu_windows w = {.gemm = j.gemm, .offset = j.offset, .B = j.B, .T = j.T, .live = j.offset[j.B], .K = 1};
    w.C = j.H;
    w.N = 3 * j.H;
    w.before = j.reverse ? -1 : 1;
    w.x = j.y;
    w.dy = j.work + j.at.da;
    w.dw = l->out[1];
    w.db = l->out[2];
    w.accumulate = l->node->accumulate;
    w.parts = parts;
    w.work = j.work + j.at.windows;
    hone_cpu_windows_dw(b, &w);
}
