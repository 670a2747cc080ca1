/* image_batch.c - the first node of an image program: gather, crop, flip, normalise.
 *
 * pool u8 (P, Hp, Wp, C), row i32 (N): where in the pool; sample i32 (N): which sample of the data set it is.
 * x (N, H, W, C) = (pixel / 255 - mean) / std. The draws depend on (seed, epoch, sample) alone, so
 * batch size, worker count and resume can't change them. Pixels outside the image are black. */
#include "hone/philox.h"
#include "ref.h"

typedef struct view { /* where the crop lies in the pool's image */
    int64_t top, left;
    int mirror;
} view;

/* Centred; shifted and mirrored when the attributes ask for augmentation. */
static view choose_view(const hone_launch *l, int64_t n)
{
    const hone_image_attr *a = &attrs(l)->image;
    const hone_step *step = l->in[3]; /* the step block */
    const int32_t *sample = l->in[2]; /* (N): which sample of the data set */
    view v = {(l->in_desc[0]->dim[1] - a->height) / 2, (l->in_desc[0]->dim[2] - a->width) / 2, 0};
    if (!a->augment) return v;
    hone_augment d = hone_augment_draw(step->seed, a->stream, (uint64_t)(uint32_t)sample[n],
                                       (uint64_t)(uint32_t)step->epoch, a->crop_pad, a->flip);
    v.top += d.dy;
    v.left += d.dx;
    v.mirror = d.flip;
    return v;
}

/* Walks the output in memory order and asks which pixel of the pool lands there. */
void REF(image_batch)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const uint8_t *pool = l->in[0]; /* (P, Hp, Wp, C) */
    const int32_t *row = l->in[1];  /* (N): which image of the pool, or NULL: image n */
    real *x = l->out[0];            /* (N, H, W, C) */
    const hone_image_attr *a = &attrs(l)->image;
    int64_t Hp = l->in_desc[0]->dim[1], Wp = l->in_desc[0]->dim[2], N = l->out_desc[0]->dim[0], C = a->channels;
    for (int64_t n = 0; n < N; n++) {
        view v = choose_view(l, n);
        const uint8_t *image = pool + (row ? row[n] : n) * Hp * Wp * C; /* (Hp, Wp, C) */
        for (int64_t h = 0; h < a->height; h++)
            for (int64_t w = 0; w < a->width; w++) {
                int64_t from_h = v.top + h, from_w = v.left + (v.mirror ? a->width - 1 - w : w);
                int inside = from_h >= 0 && from_h < Hp && from_w >= 0 && from_w < Wp;
                for (int64_t c = 0; c < C; c++) {
                    double pixel = inside ? image[(from_h * Wp + from_w) * C + c] / 255.0 : 0;
                    *x++ = (real)((pixel - (double)a->mean[c]) / (double)a->std[c]);
                }
            }
    }
}
