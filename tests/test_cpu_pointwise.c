/* test_cpu_pointwise.c - rows of the cpu dialect that are not plain linear or conv, where cases.def does
 * not reach: sizes that several threads share, errors of the vector functions in units of the last place,
 * statistics of data whose mean is far above its deviation, channels that hold a NaN.
 *
 * rooms: kernels graph core
 *
 * Every check runs on each instruction set of the machine; the comparison itself is tested with a fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/backend.h"

enum { SLOTS = HONE_MAX_IN + HONE_MAX_OUT, GUARD_BYTES = 64, GUARD_FILL = 0xA5 };
static const char *const isa_list[] = {"base", "avx2", "avx512"};

/* --- one launch of one op on one backend -------------------------------------------------------------- */
/* Tensors as words: "2x3" float, "i4:10" integers below 10, "u4:4" bytes below 4, "+8" positive floats,
 * "step", "-" absent. Outputs follow the inputs at HONE_MAX_IN. */
typedef struct op_case {
    hone_op op;
    const char *in, *out;
    hone_attrs attr;
    int integers; /* small integers: the kernel must give the bits of ref */
} op_case;

typedef struct launched {
    hone_tensor desc[SLOTS];
    unsigned char *base[SLOTS]; /* guard, tensor, guard; NULL where absent */
} launched;

static void *data_of(const launched *r, int k) { return r->base[k] ? r->base[k] + GUARD_BYTES : NULL; }

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void fill_step(hone_step *s)
{
    memset(s, 0, sizeof *s);
    s->seed = 77, s->step = 5, s->epoch = 2, s->lr = 0.1f, s->finite = 1, s->updates = 3, s->grad_norm = 2;
}

static void fill(const op_case *c, launched *r, int k, const char *word, uint32_t *state)
{
    const char *limit = strchr(word, ':');
    uint32_t below = limit ? (uint32_t)atoi(limit + 1) : 1;
    int64_t count = hone_tensor_count(&r->desc[k]);
    void *p = data_of(r, k);
    if (r->desc[k].role == HONE_ROLE_SCALAR) fill_step(p);
    for (int64_t i = 0; r->desc[k].role != HONE_ROLE_SCALAR && i < count; i++) {
        uint32_t x = draw(state);
        if (r->desc[k].dtype == HONE_I32) ((int32_t *)p)[i] = (int32_t)(x % below);
        else if (r->desc[k].dtype == HONE_U8) ((uint8_t *)p)[i] = (uint8_t)(x % below);
        else if (*word == '+') ((float *)p)[i] = 0.1f + (float)(x % 65536) / 65536;
        else ((float *)p)[i] = c->integers ? (float)(x % 7) - 3 : (float)(x % 65536) / 32768 - 1;
    }
}

static void describe(hone_tensor *t, const char *word)
{
    *t = (hone_tensor){.dtype = HONE_F32, .role = HONE_ROLE_ACT};
    if (strcmp(word, "step") == 0) {
        *t = (hone_tensor){.dtype = HONE_U8, .role = HONE_ROLE_SCALAR, .rank = 1, .dim = {sizeof(hone_step)}};
        return;
    }
    if (*word == 'i') t->dtype = HONE_I32;
    if (*word == 'u') t->dtype = HONE_U8;
    const char *c = word + (*word < '0' || *word > '9');
    for (char *end; *c && t->rank < HONE_MAX_RANK; c = *end == 'x' ? end + 1 : "")
        t->dim[t->rank++] = strtoll(c, &end, 10);
}

/* Declares the words from slot `first`; inputs get numbers, outputs 0xFF bytes (NaN). Returns how many. */
static int declare(const op_case *c, launched *r, const char *words, int first)
{
    char text[256];
    uint32_t state = 12345;
    int k = first;
    snprintf(text, sizeof text, "%s", words);
    for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save), k++) {
        if (*word == '-') continue;
        describe(&r->desc[k], word);
        size_t bytes = hone_tensor_bytes(&r->desc[k]);
        r->base[k] = aligned_alloc(64, (bytes + 2 * GUARD_BYTES + 63) / 64 * 64);
        memset(r->base[k], GUARD_FILL, bytes + 2 * GUARD_BYTES);
        memset(data_of(r, k), 0xFF, bytes);
        if (first == 0) fill(c, r, k, word, &state);
    }
    return k - first;
}

static void launch(hone_backend *b, hone_node *n, launched *r)
{
    hone_graph g = {.tensor = r->desc, .tensor_count = SLOTS, .node = n, .node_count = 1};
    const hone_kernel *kernel = &b->kernel[n->op];
    if (kernel->prepare) assert_int_equal(kernel->prepare(b, &g, n), HONE_OK);
    size_t work_bytes = (n->work_bytes + 127) / 64 * 64;
    hone_launch l = {.node = n, .work = aligned_alloc(64, work_bytes)};
    memset(l.work, 0xFF, work_bytes);
    for (int k = 0; k < SLOTS; k++) {
        const hone_tensor *desc = r->base[k] ? &r->desc[k] : NULL;
        if (k < HONE_MAX_IN) l.in_desc[k] = desc, l.in[k] = data_of(r, k);
        else l.out_desc[k - HONE_MAX_IN] = desc, l.out[k - HONE_MAX_IN] = data_of(r, k);
    }
    kernel->launch(b, &l);
    if (kernel->release) kernel->release(b, n);
    free(l.work);
}

/* `prepare_inputs` (or NULL) overwrites inputs before the launch. */
static launched run_case(const op_case *c, const char *device, int threads, void (*prepare_inputs)(launched *))
{
    launched r;
    memset(&r, 0, sizeof r);
    hone_backend *b;
    assert_int_equal(hone_backend_open(device, threads, &b), HONE_OK);
    hone_node n = {.op = c->op, .attr = c->attr};
    n.in_count = declare(c, &r, c->in, 0);
    n.out_count = declare(c, &r, c->out, HONE_MAX_IN);
    for (int k = 0; k < HONE_MAX_IN; k++) n.in[k] = r.base[k] ? k : HONE_NONE;
    for (int k = 0; k < HONE_MAX_OUT; k++) n.out[k] = r.base[HONE_MAX_IN + k] ? HONE_MAX_IN + k : HONE_NONE;
    if (prepare_inputs) prepare_inputs(&r);
    launch(b, &n, &r);
    hone_backend_close(b);
    return r;
}

static void release(launched *r)
{
    for (int k = 0; k < SLOTS; k++) free(r->base[k]);
}

/* --- comparison ---------------------------------------------------------------------------------------- */
static double element(const hone_tensor *t, const void *p, int64_t i)
{
    if (t->dtype == HONE_I32) return ((const int32_t *)p)[i];
    if (t->dtype == HONE_U8) return ((const uint8_t *)p)[i];
    return (double)((const float *)p)[i];
}

/* Normwise relative difference of tensor k; infinite where NaN and numbers meet. */
static double difference(const launched *a, const launched *b, int k)
{
    double square = 0, norm = 0;
    for (int64_t i = 0; i < hone_tensor_count(&a->desc[k]); i++) {
        double x = element(&a->desc[k], data_of(a, k), i), y = element(&a->desc[k], data_of(b, k), i);
        if (isnan(x) != isnan(y)) return INFINITY;
        if (isnan(x) || x == y) x = y = 0;
        square += (x - y) * (x - y);
        norm += x * x;
    }
    return square == 0 ? 0 : sqrt(square / (norm > 0 ? norm : 1));
}

static double step_difference(const launched *a, const launched *b, int k)
{
    const hone_step *x = data_of(a, k), *y = data_of(b, k);
    if (x->samples != y->samples || x->correct != y->correct || x->finite != y->finite || x->updates != y->updates)
        return INFINITY;
    return fabs(x->loss_sum - y->loss_sum) / (fabs(x->loss_sum) + 1) + fabs(x->grad_norm - y->grad_norm);
}

static bool guards_intact(const launched *r, int k)
{
    size_t bytes = hone_tensor_bytes(&r->desc[k]);
    for (int i = 0; i < GUARD_BYTES; i++)
        if (r->base[k][i] != GUARD_FILL || r->base[k][GUARD_BYTES + bytes + (size_t)i] != GUARD_FILL) return false;
    return true;
}

/* Worst difference over all tensors, inputs that are written in place included. */
static double worst_difference(const launched *a, const launched *b)
{
    double worst = 0;
    for (int k = 0; k < SLOTS; k++) {
        if (!a->base[k]) continue;
        double d = a->desc[k].role == HONE_ROLE_SCALAR ? step_difference(a, b, k) : difference(a, b, k);
        if (!guards_intact(a, k) || !guards_intact(b, k)) d = INFINITY;
        worst = d > worst ? d : worst;
    }
    return worst;
}

static bool same_bits(const launched *a, const launched *b)
{
    for (int k = 0; k < SLOTS; k++)
        if (a->base[k] && memcmp(data_of(a, k), data_of(b, k), hone_tensor_bytes(&a->desc[k])) != 0) return false;
    return true;
}

/* --- sizes that several threads share -------------------------------------------------------------------- */
#define SQUARE(k, s, p)                                                                                                \
    {                                                                                                                  \
        .kernel = {k, k}, .stride = {s, s}, .pad = {p, p}, .dilation = {1, 1}, .groups = 1                             \
    }
#define BACK(k, s, p, h, w)                                                                                            \
    {                                                                                                                  \
        .kernel = {k, k}, .stride = {s, s}, .pad = {p, p}, .dilation = {1, 1}, .groups = 1, .in_h = h, .in_w = w       \
    }
#define NORM .norm = {1e-5f, 0.1f}
#define NONE .act = HONE_ACT_NONE

static const op_case big[] = {
    {HONE_OP_relu, "7x61x83", "7x61x83", {NONE}, 1},
    {HONE_OP_gelu_dx, "7x61x83 7x61x83", "7x61x83", {NONE}, 0},
    {HONE_OP_add_relu, "7x61x83 7x61x83", "7x61x83", {NONE}, 1},
    {HONE_OP_add_rows, "37x17x65 17x65", "37x17x65", {NONE}, 1},
    {HONE_OP_add_rows_dp, "37x17x65", "17x65", {NONE}, 1},
    {HONE_OP_maxpool, "5x29x27x19", "5x15x14x19 u5x15x14x19", {.window = SQUARE(3, 2, 1)}, 1},
    {HONE_OP_maxpool_dx, "5x15x14x19 u5x15x14x19:9", "5x29x27x19", {.window = BACK(3, 2, 1, 29, 27)}, 1},
    {HONE_OP_maxpool_dx, "5x14x13x19 u5x14x13x19:4", "5x29x27x19", {.window = BACK(2, 2, 0, 29, 27)}, 1},
    {HONE_OP_avgpool, "5x29x27x19", "5x14x13x19", {.window = SQUARE(2, 2, 0)}, 1},
    {HONE_OP_avgpool_dx, "5x14x13x19", "5x29x27x19", {.window = BACK(2, 2, 0, 29, 27)}, 1},
    {HONE_OP_global_avgpool, "37x8x8x19", "37x19", {NONE}, 1},
    {HONE_OP_batchnorm, "9x31x17x19 19 19 19 19", "9x31x17x19 19 19", {NORM}, 0},
    {HONE_OP_batchnorm_add_relu, "9x31x17x19 19 19 19 19 9x31x17x19", "9x31x17x19 19 19 u9x31x17x3", {NORM}, 0},
    {HONE_OP_batchnorm_dx, "9x31x17x19 19 19 19 9x31x17x19", "9x31x17x19 19 19", {NORM}, 0},
    {HONE_OP_batchnorm_relu_dx, "9x31x17x19 19 19 19 19 9x31x17x19 9x31x17x19", "9x31x17x19 19 19", {NORM}, 0},
    {HONE_OP_batchnorm_relu6_dx, "9x31x17x19 19 19 19 19 9x31x17x19", "9x31x17x19 19 19", {NORM}, 0},
    {HONE_OP_batchnorm_add_relu_dx,
     "9x31x17x19 19 19 19 - 9x31x17x19 9x31x17x19 u9x31x17x3:256",
     "9x31x17x19 19 19 9x31x17x19",
     {NORM},
     0},
    {HONE_OP_batchnorm_add_relu_dx,
     "9x31x17x19 19 19 19 9x31x17x19 9x31x17x19 9x31x17x19 -",
     "9x31x17x19 19 19 9x31x17x19",
     {NORM},
     0},
    {HONE_OP_batchnorm_infer_relu, "9x31x17x19 19 19 19 +19", "9x31x17x19", {NORM}, 0},
    {HONE_OP_layernorm, "411x97 97 97", "411x97 411 411", {NORM}, 0},
    {HONE_OP_layernorm_dx, "411x97 97 411 411 411x97", "411x97 97 97", {NORM}, 0},
    {HONE_OP_dropout, "41x997 step", "41x997", {.drop = {0.3f, 1000}}, 1},
    {HONE_OP_drop_path, "41x997 step", "41x997", {.drop = {0.3f, 1000}}, 1},
    {HONE_OP_attention, "3x71x90 step", "3x71x30 3x3x71", {.attention = {3, 0.2f, 7}}, 0},
    {HONE_OP_attention_dx, "3x71x90 3x71x30 3x3x71 3x71x30 step", "3x71x90", {.attention = {3, 0.2f, 7}}, 0},
    {HONE_OP_softmax, "131x67", "131x67", {NONE}, 0},
    {HONE_OP_softmax_xent_both, "131x67 i131:67 +131 +67 step - -", "1 131 131x67", {.loss = {0.1f, 0.5f}}, 0},
    {HONE_OP_grad_norm, "70001 step", "", {NONE}, 1},
    {HONE_OP_image_batch,
     "u50x28x26x3:256 i23:50 i23:50 step",
     "23x28x26x3",
     {.image = {28, 26, 3, {0.1f, 0.2f, 0.3f}, {0.4f, 0.5f, 0.6f}, 1, 4, 0.5f, 4}},
     0},
    {HONE_OP_image_view,
     "u50x28x26x3:256 i23:50 i23:50 step",
     "u23x30x24x3",
     {.augment =
          {.height = 30, .width = 24, .flip = 0.5f, .crop = {{1342177, 16777216}, {-27200, 27200}}, .rotate = 1 << 20}},
     1},
    {HONE_OP_image_view,
     "u50x28x26x1:256 i23:50 i23:50 step",
     "u23x28x26x1",
     {.augment = {.height = 28, .width = 26, .flip = 0.5f, .crop_pad = 4}},
     1},
    {HONE_OP_image_adjust,
     "u57x28x26x3:256 i57:50 step",
     "u57x28x26x3",
     {.augment = {.jitter = {26214, 26214, 26214}, .rand_count = 3, .rand_magnitude = 9}},
     1},
    {HONE_OP_image_adjust,
     "u57x28x26x1:256 i57:50 step",
     "u57x28x26x1",
     {.augment = {.rand_count = 2, .rand_magnitude = 14}},
     1},
    {HONE_OP_image_erase,
     "23x28x26x3 i23:50 step",
     "23x28x26x3",
     {.augment = {.erase = 12582912, .erase_box = {{335544, 5536481}, {-113835, 113835}}}},
     1},
    {HONE_OP_image_mix,
     "23x28x26x3 i23:10 i23:50 i1026:65536 step",
     "23x28x26x3 i23 23",
     {.augment = {.mixup = 1, .cutmix = 1, .mix = 12582912}},
     1},
    {HONE_OP_softmax_xent_both, "131x67 i131:67 +131 +67 step i131:67 +131", "1 131 131x67", {.loss = {0.1f, 0.5f}}, 0},
    {HONE_OP_conv_act_maxpool,
     "9x28x28x1 6x5x5x1 6",
     "9x14x14x6 u9x14x14x6",
     {.window = SQUARE(5, 1, 2), .act = HONE_ACT_RELU, .pool = SQUARE(2, 2, 0)},
     1},
    {HONE_OP_conv_act_maxpool_dw,
     "9x14x14x6 9x5x5x16 u9x5x5x16:4 9x5x5x16",
     "16x5x5x6 16",
     {.window = SQUARE(5, 1, 0), .act = HONE_ACT_RELU, .pool = SQUARE(2, 2, 0)},
     1},
    {HONE_OP_maxpool_act_dx,
     "19x15x14x16 u19x15x14x16:9 19x15x14x16",
     "19x29x27x16",
     {.window = BACK(3, 2, 1, 29, 27), .act = HONE_ACT_RELU},
     1},
};

static void check_big(const op_case *c, const launched *ref, int threads)
{
    launched a = run_case(c, "cpu", threads, NULL), again = run_case(c, "cpu", threads, NULL);
    double worst = worst_difference(ref, &a);
    if (worst > (c->integers ? 0 : 2e-6) || !same_bits(&a, &again)) {
        print_message("%s \"%s\", %d threads, %s: differs by %.3g, %s\n", hone_op_name(c->op), c->in, threads,
                      getenv("HONE_CPU_ISA"), worst, same_bits(&a, &again) ? "steadily" : "other bits each time");
        fail();
    }
    release(&a);
    release(&again);
}

static void test_shared_by_threads(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof big / sizeof *big; k++) {
        launched ref = run_case(&big[k], "ref", 1, NULL);
        for (size_t isa = 0; isa < sizeof isa_list / sizeof *isa_list; isa++) {
            setenv("HONE_CPU_ISA", isa_list[isa], 1);
            check_big(&big[k], &ref, 1);
            check_big(&big[k], &ref, 3);
        }
        release(&ref);
    }
    unsetenv("HONE_CPU_ISA");
}

/* --- the update: segments, clip, average, clearing ----------------------------------------------------------- */
static void fill_segments(launched *r)
{
    hone_segment *s = data_of(r, 2);
    s[0] = (hone_segment){0, 20000, 1, 1};
    s[1] = (hone_segment){20000, 3001, 0, 0.5f};
    s[2] = (hone_segment){30000, 40001, 1, 2}; /* [23001, 30000) belongs to nobody and must stay */
    for (int i = 0; i < 70001; i++) ((float *)data_of(r, 5))[i] = fabsf(((float *)data_of(r, 5))[i]);
}

static void test_updates(void **state)
{
    (void)state;
    const char *tensors = "70001 70001 u72:1 step 70001 70001 70001";
    hone_update_attr sgd = {.momentum = 0.9f, .nesterov = 1, .weight_decay = 0.01f, .clip_norm = 1, .ema_decay = 0.99f};
    hone_update_attr adam = {.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = 0.1f, .zero_grad = 1};
    const op_case list[] = {{HONE_OP_sgd, tensors, "", {.update = sgd}, 0},
                            {HONE_OP_adamw, tensors, "", {.update = adam}, 0}};
    assert_int_equal(3 * sizeof(hone_segment), 72);
    for (int k = 0; k < 2; k++)
        for (size_t isa = 0; isa < sizeof isa_list / sizeof *isa_list; isa++) {
            setenv("HONE_CPU_ISA", isa_list[isa], 1);
            launched ref = run_case(&list[k], "ref", 1, fill_segments),
                     cpu = run_case(&list[k], "cpu", 3, fill_segments);
            assert_true(worst_difference(&ref, &cpu) <= 1e-6);
            assert_memory_equal((float *)data_of(&ref, 0) + 23001, (float *)data_of(&cpu, 0) + 23001,
                                6999 * sizeof(float));
            release(&ref);
            release(&cpu);
        }
    unsetenv("HONE_CPU_ISA");
}

/* --- errors of the vector functions ------------------------------------------------------------------------- */
enum { POINTS = 40000 };
/* From -30 to 30 densely, then the special values. */
static float point(int64_t i)
{
    static const float special[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 100.0f, -100.0f, 1e30f, -1e30f, INFINITY, NAN};
    if (i >= POINTS - 10) return special[i - (POINTS - 10)];
    return (float)(-30.0 + 60.0 * (double)i / POINTS);
}

static void fill_points(launched *r)
{
    for (int64_t i = 0; i < POINTS; i++) {
        ((float *)data_of(r, 0))[i] = point(i);
        if (r->base[1]) ((float *)data_of(r, 1))[i] = 1;
    }
}

static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double exact_silu(double x) { return x * exact_sigmoid(x); }
static double exact_gelu(double x) { return 0.5 * x * erfc(-x * 0.70710678118654752440); }
static double exact_gelu_dx(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
}
static double exact_gelu_tanh(double x) { return x * exact_sigmoid(1.59576912160573071 * (x + 0.044715 * x * x * x)); }

/* `floor`: below this size the error is measured against it, not against the value. */
typedef struct function_case {
    hone_op op;
    double (*exact)(double x);
    double ulps, floor;
} function_case;

static const function_case functions[] = {
    {HONE_OP_tanh, tanh, 4, 0},
    {HONE_OP_sigmoid, exact_sigmoid, 4, 1e-37},
    {HONE_OP_silu, exact_silu, 4, 1e-34},
    {HONE_OP_gelu, exact_gelu, 16, 1e-3},
    {HONE_OP_gelu_dx, exact_gelu_dx, 8, 1},
    {HONE_OP_gelu_tanh, exact_gelu_tanh, 16, 1e-3},
};

/* Distance in units of the last place of a float at max(|exact|, floor). */
static double ulps_between(double exact, double got, double floor)
{
    if (isnan(exact) || isnan(got)) return isnan(exact) == isnan(got) ? 0 : INFINITY;
    if (exact == got || (float)exact == (float)got) return 0;
    double size = fmax(fabs(exact), floor);
    int exponent;
    frexp(size, &exponent);
    return fabs(exact - got) / fmax(ldexp(1, exponent - 24), ldexp(1, -149));
}

static void check_function(const function_case *f)
{
    char words[64];
    snprintf(words, sizeof words, f->op == HONE_OP_gelu_dx ? "%d %d" : "%d", POINTS, POINTS);
    char out[32];
    snprintf(out, sizeof out, "%d", POINTS);
    op_case c = {.op = f->op, .in = words, .out = out};
    launched r = run_case(&c, "cpu", 2, fill_points);
    const float *y = data_of(&r, HONE_MAX_IN);
    double worst = 0, at = 0;
    for (int64_t i = 0; i < POINTS; i++) {
        double x = (double)point(i), d = ulps_between(f->exact(x), (double)y[i], f->floor);
        if (isinf(x) && !isfinite(f->exact(x)) && f->op != HONE_OP_gelu) continue; /* inf * 0 of the definition */
        if (!(d <= worst)) worst = d, at = x;
    }
    if (!(worst <= f->ulps))
        print_message("%s (%s): %.2f ulp at %.9g\n", hone_op_name(f->op), getenv("HONE_CPU_ISA"), worst, at);
    assert_true(worst <= f->ulps);
    release(&r);
}

static void test_function_errors(void **state)
{
    (void)state;
    for (size_t isa = 0; isa < sizeof isa_list / sizeof *isa_list; isa++) {
        setenv("HONE_CPU_ISA", isa_list[isa], 1);
        for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) check_function(&functions[k]);
    }
    unsetenv("HONE_CPU_ISA");
}

/* --- batch statistics ---------------------------------------------------------------------------------------- */
enum { ROWS = 5000, CHANNELS = 21 };
static const op_case norm_case = {HONE_OP_batchnorm, "5000x21 21 21 21 21", "5000x21 21 21", {NORM}, 0};

/* Channel c: mean 10^(c % 5), deviation about 1; odd channels jump by 1000 half way (sorted data). */
static void fill_offset(launched *r)
{
    float *x = data_of(r, 0);
    for (int i = 0; i < ROWS * CHANNELS; i++) {
        int c = i % CHANNELS;
        x[i] = x[i] + (float)pow(10, c % 5) + (c % 2 && i > ROWS * CHANNELS / 2 ? 1000.0f : 0.0f);
    }
}

static void check_statistics(void)
{
    launched r = run_case(&norm_case, "cpu", 3, fill_offset);
    const float *x = data_of(&r, 0), *mean = data_of(&r, HONE_MAX_IN + 1), *rstd = data_of(&r, HONE_MAX_IN + 2);
    for (int c = 0; c < CHANNELS; c++) {
        double m = 0, v = 0;
        for (int i = c; i < ROWS * CHANNELS; i += CHANNELS) m += (double)x[i] / ROWS;
        for (int i = c; i < ROWS * CHANNELS; i += CHANNELS) v += ((double)x[i] - m) * ((double)x[i] - m) / ROWS;
        assert_true(fabs((double)mean[c] - m) <= 1e-7 * fabs(m));
        assert_true(fabs((double)rstd[c] * sqrt(v + 1e-5) - 1) <= 1e-6);
    }
    release(&r);
}

/* Channel 3 holds a NaN, channel 17 an infinity: their running values stay, the others move. */
static void fill_broken(launched *r)
{
    ((float *)data_of(r, 0))[100 * CHANNELS + 3] = NAN;
    ((float *)data_of(r, 0))[4999 * CHANNELS + 17] = INFINITY;
    for (int c = 0; c < CHANNELS; c++) ((float *)data_of(r, 3))[c] = 7, ((float *)data_of(r, 4))[c] = 9;
}

static void check_broken(void)
{
    launched r = run_case(&norm_case, "cpu", 2, fill_broken), ref = run_case(&norm_case, "ref", 1, fill_broken);
    const float *running_mean = data_of(&r, 3), *running_var = data_of(&r, 4);
    for (int c = 0; c < CHANNELS; c++) {
        bool broken = c == 3 || c == 17;
        assert_int_equal(running_mean[c] == 7 && running_var[c] == 9, broken);
    }
    assert_true(difference(&ref, &r, 3) <= 1e-6 && difference(&ref, &r, 4) <= 1e-6);
    release(&r);
    release(&ref);
}

static void test_statistics(void **state)
{
    (void)state;
    for (size_t isa = 0; isa < sizeof isa_list / sizeof *isa_list; isa++) {
        setenv("HONE_CPU_ISA", isa_list[isa], 1);
        check_statistics();
        check_broken();
    }
    unsetenv("HONE_CPU_ISA");
}

/* --- planted faults: each check above must see its own --------------------------------------------------------- */
static void test_faults(void **state)
{
    (void)state;
    launched a = run_case(&big[0], "ref", 1, NULL), b = run_case(&big[0], "ref", 1, NULL);
    assert_true(worst_difference(&a, &b) == 0 && same_bits(&a, &b));
    ((float *)data_of(&b, HONE_MAX_IN))[12345] += 1;
    assert_true(worst_difference(&a, &b) > 1e-6 && !same_bits(&a, &b));
    ((float *)data_of(&b, HONE_MAX_IN))[12345] = NAN;
    assert_true(isinf(worst_difference(&a, &b)));
    release(&b);
    b = run_case(&big[0], "ref", 1, NULL);
    b.base[HONE_MAX_IN][GUARD_BYTES + hone_tensor_bytes(&b.desc[HONE_MAX_IN])] = 0;
    assert_true(isinf(worst_difference(&a, &b)));
    assert_true(ulps_between(1.0, 1.0 + 5 * 0x1p-23, 0) > 4 && ulps_between(1.0, NAN, 0) > 4);
    release(&a);
    release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared_by_threads), cmocka_unit_test(test_updates),
                                       cmocka_unit_test(test_function_errors), cmocka_unit_test(test_statistics),
                                       cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
