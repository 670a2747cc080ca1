/* rows.c - the update of a sparse table: the norm of its row gradients, and SGD and AdamW on touched rows alone.
 *
 * p, slot0, slot1 (V, C); row i32 (T): `count` different ids, then nothing of interest; drow (T, C) their gradients.
 * Lazy, as torch.optim.SparseAdam: decay and moments of a row advance only in steps that touch it, while the bias
 * corrections go by the global count of updates. A momentum buffer is zero before its row's first touch, so that
 * this touch sets it to the gradient, as torch.optim.SGD's first step does. */
#include "ref.h"

/* norm = sqrt(norm^2 + |drow|^2); a gradient that is not finite spoils the step. */
void REF(rows_norm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *drow = l->in[0];     /* (T, C) */
    const int32_t *count = l->in[1]; /* (1) */
    hone_step *step = l->in[2];      /* the step block */
    int64_t n = *count * l->in_desc[0]->dim[1];
    double sum = step->grad_norm * step->grad_norm;
    for (int64_t i = 0; i < n; i++) sum += (double)drow[i] * (double)drow[i];
    step->grad_norm = sqrt(sum);
    if (!isfinite(sum)) step->finite = 0;
}

/* min(1, clip / (norm + 1e-6)), as the dense update. */
static double clip_of(const hone_launch *l, const hone_step *step)
{
    double limit = (double)attrs(l)->update.clip_norm, clip = limit > 0 ? limit / (step->grad_norm + 1e-6) : 1;
    return clip < 1 ? clip : 1;
}

/* p and slot0 are written in place. */
void REF(sgd_rows)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const hone_update_attr *a = &attrs(l)->update;
    real *p = l->in[0];               /* (V, C) */
    const int32_t *row = l->in[1];    /* (T) */
    const real *drow = l->in[2];      /* (T, C) */
    const int32_t *count = l->in[3];  /* (1) */
    const hone_step *step = l->in[4]; /* the step block */
    real *slot0 = l->in[5];           /* (V, C) or NULL */
    int64_t C = l->in_desc[0]->dim[1];
    double m = (double)a->momentum, clip = clip_of(l, step);
    for (int64_t i = 0; step->finite && i < *count * C; i++) {
        int64_t at = row[i / C] * C + i % C;
        double g = (double)drow[i] * clip + (double)a->weight_decay * (double)p[at];
        if (slot0 && m > 0) {
            double buffer = m * (double)slot0[at] + g;
            slot0[at] = (real)buffer;
            g = a->nesterov ? g + m * buffer : buffer;
        }
        p[at] = (real)((double)p[at] - (double)step->lr * g);
    }
}

/* p, slot0 (m) and slot1 (v) are written in place. */
void REF(adamw_rows)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const hone_update_attr *a = &attrs(l)->update;
    real *p = l->in[0];                        /* (V, C) */
    const int32_t *row = l->in[1];             /* (T) */
    const real *drow = l->in[2];               /* (T, C) */
    const int32_t *count = l->in[3];           /* (1) */
    const hone_step *step = l->in[4];          /* the step block */
    real *slot0 = l->in[5], *slot1 = l->in[6]; /* (V, C) each */
    int64_t C = l->in_desc[0]->dim[1];
    double beta1 = (double)a->beta1, beta2 = (double)a->beta2, lr = (double)step->lr, clip = clip_of(l, step);
    double bias1 = 1 - pow(beta1, (double)(step->updates + 1)), bias2 = 1 - pow(beta2, (double)(step->updates + 1));
    for (int64_t i = 0; step->finite && i < *count * C; i++) {
        int64_t at = row[i / C] * C + i % C;
        double g = (double)drow[i] * clip, q = (double)p[at];
        q -= lr * (double)a->weight_decay * q;
        double m = beta1 * (double)slot0[at] + (1 - beta1) * g, v = beta2 * (double)slot1[at] + (1 - beta2) * g * g;
        slot0[at] = (real)m;
        slot1[at] = (real)v;
        p[at] = (real)(q - lr / bias1 * m / (sqrt(v) / sqrt(bias2) + (double)a->eps));
    }
}
