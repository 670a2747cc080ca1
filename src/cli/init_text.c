/* init_text.c - the page that `hone init` writes for texts: a bag of n-grams.
 *
 * What it chooses follows from the number of rows and the lengths of the texts, by the rules of `choose`;
 * each choice is commented with its reason. */
#include "cli/init.h"

/* What a page needs to know. */
typedef struct choice {
    int epochs, batch, dim, buckets, min_count;
    const char *optimizer; /* as it stands in the page                                                */
    const char *why;       /* of the row count, for the comment                                       */
    int max_length;
    bool characters; /* parts of words help where texts are short and words are rare                  */
} choice;

/* Few rows want many passes and AdamW, which steps far for rare words; many rows want few passes and SGD,
 * whose cost is that of the batch's words alone. SGD's rate is for the mean over a batch and over a text's
 * words, so it is far above that of a dense net (half the batch is fastText's 0.5 a text). */
static choice choose(const hone_data_report *r)
{
    static const char adamw[] = "{name: adamw, lr: 3e-3}",
                      sgd32[] = "{name: sgd, lr: 16, momentum: 0, weight_decay: 0}",
                      sgd64[] = "{name: sgd, lr: 32, momentum: 0, weight_decay: 0}";
    int64_t rows = r->rows[0];
    choice c = {5, 64, 64, 2000000, 5, sgd64, "many rows: few passes, rare words left out", 512, false};
    if (rows < 500000) c = (choice){8, 32, 64, 2000000, 1, sgd32, "tens of thousands of rows", 512, false};
    if (rows < 20000) c = (choice){15, 16, 64, 500000, 1, adamw, "thousands of rows", 512, false};
    if (rows < 2000) c = (choice){30, 16, 32, 100000, 1, adamw, "few rows: many passes, a small table", 512, false};
    /* one text in a hundred may be cut; a bag costs no more for long ones */
    while (c.max_length < r->words.p99 && c.max_length < 4096) c.max_length *= 2;
    c.characters = r->words.p50 <= 16;
    return c;
}

/* The whole page of texts. */
void hone_cli_init_text(const hone_cli_data *d, const char *path, const hone_data_report *r, hone_text *t)
{
    choice c = choose(r);
    hone_text_add(t, "# %lld training rows, %d classes; a text has %lld words in the median, %lld at most\n",
                  (long long)r->rows[0], r->classes, (long long)r->words.p50, (long long)r->words.max);
    hone_text_add(t, "task: text\n");
    hone_cli_init_out(path, "bag", t);
    hone_cli_init_data(d, path, t);
    hone_text_add(
        t, "text:\n  tokenizer: ngram               # words and pairs of words, hashed: quick, and hard to beat\n");
    hone_text_add(t, "  ngram: {words: [1, 2], chars: %s, buckets: %d, min_count: %d}\n",
                  c.characters ? "[3, 5]" : "none", c.buckets, c.min_count);
    if (c.characters)
        hone_text_add(t, "                                 # chars: the texts are short, so parts of words help\n");
    hone_text_add(t, "  lowercase: true\n  max_length: %d                # tokens; longer texts are cut\n",
                  c.max_length);
    hone_text_add(t, "model:\n  layers:\n    - embedding_bag: {dim: %d, mode: mean}\n    - linear: classes\n", c.dim);
    hone_text_add(t, "train:\n  epochs: %d                     # %s\n  batch: %d\n", c.epochs, c.why, c.batch);
    hone_text_add(t, "  optimizer: %s\n", c.optimizer);
    hone_text_add(t, "  schedule: {name: linear}       # down to 0 at the end\n");
    double uneven = hone_cli_init_imbalance(r);
    if (uneven >= 10)
        hone_text_add(t,
                      "  loss: {label_smoothing: 0, class_weights: none} # classes are uneven (%.0f : 1): try "
                      "balanced, watch f1_macro\n",
                      uneven);
    else hone_text_add(t, "  loss: {label_smoothing: 0}\n");
}
