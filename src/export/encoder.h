/* encoder.h - whether a model is a text classifier that transformers knows by name: BERT or DistilBERT of any size.
 *
 * Names of parameters alone are not enough: heads, epsilons, activations and what is added to what show in the graph
 * only. So the graph is followed node by node, with the parameter of each; a net that differs anywhere is none of them,
 * for a loader elsewhere would take it for the one it is not. */
#ifndef HONE_EXPORT_ENCODER_H
#define HONE_EXPORT_ENCODER_H

#include "core/json.h"
#include "hone/model.h"
#include "train/saved.h"

typedef struct hone_encoder {
    bool distil;                         /* DistilBertForSequenceClassification, else BertForSequenceClassification  */
    int64_t layers, heads, width, inner; /* inner: of the product between the two of a block           */
    int64_t vocab, length, types;        /* rows of the tables; types 0: DistilBERT has none           */
    hone_op act;                         /* between the two                                            */
    double eps;                          /* of all norms                                               */
} hone_encoder;

/* False where the model is neither. Errors: MEMORY. */
hone_status hone_encoder_find(const hone_model *m, bool *found, hone_encoder *out) HONE_MUST_USE;
/* Keys of transformers' config.json. */
json_t *hone_encoder_config(const hone_encoder *e, json_t *root) HONE_MUST_USE;
/* FOLDER/tokenizer_config.json and special_tokens_map.json, with which AutoTokenizer reads the tokenizer.json beside
 * them; nothing where that is of a kind which transformers has not. */
hone_status hone_encoder_tokenizer(const hone_saved *s, const hone_encoder *e, const char *folder) HONE_MUST_USE;

#endif
