/* shard_list.c - see shard_list.h: archives by name, folder and pattern. No archive is opened here. */
#include "data/shard_list.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/shards.h"

/* Case counts, and something must stand before the ending. */
static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* By name alone: what a file holds shows when it is listed. */
bool hone_is_tar_name(const char *name) { return ends_with(name, ".tar"); }

/* Archives that would have to be unpacked to be read by place. */
static bool is_packed(const char *name)
{
    return ends_with(name, ".tar.gz") || ends_with(name, ".tgz") || ends_with(name, ".tar.xz") ||
           ends_with(name, ".tar.zst") || ends_with(name, ".tar.bz2");
}

/* A name with a wildcard or a range that is no file itself. */
static bool is_pattern(const char *path)
{
    /* a file that really is called a{b}.tar is that file */
    return strpbrk(path, "*?{") && hone_is_tar_name(path) && hone_path_look(path, NULL) == HONE_PATH_MISSING;
}

/* "train-0001.tar" is train; COUNT: the name does not say. A letter behind the word makes it another word. */
static hone_split split_of(const char *name)
{
    static const struct {
        const char *word;
        hone_split split;
    } known[] = {{"train", HONE_SPLIT_TRAIN}, {"training", HONE_SPLIT_TRAIN}, {"val", HONE_SPLIT_VAL},
                 {"valid", HONE_SPLIT_VAL},   {"validation", HONE_SPLIT_VAL}, {"test", HONE_SPLIT_TEST}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        /* "training" also begins with "train", but goes on with a letter there */
        size_t n = strlen(known[k].word);
        if (strncmp(name, known[k].word, n) == 0 && !isalpha((unsigned char)name[n])) return known[k].split;
    }
    return HONE_SPLIT_COUNT;
}

/* Archives of a folder by their paths; no folder, no archives. */
static hone_status list_folder(const char *folder, hone_names *out)
{
    hone_names names = {0};
    /* train/ without val/ is a data set, so a folder that is not there is no error */
    if (hone_path_look(folder, NULL) != HONE_PATH_FOLDER) return HONE_OK;
    hone_status s = hone_folder_list(folder, &names);
    for (int k = 0; s == HONE_OK && k < names.count; k++) {
        char *path = hone_path_join(folder, names.item[k]);
        if (!path) s = hone_no_memory("a path", 0);
        else if (is_packed(path))
            s = hone_fail(HONE_ERR_DATA, "unpack it (gunzip keeps the .tar): pictures are read by their place",
                          "%s: a packed archive", hone_shown(path));
        else if (hone_is_tar_name(path)) s = hone_names_add(out, path);
        free(path);
    }
    hone_names_free(&names);
    return s;
}

/* The archives in train/, val/, test/ below a folder; val has three spellings. */
static hone_status list_below(const char *path, hone_split split, hone_names *out)
{
    static const char *const folder[] = {"train", "val", "valid", "validation", "test"};
    for (size_t k = 0; k < sizeof folder / sizeof *folder; k++) {
        if (split_of(folder[k]) != split) continue;
        /* val/ beside valid/: both are read, as both say the same split */
        char *below = hone_path_join(path, folder[k]);
        hone_status s = below ? list_folder(below, out) : hone_no_memory("a path", 0);
        free(below);
        HONE_TRY(s);
    }
    return HONE_OK;
}

/* What a look needs: is there an archive, does a name say its split. Failures read as no. */
static void look_into(const char *path, bool *archives, bool *splits)
{
    hone_names names = {0};
    *archives = *splits = false;
    if (hone_path_look(path, NULL) == HONE_PATH_FOLDER && hone_folder_list(path, &names) == HONE_OK)
        for (int k = 0; k < names.count; k++) {
            bool tar = hone_is_tar_name(names.item[k]);
            *archives |= tar || is_packed(names.item[k]);
            *splits |= tar && split_of(names.item[k]) != HONE_SPLIT_COUNT;
        }
    hone_names_free(&names);
    /* archives beside each other go before those in folders */
    for (int k = 0; !*archives && k < HONE_SPLIT_COUNT; k++) {
        hone_names below = {0};
        if (list_below(path, (hone_split)k, &below) == HONE_OK && below.count) *archives = *splits = true;
        hone_names_free(&below);
    }
}

/* A pattern that matches nothing counts too, so that its own error is told. */
bool hone_shards_looks(const char *path)
{
    bool archives, splits;
    if (is_pattern(path)) return true;
    if (hone_path_look(path, NULL) == HONE_PATH_FILE) return hone_is_tar_name(path) || is_packed(path);
    look_into(path, &archives, &splits);
    return archives;
}

/* Sub-folders say it as well as names do. */
bool hone_shards_are_split(const char *path)
{
    bool archives, splits;
    look_into(path, &archives, &splits);
    return splits;
}

/* "a-{008..011}.tar" as a-008.tar ... a-011.tar: every one must be there, which a wildcard can't say. */
static hone_status expand_range(const char *path, hone_names *out)
{
    static const char hint[] = "for example train-{000..127}.tar";
    const char *open = strchr(path, '{'), *dots = strstr(open, ".."), *close = strchr(open, '}');
    if (!dots || !close || dots > close || strpbrk(close + 1, "{*?") || strpbrk(path, "*?") || dots == open + 1)
        return hone_fail(HONE_ERR_DATA, hint, "%s: a pattern has one range or wildcards", hone_shown(path));
    /* digits only: strtoll would take signs and blanks */
    char *end;
    long long first = strtoll(open + 1, &end, 10), last = 0;
    bool ok = isdigit((unsigned char)open[1]) && end == dots && isdigit((unsigned char)dots[2]);
    if (ok) last = strtoll(dots + 2, &end, 10);
    if (!ok || end != close || last < first || last - first >= 1000000)
        return hone_fail(HONE_ERR_DATA, hint, "%s: a range is two numbers, the smaller first", hone_shown(path));
    /* a range without zeros has the width of its first number, which pads nothing */
    int width = (int)(dots - open - 1); /* of the first number: 008 keeps its zeros */
                                        /* a range that is not whole is a download that was not finished */
    for (long long k = first; k <= last; k++) {
        HONE_TRY(hone_names_addf(out, "%.*s%0*lld%s", (int)(open - path), path, width, k, close + 1));
        const char *name = out->item[out->count - 1];
        if (hone_path_look(name, NULL) != HONE_PATH_FILE)
            return hone_fail(HONE_ERR_DATA, "fetch it, or name the range that is there", "%s: no such file (of %s)",
                             hone_shown(name), hone_shown(path));
    }
    return HONE_OK;
}

/* To paths, in the order of their numbers, or as the file system has them for wildcards. */
static hone_status expand(const char *path, hone_names *out)
{
    glob_t g;
    if (strchr(path, '{')) return expand_range(path, out);
    int code = glob(path, 0, NULL, &g); /* sorted, but by locale: sorted again by the caller */
    hone_status s = code == 0              ? HONE_OK
                    : code == GLOB_NOSPACE ? hone_no_memory("a list of names", 0)
                                           : hone_fail(HONE_ERR_DATA, "check the pattern; quote it in a shell",
                                                       "%s: no such files", hone_shown(path));
    for (size_t k = 0; s == HONE_OK && k < g.gl_pathc; k++) s = hone_names_add(out, g.gl_pathv[k]);
    if (code == 0) globfree(&g);
    return s;
}

/* Archives beside each other, of which some or all say their split. */
static hone_status keep_split(const char *path, hone_split split, hone_names *all, hone_names *out)
{
    hone_status s = HONE_OK;
    for (int k = 0; s == HONE_OK && k < all->count; k++) {
        hone_split own = split_of(hone_path_base(all->item[k]));
        /* leaving it out would train on fewer pictures than the user thinks */
        if (own == HONE_SPLIT_COUNT)
            s = hone_fail(
                HONE_ERR_DATA, "begin its name with train-, val- or test-, or name the splits by data.train, data.val",
                "%s: which split is %s? Others say it", hone_shown(path), hone_shown(hone_path_base(all->item[k])));
        else if (own == split) s = hone_names_add(out, all->item[k]);
    }
    return s;
}

/* One rule for all four kinds of path; the result is sorted, so sample ids are the same on every machine. */
hone_status hone_shards_list(const char *path, hone_split split, bool whole, hone_names *out)
{
    hone_names all = {0};
    hone_status s = HONE_OK;
    /* an answer of no for want of memory would make one set of three */
    hone_error_clear();
    bool file = hone_path_look(path, NULL) == HONE_PATH_FILE, splits = !whole && hone_shards_are_split(path);
    if (hone_memory_failed()) return HONE_ERR_MEMORY;
    if (!whole && !splits && split != HONE_SPLIT_TRAIN) return HONE_OK; /* without splits all of it is train */
    if (file && is_packed(path))
        return hone_fail(HONE_ERR_DATA, "unpack it (gunzip keeps the .tar): pictures are read by their place",
                         "%s: a packed archive", hone_shown(path));
    /* one archive is one set, whatever its name */
    if (file) return hone_names_add(out, path);
    if (is_pattern(path)) s = expand(path, &all);
    else s = list_folder(path, &all);
    if (s == HONE_OK && splits && all.count) s = keep_split(path, split, &all, out);
    else if (s == HONE_OK && splits) s = list_below(path, split, out);
    else
        for (int k = 0; s == HONE_OK && k < all.count; k++) s = hone_names_add(out, all.item[k]);
    hone_names_sort(out);
    hone_names_free(&all);
    return s;
}
