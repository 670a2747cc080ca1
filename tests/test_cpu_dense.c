/* test_cpu_dense.c - dense rows of the cpu dialect against ref on shapes that cases.def does not reach:
 * every instruction set, odd tiles, several thread counts, accumulation, guards around every buffer.
 *
 * rooms: kernels graph core
 *
 * Exact choices must give the bits of ref on small integers; choices named winograd must be within 1e-5
 * of the norm. Runs with other thread counts and repeated runs must give the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/backend.h"

enum { GUARD = 64, MAX_TENSORS = HONE_MAX_IN + HONE_MAX_OUT };
static const float guard_value = -12345.5f;

/* One op with its tensors; inputs first. */
typedef struct dense_case {
    hone_op op;
    hone_attrs attr;
    int in, out;
    hone_tensor desc[MAX_TENSORS];
    bool present[MAX_TENSORS];
    int accumulate;
    bool trains; /* the graph has a backward phase */
} dense_case;

static hone_tensor shape(int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    hone_tensor t = {.dtype = HONE_F32, .role = HONE_ROLE_ACT, .rank = rank, .dim = {a, b, c, d}};
    return t;
}

static void case_tensor(dense_case *k, int at, hone_tensor t)
{
    k->desc[at] = t;
    k->present[at] = true;
}

static dense_case linear_case(hone_op op, int64_t m, int64_t i, int64_t o, bool bias, hone_act act)
{
    dense_case k = {.op = op, .in = hone_op_inputs(op), .out = hone_op_outputs(op)};
    hone_tensor x = shape(2, m, i, 0, 0), y = shape(2, m, o, 0, 0), w = shape(2, o, i, 0, 0), b = shape(1, o, 0, 0, 0);
    k.attr.act = act;
    k.attr.leaky.slope = 0.5f;
    bool forward = op == HONE_OP_linear || op == HONE_OP_linear_act, dw = op == HONE_OP_linear_dw;
    case_tensor(&k, 0, forward || dw ? x : y);
    case_tensor(&k, 1, dw ? y : w);
    if (forward && bias) case_tensor(&k, 2, b);
    if (op == HONE_OP_linear_dx_act) case_tensor(&k, 2, x);
    case_tensor(&k, k.in, forward ? y : dw ? w : x);
    bool keeps = op == HONE_OP_linear_act && (m % 2 || act > HONE_ACT_LEAKY_RELU); /* what the activation reads */
    if (keeps) case_tensor(&k, k.in + 1, y);
    if (dw && bias) case_tensor(&k, k.in + 1, b);
    return k;
}

typedef struct conv_shape {
    int n, h, w, i, o, kernel, stride, pad, dilation, groups;
} conv_shape;

static dense_case conv_case(hone_op op, const conv_shape *s, bool bias, hone_act act)
{
    dense_case k = {.op = op, .in = hone_op_inputs(op), .out = hone_op_outputs(op)};
    int reach = (s->kernel - 1) * s->dilation + 1;
    int oh = (s->h + 2 * s->pad - reach) / s->stride + 1, ow = (s->w + 2 * s->pad - reach) / s->stride + 1;
    hone_tensor x = shape(4, s->n, s->h, s->w, s->i), y = shape(4, s->n, oh, ow, s->o), b = shape(1, s->o, 0, 0, 0);
    hone_tensor w = shape(4, s->o, s->kernel, s->kernel, s->i / s->groups);
    k.attr.window = (hone_window){.kernel = {s->kernel, s->kernel},
                                  .stride = {s->stride, s->stride},
                                  .pad = {s->pad, s->pad},
                                  .dilation = {s->dilation, s->dilation},
                                  .groups = s->groups,
                                  .in_h = s->h,
                                  .in_w = s->w};
    k.attr.act = act;
    k.attr.leaky.slope = 0.5f;
    bool dx = op == HONE_OP_conv_dx, dw = op == HONE_OP_conv_dw;
    case_tensor(&k, 0, dx ? y : x);
    case_tensor(&k, 1, dw ? y : w);
    if (!dx && !dw && bias) case_tensor(&k, 2, b);
    case_tensor(&k, k.in, dx ? x : dw ? w : y);
    if (dw && bias) case_tensor(&k, k.in + 1, b);
    return k;
}

/* --- running one case on one backend ---------------------------------------------------------------- */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Integers -3..3, or uniform in [-1, 1). */
static void fill(float *x, int64_t n, bool integers, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t r = next_random(&seed);
        x[i] = integers ? (float)((int)(r % 7) - 3) : (float)(r % 65536) / 32768.0f - 1.0f;
    }
}

static float *guarded(int64_t n)
{
    int64_t total = (n + 2 * GUARD + 15) / 16 * 16;
    float *base = aligned_alloc(64, (size_t)total * sizeof(float));
    assert_non_null(base);
    for (int64_t i = 0; i < total; i++) base[i] = guard_value;
    return base + GUARD;
}

static void check_guard(const float *x, int64_t n)
{
    for (int i = 1; i <= GUARD; i++)
        if (x[-i] != guard_value || x[n + i - 1] != guard_value) fail_msg("guard %d overwritten", i);
}

/* Runs the case; outputs into `result` (one array each, owned by the caller). Returns the choice. */
static const char *run_case(const char *device, int threads, const dense_case *k, bool integers,
                            float *result[HONE_MAX_OUT])
{
    hone_backend *b = NULL;
    assert_int_equal(hone_backend_open(device, threads, &b), HONE_OK);
    hone_graph g = {.tensor = (hone_tensor *)k->desc, .tensor_count = MAX_TENSORS};
    hone_node node = {
        .op = k->op, .attr = k->attr, .in_count = k->in, .out_count = k->out, .accumulate = k->accumulate};
    hone_launch l = {.node = &node};
    if (k->trains) g.node = &node, g.node_count = 1, node.phase = HONE_PHASE_BACKWARD;
    for (int i = 0; i < HONE_MAX_IN; i++) node.in[i] = i < k->in && k->present[i] ? i : HONE_NONE;
    for (int i = 0; i < HONE_MAX_OUT; i++) node.out[i] = i < k->out && k->present[k->in + i] ? k->in + i : HONE_NONE;
    float *buffer[MAX_TENSORS] = {0};
    for (int i = 0; i < k->in + k->out; i++) {
        if (!k->present[i]) continue;
        int64_t n = hone_tensor_count(&k->desc[i]);
        buffer[i] = guarded(n);
        bool output = i >= k->in;
        if (!output || k->accumulate) fill(buffer[i], n, integers, 77u + (uint32_t)i);
        else
            for (int64_t j = 0; j < n; j++) buffer[i][j] = NAN; /* every element must be written */
        if (output) l.out[i - k->in] = buffer[i], l.out_desc[i - k->in] = &k->desc[i];
        else l.in[i] = buffer[i], l.in_desc[i] = &k->desc[i];
    }
    const hone_kernel *kernel = &b->kernel[k->op];
    if (kernel->prepare) assert_int_equal(kernel->prepare(b, &g, &node), HONE_OK);
    int64_t work = (int64_t)((node.work_bytes + 3) / 4);
    float *scratch = guarded(work);
    for (int64_t i = 0; i < work; i++) scratch[i] = NAN; /* launch may rely on nothing in it */
    l.work = scratch;
    kernel->launch(b, &l);
    check_guard(scratch, work);
    const char *choice = node.choice ? node.choice : "";
    if (kernel->release) kernel->release(b, &node);
    for (int i = 0; i < k->in + k->out; i++) {
        if (!buffer[i]) continue;
        check_guard(buffer[i], hone_tensor_count(&k->desc[i]));
        if (i >= k->in) result[i - k->in] = buffer[i];
        else free(buffer[i] - GUARD);
    }
    free(scratch - GUARD);
    hone_backend_close(b);
    return choice;
}

static void free_results(float *r[HONE_MAX_OUT])
{
    for (int i = 0; i < HONE_MAX_OUT; i++)
        if (r[i]) free(r[i] - GUARD), r[i] = NULL;
}

/* ||a - b|| / ||b|| */
static double distance(const float *a, const float *b, int64_t n)
{
    double diff = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    if (isnan(diff)) return INFINITY;
    return norm > 0 ? sqrt(diff / norm) : sqrt(diff);
}

static void check_one(const dense_case *k, const char *isa, bool integers, float *const *want)
{
    setenv("HONE_CPU_ISA", isa, 1);
    float *once[HONE_MAX_OUT] = {0}, *again[HONE_MAX_OUT] = {0};
    for (int threads = 1; threads <= 5; threads += 2) {
        const char *choice = run_case("cpu", threads, k, integers, once);
        run_case("cpu", threads, k, integers, again);
        bool curved = k->attr.act > HONE_ACT_LEAKY_RELU; /* gelu and the like come after it */
        bool exact = integers && !curved && !strstr(choice, "winograd");
        for (int i = 0; i < k->out; i++) {
            if (!once[i]) continue;
            int64_t n = hone_tensor_count(&k->desc[k->in + i]);
            if (memcmp(once[i], again[i], (size_t)n * sizeof(float)) != 0)
                fail_msg("%s %s: two runs differ", hone_op_name(k->op), choice);
            double d = distance(once[i], want[i], n), most = strstr(choice, "winograd") ? 1e-5 : 2e-6;
            if (strstr(choice, "strassen")) most = 4e-6;
            if (exact) most = 0.0;
            if (!(d <= most)) {
                char text[64];
                fail_msg("%s (%s, %s, %d threads) output %d %s: distance %g", hone_op_name(k->op), choice, isa, threads,
                         i, hone_tensor_shape_text(&k->desc[k->in + i], text, sizeof text), d);
            }
        }
        free_results(once);
        free_results(again);
    }
}

/* Every instruction set, integers and fractions. */
static void check(const dense_case *k)
{
    static const char *const isa[] = {"base", "avx2", "avx512"};
    for (int integers = 0; integers < 2; integers++) {
        float *want[HONE_MAX_OUT] = {0};
        run_case("ref", 1, k, integers, want);
        for (int i = 0; i < 3; i++) check_one(k, isa[i], integers, want);
        free_results(want);
    }
    unsetenv("HONE_CPU_ISA");
}

/* --- tests ------------------------------------------------------------------------------------------- */
static void linear_shapes(void **unused)
{
    static const int64_t size[][3] = {{1, 1, 1},   {2, 3, 5},    {14, 32, 32},  {15, 33, 17},  {31, 64, 10},
                                      {64, 7, 96}, {5, 1100, 9}, {130, 40, 70}, {2100, 19, 6}, {29, 127, 65}};
    static const hone_act act[] = {HONE_ACT_RELU,    HONE_ACT_GELU, HONE_ACT_RELU6,     HONE_ACT_LEAKY_RELU,
                                   HONE_ACT_SIGMOID, HONE_ACT_SILU, HONE_ACT_GELU_TANH, HONE_ACT_TANH};
    (void)unused;
    for (int s = 0; s < (int)(sizeof size / sizeof size[0]); s++) {
        const int64_t *d = size[s];
        dense_case k[] = {
            linear_case(HONE_OP_linear, d[0], d[1], d[2], s & 1, HONE_ACT_NONE),
            linear_case(HONE_OP_linear_act, d[0], d[1], d[2], !(s & 1), act[s % 8]),
            linear_case(HONE_OP_linear_dx, d[0], d[1], d[2], false, HONE_ACT_NONE),
            linear_case(HONE_OP_linear_dx_act, d[0], d[1], d[2], false, act[s % 8]),
            linear_case(HONE_OP_linear_dw, d[0], d[1], d[2], s & 1, HONE_ACT_NONE),
            linear_case(HONE_OP_linear_dw, d[0], d[1], d[2], !(s & 1), HONE_ACT_NONE),
        };
        k[5].accumulate = 1;
        for (int i = 0; i < 6; i++) check(&k[i]);
    }
}

/* Products large enough for halves: odd halves, columns left over, more than one block of rows; not where the
 * program only predicts, and not where gradients are added up. */
static void linear_halves(void **unused)
{
    static const int64_t size[][3] = {{258, 262, 290}, {256, 258, 600}, {1022, 256, 258}};
    (void)unused;
    for (int s = 0; s < (int)(sizeof size / sizeof size[0]); s++) {
        const int64_t *d = size[s];
        dense_case k[] = {
            linear_case(HONE_OP_linear_act, d[0], d[1], d[2], true, s ? HONE_ACT_GELU : HONE_ACT_RELU),
            linear_case(HONE_OP_linear_dx_act, d[0], d[1], d[2], false, s ? HONE_ACT_GELU_TANH : HONE_ACT_RELU),
            linear_case(HONE_OP_linear_dw, d[0], d[1], d[2], true, HONE_ACT_NONE),
            linear_case(HONE_OP_linear, d[0], d[1], d[2], true, HONE_ACT_NONE),
            linear_case(HONE_OP_linear_dw, d[0], d[1], d[2], true, HONE_ACT_NONE),
        };
        k[0].trains = true;
        k[4].accumulate = 1;
        for (int i = 0; i < 5; i++) {
            float *result[HONE_MAX_OUT] = {0};
            assert_string_equal(run_case("cpu", 2, &k[i], true, result), i < 3 ? "strassen" : "gemm");
            free_results(result);
            if (i < 3) check(&k[i]);
        }
    }
}

static void conv_shapes(void **unused)
{
    static const conv_shape all[] = {
        /* n  h   w   i   o  k  s  p  d  g */
        {2, 9, 7, 3, 5, 3, 1, 1, 1, 1},     {1, 1, 1, 1, 1, 1, 1, 0, 1, 1},     {3, 8, 8, 16, 24, 1, 1, 0, 1, 1},
        {2, 9, 9, 8, 12, 1, 2, 0, 1, 1},    {2, 11, 10, 6, 16, 5, 1, 0, 1, 1},  {2, 14, 14, 1, 6, 5, 1, 2, 1, 1},
        {1, 23, 19, 3, 33, 7, 2, 3, 1, 1},  {2, 12, 13, 5, 7, 3, 2, 1, 1, 1},   {2, 12, 9, 4, 6, 3, 1, 2, 2, 1},
        {2, 7, 8, 8, 12, 3, 1, 1, 1, 4},    {2, 7, 8, 6, 6, 3, 1, 1, 1, 6},     {3, 9, 9, 40, 40, 3, 2, 1, 1, 40},
        {1, 10, 8, 35, 35, 5, 1, 2, 1, 35}, {2, 8, 8, 32, 32, 3, 1, 1, 1, 1},   {2, 7, 9, 17, 37, 3, 1, 1, 1, 1},
        {1, 4, 4, 64, 48, 3, 1, 1, 1, 1},   {3, 5, 6, 33, 16, 3, 1, 0, 1, 1},   {2, 3, 3, 20, 65, 3, 1, 2, 1, 1},
        {5, 13, 2, 16, 16, 3, 1, 1, 1, 1},  {1, 16, 16, 64, 64, 3, 1, 1, 1, 1}, {2, 6, 6, 6, 12, 3, 1, 1, 1, 6},
    };
    static const hone_act act[] = {HONE_ACT_RELU,    HONE_ACT_GELU, HONE_ACT_RELU6,     HONE_ACT_LEAKY_RELU,
                                   HONE_ACT_SIGMOID, HONE_ACT_SILU, HONE_ACT_GELU_TANH, HONE_ACT_TANH};
    (void)unused;
    for (int s = 0; s < (int)(sizeof all / sizeof all[0]); s++) {
        dense_case k[] = {
            conv_case(HONE_OP_conv, &all[s], s & 1, HONE_ACT_NONE),
            conv_case(HONE_OP_conv_act, &all[s], !(s & 1), act[s % 8]),
            conv_case(HONE_OP_conv_dx, &all[s], false, HONE_ACT_NONE),
            conv_case(HONE_OP_conv_dw, &all[s], s & 1, HONE_ACT_NONE),
            conv_case(HONE_OP_conv_dw, &all[s], !(s & 1), HONE_ACT_NONE),
        };
        k[4].accumulate = 1;
        for (int i = 0; i < 5; i++) check(&k[i]);
    }
}

/* The checker itself: a wrong last bit of one element must be seen, a NaN too. */
static void planted_fault(void **unused)
{
    (void)unused;
    float a[3] = {1, 2, 3}, b[3] = {1, 2, 3};
    assert_true(distance(a, b, 3) == 0.0);
    a[2] = nextafterf(3.0f, 4.0f);
    assert_true(distance(a, b, 3) > 0.0);
    a[2] = NAN;
    assert_true(distance(a, b, 3) > 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_fault),
        cmocka_unit_test(linear_shapes),
        cmocka_unit_test(linear_halves),
        cmocka_unit_test(conv_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
