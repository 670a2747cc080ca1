/* test_random_graphs.c - random nets of joins, aliases and in-place chains: memory reuse and fusion
 * change no bit, whatever the graph. Hand-made nets have the shapes somebody thought of; these do not.
 * rooms: compile graph kernels core */
#include "support/programs.h"

enum { ROWS = 4, WIDTH = 6, POOL = 64 };

typedef struct chooser {
    uint64_t seed, at;
} chooser;

static uint32_t draw(chooser *c, uint32_t below) { return hone_philox(c->seed, 77, c->at++, 0).v[0] % below; }

/* One of the tensors made so far, the later ones more often, so that chains grow long. */
static hone_tid pick(chooser *c, const hone_tid *made, int count)
{
    uint32_t a = draw(c, (uint32_t)count), b = draw(c, (uint32_t)count);
    return made[a > b ? a : b];
}

static hone_tid random_layer(net *n, chooser *c, hone_tid a, hone_tid b)
{
    static const hone_op unary[] = {HONE_OP_relu,    HONE_OP_relu6, HONE_OP_leaky_relu, HONE_OP_tanh,
                                    HONE_OP_sigmoid, HONE_OP_gelu,  HONE_OP_silu};
    hone_attrs drop = {.drop = {.p = 0.2f, .stream = HONE_STREAM_DROPOUT + (uint32_t)n->g->node_count}};
    hone_tid y;
    switch (draw(c, 12)) {
    case 0:
    case 1:
    case 2: return net_act(n, unary[draw(c, 7)], a);
    case 3:
    case 4: return net_add(n, a, b);
    case 5: return net_op(n, HONE_OP_mul, IDS(net_act(n, HONE_OP_tanh, a), net_act(n, HONE_OP_sigmoid, b)), NULL);
    case 6:
    case 7: return net_linear(n, a, WIDTH, draw(c, 2) == 0);
    case 8: return net_batchnorm(n, a, false);
    case 9: return net_layernorm(n, a);
    case 10: return net_op(n, HONE_OP_dropout, IDS(a, n->step), &drop);
    default: /* there and back: two aliases of one value */
        OK(hone_graph_reshape(n->g, a, 3, DIM(2, ROWS / 2, WIDTH), &y));
        OK(hone_graph_reshape(n->g, draw(c, 2) ? net_act(n, HONE_OP_relu, y) : y, 2, DIM(ROWS, WIDTH), &y));
        return y;
    }
}

static void random_net(net *n, uint64_t seed)
{
    chooser c = {.seed = seed};
    hone_tid made[POOL];
    int count = 1, layers = 5 + (int)draw(&c, 25);
    net_start(n, ROWS, 3, 2, DIM(ROWS, WIDTH));
    made[0] = n->x;
    for (int k = 0; k < layers; k++, count++) {
        made[count] = random_layer(n, &c, pick(&c, made, count), pick(&c, made, count));
        if (draw(&c, 8) == 0) n->g->tensor[made[count]].flags |= HONE_TENSOR_KEEP;
    }
    for (hone_tid t = 0; t < n->g->tensor_count; t++)
        if (n->g->tensor[t].role == HONE_ROLE_PARAM && draw(&c, 6) == 0) n->g->tensor[t].flags = 0; /* frozen */
    hone_tid h = net_layernorm(n, net_add(n, made[count - 1], made[count - 2]));
    net_finish(n, net_linear(n, h, n->classes, true), 1.0f);
}

static void four_ways_one_result(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    int fused_nodes = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        net n;
        random_net(&n, seed);
        hone_program *way[4];
        for (int k = 0; k < 4; k++) {
            hone_compile_opts o = training(&n);
            o.no_reuse = (k & 1) != 0;
            o.no_fuse = (k & 2) != 0;
            way[k] = compiled(&n, b, &o);
            net_steps(way[k], 2);
            OK(hone_guards_check(way[k]));
            if (!same_outcome(&n, way[0], way[k]))
                fail_msg("seed %d: %s%s differs", (int)seed, o.no_reuse ? "no reuse " : "",
                         o.no_fuse ? "plain" : "fused");
        }
        fused_nodes += hone_program_graph(way[2])->node_count - hone_program_graph(way[0])->node_count;
        for (int k = 0; k < 4; k++) hone_program_free(way[k]);
        hone_graph_free(n.g);
    }
    if (fused_nodes <= 300) fail_msg("only %d nodes were fused", fused_nodes); /* the test saw what it is about */
    hone_backend_close(b);
}

/* The fast kernels: the same bits with and without reuse, and no guard touched. */
static void reuse_on_the_fast_kernels(void **state)
{
    (void)state;
    hone_backend *b = open_backend("cpu");
    for (uint64_t seed = 1; seed <= 60; seed++) {
        net n;
        random_net(&n, seed);
        hone_compile_opts o = training(&n);
        hone_program *reuse = compiled(&n, b, &o);
        o.no_reuse = true;
        hone_program *apart = compiled(&n, b, &o);
        net_steps(reuse, 2);
        net_steps(apart, 2);
        OK(hone_guards_check(apart));
        if (!same_outcome(&n, reuse, apart)) fail_msg("seed %d differs", (int)seed);
        hone_program_free(reuse);
        hone_program_free(apart);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* Directional derivative of the loss along the gradient, in double: one number checks all of a net. */
static void gradients_of_random_nets(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref64");
    for (uint64_t seed = 1; seed <= 60; seed++) {
        net n;
        random_net(&n, seed);
        hone_compile_opts o = {.loss = n.loss};
        hone_program *p = compiled(&n, b, &o);
        const hone_graph *g = hone_program_graph(p);
        double loss[2], norm2 = 0;
        OK(hone_program_forward_backward(p));
        double *grad = malloc((size_t)p->flat_count * sizeof *grad), *value = p->arena[HONE_ROLE_PARAM];
        memcpy(grad, p->arena[HONE_ROLE_GRAD], (size_t)p->flat_count * sizeof *grad);
        for (int64_t i = 0; i < p->flat_count; i++) norm2 += grad[i] * grad[i];
        for (int side = 0; side < 2; side++) {
            double step = (side ? -2e-6 : 1e-6) / sqrt(norm2);
            for (int64_t i = 0; i < p->flat_count; i++) value[i] += step * grad[i];
            OK(hone_program_forward_backward(p));
            OK(hone_program_read(p, n.loss, &loss[side], sizeof *loss));
        }
        double measured = (loss[0] - loss[1]) / 2e-6, error = fabs(measured - sqrt(norm2)) / (1 + sqrt(norm2));
        if (!(error < 1e-5)) fail_msg("seed %d: slope %g, gradient %g", (int)seed, measured, sqrt(norm2));
        assert_true(g->node_count > 0);
        free(grad);
        hone_program_free(p);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_ways_one_result),
        cmocka_unit_test(reuse_on_the_fast_kernels),
        cmocka_unit_test(gradients_of_random_nets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
