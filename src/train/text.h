/* text.h - the text side of a run: its tokenizer, and the ids of its splits.
 *
 * The tokenizer is trained on the training split (or read where the page names a file), is saved beside
 * model.json, and is the same from then on: predict and eval need only the run directory. */
#ifndef HONE_TRAIN_TEXT_H
#define HONE_TRAIN_TEXT_H

#include "hone/config.h"
#include "hone/data.h"
#include "text/tokenizer.h"
#include "train/saved.h"

struct hone_trainer;

enum { HONE_TEXT_SETS = 3 }; /* train, val, test */

typedef struct hone_text_side {
    hone_tokenizer *tokenizer;
    hone_token_set set[HONE_TEXT_SETS]; /* ids that data sets point at: freed after them */
    int set_count;
    char note[512]; /* of a cache that could not be written; "" */
} hone_text_side;

/* Fills t->text and t->vocab: tokenizer by config.text, ids of train and val. Says what was cut. */
hone_status hone_text_open(struct hone_trainer *t, int threads) HONE_MUST_USE;
/* Ids of one more set, which points at them from then on. With `beside` (a path of the data; NULL: nowhere) they are
 * kept in a file there, where making them costs more than reading. */
hone_status hone_text_encode(hone_text_side *s, hone_dataset *d, int max_length, int threads, const char *beside,
                             const char *split) HONE_MUST_USE;
/* Where the ids of a split of `c` may be kept: a path of its data, or NULL. */
const char *hone_text_beside(const hone_config *c, const char *split);
/* RUN/tokenizer.json. */
hone_status hone_text_save(const hone_text_side *s, const char *run_dir) HONE_MUST_USE;
/* The tokenizer that was saved with a model; DATA where it does not fit its rows. */
hone_status hone_text_load(const hone_saved *saved, hone_text_side **out) HONE_MUST_USE;
void hone_text_close(hone_text_side *s); /* NULL is fine */

#endif
