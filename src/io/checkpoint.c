/* checkpoint.c - saving RUN/checkpoints/step-N so that a crash at any moment leaves the last or the
 * one before loadable (io.h).
 *
 * Order: temporary folder, files written and fsynced, manifest with size and xxh3 of each, fsync of
 * the folder, rename to the final name, fsync of the parent; only then older ones go, renamed to a
 * temporary name first so that none is ever seen half deleted. A final name is never written into.
 * Finding and checking: checkpoint_load.c. */
#include "io/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"
#include "io/file.h"
#include "io/safetensors.h"

/* The order is that of writing and of the manifest's list; MANIFEST.json itself comes last and is not in it. */
const char *const hone_checkpoint_file[HONE_CHECKPOINT_FILES] = {"model.safetensors", "optim.safetensors",
                                                                 "state.json"};

/* The manifest has one possible text for given sizes and hashes: the reader builds it again and compares
 * bytes, so that a flipped bit in the manifest itself is noticed too. */
char *hone_checkpoint_manifest(int64_t step, const hone_manifest_entry entry[HONE_CHECKPOINT_FILES])
{
    hone_text t = {0};
    hone_text_add(&t, "{\"format\":\"hone-checkpoint\",\"version\":1,\"step\":%lld,\"files\":[", (long long)step);
    for (int k = 0; k < HONE_CHECKPOINT_FILES; k++)
        hone_text_add(&t, "%s\n {\"name\":\"%s\",\"bytes\":%llu,\"xxh3\":\"%016llx\"}", k ? "," : "",
                      hone_checkpoint_file[k], (unsigned long long)entry[k].bytes, (unsigned long long)entry[k].xxh3);
    hone_text_add(&t, "]}\n");
    return hone_text_take(&t);
}

/* One small file of the folder, fsynced; its size and hash go into *entry. */
static hone_status write_text(const char *dir, const char *name, const char *text, hone_manifest_entry *entry)
{
    char *path = hone_io_join(dir, name);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %s", dir);
    hone_out o;
    size_t bytes = strlen(text);
    hone_status status = hone_out_open(&o, path, bytes);
    if (status == HONE_OK) status = hone_out_write(&o, text, bytes);
    entry->bytes = bytes;
    if (status == HONE_OK) status = hone_out_close(&o, &entry->xxh3);
    hone_out_abort(&o);
    free(path);
    return status;
}

/* One file of arrays, fsynced and hashed while it is written (never read back: a page cache would lie). */
static hone_status write_arrays(const char *dir, const char *name, const hone_blob *blob, int count,
                                hone_manifest_entry *entry)
{
    char *path = hone_io_join(dir, name);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %s", dir);
    hone_status status = hone_safetensors_write_plain(path, blob, count, NULL, &entry->bytes, &entry->xxh3);
    free(path);
    return status;
}

/* What one save writes; nothing in it is owned. model and optim: (model_count), (optim_count) arrays. */
typedef struct save {
    const hone_blob *model, *optim;
    int model_count, optim_count;
    const char *state_json;
    int64_t step;
} save;

/* Everything of one checkpoint into the folder `dir`, which exists and is ours alone. */
static hone_status fill_folder(const char *dir, const save *s)
{
    hone_manifest_entry entry[HONE_CHECKPOINT_FILES], ignored;
    HONE_TRY(write_arrays(dir, hone_checkpoint_file[0], s->model, s->model_count, &entry[0]));
    HONE_TRY(write_arrays(dir, hone_checkpoint_file[1], s->optim, s->optim_count, &entry[1]));
    HONE_TRY(write_text(dir, hone_checkpoint_file[2], s->state_json, &entry[2]));
    char *manifest = hone_checkpoint_manifest(s->step, entry);
    if (!manifest) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving %s", dir);
    hone_status status = write_text(dir, "MANIFEST.json", manifest, &ignored);
    free(manifest);
    if (status == HONE_OK) status = hone_io_sync_dir(dir);
    return status;
}

/* Is whoever made this temporary gone? Our own pid: a save of ours that failed, or a process of a
 * container that was started again with the same number. */
static bool owner_is_dead(long pid) { return pid == (long)getpid() || (kill((pid_t)pid, 0) < 0 && errno == ESRCH); }

/* Removes what dead processes left. It costs disk only, so failing to is no reason not to save. */
static void remove_leftovers(const char *checkpoints)
{
    DIR *d = opendir(checkpoints);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        long pid = strncmp(e->d_name, "step-", 5) == 0 ? hone_path_temporary_pid(e->d_name) : 0;
        if (pid <= 0 || !owner_is_dead(pid)) continue;
        char *path = hone_io_join(checkpoints, e->d_name);
        if (path && hone_io_remove_tree(path) != HONE_OK) hone_error_clear();
        free(path);
    }
    closedir(d);
}

/* Takes a checkpoint away: renamed first, so that a crash leaves a leftover and not half a checkpoint. */
static hone_status retire(const char *path)
{
    char *temporary = hone_path_temporary(path);
    if (!temporary) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while removing %s", path);
    hone_status status = hone_io_rename(path, temporary);
    if (status == HONE_OK) status = hone_io_remove_tree(temporary);
    free(temporary);
    return status;
}

/* Keeps the newest `keep` up to `step`; later ones were rejected when the run was resumed before them. */
static hone_status remove_old(const char *run_dir, int64_t step, int keep, bool protect_initial)
{
    int64_t *steps = NULL;
    int count = 0, kept = 0;
    hone_status status = hone_checkpoint_list(run_dir, &steps, &count);
    for (int k = count - 1; k >= 0 && status == HONE_OK && keep > 0; k--) { /* ascending: newest last */
        if (steps[k] > step || (protect_initial && steps[k] == 0)) continue;
        /* the newest `keep` have been passed by now */
        if (kept++ < keep) continue;
        char *path = hone_checkpoint_path(run_dir, steps[k]);
        status = path ? retire(path) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
        if (status != HONE_OK) hone_error_context("step %lld is saved, but an older checkpoint stays", (long long)step);
        free(path);
    }
    free(steps);
    return status;
}

/* Moves a broken checkpoint of this step out of the way; it stays for whoever wants to look. */
static hone_status set_aside(const char *final)
{
    hone_text t = {0};
    char *temporary = hone_path_temporary("");
    if (temporary) hone_text_add(&t, "%s.rejected%s", final, strrchr(temporary, '-'));
    free(temporary);
    char *aside = hone_text_take(&t);
    if (!aside) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    hone_status status = hone_io_rename(final, aside);
    free(aside);
    return status;
}

/* Writes the temporary folder and gives it its name. */
static hone_status save_folder(const char *checkpoints, const char *final, const save *s)
{
    char *temporary = hone_path_temporary(final);
    if (!temporary) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    /* mkdir fails if the name exists, so nobody else's folder is ever written into */
    hone_status status = hone_io_mkdir(temporary);
    if (status == HONE_OK) {
        status = fill_folder(temporary, s);
        if (status == HONE_OK) status = hone_io_rename(temporary, final);
        if (status != HONE_OK) {
            hone_error why; /* the reason for the failure, not for what unwinding it meets */
            hone_error_save(&why, status);
            if (hone_io_remove_tree(temporary) != HONE_OK) hone_error_clear();
            status = hone_error_restore(&why);
        }
    }
    free(temporary);
    return status == HONE_OK ? hone_io_sync_dir(checkpoints) : status;
}

/* An existing folder of this step is verified: a good one is left as it is (the run is deterministic, its
 * bytes would be equal), a broken one is set aside. */
hone_status hone_checkpoint_save(const char *run_dir, int64_t step, const hone_blob *model, int model_count,
                                 const hone_blob *optim, int optim_count, const char *state_json, int keep,
                                 bool protect_initial)
{
    save s = {model, optim, model_count, optim_count, state_json, step};
    hone_status status;
    struct stat exists;
    char *checkpoints = hone_io_join(run_dir, "checkpoints"), *final = hone_checkpoint_path(run_dir, step);
    if (!checkpoints || !final) {
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while saving step %lld", (long long)step);
        goto done;
    }
    /* leftovers go first: they may be what fills the disk */
    HONE_GOTO(status, hone_make_dirs(checkpoints), done);
    remove_leftovers(checkpoints);
    if (lstat(final, &exists) == 0) {
        hone_checkpoint there;
        if (hone_checkpoint_open(run_dir, step, &there) == HONE_OK) {
            hone_checkpoint_free(&there);
            goto done;
        }
        hone_error_clear();
        HONE_GOTO(status, set_aside(final), done);
    }
    HONE_GOTO(status, save_folder(checkpoints, final, &s), done);
    /* the new one is safe on disk before any older one is touched */
    status = remove_old(run_dir, step, keep, protect_initial);
done:
    free(checkpoints);
    free(final);
    return status;
}
