/* test_fuse.c - fused programs equal plain ones (to the bit on ref, 1e-5 normwise on cpu), every fused
 * row is reached by some net, and nothing is fused that somebody else still reads.
 * rooms: compile graph kernels core */
#include "support/programs.h"

enum { NETS = 8 };

/* Ready for a program: nets 6 and 7 are for inference. */
static hone_compile_opts build_fusing(net *n, int kind)
{
    if (kind < 5) build_net(n, kind, 3);
    if (kind == 5) { /* a plain perceptron: linear_dx_act needs a chain without joins */
        net_start(n, 4, 5, 2, DIM(4, 9));
        hone_tid h = net_act(n, HONE_OP_relu, net_linear(n, n->x, 8, true));
        h = net_act(n, HONE_OP_leaky_relu, net_linear(n, h, 7, false));
        h = net_act(n, HONE_OP_sigmoid, net_linear(n, h, 6, true));
        net_finish(n, net_linear(n, net_act(n, HONE_OP_relu6, net_linear(n, h, 6, true)), 5, true), 1.0f);
    }
    if (kind == 6) net_resnet(n, 3, true);
    if (kind == 7) { /* a join of plain branches, in training: add_relu */
        net_start(n, 4, 5, 2, DIM(4, 9));
        hone_tid h = net_add(n, net_linear(n, n->x, 8, true), net_linear(n, n->x, 8, true));
        net_finish(n, net_linear(n, net_act(n, HONE_OP_relu, h), 5, true), 1.0f);
    }
    hone_compile_opts o = {.loss = kind == 6 ? HONE_NONE : n->loss};
    return o;
}

static void fused_programs_equal_plain_ones(void **state)
{
    (void)state;
    const struct {
        const char *backend;
        double bound;
    } runs[] = {{"ref", 0}, {"cpu", 1e-5}};
    for (int k = 0; k < 2; k++) {
        hone_backend *b = NULL;
        OK(hone_backend_open(runs[k].backend, 2, &b));
        for (int kind = 0; kind < NETS; kind++) {
            net n;
            hone_compile_opts o = build_fusing(&n, kind);
            hone_program *fused = compiled(&n, b, &o);
            o.no_fuse = true;
            hone_program *plain = compiled(&n, b, &o);
            assert_true(hone_program_graph(fused)->node_count < hone_program_graph(plain)->node_count);
            double d = difference_of(&n, fused, plain);
            /* where pooling windows overlap the fused row rounds each window's share, the plain rows their sum */
            double bound = kind == 4 && k == 0 ? 1e-6 : runs[k].bound;
            if (!(d <= bound)) fail_msg("net %d on %s: fused differs by %g", kind, runs[k].backend, d);
            hone_program_free(fused);
            hone_program_free(plain);
            hone_graph_free(n.g);
        }
        hone_backend_close(b);
    }
}

/* Planted fault: a fused row that forgets its activation. */
static void a_wrong_fused_kernel_is_caught(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    hone_compile_opts o = build_fusing(&n, 5);
    b->kernel[HONE_OP_linear_act].launch = b->kernel[HONE_OP_linear].launch;
    hone_program *fused = compiled(&n, b, &o);
    o.no_fuse = true;
    hone_program *plain = compiled(&n, b, &o);
    assert_true(difference_of(&n, fused, plain) > 1e-5);
    hone_program_free(fused);
    hone_program_free(plain);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void every_fused_row_is_reached(void **state)
{
    (void)state;
    int count[HONE_OP_COUNT] = {0};
    hone_backend *b = open_backend("ref");
    for (int kind = 0; kind < NETS; kind++) {
        net n;
        hone_compile_opts o = build_fusing(&n, kind);
        hone_program *p;
        OK(hone_compile_plan(n.g, b, &o, &p));
        for (int op = 0; op < HONE_OP_COUNT; op++) count[op] += net_count_ops(p, (hone_op)op);
        hone_program_free(p);
        hone_graph_free(n.g);
    }
    for (int op = HONE_OP_linear_act; op <= HONE_OP_softmax_xent_both; op++)
        if (count[op] == 0) fail_msg("no net of this test is fused into %s", hone_op_name((hone_op)op));
    hone_backend_close(b);
}

static hone_program *planned(net *n, hone_backend *b, hone_compile_opts o)
{
    hone_program *p;
    OK(hone_compile_plan(n->g, b, &o, &p));
    return p;
}

/* The shapes that the speed of the image nets rests on, one net each. */
static void what_the_image_nets_become(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    hone_compile_opts o = build_fusing(&n, 2); /* LeNet */
    hone_program *p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_conv_act_maxpool), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_conv_act_maxpool_dw), 1); /* first layer: nothing else reads it */
    assert_int_equal(net_count_ops(p, HONE_OP_maxpool_act_dx), 1);      /* second layer: conv_dw and conv_dx  */
    assert_int_equal(net_count_ops(p, HONE_OP_softmax_xent_both), 1);
    assert_int_equal(net_count_ops(p, HONE_OP_maxpool) + net_count_ops(p, HONE_OP_maxpool_dx), 0);
    hone_program_free(p);
    hone_graph_free(n.g);
    o = build_fusing(&n, 1); /* ResNet */
    p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_add_relu), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_add_relu_dx), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_relu), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_relu), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_relu_dx), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_relu6), 1);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_relu6_dx), 1);
    assert_int_equal(net_count_ops(p, HONE_OP_add), 0); /* the joins' gradients are added by the norms below them */
    hone_program_free(p);
    hone_graph_free(n.g);
    o = build_fusing(&n, 6); /* the same for inference */
    p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_infer_add_relu), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_batchnorm_infer_relu), 2);
    hone_program_free(p);
    hone_graph_free(n.g);
    o = build_fusing(&n, 3); /* a transformer: each join with the norm behind it, each branch with its way round */
    p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_add_layernorm), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_layernorm_add_dx), 2);
    assert_int_equal(net_count_ops(p, HONE_OP_layernorm), 1);  /* the first one: no join before it */
    assert_int_equal(net_count_ops(p, HONE_OP_linear_act), 1); /* gelu, and its input as a second output */
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dx_act), 1);
    assert_int_equal(net_count_ops(p, HONE_OP_gelu) + net_count_ops(p, HONE_OP_gelu_dx), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_add), 0);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* In 16 bits a join whose channels make whole bytes leaves a bit an element, which its gradient reads in place of y; not
 * one of six channels, and none in fp32. Planned only: ref computes in fp32. */
static void joins_leave_bits(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    b->precisions |= 1u << HONE_PRECISION_BF16;
    for (int half = 0; half < 2; half++) {
        net n;
        hone_compile_opts o = build_fusing(&n, 1);
        o.precision = half ? HONE_PRECISION_BF16 : HONE_PRECISION_FP32;
        hone_program *p = planned(&n, b, o);
        const hone_graph *g = hone_program_graph(p);
        int by_bits = 0, by_y = 0;
        for (hone_nid i = 0; i < g->node_count; i++) {
            const hone_node *m = &g->node[i];
            if (m->op != HONE_OP_batchnorm_add_relu_dx) continue;
            assert_true((m->in[4] == HONE_NONE) != (m->in[7] == HONE_NONE));
            by_y += m->in[4] != HONE_NONE;
            by_bits += m->in[7] != HONE_NONE;
            if (m->in[7] == HONE_NONE) continue;
            assert_int_equal(g->node[g->tensor[m->in[7]].producer].op, HONE_OP_batchnorm_add_relu);
            assert_int_equal(g->tensor[m->in[7]].dtype, HONE_U8);
            assert_int_equal(8 * hone_tensor_count(&g->tensor[m->in[7]]), hone_tensor_count(&g->tensor[m->in[0]]));
        }
        assert_int_equal(by_bits, half);
        assert_int_equal(by_y, 2 - half);
        hone_program_free(p);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* A kept inner value, one with a second reader, and a row the backend lacks stay as they are. */
static void what_must_not_be_fused(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    hone_compile_opts o = build_fusing(&n, 5);
    hone_program *p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_act), 4);
    hone_program_free(p);
    n.g->tensor[n.g->node[2].out[0]].flags |= HONE_TENSOR_KEEP;
    p = compiled(&n, b, &o);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_act), 3);
    float inner[4 * 7];
    OK(hone_program_step(p));
    OK(hone_program_read(p, n.g->node[2].out[0], inner, sizeof inner));
    hone_program_free(p);
    b->kernel[HONE_OP_linear_act].launch = NULL;
    p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_act), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_linear), 5);
    hone_program_free(p);
    b->fuses = false;
    p = planned(&n, b, o);
    assert_int_equal(net_count_ops(p, HONE_OP_linear_dx_act), 0);
    hone_program_free(p);
    hone_graph_free(n.g);

    hone_backend_close(b);
    b = open_backend("ref");           /* whole again */
    net_start(&n, 4, 5, 2, DIM(4, 9)); /* relu's sum has two readers; gelu is fused where a dialect gains by it */
    hone_tid h = net_act(&n, HONE_OP_gelu, net_linear(&n, n.x, 8, true)), s = net_add(&n, h, h);
    net_finish(&n, net_linear(&n, net_op(&n, HONE_OP_mul, IDS(net_act(&n, HONE_OP_relu, s), s), NULL), 5, true), 1.0f);
    p = planned(&n, b, (hone_compile_opts){.loss = n.loss});
    assert_int_equal(net_count_ops(p, HONE_OP_gelu), 0);
    assert_int_equal(net_count_ops(p, HONE_OP_gelu_dx), 1); /* its gradient is a sum, and no product */
    assert_int_equal(net_count_ops(p, HONE_OP_add_relu), 0);
    hone_program_free(p);
    b->input_acts = 0;
    p = planned(&n, b, (hone_compile_opts){.loss = n.loss});
    assert_int_equal(net_count_ops(p, HONE_OP_gelu), 1);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* A fused activation keeps its slope, and the layer of the weights names the node. */
static void attributes_survive(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    hone_compile_opts o = build_fusing(&n, 5);
    for (hone_nid i = 0; i < n.g->node_count; i++) n.g->node[i].layer = i;
    hone_program *p = planned(&n, b, o);
    const hone_graph *g = hone_program_graph(p);
    int seen = 0;
    for (hone_nid i = 0; i < g->node_count; i++) {
        const hone_node *m = &g->node[i];
        if (m->op != HONE_OP_linear_act) continue;
        const hone_act act[] = {HONE_ACT_RELU, HONE_ACT_LEAKY_RELU, HONE_ACT_SIGMOID, HONE_ACT_RELU6};
        assert_int_equal(m->attr.act, act[seen]);
        assert_int_equal(m->layer, 2 * seen);
        if (act[seen] == HONE_ACT_LEAKY_RELU) assert_true(m->attr.leaky.slope == 0.1f);
        seen++;
    }
    assert_int_equal(seen, 4);
    for (hone_tid t = 0; t < g->tensor_count; t++) { /* producers are right after the node array was closed up */
        hone_nid made = g->tensor[t].producer;
        if (made == HONE_NONE) continue;
        bool found = false;
        for (int k = 0; k < HONE_MAX_OUT; k++) found = found || g->node[made].out[k] == t;
        assert_true(found);
    }
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_programs_equal_plain_ones),
        cmocka_unit_test(a_wrong_fused_kernel_is_caught),
        cmocka_unit_test(every_fused_row_is_reached),
        cmocka_unit_test(what_the_image_nets_become),
        cmocka_unit_test(what_must_not_be_fused),
        cmocka_unit_test(attributes_survive),
        cmocka_unit_test(joins_leave_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
