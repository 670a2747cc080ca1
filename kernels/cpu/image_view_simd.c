/* image_view_simd.c - shift or resized crop, rotation and flip of pictures, a thread a range of samples.
 *
 * The map is affine, so along a row a point moves by a constant; and a map that only shifts or mirrors needs no weights:
 * its pixels are copied. Both give the bits of hone_view_point, which the definition asks for each pixel.
 * pool u8 (P, Hp, Wp, C), row and sample i32 (N), y u8 (N, H, W, C). */
#include <string.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* What all threads read; sizes of the pool's pictures (Hp, Wp) and of the views (H, W). */
typedef struct view_job {
    const uint8_t *pool;         /* (P, Hp, Wp, C)                  */
    const int32_t *row, *sample; /* (N): where it lies, who it is   */
    const hone_step *step;       /* seed and epoch                  */
    const hone_augment_attr *a;
    uint8_t *y;
    int32_t Hp, Wp, H, W, C;
} view_job;

/* Whether the map takes whole pixels to whole pixels of the same row: no rotation, no change of size. */
static bool copies(const hone_view *v)
{
    return v->points == 1 && (v->xu == 1 << 23 || v->xu == -(1 << 23)) && v->xv == 0 && v->yu == 0 && v->yv == 1 << 23;
}

/* One row of a map that copies: pixels outside the source are black. */
static void copy_row(const view_job *job, const hone_view *v, const uint8_t *source, int32_t h, uint8_t *y)
{
    int32_t W = job->W, C = job->C, Wp = job->Wp, step = v->xu > 0 ? 1 : -1;
    int64_t from_h = (v->y0 + v->yv * (2 * (int64_t)h + 1 - job->H)) >> 24;
    int64_t from_w = (v->x0 + v->xu * (1 - (int64_t)W)) >> 24;
    bool inside = from_h >= 0 && from_h < job->Hp;
    /* the usual row: whole, and in order */
    if (inside && step == 1 && from_w >= 0 && from_w + W <= Wp) {
        memcpy(y, source + (from_h * Wp + from_w) * C, (size_t)W * (size_t)C);
        return;
    }
    for (int32_t w = 0; w < W; w++, from_w += step)
        for (int32_t c = 0; c < C; c++)
            *y++ = inside && from_w >= 0 && from_w < Wp ? source[(from_h * Wp + from_w) * C + c] : 0;
}

/* One row of any map; C is a constant where it is inlined. */
static inline void blend_row(const view_job *job, const hone_view *v, const uint8_t *source, int32_t h, int32_t C,
                             uint8_t *y)
{
    int64_t t = 2 * (int64_t)h + 1 - job->H, u = 1 - (int64_t)job->W, half = HONE_ONE_Q24 / 2;
    int64_t x = v->x0 + v->xu * u + v->xv * t, p = v->y0 + v->yu * u + v->yv * t;
    int64_t right = ((int64_t)job->Wp << 24) - half, low = ((int64_t)job->Hp << 24) - half;
    for (int32_t w = 0; w < job->W; w++, x += 2 * v->xu, p += 2 * v->yu, y += C) {
        /* hone_view_point's rule: black outside, the border's own pixel beside it */
        if (x < -half || x >= right || p < -half || p >= low) {
            for (int32_t c = 0; c < C; c++) y[c] = 0;
            continue;
        }
        /* half a pixel before the first one is still inside: one pixel is added so that no shift sees a minus */
        int64_t xp = x + HONE_ONE_Q24, pp = p + HONE_ONE_Q24;
        int32_t fx = (int32_t)(xp >> 16 & 255), fy = (int32_t)(pp >> 16 & 255);
        int64_t w0 = (xp >> 24) - 1, h0 = (pp >> 24) - 1, w1 = w0 + 1 < job->Wp ? w0 + 1 : job->Wp - 1;
        int64_t h1 = h0 + 1 < job->Hp ? h0 + 1 : job->Hp - 1;
        const uint8_t *top = source + (h0 < 0 ? 0 : h0) * job->Wp * C, *bottom = source + h1 * job->Wp * C;
        w0 = (w0 < 0 ? 0 : w0) * C;
        w1 *= C;
        for (int32_t c = 0; c < C; c++) {
            int32_t above = top[w0 + c] * (256 - fx) + top[w1 + c] * fx;
            int32_t below = bottom[w0 + c] * (256 - fx) + bottom[w1 + c] * fx;
            y[c] = (uint8_t)((above * (256 - fy) + below * fy + 32768) >> 16);
        }
    }
}

/* One row of a map that shrinks: four points a pixel, as the definition has them. */
static void shrink_row(const view_job *job, const hone_view *v, const uint8_t *source, int32_t h, uint8_t *y)
{
    for (int32_t w = 0; w < job->W; w++, y += job->C)
        hone_view_show(v, h, w, job->H, job->W, source, job->Hp, job->Wp, job->C, y);
}

/* Maps are drawn once a sample; the loop over channels has a constant count for the two usual ones. */
static void view_range(const void *arg, int64_t begin, int64_t end)
{
    const view_job *job = arg;
    int64_t bytes = (int64_t)job->H * job->W * job->C;
    for (int64_t n = begin; n < end; n++) {
        hone_view v = hone_view_draw(job->a, job->step->seed, job->sample[n], job->step->epoch, job->Hp, job->Wp);
        const uint8_t *source = job->pool + (int64_t)job->row[n] * job->Hp * job->Wp * job->C;
        bool copy = copies(&v);
        for (int32_t h = 0; h < job->H; h++) {
            uint8_t *y = job->y + n * bytes + (int64_t)h * job->W * job->C;
            if (copy) copy_row(job, &v, source, h, y);
            else if (v.points == 4) shrink_row(job, &v, source, h, y);
            else if (job->C == 3) blend_row(job, &v, source, h, 3, y);
            else if (job->C == 1) blend_row(job, &v, source, h, 1, y);
            else blend_row(job, &v, source, h, job->C, y);
        }
    }
}

/* 4: a weighted pixel costs about four visits. */
void SIMD(cpu_image_view)(hone_backend *b, const hone_launch *l)
{
    const int64_t *from = l->in_desc[0]->dim, *to = l->out_desc[0]->dim;
    view_job job = {.pool = l->in[0], .row = l->in[1], .sample = l->in[2], .step = l->in[3], .y = l->out[0]};
    job.a = &l->node->attr.augment;
    job.Hp = (int32_t)from[1];
    job.Wp = (int32_t)from[2];
    job.H = (int32_t)to[1];
    job.W = (int32_t)to[2];
    job.C = (int32_t)to[3];
    hone_cpu_ranges(b, hone_cpu_team(b, 4 * hone_tensor_count(l->out_desc[0])), to[0], 1, view_range, &job);
}
