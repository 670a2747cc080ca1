/* softmax_simd.c - softmax of rows; cross-entropy with its metrics and its gradient in one pass.
 *
 * Definitions of kernels/ref/softmax.c. Exponentials are float, everything summed over rows is double and
 * summed in row order, so the loss does not depend on threads: the rows of a batch are few, and one thread
 * takes them all. A NaN in a row reaches the loss and the row's gradient, and the row is no hit. */
#include <math.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"
#include "cpu/math_simd.h"

/* All that later passes need to know of a row, so that its exponentials are summed once. */
typedef struct row_facts {
    float top; /* maximum of the row                  */
    float sum; /* of exp(x - top), NaN if the row holds one */
} row_facts;

/* The last lanes of a row as a whole vector: an exponential alone costs as much as a vector of them. The lanes past the
 * row are exp(-inf) = 0. */
SIMD_INLINE float exp_tail(const float *x, int64_t width, float top, float *keep)
{
    float tail[LANES], sum = 0;
    for (int64_t i = 0; i < LANES; i++) tail[i] = i < width ? x[i] - top : -INFINITY;
#pragma omp simd
    for (int64_t i = 0; i < LANES; i++) tail[i] = math_exp(tail[i]);
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < LANES; i++) sum += tail[i];
    for (int64_t i = 0; keep && i < width; i++) keep[i] = tail[i];
    return sum;
}

/* Sum of exp(x - top), which are stored where `keep` is not NULL: a constant where this is inlined. */
SIMD_INLINE float exp_sum(const float *x, int64_t C, float top, float *keep)
{
    int64_t whole = C - C % LANES;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < whole; c++) {
        float e = math_exp(x[c] - top);
        if (keep) keep[c] = e;
        sum += e;
    }
    return whole < C ? sum + exp_tail(x + whole, C - whole, top, keep ? keep + whole : NULL) : sum;
}

/* Maximum and sum of exponentials of x (C). An infinite maximum leaves a NaN, as it does in ref. `keep` (C), which may not lie
 * over x, gets the exponentials; NULL: nobody needs them again. */
static row_facts survey(const float *x, int64_t C, float *keep)
{
    float top = x[0];
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < C; c++) top = x[c] > top ? x[c] : top;
    return (row_facts){top, keep ? exp_sum(x, C, top, keep) : exp_sum(x, C, top, NULL)};
}

/* --- softmax: x, y (R, C) ------------------------------------------------------------------------- */
typedef struct softmax_job {
    const float *x;
    float *y;
    int64_t C;
} softmax_job;

/* The row is read twice from cache: cheaper than keeping C exponentials and scaling them. */
static void softmax_range(const void *arg, int64_t begin, int64_t end)
{
    const softmax_job *job = arg;
    int64_t C = job->C;
    for (int64_t r = begin; r < end; r++) {
        const float *x = job->x + r * C;
        float *y = job->y + r * C;
        row_facts f = survey(x, C, NULL);
        float top = f.top, inverse = 1 / f.sum;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) y[c] = math_exp(x[c] - top) * inverse;
    }
}

/* 8: an exponential costs about as much as eight multiply-adds, which is what teams are sized by. */
void SIMD(cpu_softmax)(hone_backend *b, const hone_launch *l)
{
    int64_t rows = hone_cpu_rows(l->in_desc[0]), C = hone_cpu_last(l->in_desc[0]);
    softmax_job job = {l->in[0], l->out[0], C};
    hone_cpu_ranges(b, hone_cpu_team(b, 8 * rows * C), rows, 1, softmax_range, &job);
}

/* --- cross-entropy --------------------------------------------------------------------------------- */
typedef struct entropy {
    const float *x;                         /* (N, C) logits              */
    const int32_t *label, *other;           /* (N), (N) or NULL           */
    const float *share;                     /* (N) or NULL: of the label  */
    const float *row_weight, *class_weight; /* (N), (C); NULL means ones  */
    float *row_loss, *dx;                   /* (N), (N, C); may be NULL   */
    int64_t N, C, samples, correct;
    double smoothing, total, all, grad_scale; /* total = sum r_n w[t_n], all = sum w_c */
    double hard, smooth;                      /* the two sums of the loss   */
} entropy;

/* Optional weights: an absent array means ones. */
static double weight(const float *w, int64_t i) { return w ? (double)w[i] : 1; }

/* What a row is to learn: label t with weight first, u with weight second (class weights in, 0 without mixing). */
typedef struct target {
    int32_t t, u;
    double share, first, second;
} target;

static target target_of(const entropy *e, int64_t n)
{
    target y = {e->label[n], e->other ? e->other[n] : e->label[n], e->other ? (double)e->share[n] : 1, 0, 0};
    y.first = y.share * weight(e->class_weight, y.t);
    if (y.share != 1) y.second = (1 - y.share) * weight(e->class_weight, y.u);
    return y;
}

/* A label of share 0 says nothing, were its loss infinite. */
static double part(double share, double v) { return share == 0 ? 0 : share * v; }

/* The sums of weights come first: the gradient of each row divides by the total of all of them. */
static entropy describe(const hone_launch *l)
{
    entropy e = {.x = l->in[0], .label = l->in[1], .row_weight = l->in[2], .class_weight = l->in[3]};
    e.other = l->in[5];
    e.share = l->in[6];
    e.N = l->in_desc[0]->dim[0];
    e.C = l->in_desc[0]->dim[1];
    e.smoothing = (double)l->node->attr.loss.smoothing;
    const hone_step *step = l->in[4];
    e.grad_scale = (double)l->node->attr.loss.grad_scale * (step ? (double)hone_step_loss_scale(step) : 1);
    for (int64_t n = 0; n < e.N; n++) {
        target y = target_of(&e, n);
        e.total += weight(e.row_weight, n) * (y.first + y.second);
    }
    for (int64_t c = 0; c < e.C; c++) e.all += weight(e.class_weight, c);
    return e;
}

/* First maximum wins; a row that holds a NaN is no hit, whatever its label. */
static int is_hit(const float *x, int64_t C, int64_t label, row_facts f)
{
    /* the sum tells of a NaN, but an infinite logit also spoils it */
    for (int64_t c = 0; isnan(f.sum) && c < C; c++)
        if (isnan(x[c])) return 0;
    int earlier = 0;
#pragma omp simd reduction(| : earlier)
    for (int64_t c = 0; c < label; c++) earlier |= x[c] == f.top;
    return !earlier && x[label] == f.top;
}

/* sum_c w_c (lse - x_c) = all * lse - sum_c w_c x_c, taken around the maximum so that digits stay. */
static double even_loss(const entropy *e, const float *x, row_facts f, double log_sum)
{
    const float *w = e->class_weight;
    double sum = 0, top = (double)f.top;
    if (w) {
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < e->C; c++) sum += (double)w[c] * (log_sum - ((double)x[c] - top));
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < e->C; c++) sum += log_sum - ((double)x[c] - top);
    }
    return sum;
}

/* In double from the logarithm on: row losses near 0 are differences of nearly equal numbers. */
static void row_loss(entropy *e, int64_t n, row_facts f)
{
    const float *x = e->x + n * e->C; /* (C) */
    target y = target_of(e, n);
    double log_sum = log((double)f.sum), own = log_sum - ((double)x[y.t] - (double)f.top);
    double far = log_sum - ((double)x[y.u] - (double)f.top), r = weight(e->row_weight, n);
    e->hard += r * (part(y.first, own) + part(y.second, far));
    if (e->smoothing > 0) e->smooth += r * even_loss(e, x, f, log_sum);
    if (e->row_loss) e->row_loss[n] = (float)(part(y.share, own) + part(1 - y.share, far));
    e->samples += r != 0; /* rows of weight 0 fill a batch up */
    e->correct += r != 0 && is_hit(x, e->C, y.t, f);
}

/* A label's own entry in double: p - 1 is small for a row that is learned. */
static float label_gradient(const entropy *e, target y, int32_t c, double p, double scale)
{
    double even = e->smoothing / (double)e->C, hit = (c == y.t ? y.first : 0) + (c == y.u ? y.second : 0);
    double own = (1 - e->smoothing) * ((y.first + y.second) * p - hit);
    return (float)(scale * (own + even * (p * e->all - weight(e->class_weight, c))));
}

/* d loss / d x[n,c] = r_n/W ((1-s) (first (p_c - [c = t]) + second (p_c - [c = u])) + s/C (p_c sum_k w_k - w_c)).
 * The row of dx holds the exponentials that survey kept. */
static void row_gradient(const entropy *e, int64_t n, row_facts f)
{
    int64_t C = e->C;
    const float *w = e->class_weight;
    float *dx = e->dx + n * C;
    target y = target_of(e, n);
    double scale = e->grad_scale / e->total * weight(e->row_weight, n), even = e->smoothing / (double)C;
    double own = (1 - e->smoothing) * (y.first + y.second);
    float factor = (float)(scale * (own + even * e->all) / (double)f.sum), flat = (float)(scale * even);
    double at_t = (double)dx[y.t] / (double)f.sum, at_u = (double)dx[y.u] / (double)f.sum;
    if (w) {
#pragma omp simd
        for (int64_t c = 0; c < C; c++) dx[c] = dx[c] * factor - flat * w[c];
    } else {
#pragma omp simd
        for (int64_t c = 0; c < C; c++) dx[c] = dx[c] * factor - flat;
    }
    dx[y.t] = label_gradient(e, y, y.t, at_t, scale);
    if (y.second != 0) dx[y.u] = label_gradient(e, y, y.u, at_u, scale);
}

/* Sums are weighted by samples, so that batches of unequal size average rightly over a line of the log.
 * If all weights are 0 the division makes a NaN, as in PyTorch. */
static void publish(const hone_launch *l, const entropy *e)
{
    hone_step *step = l->in[4];
    float *loss_out = l->out[0];
    double s = e->smoothing, loss = ((1 - s) * e->hard + s / (double)e->C * e->smooth) / e->total;
    if (loss_out) *loss_out = (float)loss;
    step->loss_sum += loss * (double)e->samples;
    step->samples += e->samples;
    step->correct += e->correct;
}

/* `dx` (N, C) NULL: loss and metrics only. With it, each row is read while it is still in cache. */
static void forward(const hone_launch *l, float *dx)
{
    entropy e = describe(l);
    e.row_loss = l->out[1];
    e.dx = dx;
    for (int64_t n = 0; n < e.N; n++) {
        row_facts f = survey(e.x + n * e.C, e.C, dx ? dx + n * e.C : NULL);
        row_loss(&e, n, f);
        if (dx) row_gradient(&e, n, f);
    }
    publish(l, &e);
}

void SIMD(cpu_softmax_xent)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, NULL);
}

void SIMD(cpu_softmax_xent_both)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    forward(l, l->out[2]);
}

void SIMD(cpu_softmax_xent_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    entropy e = describe(l);
    e.dx = l->out[0];
    for (int64_t n = 0; n < e.N; n++) row_gradient(&e, n, survey(e.x + n * e.C, e.C, e.dx + n * e.C));
}
