/* test_cost.c - work and traffic of nodes against figures counted by hand, the dump of a graph, and
 * the builder under random calls.
 * rooms: compile graph kernels core */
#include "graph/graph_print.h"
#include "support/nets.h"

/* The last node that was added. */
static void check_cost(const net *n, double flop, double bytes)
{
    double f, b;
    const hone_node *m = &n->g->node[n->g->node_count - 1];
    hone_node_cost(n->g, m, &f, &b);
    if (f != flop || b != bytes)
        fail_msg("%s: %g flop, %g bytes; expected %g, %g", hone_op_name(m->op), f, b, flop, bytes);
}

static void costs_by_hand(void **state)
{
    (void)state;
    net n;
    net_start(&n, 2, 4, 4, DIM(2, 8, 6, 3));
    hone_tid c = net_conv(&n, n.x, 5, 3, 1, 1, false);
    check_cost(&n, 2.0 * (2 * 8 * 6 * 5) * (3 * 3 * 3), 4.0 * (2 * 8 * 6 * 3 + 5 * 27 + 2 * 8 * 6 * 5));
    hone_tid r = net_act(&n, HONE_OP_relu, c);
    check_cost(&n, 480, 4.0 * 960);
    net_pool(&n, HONE_OP_maxpool, r, 2, 2, 0);
    check_cost(&n, 2 * 4 * 3 * 5 * 4, 4.0 * (480 + 120)); /* `at` was not asked for */
    hone_tid flat, out[HONE_MAX_OUT];
    OK(hone_graph_reshape(n.g, r, 2, DIM(2, 240), &flat));
    check_cost(&n, 0, 0);
    net_linear(&n, flat, 7, true);
    check_cost(&n, 2.0 * 2 * 7 * 240, 4.0 * (480 + 7 * 240 + 7 + 14));
    hone_attrs a = {.window = net_window(3, 1, 1)};
    OK(hone_graph_add(n.g, HONE_OP_conv_dw, IDS(n.x, c), &a, ~0u, out));
    check_cost(&n, 2.0 * (2 * 8 * 6 * 5) * 27, 4.0 * (288 + 480 + 135 + 5));
    hone_attrs fused = {.window = net_window(3, 1, 1), .pool = net_window(2, 2, 0), .act = HONE_ACT_RELU};
    OK(hone_graph_add(n.g, HONE_OP_conv_act_maxpool, IDS(n.x, n.g->node[0].in[1], HONE_NONE), &fused, ~0u, out));
    check_cost(&n, 2.0 * (2 * 8 * 6 * 5) * 27, 4.0 * (288 + 135 + 120) + 120);
    hone_tid pool, row, sample;
    OK(hone_graph_tensor(n.g, "pool", HONE_U8, HONE_ROLE_POOL, 4, DIM(1000, 8, 6, 3), &pool));
    OK(hone_graph_tensor(n.g, "row", HONE_I32, HONE_ROLE_INPUT, 1, DIM(2), &row));
    OK(hone_graph_tensor(n.g, "sample", HONE_I32, HONE_ROLE_INPUT, 1, DIM(2), &sample));
    hone_attrs image = {.image = {.height = 8, .width = 6, .channels = 3, .std = {1, 1, 1}}};
    net_op(&n, HONE_OP_image_batch, IDS(pool, row, sample, n.step), &image);
    check_cost(&n, 2 * 288, 288 + 16 + (double)sizeof(hone_step) + 4.0 * 288); /* two rows of the pool, not all */
    hone_graph_free(n.g);
}

static void attention_counts_its_products(void **state)
{
    (void)state;
    net n;
    net_start(&n, 2, 4, 3, DIM(2, 5, 36));
    hone_tid out[HONE_MAX_OUT];
    hone_attrs a = {.attention = {.heads = 3}};
    OK(hone_graph_add(n.g, HONE_OP_attention, IDS(n.x, HONE_NONE), &a, ~0u, out));
    check_cost(&n, 2 * 2.0 * 2 * 5 * 5 * 12, 4.0 * (360 + 120 + 30)); /* q k^T and p v */
    hone_graph_free(n.g);
}

static void numbers_are_short(void **state)
{
    (void)state;
    char text[24];
    assert_string_equal(hone_metric_text(0, text, sizeof text), "0  ");
    assert_string_equal(hone_metric_text(999, text, sizeof text), "999  ");
    assert_string_equal(hone_metric_text(1234, text, sizeof text), "1.23 k");
    assert_string_equal(hone_metric_text(56.78e6, text, sizeof text), "56.8 M");
    assert_string_equal(hone_metric_text(999.9e6, text, sizeof text), "1.00 G");
}

static void the_dump_shows_every_node(void **state)
{
    (void)state;
    hone_backend *b = NULL;
    hone_program *p;
    net n;
    hone_text text = {0};
    net_lenet(&n, 2, 1.0f);
    OK(hone_backend_open("ref", 1, &b));
    hone_compile_opts o = {.loss = n.loss, .optimizer = HONE_OPT_SGD};
    OK(hone_compile_plan(n.g, b, &o, &p));
    hone_graph_print(hone_program_graph(p), &text);
    char *dump = hone_text_take(&text);
    assert_non_null(dump);
    int lines = 0;
    for (const char *s = dump; *s; s++) lines += *s == '\n';
    assert_int_equal(lines, 1 + hone_program_graph(p)->node_count + 3); /* head, nodes, a total a phase */
    const char *parts[] = {"   0  forward   conv_act_maxpool", "(2, 6, 6, 4)", "backward  linear_dw", "update    sgd"};
    for (int k = 0; k < 4; k++)
        if (!strstr(dump, parts[k])) fail_msg("'%s' is not in\n%s", parts[k], dump);
    free(dump);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static uint32_t draw(uint64_t *at, uint32_t below) { return hone_philox(3, 1, (*at)++, 0).v[0] % below; }

/* Random ops over random tensors with random attributes: refused or well formed, never a crash. The
 * extreme values are what a sanitizer would complain about if a rule computed in 32 bits. */
static void random_calls_are_refused_or_right(void **state)
{
    (void)state;
    static const int32_t wild[] = {0, 1, 2, 3, 5, -1, INT32_MAX, INT32_MIN};
    uint64_t at = 0;
    int accepted = 0;
    hone_graph *g = hone_graph_new();
    hone_tid t;
    for (int k = 0; k < 40; k++) {
        int64_t dim[4];
        for (int j = 0; j < 4; j++) dim[j] = 1 + draw(&at, 4);
        hone_dtype type = (hone_dtype[]){HONE_F32, HONE_F32, HONE_F32, HONE_I32, HONE_U8}[draw(&at, 5)];
        OK(hone_graph_tensor(g, "t", type, HONE_ROLE_INPUT, (int32_t)draw(&at, 5), dim, &t));
    }
    OK(hone_graph_step(g, &t));
    for (int k = 0; k < 60000; k++) {
        hone_attrs a = {.leaky = {.slope = 0.1f}, .norm = {.eps = 1}};
        int32_t *field = (int32_t *)&a.window; /* windows are int32 throughout */
        for (size_t j = 0; j < 2 * sizeof a.window / sizeof *field; j++)
            field[j] = draw(&at, 4) ? 1 + (int32_t)draw(&at, 2) : wild[draw(&at, 8)];
        a.attention.heads = a.concat.left = wild[draw(&at, 8)];
        a.act = (hone_act)draw(&at, 10);
        hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];
        for (int j = 0; j < HONE_MAX_IN; j++)
            in[j] = draw(&at, 12) ? (hone_tid)draw(&at, (uint32_t)(g->tensor_count < 500 ? g->tensor_count : 500))
                                  : HONE_NONE;
        hone_op op = (hone_op)draw(&at, HONE_OP_COUNT);
        if (hone_graph_add(g, op, in, &a, draw(&at, 16), out) != HONE_OK) continue;
        accepted++;
        double flop, bytes;
        hone_node_cost(g, &g->node[g->node_count - 1], &flop, &bytes);
        assert_true(flop >= 0 && bytes >= 0);
        for (int j = 0; j < hone_op_outputs(op); j++)
            for (int m = 0; out[j] != HONE_NONE && m < g->tensor[out[j]].rank; m++)
                assert_true(g->tensor[out[j]].dim[m] > 0);
    }
    assert_true(accepted > 1000);
    hone_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_by_hand),
        cmocka_unit_test(attention_counts_its_products),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(the_dump_shows_every_node),
        cmocka_unit_test(random_calls_are_refused_or_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
