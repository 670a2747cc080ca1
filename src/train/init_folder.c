/* init_folder.c - what a folder to start from says besides its weights (train.init): config.json of a Hugging Face model
 * must describe the net of the page, since shapes tell neither heads nor an epsilon; and a folder whose weights are in
 * another format is told how to get at them. Names and shapes are weights.c's affair. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "core/json.h"
#include "train/setup.h"

/* True when folder/name exists; *path is it then, else NULL. */
static bool exists(const char *folder, const char *name, char **path)
{
    struct stat s;
    *path = hone_io_join(folder, name);
    if (*path && stat(*path, &s) == 0) return true;
    free(*path);
    *path = NULL;
    return false;
}

/* What a net computes beyond the shapes of its parameters. */
typedef struct facts {
    int64_t heads, layers; /* of attention; 0: there is none    */
    double eps;            /* of layernorm; 0: there is none    */
    hone_op act;           /* between the products of a block   */
} facts;

/* Read off the graph, which is what will run, whatever the page calls its layers. */
static hone_status facts_of(const hone_model *m, facts *out)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {.batch = 1, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = 8};
    o.pool_rows = 1; /* pictures */
    o.pool_h = pre->height;
    o.pool_w = pre->width;
    hone_graph *g = NULL;
    hone_model_io io;
    /* the smallest graph of the net; attributes do not depend on the batch */
    *out = (facts){.act = HONE_OP_COUNT};
    HONE_TRY(hone_model_build(m, &o, &g, &io));
    for (hone_nid k = 0; k < g->node_count; k++) {
        const hone_node *n = &g->node[k];
        if (n->op == HONE_OP_attention || n->op == HONE_OP_ragged_attention) {
            out->heads = n->attr.attention.heads;
            out->layers++;
        }
        if (n->op == HONE_OP_layernorm) out->eps = (double)n->attr.norm.eps;
        bool act =
            n->op == HONE_OP_gelu || n->op == HONE_OP_gelu_tanh || n->op == HONE_OP_relu || n->op == HONE_OP_silu;
        if (act && out->act == HONE_OP_COUNT) /* the first: heads have others */
            out->act = n->op;
    }
    hone_graph_free(g);
    return HONE_OK;
}

/* The first of two names that an object has: BERT's and DistilBERT's. */
static const json_t *either(const json_t *o, const char *a, const char *b)
{
    const json_t *v = json_object_get(o, a);
    return v ? v : json_object_get(o, b);
}

/* Words of "hidden_act" that hone computes; COUNT for others. */
static hone_op activation_of(const char *word)
{
    static const struct {
        const char *word;
        hone_op op;
    } row[] = {{"gelu", HONE_OP_gelu}, {"gelu_new", HONE_OP_gelu_tanh}, {"gelu_pytorch_tanh", HONE_OP_gelu_tanh},
               {"relu", HONE_OP_relu}, {"silu", HONE_OP_silu},          {"swish", HONE_OP_silu}};
    for (size_t k = 0; word && k < sizeof row / sizeof *row; k++)
        if (strcmp(word, row[k].word) == 0) return row[k].op;
    return HONE_OP_COUNT;
}

#define OTHER_NET(...)                                                                                                 \
    hone_fail(HONE_ERR_DATA, "choose the page of that model, or set its parameters alike", __VA_ARGS__)

/* Each fact that the file states must be the net's. Depth may differ, on purpose, and is only said. */
static hone_status compare(hone_trainer *t, const char *file, const json_t *o, const facts *f)
{
    const json_t *heads = either(o, "num_attention_heads", "n_heads"), *act = either(o, "hidden_act", "activation");
    const json_t *layers = either(o, "num_hidden_layers", "n_layers"), *eps = json_object_get(o, "layer_norm_eps");
    const json_t *position = json_object_get(o, "position_embedding_type");
    /* what the file does not say, or the net does not have, is not compared */
    if (json_is_integer(heads) && f->heads && json_integer_value(heads) != f->heads)
        return OTHER_NET("%s: the model has %lld heads, the page %lld", file, (long long)json_integer_value(heads),
                         (long long)f->heads);
    if (json_is_number(eps) && f->eps > 0 && fabs(json_number_value(eps) - f->eps) > 1e-3 * f->eps)
        return OTHER_NET("%s: the model's layernorm has eps %g, the page's %g", file, json_number_value(eps), f->eps);
    if (json_is_string(act) && f->act != HONE_OP_COUNT && activation_of(json_string_value(act)) != f->act)
        return OTHER_NET("%s: the model's activation is %.40s, the page's %s", file, json_string_value(act),
                         hone_op_name(f->act));
    if (json_is_string(position) && strcmp(json_string_value(position), "absolute") != 0)
        return OTHER_NET("%s: its positions are %.40s, hone has absolute ones", file, json_string_value(position));
    if (json_is_integer(layers) && f->layers && json_integer_value(layers) != f->layers)
        hone_trainer_say(t, "warn", "init: the model of %s has %lld layers, the page %lld", file,
                         (long long)json_integer_value(layers), (long long)f->layers);
    return HONE_OK;
}

/* A folder without config.json (a run of hone) says nothing that could differ. */
hone_status hone_init_check_net(hone_trainer *t, const char *folder)
{
    char *path = NULL, *text = NULL;
    size_t bytes;
    facts f;
    if (!exists(folder, "config.json", &path)) return HONE_OK;
    /* such files have a few kilobytes; the limit is for what is none */
    hone_status status = hone_file_read(path, 16 << 20, &text, &bytes);
    json_t *o = NULL;
    if (status == HONE_OK) status = hone_json_parse(text, bytes, JSON_REJECT_DUPLICATES, &o, &(json_error_t){0});
    if (status == HONE_OK && !json_is_object(o))
        status = hone_fail(HONE_ERR_DATA, "repair or remove it", "%s: no JSON object", path);
    if (status == HONE_OK) status = facts_of(t->model, &f);
    if (status == HONE_OK) status = compare(t, path, o, &f);
    json_decref(o);
    free(text);
    free(path);
    return status;
}

/* Why a folder without weights that hone reads has none. */
hone_status hone_init_no_weights(const char *folder)
{
    static const struct {
        const char *name, *hint;
    } known[] = {
        {"model.safetensors.index.json", "the weights are in several files; save them as one (max_shard_size)"},
        {"pytorch_model.bin", "save it as safetensors: model.save_pretrained(FOLDER, safe_serialization=True)"},
        {"tf_model.h5", "take the model's safetensors file"}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        char *path;
        bool found = exists(folder, known[k].name, &path);
        free(path);
        if (found)
            return hone_fail(HONE_ERR_USAGE, known[k].hint, "train.init: %s has %s, which hone does not read", folder,
                             known[k].name);
    }
    return hone_fail(HONE_ERR_USAGE, "name a safetensors file, a run directory, or the folder of a model",
                     "train.init: %s holds no weights", folder);
}
