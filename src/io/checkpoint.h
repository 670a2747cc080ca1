/* checkpoint.h - what saving and finding checkpoints share: names, the manifest, opening one step. */
#ifndef HONE_IO_CHECKPOINT_H
#define HONE_IO_CHECKPOINT_H

#include "hone/io.h"

enum { HONE_CHECKPOINT_FILES = 3 };
extern const char *const hone_checkpoint_file[HONE_CHECKPOINT_FILES];

/* Of a whole file. XXH3 finds accidents, not attacks: a checkpoint is trusted as far as its folder is. */
typedef struct hone_manifest_entry {
    uint64_t bytes, xxh3;
} hone_manifest_entry;

/* The one text that MANIFEST.json may have for these files. free() it; NULL: memory. */
char *hone_checkpoint_manifest(int64_t step, const hone_manifest_entry entry[HONE_CHECKPOINT_FILES]);
/* "RUN/checkpoints/step-00000360". NULL: memory. */
char *hone_checkpoint_path(const char *run_dir, int64_t step);
/* Steps that have a folder with a final name, ascending; none where there is no checkpoints folder. */
hone_status hone_checkpoint_list(const char *run_dir, int64_t **steps, int *count) HONE_MUST_USE;
/* Reads and verifies one step. Errors: DATA naming what does not fit, RUNTIME, MEMORY. */
hone_status hone_checkpoint_open(const char *run_dir, int64_t step, hone_checkpoint *out) HONE_MUST_USE;

#endif
