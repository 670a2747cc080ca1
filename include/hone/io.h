/* io.h - files that must not be lost: safetensors, checkpoints, the run directory.
 *
 * All saving goes through src/io/file.c, which writes in full, fsyncs, renames, fsyncs the folder,
 * and can be told by the tests to fail at the k-th call. Readers treat every byte as hostile. */
#ifndef HONE_IO_H
#define HONE_IO_H

#include "hone/status.h"
#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A named array in host memory. */
typedef struct hone_blob {
    const char *name;
    hone_dtype  dtype;
    int32_t     rank;
    int64_t     dim[8];
    const void *data;
    size_t      bytes;
} hone_blob;

/* Writes `count` arrays (order: dtype size descending, then name) with `"format":"pt"` and the given
 * metadata pairs (key, value, ..., NULL; may be NULL) to `path`, atomically. */
hone_status hone_safetensors_write(const char *path, const hone_blob *blob, int count, const char *const *metadata) HONE_MUST_USE;

typedef struct hone_safetensors hone_safetensors;
/* Reads and checks a whole file (header limits, overlaps, holes, sizes, duplicates): DATA errors name
 * the file, the tensor and what is wrong. Blobs point into memory of the handle. */
hone_status      hone_safetensors_open(const char *path, hone_safetensors **out) HONE_MUST_USE;
int              hone_safetensors_count(const hone_safetensors *s);
const hone_blob *hone_safetensors_blob(const hone_safetensors *s, int k);
const hone_blob *hone_safetensors_find(const hone_safetensors *s, const char *name);
const char      *hone_safetensors_metadata(const hone_safetensors *s, const char *key); /* or NULL  */
void             hone_safetensors_close(hone_safetensors *s);

/* RUN/checkpoints/step-00000360/{model,optim}.safetensors state.json MANIFEST.json. Written to a
 * temporary folder, fsynced, listed with size and xxh3 in the manifest, renamed; older ones beyond
 * `keep` are removed only after that (keep 0 = all). A failed save removes its temporary and leaves
 * the others. Never reuses a final name: an existing good checkpoint of that step is left as it is. */
hone_status hone_checkpoint_save(const char *run_dir, int64_t step, const hone_blob *model, int model_count,
                                 const hone_blob *optim, int optim_count, const char *state_json, int keep,
                                 bool protect_initial) HONE_MUST_USE;
typedef struct hone_checkpoint {
    int64_t           step;
    char             *path;
    hone_safetensors *model, *optim;
    char             *state_json;
} hone_checkpoint;
/* The highest step whose manifest verifies; *found false if there is none. `report` (may be NULL) is
 * told of each checkpoint that was rejected and why. */
hone_status hone_checkpoint_latest(const char *run_dir, void (*report)(void *arg, const char *text), void *arg,
                                   bool *found, hone_checkpoint *out) HONE_MUST_USE;
void        hone_checkpoint_free(hone_checkpoint *c);

/* Atomic replacement of a small file (config.yaml, run.json, model.json). */
hone_status hone_file_write(const char *path, const void *data, size_t bytes) HONE_MUST_USE;
/* Whole file with a NUL after its end; over `limit` bytes is an error. free() *data. */
hone_status hone_file_read(const char *path, size_t limit, char **data, size_t *bytes) HONE_MUST_USE;
hone_status hone_make_dirs(const char *path) HONE_MUST_USE;     /* mkdir -p                         */
/* An advisory lock on RUN/.lock, so that two runs can't share a directory; the error names the pid. */
hone_status hone_run_lock(const char *run_dir, int *fd) HONE_MUST_USE;
void        hone_run_unlock(int fd);

#ifdef __cplusplus
}
#endif
#endif
