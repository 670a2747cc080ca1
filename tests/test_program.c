/* test_program.c - steps of bound programs: accumulation, sharing, the moving average, recording, the
 * step block, and the search for what is not finite.
 * rooms: compile graph kernels core */
#include "support/recorder.h"

/* --- steps -------------------------------------------------------------------------------------------------- */

static void frozen_parameters_stay(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 3, 1.0f);
    hone_tid frozen = hone_graph_find(n.g, "p0"), free_one = hone_graph_find(n.g, "p2");
    n.g->tensor[frozen].flags &= ~(uint32_t)HONE_TENSOR_TRAINABLE;
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o);
    float before[4 * 9 * 2], after[4 * 9 * 2], moved[5 * 9 * 4], moving[5 * 9 * 4];
    OK(hone_program_read(p, frozen, before, sizeof before));
    OK(hone_program_read(p, free_one, moved, sizeof moved));
    net_steps(p, 2);
    OK(hone_program_read(p, frozen, after, sizeof after));
    OK(hone_program_read(p, free_one, moving, sizeof moving));
    assert_memory_equal(before, after, sizeof before);
    assert_int_not_equal(memcmp(moved, moving, sizeof moved), 0);
    assert_int_equal(hone_program_read_slot(p, frozen, 0, before), HONE_ERR_USAGE);
    OK(hone_program_read_slot(p, free_one, 0, moved));
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* Four micro-batches of 2 are one batch of 8, in double: the loss gradient is scaled by 1/4. */
static void accumulation_equals_one_batch(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref64");
    for (int fuse = 0; fuse < 2; fuse++) {
        net big, small;
        net_residual_mlp(&big, 8, 1.0f);
        net_residual_mlp(&small, 2, 0.25f);
        hone_compile_opts o = training(&big);
        o.no_fuse = fuse == 0;
        hone_program *whole = compiled(&big, b, &o);
        o.loss = small.loss;
        o.accumulate = 4;
        hone_program *parts = compiled(&small, b, &o);
        float x[8 * 7];
        int32_t label[8];
        OK(hone_program_read(whole, big.x, x, sizeof x));
        OK(hone_program_read(whole, big.label, label, sizeof label));
        for (int step = 0; step < 3; step++) {
            OK(hone_program_step(whole));
            for (int k = 0; k < 4; k++) {
                OK(hone_program_write(parts, small.x, x + k * 14, 14 * sizeof *x));
                OK(hone_program_write(parts, small.label, label + k * 2, 2 * sizeof *label));
                OK(hone_program_forward_backward(parts));
            }
            OK(hone_program_update(parts));
        }
        for (hone_tid t = 0; t < big.g->tensor_count; t++) {
            if (big.g->tensor[t].role != HONE_ROLE_PARAM) continue;
            const double *a = hone_program_address(whole, t), *c = hone_program_address(parts, t);
            for (int64_t i = 0; i < hone_tensor_count(&big.g->tensor[t]); i++) assert_true(fabs(a[i] - c[i]) < 1e-11);
        }
        hone_step s;
        OK(hone_program_get_step(parts, &s));
        assert_true(s.samples == 24 && s.updates == 3);
        hone_program_free(whole);
        hone_program_free(parts);
        hone_graph_free(big.g);
        hone_graph_free(small.g);
    }
    hone_backend_close(b);
}

static void the_step_block_keeps_its_halves_apart(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 3, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o);
    net_steps(p, 2);
    hone_step s, again;
    OK(hone_program_get_step(p, &s));
    assert_true(s.samples == 6 && s.updates == 2 && s.finite == 1 && s.loss_sum > 0);
    hone_step host = {.seed = 5, .step = 9, .lr = 0.5f, .loss_sum = -1, .samples = -1};
    OK(hone_program_set_step(p, &host));
    OK(hone_program_get_step(p, &again));
    assert_true(again.seed == 5 && again.step == 9 && again.samples == 6 && again.loss_sum == s.loss_sum);
    OK(hone_program_put_step(p, &host));
    OK(hone_program_get_step(p, &again));
    assert_memory_equal(&again, &host, sizeof host);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- sharing ------------------------------------------------------------------------------------------------- */

static void sharers_see_one_set_of_parameters(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net full, last, eval, alone;
    net_resnet(&full, 4, false);
    net_resnet(&last, 3, false);
    net_resnet(&eval, 2, true);
    net_resnet(&alone, 3, false);
    hone_compile_opts o = training(&full);
    hone_program *p = compiled(&full, b, &o), *q, *e;
    o.share = p;
    o.loss = last.loss;
    OK(hone_compile(last.g, b, &o, &q));
    OK(hone_compile(eval.g, b, &(hone_compile_opts){.loss = HONE_NONE, .share = q}, &e));
    hone_memory planned, allocated;
    hone_program_memory(q, &planned, &allocated);
    assert_int_equal(planned.total, allocated.total);
    assert_int_equal(allocated.total, allocated.role_bytes[HONE_ROLE_INPUT]); /* all else is the owner's */
    for (hone_tid t = 0; t < eval.g->tensor_count; t++)
        if (eval.g->tensor[t].role == HONE_ROLE_PARAM || eval.g->tensor[t].role == HONE_ROLE_STATE)
            assert_ptr_equal(hone_program_address(e, t),
                             hone_program_address(p, hone_graph_find(full.g, eval.g->tensor[t].name)));

    /* A step of the sharer is the step of a program of its own: train one, compare with the other. */
    o.share = NULL;
    o.loss = alone.loss;
    hone_program *own = compiled(&alone, b, &o);
    net_fill(&last, q);
    net_steps(q, 2);
    net_steps(own, 2);
    assert_true(same_outcome(&alone, own, q));
    OK(hone_program_step(e));
    hone_program_free(e);
    hone_program_free(q);
    hone_program_free(p);
    hone_program_free(own);
    hone_graph_free(full.g);
    hone_graph_free(last.g);
    hone_graph_free(eval.g);
    hone_graph_free(alone.g);
    hone_backend_close(b);
}

static void wrong_sharers_are_refused(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref"), *other = open_backend("ref");
    net n, m;
    net_residual_mlp(&n, 4, 1.0f);
    net_transformer(&m, 4);
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o), *q;
    o.share = p;
    assert_int_equal(hone_compile(n.g, other, &o, &q), HONE_ERR_USAGE);
    check_message("the shared program is on ref");
    o.optimizer = HONE_OPT_ADAMW;
    assert_int_equal(hone_compile(n.g, b, &o, &q), HONE_ERR_USAGE);
    check_message("the optimizer differs");
    o = training(&n);
    o.share = p;
    o.accumulate = 2;
    assert_int_equal(hone_compile(n.g, b, &o, &q), HONE_ERR_USAGE);
    check_message("gradients are accumulated in one of two programs");
    o.accumulate = 1;
    o.loss = m.loss;
    assert_int_equal(hone_compile(m.g, b, &o, &q), HONE_ERR_USAGE);
    check_message("parameter 'p0' is (12, 6) here and (11, 7) in the program it shares");
    o.loss = n.loss;
    n.g->tensor[hone_graph_find(n.g, "p0")].flags = 0;
    assert_int_equal(hone_compile(n.g, b, &o, &q), HONE_ERR_USAGE);
    check_message("parameter 'p0' is trained differently");
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_graph_free(m.g);
    hone_backend_close(b);
    hone_backend_close(other);
}

/* The average starts at the parameter, follows it by its decay, and an eval program can read it. */
static void the_moving_average(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n, e;
    net_residual_mlp(&n, 4, 1.0f);
    net_residual_mlp(&e, 2, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *plain = compiled(&n, b, &o), *eval;
    assert_false(hone_program_has_slot(plain, HONE_SLOT_EMA));
    assert_int_equal(hone_program_use_ema(plain, true), HONE_ERR_USAGE);
    hone_program_free(plain);
    o.update.ema_decay = 0.75f;
    hone_program *p = compiled(&n, b, &o);
    OK(hone_compile(e.g, b, &(hone_compile_opts){.loss = HONE_NONE, .share = p}, &eval));
    assert_true(hone_program_has_slot(eval, HONE_SLOT_EMA) && hone_program_has_slot(p, 0) &&
                !hone_program_has_slot(p, 1));
    hone_tid w = hone_graph_find(n.g, "p0");
    float before[77], after[77], average[77], logits[10], same[10], averaged[10];
    OK(hone_program_read_slot(p, w, HONE_SLOT_EMA, average));
    OK(hone_program_read(p, w, before, sizeof before));
    assert_memory_equal(average, before, sizeof before);
    net_steps(p, 1);
    OK(hone_program_read(p, w, after, sizeof after));
    OK(hone_program_read_slot(p, w, HONE_SLOT_EMA, average));
    for (int k = 0; k < 77; k++) /* the warm-up's decay of the first step: 1 / 10 */
        assert_true(fabsf(average[k] - (0.1f * before[k] + 0.9f * after[k])) < 1e-6f);

    float x[14];
    for (int k = 0; k < 14; k++) x[k] = net_value(99, k);
    OK(hone_program_write(eval, e.x, x, sizeof x));
    OK(hone_program_step(eval));
    OK(hone_program_read(eval, e.logits, logits, sizeof logits));
    OK(hone_program_use_ema(eval, true));
    OK(hone_program_step(eval));
    OK(hone_program_read(eval, e.logits, averaged, sizeof averaged));
    assert_int_not_equal(memcmp(logits, averaged, sizeof logits), 0);
    for (hone_tid t = 0; t < n.g->tensor_count; t++) { /* the same by hand: parameters replaced by averages */
        if (n.g->tensor[t].role != HONE_ROLE_PARAM) continue;
        float copy[256];
        OK(hone_program_read_slot(p, t, HONE_SLOT_EMA, copy));
        OK(hone_program_write(p, t, copy, hone_tensor_bytes(&n.g->tensor[t])));
    }
    OK(hone_program_use_ema(eval, false));
    OK(hone_program_step(eval));
    OK(hone_program_read(eval, e.logits, same, sizeof same));
    assert_memory_equal(averaged, same, sizeof same);
    hone_program_free(eval);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_graph_free(e.g);
    hone_backend_close(b);
}

/* Averages (K) of all running statistics, one after the other; the values themselves where `raw`. */
static int read_statistics(const net *n, hone_program *p, bool raw, float out[256])
{
    int count = 0;
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        if (n->g->tensor[t].role != HONE_ROLE_STATE) continue;
        if (raw) OK(hone_program_read(p, t, out + count, hone_tensor_bytes(&n->g->tensor[t])));
        else OK(hone_program_read_slot(p, t, HONE_SLOT_EMA, out + count));
        count += (int)hone_tensor_count(&n->g->tensor[t]);
    }
    assert_in_range(count, 1, 256);
    return count;
}

/* After a step of any program of the family, a good one or not: average = keep * before + (1 - keep) * value. */
static void check_statistics(const net *n, hone_program *p, const float before[256], float keep)
{
    float value[256], average[256];
    int moved = 0, count = read_statistics(n, p, true, value);
    read_statistics(n, p, false, average);
    for (int k = 0; k < count; k++) {
        assert_true(fabsf(average[k] - (keep * before[k] + (1 - keep) * value[k])) < 1e-6f);
        moved += average[k] != value[k];
    }
    assert_true(moved > count / 2); /* else nothing was tested */
}

/* Logits of an evaluation on the same input. */
static void evaluate(const net *n, hone_program *p, float logits[8])
{
    float x[2 * 8 * 7 * 3];
    for (int k = 0; k < 2 * 8 * 7 * 3; k++) x[k] = net_value(99, k);
    OK(hone_program_write(p, n->x, x, sizeof x));
    OK(hone_program_step(p));
    OK(hone_program_read(p, n->logits, logits, 8 * sizeof *logits));
}

/* Replaces tensors of a role by their averages, which restarts these at the same values. */
static void put_averages(const net *n, hone_program *p, hone_role role)
{
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        float copy[1024];
        if (n->g->tensor[t].role != role) continue;
        OK(hone_program_read_slot(p, t, HONE_SLOT_EMA, copy));
        OK(hone_program_write(p, t, copy, hone_tensor_bytes(&n->g->tensor[t])));
    }
}

/* Batchnorm's statistics follow the rule of the parameters: start, decay, sharers, skipped steps, evaluation. */
static void running_statistics_are_averaged(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n, last, e;
    net_resnet(&n, 4, false);
    net_resnet(&last, 3, false);
    net_resnet(&e, 2, true);
    hone_compile_opts o = training(&n);
    o.update.ema_decay = 0.75f;
    hone_program *p = compiled(&n, b, &o), *q, *eval;
    o.share = p;
    o.loss = last.loss;
    OK(hone_compile(last.g, b, &o, &q));
    OK(hone_compile(e.g, b, &(hone_compile_opts){.loss = HONE_NONE, .share = p}, &eval));
    float before[256], start[256], raw[8], averaged[8], params[8], both[8];
    int count = read_statistics(&n, p, false, before);
    read_statistics(&n, p, true, start);
    assert_memory_equal(before, start, (size_t)count * sizeof *before); /* writing a value restarts its average */
    net_steps(p, 1);
    check_statistics(&n, p, before, 0.1f); /* the warm-up: (1 + t) / (10 + t) until it reaches the decay */
    read_statistics(&n, p, false, before);
    float x[3 * 8 * 7 * 3];
    for (int k = 0; k < 3 * 8 * 7 * 3; k++) x[k] = net_value(98, k);
    OK(hone_program_write(q, last.x, x, sizeof x));
    net_steps(q, 1);
    check_statistics(&n, p, before, 2.0f / 11);

    evaluate(&e, eval, raw);
    OK(hone_program_use_ema(eval, true));
    evaluate(&e, eval, averaged);
    OK(hone_program_use_ema(eval, false));
    put_averages(&n, p, HONE_ROLE_PARAM);
    evaluate(&e, eval, params);
    put_averages(&n, p, HONE_ROLE_STATE);
    evaluate(&e, eval, both);
    assert_int_not_equal(memcmp(averaged, raw, sizeof raw), 0);
    assert_int_not_equal(memcmp(averaged, params, sizeof raw), 0); /* averaged weights over raw statistics: the fault */
    assert_memory_equal(averaged, both, sizeof both);

    hone_tid w = hone_graph_find(n.g, "p18"); /* a NaN behind all statistics: they move, the step is skipped */
    float nan[8 * 4];
    for (int k = 0; k < 32; k++) nan[k] = NAN;
    OK(hone_program_write(p, w, nan, hone_tensor_bytes(&n.g->tensor[w])));
    read_statistics(&n, p, false, before);
    net_steps(p, 1);
    check_statistics(&n, p, before, 1.0f);
    hone_program_free(eval);
    hone_program_free(q);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_graph_free(last.g);
    hone_graph_free(e.g);
    hone_backend_close(b);
}

/* --- recording -------------------------------------------------------------------------------------------------- */

static void recorded_equals_eager(void **state)
{
    (void)state;
    recorder r;
    hone_backend *b = open_recorder(&r), *plain = open_backend("ref");
    net n;
    net_lenet(&n, 3, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *eager = compiled(&n, plain, &o), *p = compiled(&n, b, &o);
    net_steps(eager, 6);
    net_steps(p, 2);
    assert_true(r.recordings == 0 && r.eager == 2 * p->launch_count);
    net_steps(p, 4);
    assert_true(r.recordings == 1 && r.replays == 4 && r.eager == 2 * p->launch_count);
    assert_true(same_outcome(&n, eager, p));
    hone_program_free(p);
    o.eager = true;
    p = compiled(&n, b, &o);
    net_steps(p, 4);
    assert_int_equal(r.recordings, 1);
    hone_program_free(p);
    hone_program_free(eager);
    hone_graph_free(n.g);
    hone_backend_close(plain);
    hone_backend_close(b);
}

static void the_environment_is_read_at_compile(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_residual_mlp(&n, 2, 1.0f);
    hone_compile_opts o = training(&n);
    setenv("HONE_CHECK", "1", 1);
    setenv("HONE_EAGER", "1", 1);
    hone_program *p = compiled(&n, b, &o);
    unsetenv("HONE_CHECK");
    unsetenv("HONE_EAGER");
    assert_true(p->check && p->opts.eager);
    net_steps(p, 1);
    hone_program_free(p);
    p = compiled(&n, b, &o);
    assert_false(p->check || p->opts.eager);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- not finite ---------------------------------------------------------------------------------------------- */

static void spoil_gelu(hone_backend *b, const hone_launch *l)
{
    (void)b;
    float *y = l->out[0];
    memset(y, 0, hone_tensor_bytes(l->out_desc[0]));
    y[2] = NAN;
}

static void the_first_bad_node_is_named(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    n.g = NULL;
    net_residual_mlp(&n, 2, 1.0f);
    for (hone_nid i = 0; i < n.g->node_count; i++) n.g->node[i].layer = i / 2;
    b->input_acts = 0; /* gelu as a node of its own, which this plants its fault in */
    hone_compile_opts o = training(&n);
    o.accumulate = 2;
    hone_program *p = compiled(&n, b, &o);
    char text[512];
    bool found = true;
    OK(hone_program_forward_backward(p));
    hone_step before, after;
    OK(hone_program_get_step(p, &before));
    float *grad = hone_program_address(p, hone_program_graph(p)->tensor[hone_graph_find(n.g, "p0")].grad), kept[77];
    memcpy(kept, grad, sizeof kept);
    OK(hone_program_find_nonfinite(p, &found, text, sizeof text));
    assert_false(found);
    assert_string_equal(text, "");
    OK(hone_program_get_step(p, &after));
    assert_memory_equal(&before, &after, sizeof before);
    assert_memory_equal(kept, grad, sizeof kept);

    b->kernel[HONE_OP_gelu].launch = spoil_gelu;
    OK(hone_program_find_nonfinite(p, &found, text, sizeof text));
    assert_true(found);
    assert_string_equal(text, "forward gelu of layer 1 (tensor 'gelu#3') writes 'gelu#3', which is not finite");

    float bad = INFINITY;
    hone_tid bias = hone_graph_find(n.g, "p1");
    memcpy(hone_program_address(p, bias), &bad, sizeof bad);
    OK(hone_program_find_nonfinite(p, &found, text, sizeof text));
    assert_string_equal(text, "parameter 'p1' is not finite before the step");
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void a_bad_step_changes_no_parameter(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_lenet(&n, 3, 1.0f);
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o), *q = compiled(&n, b, &o);
    const size_t bytes = hone_tensor_bytes(&n.g->tensor[n.x]);
    float *x = malloc(bytes), good;
    OK(hone_program_read(p, n.x, x, bytes));
    good = x[0];
    x[0] = NAN;
    net_steps(p, 1);
    net_steps(q, 1);
    OK(hone_program_write(p, n.x, x, bytes));
    OK(hone_program_step(p));
    hone_step s;
    OK(hone_program_get_step(p, &s));
    assert_true(s.finite == 0 && s.bad_in_row == 1 && s.bad_total == 1 && s.updates == 1);
    x[0] = good;
    OK(hone_program_write(p, n.x, x, bytes));
    net_steps(p, 1); /* the same host step as q's second one: the bad one left no trace */
    net_steps(q, 1);
    assert_true(same_outcome(&n, p, q));
    free(x);
    hone_program_free(p);
    hone_program_free(q);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void profile_times_every_node(void **state)
{
    (void)state;
    hone_backend *b = open_backend("ref");
    net n;
    net_resnet(&n, 2, false);
    hone_compile_opts o = training(&n);
    hone_program *p = compiled(&n, b, &o);
    double *seconds = calloc((size_t)hone_program_graph(p)->node_count, sizeof *seconds), sum = 0;
    OK(hone_program_profile(p, 3, seconds));
    for (hone_nid i = 0; i < hone_program_graph(p)->node_count; i++) {
        assert_true(seconds[i] >= 0);
        sum += seconds[i];
    }
    assert_true(sum > 0);
    hone_step s;
    OK(hone_program_get_step(p, &s));
    assert_int_equal(s.updates, 3);
    free(seconds);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_parameters_stay),
        cmocka_unit_test(accumulation_equals_one_batch),
        cmocka_unit_test(the_step_block_keeps_its_halves_apart),
        cmocka_unit_test(sharers_see_one_set_of_parameters),
        cmocka_unit_test(wrong_sharers_are_refused),
        cmocka_unit_test(the_moving_average),
        cmocka_unit_test(running_statistics_are_averaged),
        cmocka_unit_test(recorded_equals_eager),
        cmocka_unit_test(the_environment_is_read_at_compile),
        cmocka_unit_test(the_first_bad_node_is_named),
        cmocka_unit_test(a_bad_step_changes_no_parameter),
        cmocka_unit_test(profile_times_every_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
