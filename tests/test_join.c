/* test_join.c - products side by side become one: the same numbers, gradients under the parts' own names, nothing copied;
 * and what must stay apart.
 * rooms: compile graph kernels core */
#include "support/programs.h"

enum { WIDTH = 16 };

/* Query, key and value of a hidden value, put side by side; `other`: the last one reads something else. */
static void build_heads(net *n, bool bias, bool other)
{
    net_start(n, 4, 5, 2, DIM(4, WIDTH));
    hone_tid h = net_act(n, HONE_OP_relu, net_linear(n, n->x, WIDTH, true)), all = net_linear(n, h, WIDTH, bias);
    for (int k = 1; k < 3; k++) {
        hone_attrs a = {.concat = {.left = k * WIDTH}};
        hone_tid part = net_linear(n, k == 2 && other ? n->x : h, WIDTH, bias);
        all = net_op(n, HONE_OP_concat, IDS(all, part), &a);
    }
    net_finish(n, net_linear(n, all, 5, true), 1.0f);
}

static void joined_programs_equal_plain_ones(void **state)
{
    (void)state;
    const char *backends[] = {"ref", "cpu"};
    for (int k = 0; k < 4; k++) {
        hone_backend *b = NULL;
        OK(hone_backend_open(backends[k % 2], 2, &b));
        net n;
        build_heads(&n, k < 2, false);
        hone_compile_opts o = {.loss = n.loss};
        hone_program *joined = compiled(&n, b, &o);
        assert_int_equal(net_count_ops(joined, HONE_OP_concat), 0);
        assert_int_equal(net_count_ops(joined, HONE_OP_linear) + net_count_ops(joined, HONE_OP_linear_act), 3);
        o.no_fuse = true;
        hone_program *plain = compiled(&n, b, &o);
        assert_int_equal(net_count_ops(plain, HONE_OP_concat), 2);
        /* the input's gradient is one sum of 48 products where it was three sums: fp32 rounds them otherwise */
        double d = difference_of(&n, joined, plain);
        if (!(d <= 1e-6)) fail_msg("on %s: a joined gradient differs by %g", backends[k % 2], d);
        hone_program_free(joined);
        hone_program_free(plain);
        hone_graph_free(n.g);
        hone_backend_close(b);
    }
}

/* Planted fault: a whole that begins one line too late. */
static void a_wrong_place_is_caught(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    build_heads(&n, true, false);
    hone_compile_opts o = {.loss = n.loss};
    hone_program *joined;
    OK(hone_compile_plan(n.g, b, &o, &joined));
    joined->graph->tensor[joined->join[0].whole].offset += HONE_ALIGN_BYTES;
    OK(hone_pass_bind(joined));
    net_fill(&n, joined);
    o.no_fuse = true;
    hone_program *plain = compiled(&n, b, &o);
    assert_true(difference_of(&n, joined, plain) > 1e-3);
    hone_program_free(joined);
    hone_program_free(plain);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* How many products of `n` are left with the loss, after a change to the graph. */
static int products(net *n, hone_backend *b)
{
    hone_compile_opts o = {.loss = n->loss};
    hone_program *p;
    OK(hone_compile_plan(n->g, b, &o, &p));
    int count = net_count_ops(p, HONE_OP_linear) + net_count_ops(p, HONE_OP_linear_act);
    hone_program_free(p);
    hone_graph_free(n->g);
    return count;
}

/* Another input, a frozen part, another rate, a kept part; what is left of the chain may still be a pair. */
static void what_must_stay_apart(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    build_heads(&n, true, true);
    assert_int_equal(products(&n, b), 4);
    build_heads(&n, true, false);
    n.g->tensor[n.g->node[5].in[1]].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE; /* of the value */
    assert_int_equal(products(&n, b), 4);
    build_heads(&n, true, false);
    n.g->tensor[n.g->node[2].in[1]].lr_scale = 0.5f;
    assert_int_equal(products(&n, b), 5);
    build_heads(&n, true, false);
    n.g->tensor[n.g->node[2].out[0]].flags |= HONE_TENSOR_KEEP;
    assert_int_equal(products(&n, b), 5);
    build_heads(&n, true, false);
    assert_int_equal(products(&n, b), 3);
    hone_backend_close(b);
}

/* A program that predicts joins where its owner's parts are neighbours: always if the owner joined them, and else if it laid
 * them so, as it does with what is trained. Frozen ones lie weight, bias, weight: these keep their products. */
static void sharers_read_the_same(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    for (int k = 0; k < 4; k++) {
        net n;
        bool plain = k % 2, frozen = k / 2;
        float a[4 * 5], c[4 * 5];
        build_heads(&n, true, false);
        const hone_nid product[] = {2, 3, 5};
        for (int i = 0; frozen && i < 6; i++)
            n.g->tensor[n.g->node[product[i / 2]].in[1 + i % 2]].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE;
        hone_compile_opts o = {.loss = n.loss, .no_fuse = plain};
        hone_program *owner = compiled(&n, b, &o), *sharer;
        hone_compile_opts s = {.loss = HONE_NONE, .share = owner};
        OK(hone_compile(n.g, b, &s, &sharer));
        assert_int_equal(net_count_ops(sharer, HONE_OP_concat), plain && frozen ? 2 : 0);
        net_fill(&n, sharer);
        OK(hone_program_step(owner));
        OK(hone_program_read(owner, n.logits, a, sizeof a));
        OK(hone_program_step(sharer));
        OK(hone_program_read(sharer, n.logits, c, sizeof c));
        assert_memory_equal(a, c, sizeof a); /* the same products, in the same order */
        hone_program_free(sharer);
        hone_program_free(owner);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(joined_programs_equal_plain_ones),
                                       cmocka_unit_test(a_wrong_place_is_caught),
                                       cmocka_unit_test(what_must_stay_apart), cmocka_unit_test(sharers_read_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
