/* test_frozen.c - programs whose parameters stay as they are: what kernels keep of weights changes no bit of a result,
 * is there once for all who share, follows what the host writes, and is refused where a program trains.
 * rooms: compile graph kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/programs.h"

enum { LONG_IN = 2100, OUT = 37, CLASSES = 5 };

/* Rows through products whose inner size takes several blocks, and whose outputs end within a panel. */
static void net_products(net *n, int64_t batch)
{
    net_start(n, batch, CLASSES, 2, (int64_t[]){batch, LONG_IN});
    hone_tid x = net_act(n, HONE_OP_gelu, net_linear(n, n->x, OUT, true));
    net_finish(n, net_linear(n, x, CLASSES, false), 1.0f);
}

static const hone_compile_opts frozen = {.loss = HONE_NONE, .frozen = true}, plain = {.loss = HONE_NONE};

/* A forward step of a batch; logits (batch, CLASSES of the net), the caller's. */
static float *logits_of(const net *n, hone_program *p)
{
    size_t size = hone_tensor_bytes(&n->g->tensor[n->logits]);
    float *y = malloc(size);
    OK(hone_program_forward_backward(p));
    OK(hone_program_read(p, n->logits, y, size));
    return y;
}

static bool same_logits(const net *n, hone_program *p, hone_program *q)
{
    float *a = logits_of(n, p), *b = logits_of(n, q);
    bool same = memcmp(a, b, hone_tensor_bytes(&n->g->tensor[n->logits])) == 0;
    free(a);
    free(b);
    return same;
}

/* Batches of 1, of what a register tile leaves over, and of more rows than weights are kept for. */
static void no_bit_changes(void **state)
{
    (void)state;
    static const int64_t batch[] = {1, 5, 24, 257};
    for (int threads = 1; threads <= 2; threads++)
        for (size_t k = 0; k < sizeof batch / sizeof *batch; k++) {
            net n;
            hone_backend *b;
            OK(hone_backend_open("cpu", threads, &b));
            net_products(&n, batch[k]);
            n.g->tensor[n.logits].flags |= HONE_TENSOR_KEEP;
            hone_program *p = compiled(&n, b, &frozen), *q = compiled(&n, b, &plain);
            for (int again = 0; again < 3; again++) assert_true(same_logits(&n, p, q));
            hone_program_free(p);
            hone_program_free(q);
            hone_graph_free(n.g);
            hone_backend_close(b);
        }
}

static hone_tid first_weight(const net *n)
{
    hone_tid t = 0;
    while (n->g->tensor[t].role != HONE_ROLE_PARAM || n->g->tensor[t].rank != 2) t++;
    return t;
}

/* The first row of the first weight, scaled: answers of both programs must become others, and stay the same ones. */
static void writes_are_followed(void **state)
{
    (void)state;
    net n;
    hone_backend *b = open_backend("cpu");
    net_products(&n, 6);
    n.g->tensor[n.logits].flags |= HONE_TENSOR_KEEP;
    hone_program *p = compiled(&n, b, &frozen), *q = compiled(&n, b, &plain);
    hone_tid weight = first_weight(&n);
    size_t size = hone_tensor_bytes(&n.g->tensor[weight]);
    float *w = malloc(size), *before = logits_of(&n, p);
    OK(hone_program_read(p, weight, w, size));
    for (int i = 0; i < LONG_IN; i++) w[i] *= -1.5f;
    OK(hone_program_write(p, weight, w, size));
    assert_false(same_logits(&n, p, q)); /* planted: one of the two has the old weight */
    OK(hone_program_write(q, weight, w, size));
    assert_true(same_logits(&n, p, q));
    float *after = logits_of(&n, p);
    assert_memory_not_equal(before, after, sizeof *after);
    free(before);
    free(after);
    free(w);
    hone_program_free(p);
    hone_program_free(q);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

/* Programs of two batches and of another lane read one packed copy, whichever comes first, from two threads at once. */
typedef struct lane {
    const net *n;
    hone_program *p;
    float *want;
    int wrong;
} lane;

static void *run_lane(void *arg)
{
    lane *l = arg;
    for (int k = 0; k < 20; k++) {
        float *y = logits_of(l->n, l->p);
        l->wrong += memcmp(y, l->want, hone_tensor_bytes(&l->n->g->tensor[l->n->logits])) != 0;
        free(y);
    }
    return NULL;
}

/* Inputs and labels alone: parameters are the owner's. */
static void fill_inputs(const net *n, hone_program *p)
{
    for (hone_tid t = 0; t < n->g->tensor_count; t++) {
        const hone_tensor *x = &n->g->tensor[t];
        int64_t count = hone_tensor_count(x);
        if (x->role != HONE_ROLE_INPUT) continue;
        int32_t *host = malloc((size_t)count * sizeof *host);
        for (int64_t i = 0; i < count; i++) {
            float value = net_fill_value(x, t, i);
            if (x->dtype == HONE_I32) host[i] = (int32_t)(i % n->classes);
            else memcpy(&host[i], &value, sizeof value);
        }
        OK(hone_program_write(p, t, host, (size_t)count * sizeof *host));
        free(host);
    }
}

static void lanes_share_what_is_kept(void **state)
{
    (void)state;
    net one, many;
    hone_backend *b = open_backend("cpu"), *other = open_backend("cpu");
    pthread_t thread;
    net_products(&one, 1);
    net_products(&many, 9);
    one.g->tensor[one.logits].flags |= HONE_TENSOR_KEEP;
    many.g->tensor[many.logits].flags |= HONE_TENSOR_KEEP;
    hone_program *owner = compiled(&one, b, &frozen), *apart, *truth_one = compiled(&one, b, &plain),
                 *truth_many = compiled(&many, b, &plain);
    hone_compile_opts o = {.loss = HONE_NONE, .frozen = true, .share = owner, .apart = true};
    OK(hone_compile(many.g, other, &o, &apart));
    fill_inputs(&many, apart);
    lane l[2] = {{&one, owner, logits_of(&one, truth_one), 0}, {&many, apart, logits_of(&many, truth_many), 0}};
    assert_int_equal(pthread_create(&thread, NULL, run_lane, &l[1]), 0);
    run_lane(&l[0]);
    pthread_join(thread, NULL);
    assert_int_equal(l[0].wrong + l[1].wrong, 0);
    free(l[0].want);
    free(l[1].want);
    hone_program_free(apart);
    hone_program_free(owner);
    hone_program_free(truth_one);
    hone_program_free(truth_many);
    hone_graph_free(one.g);
    hone_graph_free(many.g);
    hone_backend_close(other);
    hone_backend_close(b);
}

/* A weight that stays where the caller has it, at an address of no alignment: owner and sharer read it there, and a
 * write lands there. */
static void weights_are_lent(void **state)
{
    (void)state;
    net one, many;
    hone_backend *b = open_backend("cpu");
    net_products(&one, 1);
    net_products(&many, 9);
    one.g->tensor[one.logits].flags |= HONE_TENSOR_KEEP;
    many.g->tensor[many.logits].flags |= HONE_TENSOR_KEEP;
    hone_program *p = compiled(&one, b, &frozen), *q = compiled(&one, b, &plain), *r = compiled(&many, b, &plain),
                 *sharer;
    hone_tid weight = first_weight(&one);
    size_t size = hone_tensor_bytes(&one.g->tensor[weight]);
    char *memory = malloc(size + 4);
    float *w = (float *)(memory + 4);
    OK(hone_program_read(p, weight, w, size));
    for (int i = 0; i < LONG_IN; i++) w[i] *= -1.5f;
    assert_true(same_logits(&one, p, q)); /* packed already, from the arena */
    assert_true(hone_program_lend(p, weight, w));
    assert_ptr_equal(hone_program_address(p, weight), w);
    assert_false(same_logits(&one, p, q)); /* planted: the others have the old weight */
    OK(hone_program_write(q, weight, w, size));
    assert_true(same_logits(&one, p, q));
    hone_compile_opts o = {.loss = HONE_NONE, .frozen = true, .share = p};
    OK(hone_compile(many.g, b, &o, &sharer));
    fill_inputs(&many, sharer);
    assert_false(same_logits(&many, sharer, r));
    OK(hone_program_write(r, first_weight(&many), w, size));
    assert_true(same_logits(&many, sharer, r));
    float *other = calloc(1, size);
    OK(hone_program_write(p, weight, other, size));
    assert_memory_equal(w, other, size);
    assert_true(hone_program_lend(p, weight, other)); /* again: the newest counts */
    assert_ptr_equal(hone_program_address(p, weight), other);
    assert_false(hone_program_lend(q, weight, w));                   /* not frozen: it may train */
    assert_false(hone_program_lend(sharer, first_weight(&many), w)); /* not the owner */
    assert_false(hone_program_lend(p, one.x, w));                    /* no parameter */
    hone_program_free(sharer);
    hone_program_free(p);
    hone_program_free(q);
    hone_program_free(r);
    hone_graph_free(one.g);
    hone_graph_free(many.g);
    hone_backend_close(b);
    free(other);
    free(memory);
}

/* Doubles are no floats of a file. */
static void doubles_are_not_lent(void **state)
{
    (void)state;
    net n;
    hone_backend *b = open_backend("ref");
    net_products(&n, 1);
    hone_program *p = compiled(&n, b, &frozen);
    float w = 0;
    assert_int_equal(hone_program_lend(p, first_weight(&n), &w), b->real == HONE_F32);
    hone_program_free(p);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

static void trainers_are_refused(void **state)
{
    (void)state;
    net n;
    hone_backend *b = open_backend("cpu");
    hone_program *p;
    net_products(&n, 4);
    hone_compile_opts o = training(&n);
    o.frozen = true;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    check_message("do not stay");
    hone_program *owner = compiled(&n, b, &frozen), *trainer = NULL;
    o = training(&n);
    o.share = owner;
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    hone_program_free(owner);
    /* a frozen program over the parameters of one that trains */
    o = training(&n);
    trainer = compiled(&n, b, &o);
    o = (hone_compile_opts){.loss = HONE_NONE, .frozen = true, .share = trainer};
    assert_int_equal(hone_compile(n.g, b, &o, &p), HONE_ERR_USAGE);
    hone_program_free(trainer);
    hone_graph_free(n.g);
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bit_changes),           cmocka_unit_test(writes_are_followed),
        cmocka_unit_test(lanes_share_what_is_kept), cmocka_unit_test(trainers_are_refused),
        cmocka_unit_test(weights_are_lent),         cmocka_unit_test(doubles_are_not_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
