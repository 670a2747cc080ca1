/* onnx_zoo.h - nets with random weights in folders that hone reads as MODEL: what exports are tried on. */
#ifndef HONE_TESTS_ONNX_ZOO_H
#define HONE_TESTS_ONNX_ZOO_H

#include <math.h>

#include "hone/io.h"
#include "hone/philox.h"
#include "support/model_page.h"
#include "train/saved.h"

typedef struct onnx_zoo_row {
    const char *name, *page;
    page_input small, full; /* sizes for every day, and the published ones */
} onnx_zoo_row;

/* The image zoo, and a page of what it does not use. */
static const onnx_zoo_row onnx_zoo[] = {
    {"mlp", "{file: models/mlp.yaml}", {28, 28, 1, 10, 1}, {28, 28, 1, 10, 1}},
    {"lenet", "{file: models/lenet.yaml}", {28, 28, 1, 10, 2}, {28, 28, 1, 10, 2}},
    {"cnn", "{file: models/cnn.yaml}", {28, 28, 1, 10, 3}, {28, 28, 1, 10, 3}},
    {"odds",
     "{layers: [conv: {out: 6, kernel: [3, 5], stride: [2, 1], pad: [1, 2], dilation: [1, 2], bias: true}, batchnorm,"
     " leaky_relu, avgpool: {kernel: 3, stride: 2, pad: 1}, conv: {out: 8, groups: 2, pad: valid}, silu, flatten,"
     " linear: 24, batchnorm, tanh, linear: 16, gelu: tanh, linear: 12, sigmoid, linear: classes]}",
     {17, 21, 2, 5, 4},
     {17, 21, 2, 5, 4}},
    {"tokens",
     "{layers: [patch_embed: {size: 4, dim: 12}, position: sincos, encoder: {layers: 1, heads: 3, ff: 20, norm: post},"
     " batchnorm, encoder: {layers: 1, heads: 2, act: relu}, pool: max, linear: classes]}",
     {12, 8, 3, 4, 5},
     {12, 8, 3, 4, 5}},
    {"resnet18", "{file: models/resnet18.yaml}", {32, 32, 3, 10, 6}, {224, 224, 3, 1000, 6}},
    {"resnet34", "{file: models/resnet34.yaml}", {32, 32, 3, 10, 7}, {224, 224, 3, 1000, 7}},
    {"resnet50", "{file: models/resnet50.yaml}", {32, 32, 3, 10, 8}, {224, 224, 3, 1000, 8}},
    {"mobilenet_v2", "{file: models/mobilenet_v2.yaml}", {32, 32, 3, 10, 9}, {224, 224, 3, 1000, 9}},
    {"vit_tiny", "{file: models/vit_tiny.yaml}", {32, 16, 3, 10, 10}, {224, 224, 3, 1000, 10}},
    {"vit_s16", "{file: models/vit_s16.yaml}", {32, 16, 3, 10, 11}, {224, 224, 3, 1000, 11}},
};
enum { ONNX_ZOO = sizeof onnx_zoo / sizeof onnx_zoo[0] };

/* Norms with statistics that matter, biases that are not zero, a head that makes up its mind. */
static inline void onnx_zoo_weights(hone_model *m, uint64_t seed)
{
    int count = hone_model_param_count(m);
    for (int k = 0; k < count; k++) {
        hone_param *p = hone_model_param(m, k);
        bool variance = strstr(p->name, "running_var") != NULL, head = k >= count - 2;
        /* the branches of deep residual nets add up: tame, as training would make them */
        bool branch = strstr(p->name, "bn2.weight") || strstr(p->name, "bn3.weight");
        /* torchvision draws depthwise kernels by the fan of all channels, and leaves it to the batch's statistics to make
         * up for it: without them each would shrink what passes, and the answer would not depend on the picture */
        bool depthwise = p->rank == 4 && p->dim[1] == 1 && p->dim[0] > 1;
        for (int64_t i = 0; i < p->count && depthwise; i++) p->value[i] *= sqrtf((float)p->dim[0]);
        for (int64_t i = 0; i < p->count && (p->rank == 1 || head); i++) {
            hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)k, (uint64_t)i);
            float u = (float)(r.v[0] >> 8) / (float)(1 << 24) - 0.5f;
            if (variance) p->value[i] = 1 + u;
            else if (p->rank == 1) p->value[i] = (p->value[i] + 0.4f * u) * (branch ? 0.3f : 1);
            else p->value[i] *= 4;
        }
    }
}

/* DIR/model.json and DIR/model.safetensors. */
static inline hone_status onnx_zoo_save(hone_model *m, const char *dir)
{
    char path[4096];
    int count;
    hone_blob *blob = hone_weights_blobs(m, &count);
    hone_status status = blob ? hone_make_dirs(dir) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    snprintf(path, sizeof path, "%s/model.json", dir);
    if (status == HONE_OK) status = hone_model_save_json(m, path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (status == HONE_OK) status = hone_safetensors_write(path, blob, count, NULL);
    free(blob);
    return status;
}

/* Row `k` in a folder. */
static inline hone_status onnx_zoo_make(int k, bool full, const char *dir)
{
    page_input in = full ? onnx_zoo[k].full : onnx_zoo[k].small;
    hone_model *m = NULL;
    hone_status status = page_model(onnx_zoo[k].page, in, &m);
    if (status == HONE_OK) {
        hone_preprocess pre = *hone_model_preprocess(m); /* both ways to another size occur */
        pre.resize = k % 2 ? HONE_RESIZE_SHORTER : HONE_RESIZE_STRETCH;
        memcpy((void *)(uintptr_t)hone_model_preprocess(m), &pre, sizeof pre);
        onnx_zoo_weights(m, in.seed);
        status = onnx_zoo_save(m, dir);
        hone_model_free(m);
    }
    return status;
}

#endif
