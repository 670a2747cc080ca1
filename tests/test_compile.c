/* test_compile.c - plan and bind: memory reuse changes no bit, bytes are what was planned, failures
 * unwind, and planted faults (an aliasing plan, an overrun, a missing kernel) are caught.
 * rooms: compile graph kernels core */
#include "support/programs.h"

/* --- reuse ----------------------------------------------------------------------------------------------- */

static void check_reuse(const char *backend)
{
    hone_backend *b = open_backend(backend);
    for (int kind = 0; kind < KINDS; kind++) {
        net n;
        build_net(&n, kind, 3);
        hone_compile_opts o = training(&n);
        hone_program *reuse = compiled(&n, b, &o);
        o.no_reuse = true;
        hone_program *apart = compiled(&n, b, &o);
        hone_memory small, large;
        hone_program_memory(reuse, &small, NULL);
        hone_program_memory(apart, &large, NULL);
        assert_true(small.role_bytes[HONE_ROLE_ACT] < small.act_no_reuse);
        assert_true(large.role_bytes[HONE_ROLE_ACT] > small.act_no_reuse); /* the guards */
        assert_int_equal(small.act_no_reuse, large.act_no_reuse);
        net_steps(reuse, 3);
        net_steps(apart, 3);
        assert_true(same_outcome(&n, reuse, apart));
        OK(hone_guards_check(apart));
        hone_program_free(reuse);
        hone_program_free(apart);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* Fast kernels as well: their bits must not hang on where a buffer lies or what it held before. */
static void reuse_changes_no_bit(void **state)
{
    (void)state;
    check_reuse("ref");
    check_reuse("cpu");
}

/* The plan as a property, not by its effect: values alive together never overlap. */
static void live_ranges_do_not_overlap(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    for (int kind = 0; kind < KINDS; kind++) {
        net n;
        build_net(&n, kind, 2);
        hone_compile_opts o = training(&n);
        hone_program *p;
        OK(hone_compile_plan(n.g, b, &o, &p));
        const hone_graph *g = hone_program_graph(p);
        for (hone_nid i = 0; i < g->node_count; i++) /* at node i: each pair of values needed at or after it */
            for (hone_tid s = 0; s < g->tensor_count; s++)
                for (int k = 0; k < g->node[i].out_count; k++) {
                    hone_tid t = g->node[i].out[k];
                    if (t == HONE_NONE || g->tensor[t].role != HONE_ROLE_ACT || g->tensor[s].role != HONE_ROLE_ACT)
                        continue;
                    if (hone_alias_root(g, s) == hone_alias_root(g, t) || g->tensor[s].producer < 0) continue;
                    bool later = (g->tensor[s].flags & HONE_TENSOR_KEEP) != 0;
                    for (hone_nid j = i; j < g->node_count; j++)
                        for (int m = 0; m < g->node[j].in_count; m++) later = later || g->node[j].in[m] == s;
                    if (!later || g->tensor[s].producer > i) continue;
                    int64_t s0 = g->tensor[s].offset, t0 = g->tensor[t].offset;
                    int64_t s1 = s0 + (int64_t)hone_tensor_bytes(&g->tensor[s]);
                    int64_t t1 = t0 + (int64_t)hone_tensor_bytes(&g->tensor[t]);
                    if (s0 < t1 && t0 < s1) fail_msg("%s overwrites %s", g->tensor[t].name, g->tensor[s].name);
                }
        hone_program_free(p);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* Planted fault: an activation that backward still needs is put where a later one is written. */
static void an_aliasing_plan_is_caught(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 3, 1.0f);
    hone_compile_opts o = training(&n);
    o.no_fuse = true;
    hone_program *good = compiled(&n, b, &o), *bad;
    OK(hone_compile_plan(n.g, b, &o, &bad));
    hone_tid victim = HONE_NONE, writer = HONE_NONE; /* two ReLU outputs: both live until backward */
    for (hone_nid i = 0; i < bad->graph->node_count; i++)
        if (bad->graph->node[i].op == HONE_OP_relu) {
            victim = victim == HONE_NONE ? bad->graph->node[i].out[0] : victim;
            writer = bad->graph->node[i].out[0];
        }
    assert_true(victim != writer);
    bad->graph->tensor[hone_alias_root(bad->graph, writer)].offset =
        bad->graph->tensor[hone_alias_root(bad->graph, victim)].offset;
    OK(hone_pass_bind(bad));
    net_fill(&n, bad);
    net_steps(good, 2);
    net_steps(bad, 2);
    assert_false(same_outcome(&n, good, bad));
    hone_program_free(good);
    hone_program_free(bad);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void overrun(hone_backend *b, const hone_launch *l)
{
    (void)b;
    float *y = l->out[0];
    for (int64_t i = 0; i <= hone_tensor_count(l->out_desc[0]); i++) y[i] = 1.0f; /* one too many */
}

/* Planted fault: a kernel that writes one element past its output. */
static void a_guard_overrun_is_caught(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_residual_mlp(&n, 3, 1.0f);
    b->kernel[HONE_OP_gelu].launch = overrun;
    hone_compile_opts o = {.loss = n.loss, .no_reuse = true, .no_fuse = true};
    hone_program *p = compiled(&n, b, &o);
    OK(hone_guards_check(p));
    OK(hone_program_forward_backward(p));
    assert_int_equal(hone_guards_check(p), HONE_ERR_VERIFY);
    check_message("the guard behind tensor 'gelu#3' was overwritten at byte 0");
    p->check = true; /* as HONE_CHECK=1 does */
    net_fill(&n, p);
    assert_int_equal(hone_program_forward_backward(p), HONE_ERR_VERIFY);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- memory ----------------------------------------------------------------------------------------------- */

static void planned_bytes_are_allocated_bytes(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    for (int kind = 0; kind < KINDS; kind++) {
        net n;
        build_net(&n, kind, 2);
        hone_compile_opts o = {.loss = n.loss, .optimizer = HONE_OPT_ADAMW, .update = adamw};
        hone_program *plan, *p = compiled(&n, b, &o);
        OK(hone_compile_plan(n.g, b, &o, &plan));
        hone_memory planned, allocated, only_planned, nothing;
        hone_program_memory(p, &planned, &allocated);
        hone_program_memory(plan, &only_planned, &nothing);
        for (int role = 0; role < HONE_ROLE_COUNT; role++) {
            assert_int_equal(planned.role_bytes[role], allocated.role_bytes[role]);
            assert_int_equal(planned.role_bytes[role], only_planned.role_bytes[role]);
        }
        assert_int_equal(planned.total, allocated.total);
        assert_int_equal(nothing.total, 0);
        /* m, v and the averages of parameters and running statistics */
        assert_int_equal(planned.role_bytes[HONE_ROLE_OPT],
                         3 * planned.role_bytes[HONE_ROLE_GRAD] + planned.role_bytes[HONE_ROLE_STATE]);
        assert_int_equal(hone_program_step(plan), HONE_ERR_USAGE);
        hone_program_free(p);
        hone_program_free(plan);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* Sixteen convolutions in a row: training keeps all of them, inference two at a time. */
static void inference_needs_little(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_start(&n, 2, 4, 4, DIM(2, 8, 8, 6));
    hone_tid h = n.x;
    for (int k = 0; k < 16; k++) h = net_act(&n, HONE_OP_relu, net_conv(&n, h, 6, 3, 1, 1, true));
    h = net_op(&n, HONE_OP_global_avgpool, &h, NULL);
    net_finish(&n, net_linear(&n, h, 4, true), 1.0f);
    hone_compile_opts o = training(&n);
    o.no_fuse = true;
    hone_program *train, *infer;
    OK(hone_compile_plan(n.g, b, &o, &train));
    OK(hone_compile_plan(n.g, b, &(hone_compile_opts){.loss = HONE_NONE, .no_fuse = true}, &infer));
    hone_memory t, i;
    hone_program_memory(train, &t, NULL);
    hone_program_memory(infer, &i, NULL);
    assert_int_equal(i.role_bytes[HONE_ROLE_GRAD] + i.role_bytes[HONE_ROLE_OPT], 0);
    const size_t map = 2 * 8 * 8 * 6 * sizeof(float);
    assert_true(i.role_bytes[HONE_ROLE_ACT] <= 2 * map + 1024);
    assert_true(t.role_bytes[HONE_ROLE_ACT] >= 16 * map);
    hone_program_free(train);
    hone_program_free(infer);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* PARAM: decayed, not decayed, frozen; GRAD at equal offsets; every start on a 64-byte line. */
static void the_flat_layout(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_residual_mlp(&n, 3, 1.0f);
    hone_tid frozen = hone_graph_find(n.g, "p0");
    n.g->tensor[frozen].flags = HONE_TENSOR_DECAY;
    hone_compile_opts o = training(&n);
    hone_program *p;
    OK(hone_compile_plan(n.g, b, &o, &p));
    const hone_graph *g = hone_program_graph(p);
    int64_t end[3] = {0, 0, 0}, begin[3] = {INT64_MAX, INT64_MAX, INT64_MAX};
    for (hone_tid t = 0; t < g->tensor_count; t++) {
        const hone_tensor *x = &g->tensor[t];
        if (x->offset >= 0) assert_int_equal(x->offset % 64, 0);
        if (x->role != HONE_ROLE_PARAM || (x->flags & HONE_TENSOR_FLAT)) continue;
        int part = !(x->flags & HONE_TENSOR_TRAINABLE) ? 2 : x->flags & HONE_TENSOR_DECAY ? 0 : 1;
        if (x->offset < begin[part]) begin[part] = x->offset;
        if (x->offset + (int64_t)hone_tensor_bytes(x) > end[part])
            end[part] = x->offset + (int64_t)hone_tensor_bytes(x);
        if (part < 2) assert_int_equal(g->tensor[x->grad].offset, x->offset);
    }
    assert_true(begin[0] == 0 && end[0] <= begin[1] && end[1] <= begin[2]);
    assert_int_equal(p->flat_count * 4, begin[2]);
    assert_int_equal(p->segment_count, 2);
    assert_int_equal(p->segment[1].begin * 4, begin[1]);
    assert_true(p->segment[0].decay == 1 && p->segment[1].decay == 0);
    assert_int_equal(p->segment[0].count + p->segment[1].count, p->flat_count);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- failures -------------------------------------------------------------------------------------------------- */

static void a_missing_kernel_is_named(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_residual_mlp(&n, 2, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *p;
    b->input_acts = 0; /* else the product takes it */
    b->kernel[HONE_OP_gelu_dx].launch = NULL;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message("backward gelu_dx (tensor 'gelu_dx#");
    check_message("on ref: the backend has no kernel for this op");
    assert_null(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

typedef struct failing { /* an allocator that fails at its k-th call, and counts what is not freed */
    hone_status (*alloc)(hone_backend *b, size_t bytes, void **out);
    void (*free)(hone_backend *b, void *ptr);
    int left, open;
} failing;

static hone_status failing_alloc(hone_backend *b, size_t bytes, void **out)
{
    failing *f = b->self;
    if (f->left-- == 0) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %zu bytes", bytes);
    f->open++;
    return f->alloc(b, bytes, out);
}

static void counting_free(hone_backend *b, void *ptr)
{
    failing *f = b->self;
    f->open--;
    f->free(b, ptr);
}

static void a_failed_allocation_unwinds(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    failing f = {b->alloc, b->free, 0, 0};
    b->self = &f;
    b->alloc = failing_alloc;
    b->free = counting_free;
    net n;
    net_resnet(&n, 2, false);
    hone_compile_opts o = training(&n);
    hone_program *p = NULL;
    int failures = 0;
    for (; !p; failures++) {
        f.left = failures;
        hone_status status = hone_compile(n.g, b, &o, &p);
        if (status == HONE_OK) break;
        assert_int_equal(status, HONE_ERR_MEMORY);
        check_message("compile: arena '");
        assert_int_equal(f.open, 0);
    }
    assert_true(failures >= 6); /* INPUT, CONST, PARAM, STATE, GRAD, OPT, SCALAR, ACT */
    hone_program_free(p);
    assert_int_equal(f.open, 0);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void transfers_are_checked(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_residual_mlp(&n, 2, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o);
    float x[14];
    assert_int_equal(hone_program_read(p, n.x, x, 13 * sizeof *x), HONE_ERR_USAGE);
    check_message("tensor 'x': 52 bytes given, it has 56");
    assert_int_equal(hone_program_read(p, 10000, x, sizeof x), HONE_ERR_USAGE);
    hone_tid inner = n.g->node[1].in[0];
    assert_int_equal(hone_program_read(p, inner, x, sizeof x), HONE_ERR_USAGE); /* fused away, or reused */
    assert_int_equal(hone_program_bind_pool(p, n.x, x), HONE_ERR_USAGE);
    hone_program_free(p);
    o.optimizer = HONE_OPT_SGD;
    o.loss = HONE_NONE;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message("an optimizer without a loss");
    for (hone_tid t = 0; t < n.g->tensor_count; t++) n.g->tensor[t].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE;
    o.loss = n.loss;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message("every parameter is frozen");
    hone_graph_free(n.g);
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuse_changes_no_bit),
        cmocka_unit_test(live_ranges_do_not_overlap),
        cmocka_unit_test(an_aliasing_plan_is_caught),
        cmocka_unit_test(a_guard_overrun_is_caught),
        cmocka_unit_test(planned_bytes_are_allocated_bytes),
        cmocka_unit_test(inference_needs_little),
        cmocka_unit_test(the_flat_layout),
        cmocka_unit_test(a_missing_kernel_is_named),
        cmocka_unit_test(a_failed_allocation_unwinds),
        cmocka_unit_test(transfers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
