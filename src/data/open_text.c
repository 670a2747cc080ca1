/* open_text.c - finds the files of a text data set, tells their formats, reads all of them.
 *
 * A file is one set, or all splits where data.columns.split names a column. A folder holds a table or a
 * list a split (train.tsv, val.jsonl, test.txt.gz ...), or one table, or class folders, with split
 * folders above them or without. Endings tell the format of a file, else its first line: it begins with
 * __label__ (fastText), with a brace (JSONL), or holds a tab or a comma and is then checked as a header.
 * Two files for one split, or several tables without a split's name, are errors that list them. */
#define XXH_INLINE_ALL
#include "data/pack.h"
#include "data/shards.h"
#include "data/open_text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "core/text.h"

/* Length of a file name without .gz or .xz. */
static size_t unpacked_length(const char *name)
{
    size_t n = strlen(name);
    /* only for telling the ending below: what a file is packed in is told by its content */
    bool packed = n > 3 && (strcasecmp(name + n - 3, ".gz") == 0 || strcasecmp(name + n - 3, ".xz") == 0);
    return packed ? n - 3 : n;
}

/* Endings that say what a file holds; AUTO: its first line does. */
static const struct {
    const char *ending;
    hone_format format;
} known_ending[] = {{".csv", HONE_FORMAT_CSV},     {".tsv", HONE_FORMAT_TSV},           {".tab", HONE_FORMAT_TSV},
                    {".jsonl", HONE_FORMAT_JSONL}, {".ndjson", HONE_FORMAT_JSONL},      {".json", HONE_FORMAT_JSONL},
                    {".ft", HONE_FORMAT_FASTTEXT}, {".fasttext", HONE_FORMAT_FASTTEXT}, {".txt", HONE_FORMAT_AUTO}};

/* Whether a name looks like a table or list; *stem: bytes before the ending. */
static bool find_ending(const char *name, hone_format *format, size_t *stem)
{
    /* case does not count: exports are called DATA.CSV too */
    size_t n = unpacked_length(name);
    for (size_t k = 0; k < sizeof known_ending / sizeof *known_ending; k++) {
        size_t m = strlen(known_ending[k].ending);
        if (n <= m || strncasecmp(name + n - m, known_ending[k].ending, m) != 0) continue;
        *format = known_ending[k].format;
        *stem = n - m;
        return true;
    }
    return false;
}

/* The format by the first line that holds anything. */
static hone_status sniff(const hone_text_job *job, hone_format *out)
{
    const char *p = job->blob.data, *end = p + job->blob.bytes;
    while (p < end && strchr(" \t\r\n", *p)) p++;
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    size_t n = (size_t)((stop ? stop : end) - p);
    /* a header that is not one is refused by the table's own checks, so a guess here does no harm */
    *out = n >= 9 && memcmp(p, "__label__", 9) == 0 ? HONE_FORMAT_FASTTEXT
           : n && (*p == '{' || *p == '[')          ? HONE_FORMAT_JSONL
           : memchr(p, '\t', n)                     ? HONE_FORMAT_TSV
           : memchr(p, ',', n)                      ? HONE_FORMAT_CSV
                                                    : HONE_FORMAT_AUTO;
    if (*out == HONE_FORMAT_AUTO)
        return hone_text_fail(job, 1, 0, "set data.format: csv, tsv, jsonl or fasttext",
                              "the first line is neither a table's header, nor JSON, nor __label__ and text");
    return HONE_OK;
}

/* One file, all of whose rows are for job->split unless a column says otherwise. */
static hone_status read_file(hone_text_job *job, const char *path, size_t limit)
{
    hone_format format = job->config->data.format; /* the page's word goes before any guess */
    size_t stem;
    if (format == HONE_FORMAT_IDX || format == HONE_FORMAT_CIFAR || format == HONE_FORMAT_FOLDER ||
        format == HONE_FORMAT_TAR || format == HONE_FORMAT_PACK)
        return hone_fail(HONE_ERR_USAGE, "csv, tsv, jsonl, fasttext, or leave it out",
                         "data.format: %s is a file, and this format is not one of text files", hone_shown(path));
    HONE_TRY(hone_text_job_open(job, path, path, limit));
    /* the ending goes before the content: a text may begin with a brace */
    if (format == HONE_FORMAT_AUTO) (void)find_ending(hone_path_base(path), &format, &stem);
    if (format == HONE_FORMAT_AUTO) HONE_TRY(sniff(job, &format));
    switch (format) {
    case HONE_FORMAT_JSONL: return hone_jsonl_read(job);
    case HONE_FORMAT_FASTTEXT: return hone_fasttext_read(job);
    default: return hone_table_read(job, format);
    }
}

/* Which names of a folder are files of a split; two for one split are an error. */
static hone_status find_split_files(const char *folder, const hone_names *names, const char *file[HONE_SPLIT_COUNT],
                                    hone_names *tables)
{
    for (int k = 0; k < names->count; k++) {
        const char *name = names->item[k];
        hone_format format;
        size_t stem;
        /* data.val.tsv is no split: the whole stem counts */
        if (!find_ending(name, &format, &stem)) continue;
        hone_split split = hone_split_parse(name, stem);
        if (split == HONE_SPLIT_COUNT) {
            /* .txt files that are called after no split are documentation */
            if (format != HONE_FORMAT_AUTO) HONE_TRY(hone_names_add(tables, name));
            continue;
        }
        /* choosing one in silence would train on half of what the user sees */
        if (file[split])
            return hone_fail(HONE_ERR_DATA, "remove one, or name the files with data.train, data.val, data.test",
                             "%s: both %s and %s are there", hone_shown(folder), hone_shown(file[split]),
                             hone_shown(name));
        file[split] = name;
    }
    return HONE_OK;
}

/* Several tables, none of which says what it is for. */
static hone_status which_table(const char *folder, const hone_names *tables)
{
    hone_text t = {0};
    for (int k = 0; k < tables->count && k < 10; k++)
        hone_text_add(&t, "%s%s", k ? ", " : "", hone_shown(tables->item[k]));
    char *list = hone_text_take(&t);
    hone_status s =
        hone_fail(HONE_ERR_DATA, "name them with data.train, data.val and data.test",
                  "%s: several tables (%s), and none is called train", hone_shown(folder), list ? list : "");
    free(list);
    return s;
}

/* ROOT/train, ROOT/val ... with class folders inside; NULL: that split has none. */
static hone_status find_split_folders(const char *root, const hone_names *names, const char *sub[HONE_SPLIT_COUNT])
{
    for (int k = 0; k < names->count; k++) {
        hone_split split = hone_split_parse(names->item[k], strlen(names->item[k]));
        if (split == HONE_SPLIT_COUNT) continue;
        char *path = hone_path_join(root, names->item[k]);
        bool there = path && hone_folder_looks(path); /* a class may be called "test": it holds files, not folders */
        free(path);
        if (there && sub[split])
            return hone_fail(HONE_ERR_DATA, "remove one, or name the one you mean with data.val",
                             "%s: both %s/ and %s/ are there", hone_shown(root), sub[split], names->item[k]);
        if (there) sub[split] = names->item[k];
    }
    return HONE_OK;
}

/* Class folders, below split folders where there are any. `whole`: the path is one split itself. */
static hone_status read_class_folders(hone_text_gather *g, hone_text_job *job, const char *path,
                                      const hone_names *names, bool whole, size_t limit)
{
    const char *sub[HONE_SPLIT_COUNT] = {0};
    if (!hone_folder_looks(path))
        return hone_fail(HONE_ERR_DATA,
                         "known: train.csv, .tsv, .jsonl, __label__ lines in train.txt, folders (train/CLASS/FILE)",
                         "%s: no text data of a known format", hone_shown(path));
    if (!whole) HONE_TRY(find_split_folders(path, names, sub));
    if (!sub[0] && !sub[1] && !sub[2]) { /* one set as a whole; val is cut from it later */
        g->unsplit |= !whole;
        return hone_text_folder_read(job, path, "", limit);
    }
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        job->split = (hone_split)k;
        if (sub[k]) HONE_TRY(hone_text_folder_read(job, path, sub[k], limit));
    }
    return HONE_OK;
}

/* A folder: files that are called after splits go first, then one table, then class folders. */
static hone_status read_folder(hone_text_gather *g, hone_text_job *job, const char *path, bool whole, size_t limit)
{
    hone_names names = {0}, tables = {0};
    const char *file[HONE_SPLIT_COUNT] = {0};
    hone_status s = hone_folder_list(path, &names);
    /* the page's word goes before what lies there */
    bool folders_only = job->config->data.format == HONE_FORMAT_FOLDER;
    if (s == HONE_OK && !folders_only) s = find_split_files(path, &names, file, &tables);
    bool any = file[0] || file[1] || file[2];
    if (s == HONE_OK && !any && tables.count > 1) s = which_table(path, &tables);
    /* one table in a folder needs no name */
    if (s == HONE_OK && !any && tables.count == 1) {
        file[job->split] = tables.item[0];
        g->unsplit |= !whole && !job->config->data.columns.split;
    }
    for (int k = 0; s == HONE_OK && k < HONE_SPLIT_COUNT; k++) {
        char *full = file[k] ? hone_path_join(path, file[k]) : NULL;
        if (!file[k]) continue;
        /* a table without a split's name is for what the caller said */
        if (any) job->split = (hone_split)k;
        s = full ? read_file(job, full, limit) : hone_no_memory("a path", 0);
        free(full);
    }
    if (s == HONE_OK && !any && tables.count == 0) s = read_class_folders(g, job, path, &names, whole, limit);
    hone_names_free(&names);
    hone_names_free(&tables);
    return s;
}

/* Whatever lies at `path`. `whole`: all of it is for `split`. */
static hone_status read_place(hone_text_gather *g, const hone_config *c, const char *path, hone_split split, bool whole)
{
    hone_text_job job = {.sink = &g->sink, .config = c, .split = split, .path = path};
    /* what is free now bounds a packed file that unpacks to anything */
    size_t limit = c->data.memory_limit_mb ? (size_t)c->data.memory_limit_mb << 20 : (size_t)hone_free_memory_bytes();
    hone_path_kind kind = hone_path_look(path, NULL);
    if (kind == HONE_PATH_MISSING) return hone_path_missing(path);
    /* two ways of saying which rows are for what: one of them would be ignored */
    if (whole && c->data.columns.split)
        return hone_fail(HONE_ERR_USAGE, "use data.path with a split column, or one file a split without it",
                         "data.columns.split and data.%s exclude each other", hone_split_name(split));
    if (kind == HONE_PATH_FOLDER) return read_folder(g, &job, path, whole, limit);
    g->unsplit |= !whole && !c->data.columns.split;
    return read_file(&job, path, limit);
}

/* The first regular file at or below `path`, three levels deep, has the ending of a picture. */
static bool holds_pictures(const char *path, int depth)
{
    static const char *const ending[] = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"};
    hone_names names = {0};
    bool found = false;
    if (hone_path_look(path, NULL) == HONE_PATH_FILE) {
        const char *dot = strrchr(hone_path_base(path), '.');
        for (size_t k = 0; dot && k < sizeof ending / sizeof *ending; k++) found |= strcasecmp(dot, ending[k]) == 0;
        return found;
    }
    if (depth < 3 && hone_path_look(path, NULL) == HONE_PATH_FOLDER && hone_folder_list(path, &names) == HONE_OK)
        for (int k = 0; !found && k < names.count && k < 4; k++) { /* a README may stand before them */
            char *below = hone_path_join(path, names.item[k]);
            found = below && holds_pictures(below, depth + 1);
            free(below);
        }
    hone_names_free(&names);
    return found;
}

/* IDX and CIFAR announce themselves; everything else that is no picture is taken for text. */
bool hone_text_looks(const char *path)
{
    return !hone_pack_looks(path) && !hone_shards_looks(path) && !hone_idx_looks(path) && !hone_cifar_looks(path) &&
           !holds_pictures(path, 0);
}

/* The names of columns decide what is read, so they belong to the identity of the data. */
static uint64_t hash_columns(const hone_config *c, uint64_t h)
{
    const char *name[] = {c->data.columns.input, c->data.columns.label, c->data.columns.second, c->data.columns.weight,
                          c->data.columns.split};
    /* with the NUL, so that two names can't run into each other; not given differs from empty by its length */
    for (size_t k = 0; k < sizeof name / sizeof *name; k++)
        h = XXH3_64bits_withSeed(name[k] ? name[k] : "", name[k] ? strlen(name[k]) + 1 : 0, h);
    return h;
}

/* What is odd in all formats. */
static hone_status add_notes(hone_text_sink *s)
{
    if (s->empty)
        HONE_TRY(hone_names_addf(&s->notes, "%lld text%s empty (first: %s)", (long long)s->empty,
                                 s->empty == 1 ? " is" : "s are", s->first_empty));
    if (s->blank)
        HONE_TRY(hone_names_addf(&s->notes, "passed over %lld blank line%s (first: %s)", (long long)s->blank,
                                 s->blank == 1 ? "" : "s", s->first_blank));
    return HONE_OK;
}

/* Files are read one after the other, in the order of splits: places and class numbers depend on nothing else. */
hone_status hone_text_gather_open(const hone_config *c, const char *path, hone_text_gather *out)
{
    const char *own[HONE_SPLIT_COUNT] = {c->data.train, c->data.val, c->data.test};
    *out = (hone_text_gather){0};
    HONE_TRY(hone_text_sink_init(&out->sink, c->data.on_error == HONE_ON_ERROR_SKIP));
    /* what messages and reports call the set */
    bool synthetic = c->data.synthetic.given && !path;
    const char *shown = synthetic ? "synthetic" : path ? path : c->data.path ? c->data.path : c->data.train;
    hone_status s = (out->name = hone_strdup(shown)) ? HONE_OK : hone_no_memory("a path", 0);
    if (!path) path = c->data.path;
    if (s == HONE_OK && synthetic) s = hone_synthetic_texts(c, &out->sink);
    if (s == HONE_OK && path) s = read_place(out, c, path, HONE_SPLIT_TRAIN, false);
    for (int k = 0; s == HONE_OK && !path && k < HONE_SPLIT_COUNT; k++)
        if (own[k]) {
            s = read_place(out, c, own[k], (hone_split)k, true);
            /* an empty split that was named is a mistake; one that is merely not there is not */
            if (s == HONE_OK && out->sink.list[k].count == 0)
                s = hone_fail(HONE_ERR_DATA, "check the path", "data.%s: %s: no rows in it",
                              hone_split_name((hone_split)k), hone_shown(own[k]));
        }
    if (s == HONE_OK) s = add_notes(&out->sink);
    out->sink.hash = hash_columns(c, out->sink.hash);
    if (s != HONE_OK) hone_text_gather_free(out);
    return s;
}

/* Data sets that were made keep the pool alive. */
void hone_text_gather_free(hone_text_gather *g)
{
    hone_text_sink_free(&g->sink);
    free(g->name);
    g->name = NULL;
}
