/* test_dnn.c - operation graphs for cuDNN as plain data: every kind passes the check, every planted mistake is refused,
 * problems and choices read as documented, and the rules go by notes.
 * rooms: dnn core
 *
 * The mistakes include those that cuDNN itself lets pass: half a weight, another layout, one uid for two tensors,
 * a mixed type. No library is needed here; tests/test_cudnn_plans.c asks the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "dnn.h"

/* 3x3, stride 2, 8 -> 12 channels, 9x7 -> 5x4. */
static hone_dnn_problem small(hone_dnn_kind kind, hone_dtype dtype)
{
    return (hone_dnn_problem){
        .kind = kind,
        .dtype = dtype,
        .n = 2,
        .h = 9,
        .w = 7,
        .in = 8,
        .oh = 5,
        .ow = 4,
        .out = 12,
        .window = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1}};
}

static void test_every_kind_passes(void **state)
{
    (void)state;
    static const hone_dtype types[] = {HONE_F32, HONE_BF16, HONE_F16};
    hone_dnn_graph g;
    for (int kind = 0; kind < HONE_DNN_KIND_COUNT; kind++)
        for (int d = 0; d < 3; d++) {
            hone_dnn_problem p = small((hone_dnn_kind)kind, types[d]);
            if (hone_dnn_graph_of(&p, &g) != HONE_OK) fail_msg("%s", hone_error_message());
            p.window.groups = 4;
            if (hone_dnn_graph_of(&p, &g) != HONE_OK) fail_msg("%s", hone_error_message());
        }
    for (int flags = 0; flags < 4; flags++) {
        hone_dnn_problem p = small(HONE_DNN_CONV, HONE_BF16);
        p.bias = flags & 1;
        p.relu = flags & 2;
        assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_OK);
        assert_int_equal(g.op_count, 1 + p.bias + p.relu);
    }
}

/* Memory is hone's: channels innermost in images and weights, in cuDNN's order of dims. */
static void test_layout(void **state)
{
    (void)state;
    hone_dnn_graph g;
    hone_dnn_problem p = small(HONE_DNN_CONV, HONE_F16);
    p.window.groups = 2;
    assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_OK);
    const hone_dnn_tensor *x = &g.tensor[hone_dnn_graph_find(&g, HONE_DNN_X)];
    const hone_dnn_tensor *w = &g.tensor[hone_dnn_graph_find(&g, HONE_DNN_W)];
    const int64_t x_dim[] = {2, 8, 9, 7}, x_stride[] = {9 * 7 * 8, 1, 7 * 8, 8};
    const int64_t w_dim[] = {12, 4, 3, 3}, w_stride[] = {3 * 3 * 4, 1, 3 * 4, 4};
    assert_memory_equal(x->dim, x_dim, sizeof x_dim);
    assert_memory_equal(x->stride, x_stride, sizeof x_stride);
    assert_memory_equal(w->dim, w_dim, sizeof w_dim);
    assert_memory_equal(w->stride, w_stride, sizeof w_stride);
    assert_int_equal(hone_dnn_graph_find(&g, HONE_DNN_BIAS), -1);
}

/* --- planted mistakes ---------------------------------------------------------------------------------------- */
static hone_dnn_tensor *tensor(hone_dnn_graph *g, int64_t uid) { return &g->tensor[hone_dnn_graph_find(g, uid)]; }

/* Packed channels-last again, so that only the dim is wrong. */
static void set_dim(hone_dnn_tensor *t, int d, int64_t size)
{
    t->dim[d] = size;
    t->stride[3] = t->dim[1];
    t->stride[2] = t->dim[1] * t->dim[3];
    t->stride[0] = t->dim[1] * t->dim[3] * t->dim[2];
}

static void half_weight(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_W), 1, 4); }
static void weight_outputs(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_W), 0, 6); }
static void weight_kernel(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_W), 3, 5); }
static void weight_type(hone_dnn_graph *g) { tensor(g, HONE_DNN_W)->dtype = HONE_F32; }
static void image_type(hone_dnn_graph *g) { tensor(g, HONE_DNN_X)->dtype = HONE_F16; }
static void odd_type(hone_dnn_graph *g) { tensor(g, HONE_DNN_X)->dtype = HONE_F64; }
static void image_channels(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_X), 1, 16); }
static void image_batch(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_X), 0, 1); }
static void image_height(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_X), 2, 11); }
static void image_empty(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_X), 2, 0); }
static void bias_channels(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_BIAS), 1, 6); }
static void bias_rows(hone_dnn_graph *g) { set_dim(tensor(g, HONE_DNN_BIAS), 0, 2); }
static void same_uid(hone_dnn_graph *g) { tensor(g, HONE_DNN_W)->uid = HONE_DNN_X; }
static void no_uid(hone_dnn_graph *g) { tensor(g, HONE_DNN_W)->uid = 0; }
static void foreign_uid(hone_dnn_graph *g) { tensor(g, HONE_DNN_W)->uid = 77; }
static void result_left_virtual(hone_dnn_graph *g) { tensor(g, HONE_DNN_Y)->is_virtual = true; }
static void groups_do_not_divide(hone_dnn_graph *g) { g->op[0].window.groups = 3; }
static void window_stride(hone_dnn_graph *g) { g->op[0].window.stride[1] = 1; }
static void window_zero(hone_dnn_graph *g) { g->op[0].window.stride[0] = 0; }
static void window_pad(hone_dnn_graph *g) { g->op[0].window.pad[0] = 2; }
static void loose_slot(hone_dnn_graph *g) { g->op[0].slot[1] = -1; }
static void far_slot(hone_dnn_graph *g) { g->op[0].slot[1] = g->tensor_count; }
static void too_many_ops(hone_dnn_graph *g) { g->op_count = HONE_DNN_OPS_MAX + 1; }
static void too_many_tensors(hone_dnn_graph *g) { g->tensor_count = HONE_DNN_TENSORS_MAX + 1; }
static void graph_type(hone_dnn_graph *g) { g->dtype = HONE_I32; }
static void nchw(hone_dnn_graph *g)
{
    hone_dnn_tensor *t = tensor(g, HONE_DNN_Y);
    t->stride[3] = 1, t->stride[2] = t->dim[3], t->stride[1] = t->dim[3] * t->dim[2];
}
static void overlapping(hone_dnn_graph *g) { tensor(g, HONE_DNN_Y)->stride[0] = 1; }
static void backwards(hone_dnn_graph *g) /* ReLU before the sum that it reads */
{
    hone_dnn_op last = g->op[2];
    g->op[2] = g->op[1];
    g->op[1] = last;
}
static void two_writers(hone_dnn_graph *g) { g->op[2].slot[1] = g->op[1].slot[2]; }
static void unread(hone_dnn_graph *g) { g->op_count--; } /* without its ReLU the sum has no reader */
static void idle_tensor(hone_dnn_graph *g)
{
    const int64_t dim[4] = {1, 3, 1, 1};
    hone_dnn_add_tensor(g, HONE_DNN_GAMMA, HONE_F32, dim);
}

static void test_planted_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *what, *word; /* that the message must have */
        void (*plant)(hone_dnn_graph *);
    } mistake[] = {
        {"weight of half the channels", "weight of 4 input channels", half_weight},
        {"weight of other outputs", "output channels", weight_outputs},
        {"weight of another size", "under a window", weight_kernel},
        {"fp32 weight, bf16 image", "f32 in a graph of bf16", weight_type},
        {"fp16 image, bf16 rest", "f16 in a graph of bf16", image_type},
        {"double", "type f64", odd_type},
        {"image of other channels", "input channels", image_channels},
        {"image of another batch", "batches of 1 and 2", image_batch},
        {"image of another height", "the window gives 6", image_height},
        {"empty image", "dim 2 is 0", image_empty},
        {"bias of half the channels", "beside tensor", bias_channels},
        {"bias by sample", "beside tensor", bias_rows},
        {"one uid for two tensors", "uid 1 stands for two", same_uid},
        {"no uid", "no uid", no_uid},
        {"a uid that nobody binds", "uid 77", foreign_uid},
        {"result left virtual", "lies in memory", result_left_virtual},
        {"groups that do not divide", "groups", groups_do_not_divide},
        {"stride of the window", "the window gives", window_stride},
        {"stride 0", "stride 0", window_zero},
        {"pad", "the window gives", window_pad},
        {"a slot without tensor", "slot 1 has no tensor", loose_slot},
        {"a slot past the tensors", "slot 1 has no tensor", far_slot},
        {"too many ops", "9 ops", too_many_ops},
        {"too many tensors", "25 tensors", too_many_tensors},
        {"graph of integers", "graph of type i32", graph_type},
        {"channels outermost", "channels-last", nchw},
        {"overlapping strides", "channels-last", overlapping},
        {"ops in the wrong order", "before it is made", backwards},
        {"two writers", "2 writers", two_writers},
        {"an intermediate without reader", "no reader", unread},
        {"a tensor without use", "no use", idle_tensor},
    };
    for (size_t k = 0; k < sizeof mistake / sizeof mistake[0]; k++) {
        hone_dnn_problem p = small(HONE_DNN_CONV, HONE_BF16);
        hone_dnn_graph g;
        p.bias = p.relu = true;
        assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_OK);
        mistake[k].plant(&g);
        hone_error_clear();
        if (hone_dnn_graph_check(&g) != HONE_ERR_USAGE) fail_msg("not refused: %s", mistake[k].what);
        if (!strstr(hone_error_message(), mistake[k].word))
            fail_msg("%s: '%s' does not say '%s'", mistake[k].what, hone_error_message(), mistake[k].word);
    }
    print_message("%zu planted mistakes refused\n", sizeof mistake / sizeof mistake[0]);
}

/* The same through a problem: its sizes contradict each other, and the message names it. */
static void test_wrong_problem(void **state)
{
    (void)state;
    hone_dnn_graph g;
    hone_dnn_problem p = small(HONE_DNN_CONV_DW, HONE_F32);
    p.oh = 6;
    assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "conv_dw f32 n2 9x7x8 -> 12"));
    p = small(HONE_DNN_CONV_DX_NORM, HONE_F16);
    p.window.groups = 5;
    assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_ERR_USAGE);
}

/* --- words and rules ------------------------------------------------------------------------------------------ */
static void test_texts(void **state)
{
    (void)state;
    char text[200];
    hone_dnn_problem p = small(HONE_DNN_CONV_DW, HONE_BF16);
    assert_string_equal(hone_dnn_problem_text(&p, text, sizeof text), "conv_dw bf16 n2 9x7x8 -> 12 k3 s2 p1");
    p = small(HONE_DNN_CONV, HONE_F16);
    p.bias = p.relu = true;
    p.window = (hone_window){.kernel = {3, 5}, .stride = {1, 2}, .pad = {1, 2}, .dilation = {2, 2}, .groups = 4};
    assert_string_equal(hone_dnn_problem_text(&p, text, sizeof text),
                        "conv+bias+relu f16 n2 9x7x8 -> 12 k3x5 s1x2 p1x2 d2 g4");
    hone_dnn_candidate c = {.engine = 38, .ordered = true};
    assert_string_equal(hone_dnn_choice_text("cudnn", &c, 3 << 19, text, sizeof text),
                        "cudnn engine 38, workspace 1.5 MiB, deterministic");
    const hone_dnn_fate f = {.offered = 28, .against_rules = 22, .too_large = 6};
    assert_string_equal(hone_dnn_fate_text(&f, text, sizeof text), "28 offered, 22 against the rules, 6 too large");
    assert_int_equal(strlen(hone_dnn_fate_text(&f, text, 12)), 11); /* cut, never past the end */
}

static void test_rules(void **state)
{
    (void)state;
    const hone_dnn_rules strict = {.ordered = true}, quick = {.tensor_float = true};
    const hone_dnn_candidate good = {.ordered = true}, noisy = {0}, tensor = {.ordered = true, .tensor_cores = true},
                             coarse = {.ordered = true, .rounds_inputs = true};
    assert_null(hone_dnn_refusal(&good, HONE_F32, &strict));
    assert_non_null(hone_dnn_refusal(&noisy, HONE_F32, &strict));
    assert_null(hone_dnn_refusal(&noisy, HONE_F32, &quick));
    assert_non_null(hone_dnn_refusal(&tensor, HONE_F32, &strict)); /* TF32 is a precision of its own */
    assert_null(hone_dnn_refusal(&tensor, HONE_F32, &quick));
    assert_null(hone_dnn_refusal(&tensor, HONE_BF16, &strict));
    assert_non_null(hone_dnn_refusal(&coarse, HONE_F16, &quick)); /* sums in 16 bits are never asked for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_passes),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_planted_mistakes),
        cmocka_unit_test(test_wrong_problem),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
