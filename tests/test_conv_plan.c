/* test_conv_plan.c - which convolution gets which algorithm on a device with libraries, and that it says so.
 * rooms: kernels graph core
 *
 * On the emulated device, whose library is a checked stand-in (tests/simt/dnn_standin.cc): it offers engines that must
 * not be taken unless asked for (not deterministic, TF32), and has nothing for some problems. Results are the case
 * list's business. */
#include "support/nets.h"

/* A convolution and its two gradients. */
typedef struct trio {
    hone_graph *g;
    hone_node *node[3];
} trio;
static const hone_op ops[3] = {HONE_OP_conv, HONE_OP_conv_dx, HONE_OP_conv_dw};

typedef struct layer {
    int64_t n, size, in, out;
    int kernel, dilation, groups;
    bool bias;
    hone_dtype dtype;
} layer;

static hone_tid tensor(hone_graph *g, const char *name, hone_dtype dtype, int rank, const int64_t *dim)
{
    hone_tid t;
    OK(hone_graph_tensor(g, name, HONE_F32, HONE_ROLE_INPUT, rank, dim, &t));
    g->tensor[t].dtype = dtype; /* as the precision pass leaves it; shape rules have seen fp32 */
    return t;
}

static trio trio_new(layer l)
{
    trio t = {.g = hone_graph_new()};
    hone_tid out[HONE_MAX_OUT];
    const int pad = l.dilation * (l.kernel - 1) / 2;
    hone_attrs a = {.window = {.kernel = {l.kernel, l.kernel},
                               .stride = {1, 1},
                               .pad = {pad, pad},
                               .dilation = {l.dilation, l.dilation},
                               .groups = l.groups,
                               .in_h = (int32_t)l.size,
                               .in_w = (int32_t)l.size}};
    hone_tid x = tensor(t.g, "x", HONE_F32, 4, DIM(l.n, l.size, l.size, l.in));
    hone_tid w = tensor(t.g, "w", HONE_F32, 4, DIM(l.out, l.kernel, l.kernel, l.in / l.groups));
    hone_tid b = l.bias ? tensor(t.g, "b", HONE_F32, 1, DIM(l.out)) : HONE_NONE;
    hone_tid dy = tensor(t.g, "dy", HONE_F32, 4, DIM(l.n, l.size, l.size, l.out));
    OK(hone_graph_add(t.g, HONE_OP_conv, IDS(x, w, b), &a, ~0u, out));
    hone_tid y = out[0];
    OK(hone_graph_add(t.g, HONE_OP_conv_dx, IDS(dy, w), &a, ~0u, out));
    hone_tid dx = out[0];
    OK(hone_graph_add(t.g, HONE_OP_conv_dw, IDS(x, dy), &a, l.bias ? 3u : 1u, out));
    const hone_tid stored[] = {x, w, dy, y, dx};
    for (int k = 0; k < 5; k++) t.g->tensor[stored[k]].dtype = l.dtype;
    if (l.bias) t.g->tensor[b].dtype = l.dtype;
    for (int k = 0; k < 3; k++) t.node[k] = &t.g->node[k];
    return t;
}

static void trio_prepare(hone_backend *b, trio *t)
{
    for (int k = 0; k < 3; k++) {
        assert_int_equal(t->node[k]->op, ops[k]);
        OK(b->kernel[ops[k]].prepare(b, t->g, t->node[k]));
        assert_non_null(t->node[k]->choice);
    }
}

static void trio_free(hone_backend *b, trio *t)
{
    for (int k = 0; k < 3; k++) b->kernel[ops[k]].release(b, t->node[k]);
    hone_graph_free(t->g);
}

static hone_backend *open_device(void)
{
    hone_backend *b = NULL;
    OK(hone_backend_open("emulated", 1, &b));
    return b;
}

static void expect(const trio *t, int k, const char *words)
{
    if (!strstr(t->node[k]->choice, words))
        fail_msg("%s: '%s', not '%s'", hone_op_name(ops[k]), t->node[k]->choice, words);
}

/* Library, own kernel by rule, own kernel because the library has nothing, and switched off: each is said. */
static void test_choices(void **state)
{
    (void)state;
    static const struct {
        layer l;
        const char *libraries, *word[3];
    } row[] = {
        {{2, 5, 12, 6, 3, 1, 1, true, HONE_F32}, "auto", {"standin engine", "standin engine", "standin engine"}},
        {{2, 5, 8, 6, 3, 1, 1, true, HONE_F32}, "auto", {"standin engine", "own kernel: small", "own kernel: small"}},
        {{2, 5, 9, 6, 3, 1, 1, true, HONE_F32}, "auto", {"standin engine", "standin engine", "standin engine"}},
        {{2, 5, 8, 6, 3, 1, 1, true, HONE_F32}, "all", {"standin engine", "standin engine", "standin engine"}},
        {{2, 5, 4, 6, 3, 1, 2, true, HONE_BF16}, "auto", {"standin engine", "standin engine", "standin engine"}},
        {{2, 5, 12, 5, 3, 1, 1, true, HONE_F32}, "auto", {", own bias", "standin engine", "standin engine"}},
        {{2, 5, 4, 4, 3, 1, 4, false, HONE_F32},
         "auto",
         {"own kernel: depthwise", "own kernel: depthwise", "own kernel: depthwise"}},
        {{2, 5, 4, 4, 3, 1, 4, false, HONE_F32}, "all", {"standin engine", "standin engine", "standin engine"}},
        {{2, 5, 4, 6, 3, 2, 2, false, HONE_F16},
         "auto",
         {"own kernel: standin: 0 offered", "own kernel: standin: 0 offered", "own kernel: standin: 0 offered"}},
        {{2, 5, 12, 6, 3, 1, 1, true, HONE_F32}, "own", {"switched off", "switched off", "switched off"}},
    };
    hone_backend *b = open_device();
    for (size_t k = 0; k < sizeof row / sizeof row[0]; k++) {
        assert_int_equal(setenv("HONE_CUDA_LIBRARIES", row[k].libraries, 1), 0);
        trio t = trio_new(row[k].l);
        trio_prepare(b, &t);
        for (int d = 0; d < 3; d++) {
            expect(&t, d, row[k].word[d]);
            if (strstr(t.node[d]->choice, "engine")) expect(&t, d, ", deterministic");
        }
        trio_free(b, &t);
    }
    unsetenv("HONE_CUDA_LIBRARIES");
    hone_backend_close(b);
}

/* dw comes in the activations' type and is added up in fp32: scratch for it where it can't go straight to dw. */
static void test_scratch(void **state)
{
    (void)state;
    hone_backend *b = open_device();
    size_t bytes[3];
    for (int k = 0; k < 3; k++) {
        trio t = trio_new((layer){2, 5, 12, 6, 3, 1, 1, false, k == 1 ? HONE_BF16 : HONE_F32});
        t.node[2]->accumulate = k == 2;
        trio_prepare(b, &t);
        bytes[k] = t.node[2]->work_bytes;
        trio_free(b, &t);
    }
    const size_t count = 6 * 3 * 3 * 12, engines = 192; /* the stand-in's workspaces differ by less */
    assert_true(bytes[1] + engines >= bytes[0] + 2 * count && bytes[2] + engines >= bytes[0] + 4 * count);
    hone_backend_close(b);
}

/* Of many problems, how many got an engine whose choice has `word`. */
static int count_choices(bool any_order, hone_precision precision, const char *word)
{
    hone_backend *b = open_device();
    int found = 0;
    b->any_order = any_order;
    for (int n = 1; n <= 12; n++) {
        trio t = trio_new((layer){n, 4, 2, 2, 1, 1, 1, false, HONE_F32});
        t.g->precision = precision;
        trio_prepare(b, &t);
        for (int k = 0; k < 3; k++) found += strstr(t.node[k]->choice, word) != NULL;
        trio_free(b, &t);
    }
    hone_backend_close(b);
    return found;
}

/* The stand-in's times are drawn: whatever is allowed is chosen now and then, what is forbidden never. */
static void test_permissions(void **state)
{
    (void)state;
    assert_int_equal(count_choices(false, HONE_PRECISION_FP32, "not deterministic"), 0);
    assert_true(count_choices(true, HONE_PRECISION_FP32, "not deterministic") > 0);
    assert_int_equal(count_choices(false, HONE_PRECISION_FP32, "engine 92"), 0); /* TF32 */
    assert_true(count_choices(false, HONE_PRECISION_TF32, "engine 92") > 0);
    assert_int_equal(count_choices(true, HONE_PRECISION_TF32, "engine 91"), 0); /* rounds its sums */
    assert_int_equal(count_choices(true, HONE_PRECISION_TF32, "compiled at run time"), 0);
}

/* A choice once made stays, though another timing would end otherwise. */
static void test_choice_stays(void **state)
{
    (void)state;
    hone_backend *b = open_device();
    char first[3][400];
    for (int round = 0; round < 6; round++) {
        trio t = trio_new((layer){3, 6, 12, 8, 3, 1, 1, true, HONE_BF16});
        trio_prepare(b, &t);
        for (int k = 0; k < 3; k++) {
            if (round == 0) snprintf(first[k], sizeof first[k], "%s", t.node[k]->choice);
            assert_string_equal(t.node[k]->choice, first[k]);
        }
        trio_free(b, &t);
    }
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choices), cmocka_unit_test(test_scratch),
                                       cmocka_unit_test(test_permissions), cmocka_unit_test(test_choice_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
