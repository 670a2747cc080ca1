/* test_model.c - the layer language: what pages become, what their mistakes say, names and sizes of
 * the zoo, first values, model.json.
 * rooms: model compile graph config io core */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/text.h"
#include "hone/io.h"
#include "hone/philox.h"
#include "support/model_page.h"
#include "support/snapshot.h"

static const page_input SMALL = {28, 28, 1, 10, 1};

static hone_model *good(const char *text, page_input in)
{
    hone_model *m = NULL;
    hone_status status = page_model(text, in, &m);
    if (status != HONE_OK) fail_msg("%s", hone_error_message());
    return m;
}

static hone_graph *built(const hone_model *m, hone_mode mode, int64_t batch, hone_model_io *io)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {
        .batch = batch, .pool_rows = 64, .pool_h = pre->height, .pool_w = pre->width, .mode = mode, .accumulate = 1};
    hone_graph *g = NULL;
    if (hone_model_build(m, &o, &g, io) != HONE_OK) fail_msg("%s", hone_error_message());
    return g;
}

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

typedef struct zoo_row {
    const char *name, *page;
    page_input in;
    int64_t params;     /* 0: not a published figure */
    const char *golden; /* tests/golden/param_names/NAME.txt, or NULL */
} zoo_row;

/* Counts: torchvision's documentation and timm's model cards. */
static const zoo_row zoo[] = {
    {"mlp", "{file: models/mlp.yaml}", {28, 28, 1, 10, 1}, 669706, NULL},
    {"lenet", "{file: models/lenet.yaml}", {28, 28, 1, 10, 1}, 61706, NULL},
    {"cnn", "{file: models/cnn.yaml}", {28, 28, 1, 10, 1}, 0, NULL},
    {"resnet18-cifar", "{file: models/resnet18.yaml, with: {stem: cifar}}", {32, 32, 3, 10, 1}, 11173962, NULL},
    {"resnet18", "{file: models/resnet18.yaml}", {224, 224, 3, 1000, 1}, 11689512, "resnet18"},
    {"resnet34", "{file: models/resnet34.yaml}", {224, 224, 3, 1000, 1}, 21797672, "resnet34"},
    {"resnet50", "{file: models/resnet50.yaml}", {224, 224, 3, 1000, 1}, 25557032, "resnet50"},
    {"mobilenet_v2", "{file: models/mobilenet_v2.yaml}", {224, 224, 3, 1000, 1}, 3504872, "mobilenet_v2"},
    {"vit_tiny", "{file: models/vit_tiny.yaml}", {224, 224, 3, 1000, 1}, 5717416, "vit_tiny"},
    {"vit_s16", "{file: models/vit_s16.yaml}", {224, 224, 3, 1000, 1}, 22050664, "vit_s16"},
};
enum { ZOO = sizeof zoo / sizeof zoo[0] };

/* "NAME (shape)" a line, in the model's order: what tests/golden/param_names.py writes. */
static char *list_params(hone_model *m)
{
    hone_text t = {0};
    for (int k = 0; k < hone_model_param_count(m); k++) {
        const hone_param *p = hone_model_param(m, k);
        hone_text_add(&t, "%s (", p->name);
        for (int d = 0; d < p->rank; d++) hone_text_add(&t, "%s%lld", d ? ", " : "", (long long)p->dim[d]);
        hone_text_add(&t, ")\n");
    }
    return hone_text_take(&t);
}

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
    "{layers: [embedding: {dim: 8}, gru: {hidden: 8}, linear: classes]}",
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

/* --- model.json ---------------------------------------------------------------------------------------------------- */

static const char *scratch(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/hone-test-model-%d-%s", (int)getpid(), name);
    return path;
}

static char *table_of(const hone_model *m)
{
    hone_model_io io;
    hone_graph *g = built(m, HONE_MODE_EVAL, 4, &io);
    char *table = hone_model_table(m, g);
    hone_graph_free(g);
    return table;
}

/* Saved and loaded again, every model of the zoo has the same table, names, labels and preprocessing. */
static void test_json_round_trip(void **state)
{
    (void)state;
    for (int k = 0; k < ZOO; k++) {
        hone_model *m = good(zoo[k].page, zoo[k].in), *again = NULL;
        const char *path = scratch("round.json");
        assert_int_equal(hone_model_save_json(m, path), HONE_OK);
        if (hone_model_load_json(path, &again) != HONE_OK) fail_msg("%s: %s", zoo[k].name, hone_error_message());
        char *a = table_of(m), *b = table_of(again), *p = list_params(m), *q = list_params(again);
        assert_string_equal(a, b);
        assert_string_equal(p, q);
        assert_memory_equal(hone_model_preprocess(m), hone_model_preprocess(again), sizeof(hone_preprocess));
        assert_string_equal(hone_model_class_name(m, 2), hone_model_class_name(again, 2));
        assert_true(isnan(hone_model_param(again, 0)->value[0])); /* poison until the weights are read */
        free(a);
        free(b);
        free(p);
        free(q);
        hone_model_free(m);
        hone_model_free(again);
        remove(path);
    }
}

static hone_status load_text(const char *text, size_t bytes)
{
    hone_model *m = NULL;
    const char *path = scratch("hostile.json");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    fclose(f);
    hone_status status = hone_model_load_json(path, &m);
    assert_true((status == HONE_OK) == (m != NULL));
    hone_model_free(m);
    remove(path);
    return status;
}

/* `find` in a good file is replaced; each must be refused as DATA, and must be there to be replaced. */
static const struct {
    const char *find, *put, *says;
} edit[] = {
    {"\"hone-model\"", "\"other\"", "format"},
    {"\"version\": 1", "\"version\": 2", "version"},
    {"\"version\": 1", "\"version\": 1.0", "version"},
    {"\"image\"", "\"sound\"", "task"},
    {"\"image\"", "\"text\"", "vocab"},
    {"\"height\": 28", "\"height\": -28", "height"},
    {"\"width\": 28", "\"width\": 1e9", "width"},
    {"\"channels\": 1", "\"channels\": 5", "channels"},
    {"\"stretch\"", "\"crop\"", "resize"},
    {"0.5", "1e300", "mean"},
    {"0.25", "0.0", "std"},
    {"0.25", "1e-300", "std"},
    {"0.25", "\"x\"", "std"},
    {"\"c1\"", "\"c0\"", "classes"},
    {"\"c1\"", "7", "classes"},
    {"\"c1\"", "\"\"", "classes"},
    {"\"conv\"", "\"convv\"", "did you mean conv"},
    {"\"out\": 4", "\"out\": 5", "parameters"},
    {"\"out\": 4", "\"out\": \"4\"", "must be"},
    {"\"out\": 4", "\"out\": 99999999999", "must be"},
    {"\"out\": 4", "\"outt\": 4", "did you mean out"},
    {"\"conv1.weight\"", "\"conv2.weight\"", "conv1.weight"},
    {"\"layers\"", "\"lairs\"", "layers"},
    {"\"name\": \"conv1\"", "\"name\": \"$classes\"", "name must be"},
    {"\"parameters\": {", "\"parameters\": {\"more\": [1],", "parameters"},
    {"\"format\"", "\"version\"", "not JSON"},
    {"\"name\": \"conv1\"", "\"name\": \"../x\"", "name must be"},
};

static void test_json_hostile(void **state)
{
    (void)state;
    hone_model *m = good("{layers: [conv: {out: 4}, batchnorm, flatten, linear: classes]}", SMALL);
    assert_int_equal(hone_model_save_json(m, scratch("good.json")), HONE_OK);
    hone_model_free(m);
    char *text = snapshot_read(scratch("good.json"));
    remove(scratch("good.json"));
    assert_non_null(text);
    assert_int_equal(load_text(text, strlen(text)), HONE_OK);
    for (size_t k = 0; k < sizeof edit / sizeof edit[0]; k++) {
        char *at = strstr(text, edit[k].find);
        if (!at) fail_msg("%s is not in the file", edit[k].find);
        hone_text t = {0};
        hone_text_append(&t, text, (size_t)(at - text));
        hone_text_add(&t, "%s%s", edit[k].put, at + strlen(edit[k].find));
        hone_status status = load_text(t.data, t.bytes);
        if (status != HONE_ERR_DATA || !strstr(hone_error_message(), edit[k].says))
            fail_msg("%s -> %s: status %d, message %s", edit[k].find, edit[k].put, status, hone_error_message());
        hone_text_free(&t);
    }
    for (size_t cut = 0; cut < strlen(text); cut += 97) assert_int_equal(load_text(text, cut), HONE_ERR_DATA);
    for (size_t k = 0; k < strlen(text); k += 13) { /* flipped bits: refused or, in a name, accepted; no crash */
        text[k] ^= 0x11;
        hone_status status = load_text(text, strlen(text));
        assert_true(status == HONE_OK || status == HONE_ERR_DATA);
        text[k] ^= 0x11;
    }
    free(text);
    assert_int_not_equal(hone_model_load_json(scratch("absent.json"), &m), HONE_OK);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zoo),
        cmocka_unit_test(test_snapshot_sees),
        cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_flatten_layout),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
