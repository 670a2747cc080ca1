/* image_folder.c - folders of images: ROOT/{train,val,test}/CLASS/FILE, or ROOT/CLASS/FILE.
 *
 * Classes are the names of the sub-folders, sorted by bytes (torchvision's ImageFolder does the
 * same, so class numbers agree). Files are sorted within their class, so a sample's id is the same on
 * every machine. Nothing is decoded here: suffixes choose the files, and what a file really is shows
 * when it is decoded, under data.on_error.
 *
 * Names may be any bytes. Links are followed, but only regular files are opened: FIFOs, devices and
 * dangling links are left out and noted, as are files with other endings. Folders inside a class
 * folder are not searched. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/text.h"
#include "data/source_hash.h"

static const char *const split_folder[HONE_SPLIT_COUNT][3] = {
    {"train", NULL}, {"val", "valid", "validation"}, {"test", NULL}};

/* Case doesn't count: cameras write .JPG. */
static bool has_image_suffix(const char *name)
{
    static const char *const suffix[] = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"};
    const char *dot = strrchr(name, '.');
    for (size_t k = 0; dot && k < sizeof suffix / sizeof *suffix; k++)
        if (strcasecmp(dot, suffix[k]) == 0) return true;
    return false;
}

/* Does a folder hold at least one sub-folder? (A class called "test" holds images instead.) */
static bool holds_folders(const char *path)
{
    hone_names names = {0};
    bool found = false;
    if (hone_folder_list(path, &names) == HONE_OK)
        for (int k = 0; !found && k < names.count; k++) {
            char *sub = hone_path_join(path, names.item[k]);
            found = sub && hone_path_look(sub, NULL) == HONE_PATH_FOLDER;
            free(sub);
        }
    hone_names_free(&names);
    return found;
}

/* ROOT/train for TRAIN and so on, as a name below ROOT; NULL if there is none. Two of them: DATA. */
static hone_status find_split(const char *root, hone_split split, const char **name)
{
    *name = NULL;
    for (int k = 0; k < 3 && split_folder[split][k]; k++) {
        char *path = hone_path_join(root, split_folder[split][k]);
        if (!path) return hone_no_memory("a path", 0);
        bool there = hone_path_look(path, NULL) == HONE_PATH_FOLDER && holds_folders(path);
        free(path);
        if (there && *name)
            return hone_fail(HONE_ERR_DATA, "remove one, or name the one you mean with data.val",
                             "%s: both %s/ and %s/ are there", hone_shown(root), *name, split_folder[split][k]);
        if (there) *name = split_folder[split][k];
    }
    return HONE_OK;
}

/* An ambiguous folder (val/ and valid/) counts as split, so that opening it reports the ambiguity. */
bool hone_folder_is_split(const char *path)
{
    const char *name = NULL;
    for (int split = 0; split < HONE_SPLIT_COUNT; split++)
        if (find_split(path, (hone_split)split, &name) != HONE_OK || name) return true;
    return false;
}

/* Whether images lie in the sub-folders shows when they are listed. */
bool hone_folder_looks(const char *path)
{
    return hone_path_look(path, NULL) == HONE_PATH_FOLDER && holds_folders(path);
}

/* What was met on the way through a source. */
typedef struct scan {
    hone_source *source;
    int64_t capacity;
    int64_t odd; /* entries left out                                                        */
    char first_odd[HONE_SHOWN];
    hone_source_hash hash;
} scan;

/* Doubling growth: a million labels cost twenty reallocations. */
static hone_status add_label(scan *s, int label)
{
    hone_source *d = s->source;
    if (d->count == s->capacity) {
        int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        int32_t *grown = realloc(d->label, (size_t)capacity * sizeof *grown);
        if (!grown) return hone_no_memory("labels", (size_t)capacity * sizeof *grown);
        d->label = grown;
        s->capacity = capacity;
    }
    d->label[d->count++] = label;
    return HONE_OK;
}

/* One entry of a class folder; `below` is its name below the root. */
static hone_status add_entry(scan *s, const char *below, int label)
{
    char *path = hone_path_join(s->source->root, below);
    if (!path) return hone_no_memory("a path", 0);
    int64_t bytes;
    hone_path_kind kind = hone_path_look(path, &bytes);
    free(path);
    if (kind != HONE_PATH_FILE || !has_image_suffix(below)) {
        if (s->odd++ == 0) hone_quote(below, s->first_odd, sizeof s->first_odd);
        return HONE_OK;
    }
    hone_source_hash_file(&s->hash, below, bytes);
    HONE_TRY(hone_names_add(&s->source->files, below));
    return add_label(s, label);
}

/* All images of one class; `prefix` is "" or "train/". */
static hone_status scan_class(scan *s, const char *prefix, int label)
{
    const char *class_name = s->source->classes.item[label];
    /* an empty class is noted, not refused: the class list belongs to the user */
    hone_names entries = {0};
    hone_text folder = {0};
    hone_text_add(&folder, "%s/%s%s", s->source->root, prefix, class_name);
    hone_status status = folder.failed ? hone_no_memory("a path", 0) : hone_folder_list(folder.data, &entries);
    int64_t before = s->source->count;
    for (int k = 0; status == HONE_OK && k < entries.count; k++) {
        hone_text below = {0};
        hone_text_add(&below, "%s%s/%s", prefix, class_name, entries.item[k]);
        status = below.failed ? hone_no_memory("a path", 0) : add_entry(s, below.data, label);
        hone_text_free(&below);
    }
    if (status == HONE_OK && s->source->count == before)
        status = hone_names_addf(&s->source->notes, "class \"%s\" has no images in %s", hone_shown(class_name),
                                 hone_shown(s->source->name));
    hone_names_free(&entries);
    hone_text_free(&folder);
    return status;
}

/* Sub-folders of root/prefix become the class list. */
static hone_status list_classes(hone_source *d, const char *prefix)
{
    hone_names entries = {0};
    char *folder = hone_path_join(d->root, prefix);
    hone_status status = folder ? hone_folder_list(folder, &entries) : hone_no_memory("a path", 0);
    for (int k = 0; status == HONE_OK && k < entries.count; k++) {
        char *path = hone_path_join(folder, entries.item[k]);
        if (!path) status = hone_no_memory("a path", 0);
        else if (hone_path_look(path, NULL) == HONE_PATH_FOLDER) status = hone_names_add(&d->classes, entries.item[k]);
        free(path);
    }
    if (status == HONE_OK && d->classes.count == 0)
        status = hone_fail(HONE_ERR_DATA, "wanted: one folder a class, with its images inside", "%s: no class folders",
                           hone_shown(folder));
    hone_names_free(&entries);
    free(folder);
    return status;
}

/* Classes first, then their files class by class, so that sample ids are sorted by (class, name). */
static hone_status build(scan *s, const char *prefix, int threads)
{
    hone_source *d = s->source;
    HONE_TRY(hone_source_hash_begin(&s->hash));
    HONE_TRY(list_classes(d, prefix));
    for (int k = 0; k < d->classes.count; k++) HONE_TRY(scan_class(s, prefix, k));
    if (d->count == 0)
        return hone_fail(HONE_ERR_DATA, "images end in .jpg, .jpeg, .png, .bmp, .ppm or .pgm",
                         "%s: %d class folders, but no images in them", hone_shown(d->name), d->classes.count);
    if (s->odd)
        HONE_TRY(hone_names_addf(&d->notes, "%s: left out %lld entries that are no image files (first: %s)",
                                 hone_shown(d->name), (long long)s->odd, s->first_odd));
    return hone_source_hash_end(&s->hash, d, threads);
}

/* ROOT/train, ROOT/val, ROOT/test where any of them holds class folders; else ROOT is one set, which is
 * train. `whole`: ROOT/CLASS/FILE without looking for splits. */
hone_status hone_folder_open(const char *path, hone_split split, bool whole, int threads, hone_source **out)
{
    const char *sub = NULL;
    char prefix[16] = "";
    *out = NULL;
    /* without splits all of it is train, and val is cut from it */
    hone_error_clear();
    bool has_splits = !whole && hone_folder_is_split(path);
    if (hone_memory_failed()) return HONE_ERR_MEMORY;
    if (has_splits) HONE_TRY(find_split(path, split, &sub));
    if (hone_memory_failed()) return HONE_ERR_MEMORY; /* a look within found no folder for want of memory */
    if (has_splits ? !sub : !whole && split != HONE_SPLIT_TRAIN) return HONE_OK;
    if (sub) snprintf(prefix, sizeof prefix, "%s/", sub);
    scan *s = calloc(1, sizeof *s);
    if (!s) return hone_no_memory("a data set", sizeof *s);
    s->source = hone_source_new(path);
    hone_status status = s->source && (s->source->root = hone_strdup(path)) ? HONE_OK : hone_no_memory("a data set", 0);
    if (status == HONE_OK) status = build(s, prefix, threads);
    if (status == HONE_OK) *out = s->source;
    else hone_source_free(s->source);
    hone_source_hash_free(&s->hash);
    free(s);
    return status;
}
