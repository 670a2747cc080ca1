/* test_together.c - several steps in one recording: programs that run groups of steps end with the bytes of programs
 * that run them one by one, for every net and sizes that change; how many run together, and when they may not.
 * The device is "ref" with recordings made of its own launches, so all of this runs anywhere; whole trainings on the
 * emulated device: test_together_run.c. Planted: the step block told once a group, one step's inputs for all of it, a
 * schedule that passes over a train line.
 * rooms: train data model config io compile graph kernels core */
#include "support/recorder.h"

#include "train/trainer.h"

/* --- faults of the device --------------------------------------------------------------------------------------- */

typedef enum fault { NO_FAULT, TOLD_ONCE, SAME_INPUTS } fault;

/* TOLD_ONCE: the step block of the first step stands for the whole group. */
static bool is_later_copy(const recorder *r) { return r->copies > 0; }

/* SAME_INPUTS: every step of a group reads the last one's slot. */
static void read_last_slot(const recorder *r, hone_launch *l)
{
    const uint8_t *base = r->p->arena[HONE_ROLE_INPUT];
    for (int k = 0; k < l->node->in_count; k++) {
        int64_t at = (const uint8_t *)l->in[k] - base;
        if (at >= 0 && at < r->p->together * r->p->slot_bytes)
            l->in[k] = (uint8_t *)r->p->arena[HONE_ROLE_INPUT] + at % r->p->slot_bytes;
    }
}

/* --- groups of steps ----------------------------------------------------------------------------------------------- */

/* Step k has inputs, a number and a rate of its own. */
static void tell(hone_program *p, const net *n, int k)
{
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        int64_t count = hone_tensor_count(x);
        if (x->role != HONE_ROLE_INPUT) continue;
        int32_t *host = malloc((size_t)count * sizeof *host);
        for (int64_t i = 0; i < count; i++) {
            float value = net_value((uint32_t)(t + 1000 * k), i);
            if (x->dtype == HONE_I32) host[i] = (int32_t)((i * 7 + 3 + k) % n->classes);
            else memcpy(&host[i], &value, sizeof value);
        }
        OK(hone_program_write(p, t, host, (size_t)count * sizeof *host));
        free(host);
    }
    OK(hone_program_set_step(p, &(hone_step){.seed = 11, .step = k, .lr = 0.05f / (float)(1 + k % 5)}));
}

/* Groups of size[count]; how many steps. */
static int run_groups(hone_program *p, const net *n, const int *size, int count)
{
    int step = 0;
    for (int g = 0; g < count; g++) {
        OK(hone_program_steps_together(p, size[g]));
        for (int k = 0; k < size[g]; k++) {
            tell(p, n, step++);
            OK(hone_program_step(p));
        }
    }
    return step;
}

/* Singles first, between and last; sizes that a whole does not divide by; the first group before and after step 3. */
static const int mixed[] = {1, 1, 4, 2, 1, 4, 8, 2, 16, 1}, at_once[] = {4, 4, 2, 1};

/* All that a step leaves: parameters, statistics, kept outputs, the step block, the inputs of the last one. */
static bool same_after(const net *n, hone_program *p, hone_program *q)
{
    hone_step a, b;
    OK(hone_program_get_step(p, &a));
    OK(hone_program_get_step(q, &b));
    bool same = memcmp(&a, &b, sizeof a) == 0;
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        if (x->role != HONE_ROLE_INPUT) continue;
        size_t bytes = hone_tensor_bytes(x);
        void *u = malloc(bytes), *v = malloc(bytes);
        OK(hone_program_read(p, t, u, bytes));
        OK(hone_program_read(q, t, v, bytes));
        same = same && memcmp(u, v, bytes) == 0;
        free(u);
        free(v);
    }
    return same_outcome(n, p, q) && same;
}

/* Whether a net that runs `size` groups ends as one that runs single steps, which never see the fault. */
static bool groups_equal_singles(int kind, const int *size, int count, fault f, recorder *r)
{
    hone_backend *plain = open_backend("ref"), *b = open_recorder(r);
    net n;
    build_net(&n, kind, 3);
    hone_compile_opts o = training(&n);
    if (kind % 2) {
        o.optimizer = HONE_OPT_ADAMW;
        o.update = adamw;
    }
    o.together = true;
    hone_program *single = compiled(&n, plain, &o), *p = compiled(&n, b, &o);
    assert_int_equal(hone_program_steps_most(single), 1); /* "ref" records nothing */
    assert_int_equal(hone_program_steps_most(p), 16);
    if (f == TOLD_ONCE) r->loses = is_later_copy;
    if (f == SAME_INPUTS) r->spoil = read_last_slot;
    r->p = p;
    int steps = run_groups(p, &n, size, count);
    int *each = malloc((size_t)steps * sizeof *each);
    for (int k = 0; k < steps; k++) each[k] = 1;
    assert_int_equal(run_groups(single, &n, each, steps), steps);
    free(each);
    bool same = same_after(&n, single, p);
    hone_program_free(p);
    hone_program_free(single);
    hone_graph_free(n.g);
    hone_backend_close(plain);
    hone_backend_close(b);
    return same;
}

static void groups_leave_what_singles_leave(void **state)
{
    (void)state;
    recorder r;
    for (int kind = 0; kind < KINDS; kind++) {
        assert_true(groups_equal_singles(kind, mixed, 10, NO_FAULT, &r));
        assert_true(r.recordings == 5 && r.replays == 8); /* sizes 1, 2, 4, 8, 16; the first two steps are eager */
        assert_true(groups_equal_singles(kind, at_once, 4, NO_FAULT, &r));
        assert_true(r.recordings == 3 && r.replays == 3); /* the first group is eager */
    }
}

/* What the equality above is worth. */
static void planted_faults_are_seen(void **state)
{
    (void)state;
    recorder r;
    int seen = 0;
    for (int kind = 0; kind < KINDS; kind++) { /* rates differ, so every net needs its own step's block */
        seen += !groups_equal_singles(kind, mixed, 10, TOLD_ONCE, &r);
        seen += !groups_equal_singles(kind, mixed, 10, SAME_INPUTS, &r);
    }
    assert_int_equal(seen, 2 * KINDS);
}

static void what_a_group_refuses(void **state)
{
    (void)state;
    recorder r;
    hone_backend *b = open_recorder(&r);
    hone_step block;
    net n;
    build_net(&n, 2, 3);
    hone_compile_opts o = training(&n);
    o.together = true;
    hone_program *p = compiled(&n, b, &o);
    assert_int_equal(hone_program_steps_together(p, 3), HONE_ERR_USAGE);
    assert_int_equal(hone_program_steps_together(p, 32), HONE_ERR_USAGE);
    assert_int_equal(hone_program_steps_together(p, 0), HONE_ERR_USAGE);
    OK(hone_program_steps_together(p, 2));
    tell(p, &n, 0);
    OK(hone_program_step(p));
    assert_int_equal(hone_program_get_step(p, &block), HONE_ERR_USAGE);
    check_message("1 of 2 steps are held back");
    assert_int_equal(hone_program_put_step(p, &block), HONE_ERR_USAGE);
    assert_int_equal(hone_program_forward_backward(p), HONE_ERR_USAGE);
    assert_int_equal(hone_program_update(p), HONE_ERR_USAGE);
    assert_int_equal(hone_program_steps_together(p, 2), HONE_ERR_USAGE);
    assert_int_equal(hone_program_write(p, hone_graph_find(n.g, "p0"), &block, 4), HONE_ERR_USAGE);
    OK(hone_program_set_step(p, &(hone_step){.seed = 1}));
    assert_int_equal(hone_program_step(p), HONE_ERR_USAGE); /* the second step's inputs are missing */
    check_message("step 2 of 2 that run together lacks some of its inputs");
    OK(hone_program_steps_together(p, 1)); /* dropped */
    OK(hone_program_get_step(p, &block));
    assert_int_equal(block.updates, 0);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* --- how many ---------------------------------------------------------------------------------------------------- */

/* The most for this net, planned only. */
static int most_of(const net *n, hone_backend *b, hone_compile_opts o)
{
    hone_program *p;
    OK(hone_compile_plan(n->g, b, &o, &p));
    int most = hone_program_steps_most(p);
    hone_program_free(p);
    return most;
}

static void the_number_is_decided_once(void **state)
{
    (void)state;
    recorder r;
    hone_backend *b = open_recorder(&r);
    net n, wide, heavy;
    build_net(&n, 2, 3);
    build_net(&wide, 0, 2048);   /* more bytes of inputs than one copy may have */
    build_net(&heavy, 1, 20000); /* a long step */
    hone_compile_opts o = training(&n);
    hone_program *p = NULL;
    assert_int_equal(most_of(&n, b, o), 1); /* not asked for */
    o.together = true;
    assert_int_equal(most_of(&n, b, o), 16);
    o.accumulate = 2;
    assert_int_equal(most_of(&n, b, o), 1);
    o.accumulate = 1;
    o.eager = true;
    assert_int_equal(most_of(&n, b, o), 1);
    o.eager = false;
    for (int k = 0; k < 2; k++) {
        hone_compile_opts long_step = training(k ? &heavy : &wide);
        long_step.together = true;
        assert_int_equal(most_of(k ? &heavy : &wide, b, long_step), 1);
    }
    for (int k = 1; k <= 16; k *= 2) {
        char text[8];
        snprintf(text, sizeof text, "%d", k);
        setenv("HONE_STEPS_A_GRAPH", text, 1);
        assert_int_equal(most_of(&n, b, o), k);
    }
    static const char *const wrong[] = {"3", "32", "0", "-4", "two", "4x"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        setenv("HONE_STEPS_A_GRAPH", wrong[k], 1);
        assert_int_equal(hone_compile_plan(n.g, b, &o, &p), HONE_ERR_USAGE);
        check_message("HONE_STEPS_A_GRAPH");
    }
    unsetenv("HONE_STEPS_A_GRAPH");
    hone_graph_free(n.g);
    hone_graph_free(wide.g);
    hone_graph_free(heavy.g);
    hone_backend_close(b);
}

/* --- the schedule -------------------------------------------------------------------------------------------------- */

typedef int schedule(int most, int64_t step, int64_t left, const int64_t *every, int count);

typedef struct counted {
    int launches, singles;
    bool crossed; /* something that was due inside of a group */
} counted;

/* Runs `total` steps by the schedule. */
static counted count_launches(schedule *next, int most, int64_t total, const int64_t *every, int count)
{
    counted c = {0};
    for (int64_t step = 0; step < total; c.launches++) {
        int n = next(most, step, total - step, every, count);
        assert_true(n >= 1 && n <= most && (n & (n - 1)) == 0);
        for (int k = 0; k < count; k++)
            for (int64_t s = step + 1; every[k] > 0 && s < step + n; s++) c.crossed |= s % every[k] == 0;
        c.crossed |= step + n > total;
        c.singles += n == 1;
        step += n;
    }
    return c;
}

/* A fault: train lines are forgotten. */
static int past_the_line(int most, int64_t step, int64_t left, const int64_t *every, int count)
{
    return hone_steps_together(most, step, left, every + 1, count - 1);
}

static void groups_end_where_the_host_acts(void **state)
{
    (void)state;
    static const struct {
        int most;
        int64_t total, every[3]; /* lines, looks, checkpoints */
        int launches, singles;
    } row[] = {
        {1, 100, {50, 10, 0}, 100, 100}, {16, 100, {50, 10, 0}, 20, 0}, /* 8 + 2, ten times    */
        {16, 100, {50, 50, 0}, 8, 0},                                   /* 16 + 16 + 16 + 2    */
        {4, 20, {7, 7, 0}, 8, 2},                                       /* 4 + 2 + 1, then 4 + 2 */
        {16, 20, {1, 10, 0}, 20, 20},                                   /* a line a step       */
        {8, 30, {50, 50, 12}, 6, 0},                                    /* 8 + 4, 8 + 4, 4 + 2 */
        {2, 9, {0, 0, 0}, 5, 1},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        counted c = count_launches(hone_steps_together, row[k].most, row[k].total, row[k].every, 3);
        assert_false(c.crossed);
        if (c.launches != row[k].launches || c.singles != row[k].singles)
            fail_msg("row %zu: %d launches, %d of them single", k, c.launches, c.singles);
    }
    for (int64_t lines = 1; lines < 40; lines++)
        for (int64_t saves = 0; saves < 40; saves += 3)
            for (int most = 1; most <= 16; most *= 2) {
                const int64_t every[] = {lines, 10, saves};
                assert_false(count_launches(hone_steps_together, most, 97, every, 3).crossed);
            }
    const int64_t every[] = {7, 10, 0};
    assert_true(count_launches(past_the_line, 16, 97, every, 3).crossed);
}

/* A trainer's own: an epoch of 9 full batches and a short one, a run of 25 steps. */
static void a_short_batch_stands_alone(void **state)
{
    (void)state;
    hone_program full = {.together = 16}, tail = {.together = 1};
    hone_backend device = {.host_memory = false}, host = {.host_memory = true};
    hone_config c = {.log = {.every = 50}};
    hone_trainer t = {.config = &c, .backend = &device, .steps_total = 25, .steps_per_epoch = 10};
    int size[25], count = 0;
    static const int want[] = {8, 1, 1, 8, 1, 1, 4, 1}; /* 9 + 1, 9 + 1, and 5 of the third epoch */
    c.train.max_bad_steps = 30;
    c.train.accumulate = 1;
    c.checkpoint.every = (hone_interval){.kind = HONE_EVERY_EPOCHS, .value = 1};
    t.train.full.program = &full;
    t.train.tail.program = &tail;
    t.train.batches = 10;
    while (t.s.step < t.steps_total) {
        int n = hone_trainer_together(&t);
        size[count++] = n;
        t.s.step += n;
        t.s.batch = t.s.step % 10;
    }
    assert_int_equal(count, 8);
    for (int k = 0; k < count; k++) assert_int_equal(size[k], want[k]);
    assert_int_equal(hone_trainer_look_steps(&t), 30);
    t.backend = &host;
    assert_int_equal(hone_trainer_look_steps(&t), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_leave_what_singles_leave),
        cmocka_unit_test(planted_faults_are_seen),
        cmocka_unit_test(what_a_group_refuses),
        cmocka_unit_test(the_number_is_decided_once),
        cmocka_unit_test(groups_end_where_the_host_acts),
        cmocka_unit_test(a_short_batch_stands_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
