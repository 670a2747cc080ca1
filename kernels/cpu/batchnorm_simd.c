/* batchnorm_simd.c - batch normalisation forward: a statistics pass, then an affine pass (with the residual
 * and the ReLU of a fused row in it). Two reads and one write of the activation are all it moves.
 *
 * Statistics are sums of blocks of rows around a shift, the mean so far, joined by Chan, Golub & LeVeque's
 * update (1983) in double. With the shift at the mean so far the squares that cancel are never larger than
 * what the block adds to the variance, so a mean far above the deviation costs no digits, and one pass is
 * enough. A channel whose statistics are not finite leaves its running values as they were. */
#include <math.h>
#include <string.h>

#include "cpu/batchnorm.h"
#include "cpu/simd.h"

/* R is all axes but the last (samples and places). `work` holds the sums of each part, then the affine map. */
typedef struct forward_job {
    const float *x, *r; /* (R, C); r NULL without a residual */
    float *y;           /* (R, C) */
    uint8_t *open;      /* bits of y > 0 where a join is asked for them, or NULL */
    int64_t R, C;
    void *work;
    int parts;
    norm_tail tail;
    norm_affine affine;
} forward_job;

enum { FEW = 4 }; /* rows met at once, so that s and q are loaded and stored less often */

/* shift, s, q (C). Channels in lanes, rows inside: no sum crosses lanes. */
SIMD_INLINE void sum_few(const float *x, int rows, int64_t C, const float *shift, float *s, float *q)
{
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        float center = shift[c], sum = 0, squares = 0;
        for (int k = 0; k < rows; k++) {
            float d = x[k * C + c] - center;
            sum += d;
            squares += d * d;
        }
        s[c] += sum;
        q[c] += squares;
    }
}

/* s[c] = sum (x - shift), q[c] = sum (x - shift)^2 over `rows` rows. */
static void block_sums(const float *x, int64_t rows, int64_t C, const float *shift, float *s, float *q)
{
    memset(s, 0, (size_t)C * sizeof *s);
    memset(q, 0, (size_t)C * sizeof *q);
    int64_t i = 0;
    for (; i + FEW <= rows; i += FEW) sum_few(x + i * C, FEW, C, shift, s, q);
    for (; i < rows; i++) sum_few(x + i * C, 1, C, shift, s, q);
}

/* Joins a block of n values with sums s, q around `shift` to `count` values with mean and m2. */
static void join_block(norm_sums z, int64_t C, double count, double n)
{
    double share = n / (count + n), inverse = 1 / n;
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        double offset = (double)z.s[c] * inverse, delta = (double)z.shift[c] + offset - z.first[c];
        z.second[c] += (double)z.q[c] - (double)z.s[c] * offset + delta * delta * count * share;
        z.first[c] += delta * share;
        z.shift[c] = (float)z.first[c];
    }
}

/* Rows begin..end, block by block. The mean of the first block, as a first shift, needs no digits. */
static void statistics_part(const void *arg, int part)
{
    const forward_job *job = arg;
    int64_t C = job->C, begin, end;
    norm_sums z = hone_cpu_norm_sums(job->work, C, part);
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    memset(z.first, 0, (size_t)C * sizeof *z.first);
    memset(z.second, 0, (size_t)C * sizeof *z.second);
    memset(z.shift, 0, (size_t)C * sizeof *z.shift);
    if (begin < end) { /* the first shift: the mean of the first block, by a pass of its own */
        int64_t rows = end - begin < NORM_BLOCK ? end - begin : NORM_BLOCK;
        block_sums(job->x + begin * C, rows, C, z.shift, z.s, z.q);
        for (int64_t c = 0; c < C; c++) z.shift[c] = z.s[c] / (float)rows;
    }
    for (int64_t i = begin; i < end; i += NORM_BLOCK) {
        int64_t rows = end - i < NORM_BLOCK ? end - i : NORM_BLOCK;
        block_sums(job->x + i * C, rows, C, z.shift, z.s, z.q);
        join_block(z, C, (double)(i - begin), (double)rows);
    }
}

/* Joins the parts' statistics into those of part 0. */
static void join_parts(const forward_job *job)
{
    norm_sums all = hone_cpu_norm_sums(job->work, job->C, 0);
    int64_t begin, count;
    hone_cpu_cut(job->R, 1, 0, job->parts, &begin, &count);
    for (int part = 1; part < job->parts; part++) {
        norm_sums z = hone_cpu_norm_sums(job->work, job->C, part);
        int64_t end;
        hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
        double n = (double)(end - begin), share = end > begin ? n / ((double)count + n) : 0;
        for (int64_t c = 0; c < job->C; c++) {
            double delta = z.first[c] - all.first[c];
            all.second[c] += z.second[c] + delta * delta * (double)count * share;
            all.first[c] += delta * share;
        }
        count += end - begin;
    }
}

/* The mean rounds to float, but x - mean then has its digits: the rest of the mean goes into beta. */
static void set_affine(norm_affine k, int64_t c, double mean, double scale, double beta)
{
    float high = (float)mean;
    double rest = isfinite(mean) ? mean - (double)high : 0;
    k.a[c] = high;
    k.b[c] = (float)scale;
    k.c[c] = (float)(beta - rest * scale);
}

/* torch.nn.BatchNorm2d: momentum is the share of the new value, the running variance is the unbiased one. */
static void update_running(const hone_launch *l, int64_t R, int64_t c, double mean, double var)
{
    float *running_mean = l->in[3], *running_var = l->in[4]; /* (C), or NULL */
    double m = (double)l->node->attr.norm.momentum;
    if (!isfinite(mean) || !isfinite(var)) return;
    double unbiased = R > 1 ? var * (double)R / (double)(R - 1) : var;
    if (running_mean) running_mean[c] = (float)((1 - m) * (double)running_mean[c] + m * mean);
    if (running_var) running_var[c] = (float)((1 - m) * (double)running_var[c] + m * unbiased);
}

/* Outputs and running values of every channel, and the affine map of pass two. */
static void finish_statistics(const hone_launch *l, const forward_job *job)
{
    const float *gamma = l->in[1], *beta = l->in[2];
    float *mean_out = l->out[1], *rstd_out = l->out[2];
    norm_sums all = hone_cpu_norm_sums(job->work, job->C, 0);
    for (int64_t c = 0; c < job->C; c++) {
        double mean = all.first[c], var = all.second[c] / (double)job->R;
        if (var < 0) var = 0; /* rounding of a constant channel; NaN stays */
        double rstd = 1 / sqrt(var + (double)l->node->attr.norm.eps);
        if (mean_out) mean_out[c] = (float)mean;
        if (rstd_out) rstd_out[c] = (float)rstd;
        update_running(l, job->R, c, mean, var);
        set_affine(job->affine, c, mean, rstd * (double)gamma[c], (double)beta[c]);
    }
}

/* `tail` is a constant where this is inlined: loops without tests in them. */
SIMD_INLINE void affine_rows(const forward_job *job, int64_t begin, int64_t end, norm_tail tail)
{
    int64_t C = job->C;
    const float *a = job->affine.a, *b = job->affine.b, *shift = job->affine.c;
    for (int64_t i = begin; i < end; i++) {
        const float *x = job->x + i * C, *r = tail == NORM_ADD_RELU ? job->r + i * C : x;
        float *y = job->y + i * C;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            float v = (x[c] - a[c]) * b[c] + shift[c];
            if (tail == NORM_ADD_RELU) v = v + r[c];
            if (tail != NORM_PLAIN) v = v < 0 ? 0 : v; /* NaN passes */
            if (tail == NORM_RELU6) v = v > 6 ? 6 : v;
            y[c] = v;
        }
    }
}

/* The same cut of rows as in the statistics, so a core finds its own rows in its cache. */
static void affine_part(const void *arg, int part)
{
    const forward_job *job = arg;
    int64_t begin, end;
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    /* backwards by blocks: the rows that the first pass read last are still in cache */
    for (int64_t i = end; i > begin;) {
        int64_t from = i - NORM_BLOCK > begin ? i - NORM_BLOCK : begin;
        if (job->tail == NORM_PLAIN) affine_rows(job, from, i, NORM_PLAIN);
        if (job->tail == NORM_RELU) affine_rows(job, from, i, NORM_RELU);
        if (job->tail == NORM_RELU6) affine_rows(job, from, i, NORM_RELU6);
        if (job->tail == NORM_ADD_RELU) affine_rows(job, from, i, NORM_ADD_RELU);
        i = from;
    }
}

/* open (R, (C + 7) / 8) of the part's rows: a bit a channel, y > 0. Read back from the cache that it was written to. */
static void bits_part(const void *arg, int part)
{
    const forward_job *job = arg;
    int64_t begin, end, C = job->C, bytes = (C + 7) / 8;
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < bytes; k++) {
            const float *y = job->y + i * C + 8 * k;
            unsigned bits = 0;
            for (int j = 0; j < 8 && 8 * k + j < C; j++) bits |= (unsigned)(y[j] > 0) << j;
            job->open[i * bytes + k] = (uint8_t)bits;
        }
}

/* in[5] is the residual of the fused row; it is NULL in the others. */
static forward_job describe(hone_backend *b, const hone_launch *l, norm_tail tail)
{
    forward_job job = {
        .x = l->in[0], .r = tail == NORM_ADD_RELU ? l->in[5] : NULL, .y = l->out[0], .work = l->work, .tail = tail};
    job.R = hone_cpu_rows(l->in_desc[0]);
    job.C = hone_cpu_last(l->in_desc[0]);
    job.parts = hone_cpu_norm_team(b, job.R, job.C);
    job.affine = hone_cpu_norm_affine(l->work, job.C, job.parts);
    return job;
}

/* Two parallel passes with the channels' arithmetic between them on one thread: C is small beside R C. */
static void forward(hone_backend *b, const hone_launch *l, norm_tail tail)
{
    forward_job job = describe(b, l, tail);
    job.open = tail == NORM_ADD_RELU ? l->out[3] : NULL;
    hone_cpu_each_part(b, job.parts, statistics_part, &job);
    join_parts(&job);
    finish_statistics(l, &job);
    hone_cpu_each_part(b, job.parts, affine_part, &job);
    if (job.open) hone_cpu_each_part(b, job.parts, bits_part, &job);
}

/* Statistics are given, so only the affine pass runs. */
static void infer(hone_backend *b, const hone_launch *l, norm_tail tail)
{
    const float *gamma = l->in[1], *beta = l->in[2], *mean = l->in[3], *var = l->in[4]; /* (C) */
    forward_job job = describe(b, l, tail);
    for (int64_t c = 0; c < job.C; c++) {
        double rstd = 1 / sqrt((double)var[c] + (double)l->node->attr.norm.eps);
        set_affine(job.affine, c, (double)mean[c], rstd * (double)gamma[c], (double)beta[c]);
    }
    hone_cpu_each_part(b, job.parts, affine_part, &job);
}

void SIMD(cpu_batchnorm)(hone_backend *b, const hone_launch *l) { forward(b, l, NORM_PLAIN); }
void SIMD(cpu_batchnorm_relu)(hone_backend *b, const hone_launch *l) { forward(b, l, NORM_RELU); }
void SIMD(cpu_batchnorm_add_relu)(hone_backend *b, const hone_launch *l) { forward(b, l, NORM_ADD_RELU); }
void SIMD(cpu_batchnorm_infer)(hone_backend *b, const hone_launch *l) { infer(b, l, NORM_PLAIN); }
void SIMD(cpu_batchnorm_infer_relu)(hone_backend *b, const hone_launch *l) { infer(b, l, NORM_RELU); }
void SIMD(cpu_batchnorm_infer_add_relu)(hone_backend *b, const hone_launch *l) { infer(b, l, NORM_ADD_RELU); }
void SIMD(cpu_batchnorm_relu6)(hone_backend *b, const hone_launch *l) { forward(b, l, NORM_RELU6); }
void SIMD(cpu_batchnorm_infer_relu6)(hone_backend *b, const hone_launch *l) { infer(b, l, NORM_RELU6); }
