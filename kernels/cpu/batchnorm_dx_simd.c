/* batchnorm_dx_simd.c - gradients of batch normalisation: a pass of sums, then a pass that writes dx.
 *
 * With d = x - mean and g = dy (+ dy2) where the activation behind lets it through (a choice, not a product: 0 where it
 * is off):
 *   dbeta = sum g, dgamma = rstd sum g d,  dx = gamma rstd (g - dbeta/R - d rstd dgamma/R).
 * An activation straight behind the norm is told by x: the norm is made again in registers, which costs less than
 * reading its output twice. Behind a join the output tells; there g is the residual's gradient dr, written in the first
 * pass, and the second reads that one tensor. Sums are floats within a block of rows and doubles above; parts join in
 * order. dx may lie over dy: an element is read before it is written. */
#include <string.h>

#include "cpu/batchnorm.h"
#include "cpu/simd.h"

/* What lets a gradient through. */
typedef enum g_gate {
    GATE_NONE,  /* nothing stops it                              */
    GATE_RELU,  /* where the norm, made again from x, is above 0 */
    GATE_RELU6, /* and below 6                                   */
    GATE_Y,     /* where y, the output of a join, is above 0     */
    GATE_BITS   /* where the join has left a bit                 */
} g_gate;

typedef struct backward_job {
    const float *x, *y, *dy, *dy2; /* (R, C); y: GATE_Y alone; dy2 joins dy, or NULL */
    const uint8_t *open;           /* (R, (C + 7) / 8); GATE_BITS alone */
    float *dx, *dr;                /* (R, C); each may be NULL */
    const float *beta, *mean;      /* (C); beta where the norm is made again, else NULL */
    g_gate gate;
    int64_t R, C;
    void *work;
    int parts;
    norm_affine affine;
} backward_job;

enum { FEW = 4 }; /* rows met at once, so that s and q are loaded and stored less often */

/* How the g of a loop is made: constants, so that each combination that occurs is a loop without tests in it. */
typedef struct g_kind {
    g_gate gate;
    bool two, store; /* dy2 joins dy; g is written as dr */
} g_kind;

/* X(gate, two, store): the loops of the second pass, which stores no g, and those of the first. */
#define DX_KINDS(X)                                                                                                    \
    X(GATE_NONE, 0, 0)                                                                                                 \
    X(GATE_RELU, 0, 0)                                                                                                 \
    X(GATE_RELU, 1, 0)                                                                                                 \
    X(GATE_RELU6, 0, 0)                                                                                                \
    X(GATE_Y, 0, 0)                                                                                                    \
    X(GATE_Y, 1, 0)                                                                                                    \
    X(GATE_BITS, 0, 0)                                                                                                 \
    X(GATE_BITS, 1, 0)
#define KINDS(X)                                                                                                       \
    DX_KINDS(X)                                                                                                        \
    X(GATE_Y, 0, 1)                                                                                                    \
    X(GATE_Y, 1, 1)                                                                                                    \
    X(GATE_BITS, 0, 1)                                                                                                 \
    X(GATE_BITS, 1, 1)

/* One row of what a gradient comes through; arrays that a kind does not read stand for others. */
typedef struct g_row {
    const float *x, *y, *dy, *dy2, *mean, *slope, *beta; /* (C) */
    const uint8_t *open;                                 /* ((C + 7) / 8) */
} g_row;

SIMD_INLINE g_row row_of(const backward_job *job, const float *dy, int64_t i, g_kind k)
{
    const bool remade = k.gate == GATE_RELU || k.gate == GATE_RELU6;
    g_row r = {.x = job->x + i * job->C, .dy = dy + i * job->C, .mean = job->mean};
    r.y = k.gate == GATE_Y ? job->y + i * job->C : r.x;
    r.open = k.gate == GATE_BITS ? job->open + i * ((job->C + 7) / 8) : NULL;
    r.dy2 = k.two ? job->dy2 + i * job->C : r.dy;
    r.slope = remade ? job->affine.slope : job->mean;
    r.beta = remade ? job->beta : job->mean;
    return r;
}

/* g of element c of the k-th row after r, where d is x - mean. */
SIMD_INLINE float gradient_at(g_kind kind, g_row r, int64_t k, int64_t c, int64_t C, float d)
{
    float g = r.dy[k * C + c];
    if (kind.two) g = g + r.dy2[k * C + c];
    if (kind.gate == GATE_Y) return r.y[k * C + c] > 0 ? g : 0.0f;
    if (kind.gate == GATE_BITS) return r.open[k * ((C + 7) / 8) + c / 8] >> (c % 8) & 1 ? g : 0.0f;
    float v = d * r.slope[c] + r.beta[c];
    if (kind.gate == GATE_RELU) return v > 0 ? g : 0.0f;
    if (kind.gate == GATE_RELU6) return (v > 0) & (v < 6) ? g : 0.0f;
    return g;
}

/* s += g, q += g (x - mean) over `rows` rows from i; writes g where it is stored. */
SIMD_INLINE void sum_few(const backward_job *job, int64_t i, int rows, norm_sums z, g_kind kind)
{
    int64_t C = job->C;
    const g_row r = row_of(job, job->dy, i, kind);
    float *dr = kind.store ? job->dr + i * C : z.s, *s = z.s, *q = z.q;
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        float m = r.mean[c], sum = 0, product = 0;
        for (int k = 0; k < rows; k++) {
            float d = r.x[k * C + c] - m, g = gradient_at(kind, r, k, c, C, d);
            if (kind.store) dr[k * C + c] = g;
            sum += g;
            product += g * d;
        }
        s[c] += sum;
        q[c] += product;
    }
}

/* FEW rows at a time; the rest one by one. */
SIMD_INLINE void sum_rows(const backward_job *job, int64_t begin, int64_t end, norm_sums z, g_kind kind)
{
    int64_t i = begin;
    for (; i + FEW <= end; i += FEW) sum_few(job, i, FEW, z, kind);
    for (; i < end; i++) sum_few(job, i, 1, z, kind);
}

/* Picks the loop. */
static void sum_block(const backward_job *job, int64_t begin, int64_t end, norm_sums z)
{
    const bool two = job->dy2 != NULL, store = job->dr != NULL;
#define PICK(g, t, s)                                                                                                  \
    if (job->gate == g && two == t && store == s) sum_rows(job, begin, end, z, (g_kind){g, t, s});
    KINDS(PICK)
#undef PICK
}

/* Floats within NORM_BLOCK rows, doubles above: the error does not grow with the number of rows. */
static void sums_part(const void *arg, int part)
{
    const backward_job *job = arg;
    int64_t C = job->C, begin, end;
    norm_sums z = hone_cpu_norm_sums(job->work, C, part);
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    memset(z.first, 0, (size_t)C * sizeof *z.first);
    memset(z.second, 0, (size_t)C * sizeof *z.second);
    for (int64_t i = begin; i < end; i += NORM_BLOCK) {
        int64_t to = i + NORM_BLOCK < end ? i + NORM_BLOCK : end;
        memset(z.s, 0, (size_t)C * sizeof *z.s);
        memset(z.q, 0, (size_t)C * sizeof *z.q);
        sum_block(job, i, to, z);
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            z.first[c] += (double)z.s[c];
            z.second[c] += (double)z.q[c];
        }
    }
}

/* dw NULL: the parameter is frozen. */
static void put_gradient(const hone_launch *l, float *dw, int64_t c, double value)
{
    if (dw) dw[c] = (float)(l->node->accumulate ? (double)dw[c] + value : value);
}

/* Joins the parts, writes the parameters' gradients and the constants of pass two. */
static void finish_sums(const hone_launch *l, const backward_job *job)
{
    const float *gamma = l->in[1], *rstd = l->in[3]; /* (C) */
    for (int64_t c = 0; c < job->C; c++) {
        double sum = 0, product = 0, s = (double)rstd[c], scale = (double)gamma[c] * s, R = (double)job->R;
        for (int part = 0; part < job->parts; part++) {
            norm_sums z = hone_cpu_norm_sums(job->work, job->C, part);
            sum += z.first[c];
            product += z.second[c];
        }
        put_gradient(l, l->out[1], c, product * s);
        put_gradient(l, l->out[2], c, sum);
        job->affine.a[c] = (float)scale;
        job->affine.b[c] = (float)(-scale * s * s * product / R);
        job->affine.c[c] = (float)(-scale * sum / R);
    }
}

/* dx = a g + (b (x - mean) + c), one fused map a channel; `kind` is a constant where this is inlined. */
SIMD_INLINE void write_rows(const backward_job *job, const float *dy, int64_t begin, int64_t end, g_kind kind)
{
    int64_t C = job->C;
    const float *a = job->affine.a, *b = job->affine.b, *shift = job->affine.c;
    for (int64_t i = begin; i < end; i++) {
        const g_row r = row_of(job, dy, i, kind);
        float *dx = job->dx + i * C;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            float d = r.x[c] - r.mean[c], g = gradient_at(kind, r, 0, c, C, d);
            dx[c] = a[c] * g + (b[c] * d + shift[c]);
        }
    }
}

/* Picks the loop. Where dr was stored it is g already: one tensor is read instead of two or three. */
static void write_block(const backward_job *job, int64_t begin, int64_t end)
{
    const bool two = job->dy2 != NULL;
    if (job->dr) {
        write_rows(job, job->dr, begin, end, (g_kind){GATE_NONE, 0, 0});
        return;
    }
#define PICK(g, t, s)                                                                                                  \
    if (job->gate == g && two == t) write_rows(job, job->dy, begin, end, (g_kind){g, t, s});
    DX_KINDS(PICK)
#undef PICK
}

static void write_part(const void *arg, int part)
{
    const backward_job *job = arg;
    int64_t begin, end;
    hone_cpu_cut(job->R, 1, part, job->parts, &begin, &end);
    /* backwards by blocks: the rows that the first pass read last are still in cache */
    for (int64_t i = end; i > begin;) {
        int64_t from = i - NORM_BLOCK > begin ? i - NORM_BLOCK : begin;
        write_block(job, from, i);
        i = from;
    }
}

/* `job` comes with what its row is gated by (operands: ops.def). dx NULL: the input needs no gradient, and the second
 * pass is left out. */
static void backward(hone_backend *b, const hone_launch *l, backward_job job)
{
    const float *gamma = l->in[1], *rstd = l->in[3]; /* (C) */
    job.x = l->in[0];
    job.mean = l->in[2];
    job.dy = l->in[job.gate == GATE_NONE ? 4 : 5];
    job.dx = l->out[0];
    job.work = l->work;
    job.R = hone_cpu_rows(l->in_desc[0]);
    job.C = hone_cpu_last(l->in_desc[0]);
    job.parts = hone_cpu_norm_team(b, job.R, job.C);
    job.affine = hone_cpu_norm_affine(l->work, job.C, job.parts);
    for (int64_t c = 0; job.beta && c < job.C; c++) job.affine.slope[c] = (float)((double)rstd[c] * (double)gamma[c]);
    hone_cpu_each_part(b, job.parts, sums_part, &job);
    finish_sums(l, &job);
    if (job.dx) hone_cpu_each_part(b, job.parts, write_part, &job);
}

void SIMD(cpu_batchnorm_dx)(hone_backend *b, const hone_launch *l)
{
    backward(b, l, (backward_job){.gate = GATE_NONE});
}

void SIMD(cpu_batchnorm_relu_dx)(hone_backend *b, const hone_launch *l)
{
    backward(b, l, (backward_job){.gate = GATE_RELU, .beta = l->in[4], .dy2 = l->in[6]});
}

void SIMD(cpu_batchnorm_relu6_dx)(hone_backend *b, const hone_launch *l)
{
    backward(b, l, (backward_job){.gate = GATE_RELU6, .beta = l->in[4]});
}

void SIMD(cpu_batchnorm_add_relu_dx)(hone_backend *b, const hone_launch *l)
{
    backward_job job = {.y = l->in[4], .dy2 = l->in[6], .open = l->in[7], .dr = l->out[3]};
    job.gate = job.open ? GATE_BITS : GATE_Y;
    backward(b, l, job);
}
