/* transformers.c - the small files of a folder that transformers loads (encoder.h): keys of config.json, and how its
 * AutoTokenizer is to read the tokenizer.json beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/encoder.h"
#include "export/export.h"
#include "train/text.h"

static const char *word_of(hone_op act)
{
    switch (act) {
    case HONE_OP_gelu_tanh: return "gelu_new";
    case HONE_OP_relu: return "relu";
    case HONE_OP_silu: return "silu";
    default: return "gelu";
    }
}

/* Both as hone_json_with. */
static json_t *with_int(json_t *root, const char *key, int64_t value)
{
    return hone_json_with(root, key, json_integer((json_int_t)value));
}

static json_t *with_text(json_t *root, const char *key, const char *value)
{
    return hone_json_with(root, key, hone_json_string(value));
}

/* Rates of dropout are of training elsewhere and the library's own; an answer does not depend on them. */
json_t *hone_encoder_config(const hone_encoder *e, json_t *root)
{
    const char *class = e->distil ? "DistilBertForSequenceClassification" : "BertForSequenceClassification";
    root = hone_json_with(root, "architectures", json_pack("[s]", class));
    root = with_text(root, "model_type", e->distil ? "distilbert" : "bert");
    root = with_text(root, "problem_type", "single_label_classification");
    root = with_int(root, "vocab_size", e->vocab);
    root = with_int(root, "max_position_embeddings", e->length);
    root = with_int(root, e->distil ? "dim" : "hidden_size", e->width);
    root = with_int(root, e->distil ? "n_layers" : "num_hidden_layers", e->layers);
    root = with_int(root, e->distil ? "n_heads" : "num_attention_heads", e->heads);
    root = with_int(root, e->distil ? "hidden_dim" : "intermediate_size", e->inner);
    root = with_text(root, e->distil ? "activation" : "hidden_act", word_of(e->act));
    if (e->distil) return hone_json_with(root, "sinusoidal_pos_embds", json_false());
    char eps[32]; /* the float's own double has other digits than what people wrote: 1e-12 is 9.99999996e-13 */
    snprintf(eps, sizeof eps, "%.7g", e->eps);
    root = with_int(root, "type_vocab_size", e->types);
    root = hone_json_with(root, "layer_norm_eps", json_real(strtod(eps, NULL)));
    return with_text(root, "position_embedding_type", "absolute");
}

/* The special tokens that the vocabulary has, under the names of their parts. */
static json_t *special_tokens(const hone_tokenizer *t)
{
    hone_special_ids ids = hone_tokenizer_special(t);
    const struct {
        const char *key;
        int32_t id;
    } part[] = {{"unk_token", ids.unk},
                {"sep_token", ids.sep},
                {"pad_token", ids.pad},
                {"cls_token", ids.cls},
                {"mask_token", ids.mask}};
    json_t *map = json_object();
    char token[256];
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        if (part[k].id >= 0)
            map = with_text(map, part[k].key, hone_tokenizer_token(t, part[k].id, token, sizeof token));
    return map;
}

/* The general class: it does what tokenizer.json says and nothing besides. */
hone_status hone_encoder_tokenizer(const hone_saved *s, const hone_encoder *e, const char *folder)
{
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    hone_text_side *side = NULL;
    HONE_TRY(hone_text_load(s, &side));
    hone_tokenizer_kind kind = hone_tokenizer_kind_of(side->tokenizer);
    hone_status status = HONE_OK;
    if (kind == HONE_TOKENIZER_WORDPIECE || kind == HONE_TOKENIZER_BPE) {
        json_t *root = special_tokens(side->tokenizer);
        status = hone_export_json(folder, "special_tokens_map.json", json_incref(root));
        root = with_text(root, "tokenizer_class", "PreTrainedTokenizerFast");
        root = with_int(root, "model_max_length", pre->max_length > 0 ? pre->max_length : e->length);
        root = hone_json_with(root, "model_input_names",
                              e->distil ? json_pack("[s,s]", "input_ids", "attention_mask")
                                        : json_pack("[s,s,s]", "input_ids", "token_type_ids", "attention_mask"));
        if (status == HONE_OK) status = hone_export_json(folder, "tokenizer_config.json", root);
        else json_decref(root);
    }
    hone_text_close(side);
    return status;
}
