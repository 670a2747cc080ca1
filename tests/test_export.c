/* test_export.c - folders for other programs: 16-bit weights are the nearest ones, what stands beside them is true of the
 * model, a net gets a name of torchvision or timm only where it is that net, serving folders say the inputs and outputs of
 * the file that lies in them. What the Python packages make of these folders: tests/python.
 * rooms: export onnx train data model compile graph config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "export/export.h"
#include "export/serving.h"
#include "hone/hone.h"
#include "support/scratch.h"

static const char page[] = "task: image\n"
                           "data: {synthetic: {shape: [8, 8, 1], classes: 4, samples: 40}, val_fraction: 0.2}\n"
                           "image: {mean: [0.25], std: [0.5]}\n"
                           "model: {layers: [conv: {out: 4}, batchnorm, relu, flatten, linear: {out: classes}]}\n"
                           "train: {epochs: 1, batch: 8}\n";

static int make(void **state)
{
    hone_config *c = NULL;
    *state = strdup(scratch_make());
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = scratch_path(*state, "run")};
    if (hone_config_read_text("page", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    return 0;
}

static int take_away(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Every one of the texts is in the file. */
static void holds(const char *folder, const char *name, const char *const *words)
{
    char *text;
    size_t size;
    if (hone_file_read(scratch_path(folder, name), 1 << 20, &text, &size) != HONE_OK)
        fail_msg("%s", hone_error_message());
    for (; *words; words++)
        if (!strstr(text, *words)) fail_msg("%s: no \"%s\" in:\n%s", name, *words, text);
    free(text);
}

/* No value is further from its fp32 than half a step of the type: 2^-8 and 2^-11 of it (or of the least normal). */
static void sixteen_bits_are_the_nearest(void **state)
{
    static const hone_dtype type[] = {HONE_BF16, HONE_F16};
    static const double step[] = {1.0 / 256, 1.0 / 2048};
    hone_saved s;
    assert_int_equal(hone_saved_open(scratch_path(*state, "run"), &s), HONE_OK);
    for (int t = 0; t < 2; t++) {
        char folder[300];
        hone_safetensors *file;
        size_t size;
        snprintf(folder, sizeof folder, "%s/half%d", (char *)*state, t);
        assert_int_equal(hone_export_safetensors(&s, type[t], folder, &size), HONE_OK);
        assert_int_equal(hone_safetensors_open(scratch_path(folder, "model.safetensors"), &file), HONE_OK);
        for (int k = 0; k < hone_model_param_count(s.model); k++) {
            const hone_param *p = hone_model_param(s.model, k);
            const hone_blob *b = hone_safetensors_find(file, p->name);
            float *back = malloc((size_t)p->count * sizeof *back);
            assert_true(b && b->dtype == type[t] && b->bytes == 2 * (size_t)p->count);
            hone_reals_to_f32(type[t], b->data, back, p->count);
            for (int64_t i = 0; i < p->count; i++)
                assert_true(fabs((double)back[i] - (double)p->value[i]) <=
                            fmax(fabs((double)p->value[i]), 6.2e-5) * step[t] * 1.001);
            free(back);
        }
        assert_non_null(hone_safetensors_find(file, "batchnorm1.num_batches_tracked"));
        hone_safetensors_close(file);
        hone_predictor *p; /* hone reads its own export */
        assert_int_equal(hone_predictor_open(folder, "cpu", 1, &p), HONE_OK);
        hone_predictor_close(p);
    }
    hone_saved_close(&s);
}

static void the_folder_tells_the_truth(void **state)
{
    hone_saved s;
    size_t size;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/st", (char *)*state);
    assert_int_equal(hone_saved_open(scratch_path(*state, "run"), &s), HONE_OK);
    assert_int_equal(hone_export_safetensors(&s, HONE_F32, folder, &size), HONE_OK);
    holds(folder, "labels.txt", (const char *const[]){"0\n1\n2\n3\n", NULL});
    holds(folder, "config.json", (const char *const[]){"\"num_classes\": 4", "\"id2label\"", NULL});
    holds(folder, "preprocessor_config.json", (const char *const[]){"0.25", "0.5", "\"height\": 8", NULL});
    holds(folder, "README.md",
          (const char *const[]){"data fingerprint: `", "| accuracy |", "licence", "8 x 8", "No net of torchvision",
                                NULL});
    hone_saved_close(&s);
}

/* The page of the zoo, with one word changed. */
static const char *name_of(const char *model)
{
    char text[600];
    const char *names[2] = {"a", "b"};
    hone_preprocess pre = {.height = 64, .width = 64, .channels = 3, .std = {1, 1, 1}};
    const hone_architecture *a;
    hone_config *c;
    hone_model *m;
    snprintf(text, sizeof text, "task: image\ndata: {path: .}\nmodel: {file: %s/configs/models/%s}\n", HONE_SOURCE_DIR,
             model);
    if (hone_config_read_text("page", text, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_model_new(c, &pre, 2, names, 1, &m), HONE_OK);
    assert_int_equal(hone_architecture_find(m, &a), HONE_OK);
    hone_model_free(m);
    hone_config_free(c);
    return a ? a->name : "none";
}

static void names_only_for_those_nets(void **state)
{
    (void)state;
    assert_string_equal(name_of("resnet18.yaml"), "resnet18");
    assert_string_equal(name_of("resnet34.yaml"), "resnet34");
    assert_string_equal(name_of("resnet50.yaml"), "resnet50");
    assert_string_equal(name_of("mobilenet_v2.yaml"), "mobilenet_v2");
    assert_string_equal(name_of("vit_s16.yaml"), "vit_s16");
    assert_string_equal(name_of("vit_tiny.yaml"), "vit_tiny");
    assert_string_equal(name_of("resnet18.yaml, with: {stem: cifar}"), "none"); /* another first kernel */
    assert_string_equal(name_of("vit_tiny.yaml, with: {depth: 6}"), "none");
    assert_string_equal(name_of("vit_s16.yaml, with: {patch: 8}"), "none");
    assert_string_equal(name_of("lenet.yaml"), "none");
}

static void servers_find_what_they_need(void **state)
{
    hone_onnx_export_opts o = {.lower = {.opset = 17}, .threads = 1};
    hone_onnx_report r;
    char run[300], repository[300], folder[300];
    struct stat s;
    snprintf(run, sizeof run, "%s/run", (char *)*state);
    snprintf(repository, sizeof repository, "%s/repository", (char *)*state);
    snprintf(folder, sizeof folder, "%s/mlflow", (char *)*state);
    if (hone_export_triton(run, repository, "shoes-1", &o, &r) != HONE_OK) fail_msg("%s", hone_error_message());
    holds(repository, "shoes-1/config.pbtxt",
          (const char *const[]){"name: \"shoes-1\"", "backend: \"onnxruntime\"", "max_batch_size: 64",
                                "name: \"input\"", "TYPE_FP32", "dims: [ 1, 8, 8 ]", "dims: [ 4 ]",
                                "label_filename: \"labels.txt\"", "model_warmup", "zero_data: true", NULL});
    assert_int_equal(stat(scratch_path(repository, "shoes-1/1/model.onnx"), &s), 0);
    assert_int_equal(stat(scratch_path(repository, "shoes-1/labels.txt"), &s), 0);
    assert_int_equal(hone_export_triton(run, repository, "../up", &o, &r), HONE_ERR_USAGE);
    o.lower.preprocess = true; /* raw pictures: the config follows the file */
    if (hone_export_triton(run, repository, "raw", &o, &r) != HONE_OK) fail_msg("%s", hone_error_message());
    holds(repository, "raw/config.pbtxt", (const char *const[]){"TYPE_UINT8", "dims: [ -1, -1, 1 ]", NULL});
    o.lower.preprocess = false;
    if (hone_export_mlflow(run, folder, &o, &r) != HONE_OK) fail_msg("%s", hone_error_message());
    holds(folder, "MLmodel",
          (const char *const[]){"loader_module: mlflow.onnx", "data: model.onnx", "\"shape\": [-1, 1, 8, 8]",
                                "\"name\": \"probabilities\"", NULL});
    holds(folder, "requirements.txt", (const char *const[]){"onnxruntime", NULL});
    assert_int_equal(stat(scratch_path(folder, "model.onnx"), &s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_bits_are_the_nearest),
        cmocka_unit_test(the_folder_tells_the_truth),
        cmocka_unit_test(names_only_for_those_nets),
        cmocka_unit_test(servers_find_what_they_need),
    };
    return cmocka_run_group_tests(tests, make, take_away);
}
