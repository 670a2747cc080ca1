/* cifar.c - the binary versions of CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of
 * features from tiny images", 2009).
 *
 * A file is records of 1 label byte (CIFAR-100: coarse, then fine) and 3072 pixel bytes, planar RGB,
 * 32 x 32. Which of the two it is follows from the file names: data_batch_N.bin and test_batch.bin,
 * or train.bin and test.bin. Sizes must be whole records, labels below the number of classes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/source.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, BATCHES_MAX = 99 };

typedef struct layout {
    const char *names; /* file of the class names                                             */
    const char *test;  /* the one file of the test split                                      */
    int label_bytes, classes;
} layout;

static const layout cifar10 = {"batches.meta.txt", "test_batch.bin", 1, 10};
static const layout cifar100 = {"fine_label_names.txt", "test.bin", 2, 100};

/* A regular file of that name in the folder. */
/* Memory failure reads as "not there": the caller then says that no such data set was found. */
static bool has(const char *folder, const char *name)
{
    char *path = hone_path_join(folder, name);
    bool there = path && hone_path_look(path, NULL) == HONE_PATH_FILE;
    free(path);
    return there;
}

/* Which of the two it is, from the names of its files; NULL: neither. One file of the set is enough,
 * so that a test split alone can be evaluated. */
static const layout *layout_of(const char *folder)
{
    if (has(folder, "data_batch_1.bin") || has(folder, cifar10.test)) return &cifar10;
    if (has(folder, "train.bin") || has(folder, cifar100.test)) return &cifar100;
    return NULL;
}

/* Record sizes are checked when the files are opened, where a wrong one can be named. */
bool hone_cifar_looks(const char *path)
{
    return hone_path_look(path, NULL) == HONE_PATH_FOLDER && layout_of(path) != NULL;
}

/* N of "data_batch_N.bin"; 0 for every other name, such as one with a zero in front. */
static int batch_number(const char *name)
{
    int n = 0, k = 0;
    static const char front[] = "data_batch_";
    if (strncmp(name, front, sizeof front - 1) != 0) return 0;
    const char *digit = name + sizeof front - 1;
    for (; k < 2 && digit[k] >= (k ? '0' : '1') && digit[k] <= '9'; k++) n = 10 * n + digit[k] - '0';
    return strcmp(digit + k, ".bin") == 0 ? n : 0;
}

/* The training batches of CIFAR-10. One look into the folder instead of 99 questions whether a batch is there, each of
 * which is a journey on a network disk. */
static hone_status list_batches(const char *folder, hone_names *out)
{
    bool there[BATCHES_MAX + 1] = {false};
    hone_names all = {0};
    hone_status status = hone_folder_list(folder, &all);
    for (int k = 0; status == HONE_OK && k < all.count; k++) there[batch_number(all.item[k])] = true;
    hone_names_free(&all);
    there[0] = false; /* where every other name went */
    char name[32];
    int last = 0; /* batches count from 1 without a gap; subsets of the first few are fine */
    for (int k = 1; status == HONE_OK && k <= BATCHES_MAX; k++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", k);
        if (!there[k] || !has(folder, name)) continue;
        if (k != last + 1) /* training on four fifths of the data without a word would be a lie */
            return hone_fail(HONE_ERR_DATA, "fetch the missing file",
                             "%s: data_batch_%d.bin is missing, but %s is there", hone_shown(folder), last + 1, name);
        status = hone_names_addf(out, "%s/%s", folder, name);
        last = k;
    }
    return status;
}

/* Paths of the files that make up a split, in their order. */
static hone_status list_files(const char *folder, const layout *l, hone_split split, hone_names *out)
{
    if (split == HONE_SPLIT_TEST && has(folder, l->test)) return hone_names_addf(out, "%s/%s", folder, l->test);
    if (split == HONE_SPLIT_TRAIN && l == &cifar100 && has(folder, "train.bin"))
        return hone_names_addf(out, "%s/train.bin", folder);
    return split == HONE_SPLIT_TRAIN && l == &cifar10 ? list_batches(folder, out) : HONE_OK;
}

/* The list of names is optional: without it classes are "0", "1", ... A list of another length belongs
 * to other data, and guessing which names are meant would mislabel everything. */
static hone_status read_names(hone_source *s, const char *folder, const layout *l)
{
    if (!has(folder, l->names)) return hone_source_number_classes(s, l->classes);
    char *path = hone_path_join(folder, l->names);
    if (!path) return hone_no_memory("a path", 0);
    hone_status status = hone_lines_read(path, &s->classes);
    if (status == HONE_OK && s->classes.count != l->classes)
        status = hone_fail(HONE_ERR_DATA, "fetch the file again", "%s: %d class names, %d are wanted", hone_shown(path),
                           s->classes.count, l->classes);
    free(path);
    return status;
}

/* Total number of records; each file must be whole records. */
static hone_status count_records(const hone_names *files, const layout *l, int64_t *count)
{
    int64_t record = PIXELS + l->label_bytes, bytes;
    *count = 0;
    for (int k = 0; k < files->count; k++) {
        hone_path_look(files->item[k], &bytes);
        if (bytes == 0 || bytes % record)
            return hone_fail(HONE_ERR_DATA, "fetch the file again",
                             "%s: %lld bytes is not a whole number of records of %lld bytes (cut?)",
                             hone_shown(files->item[k]), (long long)bytes, (long long)record);
        *count += bytes / record;
    }
    return HONE_OK;
}

/* Records of one file -> pixels (count, 32, 32, 3) and labels, from sample `at` on. */
static hone_status read_records(hone_source *s, const char *path, const layout *l, int64_t *at)
{
    uint8_t *data;
    size_t bytes, record = PIXELS + (size_t)l->label_bytes;
    HONE_TRY(hone_bytes_read(path, (size_t)1 << 40, &data, &bytes));
    hone_status status = HONE_OK;
    if (bytes % record || *at + (int64_t)(bytes / record) > s->count)
        status = hone_fail(HONE_ERR_DATA, "leave the data alone while it is read", "%s: its size has changed",
                           hone_shown(path));
    for (size_t r = 0; status == HONE_OK && r < bytes / record; r++, (*at)++) {
        const uint8_t *from = data + r * record;
        int label = from[l->label_bytes - 1];
        if (label >= l->classes)
            status = hone_fail(HONE_ERR_DATA, "fetch the file again", "%s#%zu: label %d is out of range (%d classes)",
                               hone_shown(path), r, label, l->classes);
        uint8_t *to = s->raw + (size_t)*at * PIXELS;
        from += l->label_bytes;
        for (int i = 0; i < PLANE; i++, to += 3) { /* planes to interleaved */
            to[0] = from[i];
            to[1] = from[PLANE + i];
            to[2] = from[2 * PLANE + i];
        }
        s->label[*at] = label;
    }
    free(data);
    return status;
}

/* One allocation for the whole split, then file by file; `at` must end at the count that the sizes
 * promised, or a file changed between the two looks. */
static hone_status build(hone_source *s, const char *folder, const layout *l, const hone_names *files)
{
    HONE_TRY(count_records(files, l, &s->count));
    s->height = s->width = SIDE;
    s->channels = 3;
    s->label = malloc((size_t)s->count * sizeof *s->label);
    s->raw = malloc((size_t)s->count * PIXELS);
    if (!s->label || !s->raw) return hone_no_memory("CIFAR images", (size_t)s->count * PIXELS);
    int64_t at = 0;
    for (int k = 0; k < files->count; k++) HONE_TRY(read_records(s, files->item[k], l, &at));
    if (at != s->count)
        return hone_fail(HONE_ERR_DATA, "leave the data alone while it is read", "%s: sizes have changed",
                         hone_shown(folder));
    HONE_TRY(read_names(s, folder, l));
    hone_source_hash_raw(s);
    return HONE_OK;
}

/* A folder without any CIFAR file is an error; one without this split gives NULL. CIFAR has no
 * validation split of its own, so VAL is found only by an explicit path. */
hone_status hone_cifar_open(const char *path, hone_split split, bool whole, hone_source **out)
{
    *out = NULL;
    if (hone_path_look(path, NULL) != HONE_PATH_FOLDER)
        return hone_fail(HONE_ERR_DATA, "give the folder that holds the .bin files", "%s: not a folder of CIFAR files",
                         hone_shown(path));
    const layout *l = layout_of(path);
    if (!l)
        return hone_fail(HONE_ERR_DATA, "wanted: data_batch_1.bin and test_batch.bin, or train.bin and test.bin",
                         "%s: no CIFAR files", hone_shown(path));
    hone_names files = {0};
    hone_status status = list_files(path, l, split, &files);
    for (int k = 0; status == HONE_OK && whole && files.count == 0 && k < HONE_SPLIT_COUNT; k++)
        status = list_files(path, l, (hone_split)k, &files); /* data.test: FOLDER, whatever its files are called */
    hone_source *s = NULL;
    if (status == HONE_OK && files.count) {
        s = hone_source_new(hone_path_base(files.count == 1 ? files.item[0] : path));
        status = s ? build(s, path, l, &files) : hone_no_memory("a data set", 0);
    }
    hone_names_free(&files);
    if (status != HONE_OK) {
        hone_source_free(s);
        return status;
    }
    *out = s;
    return HONE_OK;
}
