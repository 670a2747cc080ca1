/* faults.c - broken kernels, each with one mistake that people make, and the check that must catch it.
 *
 * A fault is a row put over a sound table; its launch calls the sound kernel and spoils the result, or
 * gives it a spoilt node. The sound table and a counter (for non-determinism) are reached through
 * backend->self. If one goes unnoticed the checker is worthless, and the test says which. */
#include "cases/cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct saboteur { /* backend->self of a broken backend */
    const hone_backend *sound;
    int64_t launches;
} saboteur;

/* The kernel as it should be. */
static void sound(hone_backend *b, const hone_launch *l)
{
    saboteur *s = b->self;
    s->launches++;
    s->sound->kernel[l->node->op].launch(b, l);
}

/* The sound kernel on a node with other attributes. */
static void sound_with(hone_backend *b, const hone_launch *l, hone_node *changed)
{
    hone_launch other = *l;
    other.node = changed;
    sound(b, &other);
}

/* Output k as floats. */
static float *out_of(const hone_launch *l, int k) { return l->out[k]; }
/* Elements of output k. */
static int64_t count_out(const hone_launch *l, int k) { return hone_tensor_count(l->out_desc[k]); }

/* Multiplies output k. */
static void scale_out(const hone_launch *l, int k, float factor)
{
    for (int64_t i = 0; i < count_out(l, k); i++) out_of(l, k)[i] *= factor;
}

/* --- mistakes of arithmetic ------------------------------------------------------------------------- */
static void mask_ignored(hone_backend *b, const hone_launch *l)
{
    (void)b;
    memcpy(l->out[0], l->in[1], hone_tensor_bytes(l->out_desc[0]));
}

static void mean_forgotten(hone_backend *b, const hone_launch *l) /* 1/N of the loss gradient is missing */
{
    sound(b, l);
    scale_out(l, 0, (float)l->in_desc[0]->dim[0]);
}

/* The image moves one place to the right. */
static void pad_off(hone_backend *b, const hone_launch *l)
{
    hone_node n = *l->node;
    n.attr.window.pad[1]--;
    sound_with(b, l, &n);
}

/* The gradient would go to the neighbour. */
static void place_off_by_one(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    uint8_t *at = l->out[1];
    if (at) at[0]++;
}

/* i + 1 < n instead of i < n. */
static void last_row_missing(hone_backend *b, const hone_launch *l)
{
    float *y = l->out[0], *x = l->in[0];
    (void)b;
    for (int64_t i = 0; i + 1 < count_out(l, 0); i++) y[i] = x[i] > 0 ? x[i] : 0;
}

static void rounding_only(hone_backend *b, const hone_launch *l) /* a reduced-precision product */
{
    sound(b, l);
    scale_out(l, 0, 1.0000002f);
}

static void low_precision(hone_backend *b, const hone_launch *l) /* an approximation of tanh that is too coarse */
{
    sound(b, l);
    scale_out(l, 0, 1.0001f);
}

/* fmax prefers the number to the NaN. */
static void nan_hidden(hone_backend *b, const hone_launch *l)
{
    float *y = l->out[0], *x = l->in[0];
    (void)b;
    for (int64_t i = 0; i < count_out(l, 0); i++) y[i] = fmaxf(x[i], 0);
}

/* n instead of n - 1. */
static void biased_variance(hone_backend *b, const hone_launch *l)
{
    const float *before = l->in[4];
    float kept[64];
    int64_t C = hone_tensor_count(l->in_desc[4]), R = hone_tensor_count(l->in_desc[0]) / C;
    float m = l->node->attr.norm.momentum;
    memcpy(kept, before, (size_t)C * sizeof *kept);
    sound(b, l);
    for (int64_t c = 0; c < C && R > 1; c++) {
        float *v = (float *)l->in[4] + c, unbiased = (*v - (1 - m) * kept[c]) / m;
        *v = (1 - m) * kept[c] + m * unbiased * (float)(R - 1) / (float)R;
    }
}

/* The same mask for every seed. */
static void seed_ignored(hone_backend *b, const hone_launch *l)
{
    hone_launch other = *l;
    hone_step step = *(const hone_step *)l->in[1];
    step.seed = 0;
    other.in[1] = &step;
    sound(b, &other);
}

/* The momentum buffer starts from 0 times its content instead of from the gradient. */
static void first_step_ignored(hone_backend *b, const hone_launch *l)
{
    hone_step *step = l->in[3];
    bool first = step->updates == 0;
    step->updates += first;
    sound(b, l);
    step->updates -= first;
}

/* A NaN enters the parameters. */
static void bad_step_taken(hone_backend *b, const hone_launch *l)
{
    hone_step *step = l->in[3], kept = *step;
    step->finite = 1;
    sound(b, l);
    *step = kept;
    if (kept.finite) step->updates++, step->bad_in_row = 0;
    else step->bad_in_row++, step->bad_total++;
}

static void clip_without_eps(hone_backend *b, const hone_launch *l) /* scales small gradients up, too */
{
    hone_node n = *l->node;
    hone_step *step = l->in[3];
    double kept = step->grad_norm;
    if (n.attr.update.clip_norm > 0) step->grad_norm = (double)n.attr.update.clip_norm;
    sound_with(b, l, &n);
    step->grad_norm = kept;
}

/* One cast too few: gradients of 1e20 seem to overflow, those of 1e-25 to be nothing. */
static void squares_in_float(hone_backend *b, const hone_launch *l)
{
    const float *grad = l->in[0];
    hone_step *step = l->in[1];
    double sum = 0;
    (void)b;
    for (int64_t i = 0; i < hone_tensor_count(l->in_desc[0]); i++) sum += (double)(grad[i] * grad[i]);
    step->grad_norm = sqrt(sum);
    step->finite = isfinite(sum) ? 1 : 0;
}

/* The test that people write first, x == x. */
static void infinity_taken_for_finite(hone_backend *b, const hone_launch *l)
{
    hone_step *step = l->in[1];
    sound(b, l);
    step->finite = step->grad_norm == step->grad_norm;
}

/* A verdict that is never taken back. */
static void stays_bad(hone_backend *b, const hone_launch *l)
{
    hone_step *step = l->in[1];
    int32_t before = step->finite;
    sound(b, l);
    if (!before) step->finite = 0;
}

/* The average follows also the statistics of a step that is skipped. */
static void bad_step_averaged(hone_backend *b, const hone_launch *l)
{
    hone_launch other = *l;
    hone_step step = *(const hone_step *)l->in[2];
    step.finite = 1;
    other.in[2] = &step;
    sound(b, &other);
}

/* Accuracy over 100 %. */
static void hits_counted_twice(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    ((hone_step *)l->in[4])->correct++;
}

/* --- mistakes of memory -------------------------------------------------------------------------------- */
static void writes_past_end(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    out_of(l, 0)[count_out(l, 0)] = 0;
}

/* An index of -1. */
static void writes_before_start(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    out_of(l, 0)[-1] = 0;
}

/* Scratch that is larger than prepare said. */
static void work_overrun(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    memset((char *)l->work + l->node->work_bytes, 0, 8);
}

/* Weights used as scratch. */
static void clobbers_input(hone_backend *b, const hone_launch *l)
{
    sound(b, l);
    ((float *)l->in[1])[0] += 1;
}

/* Works by chance where memory is zero. */
static void adds_instead_of_writing(hone_backend *b, const hone_launch *l)
{
    hone_node n = *l->node;
    n.accumulate = 1;
    sound_with(b, l, &n);
}

/* Only the last micro-batch counts. */
static void writes_instead_of_adding(hone_backend *b, const hone_launch *l)
{
    hone_node n = *l->node;
    n.accumulate = 0;
    sound_with(b, l, &n);
}

/* Harmless unless both are one buffer. */
static void unsafe_in_place(hone_backend *b, const hone_launch *l)
{
    memset(l->out[0], 0, hone_tensor_bytes(l->out_desc[0]));
    sound(b, l);
}

/* An unordered reduction. */
static void other_bits_each_time(hone_backend *b, const hone_launch *l)
{
    saboteur *s = b->self;
    sound(b, l);
    if (s->launches & 1) out_of(l, 0)[0] = nextafterf(out_of(l, 0)[0], INFINITY);
}

static void needs_optional_output(hone_backend *b, const hone_launch *l) /* wrong db-less path */
{
    sound(b, l);
    if (!l->out[1]) scale_out(l, 0, 0);
}

static const struct fault {
    const char *name;
    hone_op op;
    void (*launch)(hone_backend *b, const hone_launch *l);
    const char *says; /* must stand in the complaint */
} fault_list[] = {
    {"the mask of relu_dx is ignored", HONE_OP_relu_dx, mask_ignored, "element"},
    {"the loss gradient lacks 1/N", HONE_OP_softmax_xent_dx, mean_forgotten, "normwise"},
    {"conv pads one less on the left", HONE_OP_conv, pad_off, "output 0"},
    {"conv_dx pads one less on the left", HONE_OP_conv_dx, pad_off, "output 0"},
    {"conv_dw pads one less on the left", HONE_OP_conv_dw, pad_off, "output 0"},
    {"the place of a maximum is off by one", HONE_OP_maxpool, place_off_by_one, "output 1"},
    {"the last element is not written", HONE_OP_relu, last_row_missing, "nan"},
    {"a product loses its last bit", HONE_OP_linear, rounding_only, "element"},
    {"gelu is approximated to 1e-4", HONE_OP_gelu, low_precision, "normwise"},
    {"relu turns NaN into 0", HONE_OP_relu, nan_hidden, "not nan"},
    {"the running variance is biased", HONE_OP_batchnorm, biased_variance, "input 4"},
    {"dropout ignores the seed", HONE_OP_dropout, seed_ignored, "output 0"},
    {"SGD ignores that this is the first step", HONE_OP_sgd, first_step_ignored, "input"},
    {"SGD takes a step that is not finite", HONE_OP_sgd, bad_step_taken, "input 0"},
    {"clipping is left out", HONE_OP_sgd, clip_without_eps, "input 0"},
    {"the norm is summed in float", HONE_OP_grad_norm, squares_in_float, "step->"},
    {"an infinite norm counts as finite", HONE_OP_grad_norm, infinity_taken_for_finite, "finite"},
    {"one bad step makes all later ones bad", HONE_OP_grad_norm, stays_bad, "finite"},
    {"statistics of a bad step are averaged", HONE_OP_average, bad_step_averaged, "input 0"},
    {"the loss counts one hit too many", HONE_OP_softmax_xent, hits_counted_twice, "correct"},
    {"a write past the end", HONE_OP_mul, writes_past_end, "past the end of output 0"},
    {"a write before the start", HONE_OP_softmax, writes_before_start, "before the start of output 0"},
    {"a write past the scratch", HONE_OP_attention_dx, work_overrun, "past the end of scratch"},
    {"an input is changed", HONE_OP_linear, clobbers_input, "constant input 1"},
    {"dw is added to where it must be written", HONE_OP_linear_dw, adds_instead_of_writing, "nan"},
    {"dw is written where it must be added to", HONE_OP_linear_dw, writes_instead_of_adding, "accumulating"},
    {"the output is cleared before the input is read", HONE_OP_relu, unsafe_in_place, "in place"},
    {"two runs differ in one bit", HONE_OP_gelu, other_bits_each_time, "run twice"},
    {"without db the weights' gradient is wrong", HONE_OP_conv_dw, needs_optional_output, "without output 1"},
};
enum { FAULT_COUNT = sizeof fault_list / sizeof *fault_list };

/* The complaint about the first case that fails on `broken`; "" if all pass. Backward rows are found
 * through the cases of their forward op. */
static bool noticed(hone_backend *broken, hone_backend *ref64, hone_op op, complaint *why)
{
    for (int k = 0; k < case_count; k++) {
        bool belongs = case_list[k].op == op;
        for (int i = 0; i < backward_count; i++)
            belongs = belongs || (backward_list[i].forward == case_list[k].op && backward_list[i].backward == op);
        if (belongs && !check_case(broken, ref64, &case_list[k], HONE_F32, why)) return true;
    }
    return false;
}

/* --- faults of gradients, planted in the double table and found by differences ---------------------------- */
static void slope_of_relu(hone_backend *b, const hone_launch *l) /* gelu_dx as if gelu were relu */
{
    const double *x = l->in[0], *dy = l->in[1];
    double *dx = l->out[0];
    (void)b;
    for (int64_t i = 0; i < hone_tensor_count(l->out_desc[0]); i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

static void last_bias_wrong(hone_backend *b, const hone_launch *l) /* one element, a part in 10^5 */
{
    sound(b, l);
    double *db = l->out[1];
    if (db) db[hone_tensor_count(l->out_desc[1]) - 1] *= 1.00001;
}

static void mean_term_missing(hone_backend *b, const hone_launch *l) /* dx of layernorm without avg(g) */
{
    const double *rstd = l->in[3], *dy = l->in[4], *gamma = l->in[1];
    sound(b, l);
    int64_t C = l->in_desc[1]->dim[0], R = hone_tensor_count(l->in_desc[0]) / C;
    double *dx = l->out[0];
    for (int64_t r = 0; r < R; r++) {
        double mean = 0;
        for (int64_t c = 0; c < C; c++) mean += dy[r * C + c] * gamma[c] / (double)C;
        for (int64_t c = 0; c < C; c++) dx[r * C + c] += rstd[r] * mean;
    }
}

static const struct fault gradient_fault_list[] = {
    {"gelu_dx is relu's", HONE_OP_gelu_dx, slope_of_relu, "gelu_dx"},
    {"one element of a bias gradient is off by 1e-5", HONE_OP_linear_dw, last_bias_wrong, "linear_dw"},
    {"layernorm_dx lacks the mean term", HONE_OP_layernorm_dx, mean_term_missing, "layernorm_dx"},
};
enum { GRADIENT_FAULT_COUNT = sizeof gradient_fault_list / sizeof *gradient_fault_list };

/* True where some difference disagrees with the broken backward row. */
static bool gradient_noticed(hone_backend *broken, hone_op op, complaint *why)
{
    int checked = 0;
    for (int k = 0; k < case_count; k++)
        for (int i = 0; i < backward_count; i++)
            if (backward_list[i].forward == case_list[k].op && backward_list[i].backward == op &&
                !check_gradient(broken, &case_list[k], &checked, why))
                return true;
    return false;
}

/* --- a fault in the definition itself: only PyTorch's numbers can tell ------------------------------------- */
static void nesterov_ignored(hone_backend *b, const hone_launch *l)
{
    hone_node n = *l->node;
    n.attr.update.nesterov = 0;
    sound_with(b, l, &n);
}

static const struct fault golden_fault = {"the reference ignores Nesterov", HONE_OP_sgd, nesterov_ignored, "sgd"};

/* True where some projection differs from PyTorch's. */
static bool golden_noticed(hone_backend *broken, complaint *why)
{
    int compared = 0;
    return !check_golden(broken, HONE_TESTS_DIR "/golden/ops.txt", &compared, why);
}

typedef enum checker { BY_REFERENCE, BY_DIFFERENCES, BY_GOLDEN } checker;

/* One fault over `sound_backend`; true if it was noticed and named. */
static bool plant(const hone_backend *sound_backend, hone_backend *ref64, const struct fault *f, checker by)
{
    hone_backend broken = *sound_backend;
    saboteur s = {.sound = sound_backend};
    complaint why = {""};
    broken.self = &s;
    broken.kernel[f->op].launch = f->launch;
    bool found = by == BY_GOLDEN        ? golden_noticed(&broken, &why)
                 : by == BY_DIFFERENCES ? gradient_noticed(&broken, f->op, &why)
                                        : noticed(&broken, ref64, f->op, &why);
    if (found && strstr(why.text, f->says)) return true;
    printf("planted fault not caught: %s (expected \"%s\", heard \"%s\")\n", f->name, f->says, why.text);
    return false;
}

int plant_faults(int *planted)
{
    hone_backend *ref, *ref64;
    int missed = 0;
    if (hone_backend_open("ref", 1, &ref) != HONE_OK || hone_backend_open("ref64", 1, &ref64) != HONE_OK) return -1;
    for (int k = 0; k < FAULT_COUNT; k++) missed += !plant(ref, ref64, &fault_list[k], BY_REFERENCE);
    for (int k = 0; k < GRADIENT_FAULT_COUNT; k++)
        missed += !plant(ref64, ref64, &gradient_fault_list[k], BY_DIFFERENCES);
    missed += !plant(ref64, ref64, &golden_fault, BY_GOLDEN);
    *planted = FAULT_COUNT + GRADIENT_FAULT_COUNT + 1;
    hone_backend_close(ref);
    hone_backend_close(ref64);
    return missed;
}
