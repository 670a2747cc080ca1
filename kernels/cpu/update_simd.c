/* update_simd.c - the norm of all gradients, and SGD and AdamW in one pass over the flat arena: clip, decay,
 * update, moving average and the clearing of the gradient touch each element once.
 *
 * Definitions of kernels/ref/optimizer.c (PyTorch's). The norm is summed in doubles, part by part in order.
 * Elementwise arithmetic is float. A step whose gradients are not finite changes nothing but the counters
 * (and clears the gradient, where asked). */
#include <math.h>
#include <string.h>

#include "cpu/pointwise.h"
#include "cpu/simd.h"

/* --- grad_norm ------------------------------------------------------------------------------------- */
enum { NORM_PARTS = 64 }; /* a fixed cut: the norm has the same bits for every number of threads */

typedef struct norm_job {
    const float *grad; /* (K) */
    int64_t K;
    double *sum; /* (NORM_PARTS) */
} norm_job;

/* Sums of squares of the parts begin..end; vector lanes of doubles, a fixed number per instruction set. */
static void norm_range(const void *arg, int64_t begin, int64_t end)
{
    const norm_job *job = arg;
    for (int64_t part = begin; part < end; part++) {
        int64_t from, to;
        const float *grad = job->grad;
        double sum = 0;
        hone_cpu_cut(job->K, 64, (int)part, NORM_PARTS, &from, &to);
#pragma omp simd reduction(+ : sum)
        for (int64_t i = from; i < to; i++) sum += (double)grad[i] * (double)grad[i];
        job->sum[part] = sum;
    }
}

/* `finite` is how a step is skipped: a NaN or infinity anywhere in the gradients reaches the sum. */
void SIMD(cpu_grad_norm)(hone_backend *b, const hone_launch *l)
{
    double parts[NORM_PARTS] = {0}, sum = 0;
    hone_step *step = l->in[1];
    norm_job job = {l->in[0], hone_tensor_count(l->in_desc[0]), parts};
    hone_cpu_ranges(b, hone_cpu_team(b, job.K), NORM_PARTS, 1, norm_range, &job);
    for (int part = 0; part < NORM_PARTS; part++) sum += parts[part];
    step->grad_norm = sqrt(sum) / (double)hone_step_loss_scale(step);
    step->finite = isfinite(sum) ? 1 : 0;
}

/* --- sgd, adamw -------------------------------------------------------------------------------------- */
/* Factors are computed once a step in double and rounded once; the elements' arithmetic is float. */
typedef struct update_job {
    float *p, *grad, *slot0, *slot1, *ema, *shadow; /* (K); the last four may be NULL */
    const hone_segment *segment;                    /* (S)                            */
    int64_t S;
    const hone_update_attr *a;
    double lr, bias1;    /* bias1 = 1 - beta1^t                          */
    float inverse_bias2; /* 1 / sqrt(1 - beta2^t)                        */
    float clip, ema_decay, ema_share;
    int first;        /* SGD: the momentum buffer starts here         */
    int adam, active; /* active: the gradients are finite             */
} update_job;

typedef struct run { /* one run of elements under one rule */
    int64_t begin, end;
    float lr, lr_over_bias1, decay;
} run;

/* torch.optim.SGD. The last three are constants where this is inlined, so each case is a loop of its own
 * without branches. `first`: the buffer starts as the gradient itself, not damped, as in PyTorch. */
SIMD_INLINE void sgd_run(const update_job *job, run s, int buffered, int first, int averaged)
{
    const float *grad = job->grad;
    float *p = job->p, *buffer = job->slot0, *ema = job->ema;
    float m = job->a->momentum, clip = job->clip, d = job->ema_decay, share = job->ema_share;
    int nesterov = job->a->nesterov;
#pragma omp simd
    for (int64_t i = s.begin; i < s.end; i++) {
        float g = grad[i] * clip + s.decay * p[i];
        if (buffered) {
            float v = first ? g : m * buffer[i] + g;
            buffer[i] = v;
            g = nesterov ? g + m * v : v;
        }
        float q = p[i] - s.lr * g;
        p[i] = q;
        if (averaged) ema[i] = d * ema[i] + share * q;
    }
}

/* torch.optim.AdamW: decay on the weight, not in the gradient; eps is added to the corrected root. */
SIMD_INLINE void adamw_run(const update_job *job, run s, int averaged)
{
    const float *grad = job->grad;
    float *p = job->p, *ms = job->slot0, *vs = job->slot1, *ema = job->ema;
    float beta1 = job->a->beta1, beta2 = job->a->beta2, eps = job->a->eps, clip = job->clip;
    float rest1 = (float)(1 - (double)beta1), rest2 = (float)(1 - (double)beta2), bias2 = job->inverse_bias2;
    float d = job->ema_decay, share = job->ema_share, keep = 1 - s.lr * s.decay, lr = s.lr_over_bias1;
#pragma omp simd
    for (int64_t i = s.begin; i < s.end; i++) {
        float g = grad[i] * clip;
        float m = beta1 * ms[i] + rest1 * g, v = beta2 * vs[i] + rest2 * (g * g);
        ms[i] = m;
        vs[i] = v;
        float q = p[i] * keep - lr * m / (sqrtf(v) * bias2 + eps);
        p[i] = q;
        if (averaged) ema[i] = d * ema[i] + share * q;
    }
}

/* Momentum 0 keeps no buffer: the slot may then be absent. */
static void apply(const update_job *job, run s)
{
    int buffered = job->slot0 && job->a->momentum > 0;
    if (job->adam && job->ema) adamw_run(job, s, 1);
    else if (job->adam) adamw_run(job, s, 0);
    else if (!buffered) job->ema ? sgd_run(job, s, 0, 0, 1) : sgd_run(job, s, 0, 0, 0);
    else if (job->first) job->ema ? sgd_run(job, s, 1, 1, 1) : sgd_run(job, s, 1, 1, 0);
    else job->ema ? sgd_run(job, s, 1, 0, 1) : sgd_run(job, s, 1, 0, 0);
}

enum { CHUNK = 8192 }; /* elements whose gradient is cleared while it is still in cache */

/* Chunks of the arena: each one's overlap with every segment. Parameters that no segment holds stay. */
static void update_range(const void *arg, int64_t begin, int64_t end)
{
    const update_job *job = arg;
    for (int64_t i = begin; i < end; i += CHUNK) {
        int64_t to = i + CHUNK < end ? i + CHUNK : end;
        for (int64_t k = 0; job->active && k < job->S; k++) {
            const hone_segment *g = &job->segment[k];
            run s = {.begin = g->begin > i ? g->begin : i, .end = g->begin + g->count < to ? g->begin + g->count : to};
            if (s.begin >= s.end) continue;
            s.lr = (float)(job->lr * (double)g->lr_scale);
            s.lr_over_bias1 = (float)(job->lr / job->bias1 * (double)g->lr_scale);
            s.decay = g->decay ? job->a->weight_decay : 0.0f;
            apply(job, s);
            /* this dialect stores in fp32: the copy is one */
            if (job->shadow)
                memcpy(job->shadow + s.begin, job->p + s.begin, (size_t)(s.end - s.begin) * sizeof *job->p);
        }
        if (job->a->zero_grad) memset(job->grad + i, 0, (size_t)(to - i) * sizeof *job->grad);
    }
}

/* torch.nn.utils.clip_grad_norm_: factor clip / (norm + 1e-6), never above 1. t counts from 1. */
static void update(hone_backend *b, const hone_launch *l, int adam)
{
    hone_step *step = l->in[3];
    const hone_update_attr *a = &l->node->attr.update;
    update_job job = {.p = l->in[0], .grad = l->in[1], .segment = l->in[2], .slot0 = l->in[4], .slot1 = l->in[5]};
    job.ema = l->in[6];
    job.shadow = l->in[7];
    job.S = (int64_t)(hone_tensor_bytes(l->in_desc[2]) / sizeof *job.segment);
    job.a = a;
    job.adam = adam;
    job.active = step->finite;
    job.first = step->updates == 0;
    double clip = a->clip_norm > 0 ? (double)a->clip_norm / (step->grad_norm + 1e-6) : 1;
    double t = (double)(step->updates + 1);
    job.clip = (float)((clip < 1 ? clip : 1) / (double)hone_step_loss_scale(step));
    job.ema_decay = hone_step_ema_decay(step, a->ema_decay);
    job.ema_share = (float)(1 - (double)job.ema_decay);
    job.lr = (double)step->lr;
    job.bias1 = adam ? 1 - pow((double)a->beta1, t) : 1;
    job.inverse_bias2 = adam ? (float)(1 / sqrt(1 - pow((double)a->beta2, t))) : 1;
    int64_t K = hone_tensor_count(l->in_desc[0]);
    hone_cpu_ranges(b, hone_cpu_team(b, 2 * K), K, 64, update_range, &job);
    hone_step_count(step, a->scale_interval);
}

void SIMD(cpu_sgd)(hone_backend *b, const hone_launch *l) { update(b, l, 0); }
void SIMD(cpu_adamw)(hone_backend *b, const hone_launch *l) { update(b, l, 1); }
