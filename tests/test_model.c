/* test_model.c - the layer language: what pages become, what their mistakes say, names and sizes of
 * the zoo, first values.
 * rooms: model compile graph config io core */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hone/io.h"
#include "hone/philox.h"
#include "support/snapshot.h"
#include "support/zoo.h"

static int count_nodes(const hone_graph *g, hone_op op)
{
    int count = 0;
    for (int k = 0; k < g->node_count; k++) count += g->node[k].op == op;
    return count;
}

static int64_t param_total(hone_model *m)
{
    int64_t total = 0;
    for (int k = 0; k < hone_model_param_count(m); k++)
        if (hone_model_param(m, k)->role == HONE_ROLE_PARAM) total += hone_model_param(m, k)->count;
    return total;
}

/* --- the zoo ------------------------------------------------------------------------------------------- */

static void test_zoo(void **state)
{
    (void)state;
    for (int k = 0; k < ZOO; k++) {
        char path[128];
        hone_model *m = good(zoo[k].page, zoo[k].in);
        hone_model_io io;
        hone_graph *g = built(m, HONE_MODE_TRAIN, 1, &io);
        char *table = hone_model_table(m, g);
        snprintf(path, sizeof path, "model/%s.txt", zoo[k].name);
        if (!snapshot_matches(path, table)) fail_msg("the layer table of %s changed", zoo[k].name);
        if (zoo[k].params && param_total(m) != zoo[k].params)
            fail_msg("%s has %lld parameters, not %lld", zoo[k].name, (long long)param_total(m),
                     (long long)zoo[k].params);
        free(table);
        hone_graph_free(g);
        hone_model_free(m);
    }
}

static int compare_lines(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Lines of a text in order, so that two lists compare as sets. */
static char *sorted_lines(char *text)
{
    char *line[1024];
    int count = 0;
    for (char *s = strtok(text, "\n"); s && count < 1024; s = strtok(NULL, "\n")) line[count++] = s;
    qsort(line, (size_t)count, sizeof *line, compare_lines);
    hone_text t = {0};
    for (int k = 0; k < count; k++) hone_text_add(&t, "%s\n", line[k]);
    free(text);
    return hone_text_take(&t);
}

static void test_names_of_others(void **state)
{
    (void)state;
    for (int k = 0; k < ZOO; k++) {
        if (!zoo[k].golden) continue;
        char path[512];
        snprintf(path, sizeof path, "%s/golden/param_names/%s.txt", HONE_TESTS_DIR, zoo[k].golden);
        char *expected = snapshot_read(path);
        assert_non_null(expected);
        expected = sorted_lines(expected);
        hone_model *m = good(zoo[k].page, zoo[k].in);
        char *have = sorted_lines(list_params(m));
        if (strcmp(expected, have) != 0) {
            snapshot_difference(path, expected, have);
            fail_msg("the parameters of %s are not named as elsewhere", zoo[k].name);
        }
        free(expected);
        free(have);
        hone_model_free(m);
    }
}

/* Planted: a table with one figure changed, and a missing line, are told apart from the snapshot. */
static void test_snapshot_sees(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/snapshots/model/lenet.txt", HONE_TESTS_DIR);
    char *text = snapshot_read(path);
    assert_non_null(text);
    char *digit = strstr(text, "61706");
    assert_non_null(digit);
    if (!getenv("HONE_UPDATE_SNAPSHOTS")) {
        fprintf(stderr, "two differences are expected here:\n");
        *digit = '7';
        assert_false(snapshot_matches("model/lenet.txt", text));
        *digit = '6';
        assert_true(snapshot_matches("model/lenet.txt", text));
        *strrchr(text, '\n') = '\0';
        assert_false(snapshot_matches("model/lenet.txt", text));
    }
    free(text);
}

/* --- names, blocks, repeats --------------------------------------------------------------------------------- */

static void check_names(const char *text, page_input in, const char *expected)
{
    hone_model *m = good(text, in);
    char *have = list_params(m);
    if (strcmp(have, expected) != 0) fail_msg("expected:\n%s\ngot:\n%s", expected, have);
    free(have);
    hone_model_free(m);
}

static const page_input TINY = {8, 8, 1, 3, 1};

static void test_names(void **state)
{
    (void)state;
    check_names("{layers: [conv: {out: 4, bias: false}, relu, conv: {name: stem, out: 4, bias: false}, conv: {out: 2, "
                "bias: false}, flatten, linear: classes]}",
                TINY,
                "conv1.weight (4, 1, 3, 3)\nstem.weight (4, 4, 3, 3)\nconv2.weight (2, 4, 3, 3)\nlinear1.weight (3, "
                "128)\nlinear1.bias (3)\n");
    /* `name: ~` shares the parent's level: its layers count on */
    check_names("{layers: [conv: {out: 1, bias: false}, group: {name: ~, layers: [conv: {out: 1, bias: false}]}, "
                "global_avgpool, linear: {name: ~, out: 3}]}",
                TINY, "conv1.weight (1, 1, 3, 3)\nconv2.weight (1, 1, 3, 3)\nweight (3, 1)\nbias (3)\n");
    check_names("{layers: [residual: {layers: [conv: {out: 1, bias: false}], shortcut: [conv: {out: 1, kernel: 1, "
                "bias: false}]}, flatten, linear: {out: 3, bias: false}]}",
                TINY,
                "residual1.conv1.weight (1, 1, 3, 3)\nresidual1.conv2.weight (1, 1, 1, 1)\nlinear1.weight (3, 64)\n");
    check_names("{layers: [repeat: {name: s, times: 2, layers: [conv: {name: c, out: 1, bias: false}]}, residual: "
                "{repeat: 2, layers: [conv: {out: 1, bias: false}]}, flatten, linear: {out: 3, bias: false}]}",
                TINY,
                "s.0.c.weight (1, 1, 3, 3)\ns.1.c.weight (1, 1, 3, 3)\nresidual1.0.conv1.weight (1, 1, 3, "
                "3)\nresidual1.1.conv1.weight (1, 1, 3, 3)\nlinear1.weight (3, 64)\n");
}

static void test_blocks(void **state)
{
    (void)state;
    /* a block chosen by name, lists as values, the caller's scope for values, defaults, $classes */
    static const char page[] =
        "with: {stem: wide, n: 5}\n"
        "blocks:\n"
        "  wide: {with: {out: $n}, layers: [conv: {out: $out, bias: false}]}\n"
        "  thin: {layers: [conv: {out: 1, bias: false}]}\n"
        "  wrap: {with: {out: , inside: }, layers: [group: {name: in, layers: $inside}, conv: {out: $out, bias: "
        "false}]}\n"
        "layers:\n"
        "  - $stem\n"
        "  - wrap: {name: w, out: $n, inside: [$stem: {out: 2}, conv: {out: $classes, bias: false}]}\n"
        "  - wide: {name: ~, out: 7}\n"
        "  - global_avgpool\n"
        "  - linear: {out: classes, bias: false}\n";
    check_names(page, TINY,
                "wide1.conv1.weight (5, 1, 3, 3)\nw.in.wide1.conv1.weight (2, 5, 3, 3)\nw.in.conv1.weight (3, 2, 3, "
                "3)\nw.conv1.weight (5, 3, 3, 3)\n"
                "conv1.weight (7, 5, 3, 3)\nlinear1.weight (3, 7)\n");
}

/* --- mistakes ------------------------------------------------------------------------------------------------- */

static const char *const wrong[] = {
    "{layers: [conv: {out: 8, kernal: 3}, relu7, flatten, linear: classes]}",
    "{layers: [conv: {kernel: 3}, batchnrom, flatten, liner: classes]}",
    "{layers: [conv: {out: 0}, conv: {out: many}, conv: {out: 8, kernel: [3, 3, 3]}, conv: {out: 8, pad: some}, "
    "linear: classes]}",
    "{layers: [dropout: 1.5, dropout: -0.1, leaky_relu: x, gelu: fast, linear: {out: classes, bias: 1}]}",
    "{layers: [embedding: {dim: 8}, gru: {hiden: 8}, conv1d: {out: 4, kernel: [3, 0]}, linear: classes]}",
    "{layers: [conv: {out: 8, init: {normal: -1}}, linear: {out: classes, init: kaming}]}",
    "layers:\n  - conv:\n    out: 8\n  - linear: classes\n",
    "{layers: [[relu], ~, {conv: {out: 8}, relu: }, 'linear']}",
    "{layers: [linear: classes]}",
    "{layers: [flatten, linear: 12]}",
    "{layers: [flatten, conv: {out: 8}]}",
    "{layers: [conv: {out: 8, kernel: 40, pad: 0}, flatten, linear: classes]}",
    "{layers: [conv: {out: 8, kernel: 4}, flatten, linear: classes]}",
    "{layers: [conv: {out: 6, groups: 4}, flatten, linear: classes]}",
    "{layers: [residual: {layers: [conv: {out: 8}]}, flatten, linear: classes]}",
    "{layers: [residual: {layers: relu, shortcut: none}, residual: {shortcut: identity}, linear: classes]}",
    "{layers: [patch_embed: {size: 5, dim: 8}, pool: first, linear: classes]}",
    "{layers: [patch_embed: {size: 7, dim: 8}, attention: 3, pool: first, linear: classes]}",
    "{layers: [conv: {out: 2}, flatten, relu, batchnorm, linear: classes]}",
    "{layers: [conv: {name: a, out: 1}, conv: {name: a, out: 1}, conv: {name: a.b, out: 1}, flatten, linear: classes]}",
    "{blocks: {b: {with: {out: }, layers: [conv: {out: $uot}]}}, layers: [b: {out: 4}, b, b: {out: 4, stride: 2}, "
    "flatten, linear: classes]}",
    "{blocks: {b: {layers: [b]}, conv: {layers: [relu]}, c: {with: [x], layer: []}}, layers: [b, flatten, linear: "
    "classes]}",
    "{with: {n: 8, size: }, layers: [conv: {out: $m}, flatten, linear: classes], optimizer: sgd}",
    "{file: models/lenet.yaml, layers: [relu]}",
    "{file: models/none.yaml}",
    "{file: models/resnet18.yaml, with: {stem: cifr}}",
    "{file: models/resnet18.yaml, with: {stam: cifar}}",
    "{layers: []}",
    "{with: {a: 1}}",
    "{layers: [maxpool: {kernel: 2, pad: 2}, flatten, linear: classes]}",
    "{layers: [batchnorm: {eps: 0}, flatten, linear: classes]}",
    "{layers: [global_avgpool, global_avgpool, linear: classes]}",
    "{layers: [relu: 3, maxpool: 0, residual: [relu], repeat: {times: 3}, linear: classes]}",
    "{layers: [repeat: {times: 1000, layers: [repeat: {times: 1000, layers: [relu]}]}, flatten, linear: classes]}",
    "{layers: [flatten, linear: 1048576, linear: 1048576, linear: classes]}",
};

static void test_mistakes(void **state)
{
    (void)state;
    hone_text t = {0};
    for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
        hone_model *m = NULL;
        hone_status status = page_model(wrong[k], SMALL, &m);
        if (status != HONE_ERR_USAGE) fail_msg("status %d of: %s", status, wrong[k]);
        assert_null(m);
        /* the checkout's place is not part of the message that is kept */
        const char *message = hone_error_message(), *root = HONE_SOURCE_DIR "/";
        hone_text_add(&t, "--- %s\n", wrong[k]);
        for (const char *s = message; *s;) {
            if (strncmp(s, root, strlen(root)) == 0) s += strlen(root);
            else hone_text_append(&t, s++, 1);
        }
        hone_text_add(&t, "\n");
    }
    char *text = hone_text_take(&t);
    assert_true(snapshot_matches("model/mistakes.txt", text));
    free(text);
}

/* --- graphs of the two modes -------------------------------------------------------------------------------------- */

static void test_modes(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 4}, batchnorm, relu, dropout: 0.1, residual: {drop_path: 0.2, layers: "
                         "[conv: {out: 4}]}, flatten, dropout, linear: classes]}",
                         SMALL);
    hone_model_io io;
    hone_graph *g = built(m, HONE_MODE_TRAIN, 5, &io);
    assert_int_equal(count_nodes(g, HONE_OP_batchnorm), 1);
    assert_int_equal(count_nodes(g, HONE_OP_dropout), 2);
    assert_int_equal(count_nodes(g, HONE_OP_drop_path), 1);
    assert_int_equal(count_nodes(g, HONE_OP_softmax), 0);
    assert_int_equal(io.probability, HONE_NONE);
    assert_int_not_equal(io.row_weight, HONE_NONE);
    uint32_t stream = HONE_STREAM_DROPOUT; /* running numbers, in order */
    for (int k = 0; k < g->node_count; k++)
        if (g->node[k].op == HONE_OP_dropout || g->node[k].op == HONE_OP_drop_path)
            assert_int_equal(g->node[k].attr.drop.stream, stream++);
    hone_graph_free(g);
    g = built(m, HONE_MODE_EVAL, 3, &io);
    assert_int_equal(count_nodes(g, HONE_OP_batchnorm), 0);
    assert_int_equal(count_nodes(g, HONE_OP_batchnorm_infer), 1);
    assert_int_equal(count_nodes(g, HONE_OP_dropout) + count_nodes(g, HONE_OP_drop_path), 0);
    assert_int_equal(count_nodes(g, HONE_OP_softmax), 1);
    assert_int_equal(g->tensor[io.probability].dim[0], 3);
    assert_int_equal(g->tensor[io.probability].dim[1], 10);
    assert_true(g->tensor[io.probability].flags & HONE_TENSOR_KEEP);
    assert_int_not_equal(io.row_loss, HONE_NONE);
    assert_int_equal(io.row_weight, HONE_NONE);
    hone_graph_free(g);
    hone_model_free(m);
}

/* A linear behind flatten, relu and dropout is stored for PyTorch's order; one behind a 1 x 1 image is not. */
static void test_flatten_layout(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 4}, flatten, relu, dropout: 0.5, linear: 7, linear: classes]}", SMALL);
    hone_model_io io;
    hone_graph *g = built(m, HONE_MODE_TRAIN, 2, &io);
    const hone_tensor *w = &g->tensor[hone_graph_find(g, "linear1.weight")];
    assert_int_equal(w->layout, HONE_LAYOUT_FLATTEN);
    assert_int_equal(w->hwc[0] * 10000 + w->hwc[1] * 100 + w->hwc[2], 282804);
    assert_int_equal(g->tensor[hone_graph_find(g, "linear2.weight")].layout, HONE_LAYOUT_PLAIN);
    assert_int_equal(g->tensor[hone_graph_find(g, "conv1.weight")].layout, HONE_LAYOUT_CONV);
    hone_graph_free(g);
    hone_model_free(m);
    m = good("{layers: [conv: {out: 4, kernel: 28, pad: valid}, flatten, linear: classes]}", SMALL);
    g = built(m, HONE_MODE_TRAIN, 2, &io);
    assert_int_equal(g->tensor[hone_graph_find(g, "linear1.weight")].layout, HONE_LAYOUT_PLAIN);
    hone_graph_free(g);
    hone_model_free(m);
}

static void test_flags(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 4}, batchnorm, flatten, linear: classes]}", SMALL);
    assert_true(hone_model_find_param(m, "conv1.weight")->decay);
    assert_false(hone_model_find_param(m, "conv1.bias")->decay);
    assert_false(hone_model_find_param(m, "batchnorm1.weight")->decay);
    assert_false(hone_model_find_param(m, "batchnorm1.running_var")->trainable);
    char *two[] = {"conv1.*", "linear?.bias"}, *none[] = {"conv1.*", "conv1.wieght"};
    hone_string_list bad = {none, 2}, list = {two, 2};
    assert_int_equal(hone_model_freeze(m, &bad), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "conv1.weight"));
    assert_true(hone_model_find_param(m, "conv1.weight")->trainable); /* nothing was done */
    assert_int_equal(hone_model_freeze(m, &list), HONE_OK);
    hone_model_io io;
    hone_graph *g = built(m, HONE_MODE_TRAIN, 2, &io);
    static const struct {
        const char *name;
        uint32_t flags;
    } row[] = {{"conv1.weight", HONE_TENSOR_DECAY},
               {"conv1.bias", 0},
               {"batchnorm1.weight", HONE_TENSOR_TRAINABLE},
               {"linear1.weight", HONE_TENSOR_TRAINABLE | HONE_TENSOR_DECAY},
               {"linear1.bias", 0},
               {"batchnorm1.running_mean", 0}};
    for (int k = 0; k < 6; k++) assert_int_equal(g->tensor[hone_graph_find(g, row[k].name)].flags, row[k].flags);
    hone_graph_free(g);
    hone_model_free(m);
}

/* --- first values ---------------------------------------------------------------------------------------------- */

typedef struct moments {
    double mean, std, most;
} moments;

static moments measure(hone_model *m, const char *name)
{
    const hone_param *p = hone_model_find_param(m, name);
    assert_non_null(p);
    double sum = 0, square = 0, most = 0;
    for (int64_t k = 0; k < p->count; k++) {
        sum += p->value[k];
        square += (double)p->value[k] * p->value[k];
        most = fmax(most, fabs(p->value[k]));
    }
    double mean = sum / (double)p->count;
    return (moments){mean, sqrt(square / (double)p->count - mean * mean), most};
}

/* Five standard errors around what the distribution says, for n draws; bound 0: normal. */
static bool fits(moments m, double std, double bound, double n)
{
    if (fabs(m.mean) >= 5 * std / sqrt(n) || fabs(m.std / std - 1) >= 5 / sqrt(n)) return false;
    return bound > 0 ? m.most <= bound && m.most > 0.98 * bound : m.most > 3 * std; /* a normal has tails */
}

static void test_init(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 64, kernel: 5}, conv: {out: 64, init: kaiming}, batchnorm, "
                         "global_avgpool, linear: 256, linear: {out: 256, init: xavier},"
                         " linear: {out: 256, init: normal}, linear: {out: classes, init: zeros}]}",
                         SMALL);
    assert_true(fits(measure(m, "conv1.weight"), 1 / sqrt(25.0) / sqrt(3.0), 1 / sqrt(25.0), 1600));
    assert_true(measure(m, "conv1.bias").most <= 1 / sqrt(25.0) && measure(m, "conv1.bias").most > 0);
    assert_true(fits(measure(m, "conv2.weight"), sqrt(2.0 / (64 * 9)), 0, 36864));
    assert_true(measure(m, "conv2.bias").most == 0);
    assert_true(fits(measure(m, "linear1.weight"), 1 / sqrt(64.0) / sqrt(3.0), 1 / sqrt(64.0), 16384));
    assert_true(fits(measure(m, "linear2.weight"), sqrt(6.0 / 512) / sqrt(3.0), sqrt(6.0 / 512), 65536));
    assert_true(fits(measure(m, "linear3.weight"), 0.02, 0, 65536));
    /* planted: the check must tell a uniform from a normal, and 0.02 from 0.021 */
    assert_false(fits(measure(m, "linear1.weight"), 1 / sqrt(64.0) / sqrt(3.0), 0, 16384));
    assert_false(fits(measure(m, "linear3.weight"), 0.021, 0, 65536));
    assert_true(measure(m, "linear4.weight").most == 0);
    for (int k = 0; k < 64; k++) {
        assert_true(hone_model_find_param(m, "batchnorm1.weight")->value[k] == 1);
        assert_true(hone_model_find_param(m, "batchnorm1.running_var")->value[k] == 1);
        assert_true(hone_model_find_param(m, "batchnorm1.bias")->value[k] == 0);
    }
    hone_model_free(m);
}

static bool same_values(hone_model *a, hone_model *b, const char *name)
{
    const hone_param *p = hone_model_find_param(a, name), *q = hone_model_find_param(b, name);
    assert_true(p && q && p->count == q->count);
    return memcmp(p->value, q->value, (size_t)p->count * sizeof *p->value) == 0;
}

/* The same seed gives the same bytes; another seed others; a layer more leaves the rest as it was. */
static void test_seed(void **state)
{
    (void)state;
    static const char page[] = "{layers: [conv: {out: 4}, relu, flatten, linear: {name: fc, out: classes}]}";
    static const char more[] =
        "{layers: [conv: {out: 4}, relu, conv: {out: 4}, flatten, linear: {name: fc, out: classes}]}";
    page_input other = SMALL;
    other.seed = 2;
    hone_model *a = good(page, SMALL), *b = good(page, SMALL), *c = good(more, SMALL), *d = good(page, other);
    assert_true(same_values(a, b, "conv1.weight") && same_values(a, b, "fc.weight"));
    assert_true(same_values(a, c, "conv1.weight") && same_values(a, c, "fc.weight"));
    assert_false(same_values(a, d, "conv1.weight"));
    assert_false(memcmp(hone_model_find_param(c, "conv1.weight")->value,
                        hone_model_find_param(c, "conv2.weight")->value, 36 * sizeof(float)) == 0);
    hone_model_free(a);
    hone_model_free(b);
    hone_model_free(c);
    hone_model_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zoo),   cmocka_unit_test(test_snapshot_sees),  cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_names), cmocka_unit_test(test_blocks),         cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_modes), cmocka_unit_test(test_flatten_layout), cmocka_unit_test(test_flags),
        cmocka_unit_test(test_init),  cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
