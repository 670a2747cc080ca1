/* export.h - a trained model for other programs. Each function writes files that stand alone: nothing in them
 * points back into the run. Small files are replaced atomically, and weights come last: a folder with weights is whole. */
#ifndef HONE_EXPORT_EXPORT_H
#define HONE_EXPORT_EXPORT_H

#include "export/architecture.h"
#include "export/encoder.h"
#include "train/saved.h"

/* `folder`: model.safetensors (F32, F16 or BF16, rounded to nearest even) by the parameters' own names, which for the
 * nets of configs/models are torchvision's, timm's or Hugging Face's; config.json, preprocessor_config.json, labels.txt,
 * README.md; model.json and, of a text model, tokenizer.json, so that hone reads the folder as MODEL; of a BERT or
 * DistilBERT also what AutoModelForSequenceClassification and AutoTokenizer ask for. *bytes: of the weights. */
hone_status hone_export_safetensors(hone_saved *s, hone_dtype dtype, const char *folder, size_t *bytes) HONE_MUST_USE;

/* FOLDER/config.json and, for images, preprocessor_config.json; `a` and `e` NULL where no other framework knows the
 * net. */
hone_status hone_export_config(const hone_model *m, const hone_architecture *a, const hone_encoder *e,
                               const char *folder) HONE_MUST_USE;
/* FOLDER/README.md, a model card. */
hone_status hone_export_card(const hone_saved *s, const hone_architecture *a, const hone_encoder *e,
                             const char *folder) HONE_MUST_USE;
/* FOLDER/labels.txt: one class name a line, in the order of the outputs. USAGE where a name holds a line feed. */
hone_status hone_export_labels(const hone_model *m, const char *folder) HONE_MUST_USE;
/* FOLDER/tokenizer.json of a text model; nothing for images. Without `replace` a file that is there stays. */
hone_status hone_export_tokenizer(const hone_saved *s, const char *folder, bool replace) HONE_MUST_USE;
/* FOLDER/name with `text`; "" is a file too. NULL text: out of memory. */
hone_status hone_export_file(const char *folder, const char *name, const char *text) HONE_MUST_USE;
/* Takes `root`, NULL of which is a lack of memory (core/json.h). */
hone_status hone_export_json(const char *folder, const char *name, json_t *root) HONE_MUST_USE;
/* A file of the run into the folder. */
hone_status hone_export_copy(const char *run_dir, const char *folder, const char *name) HONE_MUST_USE;

#endif
