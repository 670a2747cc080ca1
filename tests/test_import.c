/* test_import.c - nets of torchvision and timm come in by name with the logits that those packages give (1e-4, golden
 * import.txt), and go out again with the same bits; what does not fit is named; training starts from them.
 * rooms: import export train data model compile graph config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/export.h"
#include "hone/hone.h"
#include "import/import.h"
#include "support/scratch.h"

enum { CLASSES = 5, PICTURES = 2, ARRAYS_MAX = 400 };

/* --- the formula of tests/golden/make_import.py ---------------------------------------------------------------- */

static uint32_t hashed(uint32_t seed, uint32_t i)
{
    uint32_t h = i * 2654435761u + seed * 40503u + 12345u;
    h ^= h >> 16;
    h *= 2246822519u;
    return h ^ h >> 13;
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static void fill(const hone_param *p, double head_scale, float *out)
{
    uint32_t seed = (uint32_t)crc32(0, (const Bytef *)p->name, (uInt)strlen(p->name));
    double fan = (double)(p->count / p->dim[0]);
    for (int64_t i = 0; i < p->count; i++) {
        double u = hashed(seed, (uint32_t)i) / 4294967296.0, v;
        if (ends(p->name, "running_var")) v = 0.5 + 1.5 * u;
        else if (ends(p->name, "running_mean")) v = 0.6 * (u - 0.5);
        else if (strcmp(p->name, "cls_token") == 0 || strcmp(p->name, "pos_embed") == 0) v = 0.6 * (u - 0.5);
        else if (p->rank > 1) v = (u - 0.5) * 2 * sqrt(3.0 / fan) * (p->dim[0] == CLASSES ? head_scale : 1);
        else if (ends(p->name, "weight")) v = 0.5 + 0.7 * u;
        else v = 0.4 * (u - 0.5);
        out[i] = (float)v;
    }
}

/* --- a net as those packages save it --------------------------------------------------------------------------- */

/* Which page of the zoo a name of theirs is. */
static const char *page_name(const char *theirs)
{
    const char *slash = strchr(theirs, '/');
    if (strstr(theirs, "vit_small")) return "vit_s16";
    return slash ? slash + 1 : theirs;
}

typedef struct net {
    hone_model *model; /* with the formula's values */
    hone_blob blob[ARRAYS_MAX];
    int count;
} net;

/* The zoo's page, only for names and shapes: those equal theirs (test_model holds that). */
static net make_net(const char *theirs, int side, int channels, double head_scale)
{
    char page[300];
    const char *names[CLASSES] = {"a", "b", "c", "d", "e"};
    hone_preprocess pre = {.height = side, .width = side, .channels = channels, .std = {1, 1, 1}};
    hone_config *c;
    net n = {0};
    snprintf(page, sizeof page, "task: image\ndata: {path: .}\nmodel: {file: %s/configs/models/%s.yaml}\n",
             HONE_SOURCE_DIR, page_name(theirs));
    if (hone_config_read_text("page", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_model_new(c, &pre, CLASSES, names, 1, &n.model) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    n.count = hone_model_param_count(n.model);
    assert_true(n.count <= ARRAYS_MAX);
    for (int k = 0; k < n.count; k++) {
        hone_param *p = hone_model_param(n.model, k);
        fill(p, head_scale, p->value);
        n.blob[k] = (hone_blob){p->name, HONE_F32, p->rank, {0}, p->value, (size_t)p->count * sizeof(float)};
        memcpy(n.blob[k].dim, p->dim, sizeof p->dim);
    }
    return n;
}

static void save_net(const net *n, const char *folder, int side, const char *extra)
{
    char config[600];
    assert_int_equal(hone_make_dirs(folder), HONE_OK);
    if (hone_safetensors_write(scratch_path(folder, "model.safetensors"), n->blob, n->count, NULL) != HONE_OK)
        fail_msg("%s", hone_error_message());
    int length =
        snprintf(config, sizeof config,
                 "{\"num_classes\": 5, \"label_names\": [\"v\", \"w\", \"x\", \"y\", \"z\"], \"pretrained_cfg\": "
                 "{\"input_size\": [3, %d, %d], \"mean\": [0.4, 0.45, 0.5], \"std\": [0.25, 0.2, 0.3]%s}}",
                 side, side, extra);
    scratch_write(folder, "config.json", config, (size_t)length);
}

/* --- logits ------------------------------------------------------------------------------------------------------ */

/* Logits up to a constant are the logarithms of the probabilities. */
static double worst_logit(const char *run, int side, const float *want)
{
    hone_predictor *p;
    float got[PICTURES * CLASSES];
    size_t image = (size_t)side * (size_t)side * 3;
    uint8_t *pixels = malloc(PICTURES * image);
    double worst = 0;
    for (size_t k = 0; k < PICTURES; k++)
        for (size_t i = 0; i < image; i++) pixels[k * image + i] = hashed((uint32_t)k, (uint32_t)i) & 255;
    if (hone_predictor_open(run, "cpu", 2, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_predictor_pixels(p, pixels, side, side, 3, PICTURES, got) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_string_equal(hone_predictor_label(p, 4), "z");
    for (int k = 0; k < PICTURES; k++) {
        double sum = 0;
        for (int c = 0; c < CLASSES; c++) sum += exp((double)want[k * CLASSES + c]);
        for (int c = 0; c < CLASSES; c++) {
            double off = fabs(log((double)got[k * CLASSES + c]) - ((double)want[k * CLASSES + c] - log(sum)));
            worst = !(off <= worst) ? off : worst;
        }
    }
    hone_predictor_close(p);
    free(pixels);
    return worst;
}

/* Exported again: every array with the same bits, and one step counter a batch norm. */
static void check_way_out(const net *n, const char *run, const char *folder)
{
    hone_saved saved;
    hone_safetensors *file;
    size_t size;
    int counters = 0;
    assert_int_equal(hone_saved_open(run, &saved), HONE_OK);
    if (hone_export_safetensors(&saved, HONE_F32, folder, &size) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_safetensors_open(scratch_path(folder, "model.safetensors"), &file), HONE_OK);
    assert_string_equal(hone_safetensors_metadata(file, "format"), "pt");
    for (int k = 0; k < n->count; k++) {
        const hone_blob *b = hone_safetensors_find(file, n->blob[k].name);
        assert_non_null(b);
        assert_int_equal(b->bytes, n->blob[k].bytes);
        assert_memory_equal(b->data, n->blob[k].data, b->bytes);
        counters += ends(b->name, "running_mean");
    }
    assert_int_equal(hone_safetensors_count(file), n->count + counters);
    hone_safetensors_close(file);
    hone_saved_close(&saved);
}

static void logits_equal_theirs(void **state)
{
    FILE *golden = fopen(HONE_TESTS_DIR "/golden/import.txt", "r");
    char name[64], source[200], run[200], out[200];
    int side, classes, nets = 0;
    double scale;
    float want[PICTURES * CLASSES];
    assert_non_null(golden);
    while (fscanf(golden, "%63s %d %d %lf", name, &side, &classes, &scale) == 4) {
        for (int k = 0; k < PICTURES * CLASSES; k++) assert_int_equal(fscanf(golden, "%f", &want[k]), 1);
        hone_import report;
        net n = make_net(name, side, 3, scale);
        snprintf(source, sizeof source, "%s/in%d", (char *)*state, nets);
        snprintf(run, sizeof run, "%s/run%d", (char *)*state, nets);
        snprintf(out, sizeof out, "%s/out%d", (char *)*state, nets++);
        save_net(&n, source, side, "");
        if (hone_import_folder(source, run, &report) != HONE_OK) fail_msg("%s", hone_error_message());
        assert_string_equal(report.architecture, page_name(name));
        assert_int_equal(report.weights.loaded, n.count);
        assert_true(report.named && report.classes == CLASSES);
        double worst = worst_logit(run, side, want);
        if (!(worst <= 1e-4)) fail_msg("%s: logits are off by %g", name, worst);
        check_way_out(&n, run, out);
        if (nets == 1) { /* planted: one swapped pair of values in a filter must show */
            float *v = hone_model_find_param(n.model, "layer2.0.conv1.weight")->value, first = v[0];
            v[0] = v[1] + 0.5f;
            v[1] = first;
            save_net(&n, source, side, "");
            snprintf(run, sizeof run, "%s/planted", (char *)*state);
            hone_import_free(&report);
            assert_int_equal(hone_import_folder(source, run, &report), HONE_OK);
            assert_true(worst_logit(run, side, want) > 1e-4);
        }
        hone_import_free(&report);
        hone_model_free(n.model);
    }
    fclose(golden);
    assert_int_equal(nets, 6);
}

/* --- what does not fit ------------------------------------------------------------------------------------------- */

static void refused(const char *folder, const char *run, hone_status status, const char *words)
{
    hone_import report;
    assert_int_equal(hone_import_folder(folder, run, &report), status);
    if (!strstr(hone_error_message(), words)) fail_msg("no \"%s\" in: %s", words, hone_error_message());
}

static void misfits_are_named(void **state)
{
    net n = make_net("resnet18", 32, 3, 1);
    const char *in = *state;
    char run[200];
    snprintf(run, sizeof run, "%s/never", (char *)*state);
    refused(in, run, HONE_ERR_USAGE, "holds no model.safetensors");
    save_net(&n, in, 32, "");
    n.blob[6].name = "layer1.0.bn1.wieght"; /* renamed */
    save_net(&n, in, 32, "");
    refused(in, run, HONE_ERR_DATA, "layer1.0.bn1.weight is not in the file (is it layer1.0.bn1.wieght?)");
    n.blob[6].name = hone_model_param(n.model, 6)->name;
    n.count--; /* fc.bias is missing */
    save_net(&n, in, 32, "");
    refused(in, run, HONE_ERR_DATA, "some names are those of resnet18");
    n.count++;
    save_net(&n, in, 32, ", \"std\": [0, 1, 1]");
    refused(in, run, HONE_ERR_DATA, "config.json");
    scratch_write(in, "config.json", "{\"num_classes\": 6}", 18);
    refused(in, run, HONE_ERR_DATA, "6 classes, the head of the weights 5");
    hone_model_free(n.model);
}

/* Another head, grey instead of RGB: said, and trained from. */
static void training_starts_from_them(void **state)
{
    char page[600], said[8192] = "";
    net n = make_net("resnet18", 32, 3, 1);
    save_net(&n, scratch_path(*state, "timm"), 32, "");
    hone_config *c;
    hone_model *m;
    hone_weights_report report;
    hone_safetensors *file;
    const char *names[3] = {"a", "b", "c"};
    hone_preprocess grey = {.height = 32, .width = 32, .channels = 1, .std = {1}};
    snprintf(page, sizeof page,
             "task: image\ndata: {synthetic: {shape: [32, 32, 1], classes: 3, samples: 24}}\n"
             "model: {file: %s/configs/models/resnet18.yaml}\n"
             "train: {epochs: 1, batch: 8, init: %s}\n",
             HONE_SOURCE_DIR, scratch_path(*state, "timm"));
    if (hone_config_read_text("page", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_model_new(c, &grey, 3, names, 1, &m), HONE_OK);
    assert_int_equal(hone_safetensors_open(scratch_path(*state, "timm/model.safetensors"), &file), HONE_OK);
    assert_int_equal(hone_weights_load(m, file, "timm", false, &report), HONE_OK);
    snprintf(said, sizeof said, "%s", report.notes);
    assert_non_null(strstr(said, "conv1.weight has filters for RGB in the file: summed for grey"));
    assert_non_null(strstr(said, "fc.weight has shape (5, 512) in the file, (3, 512) here: the head is set anew"));
    assert_int_equal(report.loaded, report.params - 2);
    const float *sum = hone_model_find_param(m, "conv1.weight")->value, *rgb = n.blob[0].data;
    for (int o = 0; o < 64; o++)
        for (int k = 0; k < 49; k++) {
            const float *f = rgb + (size_t)o * 3 * 49 + k;
            assert_true(fabsf(sum[o * 49 + k] - (f[0] + f[49] + f[98])) < 1e-6f);
        }
    free(report.notes);
    hone_safetensors_close(file);
    hone_model_free(m);
    hone_train_opts o = {.device = "cpu", .threads = 2, .out = scratch_path(*state, "tuned")};
    if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    hone_model_free(n.model);
}

static int make(void **state)
{
    *state = strdup(scratch_make());
    return 0;
}

static int take_away(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logits_equal_theirs, make, take_away),
        cmocka_unit_test_setup_teardown(misfits_are_named, make, take_away),
        cmocka_unit_test_setup_teardown(training_starts_from_them, make, take_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
