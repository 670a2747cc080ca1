/* image_table.c - tables of pictures: CSV, TSV or JSONL with a path, a label and, where the table has them, a weight
 * and a split in each row.
 *
 * The readers of text do the reading (columns, quoting, places in messages): a path is a text here. Paths are relative
 * to the folder of their table unless absolute. That a path leads to a file is checked at once, with the line that
 * says so; what the file holds shows when it is decoded, under data.on_error. Samples keep the order of the rows. */
#include "data/image_table.h"

#include <stdlib.h>
#include <string.h>

#include "data/open_text.h"
#include "data/source_hash.h"

/* One split on its way from rows to files. */
typedef struct conversion {
    hone_text_gather *gather;
    const hone_text_list *list;
    hone_text_job job; /* for places in messages and the rule for broken rows */
    hone_source *source;
    hone_source_hash hash;
    int *class_of; /* (classes of the sink) -> class of the source, -1: none of its rows has it */
    int threads;
} conversion;

/* "pictures/7.jpg" of datasets/x/train.csv lies at datasets/x/pictures/7.jpg. NULL: memory. */
static char *path_of(const conversion *v, const hone_text_row *row)
{
    const char *table = v->gather->sink.pool->files.item[row->file], *base = hone_path_base(table);
    char *name = malloc((size_t)row->bytes + 1), *path = NULL;
    if (!name) return NULL;
    memcpy(name, row->text, row->bytes);
    name[row->bytes] = 0;
    char *folder = malloc((size_t)(base - table) + 1);
    if (folder) {
        memcpy(folder, table, (size_t)(base - table));
        folder[base - table] = 0;
        path = hone_path_join(*name == '/' ? "" : folder, name);
    }
    free(folder);
    free(name);
    return path;
}

/* The row's file, label and weight as sample `count` of the source. Errors (DATA) name the line of the table. */
static hone_status take_row(conversion *v, const hone_text_row *row)
{
    hone_source *s = v->source;
    int64_t bytes = 0;
    char *path = row->bytes ? path_of(v, row) : NULL;
    if (row->bytes == 0) return hone_text_fail(&v->job, row->line, 0, "each row names a picture", "the path is empty");
    if (!path) return hone_no_memory("a path", 0);
    hone_path_kind kind = hone_path_look(path, &bytes);
    hone_status status = HONE_OK;
    if (kind != HONE_PATH_FILE)
        status = hone_text_fail(&v->job, row->line, 0, "paths are relative to the folder of the table", "%s: %s",
                                hone_shown(path), kind == HONE_PATH_MISSING ? "no such file" : "not a regular file");
    if (status == HONE_OK) status = hone_names_add(&s->files, path);
    if (status == HONE_OK) {
        hone_source_hash_file(&v->hash, path, bytes);
        s->label[s->count] = v->class_of[row->label];
        if (s->weight) s->weight[s->count] = row->weight;
        hone_source_hash_add(&v->hash, &row->weight, sizeof row->weight);
        s->count++;
    }
    free(path);
    return status;
}

/* Class names of this split, sorted by bytes as for folders. */
static hone_status take_classes(conversion *v)
{
    const hone_names *all = &v->gather->sink.classes;
    hone_names *own = &v->source->classes;
    v->class_of = malloc((size_t)all->count * sizeof *v->class_of + 1);
    if (!v->class_of) return hone_no_memory("class names", 0);
    for (int k = 0; k < all->count; k++) v->class_of[k] = -1;
    for (int64_t i = 0; i < v->list->count; i++) v->class_of[v->list->row[i].label] = 0;
    for (int k = 0; k < all->count; k++)
        if (v->class_of[k] == 0) HONE_TRY(hone_names_add(own, all->item[k]));
    hone_names_sort(own);
    for (int k = 0; k < all->count; k++) {
        if (v->class_of[k] == 0) v->class_of[k] = hone_names_find(own, all->item[k]);
        if (v->class_of[k] >= 0) hone_source_hash_add(&v->hash, all->item[k], strlen(all->item[k]) + 1);
    }
    return HONE_OK;
}

static hone_status fill(conversion *v)
{
    hone_source *s = v->source;
    size_t rows = (size_t)v->list->count;
    uint64_t columns = v->gather->sink.hash;
    s->root = strdup("");
    s->label = malloc(rows * sizeof *s->label + 1);
    if (v->gather->sink.weight) s->weight = malloc(rows * sizeof *s->weight + 1);
    if (!s->root || !s->label || (v->gather->sink.weight && !s->weight))
        return hone_no_memory("labels", rows * sizeof *s->label);
    HONE_TRY(hone_source_hash_begin(&v->hash));
    hone_source_hash_add(&v->hash, &columns, sizeof columns);
    HONE_TRY(take_classes(v));
    for (int64_t i = 0; i < v->list->count; i++) {
        v->job.path = v->gather->sink.pool->files.item[v->list->row[i].file];
        hone_status status = take_row(v, &v->list->row[i]);
        if (status != HONE_OK) HONE_TRY(hone_text_sink_broken(&v->job, status));
    }
    if (s->count == 0)
        return hone_fail(HONE_ERR_DATA, "look at the first of them: data.on_error: stop",
                         "%s: none of the %lld rows leads to a file", hone_shown(s->name), (long long)v->list->count);
    return hone_source_hash_end(&v->hash, s, v->threads);
}

/* One split; skipped rows and notes go along. */
static hone_status convert(hone_text_gather *g, hone_split split, int threads, hone_source **out)
{
    conversion v = {.gather = g, .list = &g->sink.list[split], .threads = threads, .source = hone_source_new(g->name)};
    v.job = (hone_text_job){.sink = &g->sink, .split = split, .path = g->name};
    hone_status status = v.source ? fill(&v) : hone_no_memory("a data set", 0);
    free(v.class_of);
    hone_source_hash_free(&v.hash);
    if (status != HONE_OK) {
        hone_source_free(v.source);
        return status;
    }
    v.source->skipped = g->sink.list[split].skipped;
    g->sink.list[split].skipped = (hone_names){0};
    *out = v.source;
    return HONE_OK;
}

hone_status hone_image_tables_open(const hone_config *c, const char *path, int threads,
                                   hone_source *out[HONE_SPLIT_COUNT], bool *unsplit)
{
    hone_text_gather g;
    hone_status status = HONE_OK;
    HONE_TRY(hone_text_gather_open(c, path, &g));
    *unsplit = g.unsplit;
    for (int k = 0; status == HONE_OK && k < HONE_SPLIT_COUNT; k++)
        if (g.sink.list[k].count) status = convert(&g, (hone_split)k, threads, &out[k]);
    for (int k = 0; status == HONE_OK && k < HONE_SPLIT_COUNT; k++) {
        if (!out[k]) continue; /* findings of the tables belong to no split: the first one tells them */
        out[k]->notes = g.sink.notes;
        g.sink.notes = (hone_names){0};
        break;
    }
    hone_text_gather_free(&g);
    return status;
}
