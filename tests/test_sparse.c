/* test_sparse.c - tables whose gradient is rows: the same training as with a dense gradient, without its memory.
 * rooms: compile kernels graph core
 *
 * One net: bag (V, C) -> linear -> loss, compiled with a sparse and with a dense table. Where rows are touched once
 * both must agree to the bit; where rows repeat, to rounding. What is not touched must not move by a bit. */
#include "support/programs.h"

enum { V = 50, C = 11, B = 6, CLASSES = 3, LIVE = 24, CAPACITY = 40 };

/* 6 texts, one of them empty. */
static const int32_t offsets[B + 1] = {0, 5, 5, 6, 13, 20, LIVE};

typedef struct bag_net {
    hone_graph *g;
    hone_tid table, token, offset, label, weight, bias, loss, y;
} bag_net;

static hone_tid tensor(bag_net *n, const char *name, hone_dtype type, hone_role role, int rank, int64_t a, int64_t b)
{
    hone_tid t;
    OK(hone_graph_tensor(n->g, name, type, role, rank, (int64_t[]){a, b}, &t));
    return t;
}

/* The rows of texts: a bag, or (`each`) an embedding and the mean over its rows. */
static void add_bag(bag_net *n, bool each, const hone_attrs *attr)
{
    const hone_tid in[3] = {n->table, n->token, n->offset};
    hone_tid rows;
    if (!each) {
        OK(hone_graph_add1(n->g, HONE_OP_embedding_bag, in, attr, &n->y));
        return;
    }
    OK(hone_graph_add1(n->g, HONE_OP_embedding, in, NULL, &rows));
    OK(hone_graph_add1(n->g, HONE_OP_ragged_mean, (hone_tid[]){rows, n->offset}, NULL, &n->y));
}

static void build(bag_net *n, bool sparse, int64_t capacity, hone_bag_mode mode, bool each)
{
    hone_tid out[HONE_MAX_OUT], step, logits;
    hone_attrs attr = {.bag = {.mode = (int32_t)mode}, .loss = {.grad_scale = 1}};
    n->g = hone_graph_new();
    n->table = tensor(n, "bag.weight", HONE_F32, HONE_ROLE_PARAM, 2, V, C);
    n->g->tensor[n->table].flags = HONE_TENSOR_TRAINABLE | (sparse ? HONE_TENSOR_SPARSE : 0);
    n->weight = tensor(n, "linear.weight", HONE_F32, HONE_ROLE_PARAM, 2, CLASSES, C);
    n->bias = tensor(n, "linear.bias", HONE_F32, HONE_ROLE_PARAM, 1, CLASSES, 0);
    n->g->tensor[n->weight].flags = n->g->tensor[n->bias].flags = HONE_TENSOR_TRAINABLE;
    n->token = tensor(n, "token", HONE_I32, HONE_ROLE_INPUT, 1, capacity, 0);
    n->offset = tensor(n, "offset", HONE_I32, HONE_ROLE_INPUT, 1, B + 1, 0);
    n->label = tensor(n, "label", HONE_I32, HONE_ROLE_INPUT, 1, B, 0);
    OK(hone_graph_step(n->g, &step));
    add_bag(n, each, &attr);
    OK(hone_graph_add1(n->g, HONE_OP_linear, (hone_tid[]){n->y, n->weight, n->bias}, NULL, &logits));
    OK(hone_graph_add(n->g, HONE_OP_softmax_xent,
                      (hone_tid[]){logits, n->label, HONE_NONE, HONE_NONE, step, HONE_NONE, HONE_NONE}, &attr, 1u,
                      out));
    n->loss = out[0];
}

/* Values that are no round numbers, the same in every program. */
static void fill(const bag_net *n, hone_program *p, bool repeated)
{
    float table[V * C], w[CLASSES * C], b[CLASSES] = {0.1f, -0.2f, 0.3f};
    int32_t token[CAPACITY], label[B] = {0, 1, 2, 0, 1, 2};
    for (int i = 0; i < V * C; i++) table[i] = (float)((i * 37) % 101 - 50) / 33.0f;
    for (int i = 0; i < CLASSES * C; i++) w[i] = (float)((i * 29) % 31 - 15) / 17.0f;
    for (int i = 0; i < CAPACITY; i++) token[i] = repeated ? (i * i + 3) % 13 : (i * 7 + 1) % V; /* 7, 50 coprime */
    OK(hone_program_write(p, n->table, table, sizeof table));
    OK(hone_program_write(p, n->weight, w, sizeof w));
    OK(hone_program_write(p, n->bias, b, sizeof b));
    OK(hone_program_write_front(p, n->token, token, LIVE * sizeof *token));
    OK(hone_program_write(p, n->offset, offsets, sizeof offsets));
    OK(hone_program_write(p, n->label, label, sizeof label));
}

typedef struct result {
    float table[V * C], slot[2][V * C], weight[CLASSES * C];
    hone_step step;
} result;

typedef struct how {
    const char *device;
    int threads, steps;
    hone_optimizer_kind optimizer;
    hone_update_attr update;
    hone_bag_mode mode;
    bool sparse, repeated, no_fuse, spoilt, each;
    int64_t capacity;
} how;

/* Some steps from the same start. */
static void train(const how *h, result *r)
{
    bag_net n;
    hone_backend *b = NULL;
    hone_program *p = NULL;
    memset(r, 0, sizeof *r);
    build(&n, h->sparse, h->capacity ? h->capacity : LIVE, h->mode, h->each);
    OK(hone_backend_open(h->device, h->threads ? h->threads : 1, &b));
    hone_compile_opts o = {.loss = n.loss, .optimizer = h->optimizer, .update = h->update, .no_fuse = h->no_fuse};
    OK(hone_compile(n.g, b, &o, &p));
    fill(&n, p, h->repeated);
    if (h->spoilt) OK(hone_program_write(p, n.bias, (float[]){NAN, 0, 0}, sizeof(float) * CLASSES));
    for (int k = 0; k < h->steps; k++) {
        hone_step step = {.seed = 1, .step = k, .lr = 0.3f};
        OK(hone_program_set_step(p, &step));
        OK(hone_program_step(p));
    }
    OK(hone_program_read(p, n.table, r->table, sizeof r->table));
    OK(hone_program_read(p, n.weight, r->weight, sizeof r->weight));
    for (int k = 0; k < 2; k++)
        if (hone_program_has_slot(p, k)) OK(hone_program_read_slot(p, n.table, k, r->slot[k]));
    OK(hone_program_get_step(p, &r->step));
    hone_program_free(p);
    hone_backend_close(b);
    hone_graph_free(n.g);
}

/* A row that no token names: what it was before. */
static bool untouched(int row, bool repeated)
{
    for (int i = 0; i < LIVE; i++)
        if (row == (repeated ? (i * i + 3) % 13 : (i * 7 + 1) % V)) return false;
    return true;
}

static double difference(const float *a, const float *b, int64_t n)
{
    double sum = 0, size = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(sum / size);
}

/* --- the same bits as the dense update ---------------------------------------------------------------- */

static void same_as_dense(const char *device, how h)
{
    result dense, sparse;
    h.device = device;
    h.steps = 1;
    how d = h;
    d.sparse = false;
    h.sparse = true;
    train(&d, &dense);
    train(&h, &sparse);
    assert_memory_equal(sparse.table, dense.table, sizeof dense.table);
    assert_memory_equal(sparse.weight, dense.weight, sizeof dense.weight);
    assert_memory_equal(sparse.slot[0], dense.slot[0], sizeof dense.slot[0]);
    assert_memory_equal(sparse.slot[1], dense.slot[1], sizeof dense.slot[1]);
}

/* Each row is touched once; the direct update, the one by rows, with momentum, and AdamW's first step. */
static void test_once_is_dense(void **state)
{
    (void)state;
    static const char *const device[] = {"ref", "cpu"};
    for (int k = 0; k < 2; k++)
        for (int mode = HONE_BAG_SUM; mode <= HONE_BAG_SQRT; mode++) {
            how h = {.optimizer = HONE_OPT_SGD, .mode = (hone_bag_mode)mode};
            same_as_dense(device[k], h);
            h.no_fuse = true;
            same_as_dense(device[k], h);
            h.update = (hone_update_attr){.momentum = 0.9f, .nesterov = 1};
            same_as_dense(device[k], h);
            h = (how){.optimizer = HONE_OPT_ADAMW, .mode = (hone_bag_mode)mode};
            h.update = (hone_update_attr){.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = 0.01f};
            same_as_dense(device[k], h);
        }
}

/* An embedding's rows, by the same updates; its mean over the text is the bag. */
static void test_embedding_is_dense(void **state)
{
    (void)state;
    static const char *const device[] = {"ref", "cpu"};
    for (int k = 0; k < 2; k++) {
        result bag, each;
        how h = {.optimizer = HONE_OPT_SGD, .mode = HONE_BAG_MEAN, .each = true};
        same_as_dense(device[k], h);
        h.update = (hone_update_attr){.momentum = 0.9f, .nesterov = 1};
        same_as_dense(device[k], h);
        h = (how){.device = device[k], .steps = 3, .optimizer = HONE_OPT_ADAMW, .mode = HONE_BAG_MEAN, .each = true};
        h.update = (hone_update_attr){.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f};
        same_as_dense(device[k], h);
        h.sparse = h.repeated = true;
        train(&h, &each);
        h.each = false;
        train(&h, &bag);
        assert_true(difference(each.table, bag.table, V * C) < 1e-5);
        assert_true(fabs(each.step.grad_norm - bag.step.grad_norm) < 1e-5 * bag.step.grad_norm);
    }
}

/* The planted fault: another learning rate in one of them must be seen by the comparison above. */
static void test_once_sees_a_fault(void **state)
{
    (void)state;
    result a, b;
    how h = {.device = "cpu", .steps = 1, .optimizer = HONE_OPT_SGD, .sparse = true};
    train(&h, &a);
    h.mode = HONE_BAG_MEAN;
    train(&h, &b);
    assert_memory_not_equal(a.table, b.table, sizeof a.table);
}

/* Rows that repeat, several steps: equal to rounding; direct and by rows. What is not named keeps its bits. */
static void test_repeats(void **state)
{
    (void)state;
    result dense, rows, direct;
    how h = {.device = "cpu", .steps = 4, .optimizer = HONE_OPT_SGD, .repeated = true, .mode = HONE_BAG_MEAN};
    train(&h, &dense);
    h.sparse = true;
    train(&h, &direct);
    h.no_fuse = true;
    train(&h, &rows);
    assert_true(difference(rows.table, dense.table, V * C) < 1e-6);
    assert_true(difference(direct.table, dense.table, V * C) < 1e-6);
    assert_true(fabs(rows.step.grad_norm - dense.step.grad_norm) < 1e-6 * dense.step.grad_norm);
    for (int row = 0; row < V; row++)
        for (int c = 0; c < C && untouched(row, true); c++)
            assert_true(rows.table[row * C + c] == (float)(((row * C + c) * 37) % 101 - 50) / 33.0f);
}

/* The limit is on dense and sparse gradients together. */
static void test_clip(void **state)
{
    (void)state;
    result dense, sparse, off;
    how h = {.device = "cpu", .steps = 3, .optimizer = HONE_OPT_SGD, .repeated = true};
    h.sparse = true;
    train(&h, &off);
    h.update.clip_norm = 0.05f;
    train(&h, &sparse);
    h.sparse = false;
    train(&h, &dense);
    assert_true(difference(sparse.table, dense.table, V * C) < 1e-6);
    assert_true(difference(sparse.weight, dense.weight, CLASSES * C) < 1e-6);
    assert_true(difference(sparse.table, off.table, V * C) > 1e-4); /* the limit did something */
    assert_true(fabs(sparse.step.grad_norm - dense.step.grad_norm) < 1e-6 * dense.step.grad_norm);
}

/* Moments of a row rest while nothing touches it; the bias corrections do not (torch.optim.SparseAdam). */
static void test_lazy_adamw(void **state)
{
    (void)state;
    result one, three;
    how h = {.device = "cpu", .steps = 1, .optimizer = HONE_OPT_ADAMW, .sparse = true, .repeated = true};
    h.update = (hone_update_attr){.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f};
    train(&h, &one);
    h.steps = 3;
    train(&h, &three);
    for (int row = 0; row < V; row++)
        for (int c = 0; c < C; c++) {
            bool moved = three.slot[1][row * C + c] > one.slot[1][row * C + c];
            if (untouched(row, true)) assert_true(three.slot[1][row * C + c] == 0 && !moved);
        }
    assert_true(three.step.updates == 3);
}

/* --- independence ------------------------------------------------------------------------------------- */

/* Threads share rows by owner, and what lies behind the live tokens is never looked at. */
static void test_threads_and_capacity(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        result a, b, c;
        how h = {.device = "cpu", .steps = 3, .optimizer = HONE_OPT_SGD, .sparse = true, .repeated = true};
        h.no_fuse = k == 1;
        h.each = k >= 2;
        if (k == 3) h.sparse = false;
        train(&h, &a);
        h.threads = 3;
        train(&h, &b);
        h.capacity = CAPACITY;
        train(&h, &c);
        assert_memory_equal(a.table, b.table, sizeof a.table);
        assert_memory_equal(a.table, c.table, sizeof a.table);
    }
}

/* A step whose gradient is not finite leaves the table alone, and is counted. */
static void test_bad_step(void **state)
{
    (void)state;
    static const hone_optimizer_kind kind[] = {HONE_OPT_SGD, HONE_OPT_ADAMW};
    for (int k = 0; k < 4; k++) {
        result r;
        how h = {.device = k & 2 ? "ref" : "cpu", .steps = 1, .optimizer = kind[k & 1], .sparse = true, .spoilt = true};
        train(&h, &r);
        for (int i = 0; i < V * C; i++) assert_true(r.table[i] == (float)((i * 37) % 101 - 50) / 33.0f);
        assert_int_equal(r.step.bad_in_row, 1);
        assert_int_equal(r.step.updates, 0);
    }
}

/* --- the gradient as rows ------------------------------------------------------------------------------- */

/* Without an optimizer the rows stay readable: put where their ids say, they are the dense gradient. */
static void test_rows_are_the_gradient(void **state)
{
    (void)state;
    bag_net n[2];
    hone_program *p[2];
    hone_backend *b = open_backend("cpu");
    float dense[V * C], rows[LIVE * C];
    int32_t id[LIVE], count = 0;
    for (int k = 0; k < 2; k++) {
        build(&n[k], k == 1, LIVE, true, false);
        hone_compile_opts o = {.loss = n[k].loss};
        OK(hone_compile(n[k].g, b, &o, &p[k]));
        fill(&n[k], p[k], true);
        OK(hone_program_forward_backward(p[k]));
    }
    const hone_graph *g = hone_program_graph(p[1]);
    OK(hone_program_read(p[0], hone_program_graph(p[0])->tensor[n[0].table].grad, dense, sizeof dense));
    for (hone_nid i = 0; i < g->node_count; i++) {
        if (g->node[i].op != HONE_OP_embedding_bag_rows) continue;
        OK(hone_program_read(p[1], g->node[i].out[0], id, sizeof id));
        OK(hone_program_read(p[1], g->node[i].out[1], rows, sizeof rows));
        OK(hone_program_read(p[1], g->node[i].out[2], &count, sizeof count));
    }
    assert_int_equal(count, 7); /* (i i + 3) mod 13 takes 7 values */
    for (int u = 0; u < count; u++) {
        assert_true(u == 0 || id[u] > id[u - 1]);
        for (int c = 0; c < C; c++) {
            assert_true(fabsf(rows[u * C + c] - dense[id[u] * C + c]) <= 1e-6f);
            dense[id[u] * C + c] = 0;
        }
    }
    for (int i = 0; i < V * C; i++) assert_true(dense[i] == 0);
    for (int k = 0; k < 2; k++) {
        hone_program_free(p[k]);
        hone_graph_free(n[k].g);
    }
    hone_backend_close(b);
}

/* --- memory, and what is refused ------------------------------------------------------------------------ */

static size_t bytes_of(hone_role role, hone_optimizer_kind kind, float momentum, bool sparse)
{
    bag_net n;
    hone_program *p;
    hone_memory planned;
    hone_backend *b = open_backend("cpu");
    build(&n, sparse, LIVE, true, false);
    hone_compile_opts o = {.loss = n.loss, .optimizer = kind, .update = {.momentum = momentum}};
    OK(hone_compile_plan(n.g, b, &o, &p));
    hone_program_memory(p, &planned, NULL);
    hone_program_free(p);
    hone_backend_close(b);
    hone_graph_free(n.g);
    return planned.role_bytes[role];
}

/* No dense gradient of the table; slots only where the optimizer has some. */
static void test_memory(void **state)
{
    (void)state;
    const size_t table = (size_t)hone_align_up(V * C * 4);
    assert_true(bytes_of(HONE_ROLE_GRAD, HONE_OPT_SGD, 0, true) + table ==
                bytes_of(HONE_ROLE_GRAD, HONE_OPT_SGD, 0, false));
    assert_int_equal(bytes_of(HONE_ROLE_OPT, HONE_OPT_SGD, 0, true), 0);
    assert_true(bytes_of(HONE_ROLE_OPT, HONE_OPT_SGD, 0.9f, true) > table);
    assert_true(bytes_of(HONE_ROLE_OPT, HONE_OPT_ADAMW, 0, true) > 2 * table);
    assert_true(bytes_of(HONE_ROLE_PARAM, HONE_OPT_SGD, 0, true) == bytes_of(HONE_ROLE_PARAM, HONE_OPT_SGD, 0, false));
}

static void refuse(hone_compile_opts o, const char *says)
{
    bag_net n;
    hone_program *p;
    hone_backend *b = open_backend("cpu");
    build(&n, true, LIVE, true, false);
    o.loss = n.loss;
    o.optimizer = HONE_OPT_SGD;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message(says);
    check_message("bag.weight");
    hone_backend_close(b);
    hone_graph_free(n.g);
}

static void test_refusals(void **state)
{
    (void)state;
    refuse((hone_compile_opts){.update = {.ema_decay = 0.9f}}, "moving average");
    refuse((hone_compile_opts){.accumulate = 2}, "accumulated");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_is_dense),
        cmocka_unit_test(test_embedding_is_dense),
        cmocka_unit_test(test_once_sees_a_fault),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_lazy_adamw),
        cmocka_unit_test(test_threads_and_capacity),
        cmocka_unit_test(test_bad_step),
        cmocka_unit_test(test_rows_are_the_gradient),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
