/* test_precision.c - 16-bit storage: which tensors become bf16 or fp16, that the copies of parameters are true to
 * their masters whatever was done to these, and the loss scale of fp16. Programs run on the emulated device.
 *
 * Every checker here is shown to fail: an update that forgets the shadow, a cast that does nothing.
 * rooms: compile graph kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "graph/signature.h"
#include "support/programs.h"

static const hone_precision halves[] = {HONE_PRECISION_BF16, HONE_PRECISION_FP16};

/* --- conversion ------------------------------------------------------------------------------------------- */

static float to_f32(hone_dtype d, uint16_t h)
{
    float v;
    assert_true(hone_reals_to_f32(d, &h, &v, 1));
    return v;
}

static uint16_t from_f32(hone_dtype d, float v)
{
    uint16_t h;
    assert_true(hone_reals_from_f32(d, &v, &h, 1));
    return h;
}

/* Every value comes back, and between every two neighbours the border is their middle, which goes to the even one. */
static void rounds_to_nearest_even(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        hone_dtype d = hone_precision_storage(halves[k]);
        uint16_t infinity = from_f32(d, INFINITY);
        for (uint16_t h = 0; h < infinity; h++) {
            float a = to_f32(d, h), b = to_f32(d, (uint16_t)(h + 1));
            assert_int_equal(from_f32(d, a), h);
            assert_int_equal(from_f32(d, -a), h | 0x8000);
            /* the place of infinity is where the next value would be */
            double top = isinf(b) ? 2 * (double)a - (double)to_f32(d, (uint16_t)(h - 1)) : (double)b;
            float middle = (float)(((double)a + top) / 2);
            assert_int_equal(from_f32(d, middle), h + (h & 1));
            if (d == HONE_BF16 && h == 0) continue; /* the middle is fp32's least value */
            assert_int_equal(from_f32(d, nextafterf(middle, 0)), h);
            assert_int_equal(from_f32(d, nextafterf(middle, INFINITY)), h + 1);
        }
        assert_true(isnan(to_f32(d, from_f32(d, NAN))));
        uint32_t quiet = 0x7F800001; /* a NaN whose upper half alone would be infinity */
        float nan;
        memcpy(&nan, &quiet, sizeof nan);
        assert_true(isnan(to_f32(d, from_f32(d, nan))));
        assert_true(isinf(to_f32(d, infinity)));
    }
}

/* --- the pass --------------------------------------------------------------------------------------------- */

static void every_op_has_types(void **state)
{
    (void)state;
    char in[HONE_MAX_IN], out[HONE_MAX_OUT];
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (!hone_signature_types((hone_op)op, in, out)) fail_msg("%s has no types", hone_op_name((hone_op)op));
        for (int k = 0; k < hone_op_inputs((hone_op)op); k++) assert_non_null(strchr("fwiu#", in[k]));
        for (int k = 0; k < hone_op_outputs((hone_op)op); k++) assert_non_null(strchr("fwiu#", out[k]));
    }
}

/* Operand k of node n as the table has it; nodes that add to gradients of parameters are fp32 whole. */
static void check_operand(const hone_program *p, const hone_node *n, hone_tid t, char type, hone_dtype half)
{
    char text[256];
    if (t == HONE_NONE || (type != 'f' && type != 'w')) return;
    const hone_tensor *x = &p->graph->tensor[t];
    bool adds = n->op == HONE_OP_add && n->out[0] != HONE_NONE && p->graph->tensor[n->out[0]].role == HONE_ROLE_GRAD;
    hone_dtype want = type == 'f' && !adds ? half : HONE_F32;
    if (x->dtype != want)
        fail_msg("%s: '%s' is %s, not %s", hone_node_text(p, n, text, sizeof text), x->name, hone_dtype_name(x->dtype),
                 hone_dtype_name(want));
    if (want == half && x->role == HONE_ROLE_PARAM) fail_msg("'%s' is read in 16 bits and is a master", x->name);
    if (x->role == HONE_ROLE_PARAM || x->role == HONE_ROLE_GRAD || x->role == HONE_ROLE_STATE)
        assert_int_equal(x->dtype, HONE_F32);
}

static void check_types(const hone_program *p, hone_dtype half)
{
    char in[HONE_MAX_IN], out[HONE_MAX_OUT];
    int shadows = 0;
    for (hone_nid i = 0; i < p->graph->node_count; i++) {
        const hone_node *n = &p->graph->node[i];
        assert_true(hone_signature_types(n->op, in, out));
        for (int k = 0; k < n->in_count; k++) check_operand(p, n, n->in[k], in[k], half);
        for (int k = 0; k < n->out_count; k++) check_operand(p, n, n->out[k], out[k], half);
        for (int k = 0; k < n->in_count; k++)
            shadows += n->in[k] != HONE_NONE && p->graph->tensor[n->in[k]].role == HONE_ROLE_SHADOW;
    }
    assert_true(shadows > 1); /* weights, and the flat one of the update */
}

static void nets_are_stored_as_the_table_says(void **state)
{
    (void)state;
    hone_backend *b = open_backend("emulated");
    for (int kind = 0; kind < KINDS; kind++)
        for (int k = 0; k < 2; k++) {
            net n;
            hone_program *p;
            hone_memory planned;
            build_net(&n, kind, 3);
            hone_compile_opts o = training(&n);
            o.precision = halves[k];
            OK(hone_compile_plan(n.g, b, &o, &p));
            assert_int_equal(hone_program_precision(p), halves[k]);
            check_types(p, hone_precision_storage(halves[k]));
            hone_program_memory(p, &planned, NULL);
            assert_int_equal(planned.role_bytes[HONE_ROLE_SHADOW],
                             hone_align_up((int64_t)planned.role_bytes[HONE_ROLE_PARAM] / 2));
            hone_program_free(p);
            hone_graph_free(n.g);
        }
    hone_backend_close(b);
}

/* Probabilities are fp32: to go on with them in 16 bits somebody would have to say so. */
static void a_tensor_of_two_types_is_refused(void **state)
{
    (void)state;
    net n;
    hone_program *p;
    hone_backend *b = open_backend("emulated");
    net_start(&n, 2, 3, 2, DIM(2, 4));
    hone_tid h = net_op(&n, HONE_OP_softmax, IDS(net_linear(&n, n.x, 6, true)), NULL);
    h = net_linear(&n, h, 3, true);
    n.g->tensor[h].flags |= HONE_TENSOR_KEEP;
    hone_compile_opts o = {.loss = HONE_NONE, .precision = HONE_PRECISION_BF16};
    assert_int_equal(hone_compile_plan(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message("softmax#");
    check_message("linear");
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void what_a_device_lacks_is_refused(void **state)
{
    (void)state;
    hone_precision got;
    hone_backend *cpu = open_backend("cpu"), *device = open_backend("emulated");
    static const hone_precision lacking[] = {HONE_PRECISION_TF32, HONE_PRECISION_BF16, HONE_PRECISION_FP16};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(hone_precision_choose(cpu, lacking[k], &got), HONE_ERR_USAGE);
        check_message("train.precision");
        check_message(hone_precision_name(lacking[k]));
        OK(hone_precision_choose(device, lacking[k], &got));
        assert_int_equal(got, lacking[k]);
    }
    OK(hone_precision_choose(cpu, HONE_PRECISION_AUTO, &got));
    assert_int_equal(got, HONE_PRECISION_FP32);
    OK(hone_precision_choose(device, HONE_PRECISION_AUTO, &got));
    assert_int_equal(got, device->best);
    hone_backend_close(cpu);
    hone_backend_close(device);
}

/* --- shadows ------------------------------------------------------------------------------------------------ */

/* Parameters whose 16-bit copy is not their rounded value. */
static int untrue_copies(hone_program *p)
{
    int untrue = 0;
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) {
        const hone_tensor *x = &p->graph->tensor[t];
        char name[HONE_NAME_BYTES];
        if (x->role != HONE_ROLE_SHADOW || (x->flags & HONE_TENSOR_FLAT)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(strrchr(x->name, '.') - x->name), x->name);
        hone_tid master = hone_graph_find(p->graph, name);
        assert_true(master != HONE_NONE);
        size_t count = (size_t)hone_tensor_count(x);
        float *value = malloc(count * sizeof *value);
        uint16_t *copy = malloc(count * sizeof *copy), *want = malloc(count * sizeof *want);
        OK(hone_program_read(p, master, value, count * sizeof *value));
        OK(hone_program_read(p, t, copy, count * sizeof *copy));
        hone_reals_from_f32(x->dtype, value, want, (int64_t)count);
        untrue += memcmp(copy, want, count * sizeof *copy) != 0;
        free(value);
        free(copy);
        free(want);
    }
    return untrue;
}

/* A training net on `b`, filled; the caller frees. */
static hone_program *trained(net *n, hone_backend *b, hone_precision precision, bool averages)
{
    hone_compile_opts o;
    net_resnet(n, 3, false);
    o = training(n);
    if (averages) {
        o.optimizer = HONE_OPT_ADAMW;
        o.update = adamw;
    }
    o.precision = precision;
    return compiled(n, b, &o);
}

static void steps(hone_program *p, int from, int to)
{
    for (int k = from; k < to; k++) {
        hone_step s = {.seed = 3, .step = k, .lr = 0.05f};
        OK(hone_program_set_step(p, &s));
        OK(hone_program_step(p));
    }
}

/* Doubles the first weight, as a load would. */
static void write_first(const net *n, hone_program *p)
{
    hone_tid w = hone_graph_find(n->g, "p0");
    size_t bytes = hone_tensor_bytes(&n->g->tensor[w]);
    float *v = malloc(bytes);
    OK(hone_program_read(p, w, v, bytes));
    for (size_t k = 0; k < bytes / sizeof *v; k++) v[k] *= 1.7f;
    OK(hone_program_write(p, w, v, bytes));
    free(v);
}

static void copies_follow_their_masters(void **state)
{
    (void)state;
    hone_backend *b = open_backend("emulated");
    for (int k = 0; k < 2; k++) {
        net n;
        hone_program *p = trained(&n, b, halves[k], k == 1);
        steps(p, 0, 4); /* eager, eager, recorded, replayed */
        assert_int_equal(untrue_copies(p), 0);
        write_first(&n, p);
        assert_int_equal(untrue_copies(p), 1); /* until something runs */
        OK(hone_program_forward_backward(p));
        assert_int_equal(untrue_copies(p), 0);
        steps(p, 4, 6);
        assert_int_equal(untrue_copies(p), 0);
        hone_program_free(p);
        hone_graph_free(n.g);
    }
    hone_backend_close(b);
}

/* The sound kernels of the table that the two below spoil. */
static void (*sound_sgd)(hone_backend *b, const hone_launch *l);

static void sgd_without_shadow(hone_backend *b, const hone_launch *l)
{
    hone_launch other = *l;
    other.in[7] = NULL;
    sound_sgd(b, &other);
}

static void no_cast(hone_backend *b, const hone_launch *l)
{
    (void)b;
    (void)l;
}

/* The checker above must see a copy that stays behind. */
static void stale_copies_are_caught(void **state)
{
    (void)state;
    net n;
    hone_backend *b = open_backend("emulated");
    void (*sound_cast)(hone_backend *, const hone_launch *) = b->kernel[HONE_OP_cast].launch;
    sound_sgd = b->kernel[HONE_OP_sgd].launch;
    hone_program *p = trained(&n, b, HONE_PRECISION_BF16, false);
    OK(hone_program_forward_backward(p)); /* copies are made */
    b->kernel[HONE_OP_sgd].launch = sgd_without_shadow;
    steps(p, 0, 1);
    assert_true(untrue_copies(p) > 0);
    b->kernel[HONE_OP_sgd].launch = sound_sgd;
    steps(p, 1, 2);
    assert_int_equal(untrue_copies(p), 0);
    b->kernel[HONE_OP_cast].launch = no_cast;
    write_first(&n, p);
    OK(hone_program_forward_backward(p));
    assert_int_equal(untrue_copies(p), 1);
    b->kernel[HONE_OP_cast].launch = sound_cast;
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- evaluation ----------------------------------------------------------------------------------------------- */

enum { LOGITS = 3 * 4 };

/* Logits of an evaluation program on the values that net_fill gives. */
static void evaluate(hone_program *p, const net *n, float logits[LOGITS])
{
    OK(hone_program_forward_backward(p));
    OK(hone_program_read(p, n->logits, logits, LOGITS * sizeof *logits));
}

/* The logits of a program of its own whose parameters and statistics are those of `p`, or its averages. */
static void expected(hone_program *p, const net *trained_net, const net *n, bool averages, hone_backend *b,
                     float logits[LOGITS])
{
    hone_program *own;
    hone_compile_opts o = {.loss = HONE_NONE, .precision = hone_program_precision(p)};
    OK(hone_compile(n->g, b, &o, &own));
    net_fill(n, own);
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        if (x->role != HONE_ROLE_PARAM && x->role != HONE_ROLE_STATE) continue;
        size_t bytes = hone_tensor_bytes(x);
        float *v = malloc(bytes);
        hone_tid from = hone_graph_find(trained_net->g, x->name);
        if (averages) OK(hone_program_read_slot(p, from, HONE_SLOT_EMA, v));
        else OK(hone_program_read(p, from, v, bytes));
        OK(hone_program_write(own, t, v, bytes));
        free(v);
    }
    evaluate(own, n, logits);
    hone_program_free(own);
}

/* An evaluation that follows training never sees old copies: of the weights, or of their average. */
static void evaluation_sees_the_newest(void **state)
{
    (void)state;
    hone_backend *b = open_backend("emulated");
    net n, e;
    hone_program *eval, *p = trained(&n, b, HONE_PRECISION_BF16, true);
    float got[LOGITS], want[LOGITS];
    net_resnet(&e, 3, true);
    hone_compile_opts o = {.loss = HONE_NONE, .share = p};
    OK(hone_compile(e.g, b, &o, &eval));
    assert_int_equal(hone_program_precision(eval), HONE_PRECISION_BF16);
    net_fill(&e, eval); /* writes the shared parameters */
    for (int round = 0; round < 3; round++) {
        steps(p, 2 * round, 2 * round + 2);
        for (int average = 0; average < 2; average++) {
            OK(hone_program_use_ema(eval, average));
            evaluate(eval, &e, got);
            expected(p, &n, &e, average, b, want);
            for (int k = 0; k < LOGITS; k++)
                if (got[k] != want[k])
                    fail_msg("round %d, average %d: logit %d is %.9g, not %.9g", round, average, k, (double)got[k],
                             (double)want[k]);
        }
    }
    o.precision = HONE_PRECISION_FP16;
    hone_program *other;
    assert_int_equal(hone_compile(e.g, b, &o, &other), HONE_ERR_USAGE);
    check_message("bf16");
    hone_program_free(eval);
    hone_program_free(p);
    hone_graph_free(e.g);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- the loss scale ----------------------------------------------------------------------------------------- */

static hone_step block_of(hone_program *p)
{
    hone_step s;
    OK(hone_program_get_step(p, &s));
    return s;
}

/* From far too large: each step that overflows is skipped and halves it, until gradients fit; then it learns. */
static void the_scale_backs_off_and_grows(void **state)
{
    (void)state;
    net n;
    hone_backend *b = open_backend("emulated");
    net_resnet(&n, 3, false);
    hone_compile_opts o = training(&n);
    o.precision = HONE_PRECISION_FP16;
    o.loss_scale = 0x1p24f;
    o.update.scale_interval = 2;
    hone_program *p;
    OK(hone_compile(n.g, b, &o, &p));
    assert_true(block_of(p).loss_scale == 0x1p24f);
    net_fill(&n, p); /* clears the block */
    OK(hone_program_put_step(p, &(hone_step){.loss_scale = 0x1p24f}));
    int skipped = 0;
    for (int k = 0; k < 40 && block_of(p).updates == 0; k++) {
        steps(p, k, k + 1);
        hone_step s = block_of(p);
        if (s.updates > 0) break;
        skipped++;
        assert_true(s.loss_scale == 0x1p24f / (float)(1 << skipped));
        assert_int_equal(s.bad_total, skipped);
        assert_int_equal(s.bad_in_row, 0); /* the scale's fault, not the run's */
        assert_int_equal(untrue_copies(p), 0);
    }
    assert_true(skipped > 0 && skipped < 24);
    float fits = block_of(p).loss_scale;
    steps(p, 40, 41);
    assert_true(block_of(p).updates == 2 && block_of(p).loss_scale == 2 * fits && block_of(p).scale_good == 0);
    assert_true(isfinite(block_of(p).grad_norm) && block_of(p).grad_norm < 1e3);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* At its least a gradient that is not finite is the run's own, and counts towards its end. */
static void the_floor_blames_the_run(void **state)
{
    (void)state;
    hone_step s = {.loss_scale = 2 * HONE_LOSS_SCALE_MIN, .finite = 0};
    hone_step_count(&s, 4);
    assert_true(s.loss_scale == HONE_LOSS_SCALE_MIN && s.bad_in_row == 0 && s.bad_total == 1);
    hone_step_count(&s, 4);
    assert_true(s.loss_scale == HONE_LOSS_SCALE_MIN && s.bad_in_row == 1 && s.bad_total == 2);
    hone_step plain = {.finite = 0};
    hone_step_count(&plain, 0);
    assert_true(plain.loss_scale == 0 && plain.bad_in_row == 1);
    hone_step top = {.loss_scale = HONE_LOSS_SCALE_MAX, .finite = 1};
    hone_step_count(&top, 1);
    assert_true(isfinite(top.loss_scale) && top.updates == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_to_nearest_even),
        cmocka_unit_test(every_op_has_types),
        cmocka_unit_test(nets_are_stored_as_the_table_says),
        cmocka_unit_test(a_tensor_of_two_types_is_refused),
        cmocka_unit_test(what_a_device_lacks_is_refused),
        cmocka_unit_test(copies_follow_their_masters),
        cmocka_unit_test(stale_copies_are_caught),
        cmocka_unit_test(evaluation_sees_the_newest),
        cmocka_unit_test(the_scale_backs_off_and_grows),
        cmocka_unit_test(the_floor_blames_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
