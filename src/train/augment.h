/* augment.h - `augment:` of a page as the kernels want it: fixed-point numbers and a table of shares. */
#ifndef HONE_TRAIN_AUGMENT_H
#define HONE_TRAIN_AUGMENT_H

#include "hone/augment.h"
#include "hone/config.h"
#include "hone/data.h"

/* All that is off is 0. height and width are the model's to fill in. */
hone_augment_attr hone_augment_of(const hone_config *c);
/* Resized crops are cut from pictures larger than they come out: the size that the training split of `d` is kept in, by
 * augment.crop.from or a rule. Before it is loaded. Errors (DATA): a pack of another size. */
hone_status hone_augment_keep(const hone_config *c, hone_data *d) HONE_MUST_USE;
/* table (HONE_MIX_TABLE): entry k is the quantile 1/2 + k/1024 of Beta(alpha, alpha), Q16; ones where alpha is 0. */
void hone_mix_table(double alpha, int32_t *table);

#endif
