/* options.h - limits and checks of hone_tokenizer_opts, for the files of this room. */
#ifndef HONE_TEXT_OPTIONS_H
#define HONE_TEXT_OPTIONS_H

#include "text/tokenizer.h"

enum { HONE_NGRAM_MAX = 16 }; /* longest n-gram, in words or code points */

/* Ids are int32 and two ranges of them (words, buckets) are added. */
#define HONE_VOCAB_MAX 1000000000LL

/* "keep", "split", "drop", by hone_punctuation. */
extern const char *const hone_punctuation_name[3];

/* USAGE names the key that is out of range. */
hone_status hone_tokenizer_check(const hone_tokenizer_opts *o) HONE_MUST_USE;

#endif
