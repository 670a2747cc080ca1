/* test_model_program.c - models as programs: values survive the way to a program and back, a net of
 * the page computes what PyTorch's definitions say, frozen parameters stay, averages come back.
 * rooms: model compile graph config io kernels core */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/model_page.h"

static const page_input IN = {6, 6, 2, 3, 7};
enum { BATCH = 4, PIXELS = 6 * 6 * 2 };

#define OK(expr)                                                                                                       \
    do {                                                                                                               \
        if ((expr) != HONE_OK) fail_msg("%s: %s", #expr, hone_error_message());                                        \
    } while (0)

static hone_program *compiled(hone_model *m, hone_backend *b, hone_mode mode, const hone_compile_opts *given,
                              hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {
        .batch = BATCH, .pool_rows = BATCH, .pool_h = pre->height, .pool_w = pre->width, .mode = mode, .accumulate = 1};
    hone_compile_opts c = given ? *given : (hone_compile_opts){.loss = HONE_NONE};
    hone_graph *g = NULL;
    hone_program *p = NULL;
    OK(hone_model_build(m, &o, &g, io));
    if (given) c.loss = io->loss;
    OK(hone_compile(g, b, &c, &p));
    hone_graph_free(g);
    return p;
}

/* Pixels 0..255, labels 0..2, weights 1: the same for every test. */
static void feed(hone_program *p, const hone_model_io *io, uint8_t *pool)
{
    int32_t row[BATCH], label[BATCH];
    float weight[BATCH];
    for (int k = 0; k < BATCH; k++) {
        row[k] = k;
        label[k] = k % 3;
        weight[k] = 1;
    }
    for (int k = 0; k < BATCH * PIXELS; k++) pool[k] = (uint8_t)(k * 37 + k / 7);
    OK(hone_program_bind_pool(p, io->pool, pool));
    OK(hone_program_write(p, io->row, row, sizeof row));
    OK(hone_program_write(p, io->sample, row, sizeof row));
    OK(hone_program_write(p, io->label, label, sizeof label));
    if (io->row_weight != HONE_NONE) OK(hone_program_write(p, io->row_weight, weight, sizeof weight));
}

static const char every_layout[] = "{layers: [conv: {out: 4}, batchnorm, relu, conv: {out: 4, groups: depthwise}, "
                                   "flatten, dropout: 0.5, linear: 5, linear: classes]}";

/* Every layout and role, there and back: the same bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    hone_model *m = NULL;
    hone_backend *b = NULL;
    hone_model_io io;
    OK(page_model(every_layout, IN, &m));
    OK(hone_backend_open("ref", 1, &b));
    hone_program *p = compiled(m, b, HONE_MODE_EVAL, NULL, &io);
    for (int k = 0; k < hone_model_param_count(m); k++)
        for (int64_t i = 0; i < hone_model_param(m, k)->count; i++)
            hone_model_param(m, k)->value[i] = (float)(1000 * k + i);
    OK(hone_model_upload(m, p));
    for (int k = 0; k < hone_model_param_count(m); k++)
        for (int64_t i = 0; i < hone_model_param(m, k)->count; i++) hone_model_param(m, k)->value[i] = NAN;
    OK(hone_model_download(m, p, false));
    for (int k = 0; k < hone_model_param_count(m); k++)
        for (int64_t i = 0; i < hone_model_param(m, k)->count; i++)
            assert_true(hone_model_param(m, k)->value[i] == (float)(1000 * k + i));
    /* in memory the first linear's inputs are (H, W, C), in the file (C, H, W) */
    float memory[5 * 144];
    hone_tid w = hone_graph_find(hone_program_graph(p), "linear1.weight");
    OK(hone_program_read(p, w, memory, sizeof memory));
    const float *file = hone_model_find_param(m, "linear1.weight")->value;
    for (int h = 0; h < 6; h++)
        for (int x = 0; x < 6; x++)
            for (int c = 0; c < 4; c++) assert_true(memory[(h * 6 + x) * 4 + c] == file[(c * 6 + h) * 6 + x]);
    hone_program_free(p);
    hone_backend_close(b);
    hone_model_free(m);
}

/* Logits by PyTorch's definitions in (C, H, W) order, from the file's values: conv2d, batch_norm in
 * eval mode, relu, flatten (channels_last: a fault, the memory's order), linear. */
static void expected_logits(hone_model *m, const uint8_t *pool, bool channels_last, double logits[BATCH][3])
{
    const float *w = hone_model_find_param(m, "conv1.weight")->value,
                *bias = hone_model_find_param(m, "conv1.bias")->value;
    const float *gamma = hone_model_find_param(m, "batchnorm1.weight")->value,
                *beta = hone_model_find_param(m, "batchnorm1.bias")->value;
    const float *mean = hone_model_find_param(m, "batchnorm1.running_mean")->value,
                *var = hone_model_find_param(m, "batchnorm1.running_var")->value;
    const float *fc = hone_model_find_param(m, "linear1.weight")->value,
                *fb = hone_model_find_param(m, "linear1.bias")->value;
    for (int n = 0; n < BATCH; n++) {
        for (int c = 0; c < 3; c++) logits[n][c] = fb[c];
        for (int o = 0; o < 4; o++)
            for (int h = 0; h < 6; h++)
                for (int x = 0; x < 6; x++) {
                    double sum = bias[o];
                    for (int i = 0; i < 2; i++)
                        for (int r = 0; r < 3; r++)
                            for (int s = 0; s < 3; s++) {
                                int y = h + r - 1, z = x + s - 1;
                                if (y < 0 || y > 5 || z < 0 || z > 5) continue;
                                double pixel = (pool[((n * 6 + y) * 6 + z) * 2 + i] / 255.0 - 0.5) / 0.25;
                                sum += pixel * w[((o * 2 + i) * 3 + r) * 3 + s];
                            }
                    sum = (sum - mean[o]) / sqrt(var[o] + 1e-5) * gamma[o] + beta[o];
                    sum = sum > 0 ? sum : 0;
                    for (int c = 0; c < 3; c++)
                        logits[n][c] += sum * fc[c * 144 + (channels_last ? (h * 6 + x) * 4 + o : (o * 6 + h) * 6 + x)];
                }
    }
}

static void test_forward(void **state)
{
    (void)state;
    hone_model *m = NULL;
    hone_model_io io;
    uint8_t pool[BATCH * PIXELS];
    double expected[BATCH][3];
    float logits[BATCH][3], probability[BATCH][3];
    OK(page_model("{layers: [conv: {out: 4}, batchnorm, flatten, relu, linear: classes]}", IN, &m));
    for (int k = 0; k < 4; k++) { /* statistics and scales that differ by channel */
        hone_model_find_param(m, "batchnorm1.running_mean")->value[k] = 0.1f * (float)k;
        hone_model_find_param(m, "batchnorm1.running_var")->value[k] = 0.5f + (float)k;
        hone_model_find_param(m, "batchnorm1.weight")->value[k] = 1 + 0.2f * (float)k;
        hone_model_find_param(m, "batchnorm1.bias")->value[k] = 0.3f - 0.1f * (float)k;
    }
    static const char *const device[] = {"ref", "cpu"};
    for (int d = 0; d < 2; d++) {
        hone_backend *b = NULL;
        OK(hone_backend_open(device[d], 2, &b));
        hone_program *p = compiled(m, b, HONE_MODE_EVAL, NULL, &io);
        OK(hone_model_upload(m, p));
        feed(p, &io, pool);
        OK(hone_program_forward_backward(p));
        OK(hone_program_read(p, io.logits, logits, sizeof logits));
        OK(hone_program_read(p, io.probability, probability, sizeof probability));
        expected_logits(m, pool, true, expected); /* planted: the wrong order of flatten must show */
        assert_true(fabs(logits[0][0] - expected[0][0]) > 1e-3);
        expected_logits(m, pool, false, expected);
        for (int n = 0; n < BATCH; n++) {
            double total = 0;
            for (int c = 0; c < 3; c++) {
                if (fabs(logits[n][c] - expected[n][c]) > 1e-4)
                    fail_msg("%s: %g, not %g", device[d], (double)logits[n][c], expected[n][c]);
                total += exp(expected[n][c]);
            }
            for (int c = 0; c < 3; c++) assert_true(fabs(probability[n][c] - exp(expected[n][c]) / total) < 1e-4);
        }
        hone_program_free(p);
        hone_backend_close(b);
    }
    hone_model_free(m);
}

static float *copy_values(hone_model *m, const char *name)
{
    const hone_param *p = hone_model_find_param(m, name);
    float *copy = malloc((size_t)p->count * sizeof *copy);
    assert_non_null(copy);
    return memcpy(copy, p->value, (size_t)p->count * sizeof *copy);
}

static bool is_same(hone_model *m, const char *name, const float *value)
{
    const hone_param *p = hone_model_find_param(m, name);
    return memcmp(p->value, value, (size_t)p->count * sizeof *value) == 0;
}

/* Frozen parameters keep their bytes while others move; running statistics move; the average lags. */
static void test_train(void **state)
{
    (void)state;
    hone_model *m = NULL;
    hone_backend *b = NULL;
    hone_model_io io;
    uint8_t pool[BATCH * PIXELS];
    char *pattern[] = {"conv1.*"};
    hone_string_list list = {pattern, 1};
    OK(page_model(every_layout, IN, &m));
    OK(hone_model_freeze(m, &list));
    OK(hone_backend_open("ref", 1, &b));
    hone_compile_opts opts = {
        .optimizer = HONE_OPT_SGD, .update = {.momentum = 0.9f, .ema_decay = 0.9f}, .accumulate = 1};
    hone_program *p = compiled(m, b, HONE_MODE_TRAIN, &opts, &io);
    OK(hone_model_upload(m, p));
    static const char *const name[] = {"conv1.weight", "conv2.weight", "linear1.weight", "batchnorm1.running_mean"};
    float *before[4];
    for (int k = 0; k < 4; k++) before[k] = copy_values(m, name[k]);
    feed(p, &io, pool);
    for (int step = 0; step < 3; step++) {
        OK(hone_program_set_step(p, &(hone_step){.seed = 1, .step = step, .lr = 0.01f}));
        OK(hone_program_step(p));
    }
    hone_step done;
    OK(hone_program_get_step(p, &done));
    assert_true(done.updates == 3 && isfinite(done.loss_sum) && done.samples == 3 * BATCH);
    OK(hone_model_download(m, p, false));
    assert_true(is_same(m, name[0], before[0]));
    for (int k = 1; k < 4; k++) assert_false(is_same(m, name[k], before[k]));
    float *raw = copy_values(m, name[1]);
    OK(hone_model_download(m, p, true));
    assert_false(is_same(m, name[1], raw)); /* the average is another */
    assert_true(is_same(m, name[0], before[0]));
    free(raw);
    for (int k = 0; k < 4; k++) free(before[k]);
    hone_program_free(p);
    hone_backend_close(b);
    hone_model_free(m);
}

/* One training step of every kind of layer on the reference: the loss is finite and all parameters
 * but none are left without a gradient. */
static void test_every_layer_trains(void **state)
{
    (void)state;
    static const char *const page[] = {
        "{layers: [conv: {out: 4, bias: false}, batchnorm, relu6, conv: {out: 4, kernel: [3, 1], pad: [1, 0], groups: "
        "2}, leaky_relu, maxpool: 2, silu, conv: {out: 4, dilation: 2}, tanh, global_maxpool, sigmoid, linear: "
        "classes]}",
        "{layers: [conv: 4, gelu, avgpool: {kernel: 3, stride: 1, pad: 1}, residual: {drop_path: 0.3, layers: [conv: "
        "4, gelu: tanh], shortcut: [conv: {out: 4, kernel: 1}], after: [relu]}, layernorm, global_avgpool, linear: "
        "classes]}",
        "{layers: [patch_embed: {size: 3, dim: 8}, class_token, position, attention: {heads: 2, dropout: 0.1}, "
        "layernorm, pool: first, linear: classes]}",
        "{layers: [patch_embed: {size: 2, dim: 8}, position: sincos, encoder: {layers: 2, heads: 2, dropout: 0.1}, "
        "pool: mean, linear: classes]}",
        "{layers: [patch_embed: {size: 2, dim: 8}, encoder: {layers: 1, heads: 4, ff: 12, norm: post, act: relu}, "
        "pool: max, linear: classes]}",
        "{layers: [repeat: {times: 2, layers: [residual: {repeat: 2, layers: [conv: {out: 2}]}]}, flatten, dropout, "
        "linear: 6, relu, linear: classes]}",
    };
    hone_backend *b = NULL;
    OK(hone_backend_open("ref", 1, &b));
    for (size_t k = 0; k < sizeof page / sizeof page[0]; k++) {
        hone_model *m = NULL;
        hone_model_io io;
        uint8_t pool[BATCH * PIXELS];
        OK(page_model(page[k], IN, &m));
        hone_compile_opts opts = {.optimizer = HONE_OPT_SGD, .accumulate = 1};
        hone_program *p = compiled(m, b, HONE_MODE_TRAIN, &opts, &io);
        OK(hone_model_upload(m, p));
        feed(p, &io, pool);
        OK(hone_program_set_step(p, &(hone_step){.seed = 1, .lr = 0.1f}));
        float **before = calloc((size_t)hone_model_param_count(m), sizeof *before);
        for (int i = 0; i < hone_model_param_count(m); i++) before[i] = copy_values(m, hone_model_param(m, i)->name);
        OK(hone_program_step(p));
        float loss = NAN;
        OK(hone_program_read(p, io.loss, &loss, sizeof loss));
        if (!isfinite(loss)) fail_msg("the loss of page %zu is %g", k, (double)loss);
        OK(hone_model_download(m, p, false));
        for (int i = 0; i < hone_model_param_count(m); i++) {
            const hone_param *q = hone_model_param(m, i);
            bool moved = !is_same(m, q->name, before[i]);
            if (q->role == HONE_ROLE_PARAM && !moved) fail_msg("page %zu: %s did not learn", k, q->name);
            free(before[i]);
        }
        free(before);
        hone_program_free(p);
        hone_model_free(m);
    }
    hone_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_every_layer_trains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
