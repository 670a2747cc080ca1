/* dropout_simd.c - dropout of elements and of whole samples, sixteen Philox counters at a time.
 *
 * The mask is the one of hone_dropout_keep (philox.h) and the product that of ref, to the bit: the mask is
 * a function of (seed, stream, step, index) alone, so threads and vector width can't show. Linear in x, so
 * the gradient rows are the same map. y may lie over x. */
#include "cpu/pointwise.h"
#include "cpu/philox_simd.h"

/* scale = 1 / (1 - p), in double as in ref; 0 where p is 1, which drops all. */
typedef struct drop_job {
    const float *x; /* (count), or (N, sample) */
    float *y;
    int64_t sample, count;
    keep_rule rule;
    double scale;
    float p;
} drop_job;

/* The step block says which draw it is, so a recorded program draws anew each step. */
static drop_job describe(const hone_launch *l)
{
    const hone_step *step = l->in[1];
    float p = l->node->attr.drop.p;
    drop_job job = {.x = l->in[0], .y = l->out[0], .p = p};
    job.rule = keep_for(step->seed, l->node->attr.drop.stream, hone_step_draw(step), p);
    job.count = hone_tensor_count(l->out_desc[0]);
    job.sample = l->out_desc[0]->rank ? job.count / l->out_desc[0]->dim[0] : 1;
    job.scale = p < 1 ? 1 / (1 - (double)p) : 0;
    return job;
}

/* A choice, not a product: what is dropped is 0 even where x is infinite. */
static void dropout_range(const void *arg, int64_t begin, int64_t end)
{
    const drop_job *job = arg;
    double scale = job->scale;
    uint32_t keep[KEEP_BLOCK];
    for (int64_t i = begin; i < end; i += KEEP_BLOCK) { /* begin is a multiple of KEEP_BLOCK */
        int64_t width = end - i < KEEP_BLOCK ? end - i : KEEP_BLOCK;
        const float *x = job->x + i;
        float *y = job->y + i;
        keep_block(&job->rule, (uint64_t)i / 4, keep);
#pragma omp simd
        for (int64_t k = 0; k < width; k++) {
            float scaled = (float)((double)x[k] * scale);
            y[k] = keep[k] ? scaled : 0.0f;
        }
    }
}

/* 4: a Philox round costs far more than the product. */
static void dropout(hone_backend *b, const hone_launch *l)
{
    drop_job job = describe(l);
    hone_cpu_ranges(b, hone_cpu_team(b, 4 * job.count), job.count, KEEP_BLOCK, dropout_range, &job);
}

/* Stochastic depth (Huang et al. 2016): one draw a sample, indexed by n. */
static void drop_path_range(const void *arg, int64_t begin, int64_t end)
{
    const drop_job *job = arg;
    double scale = job->scale;
    for (int64_t n = begin; n < end; n++) {
        int keep = hone_dropout_keep(job->rule.seed, job->rule.stream, job->rule.step, (uint64_t)n, job->p);
        const float *x = job->x + n * job->sample;
        float *y = job->y + n * job->sample;
#pragma omp simd
        for (int64_t k = 0; k < job->sample; k++) {
            float scaled = (float)((double)x[k] * scale);
            y[k] = keep ? scaled : 0.0f;
        }
    }
}

/* Samples are shared out whole. */
static void drop_path(hone_backend *b, const hone_launch *l)
{
    drop_job job = describe(l);
    int64_t samples = job.sample ? job.count / job.sample : 0;
    hone_cpu_ranges(b, hone_cpu_team(b, job.count), samples, 1, drop_path_range, &job);
}

void SIMD(cpu_dropout)(hone_backend *b, const hone_launch *l) { dropout(b, l); }
void SIMD(cpu_dropout_dx)(hone_backend *b, const hone_launch *l) { dropout(b, l); }
void SIMD(cpu_drop_path)(hone_backend *b, const hone_launch *l) { drop_path(b, l); }
void SIMD(cpu_drop_path_dx)(hone_backend *b, const hone_launch *l) { drop_path(b, l); }
