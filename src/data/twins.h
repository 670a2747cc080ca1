/* twins.h - which texts are copies of one another: to the byte, but for case and spaces, and nearly.
 *
 * Near means: the sets of 5-character shingles of the two texts, after case and everything that is no
 * letter or digit is folded away, have a Jaccard similarity of at least 0.8 (first 16 KiB of each text).
 * Candidates come from MinHash signatures (16 bands of 4: Leskovec, Rajaraman, Ullman, "Mining of Massive
 * Datasets", section 3.4; a pair of 0.8 is missed once in 4,000), and every one is then verified on the
 * sets themselves, so a reported pair is one. Where more than 16 texts share a band, only the 16 nearest
 * in order are compared: clusters of boilerplate may come out in parts. */
#ifndef HONE_DATA_TWINS_H
#define HONE_DATA_TWINS_H

#include "data/texts.h"

#define HONE_NEAR_SIMILARITY 0.8
enum { HONE_SHINGLE_CHARACTERS = 5, HONE_NEAR_BYTES_MAX = 16 << 10 };

typedef struct hone_twins {
    int64_t count;
    int64_t *exact;  /* (count) first text that is the same to the byte, or the text itself            */
    int64_t *folded; /* (count) ... but for case and white space                                      */
    int64_t *near;   /* (count) first text of its cluster of near copies; texts that are folded copies
                        of an earlier one stand with that one                                         */
} hone_twins;

/* Rows in the order given; a pair counts as one text. The result does not depend on `threads`. */
hone_status hone_twins_find(const hone_text_row *const *row, int64_t count, int threads, hone_twins *out) HONE_MUST_USE;
void hone_twins_free(hone_twins *t);
/* Jaccard similarity of two texts as defined above; < 0: memory exhausted. */
double hone_text_similarity(const hone_text_row *a, const hone_text_row *b);

#endif
