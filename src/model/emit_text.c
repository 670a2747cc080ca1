/* emit_text.c - emitters of what reads token ids: embedding, and the bag of embeddings. See emit.h for the contract.
 *
 * The value that flows into a text model is the flat token array (T,); where texts begin is e->offset. */
#include "model/emit.h"

enum { RANK_IDS = 1u << 1 };

/* torch.nn.Embedding and EmbeddingBag draw N(0, 1); hone_fill_weight knows all that `init:` may say besides. */
static hone_fill table_fill(const hone_layer *l, int64_t vocab, int64_t dim)
{
    if (l->args.init.kind == HONE_INIT_DEFAULT) return (hone_fill){HONE_FILL_NORMAL, 1};
    return hone_fill_weight(l, dim, vocab);
}

/* Table (V, dim). A sparse one is spared from weight decay, which would touch every row, or by chance of occurrence
 * some: train.optimizer.decay_all turns it on, lazily. */
static hone_status emit_table(hone_emit *e, const hone_layer *l, const hone_value *v, hone_tid *out)
{
    HONE_TRY(hone_emit_rank(e, l, v, RANK_IDS, "the token ids of a text", "put it first, and set task: text"));
    int64_t vocab = e->vocab, dim = l->args.dim;
    bool sparse = l->args.sparse != 0;
    hone_param_spec s = {.suffix = "weight", .role = HONE_ROLE_PARAM, .rank = 2, .dim = {vocab, dim}};
    s.decay = !sparse;
    s.sparse = sparse;
    s.fill = table_fill(l, vocab, dim);
    return hone_emit_param(e, l, &s, out);
}

/* (T) ids -> (T, dim), a row a token. */
HONE_EMITTER(embedding)
{
    hone_tid table;
    HONE_TRY(emit_table(e, l, v, &table));
    return hone_emit_node(e, l, HONE_OP_embedding, (hone_tid[]){table, v->t, e->offset}, NULL, 1u, false, v);
}

/* (T) ids -> (N, dim). */
HONE_EMITTER(embedding_bag)
{
    hone_tid table;
    static const hone_bag_mode mode[] = {HONE_BAG_MEAN, HONE_BAG_SUM,
                                         HONE_BAG_SQRT}; /* in the order of layer_table.c */
    hone_attrs attr = {.bag = {.mode = (int32_t)mode[l->args.form]}};
    HONE_TRY(emit_table(e, l, v, &table));
    v->ragged = false;
    return hone_emit_node(e, l, HONE_OP_embedding_bag, (hone_tid[]){table, v->t, e->offset}, &attr, 1u, false, v);
}

/* (T, C) + a row of the table (count, C) by the segment of each token: 0 for single texts. The input is made when the
 * first layer asks for it, so that other nets do not carry it. */
HONE_EMITTER(token_type)
{
    HONE_TRY(hone_emit_tokens(e, l, v));
    if (!v->ragged) return hone_emit_fail(l, "take it out", "token types are of texts");
    int64_t tokens = e->g->tensor[v->t].dim[0];
    /* both are rows of the same texts as v */
    hone_value type = *v, sum = *v;
    if (e->type == HONE_NONE)
        HONE_TRY(hone_graph_tensor(e->g, "type", HONE_I32, HONE_ROLE_INPUT, 1, &tokens, &e->type));
    hone_param_spec s = {.suffix = "weight", .role = HONE_ROLE_PARAM, .rank = 2, .decay = true};
    s.dim[0] = l->args.length;
    s.dim[1] = hone_emit_width(e, v);
    s.fill = table_fill(l, s.dim[0], s.dim[1]);
    hone_tid table;
    HONE_TRY(hone_emit_param(e, l, &s, &table));
    HONE_TRY(hone_emit_node(e, l, HONE_OP_embedding, (hone_tid[]){table, e->type, e->offset}, NULL, 1u, false, &type));
    HONE_TRY(hone_emit_node(e, l, HONE_OP_add, (hone_tid[]){v->t, type.t}, NULL, 1u, true, &sum));
    *v = sum;
    return HONE_OK;
}
