/* image_mix_simd.c - erasing, mixup and cutmix of normalised pictures, a thread a range of samples.
 *
 * Definitions and the reason for double: kernels/ref/image_mix.c. x, y (N, H, W, C), sample and label i32 (N),
 * other i32 (N), share (N). */
#include <string.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* Operands have other places in the two ops: these are looked up once. */
typedef struct mix_job {
    const hone_launch *l;
    const int32_t *sample; /* (N): who it is */
    const hone_step *step; /* seed and epoch */
} mix_job;

/* Rows of a box: floats of one row, and the first of them in picture n. */
static size_t box_row_bytes(const hone_launch *l, hone_box box)
{
    return (size_t)box.width * (size_t)l->out_desc[0]->dim[3] * sizeof(float);
}
static int64_t box_row(const hone_launch *l, hone_box box, int64_t n, int64_t h)
{
    const int64_t *dim = l->out_desc[0]->dim;
    return ((n * dim[1] + box.top + h) * dim[2] + box.left) * dim[3];
}

/* In place only the rectangle is touched; else the picture is copied first. Zero bytes are the float 0. */
static void erase_range(const void *arg, int64_t begin, int64_t end)
{
    const mix_job *job = arg;
    const hone_launch *l = job->l;
    const int64_t *dim = l->out_desc[0]->dim;
    int64_t count = dim[1] * dim[2] * dim[3];
    float *y = l->out[0];
    for (int64_t n = begin; n < end; n++) {
        hone_box box = hone_erase_draw(&l->node->attr.augment, job->step->seed, job->sample[n], job->step->epoch,
                                       (int32_t)dim[1], (int32_t)dim[2]);
        if (l->out[0] != l->in[0])
            memcpy(y + n * count, (const float *)l->in[0] + n * count, (size_t)count * sizeof *y);
        for (int64_t h = 0; box.found && h < box.height; h++)
            memset(y + box_row(l, box, n, h), 0, box_row_bytes(l, box));
    }
}

/* 1: a copy at the most. */
void SIMD(cpu_image_erase)(hone_backend *b, const hone_launch *l)
{
    mix_job job = {l, l->in[1], l->in[2]};
    hone_cpu_ranges(b, hone_cpu_team(b, hone_tensor_count(l->out_desc[0])), l->out_desc[0]->dim[0], 1, erase_range,
                    &job);
}

/* own * part + next * (1 - part): products exact in double, the sum rounded once to float. */
static void blend(const float *restrict own, const float *restrict next, double part, int64_t count, float *restrict y)
{
    double rest = 1 - part;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (float)((double)own[i] * part + (double)next[i] * rest);
}

/* Reads two pictures and writes a third: never in place, as row n is the next one of row n - 1. */
static void mix_range(const void *arg, int64_t begin, int64_t end)
{
    const mix_job *job = arg;
    const hone_launch *l = job->l;
    const int64_t *dim = l->out_desc[0]->dim;
    const float *x = l->in[0];
    const int32_t *label = l->in[1];
    float *y = l->out[0];
    int64_t count = dim[1] * dim[2] * dim[3];
    for (int64_t n = begin; n < end; n++) {
        int64_t next = (n + 1) % dim[0];
        hone_mix m = hone_mix_draw(&l->node->attr.augment, l->in[3], job->step->seed, job->sample[n], job->step->epoch,
                                   (int32_t)dim[1], (int32_t)dim[2]);
        /* taken over as it is, then the box on top; or blended */
        if (m.box.found || m.own == HONE_ONE_Q16) memcpy(y + n * count, x + n * count, (size_t)count * sizeof *y);
        else blend(x + n * count, x + next * count, (double)m.own / HONE_ONE_Q16, count, y + n * count);
        for (int64_t h = 0; m.box.found && h < m.box.height; h++)
            memcpy(y + box_row(l, m.box, n, h), x + box_row(l, m.box, next, h), box_row_bytes(l, m.box));
        ((int32_t *)l->out[1])[n] = label[next];
        ((float *)l->out[2])[n] = hone_mix_weight(&m, (int32_t)dim[1], (int32_t)dim[2]);
    }
}

/* 2: two pictures are read for one that is written. */
void SIMD(cpu_image_mix)(hone_backend *b, const hone_launch *l)
{
    mix_job job = {l, l->in[2], l->in[4]};
    hone_cpu_ranges(b, hone_cpu_team(b, 2 * hone_tensor_count(l->out_desc[0])), l->out_desc[0]->dim[0], 1, mix_range,
                    &job);
}
