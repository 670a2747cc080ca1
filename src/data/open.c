/* open.c - from what config.data names to the splits of an experiment.
 *
 * The steps: where each split lies (data.train and its like go before data.path); which format lies
 * there, told from the content; one reader a split, in parallel; classes of val and test mapped by
 * name into train's list; a validation split cut from train where the data has none; the shape of the
 * samples; the fingerprint. Pixels are not touched, except that the first image of a folder is decoded
 * where the config leaves the size to the data.
 *
 * Whatever is wrong with a data set as a whole is found here, before a model is built, and named by
 * file and place. It must not guess: an ambiguous folder, a class that train lacks, a missing split
 * are errors, never a different number of samples than the user thinks. */
#define XXH_INLINE_ALL
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "config/resize.h"
#include "core/text.h"
#include "core/thread.h"
#include "data/check.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/image_table.h"
#include "data/open_text.h"
#include "data/order.h"
#include "data/pack.h"
#include "data/shards.h"

typedef struct opening {
    const hone_config *c;
    const char *path[HONE_SPLIT_COUNT]; /* NULL: that split is not looked for                       */
    bool whole[HONE_SPLIT_COUNT];       /* the path is that split itself                            */
    /* one set without splits */
    bool unsplit; /* one set without splits: a file, or ROOT/CLASS/FILE       */
    int threads;
    hone_source *source[HONE_SPLIT_COUNT];
} opening;

/* The hint says which script brings datasets/NAME, when there is one. */
hone_status hone_path_missing(const char *path)
{
    char script[HONE_SHOWN], hint[HONE_SHOWN + 64] = "check data.path; relative paths start at the working directory";
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    snprintf(script, sizeof script, "%.*s.sh", (int)n, path);
    if (hone_path_look(script, NULL) == HONE_PATH_FILE) snprintf(hint, sizeof hint, "%s brings it", hone_shown(script));
    return hone_fail(HONE_ERR_DATA, hint, "%s: no such file or folder", hone_shown(path));
}

/* Case counts: these are names of our own documentation. */
static bool has_ending(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

/* Tables are known by their suffix: their content is any text. */
static bool is_table_name(const char *name)
{
    return has_ending(name, ".csv") || has_ending(name, ".tsv") || has_ending(name, ".jsonl");
}

/* A folder with a table and images is meant as a table: the images are its inputs. */
static bool holds_table(const char *path)
{
    hone_names names = {0};
    bool found = false;
    if (hone_path_look(path, NULL) == HONE_PATH_FOLDER && hone_folder_list(path, &names) == HONE_OK)
        for (int k = 0; !found && k < names.count; k++) found = is_table_name(names.item[k]);
    hone_names_free(&names);
    return found || is_table_name(path);
}

/* The format of what lies at `path`, or the one that the config insists on. */
static hone_status find_format(const hone_config *c, const char *path, hone_format *out)
{
    *out = c->data.format;
    hone_error_clear();
    if (hone_path_look(path, NULL) == HONE_PATH_MISSING && !hone_shards_looks(path)) return hone_path_missing(path);
    if (*out == HONE_FORMAT_AUTO && hone_pack_looks(path)) *out = HONE_FORMAT_PACK;
    if (*out == HONE_FORMAT_AUTO && hone_shards_looks(path)) *out = HONE_FORMAT_TAR;
    if (*out == HONE_FORMAT_AUTO && hone_idx_looks(path)) *out = HONE_FORMAT_IDX;
    if (*out == HONE_FORMAT_AUTO && hone_cifar_looks(path)) *out = HONE_FORMAT_CIFAR;
    if (*out == HONE_FORMAT_AUTO && holds_table(path)) *out = HONE_FORMAT_CSV;
    if (*out == HONE_FORMAT_AUTO && hone_folder_looks(path)) *out = HONE_FORMAT_FOLDER;
    if (hone_memory_failed()) return HONE_ERR_MEMORY; /* else a look that could not be had decides */
    if (*out == HONE_FORMAT_AUTO)
        return hone_fail(
            HONE_ERR_DATA,
            "known: IDX (train-images-idx3-ubyte), CIFAR (data_batch_1.bin, train.bin), folders (train/CLASS/IMAGE), "
            "tables (train.csv with path,label), tar archives (train-000.tar with KEY.jpg, KEY.cls)",
            "%s: no data set of a known format", hone_shown(path));
    if (*out == HONE_FORMAT_FASTTEXT)
        return hone_fail(HONE_ERR_DATA, "name pictures in a table: path,label",
                         "%s: data.format: fasttext holds texts, not pictures", hone_shown(path));
    return HONE_OK;
}

/* One reader a format; each returns NULL in *out for a split that it does not find. */
static hone_status open_path(const opening *o, hone_split split, hone_source **out)
{
    hone_format format;
    bool whole = o->whole[split];
    const char *path = o->path[split];
    HONE_TRY(find_format(o->c, path, &format));
    switch (format) {
    case HONE_FORMAT_IDX: return hone_idx_open(path, split, whole, out);
    case HONE_FORMAT_CIFAR: return hone_cifar_open(path, split, whole, out);
    case HONE_FORMAT_PACK: return hone_pack_open(path, split, whole, out);
    case HONE_FORMAT_TAR: return hone_shards_open(path, split, whole, o->c->data.on_error, o->threads, out);
    default: return hone_folder_open(path, split, whole, o->threads, out);
    }
}

/* One task of the parallel loop: the inflating of train hides that of test. */
static hone_status open_split(void *arg, int64_t split)
{
    opening *o = arg;
    const hone_config *c = o->c;
    hone_source **out = &o->source[split];
    if (c->data.synthetic.given)
        return hone_synthetic_open(c->data.synthetic.shape, c->data.synthetic.classes, c->data.synthetic.samples,
                                   (hone_split)split, (uint64_t)c->train.seed, o->threads, out);
    if (!o->path[split]) return HONE_OK;
    HONE_TRY(open_path(o, (hone_split)split, out));
    if (o->whole[split] && !*out)
        return hone_fail(HONE_ERR_DATA, "check the path", "data.%s: %s: no data in it",
                         hone_split_name((hone_split)split), hone_shown(o->path[split]));
    return HONE_OK;
}

/* Which path each split comes from: data.train and its like go before data.path. */
static hone_status find_places(opening *o, const char *path)
{
    const hone_config *c = o->c;
    const char *own[HONE_SPLIT_COUNT] = {c->data.train, c->data.val, c->data.test};
    if (!path) path = c->data.path;
    hone_error_clear();
    /* Neither IDX nor CIFAR nor split folders or archives: one set as a whole. A missing path ends up here too, and is
     * reported by the one reader that then looks for it. */
    o->unsplit =
        path && !hone_pack_looks(path) &&
        (hone_path_look(path, NULL) == HONE_PATH_FILE || (!hone_idx_looks(path) && !hone_cifar_looks(path) &&
                                                          !hone_folder_is_split(path) && !hone_shards_are_split(path)));
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        bool explicit_path = path == c->data.path && own[k];
        o->path[k] = explicit_path ? own[k] : path;
        o->whole[k] = explicit_path || (o->unsplit && k == HONE_SPLIT_TRAIN);
        if (!explicit_path && o->unsplit && k != HONE_SPLIT_TRAIN) o->path[k] = NULL;
    }
    return hone_memory_failed() ? HONE_ERR_MEMORY : HONE_OK;
}

static bool is_table(hone_format f) { return f == HONE_FORMAT_CSV || f == HONE_FORMAT_TSV || f == HONE_FORMAT_JSONL; }

/* Whether the splits lie in tables. Some in tables and some not would need two readers for one class list. */
static hone_status find_tables(const opening *o, bool *tables)
{
    int found = 0, places = 0;
    for (int k = 0; k < HONE_SPLIT_COUNT && !o->c->data.synthetic.given; k++) {
        hone_format format;
        if (!o->path[k]) continue;
        HONE_TRY(find_format(o->c, o->path[k], &format));
        places++;
        found += is_table(format);
    }
    *tables = found > 0;
    if (found && found < places)
        return hone_fail(HONE_ERR_USAGE, "give all splits as tables, or none",
                         "data.train, data.val, data.test: some are tables and some are not");
    return HONE_OK;
}

/* All splits of what the page (or `path`) names. Tables are read together: one may hold rows of several splits. */
static hone_status open_sources(opening *o, const char *path)
{
    bool tables;
    HONE_TRY(find_tables(o, &tables));
    if (tables) return hone_image_tables_open(o->c, path, o->threads, o->source, &o->unsplit);
    /* the error of the first split in order is the one reported, whichever thread met its own first */
    return hone_parallel_for(o->threads, HONE_SPLIT_COUNT, open_split, o);
}

/* Drops the references of the opening; data sets that were made keep theirs. */
static void close_sources(opening *o)
{
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) hone_source_free(o->source[k]);
}

/* A name twice would make the labels of one class another's. */
static hone_status check_class_names(const hone_source *s)
{
    /* labels are looked up in this list from here on, so it must not be empty */
    if (s->classes.count == 0)
        return hone_fail(HONE_ERR_DATA, "a data set names its classes", "%s: there are no classes",
                         hone_shown(s->name));
    /* a sorted copy brings equal names together; the list itself keeps its order, which is the labels' */
    char **sorted = malloc((size_t)s->classes.count * sizeof *sorted);
    if (!sorted) return hone_no_memory("class names", 0);
    memcpy(sorted, s->classes.item, (size_t)s->classes.count * sizeof *sorted);
    hone_names view = {sorted, s->classes.count, s->classes.count};
    hone_names_sort(&view);
    hone_status status = HONE_OK;
    for (int k = 0; status == HONE_OK && k < view.count; k++)
        if (!*sorted[k])
            status =
                hone_fail(HONE_ERR_DATA, "give each class a name", "%s: a class name is empty", hone_shown(s->name));
        else if (k && strcmp(sorted[k - 1], sorted[k]) == 0)
            status = hone_fail(HONE_ERR_DATA, "give each class a name of its own", "%s: two classes are called \"%s\"",
                               hone_shown(s->name), hone_shown(sorted[k]));
    free(sorted);
    return status;
}

/* -1: unknown. `guess` is the class's own index, right whenever the two lists are equal. */
static int find_class(const char *name, int guess, int classes, const char *const *class_name)
{
    if (guess < classes && strcmp(name, class_name[guess]) == 0) return guess; /* the usual case: equal lists */
    for (int k = 0; k < classes; k++)
        if (strcmp(name, class_name[k]) == 0) return k;
    return -1;
}

/* Where in a source an item stands: "cats/7.jpg" or "t10k-images-idx3-ubyte#5". */
static const char *item_place(const hone_source *s, int64_t item, char *text, size_t bytes)
{
    if (s->files.count) return hone_quote(s->files.item[item], text, bytes);
    snprintf(text, bytes, "%s#%lld", s->name, (long long)item);
    return text;
}

/* Labels of a source into another class list, by name. `whose` says who lacks an unknown class. */
static hone_status map_labels(hone_source *s, const char *split, int classes, const char *const *class_name,
                              const char *whose)
{
    /* one search a class, one look-up a sample */
    /* (classes of the source) -> index in class_name, -1: unknown */
    int *map = malloc((size_t)s->classes.count * sizeof *map);
    if (!map) return hone_no_memory("class names", (size_t)s->classes.count * sizeof *map);
    for (int k = 0; k < s->classes.count; k++) map[k] = find_class(s->classes.item[k], k, classes, class_name);
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < s->count; i++) {
        char place[HONE_SHOWN];
        if (map[s->label[i]] < 0)
            status =
                hone_fail(HONE_ERR_DATA, "rename the class, or leave its samples out",
                          "class \"%s\" is in %s (first: %s), but not in %s", hone_shown(s->classes.item[s->label[i]]),
                          split, item_place(s, i, place, sizeof place), whose);
        else s->label[i] = map[s->label[i]];
    }
    free(map);
    return status;
}

/* A class that a later split has and train names but has no sample of: it could never be learned. */
static hone_status check_learnable(const hone_source *train, const hone_source *s, const char *split)
{
    /* being in the list is not enough: an empty folder puts a class there */
    bool *seen = calloc((size_t)train->classes.count, sizeof *seen);
    if (!seen) return hone_no_memory("class names", 0);
    for (int64_t i = 0; i < train->count; i++) seen[train->label[i]] = true;
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < s->count; i++) {
        char place[HONE_SHOWN];
        if (!seen[s->label[i]])
            status =
                hone_fail(HONE_ERR_DATA, "add training samples of it, or leave its samples out",
                          "class \"%s\" has samples in %s (first: %s), but none in train",
                          hone_shown(train->classes.item[s->label[i]]), split, item_place(s, i, place, sizeof place));
    }
    free(seen);
    return status;
}

/* Size and channels: of the spec, else of the source's pixels, else of the first file that decodes. */
static hone_status find_shape(const hone_source *s, const hone_image_spec *spec, hone_on_error on_error,
                              hone_image_spec *out)
{
    *out = *spec;
    hone_image first = {.height = s->height, .width = s->width, .channels = s->channels};
    /* With skip, broken files at the start of the list are passed over; they are named when loaded. */
    bool known = s->raw || (spec->height > 0 && spec->width > 0 && spec->channels > 0);
    for (int i = 0; !known && i < s->files.count; i++) {
        hone_status status = hone_source_picture(s, i, &first);
        if (status != HONE_OK && (on_error == HONE_ON_ERROR_STOP || i + 1 == s->files.count)) return status;
        known = status == HONE_OK;
        free(first.pixels);
        first.pixels = NULL;
    }
    if (out->height <= 0) out->height = first.height;
    if (out->width <= 0) out->width = first.width;
    if (out->channels <= 0) out->channels = first.channels;
    return HONE_OK;
}

/* Resizing what was resized before would give other pixels than `hone predict` sees. */
static hone_status check_packed(const hone_source *s, const hone_image_spec *shape)
{
    if (!s || !s->packed || memcmp(shape, &HONE_IMAGE_SPEC_NONE, sizeof *shape) == 0) return HONE_OK;
    bool same = s->height == shape->height && s->width == shape->width && s->channels == shape->channels;
    char hint[160];
    snprintf(hint, sizeof hint, "image: {size: [%d, %d], channels: %d, resize: %s}, or pack the pictures anew",
             s->height, s->width, s->channels, hone_resize_name(s->resize));
    if (same && s->resize == shape->resize) return HONE_OK;
    return hone_fail(HONE_ERR_DATA, hint,
                     "%s: holds pictures of %d x %d with %d channels, %s; wanted are %d x %d with %d, %s",
                     hone_shown(s->name), s->width, s->height, s->channels, hone_resize_name(s->resize), shape->width,
                     shape->height, shape->channels, hone_resize_name(shape->resize));
}

/* All splits of an experiment come out in one shape and follow one rule for broken files. */
static void configure(hone_dataset *d, const opening *o, const hone_image_spec *shape)
{
    if (!d) return;
    d->height = shape->height;
    d->width = shape->width;
    d->channels = shape->channels;
    d->resize = shape->resize;
    d->on_error = o->c->data.on_error;
    d->threads = o->threads;
    /* 0: half of what is free when the set is loaded */
    d->memory_limit_bytes = o->c->data.memory_limit_mb << 20;
}

/* Train, and the validation split cut from it; *val stays NULL where the fraction takes nothing. */
static hone_status cut_val(const opening *o, hone_dataset **train, hone_dataset **val)
{
    hone_source *s = o->source[HONE_SPLIT_TRAIN];
    /* the draws are keyed by the position in the source: the same for train, for eval, and on resume */
    /* (samples): which of them validate */
    bool *in_val = malloc((size_t)s->count);
    int64_t count = 0;
    if (!in_val) return hone_no_memory("the validation split", (size_t)s->count);
    hone_status status = hone_split_stratified(s->label, s->count, s->classes.count, o->c->data.val_fraction,
                                               (uint64_t)o->c->train.seed, in_val, &count);
    if (status == HONE_OK && train) status = hone_dataset_new(s, count ? in_val : NULL, false, train);
    if (status == HONE_OK && val && count) status = hone_dataset_new(s, in_val, true, val);
    free(in_val);
    return status;
}

/* Things that are legal but seldom meant; the trainer prints each once. */
static hone_status take_notes(const opening *o, hone_data *d)
{
    hone_names notes = {0};
    hone_status s = HONE_OK;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        for (int i = 0; s == HONE_OK && o->source[k] && i < o->source[k]->notes.count; i++)
            s = hone_names_add(&notes, o->source[k]->notes.item[i]);
    if (s == HONE_OK) s = hone_data_note_class_twins(d, &notes);
    if (s == HONE_OK) s = hone_data_note_one_label(d, &notes);
    if (s == HONE_OK && !d->val && !o->c->data.synthetic.given && o->c->data.val_fraction > 0) /* 0 was meant */
        s = hone_names_add(&notes,
                           "no validation split: the data has none, and data.val_fraction takes nothing from train");
    d->note = notes.item;
    d->note_count = notes.count;
    return s;
}

/* The class list outlives the sources: the model keeps it. `classes` is set first, so that
 * hone_data_free releases a half-made list. */
static hone_status copy_classes(const hone_source *train, hone_data *d)
{
    d->class_name = calloc((size_t)train->classes.count, sizeof *d->class_name);
    if (!d->class_name) return hone_no_memory("class names", 0);
    d->classes = train->classes.count;
    for (int k = 0; k < d->classes; k++)
        if (!(d->class_name[k] = hone_strdup(train->classes.item[k]))) return hone_no_memory("class names", 0);
    return HONE_OK;
}

/* After this every label of val and test is an index into train's list, and was seen in train. */
static hone_status map_splits(opening *o)
{
    hone_source *train = o->source[HONE_SPLIT_TRAIN];
    HONE_TRY(check_class_names(train));
    for (int k = HONE_SPLIT_VAL; k < HONE_SPLIT_COUNT; k++) {
        if (!o->source[k]) continue;
        HONE_TRY(map_labels(o->source[k], hone_split_name((hone_split)k), train->classes.count,
                            (const char *const *)train->classes.item, "train"));
        HONE_TRY(check_learnable(train, o->source[k], hone_split_name((hone_split)k)));
    }
    return HONE_OK;
}

/* The hash of a missing split is 0: adding a test split changes the fingerprint, and should. */
static uint64_t fingerprint_of(const opening *o)
{
    uint64_t h[HONE_SPLIT_COUNT] = {0};
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) h[k] = o->source[k] ? o->source[k]->hash : 0;
    return XXH3_64bits(h, sizeof h);
}

/* Order matters: labels are mapped before views are made, because views copy them. */
static hone_status build_data(opening *o, const hone_image_spec *spec, hone_data *d)
{
    if (!o->source[HONE_SPLIT_TRAIN])
        return hone_fail(HONE_ERR_DATA, "name it with data.train", "%s: no training split",
                         o->path[0] ? hone_shown(o->path[0]) : "data");
    HONE_TRY(map_splits(o));
    HONE_TRY(copy_classes(o->source[HONE_SPLIT_TRAIN], d));
    hone_image_spec shape;
    HONE_TRY(find_shape(o->source[HONE_SPLIT_TRAIN], spec, o->c->data.on_error, &shape));
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) HONE_TRY(check_packed(o->source[k], &shape));
    d->height = shape.height;
    d->width = shape.width;
    d->channels = shape.channels;
    d->fingerprint = fingerprint_of(o);
    if (o->source[HONE_SPLIT_VAL]) {
        HONE_TRY(hone_dataset_new(o->source[HONE_SPLIT_TRAIN], NULL, false, &d->train));
        HONE_TRY(hone_dataset_new(o->source[HONE_SPLIT_VAL], NULL, false, &d->val));
    } else {
        HONE_TRY(cut_val(o, &d->train, &d->val));
    }
    if (o->source[HONE_SPLIT_TEST]) HONE_TRY(hone_dataset_new(o->source[HONE_SPLIT_TEST], NULL, false, &d->test));
    configure(d->train, o, &shape);
    configure(d->val, o, &shape);
    configure(d->test, o, &shape);
    return take_notes(o, d);
}

/* Each step leaves `d` in a state that hone_data_free can take. */
hone_status hone_data_open(const hone_config *c, const hone_image_spec *spec, hone_data **out)
{
    *out = NULL;
    if (c->task == HONE_TASK_TEXT) return hone_text_data_open(c, out);
    if (!c->data.synthetic.given && !c->data.path && !c->data.train)
        return hone_fail(HONE_ERR_USAGE, "for example data: {path: datasets/fashion-mnist}", "data.path: not given");
    opening o = {.c = c, .threads = c->data.decode_threads > 0 ? c->data.decode_threads : hone_cpu_count()};
    HONE_TRY(find_places(&o, NULL));
    hone_data *d = calloc(1, sizeof *d);
    if (!d) return hone_no_memory("a data set", sizeof *d);
    hone_status s = open_sources(&o, NULL);
    if (s == HONE_OK) s = build_data(&o, spec, d);
    close_sources(&o); /* the data sets hold their own references */
    /* here and not in the trainer, so that plan and train say the same */
    if (s == HONE_OK && c->data.check == HONE_CHECK_STRICT) s = hone_data_check_strict(d, 0, o.threads);
    if (s != HONE_OK) {
        hone_data_free(d);
        return s;
    }
    *out = d;
    return HONE_OK;
}

/* "val" and its spellings; COUNT for NULL (the best there is). */
hone_status hone_split_of_name(const char *name, hone_split *out)
{
    *out = HONE_SPLIT_COUNT;
    if (!name) return HONE_OK;
    if (strcmp(name, "valid") == 0 || strcmp(name, "validation") == 0) name = "val";
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        if (strcmp(name, hone_split_name((hone_split)k)) == 0) *out = (hone_split)k;
    if (*out == HONE_SPLIT_COUNT)
        return hone_fail(HONE_ERR_USAGE, "train, val or test", "no split is called \"%s\"", hone_shown(name));
    return HONE_OK;
}

/* Evaluating another split than the one asked for would be a wrong number with a right name. */
hone_status hone_split_missing(const bool have[HONE_SPLIT_COUNT], hone_split wanted)
{
    hone_text t = {0};
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        if (have[k]) hone_text_add(&t, "%s%s", t.bytes ? ", " : "", hone_split_name((hone_split)k));
    char *list = hone_text_take(&t);
    hone_status s =
        hone_fail(HONE_ERR_DATA, "choose one that is there with --split", "the data has no %s split (it has: %s)",
                  hone_split_name(wanted), list && *list ? list : "none");
    free(list);
    return s;
}

/* The wanted view; train and val are those of training, so a cut validation split is cut here too. */
static hone_status choose_split(const opening *o, hone_split wanted, hone_dataset **out)
{
    hone_source *const *s = o->source;
    /* no wish: what measures generalisation best, test before val */
    if (wanted == HONE_SPLIT_COUNT)
        wanted = s[HONE_SPLIT_TEST]  ? HONE_SPLIT_TEST
                 : s[HONE_SPLIT_VAL] ? HONE_SPLIT_VAL
                 : o->unsplit        ? HONE_SPLIT_TRAIN
                                     : HONE_SPLIT_VAL;
    else if (!o->unsplit && !s[HONE_SPLIT_VAL] && s[HONE_SPLIT_TRAIN] && wanted == HONE_SPLIT_TRAIN)
        return cut_val(o, out, NULL);
    /* a set without splits is evaluated whole as "test"; its val is the cut of training */
    hone_source *whole = s[wanted] ? s[wanted] : o->unsplit && wanted == HONE_SPLIT_TEST ? s[HONE_SPLIT_TRAIN] : NULL;
    if (whole) return hone_dataset_new(whole, NULL, false, out);
    if (wanted == HONE_SPLIT_VAL && s[HONE_SPLIT_TRAIN]) HONE_TRY(cut_val(o, NULL, out));
    if (*out) return HONE_OK;
    bool have[HONE_SPLIT_COUNT] = {s[0] != NULL, s[1] != NULL, s[2] != NULL};
    return hone_split_missing(have, wanted);
}

/* Labels by name into the model's list, samples in its shape. */
static hone_status fit_to_model(const opening *o, hone_dataset *d, const hone_preprocess *pre, int classes,
                                const char *const *class_name)
{
    HONE_TRY(check_class_names(d->source));
    HONE_TRY(map_labels(d->source, "the data", classes, class_name, "the model"));
    /* the view was made before the mapping, so its labels are taken anew */
    for (int64_t i = 0; i < d->count; i++) d->label[i] = d->source->label[d->item[i]];
    const hone_image_spec shape = {pre->height, pre->width, pre->channels, pre->resize};
    configure(d, o, &shape);
    return check_packed(d->source, &shape);
}

/* The set of the config (path NULL: same splits as in training) or any other. Opens all splits of it,
 * because whether val is cut from train depends on what else is there. */
hone_status hone_data_open_eval(const char *path, const char *split, const hone_config *c, const hone_preprocess *pre,
                                int classes, const char *const *class_name, hone_dataset **out)
{
    hone_split wanted;
    *out = NULL;
    if (c->task == HONE_TASK_TEXT) return hone_text_data_open_eval(path, split, c, classes, class_name, out);
    HONE_TRY(hone_split_of_name(split, &wanted));
    hone_config other = *c; /* a set that was named by hand: only how to read it comes from the config */
    if (path) {
        other.data.synthetic.given = false;
        other.data.format = HONE_FORMAT_AUTO;
        other.data.path = other.data.train = other.data.val = other.data.test = NULL;
    }
    opening o = {.c = &other, .threads = c->data.decode_threads > 0 ? c->data.decode_threads : hone_cpu_count()};
    HONE_TRY(find_places(&o, path));
    hone_status s = open_sources(&o, path);
    hone_dataset *d = NULL;
    if (s == HONE_OK) s = choose_split(&o, wanted, &d);
    if (s == HONE_OK && d) s = fit_to_model(&o, d, pre, classes, class_name);
    close_sources(&o);
    if (s != HONE_OK) {
        hone_dataset_free(d);
        return s;
    }
    *out = d;
    return HONE_OK;
}
