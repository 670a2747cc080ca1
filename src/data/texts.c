/* texts.c - see texts.h: the rows of a split as a value, and the pool behind them. */
#include "data/texts.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "data/text_sink.h"

const hone_text_rows *hone_dataset_texts(const hone_dataset *d) { return d ? d->texts : NULL; }

/* Files that are one text each have no line to name; tables go by their short name. */
const char *hone_text_rows_place(const hone_text_rows *t, int64_t sample, char *out, size_t out_bytes)
{
    const hone_text_row *row = &t->row[sample];
    const char *file = t->pool->files.item[row->file];
    if (row->line) snprintf(out, out_bytes, "%s:%u", hone_shown(hone_path_base(file)), row->line);
    else hone_quote(file, out, out_bytes);
    return out;
}

/* The last reference takes the bytes of all files with it. Opening and freeing is one thread's work. */
void hone_text_pool_drop(hone_text_pool *p)
{
    if (!p || --p->refs > 0) return;
    for (int k = 0; k < p->files.count; k++) free(p->memory[k]);
    free(p->memory);
    hone_names_free(&p->files);
    free(p);
}

/* Rows are the split's own, bytes are shared. */
void hone_text_rows_free(hone_text_rows *t)
{
    if (!t) return;
    hone_text_pool_drop(t->pool);
    free(t->row);
    free(t);
}
