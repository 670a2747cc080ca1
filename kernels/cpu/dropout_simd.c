/* dropout_simd.c - dropout of elements and of whole samples, sixteen Philox counters at a time.
 *
 * The mask is the one of hone_dropout_keep (philox.h) and the product that of ref, to the bit: the mask is
 * a function of (seed, stream, step, index) alone, so threads and vector width can't show. Linear in x, so
 * the gradient rows are the same map. y may lie over x. */
#include "hone/philox.h"
#include "cpu/pointwise.h"
#include "cpu/simd.h"

enum { COUNTERS = 16, BLOCK = 4 * COUNTERS }; /* one Philox call serves four neighbours */

typedef struct drop_job {
    const float *x; /* (count), or (N, sample) */
    float *y;
    int64_t sample, count;
    uint64_t seed, step;
    uint32_t stream;
    uint64_t threshold; /* draws of 24 bits below it drop: uniform < p, in integers */
    double scale;
    float p;
} drop_job;

static drop_job describe(const hone_launch *l)
{
    const hone_step *step = l->in[1];
    float p = l->node->attr.drop.p;
    drop_job job = {.x = l->in[0], .y = l->out[0], .p = p, .seed = step->seed, .step = hone_step_draw(step)};
    job.count = hone_tensor_count(l->out_desc[0]);
    job.sample = l->out_desc[0]->rank ? job.count / l->out_desc[0]->dim[0] : 1;
    job.stream = l->node->attr.drop.stream;
    job.scale = p < 1 ? 1 / (1 - (double)p) : 0;
    /* m * 2^-24 < p  <=>  m < ceil(p * 2^24): both sides are exact in double */
    double limit = (double)p * 16777216.0;
    job.threshold = limit <= 0 ? 0 : (uint64_t)limit + ((double)(uint64_t)limit < limit);
    return job;
}

/* keep[i] (BLOCK) = 1 or 0 for elements 4*first .. 4*first + BLOCK - 1. */
static void draw_block(const drop_job *job, uint64_t first, uint32_t keep[BLOCK])
{
    uint32_t threshold = (uint32_t)job->threshold;
#pragma omp simd
    for (int i = 0; i < COUNTERS; i++) {
        hone_philox4 r = hone_philox(job->seed, job->stream, first + (uint64_t)i, job->step);
        keep[4 * i] = r.v[0] >> 8 >= threshold;
        keep[4 * i + 1] = r.v[1] >> 8 >= threshold;
        keep[4 * i + 2] = r.v[2] >> 8 >= threshold;
        keep[4 * i + 3] = r.v[3] >> 8 >= threshold;
    }
}

static void dropout_range(const void *arg, int64_t begin, int64_t end)
{
    const drop_job *job = arg;
    double scale = job->scale;
    uint32_t keep[BLOCK];
    for (int64_t i = begin; i < end; i += BLOCK) { /* begin is a multiple of BLOCK */
        int64_t width = end - i < BLOCK ? end - i : BLOCK;
        const float *x = job->x + i;
        float *y = job->y + i;
        draw_block(job, (uint64_t)i / 4, keep);
#pragma omp simd
        for (int64_t k = 0; k < width; k++) {
            float scaled = (float)((double)x[k] * scale);
            y[k] = keep[k] ? scaled : 0.0f;
        }
    }
}

static void dropout(hone_backend *b, const hone_launch *l)
{
    drop_job job = describe(l);
    hone_cpu_ranges(hone_cpu_team(b, 4 * job.count), job.count, BLOCK, dropout_range, &job);
}

static void drop_path_range(const void *arg, int64_t begin, int64_t end)
{
    const drop_job *job = arg;
    double scale = job->scale;
    for (int64_t n = begin; n < end; n++) {
        int keep = hone_dropout_keep(job->seed, job->stream, job->step, (uint64_t)n, job->p);
        const float *x = job->x + n * job->sample;
        float *y = job->y + n * job->sample;
#pragma omp simd
        for (int64_t k = 0; k < job->sample; k++) {
            float scaled = (float)((double)x[k] * scale);
            y[k] = keep ? scaled : 0.0f;
        }
    }
}

static void drop_path(hone_backend *b, const hone_launch *l)
{
    drop_job job = describe(l);
    int64_t samples = job.sample ? job.count / job.sample : 0;
    hone_cpu_ranges(hone_cpu_team(b, job.count), samples, 1, drop_path_range, &job);
}

void SIMD(cpu_dropout)(hone_backend *b, const hone_launch *l) { dropout(b, l); }
void SIMD(cpu_dropout_dx)(hone_backend *b, const hone_launch *l) { dropout(b, l); }
void SIMD(cpu_drop_path)(hone_backend *b, const hone_launch *l) { drop_path(b, l); }
void SIMD(cpu_drop_path_dx)(hone_backend *b, const hone_launch *l) { drop_path(b, l); }
