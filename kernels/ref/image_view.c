/* image_view.c - shift or resized crop, rotation and flip of a picture, in one resampling (ref.h).
 *
 * pool u8 (P, Hp, Wp, C), row i32 (N): where in the pool; sample i32 (N): who it is; y u8 (N, H, W, C). Every output
 * pixel looks up a point of the source, which a map drawn for (seed, epoch, sample) gives (hone/augment.h). */
#include "ref.h"

void REF(image_view)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const uint8_t *pool = l->in[0];                    /* (P, Hp, Wp, C) */
    const int32_t *row = l->in[1], *sample = l->in[2]; /* (N) */
    const hone_step *step = l->in[3];                  /* the step block */
    uint8_t *y = l->out[0];                            /* (N, H, W, C) */
    const int64_t *from = l->in_desc[0]->dim, *to = l->out_desc[0]->dim;
    int32_t Hp = (int32_t)from[1], Wp = (int32_t)from[2], H = (int32_t)to[1], W = (int32_t)to[2], C = (int32_t)to[3];
    for (int64_t n = 0; n < to[0]; n++) {
        hone_view v = hone_view_draw(&attrs(l)->augment, step->seed, sample[n], step->epoch, Hp, Wp);
        const uint8_t *source = pool + (int64_t)row[n] * Hp * Wp * C; /* (Hp, Wp, C) */
        for (int32_t h = 0; h < H; h++)
            for (int32_t w = 0; w < W; w++, y += C) hone_view_show(&v, h, w, H, W, source, Hp, Wp, C, y);
    }
}
