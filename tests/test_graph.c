/* test_graph.c - the builder, the shape rule of every operation, and its messages.
 * rooms: graph core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph_build.h"
#include "graph/signature.h"

static hone_tid tensor(hone_graph *g, const char *name, hone_role role, int rank, const int64_t *dim)
{
    hone_tid t = HONE_NONE;
    assert_int_equal(hone_graph_tensor(g, name, HONE_F32, role, rank, dim, &t), HONE_OK);
    return t;
}
#define DIM(...)                                                                                                       \
    (const int64_t[]) { __VA_ARGS__ }
#define RANK(...)               ((int)(sizeof(DIM(__VA_ARGS__)) / sizeof(int64_t)))
#define INPUT(g, name, ...)     tensor(g, name, HONE_ROLE_INPUT, RANK(__VA_ARGS__), DIM(__VA_ARGS__))
#define PARAM(g, name, ...)     tensor(g, name, HONE_ROLE_PARAM, RANK(__VA_ARGS__), DIM(__VA_ARGS__))
#define assert_shape(g, t, ...) check_shape(g, t, RANK(__VA_ARGS__), DIM(__VA_ARGS__))

static void check_shape(const hone_graph *g, hone_tid t, int rank, const int64_t *dim)
{
    assert_int_equal(g->tensor[t].rank, rank);
    for (int k = 0; k < rank; k++) assert_int_equal(g->tensor[t].dim[k], dim[k]);
}

static void check_message(const char *part)
{
    if (!strstr(hone_error_message(), part)) fail_msg("'%s' lacks '%s'", hone_error_message(), part);
}

/* Every row of ops.def has a signature that parses, with the counts that ops.def says. */
static void every_op_has_a_shape_rule(void **state)
{
    (void)state;
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        hone_signature sig;
        const char *line = hone_shape_signature((hone_op)op);
        if (!line) fail_msg("%s has no row in shape.c", hone_op_name((hone_op)op));
        if (!hone_signature_parse(line, &sig)) fail_msg("%s: '%s' does not parse", hone_op_name((hone_op)op), line);
        if (sig.in_count != hone_op_inputs((hone_op)op) || sig.out_count != hone_op_outputs((hone_op)op))
            fail_msg("%s: '%s' has other counts than ops.def", hone_op_name((hone_op)op), line);
        assert_in_range(hone_op_in_place((hone_op)op) + 1, 0, sig.in_count);
    }
}

static void malformed_signatures_are_refused(void **state)
{
    (void)state;
    hone_signature sig;
    const char *bad[] = {"x ..", "x lower -> y ..", "x AB -> y A -> z B", "x ABCDEFG -> y A", "-> ? A", ": A -> y A"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        if (hone_signature_parse(bad[k], &sig)) fail_msg("accepted '%s'", bad[k]);
    assert_true(hone_signature_parse("x ..I, b? O -> y ..O", &sig));
    assert_true(sig.in[1].optional && !sig.in[0].optional && sig.out_count == 1);
}

static void dense_and_window_shapes(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new();
    hone_tid x = INPUT(g, "x", 5, 9, 7, 4), w = PARAM(g, "w", 6, 3, 2, 2), y, out[HONE_MAX_OUT];
    hone_attrs a = {.window = {.kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 0}, .dilation = {2, 1}, .groups = 2}};
    assert_int_equal(hone_graph_add1(g, HONE_OP_conv, (hone_tid[]){x, w, HONE_NONE}, &a, &y), HONE_OK);
    assert_shape(g, y, 5, 4, 6, 6); /* (9 + 2 - 2*2 - 1)/2 + 1 = 4, 7 - 2 + 1 = 6 */
    hone_attrs pool = {.window = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1}};
    assert_int_equal(hone_graph_add(g, HONE_OP_maxpool, &y, &pool, ~0u, out), HONE_OK);
    assert_shape(g, out[0], 5, 2, 3, 6);
    assert_int_equal(g->tensor[out[1]].dtype, HONE_U8);
    assert_int_equal(out[2], HONE_NONE);
    assert_int_equal(hone_graph_add(g, HONE_OP_maxpool, &y, &pool, 1u, out), HONE_OK);
    assert_int_equal(out[1], HONE_NONE);
    hone_tid flat, fw = PARAM(g, "fw", 10, 36), fb = PARAM(g, "fb", 10), z;
    assert_int_equal(hone_graph_reshape(g, out[0], 2, DIM(5, 36), &flat), HONE_OK);
    assert_int_equal(g->tensor[flat].alias, out[0]);
    assert_int_equal(hone_graph_add1(g, HONE_OP_linear, (hone_tid[]){flat, fw, fb}, NULL, &z), HONE_OK);
    assert_shape(g, z, 5, 10);
    assert_string_equal(g->tensor[y].name, "conv#0");
    hone_graph_free(g);
}

static void token_shapes(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new();
    hone_tid x = INPUT(g, "x", 3, 8, 12), t = PARAM(g, "t", 12), p = PARAM(g, "p", 9, 12), y, out[HONE_MAX_OUT];
    assert_int_equal(hone_graph_add1(g, HONE_OP_prepend_token, (hone_tid[]){x, t}, NULL, &y), HONE_OK);
    assert_shape(g, y, 3, 9, 12);
    assert_int_equal(hone_graph_add1(g, HONE_OP_add_rows, (hone_tid[]){y, p}, NULL, &y), HONE_OK);
    hone_tid gamma = PARAM(g, "gamma", 12), beta = PARAM(g, "beta", 12);
    assert_int_equal(hone_graph_add(g, HONE_OP_layernorm, (hone_tid[]){y, gamma, beta},
                                    &(hone_attrs){.norm = {.eps = 1e-5f}}, ~0u, out),
                     HONE_OK);
    assert_shape(g, out[1], 27);
    hone_tid w = PARAM(g, "qkv", 36, 12), q, step;
    assert_int_equal(hone_graph_add1(g, HONE_OP_linear, (hone_tid[]){out[0], w, HONE_NONE}, NULL, &q), HONE_OK);
    assert_int_equal(hone_graph_step(g, &step), HONE_OK);
    hone_attrs a = {.attention = {.heads = 3, .p = 0.1f}};
    assert_int_equal(hone_graph_add(g, HONE_OP_attention, (hone_tid[]){q, step}, &a, ~0u, out), HONE_OK);
    assert_shape(g, out[0], 3, 9, 12);
    assert_shape(g, out[1], 3, 3, 9);
    assert_int_equal(hone_graph_add(g, HONE_OP_attention, (hone_tid[]){q, HONE_NONE}, &a, ~0u, out), HONE_ERR_USAGE);
    check_message("dropout needs the step block");
    assert_int_equal(hone_graph_add1(g, HONE_OP_first_token, &y, NULL, &q), HONE_OK);
    assert_shape(g, q, 3, 12);
    assert_int_equal(hone_graph_add1(g, HONE_OP_global_avgpool, &y, NULL, &q), HONE_OK);
    assert_shape(g, q, 3, 12);
    hone_graph_free(g);
}

/* One row a mistake: the message must name the op, the shapes, and what is wrong. */
static void messages_say_what_was_expected(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new();
    hone_tid x = INPUT(g, "x", 4, 7), w = PARAM(g, "fc.weight", 3, 6), b = PARAM(g, "fc.bias", 3), y;
    hone_tid image = INPUT(g, "image", 2, 5, 5, 4), k = PARAM(g, "conv.weight", 8, 3, 3, 4);
    assert_int_equal(hone_graph_add1(g, HONE_OP_linear, (hone_tid[]){x, w, b}, NULL, &y), HONE_ERR_USAGE);
    check_message("linear(x 'x' f32 (4, 7), w 'fc.weight' f32 (3, 6), b 'fc.bias' f32 (3))");
    check_message("I is 7, but w has 6 there");
    check_message("expected x (.., I), w (O, I), b? (O)");
    assert_int_equal(hone_graph_add1(g, HONE_OP_linear, (hone_tid[]){x, HONE_NONE, b}, NULL, &y), HONE_ERR_USAGE);
    check_message("w is missing");
    assert_int_equal(hone_graph_add1(g, HONE_OP_add, (hone_tid[]){x, image}, NULL, &y), HONE_ERR_USAGE);
    check_message("the dimensions '..' of b differ");
    hone_attrs a = {.window = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {3, 3}, .groups = 1}};
    assert_int_equal(hone_graph_add1(g, HONE_OP_conv, (hone_tid[]){image, k, HONE_NONE}, &a, &y), HONE_ERR_USAGE);
    check_message("a window of height 7 does not fit in 5 with pad 0");
    a.window.dilation[0] = a.window.dilation[1] = 1;
    a.window.groups = 3;
    assert_int_equal(hone_graph_add1(g, HONE_OP_conv, (hone_tid[]){image, k, HONE_NONE}, &a, &y), HONE_ERR_USAGE);
    check_message("3 groups do not divide 4 inputs and 8 outputs");
    a.window.groups = 1;
    a.window.kernel[1] = 2;
    assert_int_equal(hone_graph_add1(g, HONE_OP_conv, (hone_tid[]){image, k, HONE_NONE}, &a, &y), HONE_ERR_USAGE);
    check_message("the attribute says kernel 3 x 2");
    assert_int_equal(hone_graph_add1(g, HONE_OP_relu, (hone_tid[]){99}, NULL, &y), HONE_ERR_USAGE);
    check_message("relu: input 0 is 99");
    assert_int_equal(hone_graph_add1(g, HONE_OP_dropout, (hone_tid[]){x, w}, NULL, &y), HONE_ERR_USAGE);
    check_message("must be the step block");
    assert_int_equal(hone_graph_reshape(g, x, 2, DIM(4, 8), &y), HONE_ERR_USAGE);
    check_message("it can't become (4, 8)");
    assert_int_equal(g->node_count, 0);
    hone_graph_free(g);
}

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new();
    hone_tid t;
    PARAM(g, "a", 3);
    assert_int_equal(hone_graph_tensor(g, "a", HONE_F32, HONE_ROLE_STATE, 1, DIM(3), &t), HONE_ERR_USAGE);
    check_message("parameter 'a' exists already");
    assert_int_equal(hone_graph_tensor(g, "", HONE_F32, HONE_ROLE_PARAM, 1, DIM(3), &t), HONE_ERR_USAGE);
    assert_int_equal(hone_graph_tensor(g, "z", HONE_F32, HONE_ROLE_INPUT, 2, DIM(3, 0), &t), HONE_ERR_USAGE);
    assert_int_equal(hone_graph_tensor(g, "z", HONE_F32, HONE_ROLE_INPUT, 5, DIM(1, 1, 1, 1, 1), &t), HONE_ERR_USAGE);
    int64_t big = INT64_C(1) << 31;
    assert_int_equal(hone_graph_tensor(g, "z", HONE_F32, HONE_ROLE_INPUT, 2, DIM(big, big), &t), HONE_ERR_USAGE);
    assert_int_equal(hone_graph_tensor(g, "z", HONE_F32, HONE_ROLE_INPUT, 2, DIM(big, 1 << 20), &t), HONE_OK);
    assert_int_equal(hone_graph_find(g, "z"), t);
    assert_int_equal(hone_graph_find(g, "nothing"), HONE_NONE);
    hone_graph_free(g);
}

static void a_copy_is_independent(void **state)
{
    (void)state;
    hone_graph *g = hone_graph_new();
    hone_tid x = INPUT(g, "x", 2, 3), y = x;
    for (int k = 0; k < 200; k++) assert_int_equal(hone_graph_add1(g, HONE_OP_relu, &y, NULL, &y), HONE_OK);
    hone_graph *c = hone_graph_copy(g);
    assert_non_null(c);
    hone_graph_free(g);
    assert_int_equal(c->node_count, 200);
    assert_int_equal(hone_graph_add1(c, HONE_OP_tanh, &y, NULL, &y), HONE_OK);
    assert_int_equal(c->tensor[y].producer, 200);
    hone_graph_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_a_shape_rule),      cmocka_unit_test(malformed_signatures_are_refused),
        cmocka_unit_test(dense_and_window_shapes),        cmocka_unit_test(token_shapes),
        cmocka_unit_test(messages_say_what_was_expected), cmocka_unit_test(bad_tensors_are_refused),
        cmocka_unit_test(a_copy_is_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
