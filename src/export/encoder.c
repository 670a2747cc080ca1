/* encoder.c - see encoder.h. The order of nodes is that in which hone emits the layers of configs/models/bert_base.yaml and
 * distilbert.yaml; any page that emits the same computes the same. */
#include "export/encoder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What tells the two families apart: names, in the order in which the graph meets them. */
typedef struct family {
    const char *word, *place, *type, *norm; /* of the embeddings; type NULL: there are none           */
    const char *block;                      /* "..layer.%d."                                          */
    const char *q, *k, *v, *out, *norm1;    /* behind the block's prefix                              */
    const char *up, *down, *norm2;
    const char *pool; /* the product between the first token's row and the classifier  */
    hone_op pool_act;
} family;

static const family bert = {.word = "bert.embeddings.word_embeddings",
                            .place = "bert.embeddings.position_embeddings",
                            .type = "bert.embeddings.token_type_embeddings",
                            .norm = "bert.embeddings.LayerNorm",
                            .block = "bert.encoder.layer",
                            .q = "attention.self.query",
                            .k = "attention.self.key",
                            .v = "attention.self.value",
                            .out = "attention.output.dense",
                            .norm1 = "attention.output.LayerNorm",
                            .up = "intermediate.dense",
                            .down = "output.dense",
                            .norm2 = "output.LayerNorm",
                            .pool = "bert.pooler.dense",
                            .pool_act = HONE_OP_tanh},
                    distilbert = {.word = "distilbert.embeddings.word_embeddings",
                                  .place = "distilbert.embeddings.position_embeddings",
                                  .norm = "distilbert.embeddings.LayerNorm",
                                  .block = "distilbert.transformer.layer",
                                  .q = "attention.q_lin",
                                  .k = "attention.k_lin",
                                  .v = "attention.v_lin",
                                  .out = "attention.out_lin",
                                  .norm1 = "sa_layer_norm",
                                  .up = "ffn.lin1",
                                  .down = "ffn.lin2",
                                  .norm2 = "output_layer_norm",
                                  .pool = "pre_classifier",
                                  .pool_act = HONE_OP_relu};

/* A walk along the graph; `right` is false from the first surprise on. */
typedef struct follow {
    const hone_graph *g;
    const hone_model_io *io;
    const family *f;
    hone_encoder *e;
    int at;
    bool right;
} follow;

/* The next node, which must be of this op and read `in` first; NULL after a surprise. */
static const hone_node *next(follow *w, hone_op op, hone_tid in)
{
    const hone_node *n = w->right && w->at < w->g->node_count ? &w->g->node[w->at++] : NULL;
    if (!n || n->op != op || n->in[0] != in) w->right = false;
    return w->right ? n : NULL;
}

/* Whether tensor t is the parameter NAME.suffix, and its dim[0]. */
static bool is_param(const follow *w, hone_tid t, const char *name, const char *suffix, int64_t *rows)
{
    char full[2 * HONE_NAME_BYTES];
    if (t == HONE_NONE) return false;
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    if (rows) *rows = w->g->tensor[t].dim[0];
    return strcmp(w->g->tensor[t].name, full) == 0;
}

/* A sum of embeddings needs no input of its own: its first operand is the table. */
static hone_tid embedding(follow *w, const char *name, hone_tid ids, int64_t *rows)
{
    const hone_node *n = w->right && w->at < w->g->node_count ? &w->g->node[w->at++] : NULL;
    if (!n || n->op != HONE_OP_embedding || n->in[1] != ids || !is_param(w, n->in[0], name, "weight", rows))
        w->right = false;
    return n && w->right ? n->out[0] : HONE_NONE;
}

/* x W^T + b, both of them there; *rows: outputs. */
static hone_tid product(follow *w, const char *name, hone_tid x, int64_t *rows)
{
    const hone_node *n = next(w, HONE_OP_linear, x);
    if (n && !(is_param(w, n->in[1], name, "weight", rows) && is_param(w, n->in[2], name, "bias", NULL)))
        w->right = false;
    return n && w->right ? n->out[0] : HONE_NONE;
}

/* All norms have one epsilon: transformers' nets have one key for it. */
static hone_tid norm(follow *w, const char *name, hone_tid x)
{
    const hone_node *n = next(w, HONE_OP_layernorm, x);
    if (!n) return HONE_NONE;
    double eps = (double)n->attr.norm.eps;
    if (w->e->eps == 0) w->e->eps = eps;
    if (eps != w->e->eps || !is_param(w, n->in[1], name, "weight", NULL) || !is_param(w, n->in[2], name, "bias", NULL))
        w->right = false;
    return n->out[0];
}

/* a + b, in either order. */
static hone_tid sum(follow *w, hone_tid a, hone_tid b)
{
    const hone_node *n = w->right && w->at < w->g->node_count ? &w->g->node[w->at] : NULL;
    if (n && n->op == HONE_OP_add && n->in[0] == b && n->in[1] == a) return w->at++, n->out[0];
    n = next(w, HONE_OP_add, a);
    if (n && n->in[1] != b) w->right = false;
    return n && w->right ? n->out[0] : HONE_NONE;
}

/* One operand, an activation. */
static hone_tid activation(follow *w, hone_op op, hone_tid x)
{
    const hone_node *n = next(w, op, x);
    return n ? n->out[0] : HONE_NONE;
}

static hone_tid joined(follow *w, hone_tid a, hone_tid b)
{
    const hone_node *n = next(w, HONE_OP_concat, a);
    if (n && n->in[1] != b) w->right = false;
    return n && w->right ? n->out[0] : HONE_NONE;
}

/* --- the parts of the net ---------------------------------------------------------------------------------------- */

static hone_tid embeddings(follow *w)
{
    const family *f = w->f;
    hone_tid x = embedding(w, f->word, w->io->token, &w->e->vocab);
    const hone_node *places = next(w, HONE_OP_ragged_add, x);
    if (!places || !is_param(w, places->in[1], f->place, "weight", &w->e->length)) return w->right = false, HONE_NONE;
    x = places->out[0];
    if (f->type) x = sum(w, x, embedding(w, f->type, w->io->type, &w->e->types));
    return norm(w, f->norm, x);
}

/* The activation of the first block; that of all others. */
static bool same_act(follow *w)
{
    static const hone_op known[] = {HONE_OP_gelu, HONE_OP_gelu_tanh, HONE_OP_relu, HONE_OP_silu};
    hone_op op = w->right && w->at < w->g->node_count ? w->g->node[w->at].op : HONE_OP_COUNT;
    bool is_act = false;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) is_act = is_act || op == known[k];
    if (w->e->layers == 0) w->e->act = op;
    return is_act && op == w->e->act;
}

/* "PREFIX.3.NAME" in one of a few buffers, as every call needs one name. */
static const char *in_block(follow *w, const char *name, char to[2 * HONE_NAME_BYTES])
{
    snprintf(to, 2 * HONE_NAME_BYTES, "%s.%d.%s", w->f->block, (int)w->e->layers, name);
    return to;
}

static hone_tid attention(follow *w, hone_tid x)
{
    char name[2 * HONE_NAME_BYTES];
    const family *f = w->f;
    hone_tid q = product(w, in_block(w, f->q, name), x, &w->e->width);
    hone_tid qk = joined(w, q, product(w, in_block(w, f->k, name), x, NULL));
    hone_tid qkv = joined(w, qk, product(w, in_block(w, f->v, name), x, NULL));
    const hone_node *n = next(w, HONE_OP_ragged_attention, qkv);
    if (!n) return HONE_NONE;
    if (w->e->layers == 0) w->e->heads = n->attr.attention.heads;
    if (n->attr.attention.heads != w->e->heads) w->right = false;
    hone_tid y = product(w, in_block(w, f->out, name), n->out[0], NULL);
    return norm(w, in_block(w, f->norm1, name), sum(w, x, y));
}

static hone_tid feed_forward(follow *w, hone_tid x)
{
    char name[2 * HONE_NAME_BYTES];
    const family *f = w->f;
    int64_t inner = 0;
    hone_tid y = product(w, in_block(w, f->up, name), x, &inner);
    if (w->e->layers == 0) w->e->inner = inner;
    if (!same_act(w) || inner != w->e->inner) return w->right = false, HONE_NONE;
    y = product(w, in_block(w, f->down, name), activation(w, w->e->act, y), NULL);
    return norm(w, in_block(w, f->norm2, name), sum(w, x, y));
}

/* From the ids to the logits, and then nothing but the loss and the probabilities. */
static bool is_of(follow *w)
{
    hone_tid x = embeddings(w);
    while (w->right && w->at < w->g->node_count && w->g->node[w->at].op != HONE_OP_ragged_first) {
        x = feed_forward(w, attention(w, x));
        w->e->layers++;
    }
    int64_t width = 0;
    const hone_node *first = next(w, HONE_OP_ragged_first, x);
    x = product(w, w->f->pool, first ? first->out[0] : HONE_NONE, &width);
    x = product(w, "classifier", activation(w, w->f->pool_act, x), NULL);
    return w->right && x == w->io->logits && width == w->e->width && w->e->layers > 0;
}

/* DistilBERT's code has its epsilon written in, not its config. */
hone_status hone_encoder_find(const hone_model *m, bool *found, hone_encoder *out)
{
    static const family *const families[] = {&bert, &distilbert};
    hone_model_opts o = {.batch = 1, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = 8};
    hone_graph *g = NULL;
    hone_model_io io;
    *found = false;
    if (hone_model_preprocess(m)->vocab == 0) return HONE_OK;
    HONE_TRY(hone_model_build(m, &o, &g, &io));
    for (int k = 0; k < 2 && !*found; k++) {
        *out = (hone_encoder){.distil = families[k] == &distilbert};
        follow w = {.g = g, .io = &io, .f = families[k], .e = out, .right = true};
        *found = is_of(&w) && (!out->distil || (float)out->eps == 1e-12f);
    }
    hone_graph_free(g);
    return HONE_OK;
}
