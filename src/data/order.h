/* order.h - which samples, in which order: pure functions of the seed. */
#ifndef HONE_DATA_ORDER_H
#define HONE_DATA_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "hone/status.h"

/* order (count): a permutation of 0..count-1 that is a function of (seed, epoch). count < 2^31. */
void hone_shuffle(uint64_t seed, int64_t epoch, int64_t count, int32_t *order);

/* Marks the samples of a validation split: of each class round(n * fraction) of its n samples, but
 * never all of them, the ones with the smallest draws keyed by (seed, sample). A function of labels,
 * fraction and seed. in_val (count); *val_count: how many. */
hone_status hone_split_stratified(const int32_t *label, int64_t count, int classes, double fraction, uint64_t seed,
                                  bool *in_val, int64_t *val_count) HONE_MUST_USE;

#endif
