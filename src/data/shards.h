/* shards.h - pictures in tar archives, as WebDataset packs them: members KEY.jpg and KEY.cls (or .txt, .json).
 *
 * A path is an archive, a folder of archives, or a pattern: train-{000..127}.tar, train-*.tar. In a folder, archives that
 * are called train-..., val-..., test-..., or folders train/, val/, test/ of archives, are the splits. The members are
 * listed once; a picture is then read by its place, so order and shuffling are those of any other data set. */
#ifndef HONE_DATA_SHARDS_H
#define HONE_DATA_SHARDS_H

#include "data/source.h"

/* Whether `path` names archives, packed ones (.tar.gz, .tgz) too, which opening refuses. */
bool hone_shards_looks(const char *path);
/* Whether the archives of a folder say by their names which split they are. */
bool hone_shards_are_split(const char *path);

/* As hone_folder_open. Labels: KEY.cls (a number), else KEY.txt (a class name), else KEY.json ({"label": ...}), the same
 * kind for all; numbers take their names from classes.txt beside the archives, where it is there. Pictures without a
 * label follow `on_error`; a broken archive, a key twice in an archive, labels of two kinds do not. Errors: DATA, MEMORY. */
hone_status hone_shards_open(const char *path, hone_split split, bool whole, hone_on_error on_error, int threads,
                             hone_source **out) HONE_MUST_USE;

#endif
