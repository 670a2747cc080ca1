/* small.h - a bag of n-grams as one small file: the rows that matter, in 8 or 4 bits each number.
 *
 * A safetensors file that stands alone. Metadata: "hone.small" = "1", "hone.table" = the table's name, "hone.bits".
 * Arrays: "model.json" and "tokenizer.json" (U8, the texts of those files, for the rows that are left); NAME.levels
 * (U8: rows, bytes of a row) and NAME.scale (F32: rows) of the table; all other parameters as they were (F32). A number
 * of the table is scale * (level - 128), or scale * (level - 8) where two share a byte, the first in the low half. */
#ifndef HONE_TRAIN_SMALL_H
#define HONE_TRAIN_SMALL_H

#include "train/saved.h"

/* What became of a model. */
typedef struct hone_small_report {
    int64_t rows, seen, kept; /* of the table; of them those that training met; those in the file */
    int bits;                 /* of a number                                                      */
    size_t bytes;             /* of the file                                                      */
} hone_small_report;

/* Writes the bag `s` to `path` in at most `max_bytes`, atomically. Which rows matter is read off the training texts of
 * the run. Errors: USAGE where the model is no bag of n-grams, is small already, or does not fit; DATA where
 * the run's data can't be read. */
hone_status hone_small_write(const hone_saved *s, int threads, size_t max_bytes, const char *path,
                             hone_small_report *report) HONE_MUST_USE;

/* Whether the file at `path` says that it is one; false for what can't be read. */
bool hone_small_is(const char *path);
/* Its model and tokenizer into a zeroed hone_saved. DATA names what is damaged. */
hone_status hone_small_open(const char *path, hone_saved *out) HONE_MUST_USE;

/* Names in the file, for small_open.c and small_write.c. */
#define HONE_SMALL_MARK  "hone.small"
#define HONE_SMALL_TABLE "hone.table"
#define HONE_SMALL_BITS  "hone.bits"

#endif
