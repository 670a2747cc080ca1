/* import.c - a folder of safetensors becomes a model folder of hone (import.h).
 *
 * The arrays say which net it is (architecture.h), the head says how many classes, config.json how pictures are prepared.
 * The net is then built from its page like any other, and takes the weights by name. */
#include "import/import.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/text.h"
#include "export/architecture.h"
#include "import/settings.h"
#include "io/file.h"

/* --- the weights ------------------------------------------------------------------------------------------- */

/* NULL, from a failed join, is none. */
static bool is_file(const char *path)
{
    struct stat s;
    return path && stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* A bare ".safetensors" is a hidden file and no weights. */
static bool ends_in(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n > m && strcmp(name + n - m, tail) == 0;
}

/* The only .safetensors of a folder; NULL where there is none or several (then it is not for us to choose). */
static char *only_weights(const char *folder)
{
    DIR *dir = opendir(folder);
    char *found = NULL;
    int count = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!ends_in(e->d_name, ".safetensors") || count++) continue;
        found = hone_io_join(folder, e->d_name);
    }
    if (dir) closedir(dir);
    if (count == 1) return found;
    free(found);
    return NULL;
}

/* `given` is the folder, or the file itself. */
static hone_status find_weights(const char *given, hone_import *r)
{
    if (is_file(given)) r->file = hone_strdup(given);
    else {
        r->file = hone_io_join(given, "model.safetensors");
        if (!is_file(r->file)) {
            free(r->file);
            r->file = only_weights(given);
        }
    }
    if (r->file) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "save the weights as FOLDER/model.safetensors (safetensors.torch.save_file)",
                     "%s holds no model.safetensors, and not one .safetensors alone", given);
}

/* --- the model --------------------------------------------------------------------------------------------- */

/* A page of the zoo below `model:` of a whole page. */
static char *whole_page(const char *zoo)
{
    hone_text t = {0};
    hone_text_add(&t, "task: image\ndata: {path: .}\nmodel:\n");
    for (const char *line = zoo; *line;) {
        size_t n = strcspn(line, "\n");
        hone_text_add(&t, "  %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    return hone_text_take(&t);
}

/* Its size, channels and classes are those of the file. */
static hone_status build(const hone_architecture *a, const hone_import_settings *s, hone_model **out)
{
    /* a page as a user would write it, so that all rules of pages hold */
    hone_config *c = NULL;
    char *page = hone_zoo_page(a->name) ? whole_page(hone_zoo_page(a->name)) : NULL;
    hone_status status = page ? hone_config_read_text(a->name, page, NULL, 0, &c)
                              : hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", a->name);
    if (status == HONE_OK) status = hone_model_new(c, &s->pre, s->classes, (const char *const *)s->name, 1, out);
    hone_config_free(c);
    free(page);
    return status;
}

/* best.safetensors comes last: a folder that has it is whole. */
static hone_status write_folder(hone_model *m, const char *out)
{
    int count;
    char *json = hone_io_join(out, "model.json"), *weights = hone_io_join(out, "best.safetensors");
    hone_blob *blob = hone_weights_blobs(m, &count);
    hone_status status = json && weights && blob ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK && is_file(json))
        status = hone_fail(HONE_ERR_USAGE, "give another -o", "%s holds a model already", out);
    if (status == HONE_OK) status = hone_make_dirs(out);
    if (status == HONE_OK) status = hone_model_save_json(m, json);
    if (status == HONE_OK) status = hone_safetensors_write(weights, blob, count, NULL);
    free(blob);
    free(json);
    free(weights);
    return status;
}

/* Every parameter must have come from the file: an imported net with a random layer answers nonsense. */
static hone_status load(hone_model *m, const hone_safetensors *file, hone_import *r)
{
    HONE_TRY(hone_weights_load(m, file, r->file, false, &r->weights));
    if (r->weights.loaded == r->weights.params) return HONE_OK;
    return hone_fail(HONE_ERR_DATA, "to train from what matches, name the file in train.init",
                     "%s: %d of %d parameters of %s are there:\n%s", r->file, r->weights.loaded, r->weights.params,
                     r->architecture, r->weights.notes);
}

/* From the open file to the folder; what is known is in the report, however far it came. */
static hone_status import(const char *folder, const hone_safetensors *file, const char *out, hone_import *r)
{
    const hone_architecture *a;
    hone_import_settings s = {0};
    hone_model *m = NULL;
    HONE_TRY(hone_architecture_of_file(file, r->file, &a));
    snprintf(r->architecture, sizeof r->architecture, "%s", a->name);
    hone_status status = hone_import_settings_read(folder, file, a, &s);
    if (status == HONE_OK) status = build(a, &s, &m);
    if (status == HONE_OK) status = load(m, file, r);
    if (status == HONE_OK) status = write_folder(m, out);
    r->classes = s.classes;
    r->named = s.named;
    r->notes = hone_text_take(&s.notes);
    hone_import_settings_free(&s);
    hone_model_free(m);
    return status;
}

/* The message of a failure holds the list of what matched; the report is then empty. */
hone_status hone_import_folder(const char *folder, const char *out, hone_import *r)
{
    hone_safetensors *file = NULL;
    *r = (hone_import){0};
    hone_status status = find_weights(folder, r);
    if (status == HONE_OK) status = hone_safetensors_open(r->file, &file);
    if (status == HONE_OK) status = import(folder, file, out, r);
    hone_safetensors_close(file);
    if (status != HONE_OK) hone_import_free(r);
    return status;
}

/* Fine on a zeroed one. */
void hone_import_free(hone_import *r)
{
    free(r->file);
    free(r->notes);
    free(r->weights.notes);
    *r = (hone_import){0};
}
