/* capacity.h - for how many tokens programs are compiled, so that a short batch does not pay for the longest.
 *
 * Results do not depend on it: a program is as good as any other that holds the batch. */
#ifndef HONE_TRAIN_CAPACITY_H
#define HONE_TRAIN_CAPACITY_H

#include "hone/data.h"

enum { HONE_CAPACITIES = 8 };

typedef struct hone_capacities {
    int64_t most;                    /* holds any batch that an order could make */
    int64_t tail;                    /* the same for the last, short one         */
    int64_t tokens[HONE_CAPACITIES]; /* descending, below `most`                 */
    int count;
} hone_capacities;

/* Of a set whose ids are known, in batches as a loader with these options makes them. Errors: MEMORY. */
hone_status hone_capacities_find(hone_dataset *d, const hone_loader_opts *o, hone_capacities *out) HONE_MUST_USE;

/* The least capacity for a batch that nobody foresaw: a power of two from 8 on, or one and a half of one. */
int64_t hone_capacity_of(int64_t tokens);

#endif
