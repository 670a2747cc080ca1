/* tokens.c - a text set after tokenizing: its texts one by one, and the ids that stand for them.
 *
 * The ids belong to whoever made them (a cache file's map, mostly); the set only points at them. Which tokenizer
 * made them is not known here. */
#include "data/dataset.h"

/* Part 1 of a set without pairs is NULL, 0 bytes. */
void hone_dataset_text(const hone_dataset *d, int64_t sample, int part, const char **text, size_t *bytes)
{
    const hone_text_row *row = &d->texts->row[sample];
    *text = part == 0 ? row->text : row->second;
    *bytes = part == 0 ? row->bytes : row->second ? row->second_bytes : 0;
}

bool hone_dataset_is_text(const hone_dataset *d) { return d->texts != NULL; }
bool hone_dataset_has_pairs(const hone_dataset *d) { return d->texts && d->texts->second; }

void hone_dataset_set_tokens(hone_dataset *d, const int32_t *token, const int64_t *offset, const int32_t *second)
{
    d->token = token;
    d->offset = offset;
    d->second = second;
}

const int64_t *hone_dataset_token_offsets(const hone_dataset *d) { return d->offset; }
