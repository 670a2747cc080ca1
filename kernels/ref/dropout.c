/* dropout.c - dropout of elements and of whole samples; the backward rows draw the same mask again.
 *
 * The mask is a pure function of (seed, stream, step, index) by Philox, so it is never stored and is
 * the same on every dialect and with every thread count. What is kept is scaled by 1/(1-p). */
#include "hone/philox.h"
#include "ref.h"

/* `per_draw` elements share one draw: 1 for dropout, the size of a sample for drop_path. */
static void drop(const hone_launch *l, int64_t per_draw)
{
    const real *x = l->in[0];         /* any shape */
    const hone_step *step = l->in[1]; /* the step block */
    real *y = l->out[0];              /* as x */
    float p = attrs(l)->drop.p;
    double scale = p < 1 ? 1 / (1 - (double)p) : 0;
    int64_t count = hone_tensor_count(l->out_desc[0]);
    for (int64_t i = 0; i < count; i++) {
        int keep =
            hone_dropout_keep(step->seed, attrs(l)->drop.stream, hone_step_draw(step), (uint64_t)(i / per_draw), p);
        y[i] = keep ? (real)((double)x[i] * scale) : 0;
    }
}

/* Elements of one sample of (N, ..). */
static int64_t sample_size(const hone_launch *l) { return hone_tensor_count(l->out_desc[0]) / l->out_desc[0]->dim[0]; }

/* y = x keep / (1 - p), a draw an element. */
void REF(dropout)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    drop(l, 1);
}

void REF(dropout_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    drop(l, 1); /* linear in x: the gradient is the same map */
}

/* One draw a sample: the whole branch is kept or dropped. */
void REF(drop_path)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    drop(l, sample_size(l));
}

/* The same map as drop_path. */
void REF(drop_path_dx)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    drop(l, sample_size(l));
}
