/* text_splits.c - gathered rows become data sets: class names, val cut from train, one view a split.
 *
 * The rules are those of images (open.c): classes are what train has, sorted by bytes; labels of val and
 * test map by name, and a class that train lacks is an error with its first row; val_fraction of each
 * class is cut from train where the data has no val, by draws that depend on (seed, row) alone. */
#include <stdlib.h>
#include <string.h>

#include "data/check.h"
#include "data/open_text.h"
#include "data/order.h"

/* Labels and weights are copied out of the rows: loaders and metrics take arrays. */
hone_status hone_dataset_of_texts(hone_text_rows *t, const char *name, hone_dataset **out)
{
    size_t n = (size_t)t->count;
    hone_dataset *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) {
        hone_text_rows_free(t);
        return hone_no_memory("a data set", sizeof *d);
    }
    d->texts = t;
    d->count = t->count;
    d->loaded = true;                  /* there is nothing to decode */
    d->source = hone_source_new(name); /* for its name; it has no items */
    d->label = malloc(n * sizeof *d->label + 1);
    d->weight = t->weight ? malloc(n * sizeof *d->weight + 1) : NULL;
    if (!d->source || !d->label || (t->weight && !d->weight)) {
        hone_dataset_free(d);
        return hone_no_memory("a data set's index", n * sizeof *d->label);
    }
    for (int64_t i = 0; i < t->count; i++) {
        d->label[i] = t->row[i].label;
        if (d->weight) d->weight[i] = t->row[i].weight;
    }
    *out = d;
    return HONE_OK;
}

/* Hands over the rows of a list that `drop` does not name (NULL: all); the list is empty afterwards. Rows
 * that were skipped belong to the file, so they go along. */
static hone_status take_rows(hone_text_gather *g, hone_split split, const bool *drop, hone_dataset **out)
{
    hone_text_list *l = &g->sink.list[split];
    hone_text_rows *t = calloc(1, sizeof *t);
    if (!t) return hone_no_memory("a data set", sizeof *t);
    /* moved down in place: a second copy of millions of rows would cost more than reading them */
    for (int64_t i = 0; i < l->count; i++)
        if (!drop || !drop[i]) l->row[t->count++] = l->row[i];
    *t = (hone_text_rows){t->count, l->row, g->sink.second, g->sink.weight, g->sink.pool};
    t->pool->refs++; /* the bytes live as long as any view of them */
    l->row = NULL;
    l->count = l->capacity = 0;
    HONE_TRY(hone_dataset_of_texts(t, g->name, out));
    (*out)->skipped = l->skipped; /* hone_dataset_skipped tells them like broken pictures */
    l->skipped = (hone_names){0};
    return HONE_OK;
}

/* Copies the rows that `take` names, `count` of them; the list keeps all. */
static hone_status copy_rows(const hone_text_gather *g, hone_split split, const bool *take, int64_t count,
                             hone_dataset **out)
{
    const hone_text_list *l = &g->sink.list[split];
    hone_text_rows *t = calloc(1, sizeof *t);
    hone_text_row *row = malloc((size_t)count * sizeof *row + 1);
    if (!t || !row) {
        free(t);
        free(row);
        return hone_no_memory("rows of text", (size_t)count * sizeof *row);
    }
    *t = (hone_text_rows){0, row, g->sink.second, g->sink.weight, g->sink.pool};
    t->pool->refs++;
    for (int64_t i = 0; i < l->count; i++)
        if (take[i]) row[t->count++] = l->row[i];
    return hone_dataset_of_texts(t, g->name, out);
}

/* Train, and the validation split cut from it; *val stays NULL where the fraction takes nothing. */
static hone_status cut_val(hone_text_gather *g, const hone_config *c, hone_dataset **train, hone_dataset **val)
{
    const hone_text_list *l = &g->sink.list[HONE_SPLIT_TRAIN];
    size_t n = (size_t)l->count;
    /* keyed by the row's number in train: the same cut for train, for eval, and on resume */
    bool *in_val = malloc(n + 1);                   /* (rows): which of them validate */
    int32_t *label = malloc(n * sizeof *label + 1); /* (rows)                        */
    int64_t count = 0;                              /* of rows that validate */
    hone_status s = in_val && label ? HONE_OK : hone_no_memory("the validation split", n);
    for (int64_t i = 0; s == HONE_OK && i < l->count; i++) label[i] = l->row[i].label;
    if (s == HONE_OK)
        s = hone_split_stratified(label, l->count, g->sink.classes.count, c->data.val_fraction, (uint64_t)c->train.seed,
                                  in_val, &count);
    if (s == HONE_OK && val && count) s = copy_rows(g, HONE_SPLIT_TRAIN, in_val, count, val);
    if (s == HONE_OK && train) s = take_rows(g, HONE_SPLIT_TRAIN, in_val, train);
    free(in_val);
    free(label);
    return s;
}

/* Where a row of a list stands, for a message. */
static const char *row_place(const hone_text_gather *g, const hone_text_row *row, char *text, size_t bytes)
{
    hone_text_rows one = {.count = 1, .row = (hone_text_row *)(uintptr_t)row, .pool = g->sink.pool};
    return hone_text_rows_place(&one, 0, text, bytes);
}

/* Labels of a list from the sink's order of classes to another list; map[k] < 0: not in it. */
static hone_status map_labels(const hone_text_gather *g, hone_text_list *l, const int *map, const char *split,
                              const char *whose)
{
    char place[HONE_SHOWN];
    for (int64_t i = 0; i < l->count; i++) {
        int from = l->row[i].label; /* the sink's number */
        if (map[from] < 0)
            return hone_fail(HONE_ERR_DATA, "rename the class, or leave its rows out",
                             "class \"%s\" is in %s (first: %s), but not in %s", hone_shown(g->sink.classes.item[from]),
                             split, row_place(g, &l->row[i], place, sizeof place), whose);
        l->row[i].label = map[from];
    }
    return HONE_OK;
}

/* The class list of train: names that have rows there, sorted. Owns copies. */
static hone_status list_classes(const hone_text_gather *g, hone_names *out)
{
    const hone_text_list *l = &g->sink.list[HONE_SPLIT_TRAIN];
    /* (classes of the sink): the sink also knows classes that only val or test have */
    bool *seen = calloc((size_t)g->sink.classes.count + 1, sizeof *seen);
    if (!seen) return hone_no_memory("class names", 0);
    /* a class counts where it has a row to learn from */
    for (int64_t i = 0; i < l->count; i++) seen[l->row[i].label] = true;
    hone_status s = HONE_OK;
    for (int k = 0; s == HONE_OK && k < g->sink.classes.count; k++)
        if (seen[k]) s = hone_names_add(out, g->sink.classes.item[k]);
    free(seen);
    hone_names_sort(out);
    return s;
}

/* One lookup of a name in a sorted list. */
static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Index in `list` of each class of the sink, -1 where it has none. free() it; NULL: memory exhausted. */
static int *map_classes(const hone_text_sink *s, int classes, const char *const *list, bool sorted)
{
    int *map = malloc((size_t)s->classes.count * sizeof *map + 1);
    for (int k = 0; map && k < s->classes.count; k++) {
        const char *const *at = NULL;
        /* train's list is sorted; a model's may come from elsewhere */
        if (sorted) at = bsearch(&s->classes.item[k], list, (size_t)classes, sizeof *list, compare_names);
        for (int i = 0; !sorted && !at && i < classes; i++)
            if (strcmp(list[i], s->classes.item[k]) == 0) at = &list[i];
        map[k] = at ? (int)(at - list) : -1;
    }
    return map;
}

/* Legal but seldom meant: `Spam` beside `spam `, and a "class" a row. */
static hone_status note_classes(const hone_data *d, const hone_config *c, hone_names *notes)
{
    hone_status s = hone_data_note_class_twins(d, notes);
    int64_t rows = hone_dataset_count(d->train);
    /* an id column taken for the label has as many classes as rows */
    if (s == HONE_OK && rows >= 20 && d->classes > rows / 2)
        s = hone_names_addf(notes, "%d classes in %lld rows: is the label column the right one?", d->classes,
                            (long long)rows);
    if (s == HONE_OK) s = hone_data_note_one_label(d, notes);
    if (s == HONE_OK && !d->val && c->data.val_fraction > 0) /* 0 was meant */
        s = hone_names_add(notes,
                           "no validation split: the data has none, and data.val_fraction takes nothing from train");
    return s;
}

/* Class list, labels by it, views. What is half made belongs to `d`. */
static hone_status build(hone_text_gather *g, const hone_config *c, hone_data *d)
{
    hone_text_sink *s = &g->sink;
    hone_names classes = {0};
    if (s->list[HONE_SPLIT_TRAIN].count == 0)
        return hone_fail(HONE_ERR_DATA, "a header alone is no data; name the training rows with data.train",
                         "%s: no training rows", hone_shown(g->name));
    /* handed over before the status is looked at: what was listed is freed with `d` */
    hone_status status = list_classes(g, &classes);
    d->class_name = classes.item;
    d->classes = classes.count;
    HONE_TRY(status);
    int *map = map_classes(s, d->classes, (const char *const *)d->class_name, true);
    if (!map) return hone_no_memory("class names", 0);
    for (int k = 0; status == HONE_OK && k < HONE_SPLIT_COUNT; k++)
        status = map_labels(g, &s->list[k], map, hone_split_name((hone_split)k), "train");
    free(map);
    HONE_TRY(status);
    /* content, columns and splits; not paths, so a copy elsewhere resumes */
    d->fingerprint = s->hash;
    /* the data's own val goes before val_fraction */
    if (s->list[HONE_SPLIT_VAL].count) {
        HONE_TRY(take_rows(g, HONE_SPLIT_TRAIN, NULL, &d->train));
        HONE_TRY(take_rows(g, HONE_SPLIT_VAL, NULL, &d->val));
    } else {
        HONE_TRY(cut_val(g, c, &d->train, &d->val));
    }
    if (s->list[HONE_SPLIT_TEST].count) HONE_TRY(take_rows(g, HONE_SPLIT_TEST, NULL, &d->test));
    status = note_classes(d, c, &s->notes);
    d->note = s->notes.item;
    d->note_count = s->notes.count;
    s->notes = (hone_names){0};
    return status;
}

/* Findings stop here and not in the trainer, so that plan and train say the same. */
hone_status hone_text_data_open(const hone_config *c, hone_data **out)
{
    hone_text_gather g;
    *out = NULL;
    if (!c->data.path && !c->data.train && !c->data.synthetic.given)
        return hone_fail(HONE_ERR_USAGE, "for example data: {path: datasets/debian-sections}", "data.path: not given");
    HONE_TRY(hone_text_gather_open(c, NULL, &g));
    hone_data *d = calloc(1, sizeof *d);
    hone_status s = d ? build(&g, c, d) : hone_no_memory("a data set", sizeof *d);
    hone_text_gather_free(&g);
    if (s == HONE_OK && c->data.check == HONE_CHECK_STRICT)
        s = hone_data_check_strict(d, c->text.max_length, c->data.decode_threads);
    if (s == HONE_OK) *out = d;
    else hone_data_free(d);
    return s;
}

/* The same choice as for images: test before val, a set without splits whole. */
static hone_status choose(hone_text_gather *g, const hone_config *c, hone_split wanted, hone_dataset **out)
{
    bool have[HONE_SPLIT_COUNT]; /* by rows: an empty file is no split to measure on */
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) have[k] = g->sink.list[k].count > 0;
    if (wanted == HONE_SPLIT_COUNT)
        wanted = have[HONE_SPLIT_TEST]  ? HONE_SPLIT_TEST
                 : have[HONE_SPLIT_VAL] ? HONE_SPLIT_VAL
                 : g->unsplit           ? HONE_SPLIT_TRAIN
                                        : HONE_SPLIT_VAL;
    else if (!g->unsplit && !have[HONE_SPLIT_VAL] && have[HONE_SPLIT_TRAIN] && wanted == HONE_SPLIT_TRAIN)
        return cut_val(g, c, out, NULL);
    if (have[wanted]) return take_rows(g, wanted, NULL, out);
    /* another set by hand has no splits: all of it is the test */
    if (g->unsplit && wanted == HONE_SPLIT_TEST && have[HONE_SPLIT_TRAIN])
        return take_rows(g, HONE_SPLIT_TRAIN, NULL, out);
    if (wanted == HONE_SPLIT_VAL && have[HONE_SPLIT_TRAIN]) HONE_TRY(cut_val(g, c, NULL, out));
    return *out ? HONE_OK : hone_split_missing(have, wanted);
}

/* The rows are cut before labels are mapped, as draws of a class must not depend on the model's list:
 * they depend on the row alone, so either order gives the same split. */
static hone_status open_eval(hone_text_gather *g, const hone_config *c, hone_split wanted, int classes,
                             const char *const *class_name, hone_dataset **out)
{
    HONE_TRY(choose(g, c, wanted, out));
    /* the view's rows are its own by now, so they can be renumbered in place */
    if (!*out) return hone_fail(HONE_ERR_DATA, "look at the data", "%s: no rows", hone_shown(g->name));
    hone_text_rows *t = (*out)->texts;
    int *map = map_classes(&g->sink, classes, class_name, false);
    if (!map) return hone_no_memory("class names", 0);
    hone_text_list view = {.row = t->row, .count = t->count}; /* classes of other splits are not asked for */
    hone_status s = map_labels(g, &view, map, "the data", "the model");
    free(map);
    for (int64_t i = 0; s == HONE_OK && i < t->count; i++) (*out)->label[i] = t->row[i].label;
    return s;
}

/* Another set by hand may be of another format and have no weights; its columns are those of the page. */
hone_status hone_text_data_open_eval(const char *path, const char *split, const hone_config *c, int classes,
                                     const char *const *class_name, hone_dataset **out)
{
    hone_split wanted;
    hone_text_gather g;
    hone_config other = *c; /* a set that was named by hand: only how to read it comes from the config */
    *out = NULL;
    HONE_TRY(hone_split_of_name(split, &wanted));
    if (path) {
        other.data.format = HONE_FORMAT_AUTO;
        other.data.columns.weight = NULL;
    }
    HONE_TRY(hone_text_gather_open(&other, path, &g));
    hone_status s = open_eval(&g, &other, wanted, classes, class_name, out);
    hone_text_gather_free(&g);
    if (s != HONE_OK) {
        hone_dataset_free(*out);
        *out = NULL;
    }
    return s;
}
