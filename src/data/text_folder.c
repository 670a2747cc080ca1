/* text_folder.c - folders of text files: ROOT/{train,val,test}/CLASS/FILE, or ROOT/CLASS/FILE.
 *
 * Classes are the names of the sub-folders, files are sorted within their class, and a file is one text,
 * whatever its ending (mail has none); .gz and .xz are unpacked. As for images: only regular files are
 * opened, hidden names are left out, folders inside a class folder are not searched but noted. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/text_sink.h"

/* One file is one row. */
static hone_status read_file(hone_text_job *job, const char *path, const char *below, hone_span label, size_t limit)
{
    HONE_TRY(hone_text_job_open(job, path, below, limit));
    /* the name holds the class, so it is part of the data */
    job->sink->hash = XXH3_64bits_withSeed(below, strlen(below) + 1, job->sink->hash);
    /* the whole file is the text, with its line ends */
    size_t bytes = job->blob.bytes;
    if (bytes > UINT32_MAX) return hone_text_fail(job, 0, 0, "cut it", "a text of more than 4 GiB");
    if (!job->checked) /* found while opening, and left to be told here */
        HONE_TRY(hone_blob_check_utf8(&job->blob, path, job->blob.data, job->blob.data + bytes));
    hone_text_row row = {.text = job->blob.data, .bytes = (uint32_t)bytes, .weight = 1.0f};
    return hone_text_sink_add(job, job->split, label, row);
}

/* The files of one class; `folder` is its path, `shown` its path below the root. */
static hone_status read_class(hone_text_job *job, const char *folder, const char *shown, const char *name, size_t limit)
{
    hone_names files = {0}; /* sorted, so a row's number is the same on every machine */
    int odd = 0, texts = 0;
    hone_status s = hone_folder_list(folder, &files);
    for (int k = 0; s == HONE_OK && k < files.count; k++) {
        char *path = hone_path_join(folder, files.item[k]), *below = hone_path_join(shown, files.item[k]);
        if (!path || !below) {
            s = hone_no_memory("a path", 0);
        } else if (hone_path_look(path, NULL) != HONE_PATH_FILE) {
            odd++;
        } else {
            texts++;
            job->path = path;
            s = read_file(job, path, below, (hone_span){(char *)(uintptr_t)name, strlen(name)}, limit);
            if (s != HONE_OK) s = hone_text_sink_broken(job, s);
        }
        free(path);
        free(below);
    }
    hone_names_free(&files);
    hone_names *notes = &job->sink->notes;
    if (s == HONE_OK && odd)
        s = hone_names_addf(notes, "%s: left out %d entries that are no files", hone_shown(folder), odd);
    /* an empty class is noted, not refused: it may be filled later */
    if (s == HONE_OK && !texts)
        s = hone_names_addf(notes, "class \"%s\" has no files in %s", hone_shown(name), hone_shown(folder));
    return s;
}

/* Classes are found again in each split: a class that train lacks is then named by its file. */
hone_status hone_text_folder_read(hone_text_job *job, const char *root, const char *prefix, size_t limit)
{
    hone_names classes = {0};
    char *folder = hone_path_join(root, prefix);
    hone_status s = folder ? hone_folder_list(folder, &classes) : hone_no_memory("a path", 0);
    int found = 0;
    for (int k = 0; s == HONE_OK && k < classes.count; k++) {
        char *path = hone_path_join(folder, classes.item[k]), *below = hone_path_join(prefix, classes.item[k]);
        if (!path || !below) s = hone_no_memory("a path", 0);
        else if (hone_path_look(path, NULL) == HONE_PATH_FOLDER) {
            found++;
            s = read_class(job, path, below, classes.item[k], limit);
        }
        free(path);
        free(below);
    }
    /* files beside the class folders (a README) are nobody's text and are passed over */
    if (s == HONE_OK && !found)
        s = hone_fail(HONE_ERR_DATA, "wanted: one folder a class, with its texts inside", "%s: no class folders",
                      hone_shown(folder));
    hone_names_free(&classes);
    free(folder);
    return s;
}
