/* image_mix.c - erasing, mixup and cutmix: what is done to a batch after it is normalised (ref.h).
 *
 * x, y (N, H, W, C); 0 is the mean of a normalised picture. Sums are in double, where a float times a share of 1/65536
 * is exact: rounded once, so every dialect has the same bits, with fused multiply-adds or without. */
#include "ref.h"

/* sample i32 (N): a rectangle drawn for (seed, epoch, sample) becomes 0. */
void REF(image_erase)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];         /* (N, H, W, C) */
    const int32_t *sample = l->in[1]; /* (N) */
    const hone_step *step = l->in[2]; /* the step block */
    real *y = l->out[0];              /* (N, H, W, C); may be x itself */
    const int64_t *dim = l->out_desc[0]->dim;
    for (int64_t n = 0; n < dim[0]; n++) {
        hone_box box =
            hone_erase_draw(&attrs(l)->augment, step->seed, sample[n], step->epoch, (int32_t)dim[1], (int32_t)dim[2]);
        for (int64_t h = 0; h < dim[1]; h++)
            for (int64_t w = 0; w < dim[2]; w++)
                for (int64_t c = 0; c < dim[3]; c++) {
                    int64_t i = ((n * dim[1] + h) * dim[2] + w) * dim[3] + c;
                    bool gone = box.found && h >= box.top && h < box.top + box.height && w >= box.left &&
                                w < box.left + box.width;
                    y[i] = gone ? 0 : x[i];
                }
    }
}

/* Row n with row n + 1, the last with the first: other[n] is that one's label, share[n] the weight of n's own. */
void REF(image_mix)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *x = l->in[0];                            /* (N, H, W, C) */
    const int32_t *label = l->in[1], *sample = l->in[2]; /* (N) */
    const hone_step *step = l->in[4];                    /* the step block */
    real *y = l->out[0], *share = l->out[2];             /* (N, H, W, C), (N) */
    int32_t *other = l->out[1];                          /* (N) */
    const int64_t *dim = l->out_desc[0]->dim;
    int64_t count = dim[1] * dim[2] * dim[3];
    for (int64_t n = 0; n < dim[0]; n++) {
        hone_mix m = hone_mix_draw(&attrs(l)->augment, l->in[3], step->seed, sample[n], step->epoch, (int32_t)dim[1],
                                   (int32_t)dim[2]);
        const real *own = x + n * count, *next = x + (n + 1) % dim[0] * count;
        double part = (double)m.own / HONE_ONE_Q16;
        for (int64_t i = 0; i < count; i++) {
            int64_t h = i / (dim[2] * dim[3]), w = i / dim[3] % dim[2];
            bool pasted = m.box.found && h >= m.box.top && h < m.box.top + m.box.height && w >= m.box.left &&
                          w < m.box.left + m.box.width;
            if (m.box.found || m.own == HONE_ONE_Q16) y[n * count + i] = pasted ? next[i] : own[i];
            else y[n * count + i] = (real)((double)own[i] * part + (double)next[i] * (1 - part));
        }
        other[n] = label[(n + 1) % dim[0]];
        share[n] = (real)hone_mix_weight(&m, (int32_t)dim[1], (int32_t)dim[2]);
    }
}
