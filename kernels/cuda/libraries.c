/* libraries.c - the part of libraries.h that the GPU and the emulated device have in common.
 *
 * Precedence of choices: the run directory, then the user's cache, then a new timing. Must not print, must not call
 * CUDA, and must not let trouble with a cache stop a run. */
#include "libraries.h"

#include <stdlib.h>
#include <string.h>

/* Asked in each prepare, so that a test can change it between two programs; an unknown word counts as auto. */
hone_cuda_use hone_cuda_libraries_use(void)
{
    const char *word = getenv("HONE_CUDA_LIBRARIES");
    if (word && strcmp(word, "own") == 0) return HONE_CUDA_USE_OWN;
    if (word && strcmp(word, "all") == 0) return HONE_CUDA_USE_ALL;
    return HONE_CUDA_USE_AUTO;
}

hone_status hone_cuda_libraries_open(hone_cuda_libraries *l, const char *machine, bool keeps_cache)
{
    char path[4096];
    l->keeps_cache = keeps_cache;
    HONE_TRY(hone_tune_new(machine, &l->tune));
    if (!keeps_cache || !hone_tune_user_path(l->tune, path, sizeof path)) return HONE_OK;
    hone_status status = hone_tune_load(l->tune, path, false);
    if (status == HONE_OK) return HONE_OK;
    hone_error_save(&l->trouble, status); /* for whoever asks by tuning_load(b, NULL) */
    hone_error_clear();
    return HONE_OK;
}

/* The cache costs a new timing when it can't be written, nothing more: no status. */
void hone_cuda_libraries_close(hone_cuda_libraries *l)
{
    char path[4096];
    if (l->tune && l->keeps_cache && hone_tune_changed(l->tune) && hone_tune_user_path(l->tune, path, sizeof path) &&
        hone_tune_save(l->tune, path, false) != HONE_OK)
        hone_error_clear();
    hone_tune_free(l->tune);
    l->tune = NULL;
}

hone_status hone_cuda_tuning_load(hone_backend *b, const char *path)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    if (path) return hone_tune_load(l->tune, path, true);
    hone_status status = l->trouble.status;
    if (status != HONE_OK) hone_error_restore(&l->trouble);
    l->trouble.status = HONE_OK; /* said once */
    return status;
}

hone_status hone_cuda_tuning_save(hone_backend *b, const char *path)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    char cache[4096];
    HONE_TRY(hone_tune_save(l->tune, path, true));
    if (!l->keeps_cache || !hone_tune_changed(l->tune) || !hone_tune_user_path(l->tune, cache, sizeof cache))
        return HONE_OK;
    return hone_tune_save(l->tune, cache, false);
}
