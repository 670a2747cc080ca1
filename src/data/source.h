/* source.h - what a reader (IDX, CIFAR, folders, synthetic) makes of one split: items with labels.
 *
 * An item is either pixels of one common size that are in memory already (`raw`), or a file, by itself
 * or within an archive, that is decoded when it is wanted. Data sets are views of sources; several may share one (a
 * validation split cut from train), so sources are counted. Readers decide nothing about training. */
#ifndef HONE_DATA_SOURCE_H
#define HONE_DATA_SOURCE_H

#include "data/files.h"
#include "hone/config.h"

typedef enum hone_split { HONE_SPLIT_TRAIN, HONE_SPLIT_VAL, HONE_SPLIT_TEST, HONE_SPLIT_COUNT } hone_split;
const char *hone_split_name(hone_split split); /* "train", "val", "test"                           */

/* Limits on one image, checked from headers before anything is allocated for pixels. */
enum { HONE_IMAGE_SIDE_MAX = 65000, HONE_IMAGE_PIXELS_MAX = 100000000, HONE_IMAGE_FILE_MAX = 1 << 30 };

/* A file that lies within an archive. */
typedef struct hone_member {
    int32_t shard; /* index into shards */
    int64_t offset, bytes;
} hone_member;

typedef struct hone_source {
    int refs;   /* opened and freed by one thread                                 */
    char *name; /* for messages and hone_dataset_source: file name or folder      */
    int64_t count;
    int32_t *label;              /* (count) index into classes                                     */
    hone_names classes;          /* sorted (folders) or as the data's list has them                */
    float *weight;               /* (count), or NULL: all 1                                        */
    hone_names notes;            /* odd but harmless findings, sentences                           */
    hone_names skipped;          /* rows of a table that were left out: "file:line: reason"        */
    uint8_t *raw;                /* (count, height, width, channels), or NULL                      */
    int height, width, channels; /* of raw                                                         */
    void *map;                   /* a pack: raw lies in this mapping of map_bytes                      */
    size_t map_bytes;
    bool packed; /* raw was decoded and resized before, by the rule `resize`               */
    hone_resize resize;
    int raw_users;       /* data sets that may still read raw; the last one to copy frees it */
    char *root;          /* folders: where `files` start                                   */
    hone_names files;    /* folders, tables: (count) "train/cats/7.jpg", below root        */
    hone_names shards;   /* archives that hold the files, by path; or none                     */
    hone_member *member; /* (count) where in them; NULL: files lie by themselves               */
    uint64_t hash;       /* xxh3 of names, sizes and content                               */
} hone_source;

/* Each opens one split of what lies at `path`; *out is NULL when that split is not there. `whole`:
 * the path itself is that split (data.train and its like). Errors: DATA. */
hone_status hone_idx_open(const char *path, hone_split split, bool whole, hone_source **out) HONE_MUST_USE;
hone_status hone_cifar_open(const char *path, hone_split split, bool whole, hone_source **out) HONE_MUST_USE;
hone_status hone_folder_open(const char *path, hone_split split, bool whole, int threads,
                             hone_source **out) HONE_MUST_USE;
/* shape (H, W, C), labels i % classes; val is an eighth as large and of the same distribution. */
hone_status hone_synthetic_open(const int64_t shape[3], int64_t classes, int64_t samples, hone_split split,
                                uint64_t seed, int threads, hone_source **out) HONE_MUST_USE;

/* What a path looks like; each answers from names and first bytes. */
bool hone_idx_looks(const char *path);
bool hone_cifar_looks(const char *path);
bool hone_folder_looks(const char *path);
bool hone_folder_is_split(const char *path); /* has train/, val/ or test/ with class folders       */

/* The file of one item: whole content (free() it). Errors (DATA) name the file. Sources without `raw`; thread-safe. */
hone_status hone_source_read(const hone_source *s, int64_t item, uint8_t **data, size_t *bytes) HONE_MUST_USE;
/* Where that file is, for messages (free() it); NULL: memory exhausted. */
char *hone_source_path(const hone_source *s, int64_t item);

hone_source *hone_source_new(const char *name); /* NULL: memory exhausted                          */
hone_source *hone_source_share(hone_source *s);
void hone_source_free(hone_source *s); /* drops one reference; NULL is fine                        */
/* Fills an empty class list with "0" ... "count-1". */
hone_status hone_source_number_classes(hone_source *s, int count) HONE_MUST_USE;
/* hash = xxh3 over classes, labels and raw pixels (sources in memory). */
void hone_source_hash_raw(hone_source *s);

#endif
