/* test_backward.c - the gradients of whole programs against central differences in double, and what
 * the backward pass must leave out: dead branches, frozen parameters, the first layer's input.
 * rooms: compile graph kernels core */
#include "support/nets.h"

#include <math.h>

#include "graph/grad.h"

static void every_op_has_a_gradient_rule(void **state)
{
    (void)state;
    for (int op = 0; op < HONE_OP_COUNT; op++)
        if (hone_grad_kind_of((hone_op)op) == HONE_GRAD_UNSET)
            fail_msg("%s has no row in grad.c", hone_op_name((hone_op)op));
    assert_int_equal(hone_grad_inputs(HONE_OP_linear), 7);
    assert_int_equal(hone_grad_inputs(HONE_OP_softmax_xent), 1);
    assert_int_equal(hone_grad_inputs(HONE_OP_relu_dx), 0);
}

static hone_backend *open_backend(const char *name)
{
    hone_backend *b = NULL;
    OK(hone_backend_open(name, 1, &b));
    return b;
}

static double loss_of(hone_program *p, const net *n)
{
    double loss = 0;
    OK(hone_program_forward_backward(p));
    OK(hone_program_read(p, n->loss, &loss, sizeof loss));
    return loss;
}

/* Central differences of some elements of every trainable parameter. `wrong` plants a fault: that
 * share is added to the first gradient. Returns the largest error, relative to 1 + |gradient|. */
static double largest_error(net *n, hone_program *p, double wrong)
{
    const hone_graph *g = hone_program_graph(p);
    double worst = 0;
    int checked = 0;
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        if (g->tensor[t].role != HONE_ROLE_PARAM || !(g->tensor[t].flags & HONE_TENSOR_TRAINABLE)) continue;
        assert_int_not_equal(g->tensor[t].grad, HONE_NONE);
        double *value = hone_program_address(p, t), *grad = hone_program_address(p, g->tensor[t].grad);
        int64_t count = hone_tensor_count(&g->tensor[t]);
        for (int64_t i = 0; i < count; i += 1 + count / 5) {
            const double eps = 1e-5, at = value[i];
            loss_of(p, n);
            double analytic = grad[i] + (checked++ == 0 ? wrong : 0);
            value[i] = at + eps;
            double high = loss_of(p, n);
            value[i] = at - eps;
            double low = loss_of(p, n);
            value[i] = at;
            double error = fabs(analytic - (high - low) / (2 * eps)) / (1 + fabs(analytic));
            if (!(error <= worst)) worst = error;
        }
    }
    assert_true(checked > 5);
    return worst;
}

static void check_net(net *n, bool fuse)
{
    hone_backend *b = open_backend("ref64");
    hone_compile_opts o = {.loss = n->loss, .no_fuse = !fuse};
    hone_program *p;
    OK(hone_compile(n->g, b, &o, &p));
    net_fill(n, p);
    double error = largest_error(n, p, 0);
    if (!(error <= 1e-6)) fail_msg("%s gradients are off by %g", fuse ? "fused" : "plain", error);
    if (!(largest_error(n, p, 1e-3) > 1e-6)) fail_msg("a planted fault of 1e-3 passed");
    hone_program_free(p);
    hone_backend_close(b);
}

static void gradients(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++)
        for (int fuse = 0; fuse < 2; fuse++) {
            net n;
            if (kind == 0) net_residual_mlp(&n, 4, 1.0f);
            if (kind == 1) net_resnet(&n, 3, false);
            if (kind == 2) net_lenet(&n, 3, 1.0f);
            if (kind == 3) net_transformer(&n, 3);
            if (kind == 4) net_pools(&n, 3);
            check_net(&n, fuse == 1);
            hone_graph_free(n.g);
        }
}

/* One weight used by two layers, and a parameter that meets itself: the contributions add up. */
static void shared_parameters(void **state)
{
    (void)state;
    net n;
    net_start(&n, 4, 6, 2, DIM(4, 6));
    hone_tid w = WEIGHT(&n, 6, 6), scale = net_param(&n, 2, DIM(4, 6), HONE_TENSOR_TRAINABLE);
    hone_tid h = net_act(&n, HONE_OP_tanh, net_op(&n, HONE_OP_linear, IDS(n.x, w, HONE_NONE), NULL));
    h = net_op(&n, HONE_OP_mul, IDS(h, net_op(&n, HONE_OP_mul, IDS(scale, scale), NULL)), NULL);
    net_finish(&n, net_op(&n, HONE_OP_linear, IDS(h, w, HONE_NONE), NULL), 1.0f);
    check_net(&n, false);
    check_net(&n, true);
    hone_graph_free(n.g);
}

static hone_program *plan(net *n, hone_backend *b, hone_compile_opts o)
{
    hone_program *p;
    o.loss = n->loss;
    o.no_fuse = true;
    OK(hone_compile_plan(n->g, b, &o, &p));
    return p;
}

/* The first layer never gets an input gradient; of three convolutions two do. */
static void no_gradient_of_the_input(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 2, 1.0f);
    hone_program *p = plan(&n, b, (hone_compile_opts){0});
    assert_int_equal(net_count_ops(p, HONE_OP_conv_dw), 3);
    assert_int_equal(net_count_ops(p, HONE_OP_conv_dx), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dw), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dx), 2);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* With all but the last layer frozen the backward pass is one linear_dw. */
static void frozen_parameters_cost_nothing(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 2, 1.0f);
    hone_tid last_w = hone_graph_find(n.g, "p8"), last_b = hone_graph_find(n.g, "p9");
    for (hone_tid t = 0; t < n.g->tensor_count; t++)
        if (t != last_w && t != last_b) n.g->tensor[t].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE;
    hone_program *p = plan(&n, b, (hone_compile_opts){0});
    int backward = 0;
    const hone_graph *g = hone_program_graph(p);
    for (hone_nid i = 0; i < g->node_count; i++) backward += g->node[i].phase == HONE_PHASE_BACKWARD;
    assert_int_equal(backward, 2); /* softmax_xent_dx, linear_dw */
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dw), 1);
    hone_program_free(p);

    /* Only a bias in the middle: gradients flow down to it and no further, and its weight gets none. */
    for (hone_tid t = 0; t < n.g->tensor_count; t++) n.g->tensor[t].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE;
    n.g->tensor[hone_graph_find(n.g, "p5")].flags |= HONE_TENSOR_TRAINABLE;
    p = plan(&n, b, (hone_compile_opts){0});
    g = hone_program_graph(p);
    assert_int_equal(net_count_ops(p, HONE_OP_conv_dw), 1);
    assert_int_equal(net_count_ops(p, HONE_OP_conv_dx), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dw), 0);
    assert_int_equal(g->tensor[hone_graph_find(g, "p4")].grad, HONE_NONE);
    assert_int_not_equal(g->tensor[hone_graph_find(g, "p5")].grad, HONE_NONE);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* A residual join hands the same gradient to both sides: no copies, one add a join. */
static void residual_gradients_are_shared(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_resnet(&n, 2, false);
    hone_program *p = plan(&n, b, (hone_compile_opts){0});
    assert_int_equal(net_count_ops(p, HONE_OP_add), 2 + 2); /* two joins, two sums of two contributions */
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void refusals_name_the_op(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    hone_program *p;
    net n;
    net_start(&n, 4, 6, 2, DIM(4, 6));
    hone_tid h = net_op(&n, HONE_OP_softmax, IDS(net_linear(&n, n.x, 6, true)), NULL);
    net_finish(&n, net_linear(&n, h, 6, true), 1.0f);
    assert_int_equal(hone_compile(n.g, b, &(hone_compile_opts){.loss = n.loss}, &p), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "softmax (tensor 'softmax#1') has no gradient"));
    assert_int_equal(hone_compile(n.g, b, &(hone_compile_opts){.loss = n.logits}, &p), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "is not a loss"));
    assert_null(p);
    hone_graph_free(n.g);

    net_start(&n, 4, 6, 2, DIM(4, 6));
    h = net_add(&n, n.x, net_param(&n, 2, DIM(4, 6), HONE_TENSOR_TRAINABLE));
    net_finish(&n, h, 1.0f);
    assert_int_equal(hone_compile(n.g, b, &(hone_compile_opts){.loss = n.loss}, &p), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "add would copy its gradient to parameter 'p0'"));
    hone_graph_free(n.g);
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_a_gradient_rule),
        cmocka_unit_test(gradients),
        cmocka_unit_test(shared_parameters),
        cmocka_unit_test(no_gradient_of_the_input),
        cmocka_unit_test(frozen_parameters_cost_nothing),
        cmocka_unit_test(residual_gradients_are_shared),
        cmocka_unit_test(refusals_name_the_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
