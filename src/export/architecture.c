/* architecture.c - see architecture.h. */
#include "export/architecture.h"

#include <string.h>

/* Counts of arrays and elements are those of tests/golden/param_names (made with torchvision and timm). */
static const hone_architecture table[] = {
    {"resnet18", "resnet18", "resnet18", "conv1.weight", "fc.weight", 102, 11167104, 7, HONE_OP_relu, 17, 1e-5f},
    {"resnet34", "resnet34", "resnet34", "conv1.weight", "fc.weight", 182, 21275264, 7, HONE_OP_relu, 33, 1e-5f},
    {"resnet50", "resnet50", "resnet50", "conv1.weight", "fc.weight", 267, 23498624, 7, HONE_OP_relu, 49, 1e-5f},
    /* timm's MobileNetV2 has names of its own */
    {"mobilenet_v2", "mobilenet_v2", NULL, "features.0.0.weight", "classifier.1.weight", 262, 2223008, 3, HONE_OP_relu6,
     35, 1e-5f},
    {"vit_tiny", NULL, "vit_tiny_patch16_224", "patch_embed.proj.weight", "head.weight", 152, 5339136, 16, HONE_OP_gelu,
     12, 1e-6f},
    {"vit_s16", NULL, "vit_small_patch16_224", "patch_embed.proj.weight", "head.weight", 152, 21295104, 16,
     HONE_OP_gelu, 12, 1e-6f},
};

/* The head, the first layer and the table of positions depend on classes, channels and image size. */
static bool is_body(const hone_architecture *a, const char *name)
{
    size_t layer = strlen(a->head) - strlen("weight"); /* "fc." of weight and bias */
    return strcmp(name, a->first) != 0 && strncmp(name, a->head, layer) != 0 && strcmp(name, "pos_embed") != 0;
}

/* Number of arrays and of learned elements, and the first kernel: ResNet-18 with a CIFAR stem has the same names and
 * another net. */
static bool same_parameters(const hone_architecture *a, hone_model *m)
{
    const hone_param *first = hone_model_find_param(m, a->first), *head = hone_model_find_param(m, a->head);
    int64_t body = 0;
    if (!first || !head || first->rank != 4 || hone_model_param_count(m) != a->arrays) return false;
    for (int k = 0; k < a->arrays; k++) {
        const hone_param *p = hone_model_param(m, k);
        if (p->role == HONE_ROLE_PARAM && is_body(a, p->name)) body += p->count;
    }
    return body == a->body && first->dim[2] == a->first_kernel && first->dim[3] == a->first_kernel;
}

/* Its activation so often and no other, and its epsilon in every norm. */
static bool same_operations(const hone_architecture *a, const hone_graph *g)
{
    int acts = 0;
    for (int k = 0; k < g->node_count; k++) {
        const hone_node *n = &g->node[k];
        switch (n->op) {
        case HONE_OP_relu:
        case HONE_OP_relu6:
        case HONE_OP_gelu:
            if (n->op != a->act) return false;
            acts++;
            break;
        case HONE_OP_leaky_relu:
        case HONE_OP_gelu_tanh:
        case HONE_OP_silu:
        case HONE_OP_tanh:
        case HONE_OP_sigmoid: return false;
        case HONE_OP_batchnorm_infer:
        case HONE_OP_layernorm:
            if (n->attr.norm.eps != a->eps) return false;
            break;
        default: break;
        }
    }
    return acts == a->acts;
}

/* Images only: a text model has no entry in the table. The graph of one image shows what the names do not. */
hone_status hone_architecture_find(const hone_model *m, const hone_architecture **out)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {.batch = 1,
                         .pool_rows = 1,
                         .pool_h = pre->height,
                         .pool_w = pre->width,
                         .mode = HONE_MODE_EVAL,
                         .accumulate = 1};
    hone_graph *g = NULL;
    hone_model_io io;
    *out = NULL;
    if (pre->vocab > 0) return HONE_OK; /* nets for images only */
    HONE_TRY(hone_model_build(m, &o, &g, &io));
    for (size_t k = 0; k < sizeof table / sizeof *table && !*out; k++)
        if (same_parameters(&table[k], (hone_model *)m) && same_operations(&table[k], g)) *out = &table[k];
    hone_graph_free(g);
    return HONE_OK;
}

/* `name` is longer than `tail`: a bare ".running_mean" has no layer. */
static bool ends_in(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n > m && strcmp(name + n - m, tail) == 0;
}

/* Arrays that a model would have, and the elements of those in the body that are learned. */
static bool same_arrays(const hone_architecture *a, const hone_safetensors *file)
{
    const hone_blob *first = hone_safetensors_find(file, a->first);
    int64_t body = 0;
    int arrays = 0;
    if (!first || !hone_safetensors_find(file, a->head) || first->rank != 4 || first->dim[2] != a->first_kernel)
        return false;
    for (int k = 0; k < hone_safetensors_count(file); k++) {
        const hone_blob *b = hone_safetensors_blob(file, k);
        if (ends_in(b->name, ".num_batches_tracked")) continue;
        arrays++;
        if (ends_in(b->name, ".running_mean") || ends_in(b->name, ".running_var") || !is_body(a, b->name)) continue;
        body += (int64_t)(b->bytes / hone_dtype_bytes(b->dtype));
    }
    return arrays == a->arrays && body == a->body;
}

/* A file shows names and shapes only. The likeliest net is the first that has the head's name. */
hone_status hone_architecture_of_file(const hone_safetensors *file, const char *name, const hone_architecture **out)
{
    const char *like = NULL;
    *out = NULL;
    for (size_t k = 0; k < sizeof table / sizeof *table && !*out; k++) {
        if (same_arrays(&table[k], file)) *out = &table[k];
        if (hone_safetensors_find(file, table[k].head) && !like) like = table[k].name;
    }
    if (*out) return HONE_OK;
    return hone_fail(
        HONE_ERR_DATA,
        "hone imports resnet18, resnet34, resnet50 and mobilenet_v2 of torchvision, resnet18/34/50, "
        "vit_tiny_patch16 and vit_small_patch16 of timm; for others write a page and name the file in train.init",
        "%s: its %d arrays are of no net that hone knows%s%s%s", name, hone_safetensors_count(file),
        like ? " (some names are those of " : "", like ? like : "", like ? ")" : "");
}
