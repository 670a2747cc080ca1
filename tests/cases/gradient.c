/* gradient.c - backward rows against central differences of the forward op, in double.
 *
 * L = sum(dy * y) of a forward row in double; its derivative in an element of an input, and along a random
 * direction through the whole input, by the five-point stencil (error h^4), must equal what the backward
 * row gives: normwise within 1e-6. Where a step crosses a kink (another maximum, another sign of the
 * output) the difference means nothing and the sample is left out; most must remain. */
#include "cases/cases.h"
#include "hone/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double STEP = 1e-5, TOLERANCE = 1e-6;
enum { SAMPLES = 10, STENCIL = 4 };
static const double stencil_at[STENCIL] = {-2, -1, 1, 2};
static const double stencil_weight[STENCIL] = {1.0 / 12, -8.0 / 12, 8.0 / 12, -1.0 / 12};

typedef struct probe {
    hone_backend *b;
    scene *s;
    hone_tid x;       /* input under test */
    const double *dx; /* (count of x): what the backward row says */
    double *x_at;     /* copy of x's values */
    run base;         /* forward run at x */
} probe;

/* Elements of a tensor. */
static int64_t count_of(const scene *s, hone_tid t) { return hone_tensor_count(&s->g->tensor[t]); }

/* Which pieces of a piecewise function were used: place of the maxima, and on which side of the flat
 * parts each output lies. */
static bool same_pieces(const probe *p, const run *r)
{
    hone_op op = p->s->row->op;
    bool six = op == HONE_OP_batchnorm_relu6, gates = six || op == HONE_OP_batchnorm_relu ||
                                                      op == HONE_OP_batchnorm_add_relu ||
                                                      op == HONE_OP_conv_act_maxpool;
    if (r->out[1] && r->out_dtype[1] != HONE_F64 && memcmp(r->out[1], p->base.out[1], r->out_bytes[1]) != 0)
        return false;
    const double *a = r->out[0], *b = p->base.out[0];
    for (size_t i = 0; gates && i < r->out_bytes[0] / sizeof *a; i++)
        if ((a[i] > 0) != (b[i] > 0) || (six && (a[i] < 6) != (b[i] < 6))) return false;
    return true;
}

/* sum(dy * y), or NAN where the step crossed a kink or the kernel failed. */
static double loss(const probe *p)
{
    run r;
    double sum = 0;
    run_node(p->b, p->s, p->s->forward, (run_how){0}, &r);
    if (r.fault[0] || !same_pieces(p, &r)) sum = NAN;
    for (int64_t i = 0; i < count_of(p->s, p->s->dy) && sum == sum; i++)
        sum += p->s->value[p->s->dy][i] * ((const double *)r.out[0])[i];
    run_free(&r);
    return sum;
}

/* Derivative of L along `direction` (NULL: the unit vector of element e). */
static double difference(probe *p, int64_t e, const double *direction)
{
    double sum = 0, *x = p->s->value[p->x];
    int64_t n = count_of(p->s, p->x);
    for (int k = 0; k < STENCIL && sum == sum; k++) {
        if (direction)
            for (int64_t i = 0; i < n; i++) x[i] = p->x_at[i] + stencil_at[k] * STEP * direction[i];
        else x[e] = p->x_at[e] + stencil_at[k] * STEP;
        sum += stencil_weight[k] * loss(p) / STEP;
    }
    memcpy(x, p->x_at, (size_t)n * sizeof *x);
    return sum;
}

typedef struct tally {
    double error, size;
    int used, skipped;
} tally;

/* Single elements: all of a small input, ten of a large one. */
static void sample_elements(probe *p, tally *t)
{
    int64_t n = count_of(p->s, p->x);
    for (int k = 0; k < SAMPLES && k < n; k++) {
        int64_t e = n <= SAMPLES ? k : (int64_t)(hone_philox(3, (uint32_t)p->x, (uint64_t)k, 0).v[0] % (uint64_t)n);
        double want = difference(p, e, NULL), d = p->dx[e] - want;
        if (isnan(want)) {
            t->skipped++;
            continue;
        }
        t->used++;
        t->error += d * d;
        t->size += want * want;
    }
}

/* One derivative that every element takes part in: a wrong one can't hide between the samples. */
static void sample_direction(probe *p, tally *t)
{
    int64_t n = count_of(p->s, p->x);
    double *v = malloc((size_t)n * sizeof *v), slope = 0;
    for (int64_t i = 0; i < n; i++) {
        v[i] = hone_philox(4, (uint32_t)p->x, (uint64_t)i, 0).v[0] & 1 ? 1 : -1;
        slope += v[i] * p->dx[i];
    }
    double want = difference(p, 0, v);
    free(v);
    if (isnan(want)) {
        t->skipped++;
        return;
    }
    t->used++;
    /* Measured against the gradient's own length: the sum over n elements may cancel. */
    double norm = 0;
    for (int64_t i = 0; i < n; i++) norm += p->dx[i] * p->dx[i];
    t->error += (slope - want) * (slope - want);
    t->size += norm;
}

/* Normwise over all samples of this input. */
static bool verdict(const probe *p, const char *op, const tally *t, complaint *why)
{
    char name[160];
    scene_name(p->s, name, sizeof name);
    if (t->used == 0 || t->skipped > t->used) {
        snprintf(why->text, sizeof why->text, "%s, case %s: %d of %d differences crossed a kink", op, name, t->skipped,
                 t->skipped + t->used);
        return false;
    }
    /* The absolute part is the rounding of L itself, about 1e-16 |L| / STEP. */
    if (sqrt(t->error) <= TOLERANCE * sqrt(t->size) + 1e-9 * sqrt((double)count_of(p->s, p->s->dy))) return true;
    snprintf(why->text, sizeof why->text, "%s, case %s: gradient off by %.2e of %.2e", op, name, sqrt(t->error),
             sqrt(t->size));
    return false;
}

/* `dx` (count of x) against differences of L in x. */
static bool check_input(hone_backend *b, scene *s, const char *op, hone_tid x, const double *dx, complaint *why)
{
    tally t = {0};
    size_t bytes = (size_t)count_of(s, x) * sizeof(double);
    probe p = {.b = b, .s = s, .x = x, .dx = dx, .x_at = malloc(bytes)};
    memcpy(p.x_at, s->value[x], bytes);
    run_node(b, s, s->forward, (run_how){0}, &p.base);
    sample_elements(&p, &t);
    sample_direction(&p, &t);
    run_free(&p.base);
    free(p.x_at);
    return verdict(&p, op, &t, why);
}

/* Output k of the backward node, less what accumulation started from. */
static bool check_outputs(hone_backend *b, scene *s, int back, bool accumulate, int *checked, complaint *why)
{
    const backward_row *rule = s->back[back].rule;
    const char *op = hone_op_name(rule->backward);
    run r;
    bool ok = true;
    run_node(b, s, s->back[back].node, (run_how){.accumulate = accumulate}, &r);
    if (r.fault[0]) snprintf(why->text, sizeof why->text, "%s: %s", op, r.fault);
    ok = !r.fault[0];
    for (int k = 0; ok && k < HONE_MAX_OUT && rule->gradient[0]; k++) {
        bool adds = accumulate && is_param_gradient(rule->backward, k);
        if (!r.out[k] || (accumulate && !adds)) continue;
        double *dx = r.out[k];
        hone_tid x = scene_operand(s, rule->gradient + 3 * k);
        if (x == HONE_NONE) continue; /* an input that this case leaves out */
        for (int64_t i = 0; adds && i < count_of(s, x); i++) dx[i] -= start_value(i);
        ok = check_input(b, s, op, x, dx, why);
        (*checked)++;
    }
    run_free(&r);
    return ok;
}

/* True where some output of the row is a parameter's gradient. */
static bool adds_up(const backward_row *rule)
{
    for (int k = 0; k < HONE_MAX_OUT; k++)
        if (is_param_gradient(rule->backward, k)) return true;
    return false;
}

bool check_gradient(hone_backend *ref64, const case_row *row, int *checked, complaint *why)
{
    scene s;
    char fault[256] = "";
    bool ok = true;
    scene_open(&s, row);
    scene_fill(&s, VALUES_REAL);
    run_store(ref64, &s, s.forward, false, fault, sizeof fault);
    for (int k = 0; ok && k < s.back_count; k++) {
        const backward_row *rule = s.back[k].rule;
        if (rule->backward != HONE_OP_reshape) {
            ok = check_outputs(ref64, &s, k, false, checked, why);
            if (ok && adds_up(rule)) ok = check_outputs(ref64, &s, k, true, checked, why);
        } else {
            const double *dx = s.value[scene_operand(&s, rule->operands)];
            ok = check_input(ref64, &s, hone_op_name(row->op), scene_operand(&s, rule->gradient), dx, why);
            (*checked)++;
        }
    }
    scene_close(&s);
    return ok;
}
