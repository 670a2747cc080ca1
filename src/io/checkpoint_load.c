/* checkpoint_load.c - finding the newest checkpoint that verifies (io.h).
 *
 * The manifest decides: its text must be, byte for byte, what hone writes for files of these sizes
 * and hashes, and each file is hashed in the same memory from which it is then parsed. So a flipped
 * bit anywhere in the folder is a rejection, and the step before is taken. Nothing is changed here. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/text.h"
#include "io/checkpoint.h"
#include "io/file.h"
#include "core/json.h"
#include "io/safetensors.h"

/* The one place that knows how a step becomes a folder name. */
char *hone_checkpoint_path(const char *run_dir, int64_t step)
{
    hone_text t = {0};
    hone_text_add(&t, "%s/checkpoints/step-%08lld", run_dir, (long long)step);
    return hone_text_take(&t);
}

/* "step-" and 8 digits or more, without a needless leading zero: each step has one name. */
static bool step_of_name(const char *name, int64_t *step)
{
    /* compared with what hone would write: the one test for zeros, signs and overflow at once */
    char again[32];
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return false;
    /* strtoll saturates: errno tells an overflow from a large step */
    errno = 0;
    *step = strtoll(name + 5, &end, 10);
    if (errno || *end) return false;
    snprintf(again, sizeof again, "step-%08lld", (long long)*step);
    return strcmp(again, name) == 0;
}

/* qsort order of steps. */
static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Names that are not exactly ours (temporaries, rejected ones, strangers) are passed over in silence. */
hone_status hone_checkpoint_list(const char *run_dir, int64_t **steps, int *count)
{
    char *dir = hone_io_join(run_dir, "checkpoints");
    DIR *d = dir ? opendir(dir) : NULL;
    *steps = NULL;
    *count = 0;
    if (!d) {
        hone_status status = !dir ? hone_fail(HONE_ERR_MEMORY, NULL, "out of memory")
                             : errno == ENOENT
                                 ? HONE_OK
                                 : hone_fail(HONE_ERR_RUNTIME, NULL, "cannot read %s: %s", dir, strerror(errno));
        free(dir);
        return status;
    }
    hone_status status = HONE_OK;
    int room = 0;
    for (struct dirent *e; (e = readdir(d));) {
        int64_t step;
        if (!step_of_name(e->d_name, &step)) continue;
        if (*count == room) {
            int64_t *more = realloc(*steps, (size_t)(room = room ? 2 * room : 16) * sizeof **steps);
            if (!more) {
                status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
                break;
            }
            *steps = more;
        }
        (*steps)[(*count)++] = step;
    }
    closedir(d);
    free(dir);
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, ascending);
    return status;
}

#define REJECT(...) hone_fail(HONE_ERR_DATA, "this checkpoint is not used; an older one may be", __VA_ARGS__)

/* Says what is wrong with a manifest that differs from the expected text. */
static hone_status explain_manifest(const char *path, const char *text, const hone_manifest_entry *found)
{
    json_error_t error;
    json_t *m;
    HONE_TRY(hone_json_parse(text, strlen(text), JSON_REJECT_DUPLICATES, &m, &error));
    const json_t *files = json_object_get(m, "files");
    json_int_t version = json_integer_value(json_object_get(m, "version"));
    hone_status status = HONE_OK;
    /* from the most general to the most particular reason */
    if (!m) {
        status = REJECT("%s/MANIFEST.json is not valid JSON: %s (line %d)", path, error.text, error.line);
    } else if (version > 1) {
        status = REJECT("%s was written by a newer hone (manifest version %lld)", path, (long long)version);
    }
    for (int k = 0; k < HONE_CHECKPOINT_FILES && status == HONE_OK; k++) {
        json_t *f = json_array_get(files, (size_t)k);
        const char *hash = json_string_value(json_object_get(f, "xxh3"));
        char expected[20];
        snprintf(expected, sizeof expected, "%016llx", (unsigned long long)found[k].xxh3);
        if (json_integer_value(json_object_get(f, "bytes")) != (json_int_t)found[k].bytes)
            status =
                REJECT("%s/%s has %llu bytes, the manifest says %lld", path, hone_checkpoint_file[k],
                       (unsigned long long)found[k].bytes, (long long)json_integer_value(json_object_get(f, "bytes")));
        else if (!hash || strcmp(hash, expected) != 0)
            status = REJECT("%s/%s does not have the xxh3 hash that the manifest lists: its content changed", path,
                            hone_checkpoint_file[k]);
    }
    if (status == HONE_OK) status = REJECT("%s/MANIFEST.json is not as hone writes it", path);
    json_decref(m);
    return status;
}

/* A whole file of the folder into memory. */
static hone_status read_part(const char *dir, const char *name, char **data, size_t *bytes)
{
    char *path = hone_io_join(dir, name);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = hone_file_read(path, SIZE_MAX - 1, data, bytes);
    free(path);
    return status;
}

/* OK only when MANIFEST.json is byte for byte the text for what was found. */
static hone_status check_manifest(const char *path, int64_t step, const hone_manifest_entry *found)
{
    char *text;
    size_t bytes;
    HONE_TRY(read_part(path, "MANIFEST.json", &text, &bytes));
    char *expected = hone_checkpoint_manifest(step, found);
    hone_status status = HONE_OK;
    if (!expected) status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    else if (bytes != strlen(expected) || memcmp(text, expected, bytes) != 0)
        status = explain_manifest(path, text, found);
    free(expected);
    free(text);
    return status;
}

/* Reads all files first, then the manifest: whatever is parsed was hashed in the same memory, so nobody
 * can change it in between. */
hone_status hone_checkpoint_open(const char *run_dir, int64_t step, hone_checkpoint *out)
{
    hone_status status = HONE_OK;
    hone_manifest_entry found[HONE_CHECKPOINT_FILES];
    char *data[HONE_CHECKPOINT_FILES] = {NULL};
    size_t bytes[HONE_CHECKPOINT_FILES];
    *out = (hone_checkpoint){.step = step, .path = hone_checkpoint_path(run_dir, step)};
    if (!out->path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    for (int k = 0; k < HONE_CHECKPOINT_FILES; k++) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): takes the path of a second call for the first one's, freed */
        HONE_GOTO(status, read_part(out->path, hone_checkpoint_file[k], &data[k], &bytes[k]), done);
        found[k] = (hone_manifest_entry){bytes[k], XXH3_64bits(data[k], bytes[k])};
    }
    HONE_GOTO(status, check_manifest(out->path, step, found), done);
    status = hone_safetensors_from_memory(out->path, data[0], bytes[0], &out->model);
    /* the handle frees it from now on */
    data[0] = NULL; /* taken over, whatever the result */
    if (status != HONE_OK) goto done;
    status = hone_safetensors_from_memory(out->path, data[1], bytes[1], &out->optim);
    data[1] = NULL;
    if (status != HONE_OK) goto done;
    out->state_json = data[2];
    data[2] = NULL;
done:
    for (int k = 0; k < HONE_CHECKPOINT_FILES; k++) free(data[k]);
    if (status != HONE_OK) hone_checkpoint_free(out);
    return status;
}

/* From the highest step down; a rejected one costs a report, never the run. */
hone_status hone_checkpoint_latest(const char *run_dir, void (*report)(void *arg, const char *text), void *arg,
                                   bool *found, hone_checkpoint *out)
{
    int64_t *steps = NULL;
    int count = 0;
    hone_status status = hone_checkpoint_list(run_dir, &steps, &count);
    *found = false;
    for (int k = count - 1; k >= 0 && status == HONE_OK && !*found; k--) {
        hone_status opened = hone_checkpoint_open(run_dir, steps[k], out);
        *found = opened == HONE_OK;
        if (opened == HONE_ERR_MEMORY) status = opened; /* an older one would not fit either */
        /* the reason goes to whoever listens, and the search goes on */
        else if (opened != HONE_OK && report) report(arg, hone_error_message());
    }
    if (status == HONE_OK && !*found) hone_error_clear();
    free(steps);
    return status;
}

/* Fine on a zeroed one. */
void hone_checkpoint_free(hone_checkpoint *c)
{
    free(c->path);
    hone_safetensors_close(c->model);
    hone_safetensors_close(c->optim);
    free(c->state_json);
    *c = (hone_checkpoint){0};
}
