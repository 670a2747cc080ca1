/* softmax.c - softmax of rows, cross-entropy with its metrics, and its gradient.
 *
 * logits, p, dlogits (N, C); label i32 (N); row_weight r (N), class_weight w (C), both optional (1).
 * torch.nn.functional.cross_entropy with label smoothing s and weights, extended by row weights:
 *   W = sum_n r_n w[t_n]
 *   loss = (1-s)/W sum_n r_n w[t_n] (-log p[n,t_n]) + s/(C W) sum_n r_n sum_c w_c (-log p[n,c])
 * With a second label u_n and the first one's share a_n, row n is two: label t_n of weight a_n r_n, and u_n of
 * (1 - a_n) r_n (mixup, cutmix). Without them a_n = 1.
 * If every weight is 0 the mean has no value: NaN, as in PyTorch. */
#include "ref.h"

/* log(sum_c exp(x_c)), shifted by the maximum so that nothing overflows; NaN in, NaN out. */
static double log_sum_exp(const real *x, int64_t C)
{
    double top = (double)x[0], sum = 0;
    for (int64_t c = 1; c < C; c++) top = (double)x[c] > top ? (double)x[c] : top;
    for (int64_t c = 0; c < C; c++) sum += exp((double)x[c] - top);
    return top + log(sum);
}

/* y_c = exp(x_c - log sum_k exp(x_k)). */
void REF(softmax)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0]; /* (R, C) */
    real *y = l->out[0];      /* (R, C) */
    int64_t rows = row_count(l->in_desc[0]), C = last_dim(l->in_desc[0]);
    for (int64_t r = 0; r < rows; r++) {
        double lse = log_sum_exp(x + r * C, C);
        for (int64_t c = 0; c < C; c++) y[r * C + c] = (real)exp((double)x[r * C + c] - lse);
    }
}

/* An absent weight is 1. */
static double weight(const real *w, int64_t i) { return w ? (double)w[i] : 1; }

/* One row's labels: t of share a, u of 1 - a; without a second label u = t and a = 1. */
typedef struct target {
    int32_t t, u;
    double a;
} target;

static target target_of(const hone_launch *l, int64_t n)
{
    const int32_t *label = l->in[1], *other = l->in[5]; /* (N), (N) or NULL */
    const real *share = l->in[6];                       /* (N) or NULL */
    if (!other) return (target){label[n], label[n], 1};
    return (target){label[n], other[n], (double)share[n]};
}

/* A label of share 0 says nothing, were its loss infinite. */
static double part(double share, double v) { return share == 0 ? 0 : share * v; }

/* Class weight of a row's labels, by their shares. */
static double label_weight(const real *w, target y) { return y.a * weight(w, y.t) + (1 - y.a) * weight(w, y.u); }

/* W: the weight that the mean divides by. */
static double total_weight(const hone_launch *l)
{
    double total = 0;
    for (int64_t n = 0; n < l->in_desc[0]->dim[0]; n++)
        total += weight(l->in[2], n) * label_weight(l->in[3], target_of(l, n));
    return total;
}

/* First maximum wins; a row that holds a NaN is no hit, whatever its label. */
static int is_hit(const real *x, int64_t C, int64_t label)
{
    int64_t best = 0;
    for (int64_t c = 0; c < C; c++) {
        if (isnan(x[c])) return 0;
        if (x[c] > x[best]) best = c;
    }
    return best == label;
}

/* The formula above; row_loss[n] is the plain -log p of its labels, whatever the weights. Rows of weight 0 are no samples. */
static void cross_entropy(const hone_launch *l, double *loss, real *row_loss, int64_t *samples, int64_t *correct)
{
    const real *x = l->in[0]; /* (N, C) */
    const real *r = l->in[2]; /* (N) or NULL */
    const real *w = l->in[3]; /* (C) or NULL */
    int64_t N = l->in_desc[0]->dim[0], C = l->in_desc[0]->dim[1];
    double s = (double)attrs(l)->loss.smoothing, hard = 0, smooth = 0;
    for (int64_t n = 0; n < N; n++) {
        const real *row = x + n * C; /* (C) */
        target y = target_of(l, n);
        double lse = log_sum_exp(row, C), even = 0, own = lse - (double)row[y.t], far = lse - (double)row[y.u];
        for (int64_t c = 0; s > 0 && c < C; c++) even += weight(w, c) * (lse - (double)row[c]);
        hard += weight(r, n) * (part(y.a, weight(w, y.t) * own) + part(1 - y.a, weight(w, y.u) * far));
        smooth += weight(r, n) * even;
        if (row_loss) row_loss[n] = (real)(part(y.a, own) + part(1 - y.a, far));
        *samples += weight(r, n) != 0;
        *correct += weight(r, n) != 0 && is_hit(row, C, y.t);
    }
    *loss = ((1 - s) * hard + s / (double)C * smooth) / total_weight(l);
}

/* The loss and its share of the metrics: sums over batches, weighted by samples. */
void REF(softmax_xent)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    hone_step *step = l->in[4]; /* the step block */
    real *loss_out = l->out[0]; /* (1) or NULL */
    double loss;
    int64_t samples = 0, correct = 0;
    cross_entropy(l, &loss, l->out[1], &samples, &correct);
    if (loss_out) *loss_out = (real)loss;
    step->loss_sum += loss * (double)samples;
    step->samples += samples;
    step->correct += correct;
}

/* d loss / d logits[n,c] = r_n/W ((1-s) (a w[t] (p_c - [c = t]) + (1-a) w[u] (p_c - [c = u])) + s/C (p_c sum_k w_k - w_c)),
 * times the scales. */
static void logits_gradient(const hone_launch *l, real *dlogits)
{
    const real *x = l->in[0]; /* (N, C) */
    const real *r = l->in[2]; /* (N) or NULL */
    const real *w = l->in[3]; /* (C) or NULL */
    int64_t N = l->in_desc[0]->dim[0], C = l->in_desc[0]->dim[1];
    double s = (double)attrs(l)->loss.smoothing, all = 0;
    const hone_step *step = l->in[4]; /* the step block or NULL */
    double scale = (double)attrs(l)->loss.grad_scale / total_weight(l);
    if (step) scale *= (double)hone_step_loss_scale(step);
    for (int64_t c = 0; c < C; c++) all += weight(w, c);
    for (int64_t n = 0; n < N; n++) {
        const real *row = x + n * C; /* (C) */
        target y = target_of(l, n);
        double lse = log_sum_exp(row, C), own = y.a * weight(w, y.t), far = (1 - y.a) * weight(w, y.u);
        for (int64_t c = 0; c < C; c++) {
            double p = exp((double)row[c] - lse);
            double g =
                (1 - s) * (own * (p - (c == y.t)) + far * (p - (c == y.u))) + s / (double)C * (p * all - weight(w, c));
            dlogits[n * C + c] = (real)(scale * weight(r, n) * g);
        }
    }
}

void REF(softmax_xent_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    logits_gradient(l, l->out[0]);
}

/* The two rows together; equal to them to the bit. */
void REF(softmax_xent_both)(hone_backend *b, const hone_launch *l)
{
    REF(softmax_xent)(b, l);
    logits_gradient(l, l->out[2]);
}
