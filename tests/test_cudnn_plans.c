/* test_cudnn_plans.c - the real cuDNN plans every convolution of the zoo, for an A100 and an H200, without a GPU.
 * rooms: cudnn dnn model compile graph config io kernels core
 *
 * Levels of evidence, never mixed. "planned": a finalized plan that the rules allow (deterministic; fp32 without TF32).
 * "passed over": plans there are, but against the rules or with too large a workspace. "unproven": engines that compile
 * on first use, which can't be finalized here. "unknown": nothing was listed, which without a driver means only that. Nothing is executed: no results, no speed. Depthwise convolutions run on our own
 * kernels; they are counted apart. Chips are described by typed-in figures, not read off one: ranking may differ.
 *   HONE_TEST_SLOW=1    all batches and every fusion on every shape; else one batch, and fusions on some shapes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dnn.h"
#include "support/model_page.h"

/* Attributes of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION; all of them are required. */
#define CHIP(name, sm, l2, shared, memory_khz, processors, khz, memory)                                                \
    "{\"deviceName\":\"" name "\",\"deviceVer\":" sm ",\"l2CacheSize\":" l2                                            \
    ",\"maxSharedMemoryPerBlockOptin\":" shared ",\"memClockRateKHz\":" memory_khz                                     \
    ",\"multiProcessorCount\":" processors ",\"smClockRateKHz\":" khz ",\"totalGlobalMem\":" memory                    \
    ",\"cudaDeviceId\":0,\"driverVer\":13000,\"isTccDriver\":0,\"maxBlockSize\":[1024,1024,64],\"maxCtasPerSM\":32,"   \
    "\"maxGridSize\":[2147483647,65535,65535],\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"          \
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"regsPerBlock\":65536,"                   \
    "\"reservedSharedMemoryPerBlock\":1024,\"supportCoopLaunch\":1,\"warpSize\":32}"

static const struct {
    const char *name, *description;
} chip[] = {
    {"sm_80", CHIP("NVIDIA A100-SXM4-80GB", "800", "41943040", "166912", "1593000", "108", "1410000", "85000000000")},
    {"sm_90", CHIP("NVIDIA H200", "900", "62914560", "232448", "3201000", "132", "1980000", "150000000000")}};
static const hone_dtype types[] = {HONE_BF16, HONE_F16, HONE_F32};

/* --- the zoo's convolutions ------------------------------------------------------------------------------- */
static const struct {
    const char *name, *model;
    page_input in;
    int64_t batch;
} zoo[] = {
    {"lenet", "{file: models/lenet.yaml}", {28, 28, 1, 10, 1}, 256},
    {"cnn", "{file: models/cnn.yaml}", {28, 28, 1, 10, 1}, 256},
    {"resnet18-cifar", "{file: models/resnet18.yaml, with: {stem: cifar}}", {32, 32, 3, 10, 1}, 512},
    {"resnet34-cifar", "{file: models/resnet34.yaml, with: {stem: cifar}}", {32, 32, 3, 10, 1}, 512},
    {"resnet50-cifar", "{file: models/resnet50.yaml, with: {stem: cifar}}", {32, 32, 3, 10, 1}, 512},
    {"resnet18", "{file: models/resnet18.yaml}", {224, 224, 3, 1000, 1}, 256},
    {"resnet34", "{file: models/resnet34.yaml}", {224, 224, 3, 1000, 1}, 256},
    {"resnet50", "{file: models/resnet50.yaml}", {224, 224, 3, 1000, 1}, 256},
    {"mobilenet_v2", "{file: models/mobilenet_v2.yaml}", {224, 224, 3, 1000, 1}, 256},
    {"vit_tiny", "{file: models/vit_tiny.yaml}", {224, 224, 3, 1000, 1}, 256},
    {"vit_s16", "{file: models/vit_s16.yaml}", {224, 224, 3, 1000, 1}, 256},
};
enum { ZOO = sizeof zoo / sizeof zoo[0], SHAPES_MAX = 512 };

typedef struct shape {
    hone_dnn_problem p;  /* type is set later */
    bool bias, needs_dx; /* somewhere in the zoo */
} shape;

typedef struct shapes {
    shape list[SHAPES_MAX];
    int count, nodes;
} shapes;

/* Of conv, conv_dx or conv_dw: the same forward problem for all three. */
static hone_dnn_problem problem_of(const hone_graph *g, const hone_node *n)
{
    const bool dx = n->op == HONE_OP_conv_dx, dw = n->op == HONE_OP_conv_dw;
    const hone_tensor *x = &g->tensor[dx ? n->out[0] : n->in[0]], *y = &g->tensor[dx   ? n->in[0]
                                                                                  : dw ? n->in[1]
                                                                                       : n->out[0]];
    hone_dnn_problem p = {.window = n->attr.window};
    p.window.in_h = p.window.in_w = 0; /* of conv_dx only; the image says it here */
    p.n = x->dim[0], p.h = x->dim[1], p.w = x->dim[2], p.in = x->dim[3];
    p.oh = y->dim[1], p.ow = y->dim[2], p.out = y->dim[3];
    return p;
}

static void note(shapes *s, const hone_graph *g, const hone_node *n)
{
    const hone_dnn_problem p = problem_of(g, n);
    int k = 0;
    s->nodes++;
    while (k < s->count && memcmp(&s->list[k].p, &p, sizeof p) != 0) k++;
    assert_true(k < SHAPES_MAX);
    if (k == s->count) s->list[s->count++] = (shape){.p = p};
    s->list[k].bias |= n->op == HONE_OP_conv && n->in[2] != HONE_NONE;
    s->list[k].needs_dx |= n->op == HONE_OP_conv_dx;
}

/* A training program of one model, planned but not bound: its nodes are what a GPU would be asked for. */
static void collect(shapes *s, int model, int64_t batch)
{
    hone_model *m = NULL;
    hone_graph *g = NULL;
    hone_program *p = NULL;
    hone_backend *b = NULL;
    hone_model_io io;
    hone_status status = page_model(zoo[model].model, zoo[model].in, &m);
    const hone_model_opts o = {.batch = batch,
                               .pool_rows = batch,
                               .pool_h = zoo[model].in.height,
                               .pool_w = zoo[model].in.width,
                               .mode = HONE_MODE_TRAIN,
                               .accumulate = 1};
    if (status == HONE_OK) status = hone_backend_open("ref", 1, &b);
    if (status == HONE_OK) status = hone_model_build(m, &o, &g, &io);
    const hone_compile_opts c = {.loss = g ? io.loss : HONE_NONE, .optimizer = HONE_OPT_SGD, .no_fuse = true};
    if (status == HONE_OK) status = hone_compile_plan(g, b, &c, &p);
    if (status != HONE_OK) fail_msg("%s: %s", zoo[model].name, hone_error_message());
    const hone_graph *all = hone_program_graph(p);
    for (hone_nid k = 0; k < all->node_count; k++) {
        hone_op op = all->node[k].op;
        if (op == HONE_OP_conv || op == HONE_OP_conv_dx || op == HONE_OP_conv_dw) note(s, all, &all->node[k]);
    }
    hone_program_free(p);
    hone_graph_free(g);
    hone_backend_close(b);
    hone_model_free(m);
}

static shapes *zoo_shapes(void)
{
    const char *slow = getenv("HONE_TEST_SLOW");
    shapes *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (int m = 0; m < ZOO; m++) {
        collect(s, m, zoo[m].batch);
        if (slow && slow[0] == '1') collect(s, m, 1), collect(s, m, 37); /* prediction, and a last short batch */
    }
    return s;
}

/* --- asking ------------------------------------------------------------------------------------------------- */
typedef enum level { PLANNED, PASSED_OVER, UNPROVEN, UNKNOWN, LEVELS } level;

static const char *const level_name[LEVELS] = {"planned", "passed over", "unproven", "unknown"};

/* One cell of the table. */
typedef struct tally {
    int count[LEVELS];
    int64_t work_most_bytes;
} tally;

static hone_dnn *device_of(int k)
{
    hone_dnn *dnn = NULL;
    const hone_dnn_device device = {.description = chip[k].description};
    if (hone_dnn_open(&device, &dnn) != HONE_OK) fail_msg("%s; %s", hone_error_message(), hone_error_hint());
    assert_non_null(dnn);
    return dnn;
}

/* The plan must be of the kind that was asked for: a filter that lets a forbidden engine pass fails here. */
static level ask(hone_dnn *dnn, const hone_dnn_problem *p, int64_t work_most, tally *t)
{
    const hone_dnn_rules rules = {.ordered = true, .work_most_bytes = work_most};
    hone_dnn_graph g;
    hone_dnn_plan *plan = NULL;
    hone_dnn_fate f = {0};
    char why[200], text[200];
    int count = 0;
    hone_status status = hone_dnn_graph_of(p, &g);
    if (status == HONE_OK) status = hone_dnn_plans(dnn, &g, &rules, 1, &plan, &count, &f);
    if (status != HONE_OK) fail_msg("%s: %s", hone_dnn_problem_text(p, text, sizeof text), hone_error_message());
    level l = count ? PLANNED : f.offered == 0 ? UNKNOWN : f.against_rules + f.too_large == 0 ? UNPROVEN : PASSED_OVER;
    if (count) {
        const hone_dnn_candidate *c = hone_dnn_plan_candidate(plan);
        assert_true(c->ordered && !c->rounds_inputs && !c->at_run_time);
        assert_false(p->dtype == HONE_F32 && c->tensor_cores);
        if (hone_dnn_plan_work_bytes(plan) > t->work_most_bytes) t->work_most_bytes = hone_dnn_plan_work_bytes(plan);
    } else {
        print_message("  %s: %s: %s\n", level_name[l], hone_dnn_problem_text(p, text, sizeof text),
                      hone_dnn_fate_text(&f, why, sizeof why));
    }
    hone_dnn_plan_free(plan);
    t->count[l]++;
    return l;
}

static void print_tally(const char *chip_name, const char *what, const char *type, const tally *t)
{
    print_message("%s %-24s %-4s", chip_name, what, type);
    for (int l = 0; l < LEVELS; l++) print_message(" %s %d%s", level_name[l], t->count[l], l + 1 < LEVELS ? "," : "");
    print_message("; workspace up to %.1f MiB\n", (double)t->work_most_bytes / (1 << 20));
}

static bool is_depthwise(const hone_dnn_problem *p) { return p->window.groups > 1 && p->window.groups == p->in; }

enum { WORK_MOST = 512 << 20 }; /* the limit of kernels/cuda/dnn_choose.c */

/* All shapes in one direction and type. */
static tally ask_all(hone_dnn *dnn, const shapes *s, hone_dnn_kind kind, hone_dtype dtype, bool depthwise)
{
    tally t = {0};
    for (int k = 0; k < s->count; k++) {
        hone_dnn_problem p = s->list[k].p;
        p.kind = kind;
        p.dtype = dtype;
        if (is_depthwise(&p) != depthwise) continue;
        if (kind == HONE_DNN_CONV_DX && !s->list[k].needs_dx) continue; /* no net asks for the gradient of an image */
        ask(dnn, &p, WORK_MOST, &t);
    }
    return t;
}

/* Every plain convolution of the zoo, three directions, three types, two chips: a finalized, deterministic plan. */
static void test_plain(void **state)
{
    (void)state;
    static const char *const name[] = {"conv", "conv_dx", "conv_dw"};
    shapes *s = zoo_shapes();
    int missing = 0, asked = 0, depthwise = 0;
    for (int k = 0; k < s->count; k++) depthwise += is_depthwise(&s->list[k].p);
    print_message("%d convolutions of the zoo: %d shapes, %d of them depthwise\n", s->nodes, s->count, depthwise);
    assert_true(s->count > 60 && depthwise >= 10);
    for (int c = 0; c < 2; c++) {
        hone_dnn *dnn = device_of(c);
        for (int kind = HONE_DNN_CONV; kind <= HONE_DNN_CONV_DW; kind++)
            for (int d = 0; d < 3; d++) {
                tally t = ask_all(dnn, s, (hone_dnn_kind)kind, types[d], false);
                print_tally(chip[c].name, name[kind], hone_dtype_name(types[d]), &t);
                for (int l = 0; l < LEVELS; l++) asked += t.count[l];
                for (int l = PLANNED + 1; l < LEVELS; l++) missing += t.count[l];
            }
        hone_dnn_close(dnn);
    }
    print_message("%d questions, %d without a plan\n", asked, missing);
    free(s);
    assert_int_equal(missing, 0);
}

/* --- fusions ------------------------------------------------------------------------------------------------ */
/* 3x3, 64 channels at 32x32, batch 512: the shape on which all precompiled fusions are known. */
static hone_dnn_problem typical(hone_dnn_kind kind, hone_dtype dtype)
{
    return (hone_dnn_problem){
        .kind = kind,
        .dtype = dtype,
        .n = 512,
        .h = 32,
        .w = 32,
        .in = 64,
        .oh = 32,
        .ow = 32,
        .out = 64,
        .window = {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1}};
}

/* conv + bias (+ ReLU) for every type; the whole chain of convolution and batchnorm in fp16. */
static void test_fusions(void **state)
{
    (void)state;
    static const char *const name[] = {"conv+stats", "norm+relu+conv+stats", "stats_finalize", "norm+relu+conv_dw",
                                       "conv_dx+relu_dx+norm_dw"};
    for (int c = 0; c < 2; c++) {
        hone_dnn *dnn = device_of(c);
        for (int d = 0; d < 3; d++)
            for (int relu = 0; relu < 2; relu++) {
                tally t = {0};
                hone_dnn_problem p = typical(HONE_DNN_CONV, types[d]);
                p.bias = true;
                p.relu = relu;
                assert_int_equal(ask(dnn, &p, WORK_MOST, &t), PLANNED);
                print_tally(chip[c].name, relu ? "conv+bias+relu" : "conv+bias", hone_dtype_name(types[d]), &t);
            }
        for (int kind = HONE_DNN_CONV_STATS; kind < HONE_DNN_KIND_COUNT; kind++)
            for (int d = 0; d < 3; d++) {
                tally t = {0};
                hone_dnn_problem p = typical((hone_dnn_kind)kind, types[d]);
                level l = ask(dnn, &p, WORK_MOST, &t);
                print_tally(chip[c].name, name[kind - HONE_DNN_CONV_STATS], hone_dtype_name(types[d]), &t);
                if (types[d] == HONE_F16) assert_int_equal(l, PLANNED);
            }
        hone_dnn_close(dnn);
    }
}

/* What a real net would get: bias and ReLU where the zoo has a bias; the fp16 chain on its larger shapes. These are
 * counted, not demanded: where there is no plan the plain convolution and our own kernels run. */
static void test_fusions_of_the_zoo(void **state)
{
    (void)state;
    const char *slow = getenv("HONE_TEST_SLOW");
    const int step = slow && slow[0] == '1' ? 1 : 6;
    static const hone_dnn_kind chain[] = {HONE_DNN_CONV_STATS, HONE_DNN_NORM_CONV_STATS, HONE_DNN_NORM_CONV_DW,
                                          HONE_DNN_CONV_DX_NORM};
    shapes *s = zoo_shapes();
    for (int c = 0; c < 2; c++) {
        hone_dnn *dnn = device_of(c);
        tally biased = {0}, fused[4] = {{{0}, 0}};
        for (int k = 0; k < s->count; k++) {
            hone_dnn_problem p = s->list[k].p;
            if (is_depthwise(&p)) continue;
            p.dtype = HONE_F16;
            for (int f = 0; k % step == 0 && f < 4; f++) {
                p.kind = chain[f];
                if (chain[f] == HONE_DNN_CONV_STATS || s->list[k].needs_dx) ask(dnn, &p, WORK_MOST, &fused[f]);
            }
            p.kind = HONE_DNN_CONV;
            p.bias = true;
            for (int d = 0; s->list[k].bias && d < 3; d++) {
                p.dtype = types[d];
                ask(dnn, &p, WORK_MOST, &biased);
            }
        }
        print_tally(chip[c].name, "conv+bias", "all", &biased);
        for (int f = 0; f < 4; f++) {
            char text[200];
            hone_dnn_problem p = typical(chain[f], HONE_F16);
            *strchr(hone_dnn_problem_text(&p, text, sizeof text), ' ') = '\0';
            print_tally(chip[c].name, text, "f16", &fused[f]);
        }
        assert_int_equal(biased.count[PASSED_OVER] + biased.count[UNPROVEN] + biased.count[UNKNOWN], 0);
        hone_dnn_close(dnn);
    }
    free(s);
}

/* --- the rest -------------------------------------------------------------------------------------------------- */
/* The library's heuristics do list what the rules forbid: the filter is not idle. */
static void test_rules_are_needed(void **state)
{
    (void)state;
    hone_dnn *dnn = device_of(1);
    hone_dnn_graph g;
    hone_dnn_list list;
    const hone_dnn_rules strict = {.ordered = true}, loose = {.tensor_float = true};
    const hone_dnn_problem p = typical(HONE_DNN_CONV_DW, HONE_F32);
    int disordered = 0, tensor_float = 0, allowed = 0;
    assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_OK);
    assert_int_equal(hone_dnn_ask(dnn, &g, &list), HONE_OK);
    for (int k = 0; k < list.count; k++) {
        disordered += !list.item[k].ordered;
        tensor_float += list.item[k].tensor_cores;
        if (!list.item[k].ordered || list.item[k].tensor_cores)
            assert_non_null(hone_dnn_refusal(&list.item[k], HONE_F32, &strict));
        allowed += hone_dnn_refusal(&list.item[k], HONE_F32, &loose) == NULL;
    }
    print_message("%d offered for fp32 conv_dw: %d not deterministic, %d as TF32\n", list.count, disordered,
                  tensor_float);
    assert_true(disordered > 0 && tensor_float > 0 && allowed > list.count / 2);
    hone_dnn_list_free(&list);
    hone_dnn_close(dnn);
}

/* A chip that is described wrongly, and a workspace that is too small, are said. */
static void test_refusals(void **state)
{
    (void)state;
    hone_dnn *dnn = NULL;
    char version[400];
    const hone_dnn_device nonsense = {.description = "{\"deviceVer\":900}"};
    assert_int_equal(hone_dnn_open(&nonsense, &dnn), HONE_ERR_RUNTIME);
    assert_null(dnn);
    assert_non_null(strstr(hone_dnn_version(version, sizeof version), "cuDNN 9."));
    dnn = device_of(0);
    tally t = {0};
    hone_dnn_problem p = typical(HONE_DNN_CONV, HONE_F32); /* strict fp32 wants hundreds of MiB here */
    assert_int_not_equal(ask(dnn, &p, -1, &t), PLANNED);
    hone_dnn_close(dnn);
}

/* Between plans and their list there is no order of freeing. */
static void test_lifetimes(void **state)
{
    (void)state;
    hone_dnn *dnn = device_of(0);
    hone_dnn_graph g;
    hone_dnn_list list;
    hone_dnn_plan *plan[2];
    const hone_dnn_problem p = typical(HONE_DNN_CONV_DX, HONE_BF16);
    assert_int_equal(hone_dnn_graph_of(&p, &g), HONE_OK);
    assert_int_equal(hone_dnn_ask(dnn, &g, &list), HONE_OK);
    assert_true(list.count >= 2);
    for (int k = 0; k < 2; k++) assert_int_equal(hone_dnn_plan_new(dnn, &g, &list, k, &plan[k]), HONE_OK);
    hone_dnn_list_free(&list);
    for (int k = 0; k < 2; k++) {
        assert_true(hone_dnn_plan_candidate(plan[k])->knobs[0] != '\0');
        hone_dnn_plan_free(plan[k]);
    }
    hone_dnn_close(dnn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_fusions),
        cmocka_unit_test(test_fusions_of_the_zoo),
        cmocka_unit_test(test_rules_are_needed),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lifetimes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
